"""Copying a live SQLite database, and looking into the copy before anybody relies on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vibeweaver_store import sqlite_file, whole_file
from vibeweaver_store.compression import Progress
from vibeweaver_store.driver_errors import SQLITE_ERRORS, translating
from vibeweaver_store.errors import CorruptData, StoreUnavailable
from vibeweaver_store.sqlite_file import APPLICATION_ID, VERSION_TABLE

_PAGES_A_STEP: Final = 1000
"""4 MB: between steps the driver looks whether somebody pressed Ctrl-C."""
_FAULTS_TOLD: Final = 10


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a database: its revision (``None`` before the first), and how many rows each table has."""

    revision: str | None
    rows: Mapping[str, int]


def silent(_doing: str, _done: int, _total: int) -> None:
    """Tell nobody of any progress."""


def open_snapshot(uri: str, busy_timeout_seconds: float) -> sqlite3.Connection:
    """Connect to a database as it is now: until the connection is closed, its transaction sees it so.

    Raises:
        sqlite3.Error: there is none, or it cannot be read.
    """
    source = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_timeout_seconds)
    try:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master")  # a transaction sees from its first read on
    except SQLITE_ERRORS:
        source.close()
        raise
    return source


def copy(snapshot: sqlite3.Connection, destination: Path, progress: Progress = silent) -> None:
    """Copy a snapshot into an empty file, and put that on disk.

    Without a transaction on the source, SQLite begins anew whenever another connection has written, and under a busy
    writer never ends (https://www.sqlite.org/backup.html). In WAL mode others write on meanwhile. The copy is one
    plain file, in rollback mode, whatever the mode of the source.

    Raises:
        sqlite3.Error: the source cannot be read or the destination not be written.
        OSError: the disk does not take it.
    """
    with closing(sqlite3.connect(destination, isolation_level=None)) as copied:
        # Nobody needs this file if it does not come to its end: no journal, and one sync in the end.
        copied.execute("PRAGMA journal_mode = OFF")
        copied.execute("PRAGMA synchronous = OFF")
        copy_pages(snapshot, copied, "copying", progress)
        copied.execute("PRAGMA journal_mode = DELETE")
    whole_file.sync(destination)


def copy_file(path: Path, name: Path) -> None:
    """Copy a live database, as it is before any open transaction, under another name: all of it or nothing.

    Raises:
        StoreError: it cannot be read, or the copy cannot be written.
    """
    with (
        closing(open_snapshot(sqlite_file.uri(path, "rw"), busy_timeout_seconds=0)) as snapshot,
        whole_file.unnamed(name) as copied,
    ):
        copy(snapshot, copied)
        whole_file.give_name(copied, name)


def copy_pages(source: sqlite3.Connection, target: sqlite3.Connection, doing: str, progress: Progress) -> None:
    """Replace all that a database holds by what another one does, in one transaction.

    Raises:
        sqlite3.Error: the source cannot be read or the target not be written; then it is as it was.
    """

    def tell(_status: int, remaining: int, total: int) -> None:
        progress(doing, total - remaining, total)

    source.backup(target, pages=_PAGES_A_STEP, progress=tell)


def contents(connection: sqlite3.Connection) -> Contents:
    """Count what is in a database, in the connection's transaction where it has one."""
    names = [name for (name,) in connection.execute(_TABLES)]
    rows = {name: _only(connection, f"SELECT count(*) FROM {_quoted(name)}") for name in names}  # noqa: S608
    has_revision = rows.pop(VERSION_TABLE, 0)
    revision = _only(connection, f"SELECT version_num FROM {VERSION_TABLE}") if has_revision else None  # noqa: S608
    return Contents(revision, rows)


_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _only(connection: sqlite3.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]


def checked_contents(path: Path, place: Path, progress: Progress = silent) -> Contents:
    """Read a whole copy that nobody else uses, and say what is in it. Messages name it as ``place``.

    Rows without their parent are left to ``db check``: such a database can be copied as well as any other.

    Raises:
        StoreUnavailable: it is no database, an empty one, or another application's.
        CorruptData: a page, an index or a CHECK does not hold.
    """
    progress("checking", 0, 0)
    opened = closing(sqlite3.connect(sqlite_file.uri(path, "rw"), uri=True, isolation_level=None))
    with translating(place), opened as connection:
        if _only(connection, "PRAGMA application_id") != APPLICATION_ID:
            raise StoreUnavailable(f"{place} is empty, or the database of another application")
        faults = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_FAULTS_TOLD})")]
        if faults != ["ok"]:
            raise CorruptData(f"{place}: the database is damaged: {'; '.join(faults)}")
        return contents(connection)
