"""The table classes, one file a domain. Importing this package registers all of them in :data:`METADATA`."""

from vibeweaver_store.models import actions, signals, triggers
from vibeweaver_store.models.base import Base
from vibeweaver_store.models.session import Session, SessionKind, SessionStatus
from vibeweaver_store.models.weaving import GenerationStats, HistoryEntry, Marker, Priority, Rule, Snapshot

METADATA = Base.metadata

__all__ = [
    "METADATA",
    "Base",
    "GenerationStats",
    "HistoryEntry",
    "Marker",
    "Priority",
    "Rule",
    "Session",
    "SessionKind",
    "SessionStatus",
    "Snapshot",
    "actions",
    "signals",
    "triggers",
]
