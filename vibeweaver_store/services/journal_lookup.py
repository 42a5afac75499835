"""The journal looked up: a session's events as pages, one by one as they come, and by the chain of their parents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, overload

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.columns import Count, Id, Name, StrictBool, Utc
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.journal import JournalEvent
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, check_limit, fetch, ordered
from vibeweaver_store.services.logs import follow_log
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require

_LINES_AT_ONCE = 100
"""How many events are read at once by what goes through many: a line may be a megabyte."""


class EventKey(NamedTuple):
    """The key that an event has in the program that wrote it: its session's name there, and its uuid.

    A uuid alone is not enough: forked transcripts repeat them.
    """

    source_session_id: str
    event_uuid: str


EventRef: TypeAlias = int | EventKey | tuple[str, str]
"""An event by its id here, or by its :class:`EventKey`; any pair of two texts is read as one."""


def get(uow: ReadUnitOfWork, event_id: EventRef) -> JournalEvent:
    """Return an event by its id, or by its :class:`EventKey`.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no whole number from 0, and no pair of ids.
    """
    event = find(uow, event_id)
    if event is None:
        raise NotFound("journal event", tuple(event_id) if isinstance(event_id, tuple) else event_id)
    return event


def find(uow: ReadUnitOfWork, event_id: EventRef) -> JournalEvent | None:
    """Return an event by its id, or by its :class:`EventKey`; ``None`` if there is none.

    Raises:
        InvalidInput: the id is no whole number from 0, and no pair of ids.
    """
    ref = read_ref(event_id, field="event_id")
    if isinstance(ref, int):
        return uow.exec(select(JournalEvent).where(col(JournalEvent.id) == ref)).one_or_none()
    of_key = (col(JournalEvent.source_session_id) == ref.source_session_id, col(JournalEvent.event_uuid) == ref[1])
    return uow.exec(select(JournalEvent).where(*of_key)).one_or_none()


def read_ref(value: object, *, field: str) -> int | EventKey:
    """Return what an event is named by: an id, or an :class:`EventKey`.

    Raises:
        InvalidInput: it is neither.
    """
    if not isinstance(value, tuple):
        key: int = require(Count, value, field=field)
        return key
    if len(value) != 2:
        raise InvalidInput(f"{field}: must be a source session and a uuid (got {shown(value)})", field=field)
    return EventKey(*[require(Id, each, field=field) for each in value])


def recent(uow: ReadUnitOfWork, limit: int = DEFAULT_LIMIT) -> list[JournalEvent]:
    """Return the last events of all sessions, and of none, newest first; at most 1,000.

    Raises:
        InvalidInput: the limit is not 1 to 1,000.
    """
    newest_first = select(JournalEvent).order_by(col(JournalEvent.id).desc())
    return list(uow.exec(newest_first.limit(check_limit(limit))))


def for_session(
    uow: ReadUnitOfWork,
    session_id: str,
    *,
    event_type: str | None = None,
    sidechain: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[JournalEvent]:
    """Return a session's events in the order in which they were taken in, or the other way round.

    Of a range of time they come in the order of their times instead, and those without a time do not come at all. A
    session that is not there has none. A page at any depth costs what the first costs, but for what is passed over.

    Args:
        uow: the unit of work to read in.
        session_id: whose events.
        event_type: only lines of this type, ``assistant`` say. Within a range of time, the lines of other types are
            read and passed over.
        sidechain: only what sub-agents did, or only what the main one did; the other lines are passed over.
        since: only from this time on.
        until: only before this time.
        newest_first: the other way round.
        limit: how many, 1 to 1,000. An event brings its whole line, which may be a megabyte.
        cursor: where to go on.

    Raises:
        InvalidInput: a filter is of a wrong type, ``until`` lies before ``since``, the limit is not 1 to 1,000, or the
            cursor is not of this listing.
    """
    require(StrictBool, newest_first, field="newest_first")
    first, end = checked_range(since, until)
    kind = None if event_type is None else require(Name, event_type, field="event_type")
    of_side = [] if sidechain is None else [_is_sidechain(sidechain)]
    if first is None and end is None:
        order = _order(session_id, kind, sidechain, newest_first=newest_first)
        source = select(JournalEvent).where(*of_side) if of_side else JournalEvent
        return fetch(uow, source, order, limit=limit, cursor=cursor)
    order = Order(
        ["journal by time", session_id, kind, sidechain, first, end, newest_first],
        [col(JournalEvent.timestamp), col(JournalEvent.id)],
        falling=newest_first,
        within=[(col(JournalEvent.session_id), require(Id, session_id, field="session_id"))],
        span=(first, end),
    )
    of_kind = [] if kind is None else [col(JournalEvent.event_type) == kind]
    return fetch(uow, select(JournalEvent).where(*of_side, *of_kind), order, limit=limit, cursor=cursor)


def for_source(
    uow: ReadUnitOfWork,
    source_session_id: str,
    *,
    newest_first: bool = False,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[JournalEvent]:
    """Return the events of one source session in the order they were ingested, or newest first.

    They come whether they belong to one of our sessions or to none. An unknown source session has none.

    Args:
        uow: the unit of work to read in.
        source_session_id: the name of the session in the program that wrote the events.
        newest_first: the other way round.
        limit: how many, 1 to 1,000. An event brings its whole line, which may be a megabyte.
        cursor: where to go on.

    Raises:
        InvalidInput: the source session is blank or no text, the limit is not 1 to 1,000, or the cursor is not of this
            listing.
    """
    falling = require(StrictBool, newest_first, field="newest_first")
    source = require(Id, source_session_id, field="source_session_id")
    order = Order(
        ["journal of a source", source, falling],
        [col(JournalEvent.id)],
        falling=falling,
        within=[(col(JournalEvent.source_session_id), source)],
    )
    return fetch(uow, JournalEvent, order, limit=limit, cursor=cursor)


def _order(session_id: str, event_type: str | None, sidechain: bool | None, *, newest_first: bool) -> Order:
    return Order(
        ["journal", session_id, event_type, sidechain, newest_first],
        [col(JournalEvent.id)],
        falling=newest_first,
        within=_within(session_id, event_type),
    )


def _within(session_id: str, event_type: str | None) -> list[tuple[Any, Any]]:
    fixed = [(col(JournalEvent.session_id), require(Id, session_id, field="session_id"))]
    if event_type is not None:
        fixed.append((col(JournalEvent.event_type), require(Name, event_type, field="event_type")))
    return fixed


def _is_sidechain(sidechain: bool) -> sa.ColumnElement[bool]:
    # No index has it: most lines are of one side, and those of the other stand together.
    wanted: bool = require(StrictBool, sidechain, field="sidechain")
    return col(JournalEvent.is_sidechain) == wanted


def checked_range(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Return the ends of a range of time, either of which may be open, in UTC.

    Raises:
        InvalidInput: one is no datetime with a time zone, or ``until`` lies before ``since``.
    """
    first = None if since is None else require(Utc, since, field="since")
    end = None if until is None else require(Utc, until, field="until")
    if first is not None and end is not None and end < first:
        raise InvalidInput(f"until: {end} lies before since {first}", field="until")
    return first, end


def iterate(
    store: Store,
    session_id: str,
    *,
    event_type: str | None = None,
    sidechain: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    page_size: int = _LINES_AT_ONCE,
) -> Iterator[JournalEvent]:
    """Yield all of a session's events, page by page; no transaction is held open in between.

    Events taken in meanwhile come where the order puts them: at the end; newest first, not at all.

    Raises:
        InvalidInput: as :func:`for_session` does.
    """
    return store.iterate(
        for_session,
        session_id,
        limit=page_size,
        event_type=event_type,
        sidechain=sidechain,
        since=since,
        until=until,
        newest_first=newest_first,
    )


@overload
def follow(
    store: Store,
    session_id: str,
    *,
    after: int | str | None = None,
    event_type: str | None = None,
    sidechain: bool | None = None,
    idle_seconds: float | None = None,
) -> Iterator[JournalEvent]: ...


@overload
def follow(
    store: AsyncStore,
    session_id: str,
    *,
    after: int | str | None = None,
    event_type: str | None = None,
    sidechain: bool | None = None,
    idle_seconds: float | None = None,
) -> AsyncIterator[JournalEvent]: ...


def follow(
    store: Store | AsyncStore,
    session_id: str,
    *,
    after: int | str | None = None,
    event_type: str | None = None,
    sidechain: bool | None = None,
    idle_seconds: float | None = None,
) -> Iterator[JournalEvent] | AsyncIterator[JournalEvent]:
    """Yield a session's events, and go on with what any process takes in, as it is committed.

    None is missed and none comes twice: see :func:`vibeweaver_store.history.follow`. Events that are associated with
    the session later come only where they are newer than what was seen.

    Args:
        store: where; an :class:`AsyncStore` gives an asynchronous iterator.
        session_id: whose events.
        after: the id of an event, or a cursor of :func:`for_session` (with the same filters), to begin behind; by
            default it begins with the first event, and with 0.
        event_type: only lines of this type.
        sidechain: only what sub-agents did, or only what the main one did.
        idle_seconds: end when nothing came for so long; by default it goes on until the store is closed.

    Raises:
        NotFound: there is no such session.
        InvalidInput: an argument is of a wrong type, or the cursor is not of this listing.
        StoreUnavailable: the store was closed meanwhile, or the database cannot be reached.
    """
    order = _order(session_id, event_type, sidechain, newest_first=False)

    def few(uow: ReadUnitOfWork, session_id: str, limit: int, cursor: str | None) -> Page[JournalEvent]:
        at_once = min(limit, _LINES_AT_ONCE)
        return for_session(uow, session_id, event_type=event_type, sidechain=sidechain, limit=at_once, cursor=cursor)

    return follow_log(store, session_id, few, order, after=after, idle_seconds=idle_seconds)


def count(uow: ReadUnitOfWork, session_id: str, *, event_type: str | None = None) -> int:
    """Return how many events a session has, of a type where given.

    Raises:
        InvalidInput: the id or the type is refused.
    """
    fixed = [column == value for column, value in _within(session_id, event_type)]
    return uow.exec(select(sa.func.count()).select_from(JournalEvent).where(*fixed)).one()


def counts(uow: ReadUnitOfWork, session_id: str) -> dict[str, int]:
    """Return how many events of each type a session has, by type in alphabetical order; no type has 0.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    return counts_of(uow, [require(Id, session_id, field="session_id")]).get(session_id, {})


def counts_of(uow: ReadUnitOfWork, session_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many events of each type sessions have, by session; those that have none are not in it."""
    owner, kind = col(JournalEvent.session_id), col(JournalEvent.event_type)
    statement = sa.select(owner, kind, sa.func.count()).where(owner.in_(session_ids)).group_by(owner, kind)
    found: dict[str, dict[str, int]] = {}
    for session_id, event_type, number in sorted(uow.execute(statement)):
        found.setdefault(session_id, {})[event_type] = number
    return found


def source_sessions_of(uow: ReadUnitOfWork, session_id: str) -> list[str]:
    """Return the agent's own names for its sessions that our session has events of, in order of first appearance.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    source, owner = col(JournalEvent.source_session_id), col(JournalEvent.session_id)
    key = require(Id, session_id, field="session_id")
    statement = select(sa.func.min(JournalEvent.id), source).where(owner == key).group_by(source)
    return [name for _, name in sorted(uow.exec(statement))]


def latest_source_session(uow: ReadUnitOfWork, session_id: str) -> str | None:
    """Return the agent's own name for its session of our session's newest event: what the agent resumes by.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    order = _order(session_id, None, None, newest_first=True)
    return uow.exec(ordered(uow, select(col(JournalEvent.source_session_id)), order).limit(1)).first()


def thread(uow: ReadUnitOfWork, event_id: EventRef) -> list[JournalEvent]:
    """Return an event behind its parent, that one behind its own, and so on: from the first to the event itself.

    It begins with an event without a parent, or whose parent is not in the journal of the same source session. Behind
    a compaction it goes on with what was compacted. Where events are each other's parents, none comes twice.

    Raises:
        NotFound: there is no such event.
        InvalidInput: the id is no whole number from 0, and no :class:`EventKey`.
    """
    ref = read_ref(event_id, field="event_id")
    chain = {event.event_uuid: event for event in uow.exec(_chain(ref))}
    at = next((event for event in chain.values() if ref in (event.id, _key_of(event))), None)
    if at is None:
        raise NotFound("journal event", tuple(event_id) if isinstance(event_id, tuple) else event_id)
    upward: list[JournalEvent] = []
    while at is not None:
        upward.append(chain.pop(at.event_uuid))
        at = None if at.parent_uuid is None else chain.get(at.parent_uuid)
    return upward[::-1]


def _key_of(event: JournalEvent) -> tuple[str, str]:
    return event.source_session_id, event.event_uuid


def _chain(ref: int | EventKey) -> Any:
    """Return the statement that finds an event and all that came before it, in no order."""
    source, uuid = col(JournalEvent.source_session_id), col(JournalEvent.event_uuid)
    which = sa.and_(source == ref[0], uuid == ref[1]) if isinstance(ref, tuple) else col(JournalEvent.id) == ref
    keys = [col(JournalEvent.id), source, col(JournalEvent.parent_uuid)]
    chain = sa.select(*keys).where(which).cte("chain", recursive=True)
    parent = aliased(JournalEvent)
    above = sa.select(col(parent.id), col(parent.source_session_id), col(parent.parent_uuid)).join(
        chain,
        sa.and_(
            col(parent.source_session_id) == chain.c.source_session_id, col(parent.event_uuid) == chain.c.parent_uuid
        ),
    )
    # UNION, not UNION ALL: what was found already ends a circle.
    chain = chain.union(above)
    return select(JournalEvent).where(col(JournalEvent.id).in_(sa.select(chain.c.id)))
