"""Deadlines: which rules' work must start now, so that it is done by its beat (hootenanny's scheduler)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import col, select

from vibeweaver_store.columns import BeatPosition
from vibeweaver_store.errors import CorruptData, InvalidInput
from vibeweaver_store.models.actions import space_of
from vibeweaver_store.models.triggers import Deadline, TriggerType
from vibeweaver_store.models.weaving import GenerationStats, Priority, Rule
from vibeweaver_store.services.rule_lookup import by_trigger
from vibeweaver_store.services.sessions import get as get_session
from vibeweaver_store.services.stats import DEFAULT_ESTIMATE_MS
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require

SAFETY_MARGIN: dict[Priority, float] = {
    Priority.CRITICAL: 1.5,
    Priority.HIGH: 1.2,
    Priority.NORMAL: 1.0,
    Priority.LOW: 1.0,
    Priority.IDLE: 1.0,
}
"""By how much the expected duration is stretched: what matters more starts earlier."""

_MS_A_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class DueRule:
    """A deadline rule and when its work must start.

    Attributes:
        rule: the rule.
        deadline_beat: when the work must be done.
        start_by_beat: when it must start; below 0 for what should begin before the session does.
        estimate_ms: how long the work is expected to take, without the safety margin; 0 where nothing is generated.
    """

    rule: Rule
    deadline_beat: float
    start_by_beat: float
    estimate_ms: float


def due(uow: ReadUnitOfWork, session_id: str, position_beat: float) -> list[DueRule]:
    """Return the enabled deadline rules whose work must start now, the most pressing first.

    ``start_by = deadline - estimate * tempo_bpm / 60,000 * margin``: the estimate is the average of the action's
    space, 5,000 ms where nothing is known, and 0 for an action that generates nothing; the margin is
    :data:`SAFETY_MARGIN`. A deadline is one moment: once fired (:func:`mark_fired`), a rule is not due again. One
    whose beat has passed unfired stays due.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the position is no finite number, or the session has no tempo.
        CorruptData: a rule is looked up as a deadline, and its trigger is another.
    """
    position: float = require(BeatPosition, position_beat, field="position_beat")
    return [each for each in _pending(uow, session_id) if each.start_by_beat <= position]


def next_due(uow: ReadUnitOfWork, session_id: str, position_beat: float) -> float | None:
    """Return the beat after ``position_beat`` at which the next deadline rule becomes due, or ``None`` if none will.

    It moves when the tempo, the rules or the stats do.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the position is no finite number, or the session has no tempo.
        CorruptData: a rule is looked up as a deadline, and its trigger is another.
    """
    position: float = require(BeatPosition, position_beat, field="position_beat")
    return next((each.start_by_beat for each in _pending(uow, session_id) if each.start_by_beat > position), None)


def _pending(uow: ReadUnitOfWork, session_id: str) -> list[DueRule]:
    session = get_session(uow, session_id)
    if session.tempo_bpm is None:
        raise InvalidInput(f"session {session_id!r} has no tempo, so its deadlines have no start")
    waiting = [rule for rule in by_trigger(uow, session_id, TriggerType.DEADLINE) if rule.fired_count == 0]
    averages = _averages(uow, {space for rule in waiting if (space := space_of(rule.action)) is not None})
    found = [_pace(rule, averages, session.tempo_bpm) for rule in waiting]
    return sorted(found, key=lambda each: (each.start_by_beat, each.rule.priority))


def _averages(uow: ReadUnitOfWork, spaces: set[str]) -> dict[str, float]:
    if not spaces:
        return {}
    rows = uow.exec(select(GenerationStats).where(col(GenerationStats.space).in_(sorted(spaces))))
    return {row.space: row.average_ms for row in rows}


def _pace(rule: Rule, averages: dict[str, float], tempo_bpm: float) -> DueRule:
    if not isinstance(rule.trigger, Deadline):  # a statement has changed one of the two alone
        raise CorruptData(
            f"rule {rule.id!r} is looked up as a deadline, and its trigger is {rule.trigger.type}; "
            "write trigger and trigger_type together"
        )
    space = space_of(rule.action)
    estimate_ms = 0.0 if space is None else averages.get(space, DEFAULT_ESTIMATE_MS)
    lead_beats = estimate_ms * tempo_bpm / _MS_A_MINUTE * SAFETY_MARGIN[rule.priority]
    return DueRule(rule, rule.trigger.beat, rule.trigger.beat - lead_beats, estimate_ms)
