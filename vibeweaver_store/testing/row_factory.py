"""What the factories share: rows that are valid, written with what they belong to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import sqlmodel
from factory.base import Factory

from vibeweaver_store.columns import new_id
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import Base
from vibeweaver_store.unit_of_work import UnitOfWork

T = TypeVar("T", bound=Base)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When the rows of the factories were made, unless they are told otherwise."""


class RowFactory(Factory[T], Generic[T]):
    """What the factories share: ``build(…)`` makes a valid row, ``create(uow=uow, …)`` writes it too."""

    class Meta:
        abstract = True

    @classmethod
    def _build(cls, model_class: type[T], *args: Any, **values: Any) -> T:
        values.pop("uow", None)
        for column in cls._missing_parents(values):
            values[column] = new_id()
        return model_class.build(**values)

    @classmethod
    def _create(cls, model_class: type[T], *args: Any, **values: Any) -> T:
        uow = values.pop("uow", None)
        if not isinstance(uow, UnitOfWork):
            raise InvalidInput(f"{cls.__name__}.create(uow=uow) needs a unit of work to write in", field="uow")
        for column in cls._missing_parents(values):
            factory, key = PARENTS[column]
            values[column] = getattr(factory.create(uow=uow), key)
        row = model_class.build(**values)
        uow.insert(row)
        return row

    @classmethod
    def _missing_parents(cls, values: dict[str, Any]) -> list[str]:
        """The columns of parents that a factory has, and that were not given."""
        return [column for column in PARENTS if column in values and values[column] is None]


PARENTS: dict[str, tuple[type[RowFactory[Any]], str]] = {}
"""What a row belongs to, by the column that names it: its factory, and its key. Those factories add themselves."""


def columns_of(row: sqlmodel.SQLModel) -> dict[str, Any]:
    """The values of a row, to compare it with one read on another connection."""
    return row.model_dump()
