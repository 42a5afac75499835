"""Following a session's history: what any process appends comes, as it is committed, in order, once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.conftest import needs_postgres, recorded_statements
from tests.reused import OURSELVES
from tests.services.scene import make
from tests.services.together import Together, together
from tests.spawning import Processes
from vibeweaver_store import (
    AsyncStore,
    HistoryEntry,
    InvalidInput,
    NotFound,
    Session,
    Store,
    StoreUnavailable,
    following,
    history,
    rules,
    sessions,
    signals,
)
from vibeweaver_store.following import _channel
from vibeweaver_store.testing import PostgresServer, RuleFactory, SessionFactory

SOON = 0.3
"""Long enough for what was committed to be seen, in seconds."""


def names(entries: list[HistoryEntry]) -> list[str]:
    return [entry.action for entry in entries]


def append(store: Store, session: Session, *actions: str) -> None:
    for action in actions:
        store.run(history.append, session.id, action)


def test_a_history_follower_gives_existing_entries_then_added_ones(store: Store, other: Store, jam: Session) -> None:
    append(other, jam, "1", "2")
    followed = history.follow(store, jam.id)
    assert names([next(followed), next(followed)]) == ["1", "2"]
    append(other, jam, "3")
    assert next(followed).action == "3"
    append(store, jam, "4")
    append(other, jam, "5")
    assert names([next(followed), next(followed)]) == ["4", "5"]
    followed.close()  # type: ignore[attr-defined]


def test_a_history_follower_waits_for_an_added_entry(store: Store, other: Store, jam: Session) -> None:
    late = threading.Timer(SOON, append, [other, jam, "late"])
    late.start()
    followed = history.follow(store, jam.id)
    assert next(followed).action == "late"
    followed.close()  # type: ignore[attr-defined]
    late.join()


def test_a_history_follower_ends_after_its_idle_time(store: Store, jam: Session) -> None:
    append(store, jam, "1")
    began = time.monotonic()
    assert names(list(history.follow(store, jam.id, idle_seconds=SOON))) == ["1"]
    assert time.monotonic() - began >= SOON


@pytest.mark.parametrize("filters", [{}, {"action": "never"}])
def test_a_history_follower_is_not_kept_alive_by_other_writes(
    store: Store, other: Store, jam: Session, filters: dict[str, Any]
) -> None:
    elsewhere = make(other, SessionFactory) if not filters else jam
    enough = threading.Event()

    def go_on() -> None:
        while not enough.wait(0.02):
            append(other, elsewhere, "noise")

    noise = threading.Thread(target=go_on)
    noise.start()
    threading.Timer(20, enough.set).start()  # it would go on for as long as there is noise
    try:
        assert list(history.follow(store, jam.id, idle_seconds=SOON, **filters)) == []
        assert not enough.is_set()
    finally:
        enough.set()
        noise.join()


def test_a_history_follower_restarts_its_idle_time_at_each_entry(store: Store, other: Store, jam: Session) -> None:
    for number in range(1, 4):
        threading.Timer(number * SOON, append, [other, jam, f"{number}"]).start()
    assert names(list(history.follow(store, jam.id, idle_seconds=2 * SOON))) == ["1", "2", "3"]


def test_a_history_follower_reads_more_than_one_page(store: Store, jam: Session) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry(f"{n}") for n in range(2500)])
    assert names(list(history.follow(store, jam.id, idle_seconds=0))) == [str(n) for n in range(2500)]


def test_a_history_follower_begins_behind_a_given_entry(store: Store, jam: Session) -> None:
    append(store, jam, "1", "2", "3")
    first = next(history.follow(store, jam.id))
    assert names(list(history.follow(store, jam.id, after=first.id, idle_seconds=0))) == ["2", "3"]
    assert names(list(history.follow(store, jam.id, after=0, idle_seconds=0))) == ["1", "2", "3"]


def test_a_history_follower_begins_behind_a_page(store: Store, jam: Session) -> None:
    append(store, jam, "1", "2")
    whole = store.query(history.page, jam.id, oldest_first=True)
    assert whole.next_cursor is None
    append(store, jam, "3")
    assert names(list(history.follow(store, jam.id, after=whole.end_cursor, idle_seconds=0))) == ["3"]


def test_a_history_follower_honours_its_filters(store: Store, jam: Session) -> None:
    append(store, jam, "play", "stop")
    store.run(history.append, jam.id, "play", success=False)
    append(store, jam, "play")
    assert len(list(history.follow(store, jam.id, action="play", idle_seconds=0))) == 3
    assert len(list(history.follow(store, jam.id, action="play", success=False, idle_seconds=0))) == 1


def test_a_history_follower_skips_other_sessions_and_rollbacks(store: Store, other: Store, jam: Session) -> None:
    append(other, make(other, SessionFactory), "elsewhere")
    with pytest.raises(ZeroDivisionError), other.begin() as uow:
        history.append(uow, jam.id, "undone")
        raise ZeroDivisionError
    append(other, jam, "here")
    assert names(list(history.follow(store, jam.id, idle_seconds=SOON))) == ["here"]


def test_a_history_follower_gives_firings(store: Store, other: Store, jam: Session) -> None:
    make(store, RuleFactory, session_id=jam.id)
    followed = history.follow(store, jam.id, idle_seconds=10 * SOON)
    append(other, jam, "before")
    assert next(followed).action == "before"
    other.run(rules.fire, jam.id, signals.BeatTick(beat=0))
    assert next(followed).action == rules.FIRED
    followed.close()  # type: ignore[attr-defined]


def test_an_idle_history_follower_does_not_read_history(store: Store, jam: Session) -> None:
    append(store, jam, "1")
    with recorded_statements(store) as sent:
        assert len(list(history.follow(store, jam.id, idle_seconds=2 * SOON))) == 1
    assert len([statement for statement in sent if "FROM history" in statement]) == 1


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_idle_history_follower_sleeps(store: Store, jam: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    ask = following._FileWatch._read_version

    def count(watch: following._FileWatch) -> int:
        asked.append(None)
        return ask(watch)

    monkeypatch.setattr(following._FileWatch, "_read_version", count)
    list(history.follow(store, jam.id, idle_seconds=2 * SOON))
    assert len(asked) < 60


@needs_postgres
@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_history_follower_finds_an_unannounced_entry_after_a_while(
    store: Store, jam: Session, on_server: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when something on its way drops the listening connection and tells nobody."""
    monkeypatch.setattr(following, "_LONGEST_SILENCE_SECONDS", SOON)
    followed = history.follow(store, jam.id, idle_seconds=20)
    append(store, jam, "told")
    assert next(followed).action == "told"
    on_server.execute(
        "INSERT INTO history (session_id, action, success, created_at) VALUES (%s, 'untold', true, now())", [jam.id]
    )
    assert next(followed).action == "untold"
    followed.close()  # type: ignore[attr-defined]


def test_a_history_follower_holds_no_transaction_open(store: Store, other: Store, jam: Session) -> None:
    append(store, jam, "1")
    followed = history.follow(store, jam.id)
    next(followed)
    threading.Timer(SOON, append, [other, jam, "2"]).start()
    assert next(followed).action == "2"
    if store.backend == "sqlite":
        with closing(other._engines.write.raw_connection()) as connection:
            busy = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0
    else:
        states = sa.text(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%in tr%'"
        )
        with other._engines.write.connect() as connection:
            assert connection.execute(states.execution_options(autocommit=True)).all() == []
    followed.close()  # type: ignore[attr-defined]


# --- what goes wrong -------------------------------------------------------------------------------------------


def test_following_history_of_a_missing_session_is_not_found(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        next(history.follow(lasting_store, "nowhere"))


def test_a_history_follower_ends_when_its_session_is_deleted(store: Store, other: Store, jam: Session) -> None:
    append(store, jam, "1")
    followed = history.follow(store, jam.id)
    next(followed)
    other.run(sessions.delete, jam.id)
    with pytest.raises(NotFound):
        next(followed)


@pytest.mark.parametrize("after", [-1, 1.5, True, "", "not a cursor", b"1", 2**63])
def test_a_history_follower_refuses_an_invalid_place(lasting_store: Store, lasting_jam: Session, after: Any) -> None:
    with pytest.raises(InvalidInput):
        next(history.follow(lasting_store, lasting_jam.id, after=after))


def test_following_history_after_a_cursor_of_another_listing_is_refused(store: Store, jam: Session) -> None:
    append(store, jam, "1", "2")
    newest_first = store.query(history.page, jam.id, limit=1).next_cursor
    with pytest.raises(InvalidInput, match="cursor"):
        next(history.follow(store, jam.id, after=newest_first))


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", True])
def test_a_history_follower_refuses_a_bad_idle_time(lasting_store: Store, lasting_jam: Session, seconds: Any) -> None:
    with pytest.raises(InvalidInput, match="idle_seconds"):
        next(history.follow(lasting_store, lasting_jam.id, idle_seconds=seconds))


@pytest.mark.parametrize("drive", ["sync"])
def test_closing_the_store_ends_a_history_follower(store: Store, jam: Session) -> None:
    threading.Timer(SOON, store.close).start()
    with pytest.raises(StoreUnavailable, match="closed"):
        next(history.follow(store, jam.id))


@pytest.mark.parametrize("drive", ["sync"])
def test_closing_the_store_releases_the_resources_of_a_follower(store: Store, jam: Session) -> None:
    append(store, jam, "1")
    followed = history.follow(store, jam.id)
    next(followed)
    store.close()
    if store.backend == "sqlite":  # SQLite removes it with the last connection
        assert not store._target.file.with_name("store.db-wal").exists()
    with pytest.raises(StoreUnavailable):
        next(followed)


_CLOSED_BY_A_SIGNAL = """
import os, signal, sys, threading
from vibeweaver_store import Store, StoreUnavailable, history
store = Store.open(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: store.close())
threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
try:
    next(history.follow(store, sys.argv[2]))
except StoreUnavailable as error:
    print(error)
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("drive", ["sync"])
def test_a_signal_handler_may_close_a_followed_store(store: Store, jam: Session, database: str) -> None:
    command = [sys.executable, "-W", "error", "-c", _CLOSED_BY_A_SIGNAL, database, jam.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "closed" in done.stdout


async def test_closing_an_async_store_ends_its_followers(database: str) -> None:
    others = workers()
    store = await AsyncStore.open(database)
    jam = await store.run(sessions.create, name="jam")
    await store.run(history.append, jam.id, "1")
    suspended = history.follow(store, jam.id)
    await anext(suspended)

    async def follow() -> None:
        async for _ in history.follow(store, jam.id):
            pass

    following_ = asyncio.create_task(follow())
    await asyncio.sleep(SOON)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await following_
    with pytest.raises(StoreUnavailable):
        await anext(suspended)
    async with asyncio.timeout(30):
        while workers() > others:
            await asyncio.sleep(0.01)


# --- tasks, processes, servers ---------------------------------------------------------------------------------


async def test_a_cancelled_task_that_follows_history_leaves_nothing_behind(database: str) -> None:
    others = workers() if "://" not in database else 0
    async with await AsyncStore.open(database) as store:
        jam = await store.run(sessions.create, name="jam")

        async def follow() -> None:
            async for _ in history.follow(store, jam.id):
                pass

        followers = [asyncio.create_task(follow()) for _ in range(5)]
        async with asyncio.timeout(30):  # until each has read what there is, and waits
            while listening(store) - others != 5:
                await asyncio.sleep(0.01)
        assert not any(task.done() for task in followers)
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        assert all(task.cancelled() for task in followers)
        async with asyncio.timeout(30):
            while listening(store) > others:
                await asyncio.sleep(0.01)


def workers() -> int:
    """How many threads aiosqlite has, one a connection."""
    return len([each for each in threading.enumerate() if "connection_worker" in each.name])


_CONNECTIONS = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> :ours"
)


def listening(store: AsyncStore) -> int:
    """How many connections there are besides those in the store's pools."""
    engines = store._engines
    pooled = sum(engine.pool.checkedin() for engine in engines.distinct())  # type: ignore[attr-defined]
    pooled += engines.writers.idle + engines.readers.idle
    if store.backend == "sqlite":
        return workers() - pooled
    with Store.open(store._target.url) as other, other.read() as uow:
        there: int = uow.execute(_CONNECTIONS, {"ours": OURSELVES}).scalar_one()
    return there - 1 - pooled


async def test_many_tasks_follow_history_while_others_append(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        jam = await store.run(sessions.create, name="jam")

        async def follow() -> list[str]:
            return [entry.action async for entry in history.follow(store, jam.id, idle_seconds=2 * SOON)]

        followers = [asyncio.create_task(follow()) for _ in range(8)]
        for number in range(20):
            await store.run(history.append, jam.id, f"{number}")
        assert await asyncio.gather(*followers) == [[str(number) for number in range(20)]] * 8


_APPEND = """
if number % 3:
    store.run(history.append, session_id, f"{process} {number}")
else:
    with store.begin() as uow:
        history.append(uow, session_id, f"{process} {number}")
        history.append(uow, session_id, f"{process} {number} again")
"""


@pytest.fixture
def writers(database: str, jam: Session, processes: Processes) -> Iterator[Together]:
    """Four processes that append to the session when they are told to begin."""
    with together(_APPEND, database, jam.id, count=60) as started:
        yield started


def test_a_history_follower_gives_entries_of_several_processes_exactly_once(
    store: Store, jam: Session, writers: Together
) -> None:
    writers.begin()
    followed = history.follow(store, jam.id, idle_seconds=60)
    met = list(islice(followed, 4 * (60 + 20)))
    followed.close()  # type: ignore[attr-defined]
    keys = [entry.id for entry in met if entry.id is not None]
    assert keys == sorted(set(keys))
    assert len(met) == 4 * (60 + 20)
    assert store.query(history.count, jam.id) == len(met)


_FORKED = """
import os, sys
from vibeweaver_store import Store, StoreUnavailable, history
store = Store.open(sys.argv[1])
followed = history.follow(store, sys.argv[2])
assert next(followed).action == "1"
child = os.fork()
if child == 0:
    try:
        try:
            next(followed)
        except StoreUnavailable as error:
            assert "parent process" in str(error)
        else:
            raise AssertionError("the child followed on its parent's connection")
        followed.close()
        store.run(history.append, sys.argv[2], "of the child")
        assert len(store.query(history.recent, sys.argv[2])) == 2
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
assert next(followed).action == "of the child"
assert os.waitpid(child, 0)[1] == 0
store.run(history.append, sys.argv[2], "after")
assert next(followed).action == "after"
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("drive", ["sync"])
def test_a_fork_while_following_history_harms_neither_process(store: Store, jam: Session, database: str) -> None:
    append(store, jam, "1")
    command = [sys.executable, "-W", "ignore", "-c", _FORKED, database, jam.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert names(store.query(history.recent, jam.id)) == ["after", "of the child", "1"]


@pytest.fixture
def on_server(store: Store, postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own to the store's database."""
    url = store._target.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@needs_postgres
@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_history_follower_survives_a_dropped_listening_connection(
    store: Store, other: Store, jam: Session, on_server: psycopg.Connection[Any]
) -> None:
    append(other, jam, "1")
    followed = history.follow(store, jam.id)
    assert next(followed).action == "1"
    for number in range(3):
        dropped = on_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query ~ 'advisory_lock' AND pid <> pg_backend_pid()"
        )
        assert dropped.rowcount >= 1
        append(other, jam, f"{number}")
        assert next(followed).action == str(number)
    followed.close()  # type: ignore[attr-defined]


@needs_postgres
@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("drive", ["sync"])  # what watches is the store's own, which an AsyncStore does not hand out
def test_a_watch_looks_again_once_the_server_has_dropped_the_connection(
    store: Store, on_server: psycopg.Connection[Any]
) -> None:
    def drop_and_wait(watch: following.Watch) -> bool:
        on_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query ~ 'advisory_lock' AND pid <> pg_backend_pid()"
        )
        return watch.wait(5)

    with closing(store.watch("jobs")) as watch:
        assert drop_and_wait(watch)
        assert not watch.wait(0)
        assert drop_and_wait(watch)


@needs_postgres
@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_session_without_followers_announces_no_write(
    store: Store, other: Store, jam: Session, on_server: psycopg.Connection[Any]
) -> None:
    """NOTIFY has every transaction of the server commit in turn."""
    on_server.execute(f"LISTEN {_channel(sessions.topic(jam.id))}")
    append(other, jam, "1")
    assert list(on_server.notifies(timeout=SOON)) == []
    followed = history.follow(store, jam.id)
    assert next(followed).action == "1"
    append(other, jam, "2")
    assert len(list(on_server.notifies(timeout=SOON))) == 1
    followed.close()  # type: ignore[attr-defined]
