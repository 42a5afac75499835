"""Backups: of a database that others write to, whole and checked before they have their name."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.backing_up import ENTRIES, fill, names_in
from tests.conftest import needs_postgres
from tests.spawning import Processes
from vibeweaver_store import (
    AlreadyExists,
    CorruptData,
    InvalidInput,
    SchemaMismatch,
    Settings,
    Store,
    StoreError,
    StoreUnavailable,
    compression,
    history,
    schema,
    sessions,
    sqlite_copy,
    sqlite_file,
)
from vibeweaver_store.backup import Backup, back_up
from vibeweaver_store.compression import Compression, Progress
from vibeweaver_store.testing import PostgresServer


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


def test_a_backup_is_a_database_with_all_committed_rows(filled: Path, backups: Path) -> None:
    done = back_up(filled, backups / "a.db")

    assert done == Backup(
        path=backups / "a.db",
        place=str(filled),
        size_bytes=(backups / "a.db").stat().st_size,
        revision=schema.head(),
        rows=done.rows,
        compress=None,
        seconds=done.seconds,
    )
    assert (done.rows["sessions"], done.rows["history"]) == (1, ENTRIES)
    assert "vibeweaver_version" not in done.rows
    with Store.open(done.path) as copy:
        assert [jam.name for jam in copy.query(sessions.page).items] == ["jam"]


def test_a_backup_is_one_plain_file_for_this_user_only(filled: Path, backups: Path) -> None:
    with Store.open(filled) as store:
        store.query(sessions.page)
        done = back_up(filled, backups / "a.db")

    assert names_in(backups) == ["a.db"]
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert done.path.read_bytes()[18:20] == b"\x01\x01"  # in rollback mode: it can be read on a read-only disk


def test_a_backup_includes_rows_only_in_the_wal(sqlite_path: Path, backups: Path) -> None:
    with Store.open(sqlite_path) as store:
        store.run(sessions.create, name="jam")
        assert sqlite_path.with_name("store.db-wal").stat().st_size > 0

        assert back_up(sqlite_path, backups / "a.db").rows["sessions"] == 1


def test_a_backup_excludes_an_uncommitted_row(sqlite_path: Path, backups: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin() as uow:
        sessions.create(uow, name="jam")
        uow.flush()

        assert back_up(sqlite_path, backups / "a.db").rows["sessions"] == 0


def test_a_backup_of_an_older_schema_does_not_migrate_it(sqlite_path: Path, backups: Path) -> None:
    schema.downgrade(sqlite_path, "0001")

    done = back_up(sqlite_path, backups)

    assert done.revision == "0001"
    assert done.path.name.startswith("store-0001-")
    assert schema.current(done.path) == "0001"
    assert schema.current(sqlite_path) == "0001"


def test_a_backup_into_a_folder_is_named_after_database_revision_and_time(filled: Path, backups: Path) -> None:
    first, second = back_up(filled, backups), back_up(filled, str(backups), compress="gzip")

    assert first.path.name.startswith(f"store-{schema.head()}-2")
    assert first.path.suffix == ".db"
    assert second.path.name.endswith("Z.db.gz")
    assert names_in(backups) == [first.path.name, second.path.name]


def test_a_backup_reports_progress_up_to_the_end(filled: Path, backups: Path) -> None:
    told: list[tuple[str, int, int]] = []

    back_up(filled, backups / "a.db.gz", compress="gzip", progress=lambda *each: told.append(each))

    assert list(dict.fromkeys(doing for doing, _, _ in told)) == ["copying", "checking", "compressing", "reading back"]
    for doing in ("copying", "compressing", "reading back"):
        last = [each for each in told if each[0] == doing][-1]
        assert last[1] == last[2] > 0


# --- compressed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("compress", "tool"), [("gzip", "gzip"), ("zstd", "zstd")])
def test_a_compressed_backup_can_be_read_by_the_usual_tool(
    processes: Processes, filled: Path, backups: Path, *, compress: Compression, tool: str
) -> None:
    plain = back_up(filled, backups / "plain.db")
    packed = back_up(filled, backups / "packed", compress=compress)

    assert packed.size_bytes < plain.size_bytes / 5
    assert packed.rows == plain.rows
    assert names_in(backups) == ["packed", "plain.db"]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    with packed.path.open("rb") as file, (backups / "unpacked.db").open("wb") as unpacked:
        processes.execute(tool, "-dc", stdin=file, stdout=unpacked).finish()
    assert (backups / "unpacked.db").read_bytes() == plain.path.read_bytes()


def test_a_compressed_backup_that_reads_back_as_another_gets_no_name(
    filled: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = compression._reader

    def read_another(file: BinaryIO, kind: Compression) -> AbstractContextManager[Any]:
        Path(file.name).write_bytes(gzip.compress(b"another"))
        return reader(file, kind)

    monkeypatch.setattr(compression, "_reader", read_another)

    with pytest.raises(CorruptData, match="read back"):
        back_up(filled, backups / "a.db.gz", compress="gzip")
    assert names_in(backups) == []


def test_a_backup_with_an_unknown_compression_is_refused(filled: Path, backups: Path) -> None:
    with pytest.raises(InvalidInput, match="gzip and zstd"):
        back_up(filled, backups / "a", compress="rar")  # type: ignore[arg-type]  # that is the point


def test_a_backup_with_a_compression_that_is_not_a_name_is_refused(filled: Path, backups: Path) -> None:
    with pytest.raises(InvalidInput, match="gzip and zstd"):
        back_up(filled, backups / "a", compress=[])  # type: ignore[arg-type]  # that is the point


def test_a_zstd_backup_without_zstandard_is_refused_before_any_work(
    filled: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)

    with pytest.raises(StoreUnavailable, match=r"vibeweaver-store\[zstd\]"):
        back_up(filled, backups / "a", compress="zstd")

    assert names_in(backups) == []


# --- where it may not go ---------------------------------------------------------------------------------------


def test_a_backup_never_overwrites_a_file_unless_asked_to(filled: Path, backups: Path) -> None:
    path = backups / "a.db"
    path.write_text("dear diary")

    with pytest.raises(AlreadyExists, match=r"a\.db"):
        back_up(filled, path)
    assert path.read_text() == "dear diary"

    assert back_up(filled, path, overwrite=True).rows["sessions"] == 1
    assert names_in(backups) == ["a.db"]


def test_a_backup_does_not_overwrite_a_file_that_appears_meanwhile(filled: Path, backups: Path) -> None:
    path = backups / "a.db"

    def show_up(_doing: str, _done: int, _total: int) -> None:
        path.write_text("dear diary")

    with pytest.raises(AlreadyExists):
        back_up(filled, path, progress=show_up)

    assert path.read_text() == "dear diary"
    assert names_in(backups) == ["a.db"]


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link", "-wal", "-journal", ".lock"])
def test_a_backup_never_overwrites_the_database_itself(filled: Path, backups: Path, way: str) -> None:
    path = backups / "a.db"
    if way == "symlink":
        path.symlink_to(filled)
    elif way == "hard link":
        path.hardlink_to(filled)
    else:
        path = filled if way == "itself" else filled.with_name(f"{filled.name}{way}")

    with pytest.raises(InvalidInput, match=r"belongs to the database itself|beside a database"):
        back_up(filled, path, overwrite=True)

    with Store.open(filled) as store:
        assert len(store.query(sessions.page).items) == 1


def test_a_backup_to_a_name_with_a_wal_beside_it_is_refused(filled: Path, backups: Path) -> None:
    (backups / "a.db-wal").write_bytes(b"left behind")

    with pytest.raises(InvalidInput, match="would play into the backup"):
        back_up(filled, backups / "a.db")


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("{folder}/none/a.db", "there is no folder"),
        ("{folder}/file/a.db", "there is no folder"),
        ("", "blank"),
        ("  ", "blank"),
        ("{folder}/a\x00b", "not the path"),
        ("{folder}/" + "x" * 300, "name too long"),
        ("{folder}/" + "x" * 252, "name too long"),
        ("{folder}/other.db-wal", "beside a database"),
        ("{folder}/other.db-shm", "beside a database"),
        ("{folder}/other.db-journal", "beside a database"),
        ("{folder}/other.db.lock", "beside a database"),
        ("{folder}/fifo", "not a regular file"),
        ("sqlite:a.db", "'sqlite' begins a URL"),
        ("postgresql:/me:s3cret@host/a", "'postgresql' begins a URL"),
        (None, "not the path"),
        (b"a.db", "not the path"),
        (7, "not the path"),
    ],
)
def test_a_backup_to_an_invalid_destination_is_invalid_input(
    filled: Path, backups: Path, destination: object, says: str
) -> None:
    (backups / "file").touch()
    os.mkfifo(backups / "fifo")
    given = destination.replace("{folder}", str(backups)) if isinstance(destination, str) else destination

    with pytest.raises(InvalidInput, match=says):
        back_up(filled, given, overwrite=True)  # type: ignore[arg-type]  # that is the point

    assert names_in(backups) == ["fifo", "file"]


def test_a_backup_follows_a_dangling_link(filled: Path, backups: Path) -> None:
    (backups / "latest.db").symlink_to(backups / "a.db")

    assert back_up(filled, backups / "latest.db").path == backups / "a.db"
    assert (backups / "latest.db").is_symlink()


def test_a_backup_takes_a_name_that_is_not_unicode(filled: Path, backups: Path) -> None:
    path = Path(os.fsdecode(bytes(backups) + b"/caf\xe9.db"))

    assert back_up(filled, path).path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_backup_to_a_folder_without_write_permission_is_unavailable(
    processes: Processes, sqlite_template: Path
) -> None:
    # Not under pytest's own folder, which other users may not enter.
    import tempfile

    script = (
        "import os, sys; from vibeweaver_store.backup import back_up; os.setgid(65534); os.setuid(65534)\n"
        "try: back_up(sys.argv[1] + '/data/a.db', sys.argv[1] + '/closed')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each, mode in (("data", 0o777), ("closed", 0o555)):
            (folder / each).mkdir()
            (folder / each).chmod(mode)
        shutil.copyfile(sqlite_template, folder / "data" / "a.db")
        (folder / "data" / "a.db").chmod(0o666)
        written = processes.start(script, name).finish()

        assert written.startswith("StoreUnavailable")
        assert "Permission denied" in written
        assert names_in(folder / "closed") == []


# --- what cannot be backed up ----------------------------------------------------------------------------------


def test_an_in_memory_store_has_nothing_to_back_up(backups: Path) -> None:
    with pytest.raises(InvalidInput, match="in-memory"):
        back_up(":memory:", backups)


def test_a_backup_of_a_missing_database_makes_none(tmp_path: Path, backups: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no such file"):
        back_up(tmp_path / "none.db", backups)

    assert not (tmp_path / "none.db").exists()


def test_a_backup_of_an_empty_file_is_refused(tmp_path: Path, backups: Path) -> None:
    (tmp_path / "empty.db").touch()

    with pytest.raises(StoreUnavailable, match="is empty"):
        back_up(tmp_path / "empty.db", backups)
    assert names_in(backups) == []


def test_a_backup_of_a_database_of_another_application_is_refused(tmp_path: Path, backups: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")

    with pytest.raises(StoreUnavailable, match="another application"):
        back_up(tmp_path / "a.db", backups)


def test_a_backup_of_a_newer_schema_is_refused(sqlite_path: Path, backups: Path) -> None:
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as connection:
        connection.execute("UPDATE vibeweaver_version SET version_num = '9999'")

    with pytest.raises(SchemaMismatch, match="upgrade the package"):
        back_up(sqlite_path, backups)
    assert names_in(backups) == []


def test_a_backup_of_a_damaged_database_is_refused(filled: Path, backups: Path) -> None:
    damaged = bytearray(filled.read_bytes())
    middle = len(damaged) // 2 // 4096 * 4096
    damaged[middle : middle + 4096] = b"\xff" * 4096
    filled.write_bytes(damaged)

    with pytest.raises(CorruptData, match=r"store\.db"):
        back_up(filled, backups / "a.db")
    assert names_in(backups) == []


def test_a_database_whose_rows_break_a_check_is_not_backed_up(sqlite_path: Path, backups: Path) -> None:
    with Store.open(sqlite_path) as store:
        store.run(sessions.create, name="jam")
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE sessions SET status = 'nowhere'")

    with pytest.raises(CorruptData, match="CHECK"):
        back_up(sqlite_path, backups / "a.db")
    assert names_in(backups) == []


def test_a_backup_keeps_rows_without_their_parent(sqlite_path: Path, backups: Path) -> None:
    session_id = fill(sqlite_path)
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))

    assert back_up(sqlite_path, backups / "a.db").rows["history"] == ENTRIES


def test_a_backup_name_too_long_for_its_folder_is_invalid_input(
    tmp_path: Path, sqlite_template: Path, backups: Path
) -> None:
    path = tmp_path / f"{'x' * 230}.db"
    shutil.copyfile(sqlite_template, path)

    with pytest.raises(InvalidInput, match="shorter"):
        back_up(path, backups)


def test_a_backup_whose_copy_has_other_rows_gets_no_name(
    filled: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = sqlite_copy.copy

    def lose_a_row(snapshot: sqlite3.Connection, destination: Path, progress: Progress) -> None:
        copy(snapshot, destination, progress)
        with closing(sqlite3.connect(destination, isolation_level=None)) as connection:
            connection.execute("DELETE FROM history WHERE id = (SELECT min(id) FROM history)")

    monkeypatch.setattr(sqlite_copy, "copy", lose_a_row)

    with pytest.raises(CorruptData, match="other rows"):
        back_up(filled, backups / "a.db")
    assert names_in(backups) == []


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_a_backup_is_on_disk_before_it_has_its_name_and_then_its_name_is(
    filled: Path, backups: Path, monkeypatch: pytest.MonkeyPatch, compress: Compression | None
) -> None:
    done: list[tuple[str, int]] = []
    sync, link = os.fsync, os.link

    def note_sync(descriptor: int) -> None:
        sync(descriptor)
        done.append(("sync", os.fstat(descriptor).st_ino))

    def note_link(source: Path, name: Path) -> None:
        link(source, name)
        done.append(("name", name.stat().st_ino))

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "link", note_link)
    file = back_up(filled, backups / "a.db", compress=compress).path.stat().st_ino

    assert done[-3:] == [("sync", file), ("name", file), ("sync", backups.stat().st_ino)]


def test_a_backup_of_an_exclusively_locked_database_is_busy(filled: Path, backups: Path, impatient: Settings) -> None:
    with closing(sqlite3.connect(filled, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError) as caught:
            back_up(filled, backups / "a.db", settings=impatient)

    assert caught.value.code == "store_busy"
    assert names_in(backups) == []


def test_a_database_in_rollback_mode_is_backed_up(tmp_path: Path, backups: Path) -> None:
    settings = Settings(journal_mode="DELETE")
    path = tmp_path / "rollback.db"
    with Store.open(path, settings=settings) as store:
        store.run(sessions.create, name="jam")

        assert back_up(path, backups / "a.db", settings=settings).rows["sessions"] == 1


# --- cut short -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
@pytest.mark.parametrize("amid", ["copying", "checking", "compressing", "reading back"])
def test_ctrl_c_during_a_backup_leaves_nothing_behind(
    filled: Path, backups: Path, compress: Compression | None, amid: str
) -> None:
    def interrupt(doing: str, _done: int, _total: int) -> None:
        if doing == amid:
            raise KeyboardInterrupt

    if compress is None and amid in {"compressing", "reading back"}:
        back_up(filled, backups / "a.db", progress=interrupt)
        return
    with pytest.raises(KeyboardInterrupt):
        back_up(filled, backups / "a.db", compress=compress, progress=interrupt)

    assert names_in(backups) == []


_ON_A_FULL_DISK = """
import resource, signal, sys
from vibeweaver_store.backup import back_up
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
try:
    back_up(sys.argv[1], sys.argv[2])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_backup_that_exceeds_the_file_size_limit_leaves_nothing(
    processes: Processes, filled: Path, backups: Path
) -> None:
    written = processes.start(_ON_A_FULL_DISK, filled, backups / "a.db").finish()

    assert written.startswith(f"StoreUnavailable {backups / 'a.db'}")
    assert names_in(backups) == []


@contextmanager
def small_disk(processes: Processes, folder: Path, size: str) -> Iterator[None]:
    if processes.call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder).returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        yield
    finally:
        processes.execute("umount", folder).finish()


@pytest.mark.parametrize(("room", "compress"), [("2m", None), ("2m", "gzip"), ("9m", "zstd")])
def test_a_backup_to_a_full_disk_is_unavailable_and_leaves_nothing(
    processes: Processes, sqlite_path: Path, backups: Path, *, room: str, compress: Compression | None
) -> None:
    with Store.open(sqlite_path) as store, store.begin() as uow:
        jam = sessions.create(uow, name="jam")
        history.append_many(uow, jam.id, [history.NewEntry("x", params=os.urandom(1000).hex()) for _ in range(ENTRIES)])
    with small_disk(processes, backups, room):
        with pytest.raises(StoreUnavailable, match=r"(the disk is full|No space left).*") as caught:
            back_up(sqlite_path, backups / "a.db", compress=compress)
        assert str(backups / "a.db") in str(caught.value)
        assert names_in(backups) == []


def test_a_backup_without_hard_links_gets_its_name_and_overwrites_none(
    filled: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # so vfat and exfat answer

    monkeypatch.setattr(os, "link", refuse)

    assert back_up(filled, backups / "a.db").path.exists()
    with pytest.raises(AlreadyExists):
        back_up(filled, backups / "b.db", progress=lambda *_: (backups / "b.db").touch())
    assert names_in(backups) == ["a.db", "b.db"]


def test_the_copy_before_a_migration_is_one_plain_file(sqlite_path: Path) -> None:
    fill(sqlite_path)

    backup = schema.downgrade(sqlite_path, "base").backup

    assert backup is not None
    assert backup.read_bytes()[18:20] == b"\x01\x01"
    assert sqlite_file.inspect(backup, Settings()).revision == schema.head()
    assert not [name for name in names_in(sqlite_path.parent) if name.endswith(".part")]


# --- PostgreSQL ------------------------------------------------------------------------------------------------


@pytest.fixture
def on_server(processes: Processes, postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A database on a server, and leave to start the server's own programs."""
    name = postgres_server.make(template=postgres_template)
    yield postgres_server.url_of(name)
    postgres_server.drop(name)


@pytest.fixture
def pg_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands before the real pg_dump on PATH, for a test to write."""
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


needs_pg_dump = pytest.mark.skipif(shutil.which("pg_dump") is None, reason="pg_dump is not installed")


@needs_postgres
@needs_pg_dump
def test_a_postgresql_archive_restores_to_the_same_rows(
    processes: Processes, on_server: str, backups: Path, postgres_server: PostgresServer
) -> None:
    session_id = fill(on_server)

    done = back_up(on_server, backups)
    again = postgres_server.make()
    try:
        plain = postgres_server.url.set(drivername="postgresql", database=again)
        where = plain.render_as_string(hide_password=False)
        processes.execute("pg_restore", f"--dbname={where}", done.path).finish()
        with Store.open(postgres_server.url_of(again)) as copy:
            assert copy.query(history.count, session_id) == ENTRIES == done.rows["history"]
    finally:
        postgres_server.drop(again)

    assert done.revision == schema.head()
    assert done.path.suffix == ".dump"
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert names_in(backups) == [done.path.name]


@needs_postgres
@needs_pg_dump
def test_a_backup_passes_the_password_to_pg_dump_only_in_the_environment(
    on_server: str, backups: Path, tmp_path: Path, pg_dump: Path
) -> None:
    real = shutil.which("pg_dump", path=os.environ["PATH"].partition(os.pathsep)[2])
    pg_dump.write_text(f'#!/bin/sh\necho "$PGPASSWORD" "$@" >> {tmp_path}/seen\nexec {real} "$@"\n')
    url = on_server.replace("postgresql+psycopg://postgres@", "postgresql+psycopg://postgres:s3cret@")

    back_up(url, backups / "a.dump")

    dumped = (tmp_path / "seen").read_text().splitlines()[-1]
    assert dumped.startswith("s3cret --format=custom")
    assert dumped.count("s3cret") == 1


@needs_postgres
def test_a_backup_without_pg_dump_says_what_to_run(
    on_server: str, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(backups))
    url = on_server.replace("postgresql+psycopg://postgres@", "postgresql+psycopg://postgres:s3cret@")

    with pytest.raises(StoreUnavailable, match=r"run where they are: pg_dump --format=custom .*--file=") as caught:
        back_up(url, backups / "a.dump")

    assert "s3cret" not in str(caught.value)
    assert names_in(backups) == []


@needs_postgres
@needs_pg_dump
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'pg_dump (PostgreSQL) 9.6.24'", "older than the server"),
        ("test $1 = --version && echo 'pg_dump (PostgreSQL) 99.1' || { echo 'it broke' >&2; exit 1; }", "it broke"),
    ],
)
def test_a_backup_by_an_old_or_failing_pg_dump_leaves_nothing(
    on_server: str, backups: Path, pg_dump: Path, script: str, says: str
) -> None:
    pg_dump.write_text(f"#!/bin/sh\n{script}\n")

    with pytest.raises(StoreUnavailable, match=says):
        back_up(on_server, backups / "a.dump")

    assert names_in(backups) == []


@needs_postgres
@needs_pg_dump
def test_a_postgresql_archive_that_cannot_be_read_back_gets_no_name(
    on_server: str, backups: Path, pg_dump: Path
) -> None:
    pg_dump.write_text("#!/bin/sh\ntest $1 = --version && echo 'pg_dump (PostgreSQL) 99.1'\nexit 0\n")

    with pytest.raises(CorruptData, match="cannot read"):
        back_up(on_server, backups / "a.dump")

    assert names_in(backups) == []


@needs_postgres
def test_compressing_a_postgresql_archive_again_is_refused(on_server: str, backups: Path) -> None:
    with pytest.raises(InvalidInput, match="in itself"):
        back_up(on_server, backups, compress="gzip")


@needs_postgres
def test_a_backup_of_a_postgresql_database_without_a_store_is_refused(
    processes: Processes, postgres_server: PostgresServer, backups: Path
) -> None:
    name = postgres_server.make()
    try:
        with pytest.raises(StoreUnavailable, match="no store in it"):
            back_up(postgres_server.url_of(name), backups)
    finally:
        postgres_server.drop(name)
