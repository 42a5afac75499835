"""Fixtures: an empty store a test, on each backend, copied from a template that was migrated once."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import event
from sqlalchemy.engine import make_url

from vibeweaver_store import Settings, Store, schema

POSTGRES = os.environ.get("VIBEWEAVER_TEST_POSTGRES_URL")
EVERYTHING = bool(os.environ.get("VIBEWEAVER_TEST_ALL"))
"""In continuous integration nothing is skipped: what is not there makes its tests fail."""
needs_postgres = pytest.mark.skipif(not POSTGRES and not EVERYTHING, reason="VIBEWEAVER_TEST_POSTGRES_URL is not set")
BACKENDS = [
    pytest.param("sqlite"),
    pytest.param("postgresql", marks=needs_postgres),
]

hypothesis_settings.register_profile(
    "house", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("house")


class SettableClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.instant

    def advance(self, **delta: float) -> datetime:
        self.instant += timedelta(**delta)
        return self.instant


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VIBEWEAVER_") and "TEST" not in name]:
        monkeypatch.delenv(name)


# --- databases -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    Store.open(path).close()
    return path


class PostgresServer:
    """Makes and drops databases on the server that the tests were given."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url).set(drivername="postgresql+psycopg")

    def run(self, statement: str) -> None:
        plain = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement)

    def make(self, template: str | None = None) -> str:
        name = f"vibeweaver_test_{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def drop(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url_of(self, name: str) -> str:
        return self.url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    assert POSTGRES, "VIBEWEAVER_TEST_POSTGRES_URL is not set"
    return PostgresServer(POSTGRES)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.make()
    schema.upgrade(postgres_server.url_of(name))
    yield name
    postgres_server.drop(name)


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
    name = server.make()
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture
def database(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of each backend at head, with nothing in it."""
    if backend == "sqlite":
        path = tmp_path / "store.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        path.chmod(0o600)
        yield str(path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.make(template=request.getfixturevalue("postgres_template"))
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture
def store(database: str, clock: SettableClock) -> Iterator[Store]:
    with Store.open(database, clock=clock) as opened:
        yield opened


@pytest.fixture
def other(database: str, clock: SettableClock) -> Iterator[Store]:
    """A second store on the same database: what it reads was committed."""
    with Store.open(database, clock=clock) as opened:
        yield opened


@pytest.fixture
def sqlite_path(tmp_path: Path, sqlite_template: Path) -> Path:
    """A file at head, for what is about SQLite alone."""
    path = tmp_path / "store.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o600)
    return path


@pytest.fixture
def impatient() -> Settings:
    """Settings that give up on a lock soon."""
    return Settings(busy_timeout_seconds=0.2)


# --- looking over the shoulder ---------------------------------------------------------------------------------


@contextmanager
def recorded_statements(store: Store) -> Iterator[list[str]]:
    """The statements that a store sends, without BEGIN, COMMIT and savepoints."""
    sent: list[str] = []

    def record(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK")):
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
