"""What arguments of services have in common."""

from __future__ import annotations

import enum


class Unset(enum.Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"


UNSET = Unset.UNSET
"""An argument that was not given, where ``None`` is a value of its own."""
