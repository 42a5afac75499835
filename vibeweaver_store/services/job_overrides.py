"""What people do to jobs, whoever holds them: cancel, try again, delete."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from vibeweaver_store.columns import Id, NotBlank, parse_enum
from vibeweaver_store.errors import AlreadyExists, IllegalTransition, InvalidInput, NotFound, StoreBusy
from vibeweaver_store.models.job import FINAL_OF_JOBS, JOB_TRANSITIONS, Job, JobStatus
from vibeweaver_store.paging import check_limit, ordered
from vibeweaver_store.services.job_lookup import by_age
from vibeweaver_store.services.job_rows import (
    JOBS_TOPIC,
    UNHELD,
    Ended,
    fire_finished,
    get,
    hold_session,
    record_attempt,
)
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

_TRIES: Final = 20
"""How often jobs are tried again whose unique keys are taken while they are."""

_AGAIN: Final = (JobStatus.FAILED, JobStatus.CANCELLED)
"""What may be tried again."""


def cancel(uow: UnitOfWork, job_id: str, *, reason: str | None = None) -> Ended:
    """Call a job off, and fire the rules of its session that wait for it, in the same unit of work.

    Where a worker is at it, nothing that the worker writes of it lands any more.

    Args:
        uow: the unit of work to write in.
        job_id: which job.
        reason: why, in free words; it becomes the job's ``error``.

    Raises:
        NotFound: there is no such job.
        IllegalTransition: it is over.
        InvalidInput: the id is no text, or the reason is blank.
    """
    told = None if reason is None else require(NotBlank, reason, field="reason")
    hold_session(uow, job_id, get(uow, job_id).session_id)
    job = lock(uow, job_id)
    if job.status in FINAL_OF_JOBS:
        raise IllegalTransition("job", job_id, job.status, JobStatus.CANCELLED, JOB_TRANSITIONS[job.status])
    if job.status is JobStatus.PROCESSING:
        record_attempt(uow, job, error="cancelled" if told is None else f"cancelled: {told}")
    changes = {"status": JobStatus.CANCELLED, "ready": None, "completed_at": uow.now(), "error": told, **UNHELD}
    cancelled = write(uow, job_id, changes)
    return Ended(cancelled, fire_finished(uow, job_id, cancelled.session_id))


def retry(uow: UnitOfWork, job_id: str) -> Job:
    """Have a job that failed or was cancelled be tried again, once more at least; return it as it is then.

    It is due now. Its ``attempts`` go on from where they were, and its ``error`` stays until it is completed.

    Args:
        uow: the unit of work to write in.
        job_id: which job.

    Raises:
        NotFound: there is no such job.
        IllegalTransition: it is neither failed nor cancelled.
        AlreadyExists: its unique key is taken meanwhile, by a job that is pending or processing.
        InvalidInput: the id is no text, or blank.
    """
    job = lock(uow, job_id)
    if job.status not in _AGAIN:
        # One that is processing becomes pending too, but by who holds it.
        others = [status for status in JOB_TRANSITIONS[job.status] if status is not JobStatus.PENDING]
        raise IllegalTransition("job", job_id, job.status, JobStatus.PENDING, others)
    taken = AlreadyExists("job", job.unique_key)
    if uow.exec(select(col(Job.id)).where(col(Job.id) == job_id, _key_is_taken())).first() is not None:
        raise taken
    uow.announce(JOBS_TOPIC)
    try:
        with uow.savepoint():
            return write(uow, job_id, _as_new(uow))
    except AlreadyExists as error:  # by somebody who enqueued at the same time
        raise taken from error


def retry_many(
    uow: UnitOfWork,
    *,
    status: JobStatus | str = JobStatus.FAILED,
    type: str | None = None,  # noqa: A002 - what a job's kind is called
    session_id: str | None = None,
    limit: int = 1000,
) -> int:
    """Have jobs be tried again as :func:`retry` does, the oldest first; return how many.

    One whose unique key is taken is passed over; of several with one key, the oldest is tried again. ``count`` says
    beforehand how many there are. Called until it returns 0, it goes through all of them,
    but for those that somebody else is writing to (on PostgreSQL).

    Args:
        uow: the unit of work to write in.
        status: ``failed`` or ``cancelled``.
        type: only jobs of this type.
        session_id: only jobs of this session.
        limit: how many at most, 1 to 1,000.

    Raises:
        InvalidInput: a value is refused.
        StoreBusy: their unique keys were taken as often as it was tried; transient.
    """
    wanted = parse_enum(JobStatus, status, field="status")
    if wanted not in _AGAIN:
        raise InvalidInput(f"status: must be failed or cancelled (got {wanted})", field="status")
    order, sieved = by_age(wanted, type, session_id, falling=False)
    free: Any = sa.select(col(Job.id), col(Job.type), col(Job.unique_key)).where(*sieved, sa.not_(_key_is_taken()))
    found = ordered(uow, free, order).limit(check_limit(limit)).with_for_update(key_share=True, skip_locked=True)
    for _ in range(_TRIES):
        rows = uow.execute(found).all()
        first = {(key, None) if unique is None else (kind, unique): key for key, kind, unique in reversed(rows)}
        if not first:
            return 0
        try:
            with uow.savepoint():
                statement = (
                    sa.update(Job).where(col(Job.id).in_(first.values())).values(**_as_new(uow), updated_at=uow.now())
                )
                uow.exec(statement, execution_options={"synchronize_session": False})
        except AlreadyExists:  # somebody enqueued one of the keys at the same time; it is passed over the next time
            continue
        uow.announce(JOBS_TOPIC)
        return len(first)
    raise StoreBusy("unique keys of these jobs are taken all the time; try again", transient=True)


def delete(uow: UnitOfWork, job_id: str) -> None:
    """Delete a job with what is known of its attempts; one that a worker is at is to be cancelled first.

    Raises:
        NotFound: there is no such job.
        IllegalTransition: it is being processed.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, job_id, field="job_id")
    unheld = sa.delete(Job).where(col(Job.id) == key, col(Job.lease_token).is_(None))
    if uow.exec(unheld, execution_options={"synchronize_session": False}).rowcount == 0:
        raise IllegalTransition("job", key, get(uow, key).status, "deleted", (JobStatus.CANCELLED,))


def lock(uow: UnitOfWork, job_id: str) -> Job:
    """Return a job that nobody else changes until the unit of work ends.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, job_id, field="job_id")
    job = uow.exec(select(Job).where(col(Job.id) == key).with_for_update(key_share=True)).one_or_none()
    if job is None:
        raise NotFound("job", job_id)
    return job


def write(uow: UnitOfWork, job_id: str, changes: dict[str, Any]) -> Job:
    """Write changes of a locked job, and return it as it is then."""
    statement = sa.update(Job).where(col(Job.id) == job_id).values(**changes, updated_at=uow.now()).returning(Job)
    written: Job = uow.execute(statement, execution_options={"synchronize_session": False}).scalar_one()
    return written


def _as_new(uow: UnitOfWork) -> dict[str, Any]:
    one_more = col(Job.attempts) + 1
    return {
        "status": JobStatus.PENDING,
        "ready": True,
        "scheduled_at": uow.now(),
        "completed_at": None,
        "max_attempts": sa.case((one_more > col(Job.max_attempts), one_more), else_=col(Job.max_attempts)),
    }


def _key_is_taken() -> sa.ColumnElement[bool]:
    """Return whether another job of a job's type has its unique key, and is not over."""
    holder = aliased(Job)
    return (
        sa.select(sa.literal(1))
        .where(
            col(holder.completed_at).is_(None),
            col(holder.type) == col(Job.type),
            col(holder.unique_key) == col(Job.unique_key),
            col(holder.id) != col(Job.id),
        )
        .exists()
    )
