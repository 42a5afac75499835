"""JSON documents: what goes in comes out equal and cannot be edited in place; what no backend can hold is refused."""

from __future__ import annotations

import copy
import enum
import pickle
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BACKENDS
from tests.services.lasting import lasting_database
from vibeweaver_store import CorruptData, InvalidInput, Priority, Store, history
from vibeweaver_store.columns import Json
from vibeweaver_store.json_values import (
    MAX_DOCUMENT_DEPTH,
    FrozenDict,
    FrozenList,
    _freeze,
    dump_json,
    encode,
    freeze,
)
from vibeweaver_store.stored_forms import read_json
from vibeweaver_store.testing import SessionFactory


@pytest.fixture(scope="module", params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that the tests here share; each looks at rows of its own."""
    with lasting_database(request, tmp_path_factory, request.param) as database, Store.open(database) as opened:
        yield opened


# There and back


def stored(store: Store, document: Any) -> Any:
    """A document as it is read after it was written into history."""
    with store.begin() as uow:
        key = SessionFactory.create(uow=uow).id
        history.append(uow, key, "sample", params=document)
    (entry,) = store.query(history.recent, key)
    return entry.params


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=15
)


@given(document=documents)
def test_any_stored_json_document_comes_back_equal(store: Store, document: Any) -> None:
    assert stored(store, document) == document


BIG_FLOATS = [
    *(float(2**power) for power in (52, 53, 54, 60, 62, 63, 64, 100, 1023)),
    *(1.1e16, 1.2345678901234567e18, -1.2345678901234567e18, 1.8e19, 1e22, 1e23, 1.7976931348623157e308),
]


@pytest.mark.parametrize("number", BIG_FLOATS)
def test_a_big_float_in_a_json_document_comes_back_equal(store: Store, number: float) -> None:
    # JSONB keeps numbers in decimals without an exponent: what was 1.152921504606847e18 must not come back rounded.
    assert stored(store, [number]) == [number]


@pytest.mark.parametrize(
    "number", [0.1, -0.5, 1 / 3, 5e-324, 2.2250738585072014e-308, 123456.789, 0.0, 1.0, -1e-7, 9007199254740991.0]
)
def test_a_float_in_a_json_document_comes_back_as_an_equal_float(store: Store, number: float) -> None:
    (found,) = stored(store, [number])
    assert (found, type(found)) == (number, float)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_a_64_bit_integer_in_a_json_document_comes_back_exact(store: Store, number: int) -> None:
    (found,) = stored(store, [number])
    assert (found, type(found)) == (number, int)


def nested(depth: int, innermost: Any = 1) -> Any:
    value: Any = innermost
    for level in range(depth):
        value = {"in": value} if level % 2 else [value]
    return value


def test_a_json_document_may_be_100_levels_deep(store: Store) -> None:
    assert stored(store, nested(100)) == nested(100)


def test_a_json_document_may_be_wide(store: Store) -> None:
    wide = {f"key {n}": list(range(n % 10)) for n in range(10_000)}
    assert stored(store, wide) == wide


class Mood(str, enum.Enum):  # noqa: UP042 - as those do who have not moved to StrEnum
    DARK = "dark"


class Tone(enum.StrEnum):
    LOW = "low"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        (Priority.LOW, 3),
        (Tone.LOW, "low"),
        (Mood.DARK, "dark"),
        ({Mood.DARK: True}, {"dark": True}),
    ],
    ids=["a tuple", "an IntEnum", "a StrEnum", "a str that is an Enum", "a key that is an Enum"],
)
def test_python_values_with_a_json_form_are_stored_in_it(store: Store, value: Any, expected: Any) -> None:
    assert stored(store, value) == expected


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)
RECURSIVE_OBJECT: dict[str, Any] = {}
RECURSIVE_OBJECT["self"] = [RECURSIVE_OBJECT]

NO_JSON = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "a set": {1},
    "a frozen set": frozenset({1}),
    "bytes": b"bytes",
    "a datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "a complex number": 1j,
    "an object": object(),
    "a class": dict,
    "a generator": (n for n in range(3)),
    "an integer above 64 bits": 2**63,
    "an integer below 64 bits": -(2**63) - 1,
    "nul": "a\x00b",
    "a lone surrogate": "\ud800",
    "a number for a key": {1: "a"},
    "nothing for a key": {None: "a"},
    "true for a key": {True: "a"},
    "bytes for a key": {b"a": "a"},
    "nul in a key": {"a\x00": "a"},
    "a surrogate in a key": {"\udfff": "a"},
    "101 levels": nested(101),
    "a list in itself": RECURSIVE,
    "an object in itself": RECURSIVE_OBJECT,
}


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
def test_freezing_a_value_outside_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"holds|has the key|must|nested"):
        freeze({"within": [value]})


@pytest.mark.parametrize("field", ["params", "result"])
def test_the_error_for_a_value_outside_json_names_its_field(store: Store, field: str) -> None:
    for value in NO_JSON.values():
        document: dict[str, Any] = {field: [value]}
        with pytest.raises(InvalidInput) as caught:
            store.run(history.append, "any", "sample", **document)
        assert caught.value.field == field


def test_a_json_column_refuses_a_value_outside_json(store: Store) -> None:
    for value in NO_JSON.values():
        with pytest.raises(InvalidInput):
            Json().process_bind_param([value], store._engines.write.dialect)


@pytest.mark.parametrize("sqlite_text", ["{", "", "NaN", '{"a": 1,}', "[1]x"])
def test_a_stored_text_that_is_not_json_is_corrupt(sqlite_text: str) -> None:
    with pytest.raises(CorruptData):
        read_json(sqlite_text)


# What is handed out cannot be edited

OBJECT_EDITS: dict[str, Callable[[Any], object]] = {
    "set an item": lambda it: it.__setitem__("a", 2),
    "delete an item": lambda it: it.__delitem__("a"),
    "merge in place": lambda it: it.__ior__({"b": 2}),
    "clear": lambda it: it.clear(),
    "pop": lambda it: it.pop("a"),
    "pop an item that is not there": lambda it: it.pop("b", None),
    "popitem": lambda it: it.popitem(),
    "setdefault": lambda it: it.setdefault("b", 2),
    "update": lambda it: it.update(b=2),
}

ARRAY_EDITS: dict[str, Callable[[Any], object]] = {
    "set an item": lambda it: it.__setitem__(0, 2),
    "set a slice": lambda it: it.__setitem__(slice(None), []),
    "delete an item": lambda it: it.__delitem__(0),
    "add in place": lambda it: it.__iadd__([2]),
    "multiply in place": lambda it: it.__imul__(2),
    "append": lambda it: it.append(2),
    "clear": lambda it: it.clear(),
    "extend": lambda it: it.extend([2]),
    "insert": lambda it: it.insert(0, 2),
    "pop": lambda it: it.pop(),
    "remove": lambda it: it.remove(1),
    "reverse": lambda it: it.reverse(),
    "sort": lambda it: it.sort(),
}


@pytest.mark.parametrize("edit", OBJECT_EDITS.values(), ids=OBJECT_EDITS)
def test_a_frozen_json_object_refuses_edits(edit: Callable[[Any], object]) -> None:
    document = freeze({"a": 1})
    with pytest.raises(TypeError, match=r"copy it with dict\(...\)"):
        edit(document)
    assert document == {"a": 1}


@pytest.mark.parametrize("edit", ARRAY_EDITS.values(), ids=ARRAY_EDITS)
def test_a_frozen_json_array_refuses_edits(edit: Callable[[Any], object]) -> None:
    document = freeze([1])
    with pytest.raises(TypeError, match=r"copy it with list\(...\)"):
        edit(document)
    assert document == [1]


def kinds_of(document: Any) -> set[type]:
    below = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return {type(document)}.union(*[kinds_of(each) for each in below])


def test_a_json_document_as_read_refuses_edits_at_all_levels(store: Store) -> None:
    found = stored(store, {"list": [{"object": [[]]}, {}]})
    assert kinds_of(found) == {FrozenDict, FrozenList}


def test_a_json_document_just_written_refuses_edits_at_all_levels(store: Store) -> None:
    with store.begin() as uow:
        entry = history.append(uow, SessionFactory.create(uow=uow).id, "sample", params={"list": [{}]})
    assert kinds_of(entry.params) == {FrozenDict, FrozenList}


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda it: pickle.loads(pickle.dumps(it, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_frozen_json_document_is_frozen(duplicate: Callable[[Any], Any]) -> None:
    document = freeze({"list": [{"object": [1, "two", None]}]})
    found = duplicate(document)
    assert (found, kinds_of(found)) == (document, kinds_of(document))


@pytest.mark.parametrize(("frozen", "kind"), [({"a": [1]}, dict), ([1], list)], ids=["an object", "an array"])
def test_a_frozen_json_document_can_be_copied_for_editing(frozen: Any, kind: type) -> None:
    for found in (kind(freeze(frozen)), freeze(frozen).copy()):
        assert (found, type(found)) == (frozen, kind)


# The quick way and the exact one


anything = st.recursive(
    scalars
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(
        [Tone.LOW, Mood.DARK, Priority.LOW, datetime(2026, 1, 1, tzinfo=UTC), b"x", 1j, uuid.UUID(int=1)]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(texts | st.integers() | st.just(Tone.LOW), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(value=anything)
def test_the_fast_encoder_of_json_documents_agrees_with_the_exact_one(value: Any) -> None:
    try:
        exact = _freeze(value, MAX_DOCUMENT_DEPTH)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            encode(value)
        return
    text, frozen = encode(value)
    assert text == dump_json(exact)
    assert frozen == exact
    assert types_in(frozen) == types_in(exact)


def types_in(value: Any) -> Any:
    if isinstance(value, dict):
        return (type(value), [(type(key), types_in(item)) for key, item in value.items()])
    if isinstance(value, list):
        return (type(value), [types_in(item) for item in value])
    return type(value)
