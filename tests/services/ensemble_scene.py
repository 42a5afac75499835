"""An ensemble with some of everything, and what is done to one and looked up in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, TypeAlias

import sqlalchemy as sa

from vibeweaver_store import (
    Page,
    ReadUnitOfWork,
    UnitOfWork,
    comments,
    coordination,
    projects,
    tickets,
    worker_types,
    workers,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.models import Base
from vibeweaver_store.testing import (
    EPOCH,
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    TicketFactory,
    WorkerTypeFactory,
)

PLAN = ["writer", "reviewer"]
NEVER = datetime(2999, 1, 1, tzinfo=UTC)
"""When a claim of the scene expires: not while a test runs, whatever its clock says."""


@dataclass(frozen=True)
class EnsembleScene:
    """The keys of a project that has some of everything, beside another one that nobody is to touch.

    ``worker_id`` is an idle writer, who holds ``held_id``. ``ticket_id`` waits for a writer, and is free; of
    ``written_id`` the first stage is done. The worker type ``idler`` is of no ticket's plan.
    """

    project_id: str
    worker_id: str
    ticket_id: str
    written_id: str
    held_id: str
    comment_id: int
    event_id: int


Mutator: TypeAlias = Callable[[UnitOfWork, EnsembleScene], object]
Lookup: TypeAlias = Callable[[Any, EnsembleScene], object]

SERVICES: tuple[ModuleType, ...] = (projects, worker_types, tickets, comments, workers, coordination)


def build_ensemble_scene(uow: UnitOfWork) -> EnsembleScene:
    fill_project(uow, ProjectFactory.create(uow=uow).repository_name)
    return fill_project(uow, ProjectFactory.create(uow=uow).repository_name)


def fill_project(uow: UnitOfWork, project_id: str) -> EnsembleScene:
    for worker_type in (*PLAN, "idler"):
        WorkerTypeFactory.create(uow=uow, project_id=project_id, worker_type=worker_type)
    worker = EnsembleWorkerFactory.create(uow=uow, project_id=project_id)
    free = TicketFactory.create(uow=uow, project_id=project_id)
    written = TicketFactory.create(uow=uow, project_id=project_id, last_completed_stage="writer")
    held = TicketFactory.create(
        uow=uow, project_id=project_id, claimed_by=worker.worker_id, claim_expires_at=NEVER, created_at=EPOCH
    )
    comment = CommentFactory.create(uow=uow, ticket_id=free.ticket_id, stage_number=0)
    event = CoordinationEventFactory.create(uow=uow, project_id=project_id)
    assert comment.id is not None
    assert event.id is not None
    return EnsembleScene(
        project_id=project_id,
        worker_id=worker.worker_id,
        ticket_id=free.ticket_id,
        written_id=written.ticket_id,
        held_id=held.ticket_id,
        comment_id=comment.id,
        event_id=event.id,
    )


# A few thousand rows a table: projects with much in them, among others that are empty.
BUSY, EMPTY, WORKER_TYPES, TICKETS, COMMENTS, WORKERS, EVENTS = 8, 2000, 300, 400, 20, 300, 500


def build_busy_ensemble(uow: UnitOfWork) -> EnsembleScene:
    """An ensemble in a database with a few thousand rows a table, for the plans of its lookups.

    Most tickets were closed, most workers have ended, and most events were taken; what is at work is spread among them.
    """
    copy(uow, ProjectFactory.build(), [{"repository_name": f"empty/{n}", "created_at": later(n)} for n in range(EMPTY)])
    scenes = [build_ensemble_scene(uow) for _ in range(BUSY)]
    for n, scene in enumerate(scenes):
        of_project = {"project_id": scene.project_id}
        copy(uow, WorkerTypeFactory.build(**of_project), [{"worker_type": f"role-{m}"} for m in range(WORKER_TYPES)])
        copy(uow, TicketFactory.build(**of_project), [ticket_of(n, m) for m in range(TICKETS)])
        commented = [scene.ticket_id] * COMMENTS + [f"busy-{n}-{m}" for m in range(TICKETS)]
        copy(uow, CommentFactory.build(), [{"ticket_id": ticket_id} for ticket_id in commented])
        copy(uow, EnsembleWorkerFactory.build(**of_project), [worker_of(n, m) for m in range(WORKERS)])
        copy(uow, CoordinationEventFactory.build(**of_project), [{"processed": m % 10 != 0} for m in range(EVENTS)])
    return scenes[BUSY // 2]


def copy(uow: UnitOfWork, row: Base, each: list[dict[str, Any]]) -> None:
    """Insert rows as one that a factory built, but for some values of their own: thousands, in little time."""
    common = row.model_dump(exclude={"id"})
    uow.execute(sa.insert(type(row)), [common | own for own in each])


def ticket_of(n: int, m: int) -> dict[str, Any]:
    is_closed = m % 10 != 0
    return {
        "ticket_id": f"busy-{n}-{m}",
        "created_at": later(m),
        "closed_at": later(m + 1) if is_closed else None,
        "next_stage": None if is_closed else "writer",
        "execution_plan": PLAN if m % 20 else [*PLAN, "publisher"],  # which is nobody's worker type
    }


def worker_of(n: int, m: int) -> dict[str, Any]:
    has_ended = m % 10 != 0
    statuses = ("finished", "failed") if has_ended else ("spawning", "idle")
    return {"worker_id": f"busy-{n}-{m}", "started_at": later(m), "status": statuses[(m // 10 + m) % 2]}


def later(n: int) -> datetime:
    return EPOCH + timedelta(minutes=n)


def take_and_prune(uow: UnitOfWork, _: EnsembleScene) -> None:
    coordination.take(uow)
    coordination.prune(uow, timedelta(minutes=5))


MUTATORS: dict[str, tuple[Mutator, set[str]]] = {
    "projects.create": (lambda uow, _: projects.create(uow, repository_name=new_id(), path="/srv/new"), {"projects"}),
    "projects.update": (lambda uow, at: projects.update(uow, at.project_id, path="/srv/moved"), {"projects"}),
    "projects.delete": (
        lambda uow, at: projects.delete(uow, at.project_id),
        {"projects", "worker_types", "tickets", "comments", "workers", "coordination_events"},
    ),
    "worker_types.create": (
        lambda uow, at: worker_types.create(uow, at.project_id, "tester", system_prompt="You test."),
        {"worker_types"},
    ),
    "worker_types.update": (
        lambda uow, at: worker_types.update(uow, at.project_id, "writer", system_prompt="You write well."),
        {"worker_types"},
    ),
    "worker_types.delete": (lambda uow, at: worker_types.delete(uow, at.project_id, "idler"), {"worker_types"}),
    "tickets.create": (
        lambda uow, at: tickets.create(uow, new_id(), at.project_id, "new", "To be done.", PLAN),
        {"tickets", "comments"},
    ),
    "tickets.update": (lambda uow, at: tickets.update(uow, at.ticket_id, title="renamed"), {"tickets"}),
    "tickets.update of a plan": (
        lambda uow, at: tickets.update(uow, at.held_id, execution_plan=[*PLAN, "tester"], strict=False),
        {"tickets"},
    ),
    "tickets.delete": (lambda uow, at: tickets.delete(uow, at.ticket_id), {"tickets", "comments"}),
    "tickets.complete_stage": (
        lambda uow, at: tickets.complete_stage(uow, at.held_id, "writer", worker_id=at.worker_id, comment="Written."),
        {"tickets", "comments", "coordination_events"},
    ),
    "tickets.reopen_stage": (
        lambda uow, at: tickets.reopen_stage(uow, at.written_id, "writer", comment="Not quite."),
        {"tickets", "comments"},
    ),
    "tickets.close": (lambda uow, at: tickets.close(uow, at.held_id, "done", "Thanks."), {"tickets", "comments"}),
    "tickets.claim": (lambda uow, at: tickets.claim(uow, at.ticket_id, at.worker_id), {"tickets"}),
    "tickets.claim_next": (
        lambda uow, at: tickets.claim_next(uow, at.project_id, "writer", at.worker_id),
        {"tickets"},
    ),
    "tickets.release": (lambda uow, at: tickets.release(uow, at.held_id, at.worker_id), {"tickets"}),
    "comments.add": (lambda uow, at: comments.add(uow, at.ticket_id, "So far, so good."), {"comments"}),
    "comments.update": (lambda uow, at: comments.update(uow, at.comment_id, "On second thoughts"), {"comments"}),
    "comments.delete": (lambda uow, at: comments.delete(uow, at.comment_id), {"comments"}),
    "workers.register": (lambda uow, at: workers.register(uow, new_id(), at.project_id, "writer"), {"workers"}),
    "workers.update": (lambda uow, at: workers.update(uow, at.worker_id, pid=4242), {"workers"}),
    "workers.heartbeat": (lambda uow, at: workers.heartbeat(uow, at.worker_id), {"workers"}),
    "workers.set_status at its end": (
        lambda uow, at: workers.set_status(uow, at.worker_id, "failed", reason="out of memory"),
        {"workers", "tickets", "coordination_events"},
    ),
    "workers.reap": (
        lambda uow, _: workers.reap(uow, timedelta(minutes=5)),
        {"workers", "tickets", "coordination_events"},
    ),
    "workers.delete": (lambda uow, at: workers.delete(uow, at.worker_id), {"workers", "tickets"}),
    "coordination.record": (
        lambda uow, at: coordination.record(uow, "worker_stopped", project_id=at.project_id, reason="of old age"),
        {"coordination_events"},
    ),
    "coordination.mark_processed": (
        lambda uow, at: coordination.mark_processed(uow, [at.event_id]),
        {"coordination_events"},
    ),
    "coordination.take": (lambda uow, _: coordination.take(uow), {"coordination_events"}),
    "coordination.delete": (lambda uow, at: coordination.delete(uow, at.event_id), {"coordination_events"}),
    "coordination.prune": (take_and_prune, {"coordination_events"}),
}
"""Every function that writes, with the tables that it changes; see test_every_mutator.py."""


def listing(page: Callable[..., Page[Any]], **filters: Any) -> Lookup:
    """The first page of a listing, the next, and back; filters that are functions are asked of the scene."""

    def look(uow: ReadUnitOfWork, at: EnsembleScene) -> None:
        given = {name: value(at) if callable(value) else value for name, value in filters.items()}
        first = page(uow, limit=3, **given)
        second = page(uow, limit=3, cursor=first.next_cursor, **given)
        assert page(uow, limit=3, cursor=second.previous_cursor, **given).items == first.items

    return look


def own_project(at: EnsembleScene) -> str:
    return at.project_id


LOOKUPS: dict[str, Lookup] = {
    "projects.get": lambda uow, at: projects.get(uow, at.project_id),
    "projects.find": lambda uow, at: projects.find(uow, at.project_id),
    "projects.page": listing(projects.page),
    "projects.contents": lambda uow, at: projects.contents(uow, at.project_id),
    "worker_types.get": lambda uow, at: worker_types.get(uow, at.project_id, "writer"),
    "worker_types.find": lambda uow, at: worker_types.find(uow, at.project_id, "writer"),
    "worker_types.page_by_project": listing(worker_types.page_by_project, project=own_project),
    "tickets.get": lambda uow, at: tickets.get(uow, at.ticket_id),
    "tickets.find": lambda uow, at: tickets.find(uow, at.ticket_id),
    "tickets.next_stage": lambda uow, at: tickets.next_stage(uow, at.ticket_id),
    "tickets.page": listing(tickets.page),
    "tickets.page of those open": listing(tickets.page, open=True),
    "tickets.page of those closed": listing(tickets.page, open=False),
    "tickets.page at a stage": listing(tickets.page, stage="writer"),
    "tickets.page of a text": listing(tickets.page, text="ticket"),
    "tickets.page of a project": listing(tickets.page, project=own_project),
    "tickets.page of a project, those open": listing(tickets.page, project=own_project, open=True),
    "tickets.page of a project, those closed": listing(tickets.page, project=own_project, open=False),
    "tickets.page of a project, at a stage": listing(tickets.page, project=own_project, stage="writer"),
    "tickets.page of all that": listing(tickets.page, project=own_project, stage="writer", open=True, text="ticket"),
    "tickets.check": listing(tickets.check),
    "tickets.check of a project": listing(tickets.check, project=own_project),
    "comments.get": lambda uow, at: comments.get(uow, at.comment_id),
    "comments.find": lambda uow, at: comments.find(uow, at.comment_id),
    "comments.page": listing(comments.page, ticket_id=lambda at: at.ticket_id),
    "comments.page newest first": listing(comments.page, ticket_id=lambda at: at.ticket_id, newest_first=True),
    "workers.get": lambda uow, at: workers.get(uow, at.worker_id),
    "workers.find": lambda uow, at: workers.find(uow, at.worker_id),
    "workers.page": listing(workers.page),
    "workers.page of a project": listing(workers.page, project=own_project),
    "workers.page in a status": listing(workers.page, status="spawning"),
    "workers.page of both": listing(workers.page, project=own_project, status="failed"),
    "workers.stale": listing(workers.stale, older_than=timedelta(minutes=5)),
    "coordination.get": lambda uow, at: coordination.get(uow, at.event_id),
    "coordination.find": lambda uow, at: coordination.find(uow, at.event_id),
    "coordination.page": listing(coordination.page),
    "coordination.page newest first": listing(coordination.page, newest_first=True),
    "coordination.page of those taken": listing(coordination.page, processed=True),
    "coordination.page of a project": listing(coordination.page, project=own_project),
    "coordination.page of a project, not taken": listing(coordination.page, project=own_project, processed=False),
    "coordination.page of a project, taken": listing(coordination.page, project=own_project, processed=True),
    "coordination.unprocessed": listing(coordination.unprocessed),
    "coordination.prunable": lambda uow, _: coordination.prunable(uow, timedelta(minutes=5)),
}
"""Every function that reads; see test_query_plans.py."""

WRITERS: dict[str, Mutator] = {
    name: MUTATORS[name][0]
    for name in (
        *("projects.update", "projects.delete"),
        *("worker_types.create", "worker_types.update", "worker_types.delete"),
        *("tickets.create", "tickets.update", "tickets.delete", "tickets.complete_stage", "tickets.reopen_stage"),
        *("tickets.close", "tickets.claim", "tickets.claim_next", "tickets.release"),
        *("comments.add", "comments.update", "comments.delete"),
        *("workers.register", "workers.heartbeat", "workers.set_status at its end"),
        *("workers.reap", "workers.delete", "coordination.mark_processed"),
        *("tickets.update of a plan", "workers.update", "coordination.delete"),
    )
} | {
    "workers.heartbeat with a lease": lambda uow, at: workers.heartbeat(uow, at.worker_id, lease_seconds=3600.0),
    "coordination.take": lambda uow, _: coordination.take(uow, 3),
    "coordination.prune": lambda uow, _: coordination.prune(uow, timedelta(minutes=5), limit=5),
}
"""Functions that write, and look something up to do so."""

WHOLE_TABLE_IN_ORDER: set[str] = {"projects", "tickets", "workers", "coordination_events"}
IN_SETS: set[str] = {
    *("projects.contents", "projects.delete", "workers.reap"),
    # The worker types that the tickets of a page lack, and a count of the events that were processed: most of them.
    *("tickets.check", "coordination.prunable"),
}
