"""Leases as fences: nothing lands that a worker writes of a job which it does not hold any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_TEXTS, cases
from tests.services.queue_steps import claim, claimed, enqueue
from tests.services.scene import dump, make
from tests.services.test_job_claims import BAD_LEASES
from vibeweaver_store import InvalidInput, Job, JobStatus, LeaseLost, NotFound, Store, UnitOfWork, jobs, sessions
from vibeweaver_store.testing import JobFactory, SessionFactory, SettableClock, columns_of

WRITES: dict[str, Callable[[UnitOfWork, Job], object]] = {
    "heartbeat": jobs.heartbeat,
    "set_progress": lambda uow, job: jobs.set_progress(uow, job, 1),
    "complete": jobs.complete,
    "fail": lambda uow, job: jobs.fail(uow, job, "it broke"),
    "fail for good": lambda uow, job: jobs.fail(uow, job, "it broke", retry=False),
    "hand_back": jobs.hand_back,
}

every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@pytest.fixture
def held(timed_store: Store, kind: str) -> Job:
    """A job of a session, in the hands of a worker for a minute."""
    session = make(timed_store, SessionFactory)
    return claimed(timed_store, kind, session_id=session.id)


def lost(store: Store, write: Callable[[UnitOfWork, Job], object], job: Job) -> LeaseLost:
    """The error that a write of a job is refused with; nothing of it lands, and the unit of work goes on."""
    before = dump(store)
    with store.begin() as uow:
        with pytest.raises(LeaseLost) as caught:
            write(uow, job)
        after = sessions.create(uow, name="after").id
    assert store.query(sessions.find, after) is not None
    store.run(sessions.delete, after)
    assert dump(store) == before
    assert caught.value.job_id == job.id
    return caught.value


@every_write
def test_a_job_write_succeeds_until_the_lease_expires(
    timed_store: Store, timed_clock: SettableClock, held: Job, write: Callable[[UnitOfWork, Job], object]
) -> None:
    timed_clock.advance(seconds=60, microseconds=-1)
    timed_store.run(write, held)


@every_write
def test_a_job_write_fails_once_the_lease_expires(
    timed_store: Store, timed_clock: SettableClock, held: Job, write: Callable[[UnitOfWork, Job], object]
) -> None:
    timed_clock.advance(seconds=60)
    assert lost(timed_store, write, held).why.startswith("it expired at 20")


@every_write
def test_a_job_write_fails_once_another_worker_has_taken_over(
    timed_store: Store, timed_clock: SettableClock, held: Job, write: Callable[[UnitOfWork, Job], object]
) -> None:
    timed_clock.advance(seconds=60)
    claim(timed_store, held.type, "worker-2")
    assert lost(timed_store, write, held).why == "it was taken over by 'worker-2'"


@every_write
def test_a_job_write_with_an_old_token_fails_even_for_the_same_worker(
    timed_store: Store, timed_clock: SettableClock, held: Job, write: Callable[[UnitOfWork, Job], object]
) -> None:
    timed_clock.advance(seconds=60)
    again = claim(timed_store, held.type, "worker-1")
    assert lost(timed_store, write, held).why == "it was taken over by 'worker-1'"
    timed_store.run(write, again)


@every_write
def test_a_job_write_fails_once_the_job_is_cancelled(
    timed_store: Store, held: Job, write: Callable[[UnitOfWork, Job], object]
) -> None:
    timed_store.run(jobs.cancel, held.id)
    assert lost(timed_store, write, held).why == "the job was cancelled"


@every_write
@pytest.mark.parametrize("end", ["complete", "fail for good"])
def test_a_job_write_fails_once_the_job_has_ended(
    timed_store: Store, held: Job, write: Callable[[UnitOfWork, Job], object], end: str
) -> None:
    timed_store.run(WRITES[end], held)
    status = "completed" if end == "complete" else "failed"
    assert lost(timed_store, write, held).why == f"the job has ended as {status}"


@every_write
@pytest.mark.parametrize("end", ["fail", "hand_back"])
def test_a_job_write_fails_once_the_job_is_handed_back(
    timed_store: Store, held: Job, write: Callable[[UnitOfWork, Job], object], end: str
) -> None:
    timed_store.run(WRITES[end], held)
    assert "pending again" in lost(timed_store, write, held).why


@every_write
def test_a_write_to_a_deleted_job_is_not_found(
    timed_store: Store, held: Job, write: Callable[[UnitOfWork, Job], object]
) -> None:
    assert held.session_id is not None
    timed_store.run(sessions.delete, held.session_id)
    with timed_store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            write(uow, held)
        sessions.create(uow, name="after")
    assert (caught.value.entity, caught.value.key) == ("job", held.id)


def unchecked(**values: Any) -> Job:
    """A job of anything: a table class checks nothing when it is called."""
    return Job(type="render", **values)


@every_write
@pytest.mark.parametrize(
    "job",
    cases(
        nothing=None,
        an_id="job-1",
        a_job_that_nobody_holds=JobFactory.build(),
        a_token_that_is_none=unchecked(id="job-1", lease_token=5),
        an_id_that_is_none=unchecked(id="", lease_token="token"),
    ),
)
def test_a_write_to_an_unclaimed_job_is_refused(
    timed_store: Store, job: Any, write: Callable[[UnitOfWork, Job], object]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(write, job)
    assert caught.value.field == "job"


# Heartbeats


def test_a_job_heartbeat_extends_the_lease_from_now(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_clock.advance(seconds=59)
    longer = timed_store.run(jobs.heartbeat, held, lease_seconds=30)
    changed = {"lease_expires_at": timed_clock.instant + timedelta(seconds=30), "updated_at": timed_clock.instant}
    assert columns_of(longer) == columns_of(held) | changed
    assert columns_of(lasting_other.query(jobs.get, held.id)) == columns_of(longer)


def test_a_job_heartbeat_never_shortens_the_lease(timed_store: Store, held: Job) -> None:
    assert timed_store.run(jobs.heartbeat, held, lease_seconds=1).lease_expires_at == held.lease_expires_at


def test_a_job_claimed_before_a_heartbeat_is_still_accepted_after_it(
    timed_store: Store, timed_clock: SettableClock, held: Job
) -> None:
    longer = timed_store.run(jobs.heartbeat, held, lease_seconds=3600)
    timed_clock.advance(seconds=600)
    timed_store.run(jobs.heartbeat, held)
    timed_store.run(jobs.heartbeat, longer)
    assert timed_store.run(jobs.complete, held).job.status is JobStatus.COMPLETED


@pytest.mark.parametrize("seconds", BAD_LEASES)
def test_a_job_heartbeat_of_an_invalid_length_is_refused(timed_store: Store, held: Job, seconds: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.heartbeat, held, lease_seconds=seconds)
    assert caught.value.field == "lease_seconds"


@pytest.mark.parametrize("name", ["heartbeat", "set_progress"])
def test_a_job_heartbeat_or_progress_is_one_statement(timed_store: Store, held: Job, name: str) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.run(WRITES[name], held)
    assert len(sent) == 1


# Progress


def test_job_progress_replaces_earlier_progress(timed_store: Store, lasting_other: Store, held: Job) -> None:
    timed_store.run(jobs.set_progress, held, 1, 8, "the intro")
    told = timed_store.run(jobs.set_progress, held, 2)
    assert told.progress == {"done": 2, "total": None, "note": None}
    assert lasting_other.query(jobs.get, held.id).progress == told.progress
    assert (told.lease_expires_at, told.lease_token) == (held.lease_expires_at, held.lease_token)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("done", value) for value in (None, -1, 1.5, True, "1", 2**63)],
        *[("total", value) for value in (-1, 1.5, True, "1", 2**63)],
        *[("note", case.values[0]) for case in BAD_TEXTS],
    ],
)
def test_invalid_job_progress_is_refused(timed_store: Store, held: Job, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.set_progress, held, **{"done": 1, field: value})
    assert caught.value.field == field


def test_a_job_may_be_claimed_and_completed_in_one_unit_of_work(
    timed_store: Store, lasting_other: Store, kind: str
) -> None:
    made = enqueue(timed_store, kind)
    with timed_store.begin() as uow:
        (job,) = jobs.claim(uow, [kind], "worker-1").jobs
        jobs.complete(uow, job)
    assert lasting_other.query(jobs.get, made.id).status is JobStatus.COMPLETED
