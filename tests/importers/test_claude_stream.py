"""The output of headless runs: a session a file, with what it has cost and how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.importers.transcript_files import append, write
from tests.importers.undoing import content
from vibeweaver_store import AgentStatus, SessionStatus, Store, imports, journal, messages, sessions
from vibeweaver_store.importers.claude_stream import import_claude_stream
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.testing import SettableClock

SESSION = "737ce683-0be2-4496-a5b9-c54c11ba8d98"


def line(kind: str, number: int, **values: Any) -> dict[str, Any]:
    return {"type": kind, "session_id": SESSION, "uuid": f"uuid-{number}", "parent_tool_use_id": None, **values}


def init(number: int, **values: Any) -> dict[str, Any]:
    return line("system", number, subtype="init", cwd="/srv/project", model="claude-sonnet-4-5", **values)


def answer(number: int, text: str, **values: Any) -> dict[str, Any]:
    message = {"id": f"msg_{number}", "role": "assistant", "content": [{"type": "text", "text": text}]}
    return line("assistant", number, message=message, **values)


def result(number: int, cost: Any, *, is_error: bool = False, **values: Any) -> dict[str, Any]:
    return line("result", number, subtype="success", is_error=is_error, total_cost_usd=cost, num_turns=1, **values)


TURN = [init(1), answer(2, "Hello!"), result(3, 0.0076)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def counted(report: ImportReport) -> dict[str, int]:
    return {name: count for name, count in report.counts.as_document().items() if count}


def test_a_claude_stream_becomes_an_agent_session(store: Store, other: Store, file: Path, clock: SettableClock) -> None:
    write(file, *TURN)

    report = import_claude_stream(store, [file])

    session = other.query(sessions.get, SESSION)
    assert (session.name, session.working_dir, session.status) == ("Hello!", "/srv/project", SessionStatus.COMPLETED)
    assert (session.attributes["source"], session.attributes["total_cost_usd"]) == ("claude-stream", 0.0076)
    assert session.created_at == session.completed_at == clock()
    assert counted(report) == {"read": 3, "new": 3, "sessions": 1, "messages": 1}
    events = other.query(journal.for_session, SESSION).items
    assert [event.data for event in events] == TURN
    assert {event.source_session_id for event in events} == {SESSION}


def test_claude_stream_costs_are_of_the_whole_session_and_not_summed(store: Store, file: Path) -> None:
    write(file, *TURN, init(4), answer(5, "Blue."), result(6, 0.0148))

    import_claude_stream(store, [file])

    assert store.query(sessions.get, SESSION).attributes["total_cost_usd"] == 0.0148
    assert [each.content for each in store.query(messages.page, SESSION).items] == ["Hello!", "Blue."]


def test_claude_stream_costs_of_later_turns_replace_earlier_ones(store: Store, file: Path) -> None:
    write(file, *TURN)
    import_claude_stream(store, [file])
    append(file, init(4), result(5, 0.0148))

    report = import_claude_stream(store, [file])

    assert counted(report) == {"read": 2, "new": 2}
    assert store.query(sessions.get, SESSION).attributes["total_cost_usd"] == 0.0148


def test_a_claude_stream_session_without_cost_says_zero(store: Store, file: Path) -> None:
    write(file, init(1), result(2, 0))

    import_claude_stream(store, [file])

    assert store.query(sessions.get, SESSION).attributes["total_cost_usd"] == 0


@pytest.mark.parametrize("cost", ["0.1", True, -1, None, [0.1]])
def test_an_invalid_cost_in_a_claude_stream_is_ignored(store: Store, file: Path, cost: Any) -> None:
    write(file, *TURN, result(4, cost))

    import_claude_stream(store, [file])

    assert store.query(sessions.get, SESSION).attributes["total_cost_usd"] == 0.0076


@pytest.mark.parametrize(
    ("errors", "status", "agent_status"),
    [
        ([False], SessionStatus.COMPLETED, AgentStatus.COMPLETED),
        ([True], SessionStatus.FAILED, AgentStatus.ERROR),
        ([True, False], SessionStatus.COMPLETED, AgentStatus.COMPLETED),
        ([False, True], SessionStatus.FAILED, AgentStatus.ERROR),
    ],
)
def test_a_claude_stream_session_ends_as_its_last_turn(
    store: Store, file: Path, errors: list[bool], status: SessionStatus, agent_status: AgentStatus
) -> None:
    write(file)
    for number, error in enumerate(errors):
        append(file, result(number, 0.1, is_error=error))
        import_claude_stream(store, [file])

    session = store.query(sessions.get, SESSION)
    assert (session.status, session.agent_status) == (status, agent_status)


def test_partial_answers_and_sub_agent_messages_are_only_in_the_journal(store: Store, file: Path) -> None:
    part = line("stream_event", 5, event={"type": "content_block_delta", "delta": {"type": "text_delta", "text": "He"}})
    write(file, *TURN, answer(4, "of an agent", parent_tool_use_id="toolu_1"), part)

    report = import_claude_stream(store, [file])

    assert counted(report) == {"read": 5, "new": 5, "sessions": 1, "messages": 1}


def test_a_claude_stream_may_be_one_json_array(store: Store, file: Path) -> None:
    file.write_bytes(orjson.dumps([*TURN, "no object"], option=orjson.OPT_INDENT_2))

    report = import_claude_stream(store, [file])
    before = content(store)
    again = import_claude_stream(store, [file])

    assert counted(report) == {"read": 4, "new": 3, "broken": 1, "sessions": 1, "messages": 1}
    assert [problem.line for problem in report.problems] == [4]
    assert (again.unchanged, content(store)) == (1, before)


@pytest.mark.parametrize("odd", [b'"\\ud800"', b"NaN", b"[" * 90 + b"]" * 90])
def test_a_claude_stream_array_is_read_whatever_its_items_hold(store: Store, file: Path, odd: bytes) -> None:
    first, *rest = (orjson.dumps(each) for each in TURN)
    file.write_bytes(b"[" + b",".join([first[:-1] + b',"odd":' + odd + b"}", *rest]) + b"]")

    report = import_claude_stream(store, [file])

    assert counted(report) == {"read": 3, "new": 3, "sessions": 1, "messages": 1}


@pytest.mark.parametrize("depth", [300, 1010])
def test_a_claude_stream_item_nested_too_deep_is_broken(store: Store, file: Path, depth: int) -> None:
    deep = b'{"deep":' + b"[" * depth + b"]" * depth + b"}"
    file.write_bytes(b"[" + b",".join([deep, *map(orjson.dumps, TURN)]) + b"]")

    report = import_claude_stream(store, [file])

    assert counted(report) == {"read": 4, "new": 3, "broken": 1, "sessions": 1, "messages": 1}
    assert [problem.line for problem in report.problems] == [1]


def test_a_rewritten_claude_stream_array_is_read_anew(store: Store, file: Path) -> None:
    file.write_bytes(orjson.dumps(TURN))
    import_claude_stream(store, [file])
    file.write_bytes(orjson.dumps([*TURN, answer(9, "more")]))

    report = import_claude_stream(store, [file])

    assert (report.rewritten, counted(report)) == (1, {"read": 4, "new": 1, "duplicate": 3, "messages": 1})


def test_a_dry_run_of_a_claude_stream_import_writes_nothing(store: Store, file: Path) -> None:
    write(file, *TURN)

    report = import_claude_stream(store, [file], dry_run=True)

    assert counted(report) == {"read": 3, "new": 3, "sessions": 1, "messages": 1}
    assert store.query(sessions.page).items == []
    assert store.query(imports.page).items == []


def test_a_claude_stream_import_is_undone_without_a_trace(store: Store, file: Path) -> None:
    before = content(store)
    write(file, *TURN)
    (import_id,) = import_claude_stream(store, [file]).import_ids

    store.run(imports.undo, import_id)

    assert content(store) == before


def test_a_folder_is_refused_as_a_claude_stream(store: Store, tmp_path: Path) -> None:
    report = import_claude_stream(store, [tmp_path])

    assert [problem.reason for problem in report.problems] == ["this is no file"]
