"""Where sessions stand: which moves there are, what comes with each, and what becomes of those that fell silent."""

from __future__ import annotations

import threading
from datetime import UTC, timedelta
from itertools import product
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_TEXTS, cases
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    IllegalTransition,
    InvalidInput,
    NotFound,
    Session,
    SessionKind,
    SessionStatus,
    StaleWrite,
    Store,
    history,
    sessions,
)
from vibeweaver_store.models.session import FINAL, TRANSITIONS
from vibeweaver_store.testing import EPOCH, SessionFactory, SettableClock, columns_of

MOVES = [(before, after) for before, every in TRANSITIONS.items() for after in every]
NO_MOVES = [
    (before, after)
    for before, after in product(SessionStatus, SessionStatus)
    if before is not after and after not in TRANSITIONS[before]
]

moves = pytest.mark.parametrize(("before", "after"), MOVES, ids=[f"{a} to {b}" for a, b in MOVES])
no_moves = pytest.mark.parametrize(("before", "after"), NO_MOVES, ids=[f"{a} to {b}" for a, b in NO_MOVES])


# The table of moves


def test_every_session_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(SessionStatus)


def test_a_session_status_leads_neither_to_itself_nor_to_created() -> None:
    assert [status for status, every in TRANSITIONS.items() if status in every] == []
    assert SessionStatus.CREATED not in {after for _, after in MOVES}


@pytest.mark.parametrize("status", SessionStatus)
def test_every_session_status_is_explained(status: SessionStatus) -> None:
    assert f"- ``{status}``: " in (SessionStatus.__doc__ or "")


# Moves


@moves
def test_a_session_makes_a_legal_move(store: Store, other: Store, before: SessionStatus, after: SessionStatus) -> None:
    session = make(store, SessionFactory, status=before)
    moved = store.run(sessions.set_status, session.id, after)
    assert moved.status is after
    assert columns_of(other.query(sessions.get, session.id)) == columns_of(moved)


@moves
def test_a_move_of_a_session_changes_only_its_status_columns(
    store: Store, other: Store, clock: SettableClock, before: SessionStatus, after: SessionStatus
) -> None:
    bystander = make(store, SessionFactory, status=before)
    session = make(store, SessionFactory, status=before)
    store.run(sessions.set_status, session.id, after)
    over_since = (session.completed_at or clock.instant) if after in FINAL else None
    stamped = {"updated_at": clock.instant, "last_activity_at": clock.instant, "version": session.version + 1}
    expected = columns_of(session) | {"status": after, "completed_at": over_since} | stamped
    assert columns_of(other.query(sessions.get, session.id)) == expected
    assert other.query(sessions.get, bystander.id) == bystander


@no_moves
def test_an_illegal_move_of_a_session_is_refused_with_the_legal_ones(
    lasting_store: Store, before: SessionStatus, after: SessionStatus
) -> None:
    session = make(lasting_store, SessionFactory, status=before)
    with pytest.raises(IllegalTransition) as caught:
        lasting_store.run(sessions.set_status, session.id, after)
    assert (caught.value.entity, caught.value.key) == ("session", session.id)
    assert (caught.value.current, caught.value.wanted, caught.value.allowed) == (before, after, TRANSITIONS[before])
    assert columns_of(lasting_store.query(sessions.get, session.id)) == columns_of(session)


def test_an_illegal_move_of_a_session_leaves_the_unit_of_work_usable(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        with pytest.raises(IllegalTransition):
            sessions.set_status(uow, jam.id, "paused")
        sessions.set_status(uow, jam.id, "running")
    assert other.query(sessions.get, jam.id).status is SessionStatus.RUNNING


@pytest.mark.parametrize("status", SessionStatus)
def test_moving_a_session_to_its_current_status_writes_nothing(store: Store, status: SessionStatus) -> None:
    session = make(store, SessionFactory, status=status, status_reason="as before")
    with recorded_statements(store) as sent:
        same = store.run(sessions.set_status, session.id, status, reason="another")
    assert columns_of(same) == columns_of(session)
    assert [statement for statement in sent if not statement.startswith("SELECT")] == []


def test_a_resumed_session_ends_again_with_a_new_time(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    for status in ("running", "completed", "running"):
        clock.advance(minutes=1)
        store.run(sessions.set_status, jam.id, status)
    assert other.query(sessions.get, jam.id).completed_at is None
    clock.advance(minutes=1)
    store.run(sessions.set_status, jam.id, "failed")
    assert other.query(sessions.get, jam.id).completed_at == clock.instant


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("active", SessionStatus.RUNNING),
        ("ACTIVE", SessionStatus.RUNNING),
        ("error", SessionStatus.FAILED),
        ("Failed", SessionStatus.FAILED),
        ("archived", SessionStatus.ARCHIVED),
    ],
)
def test_session_statuses_of_the_seed_projects_are_translated(
    store: Store, other: Store, jam: Session, word: str, status: SessionStatus
) -> None:
    store.run(sessions.set_status, jam.id, word)
    assert other.query(sessions.get, jam.id).status is status
    assert status.value in dump(other)["sessions"][0]


@pytest.mark.parametrize(("word", "status"), [("active", SessionStatus.RUNNING), ("error", SessionStatus.FAILED)])
def test_session_statuses_of_the_seed_projects_are_translated_in_a_built_row(word: str, status: SessionStatus) -> None:
    session = Session.build(name="late set", status=word, created_at=EPOCH, updated_at=EPOCH, last_activity_at=EPOCH)
    assert session.status is status


# Reasons


def test_a_status_reason_of_a_session_is_kept_only_with_its_status(store: Store, other: Store, jam: Session) -> None:
    store.run(sessions.set_status, jam.id, "failed", reason="the cable broke")
    assert other.query(sessions.get, jam.id).status_reason == "the cable broke"
    store.run(sessions.set_status, jam.id, "running")
    assert other.query(sessions.get, jam.id).status_reason is None


@pytest.mark.parametrize("reason", [*BAD_TEXTS, *cases(empty="", blank=" \n")])
def test_an_invalid_status_reason_of_a_session_is_refused(
    lasting_store: Store, lasting_jam: Session, reason: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.set_status, lasting_jam.id, "running", reason=reason)
    assert caught.value.field == "reason"


# Versions


def test_a_move_of_a_session_at_another_version_is_refused(store: Store, other: Store, jam: Session) -> None:
    other.run(sessions.set_status, jam.id, "running")
    with pytest.raises(StaleWrite) as caught:
        store.run(sessions.set_status, jam.id, "archived", expected_version=1)
    assert (caught.value.current.status, caught.value.current.version) == (SessionStatus.RUNNING, 2)


def test_a_move_of_a_session_at_the_version_read_is_made(store: Store, jam: Session) -> None:
    assert store.run(sessions.set_status, jam.id, "running", expected_version=1).version == 2


# Bad input


@pytest.mark.parametrize("status", cases(another_word="idle", empty="", nothing=None, a_number=1, true=True, a_list=[]))
def test_an_invalid_session_status_is_refused(lasting_store: Store, lasting_jam: Session, status: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^status: "):
        lasting_store.run(sessions.set_status, lasting_jam.id, status)


@pytest.mark.parametrize("session_id", [*BAD_IDS, pytest.param(None, id="nothing")])
def test_moving_a_session_by_an_invalid_id_is_refused(lasting_store: Store, session_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.set_status, session_id, "running")
    assert caught.value.field == "session_id"


def test_moving_a_missing_session_is_an_error(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(sessions.set_status, "nowhere", "running")


# Reconcile

HOUR = timedelta(hours=1)


def running(store: Store, clock: SettableClock, *silent_for: timedelta) -> list[Session]:
    each = [{"last_activity_at": clock.instant - silence} for silence in silent_for]
    return make_many(store, SessionFactory, *each, status=SessionStatus.RUNNING, kind=SessionKind.AGENT)


def test_reconciling_fails_running_sessions_idle_for_too_long(store: Store, other: Store, clock: SettableClock) -> None:
    longer, exactly, shorter = running(store, clock, HOUR + timedelta(microseconds=1), HOUR, timedelta())
    failed = store.run(sessions.reconcile, idle_for=HOUR)
    assert [session.id for session in failed] == [longer.id]
    assert columns_of(failed[0]) == columns_of(other.query(sessions.get, longer.id))
    assert [other.query(sessions.get, each.id) for each in (exactly, shorter)] == [exactly, shorter]


def test_a_session_failed_by_reconciling_says_since_when_it_was_idle(
    store: Store, other: Store, clock: SettableClock
) -> None:
    (silent,) = running(store, clock, 2 * HOUR)
    store.run(sessions.reconcile, idle_for=HOUR)
    since = silent.last_activity_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    expected = {
        "status": SessionStatus.FAILED,
        "status_reason": f"no activity since {since}",
        "completed_at": clock.instant,
        "updated_at": clock.instant,
        "version": 2,
    }
    assert columns_of(other.query(sessions.get, silent.id)) == columns_of(silent) | expected


@pytest.mark.parametrize("status", [status for status in SessionStatus if status is not SessionStatus.RUNNING])
def test_reconciling_leaves_sessions_that_are_not_running_alone(
    store: Store, other: Store, status: SessionStatus
) -> None:
    session = make(store, SessionFactory, status=status)
    assert store.run(sessions.reconcile, idle_for=timedelta()) == []
    assert other.query(sessions.get, session.id) == session


def test_reconciling_returns_failed_sessions_by_id(store: Store, clock: SettableClock) -> None:
    made = running(store, clock, *[HOUR * (9 - n) for n in range(8)])
    failed = store.run(sessions.reconcile, idle_for=timedelta())
    assert [session.id for session in failed] == sorted(session.id for session in made)


def test_reconciling_sessions_twice_fails_no_more(store: Store, clock: SettableClock) -> None:
    running(store, clock, 2 * HOUR, 3 * HOUR)
    assert len(store.run(sessions.reconcile, idle_for=HOUR)) == 2
    assert store.run(sessions.reconcile, idle_for=HOUR) == []


def test_reconciling_sessions_is_one_statement(store: Store, clock: SettableClock) -> None:
    running(store, clock, 2 * HOUR, 3 * HOUR)
    with recorded_statements(store) as sent:
        store.run(sessions.reconcile, idle_for=HOUR)
    assert len(sent) == 1


def test_a_session_appended_to_during_reconciling_is_not_failed(
    store: Store, other: Store, clock: SettableClock
) -> None:
    busy, silent = running(store, clock, 2 * HOUR, 2 * HOUR)
    begun, reconciled = threading.Event(), threading.Event()

    def append() -> None:
        with other.begin() as uow:
            history.append(uow, busy.id, "still here")
            begun.set()
            # SQLite has one writer, who reconciles afterwards; PostgreSQL reconciles beside it.
            reconciled.wait(0.3)

    thread = threading.Thread(target=append)
    thread.start()
    begun.wait(30)
    failed = store.run(sessions.reconcile, idle_for=HOUR)
    reconciled.set()
    thread.join()
    assert [session.id for session in failed] == [silent.id]
    assert other.query(sessions.get, busy.id).status is SessionStatus.RUNNING


@pytest.mark.parametrize(
    "idle_for",
    cases(
        nothing=None,
        seconds=60,
        text="60",
        true=True,
        a_little_below_zero=timedelta(microseconds=-1),
        longer_than_time=timedelta.max,
    ),
)
def test_reconciling_sessions_by_an_invalid_idle_time_is_refused(lasting_store: Store, idle_for: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.reconcile, idle_for=idle_for)
    assert caught.value.field == "idle_for"
