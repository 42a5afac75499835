"""What arguments of services have in common."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from vibeweaver_store.errors import InvalidInput
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
