"""What arguments of services have in common."""

from __future__ import annotations

import enum

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown


class Unset(enum.Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"


UNSET = Unset.UNSET
"""An argument that was not given, where ``None`` is a value of its own."""


def expect(kind: type[object], value: object, *, field: str) -> None:
    """See to it that an item of a list is what the service takes.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, kind):
        raise InvalidInput(f"{field}: must hold {kind.__name__} (got {shown(value)})", field=field)
