"""Leases as objects: a unit of work is committed only while the job is held."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import BACKENDS
from tests.services.scene import make
from vibeweaver_store import (
    InvalidInput,
    Job,
    JobStatus,
    LeaseLost,
    NotFound,
    Session,
    Store,
    history,
    jobs,
)
from vibeweaver_store.testing import JobFactory, SettableClock

LEASE_SECONDS = 60.0


@pytest.fixture
def job(store: Store, jam: Session) -> Job:
    """A job of a session, claimed by a worker for a minute."""
    make(store, JobFactory, session_id=jam.id)
    (claimed,) = store.run(jobs.claim, ["render"], "worker-1", lease_seconds=LEASE_SECONDS).jobs
    return claimed


def effects(store: Store) -> int:
    with store.read() as uow:
        (found,) = jobs.page(uow).items
        assert found.session_id is not None
        return history.count(uow, found.session_id)


def write(store: Store, job: Job, meanwhile: Callable[[Any], object] = lambda _uow: None) -> None:
    """Write something through the lease of a job, and do something else amid it."""
    with store.lease(job) as lease, lease.begin() as uow:
        assert job.session_id is not None
        history.append(uow, job.session_id, "rendered")
        meanwhile(uow)


def test_a_unit_of_work_of_a_held_lease_is_committed(store: Store, other: Store, job: Job) -> None:
    write(store, job)
    assert effects(other) == 1
    assert other.query(jobs.get, job.id).status is JobStatus.PROCESSING


def test_a_job_can_be_completed_in_the_unit_of_work_of_its_lease(store: Store, other: Store, job: Job) -> None:
    write(store, job, lambda uow: jobs.complete(uow, job, "done"))
    assert effects(other) == 1
    assert other.query(jobs.get, job.id).result == "done"


def expire(store: Store, clock: SettableClock, _job: Job) -> None:
    clock.advance(seconds=LEASE_SECONDS)


def take_over(store: Store, clock: SettableClock, _job: Job) -> None:
    clock.advance(seconds=LEASE_SECONDS)
    store.run(jobs.claim, ["render"], "worker-2", lease_seconds=LEASE_SECONDS)


def cancel(store: Store, _clock: SettableClock, job: Job) -> None:
    store.run(jobs.cancel, job.id)


def complete(store: Store, _clock: SettableClock, job: Job) -> None:
    store.run(jobs.complete, job)


def hand_back(store: Store, _clock: SettableClock, job: Job) -> None:
    store.run(jobs.hand_back, job)


@pytest.mark.parametrize("lose", [expire, take_over, cancel, complete, hand_back])
def test_a_unit_of_work_of_a_lost_lease_writes_nothing(
    store: Store, other: Store, clock: SettableClock, job: Job, lose: Callable[..., None]
) -> None:
    lose(store, clock, job)
    before = other.query(jobs.get, job.id)
    with pytest.raises(LeaseLost) as lost:
        write(store, job)
    assert lost.value.job_id == job.id
    assert effects(other) == 0
    assert other.query(jobs.get, job.id) == before


def test_a_unit_of_work_of_the_lease_of_a_deleted_job_writes_nothing(store: Store, job: Job) -> None:
    store.run(jobs.cancel, job.id)
    store.run(jobs.delete, job.id)
    with pytest.raises(NotFound):
        write(store, job)


@pytest.mark.parametrize("end", [lambda _uow, _job: None, jobs.complete], ids=["held to the end", "completed in it"])
def test_a_lease_that_expires_during_its_unit_of_work_rolls_it_back(
    store: Store, other: Store, clock: SettableClock, job: Job, end: Callable[..., object]
) -> None:
    def sleep(uow: Any) -> None:
        end(uow, job)
        clock.advance(seconds=LEASE_SECONDS)

    with pytest.raises(LeaseLost, match="under way"):
        write(store, job, sleep)
    assert effects(other) == 0
    assert other.query(jobs.get, job.id).status is JobStatus.PROCESSING


def test_a_lease_extended_during_its_unit_of_work_lasts_as_long(
    store: Store, other: Store, clock: SettableClock, job: Job
) -> None:
    def extend_and_sleep(uow: Any) -> None:
        jobs.heartbeat(uow, job, lease_seconds=2 * LEASE_SECONDS)
        clock.advance(seconds=LEASE_SECONDS)

    write(store, job, extend_and_sleep)
    assert effects(other) == 1


def test_a_job_can_be_completed_within_its_extended_lease(
    store: Store, other: Store, clock: SettableClock, job: Job
) -> None:
    def extend_and_complete(uow: Any) -> None:
        jobs.heartbeat(uow, job, lease_seconds=2 * LEASE_SECONDS)
        clock.advance(seconds=LEASE_SECONDS)
        jobs.complete(uow, job)

    write(store, job, extend_and_complete)
    assert other.query(jobs.get, job.id).status is JobStatus.COMPLETED


def test_a_lease_tells_how_its_job_ended(store: Store, job: Job) -> None:
    with store.lease(job) as lease:
        with lease.begin() as uow:
            ended = jobs.fail(uow, job, "the string broke", retry=False)
            assert lease.ended is None  # it is not committed yet
        assert lease.ended == ended


def test_a_worker_that_sleeps_past_its_lease_in_a_unit_of_work_completes_no_job(
    store: Store, other: Store, clock: SettableClock, job: Job
) -> None:
    with pytest.raises(LeaseLost), store.begin() as uow:
        uow.now()
        clock.advance(seconds=LEASE_SECONDS)
        jobs.complete(uow, job)
    assert other.query(jobs.get, job.id).status is JobStatus.PROCESSING


def test_an_error_in_the_block_of_a_lease_leaves_the_job_as_it_was(store: Store, other: Store, job: Job) -> None:
    def fail(_uow: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(store, job, fail)
    assert effects(other) == 0


@pytest.mark.parametrize("backend", [BACKENDS[-1]], indirect=True)  # SQLite has one writer at a time
def test_a_job_is_not_taken_over_during_the_unit_of_work_of_its_lease(
    store: Store, other: Store, clock: SettableClock, job: Job
) -> None:
    clock.advance(seconds=LEASE_SECONDS - 1)

    def claim_elsewhere(_uow: Any) -> None:
        now = clock()
        clock.advance(seconds=2)
        assert other.run(jobs.claim, ["render"], "worker-2").jobs == []
        clock.set(now)

    write(store, job, claim_elsewhere)
    assert effects(other) == 1


def test_a_lease_knows_when_it_is_lost(store: Store, clock: SettableClock, job: Job) -> None:
    with store.lease(job) as lease:
        assert not lease.lost
        clock.advance(seconds=LEASE_SECONDS)
        with pytest.raises(LeaseLost):
            lease.renew()
        assert lease.lost


def test_a_lease_is_lost_after_its_block(store: Store, job: Job) -> None:
    with store.lease(job) as lease:
        pass
    assert lease.lost


def test_a_lease_can_be_renewed(store: Store, other: Store, clock: SettableClock, job: Job) -> None:
    with store.lease(job) as lease:
        clock.advance(seconds=LEASE_SECONDS / 2)
        lease.renew(LEASE_SECONDS)
    assert other.query(jobs.get, job.id).lease_expires_at == clock() + timedelta(seconds=LEASE_SECONDS)


def test_a_lease_records_progress_of_its_job(store: Store, other: Store, job: Job) -> None:
    with store.lease(job) as lease:
        lease.set_progress(3, 8, "bar 3 of 8")
    assert other.query(jobs.get, job.id).progress == {"done": 3, "total": 8, "note": "bar 3 of 8"}


def test_a_lease_completes_its_job(store: Store, other: Store, job: Job) -> None:
    with store.lease(job) as lease:
        assert lease.complete("done").job.status is JobStatus.COMPLETED
    assert other.query(jobs.get, job.id).result == "done"


def test_a_job_that_nobody_claimed_has_no_lease(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput, match="job"):
        lasting_store.lease(make(lasting_store, JobFactory, type="never claimed"))


def test_a_job_completion_rolled_back_to_a_savepoint_does_not_count(store: Store, other: Store, job: Job) -> None:
    with store.lease(job) as lease:
        with lease.begin() as uow, pytest.raises(LookupError), uow.savepoint():
            jobs.complete(uow, lease.job)
            raise LookupError
        assert lease.ended is None

    assert other.query(jobs.get, job.id).status is JobStatus.PROCESSING
