"""The events of a vibe-ensemble database (seed 003): which are there already, and of which project they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.importers.foreign_database import BATCH_ROWS, ForeignDatabase, ForeignRow
from vibeweaver_store.importers.keeping import lose_columns
from vibeweaver_store.importers.known_rows import Mark, Tally
from vibeweaver_store.importers.recorded import Part
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.vibe_ensemble_rows import mark_of_event, read_event
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import CoordinationEvent, EnsembleWorker, Project, Ticket
from vibeweaver_store.services.ensemble_rows import append_events, hold_events
from vibeweaver_store.services.journal_lines import id_of
from vibeweaver_store.unit_of_work import UnitOfWork


class Named(NamedTuple):
    """The projects of tickets and of workers, by their keys."""

    tickets: Mapping[Any, Any]
    workers: Mapping[Any, Any]

    def of(self, event: CoordinationEvent) -> tuple[Any, Any]:
        """Return the project of an event's ticket, and that of its worker, where they are known."""
        return self.tickets.get(event.ticket_id), self.workers.get(event.worker_id)


class Events:
    """Brings the events of a file, batch by batch in the order of the file, each once.

    An event is there if as many equal ones were brought before as come before it in the file.
    """

    def __init__(self, source: ForeignDatabase, redact: bool) -> None:
        self._redact = redact
        self._tally = Tally()
        tickets, workers = (
            {row.key: id_of(row["project_id"]) for row in source.rows(table) if row.key is not None}
            for table in ("tickets", "workers")
        )
        self._theirs = Named(tickets, workers)

    def bring(self, rows: Sequence[ForeignRow], uow: UnitOfWork, part: Part) -> None:
        """Bring a batch; :meth:`keep` it afterwards.

        One whose ticket or worker is another one here is left out: it would be of the wrong one.
        """
        redactor = Redactor(self._redact)
        tried = [(row, part.attempt(row, partial(read_event, row, redactor, part.import_id))) for row in rows]
        read = [(row, event) for row, event in tried if event is not None]
        part.counts.redacted += redactor.count
        ours = _projects_here(uow, [event for _, event in read])
        named = {project for _, event in read for each in (ours, self._theirs) for project in each.of(event)}
        projects = hold_projects(uow, named)
        hold_events(uow)
        there, strays = _brought_before(uow, [event for _, event in read])
        self._tally.begin()
        fresh, attached = [], 0
        for row, event in read:
            known = mark_of_event(event)
            if (clash := self._clash(event, ours)) is not None:
                part.leave_out(row, clash)
                continue
            of_it = (*ours.of(event), *self._theirs.of(event))
            event.project_id = next((project for project in of_it if project in projects), None)
            if self._tally.next_place(known) >= there[known]:
                fresh.append(event)
                lose_columns(part, row)
            elif event.project_id is not None and strays[known]:
                _attach(uow, part, strays[known].pop(0), event.project_id)
                attached += 1
            else:
                part.counts.duplicate += 1
        if fresh:
            append_events(uow, *fresh)
        part.counts.new += len(fresh)
        part.counts.updated += attached

    def _clash(self, event: CoordinationEvent, ours: Named) -> str | None:
        for kind, there, here in zip(("ticket", "worker"), self._theirs.of(event), ours.of(event), strict=True):
            if here is not None and there not in {None, here}:
                return f"its {kind} is another one here, of project {shown(here)}"
        return None

    def keep(self) -> None:
        """Note that the batch is over: those behind it count on from there."""
        self._tally.keep()


def hold_projects(uow: UnitOfWork, named: Iterable[str | None]) -> set[str]:
    """Return which projects are there, and let nobody delete them until the unit of work ends."""
    key = col(Project.repository_name)
    found = select(key).where(key.in_([each for each in named if each is not None])).order_by(key)
    return set(uow.exec(found.with_for_update(read=True, key_share=True)))


def _projects_here(uow: UnitOfWork, events: Sequence[CoordinationEvent]) -> Named:
    tickets, workers = {each.ticket_id for each in events}, {each.worker_id for each in events}
    of_tickets = select(col(Ticket.ticket_id), col(Ticket.project_id)).where(col(Ticket.ticket_id).in_(tickets))
    of_workers = select(col(EnsembleWorker.worker_id), col(EnsembleWorker.project_id)).where(
        col(EnsembleWorker.worker_id).in_(workers)
    )
    return Named(dict(uow.exec(of_tickets).all()), dict(uow.exec(of_workers).all()))


def _brought_before(
    uow: UnitOfWork, events: Sequence[CoordinationEvent]
) -> tuple[Counter[Mark], Mapping[Mark, list[int]]]:
    """Return which events of the time of these were brought, by this import or by others.

    Besides, the ids of those of no project, the oldest first.
    """
    times = [each.created_at for each in events]
    there: Counter[Mark] = Counter()
    strays: dict[Mark, list[int]] = defaultdict(list)
    if not times:
        return there, strays
    of = CoordinationEvent
    columns = [*map(col, (of.event_type, of.ticket_id, of.worker_id, of.stage, of.reason)), col(of.created_at)]
    brought = (col(of.import_id).is_not(None), col(of.created_at).between(min(times), max(times)))
    found = sa.select(*columns, col(of.id), col(of.project_id)).where(*brought).order_by(col(of.id))
    for row in uow.execute(found.execution_options(yield_per=BATCH_ROWS)):
        known = mark_of_event(row)
        there[known] += 1
        if row.project_id is None:
            strays[known].append(row.id)
    return there, strays


def _attach(uow: UnitOfWork, part: Part, event_id: int, project_id: str) -> None:
    """Attach an event that an earlier import brought without its project, which is here now."""
    one = sa.update(CoordinationEvent).where(col(CoordinationEvent.id) == event_id)
    uow.exec(one.values(project_id=project_id), execution_options={"synchronize_session": False})
    part.attach("coordination_events", project_id, [event_id])
