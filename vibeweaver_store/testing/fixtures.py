"""The pytest fixtures. Their names begin with ``store`` or end with it, so as not to meet an application's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vibeweaver_store import Store
from vibeweaver_store.testing.clock import SettableClock
from vibeweaver_store.testing.databases import PostgresServer, new_file, new_store


@pytest.fixture
def store_clock() -> SettableClock:
    """The clock of the test's stores, which stands still at noon of 2026-01-01 UTC."""
    return SettableClock()


@pytest.fixture
def store(store_clock: SettableClock) -> Iterator[Store]:
    """An empty store in memory, at head."""
    with new_store(clock=store_clock) as opened:
        yield opened


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    """An empty SQLite database at head, for what opens it by its path."""
    return new_file(tmp_path / "store.db")


@pytest.fixture(scope="session")
def store_postgres_url() -> str:
    """A PostgreSQL server on which tests may make databases; override it, or set the environment variable."""
    url = os.environ.get("VIBEWEAVER_TEST_POSTGRES_URL", "")
    if not url:
        pytest.skip("VIBEWEAVER_TEST_POSTGRES_URL is not set")
    return url


@pytest.fixture(scope="session")
def store_postgres_server(store_postgres_url: str) -> PostgresServer:
    """What makes and drops databases on that server."""
    return PostgresServer(store_postgres_url)


@pytest.fixture(scope="session")
def store_postgres_template(store_postgres_server: PostgresServer) -> Iterator[str]:
    """The name of an empty database at head, to be copied; dropped at the end of the run."""
    with store_postgres_server.template() as name:
        yield name


@pytest.fixture
def postgres_store(
    store_postgres_server: PostgresServer, store_postgres_template: str, store_clock: SettableClock
) -> Iterator[Store]:
    """An empty store at head on PostgreSQL, dropped after the test; skipped where no server is given."""
    with (
        store_postgres_server.database(store_postgres_template) as url,
        Store.open(url, clock=store_clock) as opened,
    ):
        yield opened
