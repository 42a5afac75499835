"""One transaction for asyncio: plain service functions run in it, and whatever waits gives the event loop free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.util.concurrency import greenlet_spawn

from vibeweaver_store.errors import StoreError
from vibeweaver_store.opened import finished
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

P = ParamSpec("P")
T = TypeVar("T")


class AsyncReadUnitOfWork:
    """One transaction that reads a consistent snapshot: :meth:`run` runs services in it.

    It is begun and ended by the store alone: see :meth:`AsyncStore.read`. Tasks that share one take turns, and the end
    of its block waits for the operation that is at work.
    """

    def __init__(self, uow: ReadUnitOfWork) -> None:
        self._uow = uow
        self._turn = asyncio.Lock()

    async def run(
        self, operation: Callable[Concatenate[ReadUnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one operation, a service function say, in this unit of work.

        Raises:
            StoreError: whatever the operation raises.
            InvalidInput: the operation is a coroutine function; a plain one is wanted.
        """
        return finished(operation, await self._spawn(operation, *args, **kwargs))

    async def _spawn(self, operation: Callable[..., T], *args: object, **kwargs: object) -> T:
        async with self._turn:
            return await in_greenlet(operation, self._uow, *args, **kwargs)

    async def _whole(self, step: Callable[[], None]) -> None:
        """Do what begins or ends the unit of work, to its end, after whatever runs in it."""
        await to_the_end(self._spawn(lambda _: step()))


class AsyncUnitOfWork(AsyncReadUnitOfWork):
    """One transaction that reads and writes: committed when its block ends, rolled back when an exception leaves it.

    An operation that is cancelled undoes it, though the cancellation be caught within the block.
    """

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(uow)
        self._writing = uow
        self._within_savepoints: list[asyncio.Task[Any] | None] = []

    async def run(self, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation, a service function say, in this unit of work.

        Raises:
            StoreError: whatever the operation raises.
            InvalidInput: the operation is a coroutine function; a plain one is wanted.
        """
        return finished(operation, await self._spawn(operation, *args, **kwargs))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo only what was done during the block when an exception leaves it; see :meth:`UnitOfWork.savepoint`.

        What other tasks do in the unit of work meanwhile is within it too. Savepoints of two tasks cannot overlap.

        Raises:
            StoreError: the unit of work was undone before, an error was swallowed in the block, or another task is
                within a savepoint.
        """
        task = asyncio.current_task()
        if self._within_savepoints and self._within_savepoints[-1] is not task:
            raise StoreError("another task is within a savepoint of this unit of work; theirs cannot overlap")
        nested = self._writing.savepoint()
        self._within_savepoints.append(task)
        try:
            await self._spawn(lambda _: nested.__enter__())
            try:
                yield
            except BaseException as error:
                leaving = (type(error), error, error.__traceback__)
                await to_the_end(self._spawn(lambda _: nested.__exit__(*leaving)))
                raise
            await to_the_end(self._spawn(lambda _: nested.__exit__(None, None, None)))
        finally:
            self._within_savepoints.pop()


async def in_greenlet(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run plain code that uses a driver of asyncio: what waits in it gives the event loop free.

    It is what SQLAlchemy's ``run_sync`` does (https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html).
    """
    return await greenlet_spawn(partial(work, *args, **kwargs))


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await what must not be left half done; a cancellation meanwhile is passed on when it is done.

    Raises:
        CancelledError: the task was cancelled; the work is done nevertheless.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:  # noqa: BLE001, S110 - told of below
            pass
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()
