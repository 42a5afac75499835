"""Removing coordination events: one by its id, or those that were processed long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import BACKENDS, recorded_statements
from tests.services.bad_input import cases
from tests.services.scene import make, make_many
from tests.services.test_coordination import BAD_KEYS
from vibeweaver_store import CoordinationEvent, InvalidInput, NotFound, Store, coordination
from vibeweaver_store.testing import CoordinationEventFactory, SettableClock

HOUR = timedelta(hours=1)


def recorded(store: Store, clock: SettableClock, *ago: timedelta, processed: bool = True) -> list[CoordinationEvent]:
    """Events that were recorded so long ago."""
    each = [{"created_at": clock.instant - span} for span in ago]
    return make_many(store, CoordinationEventFactory, *each, processed=processed)


def left(store: Store, made: list[CoordinationEvent]) -> list[CoordinationEvent]:
    return [event for event in made if event.id is not None and store.query(coordination.find, event.id) is not None]


# Delete


def test_a_deleted_coordination_event_is_gone_and_no_other(lasting_store: Store, lasting_other: Store) -> None:
    doomed, kept = make_many(lasting_store, CoordinationEventFactory, {"processed": False}, {"processed": True})
    lasting_store.run(coordination.delete, doomed.id or 0)
    assert left(lasting_other, [doomed, kept]) == [kept]


def test_deletion_of_an_unknown_event_does_not_undo_the_unit_of_work(lasting_store: Store) -> None:
    event = make(lasting_store, CoordinationEventFactory)
    with lasting_store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            coordination.delete(uow, 10**9)
        coordination.mark_processed(uow, [event.id or 0])
    assert (caught.value.entity, caught.value.key) == ("coordination event", 10**9)
    assert lasting_store.query(coordination.get, event.id or 0).processed


@pytest.mark.parametrize("event_id", BAD_KEYS)
def test_deletion_by_an_invalid_event_id_is_refused(lasting_store: Store, event_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(coordination.delete, event_id)
    assert caught.value.field == "event_id"


# Prune


def test_processed_events_are_pruned_once_they_are_old_enough(store: Store, other: Store, clock: SettableClock) -> None:
    _, exactly, shorter = made = recorded(store, clock, HOUR + timedelta(microseconds=1), HOUR, timedelta())
    assert store.query(coordination.prunable, HOUR) == 1
    assert store.run(coordination.prune, HOUR) == 1
    assert left(other, made) == [exactly, shorter]
    assert store.query(coordination.prunable, HOUR) == 0
    assert store.run(coordination.prune, HOUR) == 0


def test_unprocessed_events_are_kept_however_old(store: Store, clock: SettableClock) -> None:
    made = recorded(store, clock, 9 * HOUR, processed=False)
    assert store.query(coordination.prunable, HOUR) == 0
    assert store.run(coordination.prune, HOUR) == 0
    assert left(store, made) == made


def test_the_oldest_events_are_pruned_first_up_to_the_limit(store: Store, clock: SettableClock) -> None:
    made = recorded(store, clock, *[2 * HOUR] * 3)
    assert store.run(coordination.prune, HOUR, limit=2) == 2
    assert left(store, made) == [made[-1]]
    assert [store.run(coordination.prune, HOUR, limit=2) for _ in range(2)] == [1, 0]


def test_a_prune_of_events_is_one_statement(timed_store: Store, timed_clock: SettableClock) -> None:
    recorded(timed_store, timed_clock, *[2 * HOUR] * 5)
    with recorded_statements(timed_store) as sent:
        timed_store.run(coordination.prune, HOUR)
    assert len(sent) == 1


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_an_event_that_another_unit_of_work_deletes_is_passed_over(
    store: Store, other: Store, clock: SettableClock
) -> None:
    held, _ = recorded(store, clock, 2 * HOUR, 2 * HOUR)
    with other.begin() as uow:
        coordination.delete(uow, held.id or 0)
        assert store.run(coordination.prune, HOUR) == 1


@pytest.mark.parametrize("operation", [coordination.prune, coordination.prunable])
@pytest.mark.parametrize(
    "older_than",
    cases(
        nothing=None,
        seconds=60,
        text="7d",
        below_zero=timedelta(microseconds=-1),
        longer_than_time=timedelta.max,
        a_mapping={True: HOUR},
    ),
)
def test_an_invalid_age_of_events_is_refused(lasting_store: Store, operation: Any, older_than: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, older_than)
    assert caught.value.field == "older_than"


@pytest.mark.parametrize("limit", cases(zero=0, below=-1, too_many=1001, true=True, text="1", nothing=None))
def test_an_invalid_limit_of_an_event_prune_is_refused(lasting_store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(coordination.prune, HOUR, limit=limit)
    assert caught.value.field == "limit"
