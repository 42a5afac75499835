"""The one object that an application holds: it opens a database and runs operations on it."""
# ruff: noqa: SLF001 - a store is the one owner of begin and commit, and the blocks below are a part of it

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from sqlalchemy.engine import URL

from vibeweaver_store import locks
from vibeweaver_store.errors import StoreError
from vibeweaver_store.following import Patience, Watch
from vibeweaver_store.hot import Hot
from vibeweaver_store.kept import KeptConnections
from vibeweaver_store.opened import OpenDatabase, UowT, finished, pauses, prepare
from vibeweaver_store.paging import Page, iterate
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.turns import FileTurn
from vibeweaver_store.unit_of_work import Clock, ReadUnitOfWork, UnitOfWork, utc_now

P = ParamSpec("P")
T = TypeVar("T")


class Store(OpenDatabase):
    """A database at head, and units of work on it. Applications hold :class:`vibeweaver_store.Store`.

    Threads may share it. After ``fork`` the child has connections of its own. Close it, or use it as a context
    manager, to give its connections back.
    """

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
            database: a path, a URL (``sqlite:…``, ``sqlite:///…``, ``postgresql+psycopg://…``), ``":memory:"``, or
                nothing: then ``VIBEWEAVER_DATABASE``, then the per-user file.
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
        store = cls(prepare(database, settings, migrate=migrate), settings, clock)
        try:
            store._connect()
        except BaseException:
            store.close()
            raise
        return store

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """Begin a unit of work that writes: committed at the end of the block, rolled back on any exception.

        Raises:
            StoreBusy: others wrote for longer than the busy timeout, or this thread has a unit of work open already.
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        return _Running(self, UnitOfWork, self._engines.writers, self._queue)

    def read(self) -> AbstractContextManager[ReadUnitOfWork]:
        """Begin a unit of work that reads one consistent snapshot; a write in it is an error.

        Raises:
            StoreBusy: all connections were in use for longer than the busy timeout.
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        return _Running(self, ReadUnitOfWork, self._engines.readers, None)

    def run(self, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation in a unit of work of its own, again if the backend calls its failure transient.

        Not again where an argument is an iterator, a generator say: the first attempt has used it up. Hand over a list.

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

    def glance(self, statement: Hot, /, **values: Any) -> list[Any]:
        """Run one hot statement that reads, by itself, and return its rows: for who asks many times a second.

        It sees one snapshot, as every statement does; on SQLite no transaction is begun and ended around it.

        Raises:
            StoreError: as :meth:`query`.
        """
        found = None if self.backend != "sqlite" else self._glanced(statement, values)
        return self.query(statement.all, **values) if found is None else found

    def _glanced(self, statement: Hot, values: dict[str, Any]) -> list[Any] | None:
        """Return the rows, or nothing where somebody is to be told what is sent."""
        self._refuse_closed()
        readers = self._engines.readers
        passer = locks.FORK_GATE.come_in()
        try:
            self._refuse_unfit(readers)
            kept = readers.take()
            try:
                self._refuse_swapped()
                return None if kept.is_observed() else statement.glance(kept, **values)
            finally:
                readers.give(kept)
        finally:
            locks.FORK_GATE.leave(passer)

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

    def follow(
        self,
        listing: Callable[..., Page[T]],
        *,
        topic: str,
        cursor: str | None = None,
        idle_seconds: float | None = None,
    ) -> Iterator[T]:
        """Yield the items of a listing that only grows at its end, and go on with what is added, as it is committed.

        None is missed and none comes twice; no transaction is held open while it waits. It sends nothing that reads
        the listing while nothing is committed. A service of its own, as :func:`vibeweaver_store.history.follow`, is
        built on it.

        Args:
            listing: takes a unit of work and ``cursor=``, and returns a page, oldest first.
            topic: what those who add to the listing announce; see :meth:`UnitOfWork.announce`.
            cursor: where to begin; by default with the first item.
            idle_seconds: end when no item came for so long; by default it ends when the store is closed.

        Raises:
            InvalidInput: ``idle_seconds`` is no finite number >= 0.
            StoreError: whatever the listing raises; :class:`StoreUnavailable` once the store is closed.
        """
        return self._following(listing, topic, cursor, Patience(idle_seconds))

    def _following(
        self, listing: Callable[..., Page[T]], topic: str, cursor: str | None, patience: Patience
    ) -> Iterator[T]:
        with closing(self._watch(topic)) as watch:
            while True:
                page = self.query(listing, cursor=cursor)
                yield from page.items
                cursor = page.end_cursor
                if page.items:
                    patience.renew()
                if page.next_cursor is None and not self._await_change(watch, patience):
                    return

    def _await_change(self, watch: Watch, patience: Patience) -> bool:
        while (seconds := patience.left()) > 0:
            self._refuse_closed()
            self._refuse_swapped()
            if watch.wait(seconds):
                return True
        return False

    def watch(self, topic: str) -> Watch:
        """Begin to watch the database for what is announced under a topic, and return what waits for it; close it.

        What :meth:`follow` is built on, for who looks for something else than items of a listing. Set the watch before
        you look, so that nothing is committed unnoticed in between.

        Raises:
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        return self._watch(topic)

    def _repeat(
        self,
        begin: Callable[[], AbstractContextManager[UowT]],
        operation: Callable[..., T],
        /,
        *args: object,
        **kwargs: object,
    ) -> T:
        waits: Iterator[float] | None = None
        while True:
            try:
                with begin() as uow:
                    return finished(operation, operation(uow, *args, **kwargs))
            except StoreError as error:
                waits = waits or pauses(self._settings.retries, (*args, *kwargs.values()))
                pause = next(waits, None) if error.transient else None
                if pause is None:
                    raise
            time.sleep(pause)

    def close(self) -> None:
        """Give all connections back. An in-memory store is gone after it. Closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        self._dispose()
        self._remove_temporary()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Running(AbstractContextManager[UowT], Generic[UowT]):
    """The block of one unit of work: it begins what is committed or taken back at its end.

    A class, and one step of each kind: a generator, and one for each of what it enters, are as dear as a transaction.
    """

    __slots__ = ("_connections", "_entered", "_kind", "_passer", "_queue", "_store", "_ticket", "_turn", "_uow")

    def __init__(
        self, store: Store, kind: type[UowT], connections: KeptConnections, queue: locks.WriterQueue | None
    ) -> None:
        self._store = store
        self._kind = kind
        self._connections = connections
        self._queue = queue
        self._entered = False
        self._ticket: locks.Ticket | None = None
        self._turn: FileTurn | None = None
        self._passer: locks.Passer | None = None
        self._uow: UowT | None = None

    def __enter__(self) -> UowT:
        if self._entered:
            raise StoreError("this unit of work was begun before; begin another one")
        self._entered = True
        store = self._store
        asked_at = time.monotonic()
        try:
            if self._queue is not None:
                self._ticket = self._queue.take(store._settings.busy_timeout_seconds)
            store._refuse_closed()
            if self._queue is not None and store._turn is not None:
                self._turn = store._turn
                if not self._turn.take():
                    self._turn.wait(store._settings.busy_timeout_seconds)
            self._passer = locks.FORK_GATE.come_in()
            store._refuse_closed()  # meanwhile
            uow = self._uow = self._kind(self._connections, store._clock)
            store._admit(uow)
            uow._start(asked_at)
            store._refuse_lost_file()
        except BaseException:
            self._leave()
            raise
        return uow

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._uow is not None  # noqa: S101 - it was entered
        try:
            if kind is None:
                self._uow._finish()
        finally:
            self._leave()

    def __del__(self) -> None:
        """Take back what nobody will end any more."""
        if self._uow is not None:
            self._leave()

    def _leave(self) -> None:
        store = self._store
        uow, self._uow = self._uow, None
        try:
            if uow is not None:
                uow._undo()
                store._open_units.discard(uow)
        finally:
            if self._passer is not None:
                locks.FORK_GATE.leave(self._passer)
            if self._turn is not None:
                self._turn.leave()
                if store._closed:
                    self._turn.close()
            if self._queue is not None and self._ticket is not None:
                self._queue.leave(self._ticket)
