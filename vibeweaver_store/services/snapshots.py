"""Snapshots: versions of a session's state, opaque bytes that are checked when they are loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import Field
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id
from vibeweaver_store.errors import CorruptData, InvalidInput, NotFound
from vibeweaver_store.hot import HotRows
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models.weaving import Snapshot
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, confined, fetch, ordered
from vibeweaver_store.services.sessions import hold
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

MAX_STATE_BYTES = 256 * 1024 * 1024
"""The largest state that is taken, in bytes."""

_Keep = Annotated[Count, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot without its state. ``size_bytes`` is the length of the state, ``sha256`` its checksum in hex."""

    id: int
    session_id: str
    size_bytes: int
    sha256: str
    label: str | None
    captured_at: datetime


_INFO_COLUMNS: tuple[Any, ...] = (
    col(Snapshot.id),
    col(Snapshot.session_id),
    col(Snapshot.size_bytes),
    col(Snapshot.sha256),
    col(Snapshot.label),
    col(Snapshot.captured_at),
)


_SNAPSHOTS: Final = HotInsert(Snapshot)
_SESSION_ID: Final = sa.bindparam("session_id", type_=sa.Text())
_ONE: Final = HotRows(
    Snapshot, select(Snapshot).where(col(Snapshot.session_id) == _SESSION_ID, col(Snapshot.id) == sa.bindparam("id"))
)
# The session as a range has PostgreSQL keep to its index; see paging.confined.
_NEWEST: Final = HotRows(
    Snapshot,
    select(Snapshot)
    .where(col(Snapshot.session_id) >= _SESSION_ID, col(Snapshot.session_id) <= _SESSION_ID)
    .order_by(col(Snapshot.session_id).desc(), col(Snapshot.id).desc())
    .limit(1),
)


def _order(session_id: str) -> Order:
    """Newest first."""
    return Order(
        ["snapshots", session_id], [col(Snapshot.id)], falling=True, within=[(col(Snapshot.session_id), session_id)]
    )


def save(
    uow: UnitOfWork,
    session_id: str,
    state: bytes,
    *,
    label: str | None = None,
    keep: int | None = None,
) -> SnapshotInfo:
    """Save a version of a session's state.

    Args:
        uow: the unit of work to write in.
        session_id: whose state it is.
        state: the bytes, 0 to 256 MiB.
        label: what to call this version.
        keep: afterwards delete all but this many of the newest, this one among them.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the state is no bytes or too large, the label is blank, or ``keep`` is less than 1.
    """
    if not isinstance(state, bytes | bytearray | memoryview):
        raise InvalidInput(f"state: must be bytes (got {type(state).__name__})", field="state")
    data = bytes(state)
    if len(data) > MAX_STATE_BYTES:
        raise InvalidInput(f"state: {len(data):,} bytes are more than {MAX_STATE_BYTES:,}", field="state")
    if keep is not None:
        require(_Keep, keep, field="keep")
    row = _SNAPSHOTS.checked(
        {"session_id": session_id, "label": label},
        state=data,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        captured_at=uow.now(),
    )
    hold(uow, session_id)
    snapshot = _SNAPSHOTS.insert(uow, row)
    if keep is not None:
        prune(uow, session_id, keep=keep)
    return SnapshotInfo(*[getattr(snapshot, column.key) for column in _INFO_COLUMNS])


def load(uow: ReadUnitOfWork, session_id: str, snapshot_id: int | None = None) -> Snapshot:
    """Return a session's newest snapshot, or the one with this id, with its ``state``.

    Raises:
        NotFound: the session has none, or none with this id.
        InvalidInput: an id is of a wrong type, or blank.
        CorruptData: the state is not what was saved: its checksum does not hold.
    """
    snapshot = find(uow, session_id, snapshot_id)
    if snapshot is None:
        raise NotFound("snapshot of session", session_id if snapshot_id is None else (session_id, snapshot_id))
    return snapshot


def find(uow: ReadUnitOfWork, session_id: str, snapshot_id: int | None = None) -> Snapshot | None:
    """Return a session's newest snapshot, or the one with this id, with its ``state``; ``None`` where there is none.

    Raises:
        InvalidInput: an id is of a wrong type, or blank.
        CorruptData: the state is not what was saved: its checksum does not hold.
    """
    key = require(Id, session_id, field="session_id")
    if snapshot_id is None:
        snapshot = _NEWEST.first(uow, session_id=key)
    else:
        snapshot = _ONE.first(uow, session_id=key, id=require(Count, snapshot_id, field="snapshot_id"))
    if snapshot is None:
        return None
    found = hashlib.sha256(snapshot.state).hexdigest()
    if found != snapshot.sha256:
        raise CorruptData(
            f"snapshot {snapshot.id} of session {key!r} is damaged: its SHA-256 is {found}, not {snapshot.sha256}"
        )
    return snapshot


def page(
    uow: ReadUnitOfWork, session_id: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[SnapshotInfo]:
    """Return a session's snapshots, newest first, without their states.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    key = require(Id, session_id, field="session_id")
    found = fetch(uow, select(*_INFO_COLUMNS), _order(key), limit=limit, cursor=cursor)
    return found.with_items([SnapshotInfo(*row) for row in found.items])


def prune(uow: UnitOfWork, session_id: str, *, keep: int) -> int:
    """Delete all but a session's newest ``keep`` snapshots, and return how many were deleted.

    Raises:
        InvalidInput: ``keep`` is no whole number from 1.
    """
    key = require(Id, session_id, field="session_id")
    kept = require(_Keep, keep, field="keep")
    newest = ordered(uow, select(col(Snapshot.id)), _order(key))
    oldest_kept = newest.offset(kept - 1).limit(1).scalar_subquery()
    # As a row, so that PostgreSQL goes by the session's index, and not through everybody's older snapshots.
    older = sa.tuple_(col(Snapshot.session_id), col(Snapshot.id)) < sa.tuple_(sa.literal(key), oldest_kept)
    statement = sa.delete(Snapshot).where(*confined(uow, _order(key)), older)
    deleted: int = uow.exec(statement, execution_options={"synchronize_session": False}).rowcount
    return deleted
