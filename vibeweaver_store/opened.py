"""What a Store and an AsyncStore have in common: one open database, and what becomes of it when a process forks."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see where we wait for a fork
import inspect
import os
import random
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import TypeVar

from sqlalchemy.engine import URL

from vibeweaver_store import locks, schema, sqlite_file
from vibeweaver_store.engine import Engines, Target, create_engines, resolve
from vibeweaver_store.errors import InvalidInput, StoreUnavailable
from vibeweaver_store.following import Watch, watch
from vibeweaver_store.kept import KeptConnections
from vibeweaver_store.settings import Settings
from vibeweaver_store.turns import FileTurn
from vibeweaver_store.unit_of_work import Clock, ReadUnitOfWork

T = TypeVar("T")
UowT = TypeVar("UowT", bound=ReadUnitOfWork)

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0


def prepare(database: str | Path | URL | None, settings: Settings, *, migrate: bool | None) -> Target:
    """See to it that a database is there, ours, and at head; see :meth:`vibeweaver_store.Store.open`.

    Raises:
        StoreError: it is not; nothing was changed.
    """
    target = resolve(database, settings)
    if target.path is not None:
        sqlite_file.check_file_system(target.path, settings)
    _refuse_tainted(target)
    _refuse_replaced(target)
    schema.ensure(target, settings, migrate=target.backend == "sqlite" if migrate is None else migrate)
    return target


_PLAIN: weakref.WeakSet[type] = weakref.WeakSet()
"""Types of what operations have returned and none is to be awaited for; to look takes as long as some operations."""


def finished(operation: Callable[..., object], result: T) -> T:
    """Return what an operation returned, which has done its work.

    Raises:
        InvalidInput: it is to be awaited first; a plain function is wanted.
    """
    kind = type(result)
    if kind in _PLAIN:
        return result
    if not inspect.isawaitable(result):
        if kind is not GeneratorType:  # of which some are to be awaited
            _PLAIN.add(kind)
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise InvalidInput(f"{operation!r}: an operation is a plain function, and this one is to be awaited")


def pauses(retries: int, given: Iterable[object]) -> Iterator[float]:
    """Yield how long to wait before each repeat of what failed in passing, in seconds.

    With full jitter: those who collided come back at different times. Where an iterator is among what the operation was
    given, there is none: the first attempt has used it up, and another would do the rest alone, and say it was all.
    """
    if any(isinstance(each, Iterator) for each in given):
        return
    longest = _FIRST_PAUSE_SECONDS
    for _ in range(retries):
        yield random.uniform(0, longest)  # noqa: S311 - not a secret
        longest = min(longest * 2, _LONGEST_PAUSE_SECONDS)


class OpenDatabase:
    """A database at head with its engines, its place in the writers' queue, and its units of work."""

    def __init__(self, target: Target, settings: Settings, clock: Clock, *, asynchronous: bool = False) -> None:
        self._target = target
        self._settings = settings
        self._clock = clock
        self._engines: Engines = create_engines(target, settings, asynchronous=asynchronous)
        self._queue = self._writer_queue()
        self._file = sqlite_file.identity(target.path) if target.path is not None else None
        self._wal: tuple[int, int] | None = None
        self._path = str(target.path) if target.path is not None else None
        self._wal_path = f"{target.path}-wal"
        self._turn = FileTurn(self._wal_path) if target.path is not None else None
        self._open_units: set[ReadUnitOfWork] = set()
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._closed = False
        self._remove_temporary = weakref.finalize(
            self, _remove_folder, target.file.parent if target.temporary else None
        )
        _OPENED.add(self)

    @property
    def backend(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._target.backend

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def place(self) -> str:
        """The file or URL of the database, without a password."""
        return self._target.place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place}{' closed' if self._closed else ''}>"

    def _connect(self) -> None:
        """Have a connection to a file from the beginning: who would replace the file sees by it that it is in use."""
        if self._target.path is not None:
            with locks.FORK_GATE.passing():
                readers = self._engines.readers
                readers.give(readers.take())

    def _refuse_closed(self) -> None:
        """Refuse a store that is closed, or cannot be used since this process was forked amid a unit of work."""
        if self._closed:
            raise StoreUnavailable(f"{self.place}: the store is closed")
        if _TAINTED:
            _refuse_tainted(self._target)

    def _refuse_swapped(self) -> None:
        """Refuse a file that is not the one that was opened. Whoever replaces it holds its write lock meanwhile."""
        if self._path is not None and sqlite_file.identity(self._path) != self._file:
            raise StoreUnavailable(
                f"{self.place}: the file was deleted or replaced under the open store; close every store on it first, "
                "and let its -wal and -shm files go with it"
            )

    def _refuse_lost_file(self) -> None:
        """Refuse a file that is not the one that was opened, or whose -wal is not what our connections write to.

        What is committed would be lost. It is to be called while a connection is open; SQLite itself removes the -wal
        only after the last one.
        """
        if self._path is None:
            return
        self._refuse_swapped()
        found = sqlite_file.identity(self._wal_path)
        if self._wal is None:
            self._wal = found
        if found != self._wal:
            raise StoreUnavailable(
                f"{self.place}: its -wal file was deleted or replaced under the open store, and with it what was last "
                "committed; close every store on it, and look at what is left: vibeweaver-store db check"
            )

    def _admit(self, uow: ReadUnitOfWork) -> None:
        """Let a unit of work be within the database. The caller has passed the gate of forks, and discards it after."""
        self._refuse_unfit(uow._connections)  # noqa: SLF001 - the kernel's own
        self._open_units.add(uow)

    def _refuse_unfit(self, connections: KeptConnections) -> None:
        if not connections.idle:
            self._refuse_swapped()  # before a connection is made to another file

    def _watch(self, topic: str) -> Watch:
        self._refuse_closed()
        self._refuse_swapped()
        asynchronous = self._engines.read.dialect.is_async
        begun = watch(self._target, self._settings, topic, asynchronous=asynchronous, files=self._engines.files)
        self._watches.add(begun)
        if self._closed:  # meanwhile
            begun.close()
            self._refuse_closed()
        return begun

    def _dispose(self) -> None:
        for begun in list(self._watches):
            begun.close()
        self._engines.close()
        if self._turn is not None:
            self._turn.close()

    def _writer_queue(self) -> locks.WriterQueue | None:
        return locks.writer_queue(str(self._target.file)) if self._target.path is not None else None

    def _start_anew_in_child(self, *, quiet: bool) -> None:
        """After ``fork``, in the child: part with the parent's connections."""
        for uow in list(self._open_units):
            _INHERITED.extend(uow.disown())
        if quiet:
            # Between units of work SQLite's connections can be closed here as the parent would; kept, their copies
            # of the process's lock tables would make this child believe in locks that only the parent holds.
            for file in list(self._engines.files):
                file.close()
        _INHERITED.extend(self._engines.abandon())
        _INHERITED.extend(self._watches)
        self._watches.clear()
        if self._target.path is not None and not quiet:
            _TAINTED.add(self._target.path)
        self._queue = self._writer_queue()
        if self._turn is not None:
            self._turn.close()  # the copy of it: the parent's turn stays with the parent
        self._wal = None
        self._remove_temporary.detach()


def _remove_folder(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


# --- fork ------------------------------------------------------------------------------------------------------

_OPENED: weakref.WeakSet[OpenDatabase] = weakref.WeakSet()

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
    for store in list(_OPENED):
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
    for store in list(_OPENED):
        store._start_anew_in_child(quiet=_quiet_at_fork)  # noqa: SLF001 - one module


def open_here(path: Path) -> bool:
    """Say whether a store of this process has a file open, by this name or by another one."""
    found = sqlite_file.identity(path)
    stores = [store for store in list(_OPENED) if not store._closed]  # noqa: SLF001 - one module
    return any(store._target.path == path or (found and store._file == found) for store in stores)  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    # Hooks are called last in, first out: while ours waits, that of the standard library's threads is not to hold the
    # lock under which they are given work (concurrent.futures.thread, imported above for that).
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
