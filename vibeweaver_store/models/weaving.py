"""The tables of a jam: rules, markers, history, snapshots, and how long generating takes (seed 000)."""

from __future__ import annotations

import enum
import math
from typing import ClassVar

import sqlalchemy as sa

from vibeweaver_store.columns import (
    BLOB,
    INTEGER,
    REAL,
    TEXT,
    BeatPosition,
    Count,
    EnumInteger,
    EnumText,
    FiniteFloat,
    Flag,
    Id,
    Json,
    JsonDocument,
    Name,
    StrictBool,
    Text,
    UnionDocument,
    Utc,
    UtcDateTime,
    new_id,
    one_of,
)
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import actions, triggers
from vibeweaver_store.models.actions import Action, ActionType
from vibeweaver_store.models.base import LOG, STRICT, Base, belongs_to, column, flag_index, made_now, with_default
from vibeweaver_store.models.triggers import Trigger, TriggerType


class Priority(enum.IntEnum):
    """Which of several rules goes first; the smaller number does. Numbers, since text order puts idle before normal."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    IDLE = 4


class Rule(Base, table=True):
    """When the trigger matches a signal, the action is handed to the caller.

    ``trigger_type``, ``trigger_key`` and ``action_type`` repeat what the documents say, for lookups.
    """

    __tablename__: ClassVar[str] = "rules"
    __table_args__ = (
        one_of("trigger_type", TriggerType),
        one_of("action_type", ActionType),
        sa.CheckConstraint("priority BETWEEN 0 AND 4", name="priority"),
        sa.CheckConstraint("enabled IN (0, 1)", name="enabled").ddl_if(dialect="sqlite"),
        sa.CheckConstraint("one_shot IN (0, 1)", name="one_shot").ddl_if(dialect="sqlite"),
        sa.CheckConstraint("fired_count >= 0", name="fired_count"),
        # A rule has a time of last firing if and only if it has fired.
        sa.CheckConstraint("(fired_count = 0) = (last_fired_at IS NULL)", name="fired_has_time"),
        # by_trigger and due: one session's enabled rules of a type, by priority, then age.
        sa.Index("ix_rules_by_trigger", "session_id", "trigger_type", "enabled", "priority", "created_at", "id"),
        # match and fire: the same, narrowed to what the signal names.
        sa.Index(
            "ix_rules_by_key",
            *("session_id", "trigger_type", "enabled", "trigger_key", "priority", "created_at", "id"),
        ),
        # page_by_session: by priority, then age.
        sa.Index("ix_rules_by_session", "session_id", "priority", "created_at", "id"),
        STRICT,
    )

    id: Id = column(TEXT, primary_key=True, default_factory=new_id)
    session_id: Id = belongs_to("sessions.id", TEXT)
    trigger_type: TriggerType = column(EnumText(TriggerType))
    trigger_key: Text | None = column(TEXT, default=None)
    trigger: Trigger = column(UnionDocument(triggers.ADAPTER))
    action_type: ActionType = column(EnumText(ActionType))
    action: Action = column(UnionDocument(actions.ADAPTER))
    priority: Priority = with_default(EnumInteger(Priority), Priority.NORMAL)
    enabled: StrictBool = with_default(Flag, True)
    one_shot: StrictBool = with_default(Flag, False)
    fired_count: Count = with_default(INTEGER, 0)
    last_fired_at: Utc | None = column(UtcDateTime, default=None)
    created_at: Utc = made_now()

    def check_row(self) -> None:
        """Check that the columns for lookups repeat what the trigger and the action say.

        Raises:
            InvalidInput: one of them says something else.
        """
        repeated = {
            "trigger_type": self.trigger.type,
            "trigger_key": self.trigger.key,
            "action_type": self.action.type,
        }
        for name, expected in repeated.items():
            if getattr(self, name) != expected:
                document = name.partition("_")[0]
                raise InvalidInput(
                    f"{name}: must be {shown(expected)}, as the {document} says (got {shown(getattr(self, name))})",
                    field=name,
                )


class Marker(Base, table=True):
    """A named place on a session's timeline, in beats, also before beat 0. Names may repeat; a chorus comes back."""

    __tablename__: ClassVar[str] = "markers"
    __table_args__ = (
        sa.CheckConstraint("beat BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308", name="beat"),
        sa.CheckConstraint("name <> ''", name="name"),
        sa.Index("ix_markers_by_beat", "session_id", "beat", "id"),
        STRICT,
    )

    id: Id = column(TEXT, primary_key=True, default_factory=new_id)
    session_id: Id = belongs_to("sessions.id", TEXT)
    beat: BeatPosition = column(REAL)
    name: Name = column(TEXT)
    # SQLAlchemy keeps the attribute "metadata" for itself; the column is called so.
    metadata_: JsonDocument | None = column(Json, default=None, sa_column_kwargs={"name": "metadata"})
    created_at: Utc = made_now()


class HistoryEntry(Base, table=True):
    """One thing that was done in a session. The log only grows."""

    __tablename__: ClassVar[str] = "history"
    __table_args__ = (
        sa.CheckConstraint("action <> ''", name="action"),
        sa.CheckConstraint("success IN (0, 1)", name="success").ddl_if(dialect="sqlite"),
        sa.Index("ix_history_by_session", "session_id", "id"),
        # page(action=…)
        sa.Index("ix_history_by_action", "session_id", "action", "id"),
        # page(success=False): failures are few, so an append that succeeds does not pay for this index;
        # page(success=True) walks by_session and passes over the few.
        flag_index("ix_history_of_failures", "session_id", "id", flag="success", is_set=False),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    session_id: Id = belongs_to("sessions.id", TEXT)
    action: Name = column(TEXT)
    params: JsonDocument | None = column(Json, default=None)
    result: JsonDocument | None = column(Json, default=None)
    success: StrictBool = with_default(Flag, True)
    created_at: Utc = made_now()


class Snapshot(Base, table=True):
    """One version of a session's state, as opaque bytes. The newest is the one with the highest id."""

    __tablename__: ClassVar[str] = "snapshots"
    __table_args__ = (
        sa.CheckConstraint("size_bytes = length(state)", name="size_bytes"),
        sa.CheckConstraint("length(sha256) = 64", name="sha256"),
        sa.Index("ix_snapshots_by_session", "session_id", "id"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    session_id: Id = belongs_to("sessions.id", TEXT)
    size_bytes: Count = column(INTEGER)
    sha256: Text = column(TEXT)
    label: Name | None = column(TEXT, default=None)
    captured_at: Utc = column(UtcDateTime)
    # Last, so that a listing never reads the overflow pages that it fills.
    state: bytes = column(BLOB)


class GenerationStats(Base, table=True):
    """How long generating in a space took, as count and sums, so that the average is exact. Times in milliseconds."""

    __tablename__: ClassVar[str] = "generation_stats"
    __table_args__ = (
        sa.CheckConstraint("space <> ''", name="space"),
        sa.CheckConstraint("sample_count > 0", name="sample_count"),
        sa.CheckConstraint("min_ms >= 0 AND min_ms <= max_ms AND last_ms BETWEEN min_ms AND max_ms", name="range"),
        STRICT,
    )

    space: Name = column(TEXT, primary_key=True)
    sample_count: Count = column(INTEGER)
    total_ms: Count = column(INTEGER)
    min_ms: Count = column(INTEGER)
    max_ms: Count = column(INTEGER)
    # Floating: the squares of long durations leave 64 bits; exact up to 2**53.
    sum_of_squares_ms2: FiniteFloat = column(REAL)
    last_ms: Count = column(INTEGER)
    updated_at: Utc = column(UtcDateTime)

    @property
    def average_ms(self) -> float:
        """The mean duration, in milliseconds."""
        return self.total_ms / self.sample_count

    @property
    def standard_deviation_ms(self) -> float:
        """The population standard deviation, in milliseconds; 0 for one sample."""
        # In whole numbers: the difference of two large floats would lose its digits.
        spread = self.sample_count * int(self.sum_of_squares_ms2) - self.total_ms**2
        return math.sqrt(max(0, spread)) / self.sample_count
