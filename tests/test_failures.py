"""What befalls a disk and a file, done for real: the error is typed, and nothing is lost that was committed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.conftest import EVERYTHING
from tests.spawning import Process, Processes
from vibeweaver_store import (
    CorruptData,
    MigrationFailed,
    Settings,
    Store,
    StoreError,
    StoreUnavailable,
    history,
    markers,
    schema,
    sessions,
)
from vibeweaver_store.upkeep.checkup import check
from vibeweaver_store.upkeep.maintenance import maintain

PAGE = 4096
NOBODY = 65534


def beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}{ending}")


def fill(path: Path, entries: int, *, settings: Settings | None = None) -> None:
    with Store.open(path, settings=settings) as store, store.begin() as uow:
        sessions.create(uow, name="kept", session_id="jam")
        history.append_many(uow, "jam", (history.NewEntry(f"entry {n}", params="x" * 500) for n in range(entries)))


def broken(path: Path) -> list[str]:
    return [finding.name for finding in check(path).findings if finding.verdict == "broken"]


Child: TypeAlias = Callable[..., AbstractContextManager[Process]]


@pytest.fixture
def child_of(processes: Processes) -> Child:
    """Run a script in another process for a block. It tells what it finds in JSON, and goes on when it is told to."""

    @contextmanager
    def start(script: str, *arguments: object) -> Iterator[Process]:
        process = processes.start(script, *arguments)
        try:
            yield process
        finally:
            process.kill()

    return start


def told(process: Process) -> Any:
    return json.loads(process.read_line())


# --- a full disk -----------------------------------------------------------------------------------------------


class SmallDisk:
    """A file system of two mebibytes in memory."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self.folder = folder

    def change(self, options: str) -> None:
        self._processes.execute("mount", "-o", f"remount,{options}", self.folder).finish()


@pytest.fixture
def small_disk(processes: Processes, tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = processes.call("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", folder)
    if mounted.returncode != 0:
        assert not (EVERYTHING and os.geteuid() == 0), mounted.stderr
        pytest.skip(f"a disk cannot be mounted here ({mounted.stderr})")
    yield SmallDisk(processes, folder)
    processes.execute("umount", "--lazy", folder).finish()


@dataclass
class Place:
    """A folder where a file finds no room: on a small disk, or beyond a limit (in bytes) to the size of a file."""

    folder: Path
    limit: int
    disk: SmallDisk | None = None

    def be_full(self) -> None:
        if self.disk is not None:
            self.disk.change("size=40k")

    def make_room(self) -> None:
        if self.disk is not None:
            self.disk.change("size=64m")


@pytest.fixture(params=["a small disk", "a limit"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "a limit":
        pytest.importorskip("resource", reason="this system has no limits to the size of a file")
        return Place(tmp_path, 1_000_000)
    disk: SmallDisk = request.getfixturevalue("small_disk")
    return Place(disk.folder, 0, disk)


_LIMITED = """
import json, sys
from vibeweaver_store import Settings, Store, StoreError, history, schema, sessions
from vibeweaver_store.upkeep import maintenance
def limit(size):
    if size:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
def attempt(work):
    try:
        work()
    except StoreError as error:
        return [type(error).__name__, error.message]
def tell(*what):
    print(json.dumps(what), flush=True)
"""

_FILL = f"""{_LIMITED}
import resource
store = Store.open(sys.argv[1])
store.run(sessions.create, name="jam", session_id="jam")
limit(int(sys.argv[2]))
kept = 0
def fill():
    global kept
    while kept < 10_000:
        store.run(history.append, "jam", "x", params="y" * 5000)
        kept += 1
tell(attempt(fill), kept, store.query(history.count, "jam"))
sys.stdin.readline()
limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1] if int(sys.argv[2]) else 0)
store.run(history.append, "jam", "after")
tell(store.query(history.count, "jam"))
"""


def test_writes_on_a_full_disk_are_refused_until_there_is_room(child_of: Child, full: Place) -> None:
    path = full.folder / "store.db"
    with child_of(_FILL, path, full.limit) as child:
        (kind, message), kept, counted = told(child)
        full.make_room()
        child.write_line()
        (after,) = told(child)

    assert kind == "StoreUnavailable"
    assert str(path) in message
    assert "full" in message or full.limit
    assert kept == counted > 10
    assert after == kept + 1
    with Store.open(path) as store:
        assert store.query(history.count, "jam") == after
    assert broken(path) == []


_OPEN = f"""{_LIMITED}
limit(int(sys.argv[2]) and 20_000)
tell(attempt(lambda: Store.open(sys.argv[1])))
"""


def test_a_store_on_a_full_disk_is_made_once_there_is_room(child_of: Child, full: Place) -> None:
    path = full.folder / "store.db"
    full.be_full()
    with child_of(_OPEN, path, full.limit) as child:
        ((kind, message),) = told(child)
    full.make_room()

    assert kind == "StoreUnavailable"
    assert str(path) in message
    fill(path, 1)
    assert broken(path) == []


_UPGRADE = f"""{_LIMITED}
limit(int(sys.argv[2]))
tell(attempt(lambda: schema.upgrade(sys.argv[1])))
"""


def test_a_migration_on_a_full_disk_leaves_the_database_and_no_partial_backup(
    child_of: Child, full: Place, tmp_path: Path
) -> None:
    path = full.folder / "store.db"
    fill(tmp_path / "older.db", 2000)
    schema.downgrade(tmp_path / "older.db", "0001")
    with closing(sqlite3.connect(tmp_path / "older.db")) as connection:
        connection.execute("VACUUM")  # the pages of tables that were made anew
    shutil.copyfile(tmp_path / "older.db", path)
    assert path.stat().st_size > 1_100_000
    with child_of(_UPGRADE, path, full.limit) as child:
        ((kind, message),) = told(child)
    full.make_room()

    assert kind == MigrationFailed.__name__
    assert "nothing was changed" in message
    assert {each.name for each in full.folder.glob("store.db*")} == {"store.db", "store.db.lock"}
    assert list(full.folder.glob(".*")) == []
    assert schema.current(path) == "0001"
    with Store.open(path) as store:
        assert store.query(history.count, "jam") == 2000


_CHECKPOINT = f"""{_LIMITED}
store = Store.open(sys.argv[1])
limit(int(sys.argv[2]))
store.run(history.append, "jam", "committed")
tell(attempt(lambda: maintenance.maintain(sys.argv[1])))
"""


def test_a_checkpoint_without_room_loses_no_commit(child_of: Child, tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limits to the size of a file")
    path = tmp_path / "store.db"
    fill(path, 4000)
    with child_of(_CHECKPOINT, path, 1_000_000) as child:
        ((kind, message),) = told(child)

    assert kind == "StoreUnavailable"
    assert str(path) in message
    with Store.open(path) as store:
        assert store.query(history.page, "jam", limit=1).items[0].action == "committed"
        assert maintain(path).checkpointed
    assert broken(path) == []


# --- a disk or a file that became read-only --------------------------------------------------------------------


def test_a_read_only_disk_is_unavailable_until_it_is_writable_again(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "store.db"
    fill(path, 1)
    with Store.open(path) as store:
        store._engines.close_idle()  # a disk can be remounted only while nobody has a file on it open
        small_disk.change("ro")
        for use in (lambda: store.run(history.append, "jam", "x"), lambda: store.query(sessions.page)):
            with pytest.raises(StoreUnavailable, match=r"store\.db"):
                use()
        with pytest.raises(StoreUnavailable, match="read-only"):
            Store.open(path)
        with pytest.raises(StoreUnavailable, match="read-only"):
            maintain(path)
        assert "permissions" in broken(path)
        small_disk.change("rw")
        store.run(history.append, "jam", "x")

        assert store.query(history.count, "jam") == 2


_AS_SOMEBODY = f"""{_LIMITED}
import os
if os.geteuid() == 0:  # root may write whatever the mode says
    os.setgid({NOBODY}); os.setuid({NOBODY})
store = Store.open(sys.argv[1])
store.run(history.append, "jam", "before")
tell("open")
sys.stdin.readline()
tell(attempt(lambda: store.run(history.append, "jam", "during")), attempt(lambda: Store.open(sys.argv[1])))
sys.stdin.readline()
store.run(history.append, "jam", "after")
tell([entry.action for entry in store.query(history.page, "jam").items])
"""


def test_a_file_made_read_only_under_an_open_store_is_refused_or_written_whole(
    child_of: Child,
) -> None:
    # Not under pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "store.db"
        fill(path, 0)
        if os.geteuid() == 0:
            for each in (folder, *folder.iterdir()):
                os.chown(each, NOBODY, NOBODY)
        with child_of(_AS_SOMEBODY, path) as child:
            told(child)
            for each, mode in ((path, 0o444), (folder, 0o555)):
                each.chmod(mode)
            child.write_line()
            during, opened = told(child)
            for each, mode in ((path, 0o600), (folder, 0o700)):
                each.chmod(mode)
            child.write_line()
            (actions,) = told(child)

    assert opened[0] == "StoreUnavailable"
    assert "cannot be read and written" in opened[1]
    assert during is None or during[0] == "StoreUnavailable"
    assert actions == ["after", *([] if during else ["during"]), "before"]


# --- a file that is gone, cut off or overwritten ---------------------------------------------------------------


def test_a_folder_deleted_under_an_open_store_is_not_recreated(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(folder / "store.db", 1)
    with Store.open(folder / "store.db") as store:
        store.query(sessions.page)
        shutil.rmtree(folder)
        for use in (lambda: store.run(history.append, "jam", "x"), lambda: store.query(sessions.page)):
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                use()
        assert broken(folder / "store.db") == ["file"]

    assert not folder.exists()


@pytest.mark.parametrize("size", ["half", "header"])
def test_a_truncated_database_is_corrupt_data(tmp_path: Path, size: str) -> None:
    path = tmp_path / "store.db"
    fill(path, 300)
    os.truncate(path, {"half": path.stat().st_size // 2, "header": 100}[size])

    with pytest.raises(CorruptData, match="damaged"):
        Store.open(path)
    with pytest.raises(CorruptData, match="damaged"):
        maintain(path)
    assert broken(path) == ["readable"]


_CUT_OFF = f"""{_LIMITED}
import os
store = Store.open(sys.argv[1], settings=Settings(busy_timeout_seconds=0.2))
store.query(sessions.page)
os.truncate(sys.argv[1], int(sys.argv[2]))
def read():
    store.query(history.page, "jam", limit=1000)
def write():
    store.run(history.append, "jam", "x")
tell(attempt(read), attempt(write))
"""


@pytest.mark.parametrize("size", [0, 100, 10 * PAGE])
def test_a_database_truncated_under_an_open_store_ends_no_process(child_of: Child, tmp_path: Path, size: int) -> None:
    path = tmp_path / "store.db"
    fill(path, 300)
    with child_of(_CUT_OFF, path, size) as child:
        reading, writing = told(child)

    assert reading[0] == "CorruptData"
    assert writing[0] in {"CorruptData", "StoreBusy"}


def pages_with(path: Path, mark: bytes) -> list[int]:
    """The pages, from 0, on which some bytes stand."""
    whole = path.read_bytes()
    return [number for number in range(len(whole) // PAGE) if mark in whole[number * PAGE : (number + 1) * PAGE]]


def root_of(path: Path, name: str) -> int:
    """The page, from 0, where a table or an index begins."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    return int(found[0]) - 1


def overwrite(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xff" * PAGE)


def test_a_damaged_page_of_a_table_is_corrupt_data_and_the_rest_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 300)
    overwrite(path, pages_with(path, b"entry 150")[0])

    with Store.open(path) as store:
        with pytest.raises(CorruptData, match="restore it from a backup"):
            list(history.iterate(store, "jam"))
        assert store.query(sessions.get, "jam").name == "kept"
        assert len(store.query(history.page, "jam", limit=100).items) == 100
    assert "integrity" in broken(path)


def test_a_damaged_page_of_an_index_is_corrupt_data_and_the_rest_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 1)
    overwrite(path, root_of(path, "ix_markers_by_beat"))

    with Store.open(path) as store:
        for use in (lambda: store.query(markers.page, "jam"), lambda: store.run(markers.add, "jam", 1.0, "drop")):
            with pytest.raises(CorruptData, match="restore it from a backup"):
                use()
        assert store.query(history.count, "jam") == 1
    assert "integrity" in broken(path)


# --- what a process left that has ended ------------------------------------------------------------------------


def actions(path: Path, settings: Settings | None = None) -> list[str]:
    with Store.open(path, settings=settings) as store:
        return [entry.action for entry in history.iterate(store, "jam", oldest_first=True)]


_HOLD_OPEN = f"""{_LIMITED}
import os
store = Store.open(sys.argv[1])
store.run(history.append, "jam", "first")
size = os.stat(sys.argv[1] + "-wal").st_size
store.run(history.append, "jam", "second")
tell(size)
sys.stdin.readline()
"""


def test_a_wal_truncated_amid_a_commit_keeps_the_commits_before(child_of: Child, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 1)
    with child_of(_HOLD_OPEN, path) as child:
        (size,) = told(child)
    os.truncate(beside(path, "-wal"), size + 100)

    assert actions(path) == ["entry 0", "first"]
    assert broken(path) == []


def test_a_database_whose_wal_was_deleted_is_whole_without_its_commits(child_of: Child, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 1)
    with child_of(_HOLD_OPEN, path) as child:
        told(child)
        beside(path, "-wal").unlink()

    assert actions(path) == ["entry 0"]
    assert broken(path) == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_whose_wal_was_deleted_accepts_no_more_writes(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "store.db"
    fill(path, 1)
    with Store.open(path) as store:
        store.run(history.append, "jam", "first")
        beside(path, "-wal").unlink()
        if replaced:
            beside(path, "-wal").touch()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="-wal file was deleted"):
                store.run(history.append, "jam", "second")
            with pytest.raises(StoreUnavailable):
                store.query(history.recent, "jam")


def test_an_emptied_database_beside_its_wal_is_not_taken_for_a_new_one(child_of: Child, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 1)
    with child_of(_HOLD_OPEN, path) as child:
        told(child)
    assert beside(path, "-wal").exists()
    os.truncate(path, 0)

    for _ in range(2):
        with pytest.raises(CorruptData, match="restore it from a backup"):
            Store.open(path)
    assert path.stat().st_size == 0


_HOLD_LOCK = f"""{_LIMITED}
from pathlib import Path
from vibeweaver_store.locks import file_lock
with file_lock(Path(sys.argv[1]), 1):
    tell("held")
    sys.stdin.readline()
"""


@pytest.mark.parametrize("text", ["", "12345\n"])
def test_the_lock_file_of_a_killed_process_blocks_no_store(
    child_of: Child, tmp_path: Path, impatient: Settings, text: str
) -> None:
    path = tmp_path / "store.db"
    with child_of(_HOLD_LOCK, path) as child:
        told(child)
        with pytest.raises(StoreError, match="another process"):
            Store.open(path, settings=impatient)
    beside(path, ".lock").write_text(text)

    Store.open(path, settings=impatient).close()


def test_a_store_whose_lock_file_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store.db.lock").mkdir()

    with pytest.raises(StoreUnavailable, match="lock file"):
        Store.open(tmp_path / "store.db")

    assert [each.name for each in tmp_path.iterdir()] == ["store.db.lock"]
