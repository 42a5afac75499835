"""The transport: plays a session from its first beat to its last, and fires its rules on the way.

Beat 0 is where bar 1 begins. The beats of a count-in or a pick-up bar lie below 0; all that counts beats takes them.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import attrgetter
from typing import Annotated

from pydantic import Field

from vibeweaver_store.columns import Count, FiniteFloat
from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound, StoreError
from vibeweaver_store.models import Marker
from vibeweaver_store.models.documents import BeatNumber
from vibeweaver_store.models.signals import BeatTick, MarkerReached, TransportChanged
from vibeweaver_store.paging import MAX_LIMIT, iterate
from vibeweaver_store.services import markers, rules, sessions
from vibeweaver_store.services.rules import DueRule, Firing
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

# --- where the beats are ---------------------------------------------------------------------------------------


_FirstBeat = Annotated[BeatNumber, Field(le=0)]


@dataclass(frozen=True, slots=True)
class TempoChange:
    """From ``beat`` on, ``tempo_bpm`` beats a minute, 1 to 999."""

    beat: float
    tempo_bpm: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """How far a transport goes, and how fast.

    Attributes:
        beats: the last beat that is reached; 0 for a timeline without length.
        tempo_map: by beat, the first at beat 0 or before, no two at the same beat.
        first_beat: the beat that it begins with: 0, or below 0 with a count-in or a pick-up bar.

    Raises:
        InvalidInput: on being made from a last beat below 0, a first beat above 0, or a tempo map that is empty,
            unordered, begins later than at beat 0, or has a tempo outside 1 to 999 bpm.
    """

    beats: int
    tempo_map: tuple[TempoChange, ...]
    first_beat: int = 0
    _starts: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(Count, self.beats, field="beats")
        require(_FirstBeat, self.first_beat, field="first_beat")
        object.__setattr__(self, "tempo_map", tuple(self.tempo_map))
        _check_tempo_map(self.tempo_map)
        object.__setattr__(self, "_starts", _starts_in_seconds(self.tempo_map))

    @property
    def length_beats(self) -> int:
        """How many beats lie between the first beat and the last."""
        return self.beats - self.first_beat

    @property
    def duration_seconds(self) -> float:
        """The seconds from the first beat to the last."""
        return self.seconds_at(self.beats) - self.seconds_at(self.first_beat)

    def tempo_at(self, beat: float) -> float:
        """Return the tempo in bpm at this beat; a change counts from its own beat on.

        Before the first change its tempo holds, after the end the last one.
        """
        return self.tempo_map[self._index_at(beat)].tempo_bpm

    def seconds_at(self, beat: float) -> float:
        """Return the seconds from beat 0 to this beat; negative before beat 0, and counted on after the end."""
        index = self._index_at(beat)
        change = self.tempo_map[index]
        return self._starts[index] + (beat - change.beat) * 60 / change.tempo_bpm

    def _index_at(self, beat: float) -> int:
        return max(bisect_right(self.tempo_map, beat, key=attrgetter("beat")) - 1, 0)


def _check_tempo_map(tempo_map: Sequence[TempoChange]) -> None:
    if not tempo_map or tempo_map[0].beat > 0:
        raise InvalidInput("tempo_map: must begin with a tempo at beat 0 or before", field="tempo_map")
    for change in tempo_map:
        require(FiniteFloat, change.beat, field="tempo_map")
        if not 1 <= require(FiniteFloat, change.tempo_bpm, field="tempo_map") <= 999:
            raise InvalidInput(f"tempo_map: {change.tempo_bpm} bpm is outside 1 to 999", field="tempo_map")
    if not math.isfinite(tempo_map[-1].beat) or any(not a.beat < b.beat for a, b in pairwise(tempo_map)):
        raise InvalidInput("tempo_map: its changes must be in the order of their beats", field="tempo_map")


def _starts_in_seconds(tempo_map: Sequence[TempoChange]) -> tuple[float, ...]:
    """Return the second at which each tempo begins, counted from beat 0."""
    starts = [0.0]
    for before, after in pairwise(tempo_map):
        starts.append(starts[-1] + (after.beat - before.beat) * 60 / before.tempo_bpm)
    index = bisect_right(tempo_map, 0, key=attrgetter("beat")) - 1
    at_zero = starts[index] - tempo_map[index].beat * 60 / tempo_map[index].tempo_bpm
    return tuple(start - at_zero for start in starts)


# --- one beat --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """What one beat brought.

    Attributes:
        beat: its number.
        tempo_bpm: the tempo from it on.
        markers: those reached from this beat to before the next, by beat.
        firings: the rules that the beat and its markers fired, in the order of firing.
        deadlines: the rules whose work must start now, the most pressing first; each has fired, too.
    """

    beat: int
    tempo_bpm: float
    markers: tuple[Marker, ...]
    firings: tuple[Firing, ...]
    deadlines: tuple[DueRule, ...]


def step(uow: UnitOfWork, session_id: str, beat: int, timeline: Timeline) -> Step:
    """Play one beat of a session: set its tempo, then fire what the beat, its markers and its deadlines call for.

    A marker between this beat and the next belongs to this one. The session is written to only when the tempo is
    another than it has.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the beat is no whole number.
    """
    tick = BeatTick(beat=beat)
    tempo_bpm = timeline.tempo_at(beat)
    if sessions.get(uow, session_id).tempo_bpm != tempo_bpm:
        sessions.update(uow, session_id, tempo_bpm=tempo_bpm)
    firings = rules.fire(uow, session_id, tick)
    reached = _reached(uow, session_id, beat)
    for marker in reached:
        firings += rules.fire(uow, session_id, MarkerReached(name=marker.name, beat=marker.beat))
    return Step(beat, tempo_bpm, reached, tuple(firings), _start_due(uow, session_id, beat))


def _reached(uow: UnitOfWork, session_id: str, beat: int) -> tuple[Marker, ...]:
    return tuple(
        iterate(lambda cursor: markers.between(uow, session_id, beat, beat + 1, limit=MAX_LIMIT, cursor=cursor))
    )


def _start_due(uow: UnitOfWork, session_id: str, beat: int) -> tuple[DueRule, ...]:
    started = []
    for each in rules.due(uow, session_id, beat):
        try:
            fired = rules.mark_fired(uow, each.rule.id)
        except (IllegalTransition, NotFound):
            continue  # another process was given it, or took it away, since it was read
        started.append(replace(each, rule=fired))
    return tuple(started)


# --- the whole -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Performance:
    """What playing a session came to.

    Attributes:
        beats: how many beats were played, the first and the last among them.
        firings: how often rules fired, deadlines included.
        by_rule: the same for each rule that fired, by its id.
        deadlines: how many of the firings were deadlines.
        seconds: how long it took by the clock.
    """

    beats: int
    firings: int
    by_rule: Mapping[str, int]
    deadlines: int
    seconds: float

    @property
    def units_of_work(self) -> int:
        """How many units of work it took: one a beat, one to start and one to stop."""
        return self.beats + 2


def play(
    store: Store,
    session_id: str,
    timeline: Timeline,
    *,
    realtime: bool = False,
    on_step: Callable[[Step], None] | None = None,
    sleep: Callable[[float], object] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Performance:
    """Play a session from the timeline's first beat to its last, each beat in a unit of work of its own.

    First the transport is ``playing``, which is a signal of its own, and at last it is ``stopped``. What was played
    before an error stays. Where Ctrl-C or an exception of ``on_step`` ends it early, the transport is ``stopped``, too.

    Args:
        store: where the session is.
        session_id: which one.
        timeline: how far to play, and how fast; the session's own tempo follows it.
        realtime: wait for each beat until it is due by the tempo map, counted from the start, so that being late once
            delays nothing later. By default beats follow as fast as they can.
        on_step: called after each beat was committed.
        sleep: waits for so many seconds.
        monotonic: the clock to go by, in seconds.

    Raises:
        NotFound: there is no such session.
        StoreError: whatever a unit of work raises.
    """
    started = monotonic()
    beat_zero = started - timeline.seconds_at(timeline.first_beat)
    by_rule: Counter[str] = Counter()
    deadlines = 0

    def enter(state: str) -> None:
        by_rule.update(_ids(store.run(rules.fire, session_id, TransportChanged(state=state))))

    enter("playing")
    try:
        for beat in range(timeline.first_beat, timeline.beats + 1):
            if realtime:
                _wait_for(beat_zero + timeline.seconds_at(beat), sleep, monotonic)
            played = store.run(step, session_id, beat, timeline)
            by_rule.update([*_ids(played.firings), *_ids(played.deadlines)])
            deadlines += len(played.deadlines)
            if on_step is not None:
                on_step(played)
    except StoreError:
        raise  # the database is in trouble: ask nothing more of it
    except BaseException:
        enter("stopped")
        raise
    enter("stopped")
    return Performance(timeline.length_beats + 1, by_rule.total(), dict(by_rule), deadlines, monotonic() - started)


def _ids(fired: Iterable[Firing | DueRule]) -> list[str]:
    return [each.rule.id for each in fired]


def _wait_for(due: float, sleep: Callable[[float], object], monotonic: Callable[[], float]) -> None:
    left = due - monotonic()
    if left > 0:
        sleep(left)
