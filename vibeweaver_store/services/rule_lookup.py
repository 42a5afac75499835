"""Finding rules: by id, by session, by trigger, and by the signal that would fire them."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from vibeweaver_store.columns import Id, parse_enum
from vibeweaver_store.errors import NotFound
from vibeweaver_store.hot import HotRows, among
from vibeweaver_store.models import signals
from vibeweaver_store.models.signals import ArtifactCreated, BeatTick, JobFinished, MarkerReached, Signal
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.models.weaving import Rule
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import parse_document, require


def get(uow: ReadUnitOfWork, rule_id: str) -> Rule:
    """Return a rule by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    rule = find(uow, rule_id)
    if rule is None:
        raise NotFound("rule", rule_id)
    return rule


def find(uow: ReadUnitOfWork, rule_id: str) -> Rule | None:
    """Return a rule by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, rule_id, field="rule_id")
    return uow.exec(select(Rule).where(col(Rule.id) == key)).one_or_none()


BY_URGENCY = (col(Rule.priority), col(Rule.created_at), col(Rule.id))


def page_by_session(
    uow: ReadUnitOfWork,
    session_id: str,
    *,
    trigger_type: TriggerType | str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Rule]:
    """Return a session's rules, enabled or not, by priority, then age; of one kind of trigger where given.

    A session that is not there has none. Filtered, it walks the session's rules and passes over the others.

    Raises:
        InvalidInput: there is no such kind of trigger, the limit is not 1 to 1,000, or the cursor is not of this
            listing.
    """
    key = require(Id, session_id, field="session_id")
    wanted = None if trigger_type is None else parse_enum(TriggerType, trigger_type, field="trigger_type")
    statement = select(Rule)
    if wanted is not None:
        statement = statement.where(col(Rule.trigger_type) == wanted)
    order = Order(["rules", key, wanted], BY_URGENCY, within=[(col(Rule.session_id), key)])
    return fetch(uow, statement, order, limit=limit, cursor=cursor)


def by_trigger(uow: ReadUnitOfWork, session_id: str, trigger_type: TriggerType | str) -> list[Rule]:
    """Return all enabled rules of a session that wait for a kind of trigger, by priority, then age.

    Not a page: a scheduler needs them whole. A session that is not there has none.

    Raises:
        InvalidInput: there is no such kind of trigger.
    """
    wanted = parse_enum(TriggerType, trigger_type, field="trigger_type")
    return _WAITING.all(uow, session_id=require(Id, session_id, field="session_id"), trigger_type=wanted)


def _enabled(*of_keys: sa.ColumnElement[bool]) -> SelectOfScalar[Rule]:
    return (
        select(Rule)
        .where(
            col(Rule.session_id) == sa.bindparam("session_id"),
            col(Rule.trigger_type) == sa.bindparam("trigger_type"),
            col(Rule.enabled) == sa.true(),
            *of_keys,
        )
        .order_by(*BY_URGENCY)
    )


def _with_key() -> sa.ColumnElement[bool]:
    return col(Rule.trigger_key) == sa.bindparam("key")


def _with_key_or_none() -> sa.ColumnElement[bool]:
    return sa.or_(col(Rule.trigger_key).is_(None), among(col(Rule.trigger_key), "keys"))


_WAITING: Final = HotRows(Rule, _enabled())
_NAMED: Final = HotRows(Rule, _enabled(_with_key()))
_NAMED_OR_NOT: Final = HotRows(Rule, _enabled(_with_key_or_none()))
_LOCKED: Final = {
    statement: HotRows(Rule, _enabled(*of_keys).with_for_update())
    for statement, of_keys in ((_WAITING, []), (_NAMED, [_with_key()]), (_NAMED_OR_NOT, [_with_key_or_none()]))
}


def parse_signal(signal: object) -> Signal:
    """Return a signal, or the signal that a document says.

    Raises:
        InvalidInput: it is none of ``signals``.
    """
    return parse_document(signals.ADAPTER, signal, field="signal")


def match(uow: ReadUnitOfWork, session_id: str, signal: Signal) -> list[Rule]:
    """Return the enabled rules that a signal would fire, by priority, then age. Nothing is counted.

    Raises:
        InvalidInput: the signal is none of ``signals``.
    """
    checked = parse_signal(signal)
    return [rule for rule in candidates(uow, session_id, checked) if rule.trigger.matches(checked)]


def candidates(uow: ReadUnitOfWork, session_id: str, signal: Signal, *, locked: bool = False) -> list[Rule]:
    """Return the enabled rules that wait for what a signal names; whether one fires, its trigger says.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    trigger_type, keys = sought(signal)
    values: dict[str, Any] = {
        "session_id": require(Id, session_id, field="session_id"),
        "trigger_type": trigger_type,
        "key": keys[0],
        "keys": keys[1:],
    }
    statement = _WAITING if keys == (None,) else _NAMED if keys[0] is not None else _NAMED_OR_NOT
    return (_LOCKED[statement] if locked else statement).all(uow, **values)


def sought(signal: Signal) -> tuple[TriggerType, tuple[str | None, ...]]:
    """Return which kind of trigger a signal may fire, and the keys that such triggers have: ``None`` first, or one."""
    if isinstance(signal, BeatTick):
        return TriggerType.BEAT, (None,)
    if isinstance(signal, MarkerReached):
        return TriggerType.MARKER, (signal.name,)
    if isinstance(signal, ArtifactCreated):
        return TriggerType.ARTIFACT, (None, *signal.tags)
    if isinstance(signal, JobFinished):
        return TriggerType.JOB_COMPLETE, (signal.job_id,)
    return TriggerType.TRANSPORT, (signal.state,)
