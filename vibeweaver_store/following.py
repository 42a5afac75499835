"""Waiting for what other connections commit: the building block under every log that can be followed.

A watch is set before the log is read, so that nothing is committed unnoticed in between. It runs within SQLAlchemy's
``run_sync`` too, where waiting gives the event loop free.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import Engine, NullPool
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util.concurrency import await_

from vibeweaver_store.columns import Seconds
from vibeweaver_store.driver_errors import translating
from vibeweaver_store.engine import Target, postgresql_engine, sqlite_engine
from vibeweaver_store.errors import StoreError, StoreUnavailable
from vibeweaver_store.hot import Hot
from vibeweaver_store.locks import FORK_GATE
from vibeweaver_store.settings import Settings
from vibeweaver_store.validation import require

_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05
_LONGEST_SILENCE_SECONDS = 30.0
_SLICE_SECONDS = 0.5


ANNOUNCEMENT: Final = Hot(
    sa.select(sa.func.pg_notify(sa.bindparam("channel", type_=sa.Text()), "")).where(
        sa.not_(sa.func.pg_try_advisory_xact_lock(sa.bindparam("number", type_=sa.BigInteger())))
    )
)
"""PostgreSQL's statement that tells who follows a topic, once the transaction is committed; see :func:`announced`.

NOTIFY has all transactions commit one after the other, so nothing is told where nobody follows. A follower shares a
lock on the topic; to begin, it waits for those who write without knowing of it, and then reads what they wrote.
"""


def announced(topic: str) -> dict[str, Any]:
    """Return the values of :data:`ANNOUNCEMENT` for a topic."""
    return {"channel": _channel(topic), "number": _number(topic)}


def _channel(topic: str) -> str:
    """Return the name of a topic's channel; such names have 63 bytes at most."""
    return f"vibeweaver_{_number(topic) % 2**64:016x}"


def _number(topic: str) -> int:
    return int.from_bytes(hashlib.blake2b(topic.encode(), digest_size=8).digest(), signed=True)


class Patience:
    """How long a follower waits for the next item."""

    def __init__(self, idle_seconds: float | None) -> None:
        """Begin to wait; ``None`` is for ever.

        Raises:
            InvalidInput: it is no finite number >= 0.
        """
        self._limit = math.inf if idle_seconds is None else require(Seconds, idle_seconds, field="idle_seconds")
        self.renew()

    def renew(self) -> None:
        """Begin anew: an item came."""
        self._until = time.monotonic() + self._limit

    def left(self) -> float:
        """Return how long to wait now, in seconds: a part of it, for a store looks in between whether it was closed."""
        return min(self._until - time.monotonic(), _SLICE_SECONDS)


class Watch(ABC):
    """Sees that something may have been committed. It may be closed from another thread than the one that waits."""

    def __init__(self, place: str, engine: Engine) -> None:
        self._place = place
        self._engine = engine
        self._process = os.getpid()
        self._in_use = threading.Lock()
        self._user: int | None = None
        self._closed = False
        self._given_back = False

    def wait(self, seconds: float) -> bool:
        """Wait until something may have been committed, for so long at most; say whether it may.

        Raises:
            StoreUnavailable: the database cannot be reached any more, or the watch was closed or belongs to a parent
                process.
        """
        with self._use():
            return self._wait(seconds)

    def close(self) -> None:
        """Give the connection back, once nobody uses it. Closing twice is allowed."""
        if self._given_back or self._process != os.getpid():
            return
        self._closed = True
        while not self._in_use.acquire(blocking=False):
            if self._user == threading.get_ident():
                return  # a signal's handler interrupts who waits, and that closes when it goes on
            self._sleep(_FIRST_PAUSE_SECONDS)
        try:
            if not self._given_back:
                self._close()
                self._given_back = True
        finally:
            self._in_use.release()

    @contextmanager
    def _use(self) -> Iterator[None]:
        if self._process != os.getpid():
            raise StoreUnavailable(f"{self._place}: this follower belongs to the parent process; begin one of your own")
        if self._closed or not self._in_use.acquire(blocking=False):
            raise StoreUnavailable(f"{self._place}: the store is closed")
        self._user = None if self._waits_on_a_loop() else threading.get_ident()
        try:
            yield
        finally:
            self._user = None
            self._in_use.release()

    def _waits_on_a_loop(self) -> bool:
        return self._engine.dialect.is_async

    def _sleep(self, seconds: float) -> None:
        if self._waits_on_a_loop():
            await_(asyncio.sleep(seconds))
        else:
            time.sleep(seconds)

    @abstractmethod
    def _wait(self, seconds: float) -> bool: ...

    @abstractmethod
    def _close(self) -> None: ...


def watch(
    target: Target, settings: Settings, topic: str, *, asynchronous: bool, files: WeakSet[sqlite3.Connection]
) -> Watch:
    """Begin to watch a database, for what is announced under a topic where it can tell.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    if target.backend == "postgresql":
        return _ServerWatch(target, settings, topic, asynchronous=asynchronous)
    return _FileWatch(target, settings, asynchronous=asynchronous, files=files)


class _FileWatch(Watch):
    """Compares ``PRAGMA data_version``, which changes when another connection has committed. Asking holds nobody up."""

    def __init__(
        self, target: Target, settings: Settings, *, asynchronous: bool, files: WeakSet[sqlite3.Connection]
    ) -> None:
        reading: dict[str, Any] = {"begin": "BEGIN", "pool_size": 0, "query_only": True}
        engine = sqlite_engine(target, settings, **reading, asynchronous=asynchronous, files=files)
        super().__init__(target.place, engine)
        with self._passing_gate(), translating(self._place):
            # Not through a Connection of SQLAlchemy's: it would be in a transaction, where nothing changes.
            self._connection = self._engine.raw_connection()
        self._version = self._read_version()

    @contextmanager
    def _passing_gate(self) -> Iterator[None]:
        if not self._waits_on_a_loop():
            with FORK_GATE.passing():
                yield
            return
        task = asyncio.current_task()
        while (passer := FORK_GATE.enter(task)) is None:
            self._sleep(_FIRST_PAUSE_SECONDS)
        try:
            yield
        finally:
            FORK_GATE.leave(passer)

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            version = self._read_version()
            if version != self._version:
                self._version = version
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _read_version(self) -> int:
        with self._passing_gate(), translating(self._place):
            cursor = self._connection.cursor()
            cursor.execute("PRAGMA data_version")
            row: Any = cursor.fetchone()
            cursor.close()
        return int(row[0])

    def _close(self) -> None:
        with self._passing_gate(), suppress(sqlite3.Error, SQLAlchemyError):
            self._connection.close()


class _ServerWatch(Watch):
    """Listens to the channel of a topic, on a connection of its own."""

    def __init__(self, target: Target, settings: Settings, topic: str, *, asynchronous: bool) -> None:
        engine = postgresql_engine(target, settings, poolclass=NullPool, asynchronous=asynchronous)
        super().__init__(target.place, engine)
        self._topic = topic
        self._listen()

    def _listen(self) -> None:
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._connection.exec_driver_sql(f"LISTEN {_channel(self._topic)}")
            self._connection.execute(sa.select(sa.func.pg_advisory_lock_shared(_number(self._topic))))
        except BaseException:
            self._close()
            raise
        self._looked_at = time.monotonic()

    def _wait(self, seconds: float) -> bool:
        try:
            told = self._is_told(seconds)
        except StoreUnavailable:
            # What was announced meanwhile is not told again, so there is something to look for.
            self._close()
            self._listen()
            return True
        # A connection that something on its way has dropped may stay silent for ever.
        if told or time.monotonic() - self._looked_at > _LONGEST_SILENCE_SECONDS:
            self._looked_at = time.monotonic()
            return True
        return False

    def _is_told(self, seconds: float) -> bool:
        driver: Any = self._connection.connection.dbapi_connection
        loaded: Any = self._engine.dialect.loaded_dbapi
        try:
            if self._waits_on_a_loop():
                return bool(driver.run_async(lambda connection: _count_async(connection, seconds)))
            return bool(sum(1 for _ in driver.notifies(timeout=seconds, stop_after=1)))
        except loaded.Error as error:
            raise StoreUnavailable(f"{self._place}: the connection was lost: {error}", transient=True) from error

    def _close(self) -> None:
        with suppress(StoreError, SQLAlchemyError):
            self._connection.close()


async def _count_async(connection: Any, seconds: float) -> int:
    return sum([1 async for _ in connection.notifies(timeout=seconds, stop_after=1)])
