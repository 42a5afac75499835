"""Values that a service refuses, whichever it is, and texts that it keeps as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

LONGEST_NAME = 1000
LONGEST_ID = 200


def cases(**values: Any) -> list[Any]:
    """Parameters that are called by a word each."""
    return [pytest.param(value, id=name.replace("_", " ")) for name, value in values.items()]


NO_TEXT = {
    "a_number": 5,
    "true": True,
    "bytes": b"late set",
    "a_list": ["late set"],
    "nul": "late\x00set",
    "a_lone_high_surrogate": "\ud800",
    "a_lone_low_surrogate": "a\udfffb",
}
BAD_TEXTS = cases(**NO_TEXT)
BAD_NAMES = cases(
    **NO_TEXT,
    nothing=None,
    empty="",
    blank=" \t\n",
    blank_of_unicode="\u3000\u2003",
    too_long="x" * (LONGEST_NAME + 1),
    too_long_in_bytes="🥁" * (LONGEST_NAME // 4 + 1),
)
BAD_IDS = cases(**NO_TEXT, empty="", blank="  ", too_long="x" * (LONGEST_ID + 1))

NO_NUMBER = {
    "nothing": None,
    "text": "120",
    "true": True,
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus_infinity": float("-inf"),
    "a_complex_number": 120j,
    "a_list": [120],
    "an_integer_beyond_floats": 10**400,
}
BAD_NUMBERS = cases(**NO_NUMBER)
BAD_BEATS = BAD_NUMBERS
"""A beat may lie below 0."""
BAD_LENGTHS = cases(**NO_NUMBER, below_zero=-0.001)
BAD_BOOLEANS = cases(nothing=None, one=1, zero=0, text="true", a_float=1.0)

VERBATIM = [
    pytest.param(text, id=name)
    for name, text in {
        "sql": "'; DROP TABLE sessions; --",
        "quotes": "\"double\" 'single' `back` ''",
        "placeholders": "100% %s %(name)s :name ? $1 {0} \\",
        "spaces around": "  late set  ",
        "lines": "one\ntwo\r\nthree\ttab",
        "emoji": "🎛️🥁 👩🏽‍🎤 🏳️‍🌈",
        "right to left": "جلسة متأخرة \u202eתשע\u202c",
        "composed and decomposed": "é e\u0301 Å A\u030a ﬁ",
        "zalgo": "v\u0336\u0321i\u0334\u0330b\u0335e",
        "beyond the basic plane": "𝄞 𠜎 𐍈",
        "noncharacters and controls": "\x01\x7f\ufeff\ufffe\uffff\U0010ffff",
        "json": '{"a": [1, null]}',
        "a number": "0012.50",
    }.items()
]

UNPRINTABLE = 10**5000
"""An integer that Python refuses to print (``sys.set_int_max_str_digits``), which a message must survive."""

any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
any_name = any_text.filter(lambda text: bool(text.strip()))
