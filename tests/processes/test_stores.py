"""Promises about processes, kept by real ones: many that open and write at once, one that is killed, one that forks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vibeweaver_store import Store, StoreUnavailable, history, rules, schema, sessions, signals, stats, triggers
from vibeweaver_store.models import actions

PROCESSES = 8
WRITES = {"sqlite": 500, "postgresql": 100}

_MIXED_WRITES = """
import json, random, sys
from vibeweaver_store import Store, history, markers, rules, sessions, snapshots, stats, triggers, actions, signals
database, process, writes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.stdin.readline()  # all start together
store = Store.open(database, migrate=True)
chance = random.Random(process)
jam = store.run(sessions.create, name=f"jam {process}", session_id=f"jam-{process}")
store.run(rules.add, jam.id, triggers.Beat(divisor=1), actions.Play())
done = {"sessions": 1, "rules": 1, "history": 0, "markers": 0, "snapshots": 0, "samples": 0, "fired": 0}
for n in range(writes - 2):
    what = chance.choice(["history", "history", "markers", "snapshots", "samples", "fired"])
    done[what] += 1
    if what == "history":
        store.run(history.append, jam.id, "write", params={"n": n})
    elif what == "markers":
        store.run(markers.add, jam.id, float(n), f"marker {n}")
    elif what == "snapshots":
        store.run(snapshots.save, jam.id, bytes([n % 256]) * 100)
    elif what == "samples":
        store.run(stats.record, "drums", n)
    else:
        store.run(rules.fire, jam.id, signals.BeatTick(beat=n))
print(json.dumps(done))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 240) -> str:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


def go(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def count_rows(store: Store, table: str) -> int:
    with store.read() as uow:
        return int(uow.connection().exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_processes_that_open_migrate_and_write_a_fresh_database_lose_nothing(empty_database: str, backend: str) -> None:
    processes = [start(_MIXED_WRITES, empty_database, n, WRITES[backend]) for n in range(PROCESSES)]
    go(processes)
    reports: list[dict[str, int]] = [json.loads(finish(process)) for process in processes]

    total = {what: sum(report[what] for report in reports) for what in reports[0]}
    with Store.open(empty_database) as store:
        assert count_rows(store, "sessions") == PROCESSES
        assert count_rows(store, "rules") == PROCESSES
        assert count_rows(store, "markers") == total["markers"]
        assert count_rows(store, "snapshots") == total["snapshots"]
        assert count_rows(store, "history") == total["history"] + total["fired"]
        assert store.query(stats.get, "drums").sample_count == total["samples"]
        fired = [store.query(rules.by_trigger, f"jam-{n}", "beat")[0].fired_count for n in range(PROCESSES)]
        assert fired == [report["fired"] for report in reports]
    assert sum(total.values()) == PROCESSES * WRITES[backend]


_OPEN = """
import sys
from vibeweaver_store import Store, sessions
sys.stdin.readline()
Store.open(sys.argv[1]).run(sessions.create, name="jam")
"""


def test_processes_that_open_a_fresh_file_together_migrate_it_once(tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    processes = [start(_OPEN, path) for _ in range(PROCESSES)]
    go(processes)
    for process in processes:
        finish(process)

    assert schema.current(path) == schema.head()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fresh.db", "fresh.db.lock"]
    with Store.open(path) as store:
        assert count_rows(store, "sessions") == PROCESSES


_HALF_A_MIGRATION = """
import sys, time
from vibeweaver_store import Store, schema
def dawdle(run, counts):
    print("migrated, not committed", flush=True)
    time.sleep(60)
schema.MigrationRun._check = dawdle
schema.downgrade(sys.argv[1], "base")
"""


def test_a_process_killed_amid_a_migration_leaves_nothing_of_it(database: str) -> None:
    with Store.open(database) as store:
        jam = store.run(sessions.create, name="kept")
    process = start(_HALF_A_MIGRATION, database)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()

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


def test_a_process_killed_amid_a_unit_of_work_leaves_nothing_of_it(database: str) -> None:
    process = start(_HALF_A_UNIT_OF_WORK, database)
    assert process.stdout is not None
    session_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.communicate()

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
def test_a_process_killed_at_any_moment_leaves_whole_reported_units_of_work(database: str, round_: int) -> None:
    process = start(_PAIRS, database)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(random.Random(round_).uniform(0.05, 0.3))
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    reported = len([line for line in out.splitlines() if line.isdigit()])

    with Store.open(database) as store:
        left = [entry.params for entry in history.iterate(store, "pairs", action="left")]
        right = [entry.params for entry in history.iterate(store, "pairs", action="right")]
    assert left == right
    assert left == list(range(len(left)))[::-1]
    assert len(left) >= reported


# --- fork ------------------------------------------------------------------------------------------------------


def in_child(work: Any) -> str:
    """Run work in a forked child and return what it returned or raised, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = str(work())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def test_a_forked_child_has_its_own_connections_and_leaves_the_parents_intact(store: Store, other: Store) -> None:
    jam = store.run(sessions.create, name="parent")
    store.query(sessions.get, jam.id)

    told = in_child(lambda: [store.run(sessions.create, name=f"child {n}").name for n in range(3)])

    assert told == "['child 0', 'child 1', 'child 2']"
    store.run(sessions.create, name="parent again")
    names = {each.name for each in other.query(sessions.page).items}
    assert names == {"parent", "child 0", "child 1", "child 2", "parent again"}


def test_a_forked_child_loses_nothing_if_its_parent_reopens_the_store(
    database: str,
) -> None:
    store = Store.open(database)
    jam = store.run(sessions.create, name="jam")
    store.query(sessions.page)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        for _ in range(100):
            store.run(history.append, jam.id, "child")
        os._exit(0)
    store.close()  # the last connection of the parent: SQLite drops the WAL, unless it sees that of the child
    with Store.open(database) as again:
        os.write(writing, b"x")
        for _ in range(100):
            again.run(history.append, jam.id, "parent")
        _, status = os.waitpid(child, 0)

        assert status == 0
        assert again.query(history.count, jam.id, action="child") == 100
        assert again.query(history.count, jam.id, action="parent") == 100


def test_a_child_forked_amid_a_unit_of_work_cannot_write_through_it(store: Store, other: Store) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="parent")

        told = in_child(lambda: history.append(uow, jam.id, "from the child"))

        assert told.startswith("StoreUnavailable")
        history.append(uow, jam.id, "from the parent")

    assert [entry.action for entry in other.query(history.recent, jam.id)] == ["from the parent"]


def test_a_child_forked_amid_a_unit_of_work_cannot_use_the_file(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin():
        told = [
            in_child(lambda: store.run(sessions.create, name="child")),
            in_child(lambda: store.query(sessions.page)),
            in_child(lambda: Store.open(sqlite_path)),
        ]

    assert all(each.startswith("StoreUnavailable") and "forked" in each for each in told)


def test_a_forked_child_that_leaves_its_inherited_block_commits_nothing(store: Store, other: Store) -> None:
    reading, writing = os.pipe()
    child = -1
    told = ""
    try:
        with store.begin() as uow:
            sessions.create(uow, name="parent")
            child = os.fork()
            if child:
                os.waitpid(child, 0)
                os.close(writing)
                with os.fdopen(reading) as pipe:
                    told = pipe.read()
                assert other.query(sessions.page).items == []
    except StoreUnavailable as error:
        assert child == 0
        os.write(writing, str(error).encode())
    finally:
        if child == 0:
            os._exit(0)

    assert "belongs to the parent" in told
    assert len(other.query(sessions.page).items) == 1


def test_a_child_forked_within_a_savepoint_rolls_nothing_back(store: Store, other: Store) -> None:
    child = -1
    try:
        with store.begin() as uow:
            sessions.create(uow, name="before")
            with uow.savepoint():
                sessions.create(uow, name="within")
                child = os.fork()
                if child == 0:
                    raise ValueError("the child leaves the savepoint by an exception")
                os.waitpid(child, 0)
    finally:
        if child == 0:
            os._exit(0)

    assert sorted(names(other)) == ["before", "within"]


def test_a_fork_waits_for_the_units_of_work_of_other_threads(sqlite_path: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with store.begin() as uow:
            sessions.create(uow, name="thread")
            held.set()
            time.sleep(0.3)

    with Store.open(sqlite_path) as store:
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)

        told = in_child(lambda: sorted([store.run(sessions.create, name="child").name, *names(store)]))

        thread.join()
        assert told == "['child', 'child', 'thread']"
        assert store.run(sessions.create, name="parent").name == "parent"


_FORK_WHILE_OPENING = """
import os, sys, threading, time
from pathlib import Path
from vibeweaver_store import Store, schema
slow, opening = schema._mark_as_ours, threading.Event()
def mark(path, settings):
    opening.set()
    time.sleep(0.5)
    slow(path, settings)
schema._mark_as_ours = mark
thread = threading.Thread(target=Store.open, args=(sys.argv[1] + "/first.db",))
thread.start()
opening.wait()
child = os.fork()
if child == 0:
    schema._mark_as_ours = slow
    Store.open(sys.argv[1] + "/second.db").close()
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""


def test_a_fork_waits_for_a_thread_that_is_opening_its_first_store(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORK_WHILE_OPENING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "0\n"


def names(store: Store) -> list[str]:
    return [jam.name for jam in store.query(sessions.page).items]


# --- exactly once ----------------------------------------------------------------------------------------------

_FIRE = """
import sys
from vibeweaver_store import Store, rules, signals
store = Store.open(sys.argv[1])
sys.stdin.readline()
fired = [len(store.run(rules.fire, "jam", signals.BeatTick(beat=beat))) for beat in range(20)]
print(sum(fired))
"""


def test_rules_fired_by_many_processes_fire_one_shots_once_and_lose_no_count(
    database: str,
) -> None:
    with Store.open(database) as store:
        store.run(sessions.create, name="jam", session_id="jam")
        counting = store.run(rules.add, "jam", triggers.Beat(divisor=1), actions.Play())
        once = [store.run(rules.add, "jam", triggers.Beat(divisor=1), actions.Stop(), one_shot=True) for _ in range(5)]
    processes = [start(_FIRE, database) for _ in range(6)]
    go(processes)
    fired = sum(int(finish(process)) for process in processes)

    with Store.open(database) as store:
        assert fired == 6 * 20 + len(once)
        assert store.query(rules.get, counting.id).fired_count == 6 * 20
        assert [store.query(rules.get, rule.id).fired_count for rule in once] == [1] * len(once)
        assert store.query(history.count, "jam", action=rules.FIRED) == fired
        assert store.query(rules.match, "jam", signals.BeatTick(beat=0)) == [store.query(rules.get, counting.id)]


def test_a_memory_store_outlives_a_child_that_ends(tmp_path: Path) -> None:
    with Store.open(":memory:") as store:
        store.run(sessions.create, name="jam")

        in_child(store.close)

        assert [jam.name for jam in store.query(sessions.page).items] == ["jam"]


def test_a_disowned_unit_of_work_is_unavailable() -> None:
    with Store.open(":memory:") as store, store.begin() as uow:
        uow.disown()

        with pytest.raises(StoreUnavailable, match="parent"):
            sessions.page(uow)
        uow._foreign = False
