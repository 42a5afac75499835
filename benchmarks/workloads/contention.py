"""Many at once that read, change and write: nothing is lost, nothing fails, and how long one waits at most."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.driver import Driver
from benchmarks.processes import Outcome, Work, in_processes, in_threads
from benchmarks.reference import Reference, program
from benchmarks.rows import OURS, Chunk, Row, Taken, percentile, whole
from benchmarks.stage import JAM, Stage
from benchmarks.targets import ALONE
from vibeweaver_store import Store, UnitOfWork, history, sessions

WORKERS = 8
EACH = 500
IN_PYTHON = "sqlite3, busy_timeout alone"

Run = Callable[[int, Work], Outcome]


def rows(stage: Stage) -> Iterator[Row]:
    yield Row(
        "8 processes that read, change and write: longest wait",
        _subjects(stage, "processes", in_processes, _of_processes),
        unit="ms",
        calls=1,
        chunks=1,
        figure=max,
        warm=0,
    )
    yield Row(
        "8 threads that read, change and write: p99.9",
        _subjects(stage, "threads", in_threads, _of_threads),
        unit="ms",
        calls=1,
        chunks=1,
        figure=partial(percentile, share=0.999),
        warm=0,
    )


def _subjects(stage: Stage, kind: str, run: Run, ours: Callable[[Path, int], Taken]) -> dict[str, Chunk]:
    each = stage.scaled(EACH)

    def file() -> Path:
        return stage.copy("changed", stage.templates.empty)

    subjects: dict[str, Chunk] = {
        OURS: whole(lambda: ours(file(), each)),
        IN_PYTHON: whole(lambda: _by_hand(run, file(), each)),
    }
    if isinstance(program(), Path):
        subjects[ALONE] = whole(lambda: _in_c(file(), each, kind))
    return subjects


def change(uow: UnitOfWork) -> None:
    """Read a session, change it, and tell the history."""
    session = sessions.get(uow, JAM)
    sessions.update(uow, JAM, attributes={"n": session.attributes["n"] + 1})
    history.append(uow, JAM, "set_param", params={"n": session.attributes["n"] + 1})


def warm(store: Store) -> None:
    """Do it once and take it back, so that the statements are made."""
    with suppress(InterruptedError), store.begin() as uow:
        change(uow)
        raise InterruptedError


def _waits(call: Callable[[], object], each: int) -> Iterator[float]:
    for _ in range(each):
        started = time.perf_counter_ns()
        call()
        yield (time.perf_counter_ns() - started) / 1e6


def _of_processes(path: Path, each: int) -> Taken:
    def work(begin: Callable[[], None]) -> Iterator[float]:
        with Store.open(path) as store:
            warm(store)
            begin()
            yield from _waits(lambda: store.run(change), each)

    return _checked(path, in_processes(WORKERS, work), each)


def _of_threads(path: Path, each: int) -> Taken:
    with Store.open(path) as store:
        warm(store)

        def work(begin: Callable[[], None]) -> Iterator[float]:
            begin()
            yield from _waits(lambda: store.run(change), each)

        outcome = in_threads(WORKERS, work)
    return _checked(path, outcome, each)


def _by_hand(run: Run, path: Path, each: int) -> Taken:
    def work(begin: Callable[[], None]) -> Iterator[float]:
        with Driver(path, JAM) as driver:
            begin()
            yield from _waits(driver.change, each)

    return _checked(path, run(WORKERS, work), each)


def _in_c(path: Path, each: int, kind: str) -> Taken:
    with Reference(path, JAM) as reference:
        told = reference.ask(f"change {WORKERS} {each} {kind}")
    return Taken([wait / 1e6 for wait in told["ns"]], _lost(path, each))


def _checked(path: Path, outcome: Outcome, each: int) -> Taken:
    return Taken(outcome.done, "; ".join(filter(None, [_lost(path, each), *sorted(set(outcome.failures))[:1]])))


def _lost(path: Path, each: int) -> str:
    """Say how many changes are not to be seen in the session, or not in its history."""
    connection = sqlite3.connect(path)
    (attributes,) = connection.execute("SELECT attributes FROM sessions WHERE id = ?", (JAM,)).fetchone()
    (told,) = connection.execute("SELECT count(*) FROM history WHERE session_id = ?", (JAM,)).fetchone()
    connection.close()
    expected = WORKERS * each
    lost = expected - min(json.loads(attributes)["n"], told)
    return f"{lost:,} of {expected:,} changes lost" if lost else ""
