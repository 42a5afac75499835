"""Firing: counted, stamped, switched off where one-shot, and written into history."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import cases
from tests.services.scene import dump, make, make_many, params_of
from tests.services.variants import ACTIONS, FIRING, called
from vibeweaver_store import (
    IllegalTransition,
    InvalidInput,
    NotFound,
    Priority,
    Rule,
    Session,
    Store,
    actions,
    history,
    rules,
    signals,
    triggers,
)
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger
from vibeweaver_store.testing import EPOCH, RuleFactory, SettableClock, columns_of

TICK = signals.BeatTick(beat=8)


@pytest.fixture
def rule(store: Store, jam: Session) -> Rule:
    """A rule that every fourth beat fires."""
    return make(store, RuleFactory, session_id=jam.id)


# Fire


@pytest.mark.parametrize(("trigger", "signal"), FIRING, ids=called)
def test_a_signal_fires_the_rules_it_matches(lasting_store: Store, trigger: Trigger, signal: Signal) -> None:
    rule = make(lasting_store, RuleFactory, trigger=trigger)
    (firing,) = lasting_store.run(rules.fire, rule.session_id, signal)
    assert (firing.rule.id, firing.signal) == (rule.id, signal)


@pytest.mark.parametrize("action", ACTIONS, ids=called)
def test_a_firing_hands_the_action_to_the_caller(lasting_store: Store, action: Action) -> None:
    rule = make(lasting_store, RuleFactory, action=action)
    (firing,) = lasting_store.run(rules.fire, rule.session_id, TICK)
    assert firing.action == action


def test_firing_a_rule_counts_and_stamps_it_and_changes_nothing_else(
    store: Store, other: Store, rule: Rule, clock: SettableClock
) -> None:
    store.run(rules.fire, rule.session_id, TICK)
    assert columns_of(other.query(rules.get, rule.id)) == columns_of(rule) | {
        "fired_count": 1,
        "last_fired_at": clock.instant,
    }


def test_a_firing_tells_when_it_was(store: Store, rule: Rule, clock: SettableClock) -> None:
    (firing,) = store.run(rules.fire, rule.session_id, TICK)
    assert firing.fired_at == clock.instant


def test_a_rule_fires_again_and_again(store: Store, other: Store, rule: Rule, clock: SettableClock) -> None:
    for _ in range(3):
        clock.advance(seconds=1)
        store.run(rules.fire, rule.session_id, TICK)
    found = other.query(rules.get, rule.id)
    assert (found.fired_count, found.last_fired_at) == (3, clock.instant)


def test_every_firing_of_a_rule_counts_within_one_unit_of_work(store: Store, other: Store, rule: Rule) -> None:
    with store.begin() as uow:
        counts = [rules.fire(uow, rule.session_id, TICK)[0].rule.fired_count for _ in range(3)]
    assert counts == [1, 2, 3]
    assert other.query(rules.get, rule.id).fired_count == 3


@pytest.mark.parametrize("one_shot", [True, False])
@pytest.mark.parametrize("fired_count", [0, 7])
def test_a_firing_returns_the_rule_as_stored(store: Store, other: Store, one_shot: bool, fired_count: int) -> None:
    rule = make(store, RuleFactory, one_shot=one_shot, fired_count=fired_count)
    (firing,) = store.run(rules.fire, rule.session_id, TICK)
    assert columns_of(firing.rule) == columns_of(other.query(rules.get, rule.id))


def test_a_one_shot_rule_disables_itself(store: Store, other: Store) -> None:
    rule = make(store, RuleFactory, one_shot=True)
    store.run(rules.fire, rule.session_id, TICK)
    found = other.query(rules.get, rule.id)
    assert (found.enabled, found.fired_count) == (False, 1)


def test_a_one_shot_rule_fires_once(store: Store) -> None:
    rule = make(store, RuleFactory, one_shot=True)
    with store.begin() as uow:
        fired = [len(rules.fire(uow, rule.session_id, TICK)) for _ in range(2)]
    assert [*fired, len(store.run(rules.fire, rule.session_id, TICK))] == [1, 0, 0]


def test_a_one_shot_rule_enabled_again_fires_again(store: Store, other: Store) -> None:
    rule = make(store, RuleFactory, one_shot=True)
    store.run(rules.fire, rule.session_id, TICK)
    store.run(rules.set_enabled, rule.id, True)
    store.run(rules.fire, rule.session_id, TICK)
    assert other.query(rules.get, rule.id).fired_count == 2


def test_firings_are_sorted_by_priority_then_age(store: Store, jam: Session) -> None:
    made = make_many(
        store,
        RuleFactory,
        *[
            {"priority": priority, "created_at": EPOCH + timedelta(seconds=age)}
            for priority, age in [(4, 0), (2, 1), (0, 9), (2, 0), (2, 1)]
        ],
        session_id=jam.id,
    )
    expected = sorted(made, key=lambda rule: (rule.priority, rule.created_at, rule.id))
    fired = store.run(rules.fire, jam.id, TICK)
    assert [firing.rule.id for firing in fired] == [rule.id for rule in expected]


def test_a_signal_that_matches_nothing_changes_nothing(store: Store, other: Store, rule: Rule) -> None:
    before = dump(other)
    assert store.run(rules.fire, rule.session_id, signals.BeatTick(beat=7)) == []
    assert dump(other) == before


def test_firing_counts_only_the_rules_that_match(store: Store, other: Store, jam: Session) -> None:
    four, three = make_many(
        store, RuleFactory, *[{"trigger": triggers.Beat(divisor=n)} for n in (4, 3)], session_id=jam.id
    )
    store.run(rules.fire, jam.id, TICK)
    assert other.query(rules.get, four.id).fired_count == 1
    assert other.query(rules.get, three.id) == three


def test_firing_in_a_missing_session_is_an_error(lasting_store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.run(rules.fire, "nowhere", TICK)
    assert (caught.value.entity, caught.value.key) == ("session", "nowhere")


@pytest.mark.parametrize("depth", [50, 97, 98, 99, 100])
def test_an_accepted_rule_can_fire_however_deep_its_documents(store: Store, jam: Session, depth: int) -> None:
    # History repeats the action one level further down, and takes 100 levels.
    inference: Any = 1
    for _ in range(depth):
        inference = [inference]
    with suppress(InvalidInput):
        store.run(rules.add, jam.id, triggers.Beat(divisor=4), actions.Sample(space="drums", inference=inference))
    taken = store.query(rules.by_trigger, jam.id, "beat")
    assert [firing.rule.id for firing in store.run(rules.fire, jam.id, TICK)] == [rule.id for rule in taken]


# History


def test_a_firing_is_logged_in_history(store: Store, other: Store, rule: Rule, clock: SettableClock) -> None:
    store.run(rules.fire, rule.session_id, TICK)
    (entry,) = other.query(history.recent, rule.session_id)
    assert columns_of(entry) == {
        "id": entry.id,
        "session_id": rule.session_id,
        "action": "rule.fired",
        "params": {
            "rule_id": rule.id,
            "trigger": {"type": "beat", "divisor": 4},
            "action": rule.action.model_dump(),
            "signal": {"type": "beat_tick", "beat": 8},
        },
        "result": None,
        "success": True,
        "created_at": clock.instant,
    }


@pytest.mark.parametrize(("trigger", "signal"), FIRING, ids=called)
def test_history_says_which_signal_fired_which_trigger(lasting_store: Store, trigger: Trigger, signal: Signal) -> None:
    rule = make(lasting_store, RuleFactory, trigger=trigger)
    lasting_store.run(rules.fire, rule.session_id, signal)
    (entry,) = lasting_store.query(history.recent, rule.session_id)
    assert (params_of(entry)["trigger"], params_of(entry)["signal"]) == (
        trigger.model_dump(mode="json"),
        signal.model_dump(mode="json"),
    )


def test_firings_are_logged_in_history_in_order(store: Store, other: Store, jam: Session) -> None:
    make_many(store, RuleFactory, *[{"priority": priority} for priority in reversed(Priority)], session_id=jam.id)
    fired = store.run(rules.fire, jam.id, TICK)
    entries = other.query(history.page, jam.id, oldest_first=True).items
    assert [params_of(entry)["rule_id"] for entry in entries] == [firing.rule.id for firing in fired]


# Statements


@pytest.mark.parametrize("matching", [1, 300])
@pytest.mark.parametrize("one_shot", [True, False])
def test_firing_takes_five_statements_for_any_number_of_rules(
    store: Store, jam: Session, matching: int, one_shot: bool
) -> None:
    new = rules.NewRule(triggers.Beat(divisor=4), actions.Play(), one_shot=one_shot)
    store.run(rules.add_many, jam.id, [new] * matching)
    with recorded_statements(store) as sent:
        assert len(store.run(rules.fire, jam.id, TICK)) == matching
    assert len(sent) == 5


@pytest.mark.parametrize("listed", [1, 300])
def test_a_page_of_rules_takes_one_statement_however_many_there_are(store: Store, jam: Session, listed: int) -> None:
    store.run(rules.add_many, jam.id, [rules.NewRule(triggers.Beat(divisor=4), actions.Play())] * listed)
    with recorded_statements(store) as sent:
        assert len(store.query(rules.page_by_session, jam.id, limit=1000).items) == listed
    assert len(sent) == 1


# Mark fired


def test_marking_a_rule_fired_counts_and_stamps_it_and_changes_nothing_else(
    store: Store, other: Store, rule: Rule, clock: SettableClock
) -> None:
    marked = store.run(rules.mark_fired, rule.id)
    assert columns_of(marked) == columns_of(rule) | {"fired_count": 1, "last_fired_at": clock.instant}
    assert other.query(rules.get, rule.id) == marked


def test_marking_a_rule_fired_stamps_the_given_instant(store: Store, other: Store, rule: Rule) -> None:
    kolkata = datetime(2026, 1, 1, 18, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store.run(rules.mark_fired, rule.id, kolkata)
    assert other.query(rules.get, rule.id).last_fired_at == datetime(2026, 1, 1, 13, 0, tzinfo=UTC)


def test_marking_a_one_shot_rule_fired_disables_it(store: Store, other: Store) -> None:
    rule = make(store, RuleFactory, one_shot=True)
    store.run(rules.mark_fired, rule.id)
    assert other.query(rules.get, rule.id).enabled is False


def test_marking_a_rule_fired_is_logged_in_history_without_a_signal(store: Store, other: Store, rule: Rule) -> None:
    store.run(rules.mark_fired, rule.id)
    (entry,) = other.query(history.recent, rule.session_id)
    assert (entry.action, params_of(entry)["rule_id"], params_of(entry)["signal"]) == ("rule.fired", rule.id, None)


@pytest.mark.parametrize(
    ("values", "current"),
    [
        ({"enabled": False}, "disabled"),
        ({"trigger": triggers.Deadline(beat=8.0), "fired_count": 1}, "fired"),
    ],
    ids=["a disabled rule", "a deadline that has fired"],
)
def test_a_rule_that_cannot_fire_cannot_be_marked_fired(
    store: Store, other: Store, values: dict[str, Any], current: str
) -> None:
    rule = make(store, RuleFactory, **values)
    before = dump(other)
    with pytest.raises(IllegalTransition) as caught:
        store.run(rules.mark_fired, rule.id)
    assert (caught.value.entity, caught.value.key, caught.value.current) == ("rule", rule.id, current)
    assert dump(other) == before


def test_a_deadline_rule_is_marked_fired_once(store: Store) -> None:
    rule = make(store, RuleFactory, trigger=triggers.Deadline(beat=8.0))
    store.run(rules.mark_fired, rule.id)
    with pytest.raises(IllegalTransition):
        store.run(rules.mark_fired, rule.id)


@pytest.mark.parametrize(
    "at",
    cases(
        naive=datetime(2026, 1, 1),  # noqa: DTZ001 - the point
        text="2026-01-01T00:00:00Z",
        a_number=0,
        beyond_the_calendar=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        before_the_calendar=datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ),
)
def test_marking_a_rule_fired_at_an_invalid_instant_is_refused(store: Store, other: Store, rule: Rule, at: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        store.run(rules.mark_fired, rule.id, at)
    assert caught.value.field == "at"
    assert other.query(rules.get, rule.id) == rule
