"""Plans of tickets: changed behind what is done, and checked against the worker types of the project."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS
from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.services.test_concurrency import at_once
from tests.services.test_tickets import BAD_PLANS
from vibeweaver_store import (
    EnsembleWorker,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Store,
    StoreError,
    Ticket,
    tickets,
    worker_types,
)
from vibeweaver_store.testing import (
    EPOCH,
    EnsembleWorkerFactory,
    SettableClock,
    TicketFactory,
    WorkerTypeFactory,
    columns_of,
)

PLAN = ["architect", "writer", "reviewer"]


@pytest.fixture
def worker(timed_store: Store) -> EnsembleWorker:
    """An idle worker of a project that has the worker types of the plan, and testers."""
    worker = make(timed_store, EnsembleWorkerFactory)
    types = [{"worker_type": each} for each in (*PLAN, "tester")]
    make_many(timed_store, WorkerTypeFactory, *types, project_id=worker.project_id)
    return worker


def ticket_of(store: Store, worker: EnsembleWorker, **values: Any) -> Ticket:
    return make(store, TicketFactory, **{"project_id": worker.project_id, "execution_plan": PLAN, **values})


def replan(store: Store, ticket: Ticket, *stages: str, **options: Any) -> Ticket:
    return store.run(tickets.update, ticket.ticket_id, execution_plan=stages, **options)


# Update


@pytest.mark.parametrize(
    ("done", "plan", "following"),
    [
        ("Planned", ["tester", "writer"], "tester"),
        ("architect", ["architect", "tester", "writer", "reviewer"], "tester"),
        ("architect", ["architect"], None),
        ("writer", ["architect", "writer", "reviewer", "tester"], "reviewer"),
        ("reviewer", ["architect", "writer", "reviewer", "tester"], "tester"),
    ],
    ids=["anew", "a stage more", "nothing more", "a stage at the end", "a stage after all"],
)
def test_the_plan_changes_behind_what_is_done_and_nothing_else(
    timed_store: Store,
    lasting_other: Store,
    timed_clock: SettableClock,
    worker: EnsembleWorker,
    *,
    done: str,
    plan: list[str],
    following: str | None,
) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage=done)
    timed_clock.advance(minutes=1)
    changed = replan(timed_store, ticket, *plan)
    assert columns_of(changed) == columns_of(ticket) | {
        "execution_plan": plan,
        "next_stage": following,
        "updated_at": timed_clock.instant,
    }
    assert lasting_other.query(tickets.find, ticket.ticket_id) == changed


@pytest.mark.parametrize(
    "plan",
    [["writer", "architect", "reviewer"], ["tester", "writer"], ["architect"], ["architect", "tester", "writer"]],
    ids=["in another order", "another one", "too few", "another one between"],
)
def test_stages_that_are_done_stay(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker, plan: list[str]
) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="writer")
    with pytest.raises(InvalidInput, match="begin with the stages that are done: architect, writer") as caught:
        replan(timed_store, ticket, *plan)
    assert caught.value.field == "execution_plan"
    assert lasting_other.query(tickets.find, ticket.ticket_id) == ticket


@pytest.mark.parametrize(
    ("plan", "is_held"),
    [(["architect", "tester"], True), (["tester", "architect"], False)],
    ids=["the same stage is next", "another stage is next"],
)
def test_a_claim_holds_as_long_as_its_stage_is_next(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker, plan: list[str], is_held: bool
) -> None:
    until = timed_clock.instant + timedelta(hours=1)
    ticket = ticket_of(timed_store, worker, claimed_by=worker.worker_id, claim_expires_at=until)
    changed = replan(timed_store, ticket, *plan)
    held = (worker.worker_id, until) if is_held else (None, None)
    assert (changed.claimed_by, changed.claim_expires_at) == held


def test_the_plan_of_a_closed_ticket_stays(timed_store: Store, lasting_other: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker, closed_at=EPOCH)
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(tickets.update, ticket.ticket_id, title="New", execution_plan=["tester"])
    assert (caught.value.key, caught.value.current) == (ticket.ticket_id, "closed")
    assert lasting_other.query(tickets.find, ticket.ticket_id) == ticket


def test_title_and_plan_change_at_once(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    changed = timed_store.run(tickets.update, ticket.ticket_id, title="New", execution_plan=["tester"])
    assert (changed.title, changed.execution_plan, changed.next_stage) == ("New", ["tester"], "tester")


def test_a_ticket_of_which_nothing_is_to_change_is_only_returned(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    with recorded_statements(timed_store) as sent:
        assert timed_store.run(tickets.update, ticket.ticket_id) == ticket
    assert len(sent) == 1
    with pytest.raises(NotFound):
        timed_store.run(tickets.update, "nowhere")


def test_a_stage_without_worker_type_is_refused_unless_it_is_done(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="architect")
    with pytest.raises(NotFound) as caught:
        replan(timed_store, ticket, "architect", "publisher", "archivist")
    assert (caught.value.entity, caught.value.key) == ("worker type", (worker.project_id, "publisher"))
    timed_store.run(worker_types.delete, worker.project_id, "architect")
    assert replan(timed_store, ticket, "architect", "tester").next_stage == "tester"


def test_a_stage_without_worker_type_is_taken_where_it_is_asked_for(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    assert replan(timed_store, ticket, "publisher", strict=False).next_stage == "publisher"


def test_a_plan_that_is_refused_does_not_undo_the_unit_of_work(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="architect")
    with timed_store.begin() as uow:
        for plan in (["publisher"], ["architect", "publisher"], []):
            with pytest.raises(StoreError):
                tickets.update(uow, ticket.ticket_id, execution_plan=plan)
        tickets.update(uow, ticket.ticket_id, title="still here")
    assert timed_store.query(tickets.get, ticket.ticket_id).ticket.title == "still here"


@pytest.mark.parametrize("plan", BAD_PLANS)
def test_a_value_that_is_no_plan_does_not_replace_one(lasting_store: Store, plan: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(tickets.update, "nowhere", execution_plan=plan)
    assert str(caught.value.field).startswith("execution_plan")


@pytest.mark.parametrize("strict", BAD_BOOLEANS)
@pytest.mark.parametrize("operation", ["create", "update"])
def test_whether_to_be_strict_is_yes_or_no(lasting_store: Store, operation: str, strict: Any) -> None:
    with pytest.raises(InvalidInput) as caught, lasting_store.begin() as uow:
        if operation == "create":
            tickets.create(uow, "T-1", "song", "Bridge", None, PLAN, strict=strict)
        else:
            tickets.update(uow, "nowhere", title="Bridge", strict=strict)
    assert caught.value.field == "strict"


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_plans_and_completions_at_once_lose_nothing(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)

    def work(store: Store, number: int) -> bool:
        try:
            if number % 2:
                store.run(tickets.complete_stage, ticket.ticket_id, PLAN[0], worker_id=worker.worker_id)
            else:
                replan(store, ticket, PLAN[0], f"stage {number}", strict=False)
        except StoreError:
            return False
        return True

    made = at_once(timed_store, lasting_other, work=work)
    found = timed_store.query(tickets.get, ticket.ticket_id).ticket
    assert sum(made[1::2]) == 1
    assert all(made[::2])
    assert (found.last_completed_stage, found.next_stage) == (PLAN[0], found.execution_plan[1])
    assert found.execution_plan[1].startswith("stage ")


# Check


def missing(store: Store, project: str, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    """What a check gives, page by page."""
    found, cursor = [], None
    while True:
        page = store.query(tickets.check, project=project, cursor=cursor, **options)
        found += [(each.ticket_id, each.worker_types) for each in page.items]
        assert {each.project_id for each in page.items} <= {project}
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_worker_types_that_are_missing_are_listed_in_the_order_of_the_plan(
    timed_store: Store, worker: EnsembleWorker
) -> None:
    plan = ["writer", "publisher", "tester", "archivist"]
    ticket = ticket_of(timed_store, worker, execution_plan=plan)
    make(timed_store, WorkerTypeFactory, worker_type="publisher")  # of another project
    assert missing(timed_store, worker.project_id) == [(ticket.ticket_id, ("publisher", "archivist"))]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"execution_plan": ["publisher", "writer"], "last_completed_stage": "publisher"},
        {"execution_plan": ["publisher"], "last_completed_stage": "publisher"},
        {"execution_plan": ["publisher"], "closed_at": EPOCH},
    ],
    ids=["all are there", "it is done", "all is done", "the ticket is closed"],
)
def test_a_ticket_whose_worker_types_are_there_is_not_listed(
    timed_store: Store, worker: EnsembleWorker, values: dict[str, Any]
) -> None:
    ticket_of(timed_store, worker, **values)
    assert missing(timed_store, worker.project_id) == []


def test_a_worker_type_that_is_made_is_no_longer_missing(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker, execution_plan=["publisher", "archivist"])
    timed_store.run(worker_types.create, worker.project_id, "publisher", system_prompt="")
    assert missing(timed_store, worker.project_id) == [(ticket.ticket_id, ("archivist",))]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_tickets_that_lack_something_are_paged_newest_first(
    timed_store: Store, worker: EnsembleWorker, limit: int
) -> None:
    lacking = [
        ticket_of(timed_store, worker, execution_plan=["publisher"], created_at=EPOCH + timedelta(seconds=n))
        for n in (2, 1, 3, 2)
    ]
    ticket_of(timed_store, worker)
    expected = sorted(lacking, key=lambda each: (each.created_at, each.ticket_id), reverse=True)
    found = missing(timed_store, worker.project_id, limit=limit)
    assert found == [(each.ticket_id, ("publisher",)) for each in expected]


def test_the_tickets_of_all_projects_are_checked(store: Store) -> None:
    lacking = make_many(store, TicketFactory, {"execution_plan": ["writer"]}, {"execution_plan": ["publisher"]})
    make(store, WorkerTypeFactory, worker_type="writer", project_id=lacking[1].project_id)
    found = store.query(tickets.check).items
    assert {(each.ticket_id, each.project_id, each.worker_types) for each in found} == {
        (each.ticket_id, each.project_id, tuple(each.execution_plan)) for each in lacking
    }


def test_a_check_takes_two_statements_a_page_and_one_where_nothing_is_missing(
    timed_store: Store, worker: EnsembleWorker
) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.query(tickets.check, project=worker.project_id)
        ticket_of(timed_store, worker)
    assert len([each for each in sent if each.startswith("SELECT")]) == 1
    for _ in range(3):
        ticket_of(timed_store, worker, execution_plan=["publisher"])
    with recorded_statements(timed_store) as sent:
        timed_store.query(tickets.check, project=worker.project_id)
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("project", each.values[0], id=f"project: {each.id}") for each in BAD_IDS[-3:]],
        *[pytest.param("limit", value, id=f"limit: {value}") for value in (0, 1001, True, None)],
        ("cursor", "none"),
    ],
)
def test_a_check_of_what_cannot_be_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(tickets.check, **{field: value})
    assert caught.value.field == field
