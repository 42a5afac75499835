"""The tables of arenas, where several agents work on one task, and the view of sessions with all counts (seed 002)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import ClassVar, Final

import sqlalchemy as sa

from vibeweaver_store.columns import (
    INTEGER,
    REAL,
    TEXT,
    Count,
    EnumText,
    Flag,
    Id,
    Name,
    NotBlank,
    PathText,
    Seconds,
    StrictBool,
    Text,
    Utc,
    UtcDateTime,
    one_of,
)
from vibeweaver_store.models.base import STRICT, Base, belongs_to, column, with_default
from vibeweaver_store.models.imports import brought_by_import, import_reference


class InstanceStatus(enum.StrEnum):
    """Where an instance stands. A new one is ``pending``.

    - ``pending``: its worktree is there, and its agent has not begun.
    - ``running``: its agent is at work; ``start_time`` says since when.
    - ``paused``: its agent was interrupted and is to go on.
    - ``completed``: its agent is done.
    - ``failed``: its agent ended without being done.

    The last two are final: while it is in one of them, and only then, an instance has an ``end_time``. AIT42's ``idle``
    is read as ``pending``, the words ``active`` and ``error`` of other seeds as ``running`` and ``failed``.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, value: object) -> InstanceStatus | None:
        words = {"idle": cls.PENDING, "active": cls.RUNNING, "error": cls.FAILED}
        return words.get(value.lower()) if isinstance(value, str) else None


INSTANCE_TRANSITIONS: Final[Mapping[InstanceStatus, tuple[InstanceStatus, ...]]] = {
    InstanceStatus.PENDING: (InstanceStatus.RUNNING, InstanceStatus.FAILED),
    InstanceStatus.RUNNING: (InstanceStatus.PAUSED, InstanceStatus.COMPLETED, InstanceStatus.FAILED),
    InstanceStatus.PAUSED: (InstanceStatus.RUNNING, InstanceStatus.COMPLETED, InstanceStatus.FAILED),
    InstanceStatus.COMPLETED: (InstanceStatus.RUNNING,),
    InstanceStatus.FAILED: (InstanceStatus.RUNNING,),
}
"""What an instance may become, by what it is."""

FINAL_OF_INSTANCES: Final = (InstanceStatus.COMPLETED, InstanceStatus.FAILED)


class Instance(Base, table=True):
    """One agent at work in its own worktree within an arena; ``instance_id`` counts from 0 in each session."""

    __tablename__: ClassVar[str] = "instances"
    __table_args__ = (
        one_of("status", InstanceStatus),
        sa.CheckConstraint("instance_id >= 0", name="instance_id"),
        sa.CheckConstraint("files_changed >= 0 AND lines_added >= 0 AND lines_deleted >= 0", name="diff"),
        # An instance has an end if and only if it is final.
        sa.CheckConstraint(
            f"(status IN ({', '.join(repr(str(status)) for status in FINAL_OF_INSTANCES)})) = (end_time IS NOT NULL)",
            name="final_has_time",
        ),
        # instances_by_status
        sa.Index("ix_instances_by_status", "status", "session_id", "instance_id"),
        brought_by_import("instances"),
        STRICT,
    )

    session_id: Id = belongs_to("sessions.id", TEXT, primary_key=True)
    instance_id: Count = column(INTEGER, primary_key=True)
    worktree_path: PathText = column(TEXT)
    branch: Name = column(TEXT)
    agent_name: Name = column(TEXT)
    status: InstanceStatus = with_default(EnumText(InstanceStatus), InstanceStatus.PENDING)
    tmux_session_id: Text = column(TEXT)
    start_time: Utc | None = column(UtcDateTime, default=None)
    end_time: Utc | None = column(UtcDateTime, default=None)
    files_changed: Count | None = column(INTEGER, default=None)
    lines_added: Count | None = column(INTEGER, default=None)
    lines_deleted: Count | None = column(INTEGER, default=None)
    runtime: Name | None = column(TEXT, default=None)
    model: Name | None = column(TEXT, default=None)
    runtime_label: Name | None = column(TEXT, default=None)
    import_id: Count | None = import_reference()
    # Last, since it may be long.
    output: Text | None = column(TEXT, default=None)


class Arena(Base, table=True):
    """The part of a competition, ensemble or debate that is about its task. Totals are those of its instances."""

    __tablename__: ClassVar[str] = "arenas"
    __table_args__ = (
        # A winner is one of the session's own instances.
        sa.ForeignKeyConstraint(
            ["session_id", "winner_instance_id"], ["instances.session_id", "instances.instance_id"]
        ),
        sa.CheckConstraint("task <> ''", name="task"),
        sa.CheckConstraint("timeout_seconds >= 0", name="timeout_seconds"),
        sa.CheckConstraint("preserve_worktrees IN (0, 1)", name="preserve_worktrees").ddl_if(dialect="sqlite"),
        sa.CheckConstraint(
            "total_duration_seconds >= 0 AND total_files_changed >= 0 AND total_lines_added >= 0 "
            "AND total_lines_deleted >= 0",
            name="totals",
        ),
        sa.Index("ix_arenas_by_winner", "session_id", "winner_instance_id"),
        STRICT,
    )

    session_id: Id = belongs_to("sessions.id", TEXT, primary_key=True)
    task: NotBlank = column(TEXT)
    model: Name | None = column(TEXT, default=None)
    timeout_seconds: Seconds | None = column(REAL, default=None)
    preserve_worktrees: StrictBool | None = column(Flag, default=None)
    winner_instance_id: Count | None = column(INTEGER, default=None)
    total_duration_seconds: Seconds | None = column(REAL, default=None)
    total_files_changed: Count | None = column(INTEGER, default=None)
    total_lines_added: Count | None = column(INTEGER, default=None)
    total_lines_deleted: Count | None = column(INTEGER, default=None)


class ArenaRuntime(Base, table=True):
    """One runtime of an arena's runtime mix, once in a session."""

    __tablename__: ClassVar[str] = "arena_runtimes"
    __table_args__ = (sa.CheckConstraint("runtime <> ''", name="runtime"), STRICT)

    session_id: Id = belongs_to("sessions.id", TEXT, primary_key=True)
    runtime: Name = column(TEXT, primary_key=True)
