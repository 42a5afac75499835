"""Brings in a database of lulu (seed 001): sessions of agents with their working directories and messages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import PathText
from vibeweaver_store.importers.foreign_database import (
    ForeignDatabase,
    ForeignRow,
    Layout,
    fingerprint,
    in_batches,
    opened,
)
from vibeweaver_store.importers.keeping import Kept
from vibeweaver_store.importers.nearest_words import read_word
from vibeweaver_store.importers.recorded import Part, keep_activity, note_activity, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.refreshing import bring_again, find_earlier
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
    """Bring in a lulu database, a unit of work a session; again, and it brings what came since.

    Sessions and messages each count as an item. Messages come in the order of their times, equal ones as they were
    inserted. A session follows its source until somebody changes it here; messages that it has not yet are appended
    either way. What cannot be read is left out and reported, the rest goes in.

    lulu's columns take any word: a status or a role that is none of ours is read as the nearest, and a message without
    content says ``(empty)`` until its source has some. The words themselves, and columns that have no place here, are
    kept in the session's attributes under ``lulu``, and the report tells of them.

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


EMPTY: Final = "(empty)"
"""What a message says here that has no content in lulu, because it is being written, say."""


def _bring_session(source: ForeignDatabase, redact: bool, row: ForeignRow, uow: UnitOfWork, part: Part) -> None:
    kept = Kept(IMPORTER, Redactor(redact))
    said = source.rows("messages", session_id=row.key, order_by=["timestamp"])
    session = part.attempt(row, partial(_session, row, kept, part.import_id))
    if session is None:
        part.refuse(said, "its session was left out")
        return
    earlier = find_earlier(uow, IMPORTER, session.id)
    if earlier is None:
        if PurePosixPath(row["working_dir"]).is_absolute():  # of any other, it is not known where it was
            session.workspace_id = workspaces.ensure(uow, row["working_dir"], import_id=part.import_id).id
        uow.insert(session)
        part.counts.sessions += 1
        part.counts.new += 1
    else:
        note_activity(uow, part, [session.id])
        kept.take_over(earlier.session, "messages")
        session.attributes = kept.within({})
        if not bring_again(uow, part, earlier, session, item=row):
            kept.forget_notes()
    for batch in in_batches(said):
        _bring_messages(batch, kept, session.id, uow, part)
    kept.add_to(uow, part, session, earlier)
    kept.tell(part)
    part.counts.redacted += kept.redactor.count
    keep_activity(uow, part, [session.id])


class _Said(NamedTuple):
    """A message: as its source has it, and as it is to be appended."""

    row: ForeignRow
    new: NewMessage
    is_empty: bool


def _bring_messages(rows: Sequence[ForeignRow], kept: Kept, session_id: str, uow: UnitOfWork, part: Part) -> None:
    tried = (part.attempt(row, partial(_message, row, kept.redactor, part.import_id)) for row in rows)
    read = [message for message in tried if message is not None]
    there = _there(uow, session_id, [message.new.public_id for message in read])
    fresh = [message for message in read if message.new.public_id not in there]
    for message in fresh:
        _keep(kept, message)
    new = messages.append_many(uow, session_id, [message.new for message in fresh], if_exists="ignore")
    written = [each for each in read if there.get(each.new.public_id) and not each.is_empty]
    for message in written:
        _fill_in(uow, kept, session_id, message)
    part.counts.messages += new
    part.counts.new += new
    part.counts.updated += len(written)
    part.counts.duplicate += len(read) - new - len(written)


def _there(uow: UnitOfWork, session_id: str, keys: Sequence[str | None]) -> dict[str | None, bool]:
    """Return the messages that are there, each with whether it had no content when it was imported."""
    is_empty = (col(Message.content) == EMPTY) & col(Message.import_id).is_not(None)
    found = sa.select(col(Message.public_id), is_empty).where(
        col(Message.session_id) == session_id, col(Message.public_id).in_(keys)
    )
    return {key: bool(empty) for key, empty in uow.execute(found)}


def _fill_in(uow: UnitOfWork, kept: Kept, session_id: str, message: _Said) -> None:
    """Write the content of a message that had none when it was imported."""
    one = (col(Message.session_id) == session_id, col(Message.public_id) == message.new.public_id)
    uow.exec(sa.update(Message).where(*one).values(content=message.new.content))
    uow.announce(sessions.topic(session_id))
    kept.drop(message.row, "content")


def _keep(kept: Kept, message: _Said) -> None:
    kept.word_of(message.row, "role", MessageRole)
    kept.columns_of(message.row)
    if message.is_empty:
        kept.value_of(message.row, "content", f"messages.content is empty and is stored as {EMPTY}")


def _refuse_strays(source: ForeignDatabase, _uow: UnitOfWork, part: Part) -> None:
    part.refuse(source.strays("messages"), "its session is not there")


def _session(row: ForeignRow, kept: Kept, import_id: int) -> Session:
    updated_at, status = row.time("updated_at"), kept.word_of_session(row, "status", SessionStatus)
    kept.columns_of_session(row)
    name = kept.redactor.strike(row["name"])
    return Session.build(
        id=row["id"],
        kind=SessionKind.AGENT,
        name=None if isinstance(name, str) and not name.strip() else name,
        tempo_bpm=None,
        status=status,
        working_dir=require(PathText, row["working_dir"], field="working_dir"),
        attributes=kept.within({}),
        created_at=row.time("created_at"),
        updated_at=updated_at,
        completed_at=updated_at if status in FINAL else None,
        last_activity_at=updated_at,
        import_id=import_id,
    )


def _message(row: ForeignRow, redactor: Redactor, import_id: int) -> _Said:
    content = redactor.strike(row["content"])
    is_empty = isinstance(content, str) and not content.strip()
    checked = Message.build(
        public_id=row["id"],
        session_id=row["session_id"],
        role=read_word(MessageRole, row["role"], field="role")[0],
        content=EMPTY if is_empty else content,
        created_at=row.time("timestamp"),
    )
    new = NewMessage(
        role=checked.role,
        content=checked.content,
        public_id=checked.public_id,
        created_at=checked.created_at,
        import_id=import_id,
    )
    return _Said(row, new, is_empty)
