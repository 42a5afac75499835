"""The tables of ensembles: what the database itself sees to, whoever writes, and what it fills in (seed 003)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import BACKENDS
from tests.services.lasting import lasting_database
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    AlreadyExists,
    Comment,
    CoordinationEvent,
    EnsembleWorker,
    InvalidInput,
    NotFound,
    Project,
    Store,
    Ticket,
    UnitOfWork,
    WorkerType,
    comments,
    coordination,
    tickets,
)
from vibeweaver_store.models import Base
from vibeweaver_store.testing import (
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    RowFactory,
    TicketFactory,
    WorkerTypeFactory,
)

FACTORIES: list[type[RowFactory[Any]]] = [
    *(ProjectFactory, WorkerTypeFactory, TicketFactory, CommentFactory, EnsembleWorkerFactory),
    CoordinationEventFactory,
]
OF_A_PROJECT: list[type[RowFactory[Any]]] = [
    WorkerTypeFactory,
    TicketFactory,
    EnsembleWorkerFactory,
    CoordinationEventFactory,
]

# CHECKs

A_TIME = "'2026-01-01T00:00:00.000000Z'"


@pytest.fixture(scope="module", params=BACKENDS)
def lasting_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that tests share which look at single rows, or have a table refuse one."""
    with lasting_database(request, tmp_path_factory, request.param) as database, Store.open(database) as opened:
        yield opened


@pytest.fixture(scope="module")
def each_table(lasting_store: Store) -> set[str]:
    """The tables, with a row in each."""
    return {str(make(lasting_store, factory).__tablename__) for factory in FACTORIES}


@pytest.mark.parametrize(
    ("table", "assignment", "constraint"),
    [
        ("projects", "repository_name = ''", "ck_projects_repository_name"),
        ("projects", "path = ''", "ck_projects_path"),
        ("worker_types", "worker_type = ''", "ck_worker_types_worker_type"),
        ("tickets", "ticket_id = ''", "ck_tickets_ticket_id"),
        ("tickets", "title = ''", "ck_tickets_title"),
        ("tickets", "last_completed_stage = ''", "ck_tickets_last_completed_stage"),
        ("tickets", "claimed_by = 'w-1'", "ck_tickets_claim_has_end"),
        ("tickets", f"claim_expires_at = {A_TIME}", "ck_tickets_claim_has_end"),
        ("tickets", f"closed_at = {A_TIME}", "ck_tickets_closed_is_over"),
        (
            "tickets",
            f"claimed_by = 'w-1', claim_expires_at = {A_TIME}, closed_at = {A_TIME}, next_stage = NULL",
            "ck_tickets_(closed_is_over|claim_has_stage)",
        ),
        (
            "tickets",
            f"claimed_by = 'w-1', claim_expires_at = {A_TIME}, next_stage = NULL, last_completed_stage = 'reviewer'",
            "ck_tickets_claim_has_stage",
        ),
        ("tickets", "next_stage = NULL", "ck_tickets_planned_has_next"),
        ("tickets", "outcome = 'done'", "ck_tickets_outcome"),
        ("comments", "content = ''", "ck_comments_content"),
        ("comments", "stage_number = -1", "ck_comments_stage_number"),
        ("workers", "status = 'running'", "ck_workers_status"),
        ("workers", "worker_id = ''", "ck_workers_worker_id"),
        ("workers", "worker_type = ''", "ck_workers_worker_type"),
        ("workers", "queue_name = ''", "ck_workers_queue_name"),
        ("workers", "pid = -1", "ck_workers_pid"),
        ("coordination_events", "event_type = 'worker_started'", "ck_coordination_events_event_type"),
    ],
)
@pytest.mark.usefixtures("each_table")
def test_ensemble_tables_check_their_constraints(
    lasting_store: Store, table: str, assignment: str, constraint: str
) -> None:
    with pytest.raises(InvalidInput, match=constraint), lasting_store.begin() as uow:
        uow.execute(sa.text(f"UPDATE {table} SET {assignment}"))


@pytest.mark.usefixtures("each_table")
def test_an_ensemble_flag_is_0_or_1_on_sqlite(lasting_store: Store) -> None:
    refusal = "ck_coordination_events_processed" if lasting_store.backend == "sqlite" else "boolean"
    with pytest.raises(Exception, match=refusal), lasting_store.begin() as uow:
        uow.execute(sa.text("UPDATE coordination_events SET processed = 2"))


NOT_NULL = {
    "projects": ["repository_name", "path", "created_at", "updated_at"],
    "worker_types": ["id", "project_id", "worker_type", "system_prompt", "created_at", "updated_at"],
    "tickets": [
        *("ticket_id", "project_id", "title", "execution_plan", "last_completed_stage", "created_at", "updated_at"),
    ],
    "comments": ["id", "ticket_id", "content", "created_at"],
    "workers": ["worker_id", "project_id", "worker_type", "status", "queue_name", "started_at", "last_activity"],
    "coordination_events": ["id", "event_type", "created_at", "processed"],
}
NULLABLE = {
    "projects": ["short_description"],
    "worker_types": ["short_description"],
    "tickets": ["closed_at"],
    "comments": ["worker_type", "worker_id", "stage_number"],
    "workers": ["pid"],
    "coordination_events": ["ticket_id", "worker_id", "stage", "reason"],
}


@pytest.mark.parametrize("table", NOT_NULL)
def test_ensemble_tables_have_every_column_of_the_seed_with_its_nullability(lasting_store: Store, table: str) -> None:
    with lasting_store.read() as uow:
        found = {column["name"]: column["nullable"] for column in sa.inspect(uow.connection()).get_columns(table)}
    assert {name: found[name] for name in NOT_NULL[table]} == dict.fromkeys(NOT_NULL[table], False)
    assert {name: found[name] for name in NULLABLE[table]} == dict.fromkeys(NULLABLE[table], True)


# Keys and foreign keys


@pytest.mark.parametrize(
    ("factory", "key"),
    [(ProjectFactory, "repository_name"), (TicketFactory, "ticket_id"), (EnsembleWorkerFactory, "worker_id")],
)
def test_keys_of_ensemble_tables_are_unique(lasting_store: Store, factory: type[RowFactory[Any]], key: str) -> None:
    first = make(lasting_store, factory)
    with pytest.raises(AlreadyExists):
        make(lasting_store, factory, **{key: getattr(first, key)})


def test_the_table_of_worker_types_is_unique_per_project(lasting_store: Store) -> None:
    first = make(lasting_store, WorkerTypeFactory, worker_type="writer")
    make(lasting_store, WorkerTypeFactory, worker_type="writer")
    with pytest.raises(AlreadyExists):
        make(lasting_store, WorkerTypeFactory, worker_type="writer", project_id=first.project_id)


@pytest.mark.parametrize("factory", OF_A_PROJECT)
def test_ensemble_tables_refuse_a_row_of_a_missing_project(
    lasting_store: Store, factory: type[RowFactory[Any]]
) -> None:
    with pytest.raises(NotFound):
        make(lasting_store, factory, project_id="no/where")


def test_the_table_of_comments_refuses_a_missing_ticket(lasting_store: Store) -> None:
    with pytest.raises(NotFound):
        make(lasting_store, CommentFactory, ticket_id="nowhere")


def test_rows_of_ensemble_tables_are_deleted_with_their_project(store: Store, other: Store) -> None:
    for factory in FACTORIES:
        make(store, factory)
    before = dump(other)
    doomed = make(store, ProjectFactory).repository_name
    for of_project in OF_A_PROJECT:
        make(store, of_project, project_id=doomed)
    make(store, CommentFactory, ticket_id=make(store, TicketFactory, project_id=doomed).ticket_id)
    with store.begin() as uow:
        uow.execute(sa.delete(Project).where(col(Project.repository_name) == doomed))
    assert dump(other) == before


@pytest.mark.parametrize("factory", [WorkerTypeFactory, CommentFactory, CoordinationEventFactory])
def test_keys_of_deleted_ensemble_rows_are_not_reused(lasting_store: Store, factory: type[RowFactory[Any]]) -> None:
    last = make(lasting_store, factory)
    with lasting_store.begin() as uow:
        uow.execute(sa.delete(type(last)).where(type(last).id == last.id))
    assert make(lasting_store, factory).id > last.id


# What the database fills in

ROWS: dict[type[Base], str] = {
    Project: "INSERT INTO projects (repository_name, path) VALUES ('raw', '/srv/raw')",
    WorkerType: "INSERT INTO worker_types (project_id, worker_type, system_prompt) VALUES ('raw', 'writer', '')",
    Ticket: "INSERT INTO tickets (ticket_id, project_id, title, execution_plan, next_stage) "
    "VALUES ('RAW-1', 'raw', 'a raw one', '[\"writer\", \"reviewer\"]', 'writer')",
    Comment: "INSERT INTO comments (ticket_id, content) VALUES ('RAW-1', 'To be done.')",
    EnsembleWorker: "INSERT INTO workers (worker_id, project_id, worker_type, status, queue_name) "
    "VALUES ('raw', 'raw', 'writer', 'spawning', 'writers')",
    CoordinationEvent: "INSERT INTO coordination_events (event_type, worker_id) VALUES ('worker_stopped', 'raw')",
}
"""Statements as the seed's, which name neither a time, nor a stage that is done, nor whether something is processed."""


def insert_raw(uow: UnitOfWork) -> dict[type[Base], Any]:
    for statement in ROWS.values():
        uow.connection().exec_driver_sql(statement)
    return {model: uow.exec(select(model)).one() for model in ROWS}


def test_an_ensemble_row_without_a_time_is_of_now(store: Store) -> None:
    # The database's own clock, which need not be this process's to the second.
    before = datetime.now(UTC) - timedelta(minutes=1)
    with store.begin() as uow:
        rows = insert_raw(uow)
    times = [
        getattr(row, name)
        for row in rows.values()
        for name in ("created_at", "updated_at", "started_at", "last_activity")
        if hasattr(row, name)
    ]
    assert len(times) == 2 + 2 + 2 + 1 + 2 + 1
    assert [before < each < before + timedelta(minutes=2) for each in times] == [True] * len(times)
    assert {each.tzinfo for each in times} == {UTC}


def test_an_ensemble_row_is_planned_open_and_unprocessed_by_default(store: Store) -> None:
    with store.begin() as uow:
        rows = insert_raw(uow)
    ticket, event = rows[Ticket], rows[CoordinationEvent]
    assert (ticket.last_completed_stage, ticket.closed_at) == ("Planned", None)
    assert ticket.execution_plan == ["writer", "reviewer"]
    assert event.processed is False


def test_services_read_ensemble_rows_written_by_plain_sql(store: Store, other: Store) -> None:
    with store.begin() as uow:
        insert_raw(uow)
    found = other.query(tickets.get, "RAW-1")
    assert [each.content for each in found.comments] == ["To be done."]
    assert other.query(tickets.page, project="raw").items == [found.ticket]
    assert other.query(comments.page, "RAW-1").items == found.comments
    assert [each.worker_id for each in store.run(coordination.take)] == ["raw"]


def test_ensemble_rows_written_in_order_are_numbered_in_order(store: Store) -> None:
    made = make_many(store, CoordinationEventFactory, *[{}] * 3)
    assert [event.id for event in made] == sorted(event.id or 0 for event in made)
