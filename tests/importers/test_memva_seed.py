"""What memva's programs write beyond seed 004: words and columns of their own, and parents that come later."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from tests.importers.foreign_files import OF_MEMVA, memva_database, write_rows
from tests.importers.undoing import content, undo_all
from vibeweaver_store import Store, jobs, journal, messages, sessions
from vibeweaver_store.importers import foreign_database
from vibeweaver_store.importers.memva import import_memva
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import AgentStatus, Import, Job, JournalEvent, SessionStatus
from vibeweaver_store.services import imports
from vibeweaver_store.testing import SettableClock

LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)
LATER = "2025-01-13T13:00:00Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memva.db"


def said(number: int, text: str, session: str | None = "one", **columns: Any) -> dict[str, Any]:
    line = {"type": "user", "uuid": f"e{number}", "message": {"role": "user", "content": text}}
    return {"uuid": f"e{number}", "memva_session_id": session, "data": json.dumps(line), **columns}


def notes(report: ImportReport) -> list[tuple[str, int]]:
    return [(note.text, note.count) for note in report.notes]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def jobs_of(store: Store) -> dict[str, Job]:
    with store.read() as uow:
        return {job.id: job for job in uow.exec(select(Job))}


def events_of(store: Store) -> list[tuple[str, str | None]]:
    with store.read() as uow:
        found = uow.exec(select(JournalEvent).order_by(col(JournalEvent.id)))
        return [(event.event_uuid, event.session_id) for event in found]


# --- words -----------------------------------------------------------------------------------------------------


def test_memva_words_running_and_waiting_for_input_are_imported_and_told(
    store: Store, other: Store, path: Path
) -> None:
    rows = [{"id": "one", "claude_status": "waiting_for_input"}, {"id": "two", "claude_status": "waiting_for_input"}]
    tried = [{"id": "first", "status": "running", "attempts": 1}, {"id": "last", "status": "running", "attempts": 3}]

    report = import_memva(store, memva_database(path, sessions=rows, jobs=tried))

    assert (report.problems, report.counts.new, report.counts.broken) == ([], 4, 0)
    session = other.query(sessions.get, "one")
    assert (session.agent_status, session.status) == (AgentStatus.COMPLETED, SessionStatus.RUNNING)
    assert session.attributes == {"memva": {"claude_status": "waiting_for_input"}}
    assert {key: job.status for key, job in jobs_of(other).items()} == {"first": "pending", "last": "failed"}
    assert notes(report) == [
        ("sessions.claude_status 'waiting_for_input' is read as completed", 2),
        ("jobs.status 'running' is read as pending", 1),
        ("jobs.status 'running' is read as failed", 1),
    ]
    (recorded,) = other.query(imports.page).items
    assert recorded.report["notes"][0] == ("sessions.claude_status 'waiting_for_input' is read as completed (2 rows)")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("idle", "paused"),
        ("stopped", "paused"),
        ("starting", "created"),
        ("Working", "running"),
        ("done", "completed"),
        ("cancelled", "failed"),
        ("deleted", "archived"),
        ("asleep", "paused"),
        ("", "paused"),
    ],
)
def test_memva_session_words_of_others_are_read_as_the_nearest(
    store: Store, other: Store, path: Path, word: str, status: str
) -> None:
    report = import_memva(store, memva_database(path, sessions=[{"id": "one", "status": word}]))

    session = other.query(sessions.get, "one")
    assert (session.status, session.attributes) == (SessionStatus(status), {"memva": {"status": word}})
    assert notes(report) == [(f"sessions.status {word!r} is read as {status}", 1)]
    assert (session.completed_at is not None) is (status in {"completed", "failed", "archived"})


def test_a_memva_job_of_an_unknown_word_is_rejected(store: Store, other: Store, path: Path) -> None:
    words = {"queued": "pending", "success": "completed", "dead": "failed", "canceled": "cancelled", "asleep": None}
    rows = [{"id": word, "status": word, "attempts": 1} for word in words]

    report = import_memva(store, memva_database(path, jobs=rows))

    assert [problem.reason[:49] for problem in report.problems] == ["jobs 'asleep': status: 'asleep' is none of pendin"]
    assert {key: str(job.status) for key, job in jobs_of(other).items()} == {
        word: status for word, status in words.items() if status is not None
    }


def test_memva_words_of_services_are_read(store: Store, other: Store) -> None:
    made = store.run(sessions.create, kind="agent", working_dir="/srv/memva")
    updated = store.run(sessions.update, made.id, agent_status="waiting_for_input")
    assert updated.agent_status is AgentStatus.COMPLETED
    job = store.run(jobs.enqueue, "session-runner").job
    store.run(jobs.claim, None, "worker-1")
    assert [each.id for each in other.query(jobs.page, status="running").items] == [job.id]


# --- columns ---------------------------------------------------------------------------------------------------


def test_memva_columns_of_sessions_without_a_place_are_kept_and_told(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[])
    change(path, "ALTER TABLE sessions ADD COLUMN settings TEXT", "ALTER TABLE sessions ADD COLUMN picture BLOB")
    rows: list[dict[str, Any]] = [
        {"id": "one", "settings": '{"model": "opus", "api_key": "plain"}', "metadata": '{"auto": true}'},
        {"id": "two", "settings": "[not JSON", "picture": b"\x00\xff"},
        {"id": "three"},
    ]
    write_rows(path, OF_MEMVA, sessions=rows)

    report = import_memva(store, path)

    found = {key: dict(other.query(sessions.get, key).attributes) for key in ("one", "two", "three")}
    assert found == {
        "one": {"auto": True, "memva": {"settings": {"model": "opus", "api_key": "[redacted]"}}},
        "two": {"memva": {"settings": "[not JSON", "picture": {"base64": "AP8="}}},
        "three": {},
    }
    assert (report.problems, report.counts.redacted) == ([], 1)
    kept = "has no column here and is kept in the session's attributes"
    assert notes(report) == [(f"sessions.settings {kept}", 2), (f"sessions.picture {kept}", 1)]
    assert notes(import_memva(store, path)) == []


def test_memva_columns_are_kept_beside_what_memva_has_of_their_name(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[])
    change(path, "ALTER TABLE sessions ADD COLUMN settings TEXT")
    write_rows(
        path,
        OF_MEMVA,
        sessions=[
            {"id": "one", "settings": "s", "metadata": '{"memva": {"theme": "dark"}}'},
            {"id": "two", "settings": "s", "metadata": '{"memva": 1}'},
        ],
    )

    import_memva(store, path)

    assert other.query(sessions.get, "one").attributes == {"memva": {"theme": "dark", "settings": "s"}}
    assert other.query(sessions.get, "two").attributes == {"memva": 1, "memva columns": {"settings": "s"}}


@pytest.mark.parametrize(
    ("metadata", "kept"), [("[1]", [1]), ("{", "{"), ("5", "5"), ('"x"', '"x"')], ids=["a list", "no JSON", "5", "text"]
)
def test_memva_metadata_that_is_no_object_is_kept_and_told(
    store: Store, other: Store, path: Path, metadata: str, kept: Any
) -> None:
    report = import_memva(store, memva_database(path, sessions=[{"id": "one", "metadata": metadata}]))

    assert other.query(sessions.get, "one").attributes == {"memva": {"metadata": kept}}
    assert notes(report) == [("sessions.metadata is no JSON object and is kept in the session's attributes", 1)]


def test_memva_columns_of_events_are_kept_in_their_lines_and_told(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[{"id": "one"}])
    change(path, "ALTER TABLE events ADD COLUMN cost REAL", "ALTER TABLE events ADD COLUMN type TEXT")
    write_rows(path, OF_MEMVA, events=[said(1, "Go.", cost=0.5, type="x"), said(2, "Again.", cost=1.5), said(3, "No.")])

    report = import_memva(store, path)

    lines = [event.data for event in other.query(journal.for_session, "one").items]
    assert [(line.get("cost"), line["type"]) for line in lines] == [(0.5, "user"), (1.5, "user"), (None, "user")]
    assert notes(report)[0] == ("events.cost has no column here and is kept in the event's line", 2)


def test_memva_columns_of_jobs_without_a_place_are_reported_as_left_out(store: Store, path: Path) -> None:
    memva_database(path, jobs=[])
    change(path, "ALTER TABLE jobs ADD COLUMN tags TEXT")
    write_rows(path, OF_MEMVA, jobs=[{"id": "a", "tags": "x"}, {"id": "b", "tags": "y"}, {"id": "c"}])

    report = import_memva(store, path)

    assert [problem.reason for problem in report.problems] == [
        "jobs.tags was left out: there is no place for it here (2 rows)"
    ]
    assert (report.problem_count, report.counts.broken, report.counts.new) == (1, 0, 3)
    (recorded,) = store.query(imports.page).items
    assert recorded.report["problems"] == ["jobs.tags was left out: there is no place for it here (2 rows)"]
    assert import_memva(store, path).problems == []


def test_memva_columns_beyond_the_limit_are_reported_as_left_out(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[])
    change(path, "ALTER TABLE sessions ADD COLUMN settings TEXT", "ALTER TABLE sessions ADD COLUMN note TEXT")
    write_rows(path, OF_MEMVA, sessions=[{"id": "one", "settings": "x" * 300_000, "note": "short"}])

    report = import_memva(store, path)

    assert other.query(sessions.get, "one").attributes == {"memva": {"note": "short"}}
    assert [problem.reason for problem in report.problems] == [
        "sessions.settings was left out: it has no place here, and the session keeps too much"
    ]


# --- parents that come later -----------------------------------------------------------------------------------


def broken_then_mended(path: Path) -> None:
    """A session that cannot be read, with events and a job; ``mend`` puts it right."""
    data = json.dumps({"sessionId": "one"})
    events = [said(n, f"message {n}", timestamp=f"2025-01-13T10:0{n}:00Z") for n in range(1, 5)]
    memva_database(path, sessions=[{"id": "one", "project_path": " "}], events=events, jobs=[{"id": "j", "data": data}])


def mend(path: Path) -> None:
    change(path, "UPDATE sessions SET project_path = '/srv/memva'")


def test_memva_events_and_jobs_are_attached_once_their_session_comes(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 3)
    broken_then_mended(path)
    first = import_memva(store, path)
    assert events_of(other) == [(f"e{n}", None) for n in range(1, 5)]
    assert (first.problem_count, jobs_of(other)["j"].session_id) == (1, None)
    mend(path)

    second = import_memva(store, path)

    assert events_of(other) == [(f"e{n}", "one") for n in range(1, 5)]
    assert jobs_of(other)["j"].session_id == "one"
    found = other.query(messages.page, "one").items
    assert [(each.content, each.public_id) for each in found] == [(f"message {n}", f"e{n}") for n in range(1, 5)]
    counts = second.counts
    assert (counts.read, counts.new, counts.updated, counts.duplicate, counts.broken) == (6, 1, 5, 0, 0)
    assert (counts.messages, second.problems) == (4, [])
    session = other.query(sessions.get, "one")
    assert (session.last_activity_at, session.version) == (LATE, 1)
    third = import_memva(store, path)
    assert (third.counts.duplicate, third.counts.updated, third.unchanged) == (6, 0, 1)


def test_a_memva_import_that_attached_rows_is_undone_alone(store: Store, other: Store, path: Path) -> None:
    broken_then_mended(path)
    first = import_memva(store, path)
    before = content(other)
    mend(path)
    second = import_memva(store, path)
    after = content(other)

    undo_all(store, second)

    assert content(other) == before
    third = import_memva(store, path)
    assert {table: len(rows) for table, rows in content(other).items()} == {
        table: len(rows) for table, rows in after.items()
    }
    undo_all(store, third)
    undo_all(store, first)
    assert all(rows == [] for rows in content(other).values())


def test_memva_events_whose_session_was_made_here_keep_it(store: Store, other: Store, path: Path) -> None:
    memva_database(path, events=[said(1, "Go.", None), said(2, "Go.", None)])
    import_memva(store, path)
    own = store.run(sessions.create, name="ours")
    (first, _) = other.query(journal.for_source, "agent-1").items
    assert first.id is not None
    store.run(journal.associate, [first.id], own.id)
    write_rows(path, OF_MEMVA, sessions=[{"id": "one"}])
    change(path, "UPDATE events SET memva_session_id = 'one'")

    report = import_memva(store, path)

    assert events_of(other) == [("e1", own.id), ("e2", "one")]
    assert (report.counts.new, report.counts.updated, report.counts.duplicate) == (1, 1, 1)


def test_a_memva_event_ingested_here_without_a_session_is_not_attached(store: Store, other: Store, path: Path) -> None:
    store.run(journal.ingest, [{"uuid": "e1", "sessionId": "agent-1"}])

    report = import_memva(store, memva_database(path, sessions=[{"id": "one"}], events=[said(1, "Go.")]))

    assert events_of(other) == [("e1", None)]
    assert (report.counts.updated, report.counts.duplicate) == (0, 1)


def test_a_dry_run_of_a_memva_import_that_attaches_writes_nothing(store: Store, other: Store, path: Path) -> None:
    broken_then_mended(path)
    import_memva(store, path)
    mend(path)
    before = content(other)

    tried = import_memva(store, path, dry_run=True)

    assert content(other) == before
    done = import_memva(store, path)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


# --- again -----------------------------------------------------------------------------------------------------


def test_a_memva_session_follows_its_source_until_it_is_changed_here(
    store: Store, other: Store, path: Path, clock: SettableClock
) -> None:
    memva_database(path, sessions=[{"id": "one"}, {"id": "two"}], events=[said(1, "Go.")])
    import_memva(store, path)
    change(path, f"UPDATE sessions SET status = 'completed', title = 'Done', updated_at = '{LATER}'")
    store.run(sessions.update, "two", name="ours")
    clock.advance(days=1)

    report = import_memva(store, path)

    session = other.query(sessions.get, "one")
    ended = datetime(2025, 1, 13, 13, 0, tzinfo=UTC)
    assert (session.status, session.name, session.version) == (SessionStatus.COMPLETED, "Done", 2)
    assert (session.completed_at, session.updated_at, session.last_activity_at) == (ended, ended, ended)
    assert other.query(sessions.get, "two").name == "ours"
    assert other.query(sessions.get, "two").status is SessionStatus.RUNNING
    assert notes(report) == [("sessions 'two' was changed here and stays as it is here", 1)]
    assert (report.counts.updated, report.counts.duplicate, report.problems) == (1, 2, [])
    change(path, "UPDATE sessions SET status = 'active', updated_at = '2025-01-13T14:00:00Z'")
    assert import_memva(store, path).counts.updated == 1
    assert other.query(sessions.get, "one").status is SessionStatus.RUNNING
    assert import_memva(store, path).counts.updated == 0


def test_a_memva_session_changed_on_both_sides_since_is_a_problem(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[{"id": "one"}])
    import_memva(store, path)
    store.run(sessions.set_status, "one", "paused")
    change(path, "UPDATE sessions SET status = 'completed', updated_at = '2026-01-02T00:00:00Z'")

    for _ in range(2):
        report = import_memva(store, path)
        assert [problem.reason for problem in report.problems] == [
            "sessions 'one': it was changed here, and since it was imported also there; it stays as it is here"
        ]
    assert other.query(sessions.get, "one").status is SessionStatus.PAUSED


def test_a_memva_session_of_an_older_source_stays_as_it_is(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[{"id": "one", "status": "completed", "updated_at": LATER}])
    import_memva(store, path)
    change(path, "UPDATE sessions SET status = 'active', updated_at = '2025-01-13T12:00:00Z'")

    assert import_memva(store, path).counts.duplicate == 1
    assert other.query(sessions.get, "one").status is SessionStatus.COMPLETED


def test_a_memva_session_that_something_was_said_in_here_is_not_followed(
    store: Store, other: Store, path: Path
) -> None:
    memva_database(path, sessions=[{"id": "one"}])
    import_memva(store, path)
    store.run(messages.append, "one", "user", "ours")
    change(path, f"UPDATE sessions SET status = 'completed', updated_at = '{LATER}'")

    report = import_memva(store, path)

    assert (report.counts.updated, len(report.notes)) == (0, 1)
    assert other.query(sessions.get, "one").status is SessionStatus.RUNNING


def test_versions_that_memva_imports_left_are_kept_with_the_import(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[{"id": "one"}])
    (import_id,) = import_memva(store, path).import_ids
    change(path, f"UPDATE sessions SET title = 'New', updated_at = '{LATER}'")
    import_memva(store, path)

    with other.read() as uow:
        report = uow.exec(select(Import.report).where(col(Import.id) == import_id)).one()
    assert report["refreshed"] == {"one": 2}
