"""Connections that are kept ready: handed on while they are sound, and in nobody's way."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import needs_postgres
from tests.driven import DRIVES, opened
from vibeweaver_store import ReadUnitOfWork, Settings, Store, StoreUnavailable, history, sessions
from vibeweaver_store.hot import Hot
from vibeweaver_store.kept import KeptConnection, PoolUse, PostgresqlConnection
from vibeweaver_store.services.rule_revisions import REVISION
from vibeweaver_store.testing import PostgresServer


@pytest.fixture(params=DRIVES)
def drive(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def driver_of(uow: ReadUnitOfWork) -> int:
    return id(uow._usable().driver)  # aiosqlite's own can be awaited, and is refused as what an operation returns


def test_a_kept_connection_is_reused_by_the_next_unit_of_work(store: Store) -> None:
    assert [store.run(driver_of) for _ in range(3)] == [store.run(driver_of)] * 3
    assert [store.query(driver_of) for _ in range(3)] == [store.query(driver_of)] * 3


def test_writing_and_reading_units_of_work_keep_separate_connections(store: Store) -> None:
    assert store.run(driver_of) != store.query(driver_of)
    assert len({store.run(driver_of), store.query(driver_of), store.run(driver_of), store.query(driver_of)}) == 2


def test_a_failed_unit_of_work_leaves_a_sound_connection(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as uow:
        first = driver_of(uow)
        sessions.create(uow, name="lost")
        raise ZeroDivisionError

    assert store.run(driver_of) == first
    assert store.query(sessions.page).items == []


def test_a_connection_whose_transaction_could_not_be_rolled_back_is_not_handed_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    jam = store.run(sessions.create, name="jam")

    def fail(_kept: KeptConnection) -> None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(KeptConnection, "rollback", fail)
        with pytest.raises(ZeroDivisionError), store.begin() as uow:
            first = uow._usable().driver
            history.append(uow, jam.id, "lost")
            raise ZeroDivisionError

    with store.begin() as uow:
        assert uow._usable().driver is not first
    assert store.query(history.count, jam.id) == 0


def test_connections_are_not_in_use_between_units_of_work(store: Store) -> None:
    store.run(sessions.create, name="jam")
    with store.read() as uow:
        sessions.page(uow)
        assert store._engines.in_use() == 1
    assert store._engines.in_use() == 0


def test_a_closed_store_keeps_no_connection(database: str) -> None:
    store = Store.open(database)
    store.run(sessions.create, name="jam")
    store.close()

    assert (store._engines.writers.idle, store._engines.readers.idle) == (0, 0)


# --- a store that is closed while its connections are in use ---------------------------------------------------


def is_closed(kept: KeptConnection) -> bool:
    if isinstance(kept, PostgresqlConnection):
        return bool(kept.driver.closed)
    try:
        return kept.in_transaction
    except (sqlite3.ProgrammingError, ValueError):  # ValueError: what aiosqlite says of a closed connection
        return True


@pytest.mark.parametrize("kind", ["writers", "readers"])
def test_a_connection_given_back_to_a_closed_store_is_closed(store: Store, kind: str) -> None:
    connections = getattr(store._engines, kind)
    kept = connections.take()
    store.close()
    assert not is_closed(kept)

    connections.give(kept)

    assert is_closed(kept)
    assert connections.idle == 0


def test_more_connections_than_a_closed_store_would_keep_are_all_closed(drive: str, database: str) -> None:
    with opened(drive, database, settings=Settings(pool_size=1)) as store:
        connections = store._engines.readers
        taken = [connections.take() for _ in range(2)]
        store.close()
        for kept in taken:
            connections.give(kept)

        assert [is_closed(kept) for kept in taken] == [True, True]


def closing_once(store: Store, real: Any, *, before: bool) -> Any:
    """A stand-in for a method that closes the store before, or after, its first call does its work."""
    calls: list[None] = []

    def stand_in(*arguments: Any, **values: Any) -> Any:
        calls.append(None)
        if len(calls) > 1:
            return real(*arguments, **values)
        if before:
            store.close()
        done = real(*arguments, **values)
        if not before:
            store.close()
        return done

    return stand_in


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", ["keep", "part_with"])
def test_a_connection_is_closed_though_its_store_is_closed_while_it_is_given_back(
    drive: str, database: str, monkeypatch: pytest.MonkeyPatch, step: str, *, before: bool
) -> None:
    """As by another thread, in the moment before or after the connection is kept, or goes back to the pool."""
    with opened(drive, database, settings=Settings(pool_size=1)) as store:
        connections = store._engines.readers
        taken = [connections.take() for _ in range(2)]
        if step == "part_with":
            connections.give(taken.pop())  # there is one to keep already, and so the other is parted with
        monkeypatch.setattr(PoolUse, step, closing_once(store, getattr(PoolUse, step), before=before))
        for kept in taken:
            connections.give(kept)

        assert store.closed
        assert all(is_closed(kept) for kept in taken)
        assert connections.idle == 0


@pytest.mark.parametrize("drive", ["sync"])  # an AsyncStore waits for what is at work before it closes
def test_a_unit_of_work_that_outlives_its_store_commits_and_closes_its_connection(store: Store, other: Store) -> None:
    with store.begin() as uow:
        kept = uow._usable()
        store.close()
        sessions.create(uow, name="in time")

    assert is_closed(kept)
    assert [jam.name for jam in other.query(sessions.page).items] == ["in time"]


@pytest.mark.parametrize("drive", ["sync"])
@pytest.mark.parametrize("backend", ["sqlite"])  # elsewhere a glance is a unit of work
def test_a_glance_that_outlives_its_store_closes_its_connection(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[KeptConnection] = []

    def glance(statement: Hot, kept: KeptConnection, **values: Any) -> list[Any]:
        looked.append(kept)
        store.close()
        return []

    monkeypatch.setattr(Hot, "glance", glance)
    store.glance(REVISION, id="jam")

    assert [is_closed(kept) for kept in looked] == [True]


def test_a_store_serves_more_threads_than_it_has_connections(database: str) -> None:
    with Store.open(database, settings=Settings(pool_size=2)) as store, ThreadPoolExecutor(16) as threads:
        jam = store.run(sessions.create, name="jam")

        def work(number: int) -> str:
            if number % 2:
                store.run(sessions.update, jam.id, name=f"jam {number}")
            return store.query(sessions.get, jam.id).id

        assert set(threads.map(work, range(200))) == {jam.id}
        assert store._engines.in_use() == 0
        assert store._engines.readers.idle <= 2
        assert store._engines.writers.idle <= 2


def test_connections_kept_by_readers_do_not_block_writers(database: str) -> None:
    """On a server both draw from one pool, of four here."""
    with Store.open(database, settings=Settings(pool_size=2, busy_timeout_seconds=5)) as store:
        together = threading.Barrier(4, timeout=20)

        def read(uow: ReadUnitOfWork) -> None:
            sessions.page(uow)
            together.wait()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: store.query(read), range(4)))
            started = time.monotonic()
            list(threads.map(lambda number: store.run(sessions.create, name=f"jam {number}"), range(4)))
        assert time.monotonic() - started < 5
        assert len(store.query(sessions.page).items) == 4


@needs_postgres
def test_a_connection_ended_by_the_server_is_not_reused(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    name = postgres_server.make(postgres_template)
    try:
        with Store.open(postgres_server.url_of(name)) as store:
            store.run(sessions.create, name="jam")
            store.query(sessions.page)
            ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            postgres_server.run(ended)
            time.sleep(0.1)
            with store.begin() as uow:  # which is not run again
                sessions.create(uow, name="another")
            with store.read() as uow:
                assert len(sessions.page(uow).items) == 2
    finally:
        postgres_server.drop(name)
