"""What a user of vibe-ensemble (seed 003) looks for: its own SQL on our tables, and what its programs do with tickets,
workers and events. ``docs/coming-from/vibe-ensemble.md`` lists these tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store import (
    AlreadyClaimed,
    CoordinationEventType,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Store,
    Ticket,
    UnitOfWork,
    WorkerStatus,
    comments,
    coordination,
    projects,
    tickets,
    worker_types,
    workers,
)
from vibeweaver_store.testing import SettableClock

PROJECT = "test/project"
PLAN = ["architect", "writer", "reviewer"]


@pytest.fixture
def project(store: Store) -> str:
    """The project of the seed's test, with an architect, a writer and a reviewer."""
    with store.begin() as uow:
        projects.create(uow, repository_name=PROJECT, path="/tmp/test", short_description="Test project")
        for worker_type in PLAN:
            worker_types.create(uow, PROJECT, worker_type, system_prompt=f"You are the {worker_type}.")
    return PROJECT


def run_sql(uow: UnitOfWork, statement: str, **values: Any) -> Any:
    """Run a statement as a program of the seed would send it, with named values."""
    return uow.connection().execute(sa.text(statement), values)


# Its own SQL

INSERTS: Mapping[str, Mapping[str, Any]] = {
    "projects": {"repository_name": PROJECT, "path": "/tmp/test", "short_description": "Test project"},
    "worker_types": {"project_id": PROJECT, "worker_type": "architect", "system_prompt": "You are the architect."},
    "tickets": {
        "ticket_id": "T-1",
        "project_id": PROJECT,
        "title": "Login",
        "execution_plan": '["architect", "writer", "reviewer"]',
    },
    "comments": {"ticket_id": "T-1", "content": "Build a login."},
    "workers": {
        "worker_id": "w-1",
        "project_id": PROJECT,
        "worker_type": "architect",
        "status": "spawning",
        "queue_name": "architects",
    },
    "coordination_events": {"event_type": "worker_stopped", "worker_id": "w-1", "reason": "done"},
}
"""A row of each table, of the columns that the seed's schema gives no default. Its ``events`` are called otherwise."""


def insert(uow: UnitOfWork, table: str, values: Mapping[str, Any]) -> None:
    columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
    if uow.backend == "postgresql":
        places = places.replace(":execution_plan", "CAST(:execution_plan AS jsonb)")
    run_sql(uow, f"INSERT INTO {table} ({columns}) VALUES ({places})", **values)


def insert_all(uow: UnitOfWork, **changes: Mapping[str, Any]) -> None:
    for table, values in INSERTS.items():
        insert(uow, table, {**values, **changes.get(table, {})})


def test_vibe_ensemble_inserts_are_read_by_services(store: Store, other: Store) -> None:
    with store.begin() as uow:
        insert_all(uow)
    found = other.query(tickets.get, "T-1")
    ticket = found.ticket
    assert (ticket.last_completed_stage, ticket.next_stage, ticket.closed_at) == ("Planned", "architect", None)
    assert (ticket.execution_plan, [each.content for each in found.comments]) == (PLAN, ["Build a login."])
    assert other.query(workers.get, "w-1").status is WorkerStatus.SPAWNING
    assert other.query(worker_types.get, PROJECT, "architect").system_prompt == "You are the architect."
    (event,) = other.query(coordination.unprocessed).items
    assert (event.event_type, event.processed) == (CoordinationEventType.WORKER_STOPPED, False)


def test_vibe_ensemble_inserts_travel_through_their_stages(store: Store) -> None:
    with store.begin() as uow:
        insert_all(uow)
    claimed = store.run(tickets.claim_next, PROJECT, "architect", "w-1")
    assert claimed is not None
    for stage in PLAN:
        moved = store.run(tickets.complete_stage, "T-1", stage, worker_id="w-1")
    assert (moved.last_completed_stage, moved.next_stage) == ("reviewer", None)


@pytest.mark.parametrize(
    ("values", "following"),
    [
        ({}, "architect"),
        ({"last_completed_stage": "architect"}, "writer"),
        ({"last_completed_stage": "reviewer"}, None),
        ({"last_completed_stage": "writer", "closed_at": "2026-01-01T00:00:00.000000Z", "next_stage": None}, None),
        ({"execution_plan": '["nobody is called so"]'}, "nobody is called so"),
    ],
    ids=["planned", "on its way", "done", "closed", "a type that comes later"],
)
def test_vibe_ensemble_ticket_inserts_get_their_next_stage(
    store: Store, values: Mapping[str, Any], following: str | None
) -> None:
    with store.begin() as uow:
        insert_all(uow, tickets=values)
    assert store.query(tickets.next_stage, "T-1") == following


@pytest.mark.parametrize(
    "values",
    [
        {"execution_plan": "[]"},
        {"execution_plan": '"architect"'},
        {"execution_plan": '["architect", "architect"]'},
        {"execution_plan": '["architect", 2]'},
        {"execution_plan": '["Planned"]'},
        {"last_completed_stage": "tester"},
    ],
    ids=str,
)
def test_vibe_ensemble_ticket_inserts_with_a_bad_plan_are_refused(store: Store, values: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidInput), store.begin() as uow:
        insert_all(uow, tickets=values)
    assert store.query(projects.find, PROJECT) is None


def test_vibe_ensemble_project_statements_run_as_they_stand(store: Store, other: Store) -> None:
    columns = "repository_name, path, short_description, created_at, updated_at"
    name = {"name": "test/project"}
    with store.begin() as uow:
        now = "datetime('now')" if uow.backend == "sqlite" else "now()"
        made = run_sql(
            uow,
            f"INSERT INTO projects (repository_name, path, short_description) VALUES (:name, :path, :about) "
            f"RETURNING {columns}",
            **name,
            path="/tmp/test",
            about="Test project",
        ).one()
        found = run_sql(uow, f"SELECT {columns} FROM projects WHERE repository_name = :name", **name).one()
        listed = run_sql(uow, f"SELECT {columns} FROM projects ORDER BY created_at DESC").all()
        run_sql(
            uow,
            f"UPDATE projects SET path = :path, short_description = :about, updated_at = {now} "
            f"WHERE repository_name = :name RETURNING {columns}",
            **name,
            path="/srv/test",
            about=None,
        ).one()
    assert (made, listed) == (found, [found])
    changed = other.query(projects.get, "test/project")
    assert (changed.path, changed.short_description) == ("/srv/test", None)
    assert changed.updated_at.utcoffset() == changed.created_at.utcoffset() == timedelta()
    assert abs(changed.updated_at - changed.created_at) < timedelta(minutes=1)
    assert other.query(projects.page).items == [changed]
    with store.begin() as uow:
        assert run_sql(uow, "DELETE FROM projects WHERE repository_name = :name", **name).rowcount == 1


def test_vibe_ensemble_project_life_is_that_of_the_seeds_test(store: Store, other: Store) -> None:
    made = store.run(
        projects.create, repository_name="test/project", path="/tmp/test", short_description="Test project"
    )
    assert made.repository_name == "test/project"
    assert other.query(projects.find, "test/project") is not None
    assert len(other.query(projects.page).items) == 1
    gone = store.run(projects.delete, "test/project")
    assert (gone.tickets, other.query(projects.find, "test/project")) == (0, None)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("workers", {"worker_id": "w-2", "status": "running"}),
        ("coordination_events", {"event_type": "worker_started"}),
    ],
)
def test_vibe_ensemble_checks_refuse_the_same_words(store: Store, table: str, values: Mapping[str, Any]) -> None:
    with store.begin() as uow:
        insert_all(uow)
    with pytest.raises(InvalidInput), store.begin() as uow:
        insert(uow, table, {**INSERTS[table], **values})


def test_vibe_ensemble_foreign_keys_cascade_from_the_project(store: Store) -> None:
    with store.begin() as uow:
        insert_all(uow)
    with store.begin() as uow:
        run_sql(uow, "DELETE FROM projects WHERE repository_name = :name", name=PROJECT)
        left = [
            run_sql(uow, f"SELECT count(*) FROM {table}").scalar()
            for table in ("worker_types", "tickets", "comments", "workers", "coordination_events")
        ]
    assert left == [0, 0, 0, 0, 1]  # an event that names no project stays, as the seed's do


# What is stored stays sound


@pytest.mark.parametrize("values", [{"execution_plan": ["zzz"]}, {"last_completed_stage": "writer"}], ids=str)
def test_vibe_ensemble_ticket_edits_are_checked_at_flush(store: Store, project: str, values: dict[str, Any]) -> None:
    store.run(tickets.create, "T-1", project, "Login", None, PLAN)
    with pytest.raises(InvalidInput) as caught, store.begin() as uow:
        ticket = tickets.get(uow, "T-1").ticket
        for name, value in values.items():
            setattr(ticket, name, value)
    assert caught.value.field == "next_stage"
    worker = store.run(workers.register, "w-1", project, "architect")
    moved = store.run(tickets.complete_stage, "T-1", "architect", worker_id=worker.worker_id)
    assert moved.next_stage == "writer"


@pytest.mark.parametrize(
    "values",
    [{"execution_plan": ["zzz"]}, {"last_completed_stage": "writer"}, {"next_stage": "reviewer"}],
    ids=str,
)
def test_vibe_ensemble_ticket_statements_are_checked_by_the_database(
    store: Store, project: str, values: dict[str, Any]
) -> None:
    made = store.run(tickets.create, "T-1", project, "Login", None, PLAN)
    with pytest.raises(InvalidInput) as caught, store.begin() as uow:
        uow.execute(sa.update(Ticket).where(col(Ticket.ticket_id) == "T-1").values(**values))
    assert caught.value.field == "tickets_next_stage"
    assert store.query(tickets.find, "T-1") == made


# Tickets


def test_vibe_ensemble_tickets_go_without_a_description(store: Store, other: Store, project: str) -> None:
    made = store.run(tickets.create, "T-1", project, title="Login", execution_plan=PLAN)
    assert other.query(tickets.get, "T-1") == tickets.TicketDetail(made, [])
    store.run(comments.add, "T-1", "Build a login.")
    assert [each.stage_number for each in other.query(tickets.get, "T-1").comments] == [None]


def test_vibe_ensemble_tickets_change_title_and_plan(store: Store, other: Store, project: str) -> None:
    store.run(tickets.create, "T-1", project, "Login", None, PLAN)
    store.run(workers.register, "w-1", project, "architect")
    store.run(tickets.complete_stage, "T-1", "architect", worker_id="w-1")
    changed = store.run(tickets.update, "T-1", title="Log-in", execution_plan=["architect", "reviewer"])
    assert (changed.title, changed.execution_plan, changed.next_stage) == (
        "Log-in",
        ["architect", "reviewer"],
        "reviewer",
    )
    assert other.query(tickets.find, "T-1") == changed
    with pytest.raises(InvalidInput, match="must begin with the stages that are done: architect"):
        store.run(tickets.update, "T-1", execution_plan=["reviewer"])
    store.run(tickets.close, "T-1", "merged")
    with pytest.raises(IllegalTransition):
        store.run(tickets.update, "T-1", execution_plan=["architect"])
    assert store.run(tickets.update, "T-1", title="Login again").title == "Login again"


def test_vibe_ensemble_plans_name_worker_types_that_come_later(store: Store, project: str) -> None:
    with pytest.raises(NotFound):
        store.run(tickets.create, "T-1", project, "Login", None, ["architect", "deployer"])
    store.run(tickets.create, "T-1", project, "Login", None, ["architect", "deployer"], strict=False)
    store.run(tickets.create, "T-2", project, "Logout", None, PLAN)
    store.run(tickets.update, "T-2", execution_plan=["tester", "deployer"], strict=False)
    assert {each.ticket_id: each.worker_types for each in store.query(tickets.check, project=project).items} == {
        "T-1": ("deployer",),
        "T-2": ("tester", "deployer"),
    }
    for worker_type in ("tester", "deployer"):
        store.run(worker_types.create, project, worker_type, system_prompt="")
    assert store.query(tickets.check).items == []


def test_vibe_ensemble_tickets_are_worked_on_by_one_worker(store: Store, project: str) -> None:
    store.run(tickets.create, "T-1", project, "Login", None, PLAN)
    for worker_id in ("w-1", "w-2"):
        store.run(workers.register, worker_id, project, "architect")
    store.run(tickets.claim, "T-1", "w-1")
    with pytest.raises(AlreadyClaimed):
        store.run(tickets.claim, "T-1", "w-2")


# Workers


def test_vibe_ensemble_workers_get_pid_and_queue_after_spawning(
    store: Store, other: Store, clock: SettableClock, project: str
) -> None:
    made = store.run(workers.register, "w-1", project, "architect")
    clock.advance(seconds=5)
    spawned = store.run(workers.update, "w-1", pid=4711, queue_name="architects")
    assert (spawned.pid, spawned.queue_name) == (4711, "architects")
    assert (spawned.status, spawned.last_activity) == (WorkerStatus.SPAWNING, made.last_activity)
    assert other.query(workers.get, "w-1") == spawned
    assert store.run(workers.update, "w-1", pid=None).pid is None
    assert store.run(workers.update, "w-1").queue_name == "architects"


# Events


def test_vibe_ensemble_events_are_deleted(store: Store, other: Store) -> None:
    first, second = (store.run(coordination.record, "worker_stopped") for _ in range(2))
    store.run(coordination.delete, first.id or 0)
    assert [each.id for each in other.query(coordination.page).items] == [second.id]
    assert (store.run(coordination.record, "worker_stopped").id or 0) > (second.id or 0)


def test_vibe_ensemble_events_are_pruned_once_they_are_processed(
    store: Store, other: Store, clock: SettableClock
) -> None:
    for _ in range(3):
        store.run(coordination.record, "worker_stopped")
    first, second = store.run(coordination.take, 2)
    clock.advance(days=2)
    assert store.query(coordination.prunable, timedelta(days=1)) == 2
    assert store.run(coordination.prune, timedelta(days=1)) == 2
    left = other.query(coordination.page).items
    assert {each.id for each in left}.isdisjoint({first.id, second.id})
    assert [each.processed for each in left] == [False]
