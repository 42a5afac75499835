"""The journal: what coding agents wrote of their own work, line by line.

The whole of it under one name: what is written here, and what stands in ``journal_lines``, ``journal_lookup`` and
``journal_usage``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.hot import Hot, among
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.journal import JournalEvent
from vibeweaver_store.services.import_rows import require_imports
from vibeweaver_store.services.journal_lines import KNOWN_TYPES, NewEvent, columns_of
from vibeweaver_store.services.journal_lookup import (
    count,
    find,
    follow,
    for_session,
    get,
    iterate,
    latest_source_session,
    recent,
    source_sessions_of,
    thread,
)
from vibeweaver_store.services.journal_usage import Usage, add_up, usage
from vibeweaver_store.services.sessions import hold, topic
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork, upsert
from vibeweaver_store.validation import require

__all__ = [
    "KNOWN_TYPES",
    "Ingested",
    "NewEvent",
    "Usage",
    "add_up",
    "associate",
    "columns_of",
    "count",
    "find",
    "follow",
    "for_session",
    "get",
    "ingest",
    "iterate",
    "latest_source_session",
    "recent",
    "source_sessions_of",
    "thread",
    "usage",
]

_BATCH = 100
"""How many lines are written at once: a line may be a megabyte."""
_IDS = 1000


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the lines that were handed to :func:`ingest`.

    Attributes:
        read: how many there were.
        new: how many were not there before.
        duplicate: how many were: read and not new.
        unknown: how many of the new ones are of a type that is not among :data:`KNOWN_TYPES`.
    """

    read: int
    new: int
    duplicate: int
    unknown: int


def ingest(uow: UnitOfWork, events: Iterable[NewEvent | Mapping[str, Any]]) -> Ingested:
    """Take lines into the journal, in the order given, a batch at a time; those that are there stay as they are.

    A line is there already if one of the same source session has its ``uuid``, or, of lines without one, its content.
    Lines of types that are not known are kept too.

    Args:
        uow: the unit of work to write in.
        events: the lines, each a :class:`NewEvent`, or the line alone.

    Raises:
        NotFound: a line belongs to a session or an import that is not there.
        InvalidInput: a line cannot be kept, or a value beside it is refused. What was taken in before it goes with the
            unit of work.
    """
    lines = _lines(events, as_text=uow.backend == "sqlite")
    held = _hold_all(uow, events)
    brought_by: set[int | None] = set()
    noted: set[str] = set()
    read = new = unknown = 0
    while batch := list(islice(lines, _BATCH)):
        brought_by |= _require_imports(uow, {line["import_id"] for line in batch} - brought_by)
        held |= _hold(uow, {line["session_id"] for line in batch} - {None} - held)
        written = _insert(uow, batch)
        noted |= _note_activity(uow, {session_id for _, session_id in written if session_id is not None} - noted)
        read += len(batch)
        new += len(written)
        unknown += sum(event_type not in KNOWN_TYPES for event_type, _ in written)
    return Ingested(read, new, read - new, unknown)


def _require_imports(uow: UnitOfWork, import_ids: set[int | None]) -> set[int | None]:
    require_imports(uow, import_ids)
    return import_ids


def _lines(events: Iterable[NewEvent | Mapping[str, Any]], *, as_text: bool) -> Iterator[dict[str, Any]]:
    if not isinstance(events, Iterable) or isinstance(events, str | bytes | Mapping):
        raise InvalidInput(f"events: must be a list of lines (got {shown(events)})", field="events")
    for event in events:
        if not isinstance(event, NewEvent | Mapping):
            raise InvalidInput(f"events: must hold NewEvent or JSON objects (got {shown(event)})", field="events")
        yield columns_of(event if isinstance(event, NewEvent) else NewEvent(event), as_text=as_text)


def _hold_all(uow: UnitOfWork, events: object) -> set[str]:
    """Hold the sessions of a list of lines, which can be looked through before: others may hold them in other orders.

    What comes from an iterator is held batch by batch, which may end in a deadlock where it is of several sessions.
    """
    if not isinstance(events, Sequence):
        return set()
    named = {event.session_id for event in events if isinstance(event, NewEvent)}
    session_ids = {each for each in named if isinstance(each, str)}
    _hold(uow, session_ids)
    return session_ids


def _hold(uow: UnitOfWork, session_ids: set[str]) -> set[str]:
    # In one order, so that two who hold several do not wait for each other.
    for session_id in sorted(session_ids):
        hold(uow, session_id, active=False)
    return session_ids


def _insert(uow: UnitOfWork, batch: list[dict[str, Any]]) -> Sequence[tuple[str, str | None]]:
    """Write the lines that are not there, though another process wrote them meanwhile; return type and session each."""
    if uow.backend == "sqlite":
        fresh = _fresh(uow, batch)
        _ADD.many(uow, fresh)
        return [(line["event_type"], line["session_id"]) for line in fresh]
    # Left out, a column that is empty would have lines with and without it go in one each.
    written = uow.execute(_keep(), batch, execution_options={"render_nulls": True})
    return [(event_type, session_id) for event_type, session_id in written]


_ADD: Final = Hot(
    sa.insert(JournalEvent).inline(), names={name: name for name in JournalEvent.model_fields if name != "id"}
)
_THERE: Final = Hot(
    sa.select(col(JournalEvent.event_uuid)).where(
        col(JournalEvent.source_session_id) == sa.bindparam("source"), among(col(JournalEvent.event_uuid), "uuids")
    )
)


def _fresh(uow: UnitOfWork, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines that are not there; on SQLite nobody writes meanwhile. Of those that come twice, the first."""
    fresh: dict[tuple[str, str], dict[str, Any]] = {}
    for line in batch:
        fresh.setdefault((line["source_session_id"], line["event_uuid"]), line)
    uuids: dict[str, list[str]] = defaultdict(list)
    for source, uuid in fresh:
        uuids[source].append(uuid)
    for source, of_source in uuids.items():
        for (uuid,) in _THERE.all(uow, source=source, uuids=of_source):
            del fresh[source, uuid]
    return list(fresh.values())


@cache
def _keep() -> Any:
    key = [col(JournalEvent.source_session_id), col(JournalEvent.event_uuid)]
    statement = upsert(JournalEvent, "postgresql").on_conflict_do_nothing(index_elements=key)
    # What comes back is what was written: a count of affected rows is not exact when there are many statements.
    return statement.returning(col(JournalEvent.event_type), col(JournalEvent.session_id))


def _note_activity(uow: UnitOfWork, session_ids: set[str]) -> set[str]:
    for session_id in session_ids:
        hold(uow, session_id)
        uow.announce(topic(session_id))
    return session_ids


def associate(uow: UnitOfWork, event_ids: Iterable[int], session_id: str) -> int:
    """Have events belong to one of our sessions, whichever they belonged to, and return how many did not before.

    They keep their place in the order of the journal: who follows the session is not shown those that are older than
    what was seen already.

    Raises:
        NotFound: there is no such session, or an event is not there; none is changed.
        InvalidInput: an id is refused.
    """
    ids = _ids(event_ids)
    hold(uow, session_id, active=False)
    batches = [ids[start : start + _IDS] for start in range(0, len(ids), _IDS)]
    for batch in batches:
        _require_events(uow, batch)
    changed = sum(_associate(uow, batch, session_id) for batch in batches)
    if changed:
        _note_activity(uow, {session_id})
    return changed


def _ids(values: Iterable[int]) -> list[int]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise InvalidInput(f"event_ids: must be a list of ids (got {shown(values)})", field="event_ids")
    return sorted({require(Count, value, field="event_ids") for value in values})


def _require_events(uow: ReadUnitOfWork, ids: list[int]) -> None:
    found = uow.exec(select(col(JournalEvent.id)).where(col(JournalEvent.id).in_(ids)))
    missing = set(ids) - set(found)
    if missing:
        raise NotFound("journal event", min(missing))


def _associate(uow: UnitOfWork, ids: list[int], session_id: str) -> int:
    owner = col(JournalEvent.session_id)
    statement = (
        sa.update(JournalEvent)
        .where(col(JournalEvent.id).in_(ids), owner.is_distinct_from(session_id))
        .values(session_id=session_id)
    )
    changed: int = uow.exec(statement, execution_options={"synchronize_session": False}).rowcount
    return changed
