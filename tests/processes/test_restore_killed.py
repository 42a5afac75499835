"""A restore that is killed, or that others open the database during: they find the whole old or the whole new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.restoring import kept_in, make_backup, make_database, make_home, names, overwrite_header, unfinished
from tests.sizes import Size
from tests.spawning import Processes
from vibeweaver_store import StoreBusy, sqlite_copy
from vibeweaver_store.restore import restore


@pytest.fixture
def backup(tmp_path: Path, sqlite_template: Path) -> Path:
    return make_backup(tmp_path, sqlite_template, entries=150)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path)


@pytest.fixture
def database(home: Path, sqlite_template: Path) -> Path:
    return make_database(home, sqlite_template)


_STEPS = ("os.link", "os.rename", "os.remove", "os.chmod", "os.chown", "open", "fcntl.", "sqlite3.connect", "step")
"""What Python tells of to an audit hook before it is done; ``os.rename`` is ``os.replace`` too."""


def restore_in_steps(backup: Path, database: Path) -> None:
    restore(backup, database, progress=lambda *_: sys.audit("step"))


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do work in a child that is killed just before its step of that number; say whether it came that far."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _arguments: Any) -> None:
            nonlocal left
            if event.startswith(_STEPS):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


CASES = ["sound", "rollback mode", "with a wal", "damaged", "gone"]


@pytest.mark.parametrize("case", CASES)
def test_a_restore_killed_before_any_step_leaves_a_whole_database(
    processes: Processes,
    database: Path,
    backup: Path,
    tmp_path: Path,
    size: Size,
    *,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if case == "rollback mode":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    elif case != "sound":
        unfinished(database)
    if case == "damaged":
        overwrite_header(database)
    if case == "gone":
        database.unlink()
    monkeypatch.setattr(sqlite_copy, "_PAGES_A_STEP", 7)
    # Most steps are the same in all cases: each case is killed before every third, and they begin at different ones.
    every = size(3, 1)
    home, step = database.parent, CASES.index(case) % every
    aside = shutil.copytree(home, tmp_path / "aside")
    reached = set()
    while killed_at(step, lambda: restore_in_steps(backup, database)):
        reached.add(_state(database, case))
        shutil.rmtree(home)
        shutil.copytree(aside, home)
        step += every

    assert step > 15
    assert reached == {"old", "new"}
    assert _state(database, case) == "new"


def _state(database: Path, case: str) -> str:
    """Say which database is there, after the kill, and see that nothing of the other is lost or mixed in."""
    old = {"sound": ["old"], "rollback mode": ["old"], "with a wal": ["old", "old in the wal"]}.get(case)
    kept = [each for each in kept_in(database.parent) if not each.name.endswith(("-wal", "-shm"))]
    if not database.exists():
        assert case == "gone"
        return "old"
    if case == "damaged" and database.read_bytes()[:4] == b"\xff" * 4:
        wals = [each for each in database.parent.iterdir() if each.name.endswith("-wal")]
        assert len(wals) == 1  # beside it still, or with what is kept
        return "old"
    assert not database.with_name("store.db-journal").exists()  # which would have to be played back
    found = names(database)
    if found == ["new"]:
        if old:
            assert [names(each) for each in kept] == [old]
        if case == "damaged":
            assert [each.read_bytes()[:4] for each in kept] == [b"\xff" * 4]
        return "new"
    assert found == old
    return "old"


@pytest.mark.parametrize("round_", range(12))
def test_a_restore_killed_at_any_moment_leaves_a_whole_database(
    processes: Processes, database: Path, backup: Path, round_: int
) -> None:
    child = os.fork()
    if child == 0:
        restore(backup, database)
        os._exit(0)
    time.sleep(random.Random(round_).uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert _state(database, "sound") in {"old", "new"}


def test_a_restore_after_a_killed_one_succeeds(processes: Processes, database: Path, backup: Path) -> None:
    for step in range(0, 30, 3):
        killed_at(step, lambda: restore(backup, database))
        restore(backup, database)
        assert names(database) == ["new"]


# --- others ----------------------------------------------------------------------------------------------------


_LOOK = """
import select, sys
from vibeweaver_store import Store, sessions
while not select.select([sys.stdin], [], [], 0)[0]:
    with Store.open(sys.argv[1]) as store:
        print([jam.name for jam in store.query(sessions.page).items], flush=True)
"""


def test_processes_that_open_a_database_during_a_restore_find_it_whole(
    processes: Processes, database: Path, backup: Path, size: Size
) -> None:
    watchers = [processes.start(_LOOK, database) for _ in range(2)]
    seen = {watcher.read_line() for watcher in watchers}
    replaced = 0
    for _ in range(size(20, 60)):
        try:
            restore(backup, database)
            replaced += 1
        except StoreBusy:
            continue
    for watcher in watchers:
        seen.update(watcher.finish().splitlines())

    assert "['old']" in seen
    assert seen <= {"['old']", "['new']"}
    assert replaced > 0
    assert names(database) == ["new"]
