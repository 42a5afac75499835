"""What benchmarks have in common: a subject and its reference, measured in turn in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    name: str
    subject: Callable[[], object]
    against: str
    reference: Callable[[], object]


def measure(pair: Pair, seconds: float) -> tuple[float, float]:
    """The median of subject and reference, in microseconds, taken in turn."""
    for _ in range(20):
        pair.subject(), pair.reference()
    times: tuple[list[float], list[float]] = ([], [])
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for taken, call in zip(times, (pair.subject, pair.reference), strict=True):
            started = time.perf_counter()
            call()
            taken.append(time.perf_counter() - started)
    return statistics.median(times[0]) * 1e6, statistics.median(times[1]) * 1e6


def report(pairs: Iterable[Pair], seconds: float) -> None:
    """Measure each pair for so long, and print a line of it."""
    print(f"{'':44} {'us':>8} {'against':>14} {'us':>8} {'ratio':>7}")
    for pair in pairs:
        ours, theirs = measure(pair, seconds)
        print(f"{pair.name:44} {ours:8.0f} {pair.against:>14} {theirs:8.0f} {ours / theirs:7.2f}")
