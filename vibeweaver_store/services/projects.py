"""Projects: the repositories that ensembles work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, PathText, Text
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models import Base
from vibeweaver_store.models.ensemble import Comment, CoordinationEvent, EnsembleWorker, Project, Ticket, WorkerType
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import UNSET, Unset
from vibeweaver_store.services.ensemble_rows import insert_new, update_row
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


@dataclass(frozen=True, slots=True)
class DeletedProject:
    """How much belongs to a project, and goes with it."""

    worker_types: int
    tickets: int
    comments: int
    workers: int
    coordination_events: int


def create(uow: UnitOfWork, *, repository_name: str, path: str, short_description: str | None = None) -> Project:
    """Make a new project, and return it.

    Args:
        uow: the unit of work to write in.
        repository_name: what it is known by, ``owner/name`` say; 1 to 200 bytes.
        path: where its working copy lies, kept as it is given.
        short_description: what it is about.

    Raises:
        InvalidInput: a value is blank, of a wrong type or too long.
        AlreadyExists: there is a project of this name.
    """
    now = uow.now()
    project = Project.build(
        repository_name=repository_name,
        path=path,
        short_description=short_description,
        created_at=now,
        updated_at=now,
    )
    return insert_new(uow, project, "project", project.repository_name)


def get(uow: ReadUnitOfWork, repository_name: str) -> Project:
    """Return a project by its name.

    Raises:
        NotFound: there is none.
        InvalidInput: the name is no text, or blank.
    """
    project = find(uow, repository_name)
    if project is None:
        raise NotFound("project", repository_name)
    return project


def find(uow: ReadUnitOfWork, repository_name: str) -> Project | None:
    """Return a project by its name, or ``None``.

    Raises:
        InvalidInput: the name is no text, or blank.
    """
    key = _key(repository_name)
    return uow.exec(select(Project).where(col(Project.repository_name) == key)).one_or_none()


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Project]:
    """Return projects, the newest first, ties by name.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order = Order(["projects"], [col(Project.created_at), col(Project.repository_name)], falling=True)
    return fetch(uow, Project, order, limit=limit, cursor=cursor)


def update(
    uow: UnitOfWork,
    repository_name: str,
    *,
    path: str | Unset = UNSET,
    short_description: str | Unset | None = UNSET,
) -> Project:
    """Change what is given of a project, and nothing else; ``updated_at`` becomes now.

    ``None`` takes the description away. Called with nothing to change, it only returns the project.

    Raises:
        NotFound: there is no such project.
        InvalidInput: a value is blank, of a wrong type or too long.
    """
    key = _key(repository_name)
    changes: dict[str, Any] = {}
    if not isinstance(path, Unset):
        changes["path"] = require(PathText, path, field="path")
    if not isinstance(short_description, Unset):
        changes["short_description"] = require(Text | None, short_description, field="short_description")
    if not changes:
        return get(uow, key)
    changed = update_row(uow, Project, col(Project.repository_name) == key, **changes, updated_at=uow.now())
    if changed is None:
        raise NotFound("project", key)
    return changed


def contents(uow: ReadUnitOfWork, repository_name: str) -> DeletedProject:
    """Return how much belongs to a project, and would go with it.

    Raises:
        NotFound: there is no such project.
        InvalidInput: the name is no text, or blank.
    """
    key = _key(repository_name)
    tickets = select(col(Ticket.ticket_id)).where(col(Ticket.project_id) == key)
    counts = [
        sa.select(sa.func.count()).select_from(table).where(of_project).scalar_subquery()
        for table, of_project in (
            (WorkerType, col(WorkerType.project_id) == key),
            (Ticket, col(Ticket.project_id) == key),
            (Comment, col(Comment.ticket_id).in_(tickets)),
            (EnsembleWorker, col(EnsembleWorker.project_id) == key),
            (CoordinationEvent, col(CoordinationEvent.project_id) == key),
        )
    ]
    found = uow.execute(sa.select(*counts).where(col(Project.repository_name) == key)).one_or_none()
    if found is None:
        raise NotFound("project", key)
    return DeletedProject(*found)


def delete(uow: UnitOfWork, repository_name: str) -> DeletedProject:
    """Delete a project with all that belongs to it; return how much that was.

    The working copy itself stays as it is.

    Raises:
        NotFound: there is no such project.
        InvalidInput: the name is no text, or blank.
    """
    key = _key(repository_name)
    # Locked first, and then what belongs to it, in the order that everybody keeps: left to the foreign keys, tickets
    # would come before workers, and nothing be counted.
    held = select(col(Project.repository_name)).where(col(Project.repository_name) == key).with_for_update()
    if uow.exec(held).first() is None:
        raise NotFound("project", key)
    worker_types = _delete(uow, WorkerType, col(WorkerType.project_id) == key)
    workers = _delete(uow, EnsembleWorker, col(EnsembleWorker.project_id) == key)
    tickets = select(col(Ticket.ticket_id)).where(col(Ticket.project_id) == key)
    uow.exec(tickets.with_for_update())  # so that nobody comments on one meanwhile
    comments = _delete(uow, Comment, col(Comment.ticket_id).in_(tickets))
    event_id = col(CoordinationEvent.id)
    # As those lock them who take them.
    events = select(event_id).where(col(CoordinationEvent.project_id) == key).order_by(event_id).with_for_update()
    deleted = DeletedProject(
        worker_types=worker_types,
        tickets=_delete(uow, Ticket, col(Ticket.project_id) == key),
        comments=comments,
        workers=workers,
        coordination_events=_delete(uow, CoordinationEvent, event_id.in_(events)),
    )
    _delete(uow, Project, col(Project.repository_name) == key)
    return deleted


def _delete(uow: UnitOfWork, table: type[Base], which: sa.ColumnElement[bool]) -> int:
    """Delete rows of a table; return how many."""
    return uow.exec(sa.delete(table).where(which), execution_options={"synchronize_session": False}).rowcount


def _key(repository_name: object) -> str:
    key: str = require(Id, repository_name, field="repository_name")
    return key
