"""Removing jobs that were over long ago."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import parse_enum
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.job import FINAL_OF_JOBS, Job, JobStatus
from vibeweaver_store.paging import check_limit
from vibeweaver_store.unit_of_work import UnitOfWork


def prune(uow: UnitOfWork, older_than: Mapping[JobStatus | str, timedelta] | timedelta, *, limit: int = 1000) -> int:
    """Delete jobs that were over longer ago than this, with what is known of their attempts; return how many.

    Those that ended first go first, one status after the other. Called until it returns 0, in a unit of work each time,
    it removes all of them and holds nobody up for long. On PostgreSQL those that somebody is at are passed over.

    Args:
        uow: the unit of work to write in.
        older_than: how long ago; by status (``completed``, ``failed``, ``cancelled``), or one span for all three. A
            status that is not named is kept.
        limit: how many at most, 1 to 1,000.

    Raises:
        InvalidInput: a span is none, below 0, or longer than time itself; a status is none that is final; or the limit
            is refused.
    """
    remaining = check_limit(limit)
    for status, before in _ended_before(uow.now(), older_than).items():
        if remaining:
            remaining -= _delete(uow, status, before, remaining)
    return limit - remaining


def _ended_before(now: datetime, older_than: object) -> dict[JobStatus, datetime]:
    spans = older_than if isinstance(older_than, Mapping) else dict.fromkeys(FINAL_OF_JOBS, older_than)
    before: dict[JobStatus, datetime] = {}
    for name, span in spans.items():
        status = parse_enum(JobStatus, name, field="older_than")
        if status not in FINAL_OF_JOBS:
            raise InvalidInput(f"older_than: jobs that are {status} are not over", field="older_than")
        if not isinstance(span, timedelta) or span < timedelta():
            raise InvalidInput(f"older_than: must be a timedelta from 0 (got {shown(span)})", field="older_than")
        try:
            before[status] = now - span
        except OverflowError:
            raise InvalidInput(f"older_than: {span} is longer than time itself", field="older_than") from None
    return before


def _delete(uow: UnitOfWork, status: JobStatus, before: datetime, limit: int) -> int:
    oldest = (
        sa.select(col(Job.id))
        .where(col(Job.status) == status, col(Job.completed_at) < before)
        .order_by(col(Job.completed_at), col(Job.id))
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("oldest")
    )
    statement = sa.delete(Job).where(col(Job.id).in_(sa.select(oldest.c.id))).returning(col(Job.id))
    return len(uow.execute(statement, execution_options={"synchronize_session": False}).all())
