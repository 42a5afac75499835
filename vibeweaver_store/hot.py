"""Statements of hot paths: SQLAlchemy's, compiled once, and run on the driver in the transaction of a unit of work.

What an ORM session does for a statement takes many times as long as SQLite does. A service declares such a statement
once, at the top of its module, and runs it in a line. Values are bound by the names of ``sqlalchemy.bindparam``; rows
become the same table classes as ever: in a unit of work that writes they are in its session, so that edits of them are
written when it ends; those that one that only reads has shown belong to no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import configure_mappers
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import SQLModel

from vibeweaver_store.binding import Binding
from vibeweaver_store.hot_rows import Shape
from vibeweaver_store.json_values import dump_json
from vibeweaver_store.kept import KeptConnection
from vibeweaver_store.stored_forms import ColumnReader, Reader, column_reader

if TYPE_CHECKING:
    from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

TableT = TypeVar("TableT", bound=SQLModel)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as one driver takes it.

    Attributes:
        text: the SQL.
        bind: turns values by name into what the driver takes.
        readers: what turns each value of a row into ours.
        column_readers: the same, a column of rows at a time.
    """

    text: str
    bind: Binding
    readers: Sequence[Reader | None]
    column_readers: Sequence[ColumnReader | None]

    def rows(self, found: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Return rows, read."""
        if len(found) < 2:
            return [tuple(self.row(each)) for each in found]
        return list(zip(*self.columns(found), strict=True))

    def row(self, found: Sequence[Any]) -> list[Any]:
        """Return one row, read."""
        return [
            value if read is None or value is None else read(value)
            for read, value in zip(self.readers, found, strict=True)
        ]

    def columns(self, found: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """Return the columns of rows, read."""
        columns = zip(*found, strict=True)
        return [
            column if read is None else read(column) for read, column in zip(self.column_readers, columns, strict=True)
        ]


def _compile(statement: sa.Executable, dialect: Dialect, names: Mapping[str, str] | None) -> _Compiled:
    """Compile a statement; ``names`` are those of an ``INSERT``'s columns, each with the attribute that it is of."""
    configure_mappers()  # else rows could not be read before the ORM has been used for anything
    options = {} if names is None else {"column_keys": list(names)}
    compiled: Any = statement.compile(dialect=dialect, **options)  # type: ignore[attr-defined]
    binds = {name: parameter for parameter, name in compiled.bind_names.items()}
    write = {name: _writer(each.type, dialect) for name, each in binds.items()}
    fixed = {name: _written(write[name], each.value) for name, each in binds.items() if not each.required}
    keys = {name: (names or {}).get(name, name) for name in binds}
    blank: Any = [fixed.get(name) for name in compiled.positiontup] if compiled.positional else fixed
    placed = list(enumerate(compiled.positiontup)) if compiled.positional else [(name, name) for name in binds]
    bind = Binding(blank, [(keys[name], place, write[name]) for place, name in placed if name not in fixed])
    columns: Sequence[Any] = getattr(statement, "exported_columns", ())
    readers = [_reader(each.type, dialect) for each in columns]
    return _Compiled(
        compiled.string, bind, readers, [None if read is None else column_reader(read) for read in readers]
    )


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> Reader | None:
    if isinstance(kind, sa.Float):  # a number is one already, and its reader would go by a row's description
        return None
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _writer(kind: TypeEngine[Any], dialect: Dialect) -> Reader | None:
    # What was validated is not validated by its column once more.
    written = getattr(kind, "written", None)
    writer: Reader | None = written(dialect) if written else kind.dialect_impl(dialect).bind_processor(dialect)
    return writer


def _written(writer: Reader | None, value: Any) -> Any:
    return value if writer is None else writer(value)


class Hot:
    """A statement that returns rows as tuples, or changes rows and counts them.

    The values that it is run with are not validated by their columns: a service has done that before.

    Args:
        statement: without ``IN`` over a bound list, which would be another text each time.
        names: of an ``INSERT``, the columns that are written, each with the attribute that it is of.
    """

    def __init__(self, statement: sa.Executable, *, names: Mapping[str, str] | None = None) -> None:
        self.statement = statement
        self._names = names
        self._compiled: dict[str, _Compiled] = {}

    def compiled_for(self, uow: ReadUnitOfWork | sa.Connection) -> _Compiled:
        """Return the statement as the driver of a unit of work takes it."""
        driver = uow.dialect.driver
        found = self._compiled.get(driver)
        if found is None:
            found = self._compiled[driver] = _compile(self.statement, uow.dialect, self._names)
        return found

    def all(self, uow: ReadUnitOfWork, /, **values: Any) -> list[Any]:
        """Return the rows as tuples.

        Raises:
            StoreError: the statement failed, or the unit of work is over.
        """
        compiled = self.compiled_for(uow)
        return compiled.rows(uow.run_hot(compiled.text, compiled.bind(values)))

    def glance(self, kept: KeptConnection, /, **values: Any) -> list[Any]:
        """Return the rows as tuples, of a connection without a transaction; see :meth:`Store.glance`.

        Raises:
            StoreError: the statement failed.
        """
        compiled = self.compiled_for(kept.connection)
        return compiled.rows(kept.rows(compiled.text, compiled.bind(values)))

    def first(self, uow: ReadUnitOfWork, /, **values: Any) -> Any | None:
        """Return the first row, or ``None``.

        Raises:
            StoreError: as :meth:`all` does.
        """
        compiled = self.compiled_for(uow)
        found = uow.run_hot(compiled.text, compiled.bind(values))
        return tuple(compiled.row(found[0])) if found else None

    def many(self, uow: UnitOfWork, values: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement that changes rows and returns none with each of several sets of values.

        Raises:
            StoreError: as :meth:`all` does.
        """
        compiled = self.compiled_for(uow)
        if bound := [compiled.bind(each) for each in values]:  # SQLAlchemy would run it once, without any
            uow.run_hot_many(compiled.text, bound)

    def count(self, uow: UnitOfWork, /, **values: Any) -> int:
        """Run a statement that changes rows and returns none, and return how many it has changed.

        Raises:
            StoreError: as :meth:`all` does.
        """
        compiled = self.compiled_for(uow)
        return uow.count_hot(compiled.text, compiled.bind(values))


class HotRows(Hot, Generic[TableT]):
    """A statement whose rows are those of a table.

    Args:
        table: the table class.
        statement: selects, or returns, all columns of the table in their order.
    """

    def __init__(self, table: type[TableT], statement: sa.Executable) -> None:
        super().__init__(statement)
        self._shape = Shape(table)

    def first(self, uow: ReadUnitOfWork, /, **values: Any) -> TableT | None:
        """Return the first row, or ``None``.

        Raises:
            StoreError: as :meth:`all` does.
        """
        found = self.all(uow, **values)
        return found[0] if found else None

    def all(self, uow: ReadUnitOfWork, /, **values: Any) -> list[TableT]:
        """Return the rows.

        Raises:
            StoreError: the statement failed, or the unit of work is over.
        """
        compiled = self.compiled_for(uow)
        found = uow.run_hot(compiled.text, compiled.bind(values))
        if len(found) == 1:
            return uow.adopt([self._shape.make_one(compiled.row(found[0]))])
        return uow.adopt(self._shape.make(compiled.columns(found))) if found else []


def placed(table: type[SQLModel], name: str) -> tuple[Any, sa.BindParameter[Any]]:
    """Return a column with a place for what an ``UPDATE`` writes into it, which is called ``new_NAME``."""
    column = getattr(table, name)
    return column, sa.bindparam(f"new_{name}", type_=column.type)


class _Texts(TypeDecorator[Sequence[Any]]):
    """A list of texts, or of lists of them, as one bound value: an array on PostgreSQL, a JSON text on SQLite."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(postgresql.ARRAY(sa.Text()) if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        return value if dialect.name == "postgresql" else dump_json(value)


class among(sa.ColumnElement[bool]):  # noqa: N801 - it reads as the function that it stands for
    """``IN`` over a list of texts that is bound as one value, so that lists of any length have one statement."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: Any, name: str) -> None:
        self.column = column
        self.values = sa.bindparam(name, type_=_Texts())

    def self_group(self, against: Any = None) -> among:  # noqa: ARG002 - SQLAlchemy's
        """Stand as it is: as any boolean, SQLite would be asked whether it ``= 1``, and walk the table."""
        return self


@compiles(among, "sqlite")
def _among_on_sqlite(element: among, compiler: Any, **options: Any) -> Any:
    each = sa.func.json_each(element.values).table_valued("value")
    return compiler.process(element.column.in_(sa.select(each.c.value)), **options)


@compiles(among)
def _among_elsewhere(element: among, compiler: Any, **options: Any) -> Any:
    return compiler.process(element.column == sa.any_(element.values), **options)


def text_rows(backend: str, name: str, *columns: str) -> sa.FromClause:
    """Return rows of texts to select from, which are bound as :func:`bound_rows` says: any number is one statement.

    Args:
        backend: ``sqlite`` or ``postgresql``.
        name: what the rows are called.
        columns: what their columns are called.
    """
    if backend == "postgresql":
        each = [sa.bindparam(f"{name}_{column}", type_=_Texts()) for column in columns]
        typed = [sa.column(column, sa.Text()) for column in columns]
        return sa.func.unnest(*each).table_valued(*typed, name=name).render_derived()
    row: Any = sa.func.json_each(sa.bindparam(name, type_=_Texts())).table_valued("value").c.value
    texts = [sa.func.json_extract(row, sa.literal_column(f"'$[{place}]'")) for place in range(len(columns))]
    return sa.select(*[text.label(column) for text, column in zip(texts, columns, strict=True)]).subquery(name)


def bound_rows(name: str, rows: Sequence[Sequence[str | None]], *columns: str) -> dict[str, Any]:
    """Return the values of :func:`text_rows`: all of the rows for SQLite, each column for PostgreSQL."""
    return {name: rows, **{f"{name}_{column}": [row[place] for row in rows] for place, column in enumerate(columns)}}
