"""Units of work: who may write, who commits, and what an error leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.driven import DRIVES
from tests.spawning import Processes
from vibeweaver_store import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    Settings,
    Store,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    UnitOfWork,
    history,
    sessions,
)
from vibeweaver_store.kept import KeptConnection
from vibeweaver_store.models import HistoryEntry, Session
from vibeweaver_store.opened import pauses
from vibeweaver_store.testing import HistoryEntryFactory, SessionFactory, SettableClock
from vibeweaver_store.unit_of_work import ReadUnitOfWork


class BoomError(Exception):
    pass


@pytest.fixture(params=DRIVES)
def drive(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_unit_of_work_commits_when_its_block_ends(store: Store, other: Store) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="late set")
        assert other.query(sessions.find, jam.id) is None

    assert other.query(sessions.get, jam.id).name == "late set"


@pytest.mark.parametrize("error", [BoomError, KeyboardInterrupt, GeneratorExit])
def test_a_unit_of_work_rolls_back_and_reraises_when_its_block_raises(
    store: Store, other: Store, error: type[BaseException]
) -> None:
    with pytest.raises(error), store.begin() as uow:
        jam = sessions.create(uow, name="late set")
        raise error

    assert other.query(sessions.find, jam.id) is None


def test_rows_of_a_unit_of_work_are_readable_after_it_ended(store: Store) -> None:
    jam = store.run(sessions.create, name="late set", vibe="dub")

    assert (jam.name, jam.vibe, jam.tempo_bpm) == ("late set", "dub", 120.0)


def test_a_row_read_again_shows_changes_made_by_statements(store: Store) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="before")
        uow.exec(sa.update(Session).values(name="after").execution_options(synchronize_session=False))

        assert sessions.get(uow, jam.id).name == "after"


def test_a_reading_unit_of_work_refuses_a_statement_that_writes(store: Store, other: Store) -> None:
    jam = store.run(sessions.create, name="late set")

    with pytest.raises(InvalidInput, match="only reads"), store.read() as uow:
        uow.exec(sa.delete(Session))

    assert other.query(sessions.get, jam.id) == jam


def test_a_reading_unit_of_work_refuses_an_added_row(store: Store, other: Store) -> None:
    with pytest.raises(InvalidInput, match="only reads"), store.read() as uow:
        uow.add(SessionFactory.build())

    assert other.query(sessions.page).items == []


def test_a_reading_unit_of_work_refuses_a_service_that_writes(store: Store) -> None:
    with pytest.raises(InvalidInput, match="only reads"):
        store.query(sessions.create, name="jam")  # type: ignore[arg-type]


def test_query_refuses_an_operation_that_writes(store: Store) -> None:
    def write(uow: ReadUnitOfWork) -> None:
        uow.exec(sa.delete(Session))

    with pytest.raises(InvalidInput, match="only reads"):
        store.query(write)


def test_a_reading_unit_of_work_sees_one_snapshot(store: Store, other: Store) -> None:
    with store.read() as uow:
        assert sessions.page(uow).items == []
        other.run(sessions.create, name="meanwhile")

        assert sessions.page(uow).items == []

    assert len(store.query(sessions.page).items) == 1


def test_a_savepoint_rolls_back_only_its_block(store: Store, other: Store) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="kept")
        with pytest.raises(BoomError), uow.savepoint():
            sessions.create(uow, name="lost")
            sessions.update(uow, jam.id, name="lost too")
            raise BoomError

    assert [each.name for each in other.query(sessions.page).items] == ["kept"]


def test_savepoints_nest(store: Store, other: Store) -> None:
    with store.begin() as uow, uow.savepoint():
        sessions.create(uow, name="outer")
        with pytest.raises(BoomError), uow.savepoint():
            sessions.create(uow, name="inner")
            raise BoomError

    assert [each.name for each in other.query(sessions.page).items] == ["outer"]


def test_rows_touched_by_a_savepoint_are_readable_after_the_unit_of_work(store: Store) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="kept")
        with pytest.raises(BoomError), uow.savepoint():
            jam.name = "edited"
            uow.flush()
            raise BoomError

    assert jam.name == "kept"


def test_a_failed_insert_in_a_savepoint_leaves_the_unit_of_work_usable(store: Store, other: Store) -> None:
    taken = store.run(sessions.create, name="first").id
    with store.begin() as uow:
        with pytest.raises(AlreadyExists), uow.savepoint():
            SessionFactory.create(uow=uow, id=taken)
        second = SessionFactory.create(uow=uow)

    assert {jam.id for jam in other.query(sessions.page).items} == {taken, second.id}


def test_a_swallowed_failed_insert_does_not_commit_half(store: Store, other: Store) -> None:
    taken = store.run(sessions.create, name="first").id
    with pytest.raises(StoreError, match="savepoint"), store.begin() as uow:
        sessions.create(uow, name="second")
        with pytest.raises(AlreadyExists):
            SessionFactory.create(uow=uow, id=taken)

    assert [jam.name for jam in other.query(sessions.page).items] == ["first"]


def test_a_rolled_back_unit_of_work_says_so_when_used_again(store: Store) -> None:
    taken = store.run(sessions.create, name="first").id
    with pytest.raises(StoreError, match="undid it"), store.begin() as uow:
        with pytest.raises(AlreadyExists):
            SessionFactory.create(uow=uow, id=taken)
        with pytest.raises(StoreError, match="savepoint"):
            sessions.get(uow, taken)


def test_an_error_before_any_write_leaves_the_unit_of_work_usable(store: Store, other: Store) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="kept")
        with pytest.raises(NotFound):
            history.append(uow, "no such session", "play")
        with pytest.raises(AlreadyExists):
            sessions.create(uow, name="again", session_id=jam.id)
        with pytest.raises(InvalidInput):
            sessions.update(uow, jam.id, name="")

    assert other.query(sessions.get, jam.id).name == "kept"


@pytest.mark.parametrize("method", ["commit", "rollback"])
def test_a_service_can_neither_commit_nor_roll_back(store: Store, method: str) -> None:
    with pytest.raises(StoreError, match="block"), store.begin() as uow:
        getattr(uow, method)()


def test_now_of_a_unit_of_work_is_one_instant(store: Store, clock: SettableClock) -> None:
    with store.begin() as uow:
        first = uow.now()
        clock.advance(seconds=5)

        assert uow.now() == first

    with store.begin() as uow:
        assert uow.now() == first + timedelta(seconds=5)


def test_now_of_a_unit_of_work_is_in_utc_whatever_the_zone_of_the_clock(database: str) -> None:
    there = datetime(2026, 6, 1, 2, 0, tzinfo=timezone(timedelta(hours=9)))

    with Store.open(database, clock=lambda: there) as store, store.read() as uow:
        assert (uow.now(), uow.now().tzinfo) == (there, UTC)


def test_a_naive_clock_is_refused(database: str) -> None:
    naive = datetime(2026, 6, 1)  # noqa: DTZ001 - the point of the test

    with Store.open(database, clock=lambda: naive) as store, pytest.raises(InvalidInput, match="time zone"):
        store.run(sessions.create, name="jam")


def test_an_edit_of_a_row_is_written_when_the_block_ends(store: Store, other: Store) -> None:
    jam = store.run(sessions.create, name="before")
    with store.begin() as uow:
        sessions.get(uow, jam.id).name = "after"

    assert other.query(sessions.get, jam.id).name == "after"


def test_a_row_that_violates_a_check_is_invalid_input(store: Store, other: Store) -> None:
    jam = store.run(sessions.create, name="jam")

    with pytest.raises(InvalidInput, match="sessions_tempo_bpm"), store.begin() as uow:
        uow.execute(sa.update(Session).where(col(Session.id) == jam.id).values(tempo_bpm=5000.0))

    assert other.query(sessions.get, jam.id) == jam


def test_a_table_refuses_a_value_of_a_wrong_type(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")

    with pytest.raises(InvalidInput), store.begin() as uow:
        sessions.get(uow, jam.id).tempo_bpm = "fast"  # type: ignore[assignment]


def test_a_value_that_a_strict_table_refuses_is_invalid_input(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        store.run(sessions.create, name="jam")
        with pytest.raises(InvalidInput, match="cannot store BLOB value in TEXT column"), store.begin() as uow:
            uow.execute(sa.text("UPDATE sessions SET vibe = x'01'"))


def test_a_row_without_its_parent_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        uow.insert(HistoryEntryFactory.build(session_id="no such session"))


def test_a_second_unit_of_work_in_one_thread_is_refused_at_once(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, Store.open(sqlite_path) as again, store.begin():
        for one in (store, again):
            started = time.monotonic()
            with pytest.raises(StoreBusy, match="savepoint"), one.begin():
                pass
            assert time.monotonic() - started < 5


def test_a_thread_that_waits_too_long_for_the_write_turn_is_told_how_long(
    sqlite_path: Path, impatient: Settings
) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.begin():
            held.set()
            done.wait(10)

    with Store.open(sqlite_path, settings=impatient) as store:
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        with pytest.raises(StoreBusy) as caught:
            store.run(sessions.create, name="jam")
        done.set()
        thread.join()

    assert caught.value.waited >= 0.2


_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_write_blocked_by_another_process_is_store_busy_with_the_wait(
    processes: Processes, sqlite_path: Path, impatient: Settings
) -> None:
    holder = processes.start(_HOLD, sqlite_path)
    assert holder.read_line() == "held"
    with Store.open(sqlite_path, settings=impatient) as store, pytest.raises(StoreBusy) as caught:
        store.run(sessions.create, name="jam")
    holder.finish()

    assert caught.value.waited >= 0.2


def test_reading_units_of_work_do_not_wait_for_a_writer(store: Store) -> None:
    with store.begin() as uow:
        sessions.create(uow, name="jam")

        assert store.query(sessions.page).items == []


def test_threads_get_the_write_turn_in_the_order_they_asked(sqlite_path: Path) -> None:
    order: list[int] = []
    threads = []

    def write(n: int) -> None:
        with store.begin():
            order.append(n)

    with Store.open(sqlite_path) as store:
        with store.begin():
            for n in range(20):
                threads.append(threading.Thread(target=write, args=(n,)))
                threads[-1].start()
                while len(store._queue._waiting) <= n:  # type: ignore[union-attr]  # SQLite has a queue
                    time.sleep(0.001)
        for thread in threads:
            thread.join()

    assert order == list(range(20))


def test_an_open_unit_of_work_is_rolled_back_when_its_block_is_dropped(store: Store, other: Store) -> None:
    context = store.begin()
    sessions.create(context.__enter__(), name="forgotten")
    del context

    assert other.query(sessions.page).items == []
    assert store.run(sessions.create, name="next").name == "next"


def test_an_operation_that_fails_transiently_is_run_again(store: Store, other: Store) -> None:
    attempts: list[int] = []

    def stumble(uow: UnitOfWork) -> Session:
        attempts.append(len(attempts))
        jam = sessions.create(uow, name=f"attempt {len(attempts)}")
        if len(attempts) < 3:
            raise StoreBusy("a deadlock", transient=True)
        return jam

    assert store.run(stumble).name == "attempt 3"
    assert [jam.name for jam in other.query(sessions.page).items] == ["attempt 3"]


def test_an_operation_with_a_used_up_iterator_is_not_run_again(store: Store) -> None:
    attempts: list[list[str]] = []

    def stumble(uow: UnitOfWork, names: Iterable[str]) -> None:
        attempts.append(list(names))
        raise StoreBusy("a deadlock", transient=True)

    with pytest.raises(StoreBusy):
        store.run(stumble, iter(["a", "b"]))
    with pytest.raises(StoreBusy):
        store.run(stumble, names=(name for name in "ab"))

    assert attempts == [["a", "b"]] * 2


def test_a_transient_failure_is_run_again_only_a_limited_number_of_times(store: Store) -> None:
    attempts: list[int] = []

    def fail(uow: ReadUnitOfWork) -> None:
        attempts.append(1)
        raise StoreBusy("a deadlock", transient=True)

    with pytest.raises(StoreBusy):
        store.query(fail)

    assert len(attempts) == 1 + Settings().retries


def test_a_permanent_failure_is_not_run_again(store: Store) -> None:
    attempts: list[int] = []

    def fail(uow: UnitOfWork) -> None:
        attempts.append(1)
        raise NotFound("session", "x")

    with pytest.raises(NotFound):
        store.run(fail)

    assert len(attempts) == 1


def test_a_commit_that_lost_the_connection_is_not_run_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the commit took is not known: the operation might be done twice."""
    attempts: list[int] = []

    def lose_the_connection(_kept: KeptConnection) -> None:
        raise StoreUnavailable("the connection was lost", transient=True)

    monkeypatch.setattr(KeptConnection, "commit", lose_the_connection)
    with pytest.raises(StoreUnavailable):
        store.run(lambda _uow: attempts.append(1))

    assert len(attempts) == 1


def test_operations_that_failed_together_are_not_run_again_together() -> None:
    waits = [list(pauses(9, [])) for _ in range(20)]

    assert len({tuple(each) for each in waits}) == 20
    assert all(0 <= pause <= min(0.01 * 2**number, 1.0) for each in waits for number, pause in enumerate(each))


def test_a_store_error_has_the_driver_exception_as_its_cause(store: Store) -> None:
    with pytest.raises(InvalidInput) as caught, store.begin() as uow:
        uow.exec(select(HistoryEntry).where(col(HistoryEntry.id) == 2**70)).all()

    assert caught.value.__cause__ is not None


def test_a_unit_of_work_on_a_full_disk_rolls_back_even_if_the_error_is_swallowed(
    sqlite_path: Path,
) -> None:
    with Store.open(sqlite_path) as store:
        jam = store.run(sessions.create, name="kept")
        with pytest.raises(StoreError, match="undid it"), store.begin() as uow:
            sessions.update(uow, jam.id, name="half done")
            pages = uow.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
            uow.connection().exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StoreUnavailable, match="disk is full"):
                history.append(uow, jam.id, "record", params="x" * 1_000_000)
            history.append(uow, jam.id, "would commit by itself")

        assert store.query(sessions.get, jam.id).name == "kept"
        assert store.query(history.count, jam.id) == 0


def test_a_unit_of_work_that_the_database_rolled_back_writes_nothing_more(store: Store, other: Store) -> None:
    jam = store.run(sessions.create, name="kept")
    or_rollback = "OR ROLLBACK " if store.backend == "sqlite" else ""
    with pytest.raises(StoreError, match="undid it"), store.begin() as uow:
        sessions.update(uow, jam.id, name="half done")
        with pytest.raises(AlreadyExists):
            uow.connection().exec_driver_sql(f"INSERT {or_rollback}INTO sessions SELECT * FROM sessions")
        history.append(uow, jam.id, "would commit by itself")

    assert other.query(sessions.get, jam.id).name == "kept"
    assert other.query(history.count, jam.id) == 0


def test_an_edit_of_a_deleted_row_is_a_typed_error(store: Store) -> None:
    jam = store.run(sessions.create, name="jam")

    with pytest.raises(StoreError, match="failed"), store.begin() as uow:
        found = sessions.get(uow, jam.id)
        uow.exec(sa.delete(Session).execution_options(synchronize_session=False))
        found.name = "edited"


# --- used in ways it is not meant for --------------------------------------------------------------------------

AFTER_THE_END: dict[str, Callable[[UnitOfWork], object]] = {
    "a service that writes": lambda uow: sessions.create(uow, name="ghost"),
    "a service that reads": sessions.page,
    "a row that is added": lambda uow: uow.insert(SessionFactory.build()),
    "a savepoint": lambda uow: uow.savepoint().__enter__(),
    "a connection": lambda uow: uow.connection(),
    "scalars": lambda uow: uow.scalars(sa.select(Session)),
    "get": lambda uow: uow.get(Session, "x"),
    "flush": lambda uow: uow.flush(),
    "refresh": lambda uow: uow.refresh(SessionFactory.build()),
}


@pytest.mark.parametrize("use", AFTER_THE_END.values(), ids=AFTER_THE_END)
def test_an_ended_unit_of_work_refuses_all_use_and_blocks_no_other(
    store: Store, other: Store, use: Callable[[UnitOfWork], object]
) -> None:
    with store.begin() as uow:
        pass

    with pytest.raises(StoreError, match="has ended"):
        use(uow)

    assert other.run(sessions.create, name="next").name == "next"
    assert len(store.query(sessions.page).items) == 1


@pytest.mark.parametrize("method", ["close", "reset", "invalidate", "begin", "begin_nested"])
def test_code_in_a_unit_of_work_cannot_end_it(store: Store, other: Store, method: str) -> None:
    with store.begin() as uow:
        sessions.create(uow, name="kept")
        with pytest.raises(StoreError, match="savepoint"):
            getattr(uow, method)()

    assert len(other.query(sessions.page).items) == 1


def test_a_swallowed_failed_statement_does_not_commit_half_on_either_backend(store: Store, other: Store) -> None:
    taken = store.run(sessions.create, name="first")
    with pytest.raises(StoreError, match="undid it"), store.begin() as uow:
        sessions.create(uow, name="second")
        with pytest.raises(AlreadyExists):
            uow.exec(sa.insert(Session).values(taken.model_dump()))

    assert [jam.name for jam in other.query(sessions.page).items] == ["first"]


def test_an_error_swallowed_within_a_savepoint_rolls_back_only_the_savepoint(store: Store, other: Store) -> None:
    taken = store.run(sessions.create, name="first").id
    with store.begin() as uow:
        sessions.create(uow, name="second")
        with pytest.raises(StoreError, match="undid it"), uow.savepoint():
            sessions.create(uow, name="lost")
            with pytest.raises(AlreadyExists):
                SessionFactory.create(uow=uow, id=taken)
        sessions.create(uow, name="third")

    assert {jam.name for jam in other.query(sessions.page).items} == {"first", "second", "third"}


def test_a_thread_that_died_in_a_unit_of_work_is_not_taken_for_another(sqlite_path: Path, impatient: Settings) -> None:
    left: list[object] = []

    def leave() -> None:
        context = store.begin()
        left.append((context, context.__enter__()))

    told: list[str] = []

    def ask() -> None:
        try:
            store.run(sessions.create, name="jam")
        except StoreBusy as busy:
            told.append(str(busy))

    with Store.open(sqlite_path, settings=impatient) as store:
        for work in (leave, ask):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        left.clear()

    assert len(told) == 1
    assert "other threads" in told[0]


@pytest.mark.parametrize("method", ["execute", "exec", "scalar", "scalars"])
def test_a_failed_statement_rolls_the_unit_of_work_back_by_any_method(store: Store, other: Store, method: str) -> None:
    with pytest.raises(StoreError, match="undid it"), store.begin() as uow:
        sessions.create(uow, name="lost")
        with pytest.raises(StoreError):
            getattr(uow, method)(sa.text("SELECT nonsense"))

    assert other.query(sessions.page).items == []


def test_a_row_is_readable_after_a_failed_statement_in_a_savepoint(store: Store) -> None:
    taken = store.run(sessions.create, name="jam")
    with store.begin() as uow:
        found = sessions.get(uow, taken.id)
        with pytest.raises(AlreadyExists), uow.savepoint():
            found.name = "edited"
            uow.flush()
            uow.exec(sa.insert(Session).values(taken.model_dump()))

    assert found.name == "jam"


@pytest.mark.parametrize("drive", ["sync"])  # an event loop cancels its task instead
def test_ctrl_c_amid_a_statement_is_reraised_and_leaves_no_lock(store: Store, other: Store) -> None:
    calls: list[int] = []

    def slow(uow: UnitOfWork) -> None:
        calls.append(1)
        sessions.create(uow, name="lost")
        rows = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000000) SELECT sum(x) FROM n"
        for _ in range(100):
            uow.execute(sa.text(rows)).all()

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt) as interrupted:
            store.run(slow)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert len(calls) == 1
    assert interrupted.value is not None  # it is held here, with all that its traceback holds
    assert other.run(sessions.create, name="next").name == "next"
    assert [jam.name for jam in store.query(sessions.page).items] == ["next"]


@pytest.mark.parametrize("begin", ["begin", "read"])
def test_the_block_of_a_unit_of_work_is_entered_once(database: str, begin: str) -> None:
    with Store.open(database) as store:
        block = getattr(store, begin)()
        with block:
            with pytest.raises(StoreError, match="before"):
                block.__enter__()
            assert store.query(sessions.page).items == []
        with pytest.raises(StoreError, match="before"):
            block.__enter__()

        assert store.run(sessions.create, name="next").name == "next"
