"""The store for asyncio: the same services and the same SQL, on aiosqlite and on psycopg's asyncio mode.

A service is a plain function. It runs within SQLAlchemy's ``run_sync``
(https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html), where whatever waits for the database gives the event
loop free meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from vibeweaver_store.columns import Seconds, require
from vibeweaver_store.engine import Target
from vibeweaver_store.errors import InvalidInput, StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.following import Watch, slices
from vibeweaver_store.locks import WriterQueue
from vibeweaver_store.opened import OpenDatabase, pauses, prepare
from vibeweaver_store.paging import Page
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.unit_of_work import Clock, ReadUnitOfWork, UnitOfWork, utc_now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

P = ParamSpec("P")
T = TypeVar("T")
UowT = TypeVar("UowT", bound=ReadUnitOfWork)


class AsyncReadUnitOfWork:
    """One transaction that reads a consistent snapshot: :meth:`run` runs services in it.

    It is begun and ended by the store alone: see :meth:`AsyncStore.read`. Tasks that share one take turns.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._turn = asyncio.Lock()

    async def run(
        self, operation: Callable[Concatenate[ReadUnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one operation, a service function say, in this unit of work.

        Raises:
            StoreError: whatever the operation raises.
            InvalidInput: the operation is a coroutine function; a plain one is wanted.
        """
        return await self._spawn(operation, *args, **kwargs)

    async def _spawn(self, operation: Callable[..., T], *args: object, **kwargs: object) -> T:
        if inspect.iscoroutinefunction(operation):
            raise InvalidInput(f"{operation.__qualname__}: an operation is a plain function, not a coroutine function")
        async with self._turn:
            return await self._session.run_sync(operation, *args, **kwargs)


class AsyncUnitOfWork(AsyncReadUnitOfWork):
    """One transaction that reads and writes: committed when its block ends, rolled back when an exception leaves it.

    An operation that is cancelled undoes it, though the cancellation be caught within the block.
    """

    async def run(self, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation, a service function say, in this unit of work.

        Raises:
            StoreError: whatever the operation raises.
            InvalidInput: the operation is a coroutine function; a plain one is wanted.
        """
        return await self._spawn(operation, *args, **kwargs)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo only what the block did when an exception leaves it; see :meth:`UnitOfWork.savepoint`.

        Raises:
            StoreError: the unit of work was undone before, or an error was swallowed in the block.
        """
        nested = _held(self._session, UnitOfWork).savepoint()
        await self._spawn(lambda _: nested.__enter__())
        try:
            yield
        except BaseException as error:
            leaving = (type(error), error, error.__traceback__)
            await to_the_end(self._spawn(lambda _: nested.__exit__(*leaving)))
            raise
        await to_the_end(self._spawn(lambda _: nested.__exit__(None, None, None)))


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
            await _session(store._engines.read).run_sync(lambda _: store._connect())
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
            async with self._writing(), self._running(UnitOfWork, self._engines.write, asked_at) as session:
                yield AsyncUnitOfWork(session)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncReadUnitOfWork]:
        """Begin a unit of work that reads one consistent snapshot; a write in it is an error.

        Raises:
            StoreUnavailable: the store is closed, or the database cannot be reached.
        """
        asked_at = time.monotonic()
        with self._working():
            async with self._running(ReadUnitOfWork, self._engines.read, asked_at) as session:
                yield AsyncReadUnitOfWork(session)

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
    async def _writing(self) -> AsyncIterator[None]:
        if self._queue is None:
            yield
            return
        async with turn(self._queue, self._settings.busy_timeout_seconds):
            yield

    @asynccontextmanager
    async def _running(self, kind: type[UowT], engine: Engine, asked_at: float) -> AsyncIterator[AsyncSession]:
        session = _session(engine, sync_session_class=kind, clock=self._clock)
        uow = _held(session, kind)
        with self._admitted(uow):
            try:
                await session.run_sync(lambda _: uow._start(asked_at))  # noqa: SLF001 - as Store does
                self._refuse_swapped()
                self._refuse_lost_wal()
                yield session
                await to_the_end(session.run_sync(lambda _: uow._finish()))  # noqa: SLF001
            finally:
                await to_the_end(session.run_sync(lambda _: uow._undo(discard=False)))  # noqa: SLF001

    async def run(self, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation in a unit of work of its own, again if the backend calls its failure transient.

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

    async def follow(
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
        if idle_seconds is not None:
            require(Seconds, idle_seconds, field="idle_seconds")
        carrier = _session(self._engines.read)
        self._refuse_another_loop()
        watch = await carrier.run_sync(lambda _: self._watch(topic))
        try:
            while True:
                page = await self.query(listing, cursor=cursor)
                for item in page.items:
                    yield item
                cursor = page.end_cursor
                if page.next_cursor is None and not await self._await_change(carrier, watch, idle_seconds):
                    return
        finally:
            await to_the_end(carrier.run_sync(lambda _: watch.close()))

    async def _await_change(self, carrier: AsyncSession, watch: Watch, idle_seconds: float | None) -> bool:
        for seconds in slices(idle_seconds):
            self._refuse_closed()
            self._refuse_swapped()
            if await carrier.run_sync(lambda _: watch.wait(seconds)):  # noqa: B023 - awaited within the turn
                return True
        return False

    async def _repeat(
        self, begin: Callable[[], Any], operation: Callable[..., T], /, *args: object, **kwargs: object
    ) -> T:
        waits = pauses(self._settings.retries)
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
        await to_the_end(_session(self._engines.read).run_sync(lambda _: self._engines.dispose()))
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


def _session(engine: Engine, **options: Any) -> AsyncSession:
    """Return a session that is there for its ``run_sync``; nothing is connected yet."""
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession  # noqa: PLC0415 - fails without the extra's greenlet

    return AsyncSession(AsyncEngine(engine), **options)


def _held(session: AsyncSession, kind: type[UowT]) -> UowT:
    uow = session.sync_session
    assert isinstance(uow, kind)  # noqa: S101 - it was made as one
    return uow


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
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), timeout_seconds)
        if not queue.is_turn_of(ticket):
            waited = time.monotonic() - started
            raise StoreBusy(
                f"others of this process wrote to the database for {waited:.1f} s without a turn for this task",
                waited=waited,
            )
        yield
    finally:
        queue.leave(ticket)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await what must not be left half done; a cancellation meanwhile is passed on when it is done.

    Raises:
        CancelledError: the task was cancelled; the work is done nevertheless.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()
