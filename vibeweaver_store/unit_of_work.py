"""One transaction as a session: what services take, and what alone may commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import sqlalchemy as sa
import sqlmodel
from sqlalchemy import Engine, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import SessionTransaction

from vibeweaver_store.errors import InvalidInput, StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.following import announcement
from vibeweaver_store.json_values import shown

Clock: TypeAlias = Callable[[], datetime]
RowT = TypeVar("RowT", bound=sqlmodel.SQLModel)


def utc_now() -> datetime:
    """Return the present instant; the clock that a store uses unless it is given another."""
    return datetime.now(UTC)


class ReadUnitOfWork(sqlmodel.Session):
    """One transaction that reads a consistent snapshot. The database refuses a write in it.

    Services take it as their first argument. It is begun and ended by the store alone: see
    :meth:`vibeweaver_store.Store.read`. What it returned stays readable after it ended.
    """

    def __init__(self, bind: Engine, clock: Clock, *, binds: None = None) -> None:
        del binds  # SQLAlchemy's AsyncSession, which makes one of these, always names it
        # populate_existing: a row read again shows what statements have changed meanwhile, not a cached instance.
        super().__init__(bind, expire_on_commit=False, execution_options={"populate_existing": True})
        self._clock = clock
        self._instant: datetime | None = None
        self._driver: Any = None
        self._failed = False
        self._foreign = False
        self._ended = False

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
        assert self.bind is not None  # noqa: S101 - given on being made
        return self.bind.dialect.name

    if not TYPE_CHECKING:  # type checkers see sqlmodel's own overloads

        def exec(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlmodel.Session.exec`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super().exec(*args, **kwargs)

        def execute(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlalchemy.orm.Session.execute`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super(sqlmodel.Session, self).execute(*args, **kwargs)

        def scalars(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlalchemy.orm.Session.scalars`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super().scalars(*args, **kwargs)

        def scalar(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlalchemy.orm.Session.scalar`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super().scalar(*args, **kwargs)

        def flush(self, *args: Any, **kwargs: Any) -> None:
            """Write edits of rows now. See :meth:`sqlalchemy.orm.Session.flush`.

            Raises:
                StoreError: the unit of work has ended.
            """
            self._check_present()
            super().flush(*args, **kwargs)

        def refresh(self, *args: Any, **kwargs: Any) -> None:
            """Read a row anew. See :meth:`sqlalchemy.orm.Session.refresh`.

            Raises:
                StoreError: the unit of work has ended.
            """
            self._check_present()
            super().refresh(*args, **kwargs)

        def get_bind(self, *args: Any, **kwargs: Any) -> Any:
            """Return the engine, which SQLAlchemy asks for before whatever it sends.

            Raises:
                StoreError: the unit of work has ended; a session would begin another transaction by itself.
            """
            self._check_present()
            return super().get_bind(*args, **kwargs)

        def _refuse_to_write(self, *_: object, **__: object) -> NoReturn:
            raise InvalidInput("this unit of work only reads; write in store.begin()")

        insert = upsert = savepoint = announce = _refuse_to_write

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreError(
            "a unit of work is committed by leaving its block, and undone by raising an exception out of it; "
            "what may fail goes into uow.savepoint()"
        )

    begin = begin_nested = commit = rollback = close = reset = invalidate = _refuse

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Remember an error, which undoes the unit of work on either backend, though it were swallowed.

        So does what interrupts a statement (Ctrl-C, a task that is cancelled): how far it went is not known.
        """
        self._check_usable()
        try:
            with _typed():
                yield
        except BaseException as error:
            if isinstance(error, StoreError) or not isinstance(error, Exception):
                self._failed = True
            raise

    def _check_present(self) -> None:
        if self._foreign:
            raise StoreUnavailable("this unit of work belongs to the parent process; begin one of your own")
        if self._ended:
            raise StoreError("this unit of work has ended; begin another one")

    def _check_usable(self) -> None:
        self._check_present()
        if self._failed or not self.is_active or self._is_undone():
            raise StoreError("an error in this unit of work undid it; wrap what may fail in uow.savepoint()")

    def _is_undone(self) -> bool:
        """Say whether the backend gave the transaction up: statements would fail, or commit one by one."""
        if self.backend == "sqlite":
            # A full disk or an I/O error ends the transaction, and what follows would commit by itself.
            return not self._driver.in_transaction
        # COMMIT of a failed transaction is answered with a ROLLBACK, and with no error.
        return bool(self._driver.info.transaction_status.name == "INERROR")

    def _start(self, asked_at: float) -> None:
        try:
            self._driver = self.connection().connection.driver_connection
        except PoolTimeout as error:
            raise StoreBusy("all connections of the store are in use", waited=time.monotonic() - asked_at) from error
        except StoreBusy as busy:
            busy.waited = time.monotonic() - asked_at
            raise

    def _finish(self) -> None:
        with self._noting_failure():
            self.flush()
            try:
                super().commit()
            except StoreUnavailable as error:
                # The connection broke while committing: whether it took is not known, so it is not repeated.
                error.transient = False
                raise

    def _undo(self, *, discard: bool) -> None:
        """Roll back and give the connection back; what goes wrong here must not hide the first error.

        ``discard`` closes the connection: its store was closed meanwhile, and nobody would ever use it again.
        """
        self._ended = True
        if self._foreign:
            return
        with suppress(StoreError, SQLAlchemyError):
            super().close()
        if discard and self._driver is not None:
            self._driver.close()

    def disown(self) -> list[object]:
        """Cut a unit of work that was inherited by ``fork`` off its connection, in the child; return the connection.

        A statement on it, above all its COMMIT, would write through a lock that only the parent holds.
        """
        self._foreign = True
        held: list[object] = [self]
        for connection in {id(bound): bound for bound, *_ in self._transaction_connections()}.values():
            fairy = connection.connection
            held.append(fairy.dbapi_connection)
            held.append(fairy)
        return held

    def _transaction_connections(self) -> list[tuple[sa.Connection, ...]]:
        transaction: Any = self.get_transaction()
        return list(transaction._connections.values()) if transaction is not None else []  # noqa: SLF001


class UnitOfWork(ReadUnitOfWork):
    """One transaction that reads and writes: committed when its block ends, rolled back when an exception leaves it."""

    def __init__(self, bind: Engine, clock: Clock, *, binds: None = None) -> None:
        super().__init__(bind, clock, binds=binds)
        self._topics: set[str] = set()

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
        if self.backend == "postgresql":
            for topic in sorted(self._topics):
                self.execute(announcement(topic))
        super()._finish()

    def upsert(self, table: type[RowT]) -> Any:
        """Return an ``INSERT`` into a table that can say ``on_conflict_do_update``, in the backend's dialect."""
        dialect = postgresql if self.backend == "postgresql" else sqlite
        return dialect.insert(table)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what the block did when an exception leaves it; the unit of work goes on.

        An error is to be caught outside the block: one that was swallowed within undoes the savepoint all the same.

        Raises:
            StoreError: the unit of work was undone before, or an error was swallowed in the block.
        """
        self._check_usable()
        with _typed():
            nested: SessionTransaction = super(ReadUnitOfWork, self).begin(nested=True)
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
                self._reload_expired()
            raise

    def _reload_expired(self) -> None:
        # What a savepoint's rollback expired would be unreadable after the unit of work ended.
        for instance in list(self.identity_map.values()):
            if inspect(instance).expired:
                with suppress(StoreError, SQLAlchemyError):  # it was deleted meanwhile
                    self.refresh(instance)


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"the unit of work failed: {error}") from error
