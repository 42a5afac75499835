"""A memva database: agents' sessions, their journal, and what can be read of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from tests.importers.foreign_files import OF_MEMVA, memva_database, write_rows
from tests.importers.undoing import content, undo_all
from vibeweaver_store import Store, sessions
from vibeweaver_store.importers import foreign_database
from vibeweaver_store.importers.memva import import_memva
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import AgentStatus, ImportStatus, JournalEvent, MessageRole, SessionKind, SessionStatus
from vibeweaver_store.services import imports, messages, workspaces
from vibeweaver_store.testing import MessageFactory, SettableClock

EARLY = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)
ONE = [{"id": "one"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memva.db"


def event(number: int, data: Any, **columns: Any) -> dict[str, Any]:
    given = data if isinstance(data, str | bytes) else json.dumps(data)
    return {"uuid": f"e{number}", "memva_session_id": "one", "data": given, **columns}


def prompt(number: int, text: str, **columns: Any) -> dict[str, Any]:
    line = {"type": "user", "uuid": f"e{number}", "message": {"role": "user", "content": text}}
    return event(number, line, event_type="user", **columns)


def answer(number: int, text: str, **columns: Any) -> dict[str, Any]:
    message = {"role": "assistant", "id": "msg_1", "content": [{"type": "text", "text": text}]}
    return event(number, {"type": "assistant", "message": message}, event_type="assistant", **columns)


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def journal_of(store: Store) -> list[JournalEvent]:
    with store.read() as uow:
        return list(uow.exec(select(JournalEvent).order_by(col(JournalEvent.id))))


# --- sessions --------------------------------------------------------------------------------------------------


def test_a_memva_session_becomes_an_agent_session_in_its_project(store: Store, other: Store, path: Path) -> None:
    rows = [{"id": "one", "metadata": '{"should_auto_start":true}'}]
    report = import_memva(store, memva_database(path, sessions=rows, events=[prompt(1, "Go.")]))

    session = other.query(sessions.get, "one")
    assert (session.kind, session.name, session.tempo_bpm) == (SessionKind.AGENT, "A search page", None)
    assert (session.status, session.agent_status) == (SessionStatus.RUNNING, AgentStatus.COMPLETED)
    assert (session.created_at, session.updated_at, session.last_activity_at) == (EARLY, LATE, LATE)
    assert (session.working_dir, session.attributes) == ("/srv/memva", {"should_auto_start": True})
    assert other.query(workspaces.get, session.workspace_id or "").path == "/srv/memva"
    assert [session.import_id] == report.import_ids


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ([], None),
        ([prompt(2, "Second."), prompt(1, "\nFind it.\nThen mend it.", timestamp="2025-01-13T09:00:00Z")], "Find it."),
        ([answer(1, "Done.")], None),
        ([prompt(1, "<command-name>/clear</command-name>"), prompt(2, "Find it.")], "Find it."),
        ([event(1, "no JSON"), prompt(2, "Find it.")], "Find it."),
        ([event(1, {"type": "user", "content": "Find it.", "session_id": ""})], "Find it."),
    ],
    ids=["nothing said", "first by time", "only answered", "a command", "a broken event", "as memva writes it"],
)
def test_a_memva_session_without_a_title_is_named_after_its_first_prompt(
    store: Store, other: Store, path: Path, events: list[dict[str, Any]], name: str | None
) -> None:
    import_memva(store, memva_database(path, sessions=[{"id": "one", "title": None}], events=events))

    assert other.query(sessions.get, "one").name == name


def test_memva_statuses_are_translated(store: Store, other: Store, path: Path) -> None:
    words = [("active", None), ("active", "processing"), ("completed", "completed"), ("error", "error")]
    rows = [{"id": str(n), "status": status, "claude_status": agent} for n, (status, agent) in enumerate(words)]

    import_memva(store, memva_database(path, sessions=rows))

    found = [other.query(sessions.get, row["id"] or "") for row in rows]
    assert [(each.status, each.agent_status, each.completed_at) for each in found] == [
        (SessionStatus.RUNNING, AgentStatus.NOT_STARTED, None),
        (SessionStatus.RUNNING, AgentStatus.PROCESSING, None),
        (SessionStatus.COMPLETED, AgentStatus.COMPLETED, LATE),
        (SessionStatus.FAILED, AgentStatus.ERROR, LATE),
    ]


BROKEN_SESSIONS: list[tuple[dict[str, Any], str]] = [
    ({"project_path": " "}, "project_path: must not be blank"),
    ({"status": b"active"}, "status: b'active' is none of"),
    ({"claude_status": b"completed"}, "claude_status: b'completed' is none of"),
    ({"metadata": '{"a":"\\u0000"}'}, "attributes: "),
    ({"updated_at": "now"}, "updated_at: must be a time"),
]


def test_an_unreadable_memva_session_is_rejected_but_its_events_are_kept(
    store: Store, other: Store, path: Path
) -> None:
    rows = [{"id": f"s{n}", **columns} for n, (columns, _) in enumerate(BROKEN_SESSIONS)]
    memva_database(path, sessions=rows, events=[prompt(1, "Go.", memva_session_id="s0")])

    report = import_memva(store, path)

    expected = [f"sessions 's{n}': {reason}" for n, (_, reason) in enumerate(BROKEN_SESSIONS)]
    assert [said[: len(begins)] for said, begins in zip(reasons(report), expected, strict=True)] == expected
    assert other.query(sessions.page).items == []
    (kept,) = journal_of(other)
    assert (kept.event_uuid, kept.session_id, kept.source_session_id) == ("e1", None, "agent-1")


# --- events ----------------------------------------------------------------------------------------------------


def test_memva_events_go_into_the_journal_verbatim(store: Store, other: Store, path: Path) -> None:
    line = {
        "type": "assistant",
        "uuid": "own",
        "sessionId": "theirs",
        "timestamp": "2025-01-13T10:00:05.000Z",
        "cwd": "/srv/memva/sub",
        "parentUuid": "e0",
        "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 3, "output_tokens": 5}, "content": []},
    }

    report = import_memva(store, memva_database(path, sessions=ONE, events=[event(1, line)]))

    (kept,) = journal_of(other)
    assert kept.data == line
    assert (kept.event_uuid, kept.source_session_id, kept.session_id) == ("own", "theirs", "one")
    assert (kept.project_name, kept.cwd, kept.parent_uuid) == ("memva", "/srv/memva/sub", "e0")
    assert (kept.message_id, kept.input_tokens, kept.output_tokens) == ("msg_1", 3, 5)
    assert [kept.import_id] == report.import_ids


def test_a_memva_event_takes_missing_values_from_its_columns(store: Store, other: Store, path: Path) -> None:
    columns = {"event_type": "system", "is_sidechain": 1, "parent_uuid": "e0", "timestamp": "2025-01-13 10:00:00"}
    import_memva(store, memva_database(path, sessions=ONE, events=[event(1, {"subtype": "init"}, **columns)]))

    (kept,) = journal_of(other)
    assert kept.data == {
        "subtype": "init",
        "uuid": "e1",
        "type": "system",
        "timestamp": "2025-01-13T10:00:00+00:00",
        "cwd": "/srv/memva",
        "parentUuid": "e0",
        "isSidechain": True,
        "sessionId": "agent-1",
    }
    assert (kept.event_uuid, kept.event_type, kept.timestamp) == ("e1", "system", EARLY)
    assert (kept.is_sidechain, kept.parent_uuid, kept.source_session_id) == (True, "e0", "agent-1")


def test_memva_events_are_sorted_by_time_then_insertion(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 2)
    late = "2025-01-13T11:00:00Z"
    events = [prompt(1, "d", timestamp=late), prompt(2, "a"), prompt(3, "e", timestamp=late), prompt(5, "b")]

    import_memva(store, memva_database(path, sessions=ONE, events=[*events, prompt(4, "c")]))

    assert [each.event_uuid for each in journal_of(other)] == ["e2", "e5", "e4", "e1", "e3"]
    assert [each.content for each in other.query(messages.page, "one").items] == list("abcde")


def test_readable_memva_events_become_messages(store: Store, other: Store, path: Path) -> None:
    events = [
        prompt(1, "Find it."),
        answer(2, "Found it.", timestamp="2025-01-13T12:30:00Z"),
        event(3, {"type": "user", "message": {"content": [{"type": "tool_result", "content": "x"}]}}),
        event(4, {"type": "system", "subtype": "init"}, event_type="system"),
        event(5, {"type": "user", "content": "And mend it.", "session_id": ""}, timestamp="2025-01-13T12:31:00Z"),
        prompt(6, "aside", is_sidechain=1),
    ]

    report = import_memva(store, memva_database(path, sessions=ONE, events=events))

    found = other.query(messages.page, "one").items
    assert [(each.role, each.content, each.public_id) for each in found] == [
        (MessageRole.USER, "Find it.", "e1"),
        (MessageRole.ASSISTANT, "Found it.", "e2"),
        (MessageRole.USER, "And mend it.", "e5"),
    ]
    assert (found[1].created_at, [found[1].import_id]) == (LATE, report.import_ids)
    counts = report.counts
    assert (counts.read, counts.new, counts.messages, counts.sessions, counts.broken) == (7, 7, 3, 1, 0)


def test_a_memva_event_without_a_session_is_kept(store: Store, other: Store, path: Path) -> None:
    events = [prompt(1, "Go.", memva_session_id=None), prompt(2, "Go.", memva_session_id="nobody")]
    events += [prompt(3, "Go.", memva_session_id="a\x00b"), prompt(4, "Go.", session_id="", memva_session_id="nobody")]

    report = import_memva(store, memva_database(path, events=events))

    assert (report.problems, report.counts.new, report.counts.messages) == ([], 4, 0)
    assert {each.session_id for each in journal_of(other)} == {None}
    assert [each.source_session_id for each in journal_of(other)] == ["agent-1", "agent-1", "agent-1", "nobody"]


BROKEN_EVENTS: list[tuple[dict[str, Any], str]] = [
    (event(1, "no JSON"), "events 'e1': data: is no JSON"),
    (event(2, "[]"), "events 'e2': data: must be a JSON object"),
    (event(3, {}, is_sidechain=7), "events 'e3': is_sidechain: must be 0 or 1"),
    (event(4, {}, uuid=" "), "events ' ': uuid: must not be blank"),
    (event(5, {}, session_id="", memva_session_id=None), "events 'e5': source_session_id: "),
    (event(6, b"\xff"), "events 'e6': data: is no JSON"),
    (event(7, {}, timestamp="soon"), "events 'e7': timestamp: must be a time"),
]


def test_an_unreadable_memva_event_is_rejected_and_the_rest_imported(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=ONE, events=[*[row for row, _ in BROKEN_EVENTS], prompt(8, "Go.")])

    report = import_memva(store, path)

    expected = [reason for _, reason in BROKEN_EVENTS]
    assert [said[: len(begins)] for said, begins in zip(reasons(report), expected, strict=True)] == expected
    assert [each.event_uuid for each in journal_of(other)] == ["e8"]
    assert (report.counts.read, report.counts.new, report.counts.broken) == (9, 2, 7)


def test_memva_events_of_unknown_types_are_kept_and_counted(store: Store, other: Store, path: Path) -> None:
    report = import_memva(store, memva_database(path, sessions=ONE, events=[event(1, {}, event_type="omen")]))

    assert (report.counts.new, report.counts.unknown) == (2, 1)
    assert [each.event_type for each in journal_of(other)] == ["omen"]


def test_a_memva_import_redacts_secrets_by_default(store: Store, other: Store, path: Path) -> None:
    secret = "sk-ant-api03-" + "a1b2c3d4" * 4
    rows = [{"id": "one", "title": None}]
    memva_database(path, sessions=rows, events=[prompt(1, f"The key is {secret}")])

    report = import_memva(store, path)

    assert report.counts.redacted == 1
    assert secret not in str(content(other))
    undo_all(store, report)
    assert import_memva(store, path, redact=False).counts.redacted == 0
    assert other.query(messages.page, "one").items[0].content == f"The key is {secret}"


def test_a_memva_import_redacts_secrets_in_columns(store: Store, other: Store, path: Path) -> None:
    secret = "sk-ant-api03-" + "a1b2c3d4" * 4
    rows = [{"id": "one", "title": secret, "metadata": json.dumps({"api_key": "plain", "note": secret})}]
    memva_database(path, sessions=rows, events=[prompt(1, "Go.", project_name=secret)])

    report = import_memva(store, path)

    assert report.counts.redacted == 4
    session = other.query(sessions.get, "one")
    assert (session.name, session.attributes) == ("[redacted]", {"api_key": "[redacted]", "note": "[redacted]"})
    assert [each.project_name for each in journal_of(other)] == ["[redacted]"]
    undo_all(store, report)
    import_memva(store, path, redact=False)
    assert other.query(sessions.get, "one").attributes == {"api_key": "plain", "note": secret}


def test_the_report_of_a_memva_import_redacts_secrets(store: Store, other: Store, path: Path) -> None:
    secret = "ghp_" + "a1b2c3d4" * 5
    report = import_memva(store, memva_database(path, sessions=ONE, events=[event(1, f"no JSON: {secret}")]))

    assert reasons(report)[0].endswith("(got 'no JSON: [redacted]')")
    assert secret not in str(other.query(imports.page).items[0].report)


# --- again -----------------------------------------------------------------------------------------------------


def test_a_second_memva_import_adds_nothing(store: Store, other: Store, path: Path, clock: SettableClock) -> None:
    events = [prompt(1, "Go."), answer(2, "Gone."), event(3, "no JSON")]
    import_memva(store, memva_database(path, sessions=ONE, events=events))
    before = content(other)
    clock.advance(seconds=3600)

    again = import_memva(store, path)

    assert content(other) == before
    assert (again.counts.read, again.counts.duplicate, again.counts.broken, again.counts.new) == (4, 3, 1, 0)
    assert (again.unchanged, again.import_ids, len(other.query(imports.page).items)) == (1, [], 1)


def test_a_second_memva_import_adds_new_rows(store: Store, other: Store, path: Path) -> None:
    first = import_memva(store, memva_database(path, sessions=ONE, events=[prompt(1, "Go.")]))
    write_rows(path, OF_MEMVA, sessions=[{"id": "two"}], events=[answer(2, "Gone.")])

    again = import_memva(store, path)

    assert [each.content for each in other.query(messages.page, "one").items] == ["Go.", "Gone."]
    assert (again.counts.new, again.counts.messages, again.counts.sessions, again.counts.duplicate) == (2, 1, 1, 2)
    undo_all(store, again)
    assert [each.event_uuid for each in journal_of(other)] == ["e1"]
    undo_all(store, first)
    assert other.query(sessions.page).items == []


def test_a_dry_run_of_a_memva_import_reports_the_same_and_writes_nothing(
    store: Store, other: Store, path: Path
) -> None:
    memva_database(path, sessions=ONE, events=[prompt(1, "Go."), event(2, "no JSON")])
    before = content(other)

    tried = import_memva(store, path, dry_run=True)

    assert content(other) == before
    assert other.query(imports.page).items == []
    done = import_memva(store, path)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


def test_an_undone_memva_import_leaves_nothing_and_can_be_repeated(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        MessageFactory.create(uow=uow)
    before = content(other)
    memva_database(path, sessions=ONE, events=[prompt(1, "Go."), prompt(2, "Go.", memva_session_id=None)])

    undo_all(store, import_memva(store, path))

    assert content(other) == before
    assert import_memva(store, path).counts.new == 3


def test_a_memva_import_is_recorded(store: Store, other: Store, path: Path) -> None:
    import_memva(store, memva_database(path, sessions=ONE, events=[prompt(1, "Go."), event(2, "no JSON")]))

    (recorded,) = other.query(imports.page).items
    assert (recorded.importer, recorded.source, recorded.status) == ("memva", str(path), ImportStatus.COMPLETED)
    assert (recorded.counts["read"], recorded.counts["new"], recorded.counts["broken"]) == (3, 2, 1)
