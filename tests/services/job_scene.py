"""Background jobs in every state, and what is done to them and looked up of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store import Job, JobStatus, Page, UnitOfWork, jobs, triggers
from vibeweaver_store.columns import new_id
from vibeweaver_store.models.job import FINAL_OF_JOBS
from vibeweaver_store.testing import EPOCH, JobAttemptFactory, JobFactory, RuleFactory, SessionFactory

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class JobScene:
    """The keys of jobs of one type and session, beside others that nobody is to touch."""

    kind: str
    session_id: str
    pending_id: str
    failed_id: str
    held: Job
    unique_key: str


Mutator: TypeAlias = Callable[[UnitOfWork, JobScene], object]

SERVICES: tuple[ModuleType, ...] = (jobs,)


def build_job_scene(uow: UnitOfWork) -> JobScene:
    JobFactory.create(uow=uow)
    kind, key = f"render {new_id()}", SessionFactory.create(uow=uow).id
    ours: dict[str, Any] = {"type": kind, "session_id": key}
    pending = JobFactory.create(uow=uow, **ours, unique_key="chorus")
    failed = JobFactory.create(uow=uow, **ours, status=JobStatus.FAILED)
    JobAttemptFactory.create(uow=uow, job_id=failed.id, error="it broke")
    held = JobFactory.create(uow=uow, **ours, status=JobStatus.PROCESSING, lease_expires_at=uow.now() + HOUR)
    RuleFactory.create(uow=uow, session_id=key, trigger=triggers.JobComplete(job_id=held.id))
    return JobScene(kind, key, pending.id, failed.id, held, "chorus")


# A few thousand jobs, of which a part is ready, a part is not, and the most are over
BUSY_JOBS, KINDS, SESSIONS, ATTEMPTED = 4000, 4, 8, 1500


def build_busy_jobs(uow: UnitOfWork) -> JobScene:
    """Jobs in a database with a few thousand rows a table, for the plans of their lookups."""
    sessions = [SessionFactory.create(uow=uow).id for _ in range(SESSIONS)]
    made = [busy_job(uow, n, f"kind {n % KINDS}", sessions[n // KINDS % SESSIONS]) for n in range(BUSY_JOBS)]
    uow.insert(*made)
    over = [job.id for job in made if job.completed_at is not None][:ATTEMPTED]
    uow.insert(*[JobAttemptFactory.build(job_id=key, ended_at=later(n)) for n, key in enumerate(over)])
    pending = next(job for job in made if job.ready)
    failed = next(job for job in made if job.status is JobStatus.FAILED)
    held = next(job for job in made if job.lease_expires_at is not None and job.lease_expires_at > uow.now())
    return JobScene("kind 1", sessions[1], pending.id, failed.id, held, "key 1")


def busy_job(uow: UnitOfWork, n: int, kind: str, session_id: str) -> Job:
    values: dict[str, Any] = {"status": BUSY_STATUSES[n // KINDS % len(BUSY_STATUSES)], "created_at": later(n)}
    if values["status"] is JobStatus.PENDING and n % 3 == 0:
        values |= {"ready": False, "scheduled_at": uow.now() + n * HOUR}
    if values["status"] is JobStatus.PROCESSING:
        values["lease_expires_at"] = uow.now() + (n % 20) * HOUR
    if values["status"] in FINAL_OF_JOBS:
        values["completed_at"] = later(n)
    return JobFactory.build(
        type=kind, session_id=session_id, priority=n % 7, unique_key=f"key {n}" if n % 5 == 1 else None, **values
    )


BUSY_STATUSES = [
    *[JobStatus.PENDING] * 12,
    *[JobStatus.COMPLETED] * 9,
    *[JobStatus.FAILED] * 2,
    JobStatus.CANCELLED,
    JobStatus.PROCESSING,
]


def later(n: int) -> Any:
    return EPOCH + timedelta(minutes=n)


def let_leases_expire(uow: UnitOfWork, at: JobScene, *, attempts: int = 1) -> None:
    expired = sa.update(Job).where(col(Job.id) == at.held.id).values(lease_expires_at=EPOCH, attempts=attempts)
    uow.execute(expired, execution_options={"synchronize_session": False})


def claim_what_expired(uow: UnitOfWork, at: JobScene) -> None:
    let_leases_expire(uow, at)
    jobs.claim(uow, [at.kind], "worker-2")


def claim_after_the_last_attempt(uow: UnitOfWork, at: JobScene) -> None:
    let_leases_expire(uow, at, attempts=at.held.max_attempts)
    jobs.claim(uow, ["nothing"], "worker-2")


def claim_what_came_due(uow: UnitOfWork, at: JobScene) -> None:
    not_ready = sa.update(Job).where(col(Job.id) == at.pending_id).values(ready=False)
    uow.execute(not_ready, execution_options={"synchronize_session": False})
    jobs.claim(uow, [at.kind], "worker-2")


ENDED = {"jobs", "job_attempts"}
FIRED = {"rules", "history", "sessions"}

MUTATORS: dict[str, tuple[Mutator, set[str]]] = {
    "jobs.enqueue": (lambda uow, at: jobs.enqueue(uow, at.kind, {"bar": 1}, session_id=at.session_id), {"jobs"}),
    "jobs.enqueue_many": (lambda uow, at: jobs.enqueue_many(uow, [jobs.NewJob(at.kind)] * 3), {"jobs"}),
    "jobs.claim": (lambda uow, at: jobs.claim(uow, [at.kind], "worker-2"), {"jobs"}),
    "jobs.claim what expired": (claim_what_expired, ENDED),
    "jobs.claim after the last attempt": (claim_after_the_last_attempt, ENDED | FIRED),
    "jobs.claim what came due": (claim_what_came_due, {"jobs"}),
    "jobs.heartbeat": (lambda uow, at: jobs.heartbeat(uow, at.held, lease_seconds=7200), {"jobs"}),
    "jobs.set_progress": (lambda uow, at: jobs.set_progress(uow, at.held, 1, 8), {"jobs"}),
    "jobs.complete": (lambda uow, at: jobs.complete(uow, at.held, {"path": "/srv/x.wav"}), ENDED | FIRED),
    "jobs.complete_many": (lambda uow, at: jobs.complete_many(uow, [jobs.Completion(at.held)]), ENDED | FIRED),
    "jobs.fail": (lambda uow, at: jobs.fail(uow, at.held, "it broke"), ENDED),
    "jobs.fail for good": (lambda uow, at: jobs.fail(uow, at.held, "it broke", retry=False), ENDED | FIRED),
    "jobs.hand_back": (lambda uow, at: jobs.hand_back(uow, at.held), ENDED),
    "jobs.cancel": (lambda uow, at: jobs.cancel(uow, at.held.id), ENDED | FIRED),
    "jobs.retry": (lambda uow, at: jobs.retry(uow, at.failed_id), {"jobs"}),
    "jobs.set_status": (lambda uow, at: jobs.set_status(uow, at.pending_id, "completed", result=1), ENDED),
    "jobs.set_status pending": (lambda uow, at: jobs.set_status(uow, at.failed_id, "pending"), {"jobs"}),
    "jobs.retry_many": (lambda uow, at: jobs.retry_many(uow, type=at.kind), {"jobs"}),
    "jobs.prune": (lambda uow, _: jobs.prune(uow, HOUR), ENDED),
    "jobs.delete": (lambda uow, at: jobs.delete(uow, at.failed_id), ENDED),
}
"""Every function that writes, with the tables that it changes; see test_every_mutator.py."""


def there_and_back(fetch: Callable[..., Page[Any]]) -> None:
    first = fetch(limit=3)
    second = fetch(limit=3, cursor=first.next_cursor)
    assert fetch(limit=3, cursor=second.previous_cursor).items == first.items


def narrowed(at: JobScene, names: tuple[str, ...]) -> dict[str, Any]:
    known = {"status": "failed", "type": at.kind, "session_id": at.session_id}
    return {name: known[name] for name in names}


FILTERS: dict[str, tuple[str, ...]] = {
    "": (),
    " of a status": ("status",),
    " of a type": ("type",),
    " of both": ("type", "status"),
    " of a session": ("session_id",),
    " of all three": ("session_id", "type", "status"),
}


def paging(names: tuple[str, ...]) -> Mutator:
    return lambda uow, at: there_and_back(lambda **values: jobs.page(uow, **narrowed(at, names), **values))


def counting(names: tuple[str, ...]) -> Mutator:
    return lambda uow, at: jobs.count(uow, **narrowed(at, names))


def retrying(names: tuple[str, ...]) -> Mutator:
    return lambda uow, at: jobs.retry_many(uow, **narrowed(at, names), limit=5)


LOOKUPS: dict[str, Mutator] = {
    "jobs.get": lambda uow, at: jobs.get(uow, at.pending_id),
    "jobs.find": lambda uow, at: jobs.find(uow, at.pending_id),
    **{f"jobs.page{name}": paging(names) for name, names in FILTERS.items()},
    **{f"jobs.count{name}": counting(names) for name, names in FILTERS.items()},
    "jobs.active_for_session": lambda uow, at: there_and_back(
        lambda **values: jobs.active_for_session(uow, at.session_id, **values)
    ),
    "jobs.attempts": lambda uow, at: jobs.attempts(uow, at.failed_id),
    "jobs.next_due": lambda uow, _: jobs.next_due(uow),
    "jobs.next_due of types": lambda uow, _: jobs.next_due(uow, ["render", "mix"]),
    "jobs.prunable": lambda uow, _: jobs.prunable(uow, HOUR),
    "jobs.stats": lambda uow, _: jobs.stats(uow),
    "jobs.stats since": lambda uow, _: jobs.stats(uow, since=later(ATTEMPTED - 20)),
}
"""Every function that reads; see test_query_plans.py."""

WRITERS: dict[str, Mutator] = {
    "jobs.enqueue": lambda uow, at: jobs.enqueue(uow, at.kind, unique_key=at.unique_key, session_id=at.session_id),
    "jobs.enqueue_many": lambda uow, _: jobs.enqueue_many(
        uow, [jobs.NewJob(f"kind {n % KINDS}", unique_key=f"key {n}") for n in range(100)]
    ),
    "jobs.claim of a type": lambda uow, at: jobs.claim(uow, [at.kind], "worker-2", limit=3),
    "jobs.claim of types": lambda uow, _: jobs.claim(uow, [f"kind {n}" for n in range(KINDS)], "worker-2"),
    "jobs.claim of all": lambda uow, _: jobs.claim(uow, None, "worker-2", limit=3),
    "jobs.heartbeat": lambda uow, at: jobs.heartbeat(uow, at.held),
    "jobs.complete": lambda uow, at: jobs.complete(uow, at.held),
    "jobs.complete_many": lambda uow, at: jobs.complete_many(uow, [jobs.Completion(at.held, {"bar": 1})]),
    "jobs.fail": lambda uow, at: jobs.fail(uow, at.held, "it broke"),
    "jobs.cancel": lambda uow, at: jobs.cancel(uow, at.held.id),
    "jobs.retry": lambda uow, at: jobs.retry(uow, at.failed_id),
    "jobs.set_status": lambda uow, at: jobs.set_status(uow, at.pending_id, "completed"),
    **{
        f"jobs.retry_many{name}": retrying(("status", *names))
        for name, names in FILTERS.items()
        if "status" not in names
    },
    "jobs.prune": lambda uow, _: jobs.prune(uow, {"cancelled": HOUR, "failed": HOUR}, limit=5),
    "jobs.delete": lambda uow, at: jobs.delete(uow, at.failed_id),
}
"""Functions that write, and look something up to do so."""

WHOLE_TABLE_IN_ORDER: set[str] = {"jobs"}
IN_SETS: set[str] = {"jobs.stats", "jobs.count", "jobs.prunable"}
