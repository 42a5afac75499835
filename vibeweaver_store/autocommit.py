"""Connections outside of units of work, for who looks at a database or tends it: each statement is its own transaction.

No PRAGMA is set on them, so that a database is found as it is, and nothing is opened through them but what is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection, Engine, NullPool, create_engine

from vibeweaver_store import driver_errors, sqlite_file
from vibeweaver_store.engine import Target, connected, postgresql_engine
from vibeweaver_store.settings import Settings


@contextmanager
def connect(
    target: Target, settings: Settings, *, mode: Literal["ro", "rw"] = "rw", timeout_seconds: float | None = None
) -> Iterator[Connection]:
    """Open one connection for the block.

    Args:
        target: the database.
        settings: how long to wait for others, besides.
        mode: how an SQLite file is opened; ``ro`` leaves a ``-wal`` or ``-journal`` that lies beside it untouched.
        timeout_seconds: how long a statement waits for other processes; the busy timeout unless given.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    if timeout_seconds is not None:
        settings = settings.model_copy(update={"busy_timeout_seconds": timeout_seconds})
    engine = _sqlite(target, settings, mode) if target.backend == "sqlite" else _postgresql(target, settings)
    with connected(engine) as connection:
        yield connection


def _sqlite(target: Target, settings: Settings, mode: Literal["ro", "rw"]) -> Engine:
    timeout, path = settings.busy_timeout_seconds, target.file
    engine = create_engine(
        target.url,
        creator=lambda: sqlite3.connect(
            sqlite_file.uri(path, mode), uri=True, isolation_level=None, check_same_thread=False, timeout=timeout
        ),
        poolclass=NullPool,
    )
    driver_errors.install(engine, driver_errors.Translation(target.place, timeout))
    return engine


def _postgresql(target: Target, settings: Settings) -> Engine:
    engine = postgresql_engine(target, settings, poolclass=NullPool)
    return engine.execution_options(isolation_level="AUTOCOMMIT")
