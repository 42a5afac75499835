"""Many threads at one queue: each job is given to one, ends once, and nobody waits for anybody in a circle."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta

import pytest

from tests.conftest import BACKENDS
from tests.services.queue_steps import claim, claimed, enqueue, ids, story
from tests.services.scene import make
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import (
    AlreadyExists,
    IllegalTransition,
    JobStatus,
    LeaseLost,
    NotFound,
    Settings,
    Store,
    StoreError,
    actions,
    jobs,
    rules,
    sessions,
    triggers,
)
from vibeweaver_store.testing import SessionFactory, SettableClock

HOUR = timedelta(hours=1)
TYPES = ["render", "mix", "master"]


@pytest.fixture
def store(database: str, clock: SettableClock) -> Iterator[Store]:
    """A store that repeats nothing: a deadlock is an error here, and is not run again."""
    with Store.open(database, settings=Settings(retries=0), clock=clock) as opened:
        yield opened


def named(outcome: Callable[[], object]) -> str:
    try:
        outcome()
    except StoreError as error:
        return type(error).__name__
    return "done"


# Claims


@pytest.mark.parametrize("types", [["render"], TYPES, None], ids=["one type", "types", "all"])
def test_concurrent_claims_give_each_job_to_one_worker(store: Store, other: Store, types: list[str] | None) -> None:
    given = [jobs.NewJob("render" if types == ["render"] else TYPES[n % 3]) for n in range(80)]
    store.run(jobs.enqueue_many, given)

    def work(each: Store, number: int) -> list[str]:
        got: list[str] = []
        # Nobody is told that there is nothing while there is: not even while others are taking what comes first.
        while found := each.run(jobs.claim, types, f"worker-{number}", limit=2).jobs:
            got += ids(found)
        return got

    got = [key for keys in at_once(store, other, work=work) for key in keys]
    assert len(got) == len(set(got)) == 80


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_a_job_claim_does_not_wait_for_other_claims(store: Store, other: Store) -> None:
    for kind in TYPES:
        enqueue(store, kind, priority=1)
    second = enqueue(store, "mix")
    with other.begin() as uow:
        jobs.claim(uow, TYPES, "worker-1", limit=3)
        assert ids(store.run(jobs.claim, TYPES, "worker-2").jobs) == [second.id]


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_a_job_not_claimed_in_an_open_claim_is_left_to_others(store: Store, other: Store) -> None:
    enqueue(store, "render", priority=1)
    mix = enqueue(store, "mix")
    with other.begin() as uow:
        assert len(jobs.claim(uow, ["render", "mix"], "worker-1", limit=1).jobs) == 1
        assert ids(store.run(jobs.claim, ["mix"], "worker-2").jobs) == [mix.id]


def test_concurrent_claims_take_each_expired_lease_back_once(store: Store, other: Store, clock: SettableClock) -> None:
    session = make(store, SessionFactory)
    store.run(jobs.enqueue_many, [jobs.NewJob("render", max_attempts=2)] * 10)
    last = store.run(jobs.enqueue, "mix", max_attempts=1, session_id=session.id).job
    store.run(rules.add, session.id, triggers.JobComplete(job_id=last.id), actions.Play())
    first = store.run(jobs.claim, None, "worker-0", limit=20).jobs
    clock.advance(hours=1)
    found = at_once(store, other, work=lambda each, n: each.run(jobs.claim, None, f"worker-{n}", limit=3))
    claimed_again = Counter(job.id for each in found for job in each.jobs)
    assert set(claimed_again.values()) == {1}
    assert sum(len(ended.firings) for each in found for ended in each.ended) == 1
    assert [len(story(other, job.id)) for job in first] == [1] * 11
    assert other.query(jobs.get, last.id).status is JobStatus.FAILED


# Ends


def test_a_job_completed_concurrently_is_completed_once(store: Store, other: Store) -> None:
    job = claimed(store, "render")
    outcomes = at_once(store, other, work=lambda each, n: named(lambda: each.run(jobs.complete, job, n)))
    assert Counter(outcomes) == {"done": 1, "LeaseLost": THREADS - 1}
    assert other.query(jobs.get, job.id).result == outcomes.index("done")
    assert story(other, job.id) == [(1, "worker-1", None)]


def test_a_job_cancelled_while_it_is_completed_ends_one_way(store: Store, other: Store) -> None:
    session = make(store, SessionFactory)
    for _ in range(5):
        job = claimed(store, "render", session_id=session.id)

        def work(each: Store, number: int, key: str = job.id, job=job) -> str:  # type: ignore[no-untyped-def]
            if number % 2:
                return named(lambda: each.run(jobs.cancel, key))
            return named(lambda: each.run(jobs.complete, job))

        outcomes = at_once(store, other, work=work)
        ended = other.query(jobs.get, job.id).status
        winners = [number % 2 for number, outcome in enumerate(outcomes) if outcome == "done"]
        assert winners == [int(ended is JobStatus.CANCELLED)]
        assert set(outcomes) <= {"done", "LeaseLost", "IllegalTransition"}
        assert len(story(other, job.id)) == 1


def test_completing_a_job_while_its_session_is_deleted_does_not_deadlock(store: Store) -> None:
    for _ in range(3):
        session = make(store, SessionFactory)
        store.run(jobs.enqueue_many, [jobs.NewJob("render", session_id=session.id)] * THREADS)
        held = store.run(jobs.claim, ["render"], "worker-1", limit=THREADS).jobs
        for job in held:
            store.run(rules.add, session.id, triggers.JobComplete(job_id=job.id), actions.Play())

        def work(each: Store, number: int, key: str = session.id, held=held) -> None:  # type: ignore[no-untyped-def]
            with suppress(NotFound):
                if number == THREADS // 2:
                    each.run(sessions.delete, key)
                elif number % 3:
                    each.run(jobs.complete, held[number])
                else:
                    each.run(jobs.cancel, held[number].id)

        at_once(store, work=work)
        assert store.query(jobs.count, session_id=session.id) == 0


def test_concurrent_claims_heartbeats_and_ends_leave_each_job_one_holder(
    store: Store, other: Store, clock: SettableClock
) -> None:
    store.run(jobs.enqueue_many, [jobs.NewJob("render", max_attempts=100)] * 12)
    done: Counter[str] = Counter()
    lock = threading.Lock()

    def work(each: Store, number: int) -> None:
        slow = number % 2
        while each.query(jobs.count, status="completed") < 12:
            for job in each.run(jobs.claim, None, f"worker-{number}", lease_seconds=5, limit=2).jobs:
                if slow:
                    clock.advance(seconds=6)  # it is too late, and so are others
                    slow = False
                with suppress(LeaseLost):
                    each.run(jobs.heartbeat, job, lease_seconds=5)
                    each.run(jobs.complete, job)
                    with lock:
                        done[job.id] += 1

    at_once(store, other, work=work)
    assert sorted(done.values()) == [1] * 12
    for key in done:
        told = story(other, key)
        assert [attempt for attempt, _, _ in told] == list(range(1, len(told) + 1))
        assert [error for _, _, error in told] == ["the lease expired"] * (len(told) - 1) + [None]


# Unique keys


def test_a_unique_key_enqueued_concurrently_has_one_job(store: Store, other: Store) -> None:
    enqueued = at_once(store, other, work=lambda each, _: each.run(jobs.enqueue, "render", unique_key="chorus"))
    assert sum(each.new for each in enqueued) == 1
    assert len({each.job.id for each in enqueued}) == 1


def test_unique_keys_enqueued_in_different_orders_do_not_deadlock(store: Store, other: Store) -> None:
    def work(each: Store, number: int) -> list[str]:
        turn = 1 if number % 2 else -1
        given = [jobs.NewJob("render", n, unique_key=str(n)) for n in range(50)][::turn]
        return ids([enqueued.job for enqueued in each.run(jobs.enqueue_many, given)])[::turn]

    found = at_once(store, other, work=work)
    assert found == [found[0]] * THREADS
    assert other.query(jobs.count) == 50


def test_a_unique_key_enqueued_while_its_job_ends_is_never_lost(store: Store, other: Store) -> None:
    for _ in range(5):
        job = claimed(store, "render", unique_key="chorus")

        def work(each: Store, number: int, job=job) -> jobs.Enqueued | None:  # type: ignore[no-untyped-def]
            if number == 0:
                each.run(jobs.complete, job)
                return None
            return each.run(jobs.enqueue, "render", unique_key="chorus")

        enqueued = [each for each in at_once(store, other, work=work) if each is not None]
        fresh = {each.job.id for each in enqueued if each.new}
        assert len(fresh) <= 1
        assert {each.job.id for each in enqueued} <= fresh | {job.id}
        store.run(jobs.prune, timedelta())
        for key in fresh:
            store.run(jobs.cancel, key)


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_a_unique_key_whose_job_ends_between_two_reads_is_taken(store: Store, other: Store) -> None:
    """The insert waits for whoever is ending the holder, and finds it gone."""
    job = claimed(store, "render", unique_key="chorus")
    with other.begin() as uow:
        jobs.complete(uow, job)
        thread_outcome: list[jobs.Enqueued] = []
        thread = threading.Thread(
            target=lambda: thread_outcome.append(store.run(jobs.enqueue, "render", unique_key="chorus"))
        )
        thread.start()
        thread.join(0.3)
    thread.join(30)
    assert [each.new for each in thread_outcome] == [True]


def test_a_unique_key_enqueued_during_a_retry_belongs_to_one_job(store: Store, other: Store) -> None:
    failed = enqueue(store, "render", unique_key="chorus")
    store.run(jobs.cancel, failed.id)

    def work(each: Store, number: int) -> str:
        if number % 3 == 0:
            return named(lambda: each.run(jobs.retry, failed.id))
        if number % 3 == 1:
            return str(each.run(jobs.retry_many, status="cancelled"))
        return str(each.run(jobs.enqueue, "render", unique_key="chorus").new)

    outcomes = at_once(store, other, work=work)
    assert set(outcomes) <= {"done", "0", "1", "True", "False", AlreadyExists.__name__, IllegalTransition.__name__}
    assert sum(outcome in {"done", "1", "True"} for outcome in outcomes) == 1
    assert other.query(jobs.count, status="pending") == 1


def test_workers_that_claim_and_complete_jobs_of_one_session_do_not_deadlock(store: Store, other: Store) -> None:
    session = make(store, SessionFactory)
    store.run(jobs.enqueue_many, [jobs.NewJob("render", session_id=session.id)] * 24)

    def work(each: Store, number: int) -> int:
        done = 0
        while found := each.run(jobs.claim, ["render"], f"worker-{number}").jobs:
            each.run(jobs.complete, found[0])
            done += 1
        return done

    assert sum(at_once(store, other, work=work)) == 24


def test_an_enqueued_job_wakes_a_waiting_worker(store: Store, other: Store) -> None:
    woken: list[bool] = []

    def wait() -> None:
        with closing(store._watch(jobs.JOBS_TOPIC)) as watch:
            set_up.set()
            woken.append(watch.wait(10))

    set_up = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    set_up.wait(10)
    enqueue(other, "render")
    thread.join(30)
    assert woken == [True]
    assert claim(other, "render").attempts == 1
