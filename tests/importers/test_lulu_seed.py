"""What lulu's programs write, whose columns take any word: imported under the nearest of ours, kept and told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.importers.foreign_files import OF_LULU, lulu_database, write_rows
from tests.importers.undoing import content, undo_all
from vibeweaver_store import Store, messages, sessions
from vibeweaver_store.importers import foreign_database, keeping
from vibeweaver_store.importers.lulu import import_lulu
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import MessageRole, SessionStatus
from vibeweaver_store.testing import SessionFactory, SettableClock

ONE = [{"id": "one"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lulu.db"


def said(number: int, **columns: Any) -> dict[str, Any]:
    return {"id": f"m{number}", "session_id": "one", "content": f"message {number}", **columns}


def notes(report: ImportReport) -> list[tuple[str, int]]:
    return [(note.text, note.count) for note in report.notes]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("word", "status"),
    [("idle", "paused"), ("stopped", "paused"), ("starting", "created"), ("finished", "completed"), ("??", "paused")],
)
def test_lulu_statuses_of_other_words_are_imported_kept_and_told(
    store: Store, other: Store, path: Path, word: str, status: str
) -> None:
    report = import_lulu(store, lulu_database(path, sessions=[{"id": "one", "status": word}], messages=[said(1)]))

    session = other.query(sessions.get, "one")
    assert (session.status, session.attributes) == (SessionStatus(status), {"lulu": {"status": word}})
    assert notes(report) == [(f"sessions.status {word!r} is read as {status}", 1)]
    assert (report.problems, other.query(messages.count, "one")) == ([], 1)


@pytest.mark.parametrize(
    ("word", "role"),
    [
        ("human", "user"),
        ("Human", "user"),
        ("developer", "system"),
        ("ai", "assistant"),
        ("function", "tool"),
        ("narrator", "system"),
    ],
)
def test_lulu_roles_of_other_words_are_imported_kept_and_told(
    store: Store, other: Store, path: Path, word: str, role: str
) -> None:
    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1, role=word), said(2)]))

    found = other.query(messages.page, "one").items
    assert [(each.content, each.role) for each in found] == [
        ("message 1", MessageRole(role)),
        ("message 2", MessageRole.USER),
    ]
    session = other.query(sessions.get, "one")
    assert (session.attributes, session.version) == ({"lulu": {"messages": {"m1": {"role": word}}}}, 1)
    assert notes(report) == [(f"messages.role {word!r} is read as {role}", 1)]


def test_lulu_roles_of_ours_are_imported_without_a_note(store: Store, other: Store, path: Path) -> None:
    roles = ["user", "assistant", "system", "tool"]
    rows = [said(number, role=role) for number, role in enumerate(roles)]

    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=rows))

    assert [str(each.role) for each in other.query(messages.page, "one").items] == roles
    assert (report.notes, other.query(sessions.get, "one").attributes) == ([], {})


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_lulu_message_without_content_is_imported_and_filled_in_later(
    store: Store, other: Store, path: Path, clock: SettableClock, blank: str
) -> None:
    first = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1), said(2, content=blank)]))
    kept = {"lulu": {"messages": {"m2": {"content": blank}}}}
    assert [each.content for each in other.query(messages.page, "one").items] == ["message 1", "(empty)"]
    assert other.query(sessions.get, "one").attributes == kept
    assert notes(first) == [("messages.content is empty and is stored as (empty)", 1)]
    again = import_lulu(store, path)
    assert (again.counts.duplicate, again.notes, again.unchanged) == (3, [], 1)
    change(path, "UPDATE messages SET content = 'By now.' WHERE id = 'm2'")
    clock.advance(days=1)

    later = import_lulu(store, path)

    assert [each.content for each in other.query(messages.page, "one").items] == ["message 1", "By now."]
    assert (later.counts.updated, later.counts.duplicate, later.counts.messages) == (1, 2, 0)
    session = other.query(sessions.get, "one")
    assert (session.attributes, session.last_activity_at == session.updated_at) == ({}, True)


def test_a_lulu_message_that_says_empty_here_is_not_filled_in(store: Store, other: Store, path: Path) -> None:
    lulu_database(path, sessions=ONE, messages=[said(1, content="")])
    import_lulu(store, path)
    store.run(messages.append, "one", "user", "(empty)", public_id="m2")
    write_rows(path, OF_LULU, messages=[said(2)])

    assert import_lulu(store, path).counts.updated == 0
    assert [each.content for each in other.query(messages.page, "one").items] == ["(empty)", "(empty)"]


def test_a_lulu_session_with_an_empty_name_has_no_title(store: Store, other: Store, path: Path) -> None:
    report = import_lulu(store, lulu_database(path, sessions=[{"id": "one", "name": ""}]))

    assert (report.problems, other.query(sessions.get, "one").name) == ([], None)


def test_lulu_columns_without_a_place_are_kept_and_told(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 2)
    lulu_database(path)
    change(path, "ALTER TABLE sessions ADD COLUMN model TEXT", "ALTER TABLE messages ADD COLUMN tokens INTEGER")
    rows = [said(1, tokens=5), said(2), said(3, tokens=7, role="human")]
    write_rows(path, OF_LULU, sessions=[{"id": "one", "model": "opus"}], messages=rows)

    report = import_lulu(store, path)

    session = other.query(sessions.get, "one")
    assert session.attributes == {
        "lulu": {"model": "opus", "messages": {"m1": {"tokens": 5}, "m3": {"role": "human", "tokens": 7}}}
    }
    kept = "has no column here and is kept in the session's attributes"
    assert notes(report) == [
        (f"sessions.model {kept}", 1),
        (f"messages.tokens {kept}", 2),
        ("messages.role 'human' is read as user", 1),
    ]
    write_rows(path, OF_LULU, messages=[said(4, tokens=9)])
    again = import_lulu(store, path)
    session = other.query(sessions.get, "one")
    assert list(session.attributes["lulu"]["messages"]) == ["m1", "m3", "m4"]
    assert (session.version, notes(again)) == (2, [(f"messages.tokens {kept}", 1)])
    change(path, "UPDATE sessions SET status = 'idle', updated_at = '2025-01-13T13:00:00Z'")
    assert import_lulu(store, path).counts.updated == 1
    session = other.query(sessions.get, "one")
    assert session.attributes["lulu"]["status"] == "idle"
    assert list(session.attributes["lulu"]["messages"]) == ["m1", "m3", "m4"]


def test_lulu_words_beyond_the_limit_are_reported_as_left_out(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MAX_KEPT_BYTES", 60)
    rows = [said(number, role="human") for number in range(4)]

    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=rows))

    assert len(other.query(sessions.get, "one").attributes["lulu"]["messages"]) == 2
    assert [problem.reason for problem in report.problems] == [
        "messages.role was left out: it has no place here, and the session keeps too much (2 rows)"
    ]
    assert (report.counts.messages, report.counts.broken) == (4, 0)


def test_a_lulu_session_follows_its_source_until_it_is_changed_here(store: Store, other: Store, path: Path) -> None:
    rows = [{"id": "one"}, {"id": "two"}]
    lulu_database(path, sessions=rows, messages=[said(1), said(2, session_id="two")])
    import_lulu(store, path)
    store.run(sessions.update, "two", name="ours")
    change(path, "UPDATE sessions SET status = 'completed', name = 'done', updated_at = '2025-01-13T13:00:00Z'")
    write_rows(path, OF_LULU, messages=[said(3), said(4, session_id="two")])

    report = import_lulu(store, path)

    found = {key: other.query(sessions.get, key) for key in ("one", "two")}
    ended = datetime(2025, 1, 13, 13, 0, tzinfo=UTC)
    assert (found["one"].name, found["one"].status, found["one"].completed_at) == ("done", "completed", ended)
    assert (found["two"].name, found["two"].status) == ("ours", "running")
    assert [other.query(messages.count, key) for key in ("one", "two")] == [2, 2]
    assert notes(report) == [("sessions 'two' was changed here and stays as it is here", 1)]
    assert (report.counts.updated, report.counts.new, report.counts.duplicate) == (1, 2, 3)


def test_lulu_messages_left_out_for_want_of_their_session_come_with_it(store: Store, other: Store, path: Path) -> None:
    lulu_database(path, sessions=[{"id": "one", "created_at": "today"}], messages=[said(1), said(2, session_id="two")])
    first = import_lulu(store, path)
    assert (first.problem_count, content(other)["messages"]) == (3, [])
    change(path, "UPDATE sessions SET created_at = updated_at")
    write_rows(path, OF_LULU, sessions=[{"id": "two"}])

    report = import_lulu(store, path)

    assert (report.problems, report.counts.new) == ([], 4)
    assert [other.query(messages.count, key) for key in ("one", "two")] == [1, 1]


def test_a_lulu_import_keeps_words_of_messages_in_a_session_made_here(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        SessionFactory.create(uow=uow, id="one", attributes={"own": 1})

    report = import_lulu(store, lulu_database(path, sessions=ONE, messages=[said(1, role="human")]))

    session = other.query(sessions.get, "one")
    assert (session.attributes, session.version) == ({"own": 1, "lulu": {"messages": {"m1": {"role": "human"}}}}, 2)
    undo_all(store, report)
    assert other.query(messages.count, "one") == 0
