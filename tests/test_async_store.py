"""What an AsyncStore promises of its own: a free event loop, cancellation, closing. The rest its Store's tests show."""

from __future__ import annotations

import asyncio
import functools
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import filelock
import pytest
import sqlalchemy as sa
from sqlalchemy.util.concurrency import await_

from tests.conftest import recorded_statements
from tests.spawning import Processes
from vibeweaver_store import (
    AsyncStore,
    AsyncUnitOfWork,
    InvalidInput,
    ReadUnitOfWork,
    Session,
    Settings,
    Store,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    UnitOfWork,
    history,
    schema,
    sessions,
)
from vibeweaver_store.async_store import turn
from vibeweaver_store.async_unit_of_work import in_greenlet
from vibeweaver_store.locks import FORK_GATE, WriterQueue
from vibeweaver_store.testing import SettableClock


def count(store: AsyncStore | Store) -> int:
    """How many sessions there are, seen by a store of the other kind."""
    with Store.open(store.place if store.backend == "sqlite" else store._target.url) as other:
        return len(list(other.iterate(sessions.page)))


def linger(uow: ReadUnitOfWork) -> object:
    """A statement that runs for longer than any test."""
    if uow.backend == "postgresql":
        return uow.execute(sa.text("SELECT pg_sleep(600)")).all()
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    return uow.execute(sa.text(endless)).all()


def pause(uow: ReadUnitOfWork) -> None:
    """A statement that takes a moment, in which other tasks go on."""
    if uow.backend == "postgresql":
        uow.execute(sa.text("SELECT pg_sleep(0.1)"))
    else:
        numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500000)"
        uow.execute(sa.text(f"{numbers} SELECT count(*) FROM n"))


def checked_out(store: AsyncStore) -> int:
    return store._engines.in_use()


def workers() -> int:
    """How many threads aiosqlite has, one a connection."""
    return len([each for each in threading.enumerate() if "connection_worker" in each.name])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


# --- opening ---------------------------------------------------------------------------------------------------


async def test_opening_an_async_store_makes_and_migrates_a_fresh_database(empty_database: str) -> None:
    async with await AsyncStore.open(empty_database, migrate=True) as store:
        jam = await store.run(sessions.create, name="jam")
        assert await store.query(sessions.get, jam.id) == jam

    assert schema.current(empty_database) == schema.head()


async def test_opening_an_async_store_does_not_block_other_tasks(tmp_path: Path) -> None:
    lock = filelock.FileLock(tmp_path / "a.db.lock")
    lock.acquire()
    opening = asyncio.create_task(AsyncStore.open(tmp_path / "a.db"))
    await asyncio.sleep(0.1)  # it waits for another that migrates
    assert not opening.done()
    lock.release()

    await (await opening).close()


async def test_opening_an_async_store_migrates_an_older_file(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        store.run(sessions.create, name="jam")
    schema.downgrade(sqlite_path, "0001")
    async with await AsyncStore.open(sqlite_path) as astore:
        assert [session.name for session in (await astore.query(sessions.page)).items] == ["jam"]

    assert schema.current(sqlite_path) == schema.head()


async def test_an_async_store_notices_a_wal_deleted_under_it(sqlite_path: Path) -> None:
    async with await AsyncStore.open(sqlite_path) as store:
        await store.run(sessions.create, name="jam")
        sqlite_path.with_name("store.db-wal").unlink()
        with pytest.raises(StoreUnavailable, match="-wal file was deleted"):
            await store.run(sessions.create, name="lost")


async def test_opening_an_async_store_fails_with_the_errors_of_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="folder"):
        await AsyncStore.open(tmp_path)
    with pytest.raises(InvalidInput):
        await AsyncStore.open(" ")


async def test_an_in_memory_async_store_is_gone_when_it_is_closed() -> None:
    async with await AsyncStore.open(":memory:") as store:
        folder = store._target.file.parent
        await store.run(sessions.create, name="jam")
        assert len((await store.query(sessions.page)).items) == 1

    assert not folder.exists()


_WITHOUT = """
import asyncio, sys
sys.modules[{module!r}] = None
from vibeweaver_store import AsyncStore, Store, StoreUnavailable, sessions
Store.open(sys.argv[1]).run(sessions.create, name="jam")
try:
    asyncio.run(AsyncStore.open(sys.argv[1]))
except StoreUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize("module", ["aiosqlite", "greenlet"])
def test_an_async_store_without_its_drivers_says_what_to_install(
    processes: Processes, tmp_path: Path, module: str
) -> None:
    script = _WITHOUT.format(module=module)
    written = processes.execute(sys.executable, "-c", script, tmp_path / "a.db").finish()

    assert module in written
    assert "pip install 'vibeweaver-store[async]'" in written


# --- units of work ---------------------------------------------------------------------------------------------


async def test_the_block_of_an_async_unit_of_work_is_one_transaction(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        async with store.begin() as uow:
            await uow.run(sessions.create, name="kept")
            assert count(store) == 0
        with pytest.raises(ZeroDivisionError):
            async with store.begin() as uow:
                await uow.run(sessions.create, name="lost")
                raise ZeroDivisionError
        assert count(store) == 1


async def test_an_async_savepoint_rolls_back_only_its_block(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        async with store.begin() as uow:
            await uow.run(sessions.create, name="kept")
            with pytest.raises(ZeroDivisionError):
                async with uow.savepoint():
                    await uow.run(sessions.create, name="lost")
                    raise ZeroDivisionError
            async with uow.savepoint():
                await uow.run(sessions.create, name="kept too")
        assert count(store) == 2


async def test_an_async_writer_begins_immediate_and_a_reader_does_not(sqlite_path: Path) -> None:
    async with await AsyncStore.open(sqlite_path) as store:
        sent: list[str] = []
        for engine in store._engines.distinct():
            sa.event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: sent.append(statement))
        await store.run(sessions.create, name="jam")
        await store.query(sessions.page)

    assert [statement for statement in sent if statement.startswith("BEGIN")] == ["BEGIN IMMEDIATE", "BEGIN"]


async def test_every_connection_of_an_async_store_has_its_pragmas(sqlite_path: Path) -> None:
    def pragmas(uow: ReadUnitOfWork) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "cache_size", "query_only")
        return [uow.execute(sa.text(f"PRAGMA {name}")).scalar_one() for name in names]

    async with await AsyncStore.open(sqlite_path, settings=Settings(synchronous="FULL", cache_size=-123)) as store:
        assert await store.query(pragmas) == ["wal", 2, 1, 10_000, -123, 1]
        assert await store.run(pragmas) == ["wal", 2, 1, 10_000, -123, 0]


async def test_a_coroutine_function_is_refused_as_an_operation_by_both_stores(database: str) -> None:
    async def create(uow: UnitOfWork) -> None: ...

    def create_and_hand_on(uow: UnitOfWork) -> object:
        sessions.create(uow, name="lost")
        return create(uow)

    async with await AsyncStore.open(database) as store:
        with Store.open(database) as plain:
            for operation in (create, functools.partial(create), create_and_hand_on):
                with pytest.raises(InvalidInput, match="plain function"):
                    await store.run(operation)
                with pytest.raises(InvalidInput, match="plain function"):
                    plain.run(operation)
        assert count(store) == 0


async def test_tasks_that_share_an_async_unit_of_work_take_turns(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        async with store.begin() as uow:
            await asyncio.gather(*[uow.run(sessions.create, name=f"jam {n}") for n in range(10)])
        assert count(store) == 10


async def test_the_end_of_an_async_unit_of_work_waits_for_its_running_operation(database: str) -> None:
    def two(uow: UnitOfWork) -> None:
        sessions.create(uow, name="first")
        pause(uow)
        sessions.create(uow, name="second")

    async with await AsyncStore.open(database) as store:
        async with store.begin() as uow:
            working = asyncio.create_task(uow.run(two))
            await asyncio.sleep(0.02)
        await working
        assert count(store) == 2


async def test_savepoints_of_two_tasks_in_an_async_unit_of_work_do_not_overlap(database: str) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def first(uow: AsyncUnitOfWork) -> None:
        async with uow.savepoint():
            entered.set()
            await leave.wait()
            async with uow.savepoint():
                await uow.run(sessions.create, name="kept")

    async with await AsyncStore.open(database) as store:
        async with store.begin() as uow:
            task = asyncio.create_task(first(uow))
            await entered.wait()
            with pytest.raises(StoreError, match="another task is within a savepoint"):
                async with uow.savepoint():
                    await uow.run(sessions.create, name="never")
            leave.set()
            await task
        assert count(store) == 1


async def test_a_burst_of_async_readers_shares_a_few_connections(database: str) -> None:
    async with await AsyncStore.open(database, settings=Settings(pool_size=3)) as store:
        out = []

        def counted(uow: ReadUnitOfWork) -> None:
            sessions.page(uow)
            out.append(checked_out(store))

        await asyncio.gather(*[store.query(counted) for _ in range(200)])
    assert len(out) == 200
    assert 1 < max(out) <= 6


async def test_an_async_store_belongs_to_the_event_loop_it_was_opened_in(database: str) -> None:
    async with await AsyncStore.open(database) as store:

        def elsewhere() -> None:
            with pytest.raises(StoreUnavailable, match="another event loop"):
                asyncio.run(store.query(sessions.page))

        await asyncio.to_thread(elsewhere)


async def test_an_async_store_error_has_the_driver_exception_as_its_cause(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        with pytest.raises(StoreError) as caught:
            await store.query(lambda uow: uow.execute(sa.text("SELECT * FROM nowhere")))

    assert caught.value.__cause__ is not None


async def test_an_async_operation_that_fails_transiently_is_run_again(database: str) -> None:
    tries = 0

    def second_time_lucky(uow: UnitOfWork) -> Session:
        nonlocal tries
        tries += 1
        made = sessions.create(uow, name="jam")
        if tries == 1:
            raise StoreBusy("in passing", transient=True)
        return made

    async with await AsyncStore.open(database) as store:
        await store.run(second_time_lucky)
        assert (tries, count(store)) == (2, 1)


async def test_an_async_operation_with_a_used_up_iterator_is_not_run_again(database: str) -> None:
    attempts: list[list[str]] = []

    def stumble(uow: UnitOfWork, names: Iterable[str]) -> None:
        attempts.append(list(names))
        raise StoreBusy("in passing", transient=True)

    async with await AsyncStore.open(database) as store:
        with pytest.raises(StoreBusy):
            await store.run(stumble, iter(["a", "b"]))

    assert attempts == [["a", "b"]]


async def test_iterating_an_async_store_meets_all_rows_and_holds_no_transaction_open(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        jam = await store.run(sessions.create, name="jam")
        await store.run(history.append_many, jam.id, [history.NewEntry(f"{n}") for n in range(7)])
        met = []
        async for entry in store.iterate(history.page, jam.id, limit=2, oldest_first=True):
            assert checked_out(store) == 0
            met.append(entry.action)

    assert met == [str(n) for n in range(7)]


# --- writers in turn -------------------------------------------------------------------------------------------


async def test_tasks_and_threads_get_the_write_turn_in_the_order_they_asked(sqlite_path: Path) -> None:
    order: list[int] = []

    async def task(store: AsyncStore, number: int) -> None:
        async with store.begin():
            order.append(number)

    def thread(store: Store, number: int) -> None:
        with store.begin():
            order.append(number)

    with Store.open(sqlite_path) as store:
        async with await AsyncStore.open(sqlite_path) as astore:
            queue = astore._queue
            assert queue is not None
            async with astore.begin():
                asked: list[Awaitable[None]] = []
                for number in range(10):
                    started = task(astore, number) if number % 2 else asyncio.to_thread(thread, store, number)
                    asked.append(asyncio.create_task(started))
                    await until(lambda number=number: len(queue._waiting) > number)  # type: ignore[misc]
            await asyncio.gather(*asked)

    assert order == list(range(10))


async def test_a_second_async_unit_of_work_in_one_task_is_refused_at_once(sqlite_path: Path) -> None:
    async with await AsyncStore.open(sqlite_path) as store, store.begin():
        with pytest.raises(StoreBusy, match="task"):
            await store.run(sessions.create, name="jam")


async def test_a_task_that_waits_too_long_for_the_write_turn_is_told_how_long(
    sqlite_path: Path, impatient: Settings
) -> None:
    async with await AsyncStore.open(sqlite_path, settings=impatient) as store, store.begin():
        with pytest.raises(StoreBusy) as caught:
            await asyncio.create_task(store.run(sessions.create, name="jam"))

    assert caught.value.waited >= 0.2


async def test_an_async_store_with_a_zero_timeout_takes_a_free_write_turn(sqlite_path: Path) -> None:
    async with await AsyncStore.open(sqlite_path, settings=Settings(busy_timeout_seconds=0)) as store:
        await store.run(sessions.create, name="jam")
        assert count(store) == 1


async def test_async_readers_do_not_wait_for_a_writer(database: str) -> None:
    async with await AsyncStore.open(database) as store, store.begin() as uow:
        await uow.run(sessions.create, name="jam")
        assert (await asyncio.create_task(store.query(sessions.page))).items == []


# --- cancellation ----------------------------------------------------------------------------------------------

Block = Callable[[AsyncStore], AbstractAsyncContextManager[Any]]
BLOCKS: list[Any] = [
    pytest.param(lambda store: store.begin(), id="begin"),
    pytest.param(lambda store: store.read(), id="read"),
]


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_task_cancelled_amid_a_statement_gives_its_connection_back_and_the_turn_on(
    database: str, block: Block
) -> None:
    async with await AsyncStore.open(database) as store:
        started = asyncio.Event()

        async def work() -> None:
            async with block(store) as uow:
                started.set()
                await uow.run(linger)

        task = asyncio.create_task(work())
        await started.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert checked_out(store) == 0
        await store.run(sessions.create, name="after")
        assert count(store) == 1


async def test_a_task_cancelled_amid_an_operation_leaves_nothing_of_it(database: str) -> None:
    def create_and_linger(uow: UnitOfWork) -> None:
        sessions.create(uow, name="lost")
        linger(uow)

    async with await AsyncStore.open(database) as store:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.run(create_and_linger)
        assert count(store) == 0


async def test_a_cancelled_async_operation_is_rolled_back_though_its_block_continues(database: str) -> None:
    async def create_and_give_up(uow: AsyncUnitOfWork) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await uow.run(linger)
        await uow.run(sessions.create, name="too late")

    async with await AsyncStore.open(database) as store:
        with pytest.raises(StoreError, match="undid it"):
            async with store.begin() as uow:
                await uow.run(sessions.create, name="lost")
                await create_and_give_up(uow)
        assert count(store) == 0


async def test_a_task_cancelled_while_it_waits_for_the_write_turn_leaves_the_queue(sqlite_path: Path) -> None:
    async with await AsyncStore.open(sqlite_path) as store:
        async with store.begin():
            waiting = asyncio.create_task(store.run(sessions.create, name="never"))
            assert store._queue is not None
            await until(lambda: bool(store._queue._waiting))  # type: ignore[union-attr]
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not store._queue._waiting
        await store.run(sessions.create, name="after")


async def test_a_task_cancelled_just_as_its_write_turn_comes_is_cancelled(sqlite_path: Path) -> None:
    async with await AsyncStore.open(sqlite_path) as store:
        queue = store._queue
        assert queue is not None
        held = queue.enter(lambda: None, "somebody")
        waiting = asyncio.create_task(store.run(sessions.create, name="never"))
        await until(lambda: bool(queue._waiting))
        queue.leave(held)
        await asyncio.sleep(0)  # the turn has come, and the task has not gone on yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert count(store) == 0


async def test_an_async_unit_of_work_cancelled_at_any_moment_is_whole_or_absent(database: str) -> None:
    """Each writes two entries; who was not cancelled is there, and of those who were there are two or none."""

    async def append_two(store: AsyncStore, session_id: str, number: int) -> None:
        async with store.begin() as uow:
            await uow.run(history.append, session_id, f"{number}")
            await uow.run(history.append, session_id, f"{number}")

    chance = random.Random(7)
    async with await AsyncStore.open(database) as store:
        jam = await store.run(sessions.create, name="jam")
        tasks = [asyncio.create_task(append_two(store, jam.id, number)) for number in range(60)]
        for task in chance.sample(tasks, 40):
            await asyncio.sleep(chance.uniform(0, 0.01))
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        found = [entry.action async for entry in store.iterate(history.page, jam.id)]

        assert {type(each) for each in ended} <= {type(None), asyncio.CancelledError}
        for number, outcome in enumerate(ended):
            assert found.count(str(number)) in ({2} if outcome is None else {0, 2})
        assert checked_out(store) == 0


@pytest.mark.parametrize("amid", ["a statement", "a pause"])
async def test_a_cancelled_savepoint_leaves_the_async_unit_of_work_usable(database: str, amid: str) -> None:
    async with await AsyncStore.open(database) as store:
        async with store.begin() as uow:
            await uow.run(sessions.create, name="kept")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), uow.savepoint():
                    await uow.run(sessions.create, name="lost")
                    await (uow.run(linger) if amid == "a statement" else asyncio.sleep(600))
            await uow.run(sessions.create, name="kept too")
        assert count(store) == 2


def test_the_write_turn_of_a_task_whose_loop_was_closed_is_passed_on(sqlite_path: Path) -> None:
    queue = WriterQueue()

    async def wait() -> None:
        async with turn(queue, 60):
            raise AssertionError("its loop is gone")

    held = queue.enter(lambda: None, "somebody")
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    queue.leave(held)

    with queue.turn(5):
        pass
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
    waiting.get_coro().close()


@pytest.mark.parametrize("moment", ["commit", "rollback"])
async def test_a_task_cancelled_amid_the_end_of_its_unit_of_work_finishes_that_first(
    database: str, moment: str
) -> None:
    async with await AsyncStore.open(database) as store:
        ending = asyncio.Event()

        def dawdle(_connection: object) -> None:
            ending.set()
            await_(asyncio.sleep(0.1))

        async def work() -> None:
            async with store.begin() as uow:
                await uow.run(sessions.create, name="jam")
                if moment == "rollback":
                    raise ZeroDivisionError

        # A unit of work goes by SQLAlchemy, whose moments these are, where somebody listens to its statements.
        sa.event.listen(store._engines.write, "before_cursor_execute", lambda *_: None)
        sa.event.listen(store._engines.write, moment, dawdle)
        task = asyncio.create_task(work())
        await ending.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await task
        sa.event.remove(store._engines.write, moment, dawdle)

        assert checked_out(store) == 0
        assert count(store) == (1 if moment == "commit" else 0)
        await store.run(sessions.create, name="after")


async def test_tasks_cancelled_while_they_connect_leave_nothing_open(database: str) -> None:
    others = workers()
    chance = random.Random(3)
    async with await AsyncStore.open(database, settings=Settings(pool_size=20)) as store:
        for _ in range(10):
            tasks = [asyncio.create_task(store.query(sessions.page)) for _ in range(10)]
            await asyncio.sleep(chance.uniform(0, 0.004))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await in_greenlet(store._engines.close_idle)
        assert checked_out(store) == 0
    async with asyncio.timeout(30):
        await until(lambda: workers() <= others)
    if "://" not in database:
        assert sorted(path.name for path in Path(database).parent.iterdir()) == ["store.db"]


async def test_the_event_loop_continues_while_a_fork_keeps_a_task_waiting(tmp_path: Path, sqlite_path: Path) -> None:
    begun, finish, closed = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with FORK_GATE.passing():
            begun.set()
            finish.wait(30)

    def fork() -> None:
        FORK_GATE.close(30)
        closed.set()
        FORK_GATE.open()

    async with await AsyncStore.open(sqlite_path) as store:
        threads = [threading.Thread(target=hold), threading.Thread(target=fork)]
        threads[0].start()
        begun.wait()
        threads[1].start()
        await until(lambda: FORK_GATE._forking > 0)
        asked = asyncio.create_task(store.query(sessions.page))
        await asyncio.sleep(0.05)
        assert not asked.done()
        finish.set()  # had the loop stood still, nobody would say so
        assert (await asked).items == []
        for thread in threads:
            thread.join()


# --- closing ---------------------------------------------------------------------------------------------------


async def test_closing_an_async_store_waits_for_running_operations(database: str) -> None:
    store = await AsyncStore.open(database)
    begun, finish = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with store.begin() as uow:
            begun.set()
            await finish.wait()
            await uow.run(sessions.create, name="in time")

    working = asyncio.create_task(work())
    await begun.wait()
    waiting = asyncio.create_task(store.run(sessions.create, name="in time too"))
    await asyncio.sleep(0)
    closing_ = asyncio.create_task(store.close())
    await asyncio.sleep(0.05)
    assert not closing_.done()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.run(sessions.create, name="too late")
    finish.set()
    await asyncio.gather(working, waiting, closing_)

    assert count(store) == 2


async def test_an_async_store_cannot_be_closed_within_its_own_unit_of_work(database: str) -> None:
    async with await AsyncStore.open(database) as store, store.begin():
        with pytest.raises(StoreBusy, match="this task"):
            await store.close()


async def test_an_async_store_can_be_closed_twice(database: str) -> None:
    store = await AsyncStore.open(database)
    await store.close()
    await store.close()


async def test_closing_an_async_store_leaves_no_thread_and_no_side_file(sqlite_path: Path) -> None:
    others = workers()
    async with await AsyncStore.open(sqlite_path) as store:
        await asyncio.gather(*[store.query(sessions.page) for _ in range(20)])
        await store.run(sessions.create, name="jam")

    async with asyncio.timeout(30):
        await until(lambda: workers() <= others)
    assert [path.name for path in sqlite_path.parent.iterdir() if path.name.endswith(("-wal", "-shm"))] == []


_LEFT_OPEN = """
import asyncio, sys
from vibeweaver_store import AsyncStore, sessions
async def main():
    store = await AsyncStore.open(sys.argv[1])
    await store.run(sessions.create, name="jam")
asyncio.run(main())
"""


def test_a_process_that_does_not_close_its_async_store_still_ends(processes: Processes, sqlite_path: Path) -> None:
    processes.start(_LEFT_OPEN, sqlite_path).finish()


async def test_an_async_unit_of_work_uses_the_clock_of_its_store(database: str, clock: SettableClock) -> None:
    async with await AsyncStore.open(database, clock=clock) as store:
        jam = await store.run(sessions.create, name="jam")
        assert jam.created_at == clock()


async def test_an_async_store_sends_the_statements_of_a_store(database: str) -> None:
    with Store.open(database) as store:
        jam = store.run(sessions.create, name="jam")
        with recorded_statements(store) as by_store:
            store.run(history.append, jam.id, "play")
    async with await AsyncStore.open(database) as astore:
        with recorded_statements(astore) as by_async_store:  # type: ignore[arg-type]
            await astore.run(history.append, jam.id, "play")

    assert by_async_store == by_store
