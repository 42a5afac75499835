"""Seed 000, vibeweaver: each operation of its ``Database``, its spelling of types, and beats before zero.

The table in ``docs/coming-from/vibeweaver.md`` names these tests.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.services.scene import make, make_many, params_of
from tests.services.variants import ACTIONS, FIRING, TRIGGERS, called
from vibeweaver_store import (
    AlreadyExists,
    HistoryEntry,
    InvalidInput,
    Marker,
    NotFound,
    Priority,
    Rule,
    Session,
    Store,
    actions,
    history,
    markers,
    messages,
    rules,
    sessions,
    signals,
    snapshots,
    stats,
    triggers,
)
from vibeweaver_store.models.actions import Action, ActionType
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger, TriggerType
from vibeweaver_store.services.transport import TempoChange, Timeline, play
from vibeweaver_store.testing import EPOCH, RuleFactory, SessionFactory, SettableClock, columns_of

FOUR = triggers.Beat(divisor=4)
EARLIER = EPOCH - timedelta(days=365)


def camel(word: str) -> str:
    """A type as seed 000 spells it: ``JobComplete``."""
    return word.title().replace("_", "")


def as_the_seed_writes_it(variant: Trigger | Action | Signal) -> Any:
    document = variant.model_dump(mode="json")
    return {**document, "type": camel(document["type"])}


def stored(store: Store, table: type[Rule | Marker | HistoryEntry], column: str) -> list[Any]:
    """What a column holds, as the database has it."""
    with store.read() as uow:
        return [row[0] for row in uow.execute(sa.text(f"SELECT CAST({column} AS TEXT) FROM {table.__tablename__}"))]


# --- sessions --------------------------------------------------------------------------------------------------


def test_vibeweaver_session_is_created_and_retrieved_by_its_id(
    store: Store, other: Store, clock: SettableClock
) -> None:
    made = store.run(sessions.create, name="late set", vibe="dark techno", tempo_bpm=130.0)

    found = other.query(sessions.get, made.id)
    assert (found.name, found.vibe, found.tempo_bpm) == ("late set", "dark techno", 130.0)
    assert (found.created_at, found.updated_at) == (clock.instant, clock.instant)


def test_vibeweaver_session_that_is_missing_is_none(store: Store) -> None:
    assert store.query(sessions.find, "nowhere") is None


def test_vibeweaver_session_is_updated_in_each_of_its_fields(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    clock.advance(seconds=5)
    store.run(sessions.update, jam.id, name="later set", vibe=None, tempo_bpm=99.5)

    found = other.query(sessions.get, jam.id)
    assert (found.name, found.vibe, found.tempo_bpm) == ("later set", None, 99.5)
    assert (found.created_at, found.updated_at) == (jam.created_at, clock.instant)


def test_vibeweaver_sessions_are_all_listed(store: Store, other: Store) -> None:
    made = make_many(store, SessionFactory, {}, {}, {})

    assert {session.id for session in other.query(sessions.page).items} == {session.id for session in made}


# --- rules -----------------------------------------------------------------------------------------------------


def test_vibeweaver_rule_is_inserted_with_its_own_id_and_found_by_its_session(
    store: Store, other: Store, jam: Session
) -> None:
    added = store.run(
        rules.add, jam.id, FOUR, actions.Play(), priority=Priority.HIGH, enabled=False, one_shot=True, rule_id="bars"
    )

    assert other.query(rules.page_by_session, jam.id).items == [added]
    assert (added.id, added.session_id, added.fired_count, added.last_fired_at) == ("bars", jam.id, 0, None)


def test_vibeweaver_rule_that_fired_elsewhere_is_inserted_with_its_counts(
    store: Store, other: Store, jam: Session
) -> None:
    whole = Rule.build(
        id="bars",
        session_id=jam.id,
        trigger_type="Beat",
        trigger={"type": "Beat", "divisor": 4},
        action_type="SampleAndSchedule",
        action={"type": "SampleAndSchedule", "space": "pads", "prompt": None, "at": -4.0},
        fired_count=17,
        last_fired_at=EPOCH,
        created_at=EARLIER,
    )
    with store.begin() as uow:
        uow.insert(whole)

    found = other.query(rules.by_trigger, jam.id, "Beat")
    assert [(rule.fired_count, rule.last_fired_at, rule.created_at) for rule in found] == [(17, EPOCH, EARLIER)]
    assert found[0].action == actions.SampleAndSchedule(space="pads", at=-4)


@pytest.mark.parametrize("trigger_type", TriggerType)
def test_vibeweaver_rules_are_found_by_the_seeds_trigger_types(
    store: Store, other: Store, jam: Session, trigger_type: TriggerType
) -> None:
    made = make_many(store, RuleFactory, *[{"trigger": trigger} for trigger, _ in TRIGGERS], session_id=jam.id)

    expected = [rule for rule in made if rule.trigger_type is trigger_type]
    spelled = camel(trigger_type)
    assert other.query(rules.by_trigger, jam.id, spelled) == expected
    assert other.query(rules.page_by_session, jam.id, trigger_type=spelled).items == expected


def test_vibeweaver_rules_of_a_trigger_come_by_priority_then_age(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    added = []
    seed_words: list[Any] = ["Idle", "Critical", "Normal", "Critical"]
    for priority in seed_words:
        clock.advance(seconds=1)
        added.append(store.run(rules.add, jam.id, FOUR, actions.Play(), priority=priority))

    found = other.query(rules.by_trigger, jam.id, "Beat")
    assert [rule.id for rule in found] == [added[place].id for place in (1, 3, 2, 0)]


def test_vibeweaver_rule_fired_at_a_time_is_counted_and_stamped(store: Store, other: Store, jam: Session) -> None:
    rule = store.run(rules.add, jam.id, FOUR, actions.Play())
    store.run(rules.mark_fired, rule.id, EARLIER)

    found = other.query(rules.get, rule.id)
    assert (found.fired_count, found.last_fired_at) == (1, EARLIER)


def test_vibeweaver_rule_is_disabled_enabled_and_deleted(store: Store, other: Store, jam: Session) -> None:
    rule = store.run(rules.add, jam.id, FOUR, actions.Play())

    store.run(rules.set_enabled, rule.id, False)
    assert other.query(rules.by_trigger, jam.id, "Beat") == []
    store.run(rules.set_enabled, rule.id, True)
    assert [found.id for found in other.query(rules.by_trigger, jam.id, "Beat")] == [rule.id]
    store.run(rules.delete, rule.id)
    assert other.query(rules.find, rule.id) is None


@pytest.mark.parametrize("add", ["add", "add_many"])
def test_vibeweaver_rule_with_a_taken_id_is_refused_by_name(store: Store, other: Store, jam: Session, add: str) -> None:
    store.run(rules.add, jam.id, FOUR, actions.Play(), rule_id="bars")

    with pytest.raises(AlreadyExists) as caught:
        if add == "add":
            store.run(rules.add, jam.id, FOUR, actions.Stop(), rule_id="bars")
        else:
            new = [rules.NewRule(FOUR, actions.Stop(), rule_id=rule_id) for rule_id in ("free", "bars")]
            store.run(rules.add_many, jam.id, new)

    assert (caught.value.entity, caught.value.key) == ("rule", "bars")
    assert [rule.action for rule in other.query(rules.page_by_session, jam.id).items] == [actions.Play()]


# --- the seed's spelling of types ------------------------------------------------------------------------------


@pytest.mark.parametrize(("trigger", "key"), TRIGGERS, ids=called)
def test_vibeweaver_trigger_document_is_read_and_stored_in_one_spelling(
    store: Store, other: Store, jam: Session, trigger: Trigger, key: str | None
) -> None:
    store.run(rules.add, jam.id, as_the_seed_writes_it(trigger), actions.Play())
    store.run(rules.add_many, jam.id, [rules.NewRule(as_the_seed_writes_it(trigger), actions.Play())])

    found = other.query(rules.page_by_session, jam.id).items
    assert [(rule.trigger, rule.trigger_type, rule.trigger_key) for rule in found] == [
        (trigger, TriggerType(trigger.type), key)
    ] * 2
    assert all(f'"{trigger.type}"' in text for text in stored(other, Rule, "trigger"))
    assert not any(camel(trigger.type) in text for text in stored(other, Rule, "trigger"))


@pytest.mark.parametrize("action", ACTIONS, ids=called)
def test_vibeweaver_action_document_is_read_and_stored_in_one_spelling(
    store: Store, other: Store, jam: Session, action: Action
) -> None:
    store.run(rules.add, jam.id, FOUR, as_the_seed_writes_it(action))
    store.run(rules.add_many, jam.id, [rules.NewRule(FOUR, as_the_seed_writes_it(action))])

    found = other.query(rules.page_by_session, jam.id).items
    assert [(rule.action, rule.action_type) for rule in found] == [(action, ActionType(action.type))] * 2
    assert not any(f'"{camel(action.type)}"' in text for text in stored(other, Rule, "action"))


def test_vibeweaver_action_document_keeps_null_parameters_of_the_inference(
    store: Store, other: Store, jam: Session
) -> None:
    document: Any = {"type": "Sample", "space": "drums", "prompt": None, "inference": None}
    rule = store.run(rules.add, jam.id, FOUR, document)

    assert other.query(rules.get, rule.id).action == actions.Sample(space="drums", inference=None)


@pytest.mark.parametrize(("trigger", "signal"), FIRING, ids=called)
def test_vibeweaver_signal_document_fires_in_the_seeds_spelling(
    store: Store, jam: Session, trigger: Trigger, signal: Signal
) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, trigger=trigger)
    document = as_the_seed_writes_it(signal)
    book = store.rule_book(jam.id)

    assert [found.id for found in store.query(rules.match, jam.id, document)] == [rule.id]
    assert [found.id for found in book.match(document)] == [rule.id]
    assert [firing.signal for firing in store.run(rules.fire, jam.id, document)] == [signal]
    assert [firing.signal for firing in book.fire(document)] == [signal]


def test_vibeweaver_variant_takes_its_type_in_the_seeds_spelling() -> None:
    document: dict[str, Any] = {"type": "JobComplete", "job_id": "job-7"}

    assert triggers.JobComplete(**document) == triggers.JobComplete(job_id="job-7")


@pytest.mark.parametrize("spelling", ["JobComplete", "jobComplete", "JOB_COMPLETE", "Job_Complete"])
def test_vibeweaver_trigger_type_is_found_in_every_usual_spelling(spelling: str) -> None:
    assert TriggerType(spelling) is TriggerType.JOB_COMPLETE


@pytest.mark.parametrize("word", ["Solstice", "Job Complete", "JobComplete ", "", "jobcomplete"])
def test_vibeweaver_trigger_type_that_is_unknown_is_refused_as_it_was_written(
    lasting_store: Store, lasting_jam: Session, word: str
) -> None:
    trigger: Any = {"type": word, "job_id": "job-7"}

    with pytest.raises(InvalidInput, match=f"'{word}'"):
        lasting_store.query(rules.by_trigger, lasting_jam.id, word)
    with pytest.raises(InvalidInput, match=f"'{word}'"):
        lasting_store.run(rules.add, lasting_jam.id, trigger, actions.Play())


# --- markers ---------------------------------------------------------------------------------------------------


def test_vibeweaver_markers_are_sorted_by_beat_also_before_zero(store: Store, other: Store, jam: Session) -> None:
    for beat in (16.5, -4, 0, -0.5, 100, -12):
        store.run(markers.add, jam.id, beat, f"at {beat}")

    assert [marker.beat for marker in other.query(markers.page, jam.id).items] == [-12, -4, -0.5, 0, 16.5, 100]


@given(beats=st.lists(st.floats(-100, 100), max_size=10), cuts=st.lists(st.floats(-100, 100), min_size=1, max_size=5))
def test_vibeweaver_ranges_of_markers_meet_before_zero_too(
    lasting_store: Store, beats: list[float], cuts: list[float]
) -> None:
    session = make(lasting_store, SessionFactory)
    new = [markers.NewMarker(beat, "mark") for beat in beats]
    lasting_store.run(markers.add_many, session.id, new)
    edges = [-101.0, *sorted(cuts), 101.0]

    with lasting_store.read() as uow:
        found = [
            marker.beat
            for start, end in pairwise(edges)
            for marker in markers.between(uow, session.id, start, end).items
        ]

    assert found == sorted(beats)


@pytest.mark.parametrize("beat", [-1, -0.25, -5e-324, -(2.0**53), -1.7976931348623157e308], ids=str)
def test_vibeweaver_marker_before_zero_is_kept(lasting_store: Store, lasting_jam: Session, beat: float) -> None:
    added = lasting_store.run(markers.add, lasting_jam.id, beat, "count-in")

    assert lasting_store.query(markers.get, added.id).beat == beat


@pytest.mark.parametrize(
    "metadata",
    [
        {"key": "a minor"},
        {},
        ["verse", {"bars": 8}, None],
        [],
        "chorus",
        "",
        '{"text": "that looks like JSON"}',
        4,
        0,
        -0.5,
        1e16,
        True,
        False,
    ],
    ids=repr,
)
def test_vibeweaver_marker_metadata_may_be_any_json_value(
    lasting_store: Store, lasting_jam: Session, metadata: Any
) -> None:
    added = lasting_store.run(markers.add, lasting_jam.id, 0, "chorus", metadata=metadata)
    (other,) = lasting_store.run(markers.add_many, lasting_jam.id, [markers.NewMarker(0, "chorus", metadata=metadata)])

    for made in (added, other):
        found = lasting_store.query(markers.get, made.id).metadata_
        assert (found, type(found)) == (made.metadata_, type(made.metadata_))
        assert (found, isinstance(found, type(metadata))) == (metadata, True)


def test_vibeweaver_marker_metadata_may_be_none_which_is_null_in_the_database(
    store: Store, other: Store, jam: Session
) -> None:
    added = store.run(markers.add, jam.id, 0, "chorus", metadata=None)

    assert other.query(markers.get, added.id).metadata_ is None
    assert stored(other, Marker, "metadata") == [None]


def test_vibeweaver_marker_metadata_that_is_a_list_cannot_be_edited_in_place(
    store: Store, other: Store, jam: Session
) -> None:
    store.run(markers.add, jam.id, 0, "chorus", metadata=["verse"])

    (found,) = other.query(markers.page, jam.id).items
    assert found.metadata_ is not None
    with pytest.raises(TypeError, match="cannot be edited in place"):
        found.metadata_.append("bridge")


def test_vibeweaver_marker_metadata_may_be_a_mapping_of_another_kind(store: Store, other: Store, jam: Session) -> None:
    added = store.run(markers.add, jam.id, 0, "chorus", metadata=MappingProxyType({"bars": 8}))

    assert other.query(markers.get, added.id).metadata_ == {"bars": 8}


def test_vibeweaver_markers_added_together_keep_their_own_ids(store: Store, other: Store, jam: Session) -> None:
    new = [markers.NewMarker(beat, "chorus", marker_id=f"chorus-{beat}") for beat in (48, 16)]
    added = store.run(markers.add_many, jam.id, [*new, markers.NewMarker(64, "outro")])

    assert [marker.id for marker in other.query(markers.page, jam.id).items] == ["chorus-16", "chorus-48", added[2].id]


@pytest.mark.parametrize(
    ("given_ids", "named"),
    [(["free", "taken"], "taken"), (["twice", "free", "twice"], "twice")],
    ids=["taken", "given twice"],
)
def test_vibeweaver_markers_with_a_taken_id_are_refused_and_none_is_added(
    store: Store, other: Store, jam: Session, given_ids: list[str], named: str
) -> None:
    there = store.run(markers.add, jam.id, 0, "intro", marker_id="taken")

    with store.begin() as uow:
        new = [markers.NewMarker(4, "chorus", marker_id=marker_id) for marker_id in given_ids]
        with pytest.raises(AlreadyExists) as caught:
            markers.add_many(uow, jam.id, new)

    assert (caught.value.entity, caught.value.key) == ("marker", named)
    assert other.query(markers.page, jam.id).items == [there]


def test_vibeweaver_marker_id_may_be_taken_among_thousands(store: Store, other: Store, jam: Session) -> None:
    new = [markers.NewMarker(0, "bar", marker_id=f"bar-{n}") for n in range(2500)]
    store.run(markers.add_many, jam.id, new)

    with pytest.raises(AlreadyExists) as caught:
        store.run(markers.add_many, jam.id, [*[markers.NewMarker(0, "bar")] * 1500, *new[2400:]])
    assert caught.value.key == "bar-2400"


@pytest.mark.parametrize("marker_id", ["", "  ", 7, "x" * 201])
def test_vibeweaver_markers_with_an_invalid_id_are_refused(
    lasting_store: Store, lasting_jam: Session, marker_id: Any
) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(markers.add_many, lasting_jam.id, [markers.NewMarker(0, "bar", marker_id=marker_id)])


def test_vibeweaver_marker_is_deleted(store: Store, other: Store, jam: Session) -> None:
    added = store.run(markers.add, jam.id, -4, "count-in", marker_id="count-in")
    store.run(markers.delete, added.id)

    assert other.query(markers.find, "count-in") is None


# --- history and messages --------------------------------------------------------------------------------------


def test_vibeweaver_history_is_appended_and_read_newest_first(store: Store, other: Store, jam: Session) -> None:
    store.run(history.append, jam.id, "sample", params={"space": "drums"}, result=None, success=False)
    store.run(history.append, jam.id, "play")

    newest, oldest = other.query(history.recent, jam.id, 10)
    assert (newest.action, oldest.action, oldest.params) == ("play", "sample", {"space": "drums"})
    assert (oldest.result, oldest.success, newest.success) == (None, False, True)
    assert (newest.id or 0) > (oldest.id or 0)


def test_vibeweaver_history_is_paged_to_its_end(store: Store, other: Store, jam: Session) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry(f"step {n}") for n in range(7)])

    with other.read() as uow:
        first = history.page(uow, jam.id, limit=3)
        second = history.page(uow, jam.id, limit=3, cursor=first.next_cursor)
        third = history.page(uow, jam.id, limit=3, cursor=second.next_cursor)

    found = [entry.action for page in (first, second, third) for entry in page.items]
    assert found == [f"step {n}" for n in reversed(range(7))]
    assert third.next_cursor is None


def test_vibeweaver_history_of_what_happened_earlier_keeps_its_time_and_the_order_of_appending(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    store.run(history.append, jam.id, "now")
    store.run(history.append, jam.id, "earlier", created_at=EARLIER)
    store.run(
        history.append_many,
        jam.id,
        [
            history.NewEntry("much earlier", created_at=EARLIER - timedelta(days=1)),
            history.NewEntry("now again"),
            history.NewEntry("later", created_at=EPOCH + timedelta(days=1)),
        ],
    )

    found = other.query(history.page, jam.id, oldest_first=True).items
    assert [(entry.action, entry.created_at) for entry in found] == [
        ("now", clock.instant),
        ("earlier", EARLIER),
        ("much earlier", EARLIER - timedelta(days=1)),
        ("now again", clock.instant),
        ("later", EPOCH + timedelta(days=1)),
    ]
    assert [entry.id for entry in found] == sorted(entry.id or 0 for entry in found)


@given(ages=st.lists(st.none() | st.integers(0, 10**6), max_size=30))
def test_vibeweaver_history_of_any_times_comes_back_as_it_was_appended(
    lasting_store: Store, ages: list[int | None]
) -> None:
    session = make(lasting_store, SessionFactory)
    times = [None if age is None else EPOCH - timedelta(seconds=age) for age in ages]
    new = [history.NewEntry("step", n, created_at=at) for n, at in enumerate(times)]

    assert lasting_store.run(history.append_many, session.id, new) == len(new)

    found = lasting_store.query(history.page, session.id, oldest_first=True).items
    assert [entry.params for entry in found] == list(range(len(new)))
    assert [entry.created_at for entry, at in zip(found, times, strict=True) if at] == [at for at in times if at]


def test_vibeweaver_history_of_earlier_is_activity_of_now(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    clock.advance(seconds=60)
    store.run(history.append, jam.id, "earlier", created_at=EARLIER)

    assert other.query(sessions.get, jam.id).last_activity_at == clock.instant


def append_entry(store: Store, session: Session, at: Any) -> object:
    return store.run(history.append, session.id, "step", created_at=at)


def append_entries(store: Store, session: Session, at: Any) -> object:
    return store.run(history.append_many, session.id, [history.NewEntry("step", created_at=at)])


def append_message(store: Store, session: Session, at: Any) -> object:
    return store.run(messages.append, session.id, "user", "louder", created_at=at)


def append_messages(store: Store, session: Session, at: Any) -> object:
    return store.run(messages.append_many, session.id, [messages.NewMessage("user", "louder", created_at=at)])


@pytest.mark.parametrize("append", [append_entry, append_entries, append_message, append_messages])
@pytest.mark.parametrize(
    "at", [EPOCH.replace(tzinfo=None), "2026-01-13T10:00:00Z", 0, EPOCH.date()], ids=["naive", "text", "number", "date"]
)
def test_vibeweaver_time_of_a_log_without_a_zone_is_refused(
    store: Store, other: Store, jam: Session, append: Callable[..., object], at: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        append(store, jam, at)

    assert caught.value.field == "created_at"
    assert other.query(history.page, jam.id).items == []
    assert other.query(messages.page, jam.id).items == []


def test_vibeweaver_message_of_earlier_keeps_its_time_and_the_order_of_appending(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    store.run(messages.append, jam.id, "user", "now")
    store.run(messages.append, jam.id, "assistant", "earlier", created_at=EARLIER)
    store.run(messages.append_many, jam.id, [messages.NewMessage("user", "too", created_at=EARLIER)])

    found = other.query(messages.page, jam.id).items
    assert [(message.content, message.created_at) for message in found] == [
        ("now", clock.instant),
        ("earlier", EARLIER),
        ("too", EARLIER),
    ]


def test_vibeweaver_message_of_earlier_is_found_between_times_by_its_own(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    store.run(messages.append, jam.id, "user", "now")
    store.run(messages.append, jam.id, "user", "earlier", created_at=EARLIER)
    store.run(messages.append, jam.id, "user", "earlier still", created_at=EARLIER - timedelta(hours=1))

    with other.read() as uow:
        past = messages.between(uow, jam.id, EARLIER - timedelta(days=1), EARLIER + timedelta(days=1)).items
        present = messages.between(uow, jam.id, clock.instant, clock.instant + timedelta(seconds=1)).items

    assert [message.content for message in past] == ["earlier still", "earlier"]
    assert [message.content for message in present] == ["now"]


# --- snapshots and stats ---------------------------------------------------------------------------------------


def test_vibeweaver_snapshot_is_saved_and_loaded(store: Store, other: Store, jam: Session) -> None:
    store.run(snapshots.save, jam.id, b"first")
    store.run(snapshots.save, jam.id, b"\x00second\xff")

    assert other.query(snapshots.load, jam.id).state == b"\x00second\xff"


def test_vibeweaver_snapshot_of_a_session_without_one_is_none(store: Store, jam: Session) -> None:
    assert store.query(snapshots.find, jam.id) is None
    assert store.query(snapshots.find, jam.id, 1) is None
    assert store.query(snapshots.find, "nowhere") is None
    with pytest.raises(NotFound):
        store.query(snapshots.load, jam.id)


def test_vibeweaver_snapshot_is_found_newest_or_by_its_id(store: Store, other: Store, jam: Session) -> None:
    first, second = [store.run(snapshots.save, jam.id, state).id for state in (b"first", b"second")]

    with other.read() as uow:
        found = [snapshots.find(uow, jam.id), snapshots.find(uow, jam.id, first), snapshots.find(uow, jam.id, 10**6)]

    assert [each and (each.id, each.state) for each in found] == [(second, b"second"), (first, b"first"), None]


def test_vibeweaver_generation_stats_are_an_average_and_a_count(store: Store, other: Store) -> None:
    for duration_ms in (100, 200, 600):
        store.run(stats.record, "drums", duration_ms)

    found = other.query(stats.get, "drums")
    assert (found.average_ms, found.sample_count) == (300, 3)
    assert other.query(stats.find, "pads") is None


# --- beats before zero -----------------------------------------------------------------------------------------


@given(divisor=st.integers(1, 2**53), beat=st.integers(-(2**53), 2**53))
def test_vibeweaver_beat_trigger_matches_where_its_divisor_divides_also_before_zero(
    lasting_store: Store, divisor: int, beat: int
) -> None:
    rule = make(lasting_store, RuleFactory, trigger=triggers.Beat(divisor=divisor))
    tick = signals.BeatTick(beat=beat)

    matched = lasting_store.query(rules.match, rule.session_id, tick) == [rule]

    assert matched == (abs(beat) % divisor == 0)


@given(divisor=st.integers(1, 64), shift=st.integers(-1000, 1000))
def test_vibeweaver_beat_trigger_fires_once_in_any_run_as_long_as_its_divisor(divisor: int, shift: int) -> None:
    trigger = triggers.Beat(divisor=divisor)

    fired = [beat for beat in range(shift, shift + divisor) if trigger.matches(signals.BeatTick(beat=beat))]

    assert len(fired) == 1
    assert fired[0] == -(-shift // divisor) * divisor


@pytest.mark.parametrize(
    ("position", "beat"), [(-0.5, 0), (-0.51, -1), (-1.5, -1), (-3.9, -4), (-4, -4), (-1e-20, 0), (-0.0, 0)]
)
def test_vibeweaver_tick_before_zero_is_of_the_nearest_beat(position: float, beat: int) -> None:
    assert signals.BeatTick.nearest(position) == signals.BeatTick(beat=beat)


def test_vibeweaver_deadline_before_zero_is_due_in_the_count_in(store: Store, other: Store, jam: Session) -> None:
    rule = store.run(rules.add, jam.id, triggers.Deadline(beat=-1), actions.Seek(beat=-4))

    with other.read() as uow:
        found = [[due.rule.id for due in rules.due(uow, jam.id, beat)] for beat in (-4.0, -1.001, -1, 0)]
        upcoming = [rules.next_due(uow, jam.id, beat) for beat in (-8, -1)]

    assert found == [[], [], [rule.id], [rule.id]]
    assert upcoming == [-1.0, None]


def test_vibeweaver_work_of_a_deadline_at_zero_starts_in_the_count_in(store: Store, jam: Session) -> None:
    store.run(stats.record, "pads", 1000)  # two beats at 120 bpm
    rule = store.run(rules.add, jam.id, triggers.Deadline(beat=0), actions.Sample(space="pads"))
    started: dict[int, list[str]] = {}

    play(
        store,
        jam.id,
        Timeline(2, (TempoChange(0, 120),), first_beat=-4),
        on_step=lambda at: started.update({at.beat: [due.rule.id for due in at.deadlines]}),
    )

    assert {beat: ids for beat, ids in started.items() if ids} == {-2: [rule.id]}


def test_vibeweaver_transport_plays_from_a_beat_before_zero(store: Store, other: Store, jam: Session) -> None:
    bars = store.run(rules.add, jam.id, FOUR, actions.Notify(message="bar")).id
    marked = store.run(rules.add, jam.id, triggers.Marker(name="pick-up"), actions.Play()).id
    store.run(markers.add_many, jam.id, [markers.NewMarker(-0.5, "pick-up"), markers.NewMarker(-5, "before")])
    beats: dict[int, tuple[list[str], list[str]]] = {}

    played = play(
        store,
        jam.id,
        Timeline(5, (TempoChange(0, 120),), first_beat=-4),
        on_step=lambda at: beats.update(
            {at.beat: ([each.rule.id for each in at.firings], [each.name for each in at.markers])}
        ),
    )

    assert list(beats) == list(range(-4, 6))
    assert {beat: fired for beat, (fired, _) in beats.items() if fired} == {
        -4: [bars],
        -1: [marked],
        0: [bars],
        4: [bars],
    }
    assert {beat: names for beat, (_, names) in beats.items() if names} == {-1: ["pick-up"]}
    assert (played.beats, played.by_rule) == (10, {bars: 3, marked: 1})
    first, *_ = other.query(history.page, jam.id, oldest_first=True).items
    assert params_of(first)["signal"] == {"type": "beat_tick", "beat": -4}


def test_vibeweaver_count_in_takes_its_time(store: Store, jam: Session) -> None:
    now, times = [1000.0], dict[int, float]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    played = play(
        store,
        jam.id,
        Timeline(2, (TempoChange(-2, 60), TempoChange(0, 120)), first_beat=-3),
        realtime=True,
        on_step=lambda at: times.update({at.beat: now[0] - 1000}),
        sleep=sleep,
        monotonic=lambda: now[0],
    )

    assert times == {-3: 0, -2: 1, -1: 2, 0: 3, 1: 3.5, 2: 4}
    assert played.seconds == 4


def test_vibeweaver_timeline_counts_seconds_from_beat_zero() -> None:
    timeline = Timeline(4, (TempoChange(-2, 60), TempoChange(-1, 30), TempoChange(1, 120)), first_beat=-3)

    assert [timeline.seconds_at(beat) for beat in (-3, -2, -1, 0, 1, 2)] == [-4, -3, -2, 0, 2, 2.5]
    assert [timeline.tempo_at(beat) for beat in (-10, -2, -1, 0, 1)] == [60, 60, 30, 30, 120]
    assert (timeline.length_beats, timeline.duration_seconds) == (7, 7.5)


@pytest.mark.parametrize("first_beat", [1, -0.5, True, None, "0", -(2**53) - 1])
def test_vibeweaver_timeline_cannot_begin_after_zero_or_between_beats(first_beat: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Timeline(8, (TempoChange(0, 120),), first_beat=first_beat)

    assert caught.value.field == "first_beat"


def test_vibeweaver_rule_of_a_count_in_is_read_back(store: Store, other: Store, jam: Session) -> None:
    added = store.run(
        rules.add, jam.id, triggers.Deadline(beat=-0.5), actions.Schedule(content_hash="00ff", at=-4, duration=4)
    )

    assert columns_of(other.query(rules.get, added.id)) == columns_of(added)
