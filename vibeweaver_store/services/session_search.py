"""Searching sessions, and listing them with their counts.

Which index serves a search:

- Each of the three orders has an index of its own, and one within a workspace, within a status and within a kind. Of
  these three filters the first that is given fixes the index, which serves filter and order together.
- Of several statuses, or several kinds, the first rows of each are found so, and merged: that costs as many pages as
  there are values. Where a filter of one value fixes the index, they are sieved.
- A range of the time that is ordered by is a range of that index.
- The rest is sieved while walking: further filters, the agent's status, a range of the other time, a text. A page then
  passes over the rows between its own: at worst all of the workspace, the status or the kind that was given, or, with
  none of them, all sessions. No index could serve the text, which may stand anywhere in it; and the sessions of one
  workspace are what one person can have made. On PostgreSQL the planner may prefer to fetch by another index, and sort,
  where its statistics say that few rows match.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import sqlalchemy as sa
from sqlalchemy.orm import with_expression
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from vibeweaver_store.columns import Id, Json, Name, StrictBool, Utc, parse_enum
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.arena import Arena
from vibeweaver_store.models.journal import JournalEvent
from vibeweaver_store.models.message import Message
from vibeweaver_store.models.session import AgentStatus, Session, SessionKind, SessionStatus
from vibeweaver_store.models.views import SessionComplete
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require

Sort: TypeAlias = Literal["updated_at", "created_at", "name"]

RowT = TypeVar("RowT")

_FIXING: Final = ("workspace_id", "status", "kind")
"""The filters that fix an index, those that let fewest through first."""

_VOCABULARIES: Final[dict[str, type[enum.Enum]]] = {
    "kind": SessionKind,
    "status": SessionStatus,
    "agent_status": AgentStatus,
}
_SEVERAL: Final = ("kind", "status")
"""The filters that take several values."""
_TYPES: Final[dict[str, Any]] = {
    "workspace_id": Id,
    "text": Name,
    **dict.fromkeys(("created_from", "created_to", "updated_from", "updated_to"), Utc),
}


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to look for; what is not given does not matter. It is validated where it is used.

    Attributes:
        workspace_id: only of this workspace; of one that is not there, there are none.
        kind: only of this kind, or of one of these.
        status: only in this status, or in one of these; ``active`` and ``error`` are read as ``running`` and
            ``failed``.
        agent_status: only those whose agent is in this status.
        text: only with these words, 1 to 1,000 bytes, anywhere in the id, the name, the vibe or the arena's task; upper
            and lower case alike (on SQLite, of the letters A to Z).
        created_from: only made at this instant or later.
        created_to: only made before this instant.
        updated_from: only last changed at this instant or later.
        updated_to: only last changed before this instant.
    """

    workspace_id: str | None = None
    kind: SessionKind | str | Sequence[SessionKind | str] | AbstractSet[SessionKind | str] | None = None
    status: SessionStatus | str | Sequence[SessionStatus | str] | AbstractSet[SessionStatus | str] | None = None
    agent_status: AgentStatus | str | None = None
    text: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    updated_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionCount:
    """How many sessions of a kind are in a status."""

    kind: SessionKind
    status: SessionStatus
    count: int


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Session]:
    """Return sessions, the last changed first, ties by id.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    return search(uow, limit=limit, cursor=cursor)


def search(
    uow: ReadUnitOfWork,
    where: SessionFilter | None = None,
    *,
    sort: Sort = "updated_at",
    falling: bool | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Session]:
    """Return the sessions that a filter lets through, ties by id; all of them without one.

    Args:
        uow: the unit of work to read in.
        where: which ones.
        sort: what they are ordered by: ``updated_at``, ``created_at`` or ``name``.
        falling: from the last to the first; by default times are, names are not.
        limit: how many to return, 1 to 1,000.
        cursor: where to go on, as the page before said.

    Raises:
        InvalidInput: a value of the filter is refused, a range runs backwards, there is no such order, the limit is not
            1 to 1,000, or the cursor is not of this listing.
    """
    # A subquery for one value: PostgreSQL would read all arenas into memory to look in them for EXISTS.
    task = select(col(Arena.task)).where(col(Arena.session_id) == col(Session.id)).scalar_subquery()
    return _listed(uow, Session, task, where, sort=sort, falling=falling, limit=limit, cursor=cursor)


def overview(
    uow: ReadUnitOfWork,
    where: SessionFilter | None = None,
    *,
    sort: Sort = "updated_at",
    falling: bool | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[SessionComplete]:
    """Return sessions as :func:`search` does, each with its workspace, its arena and its counts, in one statement.

    Each also has the last thing said in it, and its journal events counted by type. Instances, messages and events are
    counted of the sessions that are returned, each once. Of several statuses or kinds they are two statements.

    Raises:
        InvalidInput: as :func:`search` does.
    """
    shown: Any = SessionComplete  # the two attributes are descriptors there
    filled_in = (
        with_expression(shown.event_counts, _event_counts(uow.backend)),
        with_expression(shown.last_said, _last_said()),
    )
    source = select(SessionComplete).options(*filled_in)
    task = col(SessionComplete.task)
    return _listed(
        uow, SessionComplete, task, where, sort=sort, falling=falling, limit=limit, cursor=cursor, source=source
    )


LAST_SAID_CHARACTERS: Final = 1000
"""How much of the last message an overview shows."""


def _last_said() -> sa.ColumnElement[Any]:
    # A range of one value: with =, PostgreSQL may walk the primary key through the rows of other sessions, or sort.
    owner, session = col(Message.session_id), col(SessionComplete.id)
    beginning = sa.func.substr(col(Message.content), 1, LAST_SAID_CHARACTERS, type_=sa.Text())
    last = sa.select(beginning).where(owner >= session, owner <= session)
    return last.order_by(owner.desc(), col(Message.id).desc()).limit(1).scalar_subquery()


def _event_counts(backend: str) -> sa.ColumnElement[Any]:
    """Return the expression of an object of counts by type of event."""
    kind = col(JournalEvent.event_type)
    of_session = sa.select(kind, sa.func.count().label("events")).where(
        col(JournalEvent.session_id) == col(SessionComplete.id)
    )
    counted = of_session.group_by(kind).correlate(SessionComplete).subquery("counted")
    if backend == "sqlite":
        found: Any = sa.func.json_group_object(counted.c.event_type, counted.c.events)
    else:
        aggregated = sa.func.jsonb_object_agg(counted.c.event_type, counted.c.events)
        found = sa.func.coalesce(aggregated, sa.func.jsonb_build_object())
    return sa.type_coerce(sa.select(found).scalar_subquery(), Json())


def counts(uow: ReadUnitOfWork) -> list[SessionCount]:
    """Return how many sessions there are of each kind and status, by kind, then status; none where there are none."""
    kind, status = col(Session.kind), col(Session.status)
    statement = select(kind, status, sa.func.count()).group_by(kind, status).order_by(kind, status)
    return [SessionCount(*row) for row in uow.exec(statement)]


# --- what a search asks for ------------------------------------------------------------------------------------


def _listed(
    uow: ReadUnitOfWork,
    row: type[RowT],
    task: Any,
    where: SessionFilter | None,
    *,
    sort: Sort,
    falling: bool | None,
    limit: int,
    cursor: str | None,
    source: SelectOfScalar[RowT] | None = None,
) -> Page[RowT]:
    wanted = _validated(where)
    if sort not in get_args(Sort):
        raise InvalidInput(f"sort: {shown(sort)} is none of {', '.join(get_args(Sort))}", field="sort")
    turn = sort != "name" if falling is None else require(StrictBool, falling, field="falling")
    columns: Any = row
    fixed, several = _fixed(columns, wanted)
    ranges = {
        "created_at": (wanted.created_from, wanted.created_to),
        "updated_at": (wanted.updated_from, wanted.updated_to),
    }
    order = Order(
        [columns.__tablename__, sort, turn, *[getattr(wanted, field.name) for field in fields(wanted)]],
        [getattr(columns, sort), columns.id],
        falling=turn,
        within=fixed[:1],
        span=ranges.pop(sort, (None, None)),
        among=several[0] if several and not fixed else None,
    )
    sieves = [column == value for column, value in fixed[1:]]
    sieves += [column.in_(values) for column, values in (several if fixed else several[1:])]
    sieves += [each for name, ends in ranges.items() for each in _range(getattr(columns, name), *ends)]
    sieves += _further(columns, task, wanted)
    beside = _beside(uow, sieves)
    if source is None and not sieves and order.among is None:
        return fetch(uow, row, order, limit=limit, cursor=cursor)
    chosen = select(row) if source is None else source
    if order.among is None:
        return fetch(uow, chosen.where(*beside), order, limit=limit, cursor=cursor)
    keys = fetch(uow, select(*order.columns).where(*beside), order, limit=limit, cursor=cursor)
    ids = [key.id for key in keys.items]
    rows: Any = uow.exec(chosen.where(columns.id.in_(ids))) if ids else ()
    found = {each.id: each for each in rows}
    return keys.with_items([found[key] for key in ids if key in found])


def _fixed(columns: Any, wanted: SessionFilter) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """Return the filters that can fix an index: those of one value, and those of several."""
    given = [(getattr(columns, name), value) for name in _FIXING if (value := getattr(wanted, name)) is not None]
    one, several = [[each for each in given if isinstance(each[1], tuple) is is_many] for is_many in (False, True)]
    return one, several


def _range(column: Any, first: datetime | None, end: datetime | None) -> Iterator[sa.ColumnElement[bool]]:
    if first is not None:
        yield column >= first
    if end is not None:
        yield column < end


def _further(columns: Any, task: Any, wanted: SessionFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.agent_status is not None:
        yield columns.agent_status == wanted.agent_status
    if wanted.text is not None:
        places = (columns.id, columns.name, columns.vibe, task)
        yield sa.or_(*[place.icontains(wanted.text, autoescape=True) for place in places])


def _beside(uow: ReadUnitOfWork, sieves: list[sa.ColumnElement[bool]]) -> list[sa.ColumnElement[bool]]:
    """Return conditions that do not lead SQLite to an index of theirs, where it would have to sort what it finds."""
    if uow.backend == "sqlite":
        return [condition.is_(sa.true()) for condition in sieves]
    return sieves


def _validated(where: SessionFilter | None) -> SessionFilter:
    if where is None:
        return SessionFilter()
    if not isinstance(where, SessionFilter):
        raise InvalidInput(f"where: must be a SessionFilter (got {shown(where)})", field="where")
    given = {field.name: getattr(where, field.name) for field in fields(where)}
    read = SessionFilter(**{name: _read(name, value) for name, value in given.items() if value is not None})
    _refuse_backwards("created_to", read.created_from, read.created_to)
    _refuse_backwards("updated_to", read.updated_from, read.updated_to)
    return read


def _read(field: str, value: object) -> Any:
    if field in _SEVERAL and isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes):
        return _read_several(field, value)
    if field in _VOCABULARIES:
        return parse_enum(_VOCABULARIES[field], value, field=field)
    return require(_TYPES[field], value, field=field)


def _read_several(field: str, values: Sequence[object] | AbstractSet[object]) -> Any:
    """Return the members that are named, each once and in the order of the vocabulary; of one, the member itself."""
    vocabulary = _VOCABULARIES[field]
    named = {parse_enum(vocabulary, value, field=field) for value in values}
    if not named:
        raise InvalidInput(f"{field}: name at least one, or leave it out", field=field)
    ordered = tuple(member for member in vocabulary if member in named)
    return ordered if len(ordered) > 1 else ordered[0]


def _refuse_backwards(field: str, first: datetime | None, end: datetime | None) -> None:
    if first is not None and end is not None and end < first:
        raise InvalidInput(f"{field}: {end.isoformat()} lies before {first.isoformat()}", field=field)
