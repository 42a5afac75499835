"""The plans of tickets: read, changed, and checked against worker types. Callers find this in ``tickets``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id
from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.ensemble import ExecutionPlan, Ticket, WorkerType
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.ensemble_rows import (
    RELEASED,
    hold_project,
    lock_worker_types,
    require_worker_types,
)
from vibeweaver_store.services.ticket_rows import CLOSED, done_stages, find, lock
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


@dataclass(frozen=True, slots=True)
class MissingWorkerTypes:
    """The worker types that a ticket waits for, now or later, and that its project does not have, in plan order."""

    ticket_id: str
    project_id: str
    worker_types: tuple[str, ...]


def parse_plan(execution_plan: object) -> list[str]:
    """Return an execution plan, checked; it cannot be edited in place.

    Raises:
        InvalidInput: it is no list of 1 to 100 different names, or one of them is ``Planned``.
    """
    if isinstance(execution_plan, str) or not isinstance(execution_plan, Sequence):
        raise InvalidInput(
            f"execution_plan: must be a list of worker types (got {shown(execution_plan)})", field="execution_plan"
        )
    plan: list[str] = require(ExecutionPlan, list(execution_plan), field="execution_plan")
    return plan


def replan(uow: UnitOfWork, ticket_id: str, plan: list[str], *, strict: bool) -> dict[str, Any]:
    """Lock a ticket and return the columns that give it another plan.

    Raises:
        NotFound: there is no such ticket; or, where ``strict``, a stage that is to be done has no worker type.
        IllegalTransition: the ticket is closed.
        InvalidInput: the plan does not begin with the stages that are done.
    """
    seen = find(uow, ticket_id)
    if seen is None:
        raise NotFound("ticket", ticket_id)
    # Locked in the order that everybody keeps: the project, its worker types, the ticket.
    hold_project(uow, seen.project_id)
    there = lock_worker_types(uow, seen.project_id, plan) if strict else set()
    ticket = lock(uow, ticket_id)
    if ticket.closed_at is not None:
        raise IllegalTransition("ticket", ticket_id, CLOSED, "replanned")
    done = list(done_stages(ticket))
    if plan[: len(done)] != done:
        raise InvalidInput(
            f"execution_plan: must begin with the stages that are done: {', '.join(done)} (got {shown(plan)})",
            field="execution_plan",
        )
    remaining = plan[len(done) :]
    if strict:
        require_worker_types(seen.project_id, remaining, there)
    following = next(iter(remaining), None)
    released = {} if following == ticket.next_stage else RELEASED
    return {"execution_plan": plan, "next_stage": following, **released}


def check(
    uow: ReadUnitOfWork, *, project: str | None = None, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[MissingWorkerTypes]:
    """Return the open tickets that wait, now or later, for worker types that their projects do not have; newest first.

    Stages that are done need no worker any more, so their worker types are not missed. A page takes two statements.

    Args:
        uow: the unit of work to read in.
        project: only tickets of this project; of one that is not there, there are none.
        limit: how many to return, 1 to 1,000.
        cursor: where to go on, as the page before said.

    Raises:
        InvalidInput: the project's name is no text, or blank; the limit is not 1 to 1,000, or the cursor is not of this
            listing.
    """
    of_project = require(Id | None, project, field="project")
    stage = _stages_of_plan(uow)
    lacks_some = sa.exists(sa.select(sa.literal(1)).select_from(stage.rows).where(*_is_missing(uow, stage)))
    order = Order(
        ["tickets that lack worker types", of_project],
        [col(Ticket.created_at), col(Ticket.ticket_id)],
        falling=True,
        within=[] if of_project is None else [(col(Ticket.project_id), of_project)],
    )
    found = select(Ticket).where(col(Ticket.closed_at).is_(None), lacks_some)
    page = fetch(uow, found, order, limit=limit, cursor=cursor)
    missing = _missing_of(uow, [ticket.ticket_id for ticket in page.items])
    return page.with_items(
        [MissingWorkerTypes(each.ticket_id, each.project_id, missing[each.ticket_id]) for each in page.items]
    )


def _missing_of(uow: ReadUnitOfWork, ticket_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the worker types that tickets lack, in the order of their plans."""
    if not ticket_ids:
        return {}
    stage, key = _stages_of_plan(uow), col(Ticket.ticket_id)
    found = (
        sa.select(key, stage.name)
        .join_from(Ticket, stage.rows, sa.true())
        .where(key.in_(ticket_ids), *_is_missing(uow, stage))
        .order_by(key, stage.place)
    )
    rows = groupby(uow.execute(found), key=lambda row: row[0])
    return {ticket_id: tuple(name for _, name in of_ticket) for ticket_id, of_ticket in rows}


class _Stages(NamedTuple):
    """The stages of a ticket's plan as rows, with the columns of each."""

    rows: Any
    place: Any
    name: Any


def _stages_of_plan(uow: ReadUnitOfWork) -> _Stages:
    plan = col(Ticket.execution_plan)
    if uow.backend == "sqlite":
        on_sqlite = sa.func.json_each(plan).table_valued("key", "value")
        return _Stages(on_sqlite, on_sqlite.c.key, on_sqlite.c.value)
    unnested = sa.func.jsonb_array_elements_text(plan)
    rows = unnested.table_valued("value", with_ordinality="place").render_derived()
    return _Stages(rows, rows.c.place, rows.c.value)


def _is_missing(uow: ReadUnitOfWork, stage: _Stages) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for a stage that is still to be done and has no worker type."""
    # Correlated explicitly: SQLAlchemy itself looks no further than the next enclosing SELECT.
    of_type = sa.select(col(WorkerType.id)).where(
        col(WorkerType.project_id) == col(Ticket.project_id), col(WorkerType.worker_type) == stage.name
    )
    following = _stages_of_plan(uow)
    place = sa.select(following.place).where(following.name == col(Ticket.next_stage))
    next_place = place.correlate(Ticket).scalar_subquery()
    return stage.place >= next_place, ~sa.exists(of_type.correlate(Ticket, stage.rows))
