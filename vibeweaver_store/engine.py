"""From a path or a database URL to SQLAlchemy engines: one section for what to open, one a backend for how."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4
from weakref import WeakSet

import orjson
from sqlalchemy import AsyncAdaptedQueuePool, Connection, Engine, NullPool, Pool, QueuePool, create_engine, event
from sqlalchemy.engine import URL

from vibeweaver_store import database_name, driver_errors, sqlite_file
from vibeweaver_store.errors import InvalidInput, StoreUnavailable
from vibeweaver_store.json_values import dump_jsonb
from vibeweaver_store.kept import KeptConnections, PoolUse
from vibeweaver_store.settings import Settings, default_path

# --- what to open ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """One database: its backend, its URL, and its file where it has one."""

    backend: Literal["sqlite", "postgresql"]
    url: URL
    path: Path | None = None
    temporary: bool = False

    @property
    def place(self) -> str:
        """How messages name it; a password is never shown."""
        if self.temporary:
            return ":memory:"
        if self.path is not None:
            return os.fsencode(self.path).decode(errors="backslashreplace")
        secret = [name for name in self.url.query if "password" in name]
        return self.url.difference_update_query(secret).render_as_string(hide_password=True)

    @property
    def file(self) -> Path:
        """The database file of an SQLite target.

        Raises:
            InvalidInput: it is no SQLite target.
        """
        if self.path is None:
            raise InvalidInput(f"{self.place} is not a file")
        return self.path


def resolve(database: str | Path | URL | None, settings: Settings) -> Target:
    """Say which database is meant by a path, a URL, ``":memory:"``, or nothing (settings, then the per-user file).

    See :func:`vibeweaver_store.database_name.read` for how a URL may be spelled. Nothing is opened or made.

    Raises:
        InvalidInput: blank, not a database URL, or a backend that the store does not run on.
    """
    if database is None:
        database = settings.database if settings.database is not None else default_path()
    named = database_name.read(database)
    if isinstance(named, URL):
        return Target("postgresql", named)
    return _memory_target() if named is None else _file_target(named)


def _file_target(path: Path) -> Target:
    try:
        whole = path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInput(f"{str(path)!r} is not the path of a database: {error}") from error
    return Target("sqlite", URL.create("sqlite+pysqlite", database=str(whole)), whole)


_ROOM_FOR_MEMORY = 256 * 1024 * 1024


def _memory_target() -> Target:
    """A private file in the memory file system, where there is a roomy one: WAL and all threads as with any file.

    SQLite's own in-memory databases are one a connection, or (shared cache, memdb) block readers behind the writer.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it has a name that cannot be guessed and mode 0700
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ROOM_FOR_MEMORY
    path = (memory if roomy else Path(tempfile.gettempdir())) / f"vibeweaver-{uuid4().hex}" / "memory.db"
    return Target("sqlite", URL.create("sqlite+pysqlite", database=str(path)), path, temporary=True)


# --- engines ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Engines:
    """How a store reaches its database: ``write`` begins transactions that write, ``read`` ones that cannot.

    ``writers`` and ``readers`` keep their connections ready. ``files`` are SQLite's own connections, as long as they
    live.
    """

    writers: KeptConnections
    readers: KeptConnections
    files: WeakSet[sqlite3.Connection] = field(default_factory=WeakSet)

    @property
    def write(self) -> Engine:
        """The engine whose transactions write."""
        return self.writers.engine

    @property
    def read(self) -> Engine:
        """The engine whose transactions cannot write."""
        return self.readers.engine

    def close_idle(self) -> None:
        """Close all connections that nobody uses."""
        for kept in (self.writers, self.readers):
            kept.close_idle()

    def close(self) -> None:
        """Close all connections: those that are in use when they are given back."""
        for kept in (self.writers, self.readers):
            kept.close()

    def abandon(self) -> list[object]:
        """Let go of all connections without closing them, as a forked child must; return them."""
        inherited = [*self.writers.abandon(), *self.readers.abandon(), *[engine.pool for engine in self.distinct()]]
        for engine in self.distinct():
            engine.dispose(close=False)
        return inherited

    def in_use(self) -> int:
        """Return how many connections units of work have now."""
        out = sum(engine.pool.checkedout() for engine in self.distinct())  # type: ignore[attr-defined]
        return int(out) - self.writers.idle - self.readers.idle

    def distinct(self) -> list[Engine]:
        """Return the engines that have a pool of their own."""
        return list({id(engine.pool): engine for engine in (self.write, self.read)}.values())


def create_engines(target: Target, settings: Settings, *, asynchronous: bool = False) -> Engines:
    """Make the engines of a database; nothing is connected yet.

    Args:
        target: the database.
        settings: how it is opened.
        asynchronous: on the backend's asyncio driver; what uses them then runs within SQLAlchemy's ``run_sync``.

    Raises:
        StoreUnavailable: the driver of the backend is not installed.
    """
    if target.backend == "postgresql":
        return _postgresql_engines(target, settings, asynchronous=asynchronous)
    files: WeakSet[sqlite3.Connection] = WeakSet()
    reading: dict[str, Any] = {"begin": "BEGIN", "pool_size": settings.pool_size, "query_only": True}
    write = sqlite_engine(
        target, settings, begin="BEGIN IMMEDIATE", pool_size=1, asynchronous=asynchronous, files=files
    )
    read = sqlite_engine(target, settings, **reading, asynchronous=asynchronous, files=files)
    return Engines(
        KeptConnections(write, translation(target, settings), limit=1),
        KeptConnections(read, translation(target, settings, reads_only=True), limit=settings.pool_size),
        files,
    )


def translation(target: Target, settings: Settings, *, reads_only: bool = False) -> driver_errors.Translation:
    """Return how the errors of a database's driver become ours."""
    return driver_errors.Translation(target.place, settings.busy_timeout_seconds, reads_only)


def _create(url: URL, driver: str, *, asynchronous: bool, **options: Any) -> Engine:
    """Make an engine on one of the two kinds of driver.

    Raises:
        StoreUnavailable: the driver is not installed.
    """
    try:
        if asynchronous:
            import greenlet  # noqa: F401, PLC0415 - SQLAlchemy itself misses it only later
            from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

            return create_async_engine(url.set(drivername=f"{url.get_backend_name()}+{driver}"), **options).sync_engine
        return create_engine(url, **options)
    except ImportError as error:
        extra = "postgres" if error.name == "psycopg" else "async"
        raise StoreUnavailable(f"this needs {error.name}: pip install 'vibeweaver-store[{extra}]'") from error


# --- SQLite ----------------------------------------------------------------------------------------------------


def sqlite_engine(
    target: Target,
    settings: Settings,
    *,
    begin: Literal["BEGIN", "BEGIN IMMEDIATE"],
    pool_size: int,
    query_only: bool = False,
    foreign_keys: bool = True,
    asynchronous: bool = False,
    files: WeakSet[sqlite3.Connection] | None = None,
) -> Engine:
    """Make an engine whose transactions begin with our own statement, not with the driver's.

    ``pool_size=0`` opens a connection for each use. Its connections are put into ``files``.

    Raises:
        StoreUnavailable: the asyncio driver is asked for and not installed.
    """
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pool_size:
        pool = {"poolclass": AsyncAdaptedQueuePool if asynchronous else QueuePool, "pool_size": pool_size}
        # Threads are few, and one that waits holds up what it holds; tasks are many, each connection has a thread.
        more = pool_size if asynchronous else -1
        pool |= {"max_overflow": more, "pool_timeout": settings.busy_timeout_seconds}
    engine = _create(
        target.url, "aiosqlite", asynchronous=asynchronous, execution_options={"begin_with": begin}, **pool
    )
    driver_errors.install(engine, translation(target, settings, reads_only=query_only))
    pragmas = _pragmas(settings, query_only=query_only, foreign_keys=foreign_keys)
    made: WeakSet[sqlite3.Connection] = WeakSet() if files is None else files

    def connection_to_the_file(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = FileConnection(*args, **options)
        made.add(connection)
        return connection

    @event.listens_for(engine, "do_connect")
    def name_the_file(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        # A file that is gone is not made anew: only opening a store makes one.
        arguments[:] = [sqlite_file.uri(target.file, "rw")]
        options.update(
            uri=True,
            # isolation_level=None turns the driver's implicit BEGIN off (sqlite3.Connection.isolation_level).
            isolation_level=None,
            check_same_thread=False,
            timeout=settings.busy_timeout_seconds,
            factory=connection_to_the_file,
        )

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        apply_pragmas(connection, pragmas, place=target.place)

    @event.listens_for(engine, "begin")
    def send_begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:  # a unit of work may have begun by itself
            connection.exec_driver_sql(begin)

    return engine


class FileConnection(sqlite3.Connection):
    """SQLite's own connection, which weak references can be made to."""


_SYNCHRONOUS = {"OFF": 0, "NORMAL": 1, "FULL": 2, "EXTRA": 3}
_TEMP_STORE = {"DEFAULT": 0, "FILE": 1, "MEMORY": 2}


def _pragmas(settings: Settings, *, query_only: bool, foreign_keys: bool) -> dict[str, int | str]:
    return {
        "busy_timeout": round(settings.busy_timeout_seconds * 1000),
        "journal_mode": settings.journal_mode.lower(),
        "synchronous": _SYNCHRONOUS[settings.synchronous],
        "foreign_keys": int(foreign_keys),
        "cache_size": settings.cache_size,
        "mmap_size": settings.mmap_size,
        "temp_store": _TEMP_STORE[settings.temp_store],
        "query_only": int(query_only),
    }


def apply_pragmas(connection: Any, pragmas: dict[str, int | str], *, place: str) -> None:
    """Set PRAGMAs on a driver connection and read each back.

    Raises:
        StoreUnavailable: one did not take; SQLite itself says nothing then.
    """
    for name, wanted in pragmas.items():
        if _read_pragma(connection, name) == wanted:
            continue
        connection.execute(f"PRAGMA {name}={wanted}").fetchall()
        found = _read_pragma(connection, name)
        if found != wanted:
            raise StoreUnavailable(
                f"{place}: PRAGMA {name} stayed {found!r} when set to {wanted!r}; "
                f"set VIBEWEAVER_{name.upper()} to what this SQLite can do"
            )


def _read_pragma(connection: Any, name: str) -> int | str | None:
    row = connection.execute(f"PRAGMA {name}").fetchone()
    value: int | str | None = row[0] if row else None
    return value


# --- PostgreSQL ------------------------------------------------------------------------------------------------


def _postgresql_engines(target: Target, settings: Settings, *, asynchronous: bool) -> Engines:
    poolclass = AsyncAdaptedQueuePool if asynchronous else QueuePool
    engine = postgresql_engine(target, settings, poolclass=poolclass, asynchronous=asynchronous)
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    kept: dict[str, Any] = {"limit": settings.pool_size, "use": PoolUse(2 * settings.pool_size)}
    errors = translation(target, settings)
    return Engines(KeptConnections(engine, errors, **kept), KeptConnections(reading, errors, **kept))


def postgresql_engine(
    target: Target, settings: Settings, *, poolclass: type[Pool], asynchronous: bool = False
) -> Engine:
    """Make an engine at READ COMMITTED whose statements wait for a row no longer than the busy timeout.

    Raises:
        StoreUnavailable: psycopg is not installed.
    """
    pool: dict[str, Any] = {}
    if poolclass is not NullPool:
        pool = {"pool_size": settings.pool_size, "max_overflow": settings.pool_size, "pool_pre_ping": True}
        pool["pool_timeout"] = settings.busy_timeout_seconds
    engine = _create(
        target.url,
        "psycopg",
        asynchronous=asynchronous,
        poolclass=poolclass,
        isolation_level="READ COMMITTED",
        json_serializer=dump_jsonb,
        json_deserializer=orjson.loads,
        **pool,
    )
    driver_errors.install(engine, translation(target, settings))

    @event.listens_for(engine, "connect")
    def set_lock_timeout(connection: Any, _record: object) -> None:
        # 0 would mean for ever; the least that can be asked for is 1 ms.
        milliseconds = max(1, round(settings.busy_timeout_seconds * 1000))
        connection.execute(f"SET lock_timeout = {milliseconds}")
        connection.commit()

    return engine


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """Open one connection for the block and dispose of the engine after it."""
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
