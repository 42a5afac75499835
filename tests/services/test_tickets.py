"""Tickets: made with their description, found with their comments, listed, renamed, deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, BAD_NAMES, BAD_TEXTS, VERBATIM, cases
from tests.services.conftest import SYNC
from tests.services.ensemble_scene import PLAN
from tests.services.scene import make, make_many
from tests.services.test_concurrency import at_once
from vibeweaver_store import AlreadyExists, InvalidInput, NotFound, Store, Ticket, coordination, tickets, worker_types
from vibeweaver_store.columns import new_id
from vibeweaver_store.models.ensemble import MAX_STAGES, PLANNED
from vibeweaver_store.testing import (
    EPOCH,
    CommentFactory,
    CoordinationEventFactory,
    ProjectFactory,
    SettableClock,
    TicketFactory,
    WorkerTypeFactory,
    columns_of,
)

NOTHING = pytest.param(None, id="nothing")


@pytest.fixture
def project(timed_store: Store) -> str:
    """A project with a writer and a reviewer."""
    key = make(timed_store, ProjectFactory).repository_name
    make_many(timed_store, WorkerTypeFactory, *[{"worker_type": stage} for stage in PLAN], project_id=key)
    return key


def create(store: Store, project: str, **values: Any) -> Ticket:
    given: dict[str, Any] = {"title": "Login", "description": "Build it.", "execution_plan": PLAN, **values}
    return store.run(tickets.create, given.pop("ticket_id", new_id()), project, **given)


# Create


def test_a_new_ticket_has_the_values_it_was_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, project: str
) -> None:
    made = create(timed_store, project, ticket_id="LOGIN-1")
    found = lasting_other.query(tickets.get, "LOGIN-1").ticket
    assert columns_of(found) == columns_of(made)
    assert (found.project_id, found.title, found.execution_plan) == (project, "Login", ["writer", "reviewer"])
    assert (found.created_at, found.updated_at) == (timed_clock.instant, timed_clock.instant)


def test_a_new_ticket_waits_for_its_first_stage(timed_store: Store, project: str) -> None:
    made = create(timed_store, project)
    assert (made.last_completed_stage, made.next_stage) == ("Planned", "writer")
    assert (made.claimed_by, made.closed_at, made.outcome) == (None, None, None)


def test_the_description_of_a_ticket_is_its_first_comment(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, project: str
) -> None:
    made = create(timed_store, project, description="Build a login.")
    (first,) = lasting_other.query(tickets.get, made.ticket_id).comments
    assert (first.content, first.stage_number) == ("Build a login.", 0)
    assert (first.worker_id, first.worker_type, first.created_at) == (None, None, timed_clock.instant)


def test_creating_a_ticket_takes_four_statements(timed_store: Store, project: str) -> None:
    with recorded_statements(timed_store) as sent:
        create(timed_store, project)
    assert len(sent) == 4


def test_a_ticket_plan_may_have_the_maximum_number_of_stages(timed_store: Store, project: str) -> None:
    plan = [f"stage {n}" for n in range(MAX_STAGES)]
    make_many(timed_store, WorkerTypeFactory, *[{"worker_type": stage} for stage in plan], project_id=project)
    assert create(timed_store, project, execution_plan=tuple(plan)).execution_plan == plan


def test_a_ticket_plan_cannot_be_edited_in_place(timed_store: Store, project: str) -> None:
    made = create(timed_store, project)
    with pytest.raises(TypeError):
        made.execution_plan.append("tester")


@pytest.mark.parametrize("text", VERBATIM)
def test_ticket_texts_are_kept_verbatim(timed_store: Store, lasting_other: Store, project: str, text: str) -> None:
    timed_store.run(worker_types.create, project, text, system_prompt="")
    create(timed_store, project, ticket_id=text, title=text, description=text, execution_plan=[text])
    found = lasting_other.query(tickets.get, text)
    assert (found.ticket.ticket_id, found.ticket.title, found.ticket.next_stage) == (text, text, text)
    assert (found.ticket.execution_plan, found.comments[0].content) == ([text], text)


def test_a_ticket_description_may_be_long(timed_store: Store, project: str) -> None:
    made = create(timed_store, project, description="x" * 1_000_000)
    assert len(timed_store.query(tickets.get, made.ticket_id).comments[0].content) == 1_000_000


def test_a_refused_ticket_leaves_the_unit_of_work_usable(
    timed_store: Store, lasting_other: Store, project: str
) -> None:
    there = create(timed_store, project)
    refused: list[Any] = []
    with timed_store.begin() as uow:
        for key, of_project, plan in (
            (new_id(), "no/where", PLAN),
            (new_id(), project, ["writer", "tester", "deployer"]),
            (there.ticket_id, project, PLAN),
        ):
            with pytest.raises((NotFound, AlreadyExists)) as caught:
                tickets.create(uow, key, of_project, "Login", "Build it.", plan)
            refused.append(caught.value)
        tickets.update(uow, there.ticket_id, title="still here")
    said = [(each.entity, each.key) for each in refused]
    assert said == [("project", "no/where"), ("worker type", (project, "tester")), ("ticket", there.ticket_id)]
    found = lasting_other.query(tickets.get, there.ticket_id)
    assert (found.ticket.title, len(found.comments)) == ("still here", 1)


def test_a_ticket_plan_cannot_name_a_worker_type_of_another_project(timed_store: Store, project: str) -> None:
    make(timed_store, WorkerTypeFactory, worker_type="tester")
    with pytest.raises(NotFound) as caught:
        create(timed_store, project, execution_plan=["tester"])
    assert caught.value.key == (project, "tester")


BAD_PLANS = cases(
    nothing=None,
    text="writer",
    bytes=b"writer",
    a_number=5,
    a_set={"writer", "reviewer"},
    a_mapping={"writer": 1},
    an_iterator=iter(PLAN),
    no_stage=[],
    too_many=[f"stage {n}" for n in range(MAX_STAGES + 1)],
    one_twice=["writer", "reviewer", "writer"],
    what_says_that_none_is_done=[PLANNED, "writer"],
    a_blank_stage=["writer", " "],
    a_number_as_stage=["writer", 2],
    no_stage_at_all=["writer", None],
    nested=[["writer"]],
    a_nul=["writer\x00"],
    a_surrogate=["\ud800"],
)


@pytest.mark.parametrize("plan", BAD_PLANS)
def test_an_invalid_ticket_plan_is_refused(lasting_store: Store, plan: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        create(lasting_store, "a/b", execution_plan=plan)
    assert str(caught.value.field).startswith("execution_plan")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("ticket_id", each.values[0], id=f"id: {each.id}") for each in [*BAD_IDS, NOTHING]],
        *[pytest.param("project", each.values[0], id=f"project: {each.id}") for each in [*BAD_IDS, NOTHING]],
        *[pytest.param("title", each.values[0], id=f"title: {each.id}") for each in BAD_NAMES],
        *[
            pytest.param("description", each.values[0], id=f"description: {each.id}")
            for each in [*BAD_TEXTS, *cases(empty="", blank=" \n")]
        ],
    ],
)
def test_a_ticket_with_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"project": "a/b", field: value}
    with pytest.raises(InvalidInput) as caught:
        create(lasting_store, **values)
    assert caught.value.field == field


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_concurrent_creations_of_one_ticket_make_one(timed_store: Store, lasting_other: Store, project: str) -> None:
    key = new_id()

    def work(store: Store, number: int) -> bool:
        try:
            create(store, project, ticket_id=key, title=f"{number}", description=f"{number}")
        except AlreadyExists:
            return False
        return True

    made = at_once(timed_store, lasting_other, work=work)
    assert sum(made) == 1
    found = lasting_other.query(tickets.get, key)
    assert [found.ticket.title, *[each.content for each in found.comments]] == [f"{made.index(True)}"] * 2


# Get, find, next stage


def test_a_ticket_is_found_with_its_comments_oldest_first_in_two_statements(lasting_store: Store) -> None:
    ticket = make(lasting_store, TicketFactory)
    written = make_many(lasting_store, CommentFactory, *[{}] * 3, ticket_id=ticket.ticket_id)
    make(lasting_store, CommentFactory)
    with recorded_statements(lasting_store) as sent:
        found = lasting_store.query(tickets.get, ticket.ticket_id)
    assert found == tickets.TicketDetail(ticket, written)
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "writer"),
        ({"last_completed_stage": "writer"}, "reviewer"),
        ({"last_completed_stage": "reviewer"}, None),
        ({"closed_at": EPOCH}, None),
    ],
    ids=["new", "half way", "all done", "closed"],
)
def test_the_next_stage_of_a_ticket_is_read_in_one_statement(
    lasting_store: Store, values: dict[str, Any], expected: str | None
) -> None:
    ticket = make(lasting_store, TicketFactory, **values)
    with recorded_statements(lasting_store) as sent:
        assert lasting_store.query(tickets.next_stage, ticket.ticket_id) == expected
    assert len(sent) == 1


def test_a_missing_ticket_is_not_found(lasting_store: Store) -> None:
    assert lasting_store.query(tickets.find, "nowhere") is None
    for operation in (
        tickets.get,
        tickets.next_stage,
        tickets.delete,
        lambda uow, key: tickets.update(uow, key, title="x"),
    ):
        with pytest.raises(NotFound) as caught:
            lasting_store.run(operation, "nowhere")
        assert (caught.value.entity, caught.value.key) == ("ticket", "nowhere")


@pytest.mark.parametrize(
    "operation",
    [
        *(tickets.get, tickets.find, tickets.next_stage, tickets.delete),
        lambda uow, key: tickets.update(uow, key, title="x"),
        lambda uow, key: tickets.claim(uow, key, "w-1"),
        lambda uow, key: tickets.release(uow, key, "w-1"),
        lambda uow, key: tickets.complete_stage(uow, key, "writer", worker_id="w-1"),
        lambda uow, key: tickets.reopen_stage(uow, key, "writer"),
        lambda uow, key: tickets.close(uow, key, "done"),
    ],
    ids=["get", "find", "next_stage", "delete", "update", "claim", "release", "complete", "reopen", "close"],
)
@pytest.mark.parametrize("ticket_id", [BAD_IDS[0], BAD_IDS[4], *BAD_IDS[-3:], NOTHING])
def test_a_ticket_lookup_by_an_invalid_id_is_refused(lasting_store: Store, operation: Any, ticket_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, ticket_id)
    assert caught.value.field == "ticket_id"


# List


def listed(store: Store, **filters: Any) -> list[str]:
    """What a listing gives, page by page."""
    titles, cursor = [], None
    while True:
        page = store.query(tickets.page, limit=2, cursor=cursor, **filters)
        titles += [ticket.title for ticket in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return titles


def test_tickets_are_paged_newest_first_ties_by_id(store: Store, other: Store) -> None:
    instants = [EPOCH + timedelta(seconds=second) for second in (3, 1, 3, 2, 1, 3)]
    made = make_many(store, TicketFactory, *[{"created_at": instant} for instant in instants])
    expected = sorted(made, key=lambda each: (each.created_at, each.ticket_id), reverse=True)
    assert listed(other) == [ticket.title for ticket in expected]


@pytest.fixture
def some(lasting_store: Store) -> str:
    """A project with tickets of every kind, beside another with the same."""
    for key in (make(lasting_store, ProjectFactory).repository_name for _ in range(2)):
        each: list[dict[str, Any]] = [
            {"title": "new login"},
            {"title": "half a Login", "last_completed_stage": "writer"},
            {"title": "done", "last_completed_stage": "reviewer"},
            {"title": "closed login", "closed_at": EPOCH},
            {"title": "another 100%_new", "execution_plan": ["tester"]},
        ]
        make_many(
            lasting_store,
            TicketFactory,
            *[values | {"created_at": EPOCH + timedelta(seconds=n)} for n, values in enumerate(each)],
            project_id=key,
        )
    return key


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["another 100%_new", "closed login", "done", "half a Login", "new login"]),
        ({"open": True}, ["another 100%_new", "done", "half a Login", "new login"]),
        ({"open": False}, ["closed login"]),
        ({"stage": "writer"}, ["new login"]),
        ({"stage": "reviewer"}, ["half a Login"]),
        ({"stage": "Planned"}, []),
        ({"stage": "writer", "open": True}, ["new login"]),
        ({"stage": "writer", "open": False}, []),
        ({"text": "login"}, ["closed login", "half a Login", "new login"]),
        ({"text": "LOGIN", "open": True}, ["half a Login", "new login"]),
        ({"text": "%_n"}, ["another 100%_new"]),
        ({"text": "_"}, ["another 100%_new"]),
        ({"text": "'; DROP TABLE tickets; --"}, []),
        ({"stage": "reviewer", "open": True, "text": "half"}, ["half a Login"]),
    ],
    ids=str,
)
def test_a_listing_of_tickets_is_filtered(
    lasting_store: Store, some: str, filters: dict[str, Any], expected: list[str]
) -> None:
    assert listed(lasting_store, project=some, **filters) == expected


@pytest.mark.parametrize("filters", [{}, {"open": True}, {"open": False}])
def test_tickets_are_found_by_stage_in_all_projects(store: Store, filters: dict[str, Any]) -> None:
    make_many(store, TicketFactory, {"title": "here"}, {"title": "there"}, execution_plan=["tester"])
    make_many(store, TicketFactory, {}, {"closed_at": EPOCH, "execution_plan": ["tester"]})
    assert listed(store, stage="tester", **filters) == ([] if filters.get("open") is False else ["there", "here"])


def test_a_missing_project_has_no_tickets(lasting_store: Store) -> None:
    assert listed(lasting_store, project="no/where") == []


def test_a_tickets_cursor_of_other_filters_is_refused(lasting_store: Store, some: str) -> None:
    cursor = lasting_store.query(tickets.page, project=some, limit=1).next_cursor
    for filters in ({}, {"project": some, "open": True}, {"project": some, "text": "login"}, {"project": "no/where"}):
        with pytest.raises(InvalidInput) as caught:
            lasting_store.query(tickets.page, cursor=cursor, **filters)
        assert caught.value.field == "cursor"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("project", each.values[0], id=f"project: {each.id}") for each in BAD_IDS[-3:]],
        *[pytest.param("open", each.values[0], id=f"open: {each.id}") for each in BAD_BOOLEANS if each.id != "nothing"],
        *[
            pytest.param(field, each.values[0], id=f"{field}: {each.id}")
            for field in ("stage", "text")
            for each in BAD_NAMES[-5:]
        ],
        *[pytest.param("limit", value, id=f"limit: {value}") for value in (0, 1001, True, None)],
    ],
)
def test_an_invalid_filter_of_tickets_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(tickets.page, **{field: value})
    assert caught.value.field == field


# Update, delete


@pytest.mark.parametrize("values", cases(open={}, closed={"closed_at": EPOCH, "outcome": "done"}))
def test_renaming_a_ticket_changes_nothing_else(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, values: dict[str, Any]
) -> None:
    ticket, bystander = make(timed_store, TicketFactory, **values), make(timed_store, TicketFactory)
    timed_clock.advance(minutes=1)
    renamed = timed_store.run(tickets.update, ticket.ticket_id, title="Log-in")
    assert columns_of(renamed) == columns_of(ticket) | {"title": "Log-in", "updated_at": timed_clock.instant}
    assert lasting_other.query(tickets.find, ticket.ticket_id) == renamed
    assert lasting_other.query(tickets.find, bystander.ticket_id) == bystander


@pytest.mark.parametrize("title", BAD_NAMES)
def test_an_invalid_ticket_title_is_refused(lasting_store: Store, title: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(tickets.update, "nowhere", title=title)
    assert caught.value.field == "title"


def test_deleting_a_ticket_deletes_its_comments_but_no_event(lasting_store: Store, lasting_other: Store) -> None:
    doomed, kept = make_many(lasting_store, TicketFactory, {}, {})
    for ticket in (doomed, kept):
        make(lasting_store, CommentFactory, ticket_id=ticket.ticket_id)
    event = make(lasting_store, CoordinationEventFactory, ticket_id=doomed.ticket_id)
    assert event.id is not None
    lasting_store.run(tickets.delete, doomed.ticket_id)
    assert lasting_other.query(tickets.find, doomed.ticket_id) is None
    assert len(lasting_other.query(tickets.get, kept.ticket_id).comments) == 1
    assert lasting_other.query(coordination.get, event.id).ticket_id == doomed.ticket_id
