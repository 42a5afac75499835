"""Rows of background jobs for tests; see :mod:`vibeweaver_store.testing.factories`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from factory.declarations import LazyAttribute, SelfAttribute, Sequence

from vibeweaver_store.columns import new_id
from vibeweaver_store.models import Job, JobAttempt, JobStatus
from vibeweaver_store.models.job import FINAL_OF_JOBS
from vibeweaver_store.testing.row_factory import EPOCH, PARENTS, RowFactory


class JobFactory(RowFactory[Job]):
    """Pending jobs that are due; attempts, lease and times follow the status."""

    class Meta:
        model = Job

    type = "render"
    data = Sequence(lambda n: {"bar": n})
    status = JobStatus.PENDING
    ready = LazyAttribute(lambda job: True if job.status == JobStatus.PENDING else None)
    attempts = LazyAttribute(lambda job: 0 if job.status in {JobStatus.PENDING, JobStatus.CANCELLED} else 1)
    max_attempts = LazyAttribute(lambda job: max(3, job.attempts))
    created_at = EPOCH
    updated_at = SelfAttribute("created_at")
    scheduled_at = SelfAttribute("created_at")
    started_at = LazyAttribute(lambda job: EPOCH if job.attempts else None)
    worker_id = LazyAttribute(lambda job: "worker-1" if job.attempts else None)
    completed_at = LazyAttribute(lambda job: EPOCH if job.status in FINAL_OF_JOBS else None)
    lease_token = LazyAttribute(lambda job: new_id() if job.status == JobStatus.PROCESSING else None)
    lease_expires_at = LazyAttribute(lambda job: None if job.lease_token is None else EPOCH + timedelta(minutes=1))
    error = LazyAttribute(lambda job: "it broke" if job.status == JobStatus.FAILED else None)


PARENTS["job_id"] = (JobFactory, "id")


class JobAttemptFactory(RowFactory[JobAttempt]):
    """First attempts at a job, which succeeded after a second."""

    class Meta:
        model = JobAttempt

    job_id: Any = None
    attempt = 1
    worker_id = "worker-1"
    started_at = EPOCH
    ended_at = LazyAttribute(lambda each: each.started_at + timedelta(milliseconds=each.duration_ms))
    duration_ms = 1000
