"""How the queue is doing: how many jobs stand where, how long they take, and what waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import Utc
from vibeweaver_store.models.job import Job, JobAttempt, JobStatus
from vibeweaver_store.services.job_rows import HELD, NOT_READY, READY
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require

_PERCENTILES: Final = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs of a type are in a status."""

    type: str
    status: JobStatus
    count: int


@dataclass(frozen=True, slots=True)
class JobDurations:
    """How long the attempts took that completed jobs of a type.

    ``p95_ms`` is the shortest duration that 95 of 100 attempts did not exceed (the nearest rank), in milliseconds.
    """

    type: str
    attempts: int
    p50_ms: int
    p95_ms: int
    p99_ms: int


@dataclass(frozen=True, slots=True)
class JobStats:
    """How the queue is doing.

    Attributes:
        counts: how many jobs there are by type and status, in that order; what there is none of is left out.
        durations: how long completing a job took, by type.
        oldest_pending_seconds: how long the pending job has been due that has been due the longest; ``None`` where none
            is due.
        expired_leases: how many jobs are held under a lease that has expired, which the next claim sees to.
    """

    counts: list[JobCount]
    durations: list[JobDurations]
    oldest_pending_seconds: float | None
    expired_leases: int


def stats(uow: ReadUnitOfWork, *, since: datetime | None = None) -> JobStats:
    """Return how the queue is doing, in three statements. They read every job, and every attempt that is counted.

    Args:
        uow: the unit of work to read in.
        since: only attempts that ended at that time or later count for the durations; by default all that are kept.

    Raises:
        InvalidInput: the time is no datetime with a time zone.
    """
    first = None if since is None else require(Utc, since, field="since")
    oldest, expired = _waiting(uow)
    return JobStats(_counts(uow), _durations(uow, first), oldest, expired)


def _counts(uow: ReadUnitOfWork) -> list[JobCount]:
    by = (col(Job.type), col(Job.status))
    found = [JobCount(*row) for row in uow.execute(sa.select(*by, sa.func.count()).group_by(*by))]
    standing = list(JobStatus)
    return sorted(found, key=lambda each: (each.type, standing.index(each.status)))


def _durations(uow: ReadUnitOfWork, since: datetime | None) -> list[JobDurations]:
    took = col(JobAttempt.duration_ms)
    kind = col(Job.type)
    ranked = (
        sa.select(
            kind,
            took.label("duration_ms"),
            sa.func.row_number().over(partition_by=kind, order_by=took).label("place"),
            sa.func.count().over(partition_by=kind).label("attempts"),
        )
        .join(Job, col(Job.id) == col(JobAttempt.job_id))
        .where(col(JobAttempt.error).is_(None), *([] if since is None else [col(JobAttempt.ended_at) >= since]))
        .subquery()
        .c
    )
    # At the nearest rank: the number of attempts times the percentage, rounded up to a whole place.
    at: list[Any] = [
        sa.func.min(sa.case((ranked.place >= (ranked.attempts * percent + 99) // 100, ranked.duration_ms)))
        for percent in _PERCENTILES
    ]
    statement = sa.select(ranked.type, sa.func.count(), *at).group_by(ranked.type)
    return sorted((JobDurations(*row) for row in uow.execute(statement)), key=lambda each: each.type)


def _waiting(uow: ReadUnitOfWork) -> tuple[float | None, int]:
    """Return for how long the oldest job that is due has been, in seconds, and how many leases have expired."""
    now = uow.now()
    due = sa.func.min(col(Job.scheduled_at))
    ready = sa.select(due).where(READY).scalar_subquery()
    # Nobody has claimed since these came due.
    come_due = sa.select(due).where(NOT_READY, col(Job.scheduled_at) <= now).scalar_subquery()
    expired = sa.select(sa.func.count()).where(HELD, col(Job.lease_expires_at) <= now).scalar_subquery()
    *since, count = uow.execute(sa.select(ready, come_due, expired)).one()
    oldest = min((at for at in since if at is not None), default=None)
    return None if oldest is None else max(timedelta(), now - oldest).total_seconds(), count
