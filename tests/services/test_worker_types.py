"""Worker types: the roles of a project, each once; not to be deleted while a ticket waits for one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, BAD_TEXTS, VERBATIM
from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.services.test_concurrency import at_once
from vibeweaver_store import AlreadyExists, InvalidInput, NotFound, Store, tickets, worker_types
from vibeweaver_store.columns import new_id
from vibeweaver_store.models.ensemble import PLANNED
from vibeweaver_store.testing import EPOCH, ProjectFactory, SettableClock, TicketFactory, WorkerTypeFactory, columns_of

NOTHING = pytest.param(None, id="nothing")


def new_project(store: Store, *roles: str) -> str:
    key = make(store, ProjectFactory).repository_name
    with store.begin() as uow:
        for role in roles:
            WorkerTypeFactory.create(uow=uow, project_id=key, worker_type=role)
    return key


# Create


def test_a_new_worker_type_has_the_values_it_was_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock
) -> None:
    project = new_project(timed_store)
    made = timed_store.run(
        worker_types.create, project, "writer", system_prompt="You write.", short_description="Writes."
    )
    assert columns_of(lasting_other.query(worker_types.get, project, "writer")) == columns_of(made)
    assert (made.project_id, made.worker_type) == (project, "writer")
    assert (made.system_prompt, made.short_description) == ("You write.", "Writes.")
    assert (made.created_at, made.updated_at, made.import_id) == (timed_clock.instant, timed_clock.instant, None)


def test_a_worker_type_is_unique_within_its_project(lasting_store: Store, lasting_other: Store) -> None:
    here, there = new_project(lasting_store, "writer"), new_project(lasting_store)
    lasting_store.run(worker_types.create, there, "writer", system_prompt="You write there.")
    with lasting_store.begin() as uow:
        with pytest.raises(AlreadyExists) as caught:
            worker_types.create(uow, here, "writer", system_prompt="You write twice.")
        worker_types.update(uow, here, "writer", short_description="still here")
    assert (caught.value.entity, caught.value.key) == ("worker type", (here, "writer"))
    found = lasting_other.query(worker_types.get, here, "writer")
    assert (found.system_prompt, found.short_description) == ("You are the writer.", "still here")


def test_a_worker_type_of_a_missing_project_leaves_the_unit_of_work_usable(
    lasting_store: Store, lasting_other: Store
) -> None:
    project = new_project(lasting_store)
    with lasting_store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            worker_types.create(uow, "no/where", "writer", system_prompt="")
        worker_types.create(uow, project, "writer", system_prompt="")
    assert (caught.value.entity, caught.value.key) == ("project", "no/where")
    assert lasting_other.query(worker_types.find, project, "writer") is not None


def test_a_worker_type_cannot_have_the_reserved_name_planned(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput, match=PLANNED) as caught:
        lasting_store.run(worker_types.create, "a/b", PLANNED, system_prompt="You plan.")
    assert caught.value.field == "worker_type"


def test_a_worker_type_prompt_may_be_empty_or_long(lasting_store: Store) -> None:
    project = new_project(lasting_store)
    for role, prompt in (("mute", ""), ("talkative", "Say more. " * 100_000)):
        assert lasting_store.run(worker_types.create, project, role, system_prompt=prompt).system_prompt == prompt


@pytest.mark.parametrize("name", VERBATIM)
def test_worker_type_names_and_prompts_are_kept_verbatim(lasting_store: Store, lasting_other: Store, name: str) -> None:
    project = new_project(lasting_store)
    lasting_store.run(worker_types.create, project, name, system_prompt=name, short_description=name)
    found = lasting_other.query(worker_types.get, project, name)
    assert (found.worker_type, found.system_prompt, found.short_description) == (name, name, name)


BAD = [
    *[pytest.param("project", each.values[0], id=f"project: {each.id}") for each in [*BAD_IDS, NOTHING]],
    *[pytest.param("worker_type", each.values[0], id=f"name: {each.id}") for each in BAD_NAMES],
]
BAD_VALUES = [
    *[pytest.param("system_prompt", each.values[0], id=f"prompt: {each.id}") for each in [*BAD_TEXTS, NOTHING]],
    *[pytest.param("short_description", each.values[0], id=f"description: {each.id}") for each in BAD_TEXTS],
]


@pytest.mark.parametrize(("field", "value"), [*BAD, *BAD_VALUES])
def test_a_worker_type_with_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"project": "a/b", "worker_type": "writer", "system_prompt": "", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(worker_types.create, **values)
    assert caught.value.field == field


# Get, find, list


def test_a_missing_worker_type_is_not_found(lasting_store: Store) -> None:
    project = new_project(lasting_store, "writer")
    for key in ((project, "reviewer"), ("no/where", "writer")):
        assert lasting_store.query(worker_types.find, *key) is None
        with pytest.raises(NotFound) as caught:
            lasting_store.query(worker_types.get, *key)
        assert (caught.value.entity, caught.value.key) == ("worker type", key)


@pytest.mark.parametrize("operation", [worker_types.get, worker_types.find, worker_types.update, worker_types.delete])
@pytest.mark.parametrize(("field", "value"), BAD[:1] + BAD[-3:])
def test_a_worker_type_lookup_by_an_invalid_name_is_refused(
    lasting_store: Store, operation: Any, field: str, value: Any
) -> None:
    key = {"project": "a/b", "worker_type": "writer", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, **key)
    assert caught.value.field == field


def test_worker_types_are_paged_by_name_within_their_project(lasting_store: Store) -> None:
    new_project(lasting_store, "another")
    project = new_project(lasting_store, "writer", "reviewer", "architect", "tester", "release manager")
    first = lasting_store.query(worker_types.page_by_project, project, limit=3)
    second = lasting_store.query(worker_types.page_by_project, project, limit=3, cursor=first.next_cursor)
    names = [each.worker_type for each in first.items + second.items]
    assert names == ["architect", "release manager", "reviewer", "tester", "writer"]


def test_a_missing_project_has_no_worker_types(lasting_store: Store) -> None:
    assert lasting_store.query(worker_types.page_by_project, "no/where").items == []


def test_a_worker_types_cursor_of_another_project_is_refused(lasting_store: Store) -> None:
    here, there = (new_project(lasting_store, "writer", "reviewer") for _ in range(2))
    cursor = lasting_store.query(worker_types.page_by_project, here, limit=1).next_cursor
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(worker_types.page_by_project, there, cursor=cursor)
    assert caught.value.field == "cursor"


# Update


def test_updating_a_worker_type_changes_only_the_given_values(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock
) -> None:
    project = new_project(timed_store, "writer", "reviewer")
    before = timed_store.query(worker_types.get, project, "writer")
    bystander = timed_store.query(worker_types.get, project, "reviewer")
    for changes in ({"system_prompt": ""}, {"short_description": "Writes."}, {"short_description": None}):
        timed_clock.advance(minutes=1)
        changed = timed_store.run(worker_types.update, project, "writer", **changes)
        before_that = columns_of(before) | {"system_prompt": "", "updated_at": timed_clock.instant}
        assert columns_of(changed) == before_that | changes
        assert columns_of(lasting_other.query(worker_types.get, project, "writer")) == columns_of(changed)
    assert lasting_other.query(worker_types.get, project, "reviewer") == bystander


def test_updating_a_worker_type_without_changes_writes_nothing(lasting_store: Store) -> None:
    project = new_project(lasting_store, "writer")
    with recorded_statements(lasting_store) as sent:
        assert lasting_store.run(worker_types.update, project, "writer").updated_at == EPOCH
    assert [each.partition(" ")[0] for each in sent] == ["SELECT"]


@pytest.mark.parametrize("changes", [{}, {"system_prompt": ""}])
def test_a_missing_worker_type_cannot_be_updated(lasting_store: Store, changes: Any) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.run(worker_types.update, "no/where", "writer", **changes)
    assert caught.value.key == ("no/where", "writer")


@pytest.mark.parametrize(("field", "value"), BAD_VALUES)
def test_updating_a_worker_type_to_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    change: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(worker_types.update, "a/b", "writer", **change)
    assert caught.value.field == field


# Delete


def test_deleting_a_worker_type_deletes_no_other(lasting_store: Store, lasting_other: Store) -> None:
    here, there = (new_project(lasting_store, "writer", "reviewer") for _ in range(2))
    lasting_store.run(worker_types.delete, here, "writer")
    assert lasting_other.query(worker_types.find, here, "writer") is None
    assert lasting_other.query(worker_types.find, here, "reviewer") is not None
    assert lasting_other.query(worker_types.find, there, "writer") is not None


def test_deleting_a_missing_worker_type_is_refused(lasting_store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.run(worker_types.delete, "no/where", "writer")
    assert (caught.value.entity, caught.value.key) == ("worker type", ("no/where", "writer"))


@pytest.mark.parametrize("last_completed_stage", [PLANNED, "writer"])
def test_a_worker_type_an_open_ticket_needs_cannot_be_deleted(
    lasting_store: Store, lasting_other: Store, last_completed_stage: str
) -> None:
    project = new_project(lasting_store, "writer", "reviewer")
    ticket = make(lasting_store, TicketFactory, project_id=project, last_completed_stage=last_completed_stage)
    with lasting_store.begin() as uow:
        with pytest.raises(InvalidInput, match=ticket.ticket_id) as caught:
            worker_types.delete(uow, project, "reviewer")
        worker_types.update(uow, project, "reviewer", short_description="still here")
    assert caught.value.field == "worker_type"
    assert lasting_other.query(worker_types.get, project, "reviewer").short_description == "still here"


def test_refusing_to_delete_a_worker_type_names_the_oldest_open_ticket(lasting_store: Store) -> None:
    project = new_project(lasting_store, "writer", "reviewer")
    ages = [{"created_at": EPOCH + timedelta(seconds=seconds)} for seconds in (2, 1, 3)]
    _, oldest, _ = make_many(lasting_store, TicketFactory, *ages, project_id=project)
    with pytest.raises(InvalidInput, match=f"'{oldest.ticket_id}'"):
        lasting_store.run(worker_types.delete, project, "writer")


@pytest.mark.parametrize(
    "ticket",
    [
        pytest.param({"last_completed_stage": "writer"}, id="it has gone through it"),
        pytest.param({"last_completed_stage": "reviewer"}, id="it has gone through all"),
        pytest.param({"closed_at": EPOCH}, id="it is closed"),
        pytest.param({"execution_plan": ["reviewer", "writers", "write", '"writer"']}, id="it never was to"),
        pytest.param({"project_id": None}, id="it is of another project"),
    ],
)
def test_a_worker_type_no_open_ticket_needs_can_be_deleted(lasting_store: Store, ticket: dict[str, Any]) -> None:
    project = new_project(lasting_store, "writer", "reviewer")
    make(lasting_store, TicketFactory, **{"project_id": project, **ticket})
    lasting_store.run(worker_types.delete, project, "writer")
    assert lasting_store.query(worker_types.find, project, "writer") is None


@pytest.mark.parametrize("name", VERBATIM)
def test_a_worker_type_with_any_name_is_protected_by_a_waiting_ticket(lasting_store: Store, name: str) -> None:
    project = new_project(lasting_store, name)
    make(lasting_store, TicketFactory, project_id=project, execution_plan=[name])
    with pytest.raises(InvalidInput):
        lasting_store.run(worker_types.delete, project, name)


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_deleting_a_worker_type_concurrently_leaves_no_ticket_waiting_for_it(
    lasting_store: Store, lasting_other: Store
) -> None:
    for _ in range(5):
        project = new_project(lasting_store, "writer", "reviewer")

        def work(store: Store, number: int, project: str = project) -> str:
            try:
                if number == 0:
                    store.run(worker_types.delete, project, "reviewer")
                else:
                    store.run(tickets.create, new_id(), project, "new", "To be done.", ["writer", "reviewer"])
            except (InvalidInput, NotFound) as refused:
                return type(refused).__name__
            return "done"

        deleted, *created = at_once(lasting_store, lasting_other, work=work)
        waiting = lasting_other.query(tickets.page, project=project).items
        assert len(waiting) == created.count("done")
        assert (deleted == "done") is (waiting == [])
