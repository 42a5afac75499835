"""Seed 001, lulu: each operation of its ``Database``, its status that moves freely, and its SQL.

The table in ``docs/coming-from/lulu.md`` names these tests.
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import recorded_statements
from tests.services.bad_input import cases
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    IllegalTransition,
    InvalidInput,
    MessageRole,
    NotFound,
    Session,
    SessionKind,
    SessionStatus,
    Settings,
    StaleWrite,
    Store,
    StoreUnavailable,
    messages,
    sessions,
)
from vibeweaver_store.models.session import FINAL, TRANSITIONS
from vibeweaver_store.services.sessions import SessionFilter
from vibeweaver_store.testing import EPOCH, MessageFactory, SessionFactory, SettableClock, columns_of

AT = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
OURS = {"kind": "agent", "working_dir": "/srv/lulu"}
"""What a session of lulu is here: one of an agent, who works in a folder."""

ENDED = pytest.mark.parametrize("status", FINAL)


def create(store: Store, **values: Any) -> Session:
    return store.run(sessions.create, **{"name": "fix the build", **OURS, **values})


# --- create, get and list --------------------------------------------------------------------------------------


def test_lulu_session_is_created_with_its_own_id_status_and_times(store: Store, other: Store) -> None:
    made = create(store, session_id="one", status="running", created_at=AT, updated_at=AT + HOUR)

    found = other.query(sessions.get, "one")
    assert (found.id, found.name, found.status) == ("one", "fix the build", SessionStatus.RUNNING)
    assert (found.working_dir, found.created_at, found.updated_at) == ("/srv/lulu", AT, AT + HOUR)
    assert columns_of(found) == columns_of(made)


def test_lulu_session_needs_its_working_directory(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput, match="working_dir"):
        create(lasting_store, working_dir=None)


def test_lulu_session_that_is_missing_is_none(lasting_store: Store) -> None:
    assert lasting_store.query(sessions.find, "nowhere") is None


def test_lulu_sessions_are_listed_the_last_made_first(store: Store, other: Store) -> None:
    for key, day in (("b", 2), ("c", 3), ("a", 1)):
        create(store, session_id=key, created_at=AT + timedelta(days=day), updated_at=AT + timedelta(days=9))

    found = other.query(sessions.search, sort="created_at")
    assert [session.id for session in found.items] == ["c", "b", "a"]


# --- a record that exists elsewhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", SessionStatus)
@pytest.mark.parametrize("kind", [SessionKind.JAM, SessionKind.AGENT])
def test_lulu_record_of_any_status_is_created_consistent(
    store: Store, other: Store, status: SessionStatus, kind: SessionKind
) -> None:
    key = create(store, kind=kind, status=status, created_at=AT, updated_at=AT + HOUR).id

    found = other.query(sessions.get, key)
    assert (found.status, found.version, found.last_activity_at) == (status, 1, AT + HOUR)
    assert found.completed_at == (AT + HOUR if status in FINAL else None)


@ENDED
def test_lulu_record_may_say_when_it_was_over(store: Store, other: Store, status: SessionStatus) -> None:
    key = create(store, status=status, created_at=AT, completed_at=AT + HOUR, updated_at=AT + 2 * HOUR).id

    found = other.query(sessions.get, key)
    assert (found.completed_at, found.updated_at) == (AT + HOUR, AT + 2 * HOUR)


def test_lulu_record_that_only_says_when_it_was_made_has_not_changed_since(store: Store) -> None:
    made = create(store, created_at=AT)
    assert (made.created_at, made.updated_at, made.last_activity_at, made.completed_at) == (AT, AT, AT, None)


@ENDED
def test_lulu_record_that_was_over_was_last_changed_then(store: Store, status: SessionStatus) -> None:
    made = create(store, status=status, created_at=AT, completed_at=AT + HOUR)
    assert (made.updated_at, made.completed_at) == (AT + HOUR, AT + HOUR)


@ENDED
def test_lulu_session_that_is_made_over_is_over_now(store: Store, clock: SettableClock, status: SessionStatus) -> None:
    made = create(store, status=status)
    assert made.created_at == made.updated_at == made.completed_at == clock.instant


def test_lulu_record_keeps_its_instants_of_another_zone(store: Store) -> None:
    spelled = datetime.fromisoformat("2025-01-13T12:00:00+02:00")
    assert create(store, created_at=spelled).created_at == AT


@pytest.mark.parametrize("field", ["created_at", "updated_at", "completed_at"])
@pytest.mark.parametrize(
    "time",
    cases(naive=datetime(2025, 1, 13), text="2025-01-13T10:00:00Z", a_date=AT.date(), a_number=0),  # noqa: DTZ001
)
def test_lulu_record_with_a_time_that_is_none_is_refused_by_name(lasting_store: Store, field: str, time: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        create(lasting_store, **{"status": "completed", field: time})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"created_at": AT, "updated_at": AT - HOUR}, "updated_at"),
        ({"updated_at": AT}, "updated_at"),
        ({"status": "completed", "created_at": AT, "completed_at": AT - HOUR, "updated_at": AT}, "completed_at"),
        ({"status": "completed", "completed_at": AT}, "updated_at"),
        ({"status": "failed", "created_at": AT, "completed_at": AT + 2 * HOUR, "updated_at": AT + HOUR}, "updated_at"),
        *[
            ({"status": status, "created_at": AT, "completed_at": AT}, "completed_at")
            for status in ("created", "paused")
        ],
    ],
    ids=str,
)
def test_lulu_record_whose_values_contradict_each_other_is_refused_and_nothing_is_made(
    lasting_store: Store, lasting_other: Store, values: dict[str, Any], field: str
) -> None:
    before = dump(lasting_other)
    with pytest.raises(InvalidInput) as caught:
        create(lasting_store, **values)
    assert caught.value.field == field
    assert dump(lasting_other) == before


@pytest.mark.parametrize("status", cases(another_word="idle", empty="", nothing=None, a_number=1, true=True))
def test_lulu_record_with_a_status_that_is_none_is_refused(lasting_store: Store, status: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^status: "):
        create(lasting_store, status=status)


def test_lulu_record_of_a_running_session_that_fell_silent_is_reconciled(store: Store, other: Store) -> None:
    silent = create(store, status="running", created_at=AT, updated_at=AT + HOUR)

    assert [failed.id for failed in store.run(sessions.reconcile, idle_for=HOUR)] == [silent.id]
    assert other.query(sessions.get, silent.id).status_reason == "no activity since 2025-01-13T11:00:00.000000Z"


# --- update_session_status -------------------------------------------------------------------------------------


def test_lulu_status_is_updated_and_stamped(store: Store, other: Store, clock: SettableClock) -> None:
    made = create(store)
    now = clock.advance(seconds=5)
    store.run(sessions.set_status, made.id, "running")

    found = other.query(sessions.get, made.id)
    assert (found.status, found.created_at, found.updated_at) == (SessionStatus.RUNNING, made.created_at, now)


@pytest.mark.parametrize("status", ["paused", "completed"])
def test_lulu_session_that_is_created_may_become_paused_or_completed_at_once(
    store: Store, other: Store, clock: SettableClock, status: str
) -> None:
    key = create(store).id
    store.run(sessions.set_status, key, status)

    found = other.query(sessions.get, key)
    assert (found.status, found.completed_at) == (status, clock.instant if status == "completed" else None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (before, after)
        for before, after in product(SessionStatus, SessionStatus)
        if before is not SessionStatus.ARCHIVED and after is not SessionStatus.CREATED
    ],
)
def test_lulu_status_leads_to_every_other_in_one_move_or_two(before: SessionStatus, after: SessionStatus) -> None:
    once = {before, *TRANSITIONS[before]}
    assert after in once | {status for step in once for status in TRANSITIONS[step]}


def test_lulu_status_of_a_missing_session_is_not_found(lasting_store: Store) -> None:
    with pytest.raises(NotFound):
        lasting_store.run(sessions.set_status, "nowhere", "running")


# --- update, with the status among other values ----------------------------------------------------------------


def test_lulu_update_takes_a_status_with_other_values_in_one_change(
    store: Store, other: Store, clock: SettableClock
) -> None:
    made = create(store)
    now = clock.advance(seconds=5)
    changed = store.run(sessions.update, made.id, name="fixed", status="completed")

    expected = {"name": "fixed", "status": SessionStatus.COMPLETED, "completed_at": now, "updated_at": now}
    stamped = {"version": 2, "last_activity_at": now}
    assert columns_of(other.query(sessions.get, made.id)) == columns_of(made) | expected | stamped
    assert changed.status is SessionStatus.COMPLETED


def test_lulu_update_to_the_status_that_it_has_changes_nothing_of_it(store: Store, other: Store) -> None:
    session = make(store, SessionFactory, status=SessionStatus.FAILED, status_reason="the disk is full")
    with recorded_statements(store) as sent:
        same = store.run(sessions.update, session.id, status="error")
    assert columns_of(same) == columns_of(session)
    assert [statement for statement in sent if not statement.startswith("SELECT")] == []

    store.run(sessions.update, session.id, status="failed", name="again")
    found = other.query(sessions.get, session.id)
    assert (found.name, found.status_reason, found.completed_at) == ("again", "the disk is full", session.completed_at)


def test_lulu_update_to_a_status_takes_the_reason_of_the_last_one_away(store: Store, other: Store) -> None:
    session = make(store, SessionFactory, status=SessionStatus.FAILED, status_reason="the disk is full")
    store.run(sessions.update, session.id, status="active")

    found = other.query(sessions.get, session.id)
    assert (found.status, found.status_reason, found.completed_at) == (SessionStatus.RUNNING, None, None)


def test_lulu_update_to_an_illegal_status_changes_nothing_and_leaves_the_unit_of_work_usable(
    store: Store, other: Store
) -> None:
    key = make(store, SessionFactory, name="late set", status=SessionStatus.ARCHIVED).id
    with store.begin() as uow:
        with pytest.raises(IllegalTransition) as caught:
            sessions.update(uow, key, name="later set", status="running")
        sessions.update(uow, key, vibe="dub")
    assert (caught.value.current, caught.value.wanted) == (SessionStatus.ARCHIVED, SessionStatus.RUNNING)
    found = other.query(sessions.get, key)
    assert (found.name, found.vibe, found.status) == ("late set", "dub", SessionStatus.ARCHIVED)


@pytest.mark.parametrize("status", cases(another_word="idle", empty="", nothing=None, a_number=1, true=True))
def test_lulu_update_to_a_status_that_is_none_is_refused(
    lasting_store: Store, lasting_jam: Session, status: Any
) -> None:
    with pytest.raises(InvalidInput, match=r"^status: "):
        lasting_store.run(sessions.update, lasting_jam.id, status=status)


def test_lulu_update_of_a_status_at_another_version_is_refused(store: Store, other: Store) -> None:
    key = create(store).id
    other.run(sessions.update, key, name="another")
    with pytest.raises(StaleWrite):
        store.run(sessions.update, key, status="completed", expected_version=1)


def test_lulu_update_of_a_status_is_announced_to_followers(store: Store) -> None:
    key = create(store).id
    with store.begin() as uow:
        sessions.update(uow, key, name="quiet")
        assert uow._topics == set()
        sessions.update(uow, key, status="running")
        assert uow._topics == {sessions.topic(key)}


# --- delete_session and messages -------------------------------------------------------------------------------


def test_lulu_session_is_deleted_with_its_messages_and_no_others(store: Store, other: Store) -> None:
    one, another = make_many(store, SessionFactory, {}, {})
    for session in (one, another):
        make_many(store, MessageFactory, {}, {}, session_id=session.id)
    store.run(sessions.delete, one.id)

    assert other.query(sessions.find, one.id) is None
    assert [other.query(messages.count, key) for key in (one.id, another.id)] == [0, 2]


@pytest.mark.parametrize("role", MessageRole)
def test_lulu_message_of_each_role_is_kept_with_its_id_and_time(
    store: Store, other: Store, jam: Session, role: MessageRole
) -> None:
    store.run(messages.append, jam.id, role.value, "Here.", public_id="m1", created_at=AT)

    found = other.query(messages.get, jam.id, "m1")
    assert (found.session_id, found.role, found.content, found.created_at) == (jam.id, role, "Here.", AT)


# --- its SQL ---------------------------------------------------------------------------------------------------


def insert(store: Store, table: str, **values: Any) -> None:
    """A statement of an application's own, which knows nothing of the table classes."""
    named = ", ".join(values)
    statement = f"INSERT INTO {table} ({named}) VALUES ({', '.join(f':{name}' for name in values)})"
    with store.begin() as uow:
        uow.execute(sa.text(statement), values)


def test_lulu_raw_insert_of_a_session_may_leave_out_status_and_times(store: Store, other: Store) -> None:
    # The kind is ours alone, and has no default: a jam needs a tempo, an agent's session a folder.
    insert(store, "sessions", id="one", kind="agent", name="fix the build", working_dir="/srv/lulu")

    found = other.query(sessions.get, "one")
    assert (found.status, found.completed_at, found.version) == (SessionStatus.CREATED, None, 1)
    assert found.created_at == found.updated_at == found.last_activity_at
    assert found.created_at.utcoffset() == timedelta()
    assert store.run(sessions.set_status, "one", "completed").status is SessionStatus.COMPLETED


def test_lulu_raw_insert_with_its_own_columns_is_read_back(store: Store, other: Store) -> None:
    at = AT if store.backend == "postgresql" else "2025-01-13T10:00:00.000000Z"
    own = {"id": "one", "name": "fix the build", "status": "running", "working_dir": "/srv/lulu"}
    insert(store, "sessions", kind="agent", **own, created_at=at, updated_at=at)

    found = other.query(sessions.get, "one")
    assert {name: getattr(found, name) for name in own} == own
    assert (found.created_at, found.updated_at) == (AT, AT)


@pytest.mark.parametrize("missing", ["id", "kind"])
def test_lulu_raw_insert_without_a_column_that_has_no_default_is_refused(lasting_store: Store, missing: str) -> None:
    values = {"id": f"without {missing}", "kind": "agent", "name": "a", "working_dir": "/srv"}
    del values[missing]
    with pytest.raises(InvalidInput, match=missing):
        insert(lasting_store, "sessions", **values)


def test_lulu_raw_insert_of_a_message_goes_with_its_session(store: Store, other: Store) -> None:
    key = create(store).id
    insert(store, "messages", public_id="m1", session_id=key, role="user", content="Here.")
    assert other.query(messages.get, key, "m1").content == "Here."
    with pytest.raises(NotFound):
        insert(store, "messages", public_id="m2", session_id="nowhere", role="user", content="Here.")

    with store.begin() as uow:
        uow.execute(sa.text("DELETE FROM sessions WHERE id = :key"), {"key": key})
    assert other.query(messages.count, key) == 0


# --- init_database ---------------------------------------------------------------------------------------------


def test_lulu_database_is_made_with_its_wal_and_shm_files(tmp_path: Path) -> None:
    path = tmp_path / "app data" / "lulu.db"
    with Store.open(path) as store:
        create(store)
        beside = sorted(each.name for each in path.parent.iterdir())
    assert {"lulu.db", "lulu.db-shm", "lulu.db-wal"} <= set(beside)


def test_lulu_pragmas_are_set_on_every_connection(tmp_path: Path) -> None:
    with Store.open(tmp_path / "lulu.db", settings=Settings(busy_timeout_seconds=5)) as store:
        for unit in (store.begin, store.read):
            with unit() as uow:
                names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
                found = [uow.execute(sa.text(f"PRAGMA {name}")).scalar_one() for name in names]
            assert found == ["wal", 1, 5000, 1]


def test_lulu_database_that_cannot_be_opened_fails_at_startup_with_a_text(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_lulu_tables_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "lulu.db"
    with Store.open(path) as store:
        key = create(store).id
    with Store.open(path) as again:
        assert again.query(sessions.get, key).name == "fix the build"
    with sqlite3.connect(path) as driver:
        columns = {row[1] for row in driver.execute("PRAGMA table_info(sessions)")}
        messages_of_a_session = driver.execute("PRAGMA index_info(ix_messages_by_session)").fetchall()
    driver.close()
    assert {"id", "name", "status", "working_dir", "created_at", "updated_at"} <= columns
    assert [row[2] for row in messages_of_a_session] == ["session_id", "id"]


@pytest.mark.parametrize("drive", ["sync"])
def test_lulu_writers_at_the_same_time_wait_their_turn(store: Store, other: Store) -> None:
    def write(number: int) -> str:
        made = create((store, other)[number % 2], session_id=f"session {number}")
        (other, store)[number % 2].run(sessions.set_status, made.id, "running")
        return made.id

    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(write, range(24)))
    found = other.query(sessions.search, SessionFilter(status="running"), limit=100)
    assert {session.id for session in found.items} == made


def test_lulu_session_is_plain_json_for_other_programs(store: Store) -> None:
    made = create(store, session_id="one", created_at=EPOCH)
    document = made.model_dump(mode="json")
    assert (document["id"], document["status"], document["created_at"]) == ("one", "created", "2026-01-01T00:00:00Z")
