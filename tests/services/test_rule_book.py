"""A book of rules answers as the database would, whoever changes the rules in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.scene import dump, make, make_many
from tests.services.variants import FIRING, NOT_FIRING, called
from tests.spawning import Process, Processes
from vibeweaver_store import (
    InvalidInput,
    NotFound,
    Priority,
    Rule,
    RuleBook,
    Session,
    Store,
    UnitOfWork,
    actions,
    rules,
    sessions,
    signals,
    triggers,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger
from vibeweaver_store.services import rule_book, rule_firing
from vibeweaver_store.testing import EPOCH, RuleFactory, SettableClock

TICK = signals.BeatTick(beat=0)
DROP = signals.MarkerReached(name="drop", beat=1.0)


def warm(book: RuleBook, *each: Signal) -> None:
    """Ask twice: the first question since a change is the query's, the second has the rules read."""
    for signal in each * 2:
        book.match(signal)


@pytest.mark.parametrize(("trigger", "signal"), FIRING + NOT_FIRING, ids=called)
def test_a_rule_book_matches_a_signal_as_the_database_does(
    lasting_store: Store, trigger: Trigger, signal: Signal
) -> None:
    rule = make(lasting_store, RuleFactory, trigger=trigger)
    book = lasting_store.rule_book(rule.session_id)

    for _ in range(3):
        assert book.match(signal) == lasting_store.query(rules.match, rule.session_id, signal)


# --- side by side ----------------------------------------------------------------------------------------------

NAMES = st.text("abAB é🥁", min_size=1, max_size=2).filter(str.strip)
SOME_TRIGGERS = st.sampled_from([trigger for trigger, _ in FIRING + NOT_FIRING]) | st.one_of(
    st.builds(triggers.Beat, divisor=st.integers(1, 6)),
    st.builds(triggers.Marker, name=NAMES),
    st.builds(triggers.Artifact, tag=st.none() | NAMES),
    st.builds(triggers.JobComplete, job_id=NAMES),
    st.builds(triggers.Transport, state=NAMES),
    st.builds(triggers.Deadline, beat=st.integers(0, 6)),
)
SOME_SIGNALS = st.sampled_from([signal for _, signal in FIRING + NOT_FIRING]) | st.one_of(
    st.builds(signals.BeatTick, beat=st.integers(0, 60)),
    st.builds(signals.MarkerReached, name=NAMES, beat=st.just(1.0)),
    st.builds(signals.ArtifactCreated, tags=st.lists(NAMES, max_size=3)),
    st.builds(signals.JobFinished, job_id=NAMES),
    st.builds(signals.TransportChanged, state=NAMES),
)


@dataclass(frozen=True)
class Add:
    trigger: Trigger
    priority: Priority
    one_shot: bool
    enabled: bool
    age: int


@dataclass(frozen=True)
class Switch:
    which: int
    enabled: bool


@dataclass(frozen=True)
class Delete:
    which: int


@dataclass(frozen=True)
class Match:
    signal: Signal


@dataclass(frozen=True)
class Fire:
    signal: Signal


ADD = st.builds(Add, SOME_TRIGGERS, st.sampled_from(Priority), st.booleans(), st.booleans(), st.integers(0, 3))
STEPS = st.lists(
    ADD
    | st.builds(Switch, st.integers(0, 5), st.booleans())
    | st.builds(Delete, st.integers(0, 5))
    | st.builds(Match, SOME_SIGNALS)
    | st.builds(Fire, SOME_SIGNALS),
    max_size=14,
)


def told(rule: Rule) -> dict[str, Any]:
    """A rule without what tells it from its twin in the other session."""
    return rule.model_dump(exclude={"session_id", "id"}) | {"id": rule.id.partition(" ")[2]}


class Twins:
    """Two sessions with the same rules: one is asked through a book, the other through the services."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.booked, self.plain = (store.run(sessions.create, name="twin").id for _ in range(2))
        self.book = store.rule_book(self.booked)
        self.made = 0
        self.numbers: list[int] = []

    def take(self, step: Add | Switch | Delete | Match | Fire) -> None:
        if isinstance(step, Add):
            self.add(step)
        elif isinstance(step, Match):
            expected = self.store.query(rules.match, self.plain, step.signal)
            for _ in range(3):  # by the query, by the rules that are read, by those that were
                assert [told(rule) for rule in self.book.match(step.signal)] == [told(rule) for rule in expected]
        elif isinstance(step, Fire):
            fired = self.store.run(rules.fire, self.plain, step.signal)
            by_book = self.book.fire(step.signal)
            assert [told(each.rule) for each in by_book] == [told(each.rule) for each in fired]
            assert [each.signal for each in by_book] == [each.signal for each in fired]
        elif self.numbers:
            self.change(step)

    def change(self, step: Switch | Delete) -> None:
        number = self.numbers[step.which % len(self.numbers)]
        if isinstance(step, Delete):
            self.numbers.remove(number)
        for session_id in (self.booked, self.plain):
            if isinstance(step, Delete):
                self.store.run(rules.delete, f"{session_id} {number}")
            else:
                self.store.run(rules.set_enabled, f"{session_id} {number}", step.enabled)

    def add(self, step: Add) -> None:
        self.made += 1
        self.numbers.append(self.made)
        for session_id in (self.booked, self.plain):
            make(
                self.store,
                RuleFactory,
                session_id=session_id,
                id=f"{session_id} {self.made}",
                trigger=step.trigger,
                action=actions.Notify(message=f"{self.made}"),
                priority=step.priority,
                one_shot=step.one_shot,
                enabled=step.enabled,
                created_at=EPOCH + timedelta(seconds=step.age),
            )


@given(first=st.lists(ADD, max_size=8), then=STEPS, last=SOME_SIGNALS)
def test_a_rule_book_returns_exactly_what_the_services_return(
    store: Store, first: list[Add], then: list[Any], last: Signal
) -> None:
    twins = Twins(store)
    for step in [*first, *then, Match(last), Fire(last), Match(last)]:
        twins.take(step)


# --- never stale -----------------------------------------------------------------------------------------------


def ids(found: list[Rule]) -> list[str]:
    return [rule.id for rule in found]


def counts(found: list[Rule]) -> list[int]:
    return [rule.fired_count for rule in found]


def test_a_rule_book_sees_each_change_of_the_rules(store: Store, other: Store, jam: Session) -> None:
    first, second = make_many(other, RuleFactory, {"priority": Priority.LOW}, {}, session_id=jam.id)
    new = rules.NewRule(triggers.Beat(divisor=1), actions.Play())
    book = store.rule_book(jam.id)
    warm(book, TICK)
    for change_them, count_each in [
        (lambda uow: rules.set_enabled(uow, second.id, False), [0]),
        (lambda uow: rules.set_enabled(uow, second.id, True), [0, 0]),
        (lambda uow: rules.fire(uow, jam.id, TICK), [1, 1]),
        (lambda uow: rules.mark_fired(uow, second.id), [2, 1]),
        (lambda uow: rules.delete(uow, first.id), [2]),
        (lambda uow: rules.add(uow, jam.id, new.trigger, new.action), [2, 0]),
        (lambda uow: rules.add_many(uow, jam.id, [new] * 2), [2, 0, 0, 0]),
        (lambda uow: sessions.delete(uow, jam.id), []),
    ]:
        other.run(change_them)
        assert counts(book.match(TICK)) == count_each
        warm(book, TICK)
        assert counts(book.match(TICK)) == count_each


def test_a_rule_book_sees_the_edit_of_a_row(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    with other.begin() as uow:
        rules.get(uow, rule.id).priority = Priority.CRITICAL
    assert [found.priority for found in book.match(TICK)] == [Priority.CRITICAL]
    warm(book, TICK)
    with other.begin() as uow:
        uow.delete(rules.get(uow, rule.id))
    assert book.match(TICK) == []


def test_rule_books_of_both_sessions_see_a_rule_that_moves_between_them(
    store: Store, other: Store, jam: Session
) -> None:
    rule = make(store, RuleFactory)
    there, here = store.rule_book(rule.session_id), store.rule_book(jam.id)
    warm(there, TICK)
    warm(here, TICK)
    assert (ids(there.match(TICK)), ids(here.match(TICK))) == ([rule.id], [])
    with other.begin() as uow:
        rules.get(uow, rule.id).session_id = jam.id
    assert (ids(there.match(TICK)), ids(here.match(TICK))) == ([], [rule.id])


def test_a_rule_book_sees_a_custom_statement_that_was_announced(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    with other.begin() as uow:
        uow.execute(sa.delete(Rule))
        rules.revise(uow, jam.id)
    assert book.match(TICK) == []


def test_a_rule_book_does_not_see_a_change_rolled_back(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    with pytest.raises(ZeroDivisionError), other.begin() as uow:
        rules.delete(uow, rule.id)
        raise ZeroDivisionError
    assert ids(book.match(TICK)) == [rule.id]


def test_merging_an_old_session_does_not_restore_its_rules_revision(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    before = other.query(sessions.get, jam.id)
    warm(book, TICK)
    other.run(rules.set_enabled, rule.id, False)
    before.name = "renamed"
    with other.begin() as uow:
        uow.merge(before)
    assert other.query(sessions.get, jam.id).name == "renamed"
    assert book.match(TICK) == []


def test_a_rule_book_sees_rules_changed_by_others_as_it_fires(
    store: Store, other: Store, jam: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_many(store, RuleFactory, {}, {}, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    fire = rule_firing.fire_and_tell

    def fire_late(uow: UnitOfWork, *arguments: Any) -> Any:
        monkeypatch.undo()
        if uow.backend == "sqlite":  # its one writer is this one: as if it had come before
            rules.set_enabled(uow, first.id, False)
        else:
            other.run(rules.set_enabled, first.id, False)
        return fire(uow, *arguments)

    monkeypatch.setattr(rule_book, "fire_and_tell", fire_late)
    assert [each.rule.id for each in book.fire(TICK)] == [second.id]
    assert ids(book.match(TICK)) == [second.id]


def test_a_rule_book_that_only_fires_drops_rules_switched_off(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    other.run(rules.set_enabled, rule.id, False)
    for _ in range(3):
        assert book.fire(TICK) == []
    with recorded_statements(store) as sent:
        assert book.fire(TICK) == []
    assert len(sent) == 1


def test_a_rule_book_fires_a_rule_added_without_an_announcement(store: Store, other: Store, jam: Session) -> None:
    rule = make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    copied = [column for column in Rule.__table__.c if column.name != "id"]  # type: ignore[attr-defined]
    untold = sa.select(sa.literal("untold"), *copied).where(Rule.__table__.c.id == rule.id)  # type: ignore[attr-defined]
    with other.begin() as uow:
        uow.execute(sa.insert(Rule.__table__).from_select(["id", *copied], untold))  # type: ignore[attr-defined]
    assert {each.rule.id for each in book.fire(TICK)} == {rule.id, "untold"}
    assert counts(book.match(TICK)) == [1, 1]


def test_diverging_states_of_a_session_never_share_a_rules_revision(store: Store, jam: Session) -> None:
    """As when a backup is restored: a count would come to the same numbers again, with other rules."""
    undone: list[int | None] = []
    with pytest.raises(ZeroDivisionError), store.begin() as uow:
        rules.add(uow, jam.id, triggers.Beat(divisor=1), actions.Play())
        undone.append(rules.revision(uow, jam.id))
        raise ZeroDivisionError
    store.run(rules.add, jam.id, triggers.Beat(divisor=1), actions.Stop())
    assert store.query(rules.revision, jam.id) not in undone


def test_a_session_recreated_under_the_same_id_has_its_own_rules(store: Store, other: Store) -> None:
    make(store, RuleFactory, session_id=store.run(sessions.create, name="first", session_id="same").id)
    book = store.rule_book("same")
    warm(book, TICK)
    other.run(sessions.delete, "same")
    other.run(sessions.create, name="second", session_id="same")
    other.run(rules.add, "same", triggers.Beat(divisor=1), actions.Stop())
    assert [rule.action for rule in book.match(TICK)] == [actions.Stop()]


_CHANGE = """
import sys
from vibeweaver_store import Store, actions, rules, triggers
with Store.open(sys.argv[1]) as store:
    for line in sys.stdin:
        what, key = line.split()
        if what == "add":
            store.run(rules.add, key, triggers.Beat(divisor=1), actions.Play(), rule_id=f"{key} new")
        elif what == "delete":
            store.run(rules.delete, key)
        else:
            store.run(rules.set_enabled, key, what == "on")
        print("done", flush=True)
"""


@pytest.fixture
def elsewhere(processes: Processes, database: str) -> Iterator[Process]:
    """Another process, which changes a rule when it is told to."""
    process = processes.start(_CHANGE, database)
    yield process
    process.finish()


def change(process: Process, what: str, key: str) -> None:
    process.write_line(f"{what} {key}")
    assert process.read_line() == "done"


def test_a_rule_book_sees_changes_of_another_process_between_two_lookups(
    store: Store, jam: Session, elsewhere: Process
) -> None:
    rule = make(store, RuleFactory, session_id=jam.id, id=new_id())
    book = store.rule_book(jam.id)
    for _ in range(5):
        warm(book, TICK)
        assert ids(book.match(TICK)) == [rule.id]
        change(elsewhere, "off", rule.id)
        assert book.match(TICK) == []
        warm(book, TICK)
        assert book.fire(TICK) == []
        change(elsewhere, "on", rule.id)
    change(elsewhere, "delete", rule.id)
    assert book.match(TICK) == []
    assert book.fire(TICK) == []


@pytest.mark.parametrize("drive", ["sync"])
def test_a_rule_book_shared_by_threads_never_gives_stale_rules(store: Store, other: Store, jam: Session) -> None:
    """What was committed before a thread asks is in its answer: the counts that it sees never go back."""
    rule = make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    committed, wrong = [0], []

    def ask() -> None:
        while committed[0] < 60:
            at_least = committed[0]
            seen = book.match(TICK)[0].fired_count
            if seen < at_least:
                wrong.append((at_least, seen))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        (book if number % 2 else other.rule_book(jam.id)).fire(TICK)
        committed[0] = number + 1
    for thread in threads:
        thread.join()

    assert wrong == []
    assert store.query(rules.get, rule.id).fired_count == 60


# --- what it costs ---------------------------------------------------------------------------------------------


@pytest.fixture
def full(store: Store, jam: Session) -> Session:
    """A session with rules on beats and on markers."""
    store.run(rules.add_many, jam.id, [rules.NewRule(triggers.Beat(divisor=4), actions.Play())] * 20)
    store.run(rules.add_many, jam.id, [rules.NewRule(triggers.Marker(name="drop"), actions.Play(), one_shot=True)] * 20)
    return jam


def test_an_up_to_date_rule_book_reads_one_number(store: Store, full: Session) -> None:
    book = store.rule_book(full.id)
    warm(book, TICK)
    with recorded_statements(store) as sent:
        assert len(book.match(TICK)) == 20
        assert book.match(signals.BeatTick(beat=1)) == []
    assert len(sent) == 2
    assert all(statement.startswith("SELECT sessions.rules_rev") for statement in sent)


def test_a_rule_book_signal_that_fires_no_rule_writes_nothing(store: Store, full: Session) -> None:
    book = store.rule_book(full.id)
    warm(book, TICK)
    with recorded_statements(store) as sent:
        assert book.fire(signals.BeatTick(beat=1)) == []
    assert len(sent) == 1


def test_a_rule_book_does_not_reread_rules_after_its_own_firing(store: Store, full: Session) -> None:
    book = store.rule_book(full.id)
    warm(book, TICK, DROP)
    assert len(book.fire(DROP)) == 20
    assert len(book.fire(TICK)) == 20
    with recorded_statements(store) as sent:
        assert [rule.fired_count for rule in book.match(TICK)] == [1] * 20
        assert book.match(DROP) == []
    assert len(sent) == 2


# --- as the services do ----------------------------------------------------------------------------------------


def test_a_rule_book_returns_copies_the_caller_may_edit(store: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    book.match(TICK)[0].priority = Priority.IDLE
    book.fire(TICK)[0].rule.fired_count = 99
    assert [(rule.priority, rule.fired_count) for rule in book.match(TICK)] == [(Priority.NORMAL, 1)]


def test_a_rule_from_a_rule_book_can_be_edited_in_a_unit_of_work(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id)
    book = store.rule_book(jam.id)
    warm(book, TICK)
    with store.begin() as uow:
        row = uow.merge(book.match(TICK)[0])
        row.enabled = False
    assert book.match(TICK) == []


def test_a_rule_book_firing_is_counted_stamped_and_logged_in_history(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    made = make_many(store, RuleFactory, {"one_shot": True}, {}, session_id=jam.id)
    fired = store.rule_book(jam.id).fire(TICK)
    assert [each.fired_at for each in fired] == [clock(), clock()]
    for rule in made:
        found = other.query(rules.get, rule.id)
        assert (found.fired_count, found.last_fired_at, found.enabled) == (1, clock(), not rule.one_shot)
    assert len(dump(other)["history"]) == 2


def test_a_rule_book_firing_in_a_missing_session_is_not_found(lasting_store: Store) -> None:
    book = lasting_store.rule_book("nowhere")
    assert book.match(TICK) == []
    with pytest.raises(NotFound, match="nowhere"):
        book.fire(TICK)


@pytest.mark.parametrize("signal", [None, "beat_tick", {"type": "sunrise"}, {"type": "beat_tick", "beat": -1.5}])
def test_a_rule_book_refuses_an_invalid_signal(lasting_store: Store, lasting_jam: Session, signal: Any) -> None:
    book = lasting_store.rule_book(lasting_jam.id)
    with pytest.raises(InvalidInput):
        book.match(signal)
    with pytest.raises(InvalidInput):
        book.fire(signal)


@pytest.mark.parametrize("session_id", [None, 7, " ", "a\x00b"])
def test_a_rule_book_of_an_invalid_session_id_is_refused(lasting_store: Store, session_id: Any) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.rule_book(session_id)
