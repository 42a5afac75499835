"""Promises about a process that is killed: what it committed is there, and of what it did not nothing is."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.spawning import Processes
from vibeweaver_store import Settings, Store, history, schema, sessions
from vibeweaver_store.upkeep.checkup import check

_HALF_A_MIGRATION = """
import sys, time
from vibeweaver_store import Store, schema
def dawdle(run, counts):
    print("migrated, not committed", flush=True)
    time.sleep(60)
schema.MigrationRun._check = dawdle
schema.downgrade(sys.argv[1], "base")
"""


def test_a_process_killed_amid_a_migration_leaves_nothing_of_it(processes: Processes, database: str) -> None:
    with Store.open(database) as store:
        jam = store.run(sessions.create, name="kept")
    process = processes.start(_HALF_A_MIGRATION, database)
    assert process.read_line() == "migrated, not committed"
    process.kill()

    with Store.open(database) as store:
        assert store.query(sessions.get, jam.id).name == "kept"
    assert schema.current(database) == schema.head()


_HALF_A_UNIT_OF_WORK = """
import sys, time
from vibeweaver_store import Store, history, sessions
store = Store.open(sys.argv[1])
jam = store.run(sessions.create, name="committed")
with store.begin() as uow:
    history.append_many(uow, jam.id, (history.NewEntry(f"entry {n}") for n in range(5000)))
    sessions.update(uow, jam.id, name="half done")
    uow.flush()
    print(jam.id, flush=True)
    time.sleep(60)
"""


def test_a_process_killed_amid_a_unit_of_work_leaves_nothing_of_it(processes: Processes, database: str) -> None:
    process = processes.start(_HALF_A_UNIT_OF_WORK, database)
    session_id = process.read_line()
    process.kill()

    with Store.open(database) as store:
        assert store.query(sessions.get, session_id).name == "committed"
        assert store.query(history.count, session_id) == 0
        store.run(history.append, session_id, "life goes on")


_PAIRS = """
import sys
from vibeweaver_store import Store, history, sessions
store = Store.open(sys.argv[1])
jam = store.run(sessions.create, name="pairs", session_id="pairs")
print("ready", flush=True)
n = 0
while True:
    with store.begin() as uow:
        history.append(uow, jam.id, "left", params=n)
        history.append(uow, jam.id, "right", params=n)
    n += 1
    print(n, flush=True)
"""


@pytest.mark.parametrize("round_", range(3))
def test_a_process_killed_at_any_moment_leaves_whole_reported_units_of_work(
    processes: Processes, database: str, round_: int
) -> None:
    process = processes.start(_PAIRS, database)
    assert process.read_line() == "ready"
    time.sleep(random.Random(round_).uniform(0.02, 0.2))
    reported = len([line for line in process.kill().splitlines() if line.isdigit()])

    with Store.open(database) as store:
        left = [entry.params for entry in history.iterate(store, "pairs", action="left")]
        right = [entry.params for entry in history.iterate(store, "pairs", action="right")]
    assert left == right
    assert left == list(range(len(left)))[::-1]
    assert len(left) >= reported


# --- what the next one finds ------------------------------------------------------------------------------------

_COMMIT_AND_DIE = """
import os, sys
from vibeweaver_store import Settings, Store, history, sessions
store = Store.open(sys.argv[1], settings=Settings(journal_mode=sys.argv[2], cache_size=5))
store.run(sessions.create, name="kept", session_id="jam")
for n in range(3):
    store.run(history.append, "jam", str(n))
with store.begin() as uow:
    history.append_many(uow, "jam", (history.NewEntry("lost", params="x" * 500) for _ in range(5000)))
    os.kill(os.getpid(), 9)
"""


def actions_in(path: Path, settings: Settings | None = None) -> list[str]:
    with Store.open(path, settings=settings) as store:
        return [entry.action for entry in history.iterate(store, "jam", oldest_first=True)]


def commit_and_die(processes: Processes, path: Path, journal_mode: str) -> None:
    done = processes.run(_COMMIT_AND_DIE, path, journal_mode)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("then", ["WAL", "DELETE"])
@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE", "TRUNCATE"])
def test_a_killed_process_leaves_its_commits_and_no_uncommitted_row(
    processes: Processes, tmp_path: Path, journal_mode: str, then: Any
) -> None:
    path = tmp_path / "store.db"
    commit_and_die(processes, path, journal_mode)

    assert actions_in(path, Settings(journal_mode=then)) == ["0", "1", "2"]
    assert [finding.name for finding in check(path).findings if finding.verdict == "broken"] == []


@pytest.mark.parametrize("with_", ["none", "nonsense"])
def test_a_missing_or_damaged_wal_index_is_rebuilt(processes: Processes, tmp_path: Path, with_: str) -> None:
    path = tmp_path / "store.db"
    commit_and_die(processes, path, "WAL")
    if with_ == "none":
        path.with_name("store.db-shm").unlink()
    else:
        path.with_name("store.db-shm").write_bytes(os.urandom(32768))

    assert actions_in(path) == ["0", "1", "2"]
