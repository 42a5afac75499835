"""Deadlines: which rules' work must start now, and when to look again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col

from tests.services.bad_input import BAD_BEATS, BAD_IDS
from tests.services.scene import make, make_many
from tests.services.variants import TRIGGERS
from vibeweaver_store import (
    CorruptData,
    InvalidInput,
    NotFound,
    Priority,
    Rule,
    Session,
    SessionKind,
    Store,
    actions,
    rules,
    sessions,
    stats,
    triggers,
)
from vibeweaver_store.models.actions import Action
from vibeweaver_store.testing import RuleFactory, SessionFactory

DRUMS = actions.Sample(space="drums")
END = 1e6
"""A position after every deadline here."""


def deadline(beat: float, action: Action = DRUMS, **values: Any) -> dict[str, Any]:
    return {"trigger": triggers.Deadline(beat=beat), "action": action, **values}


def start_of(store: Store, rule: Rule) -> float:
    (due,) = store.query(rules.due, rule.session_id, END)
    assert due.rule == rule
    return due.start_by_beat


# The formula: deadline - estimate x tempo / 60,000 x margin


def test_a_deadline_rule_of_an_unknown_space_is_estimated_at_five_seconds(
    store: Store, other: Store, jam: Session
) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, **deadline(64.0))
    (due,) = other.query(rules.due, jam.id, 54.0)
    assert (due.rule, due.deadline_beat, due.estimate_ms, due.start_by_beat) == (rule, 64.0, 5000.0, 54.0)


@pytest.mark.parametrize(
    ("priority", "start"),
    [
        (Priority.CRITICAL, 49.0),
        (Priority.HIGH, 52.0),
        (Priority.NORMAL, 54.0),
        (Priority.LOW, 54.0),
        (Priority.IDLE, 54.0),
    ],
)
def test_a_deadline_rule_of_higher_priority_starts_earlier(
    store: Store, jam: Session, priority: Priority, start: float
) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, **deadline(64.0, priority=priority))
    assert start_of(store, rule) == start


def test_a_deadline_rule_estimate_excludes_the_margin(store: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id, **deadline(64.0, priority=Priority.CRITICAL))
    assert store.query(rules.due, jam.id, END)[0].estimate_ms == 5000.0


@pytest.mark.parametrize(("tempo", "start"), [(1.0, 64 - 1 / 12), (60.0, 59.0), (120.0, 54.0), (999.0, -19.25)])
def test_a_deadline_rule_starts_earlier_at_a_faster_tempo(store: Store, tempo: float, start: float) -> None:
    session = make(store, SessionFactory, tempo_bpm=tempo)
    rule = make(store, RuleFactory, session_id=session.id, **deadline(64.0))
    assert start_of(store, rule) == pytest.approx(start, abs=1e-9)


def test_a_new_tempo_moves_the_start_of_a_deadline_rule(store: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, **deadline(64.0))
    store.run(sessions.update, jam.id, tempo_bpm=60.0)
    assert start_of(store, rule) == 59.0


@pytest.mark.parametrize(
    "action",
    [DRUMS, actions.SampleAndSchedule(space="drums", at=64.0)],
    ids=["sample", "sample and schedule"],
)
def test_a_deadline_rule_estimate_is_the_average_of_its_space(store: Store, jam: Session, action: Action) -> None:
    for duration_ms in (1000, 3000):
        store.run(stats.record, "drums", duration_ms)
    store.run(stats.record, "bass", 60_000)
    rule = make(store, RuleFactory, session_id=jam.id, **deadline(64.0, action))
    assert start_of(store, rule) == 60.0


@pytest.mark.parametrize(
    "action",
    [
        actions.Schedule(content_hash="00ff", at=64.0),
        actions.Play(),
        actions.Seek(beat=0.0),
        actions.Audition(content_hash="00ff", duration=4.0),
        actions.Notify(message="drop"),
    ],
    ids=lambda action: action.type,
)
def test_a_deadline_rule_that_generates_nothing_starts_at_its_deadline(
    store: Store, jam: Session, action: Action
) -> None:
    make(store, RuleFactory, session_id=jam.id, **deadline(64.0, action, priority=Priority.CRITICAL))
    (due,) = store.query(rules.due, jam.id, END)
    assert (due.estimate_ms, due.start_by_beat) == (0.0, 64.0)


@given(
    beat=st.floats(0, 1e6),
    tempo=st.floats(1, 999),
    priority=st.sampled_from(Priority),
    durations=st.lists(st.integers(0, 600_000), max_size=5),
)
def test_the_start_of_a_deadline_rule_follows_the_formula(
    lasting_store: Store, beat: float, tempo: float, priority: Priority, durations: list[int]
) -> None:
    session = make(lasting_store, SessionFactory, tempo_bpm=tempo)
    for duration_ms in durations:
        lasting_store.run(stats.record, session.id, duration_ms)  # a space of its own
    action = actions.Sample(space=session.id)
    rule = make(lasting_store, RuleFactory, session_id=session.id, **deadline(beat, action, priority=priority))
    expected_ms = sum(durations) / len(durations) if durations else 5000
    margin = {Priority.CRITICAL: 1.5, Priority.HIGH: 1.2}.get(priority, 1.0)
    assert start_of(lasting_store, rule) == pytest.approx(beat - expected_ms * tempo / 60_000 * margin, rel=1e-9)


# Due


def test_a_deadline_rule_is_due_from_its_start_on(store: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, **deadline(64.0))
    positions = [0.0, math.nextafter(54.0, 0), 54.0, 63.9, 64.0, END]
    found = [[due.rule for due in store.query(rules.due, jam.id, position)] for position in positions]
    assert found == [[], [], [rule], [rule], [rule], [rule]]


def test_a_deadline_rule_with_a_start_before_beat_zero_is_due_at_once(store: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id, **deadline(4.0))
    (due,) = store.query(rules.due, jam.id, 0)
    assert due.start_by_beat == -6.0


def test_due_rules_are_sorted_by_start_then_priority(store: Store, jam: Session) -> None:
    late, early, idle, high = make_many(
        store,
        RuleFactory,
        deadline(64.0, actions.Play()),
        deadline(16.0, actions.Play()),
        deadline(32.0, actions.Play(), priority=Priority.IDLE),
        deadline(32.0, actions.Play(), priority=Priority.HIGH),
        session_id=jam.id,
    )
    assert [due.rule for due in store.query(rules.due, jam.id, END)] == [early, high, idle, late]


def test_a_later_deadline_that_takes_longer_is_due_first(store: Store, jam: Session) -> None:
    store.run(stats.record, "orchestra", 60_000)
    short, long = make_many(
        store,
        RuleFactory,
        deadline(64.0),
        deadline(65.0, actions.Sample(space="orchestra")),
        session_id=jam.id,
    )
    assert [due.rule for due in store.query(rules.due, jam.id, END)] == [long, short]


def test_a_deadline_that_has_fired_is_not_due_again(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, **deadline(64.0))
    store.run(rules.mark_fired, rule.id)
    assert other.query(rules.due, jam.id, END) == []


def test_a_disabled_rule_is_not_due(store: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id, **deadline(64.0, enabled=False))
    assert store.query(rules.due, jam.id, END) == []


def test_only_deadline_rules_are_due(store: Store, jam: Session) -> None:
    make_many(store, RuleFactory, *[{"trigger": trigger} for trigger, _ in TRIGGERS], session_id=jam.id)
    assert [due.deadline_beat for due in store.query(rules.due, jam.id, END)] == [64.5]


def test_deadlines_of_other_sessions_are_not_due(store: Store, jam: Session) -> None:
    make(store, RuleFactory, **deadline(64.0))
    assert store.query(rules.due, jam.id, END) == []


# Next due


def test_next_due_of_rules_is_the_first_start_after_the_position(store: Store, jam: Session) -> None:
    make_many(store, RuleFactory, *[deadline(beat) for beat in (64.0, 32.0, 128.0)], session_id=jam.id)
    found = [store.query(rules.next_due, jam.id, position) for position in (0, 21.9, 22.0, 54.0, 100, 118.0, 119)]
    assert found == [22.0, 22.0, 54.0, 118.0, 118.0, None, None]


def test_a_session_without_deadline_rules_has_no_next_due(store: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id)
    assert store.query(rules.next_due, jam.id, 0) is None


@pytest.mark.parametrize("values", [{"enabled": False}, {"fired_count": 1}], ids=["switched off", "fired"])
def test_next_due_of_rules_skips_disabled_and_fired_ones(store: Store, jam: Session, values: dict[str, Any]) -> None:
    make(store, RuleFactory, session_id=jam.id, **deadline(64.0, **values))
    assert store.query(rules.next_due, jam.id, 0) is None


@given(beats=st.lists(st.floats(0, 1000), max_size=8), position=st.floats(0, 1000))
def test_polling_at_next_due_misses_no_deadline_rule(lasting_store: Store, beats: list[float], position: float) -> None:
    session = make(lasting_store, SessionFactory)
    make_many(lasting_store, RuleFactory, *[deadline(beat, actions.Play()) for beat in beats], session_id=session.id)
    looks = 0
    upcoming: float | None = position
    while upcoming is not None:
        position, looks = upcoming, looks + 1
        upcoming = lasting_store.query(rules.next_due, session.id, position)
    assert len(lasting_store.query(rules.due, session.id, position)) == len(beats)
    assert looks <= len(set(beats)) + 1


# Refusals

BOTH = pytest.mark.parametrize("operation", [rules.due, rules.next_due])


@BOTH
@pytest.mark.parametrize("position", BAD_BEATS)
def test_an_invalid_position_for_due_rules_is_refused(
    lasting_store: Store, lasting_jam: Session, operation: Callable[..., object], position: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, lasting_jam.id, position)
    assert caught.value.field == "position_beat"


@BOTH
@pytest.mark.parametrize("session_id", BAD_IDS)
def test_due_rules_of_an_invalid_session_id_are_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.query(operation, session_id, 0)


@BOTH
def test_due_rules_of_a_missing_session_are_an_error(lasting_store: Store, operation: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.query(operation, "nowhere", 0)


@BOTH
def test_due_rules_of_a_session_without_a_tempo_are_refused(
    lasting_store: Store, operation: Callable[..., object]
) -> None:
    session = make(lasting_store, SessionFactory, kind=SessionKind.AGENT, tempo_bpm=None)
    with pytest.raises(InvalidInput, match="no tempo"):
        lasting_store.query(operation, session.id, 0)


def test_a_deadline_rule_with_another_trigger_is_corrupt(store: Store) -> None:
    jam = make(store, SessionFactory, tempo_bpm=120.0)
    rule = make(store, RuleFactory, session_id=jam.id, trigger=triggers.Marker(name="drop"))
    with store.begin() as uow:  # as a statement of somebody's own may do, which is not validated
        uow.execute(sa.update(Rule).where(col(Rule.id) == rule.id).values(trigger_type="deadline"))
    with pytest.raises(CorruptData, match=f"{rule.id}.*write trigger and trigger_type together"):
        store.query(rules.due, jam.id, END)
