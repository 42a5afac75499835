"""One store for everything that a creative agent system must remember.

``Store`` opens a database; the modules ``sessions``, ``rules``, ``markers``, ``history``, ``snapshots``, ``stats`` and
``transport`` hold the functions to run on it; ``triggers``, ``actions`` and ``signals`` the values to give them.
"""

from vibeweaver_store import schema
from vibeweaver_store.async_unit_of_work import AsyncReadUnitOfWork, AsyncUnitOfWork
from vibeweaver_store.domain_store import AsyncStore, Store
from vibeweaver_store.errors import (
    AlreadyExists,
    CorruptData,
    IllegalTransition,
    ImportRejected,
    InvalidInput,
    MigrationFailed,
    NetworkFileSystemWarning,
    NotFound,
    SchemaMismatch,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from vibeweaver_store.models import (
    GenerationStats,
    HistoryEntry,
    Marker,
    Priority,
    Rule,
    Session,
    SessionKind,
    SessionStatus,
    Snapshot,
    actions,
    signals,
    triggers,
)
from vibeweaver_store.paging import Page
from vibeweaver_store.services import history, markers, rules, sessions, snapshots, stats, transport
from vibeweaver_store.services.rule_book import AsyncRuleBook, RuleBook
from vibeweaver_store.settings import Settings
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

__version__ = "0.1.0"

__all__ = [
    "AlreadyExists",
    "AsyncReadUnitOfWork",
    "AsyncRuleBook",
    "AsyncStore",
    "AsyncUnitOfWork",
    "CorruptData",
    "GenerationStats",
    "HistoryEntry",
    "IllegalTransition",
    "ImportRejected",
    "InvalidInput",
    "Marker",
    "MigrationFailed",
    "NetworkFileSystemWarning",
    "NotFound",
    "Page",
    "Priority",
    "ReadUnitOfWork",
    "Rule",
    "RuleBook",
    "SchemaMismatch",
    "Session",
    "SessionKind",
    "SessionStatus",
    "Settings",
    "Snapshot",
    "Store",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "UnitOfWork",
    "__version__",
    "actions",
    "history",
    "markers",
    "rules",
    "schema",
    "sessions",
    "signals",
    "snapshots",
    "stats",
    "transport",
    "triggers",
]
