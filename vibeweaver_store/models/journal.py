"""The table of the journal: what coding agents wrote of their own work, line by line (seed 004)."""

from __future__ import annotations

from typing import ClassVar

import sqlalchemy as sa

from vibeweaver_store.columns import (
    INTEGER,
    TEXT,
    Count,
    Flag,
    Id,
    Json,
    JsonObject,
    Name,
    StrictBool,
    Text,
    Utc,
    UtcDateTime,
)
from vibeweaver_store.models.base import LOG, Base, belongs_to, column, partial_index
from vibeweaver_store.models.imports import brought_by_import, import_reference

_OF_A_MESSAGE = "message_id IS NOT NULL"


class JournalEvent(Base, table=True):
    """One line of a coding agent's own event stream, kept whole in ``data``; the other columns are for lookups.

    ``source_session_id`` is the agent's own name for its session, ``session_id`` ours. ``event_uuid`` is the line's
    own, or, of a line without one, a digest of its source and its content. Forked transcripts repeat uuids, so only
    both together tell an event. A line of an API response has its ``message_id`` and the tokens that the response took
    so far: other lines of the response repeat them.
    """

    __tablename__: ClassVar[str] = "journal_events"
    __table_args__ = (
        sa.UniqueConstraint("source_session_id", "event_uuid"),
        sa.CheckConstraint("event_uuid <> ''", name="event_uuid"),
        sa.CheckConstraint("source_session_id <> ''", name="source_session_id"),
        sa.CheckConstraint("event_type <> ''", name="event_type"),
        sa.CheckConstraint("is_sidechain IN (0, 1)", name="is_sidechain").ddl_if(dialect="sqlite"),
        sa.CheckConstraint(
            "input_tokens >= 0 AND output_tokens >= 0 AND cache_read_input_tokens >= 0 "
            "AND cache_creation_input_tokens >= 0",
            name="tokens",
        ),
        sa.Index("ix_journal_events_by_session", "session_id", "id"),
        # for_session(event_type=…), for_session(since=…, until=…)
        sa.Index("ix_journal_events_by_type", "session_id", "event_type", "id"),
        sa.Index("ix_journal_events_by_timestamp", "session_id", "timestamp", "id"),
        # source_sessions_of
        sa.Index("ix_journal_events_by_source", "session_id", "source_session_id", "id"),
        # for_source
        sa.Index("ix_journal_events_of_source", "source_session_id", "id"),
        # usage of a session or workspace, and usage since
        partial_index("ix_journal_events_of_messages", "session_id", "message_id", where=_OF_A_MESSAGE),
        partial_index("ix_journal_events_of_messages_by_timestamp", "timestamp", where=_OF_A_MESSAGE),
        brought_by_import("journal_events"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    event_uuid: Id = column(TEXT)
    source_session_id: Id = column(TEXT)
    event_type: Name = column(TEXT)
    timestamp: Utc | None = column(UtcDateTime, default=None)
    is_sidechain: StrictBool = column(Flag, default=False)
    parent_uuid: Text | None = column(TEXT, default=None)
    cwd: Text | None = column(TEXT, default=None)
    project_name: Text | None = column(TEXT, default=None)
    session_id: Id | None = belongs_to("sessions.id", TEXT, default=None)
    model: Text | None = column(TEXT, default=None)
    message_id: Id | None = column(TEXT, default=None)
    request_id: Id | None = column(TEXT, default=None)
    input_tokens: Count | None = column(INTEGER, default=None)
    output_tokens: Count | None = column(INTEGER, default=None)
    cache_read_input_tokens: Count | None = column(INTEGER, default=None)
    cache_creation_input_tokens: Count | None = column(INTEGER, default=None)
    import_id: Count | None = import_reference()
    # Last, so that a lookup by the columns before it need not read the overflow pages that it fills.
    data: JsonObject = column(Json)
