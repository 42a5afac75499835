"""A database that is left to the next test is as a new one; one that is no longer what it was is not left to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.conftest import needs_postgres
from tests.reused import ReusedDatabases
from vibeweaver_store import Store, history, sessions
from vibeweaver_store.testing import PostgresServer

pytestmark = needs_postgres


@pytest.fixture
def databases(postgres_server: PostgresServer, postgres_template: str) -> Iterator[ReusedDatabases]:
    made = ReusedDatabases(postgres_server, postgres_template)
    yield made
    made.drop()


def test_a_reused_test_database_is_empty_even_after_an_open_unit_of_work(
    databases: ReusedDatabases,
) -> None:
    with databases.database() as first:
        store = Store.open(first)
        store.run(sessions.create, name="late set", session_id="jam")
        key = store.run(history.append, "jam", "play").id
        unit = store.begin()
        sessions.create(unit.__enter__(), name="never committed")
    with databases.database() as second, Store.open(second) as next_store:
        assert second == first
        assert next_store.query(sessions.page).items == []
        next_store.run(sessions.create, name="late set", session_id="jam")
        assert next_store.run(history.append, "jam", "play").id == key == 1
    unit.__exit__(ZeroDivisionError, ZeroDivisionError(), None)  # its connection was ended
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more (id integer)",
        "DROP INDEX ix_workspaces_by_last_accessed_at",
        "ALTER TABLE markers ADD COLUMN more integer",
        "ALTER TABLE history DISABLE TRIGGER ALL",
        "ANALYZE",
        "UPDATE vibeweaver_version SET version_num = '0001'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END $$",
    ],
)
def test_a_changed_test_database_is_not_reused(databases: ReusedDatabases, change: str) -> None:
    with databases.database() as first, Store.open(first) as store, store.begin() as uow:
        uow.execute(sa.text(change))
    with databases.database() as second:
        assert second != first


def test_concurrent_test_databases_are_distinct_and_a_new_one_is_unused(databases: ReusedDatabases) -> None:
    with databases.database() as one, databases.database() as two:
        assert one != two
    with databases.database(new=True) as third:
        assert third not in {one, two}
