"""The one object that an application holds: it opens a database and runs operations on it."""

from __future__ import annotations

import os
import random
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy.engine import URL

from vibeweaver_store import locks, schema, sqlite_file
from vibeweaver_store.engine import Engines, Target, create_engines, resolve
from vibeweaver_store.errors import StoreError, StoreUnavailable
from vibeweaver_store.paging import Page, iterate
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.unit_of_work import Clock, ReadUnitOfWork, UnitOfWork, utc_now

P = ParamSpec("P")
T = TypeVar("T")
UowT = TypeVar("UowT", bound=ReadUnitOfWork)

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0


class Store:
    """A database of sessions, rules, markers, history and snapshots. Open one with :meth:`open`.

    Threads may share it. After ``fork`` the child has connections of its own. Close it, or use it as a context
    manager, to give its connections back.
    """

    def __init__(self, target: Target, settings: Settings, clock: Clock) -> None:
        self._target = target
        self._settings = settings
        self._clock = clock
        self._engines: Engines = create_engines(target, settings)
        self._queue = self._writer_queue()
        self._file = sqlite_file.identity(target.path) if target.path is not None else None
        self._open_units: weakref.WeakSet[ReadUnitOfWork] = weakref.WeakSet()
        self._closed = False
        self._remove_temporary = weakref.finalize(
            self, _remove_folder, target.file.parent if target.temporary else None
        )
        _STORES.add(self)

    @classmethod
    def open(
        cls,
        database: str | Path | URL | None = None,
        *,
        migrate: bool | None = None,
        settings: Settings | None = None,
        clock: Clock = utc_now,
    ) -> Self:
        """Open a database, and make it first where there is none.

        Args:
            database: a path, a URL (``sqlite:///…``, ``postgresql+psycopg://…``), ``":memory:"``, or nothing: then
                ``VIBEWEAVER_DATABASE``, then the per-user file.
            migrate: bring an older schema up to date. By default SQLite files are migrated, after a backup beside
                them, and PostgreSQL databases are not.
            settings: instead of those of the environment.
            clock: where ``uow.now()`` comes from; must give aware datetimes.

        Raises:
            InvalidInput: ``database`` is blank or a URL of an unknown backend.
            StoreUnavailable: the file is a folder, no database, another application's, or cannot be written; the
                server does not answer; nothing was changed.
            SchemaMismatch: the schema is newer than this package, or older and not to be migrated.
            CorruptData: the file is damaged.
            MigrationFailed: a migration was rolled back.
            StoreBusy: another process was migrating it for longer than the busy timeout.
        """
        settings = settings or load()
        target = resolve(database, settings)
        if target.path is not None:
            sqlite_file.warn_on_network(target.path)
        _refuse_tainted(target)
        _refuse_replaced(target)
        schema.ensure(target, settings, migrate=target.backend == "sqlite" if migrate is None else migrate)
        return cls(target, settings, clock)

    @property
    def backend(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._target.backend

    @property
    def place(self) -> str:
        """The file or URL of the database, without a password."""
        return self._target.place

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Begin a unit of work that writes: committed at the end of the block, rolled back on any exception.

        Raises:
            StoreBusy: others wrote for longer than the busy timeout, or this thread has a unit of work open already.
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        asked_at = time.monotonic()
        turn = self._queue.turn(self._settings.busy_timeout_seconds) if self._queue else nullcontext()
        with turn, self._running(UnitOfWork(self._engines.write, self._clock), asked_at) as uow:
            yield uow

    @contextmanager
    def read(self) -> Iterator[ReadUnitOfWork]:
        """Begin a unit of work that reads one consistent snapshot; a write in it is an error.

        Raises:
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        with self._running(ReadUnitOfWork(self._engines.read, self._clock), time.monotonic()) as uow:
            yield uow

    @contextmanager
    def _running(self, uow: UowT, asked_at: float) -> Iterator[UowT]:
        if self._closed:
            raise StoreUnavailable(f"{self.place}: the store is closed")
        _refuse_tainted(self._target)
        if self._target.path is not None and sqlite_file.identity(self._target.path) != self._file:
            raise StoreUnavailable(
                f"{self.place}: the file was deleted or replaced under the open store; close every store on it first, "
                "and let its -wal and -shm files go with it"
            )
        self._open_units.add(uow)
        with locks.FORK_GATE.passing():
            try:
                uow._start(asked_at)  # noqa: SLF001 - the store is the one owner of begin and commit
                yield uow
                uow._finish()  # noqa: SLF001
            finally:
                uow._undo(discard=self._closed)  # noqa: SLF001
                self._open_units.discard(uow)

    def run(self, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation in a unit of work of its own, again if the backend calls its failure transient.

        Raises:
            StoreError: whatever the operation raises; :class:`StoreBusy` when all repeats were in vain.
        """
        return self._repeat(self.begin, operation, *args, **kwargs)

    def query(self, operation: Callable[Concatenate[ReadUnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one reading operation on a snapshot of its own, again if the backend calls its failure transient.

        Raises:
            StoreError: whatever the operation raises; :class:`InvalidInput` when it tries to write.
        """
        return self._repeat(self.read, operation, *args, **kwargs)

    def iterate(
        self, listing: Callable[Concatenate[ReadUnitOfWork, P], Page[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[T]:
        """Yield all items of a listing, page by page; no transaction is held open in between.

        ``store.iterate(sessions.page)``, ``store.iterate(markers.page, jam.id, limit=1000)``: what takes a cursor and
        returns a :class:`~vibeweaver_store.paging.Page`.

        Raises:
            StoreError: whatever the listing raises.
        """

        def fetch_page(cursor: str | None) -> Page[T]:
            onward: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            return self._repeat(self.read, listing, *args, **{**kwargs, **onward})

        return iterate(fetch_page)

    def _repeat(
        self,
        begin: Callable[[], object],
        operation: Callable[..., T],
        /,
        *args: object,
        **kwargs: object,
    ) -> T:
        pause = _FIRST_PAUSE_SECONDS
        for left in range(self._settings.retries, -1, -1):
            try:
                with begin() as uow:  # type: ignore[attr-defined]  # one of the two context managers above
                    return operation(uow, *args, **kwargs)
            except StoreError as error:
                if not error.transient or left == 0:
                    raise
            # Full jitter: those who collided come back at different times.
            time.sleep(random.uniform(0, pause))  # noqa: S311 - not a secret
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Give all connections back. An in-memory store is gone after it. Closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        self._engines.dispose()
        self._remove_temporary()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.place}{' closed' if self._closed else ''}>"

    def _writer_queue(self) -> locks.WriterQueue | None:
        return locks.writer_queue(str(self._target.file)) if self._target.path is not None else None

    def _start_anew_in_child(self, *, quiet: bool) -> None:
        """After ``fork``, in the child: part with the parent's connections."""
        for uow in list(self._open_units):
            _INHERITED.extend(uow.disown())
        if self._target.path is not None and quiet:
            # Between units of work SQLite's connections can be closed here as the parent would; kept, their copies
            # of the process's lock tables would make this child believe in locks that only the parent holds.
            self._engines.dispose()
        else:
            _INHERITED.append((self._engines.write.pool, self._engines.read.pool))
            self._engines.dispose(close=False)
        if self._target.path is not None and not quiet:
            _TAINTED.add(self._target.path)
        self._queue = self._writer_queue()
        self._remove_temporary.detach()


def _remove_folder(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


# --- fork ------------------------------------------------------------------------------------------------------

_STORES: weakref.WeakSet[Store] = weakref.WeakSet()

_INHERITED: list[object] = []
"""Connections of a parent process, kept so that they are never collected: to close one here would end the parent's."""

_TAINTED: set[Path] = set()
"""Files that cannot be used in this process, since it was forked amid a unit of work on one."""

_LONGEST_WAIT_TO_FORK_SECONDS = 10.0

_quiet_at_fork = True


def _refuse_tainted(target: Target) -> None:
    if target.path in _TAINTED:
        raise StoreUnavailable(
            f"{target.place}: this process was forked while its parent was amid a unit of work on it; fork between "
            "units of work, or start the process anew (multiprocessing's spawn)"
        )


def _refuse_replaced(target: Target) -> None:
    """An old file's -wal, which an open store keeps, would be played into the new file and ruin it."""
    if target.path is None:
        return
    found = sqlite_file.identity(target.path)
    for store in list(_STORES):
        if not store._closed and store._target.path == target.path and store._file != found:  # noqa: SLF001
            raise StoreUnavailable(
                f"{target.place}: the file was replaced while a store of this process has the old one open; close "
                "that store, and delete the old file's -wal and -shm, before the new file is put in its place"
            )


def _before_fork() -> None:
    global _quiet_at_fork  # noqa: PLW0603 - handed over to the child by the fork itself
    _quiet_at_fork = False
    _quiet_at_fork = locks.FORK_GATE.close(_LONGEST_WAIT_TO_FORK_SECONDS)


def _after_fork_in_parent() -> None:
    locks.FORK_GATE.open()


def _after_fork_in_child() -> None:
    locks.forget_after_fork()
    for store in list(_STORES):
        store._start_anew_in_child(quiet=_quiet_at_fork)  # noqa: SLF001 - one module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
