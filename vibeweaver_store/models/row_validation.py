"""Validation of rows as they are flushed: SQLModel validates nothing when an attribute of a row is set.

Each new or edited row of a table class passes here before its statement is sent. Statements of your own (``sa.update``,
raw SQL) do not; the constraints and triggers of the tables check those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper

from vibeweaver_store.columns import EnumInteger, EnumText, UnionDocument, parse_enum
from vibeweaver_store.validation import parse_document, require

if TYPE_CHECKING:
    from vibeweaver_store.models.base import Base

_Check: TypeAlias = Callable[[Any], Any]
"""Takes the value of an attribute and returns it as it is stored, or raises ``InvalidInput``."""

_VALIDATED: Final = "validated"


def validate_when_flushed(base: type[Base]) -> None:
    """Validate the rows of all tables of a base class before they are written, also of tables declared later."""
    event.listen(base, "before_insert", _before_insert, propagate=True)
    event.listen(base, "before_update", _before_update, propagate=True)


def remember_validated(row: Base) -> None:
    """Note the values that a new row has now as validated: they are not validated again when the row is flushed."""
    sa.inspect(row).info[_VALIDATED] = dict(vars(row))


def _before_insert(_mapper: Mapper[Any], _connection: sa.Connection, row: Base) -> None:
    known = sa.inspect(row).info.pop(_VALIDATED, {})
    values = vars(row)
    # By identity: validated values cannot be edited in place.
    changed = [name for name in _checks(type(row)) if name not in known or values.get(name) is not known[name]]
    _validate(row, changed)


def _before_update(_mapper: Mapper[Any], _connection: sa.Connection, row: Base) -> None:
    attributes = sa.inspect(row).attrs
    _validate(row, [name for name in _checks(type(row)) if attributes[name].history.has_changes()])


def _validate(row: Base, attributes: Iterable[str]) -> None:
    """Check attributes of a row, and that its values fit together. Values become what the database will return.

    Raises:
        InvalidInput: a value is refused; ``field`` names it.
    """
    checks = _checks(type(row))
    for name in attributes:
        value = getattr(row, name)
        checked = checks[name](value)
        if checked is not value:
            setattr(row, name, checked)
    row.check_row()


@cache
def _checks(table: type[Base]) -> dict[str, _Check]:
    attributes = sa.inspect(table).column_attrs
    return {attribute.key: _check(table, attribute.key, attribute.columns[0]) for attribute in attributes}


def _check(table: type[Base], key: str, column: Any) -> _Check:
    check = _check_of_type(table, key, column)
    if column.nullable:
        return lambda value: None if value is None else check(value)
    return check


def _check_of_type(table: type[Base], key: str, column: Any) -> _Check:
    field = key.removesuffix("_")  # an attribute is called metadata_ where SQLAlchemy has taken the name
    if isinstance(column.type, EnumText | EnumInteger):
        return partial(parse_enum, column.type.vocabulary, field=field)
    if isinstance(column.type, UnionDocument):
        return partial(parse_document, column.type.adapter, field=field)
    declared = table.model_fields[key]
    kind = Annotated[declared.annotation, *declared.metadata] if declared.metadata else declared.annotation
    return partial(require, kind, field=field)
