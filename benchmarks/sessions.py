"""What finding sessions and taking journals in cost: ``python benchmarks/sessions.py [--sessions N] [--database URL]``.

Searches and overviews beside the plainest page of the same store, among many sessions; lines of a journal beside the
same lines in one table of a bare sqlite3 file.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import Pair, report

from vibeweaver_store import Store, arenas, journal, messages, sessions, workspaces
from vibeweaver_store.columns import new_id

LINES = 500


def fill(store: Store, count: int) -> str:
    """Many sessions in a hundred workspaces, one of them an arena with 50 instances and 10,000 messages."""
    with store.begin() as uow:
        folders = [workspaces.ensure(uow, f"/srv/{n}").id for n in range(100)]
        for n in range(count):
            sessions.create(uow, name=f"set {n:06}", vibe="dub" if n % 50 else "ambient", workspace_id=folders[n % 100])
        many = [
            arenas.NewInstance(agent_name=f"agent {n}", worktree_path=f"/srv/tree/{n}", branch=f"b{n}")
            for n in range(50)
        ]
        arena = arenas.create_arena(uow, "competition", "land the drop", "/srv/0", instances=many, runtimes=["claude"])
        said = [messages.NewMessage("user", f"take {n}") for n in range(10_000)]
        messages.append_many(uow, arena.session.id, said)
    return folders[0]


def lines_of(source: str) -> list[dict[str, Any]]:
    """Lines as a coding agent writes them, each with an id of its own."""
    usage = {
        "input_tokens": 3,
        "output_tokens": 250,
        "cache_read_input_tokens": 20_000,
        "cache_creation_input_tokens": 9,
    }
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


def bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, source TEXT, uuid TEXT, data TEXT, UNIQUE (source, uuid))"
    )
    return connection


def insert(connection: sqlite3.Connection, lines: list[dict[str, Any]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    rows = [(line["sessionId"], line["uuid"], json.dumps(line)) for line in lines]
    connection.executemany("INSERT OR IGNORE INTO events (source, uuid, data) VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")


def pairs(store: Store, workspace_id: str, connection: sqlite3.Connection) -> Iterator[Pair]:
    def page() -> object:
        return store.query(sessions.page, limit=50)

    found = {
        "search, by name": (sessions.search, sessions.SessionFilter(), "name"),
        "search, one workspace": (sessions.search, sessions.SessionFilter(workspace_id=workspace_id), "updated_at"),
        "search, one workspace and status": (
            sessions.search,
            sessions.SessionFilter(workspace_id=workspace_id, status="created"),
            "created_at",
        ),
        "search, a text of one in 50": (sessions.search, sessions.SessionFilter(text="ambient"), "updated_at"),
        "overview": (sessions.overview, sessions.SessionFilter(), "updated_at"),
    }
    for name, (search, where, sort) in found.items():
        yield Pair(
            name,
            lambda search=search, where=where, sort=sort: store.query(search, where, sort=sort, limit=50),  # type: ignore[misc]
            "the list",
            page,
        )
    yield Pair("counts", lambda: store.query(sessions.counts), "the list", page)
    yield Pair(
        f"ingest {LINES} lines",
        lambda: store.run(journal.ingest, lines_of(new_id())),
        "bare sqlite3",
        lambda: insert(connection, lines_of(new_id())),
    )
    again = lines_of(new_id())
    yield Pair(
        f"ingest {LINES} lines that are there",
        lambda: store.run(journal.ingest, again),
        "bare sqlite3",
        lambda: insert(connection, again),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000, help="how many sessions there are")
    parser.add_argument("--database", help="a database to work in; a file of its own by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each pair is measured")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(arguments.database or Path(folder) / "bench.db") as store,
    ):
        workspace_id = fill(store, arguments.sessions)
        report(pairs(store, workspace_id, bare(Path(folder) / "bare.db")), arguments.seconds)


if __name__ == "__main__":
    main()
