"""The rules of one trigger."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import JAM, Stage
from benchmarks.targets import A, B, C
from vibeweaver_store import rules


def rows(stage: Stage) -> Iterator[Row]:
    store = stage.store
    yield Row(
        "rules.by_trigger, 17 rows",
        {
            OURS: timed(lambda: store.query(rules.by_trigger, JAM, "beat")),
            C: timed(stage.driver.by_trigger),
            B: stage.kept.chunk("by_trigger"),
            A: stage.percall.chunk("by_trigger"),
        },
    )
