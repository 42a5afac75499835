"""Firing rules: counted, stamped and written into history, exactly once however many fire at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import col

from vibeweaver_store.columns import Id, Utc, UtcDateTime
from vibeweaver_store.errors import IllegalTransition
from vibeweaver_store.hot import Hot, among
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.models.weaving import HistoryEntry, Rule
from vibeweaver_store.services.rule_lookup import candidates, get, parse_signal
from vibeweaver_store.services.rule_revisions import revise
from vibeweaver_store.services.session_rows import hold_rules
from vibeweaver_store.services.sessions import hold, topic
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

FIRED = "rule.fired"
"""The action under which firings stand in history."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One rule matched by one signal. ``rule`` shows its count and time of last firing with this one in it."""

    rule: Rule
    signal: Signal
    fired_at: datetime

    @property
    def action(self) -> Action:
        """What the caller is to do now."""
        return self.rule.action


def fire(uow: UnitOfWork, session_id: str, signal: Signal) -> list[Firing]:
    """Fire the rules that a signal matches: count, stamp, switch one-shots off, and write each into history.

    It takes the same five statements however many rules match (on PostgreSQL one more, for who follows the history).
    However many processes fire the same signal at once, a one-shot fires once and no count is lost: SQLite has one
    writer at a time, and on PostgreSQL the rules are locked, so that who comes second sees the one-shot switched off.

    Returns:
        What fired, by priority, then age of the rule.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the signal is none of ``signals``.
    """
    return fire_and_tell(uow, session_id, signal).firings


@dataclass(frozen=True, slots=True)
class Fired:
    """What was fired, with the revisions of the session's rules before and after it."""

    before: int
    after: int
    firings: list[Firing]


def fire_and_tell(uow: UnitOfWork, session_id: str, signal: Signal) -> Fired:
    """Fire as :func:`fire` does, and tell which revision of the rules it fired from, and which it left.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the signal is none of ``signals``.
    """
    checked = parse_signal(signal)
    # Before its rules, as whoever deletes it does: the other way round is a deadlock.
    before, _ = hold_rules(uow, session_id)
    after = before
    locked = candidates(uow, session_id, checked, locked=True)
    matched = [rule for rule in locked if rule.trigger.matches(checked)]
    if matched:
        after = revise(uow, session_id)
        _count(uow, matched, uow.now())
        _record(uow, matched, checked)
    return Fired(before, after, [Firing(rule, checked, uow.now()) for rule in matched])


def _count(uow: UnitOfWork, rules: Sequence[Rule], at: datetime) -> None:
    _COUNT.count(uow, ids=[rule.id for rule in rules], at=at)
    for rule in rules:
        # The rows are locked, so what the statement made of them is known.
        set_committed_value(rule, "fired_count", rule.fired_count + 1)
        set_committed_value(rule, "last_fired_at", at)
        set_committed_value(rule, "enabled", not rule.one_shot)


def _fired_values(at: Any) -> dict[str, Any]:
    return {
        "fired_count": col(Rule.fired_count) + 1,
        "last_fired_at": at,
        "enabled": sa.case((col(Rule.one_shot) == sa.true(), sa.false()), else_=sa.true()),
    }


_ENTRIES: Final = HotInsert(HistoryEntry)
_COUNT: Final = Hot(
    sa.update(Rule).where(among(col(Rule.id), "ids")).values(**_fired_values(sa.bindparam("at", type_=UtcDateTime())))
)


def _record(uow: UnitOfWork, rules: Sequence[Rule], signal: Signal | None) -> None:
    told = None if signal is None else signal.model_dump(mode="json")
    fired = [
        {
            "rule_id": rule.id,
            "trigger": rule.trigger.model_dump(mode="json"),
            "action": rule.action.model_dump(mode="json"),
            "signal": told,
        }
        for rule in rules
    ]
    session_id = rules[0].session_id
    uow.announce(topic(session_id))
    rows = [{"params": params} for params in fired]
    entry = {"session_id": session_id, "action": FIRED, "result": None, "success": True, "created_at": uow.now()}
    _ENTRIES.insert_many(uow, rows, **entry)


def mark_fired(uow: UnitOfWork, rule_id: str, at: datetime | None = None) -> Rule:
    """Count one firing of a rule that the caller decided on itself, one that is due say.

    It is stamped ``at`` (now by default), a one-shot is switched off, and history tells of it. Of several callers
    at once, one is given a one-shot or a deadline, and the others the error.

    Raises:
        NotFound: there is no such rule.
        IllegalTransition: it is not enabled, or is a deadline that has fired.
        InvalidInput: ``at`` is naive.
    """
    key = require(Id, rule_id, field="rule_id")
    instant: datetime = require(Utc, uow.now() if at is None else at, field="at")
    session_id = get(uow, key).session_id
    hold(uow, session_id, active=False)
    unspent = sa.or_(col(Rule.trigger_type) != TriggerType.DEADLINE, col(Rule.fired_count) == 0)
    statement = (
        sa.update(Rule)
        .where(col(Rule.id) == key, col(Rule.enabled) == sa.true(), unspent)
        .values(**_fired_values(instant))
    )
    counted = uow.exec(statement, execution_options={"synchronize_session": False}).rowcount
    rule = get(uow, key)
    if counted == 0:
        raise IllegalTransition("rule", key, "fired" if rule.enabled else "disabled", "fired")
    revise(uow, session_id)
    _record(uow, [rule], None)
    return rule
