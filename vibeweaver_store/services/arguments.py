"""What arguments of services have in common."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import TypeVar

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown

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
