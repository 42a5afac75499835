"""Statements of hot paths: SQLAlchemy's, compiled once, and run on the driver in the transaction of a unit of work.

What an ORM session does for a statement takes many times as long as SQLite does. A service declares such a statement
once, at the top of its module, and runs it in a line. Values are bound by the names of ``sqlalchemy.bindparam``; rows
become the same table classes as ever: in a unit of work that writes they are in its session, so that edits of them are
written when it ends; those that one that only reads has shown belong to no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeAlias, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import SQLModel

from vibeweaver_store.columns import Flag, Json, require
from vibeweaver_store.json_values import dump_json, freeze
from vibeweaver_store.kept import KeptConnection
from vibeweaver_store.stored_forms import ColumnReader, Reader, column_reader

if TYPE_CHECKING:
    from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

TableT = TypeVar("TableT", bound=SQLModel)

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as one driver takes it.

    Attributes:
        text: the SQL.
        bind: turns values by name into what the driver takes.
        readers: what turns each column of a row into ours.
    """

    text: str
    bind: Callable[[Mapping[str, Any]], Any]
    readers: Sequence[ColumnReader | None]


def _compile(statement: sa.Executable, dialect: Dialect, names: Mapping[str, str] | None) -> _Compiled:
    """Compile a statement; ``names`` are those of an ``INSERT``'s columns, each with the attribute that it is of."""
    options = {} if names is None else {"column_keys": list(names)}
    compiled: Any = statement.compile(dialect=dialect, **options)  # type: ignore[attr-defined]
    binds = {name: parameter for parameter, name in compiled.bind_names.items()}
    write = {name: _writer(each.type, dialect, validated=names is not None) for name, each in binds.items()}
    fixed = {name: _written(write[name], each.value) for name, each in binds.items() if not each.required}
    given = [((names or {}).get(name, name), name, writer) for name, writer in write.items() if name not in fixed]
    bind = _by_place(compiled.positiontup, given, fixed) if compiled.positional else _by_name(given, fixed)
    columns: Sequence[Any] = getattr(statement, "exported_columns", ())
    readers = [_reader(each.type, dialect) for each in columns]
    return _Compiled(compiled.string, bind, readers)


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> ColumnReader | None:
    if isinstance(kind, sa.Float):  # a number is one already, and its reader would go by a row's description
        return None
    read = kind.dialect_impl(dialect).result_processor(dialect, None)
    return None if read is None else column_reader(read)


def _writer(kind: TypeEngine[Any], dialect: Dialect, *, validated: bool) -> Reader | None:
    # What was validated is not validated by its column once more.
    written = getattr(kind, "written", None) if validated else None
    writer: Reader | None = written(dialect) if written else kind.dialect_impl(dialect).bind_processor(dialect)
    return writer


def _written(writer: Reader | None, value: Any) -> Any:
    return value if writer is None else writer(value)


_Given: TypeAlias = Sequence[tuple[str, str, Reader | None]]
"""Of each value: what it is called, what the statement calls it, and what turns it into the driver's."""
_Bind: TypeAlias = Callable[[Mapping[str, Any]], Any]


def _by_name(given: _Given, fixed: Mapping[str, Any]) -> _Bind:
    def bind(values: Mapping[str, Any]) -> dict[str, Any]:
        bound = {name: values[key] if write is None else write(values[key]) for key, name, write in given}
        bound.update(fixed)
        return bound

    return bind


def _by_place(names: Sequence[str], given: _Given, fixed: Mapping[str, Any]) -> _Bind:
    if fixed or len(names) != len(given):
        named = _by_name(given, fixed)
        return lambda values: tuple(map(named(values).__getitem__, names))
    writers = sorted(given, key=lambda each: names.index(each[1]))

    def bind(values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple([values[key] if write is None else write(values[key]) for key, _, write in writers])

    return bind


class Hot:
    """A statement that returns rows as tuples, or changes rows and counts them.

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
        found = uow.run_hot(compiled.text, compiled.bind(values))
        return list(zip(*_read(compiled.readers, found), strict=True)) if found else []

    def glance(self, kept: KeptConnection, /, **values: Any) -> list[Any]:
        """Return the rows as tuples, of a connection without a transaction; see :meth:`Store.glance`.

        Raises:
            StoreError: the statement failed.
        """
        compiled = self.compiled_for(kept.connection)
        found = kept.rows(compiled.text, compiled.bind(values))
        return list(zip(*_read(compiled.readers, found), strict=True)) if found else []

    def first(self, uow: ReadUnitOfWork, /, **values: Any) -> Any | None:
        """Return the first row, or ``None``.

        Raises:
            StoreError: as :meth:`all` does.
        """
        return next(iter(self.all(uow, **values)), None)

    def many(self, uow: UnitOfWork, values: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement that changes rows and returns none with each of several sets of values.

        Raises:
            StoreError: as :meth:`all` does.
        """
        compiled = self.compiled_for(uow)
        uow.run_hot_many(compiled.text, [compiled.bind(each) for each in values])

    def count(self, uow: UnitOfWork, /, **values: Any) -> int:
        """Run a statement that changes rows and returns none, and return how many it has changed.

        Raises:
            StoreError: as :meth:`all` does.
        """
        compiled = self.compiled_for(uow)
        return uow.count_hot(compiled.text, compiled.bind(values))


def _read(readers: Sequence[ColumnReader | None], found: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return the columns of rows, read."""
    columns = zip(*found, strict=True)
    return [column if read is None else read(column) for read, column in zip(readers, columns, strict=True)]


class HotRows(Hot, Generic[TableT]):
    """A statement whose rows are those of a table.

    Args:
        table: the table class.
        statement: selects, or returns, all columns of the table in their order.
    """

    def __init__(self, table: type[TableT], statement: sa.Executable) -> None:
        super().__init__(statement)
        self._shape = _Shape(table)

    def all(self, uow: ReadUnitOfWork, /, **values: Any) -> list[TableT]:
        """Return the rows.

        Raises:
            StoreError: the statement failed, or the unit of work is over.
        """
        compiled = self.compiled_for(uow)
        found = uow.run_hot(compiled.text, compiled.bind(values))
        if not found:
            return []
        return uow.adopt(self._shape.make(_read(compiled.readers, found)))


_set_fields_set: Final = vars(BaseModel)["__pydantic_fields_set__"].__set__
_set_extra: Final = vars(BaseModel)["__pydantic_extra__"].__set__
_set_private: Final = vars(BaseModel)["__pydantic_private__"].__set__
_set_dict: Final = vars(BaseModel)["__dict__"].__set__


class _Shape(Generic[TableT]):
    """What a table's rows are made of."""

    def __init__(self, table: type[TableT]) -> None:
        mapper = sa.inspect(table)
        self._table = table
        self.columns: dict[str, str] = {
            column.key: mapper.get_property_by_column(column).key for column in mapper.local_table.c
        }
        self._pack = _packer([*self.columns.values()])
        generated = mapper.local_table.autoincrement_column
        self.generated = None if generated is None else self.columns[generated.key]
        """The key that the database itself gives."""
        if not isinstance(vars(table).get(_STATE), _LateState):
            primary = [self.columns[column.key] for column in mapper.primary_key]
            type.__setattr__(table, _STATE, _LateState(mapper.class_manager, primary))

    def make(self, columns: Sequence[Sequence[Any]]) -> list[TableT]:
        """Make instances of the columns of rows, as the mapper does: nothing is validated, and no session has them."""
        table, pack, new = self._table, self._pack, object.__new__
        rows = []
        for values in zip(*columns, strict=True):
            # As _blank does; a call a row would be felt.
            row = new(table)
            _set_fields_set(row, set())
            _set_extra(row, None)
            _set_private(row, None)
            _set_dict(row, pack(*values))
            rows.append(row)
        return rows

    def make_new(self, values: dict[str, Any]) -> TableT:
        """Make an instance of the values of a row that was written."""
        row = self._blank(set(values))
        _set_dict(row, values)
        return row

    def _blank(self, given: set[str]) -> TableT:
        row = object.__new__(self._table)
        _set_fields_set(row, given)
        _set_extra(row, None)
        _set_private(row, None)
        return row


def duplicate(row: TableT) -> TableT:
    """Return a row of the same values that belongs to no session."""
    twin = object.__new__(type(row))
    _set_fields_set(twin, set())
    _set_extra(twin, None)
    _set_private(twin, None)
    values = dict(vars(row))
    values.pop(_STATE, None)
    _set_dict(twin, values)
    return twin


def _packer(keys: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a dictionary of these keys, in a third of the time of ``dict(zip(…))``.

    As ``namedtuple`` does; the keys are attributes of table classes.
    """
    places = [f"value_{number}" for number in range(len(keys))]
    pairs = ", ".join(f"{key!r}: {place}" for key, place in zip(keys, places, strict=True))
    packer: Callable[..., dict[str, Any]] = eval(f"lambda {', '.join(places)}: {{{pairs}}}")  # noqa: S307
    return packer


_STATE: Final = "_sa_instance_state"


class _LateState:
    """Gives a row that was made of a hot statement's what SQLAlchemy keeps of it, once somebody asks for that.

    Making it takes longer than the row, and most rows are only read.
    """

    def __init__(self, manager: Any, primary: Sequence[str]) -> None:
        self._manager = manager
        self._primary = primary

    def __get__(self, row: SQLModel | None, owner: type[SQLModel]) -> Any:
        if row is None:
            return self
        values = row.__dict__
        if not values:  # SQLAlchemy asks, of an instance that is being made, whether it has a state
            raise AttributeError(_STATE)
        state: InstanceState[Any] = InstanceState(row, self._manager)
        state.key = (owner, tuple([values[key] for key in self._primary]), None)
        values[_STATE] = state
        return state


def placed(table: type[SQLModel], name: str) -> tuple[Any, sa.BindParameter[Any]]:
    """Return a column with a place for what an ``UPDATE`` writes into it, which is called ``new_NAME``."""
    column = getattr(table, name)
    return column, sa.bindparam(f"new_{name}", type_=column.type)


class _Texts(TypeDecorator[Sequence[str]]):
    """A list of texts as one bound value: an array on PostgreSQL, a JSON text on SQLite."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(postgresql.ARRAY(sa.Text()) if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        return value if dialect.name == "postgresql" else dump_json(value)


class among(sa.ColumnElement[bool]):  # noqa: N801 - it reads as the function that it stands for
    """``IN`` over a list of texts that is bound as one value, so that lists of any length have one statement."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: Any, name: str) -> None:
        self.column = column
        self.values = sa.bindparam(name, type_=_Texts())


@compiles(among, "sqlite")
def _among_on_sqlite(element: among, compiler: Any, **options: Any) -> Any:
    each = sa.func.json_each(element.values).table_valued("value")
    return compiler.process(element.column.in_(sa.select(each.c.value)), **options)


@compiles(among)
def _among_elsewhere(element: among, compiler: Any, **options: Any) -> Any:
    return compiler.process(element.column == sa.any_(element.values), **options)


class HotInsert(Hot, Generic[TableT]):
    """``INSERT`` into a table, of values that are validated as ``Base.build`` does.

    Args:
        table: the table class. An integer key is given by the database.
    """

    def __init__(self, table: type[TableT]) -> None:
        self._shape = shape = _Shape(table)
        columns: Any = sa.inspect(table).local_table
        names = {column: key for column, key in shape.columns.items() if key != shape.generated}
        insert = sa.insert(columns).inline()
        super().__init__(insert.returning(columns.autoincrement_column) if shape.generated else insert, names=names)
        self._many = Hot(insert, names=names)
        self._checks = {key: _check(table, key) for key in names.values()}
        fields = {key: table.model_fields[key] for key in names.values()}
        self._made = {key: field.default_factory for key, field in fields.items() if field.default_factory}
        self._usual = {
            key: field.default for key, field in fields.items() if key not in self._made and not field.is_required()
        }

    def checked(self, values: Mapping[str, Any], **known: Any) -> dict[str, Any]:
        """Return all values of a row, with the defaults of those that are not given.

        Args:
            values: what is validated.
            known: what is right already: the time of the unit of work, the key of a session that is held.

        Raises:
            InvalidInput: a value is refused; the message names its field.
        """
        row = {**self._usual, **known, **self._checked_some(values)}
        for name, make in self._made.items():
            if name not in row:
                row[name] = make()  # type: ignore[call-arg]  # none looks at the other values
        return row

    def insert(self, uow: UnitOfWork, row: dict[str, Any]) -> TableT:
        """Write a row whose values were checked, and return it.

        Raises:
            AlreadyExists: a key is taken; the unit of work is undone, unless within a savepoint.
            NotFound: a row that it belongs to is not there; likewise.
            StoreError: the unit of work is over.
        """
        compiled = self.compiled_for(uow)
        bound = compiled.bind(row)
        if self._shape.generated is None:
            uow.count_hot(compiled.text, bound)
        else:
            ((row[self._shape.generated],),) = uow.run_hot(compiled.text, bound)
        (written,) = uow.adopt([self._shape.make_new(row)], new=True)
        return written

    def insert_all(self, uow: UnitOfWork, rows: Sequence[dict[str, Any]]) -> list[TableT]:
        """Write rows whose values were checked, in the order given, and return them.

        Raises:
            AlreadyExists: a key is taken; the unit of work is undone, unless within a savepoint.
            NotFound: a row that one belongs to is not there; likewise.
            StoreError: the unit of work is over.
        """
        if self._shape.generated is not None:
            return [self.insert(uow, row) for row in rows]
        self.write_many(uow, rows)
        return uow.adopt([self._shape.make_new(row) for row in rows], new=True)

    def write_many(self, uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows whose values were checked, in the order given, and return nothing.

        Raises:
            StoreError: as :meth:`insert_all` does.
        """
        for start in range(0, len(rows), _BATCH):
            self._many.many(uow, rows[start : start + _BATCH])

    def insert_many(self, uow: UnitOfWork, rows: Iterable[Mapping[str, Any]], **known: Any) -> int:
        """Validate and write rows, a batch at a time, and return how many there were.

        Args:
            uow: the unit of work to write in.
            rows: the values of each, all of the same columns.
            known: the values that all of them share and that are right already. With them, all columns are given.

        Raises:
            InvalidInput: a value is refused; what was written before goes with the unit of work.
            AlreadyExists: a key is taken; likewise.
            NotFound: a row that one belongs to is not there; likewise.
            StoreError: the unit of work is over.
        """
        compiled = self._many.compiled_for(uow)
        remaining = iter(rows)
        written = 0
        while batch := [compiled.bind(known | self._checked_some(row)) for row in islice(remaining, _BATCH)]:
            uow.run_hot_many(compiled.text, batch)
            written += len(batch)
        return written

    def _checked_some(self, values: Mapping[str, Any]) -> dict[str, Any]:
        checks = self._checks
        return {name: checks[name](value) for name, value in values.items()}


def _check(table: type[SQLModel], key: str) -> Callable[[Any], Any]:
    """Return what validates the values of an attribute; what most of them are is seen without pydantic."""
    field = table.model_fields[key]
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    exactly = partial(require, kind, field=key.removesuffix("_"))
    (column,) = sa.inspect(table).get_property(key).columns
    if isinstance(column.type, Flag):
        return lambda value: value if value is True or value is False else exactly(value)
    if type(column.type) is Json:
        return partial(_checked_document, exactly)
    if column.nullable:
        return lambda value: None if value is None else exactly(value)
    return exactly


def _checked_document(exactly: Callable[[Any], Any], value: Any) -> Any:
    if type(value) is dict:
        with suppress(ValueError):
            return freeze(value)
    return exactly(value)
