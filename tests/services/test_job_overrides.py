"""What people do to jobs: cancel them (seed 004: updateJobStatus), have them tried again, delete them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, BAD_TEXTS, cases
from tests.services.queue_steps import claim, claimed, enqueue, story
from tests.services.scene import dump, make, make_many
from vibeweaver_store import AlreadyExists, IllegalTransition, InvalidInput, Job, JobStatus, NotFound, Store, jobs
from vibeweaver_store.models.job import FINAL_OF_JOBS, JOB_TRANSITIONS
from vibeweaver_store.testing import EPOCH, JobAttemptFactory, JobFactory, SessionFactory, SettableClock, columns_of


@pytest.mark.parametrize("status", JobStatus)
def test_every_job_status_is_explained(status: JobStatus) -> None:
    assert f"- ``{status}``: " in (JobStatus.__doc__ or "")


def test_a_final_job_status_is_left_only_by_retry() -> None:
    assert [JOB_TRANSITIONS[status] for status in FINAL_OF_JOBS] == [(), (JobStatus.PENDING,), (JobStatus.PENDING,)]


# Cancel


def test_a_pending_job_can_be_cancelled(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = enqueue(timed_store, kind)
    timed_clock.advance(seconds=5)
    ended = timed_store.run(jobs.cancel, job.id, reason="the client left")
    changed = {
        "status": JobStatus.CANCELLED,
        "ready": None,
        "completed_at": timed_clock.instant,
        "updated_at": timed_clock.instant,
        "error": "the client left",
    }
    assert columns_of(ended.job) == columns_of(job) | changed
    assert columns_of(lasting_other.query(jobs.get, job.id)) == columns_of(ended.job)
    assert (ended.firings, story(timed_store, job.id)) == ([], [])


@pytest.mark.parametrize(("reason", "told"), [(None, "cancelled"), ("the client left", "cancelled: the client left")])
def test_cancelling_a_job_in_progress_ends_its_attempt(
    timed_store: Store, kind: str, reason: str | None, told: str
) -> None:
    job = claimed(timed_store, kind)
    ended = timed_store.run(jobs.cancel, job.id, reason=reason).job
    assert (ended.status, ended.lease_token, ended.lease_expires_at) == (JobStatus.CANCELLED, None, None)
    assert (ended.error, ended.attempts, ended.worker_id) == (reason, 1, "worker-1")
    assert story(timed_store, job.id) == [(1, "worker-1", told)]


def test_a_cancelled_job_is_not_claimed(timed_store: Store, kind: str) -> None:
    timed_store.run(jobs.cancel, enqueue(timed_store, kind).id)
    assert timed_store.run(jobs.claim, [kind], "worker-1").jobs == []


@pytest.mark.parametrize("status", FINAL_OF_JOBS)
def test_a_finished_job_cannot_be_cancelled(timed_store: Store, status: JobStatus) -> None:
    job = make(timed_store, JobFactory, status=status)
    with timed_store.begin() as uow:
        with pytest.raises(IllegalTransition) as caught:
            jobs.cancel(uow, job.id)
        jobs.enqueue(uow, "after")
    assert (caught.value.key, caught.value.current, caught.value.wanted) == (job.id, status, "cancelled")
    assert caught.value.allowed == JOB_TRANSITIONS[status]
    assert columns_of(timed_store.query(jobs.get, job.id)) == columns_of(job)


@pytest.mark.parametrize("reason", [*BAD_TEXTS, *cases(empty="", blank=" \n")])
def test_an_invalid_reason_for_cancelling_a_job_is_refused(timed_store: Store, kind: str, reason: Any) -> None:
    job = enqueue(timed_store, kind)
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.cancel, job.id, reason=reason)
    assert caught.value.field == "reason"


# Retry


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_failed_or_cancelled_job_can_be_retried(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, status: JobStatus
) -> None:
    job = make(timed_store, JobFactory, status=status, unique_key="chorus", priority=3)
    again = timed_store.run(jobs.retry, job.id)
    changed = {
        "status": JobStatus.PENDING,
        "ready": True,
        "scheduled_at": timed_clock.instant,
        "completed_at": None,
        "updated_at": timed_clock.instant,
    }
    assert columns_of(again) == columns_of(job) | changed
    assert columns_of(lasting_other.query(jobs.get, job.id)) == columns_of(again)
    timed_store.run(jobs.delete, job.id)


def test_retrying_a_job_without_attempts_left_grants_one_more(timed_store: Store, kind: str) -> None:
    job = claimed(timed_store, kind, max_attempts=1)
    timed_store.run(jobs.fail, job, "it broke")
    assert timed_store.run(jobs.retry, job.id).max_attempts == 2
    again = claim(timed_store, kind, "worker-2")
    assert (again.attempts, again.error) == (2, "it broke")
    timed_store.run(jobs.complete, again)
    assert story(timed_store, job.id) == [(1, "worker-1", "it broke"), (2, "worker-2", None)]


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        (JobStatus.PENDING, ("processing", "completed", "failed", "cancelled")),
        (JobStatus.PROCESSING, ("completed", "failed", "cancelled")),
        (JobStatus.COMPLETED, ()),
    ],
)
def test_a_job_that_is_active_or_completed_cannot_be_retried(
    lasting_store: Store, status: JobStatus, allowed: tuple[str, ...]
) -> None:
    job = make(lasting_store, JobFactory, status=status)
    with lasting_store.begin() as uow:
        with pytest.raises(IllegalTransition) as caught:
            jobs.retry(uow, job.id)
        jobs.enqueue(uow, "after")
    assert (caught.value.key, caught.value.current, caught.value.wanted) == (job.id, status, "pending")
    assert caught.value.allowed == allowed
    assert columns_of(lasting_store.query(jobs.get, job.id)) == columns_of(job)


def test_a_job_whose_unique_key_is_taken_cannot_be_retried(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind, unique_key="chorus")
    timed_store.run(jobs.cancel, job.id)
    enqueue(timed_store, kind, unique_key="chorus")
    with timed_store.begin() as uow:
        with pytest.raises(AlreadyExists) as caught:
            jobs.retry(uow, job.id)
        jobs.enqueue(uow, "after")
    assert (caught.value.entity, caught.value.key) == ("job", "chorus")
    assert timed_store.query(jobs.get, job.id).status is JobStatus.CANCELLED


# Retry in bulk


def failed(store: Store, kind: str, *each: dict[str, Any]) -> list[Job]:
    return make_many(store, JobFactory, *[{"type": kind, "status": JobStatus.FAILED, **own} for own in each])


def statuses(store: Store, found: list[Job]) -> list[str]:
    return [store.query(jobs.get, job.id).status.value for job in found]


def test_retry_many_retries_all_failed_jobs(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    made = failed(timed_store, kind, {}, {"attempts": 3}, {})
    assert timed_store.query(jobs.count, status="failed", type=kind) == 3
    assert timed_store.run(jobs.retry_many, type=kind) == 3
    again = [timed_store.query(jobs.get, job.id) for job in made]
    assert [(job.status, job.ready, job.scheduled_at) for job in again] == [
        (JobStatus.PENDING, True, timed_clock.instant)
    ] * 3
    assert [job.max_attempts for job in again] == [3, 4, 3]
    assert timed_store.run(jobs.retry_many, type=kind) == 0


def test_retry_many_retries_only_jobs_of_the_given_status_type_and_session(timed_store: Store, kind: str) -> None:
    session = make(timed_store, SessionFactory)
    each: list[dict[str, Any]] = [
        {},
        {"status": JobStatus.CANCELLED},
        {"session_id": session.id},
        {"type": f"{kind} 2"},
    ]
    made = failed(timed_store, kind, *each)
    assert timed_store.run(jobs.retry_many, type=kind, session_id=session.id) == 1
    assert statuses(timed_store, made) == ["failed", "cancelled", "pending", "failed"]
    assert timed_store.run(jobs.retry_many, status="cancelled", type=kind) == 1
    assert statuses(timed_store, made) == ["failed", "pending", "pending", "failed"]


def test_retry_many_takes_the_oldest_jobs_up_to_the_limit(timed_store: Store, kind: str) -> None:
    made = failed(timed_store, kind, *[{"created_at": EPOCH.replace(hour=n)} for n in (3, 1, 2)])
    assert timed_store.run(jobs.retry_many, type=kind, limit=2) == 2
    assert statuses(timed_store, made) == ["failed", "pending", "pending"]


def test_retry_many_skips_jobs_whose_unique_key_is_taken(timed_store: Store, kind: str) -> None:
    enqueue(timed_store, kind, unique_key="taken")
    made = failed(timed_store, kind, *[{"unique_key": key} for key in ("taken", "free", "free", None)])
    assert timed_store.run(jobs.retry_many, type=kind) == 2
    assert statuses(timed_store, made) == ["failed", "pending", "failed", "pending"]
    assert timed_store.run(jobs.retry_many, type=kind) == 0


def test_retry_many_takes_two_statements(timed_store: Store, kind: str) -> None:
    failed(timed_store, kind, *[{}] * 5)
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.retry_many, type=kind)
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("status", value) for value in ("pending", "processing", "completed", "broken", None, 1)],
        *[("type", case.values[0]) for case in BAD_NAMES if case.values[0] is not None],
        *[("session_id", case.values[0]) for case in BAD_IDS],
        *[("limit", value) for value in (0, 1001, None, "5")],
    ],
)
def test_retry_many_refuses_an_invalid_filter(lasting_store: Store, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(jobs.retry_many, **{field: value})
    assert caught.value.field == field


# Delete


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.PROCESSING])
def test_a_job_is_deleted_with_its_attempts(
    timed_store: Store, lasting_other: Store, kind: str, status: JobStatus
) -> None:
    bystander, job = make_many(timed_store, JobFactory, {}, {"status": status}, type=kind)
    make_many(timed_store, JobAttemptFactory, {"job_id": bystander.id}, {"job_id": job.id})
    timed_store.run(jobs.delete, job.id)
    assert lasting_other.query(jobs.find, job.id) is None
    assert (story(timed_store, job.id), len(story(timed_store, bystander.id))) == ([], 1)


def test_a_job_in_progress_cannot_be_deleted(timed_store: Store, kind: str) -> None:
    job = claimed(timed_store, kind)
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(jobs.delete, job.id)
    assert (caught.value.current, caught.value.wanted) == (JobStatus.PROCESSING, "deleted")
    assert columns_of(timed_store.query(jobs.get, job.id)) == columns_of(job)


# Bad input

OPERATIONS = {"cancel": jobs.cancel, "retry": jobs.retry, "delete": jobs.delete}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_overriding_a_missing_job_is_not_found(lasting_store: Store, operation: Any) -> None:
    before = dump(lasting_store)["jobs"]
    with lasting_store.begin() as uow, pytest.raises(NotFound, match="nowhere") as caught:
        operation(uow, "nowhere")
    assert caught.value.entity == "job"
    assert dump(lasting_store)["jobs"] == before


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("job_id", [*BAD_IDS, *cases(nothing=None)])
def test_overriding_a_job_by_an_invalid_id_is_refused(lasting_store: Store, operation: Any, job_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, job_id)
    assert caught.value.field == "job_id"
