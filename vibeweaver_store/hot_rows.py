"""Rows of table classes, made of values as the ORM's mapper makes them, at a fraction of its cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm.state import InstanceState
from sqlmodel import SQLModel

TableT = TypeVar("TableT", bound=SQLModel)

_set_fields_set: Final = vars(BaseModel)["__pydantic_fields_set__"].__set__
_set_extra: Final = vars(BaseModel)["__pydantic_extra__"].__set__
_set_private: Final = vars(BaseModel)["__pydantic_private__"].__set__
_set_dict: Final = vars(BaseModel)["__dict__"].__set__


class Shape(Generic[TableT]):
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
            # As _instance does; a call a row would be felt.
            row = new(table)
            _set_fields_set(row, set())
            _set_extra(row, None)
            _set_private(row, None)
            _set_dict(row, pack(*values))
            rows.append(row)
        return rows

    def make_new(self, values: dict[str, Any]) -> TableT:
        """Make an instance of the values of a row that was written."""
        return _instance(self._table, values, set(values))


def duplicate(row: TableT) -> TableT:
    """Return a row of the same values that belongs to no session."""
    values = dict(vars(row))
    values.pop(_STATE, None)
    return _instance(type(row), values, set())


def _instance(table: type[TableT], values: dict[str, Any], given: set[str]) -> TableT:
    row = object.__new__(table)
    _set_fields_set(row, given)
    _set_extra(row, None)
    _set_private(row, None)
    _set_dict(row, values)
    return row


def _packer(keys: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a dictionary of these keys, in a third of the time of ``dict(zip(…))``.

    As ``namedtuple`` does; the keys are attributes of table classes.
    """
    places = [f"value_{number}" for number in range(len(keys))]
    pairs = ", ".join(f"{key!r}: {place}" for key, place in zip(keys, places, strict=True))
    packer: Callable[..., dict[str, Any]] = eval(f"lambda {', '.join(places)}: {{{pairs}}}")  # noqa: S307
    return packer


_STATE: Final = "_sa_instance_state"


_NUMBERS: Final = count(1)


class _LateState:
    """Gives a row that was made of a hot statement's what SQLAlchemy keeps of it, once somebody asks for that.

    Making it takes longer than the row, and most rows are only read.
    """

    made = 0
    """Moves with each that is made."""

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
        _LateState.made = next(_NUMBERS)  # whatever threads do meanwhile, none comes twice
        return state


def states_made() -> int:
    """Return a number that moves whenever somebody looks closer at a row than to read its values, as to edit it."""
    return _LateState.made


def is_edited(row: SQLModel) -> bool:
    """Say whether a row has been edited since it was made."""
    state = vars(row).get(_STATE)
    return state is not None and bool(state.modified)
