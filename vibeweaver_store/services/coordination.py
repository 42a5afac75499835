"""Coordination events: what a coordinator must act on, in the order in which it was committed.

They stay once they are processed, until :func:`prune` or :func:`delete` removes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id, StrictBool, parse_enum
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models.ensemble import CoordinationEvent, CoordinationEventType
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, check_limit, fetch
from vibeweaver_store.services.arguments import expect_many, instant_ago
from vibeweaver_store.services.ensemble_rows import TOPIC, append_events, hold_project
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "TOPIC",
    "delete",
    "find",
    "get",
    "mark_processed",
    "page",
    "prunable",
    "prune",
    "record",
    "take",
    "unprocessed",
]

_IDS_A_STATEMENT: Final = 1000


def record(
    uow: UnitOfWork,
    event_type: CoordinationEventType | str,
    *,
    project_id: str | None = None,
    ticket_id: str | None = None,
    worker_id: str | None = None,
    stage: str | None = None,
    reason: str | None = None,
) -> CoordinationEvent:
    """Record something that a coordinator must act on, and return it.

    What completes stages and ends workers does so itself. On PostgreSQL, ids are drawn when rows are written and seen
    when they are committed: whoever records an event waits until others that did so have committed, so that the order
    of ids is the order of commits. Else :func:`take` would pass over one that is committed late, or hand it out behind
    younger ones. SQLite has one writer.

    Args:
        uow: the unit of work to write in.
        event_type: what happened.
        project_id: the project that it is of, and goes with.
        ticket_id: the ticket that it is about; it is named, and need not be there.
        worker_id: the worker that it is about; likewise.
        stage: the stage of the ticket.
        reason: why, in free words.

    Raises:
        NotFound: there is no such project.
        InvalidInput: there is no such type of event, or a value is blank, of a wrong type or too long.
    """
    event = CoordinationEvent.build(
        event_type=parse_enum(CoordinationEventType, event_type, field="event_type"),
        project_id=project_id,
        ticket_id=ticket_id,
        worker_id=worker_id,
        stage=stage,
        reason=reason,
        created_at=uow.now(),
    )
    if event.project_id is not None:
        hold_project(uow, event.project_id)
    append_events(uow, event)
    return event


def get(uow: ReadUnitOfWork, event_id: int) -> CoordinationEvent:
    """Return an event by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no whole number.
    """
    event = find(uow, event_id)
    if event is None:
        raise NotFound("coordination event", event_id)
    return event


def find(uow: ReadUnitOfWork, event_id: int) -> CoordinationEvent | None:
    """Return an event by its id, or ``None``.

    Raises:
        InvalidInput: the id is no whole number.
    """
    return uow.exec(select(CoordinationEvent).where(col(CoordinationEvent.id) == _key(event_id))).one_or_none()


def page(
    uow: ReadUnitOfWork,
    *,
    processed: bool | None = None,
    project: str | None = None,
    newest_first: bool = False,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[CoordinationEvent]:
    """Return events as they were recorded, or newest first.

    Args:
        uow: the unit of work to read in.
        processed: only those that were taken, or only those that were not. There is an index of the latter; to the
            former, the listing passes over the others.
        project: only those of this project; of one that is not there, there are none.
        newest_first: from the last to the first.
        limit: how many to return, 1 to 1,000.
        cursor: where to go on, as the page before said.

    Raises:
        InvalidInput: a filter is of a wrong type, the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    is_processed = require(StrictBool | None, processed, field="processed")
    of_project = require(Id | None, project, field="project")
    turned = require(StrictBool, newest_first, field="newest_first")
    within: list[tuple[Any, Any]] = []
    sieves: list[sa.ColumnElement[bool]] = []
    if of_project is not None and is_processed is False:
        # There are few that nobody has taken, and of a project there may be many that somebody has.
        own = col(CoordinationEvent.project_id) == of_project
        sieves.append(own.is_(sa.true()) if uow.backend == "sqlite" else own)
    elif of_project is not None:
        within.append((col(CoordinationEvent.project_id), of_project))
    if is_processed is not None:
        sieves.append(col(CoordinationEvent.processed) == (sa.true() if is_processed else sa.false()))
    order = Order(
        ["coordination events", is_processed, of_project, turned],
        [col(CoordinationEvent.id)],
        falling=turned,
        within=within,
    )
    return fetch(uow, select(CoordinationEvent).where(*sieves), order, limit=limit, cursor=cursor)


def unprocessed(
    uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[CoordinationEvent]:
    """Return the events that nobody has taken, oldest first; they stay so. See :func:`take`.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    return page(uow, processed=False, limit=limit, cursor=cursor)


def mark_processed(uow: UnitOfWork, ids: Iterable[int]) -> int:
    """Let events have been processed, by their ids; return how many were not yet. Those that are not there are none.

    Raises:
        InvalidInput: it is no list, or an id is no whole number.
    """
    keys = sorted({require(Count, key, field="ids") for key in expect_many(int, ids, field="ids")})
    chunks = [keys[start : start + _IDS_A_STATEMENT] for start in range(0, len(keys), _IDS_A_STATEMENT)]
    return sum(len(_process(uow, col(CoordinationEvent.id).in_(chunk))) for chunk in chunks)


def take(uow: UnitOfWork, limit: int = DEFAULT_LIMIT) -> list[CoordinationEvent]:
    """Take the oldest events that nobody has taken, and return them, oldest first; none where there are none.

    They are processed once the unit of work is committed; where it fails, they are there to be taken again. Each is
    given to one of several coordinators, and to each of them in order: who takes while another does waits for it.

    Raises:
        InvalidInput: the limit is not 1 to 1,000.
    """
    return _process(uow, limit=check_limit(limit))


def _process(uow: UnitOfWork, *which: sa.ColumnElement[bool], limit: int | None = None) -> list[CoordinationEvent]:
    """Let events that nobody has taken be processed, from the oldest on; return them in order."""
    key = col(CoordinationEvent.id)
    # Locked in order, so that two who take the same do not wait for each other. Whoever comes second looks again at
    # each, and passes over what was taken meanwhile.
    held = (
        select(key)
        .where(col(CoordinationEvent.processed) == sa.false(), *which)
        .order_by(key)
        .limit(limit)
        .with_for_update(key_share=True)
        .cte("held")
    )
    statement = sa.update(CoordinationEvent).where(key.in_(sa.select(held.c.id))).values(processed=True)
    returned = statement.returning(CoordinationEvent)
    taken = list(uow.execute(returned, execution_options={"synchronize_session": False}).scalars())
    return sorted(taken, key=lambda event: event.id or 0)


# --- removing --------------------------------------------------------------------------------------------------


def delete(uow: UnitOfWork, event_id: int) -> None:
    """Delete an event, processed or not. Its id is not given again.

    Raises:
        NotFound: there is no such event.
        InvalidInput: the id is no whole number.
    """
    key = _key(event_id)
    if uow.exec(sa.delete(CoordinationEvent).where(col(CoordinationEvent.id) == key)).rowcount == 0:
        raise NotFound("coordination event", key)


def prune(uow: UnitOfWork, older_than: timedelta, *, limit: int = 1000) -> int:
    """Delete processed events that were recorded longer ago than this, the oldest first; return how many.

    Events that nobody has taken stay, however old they are. Call it until it returns 0, in a unit of work each time, to
    remove all without holding up others. On PostgreSQL events that somebody else has locked are passed over.

    Args:
        uow: the unit of work to write in.
        older_than: how long ago they were recorded.
        limit: how many at most, 1 to 1,000.

    Raises:
        InvalidInput: ``older_than`` is no ``timedelta``, below 0, or longer than time itself; or the limit is refused.
    """
    key = col(CoordinationEvent.id)
    oldest = (
        sa.select(key)
        .where(*_done_with(uow, older_than))
        .order_by(col(CoordinationEvent.created_at), key)
        .limit(check_limit(limit))
        .with_for_update(skip_locked=True)
        .cte("oldest")
    )
    statement = sa.delete(CoordinationEvent).where(key.in_(sa.select(oldest.c.id))).returning(key)
    return len(uow.execute(statement, execution_options={"synchronize_session": False}).all())


def prunable(uow: ReadUnitOfWork, older_than: timedelta) -> int:
    """Return how many events :func:`prune` would delete now, called until none is left.

    Raises:
        InvalidInput: ``older_than`` is no ``timedelta``, below 0, or longer than time itself.
    """
    counted = sa.select(sa.func.count()).select_from(CoordinationEvent).where(*_done_with(uow, older_than))
    return int(uow.execute(counted).scalar_one())


def _done_with(uow: ReadUnitOfWork, older_than: object) -> tuple[sa.ColumnElement[bool], ...]:
    before = instant_ago(uow, older_than, field="older_than")
    return col(CoordinationEvent.processed) == sa.true(), col(CoordinationEvent.created_at) < before


def _key(event_id: object) -> int:
    key: int = require(Count, event_id, field="event_id")
    return key
