"""An import of a vibe-ensemble database that is killed, by a real process: no row is doubled and none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sqlmodel import col, select

from tests.importers.foreign_files import vibe_ensemble_database
from vibeweaver_store import Import, ImportStatus, Store, imports
from vibeweaver_store.importers.vibe_ensemble import import_vibe_ensemble
from vibeweaver_store.models import Comment, CoordinationEvent, Ticket

TICKETS, EVENTS, KILLS = 2_500, 2_500, 3
ROWS = 1 + 1 + TICKETS + 2 * TICKETS + EVENTS


def big_ensemble(path: Path) -> Path:
    """A database of a dozen batches, in which many comments and events are equal to others."""
    return vibe_ensemble_database(
        path,
        projects=[{"repository_name": "band/song"}],
        worker_types=[{"worker_type": "writer"}],
        tickets=[{"ticket_id": f"T-{n:04}", "title": "x" * 200} for n in range(TICKETS)],
        comments=[{"ticket_id": f"T-{n % TICKETS:04}", "content": "+1"} for n in range(2 * TICKETS)],
        events=[{"ticket_id": f"T-{n // 5:04}", "reason": f"for {n // 2}"} for n in range(EVENTS)],
    )


def test_an_ensemble_import_killed_repeatedly_ends_as_if_never_killed(
    store: Store, database: str, tmp_path: Path
) -> None:
    path, reached = big_ensemble(tmp_path / "ensemble.db"), 0
    for _ in range(KILLS):
        kill_at_work(store, database, path, beyond=reached)

        at = latest(store)
        assert at is not None
        assert at.status is ImportStatus.RUNNING
        tickets, comments, events = stored(store)
        assert comments == sorted([*tickets, *tickets])  # each with all that was said on it
        reached = total(store)
        assert reached == 2 + len(tickets) + len(comments) + len(events) < ROWS

    report = import_vibe_ensemble(store, path)

    tickets, comments, events = stored(store)
    assert tickets == [f"T-{n:04}" for n in range(TICKETS)]
    assert comments == sorted([*tickets, *tickets])
    assert events == [f"for {n // 2}" for n in range(EVENTS)]
    assert (report.counts.read, report.counts.duplicate) == (ROWS, reached)
    every = store.query(imports.page).items
    assert [each.status for each in every] == [ImportStatus.COMPLETED, *[ImportStatus.FAILED] * KILLS]


def kill_at_work(store: Store, database: str, path: Path, *, beyond: int) -> None:
    """Start an import in a process of its own, and kill it once it has stored another batch of tickets or events."""
    command = [sys.executable, "-m", "vibeweaver_store", "--db", database, "import", "vibe-ensemble", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while total(store) < max(beyond, 2) + 500:
            assert process.poll() is None, (beyond, process.communicate())
            assert time.monotonic() < until
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
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
