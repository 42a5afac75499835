"""What every connection is like."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.conftest import needs_postgres
from vibeweaver_store import Settings, Store, StoreBusy, StoreUnavailable, sessions
from vibeweaver_store.engine import apply_pragmas
from vibeweaver_store.testing import PostgresServer
from vibeweaver_store.unit_of_work import ReadUnitOfWork


def pragma(uow: ReadUnitOfWork, name: str) -> Any:
    return uow.connection().exec_driver_sql(f"PRAGMA {name}").scalar_one()


@pytest.mark.parametrize("mode", ["write", "read"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 1),
        ("foreign_keys", 1),
        ("busy_timeout", 10_000),
        ("cache_size", -20_000),
        ("mmap_size", 268_435_456),
        ("temp_store", 2),
    ],
)
def test_every_sqlite_connection_has_the_default_pragmas(
    sqlite_path: Path, mode: str, name: str, value: object
) -> None:
    with Store.open(sqlite_path) as store, store.begin() if mode == "write" else store.read() as uow:
        assert pragma(uow, name) == value


def test_pragmas_can_be_set_in_settings(sqlite_path: Path) -> None:
    settings = Settings(synchronous="FULL", cache_size=-1000, mmap_size=0, busy_timeout_seconds=1.5)

    with Store.open(sqlite_path, settings=settings) as store, store.begin() as uow:
        found = [pragma(uow, name) for name in ("synchronous", "cache_size", "mmap_size", "busy_timeout")]

    assert found == [2, -1000, 0, 1500]


def test_pragmas_can_be_set_from_the_environment(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBEWEAVER_SYNCHRONOUS", "FULL")

    with Store.open(sqlite_path) as store, store.begin() as uow:
        assert pragma(uow, "synchronous") == 2


def test_a_pragma_that_has_no_effect_is_an_error() -> None:
    # An in-memory database of SQLite's own cannot be in WAL mode, and says nothing when it is asked to.
    connection = sqlite3.connect(":memory:")

    with pytest.raises(StoreUnavailable, match="journal_mode stayed 'memory'"):
        apply_pragmas(connection, {"journal_mode": "wal"}, place="here")
    connection.close()


def transactions_of(store: Store) -> list[str]:
    sent: list[str] = []
    for engine in (store._engines.write, store._engines.read):
        event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: sent.append(statement))
    return sent


def test_a_writing_unit_of_work_begins_immediate(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        sent = transactions_of(store)
        store.run(sessions.create, name="jam")

    assert sent[0] == "BEGIN IMMEDIATE"
    assert [statement for statement in sent if statement.startswith("BEGIN")] == ["BEGIN IMMEDIATE"]


def test_a_reading_unit_of_work_is_deferred_and_query_only(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        sent = transactions_of(store)
        with store.read() as uow:
            assert pragma(uow, "query_only") == 1

    assert sent[0] == "BEGIN"


def test_the_driver_begins_no_transaction_of_its_own(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin() as uow:
        driver: Any = uow.connection().connection.dbapi_connection

        assert driver.isolation_level is None
        assert driver.in_transaction


@needs_postgres
@pytest.mark.parametrize(
    ("mode", "isolation", "read_only"), [("write", "read committed", "off"), ("read", "repeatable read", "on")]
)
def test_a_unit_of_work_on_postgresql_writes_read_committed_and_reads_a_snapshot(
    postgres_server: PostgresServer, postgres_template: str, mode: str, isolation: str, read_only: str
) -> None:
    with (
        Store.open(postgres_server.url_of(postgres_template)) as store,
        store.begin() if mode == "write" else store.read() as uow,
    ):
        show = [
            uow.connection().exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("transaction_isolation", "transaction_read_only", "lock_timeout")
        ]

    assert show == [isolation, read_only, "10s"]


@needs_postgres
def test_a_locked_row_on_postgresql_is_store_busy(
    postgres_server: PostgresServer, postgres_template: str, impatient: Settings
) -> None:
    name = postgres_server.make(postgres_template)
    try:
        with Store.open(postgres_server.url_of(name), settings=impatient) as one, one.begin() as uow:
            jam = sessions.create(uow, name="jam", session_id="jam")
            with Store.open(postgres_server.url_of(name), settings=impatient) as two, pytest.raises(StoreBusy) as busy:
                two.run(sessions.create, name="the same", session_id=jam.id)
        assert busy.value.waited >= 0.2
    finally:
        postgres_server.drop(name)


@needs_postgres
def test_a_dropped_postgresql_connection_is_replaced_and_the_operation_run_again(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    name = postgres_server.make(postgres_template)
    killed: list[int] = []

    def interrupted(uow: ReadUnitOfWork) -> int:
        pid: int = uow.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        if not killed:
            killed.append(pid)
            postgres_server.run(f"SELECT pg_terminate_backend({pid})")
        return len(sessions.page(uow).items)

    try:
        with Store.open(postgres_server.url_of(name)) as store:
            store.run(sessions.create, name="jam")

            assert store.query(interrupted) == 1
        assert len(killed) == 1
    finally:
        postgres_server.drop(name)


@needs_postgres
def test_a_deadlocked_operation_on_postgresql_is_run_again(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    import threading

    from vibeweaver_store import UnitOfWork

    name = postgres_server.make(postgres_template)
    together = threading.Barrier(2, timeout=20)
    attempts: list[str] = []

    def rename_both(uow: UnitOfWork, first: str, second: str) -> None:
        attempts.append(first)
        sessions.update(uow, first, name=f"by {first}")
        if len(attempts) <= 2:
            together.wait()
        sessions.update(uow, second, name=f"by {first}")

    try:
        with Store.open(postgres_server.url_of(name)) as store:
            for each in ("a", "b"):
                store.run(sessions.create, name=each, session_id=each)
            threads = [
                threading.Thread(target=store.run, args=(rename_both, first, second))
                for first, second in (("a", "b"), ("b", "a"))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert len(attempts) == 3
            assert len({store.query(sessions.get, each).name for each in ("a", "b")}) == 1
    finally:
        postgres_server.drop(name)
