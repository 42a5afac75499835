"""The one edge where a driver's exception becomes a :class:`~vibeweaver_store.errors.StoreError`.

Constraints are known by their names, which follow one convention (see :data:`vibeweaver_store.models.base.NAMING`):
``pk_TABLE`` and ``uq_TABLE_…`` become :class:`AlreadyExists`, ``fk_TABLE_…`` :class:`NotFound`, ``ck_TABLE_…``
:class:`InvalidInput`. The original stays the ``__cause__``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Dialect, Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ProgrammingError

from vibeweaver_store.errors import (
    AlreadyExists,
    CorruptData,
    InvalidInput,
    NotFound,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite's driver raises: the latter where the name of what is damaged is no UTF-8 itself."""


@dataclass(frozen=True, slots=True)
class Translation:
    """How the errors of one database's driver become ours.

    Attributes:
        place: names the database in messages.
        busy_timeout_seconds: how long a statement has waited for others when it gives up.
        reads_only: the connection is not to write.
    """

    place: str
    busy_timeout_seconds: float
    reads_only: bool = False

    def of(self, original: Exception, *, disconnected: bool, misused: bool) -> StoreError:
        """Return our error for the driver's.

        Args:
            original: the driver's.
            disconnected: the connection is lost.
            misused: it is of the class by which a driver says that it was used in a wrong way.
        """
        if isinstance(original, StoreError):
            return original
        if isinstance(original, SQLITE_ERRORS):
            return from_sqlite(original, self.place, self.busy_timeout_seconds, reads_only=self.reads_only)
        if isinstance(original, OverflowError | UnicodeError | TypeError | ValueError):
            return InvalidInput(f"a value does not fit its column: {original}")
        if misused and not getattr(original, "sqlstate", None):
            return InvalidInput(f"{_UNFIT}: {original}")  # psycopg's own word, before anything was sent
        return _from_postgresql(original, self.place, self.busy_timeout_seconds, disconnected=disconnected)


def install(engine: Engine, errors: Translation) -> None:
    """Translate every error that a driver raises on this engine."""

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> StoreError | None:
        original = context.original_exception
        if isinstance(original, Exception):
            misused = isinstance(context.sqlalchemy_exception, ProgrammingError)
            return errors.of(original, disconnected=context.is_disconnect, misused=misused)
        # Ctrl-C goes on as it is. The connection is sound, and is to be rolled back; thrown away with a cursor on
        # it, as SQLAlchemy would, SQLite's would keep the write lock, and a savepoint could not be undone.
        context.is_disconnect = context.is_disconnect and not _is_sound(context)
        if context.connection is not None:
            interrupt(context.dialect, context.connection.connection.dbapi_connection)
        return None


def _is_sound(context: ExceptionContext) -> bool:
    if context.dialect.name == "sqlite" or context.connection is None:
        return context.dialect.name == "sqlite"
    # psycopg asks the server to stop the statement, and waits until it has.
    driver: Any = context.connection.connection.driver_connection
    return not driver.closed and driver.info.transaction_status.name in {"INTRANS", "INERROR"}


def interrupt(dialect: Dialect, connection: Any) -> None:
    """End the statement of a task that was cancelled: aiosqlite's thread would run it to its end."""
    if dialect.driver == "aiosqlite":
        connection.run_async(lambda driver: driver.interrupt())


@contextmanager
def translating(place: object) -> Iterator[None]:
    """Translate what SQLite's driver raises in the block, where it is used without an engine.

    Raises:
        StoreError: in place of the driver's exception.
    """
    try:
        yield
    except SQLITE_ERRORS as error:
        raise from_sqlite(error, str(place), 0.0) from error


# --- SQLite (https://www.sqlite.org/rescode.html) --------------------------------------------------------------

_UNFIT = "a value does not fit its column"
_SQLITE_UNAVAILABLE = tuple(f"SQLITE_{name}" for name in ("CANTOPEN", "FULL", "IOERR", "READONLY", "PERM", "AUTH"))
_SQLITE_REASONS = {
    "SQLITE_FULL": "the disk is full; free some space, what was committed is safe",
    "SQLITE_READONLY_DBMOVED": "the file was moved, deleted or replaced while it was open",
}


def from_sqlite(
    error: sqlite3.Error | UnicodeDecodeError, place: str, busy_timeout_seconds: float, *, reads_only: bool = False
) -> StoreError:
    """Return ours for an exception of SQLite's driver. ``reads_only``: the connection was not to write."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    said = str(error)
    if isinstance(error, UnicodeDecodeError) or said.startswith("Could not decode to UTF-8"):
        return CorruptData(f"{place}: the database is damaged, a text in it is no UTF-8; restore it from a backup")
    if isinstance(error, sqlite3.IntegrityError):  # Python has no name for a value of a type that STRICT refuses
        return _from_sqlite_constraint(name, said)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"{place}: other processes are writing to it ({said})", waited=busy_timeout_seconds)
    if name == "SQLITE_READONLY" and reads_only:
        return InvalidInput(f"{place}: this unit of work only reads; write in store.begin()")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptData(f"{place}: the database file is damaged ({said}); restore it from a backup")
    if name.startswith(_SQLITE_UNAVAILABLE):
        reason = _SQLITE_REASONS.get(name, f"cannot read or write the database file ({said})")
        return StoreUnavailable(f"{place}: {reason}")
    if isinstance(error, sqlite3.DataError | sqlite3.ProgrammingError) or name in {"SQLITE_MISMATCH", "SQLITE_RANGE"}:
        return InvalidInput(f"{_UNFIT}: {said}")
    return StoreError(f"{place}: {said}")


def _from_sqlite_constraint(name: str, said: str) -> StoreError:
    detail = said.partition("constraint failed: ")[2]
    if name in {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_ROWID"}:
        columns = [column.rpartition(".")[2] for column in detail.split(", ")]
        return AlreadyExists(_entity(detail.partition(".")[0]), ", ".join(columns))
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotFound("row that this one belongs to", "")
    # Triggers of ours that check rows raise with the text of a CHECK.
    if name in {"SQLITE_CONSTRAINT_CHECK", "SQLITE_CONSTRAINT_TRIGGER"} and detail:
        return _from_check(detail)
    if name == "SQLITE_CONSTRAINT_NOTNULL":
        return InvalidInput(f"{detail} must be given", field=detail.rpartition(".")[2])
    return InvalidInput(f"a value does not fit its column: {said}")


# --- PostgreSQL (https://www.postgresql.org/docs/current/errcodes-appendix.html) -------------------------------

_TRANSIENT = {"40001": "could not be serialized", "40P01": "ran into a deadlock"}
_POSTGRESQL_UNAVAILABLE = frozenset({"", "08", "28", "3D", "53", "57", "58"})


def _from_postgresql(
    error: BaseException, place: str, busy_timeout_seconds: float, *, disconnected: bool
) -> StoreError:
    state: str = getattr(error, "sqlstate", None) or ""
    said = str(error).strip().partition("\n")[0]
    if state in _TRANSIENT:
        return StoreBusy(f"{place}: the transaction {_TRANSIENT[state]} with another one", transient=True)
    if state == "55P03":
        return StoreBusy(f"{place}: another transaction holds what this one waits for", waited=busy_timeout_seconds)
    if state.startswith("25"):
        return _from_postgresql_transaction(state, place, said)
    if state.startswith("23"):
        return _from_postgresql_constraint(state, said, getattr(error, "diag", None))
    if state.startswith(("22", "54")):  # 54: over one of the server's limits
        return InvalidInput(f"{_UNFIT}: {said}")
    if state in {"XX001", "XX002"}:
        return CorruptData(f"{place}: the database is damaged ({said})")
    if disconnected or state[:2] in _POSTGRESQL_UNAVAILABLE:
        return StoreUnavailable(f"{place}: {said or 'the connection was lost'}", transient=disconnected)
    return StoreError(f"{place}: {said}")


def _from_postgresql_transaction(state: str, place: str, said: str) -> StoreError:
    if state == "25006":
        return InvalidInput(f"{place}: this unit of work only reads; write in store.begin()")
    if state == "25P02":
        return StoreError(
            f"{place}: an earlier error in this unit of work undid it; wrap what may fail in uow.savepoint()"
        )
    return StoreError(f"{place}: {said}")


_KEY = re.compile(r"^Key \(.*?\)=\((?P<key>.*)\) (already exists|is not present in table \"(?P<parent>\w+)\")")


def _from_postgresql_constraint(state: str, said: str, diagnosis: Any) -> StoreError:
    constraint: str = getattr(diagnosis, "constraint_name", None) or ""
    column: str | None = getattr(diagnosis, "column_name", None)
    told = _KEY.match(getattr(diagnosis, "message_detail", None) or "")
    key = told["key"] if told else said
    if state == "23505":
        return AlreadyExists(_entity(re.sub(r"^(pk|uq)_", "", constraint)), key)
    if state == "23503":
        return NotFound(_entity(told["parent"] if told and told["parent"] else ""), key)
    if state == "23514":
        return _from_check(constraint)
    return InvalidInput(f"{column or said} must be given", field=column)


# --- both ------------------------------------------------------------------------------------------------------


def _from_check(constraint: str) -> InvalidInput:
    field = constraint.removeprefix("ck_")
    return InvalidInput(f"a value breaks the rule {constraint!r} of its table", field=field)


def _entity(table: str) -> str:
    return table.removesuffix("s") if table else "row"
