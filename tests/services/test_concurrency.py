"""Many threads at once: what must happen once happens once, and what is counted is counted whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.conftest import BACKENDS
from tests.services.scene import make, make_many
from vibeweaver_store import (
    IllegalTransition,
    NotFound,
    Rule,
    Session,
    Settings,
    Store,
    UnitOfWork,
    actions,
    history,
    markers,
    rules,
    sessions,
    signals,
    snapshots,
    stats,
    triggers,
)
from vibeweaver_store.testing import RuleFactory, SessionFactory, SettableClock

T = TypeVar("T")

THREADS = 8
TICK = signals.BeatTick(beat=0)


def at_once(*stores: Store, work: Callable[[Store, int], T]) -> list[T]:
    """Do the work in eight threads that start together, each with one of the stores and its own number."""
    gate = threading.Barrier(THREADS, timeout=30)

    def start(number: int) -> T:
        gate.wait()
        return work(stores[number % len(stores)], number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(start, range(THREADS)))


def await_waiting(uow: UnitOfWork) -> None:
    """Return once a statement waits for a lock in PostgreSQL's database of a unit of work."""
    of_database = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    until = time.monotonic() + 20
    while not uow.execute(sa.text(f"SELECT pg_stat_clear_snapshot(), count(*) {of_database}")).one()[1]:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def drive() -> str:
    """Threads share a Store; tasks that share an AsyncStore have tests of their own."""
    return "sync"


# Firing


@pytest.fixture
def one_shot(store: Store) -> Rule:
    return make(store, RuleFactory, one_shot=True)


@pytest.fixture
def counting(store: Store) -> Rule:
    return make(store, RuleFactory)


def test_a_one_shot_rule_fired_concurrently_fires_once(store: Store, other: Store, one_shot: Rule) -> None:
    fired = at_once(store, other, work=lambda each, _: each.run(rules.fire, one_shot.session_id, TICK))
    assert sorted(len(firings) for firings in fired) == [0] * (THREADS - 1) + [1]


def test_a_one_shot_rule_fired_concurrently_is_counted_and_logged_once(
    store: Store, other: Store, one_shot: Rule
) -> None:
    at_once(store, other, work=lambda each, _: each.run(rules.fire, one_shot.session_id, TICK))
    found = other.query(rules.get, one_shot.id)
    assert (found.fired_count, found.enabled) == (1, False)
    assert other.query(history.count, one_shot.session_id) == 1


def test_concurrent_firings_of_a_rule_are_all_counted(store: Store, other: Store, counting: Rule) -> None:
    def fire(each: Store, _: int) -> None:
        for _ in range(5):
            each.run(rules.fire, counting.session_id, TICK)

    at_once(store, other, work=fire)
    assert other.query(rules.get, counting.id).fired_count == THREADS * 5
    assert other.query(history.count, counting.session_id) == THREADS * 5


def test_concurrent_firings_of_a_rule_each_show_their_own_count(store: Store, other: Store, counting: Rule) -> None:
    fired = at_once(store, other, work=lambda each, _: each.run(rules.fire, counting.session_id, TICK))
    assert sorted(firing.rule.fired_count for firings in fired for firing in firings) == list(range(1, THREADS + 1))


def test_concurrent_signals_that_share_rules_do_not_deadlock(store: Store, other: Store, jam: Session) -> None:
    made = make_many(
        store,
        RuleFactory,
        *[{"trigger": triggers.Artifact(tag=tag)} for tag in (None, "drums", "bass", "vocals") for _ in range(5)],
        session_id=jam.id,
    )
    tags = [("drums", "bass"), ("bass", "vocals"), ("vocals", "drums"), ("drums",)]

    def fire(each: Store, number: int) -> int:
        return len(each.run(rules.fire, jam.id, signals.ArtifactCreated(tags=tags[number % 4])))

    fired = sum(at_once(store, other, work=fire))
    assert sum(other.query(rules.get, rule.id).fired_count for rule in made) == fired == 2 * (15 * 3 + 10)


@pytest.mark.parametrize(
    "values", [{"one_shot": True}, {"trigger": triggers.Deadline(beat=8.0)}], ids=["a one-shot", "a deadline"]
)
def test_a_rule_marked_fired_concurrently_is_marked_once(store: Store, other: Store, values: dict[str, object]) -> None:
    rule = make(store, RuleFactory, **values)

    def mark(each: Store, _: int) -> bool:
        try:
            each.run(rules.mark_fired, rule.id)
        except IllegalTransition:
            return False
        return True

    assert sorted(at_once(store, other, work=mark)) == [False] * (THREADS - 1) + [True]
    assert other.query(rules.get, rule.id).fired_count == 1


def test_a_rule_switched_off_concurrently_fires_before_or_not_at_all(
    store: Store, other: Store, counting: Rule
) -> None:
    def work(each: Store, number: int) -> int:
        if number == 0:
            each.run(rules.set_enabled, counting.id, False)
            return 0
        return len(each.run(rules.fire, counting.session_id, TICK))

    fired = sum(at_once(store, other, work=work))
    found = other.query(rules.get, counting.id)
    assert found.fired_count == fired == other.query(history.count, counting.session_id)
    # Firing puts "enabled" back to what it is without one-shot; a switch in between must not be undone by it.
    assert found.enabled is False


# Other writers


def test_stats_samples_recorded_concurrently_are_all_kept(store: Store, other: Store) -> None:
    def record(each: Store, number: int) -> None:
        for sample in range(10):
            each.run(stats.record, "drums", number * 10 + sample)

    at_once(store, other, work=record)
    found, durations = other.query(stats.get, "drums"), range(THREADS * 10)
    assert (found.sample_count, found.total_ms) == (len(durations), sum(durations))
    assert (found.min_ms, found.max_ms) == (0, durations[-1])
    assert found.sum_of_squares_ms2 == sum(duration**2 for duration in durations)


def test_history_entries_appended_concurrently_are_all_kept_with_distinct_ids(
    store: Store, other: Store, jam: Session
) -> None:
    def append(each: Store, number: int) -> list[int | None]:
        return [each.run(history.append, jam.id, f"thread {number}").id for _ in range(5)]

    ids = [each for ids in at_once(store, other, work=append) for each in ids]
    assert sorted(ids, key=lambda each: each or 0) == [
        entry.id for entry in history.iterate(other, jam.id, oldest_first=True)
    ]
    assert len(set(ids)) == THREADS * 5


def test_concurrent_session_updates_of_different_fields_are_both_kept(store: Store, other: Store, jam: Session) -> None:
    changes: list[dict[str, object]] = [{"name": "new"}, {"vibe": "new"}, {"tempo_bpm": 90.0}]
    at_once(store, other, work=lambda each, number: each.run(sessions.update, jam.id, **changes[number % 3]))  # type: ignore[arg-type]
    found = other.query(sessions.get, jam.id)
    assert (found.name, found.vibe, found.tempo_bpm) == ("new", "new", 90.0)


def test_concurrent_creations_of_one_session_id_make_one_session(store: Store, other: Store) -> None:
    def create(each: Store, number: int) -> str:
        try:
            return str(each.run(sessions.create, name=f"by {number}", session_id="late-set").name)
        except Exception as error:  # noqa: BLE001 - which one is what is looked at
            return type(error).__name__

    outcomes = at_once(store, other, work=create)
    winner = str(other.query(sessions.get, "late-set").name)
    assert sorted(outcomes) == sorted(["AlreadyExists"] * (THREADS - 1) + [winner])


def test_a_session_deleted_during_writes_leaves_no_rows_behind(store: Store, other: Store, jam: Session) -> None:
    def work(each: Store, number: int) -> str:
        try:
            if number == 0:
                each.run(sessions.delete, jam.id)
            else:
                each.run(markers.add, jam.id, number, "drop")
        except Exception as error:  # noqa: BLE001 - which one is what is looked at
            return type(error).__name__
        return "done"

    assert set(at_once(store, other, work=work)) <= {"done", "NotFound"}
    assert other.query(markers.page, jam.id).items == []


def test_concurrent_snapshot_saves_keep_no_more_than_the_limit(store: Store, other: Store, jam: Session) -> None:
    at_once(store, other, work=lambda each, number: each.run(snapshots.save, jam.id, bytes(number), keep=3))
    assert len(other.query(snapshots.page, jam.id).items) == 3


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_a_rule_that_a_statement_of_ones_own_switches_off_meanwhile_does_not_fire(
    store: Store, other: Store, counting: Rule
) -> None:
    fired: list[rules.Firing] = []
    firing = threading.Thread(target=lambda: fired.extend(store.run(rules.fire, counting.session_id, TICK)))
    with other.begin() as uow:
        uow.exec(sa.update(Rule).where(col(Rule.id) == counting.id).values(enabled=False))
        firing.start()
        await_waiting(uow)
    firing.join()
    assert fired == []
    assert not other.query(rules.get, counting.id).enabled


# Listing and deleting meanwhile


@pytest.mark.parametrize("before", [[], ["just before"]], ids=["in a silent session", "in a busy session"])
def test_a_history_reader_does_not_skip_an_entry_committed_late(store: Store, other: Store, before: list[str]) -> None:
    session = make(store, SessionFactory)
    for action in before:
        store.run(history.append, session.id, action)
    begun = threading.Event()

    def slowly() -> None:
        with other.begin() as uow:
            history.append(uow, session.id, "slow")
            begun.set()
            time.sleep(0.3)

    thread = threading.Thread(target=slowly)
    thread.start()
    begun.wait(30)
    for n in range(3):
        store.run(history.append, session.id, f"fast {n}")
    first = store.query(history.page, session.id, limit=2, oldest_first=True)
    thread.join()
    rest = store.query(history.page, session.id, oldest_first=True, cursor=first.next_cursor)
    assert [entry.action for entry in first.items + rest.items] == [*before, "slow", "fast 0", "fast 1", "fast 2"]


def test_firing_rules_while_their_session_is_deleted_does_not_deadlock(database: str, clock: SettableClock) -> None:
    once = Settings(retries=0)  # a deadlock would be an error here, and not be run again
    with Store.open(database, settings=once, clock=clock) as store:
        for _ in range(5):
            session = make(store, SessionFactory)
            beats = [rules.NewRule(triggers.Beat(divisor=1), actions.Play()) for _ in range(10)]
            store.run(rules.add_many, session.id, beats)

            def work(each: Store, number: int, session_id: str = session.id) -> None:
                try:
                    if number == THREADS // 2:
                        each.run(sessions.delete, session_id)
                    else:
                        each.run(rules.fire, session_id, TICK)
                except NotFound:
                    pass

            at_once(store, work=work)
            assert store.query(sessions.find, session.id) is None
