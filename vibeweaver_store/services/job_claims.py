"""Claiming jobs under a lease, and keeping the lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import TEXT, Count, Id, Name, Text, UtcDateTime, new_id
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.hot import HotRows
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.job import Job, JobStatus
from vibeweaver_store.paging import check_limit
from vibeweaver_store.services.job_expiry import catch_up, soonest
from vibeweaver_store.services.job_rows import (
    DEFAULT_LEASE_SECONDS,
    LONGER,
    READY,
    Ended,
    lease_end,
    note_lease,
    write_held,
)
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

MAX_TYPES: Final = 100
"""Of how many types one call claims."""

_OTHERS: Final = 20
_TAKEN_BY_OTHERS: Final = 100
"""How many others may be taking as many jobs at the same moment, or how many jobs, where that is more."""


_URGENCY: Final = (col(Job.priority).desc(), col(Job.scheduled_at), col(Job.id))
"""The most urgent first, then what has been due the longest; no two jobs are alike in it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought.

    Attributes:
        jobs: the jobs that are to be done now, the most urgent first; none where there was none.
        ended: the jobs that have failed because their last lease expired, each with the firings to be acted on.
    """

    jobs: list[Job]
    ended: list[Ended]


def claim(
    uow: UnitOfWork,
    types: Sequence[str] | None,
    worker_id: str,
    *,
    lease_seconds: float = DEFAULT_LEASE_SECONDS,
    limit: int = 1,
) -> Claimed:
    """Take the most urgent jobs that are due, for a time; nobody else is given them until their leases expire.

    The order is total: the highest ``priority`` first, then what has been due the longest, then by id. One statement
    takes them; on PostgreSQL, jobs that somebody else is taking are passed over, and nobody waits. A job's ``attempts``
    count this one, and its ``progress`` begins anew.

    Before, the same call sees to what time has brought, of every type: scheduled jobs that have come due become ready,
    1,000 at most, those that have been due the longest first; and leases that have expired, 1,000 at most. Of these
    the jobs are ready again, and may be taken by this very call, or they are ``failed`` where it was the last attempt.
    On PostgreSQL such a failure waits for another claim while somebody holds its session.

    Args:
        uow: the unit of work to write in.
        types: which types of jobs, 1 to 100, or ``None`` for all.
        worker_id: who is to do them.
        lease_seconds: how long they are held, more than 0; see :func:`heartbeat`.
        limit: how many at most, 1 to 1,000.

    Raises:
        InvalidInput: a value is refused.
    """
    now = uow.now()
    wanted = _checked_types(types)
    worker = require(Id, worker_id, field="worker_id")
    until = lease_end(now, lease_seconds)
    check_limit(limit)
    ended = catch_up(uow)
    jobs = _claim(uow.backend, None if wanted is None else len(wanted)).all(
        uow,
        **{f"type_{number}": each for number, each in enumerate(wanted or [])},
        limit=limit,
        limit_a_type=limit + max(limit * _OTHERS, _TAKEN_BY_OTHERS),
        now=now,
        worker=worker,
        token=new_id(),
        until=until,
    )
    return Claimed(sorted(jobs, key=lambda job: (-job.priority, job.scheduled_at, job.id)), ended)


@cache
def _claim(backend: str, types: int | None) -> HotRows[Job]:
    """Return the statement that takes jobs of so many types, or of all."""
    picked = _most_urgent(backend, types).cte("picked")
    now = sa.bindparam("now", type_=UtcDateTime())
    statement = (
        sa.update(Job)
        .where(col(Job.id).in_(sa.select(picked.c.id)))
        .values(
            status=JobStatus.PROCESSING,
            ready=sa.null(),
            attempts=col(Job.attempts) + 1,
            started_at=now,
            updated_at=now,
            worker_id=sa.bindparam("worker", type_=TEXT),
            lease_token=sa.bindparam("token", type_=TEXT),
            lease_expires_at=sa.bindparam("until", type_=UtcDateTime()),
            progress=sa.null(),
        )
        .returning(Job)
    )
    return HotRows(Job, statement)


def _checked_types(types: Sequence[str] | None) -> list[str] | None:
    if types is None:
        return None
    if isinstance(types, str) or not isinstance(types, Sequence):
        raise InvalidInput(f"types: must be a list of types, or None for all (got {shown(types)})", field="types")
    wanted = list(dict.fromkeys(require(Name, each, field="types") for each in types))
    if not 1 <= len(wanted) <= MAX_TYPES:
        raise InvalidInput(f"types: must be 1 to {MAX_TYPES} types, or None for all", field="types")
    return wanted


def _most_urgent(backend: str, types: int | None) -> Any:
    """Return the statement that picks the jobs to be taken, and locks them where there are others who claim.

    Of several types, each is read in the order of its part of the index, and no further than it takes: the parts are
    merged as they are read.
    """
    limit = sa.bindparam("limit", type_=sa.Integer())
    of_types = [col(Job.type) == sa.bindparam(f"type_{number}") for number in range(types or 0)]
    if len(of_types) < 2:
        best = sa.select(col(Job.id)).where(READY, *of_types).order_by(*_URGENCY).limit(limit)
        return best.with_for_update(key_share=True, skip_locked=True)
    columns = (col(Job.id), col(Job.priority), col(Job.scheduled_at))
    parts = [sa.select(*columns).where(READY, of_type) for of_type in of_types]
    merged_order: tuple[Any, ...] = (sa.desc("priority"), "scheduled_at", "id")
    if backend == "sqlite":
        return sa.union_all(*parts).order_by(*merged_order).limit(limit)
    # PostgreSQL locks no row of a UNION. Each is locked by itself as it comes out of the merge, until there are enough:
    # what was locked and not taken would be passed over by others. Without a limit of its own, each part would be read
    # and sorted whole.
    at_most = sa.bindparam("limit_a_type", type_=sa.Integer())
    limited = [part.order_by(*_URGENCY).limit(at_most).subquery() for part in parts]
    merged = sa.union_all(*[sa.select(part) for part in limited]).order_by(*merged_order).subquery("merged")
    one = sa.select(col(Job.id)).where(col(Job.id) == merged.c.id, READY)
    locked = one.with_for_update(key_share=True, skip_locked=True).lateral("locked")
    return sa.select(locked.c.id).select_from(merged.join(locked, sa.true())).limit(limit)


def heartbeat(uow: UnitOfWork, job: Job, *, lease_seconds: float = DEFAULT_LEASE_SECONDS) -> Job:
    """Hold a job for so much longer from now, and return it as it is then. A lease is never made shorter.

    Args:
        uow: the unit of work to write in.
        job: the job as :func:`claim` returned it.
        lease_seconds: how long from now, more than 0.

    Raises:
        LeaseLost: it is not held any more by who claimed it.
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed, or the seconds are refused.
    """
    until = lease_end(uow.now(), lease_seconds)
    renewed = write_held(uow, job, {LONGER: until})
    note_lease(uow, renewed.id, until if renewed.lease_expires_at is None else renewed.lease_expires_at)
    return renewed


def set_progress(uow: UnitOfWork, job: Job, done: int, total: int | None = None, note: str | None = None) -> Job:
    """Say how far a job has come, in place of what was said before; return it as it is then. The lease stays.

    Args:
        uow: the unit of work to write in.
        job: the job as :func:`claim` returned it.
        done: how much is done, a whole number from 0, in whatever is counted.
        total: of how much, where that is known.
        note: what is being done now, in free words.

    Raises:
        LeaseLost: it is not held any more by who claimed it.
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed, or a value is refused.
    """
    progress = {
        "done": require(Count, done, field="done"),
        "total": None if total is None else require(Count, total, field="total"),
        "note": None if note is None else require(Text, note, field="note"),
    }
    return write_held(uow, job, {"progress": progress})


def next_due(uow: ReadUnitOfWork, types: Sequence[str] | None = None) -> datetime | None:
    """Return when a claim will next have something to do: a job is ready, a job comes due, or a lease expires.

    ``None`` where there is neither. A time that has passed means that there is something now. What comes due and
    expires is of all types, as what a claim sees to is: three looks at indexes, however many jobs there are.

    Args:
        uow: the unit of work to read in.
        types: of which types jobs that are ready count, 1 to 100, or ``None`` for all.

    Raises:
        InvalidInput: the types are refused.
    """
    wanted = _checked_types(types)
    # Any of them will do, since its time has come. The order is that of an index, so that none is passed over.
    ready = sa.select(col(Job.scheduled_at)).where(READY)
    if wanted is not None:
        ready = ready.where(col(Job.type).in_(wanted)).order_by(col(Job.type))
    ready = ready.order_by(*_URGENCY)
    return min((at for at in soonest(uow, ready) if at is not None), default=None)
