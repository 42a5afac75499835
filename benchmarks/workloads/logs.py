"""Pages of messages and of a journal."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import JAM, Stage
from benchmarks.targets import B, C
from vibeweaver_store import journal, messages


def rows(stage: Stage) -> Iterator[Row]:
    store, driver = stage.store, stage.driver
    yield Row(
        "messages.page, 50",
        {
            OURS: timed(lambda: store.query(messages.page, JAM)),
            C: timed(driver.messages),
            B: stage.kept.chunk("messages"),
        },
    )
    yield Row(
        "journal.for_session, 50",
        {
            OURS: timed(lambda: store.query(journal.for_session, JAM)),
            C: timed(driver.journal),
            B: stage.kept.chunk("journal"),
        },
    )
