"""An import that is killed, by a real process: it leaves the beginning of the file, and the next one goes on."""

from __future__ import annotations

import signal
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from tests.importers.transcript_files import SESSION, answer, encoded, prompt
from tests.sizes import Size
from tests.spawning import Processes
from vibeweaver_store import Import, ImportStatus, Store, imports, journal, messages, sessions
from vibeweaver_store.importers.claude_code import import_claude_code
from vibeweaver_store.models import JournalEvent, Message


def big_transcript(path: Path, count: int) -> list[int]:
    """Write a transcript of more batches than there are kills; give where each of its lines ends."""
    lines = [
        encoded([answer(n, f"answer {n} " + "x" * 300) if n % 2 else prompt(n, f"prompt {n}")]) for n in range(count)
    ]
    path.write_bytes(b"".join(lines))
    return list(accumulate(map(len, lines)))


def test_a_transcript_import_killed_repeatedly_ends_as_if_never_killed(
    processes: Processes, store: Store, database: str, tmp_path: Path, size: Size
) -> None:
    lines, kills = size(4_000, 8_000), size(2, 3)
    path = tmp_path / f"{SESSION}.jsonl"
    ends = big_transcript(path, lines)
    reached = 0
    for _ in range(kills):
        kill_at_work(processes, store, database, path, beyond=reached)

        at = latest(store)
        assert at is not None
        events, said = stored(store)
        reached = at.offset_bytes
        assert len(events) == ends.index(reached) + 1 < lines
        assert events == said == [f"uuid-{n}" for n in range(len(events))]
        assert at.status is ImportStatus.RUNNING
        assert at.report["lines"] == len(events)
        assert store.query(sessions.get, SESSION).attributes["import"]["title"] == "prompt 0"

    report = import_claude_code(store, [path])

    events, said = stored(store)
    assert events == said == [f"uuid-{n}" for n in range(lines)]
    every = store.query(imports.page).items
    assert [each.status for each in every] == [ImportStatus.COMPLETED, *[ImportStatus.FAILED] * kills]
    assert sum(each.counts["new"] for each in every) == lines
    assert sum(each.counts["sessions"] for each in every) == 1
    assert report.counts.duplicate == 0
    assert store.query(messages.count, SESSION) == store.query(journal.count, SESSION) == lines


def kill_at_work(processes: Processes, store: Store, database: str, path: Path, *, beyond: int) -> None:
    """Start an import in a process of its own, and kill it once it has stored another batch."""
    words = ["--db", database, "import", "claude-code", path]
    process = processes.start_module("vibeweaver_store", *words)
    until = time.monotonic() + 60
    while (at := latest(store)) is None or at.offset_bytes <= beyond:
        assert process.runs, process.stderr
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    settled(store)


def settled(store: Store) -> None:
    """Wait until a server has undone what the killed process had begun: a writer of the session would wait for it."""
    with store.begin() as uow:
        sessions.hold(uow, SESSION)


def latest(store: Store) -> Import | None:
    found = store.query(imports.page, limit=1).items
    return found[0] if found else None


def stored(store: Store) -> tuple[list[Any], list[Any]]:
    """The ids of all lines and of all messages, in the order in which they were stored."""
    with store.read() as uow:
        events = uow.connection().exec_driver_sql(f"SELECT event_uuid FROM {JournalEvent.__tablename__} ORDER BY id")
        said = uow.connection().exec_driver_sql(f"SELECT public_id FROM {Message.__tablename__} ORDER BY id")
        return list(events.scalars()), list(said.scalars())
