"""Who may write next among processes that have one file open."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, TypeAlias

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class _Waiting:
    """Somebody who waits for a turn, until it has come or they have given up, whichever is first."""

    def __init__(self) -> None:
        self._over = threading.Lock()
        self._over.acquire()
        self._guard = threading.Lock()
        self._came = False
        self.given_up = False

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it is over one way or the other, no longer than so; say whether it is."""
        return self._over.acquire(timeout=max(0.0, timeout_seconds))

    def arrive(self) -> bool:
        """Say that the turn has come; false where nobody waits any more."""
        with self._guard:
            if not self.given_up:
                self._came = True
                self._over.release()
            return self._came

    def give_up(self) -> None:
        with self._guard:
            if not self._came and not self.given_up:
                self.given_up = True
                self._over.release()


_Asked: TypeAlias = "SimpleQueue[tuple[int, _Waiting] | None]"


def _await_turns(asked: _Asked) -> None:
    """Wait for the turns on files that are asked for, one after the other; ``None`` ends it.

    A thread of its own does, since ``flock`` itself knows no timeout. What comes too late is handed on.
    """
    while (request := asked.get()) is not None:
        descriptor, waiting = request
        try:
            if not waiting.given_up:
                _await_turn(descriptor, waiting)
        finally:
            os.close(descriptor)


def _await_turn(descriptor: int, waiting: _Waiting) -> None:
    with suppress(OSError):
        _seat(descriptor, _TAKE, wait=True)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with suppress(OSError):
        _seat(descriptor, _LEAVE)
    if not waiting.arrive():
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


_HAS_SEAT: Final = sys.platform == "linux" and struct.calcsize("P") == 8
_TAKE: Final = struct.pack("hhqqi0q", 1, os.SEEK_SET, 0, 1, 0)
"""``F_WRLCK`` of the first byte, as Linux has its ``struct flock``."""
_LEAVE: Final = struct.pack("hhqqi0q", 2, os.SEEK_SET, 0, 1, 0)
"""``F_UNLCK`` of it."""


def _seat(descriptor: int, what: bytes, *, wait: bool = False) -> None:
    """Take or leave the seat of who is next: a lock on a byte, which belongs to the opened file as ``flock`` does."""
    if _HAS_SEAT:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, what)


def _take_past_others(descriptor: int) -> bool:
    """Take the turn past whoever is next, if nobody has it, and say whether it is had.

    Who waits in the thread for the same turn may hand it on before it is left: SQLite's lock is there still.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


_PATIENCE_SECONDS: Final = 0.05
"""After how long one looks whether nobody has the turn: who is next may be stopped, and does not take it."""

_KEPT_FOR_SECONDS: Final = 0.004
"""How long who has had the turn may take it again before others: with each change of process time is lost."""


class FileTurn:
    """The turn to write among the processes that have a database open, which the operating system hands on.

    SQLite's busy handler sleeps longer and longer between its attempts, up to 100 ms
    (https://www.sqlite.org/c3ref/busy_timeout.html); among processes that write all the time, who sleeps misses the
    moments between the others' transactions. So they wait here first, where each is woken as the turn is free. It is
    ``flock`` on the -wal file, which SQLite itself never locks. Nothing depends on it: SQLite's own lock is what keeps
    two from writing at once, and who cannot have a turn goes on without.

    Whoever comes takes the seat of who is next first, where there is one. Without it, who leaves the turn and comes
    again at once would have it before the one who is woken by it, time and again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._waiting: _Waiting | None = None
        self._asked: _Asked | None = None
        self._is_seated = False
        self._keeps_until = 0.0

    def take(self) -> bool:
        """Take the turn if it is free, and say whether there is nothing to wait for."""
        descriptor = self._opened() if fcntl is not None else None
        if descriptor is None:
            return True
        try:
            if time.monotonic() > self._keeps_until:
                _seat(descriptor, _TAKE)
                self._is_seated = True
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # as on a file system without such locks
            return True
        if self._is_seated:
            self._stand_up(descriptor)
            self._keeps_until = time.monotonic() + _KEPT_FOR_SECONDS
        return True

    def _stand_up(self, descriptor: int) -> None:
        self._is_seated = False
        with suppress(OSError):
            _seat(descriptor, _LEAVE)

    def wait(self, timeout_seconds: float) -> None:
        """Wait for the turn, no longer than so; it is had then, or SQLite tells who is in the way."""
        descriptor = self._opened()
        if fcntl is None or descriptor is None:
            return
        waiting = self._waiting = _Waiting()
        # One of its own, of the same opened file: the number of ours may be another file's by the time the turn comes.
        self._waiter().put((os.dup(descriptor), waiting))
        self._is_seated = False  # who waits there leaves the seat, too
        until = time.monotonic() + timeout_seconds
        try:
            while not waiting.wait(min(until - time.monotonic(), _PATIENCE_SECONDS)):
                if time.monotonic() >= until or _take_past_others(descriptor):
                    break
        finally:
            waiting.give_up()
        self._keeps_until = time.monotonic() + _KEPT_FOR_SECONDS

    def _waiter(self) -> _Asked:
        """Return whom to ask: a thread that stays, since to begin one takes as long as a transaction."""
        if self._asked is None:
            self._asked = SimpleQueue()
            threading.Thread(target=_await_turns, args=[self._asked], daemon=True, name="vibeweaver turn").start()
        return self._asked

    def give_up(self) -> None:
        """Wait no more, as where who waited is gone; what comes too late is handed on."""
        if self._waiting is not None:
            self._waiting.give_up()

    def leave(self) -> None:
        """Hand the turn on."""
        descriptor = self._descriptor  # another thread may close the store meanwhile
        if descriptor is not None and fcntl is not None:
            if self._is_seated:
                self._stand_up(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            except OSError:  # as in take
                return

    def close(self) -> None:
        """Give the file back, and let the thread go."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.put(None)
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        """Close what was not closed."""
        self.close()

    def _opened(self) -> int | None:
        if self._descriptor is None:
            with suppress(OSError):  # before the first connection, there is none
                self._descriptor = os.open(self._path, os.O_RDWR)
        return self._descriptor
