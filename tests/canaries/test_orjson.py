"""What the package relies on in orjson: what it refuses, and the very bytes that it writes, for stored digests."""

from __future__ import annotations

import enum
import math
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.canaries.canary import Library

canary = Library("orjson")


class Text(str):
    __slots__ = ()


class Object(dict[str, Any]):
    __slots__ = ()


class Array(list[Any]):
    __slots__ = ()


class Colour(enum.Enum):
    RED = "red"


@canary("services/journal_lines.py", "json_values.py", to="know a line that it has stored before by its digest")
def test_the_bytes_of_a_document_are_what_they_were() -> None:
    values = [1, -2.5, 123456.75, 1e-7, 0.1, True, None, 'é\u2028\x1f"\\/']
    document = {"b": values, "a": {"z": {}, "y": []}, "ß": 2**63}
    plain = orjson.dumps(document)
    ordered = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    listed = '[1,-2.5,123456.75,1e-7,0.1,true,null,"é\u2028\\u001f\\"\\\\/"]'
    assert plain.decode() == f'{{"b":{listed},"a":{{"z":{{}},"y":[]}},"ß":9223372036854775808}}'
    assert ordered.decode() == f'{{"a":{{"y":[],"z":{{}}}},"b":{listed},"ß":9223372036854775808}}'


@canary("json_values.py", to="look closer at what JSON cannot hold")
def test_a_value_that_orjson_writes_as_another_type_is_not_read_back_equal() -> None:
    odd: list[object] = [math.nan, math.inf, Colour.RED, UUID(int=1), (1, 2)]

    assert [orjson.loads(orjson.dumps(value)) == value for value in odd] == [False] * len(odd)


@canary("json_values.py", to="refuse what JSON does not have")
def test_values_and_keys_that_json_does_not_have_are_type_errors() -> None:
    strict = orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    refused: list[object] = [object(), {1: 2}, "\ud800", {1, 2}, b"1", datetime.now(UTC), 2**53, 2**64, deep]

    for value in refused:
        with pytest.raises(TypeError):
            orjson.dumps(value, option=strict)
    assert issubclass(orjson.JSONEncodeError, TypeError)
    assert issubclass(orjson.JSONDecodeError, ValueError)


@canary("json_values.py", to="see a NUL character in the text of a document")
def test_a_nul_character_is_written_in_this_form() -> None:
    assert orjson.dumps("a\0b") == b'"a\\u0000b"'


@canary("json_values.py", to="write frozen documents as they are")
def test_derived_dictionaries_and_lists_and_texts_are_written_as_what_they_derive_from() -> None:
    assert orjson.dumps(Object(a=Array([Text("b")]))) == b'{"a":["b"]}'


@canary("json_values.py", to="give a float back from JSONB as the float that it was, and to digest it by its digits")
def test_large_floats_are_written_with_an_exponent_behind_a_digit_and_no_smaller_ones() -> None:
    for value in (1e16, 1.5e16, -1e22, 2.0**60, 1.7976931348623157e308):
        assert re.search(rb"\de\+?\d", orjson.dumps(value))
    for value in (9_999_999_999_999_998.0, -1e15, 123456.75, 0.001):
        assert b"e" not in orjson.dumps(value)
    assert orjson.dumps([orjson.Fragment("10000000000000000.0")]) == b"[10000000000000000.0]"


@canary("importers/jsonl.py", to="read a line in the same way by either of its parsers")
def test_an_integer_of_more_than_64_bits_is_read_as_a_float() -> None:
    assert orjson.loads("[18446744073709551615, 18446744073709551616, -9223372036854775809]") == [
        *(18446744073709551615, 18446744073709551616.0),
        -9223372036854775809.0,
    ]
    assert [type(each) for each in orjson.loads("[18446744073709551615, 18446744073709551616]")] == [int, float]


@canary("importers/jsonl.py", "importers/redaction.py", to="leave what is no JSON to the other parser")
def test_text_that_is_not_json_is_refused_by_orjson() -> None:
    for text in ("NaN", "Infinity", '"\\ud800"', "{} {}", "1e999", "[1,]", "\ufeff{}", ""):
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(text)


@canary("stored_forms.py", to="read a column of documents at once, and refuse what is one only among others")
def test_documents_that_are_joined_are_read_in_their_places() -> None:
    assert orjson.loads("[" + ",0,".join(['{"a":1}', "null", "[2]"]) + "]") == [{"a": 1}, 0, None, 0, [2]]


@canary("cli/output.py", to="print times in its own form")
def test_a_datetime_is_left_to_the_default_where_it_is_told_so() -> None:
    told = orjson.dumps(datetime(2026, 1, 1, tzinfo=UTC), default=str, option=orjson.OPT_PASSTHROUGH_DATETIME)

    assert told == b'"2026-01-01 00:00:00+00:00"'
