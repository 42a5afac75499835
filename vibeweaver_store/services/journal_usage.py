"""What agents used: the tokens of API responses, each counted once however often the journal repeats it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import Id
from vibeweaver_store.models.journal import JournalEvent
from vibeweaver_store.models.session import Session
from vibeweaver_store.services.journal_lines import TOKENS
from vibeweaver_store.services.journal_lookup import checked_range
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require

_LONGEST_RESPONSE: Final = timedelta(days=1)
"""No response takes longer from its first line to its last."""

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model used on one day.

    Attributes:
        day: the day in UTC on which the responses began; ``None`` of lines without a time.
        model: its name; ``None`` of lines without one.
        responses: how many API responses there were.
        input_tokens: tokens that were read in for them, and not from the cache.
        output_tokens: tokens that they brought.
        cache_read_input_tokens: tokens that were read from the cache.
        cache_creation_input_tokens: tokens that were written to the cache.
    """

    day: date | None
    model: str | None
    responses: int
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int

    @property
    def total_tokens(self) -> int:
        """All tokens together, from the cache or not."""
        return self.input_tokens + self.output_tokens + self.cache_read_input_tokens + self.cache_creation_input_tokens


def usage(
    uow: ReadUnitOfWork,
    *,
    session_id: str | None = None,
    workspace_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Usage]:
    """Return the tokens that were used, by day and model; of all that the journal holds unless it is narrowed down.

    An API response stands in the journal several times: on a line for each of its parts, and again in every fork of
    its transcript. It is told by its message id and request id; where a line has no request id, by that of another
    line of the message in the same source session, and where none has one, by the source session. Of its lines the
    greatest number of each kind counts, for the numbers grow while it comes in. It belongs to the day of its first.
    Models that used no tokens, as ``<synthetic>``, are left out.

    What is looked up goes by an index. Then what is counted is sorted, which takes time and memory in proportion.

    Args:
        uow: the unit of work to read in.
        session_id: only what one of our sessions used.
        workspace_id: only what the sessions of a workspace used.
        since: only responses that began at that time or later.
        until: only responses that began before that time.

    Raises:
        InvalidInput: an id is no text or blank, a time has no time zone, or ``until`` lies before ``since``.
    """
    first, end = checked_range(since, until)
    copies = _copies(_narrowed(session_id, workspace_id, first, end)).subquery()
    responses = _responses(uow, copies, first, end).subquery().c
    totals = [sa.func.sum(responses[name]) for name in TOKENS]
    statement = (
        sa.select(responses.day, responses.model, sa.func.count(), *totals)
        .group_by(responses.day, responses.model)
        .having(sum(totals[1:], totals[0]) > 0)
    )
    found = [_usage(*row) for row in uow.execute(statement)]
    return sorted(found, key=_place)


def add_up(found: Iterable[Usage], by: Literal["day", "model"]) -> list[Usage]:
    """Return what was used by day or by model alone; the other of the two is nothing then."""
    rows: dict[object, Usage] = {}
    for each in found:
        row = replace(each, model=None) if by == "day" else replace(each, day=None)
        key = (row.day, row.model)
        rows[key] = _added(rows[key], row) if key in rows else row
    return sorted(rows.values(), key=_place)


def _added(one: Usage, another: Usage) -> Usage:
    return replace(one, **{name: getattr(one, name) + getattr(another, name) for name in ("responses", *TOKENS)})


def _place(row: Usage) -> tuple[date, str]:
    return row.day or date.max, row.model or ""


def _usage(day: str | None, model: str | None, responses: int, *tokens: Any) -> Usage:
    # PostgreSQL adds integers up to decimals.
    return Usage(None if day is None else date.fromisoformat(day), model, responses, *map(int, tokens))


def _narrowed(
    session_id: str | None, workspace_id: str | None, since: datetime | None, until: datetime | None
) -> list[sa.ColumnElement[bool]]:
    """Return what a line must be to be looked at: a few more than are counted, that of each response there are all."""
    at = col(JournalEvent.timestamp)
    conditions: list[sa.ColumnElement[bool]] = [col(JournalEvent.message_id).is_not(None)]
    if session_id is not None:
        conditions.append(col(JournalEvent.session_id) == require(Id, session_id, field="session_id"))
    if workspace_id is not None:
        key = require(Id, workspace_id, field="workspace_id")
        within = sa.select(col(Session.id)).where(col(Session.workspace_id) == key)
        conditions.append(col(JournalEvent.session_id).in_(within))
    span = [] if since is None else [at >= _shifted(since, -_LONGEST_RESPONSE)]
    span += [] if until is None else [at < _shifted(until, _LONGEST_RESPONSE)]
    if span:
        # Lines without a time may be of any response: those of a stream have none, where the transcript's have. Each
        # part says again what the index is of: SQLite takes it for neither else.
        conditions.append(sa.or_(sa.and_(*span, conditions[0]), sa.and_(at.is_(None), conditions[0])))
    return conditions


def _shifted(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:
        return _LATEST if by > timedelta() else _EARLIEST


def _copies(conditions: list[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """Return the lines of responses, each with the request id that it or another line of the message has."""
    event = sa.inspect(JournalEvent).columns
    of_another = sa.func.max(event.request_id).over(partition_by=[event.message_id, event.source_session_id])
    return sa.select(
        event.source_session_id,
        event.message_id,
        sa.func.coalesce(event.request_id, of_another).label("request_id"),
        event.timestamp,
        event.model,
        *[event[name] for name in TOKENS],
    ).where(*conditions)


def _responses(
    uow: ReadUnitOfWork, copies: sa.Subquery, since: datetime | None, until: datetime | None
) -> sa.Select[Any]:
    """Return a row a response, with the day on which it began."""
    scope = sa.case((copies.c.request_id.is_(None), copies.c.source_session_id))
    began_at = sa.func.min(copies.c.timestamp)
    greatest = [sa.func.coalesce(sa.func.max(copies.c[name]), 0).label(name) for name in TOKENS]
    responses = sa.select(_day(uow, began_at).label("day"), sa.func.max(copies.c.model).label("model"), *greatest)
    responses = responses.group_by(copies.c.message_id, copies.c.request_id, scope)
    if since is not None:
        responses = responses.having(began_at >= since)
    return responses if until is None else responses.having(began_at < until)


def _day(uow: ReadUnitOfWork, instant: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return the day of an instant in UTC, as text."""
    if uow.backend == "sqlite":
        return sa.func.substr(sa.type_coerce(instant, sa.Text()), 1, 10, type_=sa.Text())
    return sa.func.to_char(sa.func.timezone("UTC", instant), "YYYY-MM-DD", type_=sa.Text())
