"""Matching: which rules a signal would fire. What SQL narrows down and what the trigger says must agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.bad_input import cases
from tests.services.scene import dump, make, make_many
from tests.services.variants import FIRING, NOT_FIRING, called
from vibeweaver_store import InvalidInput, Priority, Session, Store, rules, signals, triggers
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger, TriggerType
from vibeweaver_store.testing import EPOCH, RuleFactory, SessionFactory


def matched(store: Store, trigger: Trigger, signal: Signal) -> bool:
    rule = make(store, RuleFactory, trigger=trigger)
    return store.query(rules.match, rule.session_id, signal) == [rule]


@pytest.mark.parametrize(("trigger", "signal"), FIRING, ids=called)
def test_a_signal_matches_a_rule(lasting_store: Store, trigger: Trigger, signal: Signal) -> None:
    assert matched(lasting_store, trigger, signal)


@pytest.mark.parametrize(("trigger", "signal"), NOT_FIRING, ids=called)
def test_a_near_miss_signal_does_not_match_a_rule(lasting_store: Store, trigger: Trigger, signal: Signal) -> None:
    assert not matched(lasting_store, trigger, signal)


def test_matching_tests_cover_every_kind_of_trigger() -> None:
    assert {trigger.type for trigger, _ in FIRING} == set(TriggerType) - {TriggerType.DEADLINE}


@given(divisor=st.integers(1, 2**53), beat=st.integers(0, 2**53))
def test_a_beat_rule_matches_beats_its_divisor_divides(lasting_store: Store, divisor: int, beat: int) -> None:
    assert matched(lasting_store, triggers.Beat(divisor=divisor), signals.BeatTick(beat=beat)) == (beat % divisor == 0)


TAGS = st.sampled_from(["drums", "bass", "Drums", "", "drum"])


@given(tag=st.none() | TAGS.filter(bool), tags=st.lists(TAGS.filter(bool), max_size=6))
def test_an_artifact_signal_matches_rules_by_any_of_its_tags(
    lasting_store: Store, tag: str | None, tags: list[str]
) -> None:
    expected = tag is None or tag in tags
    signal = signals.ArtifactCreated(tags=tuple(tags))
    assert matched(lasting_store, triggers.Artifact(tag=tag), signal) == expected


@given(
    trigger=st.sampled_from([trigger for trigger, _ in FIRING + NOT_FIRING]),
    signal=st.sampled_from([signal for _, signal in FIRING + NOT_FIRING]),
)
def test_a_rule_matches_in_sql_as_its_trigger_does_in_python(
    lasting_store: Store, trigger: Trigger, signal: Signal
) -> None:
    assert matched(lasting_store, trigger, signal) == trigger.matches(signal)


def test_an_artifact_signal_of_several_tags_matches_each_rule_once(store: Store, other: Store, jam: Session) -> None:
    any_tag, drums, bass, _vocals = make_many(
        store,
        RuleFactory,
        *[{"trigger": triggers.Artifact(tag=tag)} for tag in (None, "drums", "bass", "vocals")],
        session_id=jam.id,
    )
    signal = signals.ArtifactCreated(tags=("bass", "drums", "loop", "bass"))
    assert other.query(rules.match, jam.id, signal) == [any_tag, drums, bass]


def test_matched_rules_are_sorted_by_priority_then_age(store: Store, other: Store, jam: Session) -> None:
    made = make_many(
        store,
        RuleFactory,
        *[
            {"priority": priority, "created_at": EPOCH + timedelta(seconds=age), "trigger": triggers.Artifact(tag=tag)}
            for priority, age, tag in [(4, 0, "a"), (2, 1, None), (2, 0, "b"), (0, 9, "a"), (2, 1, "a")]
        ],
        session_id=jam.id,
    )
    expected = sorted(made, key=lambda rule: (rule.priority, rule.created_at, rule.id))
    assert other.query(rules.match, jam.id, signals.ArtifactCreated(tags=("a", "b"))) == expected


def test_disabled_rules_do_not_match(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id, enabled=False)
    assert other.query(rules.match, jam.id, signals.BeatTick(beat=0)) == []


def test_rules_of_other_sessions_do_not_match(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=make(store, SessionFactory).id)
    assert other.query(rules.match, jam.id, signals.BeatTick(beat=0)) == []


def test_a_signal_matches_no_rules_in_a_missing_session(lasting_store: Store) -> None:
    assert lasting_store.query(rules.match, "nowhere", signals.BeatTick(beat=0)) == []


def test_matching_a_signal_changes_nothing(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id, priority=Priority.HIGH, one_shot=True)
    before = dump(other)
    store.query(rules.match, jam.id, signals.BeatTick(beat=0))
    assert dump(other) == before


def test_a_signal_can_be_given_as_its_document(store: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    document: Any = {"type": "beat_tick", "beat": 8}
    assert store.query(rules.match, jam.id, document) == [rule]


BAD_SIGNALS = cases(
    nothing=None,
    text="beat_tick",
    a_trigger=triggers.Beat(divisor=4),
    an_unknown_type={"type": "sunrise"},
    no_type={"beat": 4},
    a_field_too_few={"type": "beat_tick"},
    a_field_too_many={"type": "beat_tick", "beat": 4, "bar": 1},
    a_negative_beat={"type": "beat_tick", "beat": -1},
    half_a_beat={"type": "beat_tick", "beat": 0.5},
    a_signal_made_around_its_validation=signals.BeatTick.model_construct(beat=-4),
)


@pytest.mark.parametrize("operation", [rules.match, rules.fire])
@pytest.mark.parametrize("signal", BAD_SIGNALS)
def test_an_invalid_signal_is_refused(lasting_store: Store, lasting_jam: Session, operation: Any, signal: Any) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(operation, lasting_jam.id, signal)
