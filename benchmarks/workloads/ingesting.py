"""Lines of a coding agent's journal taken in, beside the same lines in one table of a bare file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.driver import PRAGMAS
from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import Stage
from vibeweaver_store import Store, journal
from vibeweaver_store.columns import new_id

LINES = 500
BARE = "one table, sqlite3"


def rows(stage: Stage) -> Iterator[Row]:
    path = stage.copy("ingested", stage.templates.empty)
    with Store.open(path) as store, closing(_bare(stage.folder / "bare.db")) as bare:
        again = _lines(new_id())
        for name, lines in (("new", lambda: _lines(new_id())), ("already in", lambda: again)):
            yield Row(
                f"journal.ingest of {LINES} lines, {name}",
                {
                    OURS: timed(lambda lines=lines: store.run(journal.ingest, lines())),  # type: ignore[misc]
                    BARE: timed(lambda lines=lines: _insert(bare, lines())),  # type: ignore[misc]
                },
                calls=1,
                warm=1,
            )


def _lines(source: str) -> list[dict[str, Any]]:
    """Lines as a coding agent writes them, each with an id of its own."""
    usage = {"input_tokens": 3, "output_tokens": 250, "cache_read_input_tokens": 20_000}
    return [
        {
            "type": "assistant" if n % 2 else "user",
            "uuid": new_id(),
            "parentUuid": None,
            "sessionId": source,
            "timestamp": f"2026-01-01T00:{n // 60 % 60:02}:{n % 60:02}.000Z",
            "cwd": "/srv/late-set",
            "message": {
                "id": f"msg_{n // 4}",
                "model": "m",
                "usage": usage,
                "content": [{"type": "text", "text": "x" * 400}],
            },
        }
        for n in range(LINES)
    ]


def _bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, source TEXT, uuid TEXT, data TEXT, UNIQUE (source, uuid))"
    )
    return connection


def _insert(connection: sqlite3.Connection, lines: list[dict[str, Any]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    rows = [(line["sessionId"], line["uuid"], json.dumps(line)) for line in lines]
    connection.executemany("INSERT OR IGNORE INTO events (source, uuid, data) VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")
