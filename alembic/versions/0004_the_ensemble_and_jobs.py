"""The ensemble and jobs: projects, worker types, tickets, comments, workers, coordination events, background jobs.

Seeds 003 and 004. Revision 0004, after 0003.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from alembic import op
from vibeweaver_store import columns

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = (
    *("projects", "worker_types", "tickets", "comments", "workers", "coordination_events"),
    *("jobs", "job_attempts"),
)


def upgrade() -> None:
    _create_projects()
    _create_worker_types()
    _create_tickets()
    _create_comments()
    _create_workers()
    _create_coordination_events()
    _create_jobs()
    _create_job_attempts()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


# --- what several tables have ----------------------------------------------------------------------------------


def _create(table: str, *parts: Any, log: bool = False) -> None:
    """Create a table whose rows an import may have brought, with the index by import."""
    brought = [sa.Column("import_id", columns.INTEGER), _refers(table, "import_id", "imports.id", "SET NULL")]
    columns_of_it = [part for part in parts if isinstance(part, sa.Column)]
    rest = [part for part in parts if not isinstance(part, sa.Column)]
    options = {"sqlite_strict": True} | ({"sqlite_autoincrement": True} if log else {})
    op.create_table(table, *columns_of_it, *brought, *rest, **options)
    _index(f"ix_{table}_by_import", table, "import_id", where="import_id IS NOT NULL")


def _refers(table: str, column: str, parent: str, ondelete: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{parent.partition('.')[0]}"
    return sa.ForeignKeyConstraint([column], [parent], name=name, ondelete=ondelete)


def _belongs_to_project(table: str) -> sa.ForeignKeyConstraint:
    return _refers(table, "project_id", "projects.repository_name", "CASCADE")


def _log_key(table: str) -> tuple[sa.Column[int], sa.PrimaryKeyConstraint]:
    key = sa.Column("id", columns.INTEGER, autoincrement=True, nullable=False)
    return key, sa.PrimaryKeyConstraint("id", name=f"pk_{table}")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _made_now(name: str) -> sa.Column[Any]:
    return sa.Column(name, columns.UtcDateTime(), server_default=columns.NOW, nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, columns.UtcDateTime(), nullable=nullable)


def _not_blank(column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} <> ''", name=column)


def _flag_check(column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN (0, 1)", name=column).ddl_if(dialect="sqlite")


def _index(name: str, table: str, *columns_of_it: Any, where: str | None = None, **options: Any) -> None:
    partial: dict[str, Any] = (
        {} if where is None else {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}
    )
    op.create_index(name, table, [*columns_of_it], **partial, **options)


def _index_of_flag(name: str, table: str, *columns_of_it: Any, flag: str, is_set: bool) -> None:
    """Create an index of the rows whose flag is set, or is not: SQLite has numbers there."""
    on_sqlite, on_postgresql = sa.text(f"{flag} = {int(is_set)}"), sa.text(f"{flag} = {str(is_set).lower()}")
    op.create_index(name, table, [*columns_of_it], sqlite_where=on_sqlite, postgresql_where=on_postgresql)


# --- the ensemble ----------------------------------------------------------------------------------------------


def _create_projects() -> None:
    _create(
        "projects",
        _text("repository_name"),
        _text("path"),
        sa.Column("short_description", sa.Text()),
        _made_now("created_at"),
        _made_now("updated_at"),
        sa.PrimaryKeyConstraint("repository_name", name="pk_projects"),
        _not_blank("repository_name"),
        _not_blank("path"),
    )
    _index("ix_projects_by_created_at", "projects", "created_at", "repository_name")


def _create_worker_types() -> None:
    key, primary_key = _log_key("worker_types")
    _create(
        "worker_types",
        key,
        _text("project_id"),
        _text("worker_type"),
        sa.Column("short_description", sa.Text()),
        _text("system_prompt"),
        _made_now("created_at"),
        _made_now("updated_at"),
        primary_key,
        _belongs_to_project("worker_types"),
        sa.UniqueConstraint("project_id", "worker_type", name="uq_worker_types_project_id_worker_type"),
        _not_blank("worker_type"),
        log=True,
    )


def _create_tickets() -> None:
    _create(
        "tickets",
        _text("ticket_id"),
        _text("project_id"),
        _text("title"),
        sa.Column("execution_plan", columns.Json(), nullable=False),
        sa.Column("last_completed_stage", sa.Text(), server_default="Planned", nullable=False),
        sa.Column("next_stage", sa.Text()),
        sa.Column("claimed_by", sa.Text()),
        _time("claim_expires_at", nullable=True),
        sa.Column("outcome", sa.Text()),
        _made_now("created_at"),
        _made_now("updated_at"),
        _time("closed_at", nullable=True),
        sa.PrimaryKeyConstraint("ticket_id", name="pk_tickets"),
        _belongs_to_project("tickets"),
        _not_blank("ticket_id"),
        _not_blank("title"),
        _not_blank("last_completed_stage"),
        sa.CheckConstraint("(claimed_by IS NULL) = (claim_expires_at IS NULL)", name="claim_has_end"),
        sa.CheckConstraint("closed_at IS NULL OR (next_stage IS NULL AND claimed_by IS NULL)", name="closed_is_over"),
        sa.CheckConstraint(
            "next_stage IS NOT NULL OR closed_at IS NOT NULL OR last_completed_stage <> 'Planned'",
            name="planned_has_next",
        ),
        sa.CheckConstraint("claimed_by IS NULL OR next_stage IS NOT NULL", name="claim_has_stage"),
        sa.CheckConstraint("outcome IS NULL OR closed_at IS NOT NULL", name="outcome"),
    )
    by_age, is_open = ("created_at", "ticket_id"), "closed_at IS NULL"
    _index("ix_tickets_by_created_at", "tickets", *by_age)
    _index("ix_tickets_by_project", "tickets", "project_id", *by_age)
    _index("ix_tickets_open", "tickets", *by_age, where=is_open)
    _index("ix_tickets_open_by_project", "tickets", "project_id", *by_age, where=is_open)
    waiting = ("project_id", "next_stage", *by_age)
    _index("ix_tickets_by_next_stage", "tickets", *waiting, where="next_stage IS NOT NULL")
    _index("ix_tickets_by_claim", "tickets", "claimed_by", "ticket_id", where="claimed_by IS NOT NULL")


def _create_comments() -> None:
    key, primary_key = _log_key("comments")
    _create(
        "comments",
        key,
        _text("ticket_id"),
        sa.Column("worker_type", sa.Text()),
        sa.Column("worker_id", sa.Text()),
        sa.Column("stage_number", columns.INTEGER),
        _text("content"),
        _made_now("created_at"),
        primary_key,
        _refers("comments", "ticket_id", "tickets.ticket_id", "CASCADE"),
        _not_blank("content"),
        sa.CheckConstraint("stage_number >= 0", name="stage_number"),
        log=True,
    )
    _index("ix_comments_by_ticket", "comments", "ticket_id", "id")


def _create_workers() -> None:
    _create(
        "workers",
        _text("worker_id"),
        _text("project_id"),
        _text("worker_type"),
        _text("status"),
        sa.Column("pid", columns.INTEGER),
        _text("queue_name"),
        _made_now("started_at"),
        _made_now("last_activity"),
        sa.PrimaryKeyConstraint("worker_id", name="pk_workers"),
        _belongs_to_project("workers"),
        sa.CheckConstraint("status IN ('spawning', 'active', 'idle', 'finished', 'failed')", name="status"),
        _not_blank("worker_id"),
        _not_blank("worker_type"),
        _not_blank("queue_name"),
        sa.CheckConstraint("pid >= 0", name="pid"),
    )
    _index("ix_workers_by_started_at", "workers", "started_at", "worker_id")
    _index("ix_workers_by_project", "workers", "project_id", "started_at", "worker_id")
    _index("ix_workers_by_status", "workers", "status", "started_at", "worker_id")
    living = "status IN ('spawning', 'active', 'idle')"
    _index("ix_workers_living", "workers", "last_activity", "worker_id", where=living)


def _create_coordination_events() -> None:
    table = "coordination_events"
    key, primary_key = _log_key(table)
    _create(
        table,
        key,
        _text("event_type"),
        sa.Column("project_id", sa.Text()),
        sa.Column("ticket_id", sa.Text()),
        sa.Column("worker_id", sa.Text()),
        sa.Column("stage", sa.Text()),
        sa.Column("reason", sa.Text()),
        _made_now("created_at"),
        sa.Column("processed", columns.Flag(), server_default=sa.false(), nullable=False),
        primary_key,
        _belongs_to_project(table),
        sa.CheckConstraint("event_type IN ('ticket_stage_completed', 'worker_stopped')", name="event_type"),
        _flag_check("processed"),
        log=True,
    )
    _index_of_flag("ix_coordination_events_unprocessed", table, "id", flag="processed", is_set=False)
    _index("ix_coordination_events_by_project", table, "project_id", "id", where="project_id IS NOT NULL")


# --- jobs ------------------------------------------------------------------------------------------------------


def _create_jobs() -> None:
    _create(
        "jobs",
        _text("id"),
        _text("type"),
        _text("status"),
        sa.Column("priority", columns.INTEGER, nullable=False),
        sa.Column("ready", columns.Flag()),
        sa.Column("attempts", columns.INTEGER, nullable=False),
        sa.Column("max_attempts", columns.INTEGER, nullable=False),
        _time("scheduled_at"),
        _time("started_at", nullable=True),
        _time("completed_at", nullable=True),
        _time("created_at"),
        _time("updated_at"),
        sa.Column("session_id", sa.Text()),
        sa.Column("unique_key", sa.Text()),
        sa.Column("worker_id", sa.Text()),
        sa.Column("lease_token", sa.Text()),
        _time("lease_expires_at", nullable=True),
        sa.Column("progress", columns.Json()),
        sa.Column("error", sa.Text()),
        sa.Column("data", columns.Json()),
        sa.Column("result", columns.Json()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        _refers("jobs", "session_id", "sessions.id", "CASCADE"),
        sa.CheckConstraint("status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')", name="status"),
        _not_blank("id"),
        _not_blank("type"),
        _not_blank("unique_key"),
        sa.CheckConstraint("attempts >= 0 AND max_attempts > 0 AND attempts <= max_attempts", name="attempts"),
        sa.CheckConstraint("status <> 'pending' OR attempts < max_attempts", name="pending_has_attempts_left"),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)", name="final_has_time"
        ),
        sa.CheckConstraint("(status = 'processing') = (lease_token IS NOT NULL)", name="processing_has_lease"),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name="lease_has_end"),
        sa.CheckConstraint("(attempts = 0) = (started_at IS NULL)", name="attempted_has_start"),
        sa.CheckConstraint("(status = 'pending') = (ready IS NOT NULL)", name="pending_is_ready_or_not"),
        _flag_check("ready"),
        sa.CheckConstraint("result IS NULL OR status = 'completed'", name="result"),
    )
    _index(
        "ix_jobs_active_unique_key",
        *("jobs", "type", "unique_key"),
        where="completed_at IS NULL AND unique_key IS NOT NULL",
        unique=True,
    )
    by_urgency, by_age = (sa.text("priority DESC"), "scheduled_at", "id"), ("created_at", "id")
    _index_of_flag("ix_jobs_ready", "jobs", *by_urgency, flag="ready", is_set=True)
    _index_of_flag("ix_jobs_ready_by_type", "jobs", "type", *by_urgency, flag="ready", is_set=True)
    _index_of_flag("ix_jobs_not_ready", "jobs", "scheduled_at", "id", flag="ready", is_set=False)
    _index("ix_jobs_by_lease", "jobs", "lease_expires_at", "id", where="lease_expires_at IS NOT NULL")
    _index("ix_jobs_by_created_at", "jobs", *by_age)
    _index("ix_jobs_by_status", "jobs", "status", *by_age)
    _index("ix_jobs_by_type", "jobs", "type", *by_age)
    _index("ix_jobs_by_type_and_status", "jobs", "type", "status", *by_age)
    _index("ix_jobs_by_session", "jobs", "session_id", *by_age, where="session_id IS NOT NULL")
    _index("ix_jobs_active_by_session", "jobs", "session_id", *by_age, where="completed_at IS NULL")
    _index("ix_jobs_final", "jobs", "status", "completed_at", "id", where="completed_at IS NOT NULL")


def _create_job_attempts() -> None:
    op.create_table(
        "job_attempts",
        _text("job_id"),
        sa.Column("attempt", columns.INTEGER, nullable=False),
        sa.Column("worker_id", sa.Text()),
        _time("started_at"),
        _time("ended_at"),
        sa.Column("duration_ms", columns.INTEGER, nullable=False),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("job_id", "attempt", name="pk_job_attempts"),
        _refers("job_attempts", "job_id", "jobs.id", "CASCADE"),
        sa.CheckConstraint("attempt > 0", name="attempt"),
        sa.CheckConstraint("duration_ms >= 0", name="duration_ms"),
        sqlite_strict=True,
    )
    _index("ix_job_attempts_by_ended_at", "job_attempts", "ended_at", "job_id", "attempt")
