"""How much a test does: by default enough to show its point, and all of it with ``VIBEWEAVER_TEST_FULL=1``."""

from __future__ import annotations

import os
from typing import Protocol, TypeVar

T = TypeVar("T")


class Size(Protocol):
    """What the fixture ``size`` is."""

    def __call__(self, small: T, full: T) -> T: ...


FULL = os.environ.get("VIBEWEAVER_TEST_FULL") == "1"


def sized(small: T, full: T) -> T:
    """Return ``full`` in a full run, else ``small``. A test asks for the fixture ``size``, which is this function."""
    return full if FULL else small


def examples(small: int, full: int) -> int:
    """Return how many examples hypothesis tries: ``@settings(max_examples=examples(50, 500))``."""
    return sized(small, full)
