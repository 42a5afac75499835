"""Firing rules: counted, stamped, told of in history, committed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import JAM, RULES, Stage
from benchmarks.targets import C
from vibeweaver_store import rules, signals


def rows(stage: Stage) -> Iterator[Row]:
    store = stage.store
    tick = signals.BeatTick(beat=0)
    assert len(store.run(rules.fire, JAM, tick)) == len(stage.driver.fire(0)) == RULES
    yield Row(
        "rules.fire, 17 match",
        {OURS: timed(lambda: store.run(rules.fire, JAM, tick)), C: timed(lambda: stage.driver.fire(0))},
        calls=10,
        chunks=15,
    )
