"""Listing tickets. Callers find this in ``tickets``.

Which index serves a listing: there is one by age of all tickets and of those that are open, each also within a project,
and one within a project and a next stage. The rest is sieved while walking: closed tickets from among all, a stage
without its project from among those that are open, and a text.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name, StrictBool
from vibeweaver_store.models.ensemble import Ticket
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require


def page(
    uow: ReadUnitOfWork,
    *,
    project: str | None = None,
    open: bool | None = None,  # noqa: A002 - the word for it
    stage: str | None = None,
    text: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Ticket]:
    """Return tickets, the newest first, ties by id.

    Args:
        uow: the unit of work to read in.
        project: only of this project; of one that is not there, there are none.
        open: only those that are open, or only those that are closed.
        stage: only those that wait for this stage; they are open.
        text: only with these words, 1 to 1,000 bytes, anywhere in the title; upper and lower case alike (on SQLite, of
            the letters A to Z).
        limit: how many to return, 1 to 1,000.
        cursor: where to go on, as the page before said.

    Raises:
        InvalidInput: a filter is blank, of a wrong type or too long, the limit is not 1 to 1,000, or the cursor is not
            of this listing.
    """
    of_project = require(Id | None, project, field="project")
    is_open = require(StrictBool | None, open, field="open")
    at_stage = require(Name | None, stage, field="stage")
    words = require(Name | None, text, field="text")
    within: list[tuple[Any, Any]] = [] if of_project is None else [(col(Ticket.project_id), of_project)]
    sieves: list[sa.ColumnElement[bool]] = []
    if at_stage is not None and of_project is not None:
        within.append((col(Ticket.next_stage), at_stage))
    elif at_stage is not None:
        sieves += [col(Ticket.next_stage) == at_stage, col(Ticket.closed_at).is_(None)]
    elif is_open is True:
        sieves.append(col(Ticket.closed_at).is_(None))
    if is_open is False:
        sieves.append(col(Ticket.closed_at).is_not(None))
    if words is not None:
        sieves.append(col(Ticket.title).icontains(words, autoescape=True))
    order = Order(
        ["tickets", of_project, is_open, at_stage, words],
        [col(Ticket.created_at), col(Ticket.ticket_id)],
        falling=True,
        within=within,
    )
    return fetch(uow, select(Ticket).where(*sieves), order, limit=limit, cursor=cursor)
