"""What the package relies on in aiosqlite, and in how SQLAlchemy drives it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn

from tests.canaries.canary import Library

canary = Library("aiosqlite")

TABLE = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"


def with_driver(work: Callable[[Any], Awaitable[None]]) -> None:
    """Do something with a connection of aiosqlite's own."""
    import aiosqlite

    async def run() -> None:
        async with aiosqlite.connect(":memory:", isolation_level=None) as driver:
            await driver.execute_fetchall(TABLE)
            await work(driver)

    asyncio.run(run())


def with_adapted(path: Path, work: Callable[[sa.Connection, Any], None]) -> list[dict[str, Any]]:
    """Do something with SQLAlchemy's connection, and what it has made of aiosqlite's; return what sqlite3 was told."""
    told: list[dict[str, Any]] = []
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=sa.AsyncAdaptedQueuePool).sync_engine

    def make(*args: Any, **options: Any) -> sqlite3.Connection:
        told.append(options)
        return sqlite3.Connection(*args, **options)

    @event.listens_for(engine, "do_connect")
    def name(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        arguments[:] = [f"file:{path}"]
        options.update(uri=True, isolation_level=None, check_same_thread=False, factory=make)

    def connected() -> None:
        try:
            with engine.connect() as connection:
                adapted: Any = connection.connection.dbapi_connection
                adapted.execute(TABLE).fetchall()
                work(connection, adapted)
        finally:
            engine.dispose()

    asyncio.run(greenlet_spawn(connected))
    return told


@canary("kept.py", to="run a statement and read its rows in one trip to the thread")
def test_execute_fetchall_returns_the_rows_of_a_statement() -> None:
    async def work(driver: Any) -> None:
        await driver.execute_fetchall("INSERT INTO things (name) VALUES (?), (?)", ("one", "two"))
        assert list(await driver.execute_fetchall("SELECT id, name FROM things")) == [(1, "one"), (2, "two")]
        assert list(await driver.execute_fetchall("BEGIN IMMEDIATE", ())) == []
        assert driver.in_transaction

    with_driver(work)


@canary("kept.py", to="tell the key of a new row in one trip to the thread")
def test_execute_insert_returns_the_key_of_the_new_row_alone() -> None:
    async def work(driver: Any) -> None:
        assert tuple(await driver.execute_insert("INSERT INTO things (name) VALUES (?)", ("one",))) == (1,)
        assert tuple(await driver.execute_insert("INSERT INTO things (name) VALUES (?)", ("two",))) == (2,)

    with_driver(work)


@canary("driver_errors.py", to="end the statement of a task that was cancelled")
def test_an_interrupt_does_not_wait_for_the_statement_that_runs() -> None:
    slow = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 8000000) SELECT count(*) FROM n"

    async def work(driver: Any) -> None:
        task = asyncio.ensure_future(driver.execute_fetchall(slow))
        await asyncio.sleep(0.05)
        assert not task.done()
        await driver.interrupt()
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            await task

    with_driver(work)


@canary("driver_errors.py", to="translate errors of both drivers alike")
def test_the_errors_of_aiosqlite_are_those_of_sqlite3() -> None:
    async def work(driver: Any) -> None:
        await driver.execute_fetchall("INSERT INTO things (name) VALUES ('one')")
        with pytest.raises(sqlite3.IntegrityError) as caught:
            await driver.execute_fetchall("INSERT INTO things (name) VALUES ('one')")
        assert caught.value.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"

    with_driver(work)


@canary("kept.py", "driver_errors.py", to="do in the thread of a connection what SQLAlchemy has no method for")
def test_a_connection_of_sqlalchemy_runs_coroutines_of_the_driver(tmp_path: Path) -> None:
    def work(_connection: sa.Connection, adapted: Any) -> None:
        key = adapted.run_async(lambda driver: driver.execute_insert("INSERT INTO things (name) VALUES ('one')"))
        assert tuple(key) == (1,)
        assert list(adapted.run_async(lambda driver: driver.execute_fetchall("SELECT name FROM things"))) == [("one",)]

    with_adapted(tmp_path / "canary.db", work)


@canary("kept.py", "engine.py", to="use a connection of either driver in the same way")
def test_a_connection_of_sqlalchemy_has_the_methods_of_sqlite3s(tmp_path: Path) -> None:
    def work(connection: sa.Connection, adapted: Any) -> None:
        assert connection.dialect.is_async
        assert connection.dialect.driver == "aiosqlite"
        driver: Any = connection.connection.driver_connection
        adapted.execute("BEGIN").fetchall()
        assert driver.in_transaction
        cursor = adapted.cursor()
        cursor.executemany("INSERT INTO things (name) VALUES (?)", [("one",), ("two",)])
        cursor.close()
        cursor = adapted.cursor()
        cursor.execute("UPDATE things SET name = name || ?", ("!",))
        assert cursor.rowcount == 2
        cursor.close()
        adapted.commit()
        assert not driver.in_transaction
        assert adapted.execute("SELECT name FROM things").fetchone() == ("one!",)
        adapted.execute("BEGIN").fetchall()
        adapted.rollback()
        assert not driver.in_transaction

    with_adapted(tmp_path / "canary.db", work)


@canary("engine.py", to="know SQLite's own connections, for a forked child to close")
def test_options_of_ours_reach_sqlite3_through_both(tmp_path: Path) -> None:
    (told,) = with_adapted(tmp_path / "canary.db", lambda _connection, _adapted: None)

    assert (told["isolation_level"], told["uri"], told["check_same_thread"]) == (None, True, False)
    assert (tmp_path / "canary.db").exists()


@canary("kept.py", "driver_errors.py", to="know the driver's errors by their classes")
def test_the_aiosqlite_module_of_a_dialect_has_the_error_classes(tmp_path: Path) -> None:
    def work(connection: sa.Connection, _adapted: Any) -> None:
        loaded: Any = connection.dialect.loaded_dbapi
        assert loaded.Error is sqlite3.Error
        assert loaded.ProgrammingError is sqlite3.ProgrammingError

    with_adapted(tmp_path / "canary.db", work)


@canary("async_store.py", to="let a process end though a connection was left open")
def test_the_thread_of_a_connection_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    def work(_connection: sa.Connection, _adapted: Any) -> None:
        others = [each for each in threading.enumerate() if "_connection_worker_thread" in each.name]
        assert others
        assert all(each.daemon for each in others)

    with_adapted(tmp_path / "canary.db", work)
