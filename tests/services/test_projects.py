"""Projects: the repositories that an ensemble works on, made, found, changed, and deleted with all that is theirs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_TEXTS, VERBATIM, cases
from tests.services.conftest import SYNC
from tests.services.ensemble_scene import PLAN, fill_project
from tests.services.scene import dump, make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import (
    AlreadyClaimed,
    AlreadyExists,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Project,
    Store,
    comments,
    projects,
    tickets,
    workers,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.testing import EPOCH, ProjectFactory, SettableClock, columns_of

NOTHING = pytest.param(None, id="nothing")
BAD_PATHS = [*BAD_TEXTS, *cases(nothing=None, empty="", blank=" \t", too_long="/" + "x" * 2000)]


@pytest.fixture
def project(timed_store: Store) -> Project:
    return make(timed_store, ProjectFactory)


# Create


def test_a_new_project_has_the_values_it_was_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock
) -> None:
    made = timed_store.run(projects.create, repository_name="new/shop", path="/srv/shop", short_description="Sells.")
    assert columns_of(lasting_other.query(projects.get, "new/shop")) == columns_of(made)
    assert (made.repository_name, made.path, made.short_description) == ("new/shop", "/srv/shop", "Sells.")
    assert (made.created_at, made.updated_at, made.import_id) == (timed_clock.instant, timed_clock.instant, None)


def test_a_project_path_is_kept_verbatim(lasting_store: Store) -> None:
    made = lasting_store.run(projects.create, repository_name=new_id(), path="~/srv//./shop/")
    assert made.path == "~/srv//./shop/"


def test_a_project_needs_no_description(lasting_store: Store) -> None:
    assert lasting_store.run(projects.create, repository_name=new_id(), path="/srv").short_description is None


def test_creating_a_project_takes_one_statement(lasting_store: Store) -> None:
    with recorded_statements(lasting_store) as sent:
        lasting_store.run(projects.create, repository_name=new_id(), path="/srv")
    assert len(sent) == 1


def test_a_taken_project_name_leaves_the_unit_of_work_usable(
    timed_store: Store, lasting_other: Store, project: Project
) -> None:
    key = project.repository_name
    with timed_store.begin() as uow:
        with pytest.raises(AlreadyExists) as caught:
            projects.create(uow, repository_name=key, path="/srv/another")
        projects.update(uow, key, short_description="still here")
    assert (caught.value.entity, caught.value.key) == ("project", key)
    found = lasting_other.query(projects.get, key)
    assert (found.path, found.short_description) == (project.path, "still here")


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_concurrent_creations_of_one_project_make_one(lasting_store: Store, lasting_other: Store) -> None:
    key = new_id()

    def create(store: Store, number: int) -> bool:
        try:
            store.run(projects.create, repository_name=key, path=f"/srv/{number}")
        except AlreadyExists:
            return False
        return True

    made = at_once(lasting_store, lasting_other, work=create)
    assert sum(made) == 1
    assert lasting_other.query(projects.get, key).path == f"/srv/{made.index(True)}"


@pytest.mark.parametrize("name", VERBATIM)
def test_project_names_and_descriptions_are_kept_verbatim(
    lasting_store: Store, lasting_other: Store, name: str
) -> None:
    lasting_store.run(projects.create, repository_name=name, path=name, short_description=name)
    found = lasting_other.query(projects.get, name)
    assert (found.repository_name, found.path, found.short_description) == (name, name, name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("repository_name", each.values[0], id=f"name: {each.id}") for each in [*BAD_IDS, NOTHING]],
        *[pytest.param("path", each.values[0], id=f"path: {each.id}") for each in BAD_PATHS],
        *[pytest.param("short_description", each.values[0], id=f"description: {each.id}") for each in BAD_TEXTS],
    ],
)
def test_a_project_with_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"repository_name": "a/b", "path": "/srv", "short_description": "", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(projects.create, **values)
    assert caught.value.field == field


# Get, find, list


def test_a_missing_project_is_not_found(lasting_store: Store) -> None:
    assert lasting_store.query(projects.find, "no/where") is None
    for operation in (projects.get, projects.contents):
        with pytest.raises(NotFound) as caught:
            lasting_store.query(operation, "no/where")
        assert (caught.value.entity, caught.value.key) == ("project", "no/where")


@pytest.mark.parametrize(
    "operation", [projects.get, projects.find, projects.contents, projects.update, projects.delete]
)
@pytest.mark.parametrize("name", [*BAD_IDS, NOTHING])
def test_a_project_lookup_by_an_invalid_name_is_refused(lasting_store: Store, operation: Any, name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, name)
    assert caught.value.field == "repository_name"


def test_projects_are_paged_newest_first_ties_by_name(store: Store, other: Store) -> None:
    instants = [EPOCH + timedelta(seconds=second) for second in (3, 1, 3, 2, 1, 3)]
    made = make_many(store, ProjectFactory, *[{"created_at": instant} for instant in instants])
    expected = sorted(made, key=lambda each: (each.created_at, each.repository_name), reverse=True)
    first = other.query(projects.page, limit=4)
    second = other.query(projects.page, limit=4, cursor=first.next_cursor)
    assert first.items + second.items == expected


@pytest.mark.parametrize("limit", cases(none=0, too_many=1001, true=True, text="5"))
def test_an_invalid_page_limit_of_projects_is_refused(lasting_store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(projects.page, limit=limit)
    assert caught.value.field == "limit"


# Update


@pytest.mark.parametrize(
    "changes",
    cases(
        a_path={"path": "/srv/moved"},
        a_description={"short_description": "Sells."},
        both={"path": "/srv/moved", "short_description": "Sells."},
        no_description_any_more={"short_description": None},
    ),
)
def test_updating_a_project_changes_only_the_given_values(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, changes: dict[str, Any]
) -> None:
    made, bystander = make_many(timed_store, ProjectFactory, {}, {}, short_description="Once.")
    timed_clock.advance(minutes=1)
    changed = timed_store.run(projects.update, made.repository_name, **changes)
    assert columns_of(changed) == columns_of(made) | changes | {"updated_at": timed_clock.instant}
    assert columns_of(lasting_other.query(projects.get, made.repository_name)) == columns_of(changed)
    assert lasting_other.query(projects.get, bystander.repository_name) == bystander


def test_updating_a_project_without_changes_writes_nothing(timed_store: Store, project: Project) -> None:
    with recorded_statements(timed_store) as sent:
        assert timed_store.run(projects.update, project.repository_name) == project
    assert [each.partition(" ")[0] for each in sent] == ["SELECT"]


def test_a_missing_project_cannot_be_updated(lasting_store: Store) -> None:
    for changes in ({}, {"path": "/srv"}):
        with pytest.raises(NotFound):
            lasting_store.run(projects.update, "no/where", **changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("path", each.values[0], id=f"path: {each.id}") for each in BAD_PATHS],
        *[pytest.param("short_description", each.values[0], id=f"description: {each.id}") for each in BAD_TEXTS],
    ],
)
def test_updating_a_project_to_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    change: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(projects.update, "no/where", **change)
    assert caught.value.field == field


# Delete


def test_deleting_a_project_deletes_all_it_owns_and_nothing_else(store: Store, other: Store) -> None:
    with store.begin() as uow:
        fill_project(uow, ProjectFactory.create(uow=uow).repository_name)
    before = dump(other)
    with store.begin() as uow:
        doomed = fill_project(uow, ProjectFactory.create(uow=uow).repository_name)
    said = projects.DeletedProject(worker_types=3, tickets=3, comments=1, workers=1, coordination_events=1)
    assert other.query(projects.contents, doomed.project_id) == said
    assert store.run(projects.delete, doomed.project_id) == said
    assert dump(other) == before


def test_an_empty_project_can_be_deleted(lasting_store: Store, lasting_other: Store) -> None:
    key = make(lasting_store, ProjectFactory).repository_name
    nothing = projects.DeletedProject(worker_types=0, tickets=0, comments=0, workers=0, coordination_events=0)
    assert lasting_store.query(projects.contents, key) == nothing
    assert lasting_store.run(projects.delete, key) == nothing
    assert lasting_other.query(projects.find, key) is None


def test_the_contents_of_a_project_are_counted_in_one_statement(timed_store: Store, project: Project) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.query(projects.contents, project.repository_name)
    assert len(sent) == 1


def test_deleting_a_missing_project_leaves_the_unit_of_work_usable(
    timed_store: Store, lasting_other: Store, project: Project
) -> None:
    with timed_store.begin() as uow:
        with pytest.raises(NotFound, match="no/where"):
            projects.delete(uow, "no/where")
        projects.update(uow, project.repository_name, path="/srv/moved")
    assert lasting_other.query(projects.get, project.repository_name).path == "/srv/moved"


ROUNDS = 5


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_a_project_can_be_deleted_during_writes_to_it(lasting_store: Store, lasting_other: Store) -> None:
    """Nobody is given a deadlock, and nothing of the project is left: everybody locks in one order."""

    def work(store: Store, number: int) -> object:
        steps: list[Any] = [
            lambda uow: projects.delete(uow, at.project_id),
            lambda uow: tickets.claim(uow, at.ticket_id, at.worker_id),
            lambda uow: tickets.complete_stage(uow, at.held_id, "writer", worker_id=at.worker_id, comment="Done."),
            lambda uow: workers.set_status(uow, at.worker_id, "failed", reason="gone"),
            lambda uow: comments.add(uow, at.ticket_id, "Still here?"),
            lambda uow: tickets.create(uow, new_id(), at.project_id, "new", "To be done.", PLAN),
            lambda uow: tickets.reopen_stage(uow, at.written_id, "writer"),
            lambda uow: workers.heartbeat(uow, at.worker_id, lease_seconds=60),
        ]
        # Not store.run, which would try again after a deadlock.
        try:
            with store.begin() as uow:
                steps[number](uow)
        except (NotFound, IllegalTransition, AlreadyClaimed) as refused:
            return type(refused).__name__
        return "done"

    for _ in range(ROUNDS):
        with lasting_store.begin() as uow:
            at = fill_project(uow, ProjectFactory.create(uow=uow).repository_name)
        assert len(at_once(lasting_store, lasting_other, work=work)) == THREADS
        assert lasting_other.query(projects.find, at.project_id) is None
        assert lasting_other.query(tickets.find, at.ticket_id) is None
