"""The rows of jobs: found, held under a lease, written. What other services build on; callers find it in ``jobs``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select

from vibeweaver_store.columns import INTEGER, FiniteFloat, Id, UtcDateTime
from vibeweaver_store.errors import InvalidInput, LeaseLost, NotFound
from vibeweaver_store.hot import Hot, HotRows, bound_rows, placed, text_rows
from vibeweaver_store.json_values import dump_json, dump_jsonb, shown
from vibeweaver_store.models.job import FINAL_OF_JOBS, Job, JobAttempt, JobStatus
from vibeweaver_store.models.signals import JobFinished
from vibeweaver_store.services import sessions
from vibeweaver_store.services.rule_firing import Firing, fire
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork, upsert
from vibeweaver_store.validation import require

JOBS_TOPIC: Final = "jobs"
"""What is announced by whoever puts a job where a worker may claim it, now or later."""

DEFAULT_LEASE_SECONDS: Final = 60.0

NOT_READY: Final = col(Job.ready) == sa.false()
READY: Final = col(Job.ready) == sa.true()
HELD: Final = col(Job.lease_expires_at).is_not(None)

UNHELD: Final[dict[str, Any]] = {"lease_token": None, "lease_expires_at": None}
"""What is written where nobody holds a job any more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job as it is after an attempt at it has ended, or after it was cancelled.

    Attributes:
        job: the job as it is now; ``pending`` where it is to be tried again.
        firings: the rules of its session that fire because it is over; the caller is to do their actions.
    """

    job: Job
    firings: list[Firing]


def get(uow: ReadUnitOfWork, job_id: str) -> Job:
    """Return a job by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    job = find(uow, job_id)
    if job is None:
        raise NotFound("job", job_id)
    return job


_JOB: Final = HotRows(Job, select(Job).where(col(Job.id) == sa.bindparam("id")))


def find(uow: ReadUnitOfWork, job_id: str) -> Job | None:
    """Return a job by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, job_id, field="job_id")
    return _JOB.first(uow, id=key)


# --- time ------------------------------------------------------------------------------------------------------


def later(now: datetime, span: timedelta, *, field: str) -> datetime:
    """Return the instant that comes a span after another.

    Raises:
        InvalidInput: it would lie beyond the year 9999, or before the year 1.
    """
    try:
        return now + span
    except OverflowError:
        raise InvalidInput(f"{field}: {span} from now lies beyond the calendar", field=field) from None


def lease_end(now: datetime, lease_seconds: float) -> datetime:
    """Return when a lease of so many seconds from now ends.

    Raises:
        InvalidInput: the seconds are no number, not above 0, less than a microsecond, or beyond the calendar.
    """
    seconds: float = require(FiniteFloat, lease_seconds, field="lease_seconds")
    try:
        span = timedelta(seconds=seconds)
    except OverflowError:
        span = timedelta.max
    if span <= timedelta():
        raise InvalidInput(
            f"lease_seconds: must be a microsecond or more (got {shown(lease_seconds)})", field="lease_seconds"
        )
    return later(now, span, field="lease_seconds")


# --- leases ----------------------------------------------------------------------------------------------------


def lease_of(job: Job) -> tuple[str, str]:
    """Return the id of a job and the token of the lease that it was claimed under.

    Raises:
        InvalidInput: it is no job as it was claimed: one without a lease.
    """
    if not isinstance(job, Job):
        raise InvalidInput(f"job: must be a Job, as claim returns it (got {shown(job)})", field="job")
    if job.lease_token is None:
        raise InvalidInput(f"job: {job.id!r} has no lease; hand over the Job that claim returned", field="job")
    return require(Id, job.id, field="job"), require(Id, job.lease_token, field="job")


def write_held(uow: UnitOfWork, job: Job, changes: Mapping[str, Any]) -> Job:
    """Write changes of a job that is held, in one statement that checks that it is; return it as it is then.

    Raises:
        LeaseLost: it is not held any more by who claimed it; nothing was written.
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed.
    """
    key, token = lease_of(job)
    # By the clock as it is: who slept within the unit of work is not to write either.
    held = {"held_id": key, "held_token": token, "present": uow.present()}
    new = {f"new_{name}": value for name, value in changes.items()}
    written: Job | None = _held_update(tuple(changes)).first(uow, **held, **new, new_updated_at=uow.now())
    if written is None:
        raise lost(uow, job)
    return written


LONGER: Final = "longer"
"""A change of a held job: its lease ends at a time, unless it ends later already."""
MORE_ATTEMPTS: Final = "more_attempts"
"""A change of a held job: how many attempts it may have besides."""


@cache
def _held_update(names: tuple[str, ...]) -> HotRows[Job]:
    """Return the statement that writes columns of a job that is held."""
    ends, most = col(Job.lease_expires_at), col(Job.max_attempts)
    until = sa.bindparam(f"new_{LONGER}", type_=UtcDateTime())
    computed: dict[str, tuple[Any, Any]] = {
        LONGER: (ends, sa.case((ends < until, until), else_=ends)),
        MORE_ATTEMPTS: (most, most + sa.bindparam(f"new_{MORE_ATTEMPTS}", type_=INTEGER)),
    }
    is_held = (
        col(Job.id) == sa.bindparam("held_id"),
        col(Job.lease_token) == sa.bindparam("held_token"),
        ends > sa.bindparam("present", type_=UtcDateTime()),
    )
    changes = dict([computed[name] if name in computed else placed(Job, name) for name in (*names, "updated_at")])
    return HotRows(Job, sa.update(Job).where(*is_held).values(changes).returning(Job))


def write_all_held(
    uow: UnitOfWork, jobs: Sequence[tuple[Job, Any]], column: str, changes: Mapping[str, Any]
) -> list[Job]:
    """Write changes of jobs that are held, and a document of each into a column; return them as they are then.

    It is one statement, after one that sees that all of them are held, and locks them.

    Raises:
        LeaseLost: one is not held any more by who claimed it; nothing was written.
        NotFound: there is no such job any more; likewise.
        InvalidInput: one is no job as it was claimed, or comes twice; likewise.
    """
    written_as = dump_jsonb if uow.backend == "postgresql" else dump_json
    rows = [[*lease_of(job), None if document is None else written_as(document)] for job, document in jobs]
    held = {**bound_rows("held", rows, *_HELD_COLUMNS), "present": uow.present()}
    _refuse_twice(held["held_id"])
    there = {job_id for (job_id,) in _all_held(uow.backend).all(uow, **held)}
    missing = next((job for job, _ in jobs if job.id not in there), None)
    if missing is not None:
        raise lost(uow, missing)
    new = {f"new_{name}": value for name, value in changes.items()}
    statement = _all_held_update(uow.backend, column, tuple(changes))
    written = {job.id: job for job in statement.all(uow, **held, **new, new_updated_at=uow.now())}
    return [written[job.id] for job, _ in jobs]


def _refuse_twice(job_ids: Sequence[str]) -> None:
    twice = next((key for key, times in Counter(job_ids).items() if times > 1), None)
    if twice is not None:
        raise InvalidInput(f"job: {twice!r} comes twice", field="job")


_HELD_COLUMNS: Final = ("id", "token", "document")


def _of_all_held(held: sa.FromClause) -> list[sa.ColumnElement[bool]]:
    present = sa.bindparam("present", type_=UtcDateTime())
    return [col(Job.id) == held.c.id, col(Job.lease_token) == held.c.token, col(Job.lease_expires_at) > present]


@cache
def _all_held(backend: str) -> Hot:
    held = text_rows(backend, "held", *_HELD_COLUMNS)
    statement = sa.select(col(Job.id)).where(*_of_all_held(held))
    if backend == "postgresql":
        # Locked in one order, so that two who have some in common do not wait for each other.
        statement = statement.order_by(col(Job.id)).with_for_update(of=Job, key_share=True)
    return Hot(statement)


@cache
def _all_held_update(backend: str, column: str, names: tuple[str, ...]) -> HotRows[Job]:
    held = text_rows(backend, "held", *_HELD_COLUMNS)
    document = sa.cast(held.c.document, JSONB) if backend == "postgresql" else held.c.document
    changes = dict([placed(Job, name) for name in (*names, "updated_at")])
    statement = sa.update(Job).where(*_of_all_held(held)).values({**changes, column: document})
    return HotRows(Job, statement.returning(Job))


def lost(uow: ReadUnitOfWork, job: Job) -> LeaseLost:
    """Return the error that tells why a job is not held any more.

    Raises:
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed.
    """
    key, token = lease_of(job)
    return LeaseLost(key, _why_lost(get(uow, key), token))


def _why_lost(found: Job, token: str) -> str:
    if found.lease_token == token:
        return f"it expired at {found.lease_expires_at:%Y-%m-%d %H:%M:%SZ}"
    if found.status is JobStatus.PROCESSING:
        return f"it was taken over by {found.worker_id!r}"
    if found.status is JobStatus.CANCELLED:
        return "the job was cancelled"
    if found.status in FINAL_OF_JOBS:
        return f"the job has ended as {found.status}"
    return "it expired or was given back, and the job is pending again"


def hold_session(uow: UnitOfWork, job_id: str, session_id: str | None) -> None:
    """Hold the session of a job, before the job: the other way round, deleting the session would be a deadlock.

    Raises:
        NotFound: the session is gone, and the job with it.
    """
    if session_id is None:
        return
    try:
        sessions.hold(uow, session_id, active=False)
    except NotFound:
        raise NotFound("job", job_id) from None


# --- what a unit of work has done to jobs -----------------------------------------------------------------------

_LEASES: Final = "leases of jobs"
_ENDED: Final = "ended jobs"


def note_lease(uow: UnitOfWork, job_id: str, until: datetime) -> None:
    """Note until when a job is held, as a unit of work has seen or extended it."""
    uow.info.setdefault(_LEASES, {})[job_id] = until


def noted_lease(uow: UnitOfWork, job_id: str) -> datetime | None:
    """Return until when a job was held, as the unit of work last knew."""
    found: datetime | None = uow.info.get(_LEASES, {}).get(job_id)
    return found


def note_ended(uow: UnitOfWork, ended: Ended) -> Ended:
    """Note that an attempt was ended in a unit of work, and return how."""
    uow.info.setdefault(_ENDED, {})[ended.job.id] = ended
    return ended


def noted_end(uow: UnitOfWork, job_id: str) -> Ended | None:
    """Return how the attempt at a job was ended in a unit of work, if it was."""
    found: Ended | None = uow.info.get(_ENDED, {}).get(job_id)
    return found


# --- attempts --------------------------------------------------------------------------------------------------


def record_attempt(uow: UnitOfWork, job: Job, *, error: str | None) -> None:
    """Write down that the attempt at a job that was under way has ended now; ``error`` says why without success."""
    record_attempts(uow, [attempt_of(job, uow.now(), error)])


def attempt_of(job: Any, ended_at: datetime, error: str | None) -> dict[str, Any]:
    """Return the row of an attempt that has ended, from a row of its job."""
    # A clock that was put back, or another machine's, does not make it end before it began.
    duration = max(timedelta(), ended_at - job.started_at)
    return {
        "job_id": job.id,
        "attempt": job.attempts,
        "worker_id": job.worker_id,
        "started_at": job.started_at,
        "ended_at": ended_at,
        "duration_ms": duration // timedelta(milliseconds=1),
        "error": error,
    }


def record_attempts(uow: UnitOfWork, attempts: Sequence[dict[str, Any]]) -> None:
    """Write down attempts that have ended; over what is there, where somebody has set a job's ``attempts`` back."""
    _attempts_upsert(uow.backend).many(uow, attempts)


@cache
def _attempts_upsert(backend: str) -> Hot:
    names = [column.key for column in sa.inspect(JobAttempt).local_table.c]
    insert = upsert(JobAttempt, backend)
    told = {name: insert.excluded[name] for name in names if name not in {"job_id", "attempt"}}
    return Hot(
        insert.on_conflict_do_update(index_elements=["job_id", "attempt"], set_=told),
        names={name: name for name in names},
    )


def fire_finished(uow: UnitOfWork, job_id: str, session_id: str | None) -> list[Firing]:
    """Fire the rules that wait for a job, in the session that it belongs to."""
    return [] if session_id is None else fire(uow, session_id, JobFinished(job_id=job_id))
