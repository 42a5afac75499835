"""Worker types: the roles of a project, which the stages of its tickets are named after."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name, Text
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.ensemble import PLANNED, Ticket, WorkerType
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import UNSET, Unset
from vibeweaver_store.services.ensemble_rows import hold_project, insert_new, update_row
from vibeweaver_store.services.ticket_rows import open_stages
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


def create(
    uow: UnitOfWork, project: str, worker_type: str, *, system_prompt: str, short_description: str | None = None
) -> WorkerType:
    """Make a new worker type of a project, and return it.

    Args:
        uow: the unit of work to write in.
        project: the name of its project.
        worker_type: what it is called, once in the project; not ``Planned``, which says of a ticket that none is done.
        system_prompt: what makes an agent one of this type; it may be empty.
        short_description: what it is for.

    Raises:
        NotFound: there is no such project.
        AlreadyExists: the project has a worker type of this name.
        InvalidInput: a value is blank, of a wrong type or too long, or the name is ``Planned``.
    """
    now = uow.now()
    made = WorkerType.build(
        project_id=require(Id, project, field="project"),
        worker_type=worker_type,
        system_prompt=system_prompt,
        short_description=short_description,
        created_at=now,
        updated_at=now,
    )
    if made.worker_type == PLANNED:
        raise InvalidInput(f"worker_type: {PLANNED!r} says of a ticket that no stage is done yet", field="worker_type")
    hold_project(uow, made.project_id)
    return insert_new(uow, made, "worker type", (made.project_id, made.worker_type))


def get(uow: ReadUnitOfWork, project: str, worker_type: str) -> WorkerType:
    """Return a worker type of a project by its name.

    Raises:
        NotFound: there is none.
        InvalidInput: a name is no text, or blank.
    """
    found = find(uow, project, worker_type)
    if found is None:
        raise NotFound("worker type", (project, worker_type))
    return found


def find(uow: ReadUnitOfWork, project: str, worker_type: str) -> WorkerType | None:
    """Return a worker type of a project by its name, or ``None``.

    Raises:
        InvalidInput: a name is no text, or blank.
    """
    return uow.exec(select(WorkerType).where(*_is(project, worker_type))).one_or_none()


def page_by_project(
    uow: ReadUnitOfWork, project: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[WorkerType]:
    """Return the worker types of a project in the order of their names. A project that is not there has none.

    Raises:
        InvalidInput: the project's name is no text, or blank; the limit is not 1 to 1,000, or the cursor is not of this
            listing.
    """
    key = require(Id, project, field="project")
    order = Order(["worker types", key], [col(WorkerType.worker_type)], within=[(col(WorkerType.project_id), key)])
    return fetch(uow, WorkerType, order, limit=limit, cursor=cursor)


def update(
    uow: UnitOfWork,
    project: str,
    worker_type: str,
    *,
    system_prompt: str | Unset = UNSET,
    short_description: str | Unset | None = UNSET,
) -> WorkerType:
    """Change what is given of a worker type, and nothing else; ``updated_at`` becomes now.

    ``None`` takes the description away. Called with nothing to change, it only returns the worker type.

    Raises:
        NotFound: there is no such worker type.
        InvalidInput: a value is blank or of a wrong type.
    """
    which = _is(project, worker_type)
    changes: dict[str, Any] = {}
    if not isinstance(system_prompt, Unset):
        changes["system_prompt"] = require(Text, system_prompt, field="system_prompt")
    if not isinstance(short_description, Unset):
        changes["short_description"] = require(Text | None, short_description, field="short_description")
    if not changes:
        return get(uow, project, worker_type)
    changed = update_row(uow, WorkerType, *which, **changes, updated_at=uow.now())
    if changed is None:
        raise NotFound("worker type", (project, worker_type))
    return changed


def delete(uow: UnitOfWork, project: str, worker_type: str) -> None:
    """Delete a worker type that no ticket waits for. Its workers stay as they are.

    Raises:
        NotFound: there is no such worker type.
        InvalidInput: an open ticket of the project has a stage of this type that is not done, and is named; or a name
            is no text, or blank.
    """
    which = _is(project, worker_type)
    # Locked first: whoever has a ticket wait for it holds it meanwhile.
    if uow.exec(select(col(WorkerType.id)).where(*which).with_for_update()).first() is None:
        raise NotFound("worker type", (project, worker_type))
    waiting = _ticket_that_waits(uow, project, worker_type)
    if waiting is not None:
        raise InvalidInput(
            f"worker_type: ticket {waiting!r} has still to go through the stage {shown(worker_type)}; "
            "complete or close it first",
            field="worker_type",
        )
    uow.exec(sa.delete(WorkerType).where(*which))


def _ticket_that_waits(uow: ReadUnitOfWork, project: str, worker_type: str) -> str | None:
    """Return the oldest open ticket of a project that has still to be worked on by a worker of a type."""
    plan = col(Ticket.execution_plan)
    unnested = sa.func.json_each(plan) if uow.backend == "sqlite" else sa.func.jsonb_array_elements_text(plan)
    stages = unnested.table_valued("value")
    named = sa.exists(sa.select(sa.literal(1)).select_from(stages).where(stages.c.value == worker_type))
    of_project = (col(Ticket.project_id) == project, col(Ticket.closed_at).is_(None))
    found = select(Ticket).where(*of_project, named).order_by(col(Ticket.created_at), col(Ticket.ticket_id))
    return next((ticket.ticket_id for ticket in uow.exec(found) if worker_type in open_stages(ticket)), None)


def _is(project: object, worker_type: object) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (
        col(WorkerType.project_id) == require(Id, project, field="project"),
        col(WorkerType.worker_type) == require(Name, worker_type, field="worker_type"),
    )
