"""A backup whose process is killed, and one of a database that another process writes to all the time."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.backing_up import ENTRIES, fill, names_in
from tests.spawning import Processes
from vibeweaver_store import Store, history
from vibeweaver_store.backup import back_up


@pytest.fixture(scope="module")
def filled_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "store.db"
    fill(path)
    return path


@pytest.fixture
def filled(sqlite_path: Path, filled_template: Path) -> Path:
    shutil.copyfile(filled_template, sqlite_path)
    return sqlite_path


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    folder = tmp_path / "backups #1 ü?%20"
    folder.mkdir()
    return folder


_KILLED = """
import os, signal, sys
from vibeweaver_store.backup import back_up
def die(doing, done, total):
    if doing == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
back_up(sys.argv[1], sys.argv[2], compress="gzip", progress=die)
"""


@pytest.mark.parametrize("amid", ["copying", "checking", "compressing", "reading back"])
def test_a_backup_of_a_killed_process_gets_no_name(
    processes: Processes, filled: Path, backups: Path, amid: str
) -> None:
    done = processes.run(_KILLED, filled, backups / "a.db", amid)

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (backups / "a.db").exists()
    assert all(name.startswith(".vibeweaver-") for name in names_in(backups))
    assert back_up(filled, backups / "a.db").rows["history"] == ENTRIES


_WRITE_PAIRS = """
import sys
from vibeweaver_store import Store, history
store = Store.open(sys.argv[1])
n = 0
while True:
    with store.begin() as uow:
        history.append(uow, sys.argv[2], "left", params=n)
        history.append(uow, sys.argv[2], "right", params=n)
    if not n:
        print("writing", flush=True)
    n += 1
"""


def test_a_backup_under_a_constant_writer_ends_with_whole_units_of_work(
    processes: Processes, sqlite_path: Path, backups: Path
) -> None:
    session_id = fill(sqlite_path)
    seen: list[int] = []

    def dawdle(doing: str, done: int, _total: int) -> None:
        if doing == "copying":
            seen.append(done)
            time.sleep(0.05)  # without a held snapshot, every pause would make SQLite begin anew

    writer = processes.start(_WRITE_PAIRS, sqlite_path, session_id)
    assert writer.read_line() == "writing"
    with Store.open(sqlite_path) as store:
        before = store.query(history.count, session_id, action="left")
        done = back_up(sqlite_path, backups / "a.db", progress=dawdle)
        after = store.query(history.count, session_id, action="left")
        assert writer.runs
    writer.kill()

    assert seen == sorted(set(seen))  # never from the beginning again
    assert len(seen) > 1
    assert after > before  # the writer went on
    with Store.open(done.path) as copy:
        left = [entry.params for entry in history.iterate(copy, session_id, action="left")]
        right = [entry.params for entry in history.iterate(copy, session_id, action="right")]
    assert left == right
    assert before <= len(left) <= after
