"""How tickets travel: their stages completed and opened again, and tickets closed. Callers find this in ``tickets``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name, NotBlank
from vibeweaver_store.errors import IllegalTransition, NotFound
from vibeweaver_store.models.ensemble import PLANNED, Comment, CoordinationEvent, CoordinationEventType, Ticket
from vibeweaver_store.services.ensemble_rows import (
    RELEASED,
    append_events,
    hold_project,
    hold_project_of,
    hold_worker_types,
    lock_living_worker,
    lock_worker_types,
    require_of_project,
    update_row,
)
from vibeweaver_store.services.ticket_rows import (
    CLOSED,
    done_stages,
    find,
    key_of,
    lock,
    place_of,
    refuse_if_held_by_another,
    require_ticket,
    standing,
)
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require


def complete_stage(
    uow: UnitOfWork, ticket_id: str, stage: str, *, worker_id: str, comment: str | None = None
) -> Ticket:
    """Have the next stage of a ticket be done, and return the ticket, which waits for the stage after it.

    The ticket is released, and an event tells coordinators, in the same unit of work. A claim need not be there: only
    one of somebody else stands against it. Do it last in a unit of work of your own: on PostgreSQL nobody else writes
    an event until that ends.

    Args:
        uow: the unit of work to write in.
        ticket_id: which ticket.
        stage: the stage that is done; the next one, so that nobody completes another by mistake.
        worker_id: who did it, a worker of the project that has not ended.
        comment: what the worker has to say of it; kept with the stage.

    Raises:
        NotFound: there is no such ticket, or no such worker.
        IllegalTransition: it is not the next stage, or the ticket is closed; ``allowed`` says which stage could be
            completed. Or the worker has ended.
        AlreadyClaimed: another worker holds the ticket.
        InvalidInput: the worker is of another project, or a value is blank or of a wrong type.
    """
    key, done = key_of(ticket_id), require(Name, stage, field="stage")
    by = require(Id, worker_id, field="worker_id")
    said = _comment(comment)
    # Before the ticket, as whoever deletes the project does: the event refers to it.
    if not hold_project_of(uow, select(col(Ticket.project_id)).where(col(Ticket.ticket_id) == key)):
        raise NotFound("ticket", key)
    worker = lock_living_worker(uow, by)
    ticket = lock(uow, key)
    require_of_project(worker, ticket.project_id)
    if done != ticket.next_stage:
        allowed = [] if ticket.next_stage is None else [ticket.next_stage]
        raise IllegalTransition("ticket", key, standing(ticket), done, allowed)
    refuse_if_held_by_another(uow, ticket, by)
    place = place_of(ticket, done)
    changed = _write(uow, ticket, ticket.execution_plan[: place + 1])
    _write_comment(uow, key, said, worker_type=worker.worker_type, worker_id=by, stage_number=place + 1)
    append_events(
        uow,
        CoordinationEvent.build(
            event_type=CoordinationEventType.TICKET_STAGE_COMPLETED,
            project_id=ticket.project_id,
            ticket_id=key,
            worker_id=by,
            stage=done,
            created_at=uow.now(),
        ),
    )
    return changed


def reopen_stage(
    uow: UnitOfWork, ticket_id: str, stage: str, *, worker_id: str | None = None, comment: str | None = None
) -> Ticket:
    """Open a stage of a ticket again that was completed, and all after it; return the ticket, which waits for it.

    Whoever held the ticket holds it no more.

    Args:
        uow: the unit of work to write in.
        ticket_id: which ticket.
        stage: the stage that is to be done again.
        worker_id: who says so, named with the comment; need not be there any more.
        comment: why; kept with the stage.

    Raises:
        NotFound: there is no such ticket, or the project no longer has the worker type of a stage that is opened again.
        IllegalTransition: it was not completed, or the ticket is closed; ``allowed`` lists the stages that were.
        InvalidInput: a value is blank or of a wrong type.
    """
    key, again = key_of(ticket_id), require(Name, stage, field="stage")
    by = None if worker_id is None else require(Id, worker_id, field="worker_id")
    said = _comment(comment)
    seen = require_ticket(uow, key)
    _require_done(seen, again)
    # Before the ticket, as whoever deletes a project or a worker type does.
    hold_project(uow, seen.project_id)
    there = lock_worker_types(uow, seen.project_id, seen.execution_plan)
    ticket = lock(uow, key)
    _require_done(ticket, again)
    place = place_of(ticket, again)
    # What was done as the ticket was seen is done still, so these are locked, unless its plan was changed since.
    reopened = list(done_stages(ticket))[place:]
    if not there.issuperset(reopened):
        hold_worker_types(uow, ticket.project_id, reopened)
    changed = _write(uow, ticket, ticket.execution_plan[:place])
    _write_comment(uow, key, said, worker_id=by, stage_number=place + 1)
    return changed


def _require_done(ticket: Ticket, stage: str) -> None:
    done = [] if ticket.closed_at is not None else done_stages(ticket)
    if stage not in done:
        raise IllegalTransition("ticket", ticket.ticket_id, standing(ticket), stage, done)


def _write(uow: UnitOfWork, ticket: Ticket, done: Sequence[str]) -> Ticket:
    """Write which stages of a locked ticket are done, and release it; return it as it is then."""
    changed = update_row(
        uow,
        Ticket,
        col(Ticket.ticket_id) == ticket.ticket_id,
        last_completed_stage=done[-1] if done else PLANNED,
        next_stage=next(iter(ticket.execution_plan[len(done) :]), None),
        **RELEASED,
        updated_at=uow.now(),
    )
    if changed is None:
        raise NotFound("ticket", ticket.ticket_id)
    return changed


def close(uow: UnitOfWork, ticket_id: str, outcome: str, comment: str | None = None) -> Ticket:
    """Close a ticket, wherever it stands, and return it. Nothing moves on it any more; comments may still be added.

    Whoever held the ticket holds it no more.

    Args:
        uow: the unit of work to write in.
        ticket_id: which ticket.
        outcome: how it ended, in a few words of one's own: 1 to 1,000 bytes.
        comment: what there is to say of it.

    Raises:
        NotFound: there is no such ticket.
        IllegalTransition: it is closed already.
        InvalidInput: a value is blank, of a wrong type or too long.
    """
    key, ended = key_of(ticket_id), require(Name, outcome, field="outcome")
    said = _comment(comment)
    now = uow.now()
    changed = update_row(
        uow,
        Ticket,
        *(col(Ticket.ticket_id) == key, col(Ticket.closed_at).is_(None)),
        closed_at=now,
        outcome=ended,
        next_stage=None,
        **RELEASED,
        updated_at=now,
    )
    if changed is None and find(uow, key) is None:
        raise NotFound("ticket", key)
    if changed is None:
        raise IllegalTransition("ticket", key, CLOSED, CLOSED)
    _write_comment(uow, key, said)
    return changed


def _comment(comment: str | None) -> str | None:
    said: str | None = None if comment is None else require(NotBlank, comment, field="comment")
    return said


def _write_comment(uow: UnitOfWork, ticket_id: str, content: str | None, **about: Any) -> None:
    if content is not None:
        uow.insert(Comment.build(ticket_id=ticket_id, content=content, created_at=uow.now(), **about))
