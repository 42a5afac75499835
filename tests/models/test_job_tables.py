"""The tables of jobs: what a row must be, whoever writes it, and what goes away with what."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from vibeweaver_store import AlreadyExists, InvalidInput, Job, JobStatus, NotFound, Store, sessions
from vibeweaver_store.services import jobs
from vibeweaver_store.testing import (
    EPOCH,
    ImportFactory,
    JobAttemptFactory,
    JobFactory,
    SessionFactory,
    columns_of,
)


def make(store: Store, **values: Any) -> Job:
    with store.begin() as uow:
        return JobFactory.create(uow=uow, **values)


def assign(store: Store, assignment: str, table: str = "jobs") -> None:
    with store.begin() as uow:
        uow.execute(sa.text(f"UPDATE {table} SET {assignment}"))


def true(store: Store) -> str:
    return "true" if store.backend == "postgresql" else "1"


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_row_is_read_back_as_it_was_written(store: Store, status: JobStatus) -> None:
    with store.begin() as uow:
        made = JobFactory.create(
            uow=uow,
            status=status,
            priority=-7,
            session_id=SessionFactory.create(uow=uow).id,
            unique_key="chorus",
            progress={"done": 1, "total": 8, "note": "ü"},
            data=[1e300, {"a": None}],
            result="done" if status is JobStatus.COMPLETED else None,
            import_id=ImportFactory.create(uow=uow).id,
        )
    assert columns_of(store.query(jobs.get, made.id)) == columns_of(made)


@pytest.mark.parametrize(
    ("status", "assignment", "constraint"),
    [
        ("pending", "id = ''", "id"),
        ("pending", "type = ''", "type"),
        ("pending", "status = 'broken', ready = NULL", "status"),
        ("pending", "unique_key = ''", "unique_key"),
        ("pending", "attempts = -1, started_at = created_at", "attempts"),
        ("pending", "max_attempts = 0", "attempts"),
        ("failed", "attempts = 4", "attempts"),
        ("pending", "attempts = 3, started_at = created_at", "pending_has_attempts_left"),
        ("pending", "attempts = 1", "attempted_has_start"),
        ("pending", "started_at = created_at", "attempted_has_start"),
        ("completed", "attempts = 0", "attempted_has_start"),
        ("pending", "completed_at = created_at", "final_has_time"),
        ("completed", "completed_at = NULL", "final_has_time"),
        ("failed", "completed_at = NULL", "final_has_time"),
        ("cancelled", "completed_at = NULL", "final_has_time"),
        ("pending", "lease_token = 'x', lease_expires_at = created_at", "processing_has_lease"),
        ("processing", "lease_token = NULL, lease_expires_at = NULL", "processing_has_lease"),
        ("processing", "lease_expires_at = NULL", "lease_has_end"),
        ("completed", "lease_expires_at = created_at", "lease_has_end"),
        ("pending", "ready = NULL", "pending_is_ready_or_not"),
        ("pending", "result = '1'", "result"),
        ("failed", "result = '1'", "result"),
    ],
)
def test_the_table_of_jobs_checks_its_constraints(store: Store, status: str, assignment: str, constraint: str) -> None:
    make(store, status=status)
    with pytest.raises(InvalidInput, match=f"ck_jobs_{constraint}'"):
        assign(store, assignment)


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
def test_only_a_pending_job_is_ready_or_not(store: Store, status: str) -> None:
    make(store, status=status)
    with pytest.raises(InvalidInput, match="pending_is_ready_or_not"):
        assign(store, f"ready = {true(store)}")


@pytest.mark.parametrize("backend", ["sqlite"])  # PostgreSQL has a type for it
def test_the_ready_column_of_a_job_is_true_or_false(store: Store) -> None:
    make(store)
    with pytest.raises(InvalidInput, match="ck_jobs_ready'"):
        assign(store, "ready = 2")


# Unique keys


@pytest.mark.parametrize("second", ["pending", "processing"])
@pytest.mark.parametrize("first", ["pending", "processing"])
def test_the_table_of_jobs_allows_one_unfinished_job_per_type_and_unique_key(
    store: Store, first: str, second: str
) -> None:
    make(store, status=first, unique_key="chorus")
    make(store, status=second, unique_key="chorus", type="mix")
    make(store, status=second, unique_key="verse")
    with pytest.raises(AlreadyExists):
        make(store, status=second, unique_key="chorus")


def test_the_table_of_jobs_frees_the_unique_key_of_a_finished_job(store: Store) -> None:
    for status in ("completed", "failed", "cancelled", "failed", "pending"):
        make(store, status=status, unique_key="chorus")
    with pytest.raises(AlreadyExists):
        assign(store, f"status = 'pending', completed_at = NULL, ready = {true(store)}")


def test_the_table_of_jobs_allows_any_number_without_a_unique_key(store: Store) -> None:
    for _ in range(3):
        make(store)


# What goes away with what


@pytest.mark.parametrize("values", [{"session_id": "nowhere"}, {"import_id": 4711}], ids=str)
def test_the_table_of_jobs_refuses_a_missing_session_or_import(store: Store, values: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        make(store, **values)


def test_jobs_are_deleted_with_their_session_but_survive_their_import(store: Store) -> None:
    with store.begin() as uow:
        session, brought = SessionFactory.create(uow=uow), ImportFactory.create(uow=uow)
        gone = JobFactory.create(uow=uow, session_id=session.id, status=JobStatus.FAILED)
        kept = JobFactory.create(uow=uow, import_id=brought.id, status=JobStatus.FAILED)
        for job in (gone, kept):
            JobAttemptFactory.create(uow=uow, job_id=job.id)
    with store.begin() as uow:
        sessions.delete(uow, session.id)
        uow.execute(sa.text("DELETE FROM imports"))
        assert uow.execute(sa.text("SELECT job_id FROM job_attempts")).scalars().all() == [kept.id]
    assert store.query(jobs.find, gone.id) is None
    assert store.query(jobs.get, kept.id).import_id is None


# Attempts


def test_a_job_attempt_row_is_read_back_as_it_was_written(store: Store) -> None:
    job = make(store, status=JobStatus.FAILED)
    with store.begin() as uow:
        made = JobAttemptFactory.create(uow=uow, job_id=job.id, attempt=2, worker_id=None, error="ü\n", duration_ms=0)
    assert [columns_of(each) for each in store.query(jobs.attempts, job.id)] == [columns_of(made)]


@pytest.mark.parametrize(
    ("assignment", "constraint"), [("attempt = 0", "attempt"), ("duration_ms = -1", "duration_ms")]
)
def test_the_table_of_job_attempts_checks_its_constraints(store: Store, assignment: str, constraint: str) -> None:
    job = make(store, status=JobStatus.FAILED)
    with store.begin() as uow:
        JobAttemptFactory.create(uow=uow, job_id=job.id, started_at=EPOCH)
    with pytest.raises(InvalidInput, match=f"ck_job_attempts_{constraint}'"):
        assign(store, assignment, "job_attempts")


def test_the_table_of_job_attempts_has_each_attempt_once(store: Store) -> None:
    job = make(store, status=JobStatus.FAILED)
    with store.begin() as uow:
        JobAttemptFactory.create(uow=uow, job_id=job.id)
    with pytest.raises(AlreadyExists), store.begin() as uow:
        JobAttemptFactory.create(uow=uow, job_id=job.id)


def test_the_table_of_job_attempts_refuses_a_missing_job(store: Store) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        JobAttemptFactory.create(uow=uow, job_id="nowhere")
