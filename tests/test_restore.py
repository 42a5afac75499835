"""Restoring: the name of a database is at every moment that of the whole old file or of the whole new one."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from tests.conftest import needs_postgres
from tests.restoring import (
    add,
    contents,
    kept_in,
    make_backup,
    make_database,
    make_home,
    names,
    overwrite_header,
    unfinished,
)
from tests.spawning import Processes
from vibeweaver_store import (
    CorruptData,
    InvalidInput,
    SchemaMismatch,
    Settings,
    Store,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    schema,
    sessions,
    sqlite_copy,
    sqlite_file,
)
from vibeweaver_store.backup import back_up
from vibeweaver_store.compression import Compression, Progress
from vibeweaver_store.restore import Restored, restore
from vibeweaver_store.testing import PostgresServer


@pytest.fixture
def backup(tmp_path: Path, sqlite_template: Path) -> Path:
    return make_backup(tmp_path, sqlite_template)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path)


@pytest.fixture
def database(home: Path, sqlite_template: Path) -> Path:
    return make_database(home, sqlite_template)


def test_a_restore_replaces_the_database_and_keeps_the_old_one(database: Path, backup: Path) -> None:
    done = restore(backup, database)

    assert done == Restored(
        place=str(database),
        source=backup,
        revision=schema.head(),
        rows=done.rows,
        kept=done.kept,
        seconds=done.seconds,
    )
    assert (done.rows["sessions"], done.rows["history"]) == (1, 500)
    assert names(database) == ["new"]
    assert done.kept is not None
    assert done.kept.name.startswith("store.db.before-restore-2")
    assert names(done.kept) == ["old"]
    assert backup.exists()


def test_a_restore_can_be_undone_by_restoring_the_kept_database(database: Path, backup: Path) -> None:
    kept = restore(backup, database).kept
    assert kept is not None

    restore(kept, database)

    assert names(database) == ["old"]
    assert len(kept_in(database.parent)) == 2


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_a_restore_recognises_a_compressed_backup_by_its_bytes(
    database: Path, backup: Path, compress: Compression
) -> None:
    packed = back_up(backup, backup.with_name("backup.txt"), compress=compress).path
    told: list[str] = []

    restore(packed, database, progress=lambda doing, *_: told.append(doing))

    assert names(database) == ["new"]
    assert list(dict.fromkeys(told)) == ["decompressing", "checking", "waiting", "replacing"]


def test_a_restore_on_a_fresh_machine_makes_the_folder_and_keeps_no_database(tmp_path: Path, backup: Path) -> None:
    path = tmp_path / "data" / "vibeweaver" / "store.db"

    done = restore(str(backup), str(path))

    assert done.kept is None
    assert names(path) == ["new"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_restored_older_backup_is_migrated_when_it_is_opened(database: Path, backup: Path) -> None:
    schema.downgrade(backup, "0001")

    assert restore(backup, database).revision == "0001"
    assert schema.current(database) == "0001"
    assert names(database) == ["new"]
    assert schema.current(database) == schema.head()


def test_a_backup_with_rows_without_their_parent_is_restored(database: Path, backup: Path) -> None:
    orphan_rows(backup)

    assert restore(backup, database).rows["history"] == 500
    assert names(database) == []


def test_a_backup_with_another_page_size_is_restored(database: Path, backup: Path) -> None:
    with closing(sqlite3.connect(backup, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("VACUUM")

    assert restore(backup, database).rows["history"] == 500
    assert names(database) == ["new"]


def test_a_restored_database_in_rollback_mode_stays_in_it(home: Path, backup: Path) -> None:
    path = home / "rollback.db"
    with Store.open(path, settings=Settings(journal_mode="DELETE")) as store:
        store.run(sessions.create, name="old")

    restore(backup, path)

    assert path.read_bytes()[18:20] == b"\x01\x01"
    assert sorted(each.name for each in home.iterdir() if ".before-restore-" not in each.name) == [
        "rollback.db",
        "rollback.db.lock",
    ]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_restored_database_keeps_the_permissions_of_the_old_one(database: Path, backup: Path, damaged: bool) -> None:
    if damaged:
        overwrite_header(database)
    database.chmod(0o660)
    if os.geteuid() == 0:
        os.chown(database, 1234, 1235)

    restore(backup, database)

    assert stat.S_IMODE(database.stat().st_mode) == 0o660
    if os.geteuid() == 0:
        assert (database.stat().st_uid, database.stat().st_gid) == (1234, 1235)


def test_a_restore_through_a_link_keeps_the_link(database: Path, backup: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(database)

    restore(backup, link)

    assert link.is_symlink()
    assert names(database) == ["new"]


def test_the_database_kept_by_a_restore_includes_the_wal_of_a_killed_process(database: Path, backup: Path) -> None:
    unfinished(database)

    kept = restore(backup, database).kept

    assert kept is not None
    assert names(kept) == ["old", "old in the wal"]
    assert names(database) == ["new"]
    assert not list(database.parent.glob("*-wal"))


def test_a_live_database_is_restored_with_the_rows_in_its_wal(database: Path, backup: Path) -> None:
    with Store.open(backup) as store:
        store.run(sessions.create, name="new in the wal")
        restore(backup, database)
        store.run(sessions.create, name="still open")

    assert names(database) == ["new", "new in the wal"]


def test_a_backup_in_wal_mode_is_restored_from_a_read_only_place(
    processes: Processes, database: Path, backup: Path
) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    if processes.call("mount", "--bind", "-o", "ro", backup.parent, backup.parent).returncode != 0:
        pytest.skip("this user may not mount a folder read-only")
    processes.execute("mount", "-o", "remount,bind,ro", backup.parent).finish()
    try:
        restore(backup, database)
    finally:
        processes.execute("umount", backup.parent).finish()

    assert names(database) == ["new"]


# --- what is refused -------------------------------------------------------------------------------------------


def make_text(path: Path) -> None:
    path.write_text("a shopping list, and no database at all\n" * 50)


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def make_marked_foreign(path: Path) -> None:
    make_foreign(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 42")


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE vibeweaver_version SET version_num = '9999'")


def flip_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_to_the_header(path: Path) -> None:
    os.truncate(path, 100)


def orphan_rows(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM sessions")


def in_gzip(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def pack(path: Path) -> None:
        make(path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return pack


def cut_gzip(path: Path) -> None:
    in_gzip(lambda _: None)(path)
    cut_in_half(path)


def flip_gzip(path: Path) -> None:
    packed = bytearray(gzip.compress(path.read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)


def change_gzip_checksum(path: Path) -> None:
    packed = bytearray(gzip.compress(path.read_bytes()))
    packed[-8:-4] = zlib.crc32(b"other bytes").to_bytes(4, "little")
    path.write_bytes(packed)


def in_zstd(path: Path) -> bytearray:
    packed = back_up(path, path.with_name("packed"), compress="zstd").path
    return bytearray(packed.read_bytes())


def cut_zstd(path: Path) -> None:
    packed = in_zstd(path)
    path.write_bytes(packed[: len(packed) // 2])


def flip_zstd(path: Path) -> None:
    packed = in_zstd(path)
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)


def make_unfinished_foreign(path: Path) -> None:
    """As a process leaves it that ends amid a transaction."""
    make_foreign(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO recipes VALUES (?)", [("x" * 1000,) for _ in range(1000)])
        left = {each.name: each.read_bytes() for each in path.parent.glob(f"{path.name}*")}
    for name, data in left.items():
        path.with_name(name).write_bytes(data)
    assert path.with_name(f"{path.name}-journal").exists()


def make_a_name_no_unicode(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.find(b"ix_markers_by_beat") + 3] = 0xBF
    path.write_bytes(data)


def make_a_table_no_unicode(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE caf_ (x)")
    path.write_bytes(path.read_bytes().replace(b"caf_", b"caf\xe9"))


def make_archive(path: Path) -> None:
    path.write_bytes(b"PGDMP\x01\x0e\x00" + bytes(5000))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (make_text, StoreUnavailable, "neither an SQLite database nor"),
        (make_archive, StoreUnavailable, "pg_restore"),
        (make_empty, StoreUnavailable, "is empty"),
        (make_foreign, StoreUnavailable, "another application"),
        (make_marked_foreign, StoreUnavailable, "another application"),
        (in_gzip(make_foreign), StoreUnavailable, "another application"),
        (in_gzip(make_text), CorruptData, "damaged"),
        (make_unfinished_foreign, StoreUnavailable, "unfinished transaction"),
        (make_newer, SchemaMismatch, "upgrade the package"),
        (flip_a_page, CorruptData, "damaged"),
        (in_gzip(flip_a_page), CorruptData, "damaged"),
        (cut_in_half, CorruptData, "damaged"),
        (make_a_name_no_unicode, CorruptData, "no UTF-8"),
        (make_a_table_no_unicode, CorruptData, "no UTF-8"),
        (cut_to_the_header, StoreError, "backup.db"),
        (overwrite_header, StoreUnavailable, "neither an SQLite database nor"),
        (cut_gzip, CorruptData, "cut short"),
        (flip_gzip, CorruptData, "damaged"),
        (change_gzip_checksum, CorruptData, "damaged"),
        (cut_zstd, CorruptData, "damaged"),
        (flip_zstd, CorruptData, "damaged"),
    ],
)
def test_a_restore_refuses_an_unsound_backup_and_changes_nothing(
    database: Path, backup: Path, make: Callable[[Path], None], error: type[StoreError], says: str
) -> None:
    make(backup)
    before, given = contents(database.parent), contents(backup.parent)

    with pytest.raises(error, match=says) as caught:
        restore(backup, database)

    assert str(backup) in str(caught.value)
    assert ".part" not in str(caught.value)
    assert contents(database.parent) == before
    assert contents(backup.parent) == given


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{home}/none.db", "no such file"),
        ("{home}", "not a regular file"),
        ("{home}/store.db", "the database itself"),
        ("{home}/link.db", "the database itself"),
        ("{home}/hard.db", "the database itself"),
        ("{home}/fifo", "not a regular file"),
        ("", "blank"),
        ("a\x00b", "not the path"),
        ("x" * 300, "name too long"),
        (None, "not the path"),
        (7, "not the path"),
    ],
)
def test_a_restore_from_an_invalid_source_is_invalid_input(database: Path, source: object, says: str) -> None:
    home = database.parent
    (home / "link.db").symlink_to(database)
    (home / "hard.db").hardlink_to(database)
    os.mkfifo(home / "fifo")
    given = source.replace("{home}", str(home)) if isinstance(source, str) else source

    with pytest.raises(InvalidInput, match=says):
        restore(given, database)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("make", [make_foreign, make_marked_foreign, make_unfinished_foreign])
def test_a_restore_does_not_replace_a_database_of_another_application(
    database: Path, backup: Path, make: Callable[[Path], None]
) -> None:
    make(database)
    before = contents(database.parent)

    with pytest.raises(StoreUnavailable, match=r"another application|its own application"):
        restore(backup, database)

    assert contents(database.parent) == before


def test_a_restore_does_not_replace_a_damaged_database_of_another_application(database: Path, backup: Path) -> None:
    make_foreign(database)
    data = bytearray(database.read_bytes())
    data[100:4096] = b"\xff" * 3996
    database.write_bytes(data)

    with pytest.raises(StoreUnavailable, match="another application"):
        restore(backup, database)

    assert database.read_bytes() == bytes(data)


def test_a_restore_does_not_replace_a_folder(tmp_path: Path, backup: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is a folder"):
        restore(backup, tmp_path)


def test_a_restore_to_memory_is_refused(backup: Path) -> None:
    with pytest.raises(InvalidInput, match="restore to a file"):
        restore(backup, ":memory:")


def test_a_restore_to_postgresql_says_what_to_run_without_a_password(backup: Path) -> None:
    with pytest.raises(InvalidInput, match=r"pg_restore --clean --if-exists --single-transaction") as caught:
        restore(backup, "postgresql://vibe:s3cret@server:5433/late?password=s3cret")

    assert "host=server dbname=late user=vibe port=5433" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@needs_postgres
def test_the_printed_command_restores_a_postgresql_archive(
    processes: Processes, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    name = postgres_server.make()
    try:
        url = postgres_server.url_of(name)
        with Store.open(url, migrate=True) as store:
            jam = store.run(sessions.create, name="new")
            archive = back_up(url, tmp_path / "a.dump").path
            store.run(sessions.delete, jam.id)
        with pytest.raises(InvalidInput) as told:
            restore(archive, url)
        command = str(told.value).partition("program: ")[2]
        processes.execute("sh", "-c", command).finish()

        with Store.open(url) as store:
            assert [each.name for each in store.query(sessions.page).items] == ["new"]
    finally:
        postgres_server.drop(name)


# --- while somebody has it open --------------------------------------------------------------------------------

_HOLD = """
import sys
from vibeweaver_store import Settings, Store, sessions
store = Store.open(sys.argv[1], settings=Settings(journal_mode=sys.argv[2]))
if sys.argv[3] == "writing":
    unit = store.begin()
    sessions.create(unit.__enter__(), name="held")
else:
    store.query(sessions.page)
print("open", flush=True)
sys.stdin.readline()
"""


Held: TypeAlias = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def held(processes: Processes) -> Held:
    """Have a database open in another process for a block."""

    @contextmanager
    def hold(path: Path, *how: str) -> Iterator[None]:
        holder = processes.start(_HOLD, path, *how)
        assert holder.read_line() == "open"
        try:
            yield
        finally:
            holder.kill()

    return hold


@pytest.mark.parametrize("how", [("WAL", "idle"), ("WAL", "writing"), ("DELETE", "writing")])
def test_a_restore_of_a_database_open_in_another_process_is_refused(
    held: Held, database: Path, backup: Path, impatient: Settings, how: tuple[str, str]
) -> None:
    with held(database, *how):
        with pytest.raises(StoreBusy, match="has the database open"):
            restore(backup, database, settings=impatient)
        assert kept_in(database.parent) == []
    assert "new" not in names(database)

    restore(backup, database)

    assert names(database) == ["new"]


def test_a_restore_of_a_database_open_in_this_process_is_refused_at_once(database: Path, backup: Path) -> None:
    told: list[str] = []
    with Store.open(database) as store:
        with pytest.raises(StoreBusy, match="a store of this one"):
            restore(backup, database, progress=lambda doing, *_: told.append(doing))
        assert told == []
        store.run(sessions.create, name="goes on")
    assert names(database) == ["goes on", "old"]


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_a_restore_does_not_replace_a_damaged_database_open_in_this_process(
    database: Path, backup: Path, journal_mode: Literal["WAL", "DELETE"]
) -> None:
    with Store.open(database, settings=Settings(journal_mode=journal_mode)):
        with database.open("r+b") as file:
            file.write(b"\xff" * 100)
        with pytest.raises(StoreBusy, match="a store of this one"):
            restore(backup, database)
    assert kept_in(database.parent) == []

    assert restore(backup, database).kept is not None


def test_a_restore_does_not_replace_a_damaged_database_open_in_another_process(
    held: Held, database: Path, backup: Path, impatient: Settings
) -> None:
    with held(database, "WAL", "idle"):
        with database.open("r+b") as file:
            file.write(b"\xff" * 100)
        with pytest.raises(StoreBusy, match="another process"):
            restore(backup, database, settings=impatient)
    assert kept_in(database.parent) == []


def test_a_restore_during_a_migration_by_another_process_is_refused(
    database: Path, backup: Path, impatient: Settings
) -> None:
    import filelock

    with filelock.FileLock(database.with_name("store.db.lock")), pytest.raises(StoreBusy):
        restore(backup, database, settings=impatient)


# --- over what is damaged --------------------------------------------------------------------------------------


def damage_schema(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)


DAMAGES = [
    *(flip_a_page, damage_schema, cut_in_half, cut_to_the_header, overwrite_header, make_empty, make_text),
    *(make_a_name_no_unicode, make_a_table_no_unicode),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("beside", ["nothing", "a wal"])
def test_a_restore_replaces_a_damaged_database_and_keeps_it_with_its_wal(
    database: Path, backup: Path, damage: Callable[[Path], None], beside: str
) -> None:
    add(database, "older", entries=200)
    if beside == "a wal":
        unfinished(database)
    damage(database)
    wal = database.with_name("store.db-wal")
    before = (database.read_bytes(), wal.read_bytes() if wal.exists() else None)

    kept = restore(backup, database).kept

    assert names(database) == ["new"]
    assert kept is not None
    assert not wal.exists()
    kept_wal = kept.with_name(f"{kept.name}-wal")
    if damage not in {flip_a_page, cut_in_half}:  # where SQLite still reads, what is kept is what it reads
        assert (kept.read_bytes(), kept_wal.read_bytes() if kept_wal.exists() else None) == before


def test_a_restore_does_not_replay_the_wal_of_a_missing_database(database: Path, backup: Path) -> None:
    unfinished(database)
    wal = database.with_name("store.db-wal").read_bytes()
    database.unlink()

    assert restore(backup, database).kept is None
    assert names(database) == ["new"]
    (left,) = kept_in(database.parent)
    assert left.name.endswith("-wal")
    assert left.read_bytes() == wal


_LEAVE_A_JOURNAL = """
import os, sys
from vibeweaver_store import Settings, Store, history, sessions
store = Store.open(sys.argv[1], settings=Settings(journal_mode="DELETE", cache_size=1))
jam = store.run(sessions.create, name="committed")
with store.begin() as uow:
    history.append_many(uow, jam.id, (history.NewEntry("x", params="y" * 500) for _ in range(3000)))
    uow.flush()
    os._exit(0)
"""


def test_a_restore_does_not_replay_the_journal_of_the_old_database(
    processes: Processes, home: Path, backup: Path
) -> None:
    path = home / "store.db"
    processes.start(_LEAVE_A_JOURNAL, path).finish()
    assert path.with_name("store.db-journal").exists()

    kept = restore(backup, path).kept

    assert names(path) == ["new"]
    assert kept is not None
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT name FROM sessions").fetchall() == [("committed",)]
        assert connection.execute("SELECT count(*) FROM history").fetchone() == (0,)


# --- failures amid ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["link", "replace"])
def test_a_restore_that_fails_to_exchange_a_damaged_file_is_undone(
    database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    unfinished(database)
    overwrite_header(database)
    before = contents(database.parent)
    real = getattr(os, call)

    def fail(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith("store.db") or call == "link":
            raise OSError(5, "Input/output error")
        real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            restore(backup, database)

    after = contents(database.parent)
    assert {**before, "store.db-shm": b""} == {**after, "store.db-shm": b""}  # made anew from the -wal


@pytest.mark.parametrize(
    ("compress", "amid"), [(None, "copying"), ("gzip", "decompressing"), (None, "waiting"), (None, "replacing")]
)
def test_a_restore_on_a_full_disk_leaves_the_old_database(
    processes: Processes, home: Path, backup: Path, sqlite_template: Path, *, compress: Compression | None, amid: str
) -> None:
    old, new = sqlite_template.stat().st_size, backup.stat().st_size
    size = {"waiting": old + new + old // 2, "replacing": old + new + old + new // 2}.get(amid, old + new // 2)
    if compress:
        backup = back_up(backup, backup.with_name("packed"), compress=compress).path
    told: list[str] = []
    if processes.call("mount", "-t", "tmpfs", "-o", f"size={size // 1024}k", "tmpfs", home).returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        path = home / "store.db"
        shutil.copyfile(sqlite_template, path)
        with pytest.raises(StoreUnavailable, match=r"disk is full|No space left") as caught:
            restore(backup, path, progress=lambda doing, *_: told.append(doing))
        assert told[-1:] == ([] if compress else [amid])  # so small a file is decompressed in one part
        assert str(path) in str(caught.value)
        assert names(path) == []
        assert kept_in(home) == []
        assert not [each for each in home.iterdir() if each.name.endswith(".part")]
    finally:
        processes.execute("umount", home).finish()


@pytest.mark.parametrize("amid", ["copying", "checking", "waiting", "replacing"])
def test_ctrl_c_during_a_restore_leaves_only_the_old_database(
    database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, amid: str
) -> None:
    monkeypatch.setattr(sqlite_copy, "_PAGES_A_STEP", 7)
    before = contents(database.parent)

    def interrupt(doing: str, *_: int) -> None:
        if doing == amid:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(backup, database, progress=interrupt)

    assert contents(database.parent) == before


def interrupting(amid: str, step: int) -> Progress:
    """Press Ctrl-C after so many steps of something."""
    left = step

    def tell(doing: str, *_: int) -> None:
        nonlocal left
        left -= doing == amid
        if left < 0:
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("pages", [7, 1000])
def test_ctrl_c_at_any_step_of_a_restore_leaves_or_keeps_the_old_database(
    database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, pages: int, journal_mode: str
) -> None:
    monkeypatch.setattr(sqlite_copy, "_PAGES_A_STEP", pages)
    step = 0
    while kept_in(database.parent) == []:
        assert names(database) == ["old"]
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        with pytest.raises(KeyboardInterrupt):
            restore(backup, database, progress=interrupting("replacing", step))
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == (journal_mode,)
        step += 1

    assert (step == 1) == (pages == 1000)
    assert names(database) == ["new"]
    (kept,) = kept_in(database.parent)
    assert names(kept) == ["old"]


def test_a_restore_on_a_network_file_system_is_refused(
    database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/music {str(database.parent).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n")
    monkeypatch.setattr(sqlite_file, "MOUNTS", mounts)
    before = contents(database.parent)

    with pytest.raises(StoreUnavailable, match="nfs4"):
        restore(backup, database)

    assert contents(database.parent) == before
