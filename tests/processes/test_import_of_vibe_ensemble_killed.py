"""An import of a vibe-ensemble database that is killed, by a real process: no row is doubled and none is lost."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from sqlmodel import col, select

from tests.importers.foreign_files import vibe_ensemble_database
from tests.sizes import Size
from tests.spawning import Processes
from vibeweaver_store import Import, ImportStatus, Store, imports
from vibeweaver_store.importers.vibe_ensemble import import_vibe_ensemble
from vibeweaver_store.models import Comment, CoordinationEvent, Ticket


def big_ensemble(path: Path, count: int) -> Path:
    """A database of a dozen batches, in which many comments and events are equal to others."""
    return vibe_ensemble_database(
        path,
        projects=[{"repository_name": "band/song"}],
        worker_types=[{"worker_type": "writer"}],
        tickets=[{"ticket_id": f"T-{n:04}", "title": "x" * 200} for n in range(count)],
        comments=[{"ticket_id": f"T-{n % count:04}", "content": "+1"} for n in range(2 * count)],
        events=[{"ticket_id": f"T-{n // 5:04}", "reason": f"for {n // 2}"} for n in range(count)],
    )


def test_an_ensemble_import_killed_repeatedly_ends_as_if_never_killed(
    processes: Processes, store: Store, database: str, tmp_path: Path, size: Size
) -> None:
    count, kills = size(1_500, 2_500), size(2, 3)  # of tickets, and of events
    rows = 1 + 1 + count + 2 * count + count
    path, reached = big_ensemble(tmp_path / "ensemble.db", count), 0
    for _ in range(kills):
        kill_at_work(processes, store, database, path, beyond=reached)

        at = latest(store)
        assert at is not None
        assert at.status is ImportStatus.RUNNING
        tickets, comments, events = stored(store)
        assert comments == sorted([*tickets, *tickets])  # each with all that was said on it
        reached = total(store)
        assert reached == 2 + len(tickets) + len(comments) + len(events) < rows

    report = import_vibe_ensemble(store, path)

    tickets, comments, events = stored(store)
    assert tickets == [f"T-{n:04}" for n in range(count)]
    assert comments == sorted([*tickets, *tickets])
    assert events == [f"for {n // 2}" for n in range(count)]
    assert (report.counts.read, report.counts.duplicate) == (rows, reached)
    every = store.query(imports.page).items
    assert [each.status for each in every] == [ImportStatus.COMPLETED, *[ImportStatus.FAILED] * kills]


def kill_at_work(processes: Processes, store: Store, database: str, path: Path, *, beyond: int) -> None:
    """Start an import in a process of its own, and kill it once it has stored another batch of tickets or events."""
    words = ["--db", database, "import", "vibe-ensemble", path]
    process = processes.start_module("vibeweaver_store", *words)
    until = time.monotonic() + 60
    while total(store) < max(beyond, 2) + 500:
        assert process.runs, (beyond, process.stderr)
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    with store.begin() as uow:  # once a server has undone what the killed process had begun
        uow.exec(select(Import).with_for_update()).all()


def total(store: Store) -> int:
    """How many rows were brought by all imports together, as these tell."""
    return sum(each.counts.get("new", 0) for each in store.query(imports.page).items)


def latest(store: Store) -> Import | None:
    found = store.query(imports.page, limit=1).items
    return found[0] if found else None


def stored(store: Store) -> tuple[list[str], list[str], list[str | None]]:
    """The ids of all tickets, the tickets of all comments, and the reasons of all events in their order."""
    with store.read() as uow:
        return (
            list(uow.exec(select(Ticket.ticket_id).order_by(col(Ticket.ticket_id)))),
            list(uow.exec(select(Comment.ticket_id).order_by(col(Comment.ticket_id)))),
            list(uow.exec(select(CoordinationEvent.reason).order_by(col(CoordinationEvent.id)))),
        )
