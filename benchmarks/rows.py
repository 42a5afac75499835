"""What is measured: a row has subjects, and each subject takes so many calls and gives what each took."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

OURS = "ours"


@dataclass(frozen=True)
class Taken:
    """What some calls of one subject took, in the unit of their row; ``note`` tells of work lost or done twice."""

    values: list[float]
    note: str = ""


@dataclass(frozen=True)
class Missing:
    """A subject that cannot be measured here, and why."""

    reason: str


Chunk = Callable[[int], Taken]
"""Makes so many calls."""


@dataclass(frozen=True)
class Row:
    """One line of work and whoever does it.

    Attributes:
        name: what it is called in every table; the targets go by it.
        subjects: who does it, by name. They take turns, in random order.
        unit: of the values.
        calls: how many calls make a chunk.
        chunks: how many chunks each subject has in a round.
        figure: what is made of a round's values.
        warm: how many calls of each subject go before, and are not counted.
    """

    name: str
    subjects: Mapping[str, Chunk | Missing]
    unit: str = "µs"
    calls: int = 30
    chunks: int = 12
    figure: Callable[[list[float]], float] = field(default=statistics.median)
    warm: int = 10


def timed(call: Callable[[], object], *, before: Callable[[], object] | None = None) -> Chunk:
    """Have each call timed in µs, and what comes before each not."""

    def chunk(calls: int) -> Taken:
        values = []
        for _ in range(calls):
            if before is not None:
                before()
            started = time.perf_counter_ns()
            call()
            values.append((time.perf_counter_ns() - started) / 1e3)
        return Taken(values)

    return chunk


def timed_async(run: Callable[[Coroutine[Any, Any, Taken]], Taken], call: Callable[[], Awaitable[object]]) -> Chunk:
    """Have each await timed in µs, within the event loop, so that entering the loop costs the subject nothing."""

    async def awaited(calls: int) -> Taken:
        values = []
        for _ in range(calls):
            started = time.perf_counter_ns()
            await call()
            values.append((time.perf_counter_ns() - started) / 1e3)
        return Taken(values)

    return lambda calls: run(awaited(calls))


def whole(measure: Callable[[], Taken]) -> Chunk:
    """Have something measured as a whole that gives its own figures; a chunk of one call."""
    return lambda _calls: measure()


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
