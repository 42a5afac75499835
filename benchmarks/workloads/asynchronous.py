"""Tasks beside threads: 200 that each want a page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.rows import OURS, Row, Taken, whole
from benchmarks.stage import JAM, Stage
from benchmarks.targets import THREADS
from vibeweaver_store import AsyncStore, history

TASKS = 200
WORKERS = 8


def rows(stage: Stage) -> Iterator[Row]:
    store = stage.store
    with asyncio.Runner() as runner, ThreadPoolExecutor(WORKERS) as pool:
        open_store = runner.run(AsyncStore.open(stage.folder / "ours.db"))

        def by_threads() -> Taken:
            started = time.perf_counter()
            list(pool.map(lambda _: store.query(history.page, JAM), range(TASKS)))
            return Taken([TASKS / (time.perf_counter() - started)])

        subjects = {OURS: whole(lambda: runner.run(_by_tasks(open_store))), THREADS: whole(by_threads)}
        yield Row("asyncio, 200 queries of a page at once", subjects, unit="pages/s", calls=1, chunks=10, warm=1)
        runner.run(open_store.close())


async def _by_tasks(store: AsyncStore) -> Taken:
    started = time.perf_counter()
    await asyncio.gather(*[store.query(history.page, JAM) for _ in range(TASKS)])
    return Taken([TASKS / (time.perf_counter() - started)])
