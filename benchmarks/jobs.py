"""What jobs cost, and whether that stays so: ``python benchmarks/jobs.py [--rows N] [--database URL] [--seconds S]``.

Enqueuing, claiming and completing beside the same statements by hand on a bare sqlite3 connection, without a lease, a
fence, or attempts that are kept; then the same claim in queues of several shapes, beside one that is almost empty.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from measuring import Pair, report

from vibeweaver_store import Job, Store, jobs

DATA = {"song": "late set", "bars": [1, 2, 3]}
BATCH = 32


class Driver:
    """A queue by hand: one kept connection of the standard library."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, type TEXT, data TEXT, status INTEGER DEFAULT 0,"
            " priority INTEGER DEFAULT 0, attempts INTEGER DEFAULT 0, lease REAL, result TEXT)"
        )
        self.connection.execute("CREATE INDEX ready ON jobs (type, priority, id) WHERE status = 0")

    def enqueue(self, count: int = 1) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        rows = [("render", json.dumps(DATA))] * count
        self.connection.executemany("INSERT INTO jobs (type, data) VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def claim_and_complete(self, limit: int = 1) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        found = self.connection.execute(
            "UPDATE jobs SET status = 1, attempts = attempts + 1, lease = 1 WHERE id IN (SELECT id FROM jobs WHERE"
            " type = ? AND status = 0 ORDER BY priority, id LIMIT ?) RETURNING id, data",
            ("render", limit),
        ).fetchall()
        self.connection.execute("COMMIT")
        for key, data in found:
            json.loads(data)
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.execute("UPDATE jobs SET status = 2, result = ? WHERE id = ?", ("{}", key))
            self.connection.execute("COMMIT")


def claim(store: Store, limit: int = 1, kind: str = "render") -> list[Job]:
    return store.run(jobs.claim, [kind], "bench", limit=limit).jobs


def claim_and_complete(store: Store, limit: int = 1, kind: str = "render") -> None:
    for job in claim(store, limit, kind):
        store.run(jobs.complete, job, {})


def costs(store: Store, by_hand: Driver) -> Iterator[Pair]:
    yield Pair("enqueue", lambda: store.run(jobs.enqueue, "render", DATA), "bare sqlite3", by_hand.enqueue)
    many = [jobs.NewJob("render", DATA)] * 1000
    yield Pair(
        "enqueue 1,000", lambda: store.run(jobs.enqueue_many, many), "bare sqlite3", lambda: by_hand.enqueue(1000)
    )
    yield Pair("claim, complete", lambda: claim_and_complete(store), "bare sqlite3", by_hand.claim_and_complete)
    yield Pair(
        f"claim {BATCH}, complete each",
        lambda: claim_and_complete(store, BATCH),
        "bare sqlite3",
        lambda: by_hand.claim_and_complete(BATCH),
    )


def turning(store: Store, kind: str) -> Callable[[], None]:
    """One job of a type that goes round: enqueued, claimed, completed."""

    def turn() -> None:
        store.run(jobs.enqueue, kind, DATA)
        claim_and_complete(store, kind=kind)

    return turn


def shapes(store: Store, rows: int) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Queues of a type of their own each, with what fills them."""

    def fill(kind: str, **values: object) -> Callable[[], object]:
        new = [jobs.NewJob(kind, DATA, **values)] * rows  # type: ignore[arg-type]
        return lambda: store.run(jobs.enqueue_many, new)

    yield (
        "scheduled",
        f"amid {rows:,} urgent ones scheduled for later",
        fill("scheduled", priority=9, delay=timedelta(days=1)),
    )
    yield "waiting", f"amid {rows:,} less urgent ones", fill("waiting", priority=-9)


def growth(store: Store, rows: int) -> Iterator[Pair]:
    alone = turning(store, "alone")
    for kind, name, fill in shapes(store, rows):
        fill()
        yield Pair(f"a job, {name}", turning(store, kind), "alone", alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000, help="how many jobs stand in the way")
    parser.add_argument("--database", help="a database to work in; a file of its own by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each pair is measured")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(arguments.database or Path(folder) / "bench.db") as store,
    ):
        report(costs(store, Driver(Path(folder) / "bare.db")), arguments.seconds)
        report(growth(store, arguments.rows), arguments.seconds)


if __name__ == "__main__":
    main()
