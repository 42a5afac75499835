"""What an application's own tests need: ``pip install 'vibeweaver-store[testing]'``.

With pytest, in the ``conftest.py`` at the top of the tests::

    pytest_plugins = ["vibeweaver_store.testing"]

The fixtures are ``store`` (in memory), ``store_file`` (a path), ``postgres_store`` (where there is a server) and
``store_clock``. Nothing is registered with pytest by installing the package: such a plugin would be imported into every
test run of the environment, those that have nothing to do with the store too.

Without pytest: :func:`new_store`, :func:`new_file`, :class:`PostgresServer` and :class:`SettableClock`. The factories
work in both worlds.

There is no assert to be rewritten here (PYTEST_DONT_REWRITE), so a conftest may import this before pytest does.
"""

try:
    from vibeweaver_store.testing.clock import SettableClock
    from vibeweaver_store.testing.databases import PostgresServer, new_file, new_store, template
    from vibeweaver_store.testing.ensemble_factories import (
        CommentFactory,
        CoordinationEventFactory,
        EnsembleWorkerFactory,
        ProjectFactory,
        TicketFactory,
        WorkerTypeFactory,
    )
    from vibeweaver_store.testing.factories import (
        ArenaFactory,
        ArenaRuntimeFactory,
        GenerationStatsFactory,
        HistoryEntryFactory,
        ImportFactory,
        InstanceFactory,
        JournalEventFactory,
        MarkerFactory,
        MessageFactory,
        RuleFactory,
        SessionFactory,
        SnapshotFactory,
        WorkspaceFactory,
    )
    from vibeweaver_store.testing.fixtures import (
        postgres_store,
        store,
        store_clock,
        store_file,
        store_postgres_server,
        store_postgres_template,
        store_postgres_url,
    )
    from vibeweaver_store.testing.job_factories import JobAttemptFactory, JobFactory
    from vibeweaver_store.testing.row_factory import EPOCH, RowFactory, columns_of
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in {"factory", "pytest"}:
        raise
    raise ModuleNotFoundError(
        f"vibeweaver_store.testing needs {missing}: pip install 'vibeweaver-store[testing]'", name=missing
    ) from error

__all__ = [
    "EPOCH",
    "ArenaFactory",
    "ArenaRuntimeFactory",
    "CommentFactory",
    "CoordinationEventFactory",
    "EnsembleWorkerFactory",
    "GenerationStatsFactory",
    "HistoryEntryFactory",
    "ImportFactory",
    "InstanceFactory",
    "JobAttemptFactory",
    "JobFactory",
    "JournalEventFactory",
    "MarkerFactory",
    "MessageFactory",
    "PostgresServer",
    "ProjectFactory",
    "RowFactory",
    "RuleFactory",
    "SessionFactory",
    "SettableClock",
    "SnapshotFactory",
    "TicketFactory",
    "WorkerTypeFactory",
    "WorkspaceFactory",
    "columns_of",
    "new_file",
    "new_store",
    "postgres_store",
    "store",
    "store_clock",
    "store_file",
    "store_postgres_server",
    "store_postgres_template",
    "store_postgres_url",
    "template",
]
