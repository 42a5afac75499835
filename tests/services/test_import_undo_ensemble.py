"""Undoing an import of an ensemble: all that it brought goes, and nothing in which others have put something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.importers.undoing import content
from tests.services.plans import indexes_of, recorded, sqlite_plan
from tests.services.scene import build_scene, make
from tests.services.test_imports import begun
from vibeweaver_store import Store, imports
from vibeweaver_store.models import Comment, EnsembleWorker, Job, Project, Session, Ticket, WorkerType
from vibeweaver_store.services.imports import Brought, Undone
from vibeweaver_store.testing import (
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    JobAttemptFactory,
    JobFactory,
    ProjectFactory,
    SessionFactory,
    SettableClock,
    TicketFactory,
    WorkerTypeFactory,
)
from vibeweaver_store.unit_of_work import UnitOfWork

SONG = "band/brought"


def bring(store: Store, key: int, project: str = SONG) -> None:
    """Have an import bring a project with some of everything: a ticket, two worker types, a worker, and so on."""
    own: dict[str, Any] = {"import_id": key}
    with store.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=project, **own)
        for name in ("writer", "reviewer"):
            WorkerTypeFactory.create(uow=uow, project_id=project, worker_type=name, **own)
        EnsembleWorkerFactory.create(uow=uow, worker_id=f"{project} worker", project_id=project, **own)
        TicketFactory.create(uow=uow, ticket_id=f"{project} ticket", project_id=project, **own)
        for _ in range(2):
            CommentFactory.create(uow=uow, ticket_id=f"{project} ticket", **own)
        CoordinationEventFactory.create(uow=uow, project_id=project, ticket_id=f"{project} ticket", **own)
        CoordinationEventFactory.create(uow=uow, **own)
        JobFactory.create(uow=uow, **own)


TICKET = f"{SONG} ticket"
GONE = Undone(
    sessions=0,
    messages=0,
    journal_events=0,
    workspaces=0,
    spaces=0,
    kept=0,
    projects=1,
    worker_types=2,
    tickets=1,
    comments=2,
    workers=1,
    coordination_events=2,
    jobs=1,
)


def names(store: Store, column: Any) -> list[Any]:
    with store.read() as uow:
        return list(uow.exec(select(column).order_by(column)))


def test_undoing_an_import_removes_an_ensemble_nothing_was_added_to(store: Store, other: Store) -> None:
    build_scene(store)
    bring(store, begun(store, "/srv/other.db"), "band/other")
    before = content(other)
    key = begun(store)
    bring(store, key)
    store.run(imports.finish, key)
    assert store.query(imports.brought, key) == Brought(
        sessions=0,
        messages=0,
        journal_events=0,
        workspaces=0,
        projects=1,
        worker_types=2,
        tickets=1,
        comments=2,
        workers=1,
        coordination_events=2,
        jobs=1,
    )

    undone = store.run(imports.undo, key)

    assert undone == GONE
    assert content(other) == before
    assert other.query(imports.get, key).report["undone"]["tickets"] == 1


def by_comment(uow: UnitOfWork, by: int | None) -> None:
    CommentFactory.create(uow=uow, ticket_id=TICKET, import_id=by)


def by_event(uow: UnitOfWork, by: int | None) -> None:
    CoordinationEventFactory.create(uow=uow, project_id=SONG, ticket_id=TICKET, import_id=by)


def by_outcome(uow: UnitOfWork, _by: int | None) -> None:
    uow.exec(
        sa.update(Ticket)
        .where(col(Ticket.ticket_id) == TICKET)
        .values(closed_at=uow.now(), next_stage=None, outcome="sung")
    )


def by_claim(uow: UnitOfWork, _by: int | None) -> None:
    claim = {"claimed_by": "worker of ours", "claim_expires_at": uow.now() + timedelta(seconds=1)}
    uow.exec(sa.update(Ticket).where(col(Ticket.ticket_id) == TICKET).values(**claim))


@pytest.mark.parametrize("others", [by_comment, by_event, by_outcome, by_claim])
def test_undoing_an_import_keeps_a_ticket_others_worked_on_and_its_project(
    store: Store, other: Store, others: Callable[[UnitOfWork, int | None], None]
) -> None:
    key = begun(store)
    bring(store, key)
    bring(store, key, "band/untouched")
    with store.begin() as uow:
        others(uow, None)

    undone = store.run(imports.undo, key)

    assert (undone.tickets, undone.kept_tickets, undone.projects, undone.kept_projects) == (1, 1, 1, 1)
    assert (names(other, Ticket.ticket_id), names(other, Project.repository_name)) == ([TICKET], [SONG])
    with other.read() as each:
        (ticket,) = each.exec(select(Ticket))
        assert (ticket.import_id, each.exec(select(Project.import_id)).one()) == (None, None)
    # Its plan needs the worker types, unless it is closed.
    closed = others is by_outcome
    assert (undone.worker_types, names(other, WorkerType.worker_type)) == (
        (4, []) if closed else (2, ["reviewer", "writer"])
    )


def test_undoing_an_import_removes_a_ticket_with_an_expired_claim(store: Store, clock: SettableClock) -> None:
    before = content(store)
    key = begun(store)
    bring(store, key)
    with store.begin() as uow:
        by_claim(uow, None)
    clock.advance(seconds=1)

    assert store.run(imports.undo, key) == GONE
    assert content(store) == before


@pytest.mark.parametrize("others", [by_comment, by_event])
def test_undoing_the_second_import_removes_what_the_first_undo_kept(
    store: Store, others: Callable[[UnitOfWork, int | None], None]
) -> None:
    before = content(store)
    first, second = begun(store), begun(store, "/srv/other.db")
    bring(store, first)
    with store.begin() as uow:
        others(uow, second)
    assert store.run(imports.undo, first).kept_tickets == 1

    undone = store.run(imports.undo, second)

    assert (undone.tickets, undone.projects, undone.worker_types) == (1, 1, 2)
    assert content(store) == before


def of_ticket(uow: UnitOfWork) -> None:
    TicketFactory.create(uow=uow, ticket_id="ours", project_id=SONG, execution_plan=["reviewer", "tester"])


def of_closed_ticket(uow: UnitOfWork) -> None:
    TicketFactory.create(uow=uow, ticket_id="ours", project_id=SONG, closed_at=uow.now())


def of_worker(uow: UnitOfWork) -> None:
    EnsembleWorkerFactory.create(uow=uow, worker_id="ours", project_id=SONG, worker_type="writer")


def of_worker_type(uow: UnitOfWork) -> None:
    WorkerTypeFactory.create(uow=uow, project_id=SONG, worker_type="tester")


def of_event(uow: UnitOfWork) -> None:
    CoordinationEventFactory.create(uow=uow, project_id=SONG, ticket_id="another", worker_id=None)


@pytest.mark.parametrize(
    ("others", "types"),
    [
        (of_ticket, ["reviewer"]),
        (of_closed_ticket, []),
        (of_worker, ["writer"]),
        (of_worker_type, ["tester"]),
        (of_event, []),
    ],
)
def test_undoing_an_import_keeps_a_shared_project_with_its_worker_types(
    store: Store, other: Store, others: Callable[[UnitOfWork], None], types: list[str]
) -> None:
    key = begun(store)
    bring(store, key)
    with store.begin() as uow:
        others(uow)

    undone = store.run(imports.undo, key)

    assert (undone.projects, undone.kept_projects, undone.tickets, undone.workers) == (0, 1, 1, 1)
    assert names(other, WorkerType.worker_type) == types
    assert names(other, Project.repository_name) == [SONG]


def test_undoing_an_import_into_an_existing_project_keeps_the_project(store: Store, other: Store) -> None:
    with store.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
        TicketFactory.create(uow=uow, ticket_id=TICKET, project_id=SONG)
        CommentFactory.create(uow=uow, ticket_id=TICKET)
        EnsembleWorkerFactory.create(uow=uow, worker_id="ours", project_id=SONG)
    before = content(other)
    key = begun(store)
    with store.begin() as uow:
        CommentFactory.create(uow=uow, ticket_id=TICKET, import_id=key)
        CoordinationEventFactory.create(uow=uow, project_id=SONG, ticket_id=TICKET, import_id=key)
        WorkerTypeFactory.create(uow=uow, project_id=SONG, import_id=key)
        EnsembleWorkerFactory.create(uow=uow, project_id=SONG, import_id=key)

    undone = store.run(imports.undo, key)

    assert (undone.comments, undone.coordination_events, undone.worker_types, undone.workers) == (1, 1, 1, 1)
    assert (undone.projects, undone.kept_projects, undone.kept_tickets) == (0, 0, 0)
    assert content(other) == before


def test_undoing_an_import_releases_tickets_claimed_by_its_workers(store: Store, other: Store) -> None:
    key = begun(store)
    bring(store, key)
    with store.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id="ours", project_id=SONG)
        claim = {"claimed_by": f"{SONG} worker", "claim_expires_at": uow.now() + timedelta(days=1)}
        uow.exec(sa.update(Ticket).values(**claim))

    undone = store.run(imports.undo, key)

    assert (undone.tickets, undone.workers, undone.kept_tickets) == (1, 1, 0)
    with other.read() as each:
        ours = each.exec(select(Ticket)).one()
    assert (ours.ticket_id, ours.claimed_by, ours.claim_expires_at) == ("ours", None, None)
    assert names(other, EnsembleWorker.worker_id) == []


# --- jobs ------------------------------------------------------------------------------------------------------


def test_undoing_an_import_keeps_a_job_started_here(store: Store, other: Store) -> None:
    key = begun(store)
    with store.begin() as uow:
        for name in ("waits", "is done", "was attempted"):
            status = "completed" if name == "is done" else "pending"
            JobFactory.create(uow=uow, id=name, status=status, attempts=1, import_id=key)
        JobFactory.create(uow=uow, id="at work", status="processing", import_id=key)
        JobAttemptFactory.create(uow=uow, job_id="was attempted")

    undone = store.run(imports.undo, key)

    assert (undone.jobs, undone.kept_jobs) == (2, 2)
    assert names(other, Job.id) == ["at work", "was attempted"]
    assert names(other, Job.import_id) == [None, None]


@pytest.mark.parametrize("by_another", [True, False])
def test_undoing_an_import_keeps_a_session_with_jobs_of_others(store: Store, other: Store, by_another: bool) -> None:
    key, another = begun(store), begun(store, "/srv/other.db")
    make(store, SessionFactory, id="late set", import_id=key)
    make(store, JobFactory, id="theirs", session_id="late set", import_id=another if by_another else None)
    make(store, JobFactory, id="brought", session_id="late set", import_id=key)

    undone = store.run(imports.undo, key)

    assert (undone.sessions, undone.kept, undone.jobs) == (0, 1, 1)
    assert names(other, Job.id) == ["theirs"]
    assert names(other, Session.import_id) == [another if by_another else None]


# --- at the same time, and how much ----------------------------------------------------------------------------


@pytest.mark.parametrize("others", [by_comment, of_ticket])
def test_undoing_an_import_waits_for_a_writer_of_a_ticket_and_keeps_it(store: Store, other: Store, others: Any) -> None:
    key = begun(store)
    bring(store, key)
    undone: list[Undone] = []
    undoing = threading.Thread(target=lambda: undone.append(other.run(imports.undo, key)))

    with store.begin() as uow:
        others(uow, None) if others is by_comment else others(uow)
        undoing.start()
        undoing.join(0.3)
        assert undone == []
    undoing.join(30)

    (done,) = undone
    assert (done.projects, done.kept_projects) == (0, 1)
    assert names(store, Comment.import_id if others is by_comment else Ticket.import_id) == [None]


def test_undoing_an_ensemble_import_uses_indexes_and_a_fixed_number_of_statements(store: Store) -> None:
    few, many = begun(store), begun(store, "/srv/other.db")
    bring(store, few)
    for number in range(20):
        bring(store, many, f"band/{number}")

    with recorded(store) as sent:
        store.run(imports.undo, few)
        store.query(imports.brought, few)
    with recorded(store) as of_many:
        store.run(imports.undo, many)
        store.query(imports.brought, many)

    assert len(sent) == len(of_many)
    tables = ("projects", "worker_types", "tickets", "comments", "workers", "coordination_events", "jobs")
    if store.backend == "sqlite":
        scans = [step for each in sent for step in sqlite_plan(store, each) if step.startswith("SCAN")]
        assert [step for step in scans if "SUBQUERY" not in step and "VIRTUAL TABLE" not in step] == []
        used = {index for each in sent for index in indexes_of(store, each)}
        assert {f"ix_{table}_by_import" for table in tables} <= used
