"""Steps that tests of jobs take: put a job into a queue, claim it, read it back."""

from __future__ import annotations

from typing import Any

from vibeweaver_store import Job, JobAttempt, Store, jobs


def enqueue(store: Store, kind: str, data: Any = None, **values: Any) -> Job:
    return store.run(jobs.enqueue, kind, data, **values).job


def claim(store: Store, kind: str, worker_id: str = "worker-1", **values: Any) -> Job:
    """Claim the one job that is there."""
    (job,) = store.run(jobs.claim, [kind], worker_id, **values).jobs
    return job


def claimed(store: Store, kind: str, **values: Any) -> Job:
    """A new job, in the hands of a worker."""
    made = enqueue(store, kind, **values)
    job = claim(store, kind)
    assert job.id == made.id
    return job


def ids(found: list[Job]) -> list[str]:
    return [job.id for job in found]


def story(store: Store, job_id: str) -> list[tuple[int, str | None, str | None]]:
    """The attempts at a job: number, worker, why it did not complete the job."""
    told: list[JobAttempt] = store.query(jobs.attempts, job_id)
    return [(each.attempt, each.worker_id, each.error) for each in told]
