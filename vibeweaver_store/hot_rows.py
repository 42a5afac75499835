"""Rows of table classes, made of values as the ORM's mapper makes them, at a fraction of its cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count, repeat
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm.state import InstanceState
from sqlmodel import SQLModel

TableT = TypeVar("TableT", bound=SQLModel)

_set_fields_set: Final = vars(BaseModel)["__pydantic_fields_set__"].__set__
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
            for name, make in _LATE_SLOTS.items():
                type.__setattr__(table, name, _LateSlot(name, make))

    def make(self, columns: Sequence[Sequence[Any]]) -> list[TableT]:
        """Make instances of the columns of rows, as the mapper does: nothing is validated, and no session has them."""
        rows: list[TableT] = list(map(object.__new__, repeat(self._table, len(columns[0]))))
        # As in a loop, which would take half as long again.
        deque(map(_set_dict, rows, map(self._pack, *columns)), maxlen=0)
        return rows

    def make_one(self, values: Sequence[Any]) -> TableT:
        """Make an instance of the values of one row, as :meth:`make` does."""
        row = object.__new__(self._table)
        _set_dict(row, self._pack(*values))
        return row

    def make_new(self, values: dict[str, Any]) -> TableT:
        """Make an instance of the values of a row that was written."""
        row = object.__new__(self._table)
        _set_fields_set(row, set(values))
        _set_dict(row, values)
        return row


def duplicates(rows: Iterable[TableT]) -> list[TableT]:
    """Return rows of the same values that belong to no session."""
    new, made = object.__new__, []
    for row in rows:
        values = row.__dict__.copy()
        values.pop(_STATE, None)
        made.append(twin := new(type(row)))
        _set_dict(twin, values)
    return made


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
        if any(key not in values for key in self._primary):  # it is being made, and SQLAlchemy asks for its state
            raise AttributeError(_STATE)
        state: InstanceState[Any] = InstanceState(row, self._manager)
        state.key = self.key_of(row)
        values[_STATE] = state
        _LateState.made = next(_NUMBERS)  # whatever threads do meanwhile, none comes twice
        for holder in list(HOLDERS):
            holder.take_in(row)
        return state

    def key_of(self, row: SQLModel) -> _Key:
        values = row.__dict__
        return (type(row), tuple([values[key] for key in self._primary]), None)


_Key: TypeAlias = tuple[type[Any], tuple[Any, ...], Any]


def identity_key(row: SQLModel) -> _Key:
    """Return by what SQLAlchemy knows a row that was made here."""
    late: _LateState = vars(type(row))[_STATE]
    return late.key_of(row)


class Holder(Protocol):
    """Who has handed out rows without a state, and is to be told which of them are looked at closer."""

    def take_in(self, row: SQLModel) -> None:
        """Do with a row what is to be done, if it is one of them."""


HOLDERS: Final[set[Holder]] = set()
"""Those who have handed out rows without a state, and are not done with them yet."""


class _LateSlot:
    """Gives such a row what pydantic keeps of it beside its values, once somebody asks for that."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self._slot = vars(BaseModel)[name]
        self._make = make

    def __get__(self, row: SQLModel | None, owner: type[SQLModel]) -> Any:
        if row is None:
            return self
        try:
            return self._slot.__get__(row, owner)
        except AttributeError:
            self._slot.__set__(row, self._make())
            return self._slot.__get__(row, owner)

    def __set__(self, row: SQLModel, value: Any) -> None:
        self._slot.__set__(row, value)


_LATE_SLOTS: Final[dict[str, Callable[[], Any]]] = {
    "__pydantic_fields_set__": set,
    "__pydantic_extra__": lambda: None,
    "__pydantic_private__": lambda: None,
}


def states_made() -> int:
    """Return a number that moves whenever somebody looks closer at a row than to read its values, as to edit it."""
    return _LateState.made


def is_edited(row: SQLModel) -> bool:
    """Say whether a row has been edited since it was made."""
    state = vars(row).get(_STATE)
    return state is not None and bool(state.modified)
