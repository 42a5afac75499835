"""The store for asyncio: the same services and the same SQL, on aiosqlite and on psycopg's asyncio mode.

A service is a plain function. It runs within SQLAlchemy's ``run_sync``
(https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html), where whatever waits for the database gives the event
loop free meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy.engine import URL

from vibeweaver_store.async_unit_of_work import AsyncReadUnitOfWork, AsyncUnitOfWork, in_greenlet, to_the_end
from vibeweaver_store.engine import Target
from vibeweaver_store.errors import StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.following import Patience, Watch
from vibeweaver_store.hot import Hot
from vibeweaver_store.locks import FORK_GATE, WriterQueue
from vibeweaver_store.opened import OpenDatabase, pauses, prepare
from vibeweaver_store.paging import Page
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.unit_of_work import Clock, ReadUnitOfWork, UnitOfWork, utc_now

P = ParamSpec("P")
T = TypeVar("T")
SharedT = TypeVar("SharedT", bound=AsyncReadUnitOfWork)

_FORK_PAUSE_SECONDS = 0.005


class AsyncStore(OpenDatabase):
    """A database at head, and units of work for asyncio on it. Applications hold :class:`vibeweaver_store.AsyncStore`.

    Tasks of the event loop that it was opened in may share it. Close it, or use it as an asynchronous context manager,
    to give its connections back.
    """

    def __init__(self, target: Target, settings: Settings, clock: Clock) -> None:
        super().__init__(target, settings, clock, asynchronous=True)
        self._begin_anew(asyncio.get_running_loop())

    def _begin_anew(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._at_work: list[asyncio.Task[Any] | None] = []
        self._idle = asyncio.Event()
        self._idle.set()
        # As many as the pool has connections: who waits here is no burden to those who have one.
        self._places = asyncio.Semaphore(2 * self._settings.pool_size)

    @classmethod
    async def open(
        cls,
        database: str | Path | URL | None = None,
        *,
        migrate: bool | None = None,
        settings: Settings | None = None,
        clock: Clock = utc_now,
    ) -> Self:
        """Open a database, as :meth:`Store.open` does. Making and migrating it holds no other task up.

        Raises:
            StoreError: as :meth:`Store.open` does.
            StoreUnavailable: besides, where a driver for asyncio is missing.
        """
        settings = settings or load()
        target = await asyncio.to_thread(prepare, database, settings, migrate=migrate)
        store = cls(target, settings, clock)
        try:
            async with _passing_gate():
                await to_the_end(in_greenlet(store._connect))
        except BaseException:
            await store.close()
            raise
        return store

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncUnitOfWork]:
        """Begin a unit of work that writes: committed at the end of the block, rolled back on any exception.

        Raises:
            StoreBusy: others wrote for longer than the busy timeout, or this task has a unit of work open already.
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        asked_at = time.monotonic()
        with self._working():
            shared = AsyncUnitOfWork(UnitOfWork(self._engines.writers, self._clock))
            async with self._writing(asked_at), self._running(shared, asked_at) as uow:
                yield uow

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncReadUnitOfWork]:
        """Begin a unit of work that reads one consistent snapshot; a write in it is an error.

        Raises:
            StoreBusy: all connections were in use for longer than the busy timeout.
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        asked_at = time.monotonic()
        with self._working():
            shared = AsyncReadUnitOfWork(ReadUnitOfWork(self._engines.readers, self._clock))
            async with self._place(asked_at), self._running(shared, asked_at) as uow:
                yield uow

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Have closing wait until the block has ended."""
        self._refuse_closed()
        self._refuse_another_loop()
        task = asyncio.current_task()
        self._at_work.append(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._at_work.remove(task)
            if not self._at_work:
                self._idle.set()

    def _refuse_another_loop(self) -> None:
        running = asyncio.get_running_loop()
        if self._loop is None:  # in a forked child
            self._loop = running
        if running is not self._loop:
            raise StoreUnavailable(f"{self.place}: the store was opened in another event loop; open one in each")

    @asynccontextmanager
    async def _place(self, asked_at: float) -> AsyncIterator[None]:
        """Wait, in the order of asking, until there is a connection to be had."""
        try:
            async with asyncio.timeout(self._settings.busy_timeout_seconds if self._places.locked() else None):
                await self._places.acquire()
        except TimeoutError as error:
            raise StoreBusy("all connections of the store are in use", waited=time.monotonic() - asked_at) from error
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def _writing(self, asked_at: float) -> AsyncIterator[None]:
        if self._queue is None:
            async with self._place(asked_at):
                yield
            return
        patience = self._settings.busy_timeout_seconds
        async with turn(self._queue, patience):
            file_turn = self._turn
            try:
                if file_turn is not None and not file_turn.take():
                    await asyncio.to_thread(file_turn.wait, patience)
                yield
            finally:
                if file_turn is not None:
                    file_turn.give_up()  # cancelled meanwhile, the thread waits on
                    file_turn.leave()

    @asynccontextmanager
    async def _running(self, shared: SharedT, asked_at: float) -> AsyncIterator[SharedT]:
        uow = shared._uow  # noqa: SLF001 - the store is the one owner of begin and commit
        async with _passing_gate():
            self._admit(uow)
            try:
                # Not to be cancelled amid connecting: what is half made would belong to nobody.
                await shared._whole(lambda: uow._start(asked_at))  # noqa: SLF001
                self._refuse_lost_file()
                yield shared
                await shared._whole(uow._end)  # noqa: SLF001
            finally:
                try:
                    if not uow._ended:  # noqa: SLF001
                        await shared._whole(uow._undo)  # noqa: SLF001
                finally:
                    self._open_units.discard(uow)

    async def run(self, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation in a unit of work of its own, again if the backend calls its failure transient.

        Not again where an argument is an iterator, a generator say: the first attempt has used it up. Hand over a list.

        Raises:
            StoreError: whatever the operation raises; :class:`StoreBusy` when all repeats were in vain.
        """
        return await self._repeat(self.begin, operation, *args, **kwargs)

    async def query(
        self, operation: Callable[Concatenate[ReadUnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one reading operation on a snapshot of its own, again if the backend calls its failure transient.

        Raises:
            StoreError: whatever the operation raises; :class:`InvalidInput` when it tries to write.
        """
        return await self._repeat(self.read, operation, *args, **kwargs)

    async def glance(self, statement: Hot, /, **values: Any) -> list[Any]:
        """Run one hot statement that reads, by itself, and return its rows, as :meth:`Store.glance` does.

        Raises:
            StoreError: as :meth:`query`.
        """
        return await self.query(statement.all, **values)

    async def iterate(
        self, listing: Callable[Concatenate[ReadUnitOfWork, P], Page[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]:
        """Yield all items of a listing, page by page; no transaction is held open in between.

        Raises:
            StoreError: whatever the listing raises.
        """
        onward: dict[str, Any] = {}
        while True:
            page: Page[T] = await self._repeat(self.read, listing, *args, **{**kwargs, **onward})
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            onward = {"cursor": page.next_cursor}

    def follow(
        self,
        listing: Callable[..., Page[T]],
        *,
        topic: str,
        cursor: str | None = None,
        idle_seconds: float | None = None,
    ) -> AsyncIterator[T]:
        """Yield the items of a listing that only grows at its end, and go on, as :meth:`Store.follow` does.

        Raises:
            InvalidInput: ``idle_seconds`` is no finite number >= 0.
            StoreError: whatever the listing raises; :class:`StoreUnavailable` once the store is closed.
        """
        return self._following(listing, topic, cursor, Patience(idle_seconds))

    async def _following(
        self, listing: Callable[..., Page[T]], topic: str, cursor: str | None, patience: Patience
    ) -> AsyncIterator[T]:
        self._refuse_another_loop()
        begun: list[Watch] = []
        try:
            await to_the_end(in_greenlet(lambda: begun.append(self._watch(topic))))
            while True:
                page = await self.query(listing, cursor=cursor)
                for item in page.items:
                    yield item
                cursor = page.end_cursor
                if page.items:
                    patience.renew()
                if page.next_cursor is None and not await self._await_change(begun[0], patience):
                    return
        finally:
            for watch in begun:
                await to_the_end(in_greenlet(watch.close))

    async def _await_change(self, watch: Watch, patience: Patience) -> bool:
        while (seconds := patience.left()) > 0:
            self._refuse_closed()
            self._refuse_swapped()
            if await in_greenlet(watch.wait, seconds):
                return True
        return False

    async def _repeat(
        self, begin: Callable[[], Any], operation: Callable[..., T], /, *args: object, **kwargs: object
    ) -> T:
        waits = pauses(self._settings.retries, (*args, *kwargs.values()))
        while True:
            try:
                async with begin() as uow:
                    result: T = await uow.run(operation, *args, **kwargs)
                    return result
            except StoreError as error:
                pause = next(waits, None) if error.transient else None
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Let nothing new begin, wait for what is at work, and give all connections back. Twice is allowed.

        Raises:
            StoreBusy: the task that asks has a unit of work open, and would wait for itself for ever.
        """
        if asyncio.current_task() in self._at_work:
            raise StoreBusy("this task has a unit of work open; close the store after it")
        self._closed = True
        await self._idle.wait()
        await to_the_end(in_greenlet(self._dispose))
        self._remove_temporary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _start_anew_in_child(self, *, quiet: bool) -> None:
        super()._start_anew_in_child(quiet=quiet)
        self._begin_anew(None)


@asynccontextmanager
async def _passing_gate() -> AsyncIterator[None]:
    """Be within a unit of work for the block, and let other tasks go on while a fork keeps this one waiting."""
    task = asyncio.current_task()
    while (passer := FORK_GATE.enter(task)) is None:
        await asyncio.sleep(_FORK_PAUSE_SECONDS)
    try:
        yield
    finally:
        FORK_GATE.leave(passer)


@asynccontextmanager
async def turn(queue: WriterQueue, timeout_seconds: float) -> AsyncIterator[None]:
    """Wait, among the threads and tasks of this process, for the turn to write, and keep it for the block.

    Raises:
        StoreBusy: the turn did not come in time, or this task has it already.
    """
    started = time.monotonic()
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def grant() -> None:
        try:
            loop.call_soon_threadsafe(arrived.set)
        except RuntimeError:  # the loop was closed amid the wait: whoever waited is gone
            queue.leave(ticket)

    ticket = queue.enter(grant, asyncio.current_task())
    try:
        if not queue.is_turn_of(ticket):
            # Not wait_for, which before Python 3.12 loses a cancellation that comes as the turn does.
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await arrived.wait()
        if not queue.is_turn_of(ticket):
            waited = time.monotonic() - started
            raise StoreBusy(
                f"others of this process wrote to the database for {waited:.1f} s without a turn for this task",
                waited=waited,
            )
        yield
    finally:
        queue.leave(ticket)
