"""History: what was done in a session. The log only grows; paging and tailing go by its integer key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name, StrictBool, require
from vibeweaver_store.models.weaving import HistoryEntry
from vibeweaver_store.paging import DEFAULT_LIMIT, MAX_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.services.sessions import hold
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be appended, for :func:`append_many`."""

    action: str
    params: Any = None
    result: Any = None
    success: bool = True


def append(
    uow: UnitOfWork,
    session_id: str,
    action: str,
    *,
    params: Any = None,
    result: Any = None,
    success: bool = True,
) -> HistoryEntry:
    """Append one entry to a session's history.

    Args:
        uow: the unit of work to write in.
        session_id: whose history it is.
        action: what was done, ``rule.fired`` say; not blank.
        params: a JSON value: with what.
        result: a JSON value: what came of it.
        success: whether it did what it should.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the action is blank, or a value is not JSON.
    """
    entry = _build(uow, session_id, NewEntry(action, params, result, success))
    hold(uow, session_id)
    uow.insert(entry)
    return entry


def append_many(uow: UnitOfWork, session_id: str, entries: Iterable[NewEntry]) -> int:
    """Append entries in the order given, a batch at a time, and return how many there were.

    Raises:
        NotFound: there is no such session.
        InvalidInput: an entry is refused; what was appended before it goes with the unit of work.
    """
    hold(uow, session_id)
    remaining = expect_many(NewEntry, entries, field="entries")
    count = 0
    while batch := [_values(uow, session_id, entry) for entry in islice(remaining, _BATCH)]:
        uow.execute(sa.insert(HistoryEntry), batch)
        count += len(batch)
    return count


def _build(uow: ReadUnitOfWork, session_id: str, new: NewEntry) -> HistoryEntry:
    return HistoryEntry.build(
        session_id=session_id,
        action=new.action,
        params=new.params,
        result=new.result,
        success=new.success,
        created_at=uow.now(),
    )


def _values(uow: ReadUnitOfWork, session_id: str, new: NewEntry) -> dict[str, Any]:
    return _build(uow, session_id, new).model_dump(exclude={"id"})


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

    A session that is not there has none. A page at any depth costs what the first costs. Filtered by action and
    success both, it walks the entries of that action (or the failures) and passes over the others.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, a filter is of a wrong type, or the cursor is not of this listing.
    """
    order = Order(
        ["history", session_id, action, success, oldest_first],
        [col(HistoryEntry.id)],
        falling=not oldest_first,
        within=_within(session_id, action),
    )
    return fetch(uow, select(HistoryEntry).where(*_succeeded(success)), order, limit=limit, cursor=cursor)


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


def count(uow: ReadUnitOfWork, session_id: str, *, action: str | None = None, success: bool | None = None) -> int:
    """Return how many entries a session's history has, of an action and a success where given.

    Raises:
        InvalidInput: a filter is of a wrong type.
    """
    fixed = [column == value for column, value in _within(session_id, action)]
    statement = select(sa.func.count()).select_from(HistoryEntry).where(*fixed, *_succeeded(success))
    return uow.exec(statement).one()
