"""Comments: what is written on a ticket, in the order of writing. The first is the ticket's description."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Name, NotBlank, StrictBool
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.ensemble import Comment, Ticket
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.ensemble_rows import update_row
from vibeweaver_store.services.ticket_rows import key_of, lock
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


def add(
    uow: UnitOfWork,
    ticket_id: str,
    content: str,
    *,
    worker_id: str | None = None,
    worker_type: str | None = None,
    stage: str | None = None,
) -> Comment:
    """Write a comment on a ticket, be it open or closed, and return it.

    On PostgreSQL whoever writes on one ticket waits for the others, so that comments stand in the order of commits.

    Args:
        uow: the unit of work to write in.
        ticket_id: on which ticket.
        content: what is to be said; not blank.
        worker_id: who says it; it is named, and need not be there.
        worker_type: in which role; likewise.
        stage: which stage of the plan it is about; its place there, from 1, becomes the ``stage_number``.

    Raises:
        NotFound: there is no such ticket.
        InvalidInput: a value is blank, of a wrong type or too long, or the plan has no such stage.
    """
    comment = Comment.build(
        ticket_id=key_of(ticket_id),
        content=content,
        worker_id=worker_id,
        worker_type=worker_type,
        created_at=uow.now(),
    )
    about = require(Name | None, stage, field="stage")
    ticket = lock(uow, comment.ticket_id)
    comment.stage_number = None if about is None else _place(ticket, about)
    uow.insert(comment)
    return comment


def _place(ticket: Ticket, stage: str) -> int:
    if stage not in ticket.execution_plan:
        stages = ", ".join(ticket.execution_plan)
        raise InvalidInput(f"stage: {shown(stage)} is none of the ticket's stages: {stages}", field="stage")
    return ticket.execution_plan.index(stage) + 1


def get(uow: ReadUnitOfWork, comment_id: int) -> Comment:
    """Return a comment by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no whole number.
    """
    comment = find(uow, comment_id)
    if comment is None:
        raise NotFound("comment", comment_id)
    return comment


def find(uow: ReadUnitOfWork, comment_id: int) -> Comment | None:
    """Return a comment by its id, or ``None``.

    Raises:
        InvalidInput: the id is no whole number.
    """
    return uow.exec(select(Comment).where(col(Comment.id) == _key(comment_id))).one_or_none()


def page(
    uow: ReadUnitOfWork,
    ticket_id: str,
    *,
    newest_first: bool = False,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Comment]:
    """Return the comments on a ticket as they were written, or newest first. A ticket that is not there has none.

    Raises:
        InvalidInput: the ticket's id is no text, or blank; the limit is not 1 to 1,000, or the cursor is not of this
            listing.
    """
    key = key_of(ticket_id)
    turned = require(StrictBool, newest_first, field="newest_first")
    order = Order(["comments", key, turned], [col(Comment.id)], falling=turned, within=[(col(Comment.ticket_id), key)])
    return fetch(uow, Comment, order, limit=limit, cursor=cursor)


def update(uow: UnitOfWork, comment_id: int, content: str) -> Comment:
    """Say something else in a comment, and return it. What it is about, and when it was written, stays as it is.

    Raises:
        NotFound: there is no such comment.
        InvalidInput: the content is blank or no text, or the id is no whole number.
    """
    key, text = _key(comment_id), require(NotBlank, content, field="content")
    changed = update_row(uow, Comment, col(Comment.id) == key, content=text)
    if changed is None:
        raise NotFound("comment", key)
    return changed


def delete(uow: UnitOfWork, comment_id: int) -> None:
    """Delete a comment; the ticket's description, too, is one.

    Raises:
        NotFound: there is no such comment.
        InvalidInput: the id is no whole number.
    """
    key = _key(comment_id)
    if uow.exec(sa.delete(Comment).where(col(Comment.id) == key)).rowcount == 0:
        raise NotFound("comment", key)


def _key(comment_id: object) -> int:
    key: int = require(Count, comment_id, field="comment_id")
    return key
