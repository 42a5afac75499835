"""The tables of sessions, one list for jams, agents' runs and arenas, and of the workspaces that they belong to."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final, TypeAlias

import sqlalchemy as sa
from pydantic import Field

from vibeweaver_store.columns import (
    INTEGER,
    REAL,
    TEXT,
    Count,
    EnumText,
    FiniteFloat,
    Id,
    Json,
    JsonObject,
    Name,
    OptionalText,
    PathText,
    Text,
    Utc,
    UtcDateTime,
    new_id,
    one_of,
)
from vibeweaver_store.json_values import FrozenDict
from vibeweaver_store.models.base import STRICT, Base, belongs_to, column, made_now, with_default
from vibeweaver_store.models.imports import brought_by_import, import_reference

TempoBpm: TypeAlias = Annotated[FiniteFloat, Field(ge=1, le=999)]
"""Beats a minute, 1 to 999."""

DEFAULT_TEMPO_BPM = 120.0


class SessionKind(enum.StrEnum):
    """What sort of work a session is."""

    JAM = "jam"
    AGENT = "agent"
    COMPETITION = "competition"
    ENSEMBLE = "ensemble"
    DEBATE = "debate"


class SessionStatus(enum.StrEnum):
    """Where a session stands. A new one is ``created``.

    - ``created``: it was made, and nothing has been at work in it yet.
    - ``running``: something is at work in it, or says so: see ``last_activity_at``.
    - ``paused``: work was interrupted and is to go on.
    - ``completed``: its work is done. It may be taken up again.
    - ``failed``: its work ended without being done; ``status_reason`` may say why. It may be taken up again.
    - ``archived``: it was put away, and is never taken up again. Its logs can still be appended to.

    The last three are final: a session has a ``completed_at`` while it is in one of them, and only then. The words
    ``active`` and ``error`` of seeds 001 and 004 are read as ``running`` and ``failed``.
    """

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    ARCHIVED = "archived"

    @classmethod
    def _missing_(cls, value: object) -> SessionStatus | None:
        return {"active": cls.RUNNING, "error": cls.FAILED}.get(value.lower()) if isinstance(value, str) else None


TRANSITIONS: Final[Mapping[SessionStatus, tuple[SessionStatus, ...]]] = {
    SessionStatus.CREATED: (
        SessionStatus.RUNNING,
        SessionStatus.PAUSED,
        SessionStatus.COMPLETED,
        SessionStatus.FAILED,
        SessionStatus.ARCHIVED,
    ),
    SessionStatus.RUNNING: (SessionStatus.PAUSED, SessionStatus.COMPLETED, SessionStatus.FAILED),
    SessionStatus.PAUSED: (
        SessionStatus.RUNNING,
        SessionStatus.COMPLETED,
        SessionStatus.FAILED,
        SessionStatus.ARCHIVED,
    ),
    SessionStatus.COMPLETED: (SessionStatus.RUNNING, SessionStatus.ARCHIVED),
    SessionStatus.FAILED: (SessionStatus.RUNNING, SessionStatus.ARCHIVED),
    SessionStatus.ARCHIVED: (),
}
"""What a session may become, by what it is."""

FINAL: Final = (SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.ARCHIVED)
"""The statuses in which a session has a ``completed_at``."""


class AgentStatus(enum.StrEnum):
    """What the agent of a session is doing (seed 004's ``claude_status``).

    - ``not_started``: it has not been called yet.
    - ``processing``: it is at work on a turn.
    - ``completed``: its last turn is done, and it waits for the next.
    - ``error``: its last turn broke off.

    The word ``waiting_for_input`` of seed 004's programs is read as ``completed``.
    """

    NOT_STARTED = "not_started"
    PROCESSING = "processing"
    COMPLETED = "completed"
    ERROR = "error"

    @classmethod
    def _missing_(cls, value: object) -> AgentStatus | None:
        return {"waiting_for_input": cls.COMPLETED}.get(value.lower()) if isinstance(value, str) else None


class Workspace(Base, table=True):
    """A folder that sessions belong to (seed 002). ``path`` is normalized; ``path_hash`` is a short name for it."""

    __tablename__: ClassVar[str] = "workspaces"
    __table_args__ = (
        # Alone: an upsert on PostgreSQL minds one UNIQUE, and stumbles over a second one that others fill meanwhile.
        sa.UniqueConstraint("path"),
        sa.CheckConstraint("id <> ''", name="id"),
        sa.CheckConstraint("path <> ''", name="path"),
        sa.CheckConstraint("length(path_hash) = 16", name="path_hash"),
        sa.Index("ix_workspaces_by_last_accessed_at", "last_accessed_at", "id"),
        # find_by_hash
        sa.Index("ix_workspaces_by_path_hash", "path_hash", "id"),
        brought_by_import("workspaces"),
        STRICT,
    )

    id: Id = column(TEXT, primary_key=True, default_factory=new_id)
    path: PathText = column(TEXT)
    path_hash: Text = column(TEXT)
    created_at: Utc = made_now()
    last_accessed_at: Utc = made_now()
    import_id: Count | None = import_reference()


def _search_indexes() -> Iterator[sa.Index]:
    """Yield an index for each order of a search, and for each within one workspace, one status and one kind."""
    for leading in ("workspace_id", "status", "kind"):
        for order in ("updated_at", "created_at", "name"):
            yield sa.Index(f"ix_sessions_by_{leading}_{order}", leading, order, "id")
    for order in ("updated_at", "created_at", "name"):
        yield sa.Index(f"ix_sessions_by_{order}", order, "id")


def new_revision() -> int:
    """Return a number for a state of a session's rules that no other state has had or will have.

    Not a count: a session that is made anew under an old id, or a database that is restored, would come to old numbers
    again with other rules. Below 2**53, so that every reader of JSON keeps its digits.
    """
    return secrets.randbits(52)


class Session(Base, table=True):
    """One thread of work. A jam has a tempo, an agent's session a working directory; other kinds may go without.

    A session may have no ``name``. The database keeps an empty text then, which sorts before every name.

    ``last_activity_at`` is when something was last done in it, to the second. ``version`` is counted up by each change
    of the row that a service makes; appending to the session's logs does not. ``rules_rev`` is another whenever a rule
    of the session has changed; it says nothing else. ``import_id`` says which import made it.
    """

    __tablename__: ClassVar[str] = "sessions"
    __table_args__ = (
        one_of("kind", SessionKind),
        one_of("status", SessionStatus),
        one_of("agent_status", AgentStatus),
        sa.CheckConstraint("id <> ''", name="id"),
        sa.CheckConstraint("working_dir <> ''", name="working_dir"),
        sa.CheckConstraint("version > 0", name="version"),
        sa.CheckConstraint("tempo_bpm BETWEEN 1 AND 999", name="tempo_bpm"),
        # A transport cannot run without a tempo, nor an agent without a place to work in.
        sa.CheckConstraint("kind <> 'jam' OR tempo_bpm IS NOT NULL", name="jam_has_tempo"),
        sa.CheckConstraint("kind <> 'agent' OR working_dir IS NOT NULL", name="agent_has_working_dir"),
        sa.CheckConstraint(
            f"(status IN ({', '.join(repr(str(status)) for status in FINAL)})) = (completed_at IS NOT NULL)",
            name="final_has_time",
        ),
        *_search_indexes(),
        # counts: by kind and status, off the index alone.
        sa.Index("ix_sessions_by_kind_and_status", "kind", "status"),
        brought_by_import("sessions"),
        STRICT,
    )

    id: Id = column(TEXT, primary_key=True, default_factory=new_id)
    kind: SessionKind = column(EnumText(SessionKind), default=SessionKind.JAM)
    name: Name | None = column(OptionalText, default=None, nullable=False, sa_column_kwargs={"server_default": ""})
    vibe: Text | None = column(TEXT, default=None)
    tempo_bpm: TempoBpm | None = column(REAL, default=None)
    status: SessionStatus = with_default(EnumText(SessionStatus), SessionStatus.CREATED)
    status_reason: Text | None = column(TEXT, default=None)
    agent_status: AgentStatus | None = column(EnumText(AgentStatus), default=None)
    working_dir: PathText | None = column(TEXT, default=None)
    workspace_id: Id | None = belongs_to("workspaces.id", TEXT, default=None)
    attributes: JsonObject = column(Json, default_factory=FrozenDict, sa_column_kwargs={"server_default": "{}"})
    created_at: Utc = made_now()
    updated_at: Utc = made_now()
    completed_at: Utc | None = column(UtcDateTime, default=None)
    last_activity_at: Utc = made_now()
    version: Count = column(INTEGER, default=1, sa_column_kwargs={"server_default": "1"})
    rules_rev: Count = column(INTEGER, default_factory=new_revision, sa_column_kwargs={"server_default": "0"})
    import_id: Count | None = import_reference()
