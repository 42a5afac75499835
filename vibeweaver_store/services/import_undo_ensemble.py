"""Taking away what an import brought of ensembles, and nothing else. ``import_undo`` goes by it."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.models import Comment, CoordinationEvent, EnsembleWorker, Project, Ticket, WorkerType
from vibeweaver_store.services.ensemble_rows import RELEASED
from vibeweaver_store.unit_of_work import UnitOfWork

_IN_PROJECTS: Final = (Ticket, WorkerType, EnsembleWorker, CoordinationEvent)
"""What stands in a project; a project in which any of it is left is from then on of the import by which that came."""


def hold_ensembles(uow: UnitOfWork, import_id: int) -> None:
    """Let nobody add to the projects and tickets that an import is about, until the unit of work ends.

    In the order in which others lock them, see ``ensemble_rows``, so that nobody waits for each other in a circle.
    """
    commented: Any = select(col(Comment.ticket_id)).where(col(Comment.import_id) == import_id)
    tickets: Any = sa.union(select(col(Ticket.ticket_id)).where(col(Ticket.import_id) == import_id), commented)
    projects: Any = sa.union(
        select(col(Project.repository_name)).where(col(Project.import_id) == import_id),
        *[select(col(table.project_id)).where(col(table.import_id) == import_id) for table in _IN_PROJECTS],
        select(col(Ticket.project_id)).where(col(Ticket.ticket_id).in_(commented)),
    )
    workers: Any = select(col(EnsembleWorker.worker_id)).where(col(EnsembleWorker.import_id) == import_id)
    for key, concerned in (
        (col(Project.repository_name), projects),
        (col(EnsembleWorker.worker_id), workers),
        (col(Ticket.ticket_id), tickets),
    ):
        uow.exec(select(key).where(key.in_(concerned)).order_by(key).with_for_update())


def remove_ensembles(uow: UnitOfWork, import_id: int) -> dict[str, int]:
    """Remove what an import brought of ensembles; return how many rows of each kind went, and how many stay.

    A ticket stays on which others have commented, of whose project there are events of others that name it, which
    has an outcome, or which somebody holds whom the import has not brought. A worker type stays that open tickets or
    workers which stay are of. A project stays that any of these is left in.
    """
    comments = _remove(uow, Comment, import_id)
    events = _remove(uow, CoordinationEvent, import_id)
    workers = _remove_workers(uow, import_id)
    tickets, kept_tickets = _remove_tickets(uow, import_id)
    worker_types = _remove_worker_types(uow, import_id)
    projects, kept_projects = _remove_projects(uow, import_id)
    return {
        "projects": projects,
        "worker_types": worker_types,
        "tickets": tickets,
        "comments": comments,
        "workers": workers,
        "coordination_events": events,
        "kept_tickets": kept_tickets,
        "kept_projects": kept_projects,
    }


def _remove(uow: UnitOfWork, table: type[Comment | CoordinationEvent], import_id: int) -> int:
    return uow.exec(sa.delete(table).where(col(table.import_id) == import_id)).rowcount


def _remove_workers(uow: UnitOfWork, import_id: int) -> int:
    """Remove the workers of an import; what they hold is given back."""
    own = col(EnsembleWorker.import_id) == import_id
    held = sa.update(Ticket).where(col(Ticket.claimed_by).in_(select(col(EnsembleWorker.worker_id)).where(own)))
    released = held.values(**RELEASED, updated_at=uow.now())
    uow.exec(released, execution_options=_PLAIN)
    return uow.exec(sa.delete(EnsembleWorker).where(own)).rowcount


def _remove_tickets(uow: UnitOfWork, import_id: int) -> tuple[int, int]:
    """Remove the tickets of an import on which nobody else was at work, and return how many went and how many stay."""
    own = col(Ticket.import_id) == import_id
    commented = select(sa.true()).where(col(Comment.ticket_id) == col(Ticket.ticket_id))
    # Events are found by project: theirs all at once, and not each ticket's by itself.
    projects = select(col(Ticket.project_id)).where(own)
    named = select(col(CoordinationEvent.ticket_id)).where(
        col(CoordinationEvent.project_id).in_(projects), col(CoordinationEvent.ticket_id).is_not(None)
    )
    untouched = (
        ~commented.exists(),
        col(Ticket.ticket_id).not_in(named),
        col(Ticket.outcome).is_(None),
        col(Ticket.claimed_by).is_(None) | (col(Ticket.claim_expires_at) <= uow.now()),
    )
    removed = uow.exec(sa.delete(Ticket).where(own, *untouched), execution_options=_PLAIN).rowcount
    rest = sa.func.coalesce(
        _import_of(Comment, col(Comment.ticket_id) == col(Ticket.ticket_id)),
        _import_of(
            CoordinationEvent,
            col(CoordinationEvent.project_id) == col(Ticket.project_id),
            col(CoordinationEvent.ticket_id) == col(Ticket.ticket_id),
        ),
    )
    return removed, uow.exec(sa.update(Ticket).where(own).values(import_id=rest), execution_options=_PLAIN).rowcount


def _remove_worker_types(uow: UnitOfWork, import_id: int) -> int:
    """Remove the worker types of an import that no open ticket's plan and no worker of their project needs any more."""
    own = col(WorkerType.import_id) == import_id
    elements: Any = sa.func.jsonb_array_elements_text if uow.backend == "postgresql" else sa.func.json_each
    stages = elements(col(Ticket.execution_plan)).table_valued("value")
    named = select(sa.true()).select_from(stages).where(stages.c.value == col(WorkerType.worker_type))
    planned = (
        col(Ticket.project_id) == col(WorkerType.project_id),
        col(Ticket.closed_at).is_(None),
        named.correlate(Ticket, WorkerType).exists(),
    )
    at_work = (
        col(EnsembleWorker.project_id) == col(WorkerType.project_id),
        col(EnsembleWorker.worker_type) == col(WorkerType.worker_type),
    )
    unneeded = [~select(sa.true()).where(*each).exists() for each in (planned, at_work)]
    removed = uow.exec(sa.delete(WorkerType).where(own, *unneeded), execution_options=_PLAIN).rowcount
    rest = sa.func.coalesce(_import_of(Ticket, *planned), _import_of(EnsembleWorker, *at_work))
    uow.exec(sa.update(WorkerType).where(own).values(import_id=rest), execution_options=_PLAIN)
    return removed


def _remove_projects(uow: UnitOfWork, import_id: int) -> tuple[int, int]:
    """Remove the projects of an import in which nothing is left, and return how many went and how many stay."""
    own = col(Project.import_id) == import_id
    of_it = {table: col(table.project_id) == col(Project.repository_name) for table in _IN_PROJECTS}
    empty = [~select(sa.true()).where(belongs).exists() for belongs in of_it.values()]
    removed = uow.exec(sa.delete(Project).where(own, *empty), execution_options=_PLAIN).rowcount
    rest = sa.func.coalesce(*[_import_of(table, belongs) for table, belongs in of_it.items()])
    return removed, uow.exec(sa.update(Project).where(own).values(import_id=rest), execution_options=_PLAIN).rowcount


def _import_of(table: Any, *which: Any) -> Any:
    """Return an import by which some of these rows came, so that what they are left in goes with it."""
    found = select(col(table.import_id)).where(*which, col(table.import_id).is_not(None))
    return found.limit(1).scalar_subquery()


_PLAIN: Final = {"synchronize_session": False}
