"""Promises about a process that forks: parent and child have connections of their own, and lose nothing."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.spawning import Processes
from vibeweaver_store import Settings, Store, StoreUnavailable, history, sessions
from vibeweaver_store.testing import new_store


def test_a_forked_child_has_its_own_connections_and_leaves_the_parents_intact(
    processes: Processes, store: Store, other: Store
) -> None:
    jam = store.run(sessions.create, name="parent")
    store.query(sessions.get, jam.id)

    told = processes.in_child(lambda: [store.run(sessions.create, name=f"child {n}").name for n in range(3)])

    assert told == "['child 0', 'child 1', 'child 2']"
    store.run(sessions.create, name="parent again")
    names = {each.name for each in other.query(sessions.page).items}
    assert names == {"parent", "child 0", "child 1", "child 2", "parent again"}


def test_a_forked_child_loses_nothing_if_its_parent_reopens_the_store(
    processes: Processes,
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


def test_a_child_forked_amid_a_unit_of_work_cannot_write_through_it(
    processes: Processes, store: Store, other: Store
) -> None:
    with store.begin() as uow:
        jam = sessions.create(uow, name="parent")

        told = processes.in_child(lambda: history.append(uow, jam.id, "from the child"))

        assert told.startswith("StoreUnavailable")
        history.append(uow, jam.id, "from the parent")

    assert [entry.action for entry in other.query(history.recent, jam.id)] == ["from the parent"]


def test_a_child_forked_amid_a_unit_of_work_cannot_use_the_file(processes: Processes, sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin():
        began = time.monotonic()
        told = [
            processes.in_child(lambda: store.run(sessions.create, name="child")),
            processes.in_child(lambda: store.query(sessions.page)),
            processes.in_child(lambda: Store.open(sqlite_path)),
        ]

        waited = time.monotonic() - began

    assert all(each.startswith("StoreUnavailable") and "forked" in each for each in told)
    assert waited < Settings().busy_timeout_seconds  # not for the turn to write, which the parent has


def test_a_forked_child_that_leaves_its_inherited_block_commits_nothing(
    processes: Processes, store: Store, other: Store
) -> None:
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


def test_a_child_forked_within_a_savepoint_rolls_nothing_back(processes: Processes, store: Store, other: Store) -> None:
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


def test_a_fork_waits_for_the_units_of_work_of_other_threads(processes: Processes, sqlite_path: Path) -> None:
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

        told = processes.in_child(lambda: sorted([str(store.run(sessions.create, name="child").name), *names(store)]))

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


def test_a_fork_waits_for_a_thread_that_is_opening_its_first_store(processes: Processes, tmp_path: Path) -> None:
    done = processes.run(_FORK_WHILE_OPENING, tmp_path, warnings="ignore")

    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def names(store: Store) -> list[str]:
    return [str(jam.name) for jam in store.query(sessions.page).items]


def test_a_memory_store_outlives_a_child_that_ends(processes: Processes, tmp_path: Path) -> None:
    with Store.open(":memory:") as store:
        store.run(sessions.create, name="jam")

        processes.in_child(store.close)

        assert [jam.name for jam in store.query(sessions.page).items] == ["jam"]


def test_a_disowned_unit_of_work_is_unavailable() -> None:
    with Store.open(":memory:") as store, store.begin() as uow:
        uow.disown()

        with pytest.raises(StoreUnavailable, match="parent"):
            sessions.page(uow)
        uow._foreign = False


# --- asyncio ----------------------------------------------------------------------------------------------------

_FORK_WITH_A_LOOP = """
import asyncio, os, sys
from vibeweaver_store import AsyncStore, sessions
parent = asyncio.Runner()
store = parent.run(AsyncStore.open(sys.argv[1]))
parent.run(store.run(sessions.create, name="before"))
child = os.fork()
if child == 0:
    try:
        with asyncio.Runner() as runner:
            runner.run(store.run(sessions.create, name="of the child"))
            runner.run(store.close())
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
parent.run(store.run(sessions.create, name="meanwhile"))
assert os.waitpid(child, 0)[1] == 0
parent.run(store.run(sessions.create, name="after"))
parent.run(store.close())
"""


def test_a_forked_child_has_an_async_store_of_its_own(processes: Processes, database: str) -> None:
    processes.start(_FORK_WITH_A_LOOP, database, warnings="ignore").finish()

    with Store.open(database) as store:
        assert len(list(store.iterate(sessions.page))) == 4
    if "://" not in database:
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- what applications are given for their tests ----------------------------------------------------------------


def test_the_template_database_is_removed_with_its_process_but_not_a_forked_child(processes: Processes) -> None:
    script = """
import os, sys
from vibeweaver_store.testing import new_store, template
made = template()
if os.fork() == 0:
    assert template() == made
    new_store().close()
    sys.exit(0)  # runs atexit, as os._exit would not
os.wait()
print(made, made.exists())
"""
    told = processes.run(script, warnings="ignore")

    path, exists = told.stdout.split()
    assert exists == "True", told.stderr
    assert not Path(path).parent.exists()


def test_a_child_forked_during_creation_of_the_template_can_make_its_own(processes: Processes) -> None:
    script = """
import os, sys
from vibeweaver_store.testing import databases, template
databases._TEMPLATE.lock.acquire()  # as a thread has it that is amid the migrations
child = os.fork()
if child == 0:
    template()
    sys.exit(0)
print(os.waitpid(child, 0)[1])
"""
    assert processes.run(script, warnings="ignore").stdout == "0\n"


def test_new_store_survives_a_fork(processes: Processes) -> None:
    with new_store() as store:
        told = processes.in_child(lambda: store.run(sessions.create, name="child").name)

        assert told == "child"
        assert [each.name for each in store.query(sessions.page).items] == ["child"]
