"""AIT42 as seed 002 has it: its SQLite database, and sessions that went on since the last import, in either form."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.importers.foreign_files import (
    OF_AIT42,
    ait42_database,
    ait42_file,
    ait42_instance,
    ait42_message,
    ait42_session,
    lulu_database,
    write_rows,
)
from tests.importers.undoing import content, undo_all
from vibeweaver_store import Store, arenas, messages, sessions, workspaces
from vibeweaver_store.importers.ait42 import import_ait42
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import ImportStatus, InstanceStatus, SessionKind, SessionStatus
from vibeweaver_store.services import imports
from vibeweaver_store.services.arenas import WholeArena
from vibeweaver_store.testing import SettableClock

EARLY = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)
LATER = "2025-01-13T13:00:00Z"
LATER_AT = datetime(2025, 1, 13, 13, 0, tzinfo=UTC)
SECRET = "sk-ant-api03-" + "a1b2c3d4" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sessions.json"


def whole(path: Path) -> Path:
    """A database with a session that has some of everything."""
    return ait42_database(
        path,
        workspaces=[{}],
        sessions=[
            {
                "id": "session-1",
                "model": "sonnet",
                "timeout_seconds": 60,
                "preserve_worktrees": 1,
                "winner_id": 1,
                "status": "completed",
                "completed_at": LATE.isoformat(),
                "total_duration": 90,
                "total_files_changed": 3,
                "total_lines_added": 20,
                "total_lines_deleted": 10,
            }
        ],
        session_runtime_mix=[{"runtime": "codex"}, {"runtime": "claude"}],
        instances=[
            {
                "instance_id": 1,
                "status": "completed",
                "output": "done",
                "end_time": LATE.isoformat(),
                "runtime": "codex",
            },
            {"instance_id": 0, "status": "failed", "start_time": "2025-01-13 10:00:00", "files_changed": 2},
        ],
        chat_messages=[
            {"id": "b", "timestamp": "2025-01-13T11:00:00+00:00", "role": "assistant", "instance_id": 1},
            {"id": "a", "content": "Begin."},
        ],
    )


def bring(store: Store, source: Path, **options: Any) -> ImportReport:
    return import_ait42(store, [source], workspace="/srv/app", **options)


def bring_json(store: Store, file: Path, *documents: Any, **options: Any) -> ImportReport:
    return bring(store, ait42_file(file, documents), **options)


def found(store: Store, session_id: str = "session-1") -> WholeArena:
    return store.query(arenas.get, session_id)


def said(store: Store, session_id: str = "session-1") -> list[str]:
    return [each.public_id for each in store.query(messages.page, session_id).items]


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def notes(report: ImportReport) -> list[str]:
    return [note.text for note in report.notes]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


# --- the database ----------------------------------------------------------------------------------------------


def test_ait42_database_made_by_the_seed_s_sql_is_imported_whole(store: Store, other: Store, path: Path) -> None:
    report = import_ait42(store, [whole(path)])

    arena = found(other)
    session = arena.session
    assert (session.kind, session.name, session.status) == (
        SessionKind.COMPETITION,
        "Implement the login",
        SessionStatus.COMPLETED,
    )
    assert (session.created_at, session.updated_at, session.completed_at) == (EARLY, LATE, LATE)
    assert arena.arena.model_dump() == {
        "session_id": "session-1",
        "task": "Implement the login",
        "model": "sonnet",
        "timeout_seconds": 60.0,
        "preserve_worktrees": True,
        "winner_instance_id": 1,
        "total_duration_seconds": 90.0,
        "total_files_changed": 3,
        "total_lines_added": 20,
        "total_lines_deleted": 10,
    }
    assert [(each.instance_id, str(each.status), each.end_time) for each in arena.instances] == [
        (0, "failed", LATE),
        (1, "completed", LATE),
    ]
    assert (arena.instances[0].start_time, arena.instances[1].output) == (EARLY, "done")
    assert arena.runtimes == ["claude", "codex"]
    chat = other.query(messages.page, "session-1").items
    assert [(each.public_id, str(each.role), each.instance_id) for each in chat] == [
        ("a", "user", None),
        ("b", "assistant", 1),
    ]
    workspace = other.query(workspaces.get, session.workspace_id or "")
    assert (workspace.path, workspace.created_at) == ("/srv/app", EARLY)
    counts = report.counts
    assert (report.problems, counts.read, counts.new, counts.sessions, counts.messages) == ([], 2, 2, 1, 2)
    assert notes(report) == ["workspaces.workspace_hash is another one here"]
    (recorded,) = other.query(imports.page).items
    assert (recorded.source, recorded.status) == (str(path), ImportStatus.COMPLETED)


def test_ait42_database_is_found_in_its_folder(store: Store, other: Store, path: Path) -> None:
    whole(path)
    ait42_file(path.with_name("old.json"), [ait42_session("old")])

    report = bring(store, path.parent)

    assert (report.sources, report.problems) == (2, [])
    assert {each.id for each in other.query(sessions.page).items} == {"session-1", "old"}


def test_ait42_workspaces_without_sessions_are_imported(store: Store, other: Store, path: Path) -> None:
    store.run(workspaces.ensure, "/srv/known")
    rows = [
        {"workspace_path": "/srv/known", "workspace_hash": "1"},
        {"workspace_path": "/srv/empty/", "workspace_hash": "2"},
        {"workspace_path": "/srv/x\x00", "workspace_hash": "3"},
    ]

    report = import_ait42(store, [ait42_database(path, workspaces=rows)])

    assert {each.path for each in other.query(workspaces.page).items} == {"/srv/known", "/srv/empty"}
    assert (report.counts.new, report.counts.duplicate, report.counts.broken) == (1, 1, 1)
    assert reasons(report)[0].startswith("workspaces 3: path: ")


def test_ait42_rows_of_a_database_that_cannot_be_read_are_left_out(store: Store, other: Store, path: Path) -> None:
    whole(path)
    change(path, "PRAGMA foreign_keys = OFF")
    write_rows(
        path,
        OF_AIT42,
        sessions=[
            {"id": "lost", "workspace_id": 7},
            {"id": "late", "created_at": "today"},
            {"id": "two", "preserve_worktrees": 7},
        ],
        instances=[{"session_id": "nobody", "instance_id": 0}],
        chat_messages=[{"id": "m", "session_id": "nobody"}],
    )

    report = import_ait42(store, [path])

    assert reasons(report) == [
        "sessions 'lost': workspace_id: there is no workspace 7",
        "sessions 'late': created_at: must be a time as 2026-01-13T10:00:00Z (got 'today')",
        "sessions 'two': preserve_worktrees: must be 0 or 1 (got 7)",
        "instances 3: its session is not there",
        "chat_messages 'm': its session is not there",
    ]
    assert [each.id for each in other.query(sessions.page).items] == ["session-1"]


def test_ait42_rows_left_out_for_want_of_a_parent_come_with_it(store: Store, other: Store, path: Path) -> None:
    ait42_database(path, workspaces=[])
    change(path, "PRAGMA foreign_keys = OFF")
    write_rows(
        path,
        OF_AIT42,
        sessions=[{"id": "session-1"}],
        instances=[{"instance_id": 0}, {"session_id": "two", "instance_id": 0}],
        chat_messages=[{"id": "a"}, {"id": "b", "session_id": "two"}],
    )
    first = import_ait42(store, [path])
    assert (first.problem_count, content(other)["sessions"], content(other)["messages"]) == (3, [], [])
    write_rows(path, OF_AIT42, workspaces=[{}], sessions=[{"id": "two"}])

    report = import_ait42(store, [path])

    assert (report.problems, report.counts.sessions, report.counts.messages) == ([], 2, 2)
    assert [len(found(other, key).instances) for key in ("session-1", "two")] == [1, 1]


def test_a_strict_ait42_import_of_a_database_takes_all_sessions_or_none(store: Store, other: Store, path: Path) -> None:
    whole(path)
    write_rows(path, OF_AIT42, sessions=[{"id": "late", "created_at": "today"}])

    report = import_ait42(store, [path], strict=True)

    assert (report.problem_count, other.query(sessions.page).items) == (2, [])
    change(path, "DELETE FROM sessions WHERE id = 'late'")
    assert import_ait42(store, [path], strict=True).counts.sessions == 1


def test_ait42_columns_without_a_place_are_kept_and_told(store: Store, other: Store, path: Path) -> None:
    whole(path)
    change(
        path,
        "ALTER TABLE sessions ADD COLUMN settings TEXT",
        "ALTER TABLE instances ADD COLUMN cost REAL",
        'UPDATE sessions SET settings = \'{"theme": "dark"}\'',
        "UPDATE instances SET cost = 0.5 WHERE instance_id = 1",
    )

    report = import_ait42(store, [path])

    kept = {"settings": {"theme": "dark"}, "instances": {"1": {"cost": 0.5}}}
    assert found(other).session.attributes == {"ait42": kept}
    told = "has no column here and is kept in the session's attributes"
    assert notes(report)[1:] == [f"session.settings {told}", f"instance.cost {told}"]


def test_ait42_database_secrets_are_redacted_by_default(store: Store, other: Store, path: Path) -> None:
    whole(path)
    change(path, f"UPDATE sessions SET task = 'Use {SECRET}'", f"UPDATE chat_messages SET content = '{SECRET}'")

    report = import_ait42(store, [path])

    assert report.counts.redacted == 3
    assert SECRET not in str(content(other))


def test_a_dry_run_of_an_ait42_database_reports_the_same_and_writes_nothing(
    store: Store, other: Store, path: Path
) -> None:
    whole(path)
    before = content(other)

    tried = import_ait42(store, [path], dry_run=True)

    assert content(other) == before
    done = import_ait42(store, [path])
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


def test_an_undone_import_of_an_ait42_database_leaves_nothing_and_can_be_repeated(
    store: Store, other: Store, path: Path
) -> None:
    before = content(other)
    undo_all(store, import_ait42(store, [whole(path)]))

    assert content(other) == before
    assert import_ait42(store, [path]).counts.new == 2


def test_an_ait42_import_of_another_database_is_reported_once(store: Store, path: Path, tmp_path: Path) -> None:
    whole(path)
    report = import_ait42(store, [lulu_database(tmp_path / "lulu.db"), path])

    assert reasons(report) == ["this is no ait42 database: it has no table workspaces"]
    assert (report.sources, report.counts.sessions) == (2, 1)


def test_an_ait42_import_of_a_database_reports_progress_in_bytes(store: Store, path: Path) -> None:
    whole(path)
    told: list[int] = []
    import_ait42(store, [path], progress=told.append)

    assert sum(told) == path.stat().st_size


# --- again -----------------------------------------------------------------------------------------------------


def test_ait42_session_that_was_completed_since_is_updated_and_new_chat_appended(
    store: Store, other: Store, file: Path, clock: SettableClock
) -> None:
    pending = ait42_instance(0, status="idle")
    first = bring_json(store, file, ait42_session(chatHistory=[ait42_message("a")], instances=[pending]))
    before = content(other)
    clock.advance(days=1)
    done = ait42_session(
        status="completed",
        updatedAt=LATER,
        completedAt=LATER,
        winnerId=1,
        totalFilesChanged=3,
        runtimeMix=["claude"],
        extra="new",
        instances=[ait42_instance(0, status="completed", output="done"), ait42_instance(1, status="failed")],
        chatHistory=[ait42_message("a"), ait42_message("b", content="One more.", timestamp=LATER)],
    )

    second = bring_json(store, file, done)

    arena = found(other)
    session = arena.session
    assert (session.status, session.completed_at, session.updated_at) == (SessionStatus.COMPLETED, LATER_AT, LATER_AT)
    assert (session.last_activity_at, session.version) == (LATER_AT, 2)
    assert session.attributes == {"ait42": {"extra": "new"}}
    assert [(each.instance_id, each.status, each.output) for each in arena.instances] == [
        (0, InstanceStatus.COMPLETED, "done"),
        (1, InstanceStatus.FAILED, None),
    ]
    assert (arena.arena.winner_instance_id, arena.arena.total_files_changed) == (1, 3)
    assert (arena.runtimes, said(other)) == (["claude"], ["a", "b"])
    assert (second.unchanged, second.counts.updated, second.counts.messages, second.problems) == (0, 1, 1, [])
    third = bring_json(store, file, done)
    assert (third.unchanged, third.counts.duplicate, third.counts.updated) == (1, 1, 0)
    undo_all(store, second)
    assert (said(other), len(found(other).instances)) == (["a"], 1)
    undo_all(store, first)
    assert {table: rows for table, rows in content(other).items() if rows} == {}
    assert {table for table, rows in before.items() if rows} > {"sessions", "arenas"}


def test_ait42_database_follows_its_sessions(store: Store, other: Store, path: Path) -> None:
    whole(path)
    import_ait42(store, [path])
    change(
        path,
        f"UPDATE sessions SET status = 'running', completed_at = NULL, updated_at = '{LATER}'",
        "UPDATE instances SET status = 'running', end_time = NULL WHERE instance_id = 1",
    )
    write_rows(path, OF_AIT42, chat_messages=[{"id": "c", "timestamp": LATER}])

    report = import_ait42(store, [path])

    arena = found(other)
    assert (arena.session.status, arena.session.completed_at) == (SessionStatus.RUNNING, None)
    assert (arena.instances[1].status, arena.instances[1].end_time) == (InstanceStatus.RUNNING, None)
    assert said(other) == ["a", "b", "c"]
    assert (report.counts.updated, report.counts.duplicate, report.counts.messages) == (1, 1, 1)
    assert import_ait42(store, [path]).unchanged == 1


def test_ait42_chat_alone_is_appended_and_counts_as_an_update(store: Store, other: Store, file: Path) -> None:
    bring_json(store, file, ait42_session(chatHistory=[ait42_message("a")]))

    report = bring_json(store, file, ait42_session(chatHistory=[ait42_message("a"), ait42_message("b")]))

    assert (report.counts.updated, report.counts.messages, report.unchanged) == (1, 1, 0)
    assert said(other) == ["a", "b"]
    assert found(other).session.version == 1


def touch_name(store: Store) -> None:
    store.run(sessions.update, "session-1", name="ours")


def touch_status(store: Store) -> None:
    store.run(sessions.set_status, "session-1", "failed")


def touch_instance(store: Store) -> None:
    store.run(arenas.set_output, "session-1", 0, "ours")


def touch_chat(store: Store) -> None:
    store.run(messages.append, "session-1", "user", "ours", public_id="ours")


@pytest.mark.parametrize("touch", [touch_name, touch_status, touch_instance, touch_chat])
@pytest.mark.parametrize("updated_at", [LATER, "2026-06-01T00:00:00Z"], ids=["before the import", "since the import"])
def test_ait42_session_that_was_touched_here_stays_and_the_report_says_so(
    store: Store, other: Store, file: Path, clock: SettableClock, *, touch: Any, updated_at: str
) -> None:
    instance = ait42_instance(0, status="completed")
    bring_json(store, file, ait42_session(chatHistory=[ait42_message("a")], instances=[instance]))
    clock.advance(hours=1)
    touch(store)
    before = found(other)
    grown = [ait42_message("a"), ait42_message("b")]

    report = bring_json(
        store,
        file,
        ait42_session(status="completed", updatedAt=updated_at, chatHistory=grown, instances=[instance]),
    )

    assert [each for each in said(other) if each != "ours"] == ["a", "b"]
    after = found(other)
    assert (after.session.status, after.session.name) == (before.session.status, before.session.name)
    assert (after.instances, after.session.version) == (before.instances, before.session.version)
    assert (report.counts.updated, report.counts.messages) == (0, 1)
    if updated_at == LATER:
        assert notes(report) == ["session 1 'session-1' was changed here and stays as it is here"]
        assert (report.problems, report.counts.duplicate) == ([], 1)
    else:
        assert reasons(report) == [
            "session 1 'session-1': it was changed here, and since it was imported also there; it stays as it is here"
        ]
        assert (report.notes, report.counts.broken) == ([], 1)


def test_ait42_session_that_was_touched_here_alone_is_no_conflict(store: Store, other: Store, file: Path) -> None:
    bring_json(store, file, ait42_session())
    touch_chat(store)

    report = bring_json(store, file, ait42_session())

    assert (report.problems, report.notes, report.unchanged) == ([], [], 1)
    assert said(other) == ["ours"]


def test_ait42_session_of_an_older_file_stays_as_it_is(store: Store, other: Store, file: Path) -> None:
    bring_json(store, file, ait42_session(status="completed", updatedAt=LATER))

    report = bring_json(store, file, ait42_session(chatHistory=[ait42_message("a")]))

    assert found(other).session.status is SessionStatus.COMPLETED
    assert (said(other), report.counts.duplicate, report.counts.messages) == (["a"], 1, 1)


def test_ait42_sessions_of_one_file_are_each_updated(store: Store, other: Store, file: Path) -> None:
    keys = [f"s{number}" for number in range(3)]
    bring_json(store, file, *[ait42_session(key) for key in keys])
    for hour in (13, 14):
        at = f"2025-01-13T{hour}:00:00Z"
        documents = [ait42_session(key, status="failed" if hour == 13 else "running", updatedAt=at) for key in keys]
        assert bring_json(store, file, *documents).counts.updated == 3
        assert bring_json(store, file, *documents).counts.duplicate == 3

    assert {found(other, key).session.version for key in keys} == {3}


def test_a_dry_run_of_an_ait42_update_reports_the_same_and_writes_nothing(
    store: Store, other: Store, file: Path
) -> None:
    bring_json(store, file, ait42_session())
    before = content(other)
    done = ait42_session(status="completed", updatedAt=LATER, chatHistory=[ait42_message("a")])

    tried = bring_json(store, file, done, dry_run=True)

    assert content(other) == before
    made = bring_json(store, file, done)
    assert {**tried.as_document(), "seconds": 0} == {**made.as_document(), "seconds": 0, "dry_run": True, "imports": []}
