"""Rules: add, find, list, switch on and off, and delete them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, NO_TEXT, VERBATIM, cases
from tests.services.scene import dump, make, make_many
from tests.services.variants import ACTIONS, TRIGGERS, called
from vibeweaver_store import AlreadyExists, InvalidInput, NotFound, Priority, Session, Store, actions, rules, triggers
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.triggers import Trigger, TriggerType
from vibeweaver_store.testing import EPOCH, HistoryEntryFactory, RuleFactory, SessionFactory, SettableClock, columns_of

FOUR = triggers.Beat(divisor=4)

# Add


@pytest.mark.parametrize(("trigger", "key"), TRIGGERS, ids=called)
def test_a_rule_with_each_trigger_is_read_back(
    lasting_store: Store, lasting_jam: Session, trigger: Trigger, key: str
) -> None:
    added = lasting_store.run(rules.add, lasting_jam.id, trigger, actions.Play())
    found = lasting_store.query(rules.get, added.id)
    assert (found.trigger, found.trigger_type, found.trigger_key) == (trigger, trigger.type, key)


@pytest.mark.parametrize("action", ACTIONS, ids=called)
def test_a_rule_with_each_action_is_read_back(lasting_store: Store, lasting_jam: Session, action: Action) -> None:
    added = lasting_store.run(rules.add, lasting_jam.id, FOUR, action)
    found = lasting_store.query(rules.get, added.id)
    assert (found.action, found.action_type) == (action, action.type)


@pytest.mark.parametrize("priority", Priority)
def test_a_rule_of_each_priority_is_read_back(lasting_store: Store, lasting_jam: Session, priority: Priority) -> None:
    added = lasting_store.run(rules.add, lasting_jam.id, FOUR, actions.Play(), priority=priority)
    assert lasting_store.query(rules.get, added.id).priority is priority


def test_rule_tests_cover_every_kind_of_trigger() -> None:
    assert {trigger.type for trigger, _ in TRIGGERS} == set(TriggerType)


def test_rule_tests_cover_every_kind_of_action() -> None:
    assert {action.type for action in ACTIONS} == set(actions.ActionType)


def test_a_new_rule_is_read_back_as_it_was_made(store: Store, other: Store, jam: Session) -> None:
    added = store.run(rules.add, jam.id, FOUR, actions.Play(), priority=Priority.HIGH, one_shot=True, enabled=False)
    assert columns_of(other.query(rules.get, added.id)) == columns_of(added)


def test_a_new_rule_is_enabled_and_of_normal_priority_and_has_not_fired(store: Store, jam: Session) -> None:
    rule = store.run(rules.add, jam.id, FOUR, actions.Play())
    assert (rule.priority, rule.enabled, rule.one_shot) == (Priority.NORMAL, True, False)
    assert (rule.fired_count, rule.last_fired_at) == (0, None)


def test_a_new_rule_is_stamped_with_the_instant_of_its_unit_of_work(
    store: Store, jam: Session, clock: SettableClock
) -> None:
    assert store.run(rules.add, jam.id, FOUR, actions.Play()).created_at == clock.instant


def test_a_rule_takes_documents_for_trigger_and_action(store: Store, other: Store, jam: Session) -> None:
    trigger: Any = {"type": "beat", "divisor": 4}
    action: Any = {"type": "notify", "message": "four on the floor"}
    found = other.query(rules.get, store.run(rules.add, jam.id, trigger, action).id)
    assert (found.trigger, found.action) == (FOUR, actions.Notify(message="four on the floor"))


@pytest.mark.parametrize("text", VERBATIM)
def test_texts_in_rule_documents_are_kept_verbatim(lasting_store: Store, lasting_jam: Session, text: str) -> None:
    trigger, action = triggers.Marker(name=text), actions.Notify(message=text)
    found = lasting_store.query(rules.get, lasting_store.run(rules.add, lasting_jam.id, trigger, action).id)
    assert (found.trigger_key, found.trigger, found.action) == (text, trigger, action)


def test_the_longest_name_in_a_rule_trigger_is_kept(lasting_store: Store, lasting_jam: Session) -> None:
    # 1,000 bytes that do not compress, beside an id of 200: a B-tree of PostgreSQL holds 2,704 a row.
    trigger = triggers.Marker(name="".join(chr(0x20000 + 7919 * n % 42_000) for n in range(250)))
    added = lasting_store.run(rules.add, lasting_jam.id, trigger, actions.Play())
    assert lasting_store.query(rules.get, added.id).trigger == trigger


def test_a_given_rule_id_is_kept(store: Store, other: Store, jam: Session) -> None:
    store.run(rules.add, jam.id, FOUR, actions.Play(), rule_id="drop")
    assert other.query(rules.get, "drop").session_id == jam.id


def test_the_error_for_a_taken_rule_id_names_it(store: Store, jam: Session) -> None:
    taken = make(store, RuleFactory)
    with pytest.raises(AlreadyExists) as caught:
        store.run(rules.add, jam.id, FOUR, actions.Play(), rule_id=taken.id)
    assert (caught.value.entity, caught.value.key) == ("rule", taken.id)


@pytest.mark.parametrize(
    "add",
    [
        lambda uow: rules.add(uow, "nowhere", FOUR, actions.Play()),
        lambda uow: rules.add_many(uow, "nowhere", [rules.NewRule(FOUR, actions.Play())]),
        lambda uow: rules.add_many(uow, "nowhere", []),
    ],
    ids=["add", "add_many", "add_many of none"],
)
def test_a_rule_of_a_missing_session_is_refused(lasting_store: Store, add: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(add)


@pytest.mark.parametrize(
    "change",
    cases(
        no_trigger={"trigger": None},
        an_unknown_trigger={"trigger": {"type": "sunrise"}},
        a_trigger_without_type={"trigger": {"divisor": 4}},
        a_trigger_with_a_bad_field={"trigger": {"type": "beat", "divisor": 0}},
        a_trigger_made_around_its_validation={"trigger": FOUR.model_copy(update={"divisor": 0})},
        an_action_for_a_trigger={"trigger": actions.Play()},
        no_action={"action": None},
        an_unknown_action={"action": {"type": "explode"}},
        an_action_with_an_unknown_field={"action": {"type": "play", "loud": True}},
        an_action_made_around_its_validation={"action": actions.Seek.model_construct(beat=-1.0)},
        no_priority={"priority": None},
        a_priority_below={"priority": -1},
        a_priority_above={"priority": 5},
        true_for_a_priority={"priority": True},
        an_unknown_priority={"priority": "urgent"},
        no_flag={"enabled": None},
        one_for_a_flag={"enabled": 1},
        text_for_a_flag={"one_shot": "false"},
        a_blank_id={"rule_id": " "},
        a_number_for_an_id={"rule_id": 7},
    ),
)
def test_an_invalid_rule_is_refused(lasting_store: Store, lasting_jam: Session, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(
            rules.add, **{"session_id": lasting_jam.id, "trigger": FOUR, "action": actions.Play(), **change}
        )


# Add many


def test_add_many_lists_rules_in_the_order_given(store: Store, other: Store, jam: Session) -> None:
    new = [rules.NewRule(triggers.Beat(divisor=n), actions.Notify(message=f"{n}")) for n in range(1, 101)]
    added = store.run(rules.add_many, jam.id, new)
    assert [rule.trigger for rule in added] == [each.trigger for each in new]
    assert other.query(rules.by_trigger, jam.id, "beat") == added


def test_add_many_takes_rules_from_any_iterable(store: Store, other: Store, jam: Session) -> None:
    store.run(rules.add_many, jam.id, (rules.NewRule(FOUR, actions.Play(), Priority.LOW, True, False) for _ in "a"))
    (found,) = other.query(rules.page_by_session, jam.id).items
    assert (found.priority, found.one_shot, found.enabled) == (Priority.LOW, True, False)


def test_add_many_adds_no_rule_if_one_is_bad(store: Store, other: Store, jam: Session) -> None:
    good, bad = rules.NewRule(FOUR, actions.Play()), rules.NewRule(FOUR, actions.Play(), enabled="yes")  # type: ignore[arg-type]
    with store.begin() as uow, pytest.raises(InvalidInput):
        rules.add_many(uow, jam.id, [good, bad])
    assert other.query(rules.page_by_session, jam.id).items == []


# Get, find and page


def test_getting_a_missing_rule_names_it(lasting_store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.query(rules.get, "nowhere")
    assert (caught.value.entity, caught.value.key) == ("rule", "nowhere")


def test_finding_a_missing_rule_returns_none(lasting_store: Store) -> None:
    assert lasting_store.query(rules.find, "nowhere") is None


@pytest.mark.parametrize("operation", [rules.get, rules.find, rules.delete, rules.mark_fired])
@pytest.mark.parametrize("rule_id", BAD_IDS)
def test_a_rule_lookup_by_an_invalid_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], rule_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, rule_id)
    assert caught.value.field == "rule_id"


def test_rules_are_paged_by_priority_then_age_whether_enabled_or_not(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory)
    made = make_many(
        store,
        RuleFactory,
        *[
            {"priority": priority, "created_at": EPOCH + timedelta(seconds=age), "enabled": enabled}
            for priority, age, enabled in [(2, 1, True), (4, 0, True), (2, 0, False), (0, 5, True), (2, 1, False)]
        ],
        session_id=jam.id,
    )
    expected = sorted(made, key=lambda rule: (rule.priority, rule.created_at, rule.id))
    assert other.query(rules.page_by_session, jam.id).items == expected


def test_pages_of_rules_go_forward_and_back(store: Store, other: Store, jam: Session) -> None:
    made = make_many(store, RuleFactory, *[{"priority": n % 3} for n in range(6)], session_id=jam.id)
    first = other.query(rules.page_by_session, jam.id, limit=4)
    second = other.query(rules.page_by_session, jam.id, limit=4, cursor=first.next_cursor)
    back = other.query(rules.page_by_session, jam.id, limit=4, cursor=second.previous_cursor)
    assert [rule.id for rule in first.items + second.items] == [
        rule.id for rule in sorted(made, key=lambda rule: (rule.priority, rule.id))
    ]
    assert back.items == first.items


def test_a_missing_session_has_no_rules(lasting_store: Store) -> None:
    assert lasting_store.query(rules.page_by_session, "nowhere").items == []
    assert lasting_store.query(rules.by_trigger, "nowhere", "beat") == []


# By trigger


@pytest.mark.parametrize("trigger_type", TriggerType)
def test_rules_are_found_by_their_kind_of_trigger(
    store: Store, other: Store, jam: Session, trigger_type: TriggerType
) -> None:
    made = make_many(store, RuleFactory, *[{"trigger": trigger} for trigger, _ in TRIGGERS], session_id=jam.id)
    make_many(store, RuleFactory, *[{"trigger": trigger} for trigger, _ in TRIGGERS], session_id=make_session(store))
    expected = [rule for rule in made if rule.trigger_type is trigger_type]
    assert other.query(rules.by_trigger, jam.id, trigger_type) == expected


def make_session(store: Store) -> str:
    return make(store, SessionFactory).id


@pytest.mark.parametrize("word", ["beat", "BEAT", "Beat", TriggerType.BEAT], ids=repr)
def test_a_kind_of_trigger_can_be_given_as_text_or_enum(store: Store, jam: Session, word: str) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    assert store.query(rules.by_trigger, jam.id, word) == [rule]


def test_disabled_rules_are_not_found_by_trigger(store: Store, other: Store, jam: Session) -> None:
    on, _off = make_many(store, RuleFactory, {}, {"enabled": False}, session_id=jam.id)
    assert other.query(rules.by_trigger, jam.id, "beat") == [on]


def test_rule_priorities_are_sorted_by_weight_not_by_text(store: Store, other: Store, jam: Session) -> None:
    make_many(store, RuleFactory, *[{"priority": priority} for priority in reversed(Priority)], session_id=jam.id)
    found = other.query(rules.by_trigger, jam.id, "beat")
    assert [rule.priority.name for rule in found] == ["CRITICAL", "HIGH", "NORMAL", "LOW", "IDLE"]


def test_rules_of_equal_priority_are_sorted_oldest_first(store: Store, other: Store, jam: Session) -> None:
    ages = [EPOCH + timedelta(microseconds=n) for n in (2, 0, 1)]
    made = make_many(store, RuleFactory, *[{"created_at": age} for age in ages], session_id=jam.id)
    assert other.query(rules.by_trigger, jam.id, "beat") == [made[1], made[2], made[0]]


@pytest.mark.parametrize("word", [*cases(**NO_TEXT), *cases(nothing=None, empty="", unknown="sunrise", space="beat ")])
def test_an_unknown_kind_of_trigger_is_refused(lasting_store: Store, lasting_jam: Session, word: Any) -> None:
    with pytest.raises(InvalidInput, match="beat, marker, deadline, artifact, job_complete, transport"):
        lasting_store.query(rules.by_trigger, lasting_jam.id, word)


# Switch


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_enabling_or_disabling_a_rule_changes_nothing_else(
    store: Store, other: Store, before: bool, after: bool
) -> None:
    rule = make(store, RuleFactory, enabled=before, fired_count=3)
    switched = store.run(rules.set_enabled, rule.id, after)
    assert columns_of(switched) == columns_of(rule) | {"enabled": after}
    assert other.query(rules.get, rule.id) == switched


@pytest.mark.parametrize("enabled", BAD_BOOLEANS)
def test_enabling_a_rule_takes_only_true_or_false(lasting_store: Store, enabled: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(rules.set_enabled, "any", enabled)
    assert caught.value.field == "enabled"


# Delete


def test_deleting_a_rule_deletes_no_other(store: Store, other: Store, jam: Session) -> None:
    doomed, kept = make_many(store, RuleFactory, {}, {}, session_id=jam.id)
    store.run(rules.delete, doomed.id)
    assert other.query(rules.page_by_session, jam.id).items == [kept]


def test_firings_of_a_deleted_rule_stay_in_history(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    make(store, HistoryEntryFactory, session_id=jam.id, params={"rule_id": rule.id})
    before = dump(other)["history"]
    store.run(rules.delete, rule.id)
    assert dump(other)["history"] == before


@pytest.mark.parametrize(
    "operation",
    [
        rules.delete,
        rules.mark_fired,
        lambda uow, rule_id: rules.set_enabled(uow, rule_id, True),
    ],
    ids=["delete", "mark_fired", "set_enabled"],
)
def test_changing_a_missing_rule_is_an_error(lasting_store: Store, operation: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(operation, "nowhere")
