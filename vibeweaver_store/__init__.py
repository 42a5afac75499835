"""One store for everything that a creative agent system must remember.

``Store`` opens a database; the modules ``sessions``, ``workspaces``, ``messages``, ``arenas``, ``journal``, ``rules``,
``markers``, ``history``, ``snapshots``, ``stats``, ``imports``, ``transport``, ``projects``, ``worker_types``,
``tickets``, ``comments``, ``workers``, ``coordination`` and ``jobs`` hold the functions to run on it; ``triggers``,
``actions`` and ``signals`` the values to give them.

Nothing of it is imported before it is asked for, and so the command line's ``--help`` need not wait for SQLAlchemy.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from vibeweaver_store import schema
    from vibeweaver_store.async_unit_of_work import AsyncReadUnitOfWork, AsyncUnitOfWork
    from vibeweaver_store.domain_store import AsyncStore, Store
    from vibeweaver_store.errors import (
        AlreadyClaimed,
        AlreadyExists,
        CorruptData,
        IllegalTransition,
        ImportRejected,
        InvalidInput,
        LeaseLost,
        MigrationFailed,
        NetworkFileSystemWarning,
        NotFound,
        SchemaMismatch,
        StaleWrite,
        StoreBusy,
        StoreError,
        StoreUnavailable,
    )
    from vibeweaver_store.models import (
        AgentStatus,
        Arena,
        ArenaRuntime,
        Comment,
        CoordinationEvent,
        CoordinationEventType,
        EnsembleWorker,
        GenerationStats,
        HistoryEntry,
        Import,
        ImportStatus,
        Instance,
        InstanceStatus,
        Job,
        JobAttempt,
        JobStatus,
        JournalEvent,
        Marker,
        Message,
        MessageRole,
        Priority,
        Project,
        Rule,
        Session,
        SessionComplete,
        SessionKind,
        SessionStatus,
        Snapshot,
        Ticket,
        WorkerStatus,
        WorkerType,
        Workspace,
        actions,
        signals,
        triggers,
    )
    from vibeweaver_store.paging import Page
    from vibeweaver_store.services import (
        arenas,
        comments,
        coordination,
        history,
        imports,
        jobs,
        journal,
        markers,
        messages,
        projects,
        rules,
        sessions,
        snapshots,
        stats,
        tickets,
        transport,
        worker_types,
        workers,
        workspaces,
    )
    from vibeweaver_store.services.rule_book import AsyncRuleBook, RuleBook
    from vibeweaver_store.settings import Settings
    from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
    from vibeweaver_store.worker import Worker
    from vibeweaver_store.worker_tasks import GiveUp, Handler

__version__ = "0.1.0"

__all__ = [
    "AgentStatus",
    "AlreadyClaimed",
    "AlreadyExists",
    "Arena",
    "ArenaRuntime",
    "AsyncReadUnitOfWork",
    "AsyncRuleBook",
    "AsyncStore",
    "AsyncUnitOfWork",
    "Comment",
    "CoordinationEvent",
    "CoordinationEventType",
    "CorruptData",
    "EnsembleWorker",
    "GenerationStats",
    "GiveUp",
    "Handler",
    "HistoryEntry",
    "IllegalTransition",
    "Import",
    "ImportRejected",
    "ImportStatus",
    "Instance",
    "InstanceStatus",
    "InvalidInput",
    "Job",
    "JobAttempt",
    "JobStatus",
    "JournalEvent",
    "LeaseLost",
    "Marker",
    "Message",
    "MessageRole",
    "MigrationFailed",
    "NetworkFileSystemWarning",
    "NotFound",
    "Page",
    "Priority",
    "Project",
    "ReadUnitOfWork",
    "Rule",
    "RuleBook",
    "SchemaMismatch",
    "Session",
    "SessionComplete",
    "SessionKind",
    "SessionStatus",
    "Settings",
    "Snapshot",
    "StaleWrite",
    "Store",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "Ticket",
    "UnitOfWork",
    "Worker",
    "WorkerStatus",
    "WorkerType",
    "Workspace",
    "__version__",
    "actions",
    "arenas",
    "comments",
    "coordination",
    "history",
    "imports",
    "jobs",
    "journal",
    "markers",
    "messages",
    "projects",
    "rules",
    "schema",
    "sessions",
    "signals",
    "snapshots",
    "stats",
    "tickets",
    "transport",
    "triggers",
    "worker_types",
    "workers",
    "workspaces",
]

_NAMES_OF: Final[dict[str, tuple[str, ...]]] = {
    "vibeweaver_store": ("schema",),
    "vibeweaver_store.async_unit_of_work": (
        "AsyncReadUnitOfWork",
        "AsyncUnitOfWork",
    ),
    "vibeweaver_store.domain_store": (
        "AsyncStore",
        "Store",
    ),
    "vibeweaver_store.errors": (
        "AlreadyClaimed",
        "AlreadyExists",
        "CorruptData",
        "IllegalTransition",
        "ImportRejected",
        "InvalidInput",
        "LeaseLost",
        "MigrationFailed",
        "NetworkFileSystemWarning",
        "NotFound",
        "SchemaMismatch",
        "StaleWrite",
        "StoreBusy",
        "StoreError",
        "StoreUnavailable",
    ),
    "vibeweaver_store.models": (
        "AgentStatus",
        "Arena",
        "ArenaRuntime",
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
    ),
    "vibeweaver_store.paging": ("Page",),
    "vibeweaver_store.services": (
        "arenas",
        "comments",
        "coordination",
        "history",
        "imports",
        "jobs",
        "journal",
        "markers",
        "messages",
        "projects",
        "rules",
        "sessions",
        "snapshots",
        "stats",
        "tickets",
        "transport",
        "worker_types",
        "workers",
        "workspaces",
    ),
    "vibeweaver_store.services.rule_book": (
        "AsyncRuleBook",
        "RuleBook",
    ),
    "vibeweaver_store.settings": ("Settings",),
    "vibeweaver_store.unit_of_work": (
        "ReadUnitOfWork",
        "UnitOfWork",
    ),
    "vibeweaver_store.worker": ("Worker",),
    "vibeweaver_store.worker_tasks": (
        "GiveUp",
        "Handler",
    ),
}
"""Which names of the package each module gives. Tests hold it against the imports above and ``__all__``."""

_HOMES: Final = {name: home for home, names in _NAMES_OF.items() for name in names}

if not TYPE_CHECKING:  # or type checkers would take every name for one of the package's

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and keep it: a name of the table, or a module of this package.

        Raises:
            AttributeError: the package has nothing of that name.
        """
        value = _given_by(_HOMES.get(name, __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return all names, also those that nobody has asked for yet."""
    return sorted({*globals(), *__all__})


def _given_by(home: str, name: str) -> Any:
    """Return what ``from home import name`` would: what the module has, or else a module of the package."""
    module = import_module(home)
    return vars(module)[name] if name in vars(module) else _module_of(home, name)


def _module_of(package: str, name: str) -> ModuleType:
    path = f"{package}.{name}"
    if name.isidentifier() and not name.startswith("_"):
        try:
            return import_module(path)
        except ModuleNotFoundError as missing:
            if missing.name != path:
                raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
