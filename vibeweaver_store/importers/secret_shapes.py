"""What secrets look like in a text, and what they are called.

Every pattern takes time in proportion to the text, whatever the text is: what may repeat has an upper bound, or stops
at what begins the pattern anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

REDACTED: Final = "[redacted]"

_FLAGS: Final = re.ASCII | re.IGNORECASE  # in Unicode, the Kelvin sign is a k, which no hint would find


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of secret: what to look for, and a hint: what every text that holds it has somewhere, in small letters.

    A hint begins with plain characters, which are found faster than any pattern.
    """

    hint: str
    pattern: re.Pattern[str]
    replacement: str = REDACTED


# --- tokens that are known by how they begin ---------------------------------------------------------------------

_ESCAPES: Final = (r"\\[nrtbf]", r"\\u[0-9a-fA-F]{4}", r"\\x[0-9a-fA-F]{2}", r"[\[;\d]m", "%[0-9A-Fa-f]{2}")
"""What ends in a letter or digit and is none: of JSON and of programs, colours of a terminal, of URLs."""


def _token(beginning: str, rest: str) -> Shape:
    """Return the shape of tokens whose beginning is in no word, so that anything may stand before them."""
    return Shape(beginning.lower(), re.compile(beginning + rest, re.ASCII))


def _bare_token(beginning: str, rest: str) -> Shape:
    """Return the shape of tokens whose beginning words may have, too: they do not begin amid a word."""
    # The beginning comes first, and what may stand before it is looked at then: so the search is one for plain letters.
    before = "|".join([f"(?<![A-Za-z0-9]{beginning})", *(f"(?<={escape}{beginning})" for escape in _ESCAPES)])
    return _token(beginning, f"(?:{before}){rest}")


_TOKENS: Final = (
    # A web token: up to the last beginning of one, so that beginnings without end are read once each.
    Shape(r"\.eyj", re.compile(r"eyJ(?:(?!eyJ)[A-Za-z0-9_-]){4,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*", re.ASCII)),
    _token("sk-ant-", r"(?=[A-Za-z_-]{0,80}\d)[A-Za-z0-9_-]{8,}"),
    _token("sk-(?:proj|svcacct|admin|or-v1)-", r"(?=[A-Za-z_-]{0,80}\d)[A-Za-z0-9_-]{16,}"),
    _token("gh[pousr]_", "[A-Za-z0-9]{16,}"),
    _token("github_pat_", "[A-Za-z0-9_]{16,}"),
    _token("glpat-", "[A-Za-z0-9_-]{16,}"),
    _token("xox[abeoprs]-", "[A-Za-z0-9-]{10,}"),
    _bare_token("sk-", r"(?=(?:[A-Za-z_]{0,80}\d){2})[A-Za-z0-9_]{20,}[A-Za-z0-9_-]*"),
    _bare_token("AKIA", "[0-9A-Z]{16}(?![0-9A-Za-z])"),
    _bare_token("ASIA", "[0-9A-Z]{16}(?![0-9A-Za-z])"),
    _bare_token("AIza", "[A-Za-z0-9_-]{35}"),
)


# --- what stands behind a name -----------------------------------------------------------------------------------

_SIGN: Final = "[A-Za-z0-9._~+/=-]"
_WITH_A_DIGIT: Final = rf"(?={_SIGN}{{0,80}}\d)"
_MIXED: Final = rf"(?![a-z_]{{1,60}}\.[a-z_])(?={_SIGN}{{0,80}}(?:\d[a-z]|\d{{6}}))"
"""No word with a number behind it, and no member of an object in a program: ``implemented2024``, ``settings.key2b``."""

_QUOTE: Final = r"""\\{0,20}["'`]"""
_SAYS: Final = (
    rf"(?:{_QUOTE})?\]?\)?\s{{0,4}}(?:=>|[:=,])\s{{0,4}}"
    rf"(?:{_QUOTE}value{_QUOTE}\s{{0,4}}:\s{{0,4}})?\[?(?:{_QUOTE})?"
)
"""What stands between a name and its value: ``: ``, ``=``, ``": "``, ``'] = '``, ``', '``, ``","value":"``."""


def _named(name: str, value: str) -> Shape:
    """Return the shape of what stands behind a name; the name stays."""
    return Shape(name, re.compile(rf"({name})({_SAYS})(?:{value})", _FLAGS), rf"\1\2{REDACTED}")


_SCHEMES: Final = "(?:bearer|basic|digest|token|apikey|negotiate|ntlm)"
_PART: Final = r"""[\w-]{1,40}=(?:\\{0,20}"[^"\\\r\n]{0,1000}\\{0,20}"|[^\s,"'\\]{1,1000})"""
_IN_PARTS: Final = rf"(?:digest|aws4-[\w-]{{1,30}}|oauth|hawk|mac|signature|scram-[\w-]{{1,30}})\s{{1,4}}{_PART}"
_ID: Final = r"(?=[a-z0-9_-]{0,80}(?:\d[a-z]|\d{6}))[a-z0-9_-]{8,}"
_ORGANIZATION: Final = r"org(?:anization)?[-_]?(?:uu)?id"

_NAMED: Final = (
    _named(
        "authorization", rf"{_IN_PARTS}(?:,\s{{0,4}}{_PART})*|{_SCHEMES}\s{{1,4}}{_SIGN}{{8,}}|{_MIXED}{_SIGN}{{8,}}"
    ),
    Shape("bearer", re.compile(rf"(bearer)(\s{{1,4}}){_WITH_A_DIGIT}{_SIGN}{{16,}}", _FLAGS), rf"\1\2{REDACTED}"),
    _named("api[-_]?key", rf"{_MIXED}{_SIGN}{{12,}}"),
    _named("cookie", r"""[\w.-]{1,80}=[^\s"'\\;]{8,}(?:; ?[^\s"'\\;]+)*"""),
    _named(_ORGANIZATION, _ID),
    Shape(
        r'organization\\*"',
        re.compile(
            rf"(organization{_QUOTE}\s{{0,4}}:\s{{0,4}}\{{[^{{}}]{{0,300}}?{_QUOTE}(?:uu)?id)({_SAYS})" + _ID,
            _FLAGS,
        ),
        rf"\1\2{REDACTED}",
    ),
    Shape(
        r":\\*/\\*/[^/\s\"@]{1,4000}@",
        re.compile(
            r"""(:\\{0,20}/\\{0,20}/[^\s/:@"'\\<>{}$[\]]{0,80}:)(?!\[redacted\])[^\s/@"'\\<>{}$]{1,200}(?=@)""", _FLAGS
        ),
        rf"\1{REDACTED}",
    ),
    Shape(
        "curl",
        re.compile(
            r"""(curl(?:(?!curl)[^\n|]|\\\n){0,300}?\s(?:-u|--user)[\s=]{0,3}(?:\\{0,20}["'])?[^\s:"'\\]{1,80}:)"""
            r"""(?!\[redacted\])[^\s"'\\$<{]{1,200}""",
            _FLAGS,
        ),
        rf"\1{REDACTED}",
    ),
)

SHAPES: Final = (*_TOKENS, *_NAMED)
"""Of all that is a secret in a text, but for private keys."""


# --- private keys ------------------------------------------------------------------------------------------------

KEY_HINT: Final = "private key(?: block)?-----"

_KEY: Final = "[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_CODE: Final = "[A-Za-z0-9+/=]"
_TO_END_OF_LINE: Final = r"(?=(?:(?!-----)[^A-Za-z0-9\n\\]){0,40}(?:\n|$|\\{1,20}[nr]|-----END ))"
_IN_KEY: Final = (
    r"(?:\\{1,20}[nrt]"  # the end of a line, spelled out
    r"|[^A-Za-z0-9+/=-]++|-(?!----)"
    r"|\d{1,9}(?=[\s:→|])"  # the number of a line
    rf"|(?:[^\s-]{{1,200}}?[:→|]\s{{0,8}})??{_CODE}{{1,31}}+{_TO_END_OF_LINE}"  # a short line
    rf"|(?:(?!-----)[^\n]){{0,200}}?{_CODE}{{32,}}+"  # a long one, and whatever stands before it
    r"|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n\\]{0,200})*+"
    rf"(?P<end>-----END {_KEY})?"
)

KEY: Final = re.compile(rf"-----BEGIN {_KEY}{_IN_KEY}")
"""A private key, up to its end, or as far as there is some of it."""

REST_OF_KEY: Final = re.compile(_IN_KEY)
"""How a text begins that goes on with a private key."""


# --- names -------------------------------------------------------------------------------------------------------

SECRET_NAME: Final = re.compile(
    r"(?:proxy[-_]?)?authorization|(?:set[-_]?)?cookie|(?:x[-_]?(?:goog[-_]?)?|anthropic[-_]?|openai[-_]?)?api[-_]?key"
    r"|(?:access|refresh|auth|(?:x[-_]amz[-_])?security)[-_]?token|client[-_]?secret"
    rf"|(?:anthropic[-_]?)?{_ORGANIZATION}|openai[-_]?organization",
    _FLAGS,
)
"""The whole name of what is secret whatever it looks like."""

LIKE_A_VALUE: Final = re.compile(
    rf"{_SCHEMES}\s.|\S{{0,80}}=\S{{4}}|(?=\S{{0,80}}(?:\d[a-z]|\d{{6}}))\S{{8}}|aws4-", _FLAGS
)
"""How the value begins that stands behind its name in a list, where another name might stand as well."""


class Trace(NamedTuple):
    """What bytes have somewhere that hold a secret: a few bytes, which are found at once, and a pattern with them."""

    plain: bytes
    pattern: re.Pattern[bytes]


def _traces(*patterns: tuple[bytes, bytes]) -> tuple[Trace, ...]:
    return tuple(Trace(plain, re.compile(pattern)) for plain, pattern in patterns)


# Each begins with a letter that is rare, or is plain: to look for one of them is to look for that. What has the same
# rare letter is looked for together; what stands before the letter is looked at then.
TRACES: Final = _traces(
    (b"A", rb"A(?:[KS]IA|Iza)"),
    (b"J", rb"J(?<=\.eyJ)"),
    (rb"\u00", rb"\\u00[2-7]"),  # a plain letter that was spelled out
)
"""The bytes of every JSON document that holds a secret have one of these, or of the others in small letters."""

TRACES_IN_SMALL: Final = _traces(
    (
        b"k",
        rb"k(?:(?<=sk)-|(?<=cook)ie|(?<=api[-_]k)ey|(?<=apik)ey|(?<=tok)en\\*\"|(?<=private k)ey(?: block)?-----)",
    ),
    (b"z", rb"z(?:(?<=authoriz)ation|(?<=organiz)ation(?:[-_]?(?:uu)?id|\\*\"))"),
    (b"x", rb"xox[abeoprs]-"),
    (b"g", rb"g(?:h[pousr]_|ithub_pat_|lpat-|(?<=org)(?:[-_]?(?:uu)?id|\\*\"))"),
    (b"@", rb':\\*/\\*/[^/\s"@]{1,4000}@'),
    (b"bearer", b"bearer"),
    (b"curl", b"curl"),
    (b"secret", rb"secret\\*\""),
    (b"headers", rb"headers\\*\""),
)
"""The others."""
