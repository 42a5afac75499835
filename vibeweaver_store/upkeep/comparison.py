"""How the tables of a database differ from the table classes, which the migrations are to make."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import SAWarning
from sqlalchemy.schema import CreateIndex, CreateTable

from vibeweaver_store import autocommit, schema
from vibeweaver_store.engine import resolve
from vibeweaver_store.locks import FORK_GATE
from vibeweaver_store.models import METADATA, VIEWS
from vibeweaver_store.models.ensemble_triggers import TRIGGERS
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.sqlite_file import VERSION_TABLE


def drift(database: str | Path | URL | None = None, *, settings: Settings | None = None) -> list[str]:
    """Return how a database differs from the table classes, a line each; nothing where it does not.

    Tables of others, which may lie beside, are passed over. On SQLite the whole CREATE statements are compared; on
    PostgreSQL not what CHECKs say (see :func:`missing_checks`), nor views.

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
    if connection.dialect.name == "sqlite":
        yield from _other_statements(connection)
    present = sa.inspect(connection).get_view_names()
    yield from (f"missing view: {name}" for name in VIEWS if name not in present)


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in METADATA.tables


_IN_THE_DATABASE: Final = {"add": "missing", "remove": "not known"}


def _told(difference: Any) -> str:
    verb, _, what = difference[0].partition("_")
    parts = [part for part in difference[1:] if part is not None and not isinstance(part, dict)]
    names = " ".join(str(getattr(part, "name", part)) for part in parts)
    return f"{_IN_THE_DATABASE.get(verb, 'other')} {what}: {names}"


# --- the CREATE statements of SQLite ---------------------------------------------------------------------------


def _other_statements(connection: Connection) -> Iterator[str]:
    """Yield what Alembic passes over: views, triggers, CHECKs, DEFAULT, COLLATE, AUTOINCREMENT, STRICT, DESC, WHERE."""
    rows = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index', 'view', 'trigger')"
    )
    found = {row.name: row.sql for row in rows if row.sql is not None}
    for name, statement in declared_statements().items():
        wanted, there = clauses(statement), clauses(found.get(name, "" if name in TRIGGERS else statement))
        if there != wanted:
            yield f"other statement: {name} has {_listed(there - wanted)} instead of {_listed(wanted - there)}"


def _listed(parts: Counter[str]) -> str:
    return "; ".join(sorted(parts.elements())) or "nothing"


def declared_statements() -> dict[str, str]:
    """Return the CREATE statement of all that the models declare for SQLite, by name."""
    dialect = sqlite.dialect()
    tables = {str(table.name): str(CreateTable(table).compile(dialect=dialect)) for table in METADATA.sorted_tables}
    indexes = [index for table in METADATA.sorted_tables for index in table.indexes]
    views = {name: str(view.compile(dialect=dialect)) for name, view in VIEWS.items()}
    made = {str(index.name): str(CreateIndex(index).compile(dialect=dialect)) for index in indexes}
    return {**tables, **views, **made, **TRIGGERS}


def clauses(statement: str) -> Counter[str]:
    """Return what a CREATE statement consists of. Those of a table may stand in any order; an index is one clause."""
    text = re.sub(r'"(\w+)"', r"\1", " ".join(statement.split()))
    table = re.fullmatch(r"(CREATE TABLE \w+) ?\((.*)\)(.*)", text)
    if table is None:
        return Counter([text])
    parts = re.split(r", (?=CONSTRAINT|\w+ [A-Z])", table[2])
    return Counter(each.strip() for each in (table[1], *parts, table[3]))


# --- CHECKs ----------------------------------------------------------------------------------------------------

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
