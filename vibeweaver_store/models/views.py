"""The views of the database, as classes that are read and never written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import query_expression, registry
from sqlalchemy.schema import CreateView
from sqlmodel import SQLModel

from vibeweaver_store.columns import INTEGER, REAL, TEXT, EnumText, Flag, OptionalText, UtcDateTime
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models.arena import Arena, ArenaRuntime, Instance
from vibeweaver_store.models.base import Base, column
from vibeweaver_store.models.message import Message
from vibeweaver_store.models.session import AgentStatus, Session, SessionKind, SessionStatus, Workspace
from vibeweaver_store.unit_of_work import UnitOfWork


class View(SQLModel, registry=registry(metadata=sa.MetaData())):
    """The root of the classes that show a view. They stand apart from the tables: no migration makes a table of one."""


@event.listens_for(UnitOfWork, "before_flush")
def _refuse_views(uow: UnitOfWork, *_: object) -> None:
    for row in (*uow.new, *uow.dirty, *uow.deleted):
        if isinstance(row, View):
            raise InvalidInput(f"{row.__tablename__} is a view: it is read, and never written")


class SessionComplete(View, table=True):
    """A session with its workspace, its arena and its counts: what a list of sessions shows (seed 002).

    ``runtime_mix`` is the names of the arena's runtimes in their alphabetical order, with commas between them; where a
    name may hold a comma itself, see ``arenas.runtimes``.

    Two attributes are no columns of the view: ``sessions.overview`` alone fills them in, elsewhere they are ``None``.

    Attributes:
        event_counts: how many journal events of each type the session has.
        last_said: the first 1,000 characters of its last message; ``None`` if it has none.
    """

    __tablename__: ClassVar[str] = "session_complete"

    id: str = column(TEXT, primary_key=True)
    workspace_id: str | None = column(TEXT)
    workspace_path: str | None = column(TEXT)
    kind: SessionKind = column(EnumText(SessionKind))
    name: str | None = column(OptionalText)
    vibe: str | None = column(TEXT)
    task: str | None = column(TEXT)
    status: SessionStatus = column(EnumText(SessionStatus))
    agent_status: AgentStatus | None = column(EnumText(AgentStatus))
    created_at: datetime = column(UtcDateTime)
    updated_at: datetime = column(UtcDateTime)
    completed_at: datetime | None = column(UtcDateTime)
    model: str | None = column(TEXT)
    timeout_seconds: float | None = column(REAL)
    preserve_worktrees: bool | None = column(Flag)
    winner_instance_id: int | None = column(INTEGER)
    total_duration_seconds: float | None = column(REAL)
    total_files_changed: int | None = column(INTEGER)
    total_lines_added: int | None = column(INTEGER)
    total_lines_deleted: int | None = column(INTEGER)
    instance_count: int = column(INTEGER)
    message_count: int = column(INTEGER)
    runtime_mix: str | None = column(TEXT)

    ON_REQUEST: ClassVar[tuple[str, ...]] = ("event_counts", "last_said")
    """What only some queries fill in."""

    if TYPE_CHECKING:

        @property
        def event_counts(self) -> Mapping[str, int] | None:
            """How many journal events of each type the session has."""

        @property
        def last_said(self) -> str | None:
            """The beginning of its last message."""


for _name in SessionComplete.ON_REQUEST:
    sa.inspect(SessionComplete).add_property(_name, query_expression())


def _session_complete() -> CreateView:
    sessions, workspaces, arenas = _table(Session), _table(Workspace), _table(Arena)
    runtimes = _table(ArenaRuntime)
    mix = (
        sa.select(runtimes.c.runtime)
        .where(runtimes.c.session_id == sessions.c.id)
        .order_by(runtimes.c.runtime)
        .correlate(sessions)
        .subquery("mix")
    )
    of_arena = [each for each in arenas.c if each.name not in {"session_id", "task"}]
    statement = (
        sa.select(
            sessions.c.id,
            sessions.c.workspace_id,
            workspaces.c.path.label("workspace_path"),
            sessions.c.kind,
            sessions.c.name,
            sessions.c.vibe,
            arenas.c.task,
            sessions.c.status,
            sessions.c.agent_status,
            sessions.c.created_at,
            sessions.c.updated_at,
            sessions.c.completed_at,
            *of_arena,
            _count_of(Instance).label("instance_count"),
            _count_of(Message).label("message_count"),
            sa.select(sa.func.aggregate_strings(mix.c.runtime, ",")).scalar_subquery().label("runtime_mix"),
        )
        .select_from(sessions.outerjoin(workspaces, workspaces.c.id == sessions.c.workspace_id))
        .outerjoin(arenas, arenas.c.session_id == sessions.c.id)
    )
    return CreateView(statement, "session_complete")


def _table(model: type[Base]) -> sa.Table:
    return Base.metadata.tables[str(model.__tablename__)]


def _count_of(model: type[Base]) -> sa.ScalarSelect[int]:
    """Count by a query of its own: joined, instances and messages would multiply each other."""
    table = _table(model)
    return (
        sa.select(sa.func.count())
        .select_from(table)
        .where(table.c.session_id == _table(Session).c.id)
        .correlate(_table(Session))
        .scalar_subquery()
    )


VIEWS: Final[dict[str, CreateView]] = {"session_complete": _session_complete()}
"""The statements that make the views, by name; migrations spell them out."""
