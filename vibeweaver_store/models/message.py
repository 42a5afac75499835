"""The table of messages: what was said in sessions, in the order in which it was said (seeds 001 and 002)."""

from __future__ import annotations

import enum
from typing import ClassVar

import sqlalchemy as sa

from vibeweaver_store.columns import (
    INTEGER,
    TEXT,
    Count,
    EnumText,
    Id,
    NotBlank,
    Utc,
    new_id,
    one_of,
)
from vibeweaver_store.models.base import LOG, Base, belongs_to, column, made_now, partial_index
from vibeweaver_store.models.imports import brought_by_import, import_reference


class MessageRole(enum.StrEnum):
    """Who said something."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class Message(Base, table=True):
    """Something said in a session. Its place in the conversation is its ``id``, not its time, which may be equal.

    ``public_id`` is what others call it, once in a session. ``instance_id`` says which instance of an arena it is of.
    """

    __tablename__: ClassVar[str] = "messages"
    __table_args__ = (
        sa.UniqueConstraint("session_id", "public_id"),
        one_of("role", MessageRole),
        sa.CheckConstraint("public_id <> ''", name="public_id"),
        sa.CheckConstraint("content <> ''", name="content"),
        sa.CheckConstraint("instance_id >= 0", name="instance_id"),
        sa.Index("ix_messages_by_session", "session_id", "id"),
        # page(role=…), page(instance_id=…)
        sa.Index("ix_messages_by_role", "session_id", "role", "id"),
        partial_index("ix_messages_by_instance", "session_id", "instance_id", "id", where="instance_id IS NOT NULL"),
        # page of all sessions; of one role, by passing over the others within the index. An index that begins with the
        # role would cost PostgreSQL the one above: it takes either for the pages of a session and a role.
        sa.Index("ix_messages_of_all_by_created_at", "created_at", "id", "role"),
        # between
        sa.Index("ix_messages_by_created_at", "session_id", "created_at", "id"),
        brought_by_import("messages"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    public_id: Id = column(TEXT, default_factory=new_id)
    session_id: Id = belongs_to("sessions.id", TEXT)
    role: MessageRole = column(EnumText(MessageRole))
    content: NotBlank = column(TEXT)
    instance_id: Count | None = column(INTEGER, default=None)
    created_at: Utc = made_now()
    import_id: Count | None = import_reference()
