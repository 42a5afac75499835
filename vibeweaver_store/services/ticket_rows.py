"""The rows of tickets: found, locked, and what follows from their plans. Callers find this in ``tickets``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import col, select

from vibeweaver_store.columns import Id
from vibeweaver_store.errors import AlreadyClaimed, CorruptData, NotFound
from vibeweaver_store.models.ensemble import Comment, Ticket
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

CLOSED: Final = "closed"
"""Where a ticket stands that is over."""


@dataclass(frozen=True, slots=True)
class TicketDetail:
    """A ticket with all that was written on it, oldest first; the first comment is its description, unless deleted."""

    ticket: Ticket
    comments: list[Comment]


def get(uow: ReadUnitOfWork, ticket_id: str) -> TicketDetail:
    """Return a ticket by its id, with its comments; two statements.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    ticket = require_ticket(uow, ticket_id)
    of_ticket = select(Comment).where(col(Comment.ticket_id) == ticket.ticket_id).order_by(col(Comment.id))
    return TicketDetail(ticket, list(uow.exec(of_ticket)))


def find(uow: ReadUnitOfWork, ticket_id: str) -> Ticket | None:
    """Return a ticket by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    return uow.exec(select(Ticket).where(col(Ticket.ticket_id) == key_of(ticket_id))).one_or_none()


def require_ticket(uow: ReadUnitOfWork, ticket_id: str) -> Ticket:
    """Return a ticket by its id, without its comments.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    ticket = find(uow, ticket_id)
    if ticket is None:
        raise NotFound("ticket", ticket_id)
    return ticket


def next_stage(uow: ReadUnitOfWork, ticket_id: str) -> str | None:
    """Return the stage that a ticket waits for, or ``None`` where all are done or it is closed.

    Raises:
        NotFound: there is no such ticket.
        InvalidInput: the id is no text, or blank.
    """
    key = key_of(ticket_id)
    found = uow.exec(select(col(Ticket.ticket_id), col(Ticket.next_stage)).where(col(Ticket.ticket_id) == key)).first()
    if found is None:
        raise NotFound("ticket", key)
    return found[1]


def lock(uow: UnitOfWork, ticket_id: str) -> Ticket:
    """Return a ticket that nobody else changes, or comments on, until the unit of work ends.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = key_of(ticket_id)
    found = select(Ticket).where(col(Ticket.ticket_id) == key).with_for_update(key_share=True)
    ticket = uow.exec(found).one_or_none()
    if ticket is None:
        raise NotFound("ticket", key)
    return ticket


def key_of(ticket_id: object) -> str:
    """Return the id of a ticket, checked.

    Raises:
        InvalidInput: it is no text, blank, or too long.
    """
    key: str = require(Id, ticket_id, field="ticket_id")
    return key


def done_stages(ticket: Ticket) -> Sequence[str]:
    """Return the stages of a ticket's plan that are done, in their order."""
    plan, last = ticket.execution_plan, ticket.last_completed_stage
    return plan[: plan.index(last) + 1] if last in plan else []


def open_stages(ticket: Ticket) -> Sequence[str]:
    """Return the stages of a ticket's plan that are not done yet, in their order."""
    return ticket.execution_plan[len(done_stages(ticket)) :]


def place_of(ticket: Ticket, stage: str) -> int:
    """Return the place of a stage in a ticket's plan, from 0.

    Raises:
        CorruptData: the plan does not have it, though the ticket waits for it.
    """
    if stage not in ticket.execution_plan:
        raise CorruptData(
            f"ticket {ticket.ticket_id!r} waits for the stage {stage!r}, which its plan does not have; "
            "give it a plan with that stage by tickets.update"
        )
    return ticket.execution_plan.index(stage)


def standing(ticket: Ticket) -> str:
    """Return where a ticket stands, in a word: its last completed stage, or that it is closed."""
    return ticket.last_completed_stage if ticket.closed_at is None else CLOSED


def refuse_if_held_by_another(uow: ReadUnitOfWork, ticket: Ticket, worker_id: str) -> None:
    """See to it that no other worker holds a ticket; a claim that has expired counts as none.

    Raises:
        AlreadyClaimed: one does.
    """
    by, until = ticket.claimed_by, ticket.claim_expires_at
    if by is not None and by != worker_id and until is not None and until > uow.now():
        raise AlreadyClaimed("ticket", ticket.ticket_id, by, until)
