"""What keeps a database small and quick: run now and then, while stores on it are open and writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from vibeweaver_store import autocommit, locks, schema, sqlite_file
from vibeweaver_store.driver_errors import translating
from vibeweaver_store.engine import Target, resolve
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import METADATA
from vibeweaver_store.settings import Settings, load

_PAGES_AT_ONCE: Final = 1000
_ROWS_TO_ANALYZE: Final = 400
_LONGEST_HOLD_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What :func:`maintain` did. Sizes are in bytes.

    Attributes:
        place: the database's file or URL, without a password.
        backend: ``sqlite`` or ``postgresql``.
        size_before: how much it took on disk; SQLite's ``-wal`` file not counted.
        size_after: how much it takes.
        wal_before: the size of SQLite's ``-wal`` file, 0 where there is none.
        wal_after: its size after the checkpoint.
        checkpointed: all of the ``-wal`` is in the database now; not so where a reader or writer held it.
        pages_freed: how many empty pages of the file were given back to the disk.
        pages_empty: how many are left in it; new rows will fill them.
        can_shrink: empty pages can be given back; a file that was not made by this package may need ``VACUUM``.
        analyzed: the tables whose statistics for the query planner changed; on PostgreSQL all that were vacuumed.
        passed_over: the tables that PostgreSQL did not vacuum, as those of another role, with the server's reason.
    """

    place: str
    backend: str
    size_before: int
    size_after: int
    wal_before: int
    wal_after: int
    checkpointed: bool
    pages_freed: int
    pages_empty: int
    can_shrink: bool
    analyzed: tuple[str, ...]
    passed_over: Mapping[str, str] = field(default_factory=dict)


def maintain(database: str | Path | URL | None = None, *, settings: Settings | None = None) -> Maintenance:
    """Give empty pages back to the disk, renew the query planner's statistics, and empty SQLite's ``-wal`` file.

    It goes in small steps and queues for each, so that others write in between. On PostgreSQL it is
    ``VACUUM (ANALYZE)`` of the store's tables.

    Raises:
        InvalidInput: ``database`` is blank, a URL of an unknown backend, or in memory.
        StoreUnavailable: there is no such database, it is another application's, it lies on a network file system, or
            it cannot be reached or written.
        StoreBusy: others wrote for longer than the busy timeout; what was done until then stays done.
        CorruptData: the file is damaged.
    """
    settings = settings or load()
    target = resolve(database, settings)
    if target.temporary:
        raise InvalidInput("an in-memory store lives within its Store; there is no other to maintain")
    if target.path is not None:
        sqlite_file.check_file_system(target.path, settings)
    schema.current(database, settings=settings)
    return _of_file(target, settings) if target.backend == "sqlite" else _of_server(target, settings)


# --- SQLite ----------------------------------------------------------------------------------------------------


def _of_file(target: Target, settings: Settings) -> Maintenance:
    path, wal = target.file, sqlite_file.side_files(target.file)["-wal"]
    size_before, wal_before = _size(path), _size(wal)
    # First as well as last: on a full disk it may be what makes room for the rest.
    _checkpoint(target, settings)
    with _turn(target, settings) as connection:
        can_shrink = _pragma(connection, "auto_vacuum") != 0
        pages_before, empty = _pages(connection)
    # Bounded by what was empty at first: others may empty pages for ever.
    for _ in range(0, empty if can_shrink else 0, _PAGES_AT_ONCE):
        with _turn(target, settings) as connection:
            _free_some(connection, target)
    with _turn(target, settings) as connection:
        pages_after, empty = _pages(connection)
        analyzed = _analyze(connection)
    checkpointed = _checkpoint(target, settings)
    return Maintenance(
        place=target.place,
        backend=target.backend,
        size_before=size_before,
        size_after=_size(path),
        wal_before=wal_before,
        wal_after=_size(wal),
        checkpointed=checkpointed,
        pages_freed=max(0, pages_before - pages_after),
        pages_empty=empty,
        can_shrink=can_shrink,
        analyzed=analyzed,
    )


def _free_some(connection: Connection, target: Target) -> None:
    # It frees one page a step, and its steps give rows without columns: of Python's driver, only a script takes all.
    with translating(target.place), closing(connection.connection.cursor()) as cursor:
        cursor.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")


def _checkpoint(target: Target, settings: Settings) -> bool:
    """Bring the ``-wal`` into the database and empty it; say whether nobody held it."""
    # It keeps writers out while it waits for readers.
    patience = min(_LONGEST_HOLD_SECONDS, settings.busy_timeout_seconds)
    with _turn(target, settings, patience) as connection:
        held, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not held


def _pages(connection: Connection) -> tuple[int, int]:
    """Return how many pages the file has, and how many of them are empty."""
    return _pragma(connection, "page_count"), _pragma(connection, "freelist_count")


@contextmanager
def _turn(target: Target, settings: Settings, timeout_seconds: float | None = None) -> Iterator[Connection]:
    """Wait for the turn among the writers of this process, and have a connection for one step."""
    turn = locks.writer_queue(str(target.file)).turn(settings.busy_timeout_seconds)
    with (
        turn,
        locks.FORK_GATE.passing(),
        autocommit.connect(target, settings, timeout_seconds=timeout_seconds) as connection,
    ):
        yield connection


def _pragma(connection: Connection, name: str) -> int:
    value: int = connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
    return value


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _analyze(connection: Connection) -> tuple[str, ...]:
    """Renew the statistics of what changed much, and tell which tables' they are."""
    before = _statistics(connection)
    if (connection.dialect.server_version_info or ()) >= (3, 46):
        # 0x10000: tables that this connection has not asked are looked at too (https://www.sqlite.org/pragma.html).
        connection.exec_driver_sql("PRAGMA optimize(0x10002)")
    else:
        # Before, it looked at the tables alone that the same connection had asked, and so at none here.
        connection.exec_driver_sql(f"PRAGMA analysis_limit = {_ROWS_TO_ANALYZE}").all()
        connection.exec_driver_sql("ANALYZE")
    changed = {row[0] for row in _statistics(connection) ^ before}
    return tuple(sorted(changed & set(METADATA.tables)))


def _statistics(connection: Connection) -> set[tuple[str, ...]]:
    if not sa.inspect(connection).has_table("sqlite_stat1"):
        return set()
    return {tuple(row) for row in connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1")}


# --- PostgreSQL ------------------------------------------------------------------------------------------------


def _of_server(target: Target, settings: Settings) -> Maintenance:
    with locks.FORK_GATE.passing(), autocommit.connect(target, settings) as connection:
        tables = sorted(set(METADATA.tables) & set(sa.inspect(connection).get_table_names()))
        size_before = _total_size(connection, tables)
        passed_over = _vacuum(connection, tables)
        return Maintenance(
            place=target.place,
            backend=target.backend,
            size_before=size_before,
            size_after=_total_size(connection, tables),
            wal_before=0,
            wal_after=0,
            checkpointed=True,
            pages_freed=0,
            pages_empty=0,
            can_shrink=True,
            analyzed=tuple(table for table in tables if table not in passed_over),
            passed_over=passed_over,
        )


def _vacuum(connection: Connection, tables: list[str]) -> dict[str, str]:
    """Vacuum each table, and return the server's reasons for those that it passed over: it only warns of them."""
    warned: list[str] = []

    def keep(diagnosis: Any) -> None:
        if diagnosis.severity_nonlocalized == "WARNING":
            warned.append(diagnosis.message_primary)

    passed_over = {}
    driver: Any = connection.connection.dbapi_connection
    driver.add_notice_handler(keep)
    try:
        for table in tables:
            warned.clear()
            connection.exec_driver_sql(f"VACUUM (ANALYZE) {table}")
            # It warns of pages as well, which it calls those of a relation, and vacuums on.
            reasons = [each for each in warned if f'"{table}"' in each and f'relation "{table}"' not in each]
            if reasons:
                passed_over[table] = reasons[0]
    finally:
        driver.remove_notice_handler(keep)
    return passed_over


def _total_size(connection: Connection, tables: list[str]) -> int:
    sizes = "SELECT coalesce(sum(pg_total_relation_size(name::regclass)), 0)::bigint FROM unnest(%s::text[]) AS name"
    total: int = connection.exec_driver_sql(sizes, (tables,)).scalar_one()
    return total
