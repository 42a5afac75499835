"""Queues on PostgreSQL, as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers import POSTGRES_QUEUES, loaded
from benchmarks.rows import OURS, Missing, Row
from benchmarks.server import Server, for_store
from benchmarks.stage import Stage
from benchmarks.workloads.queues import Ours, queue_rows


def rows(stage: Stage) -> Iterator[Row]:
    if stage.options.postgres is None:
        missing = Missing("no server given")
        yield Row("PostgreSQL queue: put, get, acknowledge", {OURS: missing})
        return
    peers = dict(loaded(POSTGRES_QUEUES)) if stage.options.peers else {}
    with Server(stage.options.postgres) as server:
        yield from queue_rows("PostgreSQL queue", stage, {OURS: _ours, **peers}, server.make)


def _ours(url: str) -> Ours:
    return Ours(for_store(url))
