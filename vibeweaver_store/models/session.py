"""The table of sessions: one list for jams, agents' runs and arenas."""

from __future__ import annotations

import enum
import secrets
from typing import Annotated, ClassVar, TypeAlias

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
    Name,
    Text,
    Utc,
    UtcDateTime,
    new_id,
    one_of,
)
from vibeweaver_store.models.base import STRICT, Base, column

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
    """Where a session stands. A new one is ``created``."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    ARCHIVED = "archived"


def new_revision() -> int:
    """Return a number for a state of a session's rules that no other state has had or will have.

    Not a count: a session that is made anew under an old id, or a database that is restored, would come to old numbers
    again with other rules. Below 2**53, so that every reader of JSON keeps its digits.
    """
    return secrets.randbits(52)


class Session(Base, table=True):
    """One thread of work. A jam has a tempo; other kinds may go without.

    ``rules_rev`` is another whenever a rule of the session has changed; it says nothing else.
    """

    __tablename__: ClassVar[str] = "sessions"
    __table_args__ = (
        one_of("kind", SessionKind),
        one_of("status", SessionStatus),
        sa.CheckConstraint("id <> ''", name="id"),
        sa.CheckConstraint("name <> ''", name="name"),
        sa.CheckConstraint("tempo_bpm BETWEEN 1 AND 999", name="tempo_bpm"),
        # A transport cannot run without a tempo.
        sa.CheckConstraint("kind <> 'jam' OR tempo_bpm IS NOT NULL", name="jam_has_tempo"),
        sa.Index("ix_sessions_by_updated_at", "updated_at", "id"),
        STRICT,
    )

    id: Id = column(TEXT, primary_key=True, default_factory=new_id)
    kind: SessionKind = column(EnumText(SessionKind), default=SessionKind.JAM)
    name: Name = column(TEXT)
    vibe: Text | None = column(TEXT, default=None)
    tempo_bpm: TempoBpm | None = column(
        REAL,
        default=DEFAULT_TEMPO_BPM,
        sa_column_kwargs={"default": None},  # or an empty tempo would be stored as the default
    )
    status: SessionStatus = column(EnumText(SessionStatus), default=SessionStatus.CREATED)
    created_at: Utc = column(UtcDateTime)
    updated_at: Utc = column(UtcDateTime)
    rules_rev: Count = column(INTEGER, default_factory=new_revision, sa_column_kwargs={"server_default": "0"})
