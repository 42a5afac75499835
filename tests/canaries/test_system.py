"""What the package relies on in the operating system and in Python's standard library, beyond what they document."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.canaries.canary import Library

fcntl = pytest.importorskip("fcntl")

linux = Library("Linux")
python = Library("Python")
on_linux = pytest.mark.skipif(
    sys.platform != "linux" or struct.calcsize("P") != 8, reason="turns.py takes no seats on other systems"
)

TAKE = struct.pack("hhqqi0q", 1, os.SEEK_SET, 0, 1, 0)
LEAVE = struct.pack("hhqqi0q", 2, os.SEEK_SET, 0, 1, 0)


class File:
    """A file that is opened, and closed with the block."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.number = os.open(path, os.O_RDWR)

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def seat(descriptor: int, what: bytes) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, what)
    except BlockingIOError:
        return False
    return True


def turn(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- locks on files --------------------------------------------------------------------------------------------


@on_linux
@linux("turns.py", to="let one alone be next, by a lock whose structure it packs itself")
def test_a_lock_of_an_opened_file_is_packed_like_this(tmp_path: Path) -> None:
    with File(tmp_path / "file") as one, File(tmp_path / "file") as other:
        assert seat(one, TAKE)
        assert not seat(other, TAKE)
        second_byte = struct.pack("hhqqi0q", 1, os.SEEK_SET, 1, 1, 0)
        assert seat(other, second_byte)
        assert seat(one, LEAVE)
        assert seat(other, TAKE)


@on_linux
@linux("turns.py", to="be woken when the seat is free")
def test_a_waiter_for_the_lock_of_an_open_file_description_gets_it(tmp_path: Path) -> None:
    with File(tmp_path / "file") as one, File(tmp_path / "file") as other:
        assert seat(one, TAKE)
        waiting = threading.Thread(target=fcntl.fcntl, args=(other, fcntl.F_OFD_SETLKW, TAKE), daemon=True)
        waiting.start()
        time.sleep(0.05)
        assert waiting.is_alive()
        assert seat(one, LEAVE)
        waiting.join(10)
        assert not waiting.is_alive()
        assert not seat(one, TAKE)


@on_linux
@linux("turns.py", to="wait in a thread, by a descriptor of its own, for what the store holds")
def test_both_locks_belong_to_the_opened_file_and_not_to_its_descriptor(tmp_path: Path) -> None:
    with File(tmp_path / "file") as one, File(tmp_path / "file") as other:
        copied = os.dup(one)
        fcntl.fcntl(copied, fcntl.F_OFD_SETLKW, TAKE)
        fcntl.flock(copied, fcntl.LOCK_EX)
        os.close(copied)
        assert not seat(other, TAKE)
        assert not turn(other)
        assert seat(one, LEAVE)
        fcntl.flock(one, fcntl.LOCK_UN)
        assert seat(other, TAKE)
        assert turn(other)


@on_linux
@linux("turns.py", to="hold a turn and a seat at once")
def test_the_two_kinds_of_lock_on_one_file_do_not_meet(tmp_path: Path) -> None:
    with File(tmp_path / "file") as one, File(tmp_path / "file") as other:
        assert turn(one)
        assert seat(other, TAKE)


@linux("turns.py", to="let two stores of one process take turns")
def test_two_that_opened_a_file_exclude_each_other_within_one_process(tmp_path: Path) -> None:
    with File(tmp_path / "file") as one, File(tmp_path / "file") as other:
        assert turn(one)
        assert not turn(other)
        assert turn(one)
        fcntl.flock(one, fcntl.LOCK_UN)
        assert turn(other)


@on_linux
@linux("turns.py", to="lock the -wal file without being in SQLite's way")
def test_sqlite_locks_nothing_of_a_wal_file(tmp_path: Path) -> None:
    path = tmp_path / "canary.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE things (id INTEGER)")
        with File(tmp_path / "canary.db-wal") as wal:
            assert turn(wal)
            assert seat(wal, struct.pack("hhqqi0q", 1, os.SEEK_SET, 0, 0, 0))
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO things VALUES (1)")
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        with closing(sqlite3.connect(path, timeout=0)) as other, pytest.raises(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")


# --- filelock --------------------------------------------------------------------------------------------------

filelock = Library("filelock")

HOLD = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1], mode=0o600)
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("processes")
@filelock("locks.py", to="let one process at a time open or migrate a database")
def test_a_lock_is_held_against_other_processes_until_its_holder_dies(tmp_path: Path) -> None:
    from filelock import FileLock, Timeout

    path = tmp_path / "canary.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout):
            FileLock(path, mode=0o600).acquire(timeout=0.05, poll_interval=0.01)
        holder.kill()
    lock = FileLock(path, mode=0o600)
    lock.acquire(timeout=5, poll_interval=0.01)
    lock.release()


@filelock("locks.py", to="let one thread at a time open or migrate a database")
def test_two_locks_of_one_path_exclude_each_other_within_a_process(tmp_path: Path) -> None:
    from filelock import FileLock, Timeout

    path = tmp_path / "canary.lock"
    lock = FileLock(path, mode=0o600)
    lock.acquire(timeout=0, poll_interval=0.01)
    with pytest.raises(Timeout):
        FileLock(path, mode=0o600).acquire(timeout=0, poll_interval=0.01)
    lock.release()


@filelock("locks.py", to="give the side file to the owner of a database, who is to lock it as well")
def test_the_file_of_a_lock_stays_when_it_is_released_and_only_its_owner_may_use_it(tmp_path: Path) -> None:
    from filelock import FileLock

    path = tmp_path / "canary.lock"
    before = os.umask(0o022)
    try:
        lock = FileLock(path, mode=0o600)
        lock.acquire(timeout=0, poll_interval=0.01)
        made = path.stat()
        lock.release()
    finally:
        os.umask(before)

    assert made.st_mode & 0o777 == 0o600
    assert made.st_size == 0
    assert path.stat().st_ino == made.st_ino


@filelock("locks.py", to="say that the side file cannot be made")
def test_a_lock_whose_file_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        FileLock(tmp_path / "file" / "canary.lock", mode=0o600).acquire(timeout=0.05, poll_interval=0.01)

    assert caught.value.strerror


# --- fork ------------------------------------------------------------------------------------------------------

FORKED = """
import concurrent.futures, concurrent.futures.thread, os
told = []
def before():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        told.append(pool.submit(lambda: "worked").result(timeout=5))
os.register_at_fork(before=before)
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
print(*told)
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="there is no fork")
@python("opened.py", to="wait before a fork while other threads end their units of work")
def test_threads_can_be_given_work_while_a_hook_runs_that_was_registered_after_theirs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, check=False, timeout=30
    )

    assert done.stdout == "worked\n", done.stderr


@python("locks.py", to="have locks anew in a forked child, where threads that held them are gone")
def test_an_object_of_a_standard_lock_can_be_made_anew_in_place() -> None:
    class Gate:
        def __init__(self) -> None:
            self.changed = threading.Condition()

    gate = Gate()
    gate.changed.acquire()
    gate.__init__()  # type: ignore[misc]

    assert gate.changed.acquire(timeout=1)
    gate.changed.release()
