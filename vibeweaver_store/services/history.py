"""History: what was done in a session. The log only grows; paging and tailing go by its integer key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, Final, overload

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.columns import Id, Name, StrictBool
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models.weaving import HistoryEntry
from vibeweaver_store.paging import DEFAULT_LIMIT, MAX_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.services.logs import follow_log
from vibeweaver_store.services.sessions import hold, topic
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

_ENTRIES: Final = HotInsert(HistoryEntry)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be appended, for :func:`append_many`; ``created_at`` is when it was done, now by default."""

    action: str
    params: Any = None
    result: Any = None
    success: bool = True
    created_at: datetime | None = None


def append(
    uow: UnitOfWork,
    session_id: str,
    action: str,
    *,
    params: Any = None,
    result: Any = None,
    success: bool = True,
    created_at: datetime | None = None,
) -> HistoryEntry:
    """Append one entry to a session's history.

    Args:
        uow: the unit of work to write in.
        session_id: whose history it is.
        action: what was done, ``rule.fired`` say; not blank.
        params: a JSON value: with what.
        result: a JSON value: what came of it.
        success: whether it did what it should.
        created_at: when it was done, now by default. Its place in the history is the end all the same.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the action is blank, a value is not JSON, or ``created_at`` is no datetime with a time zone.
    """
    values = {"action": action, "params": params, "result": result, "success": success}
    if created_at is not None:
        values["created_at"] = created_at
    entry = _ENTRIES.checked(values, session_id=session_id, created_at=uow.now())
    hold(uow, session_id)
    uow.announce(topic(session_id))
    return _ENTRIES.insert(uow, entry)


def append_many(uow: UnitOfWork, session_id: str, entries: Iterable[NewEntry]) -> int:
    """Append entries in the order given, a batch at a time, and return how many there were.

    Raises:
        NotFound: there is no such session.
        InvalidInput: an entry is refused; what was appended before it goes with the unit of work.
    """
    hold(uow, session_id)
    uow.announce(topic(session_id))
    count = 0
    for is_of_now, run in groupby(expect_many(NewEntry, entries, field="entries"), lambda e: e.created_at is None):
        if is_of_now:  # they share one time, which is turned into text once
            count += _ENTRIES.insert_many(uow, map(_values, run), session_id=session_id, created_at=uow.now())
        else:
            rows = ({**_values(new), "created_at": new.created_at} for new in run)
            count += _ENTRIES.insert_many(uow, rows, session_id=session_id)
    return count


def _values(new: NewEntry) -> dict[str, Any]:
    return {"action": new.action, "params": new.params, "result": new.result, "success": new.success}


def recent(uow: ReadUnitOfWork, session_id: str, limit: int = DEFAULT_LIMIT) -> list[HistoryEntry]:
    """Return a session's last entries, newest first; at most 1,000.

    Raises:
        InvalidInput: the limit is not 1 to 1,000.
    """
    return page(uow, session_id, limit=limit).items


def page(
    uow: ReadUnitOfWork,
    session_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    action: str | None = None,
    success: bool | None = None,
    oldest_first: bool = False,
) -> Page[HistoryEntry]:
    """Return a session's history, newest first, or oldest first; filtered by action and by success where given.

    The order is that of appending, whatever the times say. A session that is not there has none. A page at any depth
    costs what the first costs. Filtered by action and success both, it walks the entries of that action (or the
    failures) and passes over the others.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, a filter is of a wrong type, or the cursor is not of this listing.
    """
    order = _order(session_id, action=action, success=success, oldest_first=oldest_first)
    source = HistoryEntry if success is None else select(HistoryEntry).where(*_succeeded(success))
    return fetch(uow, source, order, limit=limit, cursor=cursor)


def _order(session_id: str, *, action: str | None, success: bool | None, oldest_first: bool) -> Order:
    return Order(
        ["history", session_id, action, success, oldest_first],
        [col(HistoryEntry.id)],
        falling=not oldest_first,
        within=_within(session_id, action),
    )


def _within(session_id: str, action: str | None) -> list[tuple[Any, str]]:
    fixed = [(col(HistoryEntry.session_id), require(Id, session_id, field="session_id"))]
    if action is not None:
        fixed.append((col(HistoryEntry.action), require(Name, action, field="action")))
    return fixed


def _succeeded(success: bool | None) -> list[sa.ColumnElement[bool]]:
    if success is None:
        return []
    # A literal, not a bound value: the index of failures only serves a query that says so.
    wanted = require(StrictBool, success, field="success")
    return [col(HistoryEntry.success) == (sa.true() if wanted else sa.false())]


def iterate(
    store: Store,
    session_id: str,
    *,
    action: str | None = None,
    success: bool | None = None,
    oldest_first: bool = False,
    page_size: int = MAX_LIMIT,
) -> Iterator[HistoryEntry]:
    """Yield all of a session's history, page by page; no transaction is held open in between.

    Entries appended meanwhile come where the order puts them: oldest first, at the end; newest first, not at all.

    Raises:
        InvalidInput: as :func:`page` does.
    """
    return store.iterate(page, session_id, limit=page_size, action=action, success=success, oldest_first=oldest_first)


@overload
def follow(
    store: Store,
    session_id: str,
    *,
    after: int | str | None = None,
    action: str | None = None,
    success: bool | None = None,
    idle_seconds: float | None = None,
) -> Iterator[HistoryEntry]: ...


@overload
def follow(
    store: AsyncStore,
    session_id: str,
    *,
    after: int | str | None = None,
    action: str | None = None,
    success: bool | None = None,
    idle_seconds: float | None = None,
) -> AsyncIterator[HistoryEntry]: ...


def follow(
    store: Store | AsyncStore,
    session_id: str,
    *,
    after: int | str | None = None,
    action: str | None = None,
    success: bool | None = None,
    idle_seconds: float | None = None,
) -> Iterator[HistoryEntry] | AsyncIterator[HistoryEntry]:
    """Yield a session's history, oldest first, and go on with what any process appends, as it is committed.

    None is missed and none comes twice: who keeps the id of the last entry that was dealt with goes on behind it, also
    after a crash. On SQLite new entries are seen within some 50 ms, on PostgreSQL at once.

    Args:
        store: where; an :class:`AsyncStore` gives an asynchronous iterator.
        session_id: whose history.
        after: the id of an entry, or a cursor of :func:`page` (oldest first, with the same filters), to begin behind;
            by default it begins with the first entry, and with 0.
        action: only entries of this action.
        success: only what went well, or wrong.
        idle_seconds: end when nothing came for so long; by default it goes on until the store is closed.

    Raises:
        NotFound: there is no such session.
        InvalidInput: an argument is of a wrong type, or the cursor is not of this listing.
        StoreUnavailable: the store was closed meanwhile, or the database cannot be reached.
    """
    order = _order(session_id, action=action, success=success, oldest_first=True)
    chosen = partial(page, action=action, success=success, oldest_first=True)
    return follow_log(store, session_id, chosen, order, after=after, idle_seconds=idle_seconds)


def count(uow: ReadUnitOfWork, session_id: str, *, action: str | None = None, success: bool | None = None) -> int:
    """Return how many entries a session's history has, of an action and a success where given.

    Raises:
        InvalidInput: a filter is of a wrong type.
    """
    fixed = [column == value for column, value in _within(session_id, action)]
    statement = select(sa.func.count()).select_from(HistoryEntry).where(*fixed, *_succeeded(success))
    return uow.exec(statement).one()
