"""A lulu database: agents' sessions and their messages, the first time and when more was said since."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.importers.foreign_files import OF_LULU, lulu_database, write_rows
from tests.importers.undoing import content, undo_all
from vibeweaver_store import ImportRejected, Store, sessions
from vibeweaver_store.importers import foreign_database
from vibeweaver_store.importers.lulu import import_lulu
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import ImportStatus, MessageRole, SessionKind, SessionStatus
from vibeweaver_store.services import imports, messages, workspaces
from vibeweaver_store.testing import MessageFactory, SessionFactory, SettableClock

EARLY = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)
ONE = [{"id": "one"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lulu.db"


def said(number: int, **columns: Any) -> dict[str, Any]:
    return {"id": f"m{number}", "session_id": "one", "content": f"message {number}", **columns}


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def test_a_lulu_session_becomes_an_agent_session_in_its_working_directory(
    store: Store, other: Store, path: Path
) -> None:
    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1)]))

    session = other.query(sessions.get, "one")
    assert (session.kind, session.name, session.tempo_bpm) == (SessionKind.AGENT, "fix the login", None)
    assert (session.status, session.completed_at) == (SessionStatus.RUNNING, None)
    assert (session.created_at, session.updated_at, session.last_activity_at) == (EARLY, LATE, LATE)
    assert (session.working_dir, [session.import_id]) == ("/srv/lulu", report.import_ids)
    assert other.query(workspaces.get, session.workspace_id or "").path == "/srv/lulu"


def test_a_lulu_session_of_a_relative_directory_has_no_workspace(store: Store, other: Store, path: Path) -> None:
    import_lulu(store, lulu_database(path, sessions=[{"id": "one", "working_dir": "src"}]))

    session = other.query(sessions.get, "one")
    assert (session.working_dir, session.workspace_id) == ("src", None)


def test_a_finished_lulu_session_ended_when_it_was_last_updated(store: Store, other: Store, path: Path) -> None:
    words = ["created", "active", "completed", "error", "archived"]
    import_lulu(store, lulu_database(path, sessions=[{"id": word, "status": word} for word in words]))

    assert [other.query(sessions.get, word).completed_at for word in words] == [None, None, LATE, LATE, LATE]


def test_lulu_messages_are_sorted_by_time_then_insertion(store: Store, other: Store, path: Path) -> None:
    at = "2025-01-13T11:00:00+00:00"
    rows = [said(1, timestamp=at), said(3), said(2, timestamp=at, role="assistant"), said(0, role="system")]

    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=rows))

    found = other.query(messages.page, "one").items
    assert [each.public_id for each in found] == ["m3", "m0", "m1", "m2"]
    assert [each.role for each in found] == [
        *(MessageRole.USER, MessageRole.SYSTEM, MessageRole.USER, MessageRole.ASSISTANT),
    ]
    assert (found[0].content, found[0].created_at) == ("message 3", EARLY)
    assert {each.import_id for each in found} == set(report.import_ids)
    assert (report.counts.read, report.counts.new, report.counts.messages, report.counts.sessions) == (5, 5, 4, 1)


def test_a_long_lulu_conversation_is_imported_in_batches(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 3)
    import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(n) for n in range(10)]))

    assert [each.public_id for each in other.query(messages.page, "one").items] == [f"m{n}" for n in range(10)]


def test_a_lulu_import_redacts_secrets_by_default(store: Store, other: Store, path: Path) -> None:
    secret = "sk-ant-api03-" + "a1b2c3d4" * 4
    lulu_database(path, sessions=[{"id": "one", "name": secret}], messages=[said(1, content=f"The key is {secret}")])

    report = import_lulu(store, path)

    assert report.counts.redacted == 2
    assert secret not in str(content(other))
    undo_all(store, report)
    assert import_lulu(store, path, redact=False).counts.redacted == 0
    assert other.query(messages.page, "one").items[0].content == f"The key is {secret}"
    assert other.query(sessions.get, "one").name == secret


def test_the_report_of_a_lulu_import_redacts_secrets(store: Store, other: Store, path: Path) -> None:
    secret = "ghp_" + "a1b2c3d4" * 5
    words = [{"id": "two", "status": secret}, {"id": "three", "created_at": secret}]
    report = import_lulu(store, lulu_database(path, sessions=[*ONE, *words]))

    assert (report.problem_count, len(report.notes)) == (1, 1)
    assert secret[:20] not in str([report.as_document(), content(other), other.query(imports.page).items[0].report])


BROKEN_SESSIONS: list[tuple[dict[str, Any], str]] = [
    ({"name": b"late"}, "name: "),
    ({"status": b"active"}, "status: b'active' is none of"),
    ({"working_dir": ""}, "working_dir: must not be blank"),
    ({"working_dir": b"/srv"}, "working_dir: "),
    ({"created_at": "today"}, "created_at: must be a time"),
    ({"updated_at": 1736762400}, "updated_at: must be a time"),
]


def test_an_unreadable_lulu_session_is_rejected_with_its_messages(store: Store, other: Store, path: Path) -> None:
    rows = [{"id": f"s{n}", **columns} for n, (columns, _) in enumerate(BROKEN_SESSIONS)]
    lulu_database(path, sessions=[*rows, *ONE], messages=[said(1, session_id="s5"), said(2)])

    report = import_lulu(store, path)

    expected = [f"sessions 's{n}': {reason}" for n, (_, reason) in enumerate(BROKEN_SESSIONS)]
    assert [told[: len(begins)] for told, begins in zip(reasons(report)[:-1], expected, strict=True)] == expected
    assert reasons(report)[-1] == "messages 'm1': its session was left out"
    assert [each.id for each in other.query(sessions.page).items] == ["one"]
    assert (report.counts.read, report.counts.new, report.counts.broken) == (9, 2, 7)


def test_unreadable_lulu_messages_are_rejected(store: Store, other: Store, path: Path) -> None:
    lulu_database(
        path,
        sessions=ONE,
        messages=[
            *(said(1, role=b"user"), said(2, id=" "), said(3, content=b"\x00"), said(4, timestamp="2025-01-13")),
            *(said(5, id=None), said(6, session_id="nobody"), said(7)),
        ],
    )

    report = import_lulu(store, path)

    assert sorted(reason.split(": ")[0] for reason in reasons(report)) == [
        *("messages ' '", "messages 'm1'", "messages 'm3'", "messages 'm4'", "messages 'm6'", "messages None"),
    ]
    assert [each.public_id for each in other.query(messages.page, "one").items] == ["m7"]
    assert (report.counts.new, report.counts.broken) == (2, 6)


# --- again -----------------------------------------------------------------------------------------------------


def test_a_second_lulu_import_adds_nothing(store: Store, other: Store, path: Path, clock: SettableClock) -> None:
    lulu_database(path, sessions=ONE, messages=[said(1), said(2, timestamp="soon")])
    import_lulu(store, path)
    before = content(other)
    clock.advance(seconds=3600)

    again = import_lulu(store, path)

    assert content(other) == before
    assert (again.counts.read, again.counts.duplicate, again.counts.broken, again.counts.new) == (3, 2, 1, 0)
    assert (again.unchanged, again.import_ids, len(other.query(imports.page).items)) == (1, [], 1)


def test_a_second_lulu_import_appends_new_messages(store: Store, other: Store, path: Path) -> None:
    first = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1), said(2)]))
    write_rows(path, OF_LULU, messages=[said(3, timestamp="2025-01-13T11:00:00Z")])

    again = import_lulu(store, path)

    assert [each.public_id for each in other.query(messages.page, "one").items] == ["m1", "m2", "m3"]
    assert (again.counts.new, again.counts.messages, again.counts.sessions, again.counts.duplicate) == (1, 1, 0, 3)
    assert len(again.import_ids) == 1
    undo_all(store, again)
    assert [each.public_id for each in other.query(messages.page, "one").items] == ["m1", "m2"]
    undo_all(store, first)
    assert other.query(sessions.page).items == []


def test_a_lulu_import_adds_to_an_existing_session_of_the_id(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        SessionFactory.create(uow=uow, id="one", name="ours")
        MessageFactory.create(uow=uow, session_id="one", public_id="m1", content="ours")
    before = content(other)

    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1), said(2)]))

    assert other.query(sessions.get, "one").name == "ours"
    assert [each.content for each in other.query(messages.page, "one").items] == ["ours", "message 2"]
    undo_all(store, report)
    assert {**content(other), "sessions": []} == {**before, "sessions": []}


def test_a_dry_run_of_a_lulu_import_reports_the_same_and_writes_nothing(store: Store, other: Store, path: Path) -> None:
    lulu_database(path, sessions=ONE, messages=[said(1), said(2, timestamp="soon")])
    before = content(other)

    tried = import_lulu(store, path, dry_run=True)

    assert content(other) == before
    assert other.query(imports.page).items == []
    done = import_lulu(store, path)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


def test_an_undone_lulu_import_leaves_nothing_and_can_be_repeated(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        MessageFactory.create(uow=uow)
    before = content(other)

    undo_all(store, import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1)])))

    assert content(other) == before
    assert import_lulu(store, path).counts.new == 2


def test_a_lulu_import_is_recorded(store: Store, other: Store, path: Path) -> None:
    import_lulu(
        store, lulu_database(path, sessions=[*ONE, {"id": "two"}], messages=[said(1), said(2, timestamp="soon")])
    )

    (recorded,) = other.query(imports.page).items
    assert (recorded.importer, recorded.source, recorded.status) == ("lulu", str(path), ImportStatus.COMPLETED)
    assert (recorded.counts["read"], recorded.counts["new"], recorded.counts["broken"]) == (4, 3, 1)
    assert len(recorded.report["problems"]) == 1


def test_a_lulu_import_that_meets_damage_fails_and_keeps_earlier_batches(
    store: Store, other: Store, path: Path
) -> None:
    long = [said(n, session_id="two", content="x" * 3000) for n in range(200)]
    lulu_database(path, sessions=[*ONE, {"id": "two"}], messages=[said(999), *long])
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 16384)

    with pytest.raises(ImportRejected, match="damaged"):
        import_lulu(store, path)

    (recorded,) = other.query(imports.page).items
    assert (recorded.status, recorded.counts["new"]) == (ImportStatus.FAILED, 2)
    assert [each.id for each in other.query(sessions.page).items] == ["one"]


def test_a_second_lulu_import_is_no_activity_of_a_session(
    store: Store, other: Store, path: Path, clock: SettableClock
) -> None:
    import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1)]))
    before = other.query(sessions.get, "one").last_activity_at
    clock.advance(days=1)
    path.unlink()
    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1), said(2)]))

    assert report.counts.messages == 1
    assert other.query(sessions.get, "one").last_activity_at == before
