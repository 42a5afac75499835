"""Fixtures: an empty store a test, on each backend; underneath are those that applications are given."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import event

from tests.driven import is_async, opened, run_protocol
from tests.reused import ReusedDatabases
from tests.sizes import examples
from vibeweaver_store import Settings, Store
from vibeweaver_store.testing import PostgresServer, SettableClock, template

pytest_plugins = ["vibeweaver_store.testing", "tests.processes_fixture"]

POSTGRES = os.environ.get("VIBEWEAVER_TEST_POSTGRES_URL")
EVERYTHING = bool(os.environ.get("VIBEWEAVER_TEST_ALL"))
"""In continuous integration nothing is skipped: what is not there makes its tests fail."""
needs_postgres = pytest.mark.skipif(not POSTGRES and not EVERYTHING, reason="VIBEWEAVER_TEST_POSTGRES_URL is not set")
BACKENDS = [
    backend
    for backend in (pytest.param("sqlite"), pytest.param("postgresql", marks=needs_postgres))
    if backend.values[0] in os.environ.get("VIBEWEAVER_TEST_BACKENDS", "sqlite postgresql").split()
]
"""What tests of both backends run on; ``nox -s fast`` does not even collect the others."""

hypothesis_settings.register_profile(
    "house",
    deadline=None,
    max_examples=examples(40, 200),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("house")


@pytest.fixture
def clock(store_clock: SettableClock) -> SettableClock:
    return store_clock


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VIBEWEAVER_") and "TEST" not in name]:
        monkeypatch.delenv(name)


def pytest_collection_finish() -> None:
    """Leave what was collected out of every garbage collection to come: tens of thousands of tests live to the end."""
    gc.collect()
    gc.freeze()


# --- databases -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template() -> Path:
    return template()


@pytest.fixture(scope="session")
def store_postgres_url() -> str:
    """As in the fixtures for applications, but in continuous integration a server that is not there fails the test."""
    assert POSTGRES, "VIBEWEAVER_TEST_POSTGRES_URL is not set"
    return POSTGRES


@pytest.fixture(scope="session")
def postgres_server(store_postgres_server: PostgresServer) -> PostgresServer:
    return store_postgres_server


@pytest.fixture(scope="session")
def postgres_template(store_postgres_template: str) -> str:
    return store_postgres_template


@pytest.fixture(scope="session")
def reused_databases(postgres_server: PostgresServer, postgres_template: str) -> Iterator[ReusedDatabases]:
    databases = ReusedDatabases(postgres_server, postgres_template)
    yield databases
    databases.drop()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def empty_database(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of each backend before its first migration: a path that is free, or a database without tables."""
    if backend == "sqlite":
        yield str(tmp_path / "store.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url


@pytest.fixture
def database(backend: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of each backend at head, with nothing in it."""
    if backend == "sqlite":
        yield str(request.getfixturevalue("store_file"))
        return
    databases: ReusedDatabases = request.getfixturevalue("reused_databases")
    with databases.database(new=request.node.get_closest_marker("new_database") is not None) as url:
        yield url


@pytest.fixture
def drive() -> str:
    """On which kind of driver ``store`` is; what is said of services is said of both."""
    return "sync"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test of an AsyncStore on an event loop, where it can be written as any other."""
    if not is_async(item):
        return None
    run_protocol(item, nextitem)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def store(drive: str, database: str, clock: SettableClock) -> Iterator[Store]:
    with opened(drive, database, clock=clock) as store:
        yield store


@pytest.fixture
def other(database: str, clock: SettableClock) -> Iterator[Store]:
    """A second store on the same database: what it reads was committed."""
    with Store.open(database, clock=clock) as opened:
        yield opened


@pytest.fixture
def sqlite_path(store_file: Path) -> Path:
    """A file at head, for what is about SQLite alone."""
    return store_file


@pytest.fixture
def impatient() -> Settings:
    """Settings that give up on a lock soon."""
    return Settings(busy_timeout_seconds=0.2)


# --- looking over the shoulder ---------------------------------------------------------------------------------


@contextmanager
def recorded_statements(store: Store) -> Iterator[list[str]]:
    """The statements that a store sends, without BEGIN, COMMIT, savepoints and announcements."""
    sent: list[str] = []

    def record(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "SELECT pg_notify")):
            sent.append(statement)

    engines = {id(engine.pool): engine for engine in (store._engines.read, store._engines.write)}.values()
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    try:
        yield sent
    finally:
        for engine in engines:
            with suppress(Exception):
                event.remove(engine, "before_cursor_execute", record)
