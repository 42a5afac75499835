"""Markers: named places on a session's timeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import BeatPosition, Id
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models.weaving import Marker
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import expect_many, require_free_ids
from vibeweaver_store.services.sessions import require_session
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


@dataclass(frozen=True, slots=True)
class NewMarker:
    """A marker to be added, for :func:`add_many`; ``marker_id`` is an id of your own."""

    beat: float
    name: str
    metadata: Any = None
    marker_id: str | None = None


_MARKERS: Final = HotInsert(Marker)


def add(
    uow: UnitOfWork,
    session_id: str,
    beat: float,
    name: str,
    *,
    metadata: Any = None,
    marker_id: str | None = None,
) -> Marker:
    """Add a marker to a session's timeline.

    Args:
        uow: the unit of work to write in.
        session_id: whose timeline it is.
        beat: where, in beats from the start; finite. Below 0 it lies in a count-in or a pick-up bar.
        name: what it is called; names may repeat.
        metadata: a JSON value of your own; ``None`` is none.
        marker_id: an id of your own; a UUIDv7 by default.

    Raises:
        NotFound: there is no such session.
        InvalidInput: a value is refused.
        AlreadyExists: the id is taken.
    """
    marker = _build(uow, session_id, NewMarker(beat, name, metadata, marker_id))
    require_session(uow, session_id)
    if marker_id is not None:
        require_free_ids(uow, Marker, [marker_id])
    return _MARKERS.insert(uow, marker)


def add_many(uow: UnitOfWork, session_id: str, markers: Iterable[NewMarker]) -> list[Marker]:
    """Add markers to a session's timeline.

    Raises:
        NotFound: there is no such session.
        InvalidInput: a marker is refused; none is added.
        AlreadyExists: an id is taken, or comes twice; none is added.
    """
    new = list(expect_many(NewMarker, markers, field="markers"))
    built = [_build(uow, session_id, marker) for marker in new]
    require_session(uow, session_id)
    require_free_ids(uow, Marker, [marker.marker_id for marker in new if marker.marker_id is not None])
    return _MARKERS.insert_all(uow, built)


def _build(uow: ReadUnitOfWork, session_id: str, new: NewMarker) -> dict[str, Any]:
    own_id: dict[str, Any] = {} if new.marker_id is None else {"id": new.marker_id}
    metadata = dict(new.metadata) if isinstance(new.metadata, Mapping) else new.metadata
    values = {**own_id, "session_id": session_id, "beat": new.beat, "name": new.name, "metadata_": metadata}
    return _MARKERS.checked(values, created_at=uow.now())


def get(uow: ReadUnitOfWork, marker_id: str) -> Marker:
    """Return a marker by its id.

    Raises:
        NotFound: there is none.
    """
    marker = find(uow, marker_id)
    if marker is None:
        raise NotFound("marker", marker_id)
    return marker


def find(uow: ReadUnitOfWork, marker_id: str) -> Marker | None:
    """Return a marker by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, marker_id, field="marker_id")
    return uow.exec(select(Marker).where(col(Marker.id) == key)).one_or_none()


_BY_BEAT = (col(Marker.beat), col(Marker.id))


def page(
    uow: ReadUnitOfWork, session_id: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[Marker]:
    """Return a session's markers by beat, ties by id. A session that is not there has none.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    key = require(Id, session_id, field="session_id")
    order = Order(["markers", key], _BY_BEAT, within=[(col(Marker.session_id), key)])
    return fetch(uow, Marker, order, limit=limit, cursor=cursor)


def between(
    uow: ReadUnitOfWork,
    session_id: str,
    from_beat: float,
    to_beat: float,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Marker]:
    """Return a session's markers with ``from_beat <= beat < to_beat``, by beat: ranges that meet share none.

    Raises:
        InvalidInput: a beat is no finite number, the range runs backwards, the limit is not 1 to 1,000, or the
            cursor is not of this listing.
    """
    key = require(Id, session_id, field="session_id")
    first: float = require(BeatPosition, from_beat, field="from_beat")
    last: float = require(BeatPosition, to_beat, field="to_beat")
    if last < first:
        raise InvalidInput(f"to_beat: {last} lies before from_beat {first}", field="to_beat")
    of_session = [(col(Marker.session_id), key)]
    order = Order(["markers between", key, first, last], _BY_BEAT, within=of_session, span=(first, last))
    return fetch(uow, Marker, order, limit=limit, cursor=cursor)


def delete(uow: UnitOfWork, marker_id: str) -> None:
    """Delete a marker.

    Raises:
        NotFound: there is no such marker.
    """
    key = require(Id, marker_id, field="marker_id")
    if uow.exec(sa.delete(Marker).where(col(Marker.id) == key)).rowcount == 0:
        raise NotFound("marker", key)
