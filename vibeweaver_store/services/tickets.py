"""Tickets: pieces of work that go through the stages of their plans.

The whole of it under one name: what is written here, and what stands in ``ticket_rows``, ``ticket_search``,
``ticket_plans``, ``ticket_stages`` and ``ticket_claims``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import Id, Name, NotBlank, StrictBool
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models.ensemble import Comment, Ticket
from vibeweaver_store.services.arguments import UNSET, Unset
from vibeweaver_store.services.ensemble_rows import (
    MAX_LEASE_SECONDS,
    hold_project,
    hold_worker_types,
    insert_new,
    update_row,
)
from vibeweaver_store.services.ticket_claims import DEFAULT_LEASE_SECONDS, claim, claim_next, release
from vibeweaver_store.services.ticket_plans import MissingWorkerTypes, check, parse_plan, replan
from vibeweaver_store.services.ticket_rows import TicketDetail, find, get, key_of, next_stage, require_ticket
from vibeweaver_store.services.ticket_search import page
from vibeweaver_store.services.ticket_stages import close, complete_stage, reopen_stage
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "DEFAULT_LEASE_SECONDS",
    "MAX_LEASE_SECONDS",
    "MissingWorkerTypes",
    "TicketDetail",
    "check",
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
    uow: UnitOfWork,
    ticket_id: str,
    project: str,
    title: str,
    description: str | None = None,
    execution_plan: Sequence[str] = (),
    *,
    strict: bool = True,
) -> Ticket:
    """Make a new ticket, which waits for the first stage of its plan, and return it.

    Args:
        uow: the unit of work to write in.
        ticket_id: its id, of one's own: 1 to 200 bytes.
        project: the name of its project.
        title: what it is called.
        description: what is to be done; not blank. It becomes the first comment, of stage 0. A ticket may have none.
        execution_plan: the stages that it goes through, in their order: 1 to 100 worker types of the project, each
            once. See :func:`update` for changing it.
        strict: the project must have the worker types of the plan. With ``False`` they may be made later;
            :func:`check` lists what is missing.

    Raises:
        NotFound: there is no such project; or, where ``strict``, it has no worker type of a stage's name.
        AlreadyExists: there is a ticket of this id.
        InvalidInput: a value is blank, of a wrong type or too long; the plan has no stage, too many, one twice, or one
            that is called ``Planned``.
    """
    now = uow.now()
    plan, is_strict = parse_plan(execution_plan), require(StrictBool, strict, field="strict")
    ticket = Ticket.build(
        ticket_id=ticket_id,
        project_id=require(Id, project, field="project"),
        title=title,
        execution_plan=plan,
        next_stage=plan[0],
        created_at=now,
        updated_at=now,
    )
    content = require(NotBlank | None, description, field="description")
    hold_project(uow, ticket.project_id)
    if is_strict:
        hold_worker_types(uow, ticket.project_id, plan)
    made = insert_new(uow, ticket, "ticket", ticket.ticket_id)
    if content is not None:
        uow.insert(Comment.build(ticket_id=ticket.ticket_id, content=content, stage_number=0, created_at=now))
    return made


def update(
    uow: UnitOfWork,
    ticket_id: str,
    *,
    title: str | Unset = UNSET,
    execution_plan: Sequence[str] | Unset = UNSET,
    strict: bool = True,
) -> Ticket:
    """Change what is given of a ticket, and nothing else; ``updated_at`` becomes now.

    Stages that are done stay as they are: a new plan begins with them. Where another stage is next by the new plan,
    whoever held the ticket holds it no more. Called with nothing to change, it only returns the ticket.

    Args:
        uow: the unit of work to write in.
        ticket_id: which ticket.
        title: what it is called, be it open or closed.
        execution_plan: the stages that it goes through, those that are done among them; of open tickets only.
        strict: the project must have the worker types of the stages that are not done. With ``False`` they may be made
            later; :func:`check` lists what is missing.

    Raises:
        NotFound: there is no such ticket; or, where ``strict``, no worker type of a stage's name.
        IllegalTransition: the ticket is closed, and its plan was to change.
        InvalidInput: the plan does not begin with the stages that are done, or is refused as in :func:`create`; or a
            value is blank, of a wrong type or too long.
    """
    key, is_strict = key_of(ticket_id), require(StrictBool, strict, field="strict")
    changes: dict[str, Any] = {}
    if not isinstance(title, Unset):
        changes["title"] = require(Name, title, field="title")
    if not isinstance(execution_plan, Unset):
        changes |= replan(uow, key, parse_plan(execution_plan), strict=is_strict)
    if not changes:
        return require_ticket(uow, key)
    changed = update_row(uow, Ticket, col(Ticket.ticket_id) == key, **changes, updated_at=uow.now())
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
