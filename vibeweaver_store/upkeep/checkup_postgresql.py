"""The checks of a PostgreSQL database. Its server checks its own pages, and lets no row be without its parent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from vibeweaver_store import autocommit
from vibeweaver_store.engine import Target
from vibeweaver_store.errors import StoreError
from vibeweaver_store.models import METADATA
from vibeweaver_store.settings import Settings
from vibeweaver_store.upkeep.findings import Finding, Judgement, made, of_schema, told_size


def findings_of_server(target: Target, settings: Settings) -> Iterator[Finding]:
    """Yield what is found of a database on a server, or that it does not answer."""
    try:
        with autocommit.connect(target, settings) as connection:
            yield made("server", _server, connection)
            yield from of_schema(connection, {"constraints": _constraints, "indexes": _indexes})
    except StoreError as error:
        yield Finding("server", "broken", error.message)


def _server(connection: Connection) -> Judgement:
    version: str = connection.exec_driver_sql("SHOW server_version").scalar_one()
    size: int = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return "ok", f"PostgreSQL {version}, {told_size(size)}"


_IN_OUR_TABLES: Final = "relation.relnamespace = current_schema()::regnamespace AND relation.relname = ANY(%s)"


def _names(connection: Connection, statement: str) -> list[str]:
    rows = connection.exec_driver_sql(f"{statement} AND {_IN_OUR_TABLES} ORDER BY 1", (list(METADATA.tables),))
    return list(rows.scalars())


def _constraints(connection: Connection) -> Judgement:
    unproved = _names(
        connection,
        "SELECT conname::text FROM pg_constraint JOIN pg_class AS relation ON relation.oid = conrelid "
        "WHERE NOT convalidated",
    )
    if unproved:
        return "broken", f"rows may break what was never validated: {', '.join(unproved)}"
    return "ok", "every constraint holds for every row"


def _indexes(connection: Connection) -> Judgement:
    invalid = _names(
        connection,
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class AS relation ON relation.oid = indrelid "
        "WHERE NOT indisvalid",
    )
    if invalid:
        return "broken", f"not in use; mend with REINDEX INDEX: {', '.join(invalid)}"
    return "ok", "every index is in use"
