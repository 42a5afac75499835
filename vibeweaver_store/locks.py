"""Who may write next among threads, who may migrate among processes, and when a process may fork."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from weakref import WeakValueDictionary

import filelock

from vibeweaver_store.errors import StoreBusy, StoreUnavailable


class WriterQueue:
    """A lock that is handed on in the order in which it was asked for.

    SQLite's busy handler polls: among threads that spin on it, luck decides, and the unlucky wait for long. Threads
    of one process queue here instead, so that the busy handler is left to other processes. It is not reentrant:
    one thread, one unit of work that writes.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[Ticket] = deque()
        self._holder: Ticket | None = None

    def enter(self, granted: Callable[[], None], owner: object) -> Ticket:
        """Join the queue; ``granted`` is called once, from any thread, when the turn has come.

        Raises:
            StoreBusy: ``owner`` holds the lock already and would wait for itself for ever.
        """
        ticket = self._taken(owner)
        if ticket is None:
            ticket = Ticket(granted, owner)
            with self._guard:
                if self._holder is not None:
                    self._waiting.append(ticket)
                    return ticket
                self._holder = ticket
        granted()
        return ticket

    def _taken(self, owner: object) -> Ticket | None:
        """Take the turn where nobody has it, without waiting.

        Raises:
            StoreBusy: ``owner`` has it already.
        """
        with self._guard:
            if self._holder is None:
                ticket = self._holder = Ticket(None, owner)
                return ticket
            if self._holder.owner == owner:
                raise StoreBusy(
                    "this thread or task has a unit of work open on this database already; hand that one on, "
                    "or nest with uow.savepoint()"
                )
        return None

    def is_turn_of(self, ticket: Ticket) -> bool:
        """Say whether the turn has come."""
        return self._holder is ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the turn to the next in line, or the place in the queue up."""
        with self._guard:
            if ticket is not self._holder:
                self._waiting.remove(ticket)
                return
            self._holder = self._waiting.popleft() if self._waiting else None
            following = self._holder
        if following is not None and following.granted is not None:
            following.granted()

    def take(self, timeout_seconds: float) -> Ticket:
        """Wait for the turn of this thread and keep it until it is left.

        Raises:
            StoreBusy: the turn did not come in time, or this thread has it already.
        """
        owner = _this_thread()
        ticket = self._taken(owner)
        return self._await_turn(owner, timeout_seconds) if ticket is None else ticket

    def _await_turn(self, owner: object, timeout_seconds: float) -> Ticket:
        started = time.monotonic()
        arrived = threading.Event()
        ticket = self.enter(arrived.set, owner)
        try:
            came = arrived.wait(timeout_seconds)
        except BaseException:
            self.leave(ticket)
            raise
        if not came:
            self.leave(ticket)
            waited = time.monotonic() - started
            raise StoreBusy(
                f"other threads wrote to the database for {waited:.1f} s without a turn for this one", waited=waited
            )
        return ticket

    @contextmanager
    def turn(self, timeout_seconds: float) -> Iterator[None]:
        """Wait for the turn and keep it for the block.

        Raises:
            StoreBusy: the turn did not come in time, or this thread has it already.
        """
        ticket = self.take(timeout_seconds)
        try:
            yield
        finally:
            self.leave(ticket)


class Ticket:
    """One place in a :class:`WriterQueue`."""

    __slots__ = ("granted", "owner")

    def __init__(self, granted: Callable[[], None] | None, owner: object) -> None:
        self.granted = granted
        self.owner = owner


_thread = threading.local()


def _this_thread() -> object:
    """Return what no other thread has, unlike its number, which a later thread may be given again."""
    if not hasattr(_thread, "token"):
        _thread.token = object()
    return _thread.token


_QUEUES: WeakValueDictionary[str, WriterQueue] = WeakValueDictionary()
_QUEUES_GUARD = threading.Lock()


def writer_queue(database: str) -> WriterQueue:
    """Return this process's one queue for a database file, whichever Store asks."""
    with _QUEUES_GUARD:
        queue = _QUEUES.get(database)
        if queue is None:
            queue = _QUEUES[database] = WriterQueue()
        return queue


Passer: TypeAlias = tuple[int, object]
"""Who is within a unit of work: a thread, and the task of its event loop where it is one's."""


class ForkGate:
    """Lets a process fork only between units of work.

    SQLite keeps its locks on a file in tables of the process, which ``fork`` copies and POSIX locks do not follow.
    A child that inherits a connection with a transaction would wait for ever for a lock that nobody frees, or
    believe in one that it does not hold; a thread within SQLite would leave it a mutex that nobody unlocks. So
    before a fork the units of work of other threads are waited for, and new ones are not let in.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[Passer, int] = {}
        self._forking = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be within a unit of work for the block, in this thread."""
        passer = self.come_in()
        try:
            yield
        finally:
            self.leave(passer)

    def come_in(self) -> Passer:
        """Be within a unit of work, in this thread, until one leaves.

        No lock is taken, which would be felt: each has a place of its own and takes it before it looks whether there
        is a fork; who forks says so before it looks who is inside.
        """
        passer = (threading.get_ident(), None)
        self._inside[passer] = self._inside.get(passer, 0) + 1
        if self._forking:
            self.leave(passer)
            with self._changed:
                # What this thread's event loop has inside ends only when the loop goes on.
                self._changed.wait_for(lambda: not self._forking or self._has_inside(passer[0]))
                self._inside[passer] = self._inside.get(passer, 0) + 1
        return passer

    def enter(self, task: object) -> Passer | None:
        """Let a task of this thread's event loop in, unless there is a fork now; then it is to try again."""
        passer = (threading.get_ident(), task)
        within = passer in self._inside
        self._inside[passer] = self._inside.get(passer, 0) + 1
        if self._forking and not within:
            self.leave(passer)
            return None
        return passer

    def leave(self, passer: Passer) -> None:
        """Come out again."""
        inside = self._inside.get(passer, 0)  # none in a child that was forked inside
        if inside > 1:
            self._inside[passer] = inside - 1
        else:
            self._inside.pop(passer, None)
        if self._forking:
            with self._changed:
                self._changed.notify_all()

    def _has_inside(self, thread: int) -> bool:
        return any(inside == thread for inside, _ in list(self._inside))

    def close(self, timeout_seconds: float) -> bool:
        """Let nobody in, wait for the other threads to come out, and say whether nobody at all is left inside."""
        thread = threading.get_ident()
        left: list[Passer] = []

        def is_alone() -> bool:
            left[:] = list(self._inside)  # at once: others step in and back meanwhile
            return all(inside == thread for inside, _ in left)

        with self._changed:
            self._forking += 1
            self._changed.wait_for(is_alone, timeout_seconds)
        return not left

    def open(self) -> None:
        """Let units of work begin again."""
        with self._changed:
            self._forking -= 1
            self._changed.notify_all()


FORK_GATE = ForkGate()


class _Migrating:
    """Alembic keeps its context in module globals: two threads that migrate two databases would mix them up."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


MIGRATING = _Migrating()


def forget_after_fork() -> None:
    """Drop what threads of the parent hold: they do not exist in the child."""
    global _QUEUES_GUARD  # noqa: PLW0603 - the parent's guard may be held by a thread that is gone
    _QUEUES_GUARD = threading.Lock()
    _QUEUES.clear()
    FORK_GATE.__init__()  # type: ignore[misc]  # its lock may be held by a thread that is gone
    MIGRATING.__init__()  # type: ignore[misc]  # likewise


@contextmanager
def file_lock(database: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold a database's side file ``NAME.lock`` across processes and threads for the block.

    The operating system frees it when its holder dies; the empty side file stays. Made by root, it is given to whose
    the database is (or the folder, where there is none yet), who is to lock it as well.

    Raises:
        StoreBusy: another process held it for longer than the timeout.
        StoreUnavailable: the side file cannot be made.
    """
    side_file = database.with_name(f"{database.name}.lock")
    lock = filelock.FileLock(side_file, mode=0o600)
    started = time.monotonic()
    try:
        lock.acquire(timeout=timeout_seconds, poll_interval=0.01)
    except filelock.Timeout as error:
        waited = time.monotonic() - started
        raise StoreBusy(f"{database}: another process is opening or migrating it", waited=waited) from error
    except OSError as error:
        raise StoreUnavailable(f"{database}: cannot make its lock file: {error.strerror}") from error
    try:
        _give_to_owner(side_file, database)
        yield
    finally:
        lock.release()


def _give_to_owner(side_file: Path, database: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    with suppress(OSError):  # as on a file system without owners
        owner = (database if database.exists() else database.parent).stat()
        os.chown(side_file, owner.st_uid, owner.st_gid, follow_symlinks=False)
