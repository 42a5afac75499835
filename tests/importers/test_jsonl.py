"""Lines of JSON as other programs leave them: whole, glued, torn, too long, or no JSON at all."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibeweaver_store.importers.jsonl import Line, Lines, fingerprint, whole_array

OBJECTS = st.lists(
    st.dictionaries(st.text(max_size=3), st.none() | st.integers(-(2**60), 2**60) | st.text(max_size=5), max_size=3),
    max_size=8,
)


def read(data: bytes, **where: int) -> list[Line]:
    return list(Lines(io.BytesIO(data), **where))


def told(data: bytes) -> list[tuple[int, tuple[object, ...], str]]:
    return [(line.number, line.objects, line.problem) for line in read(data)]


def test_a_jsonl_line_has_its_number_and_the_offset_of_the_next() -> None:
    lines = read(b'{"a": 1}\n{"b": 2}\r\n')

    assert [(line.number, line.end, line.objects) for line in lines] == [(1, 9, ({"a": 1},)), (2, 19, ({"b": 2},))]


def test_blank_jsonl_lines_are_skipped_and_counted() -> None:
    assert told(b'\n  \n{"a": 1}\n\n') == [(3, ({"a": 1},), "")]


def test_concatenated_objects_in_a_jsonl_line_are_split() -> None:
    assert told(b'{"a": 1}{"b": "}{"} {"c": 3}\n') == [(1, ({"a": 1}, {"b": "}{"}, {"c": 3}), "")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"// a comment", "the line is no JSON"),
        (b'{"a": 1', "the line is no JSON"),
        (b'"text"', "the line holds a JSON value that is no object"),
        (b"42", "the line holds a JSON value that is no object"),
        (b'[{"a": 1}]', "the line holds a JSON value that is no object"),
        (b'{"a": "\xff"}', "the line is not UTF-8"),
        (b"[" * 100_000, "the line is no JSON"),
    ],
)
def test_a_jsonl_line_without_an_object_is_broken_and_the_next_is_read(line: bytes, problem: str) -> None:
    assert told(line + b'\n{"b": 2}\n') == [(1, (), problem), (2, ({"b": 2},), "")]


def test_whole_objects_of_a_torn_jsonl_line_are_kept() -> None:
    assert told(b'{"a": 1}{"b": \n') == [(1, ({"a": 1},), "the rest of the line is no JSON")]


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', '{"a": NaN}', '{"a": -Infinity}'])
def test_jsonl_values_only_python_can_parse_are_read(text: str) -> None:
    ((_, (found,), problem),) = told(text.encode() + b"\n")

    assert problem == ""
    assert repr(found) == repr(json.loads(text))


def test_a_whole_last_jsonl_line_without_a_newline_is_read() -> None:
    lines = Lines(io.BytesIO(b'{"a": 1}\n{"b": 2}'))

    assert [line.objects for line in lines] == [({"a": 1},), ({"b": 2},)]
    assert lines.torn is None


@pytest.mark.parametrize("torn", [b'{"b": ', b'{"b": 2}{"c"', b'{"b": "\xc3', b'"tex', b"{"])
def test_a_torn_last_jsonl_line_is_left_for_later(torn: bytes) -> None:
    lines = Lines(io.BytesIO(b'{"a": 1}\n' + torn))

    assert [(line.objects, line.end) for line in lines] == [(({"a": 1},), 9)]
    assert lines.torn is not None


@pytest.mark.parametrize("last", [b'[{"a": 1}]', b'"text"', b"null", b"{} true"])
def test_a_last_jsonl_line_that_cannot_become_an_object_is_broken_at_once(last: bytes) -> None:
    lines = Lines(io.BytesIO(b'{"a": 1}\n' + last))

    assert [line.problem for line in lines] == ["", "the line holds a JSON value that is no object"]
    assert lines.torn is None


def test_a_torn_last_jsonl_line_can_be_inspected() -> None:
    lines = Lines(io.BytesIO(b'{"a": 1}\n\n{"b'))
    list(lines)

    assert lines.torn is not None
    assert (lines.torn.number, lines.torn.problem) == (3, "the line is no JSON")


@pytest.mark.parametrize("rest", [b"\n", b"\r\n", b'{"b": 2}\n'])
def test_a_jsonl_line_resumed_in_the_middle_is_counted_once(rest: bytes) -> None:
    data = b'{"a": 1}' + rest + b'{"c": 3}\n'

    assert [line.number for line in read(data, offset=8, number=1)][-1] == 2


def test_a_byte_order_mark_is_skipped_only_at_the_start_of_a_jsonl_file() -> None:
    mark = b"\xef\xbb\xbf"

    lines = read(mark + b'{"a": 1}\n' + mark + b'{"b": 2}\n')

    assert [(line.end, line.objects) for line in lines] == [(12, ({"a": 1},)), (24, ())]
    assert whole_array(io.BytesIO(mark + b'[{"a": 1}]')) is not None


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, 10**30, -(2**63), -(2**63) - 1])
def test_a_large_integer_is_the_same_however_its_jsonl_line_was_read(number: int) -> None:
    quick, slow = read(f'{{"a": {number}}}\n{{"a": {number}}} {{}}\n'.encode())

    assert repr(quick.objects[0]) == repr(slow.objects[0])


def test_reading_jsonl_resumes_at_an_offset_and_a_number() -> None:
    (line,) = read(b'{"a": 1}\n{"b": 2}\n', offset=9, number=1)

    assert (line.number, line.objects) == (2, ({"b": 2},))


def test_a_jsonl_line_that_is_too_long_is_broken_without_being_held() -> None:
    data = b'{"a": 1}\n{"b": "' + b"x" * 100 + b'"}\n{"c": 3}\n'

    lines = read(data, longest=20)

    assert [(line.number, line.end, line.raw, bool(line.problem)) for line in lines] == [
        (1, 9, b'{"a": 1}\n', False),
        (2, len(data) - 9, b"", True),
        (3, len(data), b'{"c": 3}\n', False),
    ]


def test_a_jsonl_line_that_would_take_too_much_memory_is_broken() -> None:
    (line,) = read(b'"' + b"x" * 17 * 1024**2 + b'"\n')

    assert (line.raw, line.problem) == (b"", "the line is longer than 16 MiB")


def test_a_jsonl_line_of_the_maximum_length_is_read() -> None:
    assert [line.problem for line in read(b'{"abc": 12}\n', longest=11)] == [""]


def test_a_torn_last_jsonl_line_that_is_too_long_is_left() -> None:
    lines = Lines(io.BytesIO(b'{"a": 1}\n' + b"x" * 100), longest=20)

    assert [line.number for line in lines] == [1]
    assert lines.torn is not None


def test_reading_jsonl_survives_a_seek_in_the_file() -> None:
    file = io.BytesIO(b'{"a": 1}\n{"b": 2}\n{"c": 3}\n')

    found = []
    for line in Lines(file):
        found.append(line.objects)
        file.seek(0)

    assert found == [({"a": 1},), ({"b": 2},), ({"c": 3},)]


@given(objects=OBJECTS, data=st.data())
def test_reading_jsonl_in_two_parts_equals_reading_at_once(
    objects: list[dict[str, object]], data: st.DataObject
) -> None:
    whole = b"".join(json.dumps(each).encode() + b"\n" for each in objects)
    cut = data.draw(st.integers(0, len(whole)))

    lines = Lines(io.BytesIO(whole[:cut]))
    first = list(lines)
    offset, number = (first[-1].end, first[-1].number) if first else (0, 0)
    rest = read(whole, offset=offset, number=number)

    assert [each for line in [*first, *rest] for each in line.objects] == objects


# --- arrays ----------------------------------------------------------------------------------------------------


def test_a_json_array_file_is_read_item_by_item() -> None:
    data = b' [{"a": 1},\n {"b": 2}, 3]\n'

    found = whole_array(io.BytesIO(data))

    assert found is not None
    assert [(line.number, line.end, line.objects) for line in found] == [
        (1, 0, ({"a": 1},)),
        (2, 0, ({"b": 2},)),
        (3, len(data), ()),
    ]
    assert [bool(line.problem) for line in found] == [False, False, True]


@pytest.mark.parametrize("data", [b"", b'{"a": 1}\n', b"[1]\n[2]\n", b"[", b'"text"'])
def test_a_file_that_is_not_one_json_array_is_recognised(data: bytes) -> None:
    assert whole_array(io.BytesIO(data)) is None


def test_an_empty_json_array_file_has_no_lines() -> None:
    assert whole_array(io.BytesIO(b"[]")) == ()


@pytest.mark.parametrize("text", ['"\\ud800"', "NaN", "[" * 300 + "]" * 300, "[" * 900 + "]" * 900])
def test_a_json_array_file_is_read_whatever_its_items_hold(text: str) -> None:
    found = whole_array(io.BytesIO(f'[{{"a": {text}}}, {{"b": 2}}]'.encode()))

    assert found is not None
    assert [repr(line.objects) for line in found] == [repr((json.loads(f'{{"a": {text}}}'),)), "({'b': 2},)"]
    assert all(line.raw for line in found)


def test_a_json_array_item_nested_too_deep_is_broken_alone() -> None:
    found = whole_array(io.BytesIO(b'[{"a": ' + b"[" * 1010 + b"]" * 1010 + b'}, {"b": 2}]'))

    assert found is not None
    assert [(line.objects, line.problem) for line in found] == [((), "the item is nested too deep"), (({"b": 2},), "")]


# --- fingerprints ----------------------------------------------------------------------------------------------

BODY = bytes(range(256)) * 64


@pytest.mark.parametrize("offset", [0, 1, 100, 4096, 5000, len(BODY)])
def test_a_file_fingerprint_stays_when_the_file_grows(offset: int) -> None:
    assert fingerprint(io.BytesIO(BODY), offset) == fingerprint(io.BytesIO(BODY[:offset] + b"more"), offset)


@pytest.mark.parametrize("place", [0, 4095, len(BODY) - 4096, len(BODY) - 1])
def test_a_file_fingerprint_changes_with_the_bytes_at_either_end(place: int) -> None:
    changed = bytearray(BODY)
    changed[place] ^= 1

    assert fingerprint(io.BytesIO(changed), len(BODY)) != fingerprint(io.BytesIO(BODY), len(BODY))


def test_a_file_fingerprint_is_of_one_offset() -> None:
    assert fingerprint(io.BytesIO(b"a" * 9000), 8999) != fingerprint(io.BytesIO(b"a" * 9000), 9000)
