"""Rows for tests. Columns that depend on others are filled in, so that no factory builds nonsense.

``RuleFactory.build()`` makes a row, ``RuleFactory.create(uow=uow)`` also writes it, with the session that it needs.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import factory
import sqlmodel

from vibeweaver_store import UnitOfWork, actions, triggers
from vibeweaver_store.models import Base, HistoryEntry, Marker, Priority, Rule, Session, SessionKind, Snapshot
from vibeweaver_store.models.actions import ActionType
from vibeweaver_store.models.triggers import TriggerType

T = TypeVar("T", bound=Base)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class RowFactory(factory.Factory[T], Generic[T]):
    class Meta:
        abstract = True

    @classmethod
    def _build(cls, model_class: type[T], *args: Any, **values: Any) -> T:
        values.pop("uow", None)
        return model_class.build(**values)

    @classmethod
    def _create(cls, model_class: type[T], *args: Any, **values: Any) -> T:
        uow: UnitOfWork = values.pop("uow")
        if "session_id" in model_class.model_fields and values.get("session_id") is None:
            values["session_id"] = SessionFactory.create(uow=uow).id
        row = model_class.build(**values)
        uow.insert(row)
        return row


class SessionFactory(RowFactory[Session]):
    class Meta:
        model = Session

    kind = SessionKind.JAM
    name = factory.Sequence(lambda n: f"jam {n}")
    vibe = "dark techno"
    tempo_bpm = 130.0
    created_at = EPOCH
    updated_at = factory.SelfAttribute("created_at")


class RuleFactory(RowFactory[Rule]):
    class Meta:
        model = Rule

    session_id: Any = None
    trigger = factory.LazyFunction(lambda: triggers.Beat(divisor=4))
    trigger_type = factory.LazyAttribute(lambda rule: TriggerType(rule.trigger.type))
    trigger_key = factory.LazyAttribute(lambda rule: rule.trigger.key)
    action = factory.Sequence(lambda n: actions.Notify(message=f"message {n}"))
    action_type = factory.LazyAttribute(lambda rule: ActionType(rule.action.type))
    priority = Priority.NORMAL
    enabled = True
    one_shot = False
    fired_count = 0
    last_fired_at = factory.LazyAttribute(lambda rule: EPOCH if rule.fired_count else None)
    created_at = EPOCH


class MarkerFactory(RowFactory[Marker]):
    class Meta:
        model = Marker

    session_id: Any = None
    beat = factory.Sequence(lambda n: float(n * 16))
    name = factory.Sequence(lambda n: f"section {n}")
    created_at = EPOCH


class HistoryEntryFactory(RowFactory[HistoryEntry]):
    class Meta:
        model = HistoryEntry

    session_id: Any = None
    action = "sample"
    params = factory.LazyFunction(lambda: {"space": "drums"})
    created_at = EPOCH


class SnapshotFactory(RowFactory[Snapshot]):
    class Meta:
        model = Snapshot

    session_id: Any = None
    state = factory.Sequence(lambda n: f"state {n}".encode())
    size_bytes = factory.LazyAttribute(lambda snapshot: len(snapshot.state))
    sha256 = factory.LazyAttribute(lambda snapshot: hashlib.sha256(snapshot.state).hexdigest())
    captured_at = EPOCH


def columns_of(row: sqlmodel.SQLModel) -> dict[str, Any]:
    """The values of a row, to compare it with one read on another connection."""
    return row.model_dump()
