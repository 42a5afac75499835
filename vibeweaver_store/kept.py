# Over 400 lines: a connection, its pool and how it is handed on are one idea
"""Connections that stay ready: what has been set up once is handed from one unit of work to the next.

SQLAlchemy's pool makes them and bounds how many there are; checking one out of it costs more than a transaction of
SQLite does, so those that come back wait here. Whoever waits for the pool is served before any is kept.
"""

from __future__ import annotations

import logging
import select
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from vibeweaver_store.driver_errors import Translation, interrupt
from vibeweaver_store.errors import StoreError

T = TypeVar("T")

_LOGGER: Final = logging.getLogger("sqlalchemy.engine.Engine")


class KeptConnection(ABC):
    """One connection of the driver, for one unit of work at a time.

    Attributes:
        connection: SQLAlchemy's connection, for a session to work on.
        driver: the driver's own.
    """

    def __init__(self, engine: sa.Engine, errors: Translation) -> None:
        self.connection = engine.connect()
        fairy = self.connection.connection
        self._dbapi: Any = fairy.dbapi_connection
        self.driver: Any = fairy.driver_connection
        self._errors = errors

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    @property
    @abstractmethod
    def is_undone(self) -> bool:
        """Whether the backend gave the transaction up: statements would fail, or commit one by one."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction."""

    def is_alive(self) -> bool:
        """Say whether it can be used still, as far as is known without asking."""
        return True

    def is_observed(self) -> bool:
        """Say whether somebody listens to what is sent: then it goes by SQLAlchemy, which tells them."""
        heard = self.connection.engine.dispatch
        return bool(heard.before_cursor_execute or heard.after_cursor_execute or _LOGGER.isEnabledFor(logging.INFO))

    def rows(self, statement: str, values: Any) -> list[Any]:
        """Run a statement and return its rows.

        Raises:
            StoreError: in place of the driver's error.
        """
        # As _sent does; most of what is sent goes this way, and calls are felt.
        try:
            return self._rows(statement, values)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            interrupt(self.connection.dialect, self._dbapi)
            raise

    def _rows(self, statement: str, values: Any) -> list[Any]:
        cursor = self._dbapi.cursor()
        cursor.execute(statement, values)
        found: list[Any] = cursor.fetchall()
        cursor.close()
        return found

    def count(self, statement: str, values: Any) -> int:
        """Run a statement that returns no rows, and return how many rows it has changed.

        Raises:
            StoreError: in place of the driver's error.
        """
        return self._sent(self._count, statement, values)

    def _count(self, statement: str, values: Any) -> int:
        cursor = self._dbapi.cursor()
        cursor.execute(statement, values)
        changed: int = cursor.rowcount
        cursor.close()
        return changed

    def key(self, statement: str, values: Any) -> int:
        """Run an ``INSERT`` of one row, and return the integer key that the database gave it.

        Raises:
            StoreError: in place of the driver's error.
        """
        return self._sent(self._key, statement, values)

    def _key(self, statement: str, values: Any) -> int:
        ((key,),) = self._rows(statement, values)
        return int(key)

    def many(self, statement: str, values: Sequence[Any]) -> None:
        """Run a statement that returns no rows with each of several sets of values.

        Raises:
            StoreError: in place of the driver's error.
        """
        self._sent(self._many, statement, values)

    def _many(self, statement: str, values: Sequence[Any]) -> None:
        cursor = self._dbapi.cursor()
        cursor.executemany(statement, values)
        cursor.close()

    def commit(self) -> None:
        """Commit what was begun.

        Raises:
            StoreError: in place of the driver's error.
        """
        self._sent(self._dbapi.commit)

    def rollback(self) -> None:
        """Take back what was begun.

        Raises:
            StoreError: in place of the driver's error.
        """
        self._sent(self._dbapi.rollback)

    def _sent(self, send: Callable[..., T], *values: Any) -> T:
        try:
            return send(*values)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            interrupt(self.connection.dialect, self._dbapi)
            raise

    def _translated(self, error: Exception) -> StoreError:
        dialect = self.connection.dialect
        driver: Any = dialect.loaded_dbapi
        lost = isinstance(error, driver.Error) and dialect.is_disconnect(error, self._dbapi, None)
        if lost:
            self.connection.invalidate(error)
        return self._errors.of(error, disconnected=lost, misused=isinstance(error, driver.ProgrammingError))

    def is_sound(self) -> bool:
        """Say whether another unit of work can take it: nothing is open on it, and it was not lost."""
        return not (self.connection.invalidated or self.connection.in_transaction() or self.in_transaction)

    def release(self) -> None:
        """Give it back to the pool that it came from."""
        with suppress(SQLAlchemyError):
            self.connection.close()

    def discard(self) -> None:
        """Close it; nobody is given it again."""
        with suppress(SQLAlchemyError):
            self.connection.invalidate()
        self.release()


class SqliteConnection(KeptConnection):
    """A connection to a file."""

    def __init__(self, engine: sa.Engine, errors: Translation) -> None:
        super().__init__(engine, errors)
        self._begin_with: str = engine.get_execution_options()["begin_with"]

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self.driver.in_transaction)

    @property
    def is_undone(self) -> bool:
        """Whether the backend gave it up: a full disk or an I/O error does, and what follows would commit by itself."""
        return not self.driver.in_transaction

    def begin(self) -> None:
        """Begin a transaction with our own statement.

        Raises:
            StoreBusy: another process writes.
        """
        self.rows(self._begin_with, ())

    def _rows(self, statement: str, values: Any) -> list[Any]:
        found: list[Any] = self._dbapi.execute(statement, values).fetchall()
        return found

    def _key(self, statement: str, values: Any) -> int:
        # To return the row takes SQLite as long as to write it.
        key: int = self._dbapi.execute(statement, values).lastrowid
        return key


class AiosqliteConnection(SqliteConnection):
    """A connection to a file that works in a thread of its own: what can be done in one trip there, is."""

    def _rows(self, statement: str, values: Any) -> list[Any]:
        found: Iterable[Any] = self._dbapi.run_async(lambda driver: driver.execute_fetchall(statement, values))
        return list(found)

    def _key(self, statement: str, values: Any) -> int:
        (key,) = self._dbapi.run_async(lambda driver: driver.execute_insert(statement, values))
        return int(key)


_IDLE: Final = 0
_INERROR: Final = 3
"""Of libpq's ``PGTransactionStatusType``."""


class PostgresqlConnection(KeptConnection):
    """A connection to a server. psycopg itself begins, with the first statement."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self.driver.pgconn.transaction_status != _IDLE)

    @property
    def is_undone(self) -> bool:
        """Whether a statement failed: COMMIT would be answered with a ROLLBACK, and with no error."""
        return bool(self.driver.pgconn.transaction_status == _INERROR)

    def begin(self) -> None:
        """Leave it to the driver."""

    def is_alive(self) -> bool:
        """Say whether it can be used still: a server that ends a connection says so, and there is something to read."""
        if self.driver.closed:
            return False
        told, _, _ = select.select([self.driver.pgconn.socket], [], [], 0)
        return not told or self._answers()

    def _answers(self) -> bool:
        try:
            return bool(self.connection.dialect.do_ping(self._dbapi))
        except Exception:  # noqa: BLE001 - whatever it is, there is no use in this connection
            return False


_KINDS: Final[dict[str, type[KeptConnection]]] = {
    "pysqlite": SqliteConnection,
    "aiosqlite": AiosqliteConnection,
    "psycopg": PostgresqlConnection,
}


class PoolUse:
    """What those have in common that take connections from one pool.

    Attributes:
        bound: how many connections the pool gives out at most; ``None`` for any number.
        out: how many it has given out, those that are kept among them.
        asking: how many wait for it now.
        kept: what each keeps.
    """

    def __init__(self, bound: int | None = None) -> None:
        self.bound = bound
        self.kept: list[list[KeptConnection]] = []
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of no connection, as in a forked child; a thread that is gone may have held the guard."""
        self.guard = threading.Lock()
        self.out = 0
        self.asking = 0

    def ask(self) -> KeptConnection | None:
        """Note that one asks the pool; return a connection that is kept and in the way, since the pool is empty."""
        with self.guard:
            self.asking += 1
            self.out += 1
            if self.bound is None or self.out <= self.bound:
                return None
            return next((kept.pop() for kept in self.kept if kept), None)

    def asked(self, *, got: bool) -> None:
        """Note that one has asked."""
        with self.guard:
            self.asking -= 1
            self.out -= not got

    def keep(self, kept: KeptConnection, among: list[KeptConnection], limit: int) -> bool:
        """Keep a connection, unless there are enough, or somebody waits for the pool."""
        if self.bound is None:  # then nobody waits, and a lock would be felt
            wanted = len(among) < limit
            if wanted:
                among.append(kept)
            return wanted
        with self.guard:
            wanted = not self.asking and len(among) < limit
            if wanted:
                among.append(kept)
        return wanted

    def part_with(self, kept: KeptConnection, *, sound: bool) -> None:
        """Give a connection back to the pool, or close it."""
        if sound:
            kept.release()
        else:
            kept.discard()
        with self.guard:
            self.out -= 1


class KeptConnections:
    """The connections of one engine that wait for a unit of work. Threads and tasks may share it."""

    def __init__(self, engine: sa.Engine, errors: Translation, *, limit: int, use: PoolUse | None = None) -> None:
        """Keep nothing yet.

        Args:
            engine: makes connections.
            errors: what the driver raises is turned into.
            limit: how many are kept at most.
            use: of the engine's pool, where others take from it too, or it has a bound.
        """
        self.engine = engine
        self._errors = errors
        self._limit = limit
        self._kind = _KINDS[engine.dialect.driver]
        self._use = PoolUse() if use is None else use
        self._idle: list[KeptConnection] = []
        self._use.kept.append(self._idle)
        self._closed = False

    def take(self) -> KeptConnection:
        """Return a connection that nobody else has until it is given back.

        Raises:
            StoreError: the database cannot be reached.
            sqlalchemy.exc.TimeoutError: all connections are in use, for too long.
        """
        while (kept := self._pop()) is not None:
            if kept.is_alive():
                return kept
            self.drop(kept)
        made: KeptConnection | None = None
        in_the_way = self._use.ask()
        try:
            if in_the_way is not None:
                self._use.part_with(in_the_way, sound=True)
            made = self._kind(self.engine, self._errors)
        finally:
            self._use.asked(got=made is not None)
        return made

    def _pop(self) -> KeptConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give(self, kept: KeptConnection) -> None:
        """Take a connection back; once these are closed, close it."""
        sound = kept.is_sound()
        if not sound or not self._use.keep(kept, self._idle, self._limit):
            self._use.part_with(kept, sound=sound)
        if self._closed:
            self.close_idle()

    def drop(self, kept: KeptConnection) -> None:
        """Close a connection that was taken."""
        self._use.part_with(kept, sound=False)

    @property
    def idle(self) -> int:
        """How many are kept now."""
        return len(self._idle)

    def close(self) -> None:
        """Close the idle connections, and each one in use as soon as it is given back.

        No lock is needed: :meth:`give` keeps a connection before it looks at the mark, and this sets the mark before it
        looks for connections, so one of the two finds it.
        """
        self._closed = True
        self.close_idle()

    def close_idle(self) -> None:
        """Close the idle connections; the pool stays, since a connection in use goes back to it."""
        while (kept := self._pop()) is not None:
            self._use.part_with(kept, sound=True)
        self.engine.pool.dispose()

    def abandon(self) -> list[object]:
        """Let go of what is kept without closing it, in a forked child; return it."""
        inherited: list[object] = list(self._idle)
        self._idle.clear()
        self._use.begin_anew()
        return inherited
