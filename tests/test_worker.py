"""Workers: they claim, run handlers, keep leases alive, and end in good order."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from tests.conftest import recorded_statements
from tests.services.bad_input import cases
from vibeweaver_store import (
    AsyncStore,
    GiveUp,
    Handler,
    HistoryEntry,
    InvalidInput,
    Job,
    JobStatus,
    LeaseLost,
    Store,
    StoreError,
    StoreUnavailable,
    Worker,
    actions,
    history,
    jobs,
    rules,
    sessions,
    triggers,
    worker_tasks,
)
from vibeweaver_store.worker_tasks import LoopThread

SOON_SECONDS = 30.0
AT_ONCE = jobs.Backoff(base_seconds=0.01, cap_seconds=0.01)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A store whose clock goes, as leases and backoffs need it."""
    with Store.open(database) as opened:
        yield opened


def enqueue(store: Store, data: object = None, **values: Any) -> Job:
    return store.run(jobs.enqueue, "render", data, **values).job


def drain(store: Store, handler: Any, **options: Any) -> Worker:
    """Let a worker do all that there is to be done."""
    worker = Worker(store, {"render": handler}, **options)
    worker.run(until_idle=True)
    return worker


@contextmanager
def at_work(store: Store, handlers: Mapping[str, Any], **options: Any) -> Iterator[Worker]:
    """A worker in a thread, stopped behind the block; what it raises is raised there."""
    worker = Worker(store, handlers, **options)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(SOON_SECONDS)
    assert not thread.is_alive()
    assert raised == []


def wait_until(there: Callable[[], Any]) -> Any:
    until = time.monotonic() + SOON_SECONDS
    while time.monotonic() < until:
        if found := there():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come")


def status_of(store: Store, job: Job) -> JobStatus:
    return store.query(jobs.get, job.id).status


def told(store: Store, session_id: str) -> list[str]:
    return [entry.action for entry in store.query(history.page, session_id, oldest_first=True).items]


# What a handler returns, or raises


def test_a_worker_completes_a_job_with_the_result_of_its_handler(store: Store) -> None:
    job = enqueue(store, {"bar": 7})
    worker = drain(store, lambda lease: {"rendered": lease.job.data["bar"]})
    found = store.query(jobs.get, job.id)
    assert (found.status, found.result, found.worker_id) == (JobStatus.COMPLETED, {"rendered": 7}, worker.worker_id)


def test_a_worker_runs_a_coroutine_handler_on_an_event_loop(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    job = enqueue(store, session_id=jam.id)

    async def render(lease: jobs.AsyncLease) -> str:
        await asyncio.sleep(0)
        async with lease.begin() as uow:
            await uow.run(history.append, jam.id, "rendered")
        return "done"

    drain(store, render)
    assert store.query(jobs.get, job.id).result == "done"
    assert told(store, jam.id) == ["rendered"]


def test_a_worker_retries_a_job_whose_handler_raises_until_attempts_run_out(store: Store) -> None:
    job = enqueue(store, max_attempts=3)
    tried = []

    def render(lease: jobs.Lease) -> None:
        tried.append(lease.job.attempts)
        raise RuntimeError("the string broke")

    with at_work(store, {"render": Handler(render, backoff=AT_ONCE)}):
        wait_until(lambda: status_of(store, job) is JobStatus.FAILED)
    assert tried == [1, 2, 3]
    assert store.query(jobs.get, job.id).error == "RuntimeError: the string broke"
    assert [each.error for each in store.query(jobs.attempts, job.id)] == ["RuntimeError: the string broke"] * 3


def test_a_worker_waits_for_the_backoff_of_a_failed_job(store: Store) -> None:
    job = enqueue(store)

    def render(_lease: jobs.Lease) -> None:
        raise RuntimeError("not now")

    drain(store, Handler(render, backoff=jobs.Backoff(base_seconds=1000, cap_seconds=1000)))
    found = store.query(jobs.get, job.id)
    assert (found.status, found.attempts) == (JobStatus.PENDING, 1)
    assert found.scheduled_at - found.updated_at >= timedelta(seconds=500)


def test_a_handler_can_fail_its_job_for_good(store: Store) -> None:
    job = enqueue(store, max_attempts=5)

    def render(_lease: jobs.Lease) -> None:
        raise GiveUp("there is no such song")

    drain(store, render)
    found = store.query(jobs.get, job.id)
    assert (found.status, found.attempts, found.error) == (JobStatus.FAILED, 1, "GiveUp: there is no such song")


def test_the_error_text_of_a_handler_is_fitted_to_its_column(store: Store) -> None:
    job = enqueue(store, max_attempts=1)

    def render(_lease: jobs.Lease) -> None:
        raise RuntimeError("\x00\ud800" + "x" * 100_000)

    drain(store, render)
    error = store.query(jobs.get, job.id).error
    assert error is not None
    assert error.startswith("RuntimeError: \\x00\\ud800xxx")
    assert len(error) == 10_000


def test_a_job_whose_handler_returns_a_value_outside_json_fails(store: Store) -> None:
    job = enqueue(store, max_attempts=5)
    drain(store, lambda _lease: object())
    found = store.query(jobs.get, job.id)
    assert (found.status, found.attempts) == (JobStatus.FAILED, 1)
    assert "result" in (found.error or "")


class NotAnException(BaseException):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), NotAnException(), asyncio.CancelledError()])
@pytest.mark.parametrize("kind", ["a function", "a coroutine function"])
def test_a_job_fails_of_any_exception_of_its_handler(store: Store, raised: BaseException, kind: str) -> None:
    job = enqueue(store, max_attempts=1)

    def render(_lease: jobs.Lease) -> None:
        raise raised

    async def render_async(_lease: jobs.AsyncLease) -> None:
        raise raised

    drain(store, render if kind == "a function" else render_async)
    found = store.query(jobs.get, job.id)
    assert found.status is JobStatus.FAILED
    assert (found.error or "").startswith(type(raised).__name__)


def test_a_worker_completes_a_job_despite_a_passing_outage_of_the_database(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = enqueue(store)
    failures = iter([StoreUnavailable("gone for a moment")])
    real = jobs.complete

    def complete(*arguments: Any, **values: Any) -> Any:
        for failure in failures:
            raise failure
        return real(*arguments, **values)

    monkeypatch.setattr(jobs, "complete", complete)
    drain(store, lambda _lease: "done")
    found = store.query(jobs.get, job.id)
    assert (found.status, found.attempts, found.result) == (JobStatus.COMPLETED, 1, "done")
    assert "is not ended yet: gone for a moment" in caplog.text


def test_a_handler_can_complete_its_job_in_the_unit_of_work_of_its_writes(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    job = enqueue(store, session_id=jam.id)

    def render(lease: jobs.Lease) -> str:
        with lease.begin() as uow:
            history.append(uow, jam.id, "rendered")
            jobs.complete(uow, lease.job, "by itself")
        return "this is not its result"

    drain(store, render)
    assert store.query(jobs.get, job.id).result == "by itself"
    assert told(store, jam.id) == ["rendered"]


def test_the_writes_of_a_failed_handler_roll_back_with_its_unit_of_work(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    enqueue(store, session_id=jam.id, max_attempts=1)

    def render(lease: jobs.Lease) -> None:
        with lease.begin() as uow:
            history.append(uow, jam.id, "half")
            raise RuntimeError("and no more")

    drain(store, render)
    assert told(store, jam.id) == []


# Which jobs, how many, when


def test_a_worker_leaves_jobs_without_a_handler_to_others(store: Store) -> None:
    other = store.run(jobs.enqueue, "mix").job
    mine = enqueue(store)
    drain(store, lambda _lease: None)
    assert status_of(store, mine) is JobStatus.COMPLETED
    assert status_of(store, other) is JobStatus.PENDING


def test_a_worker_runs_as_many_jobs_at_a_time_as_its_concurrency(store: Store) -> None:
    for n in range(8):
        enqueue(store, n)
    together = threading.Barrier(4, timeout=SOON_SECONDS)
    drain(store, lambda _lease: together.wait() * 0, concurrency=4)
    with store.read() as uow:
        assert jobs.count(uow, status="completed") == 8


def test_an_idle_worker_takes_an_enqueued_job(store: Store) -> None:
    with at_work(store, {"render": lambda _lease: None}):
        first = enqueue(store)
        wait_until(lambda: status_of(store, first) is JobStatus.COMPLETED)
        second = enqueue(store)
        wait_until(lambda: status_of(store, second) is JobStatus.COMPLETED)


def test_an_idle_worker_takes_a_job_that_becomes_due(store: Store) -> None:
    began = []
    with at_work(store, {"render": lambda _lease: began.append(datetime.now(UTC))}):
        job = enqueue(store, delay=timedelta(seconds=0.5))
        wait_until(lambda: status_of(store, job) is JobStatus.COMPLETED)
    assert began[0] >= job.scheduled_at


def test_an_idle_worker_writes_nothing_and_polls_once(store: Store) -> None:
    with recorded_statements(store) as sent, at_work(store, {"render": lambda _lease: None}):
        time.sleep(1.0)
    assert not [each for each in sent if not each.startswith(("SELECT", "WITH"))]
    assert len(sent) <= 3


def test_a_worker_continues_after_a_passing_outage_of_the_database(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = enqueue(store)
    failures = iter([StoreUnavailable("gone for a moment")])
    real = jobs.next_due

    def next_due(*arguments: Any) -> Any:
        for failure in failures:
            raise failure
        return real(*arguments)

    monkeypatch.setattr(jobs, "next_due", next_due)
    with caplog.at_level(logging.WARNING):
        drain(store, lambda _lease: None)
    assert status_of(store, job) is JobStatus.COMPLETED
    assert "gone for a moment; trying again" in caplog.text


def test_a_worker_ends_with_an_error_if_its_store_is_closed(database: str) -> None:
    store = Store.open(database)
    worker = Worker(store, {"render": lambda _lease: None})
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        worker.run()


# Leases


def test_a_worker_keeps_a_lease_alive_while_its_handler_runs(store: Store) -> None:
    job = enqueue(store)
    drain(store, lambda _lease: time.sleep(1.5), lease_seconds=0.6)
    found = store.query(jobs.get, job.id)
    assert (found.status, found.attempts) == (JobStatus.COMPLETED, 1)


def test_a_handler_of_a_cancelled_job_is_told_and_writes_nothing(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    job = enqueue(store, session_id=jam.id)
    lost: list[type[Exception]] = []

    def render(lease: jobs.Lease) -> None:
        store.run(jobs.cancel, job.id)
        wait_until(lambda: lease.lost)
        try:
            with lease.begin() as uow:
                history.append(uow, jam.id, "too late")
        except LeaseLost as error:
            lost.append(type(error))
            raise

    drain(store, render, lease_seconds=0.3)
    assert lost == [LeaseLost]
    assert status_of(store, job) is JobStatus.CANCELLED
    assert told(store, jam.id) == []


def test_a_worker_cancels_the_task_of_a_cancelled_job(store: Store) -> None:
    job = enqueue(store)
    ended = []

    async def render(_lease: jobs.AsyncLease) -> None:
        try:
            await asyncio.to_thread(store.run, jobs.cancel, job.id)
            await asyncio.sleep(SOON_SECONDS)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    drain(store, render, lease_seconds=0.3)
    assert ended == ["cancelled"]
    assert status_of(store, job) is JobStatus.CANCELLED


# The end


def test_a_stopped_worker_lets_its_handlers_finish(store: Store) -> None:
    job, begun, go_on = enqueue(store), threading.Event(), threading.Event()
    later = enqueue(store)

    def render(lease: jobs.Lease) -> bool:
        begun.set()
        go_on.wait(SOON_SECONDS)
        return lease.stopping

    with at_work(store, {"render": render}) as worker:
        begun.wait(SOON_SECONDS)
        worker.stop()
        wait_until(lambda: worker._tasks[job.id]._asked_to_stop)
        go_on.set()
    found = store.query(jobs.get, job.id)
    assert (found.status, found.result) == (JobStatus.COMPLETED, True)
    assert status_of(store, later) is JobStatus.PENDING


def test_a_stopped_worker_hands_back_the_job_of_a_slow_handler(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    job, begun, go_on, over = enqueue(store, session_id=jam.id), threading.Event(), threading.Event(), threading.Event()

    def render(lease: jobs.Lease) -> None:
        begun.set()
        go_on.wait(SOON_SECONDS)
        try:
            with lease.begin() as uow:
                history.append(uow, jam.id, "too late")
        finally:
            over.set()

    with at_work(store, {"render": render}, grace_seconds=0.0, worker_id="stopped"):
        begun.wait(SOON_SECONDS)
    found = store.query(jobs.get, job.id)
    go_on.set()
    assert over.wait(SOON_SECONDS)
    assert (found.status, found.ready, found.attempts, found.max_attempts) == (JobStatus.PENDING, True, 1, 4)
    assert [each.error for each in store.query(jobs.attempts, job.id)] == ["stopped was stopped amid it"]
    assert told(store, jam.id) == []


def test_a_stopped_worker_cancels_a_slow_task_and_hands_its_job_back(store: Store) -> None:
    job, begun = enqueue(store), threading.Event()
    ended = []

    async def render(_lease: jobs.AsyncLease) -> None:
        begun.set()
        try:
            await asyncio.sleep(SOON_SECONDS)
        finally:
            ended.append("cancelled")

    with at_work(store, {"render": render}, grace_seconds=0.0):
        begun.wait(SOON_SECONDS)
    assert ended == ["cancelled"]
    found = store.query(jobs.get, job.id)
    assert (found.status, found.attempts) == (JobStatus.PENDING, 1)


def test_a_stopped_worker_ends_even_if_it_cannot_hand_a_job_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job, begun, go_on = enqueue(store), threading.Event(), threading.Event()

    def render(_lease: jobs.Lease) -> None:
        begun.set()
        go_on.wait(SOON_SECONDS)

    def hand_back(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("gone for good")

    monkeypatch.setattr(jobs, "hand_back", hand_back)
    with at_work(store, {"render": render}, grace_seconds=0.0, lease_seconds=0.5) as worker:
        begun.wait(SOON_SECONDS)
    expires = store.query(jobs.get, job.id).lease_expires_at
    time.sleep(0.5)
    assert "was not handed back: gone for good" in caplog.text
    assert store.query(jobs.get, job.id).lease_expires_at == expires  # nobody keeps it alive
    assert worker._over.is_set()
    go_on.set()


def test_a_renewal_that_is_under_way_ends_before_the_worker_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closes the store after ``run`` finds nobody at work on it."""
    enqueue(store)
    renewing, go_on = threading.Event(), threading.Event()
    real = store.run

    def run(operation: Any, *arguments: Any, **values: Any) -> Any:
        done = real(operation, *arguments, **values)
        if operation is jobs.heartbeat:
            renewing.set()
            go_on.wait(SOON_SECONDS)
        return done

    monkeypatch.setattr(store, "run", run)
    worker = drain(
        store,
        lambda _lease: renewing.wait(SOON_SECONDS),
        lease_seconds=0.3,
        on_end=lambda _ended: threading.Timer(0.1, go_on.set).start(),
    )
    assert renewing.is_set()
    assert f"{worker.worker_id} leases" not in {thread.name for thread in threading.enumerate()}


def test_a_task_that_refuses_to_be_cancelled_keeps_no_store_from_being_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_tasks, "_TASKS_END_WITHIN_SECONDS", 0.05)
    begun, loop = threading.Event(), LoopThread(store)

    async def refuse(_store: AsyncStore) -> None:
        begun.set()
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(SOON_SECONDS)

    async_store = loop.open()
    loop.submit(refuse)
    assert begun.wait(SOON_SECONDS)
    loop.close()
    assert async_store.closed
    assert (async_store._engines.readers.idle, async_store._engines.writers.idle) == (0, 0)


def test_a_worker_without_an_asyncio_driver_claims_no_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = enqueue(store)

    async def for_asyncio(_store: Store) -> None:
        raise StoreUnavailable("install vibeweaver-store[async]")

    async def render(_lease: jobs.AsyncLease) -> None:
        pass

    monkeypatch.setattr(Store, "for_asyncio", for_asyncio)
    with pytest.raises(StoreUnavailable, match="async"):
        drain(store, render)
    assert store.query(jobs.get, job.id).attempts == 0


def test_a_worker_runs_only_once(store: Store) -> None:
    worker = drain(store, lambda _lease: None)
    with pytest.raises(StoreError, match="runs once"):
        worker.run()


def test_a_worker_stopped_twice_does_not_wait_for_its_handlers(store: Store) -> None:
    job, begun, go_on = enqueue(store), threading.Event(), threading.Event()

    def render(_lease: jobs.Lease) -> None:
        begun.set()
        go_on.wait(SOON_SECONDS)

    with at_work(store, {"render": render}, grace_seconds=3600) as worker:
        begun.wait(SOON_SECONDS)
        worker.stop()
    go_on.set()
    assert status_of(store, job) is JobStatus.PENDING


# What it tells


def test_a_worker_reports_each_ended_job_with_its_firings(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    job = enqueue(store, session_id=jam.id)
    rule = store.run(rules.add, jam.id, triggers.JobComplete(job_id=job.id), actions.Play())
    ended: list[jobs.Ended] = []
    drain(store, lambda _lease: None, on_end=ended.append)
    assert [(each.job.id, [firing.rule.id for firing in each.firings]) for each in ended] == [(job.id, [rule.id])]


def test_a_worker_reports_a_job_completed_by_its_handler_with_its_firings(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    job = enqueue(store, session_id=jam.id)
    rule = store.run(rules.add, jam.id, triggers.JobComplete(job_id=job.id), actions.Play())

    def render(lease: jobs.Lease) -> None:
        with lease.begin() as uow:
            jobs.complete(uow, lease.job)

    ended: list[jobs.Ended] = []
    drain(store, render, on_end=ended.append)
    assert [(each.job.id, [firing.rule.id for firing in each.firings]) for each in ended] == [(job.id, [rule.id])]


def test_a_worker_reports_jobs_that_failed_as_their_leases_expired(store: Store) -> None:
    job = enqueue(store, max_attempts=1)
    store.run(jobs.claim, None, "dead", lease_seconds=0.01)
    time.sleep(0.05)
    ended: list[jobs.Ended] = []
    drain(store, lambda _lease: None, on_end=ended.append)
    assert [(each.job.id, each.job.status) for each in ended] == [(job.id, JobStatus.FAILED)]


def test_a_worker_continues_if_its_on_end_callback_fails(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    enqueue(store)
    enqueue(store)

    def on_end(_ended: jobs.Ended) -> None:
        raise RuntimeError("deaf")

    drain(store, lambda _lease: None, on_end=on_end)
    assert caplog.text.count("RuntimeError: deaf") == 2
    with store.read() as uow:
        assert jobs.count(uow, status="completed") == 2


def test_concurrent_workers_do_no_job_twice(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")
    for n in range(40):
        enqueue(store, n, session_id=jam.id)

    def render(lease: jobs.Lease) -> None:
        with lease.begin() as uow:
            history.append(uow, jam.id, "render", params=lease.job.data)
            jobs.complete(uow, lease.job)

    threads = [threading.Thread(target=drain, args=(store, render), kwargs={"concurrency": 2}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_SECONDS)
    with store.read() as uow:
        found = uow.exec(select(HistoryEntry).where(col(HistoryEntry.session_id) == jam.id)).all()
    assert sorted(str(entry.params) for entry in found) == sorted(map(str, range(40)))


# What it refuses


@pytest.mark.parametrize(
    ("handlers", "options"),
    [
        pytest.param({}, {}, id="no handlers"),
        pytest.param(None, {}, id="nothing"),
        pytest.param({f"type {n}": print for n in range(101)}, {}, id="more types than a claim takes"),
        pytest.param({"render": 5}, {}, id="a number for a handler"),
        pytest.param({"": print}, {}, id="a type without a name"),
        *[
            pytest.param({"render": print}, {name: value.values[0]}, id=f"{name} {value.id}")
            for name in ("concurrency", "lease_seconds")
            for value in cases(zero=0, below_zero=-1, text="1", true=True, nan=float("nan"), huge=10**15)
        ],
        pytest.param({"render": print}, {"grace_seconds": -1}, id="grace below zero"),
        pytest.param({"render": print}, {"worker_id": " "}, id="a blank name"),
    ],
)
def test_a_worker_refuses_invalid_handlers_and_options(handlers: Any, options: dict[str, Any], tmp_path: Any) -> None:
    with Store.open(tmp_path / "store.db") as store, pytest.raises(InvalidInput):
        Worker(store, handlers, **options)
