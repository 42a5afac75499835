"""Pages by keyset: a cursor says after which row to go on, so a page at any depth costs what the first costs.

A listing is stable while rows are added: a row that was there is met once, whatever is added around it. A row that is
changed meanwhile so that it stands elsewhere (a session that is updated, in the list by last update) may be met twice
or not at all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.expression import Select, SelectOfScalar

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.hot import HotRows
from vibeweaver_store.json_values import shown
from vibeweaver_store.unit_of_work import ReadUnitOfWork

T = TypeVar("T")
OtherT = TypeVar("OtherT")
RowT = TypeVar("RowT")
StatementT = TypeVar("StatementT", bound=sa.Select[Any])

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
"""The most items that one page holds."""

Way: TypeAlias = Literal["next", "previous"]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a listing, in the listing's order.

    ``next_cursor`` leads on and ``previous_cursor`` back, each as the ``cursor=`` of the same call; ``None`` where
    nothing more lay that way. ``end_cursor`` leads on from the last item, though nothing lay there yet; ``None`` where
    there was no item at all.
    """

    items: list[T]
    next_cursor: str | None = None
    previous_cursor: str | None = None
    end_cursor: str | None = None

    def with_items(self, items: list[OtherT]) -> Page[OtherT]:
        """Return a page of other items in the same place."""
        return Page(items, self.next_cursor, self.previous_cursor, self.end_cursor)


class Order(NamedTuple):
    """The order of a listing: columns that together tell every two rows apart, all rising or all falling.

    Attributes:
        listing: names the listing and everything that filters it; a cursor of another one is refused.
        columns: what it is ordered by.
        falling: from the greatest to the least.
        within: columns that the listing fixes, each with its value; with ``columns`` after them they are an index.
        span: where the first of the columns begins, and before which value it ends; ``None`` where it is open.
        among: a column that has one of several values, each once. The listing walks the rows of each value by an index,
            as if ``within`` fixed it, and merges them; so ``source`` must be a statement.
    """

    listing: Sequence[object]
    columns: Sequence[Any]
    falling: bool = False
    within: Sequence[tuple[Any, Any]] = ()
    span: tuple[Any, Any] = (None, None)
    among: tuple[Any, Sequence[Any]] | None = None


class _Cursor(NamedTuple):
    way: Way
    inclusive: bool
    key: Sequence[Any]


def fetch(
    uow: ReadUnitOfWork,
    source: type[RowT] | SelectOfScalar[RowT] | Select[RowT],
    order: Order,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[RowT]:
    """Return one page of a listing, in one statement.

    Args:
        uow: the unit of work to read in.
        source: a table class, or a statement that filters and whose rows have the order's columns as attributes. That
            of a table class is a hot one.
        order: the order of the listing, which is added here, as the limit is.
        limit: how many rows.
        cursor: where to go on.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor was altered or belongs to another listing.
    """
    check_limit(limit)
    at = _decode(cursor, order) if cursor is not None else None
    # One row more than asked for tells whether there is a further page.
    if isinstance(source, type):
        rows = _hot_rows(uow, source, order, at, limit + 1)
    elif order.among is not None:
        merged: Any = uow.execute(_merged(uow.backend, source, order, at, limit + 1))
        rows = list(merged)
    else:
        found: Any = uow.exec(_paged(uow.backend, source, order, at).limit(limit + 1))
        rows = list(found)
    more = len(rows) > limit
    del rows[limit:]
    backward = at is not None and at.way == "previous"
    if backward:
        rows.reverse()
    onward = cursor_after(order, _key(order, rows[-1])) if rows else None
    return Page(
        items=rows,
        next_cursor=onward if more and not backward else _leading("next", rows[-1:], order, at, more=more),
        previous_cursor=_leading("previous", rows[:1], order, at, more=more),
        end_cursor=onward if rows or backward else cursor,
    )


def _paged(backend: str, statement: StatementT, order: Order, at: _Cursor | None) -> StatementT:
    """Return a statement confined to a listing, in its order, and to what lies beyond a cursor."""
    backward = at is not None and at.way == "previous"
    falling = order.falling != backward
    if at is not None:
        statement = statement.where(_beyond(_bounds(backend, order, at.key), at, falling=falling))
    statement = statement.where(*_spanned(order, at, falling=falling))
    return _ordered(backend, statement, order, backward=backward)


def _merged(backend: str, source: sa.Select[Any], order: Order, at: _Cursor | None, limit: int) -> sa.Select[Any]:
    """Return a statement for the first rows among those of several values, each in its own range of an index."""
    column, values = order.among or (None, ())
    each = [order._replace(within=[*order.within, (column, value)]) for value in values]
    first = [sa.select(_paged(backend, source, part, at).limit(limit).subquery()) for part in each]
    merged = sa.union_all(*first).subquery()
    turn = sa.desc if order.falling != (at is not None and at.way == "previous") else sa.asc
    return sa.select(merged).order_by(*[turn(merged.c[each.key]) for each in order.columns]).limit(limit)


class _Form(NamedTuple):
    """What the text of a page's statement depends on; columns are named by their attributes."""

    table: type[Any]
    backend: str
    columns: tuple[str, ...]
    within: tuple[str, ...]
    falling: bool
    spanned: tuple[bool, bool]
    came: tuple[Way, bool] | None


def _hot_rows(uow: ReadUnitOfWork, table: type[RowT], order: Order, at: _Cursor | None, limit: int) -> list[RowT]:
    start, end = order.span
    form = _Form(
        table,
        uow.backend,
        columns=tuple([column.key for column in order.columns]),
        within=tuple([column.key for column, _ in order.within]),
        falling=order.falling,
        spanned=(start is not None, end is not None),
        came=None if at is None else (at.way, at.inclusive),
    )
    values = {f"within_{column.key}": value for column, value in order.within}
    if at is not None:
        values.update({f"key_{key}": value for key, value in zip(form.columns, at.key, strict=True)})
    return _hot_page(form).all(uow, **values, start=start, end=end, limit=limit)


@cache
def _hot_page(form: _Form) -> HotRows[Any]:
    """Return the statement of a page with places for all values, so that one serves every page of its form."""
    kind = getattr(form.table, form.columns[0]).type
    start, end = form.spanned
    order = Order(
        [],
        [getattr(form.table, key) for key in form.columns],
        falling=form.falling,
        within=[_place(form.table, "within", key) for key in form.within],
        span=(sa.bindparam("start", type_=kind) if start else None, sa.bindparam("end", type_=kind) if end else None),
    )
    keys = [place for _, place in [_place(form.table, "key", key) for key in form.columns]]
    at = None if form.came is None else _Cursor(*form.came, key=keys)
    statement = _paged(form.backend, sa.select(form.table), order, at)
    return HotRows(form.table, statement.limit(sa.bindparam("limit", type_=sa.Integer())))


def _place(table: type[Any], what: str, key: str) -> tuple[Any, sa.BindParameter[Any]]:
    column = getattr(table, key)
    return column, sa.bindparam(f"{what}_{key}", type_=column.type)


def ordered(uow: ReadUnitOfWork, statement: StatementT, order: Order, *, backward: bool = False) -> StatementT:
    """Return a statement confined to the fixed columns of a listing, in its order or backward."""
    return _ordered(uow.backend, statement, order, backward=backward)


def _ordered(backend: str, statement: StatementT, order: Order, *, backward: bool) -> StatementT:
    fixed = [column for column, _ in _ranged(backend, order)]
    turn = sa.desc if order.falling != backward else sa.asc
    confined_to = _confined(backend, order)
    return statement.where(*confined_to).order_by(*[turn(column) for column in (*fixed, *order.columns)])


def confined(uow: ReadUnitOfWork, order: Order) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that confine a statement to the fixed columns of a listing.

    Where a column is fixed by ``=``, PostgreSQL leaves it out of the order, and may walk the primary key through the
    rows of everybody else. A range of one value has it keep to the index of the listing.
    """
    return _confined(uow.backend, order)


def _confined(backend: str, order: Order) -> list[sa.ColumnElement[bool]]:
    ranged = _ranged(backend, order)
    equal = [column == value for column, value in order.within[: len(order.within) - len(ranged)]]
    return equal + [condition for column, value in ranged for condition in (column >= value, column <= value)]


def _ranged(backend: str, order: Order) -> Sequence[tuple[Any, Any]]:
    """Return the fixed column that is put as a range: on PostgreSQL the last one, next to what it is ordered by."""
    return order.within[-1:] if backend == "postgresql" else ()


def iterate(fetch_page: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Yield the items of all pages of a listing; ``fetch_page`` takes the cursor, ``None`` for the first page.

    Raises:
        StoreError: whatever fetching a page raises.
    """
    cursor: str | None = None
    while True:
        page = fetch_page(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def check_limit(limit: int) -> int:
    """Return the limit of a page.

    Raises:
        InvalidInput: it is not a whole number of 1 to 1,000.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit: must be a whole number from 1 to {MAX_LIMIT:,} (got {shown(limit)})", field="limit")
    return limit


def _bounds(backend: str, order: Order, key: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return the columns to compare with a cursor's row, each with its value there; see :func:`confined`."""
    return [*_ranged(backend, order), *zip(order.columns, key, strict=True)]


def _spanned(order: Order, at: _Cursor | None, *, falling: bool) -> Iterator[sa.ColumnElement[bool]]:
    """Yield what confines a listing to its span, but for the end that a cursor is beyond.

    SQLite seeks to one of two bounds of a side, and would walk from the end of the span to the cursor.
    """
    start, end = order.span
    if start is not None and (at is None or falling):
        yield order.columns[0] >= start
    if end is not None and (at is None or not falling):
        yield order.columns[0] < end


def _beyond(bounds: Sequence[tuple[Any, Any]], at: _Cursor, *, falling: bool) -> sa.ColumnElement[bool]:
    here = sa.tuple_(*[column for column, _ in bounds])
    there = sa.tuple_(*[_bound(value, column.type) for column, value in bounds])
    if falling:
        return here <= there if at.inclusive else here < there
    return here >= there if at.inclusive else here > there


def _bound(value: Any, kind: TypeEngine[Any]) -> sa.BindParameter[Any]:
    return value if isinstance(value, sa.BindParameter) else sa.literal(value, kind)


def _leading(way: Way, edge: Sequence[object], order: Order, at: _Cursor | None, *, more: bool) -> str | None:
    """Return the cursor that leads off a page's edge, or ``None`` where nothing lies that way."""
    came = at.way if at is not None else "next"
    if way == came and not more:
        return None
    if way != came and at is None:
        return None
    if edge:
        return _encode(_Cursor(way, inclusive=False, key=_key(order, edge[0])), order)
    # Rows beyond the cursor were deleted meanwhile; the way back begins at the cursor's own row.
    return _encode(_Cursor(way, inclusive=True, key=at.key), order) if at is not None else None


def cursor_after(order: Order, key: Sequence[Any]) -> str:
    """Return the cursor that leads on from a row with these values in the columns of the order."""
    return _encode(_Cursor("next", inclusive=False, key=key), order)


def _key(order: Order, row: object) -> list[Any]:
    return [getattr(row, column.key) for column in order.columns]


# --- the text of a cursor: base64url of 8 bytes of digest and a JSON array ------------------------------------


def _encode(cursor: _Cursor, order: Order) -> str:
    key = [{"t": value.isoformat()} if isinstance(value, datetime) else value for value in cursor.key]
    payload = orjson.dumps([cursor.way, cursor.inclusive, key])
    return _spell(_digest(payload, order) + payload)


def _spell(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str, order: Order) -> _Cursor:
    refusal = InvalidInput(
        "cursor: it was altered or belongs to another listing; hand on the cursor of a page of this very call, "
        "or none to begin anew",
        field="cursor",
    )
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, ValueError):
        raise refusal from None
    digest, payload = raw[:8], raw[8:]
    # One cursor has one spelling: base64 itself would pass over spare bits, and padding of one's own.
    if digest != _digest(payload, order) or _spell(raw) != text:
        raise refusal
    way, inclusive, key = orjson.loads(payload)
    return _Cursor(way, inclusive, [datetime.fromisoformat(v["t"]) if isinstance(v, dict) else v for v in key])


def _digest(payload: bytes, order: Order) -> bytes:
    # Not a secret: it keeps honest mistakes out. A cursor grants nothing that its listing does not show.
    listing = orjson.dumps([None if part is None else str(part) for part in order.listing])
    return hashlib.blake2b(payload + listing, digest_size=8, person=b"vibeweaver").digest()
