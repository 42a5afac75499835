"""Opening a store that is at head, in a process that runs already."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.rows import OURS, Row, Taken
from benchmarks.stage import JAM, Stage
from vibeweaver_store import Store, sessions


def rows(stage: Stage) -> Iterator[Row]:
    path = stage.copy("opened", stage.templates.empty)

    def chunk(calls: int) -> Taken:
        values = []
        for _ in range(calls):
            started = time.perf_counter()
            store = Store.open(path)
            values.append((time.perf_counter() - started) * 1e3)
            store.query(sessions.get, JAM)
            store.close()
        return Taken(values)

    yield Row("opening a store at head", {OURS: chunk}, unit="ms", calls=5, chunks=6, warm=3)
