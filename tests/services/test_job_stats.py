"""How the queue is doing: counts, durations at the nearest rank, what waits, leases that have expired."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import cases
from tests.services.queue_steps import claim, claimed, enqueue
from tests.services.scene import make, make_many
from vibeweaver_store import InvalidInput, JobStatus, Store, jobs
from vibeweaver_store.testing import EPOCH, JobAttemptFactory, JobFactory, SettableClock

SECOND = timedelta(seconds=1)


def test_an_empty_queue_has_empty_stats(store: Store) -> None:
    assert store.query(jobs.stats) == jobs.JobStats([], [], None, 0)


def test_job_stats_count_by_type_and_status_in_that_order(store: Store) -> None:
    each = [{"type": of, "status": status} for of in ("mix", "mast") for status in (*JobStatus, JobStatus.FAILED)]
    make_many(store, JobFactory, *reversed(each), {"type": "render"})
    counts = store.query(jobs.stats).counts
    assert [(each.type, each.status, each.count) for each in counts] == [
        *[(of, status, 1 + (status is JobStatus.FAILED)) for of in ("mast", "mix") for status in JobStatus],
        ("render", JobStatus.PENDING, 1),
    ]


def durations_of(store: Store, kind: str, **values: Any) -> list[jobs.JobDurations]:
    return [each for each in store.query(jobs.stats, **values).durations if each.type == kind]


def took(store: Store, kind: str, *durations_ms: int, **values: Any) -> None:
    with store.begin() as uow:
        for duration_ms in durations_ms:
            job = JobFactory.create(uow=uow, type=kind, status=JobStatus.COMPLETED)
            JobAttemptFactory.create(uow=uow, job_id=job.id, duration_ms=duration_ms, **values)


@given(durations=st.lists(st.integers(0, 50) | st.integers(0, 2**62), min_size=1, max_size=120))
@settings(max_examples=15)
def test_job_duration_percentiles_are_nearest_rank(timed_store: Store, durations: list[int]) -> None:
    timed_store.run(jobs.enqueue, "counted", job_id="counted", unique_key="counted")
    rows = [
        JobAttemptFactory.build(job_id="counted", attempt=n, duration_ms=each, ended_at=EPOCH)
        for n, each in enumerate(durations, 1)
    ]
    with pytest.raises(RuntimeError), timed_store.begin() as uow:
        uow.insert(*rows)
        (found,) = [each for each in jobs.stats(uow).durations if each.type == "counted"]
        in_order = sorted(durations)
        nearest = [in_order[math.ceil(len(in_order) * percent / 100) - 1] for percent in (50, 95, 99)]
        assert [found.attempts, found.p50_ms, found.p95_ms, found.p99_ms] == [len(durations), *nearest]
        raise RuntimeError


def test_job_durations_count_only_completing_attempts(timed_store: Store, kind: str) -> None:
    took(timed_store, kind, 10, 20, 30)
    took(timed_store, kind, 9000, error="it broke")
    assert durations_of(timed_store, kind) == [jobs.JobDurations(kind, 3, 20, 30, 30)]


def test_job_durations_are_told_apart_by_type(timed_store: Store, kind: str) -> None:
    took(timed_store, kind, 10)
    took(timed_store, f"{kind} 2", 20)
    assert durations_of(timed_store, f"{kind} 2") == [jobs.JobDurations(f"{kind} 2", 1, 20, 20, 20)]


def test_job_durations_can_be_limited_to_recent_attempts(timed_store: Store, kind: str) -> None:
    took(timed_store, kind, 10, ended_at=EPOCH)
    took(timed_store, kind, 20, ended_at=EPOCH + SECOND)
    assert durations_of(timed_store, kind, since=EPOCH + SECOND) == [jobs.JobDurations(kind, 1, 20, 20, 20)]
    assert durations_of(timed_store, kind, since=EPOCH + 2 * SECOND) == []


def test_job_durations_include_a_job_done_through_the_service(
    timed_store: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = claimed(timed_store, kind)
    timed_clock.advance(seconds=2)
    timed_store.run(jobs.complete, job)
    assert durations_of(timed_store, kind) == [jobs.JobDurations(kind, 1, 2000, 2000, 2000)]


def test_the_oldest_pending_job_is_the_one_due_the_longest(store: Store, clock: SettableClock) -> None:
    assert store.query(jobs.stats).oldest_pending_seconds is None
    enqueue(store, "render", delay=60 * SECOND)
    assert store.query(jobs.stats).oldest_pending_seconds is None  # none is due
    clock.advance(seconds=90)
    assert store.query(jobs.stats).oldest_pending_seconds == 30  # though no claim has seen it yet
    enqueue(store, "mix", priority=9, scheduled_at=clock.instant - 40 * SECOND)
    assert store.query(jobs.stats).oldest_pending_seconds == 40
    claim(store, "mix")
    assert store.query(jobs.stats).oldest_pending_seconds == 30
    claim(store, "render")
    assert store.query(jobs.stats).oldest_pending_seconds is None


def test_job_stats_count_expired_leases_until_a_claim_takes_them_back(store: Store, clock: SettableClock) -> None:
    make(store, JobFactory, status=JobStatus.PROCESSING, lease_expires_at=clock.instant)
    claimed(store, "mix", max_attempts=9)
    make(store, JobFactory, status=JobStatus.PROCESSING, lease_expires_at=clock.instant + 9 * SECOND)
    clock.advance(seconds=9)
    # The claim took the first back, and holds "mix" for a minute.
    assert store.query(jobs.stats).expired_leases == 1
    store.run(jobs.claim, ["other"], "worker-2")
    assert store.query(jobs.stats).expired_leases == 0


def test_job_stats_take_three_statements(timed_store: Store, kind: str) -> None:
    took(timed_store, kind, 10, 20)
    with recorded_statements(timed_store) as sent:
        timed_store.query(jobs.stats)
    assert len(sent) == 3


@pytest.mark.parametrize("since", cases(naive=datetime(2026, 1, 1), text="2026-01-01T00:00:00Z", a_span=SECOND))  # noqa: DTZ001
def test_job_stats_since_an_invalid_time_are_refused(lasting_store: Store, since: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(jobs.stats, since=since)
    assert caught.value.field == "since"
