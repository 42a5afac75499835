"""What a database is, for people who look after it: where it lies, how large it is, what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vibeweaver_store import schema
from vibeweaver_store.models import METADATA
from vibeweaver_store.sqlite_file import VERSION_TABLE
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork

_PRAGMAS: Final = (
    *("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "cache_size", "mmap_size", "temp_store"),
    *("page_size", "page_count", "freelist_count", "auto_vacuum", "application_id"),
)


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """A database as :func:`describe` found it.

    Attributes:
        place: its file or URL, without a password.
        backend: ``sqlite`` or ``postgresql``.
        server_version: the version of SQLite, or of the PostgreSQL server.
        size_bytes: how much it takes on disk, SQLite's ``-wal`` file not counted.
        revision: where its schema is.
        head: the newest revision that this package knows.
        rows: how many rows each table has.
        pragmas: SQLite's settings as they are on a reading connection, by name; empty on PostgreSQL.
    """

    place: str
    backend: str
    server_version: str
    size_bytes: int
    revision: str | None
    head: str
    rows: Mapping[str, int]
    pragmas: Mapping[str, int | str]


def describe(store: Store) -> StoreInfo:
    """Say what a database is, in one consistent snapshot. It counts every row, so a large one takes a while.

    Raises:
        StoreUnavailable: the store is closed, or the database cannot be reached.
    """
    return store.query(_describe, store.place)


def _describe(uow: ReadUnitOfWork, place: str) -> StoreInfo:
    on_sqlite = uow.backend == "sqlite"
    pragmas = {name: _value(uow, f"PRAGMA {name}") for name in _PRAGMAS} if on_sqlite else {}
    version = "SELECT sqlite_version()" if on_sqlite else "SHOW server_version"
    size = (
        int(pragmas["page_count"]) * int(pragmas["page_size"])
        if on_sqlite
        else int(_value(uow, "SELECT pg_database_size(current_database())"))
    )
    revision: str | None = uow.execute(
        sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    ).scalar_one_or_none()
    return StoreInfo(
        place=place,
        backend=uow.backend,
        server_version=str(_value(uow, version)),
        size_bytes=size,
        revision=revision,
        head=schema.head(),
        rows={str(table.name): _count(uow, table) for table in METADATA.sorted_tables},
        pragmas=pragmas,
    )


def _value(uow: ReadUnitOfWork, statement: str) -> int | str:
    value: int | str = uow.execute(sa.text(statement)).scalar_one()
    return value


def _count(uow: ReadUnitOfWork, table: sa.Table) -> int:
    count: int = uow.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    return count
