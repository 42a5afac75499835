"""A worker: a loop that claims jobs, runs their handlers, and keeps their leases alive meanwhile (seed 004).

It is safe to kill at any moment: what it held is claimed by another worker once the lease has expired, and what a
handler wrote through its lease is committed while it held, or not at all.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from types import FrameType
from typing import Annotated, Final, TypeAlias

from pydantic import Field

from vibeweaver_store.columns import Count, Id, Name, Seconds
from vibeweaver_store.domain_store import Store
from vibeweaver_store.errors import InvalidInput, LeaseLost, NotFound, StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.following import Watch
from vibeweaver_store.models.job import Job
from vibeweaver_store.paging import MAX_LIMIT
from vibeweaver_store.services import jobs
from vibeweaver_store.services.jobs import Ended
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require
from vibeweaver_store.worker_tasks import AnyHandler, Handler, LoopThread, Task, unique_worker_id

_LOG: Final = logging.getLogger(__name__)

DEFAULT_GRACE_SECONDS: Final = 30.0

_SLICE_SECONDS: Final = 0.25
"""How long a wait lasts at most before the worker looks whether it is to stop: a signal only leaves word."""

_LONGEST_IDLE_SECONDS: Final = 30.0
"""How long it relies on being told, where nothing is due by the clock: clocks are set, and connections fall silent."""

_LEAST_BETWEEN_LOOKS_SECONDS: Final = 0.05
_OTHERS_WERE_QUICKER_SECONDS: Final = 0.005
"""How long it waits where others claim what it saw: on PostgreSQL it is to be seen until they commit."""

_RENEWALS_A_LEASE: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_CANCELLED_WITHIN_SECONDS: Final = 1.0
_LEASES_END_WITHIN_SECONDS: Final = 5.0
"""How long :meth:`Worker.run` waits for a renewal that is under way: a server that does not answer may never end it."""

OnEnd: TypeAlias = Callable[[Ended], None]

_Concurrency = Annotated[Count, Field(ge=1, le=MAX_LIMIT)]
_LeaseSeconds = Annotated[Seconds, Field(ge=0.001, le=366 * 86_400)]


class Worker:
    """Claims jobs of the types that it has handlers for, runs each in a thread or as a task, and ends them.

    A handler is called with a :class:`~vibeweaver_store.services.jobs.Lease`, and its job is completed with what it
    returns, a JSON value; where it raises, the job fails and is tried again, or not, by the job's attempts. A plain
    function runs in a thread of its own. A coroutine function runs on one event loop that the worker keeps, and is
    given an :class:`~vibeweaver_store.services.jobs.AsyncLease`; that takes ``vibeweaver-store[async]``. A handler that
    must have its effect exactly once writes it, and completes the job, in ``lease.begin()``.

    Attributes:
        worker_id: by which name it claims.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Handler | AnyHandler],
        *,
        worker_id: str | None = None,
        concurrency: int = 1,
        lease_seconds: float = jobs.DEFAULT_LEASE_SECONDS,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        on_end: OnEnd | None = None,
    ) -> None:
        """Make a worker; :meth:`run` sets it to work.

        Args:
            store: where the jobs are.
            handlers: what runs the jobs of a type: a function, or a :class:`Handler` with a backoff of its own.
            worker_id: by which name it claims; by default one of the host, the process, and chance.
            concurrency: how many jobs it runs at a time, 1 to 1,000.
            lease_seconds: how long it holds a job without a word, 0.001 to a year of 366 days; it renews three times as
                often. Let it be twice as long as the longest unit of work of a handler: a lease cannot be renewed while
                that is under way.
            grace_seconds: how long it waits for handlers when it is told to stop; then their jobs are handed back, or,
                where the database cannot be written, left to their leases.
            on_end: is told of each attempt that it, or a handler through its lease, has ended, and of jobs that failed
                since their last lease expired, with the firings to be acted on; from whichever thread it happened in.

        Raises:
            InvalidInput: there is no handler, one cannot be called, or a number is out of range.
        """
        if not isinstance(handlers, Mapping) or not 1 <= len(handlers) <= jobs.MAX_TYPES:
            raise InvalidInput(
                f"handlers: must be a mapping of 1 to {jobs.MAX_TYPES} job types to handlers", field="handlers"
            )
        self._handlers = {require(Name, kind, field="type"): Handler.of(each) for kind, each in handlers.items()}
        self._store = store
        self.worker_id: str = unique_worker_id() if worker_id is None else require(Id, worker_id, field="worker_id")
        self._concurrency: int = require(_Concurrency, concurrency, field="concurrency")
        self._lease_seconds: float = require(_LeaseSeconds, lease_seconds, field="lease_seconds")
        self._grace_seconds: float = require(Seconds, grace_seconds, field="grace_seconds")
        self._on_end = on_end
        self._tasks: dict[str, Task] = {}
        self._changed = threading.Condition()
        self._ran = False
        self._looked_at = -math.inf
        self._in_vain = 0  # how often in a row others were quicker
        self._eager = False  # the last claim brought something, so there may be more
        self._stop = False
        self._hurry = False
        self._over = threading.Event()
        self._watch: Watch | None = None
        self._loop = LoopThread(store)

    # --- from outside ------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have :meth:`run` claim nothing more, and return when what is under way has ended, or was handed back.

        It may be called from any thread, and from a signal's handler; called again, it does not wait for handlers.
        """
        self._hurry = self._stop
        self._stop = True

    def run(self, *, until_idle: bool = False) -> None:
        """Work until it is told to stop: by :meth:`stop`, or, in the main thread, by SIGTERM or SIGINT.

        A database that is busy or out of reach for a while is told of by logging, and waited for. A worker runs once.

        Args:
            until_idle: return when there is nothing that can be claimed and nothing under way, though something may be
                scheduled for later.

        Raises:
            StoreError: the database cannot be worked with: it is damaged, or the store was closed; or the worker ran
                before.
            StoreUnavailable: there are coroutine functions, and a driver for asyncio is missing.
        """
        if self._ran:
            raise StoreError("a worker runs once; make another one")
        self._ran = True
        self._open_loop()
        with self._stopping_by_signals(), closing(self._loop), self._keeping_leases():
            try:
                self._work(until_idle)
            finally:
                self._unwatch()
                self._wind_up()

    def _open_loop(self) -> None:
        """Have an event loop where there are coroutine functions, before anything is claimed that could not be run."""
        if not any(handler.is_async for handler in self._handlers.values()):
            return
        try:
            self._loop.open()
        except BaseException:
            self._loop.close()
            raise

    @contextmanager
    def _stopping_by_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def leave_word(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        before = {number: signal.signal(number, leave_word) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- claiming ----------------------------------------------------------------------------------------------

    def _work(self, until_idle: bool) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stop:
            try:
                if not self._take_turn(until_idle):
                    return
                pause = _FIRST_PAUSE_SECONDS
            except (StoreBusy, StoreUnavailable) as error:
                if self._store.closed:
                    raise
                _LOG.warning("%s: %s; trying again in %.1f s", self.worker_id, error.message, pause)
                self._unwatch()
                self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _take_turn(self, until_idle: bool) -> bool:
        """Claim what there is, or wait for it; ``False`` where there is nothing, and it is not to be waited for."""
        free = self._concurrency - len(self._tasks)
        if not free:
            self._await_slot()
            return True
        due_in_seconds = 0.0 if self._eager else self._look()
        if due_in_seconds > 0:
            if until_idle and not self._tasks:
                return False
            self._await_change(due_in_seconds)
            return True
        self._eager = self._claim(free)
        self._in_vain = 0 if self._eager else self._in_vain + 1
        if self._in_vain:
            self._sleep(min(_OTHERS_WERE_QUICKER_SECONDS * 2**self._in_vain, _SLICE_SECONDS))
        return True

    def _look(self) -> float:
        """Return in how many seconds there will be something to claim; 0 where there is something now.

        Reading holds nobody up, as a claim that finds nothing would.
        """
        # Amid a stream of commits that are none of its business, it looks now and then.
        self._sleep(self._looked_at + _LEAST_BETWEEN_LOOKS_SECONDS - time.monotonic())
        self._looked_at = time.monotonic()
        if self._watch is None:
            # Before the look, so that nothing is enqueued unnoticed in between.
            self._watch = self._store.watch(jobs.JOBS_TOPIC)
        due, now = self._store.query(_next_due, list(self._handlers))
        return math.inf if due is None else max(0.0, (due - now).total_seconds())

    def _claim(self, free: int) -> bool:
        claimed = self._store.run(
            jobs.claim, list(self._handlers), self.worker_id, lease_seconds=self._lease_seconds, limit=free
        )
        for ended in claimed.ended:
            self._tell(ended)
        for job in claimed.jobs:
            self._start(job)
        return bool(claimed.jobs)

    def _await_slot(self) -> None:
        with self._changed:
            if len(self._tasks) >= self._concurrency:
                self._changed.wait(_SLICE_SECONDS)

    def _await_change(self, due_in_seconds: float) -> None:
        """Wait until something is committed, becomes due, or ends here."""
        # On PostgreSQL nobody tells of a claim, and so of when its lease will expire.
        until = time.monotonic() + min(due_in_seconds, self._lease_seconds, _LONGEST_IDLE_SECONDS)
        under_way = len(self._tasks)
        while not self._stop and len(self._tasks) == under_way and (left := until - time.monotonic()) > 0:
            assert self._watch is not None  # noqa: S101 - set before the look that came before
            if self._watch.wait(min(left, _SLICE_SECONDS)):
                return

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stop and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # --- handlers ----------------------------------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        task = Task(job, self._handlers[job.type], self._store, self._loop)
        with self._changed:
            self._tasks[job.id] = task
        # A daemon: a handler that never ends does not keep the process from ending; its job is handed back.
        threading.Thread(target=self._run, args=(task,), name=f"{self.worker_id} {job.id}", daemon=True).start()

    def _run(self, task: Task) -> None:
        try:
            ended = task.run()
            if ended is not None:
                self._tell(ended)
        except StoreError as error:
            # The lease expires, and the job is claimed again.
            _LOG.warning("%s: job %s was not ended: %s", self.worker_id, task.job.id, error.message)
        finally:
            with self._changed:
                del self._tasks[task.job.id]
                self._changed.notify_all()

    def _tell(self, ended: Ended) -> None:
        if self._on_end is None:
            return
        try:
            self._on_end(ended)
        except Exception:  # noqa: BLE001 - it is not ours, and the worker goes on
            _LOG.exception("%s: on_end failed for job %s", self.worker_id, ended.job.id)

    @contextmanager
    def _keeping_leases(self) -> Iterator[None]:
        """Renew leases in a thread for the block. The thread uses the store, so it ends before the worker does."""
        thread = threading.Thread(target=self._keep_alive, name=f"{self.worker_id} leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(_LEASES_END_WITHIN_SECONDS)

    def _keep_alive(self) -> None:
        while not self._over.wait(self._lease_seconds / _RENEWALS_A_LEASE):
            for task in list(self._tasks.values()):
                if self._over.is_set():
                    return
                try:
                    self._store.run(jobs.heartbeat, task.job, lease_seconds=self._lease_seconds)
                except (LeaseLost, NotFound):
                    if task.ended is None:
                        task.lose()
                except StoreError as error:
                    _LOG.warning("%s: job %s was not renewed: %s", self.worker_id, task.job.id, error.message)

    # --- the end -----------------------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        for task in list(self._tasks.values()):
            task.ask_to_stop()
        self._await_tasks(self._grace_seconds, hurried=lambda: self._hurry)
        left = list(self._tasks.values())
        for task in left:
            task.lose()
        self._await_tasks(_CANCELLED_WITHIN_SECONDS if self._loop.running else 0.0, hurried=lambda: False)
        self._over.set()
        for task in left:
            try:
                self._store.run(jobs.hand_back, task.job, reason=f"{self.worker_id} was stopped amid it")
            except (LeaseLost, NotFound):
                pass  # it has ended after all
            except StoreError as error:
                _LOG.warning("%s: job %s was not handed back: %s", self.worker_id, task.job.id, error.message)

    def _await_tasks(self, seconds: float, *, hurried: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        with self._changed:
            while self._tasks and not hurried() and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, _SLICE_SECONDS))


def _next_due(uow: ReadUnitOfWork, types: list[str]) -> tuple[datetime | None, datetime]:
    return jobs.next_due(uow, types), uow.present()
