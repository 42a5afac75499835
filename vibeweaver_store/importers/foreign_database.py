"""Another application's SQLite database, as an importer reads it: never written, all at one moment, row by row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from vibeweaver_store import sqlite_file
from vibeweaver_store.autocommit import connect
from vibeweaver_store.engine import Target, resolve
from vibeweaver_store.errors import ImportRejected, StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.importers.foreign_values import read_flag, read_json, read_optional, read_time
from vibeweaver_store.importers.runs import Progress
from vibeweaver_store.json_values import shown
from vibeweaver_store.settings import load

Layout: TypeAlias = Mapping[str, Sequence[str]]
"""The columns that an application's tables must have, by table.

Others may be there, too, and come as :attr:`ForeignRow.besides`: importers keep them where they can, and tell of them.

What goes by several names has a bar between them, and is called by the first: ``state|state_capnp``. A column that may
be missing, and is ``None`` then, ends with a question mark: ``updated_at?``; so does a table that may be missing, and
has no rows then: ``jobs?``. The first column is the table's key.
"""


BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """A row of a foreign table, its values as SQLite gives them: a column may hold anything.

    Invalid UTF-8 is kept as lone surrogates, which every one of our texts refuses.

    Attributes:
        table: the name of the table in the layout.
        key: the value of its first column.
        values: the columns of the layout, by name.
        besides: the other columns that have a value.
    """

    table: str
    key: object
    values: Mapping[str, Any]
    besides: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, column: str) -> Any:
        return self.values[column]

    def __str__(self) -> str:
        return f"{self.table} {shown(self.key)}"

    @property
    def size_bytes(self) -> int:
        """About how much memory its texts and blobs take."""
        values = (*self.values.values(), *self.besides.values())
        return sum(len(value) for value in values if isinstance(value, str | bytes))

    def time(self, column: str) -> datetime:
        """Return a column that is a time.

        Raises:
            InvalidInput: it is none.
        """
        return read_time(self[column], field=column)

    def optional_time(self, column: str) -> datetime | None:
        """Return a column that is a time, or ``NULL``.

        Raises:
            InvalidInput: it is neither.
        """
        found: datetime | None = read_optional(read_time, self[column], field=column)
        return found

    def flag(self, column: str) -> bool:
        """Return a column that is 0 or 1.

        Raises:
            InvalidInput: it is neither.
        """
        return read_flag(self[column], field=column)

    def json(self, column: str) -> Any:
        """Return the document in a column; ``None`` where it is ``NULL``.

        Raises:
            InvalidInput: it is no JSON.
        """
        return read_optional(read_json, self[column], field=column)


def in_batches(rows: Iterable[ForeignRow]) -> Iterator[list[ForeignRow]]:
    """Yield rows in lists that are worth a statement, and that memory can hold: some are of many megabytes."""
    batch: list[ForeignRow] = []
    size_bytes = 0
    for row in rows:
        batch.append(row)
        size_bytes += row.size_bytes
        if len(batch) >= BATCH_ROWS or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


class ForeignDatabase:
    """A foreign database while it is open: see :func:`opened`."""

    def __init__(self, path: Path, connection: sa.Connection, tables: Mapping[str, sa.Subquery], tell: Tell) -> None:
        self._path = path
        self._connection = connection
        self._tables = tables
        self._tell = tell

    def rows(self, table: str, *, order_by: Sequence[str] = (), **where: object) -> Iterator[ForeignRow]:
        """Yield the rows of a table that have these values, ordered by columns, then as they were inserted.

        A list of values stands for any of them. The rows of a table ``WITHOUT ROWID`` do not say when they were
        inserted, and are ordered by its primary key.

        Raises:
            ImportRejected: the file is damaged.
        """
        columns = self._tables[table].c
        statement = self._select(table).where(*[_has(columns[name], value) for name, value in where.items()])
        return self._fetched(table, statement.order_by(*[columns[name] for name in order_by], *_as_inserted(columns)))

    def strays(self, table: str, *, parent: str = "sessions", by: str = "session_id") -> Iterator[ForeignRow]:
        """Yield the rows of a table whose parent is not there: the row of another table whose key a column names.

        Raises:
            ImportRejected: the file is damaged.
        """
        columns, key = self._tables[table].c, next(iter(self._tables[parent].c))
        there = sa.select(sa.true()).where(key == columns[by]).exists()
        return self._fetched(table, self._select(table).where(~there).order_by(*_as_inserted(columns)))

    def _select(self, table: str) -> sa.Select[Any]:
        return sa.select(*[each for each in self._tables[table].c if not each.name.startswith(_ORDER)])

    def _fetched(self, table: str, statement: sa.Select[Any]) -> Iterator[ForeignRow]:
        with _rejecting(self._path):
            found = iter(self._connection.execute(statement).mappings())
        while True:
            with _rejecting(self._path):
                row = next(found, None)
            if row is None:
                return
            self._tell.row()
            values = {name: value for name, value in row.items() if not name.startswith(_BESIDES)}
            others = [(name.removeprefix(_BESIDES), row[name]) for name in row if name not in values]
            besides = {name: value for name, value in others if value is not None}
            yield ForeignRow(table, next(iter(values.values())), values, besides)


def _as_inserted(columns: Iterable[Any]) -> list[sa.ColumnElement[Any]]:
    return [each for each in columns if each.name.startswith(_ORDER)]


def _has(column: sa.ColumnElement[Any], value: object) -> sa.ColumnElement[bool]:
    return column.in_([_bound(each) for each in value]) if isinstance(value, list) else column == _bound(value)


def _bound(value: object) -> Any:
    """Return a value of the foreign database as it can be compared there, also a text that is no UTF-8."""
    if isinstance(value, str) and not value.isascii():
        return sa.cast(sa.literal(value.encode(errors="surrogateescape"), sa.LargeBinary()), sa.Text())
    return value


class Tell:
    """Tells how much of a file was read, in bytes: its rows are taken to be of one size."""

    def __init__(self, progress: Progress | None, size_bytes: int, row_count: int) -> None:
        self._progress = progress
        self._size_bytes = size_bytes
        self._row_count = row_count
        self._rows = self._told_bytes = 0

    def row(self) -> None:
        """Tell of one more row."""
        self._rows += 1
        if self._progress is not None:
            # A row is read twice where a unit of work is repeated.
            self._up_to(self._size_bytes * min(self._rows, self._row_count) // max(self._row_count, 1))

    def rest(self) -> None:
        """Tell that all was read."""
        self._up_to(self._size_bytes)

    def _up_to(self, place_bytes: int) -> None:
        if self._progress is not None and place_bytes > self._told_bytes:
            self._progress(place_bytes - self._told_bytes)
            self._told_bytes = place_bytes


_ORDER: Final = "order of rows "
"""How the columns are called, with a number, by which a table's rows are ordered."""
_BESIDES: Final = "besides "
"""How the columns are called, before their names, that are not of the layout."""


@contextmanager
def opened(
    path: Path, application: str, layout: Layout, *, progress: Progress | None = None
) -> Iterator[ForeignDatabase]:
    """Open a database of another application for the block, to be read as it is now, whoever goes on writing to it.

    The file is not changed, nor what lies beside it; but where a ``-wal`` lies there without its ``-shm``, as a copy of
    the two has it, SQLite makes the ``-shm``, an index of 32 KiB, and it stays: another application may use it by then.
    An application that has the file open is not disturbed where it uses WAL; where it does not, its writers wait.

    Args:
        path: the file.
        application: what the application is called, for messages.
        layout: the tables and columns that it must have.
        progress: is told how much of the file was read, in bytes.

    Raises:
        ImportRejected: there is no such file, it is no SQLite database, it is a store of our own, or it has not the
            tables and columns of that application.
        StoreBusy: another process holds it exclusively.
    """
    with ExitStack() as stack:
        with _rejecting(path):
            settings = load()
            target = resolve(path, settings)
            if not target.file.is_file():
                raise ImportRejected(path, "there is no such file")
            connection = stack.enter_context(connect(target, settings, mode=_mode(target)))
            _prepare(connection)
            _refuse_own(path, connection)
            tables = _tables(path, application, connection, layout)
            tell = Tell(progress, target.file.stat().st_size, _count(connection, tables) if progress else 0)
        yield ForeignDatabase(path, connection, tables, tell)
        tell.rest()


def _count(connection: sa.Connection, tables: Mapping[str, sa.Subquery]) -> int:
    counts = [sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in tables.values()]
    return sum(connection.execute(sa.select(*counts)).one())


def fingerprint(path: Path) -> str:
    """Return what tells one state of a database file from another: its size and when it was written."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _mode(target: Target) -> Literal["ro", "rw"]:
    """Say how to open a file so that all is afterwards as it was; PRAGMA query_only keeps it from being written.

    Opened ``ro``, a WAL database without side files is given some, which stay; opened ``rw``, they go again. Where a
    ``-wal`` or ``-journal`` lies there, ``ro`` keeps it from being written into the database.
    """
    return "ro" if any(beside.exists() for beside in sqlite_file.side_files(target.file).values()) else "rw"


def _prepare(connection: sa.Connection) -> None:
    driver: Any = connection.connection.driver_connection
    # One text that is no UTF-8 would end the reading of a whole table.
    driver.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.exec_driver_sql("BEGIN")  # all is read in one snapshot


def _refuse_own(path: Path, connection: sa.Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if found == sqlite_file.APPLICATION_ID:
        raise ImportRejected(path, "this is a store of vibeweaver-store itself; open it with --db, or restore it")


def _tables(path: Path, application: str, connection: sa.Connection, layout: Layout) -> dict[str, sa.Subquery]:
    names = {name.lower(): name for name in connection.execute(_TABLE_NAMES).scalars()}
    found = {}
    for wanted, columns in layout.items():
        ours, *others = wanted.removesuffix("?").split("|")
        table = next((names[name] for name in (ours, *others) if name in names), None)
        if table is None and wanted.endswith("?"):
            found[ours] = _without_rows(columns)
            continue
        if table is None:
            raise ImportRejected(path, f"this is no {application} database: it has no table {ours}")
        missing = f"this is no {application} database: table {table} has no column"
        found[ours] = _selected(path, missing, connection, table, columns)
    return found


_TABLE_NAMES: Final[sa.Select[Any]] = (
    sa.select(sa.column("name")).select_from(sa.table("sqlite_master")).where(sa.column("type") == "table")
)


def _without_rows(columns: Sequence[str]) -> sa.Subquery:
    names = [wanted.removesuffix("?").partition("|")[0] for wanted in columns]
    return sa.select(*[sa.null().label(name) for name in names]).where(sa.false()).subquery()


def _selected(path: Path, missing: str, connection: sa.Connection, table: str, columns: Sequence[str]) -> sa.Subquery:
    described = sa.func.pragma_table_info(table).table_valued("name", "pk")
    columns_of_it = connection.execute(sa.select(described.c.name, described.c.pk).order_by(described.c.pk)).all()
    there = {name.lower(): name for name, _ in columns_of_it}
    listed = sa.func.pragma_table_list(table).table_valued("wr")
    without_rowid = connection.execute(sa.select(listed.c.wr)).scalar()
    order = [name for name, pk in columns_of_it if pk] if without_rowid else ["rowid"]
    chosen: list[sa.ColumnElement[Any]] = []
    besides = dict(there)
    for wanted in columns:
        ours, *others = wanted.removesuffix("?").split("|")
        name = next((there[name] for name in (ours, *others) if name in there), None)
        if name is None and not wanted.endswith("?"):
            raise ImportRejected(path, f"{missing} {ours}")
        chosen.append((sa.null() if name is None else sa.column(name)).label(ours))
        besides.pop((name or "").lower(), None)
    chosen += [sa.column(name).label(f"{_BESIDES}{name}") for name in besides.values()]
    ordered: list[sa.ColumnElement[Any]] = [
        sa.column(name).label(f"{_ORDER}{number}") for number, name in enumerate(order)
    ]
    return sa.select(*chosen, *ordered).select_from(sa.table(table)).subquery()


@contextmanager
def _rejecting(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the foreign file into a refusal of it."""
    try:
        yield
    except (ImportRejected, StoreBusy):
        raise
    except StoreError as error:
        raise ImportRejected(path, _reason(path, error)) from error


def _reason(path: Path, error: StoreError) -> str:
    said = error.message.removeprefix(f"{path}: ")
    if "not a database" in said:
        return "this is no SQLite database"
    if isinstance(error, StoreUnavailable) and not os.access(path.parent, os.W_OK):
        return f"{said}; one in WAL mode is only read where files can be made beside it: copy it to another folder"
    return said
