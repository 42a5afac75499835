"""The transport plays each beat once, in its own unit of work, and fires what the beat calls for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shared_data import MUSIC, needs_shared_data
from vibeweaver_store import (
    Priority,
    Session,
    Store,
    UnitOfWork,
    actions,
    history,
    markers,
    rules,
    sessions,
    signals,
    stats,
    triggers,
)
from vibeweaver_store.errors import InvalidInput, NotFound, StoreUnavailable
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.triggers import Trigger
from vibeweaver_store.services import transport
from vibeweaver_store.services.markers import NewMarker
from vibeweaver_store.services.transport import Performance, Step, TempoChange, Timeline, play, step

BAR = actions.Notify(message="bar")
STEADY = Timeline(8, (TempoChange(0, 120),))


class FakeTime:
    """A clock that goes on only while somebody sleeps, or as much as ``work`` says at each look."""

    def __init__(self, work: float = 0.0) -> None:
        self.now = 1000.0
        self.work = work
        self.slept: list[float] = []

    def monotonic(self) -> float:
        self.now += self.work
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def song(store: Store) -> Session:
    return store.run(sessions.create, name="song", tempo_bpm=120)


@pytest.fixture
def add(store: Store, song: Session) -> Callable[..., str]:
    def add_rule(trigger: Trigger, action: Action = BAR, **options: object) -> str:
        return store.run(rules.add, song.id, trigger, action, **options).id  # type: ignore[arg-type]  # as rules.add

    return add_rule


def steps_of(store: Store, session: Session, timeline: Timeline) -> list[Step]:
    steps: list[Step] = []
    play(store, session.id, timeline, on_step=steps.append)
    return steps


# --- the timeline ----------------------------------------------------------------------------------------------


def test_a_timeline_lasts_to_its_last_beat() -> None:
    assert Timeline(8, (TempoChange(0, 120), TempoChange(4, 60))).duration_seconds == 6


def test_a_timeline_without_length_has_no_duration() -> None:
    assert Timeline(0, (TempoChange(0, 120),)).duration_seconds == 0


@pytest.mark.parametrize(
    ("beats", "tempo_map", "reason"),
    [
        (-1, (TempoChange(0, 120),), "beats"),
        (8, (), "begin with a tempo at beat 0"),
        (8, (TempoChange(1, 120),), "begin with a tempo at beat 0"),
        (8, (TempoChange(0, 120), TempoChange(4, 60), TempoChange(4, 90)), "order"),
        (8, (TempoChange(0, 120), TempoChange(float("nan"), 60)), "finite"),
        (8, (TempoChange(0, 120), TempoChange(float("inf"), 60)), "finite"),
        (8, (TempoChange(0, 0.5),), "outside 1 to 999"),
        (8, (TempoChange(0, float("nan")),), "finite"),
    ],
)
def test_an_invalid_timeline_is_refused(beats: int, tempo_map: tuple[TempoChange, ...], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        Timeline(beats, tempo_map)


beat_places = st.floats(0, 1000)
tempo_maps = st.dictionaries(beat_places, st.floats(1, 999), max_size=8).map(
    lambda later: tuple(TempoChange(beat, bpm) for beat, bpm in sorted({0.0: 120.0, **later}.items()))
)


@given(tempo_map=tempo_maps, beat=beat_places, other=beat_places)
def test_seconds_of_a_timeline_never_run_backwards(
    tempo_map: tuple[TempoChange, ...], beat: float, other: float
) -> None:
    timeline = Timeline(1000, tempo_map)

    assert timeline.seconds_at(min(beat, other)) <= timeline.seconds_at(max(beat, other))


# --- one beat --------------------------------------------------------------------------------------------------


def test_the_transport_ticks_each_beat_once_from_0_to_the_last(store: Store, song: Session) -> None:
    assert [each.beat for each in steps_of(store, song, STEADY)] == list(range(9))


def test_a_timeline_without_length_has_one_beat(store: Store, song: Session) -> None:
    assert [each.beat for each in steps_of(store, song, Timeline(0, STEADY.tempo_map))] == [0]


def test_the_transport_fires_a_beat_rule_on_its_beats(store: Store, song: Session, add: Callable[..., str]) -> None:
    add(triggers.Beat(divisor=4))

    assert [each.beat for each in steps_of(store, song, STEADY) if each.firings] == [0, 4, 8]


def test_markers_belong_to_the_beat_before_them(store: Store, song: Session) -> None:
    places = [NewMarker(0, "start"), NewMarker(2.0, "on two"), NewMarker(2.999, "late two"), NewMarker(8, "end")]
    store.run(markers.add_many, song.id, places)

    reached = {each.beat: [marker.name for marker in each.markers] for each in steps_of(store, song, STEADY)}

    assert {beat: names for beat, names in reached.items() if names} == {
        0: ["start"],
        2: ["on two", "late two"],
        8: ["end"],
    }


def test_the_transport_reaches_a_marker_between_the_last_beat_and_the_next(store: Store, song: Session) -> None:
    store.run(markers.add, song.id, 8.5, "coda")

    assert [marker.name for marker in steps_of(store, song, STEADY)[-1].markers] == ["coda"]


def test_the_transport_does_not_reach_a_marker_after_the_end(store: Store, song: Session) -> None:
    store.run(markers.add, song.id, 9, "encore")

    assert not any(each.markers for each in steps_of(store, song, STEADY))


def test_the_transport_fires_a_marker_rule_at_each_marker_of_its_name(
    store: Store, song: Session, add: Callable[..., str]
) -> None:
    rule = add(triggers.Marker(name="chorus"))
    store.run(markers.add_many, song.id, [NewMarker(beat, "chorus") for beat in (1, 5, 5.5)])

    assert play(store, song.id, STEADY).by_rule == {rule: 3}


def test_the_transport_fires_a_beat_before_its_markers(store: Store, song: Session, add: Callable[..., str]) -> None:
    at_marker = add(triggers.Marker(name="drop"), priority=Priority.CRITICAL)
    at_beat = add(triggers.Beat(divisor=4), priority=Priority.IDLE)
    store.run(markers.add, song.id, 4, "drop")

    fired = [firing.rule.id for firing in steps_of(store, song, STEADY)[4].firings]

    assert fired == [at_beat, at_marker]


@pytest.mark.parametrize("drive", ["sync"])
def test_the_transport_reaches_any_number_of_markers_of_a_beat(store: Store, song: Session) -> None:
    store.run(markers.add_many, song.id, [NewMarker(2 + n / 2000, f"m{n}") for n in range(1050)])

    reached = store.run(step, song.id, 2, STEADY).markers

    assert [marker.name for marker in reached] == [f"m{n}" for n in range(1050)]


def test_the_transport_sets_the_session_to_the_tempo_map(store: Store, song: Session) -> None:
    tempos: list[float | None] = []
    timeline = Timeline(3, (TempoChange(0, 120), TempoChange(1.5, 90), TempoChange(3, 60)))

    def look(_step: Step) -> None:
        tempos.append(store.query(sessions.get, song.id).tempo_bpm)

    play(store, song.id, timeline, on_step=look)

    assert tempos == [120, 120, 90, 60]


def test_the_transport_does_not_write_to_a_session_while_its_tempo_holds(store: Store, song: Session) -> None:
    before = store.query(sessions.get, song.id).updated_at

    play(store, song.id, STEADY)

    assert store.query(sessions.get, song.id).updated_at == before


def test_a_transport_step_has_its_tempo(store: Store, song: Session) -> None:
    assert store.run(step, song.id, 2, Timeline(8, (TempoChange(0, 120), TempoChange(2, 66)))).tempo_bpm == 66


def test_the_transport_fires_a_deadline_rule_once_ahead_of_its_beat(
    store: Store, song: Session, add: Callable[..., str]
) -> None:
    store.run(stats.record, "pads", 1000)  # two beats at 120 bpm
    rule = add(triggers.Deadline(beat=6), actions.Sample(space="pads"))

    started = {each.beat: each.deadlines for each in steps_of(store, song, STEADY) if each.deadlines}

    assert [(beat, due.rule.id, due.rule.fired_count) for beat, (due,) in started.items()] == [(4, rule, 1)]


def test_the_transport_skips_a_deadline_rule_fired_by_another_process(
    store: Store, other: Store, song: Session, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = add(triggers.Deadline(beat=0))
    due = rules.due

    def due_and_then_taken(uow: UnitOfWork, session_id: str, position_beat: float) -> list[rules.DueRule]:
        found = due(uow, session_id, position_beat)
        rules.mark_fired(uow, rule)  # as if another transaction had committed in between
        return found

    monkeypatch.setattr(rules, "due", due_and_then_taken)

    assert store.run(step, song.id, 0, STEADY).deadlines == ()
    assert other.query(rules.get, rule).fired_count == 1


def test_the_transport_commits_each_beat(store: Store, other: Store, song: Session, add: Callable[..., str]) -> None:
    rule = add(triggers.Beat(divisor=1))
    counts: list[int] = []

    def look(_step: Step) -> None:
        counts.append(other.query(rules.get, rule).fired_count)

    play(store, song.id, STEADY, on_step=look)

    assert counts == list(range(1, 10))


def test_a_failed_beat_of_the_transport_leaves_nothing(
    store: Store, other: Store, song: Session, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = add(triggers.Beat(divisor=1))

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(transport, "_start_due", fail)
    with pytest.raises(StoreUnavailable):
        play(store, song.id, Timeline(8, (TempoChange(0, 90),)))

    assert other.query(rules.get, rule).fired_count == 0
    assert other.query(sessions.get, song.id).tempo_bpm == 120


# --- the whole -------------------------------------------------------------------------------------------------


def test_the_transport_signals_playing_and_stopped(store: Store, song: Session, add: Callable[..., str]) -> None:
    playing = add(triggers.Transport(state="playing"))
    beat = add(triggers.Beat(divisor=8), one_shot=True)
    stopped = add(triggers.Transport(state="stopped"))

    play(store, song.id, STEADY)

    told = store.query(history.page, song.id, oldest_first=True).items
    assert [(entry.params or {})["rule_id"] for entry in told] == [playing, beat, stopped]


def test_a_performance_counts_every_firing(store: Store, song: Session, add: Callable[..., str]) -> None:
    bars = add(triggers.Beat(divisor=4))
    begin = add(triggers.Transport(state="playing"), one_shot=True)
    deadline = add(triggers.Deadline(beat=3))
    clock = FakeTime(work=0.5)

    played = play(store, song.id, STEADY, monotonic=clock.monotonic)

    assert played == Performance(beats=9, firings=5, by_rule={bars: 3, begin: 1, deadline: 1}, deadlines=1, seconds=0.5)
    assert played.units_of_work == 11
    assert store.query(history.count, song.id) == played.firings


def test_playing_a_session_twice_plays_all_of_it_twice(store: Store, song: Session, add: Callable[..., str]) -> None:
    bars = add(triggers.Beat(divisor=4))

    assert [play(store, song.id, STEADY).by_rule[bars] for _ in range(2)] == [3, 3]


def test_a_missing_session_cannot_be_played(store: Store) -> None:
    with pytest.raises(NotFound):
        play(store, "nobody", STEADY)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_transport_stops(
    store: Store, song: Session, add: Callable[..., str], interruption: type[BaseException]
) -> None:
    bars = add(triggers.Beat(divisor=1))
    stopped = add(triggers.Transport(state="stopped"))

    def interrupt(at: Step) -> None:
        if at.beat == 2:
            raise interruption

    with pytest.raises(interruption):
        play(store, song.id, STEADY, on_step=interrupt)

    assert [store.query(rules.get, rule).fired_count for rule in (bars, stopped)] == [3, 1]


# --- in real time ----------------------------------------------------------------------------------------------


def test_the_transport_in_real_time_waits_until_each_beat_is_due(store: Store, song: Session) -> None:
    clock = FakeTime()
    timeline = Timeline(4, (TempoChange(0, 120), TempoChange(2, 60)))
    times: list[float] = []

    def note(_step: Step) -> None:
        times.append(clock.now - 1000)

    play(store, song.id, timeline, realtime=True, on_step=note, sleep=clock.sleep, monotonic=clock.monotonic)

    assert times == [0, 0.5, 1, 2, 3]


def test_a_performance_in_real_time_lasts_as_long_as_the_timeline(store: Store, song: Session) -> None:
    clock = FakeTime()

    played = play(store, song.id, STEADY, realtime=True, sleep=clock.sleep, monotonic=clock.monotonic)

    assert played.seconds == STEADY.duration_seconds == 4


def test_a_late_beat_of_the_transport_delays_no_later_beat(store: Store, song: Session) -> None:
    clock = FakeTime()
    times: list[float] = []

    def dawdle(at: Step) -> None:
        times.append(clock.now - 1000)
        if at.beat == 1:
            clock.now += 1.2

    play(store, song.id, STEADY, realtime=True, on_step=dawdle, sleep=clock.sleep, monotonic=clock.monotonic)

    assert times == pytest.approx([0, 0.5, 1.7, 1.7, 2, 2.5, 3, 3.5, 4])


def test_the_transport_does_not_sleep_unless_in_real_time(store: Store, song: Session) -> None:
    clock = FakeTime()

    play(store, song.id, STEADY, sleep=clock.sleep, monotonic=clock.monotonic)

    assert clock.slept == []


# --- a real clock, early and late ------------------------------------------------------------------------------


def beat_times(file: Path) -> list[float]:
    lines = file.read_text().splitlines()
    return [float(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def position_of(seconds: float, beats: list[float]) -> float:
    """Where a moment lies between the beats that people tapped, in beats from the first."""
    before = min(max(bisect_right(beats, seconds) - 1, 0), len(beats) - 2)
    return before + (seconds - beats[before]) / (beats[before + 1] - beats[before])


@needs_shared_data
def test_a_beat_rule_fires_every_fourth_beat_by_an_inexact_clock(
    store: Store, song: Session, add: Callable[..., str]
) -> None:
    """The beats are those that people tapped; the clock is a beat tracker's, which found them by ear."""
    tapped, heard = (beat_times(MUSIC / f"mireval-beat__{name}.txt") for name in ("ref00", "est00"))
    positions = [position_of(seconds, tapped) for seconds in heard]
    ticks = dict.fromkeys(signals.BeatTick.nearest(position) for position in positions)
    add(triggers.Beat(divisor=4))

    with store.begin() as uow:
        fired = [tick.beat for tick in ticks if rules.fire(uow, song.id, tick)]

    off = [position - round(position) for position in positions]
    assert min(off) < -0.3
    assert max(off) > 0.3
    assert len(ticks) == 521
    assert fired == list(range(8, 527, 4))
    assert all(later - earlier == 4 for earlier, later in pairwise(fired))
