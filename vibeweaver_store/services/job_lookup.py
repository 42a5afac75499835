"""Looking jobs up: listed, counted, with the attempts at them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name, parse_enum
from vibeweaver_store.models.job import Job, JobAttempt, JobStatus
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require


def page(
    uow: ReadUnitOfWork,
    *,
    status: JobStatus | str | None = None,
    type: str | None = None,  # noqa: A002 - what a job's kind is called
    session_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Job]:
    """Return jobs, the newest first; of a status, a type and a session where given.

    Of a session, it walks the jobs of that session, and passes over those of other types and statuses.

    Raises:
        InvalidInput: a filter is of a wrong type, the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order, sieved = by_age(status, type, session_id, falling=True)
    return fetch(uow, select(Job).where(*sieved), order, limit=limit, cursor=cursor)


def active_for_session(
    uow: ReadUnitOfWork, session_id: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[Job]:
    """Return the jobs of a session that are pending or processing, the oldest first. One that is not there has none.

    Raises:
        InvalidInput: the id is no text, the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    key = require(Id, session_id, field="session_id")
    order = Order(["active jobs", key], [col(Job.created_at), col(Job.id)], within=[(col(Job.session_id), key)])
    return fetch(uow, select(Job).where(col(Job.completed_at).is_(None)), order, limit=limit, cursor=cursor)


def count(
    uow: ReadUnitOfWork,
    *,
    status: JobStatus | str | None = None,
    type: str | None = None,  # noqa: A002 - what a job's kind is called
    session_id: str | None = None,
) -> int:
    """Return how many jobs there are, of a status, a type and a session where given.

    Raises:
        InvalidInput: a filter is of a wrong type.
    """
    fixed = [column == value for column, value in _fixed(status, type, session_id)]
    return uow.exec(select(sa.func.count()).select_from(Job).where(*fixed)).one()


def attempts(uow: ReadUnitOfWork, job_id: str) -> list[JobAttempt]:
    """Return the attempts at a job that have ended, in their order. One that is under way stands in the job itself.

    A job that is not there has none.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, job_id, field="job_id")
    return list(uow.exec(select(JobAttempt).where(col(JobAttempt.job_id) == key).order_by(col(JobAttempt.attempt))))


def by_age(
    status: JobStatus | str | None, kind: str | None, session_id: str | None, *, falling: bool
) -> tuple[Order, list[sa.ColumnElement[bool]]]:
    """Return the order of jobs by age of a status, a type and a session, where given, and what sieves them besides.

    Raises:
        InvalidInput: one of them is of a wrong type.
    """
    fixed = _fixed(status, kind, session_id)
    within = fixed if session_id is None else fixed[:1]
    listing = ["jobs", falling, *[part for column, value in fixed for part in (column.key, value)]]
    order = Order(listing, [col(Job.created_at), col(Job.id)], falling=falling, within=within)
    return order, [column == value for column, value in fixed[len(within) :]]


def _fixed(status: JobStatus | str | None, kind: str | None, session_id: str | None) -> list[tuple[Any, Any]]:
    """Return the columns that are fixed, each with its value, as they lead an index: session, or type and status."""
    fixed: list[tuple[Any, Any]] = []
    if session_id is not None:
        fixed.append((col(Job.session_id), require(Id, session_id, field="session_id")))
    if kind is not None:
        fixed.append((col(Job.type), require(Name, kind, field="type")))
    if status is not None:
        fixed.append((col(Job.status), parse_enum(JobStatus, status, field="status")))
    return fixed
