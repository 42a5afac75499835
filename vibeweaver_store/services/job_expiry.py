"""What time brings by itself: jobs come due, and leases expire. Claims see to it, so that nobody runs a reaper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.hot import Hot
from vibeweaver_store.models.job import Job, JobStatus
from vibeweaver_store.models.session import Session
from vibeweaver_store.services.job_rows import (
    HELD,
    NOT_READY,
    UNHELD,
    Ended,
    attempt_of,
    fire_finished,
    record_attempts,
)
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

_AT_ONCE: Final = 1000
"""How many jobs one call makes ready, and how many leases it sees to."""

EXPIRED: Final = "the lease expired"
_EXPIRED_LAST: Final = "the lease expired on the last attempt"

_SPENT: Final = col(Job.attempts) >= col(Job.max_attempts)


def soonest(uow: ReadUnitOfWork, *others: sa.Select[Any]) -> Sequence[datetime | None]:
    """Return when the next job comes due that is not ready, when the next lease expires, and the first of others."""
    return uow.execute(_firsts(*_DUE_AND_EXPIRING, *others)).one()


def _firsts(*each: sa.Select[Any]) -> sa.Select[Any]:
    return sa.select(*[one.limit(sa.literal_column("1")).scalar_subquery() for one in each])


_DUE_AND_EXPIRING: Final = (
    sa.select(col(Job.scheduled_at)).where(NOT_READY).order_by(col(Job.scheduled_at), col(Job.id)),
    sa.select(col(Job.lease_expires_at)).where(HELD).order_by(col(Job.lease_expires_at), col(Job.id)),
)
_SOONEST: Final = Hot(_firsts(*_DUE_AND_EXPIRING))


def catch_up(uow: UnitOfWork) -> list[Ended]:
    """Make ready what has come due, and see to leases that have expired; return the jobs that have failed so.

    Where there is nothing to do, it is one statement.
    """
    now = uow.now()
    ((due, expires),) = _SOONEST.all(uow)
    ended = _take_back(uow) if expires is not None and expires <= now else []
    if due is not None and due <= now:
        _make_ready(uow)
    return ended


def _make_ready(uow: UnitOfWork) -> None:
    due = (
        select(col(Job.id))
        .where(NOT_READY, col(Job.scheduled_at) <= uow.now())
        .order_by(col(Job.scheduled_at), col(Job.id))
        .limit(_AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
    )
    _write(uow, uow.exec(due).all(), {"ready": True})


def _take_back(uow: UnitOfWork) -> list[Ended]:
    """Take jobs back from whoever let the lease expire: to be tried again, or failed where no attempt is left.

    Sessions come before their jobs, as everywhere. One that somebody holds is passed over, with its jobs that are to
    fail, until the next claim: who claims waits for nobody.
    """
    seen = uow.execute(
        sa.select(col(Job.id), col(Job.session_id), _SPENT)
        .where(HELD, col(Job.lease_expires_at) <= uow.now())
        .order_by(col(Job.lease_expires_at), col(Job.id))
        .limit(_AT_ONCE)
    ).all()
    to_hold = {session_id for _, session_id, spent in seen if spent and session_id is not None}
    free = {None, *_hold(uow, to_hold)}
    expired = _lock_expired(uow, [key for key, session_id, spent in seen if not spent or session_id in free])
    # It was seen without a lock: a job may have been claimed and have expired once more, and its session be held by us
    # or not.
    spent = [job for job in expired if job.spent and job.session_id in free]
    again = [job for job in expired if not job.spent]
    now = uow.now()
    _end(uow, again, {"status": JobStatus.PENDING, "ready": True, "error": EXPIRED, "updated_at": now})
    over = {"status": JobStatus.FAILED, "completed_at": now, "error": _EXPIRED_LAST, "updated_at": now}
    return [Ended(job, fire_finished(uow, job.id, job.session_id)) for job in _end(uow, spent, over)]


def _hold(uow: UnitOfWork, session_ids: set[str]) -> set[str]:
    if not session_ids:
        return set()
    free = select(col(Session.id)).where(col(Session.id).in_(session_ids)).order_by(col(Session.id))
    return set(uow.exec(free.with_for_update(key_share=True, skip_locked=True)))


def _lock_expired(uow: UnitOfWork, ids: Sequence[str]) -> Sequence[Any]:
    """Lock those of some jobs whose lease has expired still, and return what an attempt's row is made of."""
    if not ids:
        return []
    columns = [
        *(col(Job.id), col(Job.session_id), col(Job.attempts), col(Job.worker_id), col(Job.started_at)),
        *(col(Job.lease_expires_at), _SPENT.label("spent")),
    ]
    statement = (
        sa.select(*columns)
        .where(col(Job.id).in_(ids), HELD, col(Job.lease_expires_at) <= uow.now())
        .with_for_update(key_share=True, skip_locked=True)
    )
    return sorted(uow.execute(statement), key=lambda job: (job.lease_expires_at, job.id))


def _end(uow: UnitOfWork, expired: Sequence[Any], changes: dict[str, Any]) -> list[Job]:
    """End attempts whose lease expired, and return their jobs as they are then, in the order given."""
    if not expired:
        return []
    written = {job.id: job for job in _write(uow, [job.id for job in expired], {**UNHELD, **changes})}
    # The attempt ended when its lease did, whenever that is found out.
    record_attempts(uow, [attempt_of(job, job.lease_expires_at, changes["error"]) for job in expired])
    return [written[job.id] for job in expired]


def _write(uow: UnitOfWork, ids: Sequence[str], changes: dict[str, Any]) -> Sequence[Job]:
    statement = sa.update(Job).where(col(Job.id).in_(ids)).values(**changes).returning(Job)
    return uow.execute(statement, execution_options={"synchronize_session": False}).scalars().all()
