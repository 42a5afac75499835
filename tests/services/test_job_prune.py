"""Removing jobs that were over long ago, in batches."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import BACKENDS, recorded_statements
from tests.services.bad_input import cases
from tests.services.queue_steps import ids
from tests.services.scene import make, make_many
from vibeweaver_store import InvalidInput, Job, JobStatus, Store, jobs
from vibeweaver_store.models.job import FINAL_OF_JOBS
from vibeweaver_store.testing import JobAttemptFactory, JobFactory, SettableClock

HOUR = timedelta(hours=1)


def over(store: Store, clock: SettableClock, *ago: timedelta, status: JobStatus = JobStatus.COMPLETED) -> list[Job]:
    """Jobs that were over so long ago."""
    return make_many(store, JobFactory, *[{"completed_at": clock.instant - each} for each in ago], status=status)


def left(store: Store, made: list[Job]) -> list[Job]:
    return [job for job in made if store.query(jobs.find, job.id) is not None]


def test_prune_removes_jobs_that_ended_earlier_with_their_attempts(
    store: Store, other: Store, clock: SettableClock
) -> None:
    longer, exactly, shorter = made = over(store, clock, HOUR + timedelta(microseconds=1), HOUR, timedelta())
    make_many(store, JobAttemptFactory, *[{"job_id": job.id} for job in made])
    assert store.run(jobs.prune, HOUR) == 1
    assert ids(left(other, made)) == ids([exactly, shorter])
    assert [len(other.query(jobs.attempts, job.id)) for job in (longer, exactly)] == [0, 1]
    assert store.run(jobs.prune, HOUR) == 0


@pytest.mark.parametrize("status", JobStatus)
def test_prune_removes_jobs_of_every_final_status_and_keeps_others(
    timed_store: Store, timed_clock: SettableClock, status: JobStatus
) -> None:
    job = make(timed_store, JobFactory, status=status)
    timed_store.run(jobs.prune, HOUR)
    assert (left(timed_store, [job]) == []) == (status in FINAL_OF_JOBS)


def test_prune_takes_an_age_per_job_status_and_keeps_unnamed_ones(store: Store, clock: SettableClock) -> None:
    made = [over(store, clock, 2 * HOUR, 4 * HOUR, status=status) for status in FINAL_OF_JOBS]
    assert store.run(jobs.prune, {"completed": HOUR, JobStatus.FAILED: 3 * HOUR}) == 3
    assert [len(left(store, each)) for each in made] == [0, 1, 2]


def test_prune_of_no_job_status_sends_no_statement(timed_store: Store) -> None:
    with recorded_statements(timed_store) as sent:
        assert timed_store.run(jobs.prune, {}) == 0
    assert sent == []


def test_prune_removes_the_earliest_ended_jobs_up_to_the_limit(store: Store, clock: SettableClock) -> None:
    completed = over(store, clock, 2 * HOUR, 4 * HOUR, 3 * HOUR)
    failed = over(store, clock, 9 * HOUR, status=JobStatus.FAILED)
    assert store.run(jobs.prune, HOUR, limit=2) == 2
    assert ids(left(store, completed + failed)) == ids([completed[0], failed[0]])
    assert [store.run(jobs.prune, HOUR, limit=2) for _ in range(2)] == [2, 0]


def test_prune_takes_one_statement_per_job_status(timed_store: Store, timed_clock: SettableClock) -> None:
    over(timed_store, timed_clock, *[2 * HOUR] * 5)
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.prune, HOUR)
    assert len(sent) == 3


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_prune_skips_locked_jobs(store: Store, other: Store, clock: SettableClock) -> None:
    held, free = over(store, clock, 2 * HOUR, 2 * HOUR, status=JobStatus.FAILED)
    with other.begin() as uow:
        jobs.retry(uow, held.id)
        assert store.run(jobs.prune, HOUR) == 1
    assert ids(left(store, [held, free])) == [held.id]


SPANS = cases(
    nothing=None,
    seconds=60,
    text="7d",
    below_zero=timedelta(microseconds=-1),
    longer_than_time=timedelta.max,
    of_what_is_not_final={"pending": HOUR},
    of_no_status={"broken": HOUR},
    of_a_status_and_no_span={"failed": 60},
    a_list=["failed"],
)


@pytest.mark.parametrize("older_than", SPANS)
def test_prune_of_jobs_refuses_an_invalid_age(lasting_store: Store, older_than: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(jobs.prune, older_than)
    assert caught.value.field == "older_than"


@pytest.mark.parametrize("limit", cases(zero=0, below=-1, too_many=1001, true=True, text="1", nothing=None))
def test_prune_of_jobs_refuses_an_invalid_limit(lasting_store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(jobs.prune, HOUR, limit=limit)
    assert caught.value.field == "limit"
