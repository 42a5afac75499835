"""Jobs whose status is set without a claim (seed 004: updateJobStatus), and refused while somebody holds a lease."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.services.bad_input import BAD_IDS, BAD_TEXTS, cases
from tests.services.queue_steps import claim, claimed, enqueue, story
from tests.services.scene import dump, make
from vibeweaver_store import (
    AlreadyClaimed,
    AlreadyExists,
    IllegalTransition,
    InvalidInput,
    Job,
    JobStatus,
    NotFound,
    Session,
    Store,
    actions,
    jobs,
    rules,
    triggers,
)
from vibeweaver_store.models.job import FINAL_OF_JOBS
from vibeweaver_store.testing import JobFactory, SessionFactory, SettableClock, columns_of


def test_memva_completes_a_pending_job_at_once(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = enqueue(timed_store, kind)
    timed_clock.advance(seconds=5)

    ended = timed_store.run(jobs.set_status, job.id, "completed", result={"cost": 1.5})

    changed = {
        "status": JobStatus.COMPLETED,
        "ready": None,
        "attempts": 1,
        "started_at": timed_clock.instant,
        "completed_at": timed_clock.instant,
        "updated_at": timed_clock.instant,
        "result": {"cost": 1.5},
    }
    assert columns_of(ended.job) == columns_of(job) | changed
    assert columns_of(lasting_other.query(jobs.get, job.id)) == columns_of(ended.job)
    assert (ended.firings, story(timed_store, job.id)) == ([], [(1, None, None)])


def test_a_job_fails_at_once_for_good_and_keeps_why(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind, max_attempts=5)
    ended = timed_store.run(jobs.set_status, job.id, JobStatus.FAILED, error="the disk is full").job
    assert (ended.status, ended.error, ended.attempts, ended.max_attempts) == ("failed", "the disk is full", 1, 5)
    assert story(timed_store, job.id) == [(1, None, "the disk is full")]


def test_a_job_set_completed_records_its_worker_and_start(
    timed_store: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = enqueue(timed_store, kind)
    began = timed_clock.instant
    timed_clock.advance(seconds=2.5)
    ended = timed_store.run(jobs.set_status, job.id, "completed", started_at=began, worker_id="memva-1").job
    (attempt,) = timed_store.query(jobs.attempts, job.id)
    assert (ended.started_at, ended.worker_id, ended.result) == (began, "memva-1", None)
    assert (attempt.worker_id, attempt.started_at, attempt.ended_at) == ("memva-1", began, timed_clock.instant)
    assert attempt.duration_ms == 2500


def test_rules_that_wait_for_a_job_fire_when_its_status_is_set(timed_store: Store, kind: str) -> None:
    session: Session = make(timed_store, SessionFactory)
    job = timed_store.run(jobs.enqueue, kind, session_id=session.id).job
    rule = timed_store.run(rules.add, session.id, triggers.JobComplete(job_id=job.id), actions.Play())
    ended = timed_store.run(jobs.set_status, job.id, "completed")
    assert [firing.rule.id for firing in ended.firings] == [rule.id]
    assert timed_store.query(rules.get, rule.id).fired_count == 1


def test_a_job_can_be_cancelled_and_requeued_by_its_status(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind)
    cancelled = timed_store.run(jobs.set_status, job.id, "cancelled", error="the client left").job
    assert (cancelled.status, cancelled.error) == (JobStatus.CANCELLED, "the client left")
    assert timed_store.run(jobs.set_status, job.id, "pending").job.status is JobStatus.PENDING
    assert claim(timed_store, kind).id == job.id


@pytest.mark.parametrize("status", ["pending", "completed", "cancelled"])
def test_a_job_that_has_the_status_already_is_left_as_it_is(
    timed_store: Store, lasting_other: Store, status: str
) -> None:
    job = make(timed_store, JobFactory, status=JobStatus(status))
    before = dump(lasting_other)
    assert columns_of(timed_store.run(jobs.set_status, job.id, status).job) == columns_of(job)
    assert dump(lasting_other) == before


def test_a_job_requeued_by_its_status_respects_its_unique_key(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind, unique_key="nightly")
    timed_store.run(jobs.set_status, job.id, "failed", error="it broke")
    enqueue(timed_store, kind, unique_key="nightly")
    with pytest.raises(AlreadyExists):
        timed_store.run(jobs.set_status, job.id, "pending")


# Leases

EVERY_STATUS: list[tuple[str, dict[str, Any]]] = [
    ("completed", {"result": 1}),
    ("failed", {"error": "it broke"}),
    ("cancelled", {}),
    ("pending", {}),
]


@pytest.mark.parametrize(("status", "given"), EVERY_STATUS)
def test_a_leased_job_refuses_every_status(
    timed_store: Store, lasting_other: Store, kind: str, status: str, given: dict[str, Any]
) -> None:
    held = claimed(timed_store, kind)
    before = dump(lasting_other)
    with pytest.raises(AlreadyClaimed) as caught:
        timed_store.run(jobs.set_status, held.id, status, **given)
    assert (caught.value.key, caught.value.by, caught.value.until) == (held.id, "worker-1", held.lease_expires_at)
    assert dump(lasting_other) == before


@pytest.mark.parametrize(("status", "given"), EVERY_STATUS)
def test_a_job_whose_lease_has_expired_takes_every_status(
    timed_store: Store, timed_clock: SettableClock, kind: str, status: str, given: dict[str, Any]
) -> None:
    held = claimed(timed_store, kind, max_attempts=1)
    timed_clock.advance(seconds=3600)
    ended = timed_store.run(jobs.set_status, held.id, status, **given).job
    assert (ended.status, ended.lease_token, ended.lease_expires_at) == (JobStatus(status), None, None)
    lost = "cancelled" if status == "cancelled" else "the lease expired"
    told = story(timed_store, held.id)
    assert told[0] == (1, "worker-1", lost)
    assert told[1:] == ([(2, None, given.get("error"))] if status in {"completed", "failed"} else [])


# Refusals


@pytest.mark.parametrize("status", FINAL_OF_JOBS)
@pytest.mark.parametrize(("wanted", "given"), EVERY_STATUS[:3])
def test_a_job_that_is_over_does_not_end_once_more(
    timed_store: Store, status: JobStatus, wanted: str, given: dict[str, Any]
) -> None:
    job: Job = make(timed_store, JobFactory, status=status)
    if wanted == status and not given:
        return
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(jobs.set_status, job.id, wanted, **given)
    assert (caught.value.current, caught.value.wanted) == (status, wanted)
    assert columns_of(timed_store.query(jobs.get, job.id)) == columns_of(job)


def test_a_completed_job_is_not_requeued_by_its_status(timed_store: Store) -> None:
    job = make(timed_store, JobFactory, status=JobStatus.COMPLETED)
    with pytest.raises(IllegalTransition):
        timed_store.run(jobs.set_status, job.id, "pending")


@pytest.mark.parametrize(
    ("status", "given", "field"),
    [
        ("processing", {}, "status"),
        ("running", {}, "status"),
        ("asleep", {}, "status"),
        ("failed", {}, "error"),
        ("completed", {"error": "it broke"}, "error"),
        ("pending", {"error": "it broke"}, "error"),
        ("failed", {"error": "it broke", "result": 1}, "result"),
        ("cancelled", {"result": 1}, "result"),
        ("cancelled", {"worker_id": "w"}, "worker_id"),
        ("pending", {"worker_id": "w"}, "worker_id"),
    ],
)
def test_setting_a_job_status_refuses_values_that_do_not_go_with_it(
    timed_store: Store, kind: str, status: str, given: dict[str, Any], field: str
) -> None:
    job = enqueue(timed_store, kind)
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.set_status, job.id, status, **given)
    assert caught.value.field == field
    assert columns_of(timed_store.query(jobs.get, job.id)) == columns_of(job)


@pytest.mark.parametrize("bad", [*BAD_TEXTS, *cases(empty="", blank=" \n")])
def test_setting_a_job_status_refuses_a_bad_error(timed_store: Store, kind: str, bad: Any) -> None:
    job = enqueue(timed_store, kind)
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.set_status, job.id, "failed", error=bad)
    assert caught.value.field == "error"


@pytest.mark.parametrize("bad", BAD_IDS)
def test_setting_the_status_of_a_bad_job_id_is_refused(timed_store: Store, bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.set_status, bad, "completed")
    assert caught.value.field == "job_id"


def test_setting_the_status_of_a_missing_job_is_refused(timed_store: Store) -> None:
    with pytest.raises(NotFound):
        timed_store.run(jobs.set_status, "nothing", "completed")


def test_a_job_attempt_that_began_after_now_took_no_time(
    timed_store: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = enqueue(timed_store, kind)
    timed_store.run(jobs.set_status, job.id, "completed", started_at=timed_clock.instant + timedelta(hours=1))
    assert [each.duration_ms for each in timed_store.query(jobs.attempts, job.id)] == [0]
