"""The rows of memva's background jobs (seed 004) as ours: each read and checked by itself, its secrets struck out."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from vibeweaver_store.columns import Count
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.foreign_database import ForeignRow
from vibeweaver_store.importers.foreign_values import read_json
from vibeweaver_store.importers.nearest_words import read_word
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.json_values import freeze, shown
from vibeweaver_store.models import Job, JobStatus
from vibeweaver_store.models.job import DEFAULT_MAX_ATTEMPTS, FINAL_OF_JOBS
from vibeweaver_store.services.journal_lines import id_of
from vibeweaver_store.validation import require

COLUMNS: Final = (
    *("id", "type", "data?", "status", "priority?", "attempts?", "max_attempts?", "error?", "result?"),
    *("scheduled_at?", "started_at?", "completed_at?", "created_at", "updated_at?"),
)

_LOST: Final = "its worker was lost at the last attempt: memva had it at work when it was brought in"
_SESSION: Final = ("sessionId", "session_id", "memva_session_id")


def read_job(row: ForeignRow, redactor: Redactor, import_id: int, now: datetime) -> Job:
    """Return a job, of no session yet.

    One that was at work has lost its worker: it waits again, or has failed where that was its last attempt. What does
    not agree is made to: a job that was begun was attempted, one that was attempted was begun when it was last
    written to, none was attempted more often than it may be, and one that waits may be tried once more.

    Args:
        row: the row of memva.
        redactor: strikes secrets out of data, result and error.
        import_id: which import brings it.
        now: what has to be due by then is ready.

    Raises:
        InvalidInput: a value is refused.
    """
    created_at = row.time("created_at")
    updated_at = row.optional_time("updated_at") or created_at
    scheduled_at = row.optional_time("scheduled_at") or created_at
    started_at, completed_at = row.optional_time("started_at"), row.optional_time("completed_at")
    attempts = max(_count(row, "attempts", 0), int(started_at is not None))
    max_attempts = max(_count(row, "max_attempts", DEFAULT_MAX_ATTEMPTS), attempts, 1)
    status, error = read_word(JobStatus, row["status"], field="status")[0], redactor.strike(row["error"])
    if status is JobStatus.PROCESSING and attempts < max_attempts:
        status = JobStatus.PENDING
    elif status is JobStatus.PROCESSING:
        status = JobStatus.FAILED
        error = f"{_LOST}; before: {error}" if isinstance(error, str) and error.strip() else _LOST
    elif status is JobStatus.PENDING:
        max_attempts = max(max_attempts, attempts + 1)
    return Job.build(
        id=row["id"],
        type=row["type"],
        status=status,
        priority=0 if row["priority"] is None else row["priority"],
        ready=scheduled_at <= now if status is JobStatus.PENDING else None,
        attempts=attempts,
        max_attempts=max_attempts,
        scheduled_at=scheduled_at,
        started_at=(started_at or updated_at) if attempts else None,
        completed_at=(completed_at or updated_at) if status in FINAL_OF_JOBS else None,
        created_at=created_at,
        updated_at=updated_at,
        error=error,
        data=redactor.strike(_document(row["data"])),
        result=redactor.strike(_document(row["result"])) if status is JobStatus.COMPLETED else None,
        import_id=import_id,
    )


def other_word(row: ForeignRow, job: Job) -> str | None:
    """Return what is to be told of a status that none of ours is called; ``None`` where there is nothing to tell."""
    _, exact = read_word(JobStatus, row["status"], field="status")
    return None if exact else f"jobs.status {shown(row['status'])} is read as {job.status}"


def _count(row: ForeignRow, column: str, default: int) -> int:
    value = row[column]
    found: int = require(Count, default if value is None else value, field=column)
    return found


def _document(value: Any) -> Any:
    """Return what a column holds as JSON, where it is some that can be kept; else as text."""
    with suppress(InvalidInput, ValueError):
        return freeze(read_json(value, field="document"))
    with suppress(UnicodeDecodeError):
        return value.decode() if isinstance(value, bytes) else value
    return value


def session_named(row: ForeignRow) -> str | None:
    """Return the session that the data of a job names, whether it is here or not."""
    data = _document(row["data"])
    named = [data.get(name) for name in _SESSION] if isinstance(data, dict) else []
    return next((key for each in named if (key := id_of(each)) is not None), None)
