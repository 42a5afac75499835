"""The table of imports: what was brought in from where, and how far a source has been read (seed 002's metadata)."""

from __future__ import annotations

import enum
from typing import Any, ClassVar

import sqlalchemy as sa

from vibeweaver_store.columns import (
    INTEGER,
    TEXT,
    Count,
    EnumText,
    Json,
    JsonObject,
    Name,
    PathText,
    Text,
    Utc,
    UtcDateTime,
    one_of,
)
from vibeweaver_store.json_values import FrozenDict
from vibeweaver_store.models.base import LOG, Base, column, partial_index


class ImportStatus(enum.StrEnum):
    """Where an import stands.

    - ``running``: it is at work, or was killed at it; what it brought so far is whole, and another run goes on there.
    - ``completed``: the source was read to its end.
    - ``failed``: it broke off with an error; what it brought before is whole, and another run goes on there.
    - ``undone``: what it brought was taken away again.
    """

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    UNDONE = "undone"


class Import(Base, table=True):
    """One source that was brought in by one run.

    ``fingerprint`` tells whether the part of the source up to ``offset_bytes`` is still the one that was read.
    ``counts`` are numbers (read, new, duplicate, unknown, broken, …), ``report`` is what else there is to tell.
    """

    __tablename__: ClassVar[str] = "imports"
    __table_args__ = (
        one_of("status", ImportStatus),
        sa.CheckConstraint("importer <> ''", name="importer"),
        sa.CheckConstraint("source <> ''", name="source"),
        sa.CheckConstraint("offset_bytes >= 0", name="offset_bytes"),
        sa.CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_has_time"),
        sa.Index("ix_imports_by_source", "importer", "source", "id"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    importer: Name = column(TEXT)
    source: PathText = column(TEXT)
    fingerprint: Text = column(TEXT)
    offset_bytes: Count = column(INTEGER, default=0)
    status: ImportStatus = column(EnumText(ImportStatus), default=ImportStatus.RUNNING)
    started_at: Utc = column(UtcDateTime)
    finished_at: Utc | None = column(UtcDateTime, default=None)
    counts: JsonObject = column(Json, default_factory=FrozenDict)
    report: JsonObject = column(Json, default_factory=FrozenDict)


def import_reference() -> Any:
    """Return the field of a row that an import may have brought; nothing where it was made here."""
    return column(INTEGER, default=None, foreign_key="imports.id", ondelete="SET NULL")


def brought_by_import(table: str) -> sa.Index:
    """Return the index of the rows of a table that imports brought, by import: what an undo goes by."""
    return partial_index(f"ix_{table}_by_import", "import_id", where="import_id IS NOT NULL")
