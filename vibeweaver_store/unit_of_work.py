"""One transaction as a session: what services take, and what alone may commit."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar

import sqlmodel
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.orm.attributes import instance_state

from vibeweaver_store.errors import InvalidInput, StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.following import ANNOUNCEMENT, announced
from vibeweaver_store.guarded_session import GuardedSession, typed
from vibeweaver_store.hot_rows import HOLDERS, identity_key, is_edited, states_made
from vibeweaver_store.json_values import shown
from vibeweaver_store.kept import KeptConnection, KeptConnections

Clock: TypeAlias = Callable[[], datetime]
RowT = TypeVar("RowT", bound=sqlmodel.SQLModel)
T = TypeVar("T")


def utc_now() -> datetime:
    """Return the present instant; the clock that a store uses unless it is given another."""
    return datetime.now(UTC)


_MANY: Final = 256
"""Of so many rows that were handed out it is asked whether anybody has them still."""

_READS_ONLY: Final = "this unit of work only reads; write in store.begin()"


class ReadUnitOfWork(GuardedSession):
    """One transaction that reads a consistent snapshot. The database refuses a write in it.

    Services take it as their first argument. It is begun and ended by the store alone: see
    :meth:`vibeweaver_store.Store.read`. What it returned stays readable after it ended.
    """

    def __init__(self, connections: KeptConnections, clock: Clock) -> None:
        self._connections = connections
        self.dialect: Dialect = connections.engine.dialect
        """SQLAlchemy's dialect of the backend and its driver."""
        self._observed = False
        self._shown: list[list[Any]] = []
        self._states_before = states_made()
        self._clock = clock
        self._instant: datetime | None = None
        self.known: dict[Any, Any] = {}
        """What services know for the rest of the unit of work, as that they have locked a row; a savepoint that is
        undone has it forgotten."""

    def now(self) -> datetime:
        """Return the one instant of this transaction, in UTC.

        Raises:
            InvalidInput: the store was given a clock without a time zone.
        """
        if self._instant is None:
            self._instant = self.present()
        return self._instant

    def present(self) -> datetime:
        """Return the instant by the store's clock as it is now, in UTC: for what must still hold as it is committed.

        Raises:
            InvalidInput: the store was given a clock without a time zone.
        """
        instant = self._clock()
        if not isinstance(instant, datetime) or instant.tzinfo is None:
            raise InvalidInput(f"the store's clock gives {shown(instant)}; it must give datetimes with a time zone")
        return instant.astimezone(UTC)

    @property
    def backend(self) -> str:
        """The name of the backend: ``sqlite`` or ``postgresql``."""
        return self.dialect.name

    # --- hot statements, see vibeweaver_store.hot ---

    def run_hot(self, statement: str, values: Any) -> list[Any]:
        """Run a compiled statement in this transaction and return its rows.

        Raises:
            StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
        """
        kept = self._ready()
        try:
            if self._observed:
                return list(self.connection().exec_driver_sql(statement, values))
            return kept.rows(statement, values)
        except BaseException as error:
            self._note(error)
            raise

    def _ready(self) -> KeptConnection:
        """Return the connection, with all edits of rows written."""
        kept = self._usable()
        if self._is_session and self._has_edits() and not self._flushing:
            with self._noting_failure():
                self.flush()
        return kept

    def _has_edits(self) -> bool:
        return bool(self._new or self._deleted or self.identity_map._modified)  # noqa: SLF001

    def adopt(self, rows: list[RowT], *, new: bool = False) -> list[RowT]:
        """Take rows in that were made from what a hot statement returned, and return them.

        They belong to no session; an edit of one is an error when the unit of work ends, since it only reads.
        """
        del new
        self._shown.append(rows)
        return rows

    if not TYPE_CHECKING:  # type checkers see that it has none of these

        def _refuse_to_write(self, *_: object, **__: object) -> NoReturn:
            raise InvalidInput(_READS_ONLY)

        insert = upsert = savepoint = announce = _refuse_to_write
        count_hot = run_hot_insert = run_hot_many = _refuse_to_write

    def _start(self, asked_at: float) -> None:
        try:
            kept = self._kept = self._connections.take()
            self._observed = kept.is_observed()
            if self._observed:
                self.connection()
            else:
                kept.begin()
        except PoolTimeout as error:
            raise StoreBusy("all connections of the store are in use", waited=time.monotonic() - asked_at) from error
        except StoreBusy as busy:
            busy.waited = time.monotonic() - asked_at
            raise

    def _finish(self) -> None:
        kept = self._usable()
        self._refuse_edits()
        used = self._is_session_used()
        if used:
            with self._noting_failure():
                self.flush()
        try:
            if used:
                self._commit_session()
            else:
                kept.commit()
        except StoreUnavailable as error:
            # The connection broke while committing: whether it took is not known, so it is not repeated.
            error.transient = False
            raise

    def _commit_session(self) -> None:
        with self._noting_failure():
            super(GuardedSession, self).commit()

    def _end(self) -> None:
        """Commit, and give the connection back."""
        try:
            self._finish()
        finally:
            self._undo()

    def _refuse_edits(self) -> None:
        if states_made() != self._states_before and any(is_edited(row) for rows in self._shown for row in rows):
            raise InvalidInput(_READS_ONLY)

    def _is_session_used(self) -> bool:
        return self._is_session and (self._transaction is not None or self._has_edits())

    def _undo(self) -> None:
        """Roll back and give the connection back; what goes wrong here must not hide the first error."""
        self._ended = True
        if self._foreign:
            return
        if self._is_session_used():
            with suppress(StoreError, SQLAlchemyError):
                super(GuardedSession, self).close()
        elif self._is_session:
            for state in self.identity_map.all_states():
                state.session_id = None  # as closing does
        kept, self._kept = self._kept, None
        if kept is None:
            return
        if kept.in_transaction:
            with suppress(StoreError):
                kept.rollback()
        self._connections.give(kept)

    def disown(self) -> list[object]:
        """Cut a unit of work that was inherited by ``fork`` off its connection, in the child; return the connection.

        A statement on it, above all its COMMIT, would write through a lock that only the parent holds.
        """
        self._foreign = True
        return [self, self._kept]


class UnitOfWork(ReadUnitOfWork):
    """One transaction that reads and writes: committed when its block ends, rolled back when an exception leaves it."""

    def __init__(self, connections: KeptConnections, clock: Clock) -> None:
        super().__init__(connections, clock)
        self._topics: set[str] = set()
        self._loose: dict[Any, sqlmodel.SQLModel] = {}
        """Rows, by their identity, that are in the session as soon as somebody looks closer at one, or at it."""

    def count_hot(self, statement: str, values: Any) -> int:
        """Run a compiled statement that returns no rows, and return how many rows it has changed.

        Raises:
            StoreError: as :meth:`run_hot` does.
        """
        kept = self._ready()
        try:
            if self._observed:
                return self.connection().exec_driver_sql(statement, values).rowcount
            return kept.count(statement, values)
        except BaseException as error:
            self._note(error)
            raise

    def run_hot_insert(self, statement: str, values: Any) -> int:
        """Run a compiled ``INSERT`` of one row, and return the integer key that the database gave it.

        Raises:
            StoreError: as :meth:`run_hot` does.
        """
        kept = self._ready()
        try:
            if self._observed:
                return _key_of(self.connection().exec_driver_sql(statement, values))
            return kept.key(statement, values)
        except BaseException as error:
            self._note(error)
            raise

    def run_hot_many(self, statement: str, values: list[Any]) -> None:
        """Run a compiled statement that returns no rows with each of several sets of values.

        Raises:
            StoreError: as :meth:`run_hot` does.
        """
        kept = self._ready()
        try:
            if self._observed:
                self.connection().exec_driver_sql(statement, values)
            else:
                kept.many(statement, values)
        except BaseException as error:
            self._note(error)
            raise

    def adopt(self, rows: list[RowT], *, new: bool = False) -> list[RowT]:
        """Take rows into the session that were made from what a hot statement returned, and return them.

        A row that the session has already is the one it has, with the values that it has now. ``new`` rows were
        written by the statement: with a savepoint that is undone they go.
        """
        if len(self._loose) >= _MANY:
            self._let_go()
        if self._is_session:
            return [self._adopt(row, instance_state(row), new=new) for row in rows]
        HOLDERS.add(self)
        return [self._loosely(row) for row in rows]

    def _loosely(self, row: RowT) -> RowT:
        known: Any = self._loose.setdefault(identity_key(row), row)
        if known is not row:
            known.__dict__.update(row.__dict__)
        return known  # type: ignore[no-any-return]

    def _let_go(self) -> None:
        """Forget the rows that nobody else has."""
        kept = [weakref.ref(row) for row in self._loose.values()]
        self._loose.clear()
        self._loose = {identity_key(row): row for row in [known() for known in kept] if row is not None}
        if len(self._loose) > _MANY // 2:
            self._become_session()

    def take_in(self, row: sqlmodel.SQLModel) -> None:
        """Have a row in the session, and all that were adopted with it, if it is one of them."""
        if self._loose.get(identity_key(row)) is row:
            self._become_session()

    def _become_session(self) -> None:
        super()._become_session()
        HOLDERS.discard(self)
        loose, self._loose = self._loose, {}
        for row in loose.values():
            self._adopt(row, instance_state(row), new=False)

    def _undo(self) -> None:
        HOLDERS.discard(self)
        super()._undo()

    def insert(self, *rows: RowT) -> None:
        """Write new rows now, in the order given; integer keys are filled in.

        Raises:
            AlreadyExists: a key is taken; the unit of work is undone, unless within a :meth:`savepoint`.
            InvalidInput: a value breaks a rule of the table.
            NotFound: a row that it belongs to is not there.
            StoreError: this unit of work has ended, was undone by an error, or belongs to the parent process.
        """
        with self._noting_failure():
            self.add_all(rows)
            self.flush()

    def announce(self, topic: str) -> None:
        """Tell who follows a topic, once this unit of work is committed; see :meth:`vibeweaver_store.Store.follow`.

        On SQLite nobody need be told: who follows sees that the file has changed.
        """
        self._topics.add(topic)

    def _finish(self) -> None:
        if self._topics and self.backend == "postgresql":
            for topic in sorted(self._topics):
                ANNOUNCEMENT.all(self, **announced(topic))
        super()._finish()

    def upsert(self, table: type[RowT]) -> Any:
        """Return an ``INSERT`` into a table that can say ``on_conflict_do_update``, in the backend's dialect."""
        return upsert(table, self.backend)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what the block did when an exception leaves it; the unit of work goes on.

        An error is to be caught outside the block: one that was swallowed within undoes the savepoint all the same.

        Raises:
            StoreError: the unit of work was undone before, or an error was swallowed in the block.
        """
        self._check_usable()
        with typed():
            nested: SessionTransaction = super(GuardedSession, self).begin(nested=True)
            self.connection()  # sends it, before any statement that goes by the session
        try:
            yield
            with self._noting_failure():
                nested.commit()
        except BaseException:
            if self._foreign or self._ended:
                raise  # the connection is the parent process's, or somebody else's by now
            with suppress(StoreError, SQLAlchemyError):
                nested.rollback()
                self._failed = False
                self.known.clear()
                self._reload_expired()
            raise

    def _reload_expired(self) -> None:
        # What a savepoint's rollback expired would be unreadable after the unit of work ended.
        for instance in list(self.identity_map.values()):
            if inspect(instance).expired:
                with suppress(StoreError, SQLAlchemyError):  # it was deleted meanwhile
                    self.refresh(instance)


def _key_of(result: Any) -> int:
    return int(result.fetchone()[0] if result.returns_rows else result.lastrowid)


def upsert(table: type[RowT], backend: str) -> Any:
    """Return an ``INSERT`` into a table that can say ``on_conflict_do_update``, in a backend's dialect."""
    dialect = postgresql if backend == "postgresql" else sqlite
    return dialect.insert(table)
