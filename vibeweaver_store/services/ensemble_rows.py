"""The rows of ensembles: added once, and locked in one order. What their services build on.

The order of locks is: a project, its worker types, its workers, its tickets by their ids, and the events last. Whoever
writes an event refers to its project, and locks it before anything else; whoever deletes the project waits for that.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import Field
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from vibeweaver_store.columns import FiniteFloat, Id
from vibeweaver_store.errors import AlreadyExists, IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import Base
from vibeweaver_store.models.ensemble import (
    FINAL_OF_WORKERS,
    CoordinationEvent,
    EnsembleWorker,
    Project,
    Ticket,
    WorkerStatus,
    WorkerType,
)
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

T = TypeVar("T", bound=Base)

MAX_LEASE_SECONDS: Final = 366 * 24 * 3600.0
"""The longest that a ticket can be claimed for without a sign of life: a year."""

TOPIC: Final = "coordination"
"""What is announced by whoever records an event."""

_Lease = Annotated[FiniteFloat, Field(gt=0, le=MAX_LEASE_SECONDS)]
_EVENTS_LOCK: Final = 0x656E73656D626C65  # "ensemble"


def insert_new(uow: UnitOfWork, row: T, entity: str, key: object) -> T:
    """Write a new row, and return it. Where its key is taken, nothing is written, and the unit of work goes on.

    Raises:
        AlreadyExists: the key is taken.
    """
    values = row.model_dump(exclude={"id"})  # of a log, the database numbers it
    statement = uow.upsert(type(row)).values(values).on_conflict_do_nothing().returning(type(row))
    made: T | None = uow.execute(statement).scalar_one_or_none()
    if made is None:
        raise AlreadyExists(entity, key)
    return made


def update_row(uow: UnitOfWork, model: type[T], *where: sa.ColumnElement[bool], **values: Any) -> T | None:
    """Write to the one row that is meant, and return it as it is then, or ``None`` where there is none."""
    statement = sa.update(model).where(*where).values(**values).returning(model)
    changed: T | None = uow.execute(statement, execution_options={"synchronize_session": False}).scalar_one_or_none()
    return changed


# --- locks -----------------------------------------------------------------------------------------------------


def hold_project(uow: UnitOfWork, project: str) -> None:
    """See to it that a project is there, and stays until the unit of work ends.

    Raises:
        NotFound: there is none.
        InvalidInput: its name is no text, or blank.
    """
    key = require(Id, project, field="project")
    if not _hold_projects(uow, col(Project.repository_name) == key):
        raise NotFound("project", key)


def require_project(uow: ReadUnitOfWork, project: str) -> None:
    """See to it that a project is there.

    Raises:
        NotFound: there is none.
    """
    if uow.exec(select(col(Project.repository_name)).where(col(Project.repository_name) == project)).first() is None:
        raise NotFound("project", project)


def hold_project_of(uow: UnitOfWork, project_id: SelectOfScalar[str]) -> bool:
    """See to it that the project of a ticket or a worker stays, before that itself is locked; say whether it is there.

    What is written of them refers to the project: locked only then, it would be locked after them.
    """
    return bool(_hold_projects(uow, col(Project.repository_name) == project_id.scalar_subquery()))


def _hold_projects(uow: UnitOfWork, which: sa.ColumnElement[bool]) -> Sequence[str]:
    # KEY SHARE, as a foreign key takes it: the project may be changed meanwhile, but not be deleted.
    found = select(col(Project.repository_name)).where(which).with_for_update(read=True, key_share=True)
    return uow.exec(found).all()


def hold_worker_types(uow: UnitOfWork, project: str, worker_types: Sequence[str]) -> None:
    """See to it that a project has worker types, and keeps them until the unit of work ends.

    Raises:
        NotFound: it has not one of them; the first is named.
    """
    require_worker_types(project, worker_types, lock_worker_types(uow, project, worker_types))


def lock_worker_types(uow: UnitOfWork, project: str, worker_types: Sequence[str]) -> set[str]:
    """Return which of these worker types a project has; nobody deletes one until the unit of work ends."""
    found = select(col(WorkerType.worker_type)).where(
        col(WorkerType.project_id) == project, col(WorkerType.worker_type).in_(worker_types)
    )
    return set(uow.exec(found.order_by(col(WorkerType.worker_type)).with_for_update(read=True, key_share=True)))


def require_worker_types(project: str, worker_types: Iterable[str], there: Container[str]) -> None:
    """Check that all of these worker types are among those that a project has.

    Raises:
        NotFound: one is not; the first is named.
    """
    for worker_type in worker_types:
        if worker_type not in there:
            raise NotFound("worker type", (project, worker_type))


def lock_worker(uow: UnitOfWork, worker_id: str) -> EnsembleWorker:
    """Return a worker that nobody else changes, nor ends, until the unit of work ends.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, worker_id, field="worker_id")
    found = select(EnsembleWorker).where(col(EnsembleWorker.worker_id) == key).with_for_update(key_share=True)
    worker = uow.exec(found).one_or_none()
    if worker is None:
        raise NotFound("worker", key)
    return worker


def lock_living_worker(uow: UnitOfWork, worker_id: str) -> EnsembleWorker:
    """Return a worker that has not ended, locked as :func:`lock_worker` does.

    Raises:
        NotFound: there is none.
        IllegalTransition: it has ended.
        InvalidInput: the id is no text, or blank.
    """
    worker = lock_worker(uow, worker_id)
    if worker.status in FINAL_OF_WORKERS:
        raise IllegalTransition("worker", worker.worker_id, worker.status, WorkerStatus.ACTIVE)
    return worker


def require_of_project(worker: EnsembleWorker, project: str) -> None:
    """See to it that a worker is of a project.

    Raises:
        InvalidInput: it is of another.
    """
    if worker.project_id != project:
        raise InvalidInput(
            f"worker_id: {shown(worker.worker_id)} is a worker of project {shown(worker.project_id)}, "
            f"not of {shown(project)}",
            field="worker_id",
        )


# --- claims ----------------------------------------------------------------------------------------------------

RELEASED: Final[dict[str, Any]] = {"claimed_by": None, "claim_expires_at": None}
"""What a ticket that nobody holds has in these columns."""


def lease_end(uow: ReadUnitOfWork, lease_seconds: float) -> datetime:
    """Return when a lease that is given now ends.

    Raises:
        InvalidInput: it is no number of seconds above 0 and up to a year.
    """
    seconds: float = require(_Lease, lease_seconds, field="lease_seconds")
    return uow.now() + timedelta(seconds=seconds)


def release_claims(uow: UnitOfWork, worker_ids: Iterable[str]) -> None:
    """Give back the tickets that workers hold, who are locked."""
    by = col(Ticket.claimed_by).in_(list(worker_ids))
    # Locked in the order of their ids, as by everybody.
    held = sa.select(col(Ticket.ticket_id)).where(by).order_by(col(Ticket.ticket_id)).with_for_update(key_share=True)
    found = held.cte("held")
    own = (col(Ticket.ticket_id).in_(sa.select(found.c.ticket_id)), by)
    statement = sa.update(Ticket).where(*own).values(**RELEASED, updated_at=uow.now())
    uow.exec(statement, execution_options={"synchronize_session": False})


# --- events ----------------------------------------------------------------------------------------------------


def hold_events(uow: UnitOfWork) -> None:
    """Let nobody else write events until the unit of work ends, so that what is looked up of them stays true.

    On PostgreSQL ids are drawn when rows are written and seen when they are committed. Writers wait for each other
    until the unit of work ends, so that ids are in the order of commits: a coordinator that takes the oldest events
    would else be given one later that is older than those which it has.
    """
    if uow.backend == "postgresql":
        uow.execute(sa.select(sa.func.pg_advisory_xact_lock(_EVENTS_LOCK)))


def append_events(uow: UnitOfWork, *events: CoordinationEvent) -> None:
    """Write events, whose projects are held; the key of a single one is filled in. See :func:`hold_events`."""
    hold_events(uow)
    if len(events) == 1:
        uow.insert(*events)
    else:
        uow.execute(sa.insert(CoordinationEvent), [event.model_dump(exclude={"id"}) for event in events])
    uow.announce(TOPIC)
