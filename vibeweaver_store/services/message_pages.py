"""Listing messages: a session's conversation, and what was said in all sessions. Callers find it in ``messages``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id, StrictBool, Utc, parse_enum
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models.message import Message, MessageRole
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require


def last(uow: ReadUnitOfWork, session_id: str, limit: int = DEFAULT_LIMIT) -> list[Message]:
    """Return a session's last messages, oldest first; at most 1,000.

    Raises:
        InvalidInput: the id is no text, or blank; or the limit is not 1 to 1,000.
    """
    key = require(Id, session_id, field="session_id")
    return page(uow, key, limit=limit, newest_first=True).items[::-1]


def page(
    uow: ReadUnitOfWork,
    session_id: str | None = None,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    role: MessageRole | str | None = None,
    instance_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
) -> Page[Message]:
    """Return messages: a session's conversation as it went, or those of all sessions by their times.

    Of one session the order is that of appending, whatever the times say. Of all sessions, and where a range of time is
    given, it is that of the times, equal ones as they were appended. A page at any depth costs what the first costs,
    but for what filters pass over: of an instance, messages of other roles; by time, those of other roles and instances
    (of all sessions within the index). A session that is not there has no messages.

    Args:
        uow: the unit of work to read in.
        session_id: whose conversation; of all sessions without one.
        limit: how many to return, 1 to 1,000.
        cursor: where to go on, as the page before said.
        role: only what this role said.
        instance_id: only what is of this instance of the session's arena.
        since: only what was said at this instant or later.
        until: only what was said before this instant.
        newest_first: from the end.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, an argument is of a wrong type, an instance is given without its
            session, the range runs backwards, or the cursor is not of this listing.
    """
    of_role = read_role(role)
    turned = require(StrictBool, newest_first, field="newest_first")
    if session_id is None or since is not None or until is not None:
        span = _span(since, until)
        order, sieved = _by_time(session_id, of_role, instance_id, span=span, newest_first=turned)
    else:
        order = conversation(session_id, of_role, instance_id, newest_first=turned)
        sieved = _sieved(of_role, instance_id)
    if uow.backend == "sqlite":  # else it may go by an index of what is sieved, and sort
        sieved = [condition.is_(sa.true()) for condition in sieved]
    source = select(Message).where(*sieved) if sieved else Message
    return fetch(uow, source, order, limit=limit, cursor=cursor)


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    first: datetime | None = None if since is None else require(Utc, since, field="since")
    beyond: datetime | None = None if until is None else require(Utc, until, field="until")
    if first is not None and beyond is not None and beyond < first:
        raise InvalidInput(f"until: {beyond} lies before since {first}", field="until")
    return first, beyond


def _by_time(
    session_id: str | None,
    role: MessageRole | None,
    instance_id: int | None,
    *,
    span: tuple[datetime | None, datetime | None],
    newest_first: bool,
) -> tuple[Order, list[sa.ColumnElement[bool]]]:
    """Return the order of a listing by time, and what is sieved beside its index."""
    if session_id is None and instance_id is not None:
        raise InvalidInput("instance_id: give the session that it is of as well", field="instance_id")
    key = None if session_id is None else require(Id, session_id, field="session_id")
    number = None if instance_id is None else require(Count, instance_id, field="instance_id")
    given = [(col(Message.role), role), (col(Message.instance_id), number)]
    order = Order(
        ["messages by time", key, role, number, *span, newest_first],
        [col(Message.created_at), col(Message.id)],
        falling=newest_first,
        within=[] if key is None else [(col(Message.session_id), key)],
        span=span,
    )
    return order, [column == value for column, value in given if value is not None]


def read_role(role: MessageRole | str | None) -> MessageRole | None:
    """Return the role that a listing is filtered by, or ``None``.

    Raises:
        InvalidInput: there is no such role.
    """
    return None if role is None else parse_enum(MessageRole, role, field="role")


def conversation(session_id: str, role: MessageRole | None, instance_id: int | None, *, newest_first: bool) -> Order:
    """Return the order of a session's conversation.

    Raises:
        InvalidInput: the id is no text, or blank; or the instance is no whole number from 0.
    """
    return Order(
        ["messages", session_id, role, instance_id, newest_first],
        [col(Message.id)],
        falling=newest_first,
        within=_within(session_id, role, instance_id),
    )


def _within(session_id: str, role: MessageRole | None, instance_id: int | None) -> list[tuple[Any, Any]]:
    """Return the columns that are fixed and lead an index, which serves a role or an instance."""
    fixed: list[tuple[Any, Any]] = [(col(Message.session_id), require(Id, session_id, field="session_id"))]
    if instance_id is not None:
        fixed.append((col(Message.instance_id), require(Count, instance_id, field="instance_id")))
    elif role is not None:
        fixed.append((col(Message.role), role))
    return fixed


def _sieved(role: MessageRole | None, instance_id: int | None) -> list[sa.ColumnElement[bool]]:
    return [] if role is None or instance_id is None else [col(Message.role) == role]


def between(
    uow: ReadUnitOfWork,
    session_id: str,
    start: datetime,
    end: datetime,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Message]:
    """Return a session's messages with ``start <= created_at < end``, by time; those of one time as they were appended.

    Raises:
        InvalidInput: a time is no datetime with a time zone, the range runs backwards, the limit is not 1 to 1,000, or
            the cursor is not of this listing.
    """
    key = require(Id, session_id, field="session_id")
    first: datetime = require(Utc, start, field="start")
    beyond: datetime = require(Utc, end, field="end")
    if beyond < first:
        raise InvalidInput(f"end: {beyond} lies before start {first}", field="end")
    order = Order(
        ["messages between", key, first, beyond],
        [col(Message.created_at), col(Message.id)],
        within=[(col(Message.session_id), key)],
        span=(first, beyond),
    )
    return fetch(uow, Message, order, limit=limit, cursor=cursor)


def count(
    uow: ReadUnitOfWork,
    session_id: str,
    *,
    role: MessageRole | str | None = None,
    instance_id: int | None = None,
) -> int:
    """Return how many messages a session has, of a role and an instance where given.

    Raises:
        InvalidInput: a filter is of a wrong type.
    """
    of_role = read_role(role)
    fixed = [column == value for column, value in _within(session_id, of_role, instance_id)]
    statement = select(sa.func.count()).select_from(Message).where(*fixed, *_sieved(of_role, instance_id))
    return uow.exec(statement).one()
