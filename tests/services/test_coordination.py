"""Coordination events: recorded in the order of commits, and each taken by one coordinator, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from tests.conftest import BACKENDS, recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, BAD_NAMES, BAD_TEXTS, VERBATIM, cases
from tests.services.scene import dump, make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import (
    CoordinationEvent,
    CoordinationEventType,
    InvalidInput,
    NotFound,
    Store,
    coordination,
    projects,
)
from vibeweaver_store.testing import CoordinationEventFactory, ProjectFactory, SettableClock, columns_of

BAD_KEYS = cases(nothing=None, below_zero=-1, text="1", true=True, a_float=1.0, too_great=2**63)


def record(store: Store, count: int, **values: Any) -> list[int]:
    """The keys of so many events, which nobody has taken."""
    return keys_of(make_many(store, CoordinationEventFactory, *[{}] * count, **values))


def keys_of(events: Iterable[CoordinationEvent]) -> list[int]:
    return [event.id for event in events if event.id is not None]


# Record


def test_a_new_coordination_event_has_the_values_it_was_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock
) -> None:
    project = make(timed_store, ProjectFactory).repository_name
    values = {"project_id": project, "ticket_id": "T-1", "worker_id": "w-1", "stage": "writer", "reason": "done"}
    made = timed_store.run(coordination.record, "ticket_stage_completed", **values)
    assert made.id is not None
    assert columns_of(lasting_other.query(coordination.get, made.id)) == columns_of(made)
    assert columns_of(made) == {
        **values,
        "id": made.id,
        "event_type": CoordinationEventType.TICKET_STAGE_COMPLETED,
        "created_at": timed_clock.instant,
        "processed": False,
        "import_id": None,
    }


def test_a_coordination_event_needs_only_a_type(lasting_store: Store) -> None:
    made = lasting_store.run(coordination.record, CoordinationEventType.WORKER_STOPPED)
    assert (made.project_id, made.ticket_id, made.worker_id, made.stage, made.reason) == (None,) * 5


@pytest.mark.parametrize("text", VERBATIM)
def test_coordination_event_texts_are_kept_verbatim(lasting_store: Store, lasting_other: Store, text: str) -> None:
    values = {"ticket_id": text, "worker_id": text, "stage": text, "reason": text}
    made = lasting_store.run(coordination.record, "worker_stopped", **values)
    assert made.id is not None
    found = lasting_other.query(coordination.get, made.id)
    assert {name: getattr(found, name) for name in values} == values


def test_an_event_of_a_missing_project_leaves_the_unit_of_work_usable(
    lasting_store: Store, lasting_other: Store
) -> None:
    with lasting_store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            coordination.record(uow, "worker_stopped", project_id="no/where")
        made = coordination.record(uow, "worker_stopped")
    assert (caught.value.entity, caught.value.key) == ("project", "no/where")
    assert made.id is not None
    assert lasting_other.query(coordination.find, made.id) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("event_type", value, id=f"type: {value}") for value in (None, "worker_started", 1, "")],
        *[
            pytest.param(field, each.values[0], id=f"{field}: {each.id}")
            for field, bad in (
                ("project_id", BAD_IDS[-4:]),
                ("ticket_id", BAD_IDS[-4:]),
                ("worker_id", BAD_IDS[-4:]),
                ("stage", BAD_NAMES[-5:]),
                ("reason", BAD_TEXTS),
            )
            for each in bad
        ],
    ],
)
def test_a_coordination_event_with_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"event_type": "worker_stopped", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(coordination.record, **values)
    assert caught.value.field == field


def test_coordination_events_are_deleted_with_their_project(lasting_store: Store, lasting_other: Store) -> None:
    project = make(lasting_store, ProjectFactory).repository_name
    (own,), (of_none,) = record(lasting_store, 1, project_id=project), record(lasting_store, 1)
    lasting_store.run(projects.delete, project)
    assert lasting_other.query(coordination.find, own) is None
    assert lasting_other.query(coordination.find, of_none) is not None


# Get, find, list


def test_a_missing_coordination_event_is_not_found(lasting_store: Store) -> None:
    assert lasting_store.query(coordination.find, 10**9) is None
    with pytest.raises(NotFound) as caught:
        lasting_store.query(coordination.get, 10**9)
    assert (caught.value.entity, caught.value.key) == ("coordination event", 10**9)


@pytest.mark.parametrize("event_id", BAD_KEYS)
@pytest.mark.parametrize("operation", [coordination.get, coordination.find])
def test_a_coordination_event_lookup_by_an_invalid_key_is_refused(
    lasting_store: Store, operation: Any, event_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, event_id)
    assert caught.value.field == "event_id"


@pytest.fixture
def some(store: Store) -> tuple[str, list[int]]:
    """The name of a project, and the keys of events: of it and of none, in turn; the first four were taken."""
    project = make(store, ProjectFactory).repository_name
    with store.begin() as uow:
        made = [coordination.record(uow, "worker_stopped", project_id=project if n % 2 else None) for n in range(8)]
        coordination.mark_processed(uow, keys_of(made[:4]))
    return project, keys_of(made)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"newest_first": True}, [7, 6, 5, 4, 3, 2, 1, 0]),
        ({"processed": True}, [0, 1, 2, 3]),
        ({"processed": False}, [4, 5, 6, 7]),
        ({"project": True}, [1, 3, 5, 7]),
        ({"project": True, "processed": True}, [1, 3]),
        ({"project": True, "processed": False, "newest_first": True}, [7, 5]),
        ({"project": "no/where"}, []),
    ],
    ids=str,
)
def test_coordination_events_are_paged_in_the_order_recorded(
    store: Store, some: tuple[str, list[int]], filters: dict[str, Any], expected: list[int]
) -> None:
    project, keys = some
    given = {**filters, "project": project} if filters.get("project") is True else filters
    first = store.query(coordination.page, limit=3, **given)
    found = list(first.items)
    if first.next_cursor is not None:
        found += store.query(coordination.page, cursor=first.next_cursor, **given).items
    assert keys_of(found) == [keys[n] for n in expected]


def test_listing_unprocessed_events_does_not_take_them(store: Store, some: tuple[str, list[int]]) -> None:
    _, keys = some
    for _ in range(2):
        assert keys_of(store.query(coordination.unprocessed).items) == keys[4:]
    first = store.query(coordination.unprocessed, limit=3)
    assert keys_of(store.query(coordination.unprocessed, cursor=first.next_cursor).items) == keys[7:]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("processed", each.values[0], id=f"processed: {each.id}") for each in BAD_BOOLEANS[1:]],
        *[pytest.param("newest_first", each.values[0], id=f"order: {each.id}") for each in BAD_BOOLEANS],
        *[pytest.param("project", each.values[0], id=f"project: {each.id}") for each in BAD_IDS[-3:]],
        ("limit", 0),
        ("cursor", "?"),
    ],
)
def test_an_invalid_filter_of_coordination_events_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    given: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(coordination.page, **given)
    assert caught.value.field == field


# Mark as processed


def test_marking_events_processed_counts_only_newly_marked_ones(lasting_store: Store, lasting_other: Store) -> None:
    (first, second, third), (done,) = record(lasting_store, 3), record(lasting_store, 1, processed=True)
    assert lasting_store.run(coordination.mark_processed, [second, done, first, second, 10**9]) == 2
    assert lasting_store.run(coordination.mark_processed, [first, second, done]) == 0
    found = [lasting_other.query(coordination.get, key).processed for key in (first, second, third, done)]
    assert found == [True, True, False, True]


def test_marking_an_event_processed_changes_nothing_else(lasting_store: Store, lasting_other: Store) -> None:
    event = make(lasting_store, CoordinationEventFactory)
    assert event.id is not None
    lasting_store.run(coordination.mark_processed, [event.id])
    assert columns_of(lasting_other.query(coordination.get, event.id)) == columns_of(event) | {"processed": True}


def test_marking_no_events_sends_no_statement(lasting_store: Store) -> None:
    with recorded_statements(lasting_store) as sent:
        assert lasting_store.run(coordination.mark_processed, []) == 0
    assert sent == []


def test_many_events_are_marked_processed_at_once(lasting_store: Store) -> None:
    keys = record(lasting_store, 5)
    beyond = range(10**9, 10**9 + 40_000)  # more than a statement can name
    assert lasting_store.run(coordination.mark_processed, [*beyond, *keys]) == 5


@pytest.mark.parametrize(
    "ids", [*BAD_KEYS, *cases(text="12", of_texts=["1"], of_nothing=[None], below=[1, -1], flags=[True])]
)
def test_marking_events_by_invalid_keys_is_refused(lasting_store: Store, ids: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(coordination.mark_processed, ids)
    assert caught.value.field == "ids"


# Take


def test_events_are_taken_oldest_first_and_only_once(store: Store, other: Store) -> None:
    keys = record(store, 5)
    taken = [store.run(coordination.take, 2) for _ in range(4)]
    assert [keys_of(events) for events in taken] == [keys[:2], keys[2:4], keys[4:], []]
    assert {event.processed for events in taken for event in events} == {True}
    assert other.query(coordination.unprocessed).items == []


def test_taking_events_is_one_statement(store: Store) -> None:
    record(store, 3)
    with recorded_statements(store) as sent:
        store.run(coordination.take)
    assert len(sent) == 1


def test_events_marked_processed_are_not_taken(store: Store) -> None:
    first, second, third = record(store, 3)
    store.run(coordination.mark_processed, [second])
    assert keys_of(store.run(coordination.take)) == [first, third]


def test_events_taken_in_a_failed_unit_of_work_can_be_taken_again(store: Store, other: Store) -> None:
    keys = record(store, 2)
    before = dump(other)
    with pytest.raises(ZeroDivisionError), store.begin() as uow:
        assert keys_of(coordination.take(uow)) == keys
        raise ZeroDivisionError
    assert dump(other) == before
    assert keys_of(store.run(coordination.take)) == keys


@pytest.mark.parametrize("limit", cases(none=0, below_zero=-1, too_many=1001, true=True, text="5", nothing=None))
def test_an_invalid_limit_of_events_to_take_is_refused(lasting_store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(coordination.take, limit)
    assert caught.value.field == "limit"


# At once


@pytest.mark.parametrize("drive", ["sync"])
def test_concurrent_takers_get_different_events_in_order(store: Store, other: Store) -> None:
    keys = record(store, 100)

    def work(each: Store, _: int) -> list[int]:
        taken: list[int] = []
        while events := each.run(coordination.take, 3):
            taken += keys_of(events)
        return taken

    given = at_once(store, other, work=work)
    assert sorted(key for taken in given for key in taken) == keys
    assert [taken == sorted(taken) for taken in given] == [True] * THREADS


@pytest.mark.parametrize("drive", ["sync"])
def test_taking_and_marking_events_concurrently_do_not_deadlock(store: Store, other: Store) -> None:
    keys = record(store, 100)

    def work(each: Store, number: int) -> int:
        with each.begin() as uow:  # not store.run, which would try again after a deadlock
            if number % 2:
                return len(coordination.take(uow, 50))
            return coordination.mark_processed(uow, keys[::-1])

    assert sum(at_once(store, other, work=work)) == len(keys)


@pytest.mark.parametrize("drive", ["sync"])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_coordination_event_keys_are_in_commit_order(store: Store, other: Store) -> None:
    """Else a coordinator would be given an older event behind a younger one, or never."""
    late: list[int] = []

    def record_late() -> None:
        late.extend(keys_of([other.run(coordination.record, "worker_stopped", reason="second")]))

    second = threading.Thread(target=record_late)
    with store.begin() as uow:
        first = coordination.record(uow, "worker_stopped", reason="first")
        second.start()
        second.join(timeout=0.2)
        assert late == []
    second.join(timeout=30)
    assert [*keys_of([first]), *late] == keys_of(store.query(coordination.unprocessed).items)
    assert late[0] > (first.id or 0)


@pytest.mark.parametrize("drive", ["sync"])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_a_taker_of_events_waits_for_another_and_gets_the_rest(store: Store, other: Store) -> None:
    keys = record(store, 4)
    taken: list[int] = []
    second = threading.Thread(target=lambda: taken.extend(keys_of(other.run(coordination.take, 3))))
    with store.begin() as uow:
        assert keys_of(coordination.take(uow, 2)) == keys[:2]
        second.start()
        second.join(timeout=0.2)
        assert taken == []
    second.join(timeout=30)
    assert taken == keys[2:]
