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


def test_a_file_turn_held_by_another_process_comes_when_released(holder: Process, wal: Path) -> None:
    turn = FileTurn(str(wal))
    assert not turn.take()
    threading.Timer(0.2, holder.write_line).start()
    started = time.monotonic()
    turn.wait(30)
    assert time.monotonic() - started < 20
    assert not FileTurn(str(wal)).take()
    turn.close()
    holder.kill()


def test_a_file_turn_ends_with_the_process_that_held_it(holder: Process, wal: Path) -> None:
    turn = FileTurn(str(wal))
    killer = threading.Timer(0.2, holder.kill)
    killer.start()
    started = time.monotonic()
    turn.wait(30)
    assert time.monotonic() - started < 20
    turn.close()
    killer.join()


def test_a_file_turn_granted_after_the_timeout_is_passed_on(holder: Process, wal: Path) -> None:
    turn = FileTurn(str(wal))
    turn.wait(0.1)
    assert not turn.take()
    holder.write_line()
    assert holder.read_line() == "left"
    assert comes_soon(wal)
    holder.kill()


def test_a_file_turn_given_up_by_another_thread_is_passed_on(holder: Process, wal: Path) -> None:
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


def test_a_released_file_turn_is_free(wal: Path) -> None:
    one, other = FileTurn(str(wal)), FileTurn(str(wal))
    assert one.take()
    assert not other.take()
    one.leave()
    assert other.take()
    for turn in (one, other):
        turn.close()


def test_a_file_turn_without_a_file_is_granted_at_once(tmp_path: Path) -> None:
    turn = FileTurn(str(tmp_path / "store.db-wal"))

    assert turn.take()
    turn.leave()
    turn.close()


def test_a_closed_store_has_no_file_turn(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin():
        assert not FileTurn(f"{sqlite_path}-wal").take()
    assert store._turn is not None
    assert store._turn._descriptor is None


def test_a_file_turn_waits_in_one_thread_that_ends_when_its_file_is_closed(holder: Process, wal: Path) -> None:
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


def test_an_unclosed_file_turn_gives_its_file_back(wal: Path) -> None:
    turn = FileTurn(str(wal))
    assert turn.take()
    del turn
    assert FileTurn(str(wal)).take()


def test_a_file_turn_granted_after_closing_does_not_unlock_a_reused_descriptor(
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
def test_a_newcomer_does_not_overtake_the_next_waiter_of_a_file_turn(wal: Path) -> None:
    first, following, newcomer = (FileTurn(str(wal)) for _ in range(3))
    assert first.take()
    assert not following.take()
    first.leave()

    assert not newcomer.take()
    following.leave()
    assert newcomer.take()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of byte ranges that belong to opened files")
def test_the_last_holder_of_a_file_turn_may_retake_it_only_within_its_grace_period(wal: Path) -> None:
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
def test_waiters_for_a_file_turn_are_served_in_order(wal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
