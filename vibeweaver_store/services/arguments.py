"""What arguments of services have in common."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlmodel import col, select

from vibeweaver_store.errors import AlreadyExists, InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.unit_of_work import ReadUnitOfWork

T = TypeVar("T")


class Unset(enum.Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"


UNSET = Unset.UNSET
"""An argument that was not given, where ``None`` is a value of its own."""


def expect_many(kind: type[T], values: Iterable[T], *, field: str) -> Iterator[T]:
    """Yield the items of a list, each seen to be what the service takes.

    Raises:
        InvalidInput: it is no list, or an item is something else.
    """
    if not isinstance(values, Iterable):
        raise InvalidInput(f"{field}: must be a list of {kind.__name__} (got {shown(values)})", field=field)
    for value in values:
        if not isinstance(value, kind):
            raise InvalidInput(f"{field}: must hold {kind.__name__} (got {shown(value)})", field=field)
        yield value


_IDS_AT_ONCE: Final = 1000


def require_free_ids(uow: ReadUnitOfWork, table: Any, ids: Sequence[str]) -> None:
    """See that no row of a table has one of the ids of new rows, and that no two of these are alike.

    Args:
        uow: the unit of work to read in.
        table: a table class whose key is ``id``.
        ids: those that the caller brought, checked.

    Raises:
        AlreadyExists: an id is taken; it names the first.
    """
    seen: set[str] = set()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        batch = ids[start : start + _IDS_AT_ONCE]
        taken = set(uow.exec(select(col(table.id)).where(col(table.id).in_(batch))))
        for each in batch:
            if each in taken or each in seen:
                raise AlreadyExists(table.__name__.lower(), each)
            seen.add(each)


def instant_ago(uow: ReadUnitOfWork, span: object, *, field: str) -> datetime:
    """Return the instant that lies so long before now.

    Raises:
        InvalidInput: the span is no ``timedelta``, below 0, or longer than time itself.
    """
    if not isinstance(span, timedelta) or span < timedelta():
        raise InvalidInput(f"{field}: must be a timedelta from 0 (got {shown(span)})", field=field)
    try:
        return uow.now() - span
    except OverflowError:
        raise InvalidInput(f"{field}: {span} is longer than time itself", field=field) from None
