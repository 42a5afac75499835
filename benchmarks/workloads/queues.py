"""Queues on SQLite: one piece of work put in, taken and acknowledged; then four processes that empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count

from benchmarks.peers import QUEUES, OpenQueue, Queue, loaded
from benchmarks.processes import exactly_once, in_processes
from benchmarks.rows import OURS, Chunk, Missing, Row, Taken, timed, whole
from benchmarks.stage import Stage
from vibeweaver_store import Store, jobs

PROCESSES = 4
PIECES = 1000


class Ours:
    """The store's jobs as a queue of numbers."""

    def __init__(self, database: str) -> None:
        self._store = Store.open(database, migrate=True)

    def put(self, number: int) -> None:
        self._store.run(jobs.enqueue, "render", number)

    def take(self) -> int | None:
        taken = self._store.run(jobs.claim, ["render"], "bench").jobs
        for job in taken:
            self._store.run(jobs.complete, job)
        return int(str(taken[0].data)) if taken else None

    def close(self) -> None:
        self._store.close()


def rows(stage: Stage) -> Iterator[Row]:
    peers = dict(loaded(QUEUES)) if stage.options.peers else {}
    yield from queue_rows("queue", stage, {OURS: Ours, **peers}, lambda: str(stage.make_folder() / "queue.db"))


def queue_rows(
    title: str, stage: Stage, subjects: dict[str, OpenQueue | Missing], database: Callable[[], str]
) -> Iterator[Row]:
    """The two rows of some queues, each on databases of its own."""
    with ExitStack() as stack:
        turns: dict[str, Chunk | Missing] = {
            name: each if isinstance(each, Missing) else _turn(stack.enter_context(closing(each(database()))))
            for name, each in subjects.items()
        }
        yield Row(f"{title}: put, get, acknowledge", turns, calls=10, chunks=15, warm=5)
    crowds: dict[str, Chunk | Missing] = {
        name: each if isinstance(each, Missing) else _crowd(each, database, stage.scaled(PIECES))
        for name, each in subjects.items()
    }
    yield Row(f"{title}: emptied by 4 processes", crowds, unit="jobs/s", calls=1, chunks=1, warm=0)


def _turn(queue: Queue) -> Chunk:
    numbers = count()

    def turn() -> None:
        queue.put(next(numbers))
        if queue.take() is None:
            raise RuntimeError("what was put in cannot be taken")

    return timed(turn)


def _crowd(open_queue: OpenQueue, database: Callable[[], str], pieces: int) -> Chunk:
    def measure() -> Taken:
        place = database()
        with closing(open_queue(place)) as queue:
            for number in range(pieces):
                queue.put(number)

        def work(begin: Callable[[], None]) -> Iterator[int]:
            with closing(open_queue(place)) as queue:
                begin()
                while (number := queue.take()) is not None:
                    yield number

        outcome = in_processes(PROCESSES, work)
        return Taken([len(set(outcome.done)) / outcome.seconds], exactly_once(outcome, pieces))

    return whole(measure)
