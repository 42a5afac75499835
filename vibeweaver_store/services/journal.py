"""The journal: what coding agents wrote of their own work, line by line.

The whole of it under one name: what is written here, and what stands in ``journal_lines``, ``journal_lookup`` and
``journal_usage``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.hot import Hot, among
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.journal import JournalEvent
from vibeweaver_store.services.import_rows import require_imports
from vibeweaver_store.services.journal_lines import KNOWN_TYPES, NewEvent, columns_of
from vibeweaver_store.services.journal_lookup import (
    EventKey,
    EventRef,
    count,
    counts,
    find,
    follow,
    for_session,
    for_source,
    get,
    iterate,
    latest_source_session,
    read_ref,
    recent,
    source_sessions_of,
    thread,
)
from vibeweaver_store.services.journal_usage import Usage, add_up, usage
from vibeweaver_store.services.sessions import hold, topic
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork, upsert

__all__ = [
    "KNOWN_TYPES",
    "EventKey",
    "EventRef",
    "Ingested",
    "NewEvent",
    "Usage",
    "add_up",
    "associate",
    "columns_of",
    "count",
    "counts",
    "find",
    "follow",
    "for_session",
    "for_source",
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
        ids: the id of each line's event in the order given, whether it is new or was there; for :func:`associate`. It
            does not count when two outcomes are compared.
    """

    read: int
    new: int
    duplicate: int
    unknown: int
    ids: tuple[int, ...] = field(default=(), compare=False)


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
    ids: list[int] = []
    new = unknown = 0
    while batch := list(islice(lines, _BATCH)):
        brought_by |= _require_imports(uow, {line["import_id"] for line in batch} - brought_by)
        held |= _hold(uow, {line["session_id"] for line in batch} - {None} - held)
        written = _insert(uow, batch)
        noted |= _note_activity(uow, {each.session_id for each in written.new if each.session_id is not None} - noted)
        new += len(written.new)
        unknown += sum(each.event_type not in KNOWN_TYPES for each in written.new)
        ids += written.ids
    return Ingested(len(ids), new, len(ids) - new, unknown, tuple(ids))


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


_Key: TypeAlias = tuple[str, str]
"""As :class:`EventKey`, but cheaper to make."""


class _New(NamedTuple):
    """A line that was written: its type, and the session that it belongs to."""

    event_type: str
    session_id: str | None


class _Written(NamedTuple):
    """What became of a batch: the lines that were written, and the ids of all of its lines, in its order."""

    new: Sequence[_New]
    ids: Sequence[int]


def _insert(uow: UnitOfWork, batch: list[dict[str, Any]]) -> _Written:
    """Write the lines that are not there, though another process wrote them meanwhile."""
    keys = [(line["source_session_id"], line["event_uuid"]) for line in batch]
    if uow.backend == "sqlite":
        return _insert_fresh(uow, keys, batch)
    # Left out, a column that is empty would have lines with and without it go in one each.
    written = uow.execute(_keep(), batch, execution_options={"render_nulls": True}).all()
    ids = {(source, uuid): event_id for source, uuid, event_id, _, _ in written}
    ids |= _there(uow, set(keys) - ids.keys())
    return _Written([_New(event_type, session_id) for *_, event_type, session_id in written], [ids[k] for k in keys])


_ADD: Final = Hot(
    sa.insert(JournalEvent).inline(), names={name: name for name in JournalEvent.model_fields if name != "id"}
)
_THERE: Final = Hot(
    sa.select(col(JournalEvent.event_uuid), col(JournalEvent.id)).where(
        col(JournalEvent.source_session_id) == sa.bindparam("source"), among(col(JournalEvent.event_uuid), "uuids")
    )
)
_LAST: Final = Hot(sa.select(sa.func.max(col(JournalEvent.id))))


def _insert_fresh(uow: UnitOfWork, keys: Sequence[_Key], batch: list[dict[str, Any]]) -> _Written:
    """Write the lines that are not there; on SQLite nobody writes meanwhile. Of those that come twice, the first."""
    fresh = dict(zip(reversed(keys), reversed(batch), strict=True))
    ids = _there(uow, fresh)
    new = [(key, fresh.pop(key)) for key in keys if key in fresh and key not in ids]
    if not new:
        return _Written([], [ids[key] for key in keys])
    _ADD.many(uow, [line for _, line in new])
    # AUTOINCREMENT gives each row the next number after the greatest one.
    (last,) = _LAST.first(uow) or (0,)
    ids.update(zip((key for key, _ in new), range(last - len(new) + 1, last + 1), strict=True))
    return _Written([_New(line["event_type"], line["session_id"]) for _, line in new], [ids[key] for key in keys])


def _there(uow: UnitOfWork, keys: Iterable[_Key]) -> dict[_Key, int]:
    """Return the ids of the events that are there, by their keys."""
    uuids: dict[str, list[str]] = defaultdict(list)
    for source, uuid in keys:
        uuids[source].append(uuid)
    return {
        (source, uuid): event_id
        for source, of_source in uuids.items()
        for uuid, event_id in _THERE.all(uow, source=source, uuids=of_source)
    }


@cache
def _keep() -> Any:
    key = [col(JournalEvent.source_session_id), col(JournalEvent.event_uuid)]
    statement = upsert(JournalEvent, "postgresql").on_conflict_do_nothing(index_elements=key)
    # What comes back is what was written: a count of affected rows is not exact when there are many statements.
    told = [col(JournalEvent.id), col(JournalEvent.event_type), col(JournalEvent.session_id)]
    return statement.returning(*key, *told)


def _note_activity(uow: UnitOfWork, session_ids: set[str]) -> set[str]:
    for session_id in session_ids:
        hold(uow, session_id)
        uow.announce(topic(session_id))
    return session_ids


def associate(uow: UnitOfWork, event_ids: Iterable[EventRef], session_id: str) -> int:
    """Have events belong to one of our sessions, whichever they belonged to, and return how many did not before.

    They keep their place in the order of the journal: who follows the session is not shown those that are older than
    what was seen already.

    Args:
        uow: the unit of work to write in.
        event_ids: which events: ids, as :func:`ingest` returns them, or :class:`EventKey` values.
        session_id: our session.

    Raises:
        NotFound: there is no such session, or an event is not there; none is changed.
        InvalidInput: an id is refused.
    """
    refs = _refs(event_ids)
    hold(uow, session_id, active=False)
    ids = _ids(uow, refs)
    batches = [ids[start : start + _IDS] for start in range(0, len(ids), _IDS)]
    for batch in batches:
        _require_events(uow, batch)
    changed = sum(_associate(uow, batch, session_id) for batch in batches)
    if changed:
        _note_activity(uow, {session_id})
    return changed


def _refs(values: Iterable[EventRef]) -> set[int | EventKey]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise InvalidInput(f"event_ids: must be a list of ids (got {shown(values)})", field="event_ids")
    return {read_ref(value, field="event_ids") for value in values}


def _ids(uow: UnitOfWork, refs: set[int | EventKey]) -> list[int]:
    """Return the ids of events, in order, each once.

    Raises:
        NotFound: there is no event of a key.
    """
    keys = [ref for ref in refs if isinstance(ref, EventKey)]
    found = _there(uow, keys)
    missing = next((key for key in sorted(keys) if key not in found), None)
    if missing is not None:
        raise NotFound("journal event", tuple(missing))
    return sorted({*found.values(), *(ref for ref in refs if isinstance(ref, int))})


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
