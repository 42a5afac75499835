"""Alembic's entry: runs migrations on the connection that vibeweaver_store.schema hands over, or makes SQL of them.

Called by Alembic's own command line, it takes the database from ``-x database=…`` or the store's settings, and goes
the same way: one lock, one transaction, a backup first.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from alembic import context
from vibeweaver_store import schema
from vibeweaver_store.engine import resolve
from vibeweaver_store.models import METADATA
from vibeweaver_store.settings import load
from vibeweaver_store.sqlite_file import VERSION_TABLE

config = context.config


def _configure(**options: Any) -> None:
    context.configure(target_metadata=METADATA, version_table=VERSION_TABLE, compare_type=True, **options)


def _run_on(connection: Connection) -> None:
    _configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()


def _print_sql() -> None:
    dialect = config.attributes.get("dialect", "sqlite")
    _configure(dialect_name=dialect, literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    if context.is_offline_mode():
        _print_sql()
        return
    connection: Connection | None = config.attributes.get("connection")
    if connection is not None:
        _run_on(connection)
        return
    settings = load()
    target = resolve(context.get_x_argument(as_dictionary=True).get("database"), settings)
    with schema.migrating(target, settings) as run:
        _run_on(run.connection)


_run()
