"""Putting jobs into the queue, in the unit of work of what caused them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Utc
from vibeweaver_store.errors import AlreadyExists, InvalidInput, NotFound, StoreBusy
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.job import DEFAULT_MAX_ATTEMPTS, Job
from vibeweaver_store.models.session import Session
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.services.job_rows import JOBS_TOPIC, later
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

_BATCH: Final = 1000
_TYPES_A_STATEMENT: Final = 100
_TRIES: Final = 20
"""How often a key is tried that is taken when it is written, and free when its holder is looked for."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be put into the queue, for :func:`enqueue_many`; what each value means is said there at ``enqueue``."""

    type: str
    data: Any = None
    priority: int = 0
    scheduled_at: datetime | None = None
    delay: timedelta | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    unique_key: str | None = None
    session_id: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job in the queue. ``new`` is false where it was there already, under the same unique key."""

    job: Job
    new: bool


def enqueue(
    uow: UnitOfWork,
    type: str,  # noqa: A002 - what a job's kind is called, in the table and by seed 004
    data: Any = None,
    *,
    priority: int = 0,
    scheduled_at: datetime | None = None,
    delay: timedelta | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    unique_key: str | None = None,
    session_id: str | None = None,
    job_id: str | None = None,
) -> Enqueued:
    """Put a job into the queue; it is there once the unit of work is committed, with whatever else is written in it.

    Args:
        uow: the unit of work to write in.
        type: what is to be done; claims go by it.
        data: what it is to be done with, any JSON value.
        priority: the higher number goes first; of equal ones, the job that has been due the longest.
        scheduled_at: when it is to be done at the earliest, now by default.
        delay: instead of ``scheduled_at``, how long from now.
        max_attempts: how often it may be tried, from 1.
        unique_key: while a job of the type with this key is pending or processing, there is no other: it is returned.
        session_id: the session that it belongs to, whose rules fire when it is over, and with which it is deleted.
        job_id: an id of your own; a UUIDv7 by default.

    Raises:
        InvalidInput: a value is refused, or both ``scheduled_at`` and ``delay`` are given.
        NotFound: there is no such session.
        AlreadyExists: the id is taken.
        StoreBusy: the unique key changed hands as often as it was tried; transient.
    """
    new = NewJob(type, data, priority, scheduled_at, delay, max_attempts, unique_key, session_id, job_id)
    (enqueued,) = _enqueue(uow, [new])
    return enqueued


def enqueue_many(uow: UnitOfWork, jobs: Iterable[NewJob]) -> list[Enqueued]:
    """Put jobs into the queue as :func:`enqueue` does, 1,000 at a time; return them in the order given.

    Of several with one unique key, the first is new, and the others are that one.

    Raises:
        InvalidInput: a job is refused; what was enqueued before it goes with the unit of work.
        NotFound: there is no such session; likewise.
        AlreadyExists: an id is taken, or comes twice; likewise.
        StoreBusy: a unique key changed hands as often as it was tried; transient.
    """
    remaining = expect_many(NewJob, jobs, field="jobs")
    enqueued: list[Enqueued] = []
    while batch := list(islice(remaining, _BATCH)):
        enqueued += _enqueue(uow, batch)
    return enqueued


def _enqueue(uow: UnitOfWork, batch: Sequence[NewJob]) -> list[Enqueued]:
    rows = [_checked(uow, new) for new in batch]
    own_ids = [new.job_id for new in batch if new.job_id is not None]
    _refuse_twice(own_ids)
    _require_sessions(uow, {row["session_id"] for row in rows} - {None})
    if own_ids or any(new.unique_key is not None for new in batch):
        # Where an id of one's own is taken, none of them is left behind for who goes on with the unit of work.
        with uow.savepoint() if own_ids else nullcontext():
            enqueued = _settle(uow, [Job(**row) for row in rows])
    else:
        enqueued = [Enqueued(job, new=True) for job in _JOBS.insert_all(uow, rows)]
    if any(each.new for each in enqueued):
        uow.announce(JOBS_TOPIC)
    return enqueued


_JOBS: Final = HotInsert(Job)


def _checked(uow: ReadUnitOfWork, new: NewJob) -> dict[str, Any]:
    now = uow.now()
    due = _due(now, new)
    own_id = {} if new.job_id is None else {"id": require(Id, new.job_id, field="job_id")}
    values = {
        "type": new.type,
        "data": new.data,
        "priority": new.priority,
        "max_attempts": new.max_attempts,
        "unique_key": new.unique_key,
        "session_id": new.session_id,
    }
    return _JOBS.checked(values, **own_id, scheduled_at=due, ready=due <= now, created_at=now, updated_at=now)


def _due(now: datetime, new: NewJob) -> datetime:
    if new.delay is None:
        due: datetime = now if new.scheduled_at is None else require(Utc, new.scheduled_at, field="scheduled_at")
        return due
    if new.scheduled_at is not None:
        raise InvalidInput("delay: give either scheduled_at or delay", field="delay")
    if not isinstance(new.delay, timedelta) or new.delay < timedelta():
        raise InvalidInput(f"delay: must be a timedelta from 0 (got {shown(new.delay)})", field="delay")
    return later(now, new.delay, field="delay")


def _refuse_twice(ids: Sequence[str]) -> None:
    twice = [key for key, times in Counter(ids).items() if times > 1]
    if twice:
        raise AlreadyExists("job", twice[0])


def _require_sessions(uow: UnitOfWork, wanted: set[str]) -> None:
    if not wanted:
        return
    # KEY SHARE, in one order: none is deleted before the jobs are written, which would undo the unit of work.
    statement = select(col(Session.id)).where(col(Session.id).in_(wanted)).order_by(col(Session.id))
    there = set(uow.exec(statement.with_for_update(read=True, key_share=True)))
    if missing := wanted - there:
        raise NotFound("session", min(missing))


def _settle(uow: UnitOfWork, rows: Sequence[Job]) -> list[Enqueued]:
    """Write the rows whose keys are free, and find the jobs that have the others; in the order of the rows."""
    settled: dict[int, Enqueued] = {}
    for _ in range(_TRIES):
        remaining = [row for number, row in enumerate(rows) if number not in settled]
        written = _write(uow, remaining)
        active = _active(uow, {_key(row) for row in remaining if row.id not in written} - {None})
        for number, row in enumerate(rows):
            if number not in settled and row.id in written:
                settled[number] = Enqueued(row, new=True)
            elif number not in settled and (found := active.get(_key(row))) is not None:
                settled[number] = Enqueued(found, new=False)
        if len(settled) == len(rows):
            return [settled[number] for number in range(len(rows))]
        _refuse_taken_ids(uow, [row.id for number, row in enumerate(rows) if number not in settled])
        # What had the key was active while the row was written, and has ended since: it is free now.
    raise StoreBusy("unique keys of jobs change hands all the time; try again", transient=True)


def _key(row: Job) -> tuple[str, str] | None:
    return None if row.unique_key is None else (row.type, row.unique_key)


def _write(uow: UnitOfWork, rows: Sequence[Job]) -> set[str]:
    """Write what is not in conflict with anything, and return its ids.

    Keys in one order: of two that enqueue the same ones at once, the second waits for the first, and neither for both.
    """
    values = [row.model_dump() for row in sorted(rows, key=lambda row: (_key(row) or ("", ""), row.id))]
    statement = uow.upsert(Job).on_conflict_do_nothing().returning(col(Job.id))
    return set(uow.execute(statement, values, execution_options={"render_nulls": True}).scalars())


def _active(uow: ReadUnitOfWork, keys: set[Any]) -> dict[tuple[str, str] | None, Job]:
    of_types: dict[str, list[str]] = {}
    for kind, key in keys:
        of_types.setdefault(kind, []).append(key)
    remaining = iter(of_types.items())
    found: list[Job] = []
    while chunk := list(islice(remaining, _TYPES_A_STATEMENT)):
        # Each part says again what the index is of: SQLite takes it for none of them else.
        active = col(Job.completed_at).is_(None)
        parts = [sa.and_(active, col(Job.type) == kind, col(Job.unique_key).in_(each)) for kind, each in chunk]
        found += uow.exec(select(Job).where(sa.or_(*parts)))
    return {_key(job): job for job in found}


def _refuse_taken_ids(uow: ReadUnitOfWork, ids: Sequence[str]) -> None:
    taken = uow.exec(select(col(Job.id)).where(col(Job.id).in_(ids)).order_by(col(Job.id)).limit(1)).first()
    if taken is not None:
        raise AlreadyExists("job", taken)
