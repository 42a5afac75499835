"""The tables of background jobs: work that is claimed under a lease, retried, and completed once (seed 004)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, TypeAlias

import sqlalchemy as sa
from pydantic import Field, Strict

from vibeweaver_store.columns import (
    INTEGER,
    TEXT,
    Count,
    EnumText,
    Flag,
    Id,
    Json,
    JsonDocument,
    JsonObject,
    Name,
    StrictBool,
    Text,
    Utc,
    UtcDateTime,
    new_id,
    one_of,
)
from vibeweaver_store.models.base import (
    STRICT,
    Base,
    belongs_to,
    column,
    explicit,
    flag_index,
    made_now,
    partial_index,
    with_default,
)
from vibeweaver_store.models.imports import brought_by_import, import_reference

JobPriority: TypeAlias = Annotated[int, Strict(), Field(ge=-(2**31), le=2**31 - 1)]
"""How urgent a job is: the higher number goes first (seed 004). The priorities of rules count the other way."""

Attempts: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=2**31 - 1)]
"""How often something may be tried: a whole number from 1."""

DEFAULT_MAX_ATTEMPTS: Final = 3


class JobStatus(enum.StrEnum):
    """Where a job stands. A new one is ``pending``.

    - ``pending``: it waits until ``scheduled_at``, and then for a worker. Enqueuing puts it here; so do a failure that
      is to be tried again, a worker that hands it back, a lease that expired, and ``retry``. A claim takes it out; so
      does ``set_status``, for programs that run jobs without claiming them.
    - ``processing``: a worker holds it under a lease. It goes out by ``complete``, ``fail``, ``hand_back`` or
      ``cancel``; where its lease expires, the next claim of anybody takes it out.
    - ``completed``: its work is done, once.
    - ``failed``: its last attempt failed, or its worker died amid it. ``retry`` makes it pending.
    - ``cancelled``: somebody called it off. ``retry`` makes it pending.

    The last three are final: a job has a ``completed_at`` while it is in one of them, and only then; ``prune`` removes
    it some time after that. The word ``running`` of seed 004's programs is read as ``processing``.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def _missing_(cls, value: object) -> JobStatus | None:
        return {"running": cls.PROCESSING}.get(value.lower()) if isinstance(value, str) else None


JOB_TRANSITIONS: Final[Mapping[JobStatus, tuple[JobStatus, ...]]] = {
    JobStatus.PENDING: (JobStatus.PROCESSING, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED),
    JobStatus.PROCESSING: (JobStatus.PENDING, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED),
    JobStatus.COMPLETED: (),
    JobStatus.FAILED: (JobStatus.PENDING,),
    JobStatus.CANCELLED: (JobStatus.PENDING,),
}
"""What a job may become, by what it is."""

FINAL_OF_JOBS: Final = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)

UNIQUE_KEY_IS_TAKEN: Final = "completed_at IS NULL AND unique_key IS NOT NULL"
"""While a job is in such a state, no other of its type may have its unique key."""


class Job(Base, table=True):
    """A piece of background work.

    ``ready`` is, of a pending job alone, whether its time is known to have come: claims go by it, and set it as time
    passes. ``attempts`` counts how often it was claimed; ``started_at`` and ``worker_id`` are of the last time.
    ``lease_token`` says who holds it now, until ``lease_expires_at``. ``progress`` is an object of ``done``, ``total``
    and ``note``. ``unique_key`` is taken, among jobs of the type, while the job is pending or processing.
    """

    __tablename__: ClassVar[str] = "jobs"
    __table_args__ = (
        one_of("status", JobStatus),
        sa.CheckConstraint("id <> ''", name="id"),
        sa.CheckConstraint("type <> ''", name="type"),
        sa.CheckConstraint("unique_key <> ''", name="unique_key"),
        sa.CheckConstraint("attempts >= 0 AND max_attempts > 0 AND attempts <= max_attempts", name="attempts"),
        # Else a claim, which counts an attempt, would break the rule above: all claims would fail by it.
        sa.CheckConstraint("status <> 'pending' OR attempts < max_attempts", name="pending_has_attempts_left"),
        # A job has an end if and only if it is final.
        sa.CheckConstraint(
            f"(status IN ({', '.join(repr(str(status)) for status in FINAL_OF_JOBS)})) = (completed_at IS NOT NULL)",
            name="final_has_time",
        ),
        # Somebody holds it if and only if it is being processed, and for a time that is known.
        sa.CheckConstraint("(status = 'processing') = (lease_token IS NOT NULL)", name="processing_has_lease"),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name="lease_has_end"),
        sa.CheckConstraint("(attempts = 0) = (started_at IS NULL)", name="attempted_has_start"),
        sa.CheckConstraint("(status = 'pending') = (ready IS NOT NULL)", name="pending_is_ready_or_not"),
        sa.CheckConstraint("ready IN (0, 1)", name="ready").ddl_if(dialect="sqlite"),
        sa.CheckConstraint("result IS NULL OR status = 'completed'", name="result"),
        # enqueue(unique_key=…)
        partial_index("ix_jobs_active_unique_key", "type", "unique_key", where=UNIQUE_KEY_IS_TAKEN, unique=True),
        # claim: what has come due meanwhile
        flag_index("ix_jobs_not_ready", "scheduled_at", "id", flag="ready", is_set=False),
        # claim: leases that have expired
        partial_index("ix_jobs_by_lease", "lease_expires_at", "id", where="lease_expires_at IS NOT NULL"),
        # page
        sa.Index("ix_jobs_by_created_at", "created_at", "id"),
        sa.Index("ix_jobs_by_status", "status", "created_at", "id"),
        sa.Index("ix_jobs_by_type", "type", "created_at", "id"),
        # page of both, and stats, off the index alone
        sa.Index("ix_jobs_by_type_and_status", "type", "status", "created_at", "id"),
        partial_index("ix_jobs_by_session", "session_id", "created_at", "id", where="session_id IS NOT NULL"),
        # active_for_session
        partial_index("ix_jobs_active_by_session", "session_id", "created_at", "id", where="completed_at IS NULL"),
        # prune
        partial_index("ix_jobs_final", "status", "completed_at", "id", where="completed_at IS NOT NULL"),
        brought_by_import("jobs"),
        STRICT,
    )

    id: Id = column(TEXT, primary_key=True, default_factory=new_id)
    type: Name = column(TEXT)
    status: JobStatus = with_default(EnumText(JobStatus), JobStatus.PENDING)
    priority: JobPriority = with_default(INTEGER, 0)
    ready: StrictBool | None = column(explicit(Flag()), default=None, sa_column_kwargs={"server_default": sa.true()})
    attempts: Count = with_default(INTEGER, 0)
    max_attempts: Attempts = with_default(INTEGER, DEFAULT_MAX_ATTEMPTS)
    scheduled_at: Utc = made_now()
    started_at: Utc | None = column(UtcDateTime, default=None)
    completed_at: Utc | None = column(UtcDateTime, default=None)
    created_at: Utc = made_now()
    updated_at: Utc = made_now()
    session_id: Id | None = belongs_to("sessions.id", TEXT, default=None)
    unique_key: Id | None = column(TEXT, default=None)
    worker_id: Id | None = column(TEXT, default=None)
    lease_token: Text | None = column(TEXT, default=None)
    lease_expires_at: Utc | None = column(UtcDateTime, default=None)
    progress: JsonObject | None = column(Json, default=None)
    error: Text | None = column(TEXT, default=None)
    data: JsonDocument | None = column(Json, default=None)
    result: JsonDocument | None = column(Json, default=None)
    import_id: Count | None = import_reference()


def _index_of_ready(name: str, *leading: str) -> None:
    """Add an index of claim's order: the most urgent job first, then the one that has been due the longest.

    Of the table's columns: Alembic cannot tell which column a text with DESC is of.
    """
    columns = _JOBS.c
    flag_index(
        name,
        *[columns[each] for each in leading],
        *(columns.priority.desc(), columns.scheduled_at, columns.id),
        flag="ready",
        is_set=True,
    )


_JOBS: Final = Base.metadata.tables["jobs"]
_index_of_ready("ix_jobs_ready")
_index_of_ready("ix_jobs_ready_by_type", "type")


class JobAttempt(Base, table=True):
    """One attempt at a job that has ended. The one that is under way stands in the job itself.

    ``error`` is why it did not complete the job: what went wrong, or that it was handed back or cancelled, or that its
    lease expired; nothing where it did.
    """

    __tablename__: ClassVar[str] = "job_attempts"
    __table_args__ = (
        sa.CheckConstraint("attempt > 0", name="attempt"),
        sa.CheckConstraint("duration_ms >= 0", name="duration_ms"),
        # stats
        sa.Index("ix_job_attempts_by_ended_at", "ended_at", "job_id", "attempt"),
        STRICT,
    )

    job_id: Id = belongs_to("jobs.id", TEXT, primary_key=True)
    attempt: Attempts = column(INTEGER, primary_key=True)
    worker_id: Id | None = column(TEXT, default=None)
    started_at: Utc = column(UtcDateTime)
    ended_at: Utc = column(UtcDateTime)
    duration_ms: Count = column(INTEGER)
    error: Text | None = column(TEXT, default=None)
