"""What a worker runs: handlers, each with its job and lease, in a thread or on an event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from vibeweaver_store.domain_store import AsyncStore, Store
from vibeweaver_store.errors import InvalidInput, LeaseLost, NotFound, StoreBusy, StoreUnavailable
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.job import Job
from vibeweaver_store.services import jobs
from vibeweaver_store.services.jobs import DEFAULT_BACKOFF, AsyncLease, Backoff, Ended, Lease
from vibeweaver_store.unit_of_work import UnitOfWork

_LOG: Final = logging.getLogger("vibeweaver_store.worker")

_LONGEST_ERROR: Final = 10_000
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_TASKS_END_WITHIN_SECONDS: Final = 4.0
_LOOP_ENDS_WITHIN_SECONDS: Final = 5.0

SyncHandler: TypeAlias = Callable[[Lease], object]
AsyncHandler: TypeAlias = Callable[[AsyncLease], Awaitable[object]]
AnyHandler: TypeAlias = SyncHandler | AsyncHandler


class GiveUp(Exception):  # noqa: N818 - it is what a handler says, and no fault of it
    """Raised by a handler: the job fails with this message, and is not tried again."""


@dataclass(frozen=True, slots=True)
class Handler:
    """What runs the jobs of a type, and how long a job waits after each failure."""

    run: AnyHandler
    backoff: Backoff = DEFAULT_BACKOFF

    @classmethod
    def of(cls, given: object) -> Handler:
        """Return a handler, or one of a function.

        Raises:
            InvalidInput: it is neither.
        """
        handler = given if isinstance(given, Handler) else cls(given)  # type: ignore[arg-type]  # seen to below
        if not callable(handler.run):
            raise InvalidInput(f"handlers: {shown(given)} cannot be called", field="handlers")
        return handler

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine function, or an object that is called as one."""
        return inspect.iscoroutinefunction(self.run) or inspect.iscoroutinefunction(type(self.run).__call__)


def unique_worker_id() -> str:
    """Return a name that no other worker has: of the host, the process, and chance."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(3)}"


class LoopThread:
    """An event loop in a thread of its own, with an AsyncStore on it; both begin when they are first asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._async_store: AsyncStore | None = None

    @property
    def running(self) -> bool:
        """Whether anything has asked for it."""
        return self._loop is not None

    def submit(self, work: Callable[[AsyncStore], Coroutine[Any, Any, object]]) -> Future[object]:
        """Begin a coroutine on the loop, and return what waits for it.

        Raises:
            StoreUnavailable: a driver for asyncio is missing, or the database cannot be reached.
        """
        return asyncio.run_coroutine_threadsafe(work(self.open()), self._begun())

    def open(self) -> AsyncStore:
        """Begin the loop and open the store on it, where that was not done yet; return the store.

        Raises:
            StoreUnavailable: a driver for asyncio is missing, or the database cannot be reached.
        """
        with self._lock:
            if self._async_store is None:
                opening = asyncio.run_coroutine_threadsafe(self._store.for_asyncio(), self._begun())
                self._async_store = opening.result()
            return self._async_store

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="handlers' loop", daemon=True)
            self._thread.start()
        return self._loop

    def close(self) -> None:
        """Cancel what is left on the loop, close the store, and end the thread."""
        if self._loop is None or self._thread is None:
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_LOOP_ENDS_WITHIN_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LOOP_ENDS_WITHIN_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        # A handler may refuse to be cancelled: the connections that it does not use are closed all the same.
        await asyncio.wait([asyncio.gather(*others, return_exceptions=True)], timeout=_TASKS_END_WITHIN_SECONDS)
        if self._async_store is not None:
            await self._async_store.close()


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a coroutine raised, carried out of the event loop."""

    error: BaseException


class Task:
    """A claimed job with its handler, from the claim to the end."""

    def __init__(self, job: Job, handler: Handler, store: Store, loop: LoopThread) -> None:
        self.job = job
        self._handler = handler
        self._store = store
        self._loop = loop
        self._lease: Lease | AsyncLease | None = None
        self._future: Future[object] | None = None
        self._lost = False
        self._asked_to_stop = False

    @property
    def ended(self) -> Ended | None:
        """How the handler has ended the job itself, through its lease; nothing where it has not."""
        return None if self._lease is None else self._lease.ended

    def run(self) -> Ended | None:
        """Run the handler, and end the job by how it ended; nothing where the job is not ours any more.

        While the database is busy or out of reach, it is tried again: the lease is kept alive meanwhile, or lost.

        Raises:
            StoreError: the end could not be written.
        """
        end = self._attempt()
        if end is None:
            return self.ended
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._store.run(end)
            except (LeaseLost, NotFound) as error:
                if self.ended is None:
                    _LOG.warning("%s", error.message)
                return self.ended
            except InvalidInput as error:
                # The handler returned what is no JSON: it would the next time.
                end = partial(jobs.fail, job=self.job, error=error.message, retry=False)
            except (StoreBusy, StoreUnavailable) as error:
                if self._store.closed:
                    raise
                _LOG.warning("job %s is not ended yet: %s; trying again in %.1f s", self.job.id, error.message, pause)
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _attempt(self) -> Callable[[UnitOfWork], Ended] | None:
        try:
            result = self._call()
        except GiveUp as error:
            return partial(jobs.fail, job=self.job, error=_told(error), retry=False)
        except CancelledError:
            return None  # by us: the job is not ours any more
        except BaseException as error:  # noqa: BLE001 - whatever it is, the job has failed of it
            if isinstance(error, LeaseLost) and error.job_id == self.job.id:
                _LOG.warning("job %s is left: %s", self.job.id, error)
                return None
            _LOG.info("job %s failed", self.job.id, exc_info=error)
            return partial(jobs.fail, job=self.job, error=_told(error), backoff=self._handler.backoff)
        return partial(jobs.complete, job=self.job, result=result)

    def _call(self) -> object:
        if not self._handler.is_async:
            with self._store.lease(self.job) as lease:
                self._hold(lease)
                return self._handler.run(lease)  # type: ignore[arg-type]  # it is a plain function
        self._future = self._loop.submit(self._call_async)
        if self._lost:
            self._future.cancel()
        outcome = self._future.result()
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome

    async def _call_async(self, store: AsyncStore) -> object:
        try:
            async with store.lease(self.job) as lease:
                self._hold(lease)
                return await self._handler.run(lease)  # type: ignore[arg-type, misc]  # it is a coroutine function
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self._lost:
                raise
            return _Raised(error)

    def _hold(self, lease: Lease | AsyncLease) -> None:
        self._lease = lease
        lease.lost = self._lost
        lease.stopping = self._asked_to_stop

    def ask_to_stop(self) -> None:
        """Let a handler that looks know that it is to finish soon."""
        self._asked_to_stop = True
        if self._lease is not None:
            self._lease.stopping = True

    def lose(self) -> None:
        """Let the handler know that the job is not ours any more: a task is cancelled, a thread may look."""
        self._lost = True
        if self._lease is not None:
            self._lease.lost = True
        if self._future is not None:
            self._future.cancel()


def _told(error: BaseException) -> str:
    """Return what a failure is called, as text that a column takes."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__
        said = ""
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")[:_LONGEST_ERROR]
