"""Setting the status of a job that nobody holds: for programs that run jobs without claiming them (seed 004)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from vibeweaver_store.columns import Id, JsonDocument, NotBlank, Utc, parse_enum
from vibeweaver_store.errors import AlreadyClaimed, IllegalTransition, InvalidInput
from vibeweaver_store.models.job import JOB_TRANSITIONS, Job, JobStatus
from vibeweaver_store.services.job_expiry import EXPIRED
from vibeweaver_store.services.job_overrides import cancel, lock, retry, write
from vibeweaver_store.services.job_rows import (
    JOBS_TOPIC,
    UNHELD,
    Ended,
    attempt_of,
    fire_finished,
    get,
    hold_session,
    note_ended,
    record_attempts,
)
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

_OUTCOMES: Final = (JobStatus.COMPLETED, JobStatus.FAILED)
"""What comes of an attempt."""


def set_status(
    uow: UnitOfWork,
    job_id: str,
    status: JobStatus | str,
    *,
    result: Any = None,
    error: str | None = None,
    started_at: datetime | None = None,
    worker_id: str | None = None,
) -> Ended:
    """Set the status of a job that nobody holds; seed 004's ``updateJobStatus``.

    ``completed`` and ``failed`` end a pending job at once. That counts as an attempt and is recorded as one, and the
    rules of the job's session that wait for it fire in the same unit of work. ``cancelled`` cancels a pending job, and
    ``pending`` requeues a failed or cancelled one. A job that has this status already is returned as it is.

    A job is ``processing`` only under a lease: :func:`claim` puts it there. A job whose lease has expired is nobody's;
    the attempt that was lost with it is recorded too.

    Args:
        uow: the unit of work to write in.
        job_id: the job's id.
        status: ``completed``, ``failed``, ``cancelled`` or ``pending``.
        result: what came of a completed job, any JSON value.
        error: why it failed or was cancelled; a failed job needs one.
        started_at: when the work began, of a job that is completed or failed; now by default.
        worker_id: who did the work, for the record.

    Raises:
        NotFound: there is no such job.
        AlreadyClaimed: somebody holds the job under a lease; nothing was written.
        IllegalTransition: the job cannot move there; it is over already, say.
        AlreadyExists: the unique key of a job to requeue is taken.
        InvalidInput: the status is ``processing``, or a value is refused or does not go with the status.
    """
    wanted = parse_enum(JobStatus, status, field="status")
    outcome = _checked(wanted, result, error, started_at, worker_id)
    hold_session(uow, job_id, get(uow, job_id).session_id)
    job = lock(uow, job_id)
    _refuse_held(uow, job)
    if job.status is wanted and not outcome:
        return Ended(job, [])
    if wanted not in JOB_TRANSITIONS[job.status]:
        raise IllegalTransition("job", job_id, job.status, wanted, JOB_TRANSITIONS[job.status])
    if wanted is JobStatus.CANCELLED:
        return cancel(uow, job_id, reason=error)
    if wanted is JobStatus.PENDING:
        return Ended(_requeue(uow, job), [])
    ended = _end(uow, job, wanted, outcome)
    return note_ended(uow, Ended(ended, fire_finished(uow, job_id, ended.session_id)))


def _checked(
    status: JobStatus, result: Any, error: str | None, started_at: datetime | None, worker_id: str | None
) -> dict[str, Any]:
    """Return what is given of how an attempt went; nothing where nothing is."""
    if status is JobStatus.PROCESSING:
        raise InvalidInput("status: a job is processing only under a lease; claim it", field="status")
    if result is not None and status is not JobStatus.COMPLETED:
        raise InvalidInput(f"result: a job that is {status} has none", field="result")
    if error is not None and status not in {JobStatus.FAILED, JobStatus.CANCELLED}:
        raise InvalidInput(f"error: a job that is {status} has none", field="error")
    if error is None and status is JobStatus.FAILED:
        raise InvalidInput("error: say why the job failed", field="error")
    given = {"result": result, "error": error, "started_at": started_at, "worker_id": worker_id}
    extra = next((name for name in ("started_at", "worker_id") if given[name] is not None), None)
    if extra is not None and status not in _OUTCOMES:
        raise InvalidInput(f"{extra}: it is of work that was done, and goes with completed or failed", field=extra)
    kinds: dict[str, Any] = {"result": JsonDocument, "error": NotBlank, "started_at": Utc, "worker_id": Id}
    return {name: require(kinds[name], value, field=name) for name, value in given.items() if value is not None}


def _refuse_held(uow: UnitOfWork, job: Job) -> None:
    if job.lease_expires_at is not None and job.lease_expires_at > uow.present():
        raise AlreadyClaimed("job", job.id, job.worker_id or "", job.lease_expires_at)


def _requeue(uow: UnitOfWork, job: Job) -> Job:
    if job.lease_expires_at is None:
        return retry(uow, job.id)
    record_attempts(uow, [attempt_of(job, job.lease_expires_at, EXPIRED)])
    attempts_left = max(job.max_attempts, job.attempts + 1)
    changes = {"status": JobStatus.PENDING, "ready": True, "max_attempts": attempts_left, "error": EXPIRED, **UNHELD}
    uow.announce(JOBS_TOPIC)
    return write(uow, job.id, changes)


def _end(uow: UnitOfWork, job: Job, status: JobStatus, outcome: dict[str, Any]) -> Job:
    """End a job by one more attempt, behind the one whose lease has expired, where there was one."""
    now, error = uow.now(), outcome.get("error")
    lost = [] if job.lease_expires_at is None else [attempt_of(job, job.lease_expires_at, EXPIRED)]
    attempts = job.attempts + 1
    changes = {
        "status": status,
        "ready": None,
        "attempts": attempts,
        "max_attempts": max(job.max_attempts, attempts),
        "started_at": outcome.get("started_at", now),
        "completed_at": now,
        "worker_id": outcome.get("worker_id"),
        "result": outcome.get("result"),
        "error": error,
        **UNHELD,
    }
    ended = write(uow, job.id, changes)
    record_attempts(uow, [*lost, attempt_of(ended, now, error)])
    return ended
