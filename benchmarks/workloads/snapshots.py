"""Snapshots of state: saved with their checksum, loaded and checked."""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import JAM, Stage
from benchmarks.targets import A, B, C
from vibeweaver_store import snapshots

SIZES = {"64 KiB": 64 * 1024, "1 MiB": 1024 * 1024}


def rows(stage: Stage) -> Iterator[Row]:
    for name, size in SIZES.items():
        yield from _of_size(stage, name, size)


def _of_size(stage: Stage, name: str, size: int) -> Iterator[Row]:
    store, driver = stage.store, stage.driver
    state = random.Random(7).randbytes(size)
    yield Row(
        f"snapshots.save, {name}",
        {
            OURS: timed(lambda: store.run(snapshots.save, JAM, state)),
            C: timed(lambda: driver.save(state)),
            B: stage.kept.chunk("save", size),
            A: stage.percall.chunk("save", size),
        },
        calls=5,
        chunks=10,
        warm=3,
    )
    yield Row(
        f"snapshots.load, {name}",
        {
            OURS: timed(lambda: store.query(snapshots.load, JAM)),
            C: timed(driver.load),
            B: stage.kept.chunk("load"),
            A: stage.percall.chunk("load"),
        },
        calls=10,
        chunks=10,
    )
