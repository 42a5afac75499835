"""Finishing an arena: who won, and what it came to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.arena_scene import (
    BAD_COUNTS,
    agent,
    create,
    move,
    run_all,
)
from tests.services.scene import dump
from vibeweaver_store import (
    IllegalTransition,
    InvalidInput,
    SessionStatus,
    Store,
    arenas,
    sessions,
)
from vibeweaver_store.models.session import TRANSITIONS
from vibeweaver_store.testing import (
    ArenaFactory,
    ImportFactory,
    InstanceFactory,
    SessionFactory,
    SettableClock,
    columns_of,
)


@pytest.fixture
def race(store: Store) -> str:
    """The session of an arena with three instances."""
    return create(store, agent("a"), agent("b"), agent("c")).session.id


@pytest.fixture(scope="module")
def lasting_race(lasting_store: Store) -> str:
    """An arena on the shared store with one instance; for refusals."""
    return create(lasting_store, agent("a")).session.id


# Finish


def test_finishing_an_arena_sums_up_its_instances(store: Store, other: Store, race: str, clock: SettableClock) -> None:
    clock.advance(seconds=10)
    run_all(store, race)
    store.run(arenas.record_diff, race, 0, files_changed=3, lines_added=120, lines_deleted=7)
    store.run(arenas.record_diff, race, 2, files_changed=2, lines_added=0, lines_deleted=1)  # nothing is known of 1
    now = clock.advance(seconds=90.5)
    done = store.run(arenas.finish, race, winner=2)
    found = other.query(arenas.get, race)
    assert columns_of(found.arena) == columns_of(done.arena)
    assert (found.arena.winner_instance_id, found.arena.total_duration_seconds) == (2, 90.5)
    totals = (found.arena.total_files_changed, found.arena.total_lines_added, found.arena.total_lines_deleted)
    assert totals == (5, 120, 8)
    assert (found.session.status, found.session.completed_at) == (SessionStatus.COMPLETED, now)


diffs = st.lists(
    st.tuples(*[st.none() | st.integers(0, arenas.MAX_DIFF)] * 3),
    max_size=6,
)


@given(diffs=diffs)
def test_arena_totals_are_the_sums_over_its_instances(
    lasting_store: Store, diffs: list[tuple[int | None, int | None, int | None]]
) -> None:
    names = ("files_changed", "lines_added", "lines_deleted")
    new = [agent(str(n), **dict(zip(names, diff, strict=True))) for n, diff in enumerate(diffs)]
    key = create(lasting_store, agent("done", status="completed"), *new).session.id
    create(lasting_store, agent("elsewhere", files_changed=1, lines_added=1, lines_deleted=1))
    arena = lasting_store.run(arenas.finish, key).arena
    totals = (arena.total_files_changed, arena.total_lines_added, arena.total_lines_deleted)
    assert totals == tuple(sum(diff[n] or 0 for diff in diffs) for n in range(3))


def test_an_arena_can_be_finished_without_a_winner(store: Store, other: Store, race: str) -> None:
    run_all(store, race)
    store.run(arenas.finish, race)
    found = other.query(arenas.find, race)
    assert found is not None
    assert (found.winner_instance_id, found.total_files_changed) == (None, 0)


def test_arena_duration_falls_back_to_the_creation_of_its_session(store: Store, clock: SettableClock) -> None:
    key = create(store, agent("a", status="failed")).session.id
    clock.advance(seconds=30)
    assert store.run(arenas.finish, key).arena.total_duration_seconds == 30.0


def test_an_arena_that_began_in_the_future_has_no_duration(store: Store, clock: SettableClock) -> None:
    key = create(store, agent("a", status="running", start_time=clock.instant + timedelta(days=1))).session.id
    move(store, key, 0, "completed")
    assert store.run(arenas.finish, key).arena.total_duration_seconds == 0.0


def test_an_arena_can_be_finished_as_failed(store: Store, other: Store, race: str) -> None:
    store.run(arenas.finish, race, status="failed")
    assert other.query(sessions.get, race).status is SessionStatus.FAILED


def test_an_arena_winner_that_is_not_an_instance_is_refused_without_a_write(
    store: Store, other: Store, race: str
) -> None:
    run_all(store, race)
    before = dump(other)
    with pytest.raises(InvalidInput, match="there are 0, 1, 2") as caught:
        store.run(arenas.finish, race, winner=3)
    assert caught.value.field == "winner"
    assert dump(other) == before


def test_an_instance_of_another_arena_cannot_win(store: Store, race: str) -> None:
    create(store, *[agent(str(n)) for n in range(9)])
    with pytest.raises(InvalidInput, match="there are 0, 1, 2"):
        store.run(arenas.finish, race, winner=8)


@pytest.mark.parametrize("winner", BAD_COUNTS)
def test_an_arena_winner_that_is_not_a_number_is_refused(lasting_store: Store, lasting_race: str, winner: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.finish, lasting_race, winner=winner)
    assert caught.value.field == "winner"


def test_an_arena_finish_refusal_lists_only_as_many_instances_as_fit_a_line(store: Store) -> None:
    key = create(store, *[agent(str(n)) for n in range(200)]).session.id
    with pytest.raises(InvalidInput) as caught:
        store.run(arenas.finish, key, winner=200)
    assert len(caught.value.message) < 150


@pytest.mark.parametrize("statuses", [["running"], ["running", "paused"]], ids=["running", "paused"])
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_an_arena_is_not_finished_while_an_instance_is_at_work(
    store: Store, other: Store, race: str, statuses: list[str], status: str
) -> None:
    move(store, race, 1, *statuses)
    before = dump(other)
    with pytest.raises(InvalidInput, match=f"number 1 is {statuses[-1]}"):
        store.run(arenas.finish, race, status=status)
    assert dump(other) == before


def test_an_instance_that_never_began_stays_pending_when_its_arena_finishes(
    store: Store, other: Store, race: str
) -> None:
    move(store, race, 0, "running", "completed")
    store.run(arenas.finish, race, winner=0)
    assert [each.status for each in other.query(arenas.instances, race)] == ["completed", "pending", "pending"]


def test_an_arena_in_which_nothing_has_begun_cannot_be_completed(store: Store, other: Store, race: str) -> None:
    before = dump(other)
    with pytest.raises(IllegalTransition, match="created and cannot become completed"):
        store.run(arenas.finish, race)
    assert dump(other) == before


@pytest.mark.parametrize("status", [each for each in SessionStatus if each not in {"completed", "failed"}])
def test_an_arena_finishes_only_as_completed_or_failed(
    lasting_store: Store, lasting_race: str, status: SessionStatus
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.finish, lasting_race, status=status)
    assert caught.value.field == "status"


@pytest.mark.parametrize("status", [None, "done", True])
def test_an_arena_finish_status_that_does_not_exist_is_refused(
    lasting_store: Store, lasting_race: str, status: Any
) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(arenas.finish, lasting_race, status=status)


@pytest.mark.parametrize("winner", [None, 1])
def test_finishing_an_arena_again_with_the_same_winner_writes_nothing(
    store: Store, other: Store, race: str, clock: SettableClock, winner: int | None
) -> None:
    run_all(store, race)
    done = store.run(arenas.finish, race, winner=winner)
    before = dump(other)
    clock.advance(hours=1)
    again = store.run(arenas.finish, race, winner=winner)
    assert (again.arena, again.session) == (done.arena, done.session)
    assert dump(other) == before


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, None), (None, 1)])
def test_finishing_an_arena_again_with_another_winner_is_refused(
    store: Store, other: Store, race: str, first: int | None, second: int | None
) -> None:
    run_all(store, race)
    store.run(arenas.finish, race, winner=first)
    with pytest.raises(InvalidInput, match="finished already") as caught:
        store.run(arenas.finish, race, winner=second)
    assert caught.value.field == "winner"
    assert other.query(arenas.get, race).arena.winner_instance_id == first


def test_a_resumed_arena_can_be_finished_again(store: Store, other: Store, race: str, clock: SettableClock) -> None:
    run_all(store, race)
    store.run(arenas.finish, race, winner=1)
    store.run(sessions.set_status, race, "running")
    store.run(arenas.record_diff, race, 0, files_changed=1, lines_added=1, lines_deleted=1)
    clock.advance(hours=1)
    store.run(arenas.finish, race, winner=0)
    found = other.query(arenas.get, race).arena
    assert (found.winner_instance_id, found.total_files_changed, found.total_duration_seconds) == (0, 1, 3600.0)


@pytest.mark.parametrize("winner", [0, 1, None])
def test_a_resumed_and_completed_arena_is_finished_as_of_its_completion(
    store: Store, other: Store, race: str, clock: SettableClock, winner: int | None
) -> None:
    run_all(store, race)
    store.run(arenas.finish, race, winner=0)
    store.run(sessions.set_status, race, "running")
    clock.advance(hours=1)
    store.run(sessions.set_status, race, "completed")
    clock.advance(hours=1)
    store.run(arenas.finish, race, winner=winner)
    found = other.query(arenas.get, race).arena
    assert (found.winner_instance_id, found.total_duration_seconds) == (winner, 3600.0)
    with pytest.raises(InvalidInput, match="finished already"):
        store.run(arenas.finish, race, winner=2)


def test_imported_arena_totals_are_not_overwritten(store: Store, other: Store, clock: SettableClock) -> None:
    with store.begin() as uow:
        brought = ImportFactory.create(uow=uow)
        over = {"status": "completed", "completed_at": clock.instant + timedelta(hours=1), "import_id": brought.id}
        key = SessionFactory.create(uow=uow, kind="debate", **over).id
        InstanceFactory.create(uow=uow, session_id=key, instance_id=0, status="completed")
        totals = {"total_duration_seconds": 9.0, "total_files_changed": 15}
        ArenaFactory.create(uow=uow, session_id=key, winner_instance_id=0, **totals)
    before = dump(other)
    store.run(arenas.finish, key, winner=0)
    with pytest.raises(InvalidInput, match="finished already"):
        store.run(arenas.finish, key)
    assert dump(other) == before


def test_an_arena_completed_without_totals_gets_them_as_of_its_completion(
    store: Store, race: str, clock: SettableClock
) -> None:
    run_all(store, race)
    clock.advance(seconds=20)
    store.run(sessions.set_status, race, "completed")
    clock.advance(hours=1)
    done = store.run(arenas.finish, race, winner=1)
    assert (done.arena.winner_instance_id, done.arena.total_duration_seconds) == (1, 20.0)


@pytest.mark.parametrize(
    "status", [each for each in SessionStatus if SessionStatus.COMPLETED not in {each, *TRANSITIONS[each]}]
)
def test_an_arena_whose_session_cannot_be_completed_cannot_be_finished(store: Store, status: SessionStatus) -> None:
    with store.begin() as uow:
        key = SessionFactory.create(uow=uow, kind="debate", status=status).id
        ArenaFactory.create(uow=uow, session_id=key)
    with pytest.raises(IllegalTransition):
        store.run(arenas.finish, key)


def test_arena_totals_include_writes_after_the_finish(store: Store, other: Store, race: str) -> None:
    run_all(store, race)
    store.run(arenas.finish, race, winner=1)
    store.run(arenas.record_diff, race, 1, files_changed=2, lines_added=20, lines_deleted=1)
    store.run(arenas.add_instance, race, agent("late", status="completed", files_changed=1, lines_added=5))
    found = other.query(arenas.get, race).arena
    totals = (found.total_files_changed, found.total_lines_added, found.total_lines_deleted)
    assert totals == (3, 25, 1)


def test_an_unfinished_arena_has_no_totals(store: Store, other: Store, race: str) -> None:
    store.run(arenas.record_diff, race, 1, files_changed=2, lines_added=20, lines_deleted=1)
    assert other.query(arenas.get, race).arena.total_files_changed is None


@pytest.mark.parametrize("drive", ["sync"])
def test_concurrent_finishes_of_an_arena_set_one_winner(store: Store, other: Store, race: str) -> None:
    run_all(store, race)
    gate = threading.Barrier(6, timeout=30)

    def finish(number: int) -> int | None:
        gate.wait()
        try:
            (store, other)[number % 2].run(arenas.finish, race, winner=number % 3)
        except InvalidInput:
            return None
        return number % 3

    with ThreadPoolExecutor(6) as threads:
        won = set(threads.map(finish, range(6))) - {None}
    assert won == {other.query(arenas.get, race).arena.winner_instance_id}
