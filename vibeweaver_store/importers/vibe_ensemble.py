"""Brings in a database of vibe-ensemble (seed 003): projects, worker types, tickets, comments, workers, and events.

Comments and events have numbers for keys, which are not kept here. A second run knows them again by what they are: see
:mod:`vibeweaver_store.importers.known_rows`. It asks the tables themselves what is there, in the unit of work that
adds to them, and keeps no marks of its own: so a run that was killed, a file that was moved, and what was removed or
edited here since lead to no double.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.foreign_database import (
    BATCH_ROWS,
    ForeignDatabase,
    ForeignRow,
    Layout,
    fingerprint,
    in_batches,
    opened,
)
from vibeweaver_store.importers.keeping import lose_columns
from vibeweaver_store.importers.known_rows import Known, Mark
from vibeweaver_store.importers.recorded import Part, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.runs import ImportReport, Progress, running
from vibeweaver_store.importers.vibe_ensemble_events import Events, hold_projects
from vibeweaver_store.importers.vibe_ensemble_rows import (
    mark_of_comment,
    read_comment,
    read_project,
    read_ticket,
    read_worker,
    read_worker_type,
)
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import Comment, EnsembleWorker, Project, Ticket, WorkerType
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork

IMPORTER: Final = "vibe-ensemble"

LAYOUT: Final[Layout] = {
    "projects": ("repository_name", "path", "short_description", "created_at", "updated_at"),
    "worker_types": (
        *("id", "project_id", "worker_type", "short_description", "system_prompt", "created_at", "updated_at"),
    ),
    "tickets": (
        *("ticket_id", "project_id", "title", "execution_plan", "last_completed_stage", "created_at", "updated_at"),
        "closed_at",
    ),
    "comments": ("id", "ticket_id", "worker_type", "worker_id", "stage_number", "content", "created_at"),
    "workers": (
        *("worker_id", "project_id", "worker_type", "status", "pid", "queue_name", "started_at", "last_activity"),
    ),
    "events": ("id", "event_type", "ticket_id", "worker_id", "stage", "reason", "created_at", "processed"),
}


def import_vibe_ensemble(
    store: Store, path: Path, *, redact: bool = True, dry_run: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Bring in a vibe-ensemble database: up to 500 rows or 2 MiB a unit of work, tickets with all their comments.

    Every row of its tables counts as one item. Projects, tickets and workers keep their keys, and all rows their times
    and the order in which they were inserted. What is there already stays as it is, and counts as a duplicate, also a
    ticket that has moved on since: here or there. What came since is added: comments and events of tickets that are
    there, too. A ticket or worker whose key is taken in another project is left out, and so is what cannot be read: a
    ticket with its comments, where its plan is refused. The rest goes in. A plan may name worker types that are not
    there. An event belongs to the project of its ticket or worker, where that is known; it is attached to it by the
    import that brings the project, the ticket or the worker. Columns that have no place here are left out and told of.

    Args:
        store: where to.
        path: the file; it is only read.
        redact: strike credentials and ids of organizations out of prompts, titles, comments, reasons, descriptions and
            names of queues before they are stored.
        dry_run: tell what would be done, and write nothing.
        progress: is told how much of the file was dealt with, in bytes.

    Raises:
        ImportRejected: there is no such file, or it is no vibe-ensemble database.
        StoreBusy: another process holds the file exclusively.
        StoreError: the store cannot be written.
    """
    with (
        opened(path, IMPORTER, LAYOUT, progress=progress) as source,
        running(store, IMPORTER, dry_run=dry_run) as run,
        recorded(run, path, fingerprint(path)) as bringing,
    ):
        for table in ("projects", "worker_types", "workers"):
            for rows in in_batches(source.rows(table)):
                bringing.bring(partial(_bring_rows, _KINDS[table], rows, redact))
        for rows in in_batches(source.rows("tickets")):
            bringing.bring(partial(_bring_tickets, source, rows, redact))
        bringing.bring(partial(_refuse_strays, source))
        events = Events(source, redact)
        for rows in in_batches(source.rows("events")):
            bringing.bring(partial(events.bring, rows))
            events.keep()
    return run.report


# --- what has a key --------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """A table whose rows have keys: how its rows are read, the columns of its key, and of the project."""

    table: Any
    read: Callable[[ForeignRow, Redactor, int], Any]
    key: Sequence[Any]
    project: Any

    def key_of(self, row: Any) -> tuple[Any, ...]:
        return tuple(getattr(row, column.key) for column in self.key)


_KINDS: Final[Mapping[str, _Kind]] = {
    "projects": _Kind(Project, read_project, [Project.repository_name], Project.repository_name),
    "worker_types": _Kind(
        WorkerType, read_worker_type, [WorkerType.project_id, WorkerType.worker_type], WorkerType.project_id
    ),
    "workers": _Kind(EnsembleWorker, read_worker, [EnsembleWorker.worker_id], EnsembleWorker.project_id),
    "tickets": _Kind(Ticket, read_ticket, [Ticket.ticket_id], Ticket.project_id),
}


class _Kept(NamedTuple):
    """Keys of rows that went in, and of those that were there."""

    new: set[str]
    there: set[str]


def _bring_rows(kind: _Kind, rows: Sequence[ForeignRow], redact: bool, uow: UnitOfWork, part: Part) -> None:
    _bring(kind, rows, redact, uow, part)


def _bring(kind: _Kind, rows: Sequence[ForeignRow], redact: bool, uow: UnitOfWork, part: Part) -> _Kept:
    """Bring rows that have keys, and are of a project that is there."""
    redactor = Redactor(redact)
    tried = [(row, part.attempt(row, partial(kind.read, row, redactor, part.import_id))) for row in rows]
    read = [(row, made) for row, made in tried if made is not None]
    part.counts.redacted += redactor.count
    projects = hold_projects(uow, {getattr(made, kind.project.key) for _, made in read})
    taken = _taken(uow, kind, [kind.key_of(made) for _, made in read])
    fresh, kept = [], _Kept(set(), set())
    for row, made in read:
        key, project = kind.key_of(made), getattr(made, kind.project.key)
        if kind.table is not Project and project not in projects:
            part.leave_out(row, "its project is not there")
        elif key not in taken:
            fresh.append(made)
            lose_columns(part, row)
            kept.new.add(key[0])
            taken[key] = project
        elif taken[key] == project:
            part.counts.duplicate += 1
            kept.there.add(key[0])
        else:
            part.leave_out(row, f"its id is taken in project {shown(taken[key])}")
    uow.insert(*fresh)
    part.counts.new += len(fresh)
    return kept


def _taken(uow: UnitOfWork, kind: _Kind, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """Return of which project the rows are that have such keys."""
    columns = [col(column) for column in kind.key]
    found = sa.select(*columns, col(kind.project)).where(sa.tuple_(*columns).in_(keys)).order_by(*columns)
    if kind.table is Ticket:  # whose comments are counted next
        found = found.with_for_update(key_share=True)
    return {tuple(key): project for *key, project in uow.execute(found)} if keys else {}


# --- tickets with their comments -------------------------------------------------------------------------------


def _bring_tickets(
    source: ForeignDatabase, rows: Sequence[ForeignRow], redact: bool, uow: UnitOfWork, part: Part
) -> None:
    kept = _bring(_KINDS["tickets"], rows, redact, uow, part)
    tickets = kept.new | kept.there
    if tickets:
        known, redactor = _known(uow, source, kept.there), Redactor(redact)
        for batch in in_batches(source.rows("comments", ticket_id=sorted(tickets))):
            _bring_comments(batch, redactor, known, uow, part)
        part.counts.redacted += redactor.count
    if left_out := [row.key for row in rows if row.key not in tickets]:
        part.refuse(source.rows("comments", ticket_id=left_out), "its ticket was left out")


def _bring_comments(
    rows: Iterable[ForeignRow], redactor: Redactor, known: Known | None, uow: UnitOfWork, part: Part
) -> None:
    tried = [(row, part.attempt(row, partial(read_comment, row, redactor, part.import_id))) for row in rows]
    read = [(row, comment) for row, comment in tried if comment is not None]
    new = [(row, each) for row, each in read if known is None or not known.has(mark_of_comment(each))]
    for row, _ in new:
        lose_columns(part, row)
    fresh = [comment for _, comment in new]
    uow.insert(*fresh)
    part.counts.new += len(fresh)
    part.counts.duplicate += len(read) - len(fresh)


def _known(uow: UnitOfWork, source: ForeignDatabase, tickets: AbstractSet[str]) -> Known | None:
    """Return which comments of tickets were brought before, held against what the file has of them; ``None``: none."""
    columns = [Comment.ticket_id, Comment.worker_type, Comment.worker_id, Comment.stage_number, Comment.content]
    brought = (col(Comment.ticket_id).in_(sorted(tickets)), col(Comment.import_id).is_not(None))
    found = sa.select(*map(col, [*columns, Comment.created_at])).where(*brought)
    there = Counter(map(mark_of_comment, uow.execute(found.execution_options(yield_per=BATCH_ROWS))))
    if not there:
        return None
    theirs: Counter[Mark] = Counter()
    for row in source.rows("comments", ticket_id=sorted(tickets)):
        with suppress(InvalidInput):  # it is told of when it is brought
            theirs[mark_of_comment(read_comment(row, Redactor(on=False), None))] += 1
    return Known(there, theirs)


def _refuse_strays(source: ForeignDatabase, _uow: UnitOfWork, part: Part) -> None:
    part.refuse(source.strays("comments", parent="tickets", by="ticket_id"), "its ticket is not there")
