"""Rows that have no key to be known again by, of a source that is read a second time: which of them are there?

A row of a log is known by its marks: what is never changed of it (what it belongs to, who wrote it, when), and with
that what it says, without its secrets, so that it does not matter whether one of two readings struck them out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from vibeweaver_store.importers.redaction import redact_text


class Mark(NamedTuple):
    """What a row is known by: of equal ``place``, those that were written by the same at the same time."""

    place: bytes
    whole: bytes


def mark(place: Iterable[Any], said: str | None) -> Mark:
    """Return the mark of a row, from what stays as it is and what it says."""
    where = _digest(list(place))
    return Mark(where, _digest([where.hex(), None if said is None else redact_text(said)]))


def _digest(values: list[Any]) -> bytes:
    return hashlib.sha256(orjson.dumps(values)).digest()[:16]


class Known:
    """Rows that are there, held against all that a source has of the same parents.

    A row that says the same is there, of equal ones as many as there are. Those that are there and that the source has
    not as they are were edited since, here or in the source: each stands for one more row of its place.
    """

    def __init__(self, there: Counter[Mark], theirs: Counter[Mark]) -> None:
        self._there = there
        self._edited: Counter[bytes] = Counter()
        for left, count in (there - theirs).items():
            self._edited[left.place] += count

    def has(self, row: Mark) -> bool:
        """Return whether the next row of the source, which has this mark, is there."""
        if self._there[row]:
            self._there[row] -= 1
            return True
        edited = self._edited[row.place] > 0
        self._edited[row.place] -= edited
        return edited


class Tally:
    """How often each mark came in the batches of a source so far: which place a row has among equal ones.

    A unit of work may be done again: what it has counted is kept once it is over, see :meth:`keep`.
    """

    def __init__(self) -> None:
        self._kept: Counter[bytes] = Counter()
        self._batch: Counter[bytes] = Counter()

    def begin(self) -> None:
        """Begin to count a batch, for the first time or again."""
        self._batch = Counter()

    def next_place(self, row: Mark) -> int:
        """Count a row, and return how many equal ones came before it."""
        place = self._kept[row.whole] + self._batch[row.whole]
        self._batch[row.whole] += 1
        return place

    def keep(self) -> None:
        """Keep what was counted of the batch."""
        self._kept.update(self._batch)
        self.begin()
