"""``INSERT`` as a hot statement: values are validated as ``Base.build`` does, and rows come back as table classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

import sqlalchemy as sa
from sqlmodel import SQLModel

from vibeweaver_store.columns import Flag, Json
from vibeweaver_store.hot import Hot
from vibeweaver_store.hot_rows import Shape
from vibeweaver_store.json_values import encode_text, freeze
from vibeweaver_store.stored_forms import write_json
from vibeweaver_store.validation import require

if TYPE_CHECKING:
    from vibeweaver_store.unit_of_work import UnitOfWork

TableT = TypeVar("TableT", bound=SQLModel)

_BATCH: Final = 1000


class HotInsert(Hot, Generic[TableT]):
    """``INSERT`` into a table, of values that are validated as ``Base.build`` does.

    Args:
        table: the table class. An integer key is given by the database.
    """

    def __init__(self, table: type[TableT]) -> None:
        self._shape = shape = Shape(table)
        columns: Any = sa.inspect(table).local_table
        names = {column: key for column, key in shape.columns.items() if key != shape.generated}
        insert = sa.insert(columns).inline()
        super().__init__(insert, names=names)
        self._returning = Hot(insert.returning(columns.autoincrement_column), names=names) if shape.generated else self
        self._checks = {key: _check(table, key) for key in names.values()}
        self._texts = {
            key: partial(_document_text, check) for key, check in self._checks.items() if _is_json(table, key)
        }
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
        # SQLite tells the key of a row without being asked for it.
        compiled = (self if uow.backend == "sqlite" else self._returning).compiled_for(uow)
        bound = compiled.bind(row)
        if self._shape.generated is None:
            uow.count_hot(compiled.text, bound)
        else:
            row[self._shape.generated] = uow.run_hot_insert(compiled.text, bound)
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
            self.many(uow, rows[start : start + _BATCH])

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
        compiled = self.compiled_for(uow)
        # Nobody is given these rows: on SQLite their documents are text at once.
        bind = compiled.bind.knowing(known).checked(self._checks, {} if uow.backend == "postgresql" else self._texts)
        remaining = iter(rows)
        written = 0
        while batch := list(map(bind, islice(remaining, _BATCH))):
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
    if _is_json(table, key):
        return partial(_checked_document, exactly)
    if column.nullable:
        return lambda value: None if value is None else exactly(value)
    return exactly


def _is_json(table: type[SQLModel], key: str) -> bool:
    (column,) = sa.inspect(table).get_property(key).columns
    return type(column.type) is Json


def _document_text(check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return encode_text(value) if type(value) is dict else write_json(check(value))
    except ValueError:
        return write_json(check(value))  # which tells of it as the others do


def _checked_document(exactly: Callable[[Any], Any], value: Any) -> Any:
    try:
        return freeze(value) if type(value) is dict else exactly(value)
    except ValueError:
        return exactly(value)  # which tells of it as the others do
