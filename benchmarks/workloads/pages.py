"""Pages of history, at its new end and in its depths."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import generate
from benchmarks.driver import stamp
from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import DEEP_ROWS, HISTORY_ROWS, JAM, Stage
from benchmarks.targets import NEWEST, A, B, C
from vibeweaver_store import Store, history


def rows(stage: Stage) -> Iterator[Row]:
    store = stage.store
    yield Row(
        "history.page, newest 50",
        {
            OURS: timed(lambda: store.query(history.page, JAM)),
            C: timed(stage.driver.page),
            B: stage.kept.chunk("page"),
            A: stage.percall.chunk("page"),
        },
    )
    yield _deep("history.page at depth 90,000", store, cursor_below(stage, HISTORY_ROWS - 90_000))
    with Store.open(stage.templates.deep) as deep:
        yield _deep("history.page at depth 1,000,000", deep, cursor_below(stage, DEEP_ROWS - 1_000_000))


def _deep(name: str, store: Store, cursor: str) -> Row:
    return Row(
        name,
        {
            OURS: timed(lambda: store.query(history.page, JAM, cursor=cursor)),
            NEWEST: timed(lambda: store.query(history.page, JAM)),
        },
    )


def cursor_below(stage: Stage, key: int) -> str:
    """The cursor for what is older than an entry, by its id.

    A cursor tells of a session and an id alone, so that of a file with two entries does for one with a million.
    """
    path = stage.copy(f"cursor-{key}", stage.templates.empty)
    with generate.opened(path) as connection:
        row = "INSERT INTO history (id, session_id, action, success, created_at) VALUES (?, ?, 'sample', 1, ?)"
        connection.executemany(row, [(each, JAM, stamp()) for each in (key - 1, key)])
    with Store.open(path) as store:
        cursor = store.query(history.page, JAM, limit=1).next_cursor
    assert cursor is not None
    return cursor
