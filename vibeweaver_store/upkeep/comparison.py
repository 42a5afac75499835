"""How the tables of a database differ from the table classes, which the migrations are to make."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import CreateTable

from vibeweaver_store import autocommit, schema
from vibeweaver_store.engine import resolve
from vibeweaver_store.locks import FORK_GATE
from vibeweaver_store.models import METADATA
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.sqlite_file import VERSION_TABLE


def drift(database: str | Path | URL | None = None, *, settings: Settings | None = None) -> list[str]:
    """Return how a database differs from the table classes, a line each; nothing where it does not.

    Tables of others, which may lie beside, are passed over. What CHECKs say is not compared: see
    :func:`missing_checks`.

    Raises:
        StoreUnavailable: there is no such database, or it cannot be reached.
    """
    settings = settings or load()
    target = resolve(database, settings)
    schema.current(database, settings=settings)
    with FORK_GATE.passing(), autocommit.connect(target, settings) as connection:
        return list(differences(connection))


def differences(connection: Connection) -> Iterator[str]:
    """Yield the lines of :func:`drift` for a connection."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - slow, and needed only here
    from alembic.migration import MigrationContext  # noqa: PLC0415

    options: dict[str, Any] = {"version_table": VERSION_TABLE, "compare_type": True, "include_name": _is_ours}
    context = MigrationContext.configure(connection, opts=options)
    with warnings.catch_warnings():
        # Of what it cannot reflect, such as a CHECK that is NOT VALID on PostgreSQL; CHECKs are compared below.
        warnings.simplefilter("ignore", SAWarning)
        found = compare_metadata(context, METADATA)
    for difference in found:
        # What differs in one column comes as a list; all else as a tuple.
        yield from map(_told, difference if isinstance(difference, list) else [difference])


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in METADATA.tables


_IN_THE_DATABASE: Final = {"add": "missing", "remove": "not known"}


def _told(difference: Any) -> str:
    verb, _, what = difference[0].partition("_")
    parts = [part for part in difference[1:] if part is not None and not isinstance(part, dict)]
    names = " ".join(str(getattr(part, "name", part)) for part in parts)
    return f"{_IN_THE_DATABASE.get(verb, 'other')} {what}: {names}"


_CHECK: Final = re.compile(r"CONSTRAINT (\w+) CHECK")


def missing_checks(connection: Connection) -> list[str]:
    """Return the names of the CHECKs that the table classes declare and the database has not, in order."""
    tables = METADATA.sorted_tables
    declared = [name for table in tables for name in _CHECK.findall(str(CreateTable(table).compile(connection)))]
    found = connection.exec_driver_sql(_FOUND_CHECKS[connection.dialect.name]).scalars()
    present = {name for text in found for name in _CHECK.findall(text)}
    return [name for name in declared if name not in present]


_FOUND_CHECKS: Final = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL",
    "postgresql": "SELECT 'CONSTRAINT ' || conname || ' CHECK' FROM pg_constraint "
    "WHERE contype = 'c' AND connamespace = current_schema()::regnamespace",
}
