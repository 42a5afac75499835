"""Rules: when the trigger matches a signal, the action is handed to the caller.

The whole of it under one name: what is written here, and what stands in ``rule_lookup``, ``rule_firing``,
``rule_deadlines`` and ``rule_revisions``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import Id, StrictBool, parse_enum
from vibeweaver_store.errors import NotFound
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models import actions, triggers
from vibeweaver_store.models.actions import Action, ActionType
from vibeweaver_store.models.triggers import Trigger, TriggerType
from vibeweaver_store.models.weaving import Priority, Rule
from vibeweaver_store.services.arguments import expect_many, require_free_ids
from vibeweaver_store.services.rule_deadlines import DueRule, due, next_due
from vibeweaver_store.services.rule_firing import FIRED, Firing, fire, mark_fired
from vibeweaver_store.services.rule_lookup import by_trigger, find, get, match, page_by_session
from vibeweaver_store.services.rule_revisions import revise, revision
from vibeweaver_store.services.sessions import require_session
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import parse_document, require

__all__ = [
    "FIRED",
    "DueRule",
    "Firing",
    "NewRule",
    "add",
    "add_many",
    "by_trigger",
    "delete",
    "due",
    "find",
    "fire",
    "get",
    "mark_fired",
    "match",
    "next_due",
    "page_by_session",
    "revise",
    "revision",
    "set_enabled",
]


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule to be added, for :func:`add_many`; ``rule_id`` is an id of your own."""

    trigger: Trigger
    action: Action
    priority: Priority = Priority.NORMAL
    one_shot: bool = False
    enabled: bool = True
    rule_id: str | None = None


_RULES: Final = HotInsert(Rule)


def add(
    uow: UnitOfWork,
    session_id: str,
    trigger: Trigger,
    action: Action,
    *,
    priority: Priority = Priority.NORMAL,
    one_shot: bool = False,
    enabled: bool = True,
    rule_id: str | None = None,
) -> Rule:
    """Add a rule to a session.

    Args:
        uow: the unit of work to write in.
        session_id: whose rule it is.
        trigger: what it waits for; a variant of ``triggers``, or its document. A document's type may be spelled as in
            seed 000, ``JobComplete``; it is stored as ``job_complete``.
        action: what is handed to the caller when it fires; a variant of ``actions``, or its document, likewise.
        priority: which of several rules goes first: critical, high, normal, low, idle.
        one_shot: it switches itself off when it has fired.
        enabled: a rule that is not enabled never fires.
        rule_id: an id of your own; a UUIDv7 by default.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the trigger, the action or another value is refused.
        AlreadyExists: the id is taken.
    """
    rule = _build(uow, session_id, NewRule(trigger, action, priority, one_shot, enabled, rule_id))
    require_session(uow, session_id)
    if rule_id is not None:
        require_free_ids(uow, Rule, [rule_id])
    revise(uow, session_id)
    return _RULES.insert(uow, rule)


def add_many(uow: UnitOfWork, session_id: str, rules: Iterable[NewRule]) -> list[Rule]:
    """Add rules to a session, in the order given, which is also the order of their age.

    Raises:
        NotFound: there is no such session.
        InvalidInput: a rule is refused; none is added.
        AlreadyExists: an id is taken, or comes twice; none is added.
    """
    new = list(expect_many(NewRule, rules, field="rules"))
    built = [_build(uow, session_id, rule) for rule in new]
    require_session(uow, session_id)
    require_free_ids(uow, Rule, [rule.rule_id for rule in new if rule.rule_id is not None])
    if built:
        revise(uow, session_id)
    return _RULES.insert_all(uow, built)


def _build(uow: ReadUnitOfWork, session_id: str, new: NewRule) -> dict[str, Any]:
    trigger = parse_document(triggers.ADAPTER, new.trigger, field="trigger")
    action = parse_document(actions.ADAPTER, new.action, field="action")
    own_id: dict[str, Any] = {} if new.rule_id is None else {"id": new.rule_id}
    return _RULES.checked(
        {**own_id, "session_id": session_id, "one_shot": new.one_shot, "enabled": new.enabled},
        trigger_type=TriggerType(trigger.type),
        trigger_key=trigger.key,
        trigger=trigger,
        action_type=ActionType(action.type),
        action=action,
        priority=parse_enum(Priority, new.priority, field="priority"),
        created_at=uow.now(),
    )


def set_enabled(uow: UnitOfWork, rule_id: str, enabled: bool) -> Rule:
    """Switch a rule on or off; one that is so already stays so.

    Raises:
        NotFound: there is no such rule.
        InvalidInput: ``enabled`` is neither true nor false.
    """
    key = require(Id, rule_id, field="rule_id")
    value = require(StrictBool, enabled, field="enabled")
    revise(uow, get(uow, key).session_id)  # the session before its rules, as whoever fires does
    statement = sa.update(Rule).where(col(Rule.id) == key).values(enabled=value)
    uow.exec(statement, execution_options={"synchronize_session": False})
    return get(uow, key)


def delete(uow: UnitOfWork, rule_id: str) -> None:
    """Delete a rule; what it did stays in history.

    Raises:
        NotFound: there is no such rule.
    """
    key = require(Id, rule_id, field="rule_id")
    revise(uow, get(uow, key).session_id)
    if uow.exec(sa.delete(Rule).where(col(Rule.id) == key)).rowcount == 0:
        raise NotFound("rule", key)
