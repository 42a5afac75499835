"""The queue of writers, the lock across processes, and the gate that forks go through."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.spawning import Processes
from vibeweaver_store.errors import StoreBusy, StoreUnavailable
from vibeweaver_store.locks import ForkGate, WriterQueue, file_lock, writer_queue


def nothing() -> None:
    pass


def test_the_writer_queue_grants_the_first_turn_at_once() -> None:
    granted: list[str] = []

    WriterQueue().enter(lambda: granted.append("first"), "first")

    assert granted == ["first"]


def test_the_writer_queue_passes_the_turn_on_in_order_of_asking() -> None:
    queue = WriterQueue()
    granted: list[int] = []
    tickets = [queue.enter(lambda n=n: granted.append(n), n) for n in range(5)]  # type: ignore[misc]  # n is bound

    for ticket in tickets:
        queue.leave(ticket)

    assert granted == [0, 1, 2, 3, 4]


def test_the_writer_queue_skips_a_waiter_that_gave_up() -> None:
    queue = WriterQueue()
    granted: list[str] = []
    first = queue.enter(nothing, "first")
    second = queue.enter(lambda: granted.append("second"), "second")
    queue.enter(lambda: granted.append("third"), "third")

    queue.leave(second)
    queue.leave(first)

    assert granted == ["third"]


def test_the_holder_of_a_writer_turn_cannot_wait_for_itself() -> None:
    queue = WriterQueue()
    with queue.turn(1), pytest.raises(StoreBusy, match="savepoint"), queue.turn(1):
        pass


def test_a_writer_turn_is_released_when_its_block_fails() -> None:
    queue = WriterQueue()
    with pytest.raises(ValueError, match="boom"), queue.turn(1):
        raise ValueError("boom")

    with queue.turn(0):
        pass


def test_a_file_has_one_writer_queue_per_process() -> None:
    assert writer_queue("a.db") is not writer_queue("b.db")
    held = writer_queue("a.db")
    assert writer_queue("a.db") is held


def test_a_file_lock_holds_across_processes_and_ends_with_its_holder(processes: Processes, tmp_path: Path) -> None:
    holder = processes.start(_HOLD, tmp_path / "a.db")
    assert holder.read_line() == "held"
    with pytest.raises(StoreBusy) as busy, file_lock(tmp_path / "a.db", 0.1):
        pass
    assert busy.value.waited >= 0.1

    holder.kill()

    with file_lock(tmp_path / "a.db", 5):
        pass


_HOLD = """
import sys
from pathlib import Path
from vibeweaver_store.locks import file_lock
with file_lock(Path(sys.argv[1]), 5):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_leftover_lock_file_blocks_no_writer(tmp_path: Path) -> None:
    (tmp_path / "a.db.lock").write_text("stale")

    with file_lock(tmp_path / "a.db", 0):
        pass


def test_a_lock_file_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "a.db.lock").mkdir()

    with pytest.raises(StoreUnavailable, match="lock file"), file_lock(tmp_path / "a.db", 0):
        pass


def test_an_empty_fork_gate_closes_at_once_and_keeps_others_out() -> None:
    gate = ForkGate()
    passed = threading.Event()

    def pass_through() -> None:
        with gate.passing():
            passed.set()

    assert gate.close(1)
    thread = threading.Thread(target=pass_through)
    thread.start()
    assert not passed.wait(0.05)
    gate.open()
    assert passed.wait(5)
    thread.join()


def test_a_fork_gate_cannot_close_with_its_own_thread_inside() -> None:
    gate = ForkGate()
    with gate.passing():
        assert not gate.close(5)
        gate.open()


def test_a_fork_gate_waits_no_longer_than_its_timeout() -> None:
    gate = ForkGate()
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with gate.passing():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(5)
    started = time.monotonic()
    assert not gate.close(0.1)
    assert time.monotonic() - started < 5
    gate.open()
    leave.set()
    thread.join()


_LOCK_AS_SOMEBODY = """
import os, sys
from pathlib import Path
from vibeweaver_store.locks import file_lock
os.setgid(65534); os.setuid(65534)
with file_lock(Path(sys.argv[1]), 1):
    print("locked")
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("there", [True, False])
def test_a_file_locked_by_root_can_be_locked_by_its_owner(processes: Processes, there: bool) -> None:
    # Not under pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "store.db"
        if there:
            path.touch()
            folder.chmod(0o777)
        for owned in [path] if there else [folder]:
            os.chown(owned, 65534, 65534)
        with file_lock(path, 1):
            pass
        done = processes.run(_LOCK_AS_SOMEBODY, path)

        assert (done.stdout, done.stderr) == ("locked\n", "")
        assert path.with_name("store.db.lock").stat().st_mode & 0o777 == 0o600


def test_a_waiting_fork_gate_admits_no_further_task_of_a_loop() -> None:
    gate = ForkGate()
    loop_thread: list[object] = []

    def loop() -> None:
        loop_thread.append(gate.enter("first"))
        entered.set()
        closing.wait(10)
        while not gate._forking:
            time.sleep(0.001)
        loop_thread.append(gate.enter("second"))
        nested = gate.enter("first")
        assert nested is not None
        gate.leave(nested)
        gate.leave(nested)

    entered, closing = threading.Event(), threading.Event()
    thread = threading.Thread(target=loop)
    thread.start()
    entered.wait(10)
    closing.set()

    assert gate.close(10)
    assert loop_thread[1] is None
    gate.open()
    thread.join()
    assert gate.enter("second") is not None
