"""Appending to history: one a transaction, many in one."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.driver import PARAMS, RESULT
from benchmarks.rows import OURS, Row, Taken, timed
from benchmarks.stage import JAM, Stage
from benchmarks.targets import A, B, C
from vibeweaver_store import Store, history

MANY = 10_000


def rows(stage: Stage) -> Iterator[Row]:
    store, driver = stage.store, stage.driver
    yield Row(
        "history.append, one a transaction",
        {
            OURS: timed(lambda: store.run(history.append, JAM, "set_param", params=PARAMS, result=RESULT)),
            C: timed(driver.append),
            B: stage.kept.chunk("append"),
            A: stage.percall.chunk("append"),
        },
    )
    yield Row(
        "history.append in an open unit of work",
        {
            OURS: lambda calls: append_open(store, calls),
            C: lambda calls: _driver_open(stage, calls),
            B: stage.kept.chunk("append_open"),
        },
        calls=100,
    )
    entries = [history.NewEntry("set_param", PARAMS, RESULT)] * MANY
    yield Row(
        "history.append_many, 10,000",
        {
            OURS: timed(lambda: store.run(history.append_many, JAM, entries)),
            C: timed(lambda: driver.append_many(MANY)),
            B: stage.kept.chunk("append_many", MANY),
        },
        calls=1,
        chunks=10,
        warm=1,
    )


def append_open(store: Store, calls: int) -> Taken:
    with store.begin() as uow:
        return timed(lambda: history.append(uow, JAM, "set_param", params=PARAMS, result=RESULT))(calls)


def _driver_open(stage: Stage, calls: int) -> Taken:
    with stage.driver.begin():
        return timed(stage.driver.append_open)(calls)
