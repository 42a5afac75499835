"""Several processes or threads at one piece of work, begun together."""

from __future__ import annotations

import multiprocessing
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[Callable[[], None]], Iterable[Any]]
"""Opens what it needs, calls what it is given to begin with the others, and yields what it did."""

PATIENCE_SECONDS = 120


@dataclass
class Outcome:
    seconds: float
    done: list[Any] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def in_processes(count: int, work: Work) -> Outcome:
    """Fork so many; none may have a database open by then that they use."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count), context.Queue()
    children = [context.Process(target=lambda: results.put(_worked(work, barrier.wait))) for _ in range(count)]
    for child in children:
        child.start()
    told = [results.get(timeout=PATIENCE_SECONDS) for _ in children]
    for child in children:
        child.join()
    return _together(told)


def in_threads(count: int, work: Work) -> Outcome:
    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return _together(list(pool.map(lambda _: _worked(work, barrier.wait), range(count))))


@dataclass
class _Worked:
    began: float
    ended: float
    done: list[Any]
    failure: str = ""


def _worked(work: Work, wait: Callable[[], object]) -> _Worked:
    began = time.perf_counter()

    def begin() -> None:
        nonlocal began
        wait()
        began = time.perf_counter()

    done: list[Any] = []
    try:
        done.extend(work(begin))
    except Exception as error:  # noqa: BLE001 - a subject that fails is shown as such
        return _Worked(began, time.perf_counter(), done, _told(error))
    return _Worked(began, time.perf_counter(), done)


def _told(error: Exception) -> str:
    """What went wrong, without the folders of this machine."""
    return f"{type(error).__name__}: {re.sub(r'/[^ ]*/', '', str(error))}"


def _together(told: list[_Worked]) -> Outcome:
    seconds = max(each.ended for each in told) - min(each.began for each in told)
    done = [one for each in told for one in each.done]
    return Outcome(seconds, done, [each.failure for each in told if each.failure])


def exactly_once(outcome: Outcome, expected: int) -> str:
    """Say what is not as it should be: lost, done twice, or failed. Nothing where all is well."""
    times = Counter(outcome.done)
    doubled = sum(count - 1 for count in times.values())
    lost = expected - len(times)
    troubles = [f"{lost:,} of {expected:,} lost" if lost else "", f"{doubled:,} done twice" if doubled else ""]
    return "; ".join([*filter(None, troubles), *sorted(set(outcome.failures))[:1]])
