"""The table classes, one file a domain. Importing this package registers all of them in :data:`METADATA`."""

from vibeweaver_store.models import actions, signals, triggers
from vibeweaver_store.models.arena import Arena, ArenaRuntime, Instance, InstanceStatus
from vibeweaver_store.models.base import Base
from vibeweaver_store.models.ensemble import (
    Comment,
    CoordinationEvent,
    CoordinationEventType,
    EnsembleWorker,
    Project,
    Ticket,
    WorkerStatus,
    WorkerType,
)
from vibeweaver_store.models.imports import Import, ImportStatus
from vibeweaver_store.models.job import Job, JobAttempt, JobStatus
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
    "Comment",
    "CoordinationEvent",
    "CoordinationEventType",
    "EnsembleWorker",
    "GenerationStats",
    "HistoryEntry",
    "Import",
    "ImportStatus",
    "Instance",
    "InstanceStatus",
    "Job",
    "JobAttempt",
    "JobStatus",
    "JournalEvent",
    "Marker",
    "Message",
    "MessageRole",
    "Priority",
    "Project",
    "Rule",
    "Session",
    "SessionComplete",
    "SessionKind",
    "SessionStatus",
    "Snapshot",
    "Ticket",
    "WorkerStatus",
    "WorkerType",
    "Workspace",
    "actions",
    "signals",
    "triggers",
]
