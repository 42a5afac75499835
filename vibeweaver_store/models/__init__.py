"""The table classes, one file a domain. Importing this package registers all of them in :data:`METADATA`."""

from vibeweaver_store.models import actions, signals, triggers
from vibeweaver_store.models.arena import Arena, ArenaRuntime, Instance, InstanceStatus
from vibeweaver_store.models.base import Base
from vibeweaver_store.models.imports import Import, ImportStatus
from vibeweaver_store.models.journal import JournalEvent
from vibeweaver_store.models.message import Message, MessageRole
from vibeweaver_store.models.session import AgentStatus, Session, SessionKind, SessionStatus, Workspace
from vibeweaver_store.models.views import VIEWS, SessionComplete
from vibeweaver_store.models.weaving import GenerationStats, HistoryEntry, Marker, Priority, Rule, Snapshot

METADATA = Base.metadata

__all__ = [
    "METADATA",
    "VIEWS",
    "AgentStatus",
    "Arena",
    "ArenaRuntime",
    "Base",
    "GenerationStats",
    "HistoryEntry",
    "Import",
    "ImportStatus",
    "Instance",
    "InstanceStatus",
    "JournalEvent",
    "Marker",
    "Message",
    "MessageRole",
    "Priority",
    "Rule",
    "Session",
    "SessionComplete",
    "SessionKind",
    "SessionStatus",
    "Snapshot",
    "Workspace",
    "actions",
    "signals",
    "triggers",
]
