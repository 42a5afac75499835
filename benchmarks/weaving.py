"""What the weaving services cost beside the bare driver: ``python benchmarks/weaving.py [--rows N] [--seconds S]``.

Each subject and its reference run in turn, in one process on one file, so that a slow moment of the machine meets
both; what is printed is the median of each and their ratio. Deep pages are held against the first page.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measuring import Pair, report

from vibeweaver_store import Store, actions, history, rules, sessions, triggers

PARAMS = {"space": "drums", "prompt": "four on the floor", "bars": [1, 2, 3]}


@dataclass
class Entry:
    id: int
    session_id: str
    action: str
    params: object
    result: object
    success: bool
    created_at: str


class Driver:
    """The same work by hand: one kept connection of the standard library, dataclasses and json."""

    def __init__(self, path: Path, session_id: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.session_id = session_id

    def append(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(
            "INSERT INTO history (session_id, action, params, success, created_at) VALUES (?, ?, ?, 1, ?)",
            (self.session_id, "sample", json.dumps(PARAMS), "2026-01-01T00:00:00.000000Z"),
        )
        self.connection.execute("COMMIT")

    def page(self) -> list[Entry]:
        rows = self.connection.execute(
            "SELECT id, session_id, action, params, result, success, created_at FROM history"
            " WHERE session_id = ? ORDER BY id DESC LIMIT 50",
            (self.session_id,),
        )
        return [Entry(*row[:3], json.loads(row[3]), *row[4:]) for row in rows]

    def by_trigger(self) -> list[tuple[object, ...]]:
        rows = self.connection.execute(
            'SELECT id, "trigger", action FROM rules WHERE session_id = ? AND trigger_type = ? AND enabled = 1'
            " ORDER BY priority, created_at, id",
            (self.session_id, "beat"),
        )
        return [(row[0], json.loads(row[1]), json.loads(row[2])) for row in rows]


def pairs(store: Store, path: Path, rows: int) -> Iterator[Pair]:
    jam = store.run(sessions.create, name="bench")
    beats = [rules.NewRule(triggers.Beat(divisor=n), actions.Notify(message=f"bar {n}")) for n in range(1, 18)]
    store.run(rules.add_many, jam.id, beats)
    store.run(history.append_many, jam.id, (history.NewEntry("sample", PARAMS) for _ in range(rows)))
    driver = Driver(path, jam.id)
    first = store.query(history.page, jam.id)
    deep = deep_cursor(store, jam.id)

    yield Pair(
        "append, one a transaction",
        lambda: store.run(history.append, jam.id, "sample", params=PARAMS),
        "sqlite3",
        driver.append,
    )
    yield Pair("newest page of 50", lambda: store.query(history.page, jam.id), "sqlite3", driver.page)
    yield Pair(
        f"page of 50 at depth {rows:,}",
        lambda: store.query(history.page, jam.id, cursor=deep),
        "second page",
        lambda: store.query(history.page, jam.id, cursor=first.next_cursor),
    )
    yield Pair(
        "by_trigger, 17 rules", lambda: store.query(rules.by_trigger, jam.id, "beat"), "sqlite3", driver.by_trigger
    )


def deep_cursor(store: Store, session_id: str) -> str:
    """The cursor that leads to the last 50 rows: from the oldest page, which its own listing reads backwards."""
    cursor: str | None = None
    with store.read() as uow:
        total = history.count(uow, session_id)
    seen = 0
    while seen < total - 50:
        page = store.query(history.page, session_id, limit=min(1000, total - 50 - seen), cursor=cursor)
        seen += len(page.items)
        cursor = page.next_cursor
    assert cursor is not None
    return cursor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="history rows of the session")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each pair is measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        with Store.open(path) as store:
            report(pairs(store, path, arguments.rows), arguments.seconds)


if __name__ == "__main__":
    main()
