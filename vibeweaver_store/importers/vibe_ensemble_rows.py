"""The rows of a vibe-ensemble database (seed 003) as ours: each read and checked by itself, its secrets struck out."""

from __future__ import annotations

from typing import Any

from vibeweaver_store.columns import parse_enum
from vibeweaver_store.importers.foreign_database import ForeignRow
from vibeweaver_store.importers.known_rows import Mark, mark
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.models import (
    Comment,
    CoordinationEvent,
    CoordinationEventType,
    EnsembleWorker,
    Project,
    Ticket,
    WorkerStatus,
    WorkerType,
)
from vibeweaver_store.models.ensemble import ExecutionPlan, next_stage_of
from vibeweaver_store.validation import require


def read_project(row: ForeignRow, redactor: Redactor, import_id: int) -> Project:
    """Return a project.

    Raises:
        InvalidInput: a value is refused.
    """
    return Project.build(
        repository_name=row["repository_name"],
        path=redactor.strike(row["path"]),
        short_description=redactor.strike(row["short_description"]),
        created_at=row.time("created_at"),
        updated_at=row.time("updated_at"),
        import_id=import_id,
    )


def read_worker_type(row: ForeignRow, redactor: Redactor, import_id: int) -> WorkerType:
    """Return a worker type.

    Raises:
        InvalidInput: a value is refused.
    """
    return WorkerType.build(
        project_id=row["project_id"],
        worker_type=row["worker_type"],
        short_description=redactor.strike(row["short_description"]),
        system_prompt=redactor.strike(row["system_prompt"]),
        created_at=row.time("created_at"),
        updated_at=row.time("updated_at"),
        import_id=import_id,
    )


def read_worker(row: ForeignRow, redactor: Redactor, import_id: int) -> EnsembleWorker:
    """Return a worker as it was last heard of: one that lives no more is found by ``workers.stale``.

    Raises:
        InvalidInput: a value is refused.
    """
    return EnsembleWorker.build(
        worker_id=row["worker_id"],
        project_id=row["project_id"],
        worker_type=row["worker_type"],
        status=parse_enum(WorkerStatus, row["status"], field="status"),
        pid=row["pid"],
        queue_name=redactor.strike(row["queue_name"]),
        started_at=row.time("started_at"),
        last_activity=row.time("last_activity"),
        import_id=import_id,
    )


def read_ticket(row: ForeignRow, redactor: Redactor, import_id: int) -> Ticket:
    """Return a ticket, whose plan may name worker types that are not there.

    Raises:
        InvalidInput: a value is refused: the plan, say, or a last stage that is not of the plan.
    """
    plan: list[str] = require(ExecutionPlan, row.json("execution_plan"), field="execution_plan")
    done, closed_at = row["last_completed_stage"], row.optional_time("closed_at")
    return Ticket.build(
        ticket_id=row["ticket_id"],
        project_id=row["project_id"],
        title=redactor.strike(row["title"]),
        execution_plan=plan,
        last_completed_stage=done,
        next_stage=next_stage_of(plan, done, closed_at),
        created_at=row.time("created_at"),
        updated_at=row.time("updated_at"),
        closed_at=closed_at,
        import_id=import_id,
    )


def read_comment(row: ForeignRow, redactor: Redactor, import_id: int | None) -> Comment:
    """Return a comment; it gets a key of ours.

    Raises:
        InvalidInput: a value is refused.
    """
    return Comment.build(
        ticket_id=row["ticket_id"],
        worker_type=_given(row["worker_type"]),
        worker_id=_given(row["worker_id"]),
        stage_number=row["stage_number"],
        content=redactor.strike(row["content"]),
        created_at=row.time("created_at"),
        import_id=import_id,
    )


def read_event(row: ForeignRow, redactor: Redactor, import_id: int) -> CoordinationEvent:
    """Return an event, of no project yet; it gets a key of ours.

    Raises:
        InvalidInput: a value is refused.
    """
    return CoordinationEvent.build(
        event_type=parse_enum(CoordinationEventType, row["event_type"], field="event_type"),
        ticket_id=_given(row["ticket_id"]),
        worker_id=_given(row["worker_id"]),
        stage=_given(row["stage"]),
        reason=redactor.strike(row["reason"]),
        created_at=row.time("created_at"),
        processed=row.flag("processed"),
        import_id=import_id,
    )


def _given(value: Any) -> Any:
    """Return what a column names that need not name anything: a blank text names nothing."""
    return None if isinstance(value, str) and not value.strip() else value


def mark_of_comment(comment: Any) -> Mark:
    """Return what a comment is known by, or the columns of one."""
    written_by = (comment.worker_type, comment.worker_id, comment.stage_number)
    return mark((comment.ticket_id, *written_by, comment.created_at), comment.content)


def mark_of_event(event: Any) -> Mark:
    """Return what an event is known by, or the columns of one; that it was processed changes."""
    about = (event.event_type, event.ticket_id, event.worker_id, event.stage)
    return mark((*about, event.created_at), event.reason)
