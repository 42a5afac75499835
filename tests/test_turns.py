"""Turns to write among the processes that have one file open: handed on, and never kept from anybody."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from tests.spawning import Process, Processes
from vibeweaver_store import Store, turns
from vibeweaver_store.turns import FileTurn

HOLDER = """
import sys
from vibeweaver_store.turns import FileTurn
turn = FileTurn(sys.argv[1])
print(turn.take(), flush=True)
sys.stdin.readline()
turn.leave()
print("left", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    path = tmp_path / "store.db-wal"
    path.touch()
    return path


@pytest.fixture
def holder(processes: Processes, wal: Path) -> Process:
    """Another process that has the turn; it leaves it when it is told a line."""
    process = processes.start(HOLDER, wal)
    assert process.read_line() == "True"
    return process


def comes_soon(path: Path) -> bool:
    """Whether somebody else has the turn before long."""
    turn, until = FileTurn(str(path)), time.monotonic() + 20
    while not (came := turn.take()) and time.monotonic() < until:
        time.sleep(0.01)
    return came


def test_a_turn_that_another_process_has_comes_as_that_leaves_it(holder: Process, wal: Path) -> None:
    turn = FileTurn(str(wal))
    assert not turn.take()
    threading.Timer(0.2, holder.write_line).start()
    started = time.monotonic()
    turn.wait(30)
    assert time.monotonic() - started < 20
    assert not FileTurn(str(wal)).take()
    turn.close()
    holder.kill()


def test_a_turn_goes_with_the_process_that_had_it(holder: Process, wal: Path) -> None:
    turn = FileTurn(str(wal))
    killer = threading.Timer(0.2, holder.kill)
    killer.start()
    started = time.monotonic()
    turn.wait(30)
    assert time.monotonic() - started < 20
    turn.close()
    killer.join()


def test_who_waits_too_long_for_a_turn_goes_on_and_keeps_it_from_nobody_when_it_comes(
    holder: Process, wal: Path
) -> None:
    turn = FileTurn(str(wal))
    turn.wait(0.1)
    assert not turn.take()
    holder.write_line()
    assert holder.read_line() == "left"
    assert comes_soon(wal)
    holder.kill()


def test_who_gives_up_in_another_thread_keeps_a_turn_from_nobody(holder: Process, wal: Path) -> None:
    turn = FileTurn(str(wal))
    assert not turn.take()
    waiter = threading.Thread(target=turn.wait, args=[30])
    waiter.start()
    time.sleep(0.1)
    turn.give_up()
    holder.write_line()
    waiter.join(0.1)
    assert comes_soon(wal)
    holder.kill()
    waiter.join()


def test_a_turn_that_was_left_is_free(wal: Path) -> None:
    one, other = FileTurn(str(wal)), FileTurn(str(wal))
    assert one.take()
    assert not other.take()
    one.leave()
    assert other.take()
    for turn in (one, other):
        turn.close()


def test_where_there_is_no_file_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    turn = FileTurn(str(tmp_path / "store.db-wal"))

    assert turn.take()
    turn.leave()
    turn.close()


def test_a_store_that_was_closed_has_no_turn(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin():
        assert not FileTurn(f"{sqlite_path}-wal").take()
    assert store._turn is not None
    assert store._turn._descriptor is None


def test_turns_that_are_waited_for_are_waited_for_by_one_thread_that_ends_when_its_file_is_closed(
    holder: Process, wal: Path
) -> None:
    def waiters() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "vibeweaver turn"]

    before = len(waiters())
    turn = FileTurn(str(wal))
    for _ in range(3):
        turn.wait(0.05)
    assert len(waiters()) == before + 1
    turn.close()
    holder.kill()
    until = time.monotonic() + 20
    while len(waiters()) > before and time.monotonic() < until:
        time.sleep(0.01)
    assert len(waiters()) == before


def test_a_turn_that_nobody_closed_gives_its_file_back(wal: Path) -> None:
    turn = FileTurn(str(wal))
    assert turn.take()
    del turn
    assert FileTurn(str(wal)).take()


def test_a_turn_that_comes_after_its_file_was_closed_frees_no_other_file_that_has_its_number(
    holder: Process, wal: Path, tmp_path: Path
) -> None:
    turn = FileTurn(str(wal))
    assert not turn.take()
    number = turn._descriptor
    turn.wait(0.05)
    turn.close()
    other_file = tmp_path / "app.lock"
    other_file.touch()
    mine = FileTurn(str(other_file))
    assert mine.take()
    assert mine._descriptor == number
    holder.write_line()
    assert comes_soon(wal)
    time.sleep(0.2)
    assert not FileTurn(str(other_file)).take()
    holder.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of byte ranges that belong to opened files")
def test_nobody_comes_before_who_is_next(wal: Path) -> None:
    first, following, newcomer = (FileTurn(str(wal)) for _ in range(3))
    assert first.take()
    assert not following.take()
    first.leave()

    assert not newcomer.take()
    following.leave()
    assert newcomer.take()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of byte ranges that belong to opened files")
def test_who_has_had_the_turn_may_take_it_again_for_a_moment_and_then_is_behind_who_is_next(wal: Path) -> None:
    first, following = FileTurn(str(wal)), FileTurn(str(wal))
    assert first.take()
    assert not following.take()
    first._keeps_until = time.monotonic() + 60
    first.leave()
    assert first.take()

    first._keeps_until = time.monotonic()
    first.leave()
    assert not first.take()
    following.wait(30)
    assert not FileTurn(str(wal)).take()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of byte ranges that belong to opened files")
def test_those_who_wait_are_served_in_the_order_in_which_they_came(wal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_SECONDS", 60.0)  # nobody looks past the others
    holder = FileTurn(str(wal))
    assert holder.take()
    served: list[int] = []

    def waits(number: int) -> None:
        turn = FileTurn(str(wal))
        turn.wait(30)
        served.append(number)
        turn.leave()

    threads = [threading.Thread(target=waits, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    holder.leave()
    for thread in threads:
        thread.join()

    assert served == [0, 1, 2, 3]
