"""Claims: which worker is at a ticket, and until when. Callers find this in ``tickets``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name
from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.ensemble import EnsembleWorker, Ticket
from vibeweaver_store.services.ensemble_rows import (
    RELEASED,
    lease_end,
    lock_living_worker,
    require_of_project,
    require_project,
    update_row,
)
from vibeweaver_store.services.ticket_rows import find, key_of, lock, refuse_if_held_by_another, standing
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

DEFAULT_LEASE_SECONDS: Final = 900.0
"""For how long a ticket is claimed unless told otherwise: a quarter of an hour."""

_CLAIMED: Final = "claimed"


def claim(uow: UnitOfWork, ticket_id: str, worker_id: str, *, lease_seconds: float = DEFAULT_LEASE_SECONDS) -> Ticket:
    """Have a worker be at a ticket, whose next stage is of its type, and return the ticket.

    One statement decides: of several that claim it at once, one is given it, and the others the error. Who holds it
    already renews the claim, which then ends so long from now, be that later or earlier. It ends with the stage's
    completion, with the worker, by :func:`release`, or after the lease; see ``workers.heartbeat``.

    Args:
        uow: the unit of work to write in.
        ticket_id: which ticket.
        worker_id: for whom.
        lease_seconds: for how long; above 0 and up to a year.

    Raises:
        NotFound: there is no such ticket, or no such worker.
        AlreadyClaimed: another worker holds it; ``by`` says who, ``until`` for how long.
        IllegalTransition: the ticket has no stage left or is closed, or the worker has ended.
        InvalidInput: the worker is of another project or of another type than the next stage; or a value is blank, of a
            wrong type or out of range.
    """
    key = key_of(ticket_id)
    until = lease_end(uow, lease_seconds)
    # Before the ticket, as whoever ends it does: a worker that has ended holds nothing.
    worker = lock_living_worker(uow, worker_id)
    # What is seen without a lock may have come free in between; what is seen with one has not.
    for look in (find, lock):
        claimed = _claim_if_free(uow, key, worker, until)
        if claimed is not None:
            return claimed
        _say_why_not(uow, look(uow, key), key, worker)
    claimed = _claim_if_free(uow, key, worker, until)
    if claimed is None:
        raise NotFound("ticket", key)
    return claimed


def _claim_if_free(uow: UnitOfWork, ticket_id: str, worker: EnsembleWorker, until: datetime) -> Ticket | None:
    own = col(Ticket.claimed_by) == worker.worker_id
    return update_row(
        uow,
        Ticket,
        col(Ticket.ticket_id) == ticket_id,
        *_waits_for(worker),
        sa.or_(own, *_is_free(uow)),
        **_claimed(uow, worker, until),
    )


def _waits_for(worker: EnsembleWorker) -> tuple[sa.ColumnElement[bool], ...]:
    return col(Ticket.project_id) == worker.project_id, col(Ticket.next_stage) == worker.worker_type


def _is_free(uow: UnitOfWork) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the two ways in which nobody holds a ticket."""
    return col(Ticket.claimed_by).is_(None), col(Ticket.claim_expires_at) <= uow.now()


def _claimed(uow: UnitOfWork, worker: EnsembleWorker, until: datetime) -> dict[str, Any]:
    return {"claimed_by": worker.worker_id, "claim_expires_at": until, "updated_at": uow.now()}


def _say_why_not(uow: UnitOfWork, ticket: Ticket | None, ticket_id: str, worker: EnsembleWorker) -> None:
    """Raise what stands against a claim, if anything does."""
    if ticket is None:
        raise NotFound("ticket", ticket_id)
    require_of_project(worker, ticket.project_id)
    if ticket.next_stage is None:
        raise IllegalTransition("ticket", ticket_id, standing(ticket), _CLAIMED)
    if ticket.next_stage != worker.worker_type:
        raise InvalidInput(
            f"worker_id: {shown(worker.worker_id)} is a {shown(worker.worker_type)}, "
            f"and ticket {shown(ticket_id)} waits for a {shown(ticket.next_stage)}",
            field="worker_id",
        )
    refuse_if_held_by_another(uow, ticket, worker.worker_id)


def claim_next(
    uow: UnitOfWork,
    project: str,
    worker_type: str,
    worker_id: str,
    *,
    lease_seconds: float = DEFAULT_LEASE_SECONDS,
) -> Ticket | None:
    """Claim the oldest open ticket of a project that waits for a worker of a type and that nobody holds.

    One statement finds and claims it: of several workers at once, each is given another one. Returns ``None`` where
    there is none, and on PostgreSQL also where somebody is just writing to all that there are.

    Args:
        uow: the unit of work to write in.
        project: the project's name.
        worker_type: the stage that the ticket waits for.
        worker_id: for whom; a worker of that project and of that type.
        lease_seconds: for how long; above 0 and up to a year.

    Raises:
        NotFound: there is no such project, or no such worker.
        IllegalTransition: the worker has ended.
        InvalidInput: the worker is of another project or type; or a value is blank, of a wrong type or out of range.
    """
    of_project = require(Id, project, field="project")
    of_type = require(Name, worker_type, field="worker_type")
    until = lease_end(uow, lease_seconds)
    worker = lock_living_worker(uow, worker_id)
    if worker.project_id != of_project:
        require_project(uow, of_project)
        require_of_project(worker, of_project)
    if worker.worker_type != of_type:
        raise InvalidInput(
            f"worker_type: {shown(worker.worker_id)} is a {shown(worker.worker_type)}, not a {shown(of_type)}",
            field="worker_type",
        )
    # A common table expression: of what a subquery locks, PostgreSQL may look again and find another row.
    oldest = (
        select(col(Ticket.ticket_id))
        .where(*_waits_for(worker), sa.or_(*_is_free(uow)))
        .order_by(col(Ticket.created_at), col(Ticket.ticket_id))
        .limit(1)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("oldest")
    )
    found = col(Ticket.ticket_id).in_(sa.select(oldest.c.ticket_id))
    return update_row(uow, Ticket, found, **_claimed(uow, worker, until))


def release(uow: UnitOfWork, ticket_id: str, worker_id: str) -> Ticket:
    """Have a worker give back a ticket that it holds, and return the ticket. Where nobody holds it, nothing is written.

    Raises:
        NotFound: there is no such ticket.
        AlreadyClaimed: another worker holds it.
        InvalidInput: an id is no text, or blank.
    """
    key, by = key_of(ticket_id), require(Id, worker_id, field="worker_id")
    own = (col(Ticket.ticket_id) == key, col(Ticket.claimed_by) == by)
    released = update_row(uow, Ticket, *own, **RELEASED, updated_at=uow.now())
    if released is not None:
        return released
    ticket = find(uow, key)
    if ticket is None:
        raise NotFound("ticket", key)
    refuse_if_held_by_another(uow, ticket, by)
    return ticket
