"""Databases on a server that one test leaves to the next, emptied: to make and to drop one costs more than most tests.

What a test finds is what it would find in a new copy of the template: at head, no rows, each sequence at its start and
nobody connected. A commit is as isolated as ever, and only does not wait for the disk, since no test stops the server.
A database whose tables, indexes, statistics, settings or version are no longer those it was made with is not reused,
whatever was done to it; so a test need not say that it changes them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg

from vibeweaver_store.models import METADATA
from vibeweaver_store.testing import PostgresServer

Look: TypeAlias = list[tuple[Any, ...]]

_GRACE_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0

ROOM = 4 * 1024 * 1024
"""Bytes of rows, dead ones too, above which a new database is cheaper than one that is emptied."""

OURSELVES = "vibeweaver tests"
"""What the connection that empties a database calls itself."""

OURS = 16384
"""The first oid that PostgreSQL gives to what is not its own."""

_CATALOGS = {
    "pg_class": f"oid >= {OURS}",
    "pg_attribute": f"attrelid >= {OURS}",
    "pg_attrdef": "true",
    "pg_constraint": f"oid >= {OURS}",
    "pg_index": f"indexrelid >= {OURS}",
    "pg_trigger": "true",
    "pg_rewrite": f"oid >= {OURS}",
    "pg_proc": f"oid >= {OURS}",
    "pg_type": f"oid >= {OURS}",
    "pg_namespace": "true",
    "pg_extension": "true",
    "pg_event_trigger": "true",
    "pg_policy": "true",
    "pg_default_acl": "true",
    "pg_description": f"objoid >= {OURS}",
    "pg_statistic": f"starelid >= {OURS}",
    "pg_statistic_ext": "true",
    "pg_largeobject_metadata": "true",
    "pg_database": "datname = current_database()",
    "pg_db_role_setting": "setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "vibeweaver_version": "true",
}
"""What says whether a database is still the one that was made: whoever changes a row of these gives it a new xmin."""

_LOOK = (
    " UNION ALL ".join(
        f"SELECT '{name}', count(*), sum(xmin::text::bigint) FROM {name} WHERE {which}"
        for name, which in _CATALOGS.items()
    )
    + f" UNION ALL SELECT 'pages and rows', sum(relpages), sum(reltuples) FROM pg_class WHERE oid >= {OURS}"
)

_OTHERS = "FROM pg_stat_activity WHERE datid = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
_SIZE = f"SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE oid >= {OURS} AND relkind = 'r'"
_EMPTY = "; ".join(
    [
        *(f'DELETE FROM "{table.name}"' for table in reversed(METADATA.sorted_tables)),
        "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence",
    ]
)


@dataclass
class _Database:
    """A database, what its catalogs said when it was made, and the connection that empties it.

    The connection stays open: one that knows the tables empties them in a fifth of the time of a new one.
    """

    name: str
    connection: psycopg.Connection[tuple[Any, ...]]
    made: Look = field(default_factory=list)

    def look(self) -> Look:
        return self.connection.execute(_LOOK).fetchall()

    def empty(self) -> bool:
        """Empty the database; false if it is no longer the one that was made."""
        try:
            self._end_others()
            (size,) = self.connection.execute(_SIZE).fetchall()[0]
            if size > ROOM or self.look() != self.made:
                return False
            self.connection.execute(_EMPTY)
        except psycopg.Error:  # the database is gone, or refuses
            return False
        return True

    def _end_others(self) -> None:
        """Wait for connections that were closed to be gone, and end those that were not.

        Most are gone within a millisecond. ``pg_terminate_backend`` with a timeout would look every 100 ms.
        """
        (oid,) = self.connection.execute("SELECT oid FROM pg_database WHERE datname = %s", [self.name]).fetchall()[0]
        began = time.monotonic()
        while self.connection.execute(f"SELECT pid {_OTHERS}", [oid]).fetchall():
            waited = time.monotonic() - began
            if waited > _PATIENCE_SECONDS:
                raise psycopg.OperationalError("another connection does not end")
            if waited > _GRACE_SECONDS:
                self.connection.execute(f"SELECT pg_terminate_backend(pid) {_OTHERS}", [oid])
            time.sleep(0.001)


@dataclass
class ReusedDatabases:
    """The databases of one worker: as many as it ever had in use together."""

    server: PostgresServer
    template: str
    _free: list[_Database] = field(default_factory=list)

    @contextmanager
    def database(self, *, new: bool = False) -> Iterator[str]:
        """Keep a database at head with nothing in it for the block; its URL.

        ``new`` is for tests of query plans: the planner goes by the size of tables, dead rows included.
        """
        database = self._free.pop() if self._free and not new else self._make()
        try:
            yield self.server.url_of(database.name)
        finally:
            if database.empty():
                self._free.append(database)
            else:
                self._drop(database)

    def drop(self) -> None:
        """Drop them all."""
        while self._free:
            self._drop(self._free.pop())

    def _make(self) -> _Database:
        name = self.server.make(self.template)
        self.server.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
        url = self.server.url.set(drivername="postgresql", database=name)
        connection = psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, application_name=OURSELVES
        )
        database = _Database(name, connection)
        database.made = database.look()
        return database

    def _drop(self, database: _Database) -> None:
        database.connection.close()
        self.server.drop(database.name)
