"""Brings in a database of lulu (seed 001): sessions of agents with their working directories and messages."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from vibeweaver_store.columns import PathText, parse_enum
from vibeweaver_store.importers.foreign_database import (
    ForeignDatabase,
    ForeignRow,
    Layout,
    fingerprint,
    in_batches,
    opened,
)
from vibeweaver_store.importers.recorded import Part, keep_activity, note_activity, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.runs import ImportReport, Progress, running
from vibeweaver_store.models import Message, MessageRole, Session, SessionKind, SessionStatus
from vibeweaver_store.models.session import FINAL
from vibeweaver_store.services import messages, sessions, workspaces
from vibeweaver_store.services.messages import NewMessage
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

IMPORTER: Final = "lulu"

LAYOUT: Final[Layout] = {
    "sessions": ("id", "name", "status", "working_dir", "created_at", "updated_at"),
    "messages": ("id", "session_id", "role", "content", "timestamp"),
}


def import_lulu(
    store: Store, path: Path, *, redact: bool = True, dry_run: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Bring in a lulu database, a unit of work a session; again, and it brings the messages that came since.

    Sessions and messages each count as an item. A session that is there already stays as it is, but for messages that
    it has not yet. They come in the order of their times, equal ones as they were inserted. What cannot be read is left
    out and told of, the rest goes in.

    Args:
        store: where to.
        path: the file; it is only read.
        redact: strike credentials and ids of organizations out of names and messages before they are stored.
        dry_run: tell what would be done, and write nothing.
        progress: is told how much of the file was dealt with, in bytes.

    Raises:
        ImportRejected: there is no such file, or it is no lulu database.
        StoreBusy: another process holds the file exclusively.
        StoreError: the store cannot be written.
    """
    with (
        opened(path, IMPORTER, LAYOUT, progress=progress) as source,
        running(store, IMPORTER, dry_run=dry_run) as run,
        recorded(run, path, fingerprint(path)) as bringing,
    ):
        for session in source.rows("sessions"):
            bringing.bring(partial(_bring_session, source, redact, session))
        bringing.bring(partial(_refuse_strays, source))
    return run.report


def _bring_session(source: ForeignDatabase, redact: bool, row: ForeignRow, uow: UnitOfWork, part: Part) -> None:
    redactor = Redactor(redact)
    said = source.rows("messages", session_id=row.key, order_by=["timestamp"])
    session = part.attempt(row, partial(_session, row, redactor, part.import_id))
    if session is None:
        part.refuse(said, "its session was left out")
        return
    if sessions.find(uow, session.id) is None:
        if PurePosixPath(row["working_dir"]).is_absolute():  # of any other, it is not known where it was
            session.workspace_id = workspaces.ensure(uow, row["working_dir"], import_id=part.import_id).id
        uow.insert(session)
        part.counts.sessions += 1
        part.counts.new += 1
    else:
        part.counts.duplicate += 1
        note_activity(uow, part, [session.id])
    for batch in in_batches(said):
        _bring_messages(batch, redactor, session.id, uow, part)
    part.counts.redacted += redactor.count
    keep_activity(uow, part, [session.id])


def _bring_messages(
    rows: Iterable[ForeignRow], redactor: Redactor, session_id: str, uow: UnitOfWork, part: Part
) -> None:
    tried = (part.attempt(row, partial(_message, row, redactor, part.import_id)) for row in rows)
    read = [message for message in tried if message is not None]
    new = messages.append_many(uow, session_id, read, if_exists="ignore")
    part.counts.messages += new
    part.counts.new += new
    part.counts.duplicate += len(read) - new


def _refuse_strays(source: ForeignDatabase, _uow: UnitOfWork, part: Part) -> None:
    part.refuse(source.strays("messages"), "its session is not there")


def _session(row: ForeignRow, redactor: Redactor, import_id: int) -> Session:
    updated_at, status = row.time("updated_at"), parse_enum(SessionStatus, row["status"])
    return Session.build(
        id=row["id"],
        kind=SessionKind.AGENT,
        name=redactor.strike(row["name"]),
        tempo_bpm=None,
        status=status,
        working_dir=require(PathText, row["working_dir"], field="working_dir"),
        created_at=row.time("created_at"),
        updated_at=updated_at,
        completed_at=updated_at if status in FINAL else None,
        last_activity_at=updated_at,
        import_id=import_id,
    )


def _message(row: ForeignRow, redactor: Redactor, import_id: int) -> NewMessage:
    checked = Message.build(
        public_id=row["id"],
        session_id=row["session_id"],
        role=parse_enum(MessageRole, row["role"]),
        content=redactor.strike(row["content"]),
        created_at=row.time("timestamp"),
    )
    return NewMessage(
        role=checked.role,
        content=checked.content,
        public_id=checked.public_id,
        created_at=checked.created_at,
        import_id=import_id,
    )
