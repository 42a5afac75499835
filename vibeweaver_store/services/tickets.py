"""Tickets: pieces of work that go through the stages of their plans.

The whole of it under one name: what is written here, and what stands in ``ticket_rows``, ``ticket_search``,
``ticket_stages`` and ``ticket_claims``.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import Id, Name, NotBlank
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.ensemble import Comment, Ticket
from vibeweaver_store.services.ensemble_rows import (
    MAX_LEASE_SECONDS,
    hold_project,
    hold_worker_types,
    insert_new,
    update_row,
)
from vibeweaver_store.services.ticket_claims import DEFAULT_LEASE_SECONDS, claim, claim_next, release
from vibeweaver_store.services.ticket_rows import TicketDetail, find, get, key_of, next_stage
from vibeweaver_store.services.ticket_search import page
from vibeweaver_store.services.ticket_stages import close, complete_stage, reopen_stage
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "DEFAULT_LEASE_SECONDS",
    "MAX_LEASE_SECONDS",
    "TicketDetail",
    "claim",
    "claim_next",
    "close",
    "complete_stage",
    "create",
    "delete",
    "find",
    "get",
    "next_stage",
    "page",
    "release",
    "reopen_stage",
    "update",
]


def create(  # noqa: PLR0917 - what a ticket is, as the seed has it
    uow: UnitOfWork, ticket_id: str, project: str, title: str, description: str, execution_plan: Sequence[str]
) -> Ticket:
    """Make a new ticket, which waits for the first stage of its plan, and return it.

    Args:
        uow: the unit of work to write in.
        ticket_id: its id, of one's own: 1 to 200 bytes.
        project: the name of its project.
        title: what it is called.
        description: what is to be done; not blank. It becomes the first comment, of stage 0.
        execution_plan: the stages that it goes through, in their order: 1 to 100 worker types of the project, each
            once. It never changes.

    Raises:
        NotFound: there is no such project, or it has no worker type of a stage's name.
        AlreadyExists: there is a ticket of this id.
        InvalidInput: a value is blank, of a wrong type or too long; the plan has no stage, too many, one twice, or one
            that is called ``Planned``.
    """
    now = uow.now()
    if isinstance(execution_plan, str) or not isinstance(execution_plan, Sequence):
        raise InvalidInput(
            f"execution_plan: must be a list of worker types (got {shown(execution_plan)})", field="execution_plan"
        )
    ticket = Ticket.build(
        ticket_id=ticket_id,
        project_id=require(Id, project, field="project"),
        title=title,
        execution_plan=list(execution_plan),
        created_at=now,
        updated_at=now,
    )
    ticket.next_stage = ticket.execution_plan[0]
    described = Comment.build(
        ticket_id=ticket.ticket_id,
        content=require(NotBlank, description, field="description"),
        stage_number=0,
        created_at=now,
    )
    hold_project(uow, ticket.project_id)
    hold_worker_types(uow, ticket.project_id, ticket.execution_plan)
    made = insert_new(uow, ticket, "ticket", ticket.ticket_id)
    uow.insert(described)
    return made


def update(uow: UnitOfWork, ticket_id: str, *, title: str) -> Ticket:
    """Give a ticket another title, be it open or closed, and return it.

    Raises:
        NotFound: there is no such ticket.
        InvalidInput: the title is blank, no text or too long; or the id is no text, or blank.
    """
    key, name = key_of(ticket_id), require(Name, title, field="title")
    changed = update_row(uow, Ticket, col(Ticket.ticket_id) == key, title=name, updated_at=uow.now())
    if changed is None:
        raise NotFound("ticket", key)
    return changed


def delete(uow: UnitOfWork, ticket_id: str) -> None:
    """Delete a ticket with its comments. Events that name it stay.

    Raises:
        NotFound: there is no such ticket.
        InvalidInput: the id is no text, or blank.
    """
    key = key_of(ticket_id)
    if uow.exec(sa.delete(Ticket).where(col(Ticket.ticket_id) == key)).rowcount == 0:
        raise NotFound("ticket", key)
