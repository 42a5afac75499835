"""What a line says: the columns that are pulled out of it, and what becomes of lines that no backend can hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.services.bad_input import BAD_IDS, BAD_TEXTS, VERBATIM
from vibeweaver_store import InvalidInput
from vibeweaver_store.columns import Id
from vibeweaver_store.json_values import encode_text, freeze, text_of_read
from vibeweaver_store.services.journal_lines import KNOWN_TYPES, NewEvent, columns_of, id_of
from vibeweaver_store.validation import require

ASSISTANT: dict[str, Any] = {
    "parentUuid": "u-1",
    "isSidechain": False,
    "cwd": "/srv/projects/late-set",
    "sessionId": "7c1e4a52",
    "type": "assistant",
    "requestId": "req_1",
    "uuid": "u-2",
    "timestamp": "2026-01-23T17:14:19.984Z",
    "message": {
        "id": "msg_1",
        "model": "claude-sonnet-4-5",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello"}],
        "usage": {
            "input_tokens": 3,
            "output_tokens": 12,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 200,
            "service_tier": "standard",
        },
    },
}

STREAMED: dict[str, Any] = {
    "type": "assistant",
    "session_id": "a84bb471",
    "uuid": "u-3",
    "parent_tool_use_id": None,
    "request_id": "req_2",
    "message": {"id": "msg_2", "usage": {"output_tokens": 1}},
}


def said(line: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The columns of a line, with some of its fields changed."""
    return columns_of(NewEvent({**(line or ASSISTANT), **changes}))


def test_a_transcript_line_is_split_into_columns() -> None:
    assert said() == {
        "event_uuid": "u-2",
        "source_session_id": "7c1e4a52",
        "event_type": "assistant",
        "timestamp": datetime(2026, 1, 23, 17, 14, 19, 984_000, tzinfo=UTC),
        "is_sidechain": False,
        "parent_uuid": "u-1",
        "cwd": "/srv/projects/late-set",
        "project_name": "late-set",
        "session_id": None,
        "model": "claude-sonnet-4-5",
        "message_id": "msg_1",
        "request_id": "req_1",
        "input_tokens": 3,
        "output_tokens": 12,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "import_id": None,
        "data": ASSISTANT,
    }


def test_a_stream_line_is_split_into_columns() -> None:
    columns = said(STREAMED)
    assert (columns["source_session_id"], columns["event_uuid"], columns["timestamp"]) == ("a84bb471", "u-3", None)
    assert (columns["message_id"], columns["request_id"], columns["output_tokens"]) == ("msg_2", "req_2", 1)
    assert (columns["input_tokens"], columns["is_sidechain"]) == (None, False)


def test_values_given_with_a_journal_line_are_kept_with_it() -> None:
    columns = columns_of(NewEvent({"type": "summary"}, "file-1", "jam", "set", 7))
    assert [columns[name] for name in ("source_session_id", "session_id", "project_name", "import_id")] == [
        *("file-1", "jam", "set", 7)
    ]


def test_a_journal_line_belongs_to_the_session_it_names() -> None:
    assert columns_of(NewEvent(ASSISTANT, source_session_id="another"))["source_session_id"] == "7c1e4a52"


def test_a_given_project_name_overrides_the_folder_of_a_journal_line() -> None:
    assert columns_of(NewEvent(ASSISTANT, project_name="set"))["project_name"] == "set"


@pytest.mark.parametrize(
    ("cwd", "name"),
    [
        ("/srv/projects/late-set", "late-set"),
        ("/srv/projects/late-set/", "late-set"),
        ("C:\\Users\\ada\\late set", "late set"),
        ("late-set", "late-set"),
        ("/", None),
        ("", None),
    ],
)
def test_a_journal_line_takes_its_project_name_from_its_folder(cwd: str, name: str | None) -> None:
    assert said(cwd=cwd)["project_name"] == name


# Types, times, sidechains, parents


@pytest.mark.parametrize("event_type", [None, "", "  ", 5, ["user"], "x" * 1001, "a\x00b"])
def test_a_journal_line_without_a_type_gets_the_unknown_type(event_type: Any) -> None:
    assert said(type=event_type)["event_type"] == "unknown"
    assert "unknown" not in KNOWN_TYPES


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-23T17:14:19.984Z", datetime(2026, 1, 23, 17, 14, 19, 984_000, tzinfo=UTC)),
        ("2026-01-23T17:14:19Z", datetime(2026, 1, 23, 17, 14, 19, tzinfo=UTC)),
        ("2026-01-23T17:14:19.984123Z", datetime(2026, 1, 23, 17, 14, 19, 984_123, tzinfo=UTC)),
        ("2026-01-23T17:14:19+02:00", datetime(2026, 1, 23, 15, 14, 19, tzinfo=UTC)),
        ("2026-01-23T17:14:19", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (1769188459, None),
        (None, None),
    ],
)
def test_a_journal_line_time_is_parsed_or_left_out(text: Any, instant: datetime | None) -> None:
    assert said(timestamp=text)["timestamp"] == instant


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_a_journal_line_time_with_a_zone_is_read_as_its_instant(local: datetime, minutes: int) -> None:
    instant = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    try:
        expected = instant.astimezone(UTC)
    except OverflowError:
        return
    assert said(timestamp=instant.isoformat())["timestamp"] == expected


@pytest.mark.parametrize(
    ("fields", "sidechain"),
    [
        ({"isSidechain": True}, True),
        ({"isSidechain": False}, False),
        ({"isSidechain": None}, False),
        ({"isSidechain": "true"}, False),
        ({"isSidechain": False, "parent_tool_use_id": "toolu_1"}, True),
    ],
)
def test_a_sidechain_is_recognised_in_both_kinds_of_journal_line(fields: dict[str, Any], sidechain: bool) -> None:
    assert said(**fields)["is_sidechain"] is sidechain


@pytest.mark.parametrize(
    ("fields", "parent"),
    [
        ({"parentUuid": "u-1", "logicalParentUuid": "u-0"}, "u-1"),
        ({"parentUuid": None, "logicalParentUuid": "u-0"}, "u-0"),
        ({"parentUuid": "", "logicalParentUuid": None}, None),
        ({"parentUuid": None}, None),
    ],
)
def test_the_parent_of_a_compaction_line_is_the_compacted_line(fields: dict[str, Any], parent: str | None) -> None:
    assert said(**fields)["parent_uuid"] == parent


# Keys


def test_a_journal_line_without_a_uuid_gets_a_key_from_source_and_content() -> None:
    line = {"type": "mode", "mode": "plan", "sessionId": "7c1e4a52"}
    key = said(line)["event_uuid"]
    assert key.startswith("sha256:")
    assert len(key) == len("sha256:") + 40
    assert said(dict(reversed(line.items())))["event_uuid"] == key
    assert said(line, mode="default")["event_uuid"] != key
    assert said(line, sessionId="another")["event_uuid"] != key


def test_a_journal_line_in_two_files_has_two_keys() -> None:
    one, two = (columns_of(NewEvent({"type": "summary"}, source)) for source in ("file-1", "file-2"))
    assert one["event_uuid"] != two["event_uuid"]


@pytest.mark.parametrize("bad", [None, 5, True, ["u-2"], "", "  ", "a\x00b", "\ud800", "x" * 201], ids=ascii)
def test_a_journal_line_with_an_invalid_uuid_gets_a_key_from_its_content(bad: Any) -> None:
    assert said(uuid=bad)["event_uuid"].startswith("sha256:")


# What columns cannot take stays in the line

COLUMN_OF = {
    "parentUuid": "parent_uuid",
    "cwd": "cwd",
    "requestId": "request_id",
    "timestamp": "timestamp",
}


@pytest.mark.parametrize("bad", [5, True, ["a"], {"a": 1}, "a\x00b", "\ud800"], ids=ascii)
@pytest.mark.parametrize("field", COLUMN_OF)
def test_a_journal_value_its_column_cannot_hold_is_left_out(field: str, bad: Any) -> None:
    columns = said(**{field: bad})
    assert columns[COLUMN_OF[field]] is None
    assert field in columns["data"]


@pytest.mark.parametrize("bad", [-1, True, 1.5, "12", None, 2**40 + 1, 2**70, [1]], ids=repr)
def test_an_invalid_token_count_of_a_journal_line_is_left_out(bad: Any) -> None:
    message = {**ASSISTANT["message"], "usage": {**ASSISTANT["message"]["usage"], "output_tokens": bad}}
    columns = said(message=message)
    assert (columns["output_tokens"], columns["input_tokens"]) == (None, 3)


@pytest.mark.parametrize("message", [None, "text", 5, [], {}, {"usage": None}, {"usage": [1]}], ids=repr)
def test_a_journal_message_of_another_shape_has_no_tokens(message: Any) -> None:
    columns = said(message=message)
    assert (columns["message_id"], columns["model"], columns["output_tokens"]) == (None, None, None)


def test_a_stream_event_of_a_partial_response_has_no_message_or_tokens() -> None:
    columns = said(
        {
            "type": "stream_event",
            "session_id": "s",
            "event": {"type": "message_start", "message": ASSISTANT["message"]},
        }
    )
    assert (columns["message_id"], columns["output_tokens"]) == (None, None)


def test_a_journal_line_id_too_long_for_an_index_is_left_out() -> None:
    assert said(parentUuid="x" * 201)["parent_uuid"] is None


# Documents that no backend can hold


@pytest.mark.parametrize("text", VERBATIM)
def test_a_journal_line_is_kept_as_it_came(text: str) -> None:
    assert said(toolUseResult={text: [text]})["data"] == {**ASSISTANT, "toolUseResult": {text: [text]}}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\x00b", "a\ufffdb"),
        ("a\ud83d", "a\ufffd"),
        ("\udd41\ud83e\udd41\x00", "\ufffd🥁\ufffd"),
        (2**63, str(2**63)),
        (-(2**70), str(-(2**70))),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (
            {"a\x00": {"\x00": ["\x00", 2**63 - 1, True, None]}},
            {"a\ufffd": {"\ufffd": ["\ufffd", 2**63 - 1, True, None]}},
        ),
    ],
    ids=ascii,
)
def test_characters_no_backend_can_hold_are_replaced_in_a_journal_line(value: Any, kept: Any) -> None:
    assert said(toolUseResult=value)["data"] == {**ASSISTANT, "toolUseResult": kept}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(ASSISTANT)) | st.text(st.characters()), anything, max_size=6))
def test_any_json_object_is_accepted_as_a_journal_line(line: dict[str, Any]) -> None:
    columns = columns_of(NewEvent(line, source_session_id="file-1"))
    assert freeze(columns["data"]) == columns["data"]
    assert columns["event_type"]


@given(st.dictionaries(st.text(), anything, max_size=6))
def test_a_journal_line_has_one_key_however_often_it_is_read(line: dict[str, Any]) -> None:
    try:
        again = json.loads(json.dumps(line))
    except (ValueError, RecursionError):
        return
    keys = [columns_of(NewEvent(each, source_session_id="file-1"))["event_uuid"] for each in (line, again)]
    assert keys[0] == keys[1]


# Refusals


@pytest.mark.parametrize("line", [None, 5, "text", ["a"], b"{}", True], ids=repr)
def test_a_journal_line_that_is_not_an_object_is_refused(line: Any) -> None:
    with pytest.raises(InvalidInput, match="JSON object") as caught:
        columns_of(NewEvent(line))
    assert caught.value.field == "data"


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [100, 5000, 100_000])
def test_a_journal_line_nested_too_deep_is_refused(levels: int) -> None:
    with pytest.raises(InvalidInput, match="nested too deep"):
        said(deep=nested(levels))


def test_a_journal_line_nested_as_deep_as_documents_may_be_is_kept() -> None:
    assert said(deep=nested(99))["data"]["deep"] == nested(99)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", {1: "a"}, 10**5000], ids=["a set", "bytes", "a key", "digits"])
def test_a_journal_line_with_a_value_outside_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        said(value=value)
    assert caught.value.field == "data"


@pytest.mark.parametrize("fields", [{}, {"sessionId": ""}, {"sessionId": 5, "session_id": None}], ids=repr)
def test_a_journal_line_without_a_source_session_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="names no session"):
        columns_of(NewEvent({"type": "summary", **fields}))


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("field", ["source_session_id", "session_id"])
def test_an_invalid_session_of_a_journal_line_is_refused(field: str, bad: Any) -> None:
    given: dict[str, Any] = {field: bad}
    with pytest.raises(InvalidInput) as caught:
        columns_of(NewEvent(ASSISTANT, **given))
    assert caught.value.field == field


@pytest.mark.parametrize("bad", BAD_TEXTS)
def test_an_invalid_project_name_of_a_journal_line_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        columns_of(NewEvent(ASSISTANT, project_name=bad))
    assert caught.value.field == "project_name"


@pytest.mark.parametrize("bad", [-1, True, "1", 1.0, 2**63], ids=repr)
def test_an_invalid_import_of_a_journal_line_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        columns_of(NewEvent(ASSISTANT, import_id=bad))
    assert caught.value.field == "import_id"


# As text


@given(st.dictionaries(st.sampled_from(sorted(ASSISTANT)) | st.text(st.characters()), anything, max_size=6))
def test_a_journal_line_given_as_text_has_the_same_columns(line: dict[str, Any]) -> None:
    columns = columns_of(NewEvent(line, source_session_id="file-1"))
    text = columns_of(NewEvent(line, source_session_id="file-1"), as_text=True)
    assert text == {**columns, "data": encode_text(columns["data"])}


@given(st.dictionaries(st.text(), anything, max_size=6))
@example({"deep": [[[]]] * 40})
@example({"nul": "\x00"})
@example({"spelled out": "\\u0000"})
@example({"great": 2**53})
@example({"greatest": 2**64 - 1})
def test_the_text_of_a_parsed_journal_line_equals_its_encoding_or_is_none(line: dict[str, Any]) -> None:
    try:
        read = orjson.loads(json.dumps(line))
    except (ValueError, RecursionError):
        return
    text = text_of_read(read)
    assert text is None or text == encode_text(read)


@pytest.mark.parametrize(("levels", "taken"), [(100, True), (101, False), (300, False)])
def test_a_parsed_journal_line_nested_too_deep_has_no_text(levels: int, taken: bool) -> None:
    many = b"[" * 200 + b"]" * 200
    deep = orjson.loads(b'{"a":' * levels + b'"' + many + b'"' + b"}" * levels)
    wide = orjson.loads(b"[" + b"[]," * 200 + b"{}]")
    assert (text_of_read(deep) is not None) is taken
    assert text_of_read(wide) == encode_text(wide)


@given(st.text(st.characters(), max_size=250) | anything)
@example("x" * 200)
@example("x" * 201)
@example("\x7f")
@example("é" * 101)
def test_a_journal_line_id_is_valid_if_a_service_accepts_it(value: Any) -> None:
    try:
        expected = require(Id, value, field="id")
    except InvalidInput:
        expected = None
    assert id_of(value) == expected
