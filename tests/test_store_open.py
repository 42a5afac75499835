"""Opening a database: what is made, what is refused, and what is never changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import needs_postgres
from tests.spawning import Processes
from vibeweaver_store import (
    CorruptData,
    InvalidInput,
    NetworkFileSystemWarning,
    SchemaMismatch,
    Settings,
    Store,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    schema,
    sessions,
    sqlite_file,
)
from vibeweaver_store.testing import PostgresServer


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_opening_makes_a_missing_file_and_its_folders_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "late-set.db"

    Store.open(path).close()

    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == mode_of(path.parent.parent) == 0o700


def test_a_new_database_file_is_marked_as_a_store_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    Store.open(path).close()

    assert int.from_bytes(path.read_bytes()[68:72], "big") == sqlite_file.APPLICATION_ID


def test_opening_an_empty_file_makes_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()

    with Store.open(path) as store:
        assert store.run(sessions.create, name="jam").name == "jam"


@pytest.mark.parametrize("given", ["path", "text", "url", "sqlalchemy driver"])
def test_a_database_file_may_be_named_by_path_text_or_url(tmp_path: Path, given: str) -> None:
    path = tmp_path / "a b%20ü.db"
    spellings: dict[str, str | Path] = {
        "path": path,
        "text": str(path),
        "url": f"sqlite:///{quote(str(path))}",
        "sqlalchemy driver": f"sqlite+pysqlite:///{quote(str(path))}",
    }

    Store.open(spellings[given]).close()

    assert path.is_file()


def test_a_store_opens_the_environments_or_the_users_own_database_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store.open() as store:
        assert Path(store.place).is_relative_to(tmp_path / "data")
    monkeypatch.setenv("VIBEWEAVER_DATABASE", str(tmp_path / "named.db"))
    with Store.open() as store:
        assert store.place == str(tmp_path / "named.db")


def make_text_file(path: Path) -> None:
    path.write_text("a shopping list, and no database at all\n" * 50)


def make_short_file(path: Path) -> None:
    path.write_bytes(b"hi")


def make_foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def make_foreign_wal_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def make_marked_foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 42")
        connection.execute("CREATE TABLE sessions (id TEXT)")
    connection.close()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_newer_database(path: Path) -> None:
    Store.open(path).close()
    path.with_name(f"{path.name}.lock").unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE vibeweaver_version SET version_num = '9999'")
    connection.close()


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (make_text_file, StoreUnavailable, "not an SQLite database"),
        (make_short_file, StoreUnavailable, "not an SQLite database"),
        (make_foreign_database, StoreUnavailable, "another application"),
        (make_foreign_wal_database, StoreUnavailable, "another application"),
        (make_marked_foreign_database, StoreUnavailable, "another application"),
        (make_folder, StoreUnavailable, "is a folder"),
        (make_fifo, StoreUnavailable, "not a regular file"),
        (make_newer_database, SchemaMismatch, "upgrade the package"),
    ],
)
def test_opening_a_file_that_is_not_a_store_is_refused_and_leaves_it(
    tmp_path: Path, make: Callable[[Path], None], error: type[StoreError], says: str
) -> None:
    path = tmp_path / "thing.db"
    make(path)
    before = contents(tmp_path) if path.is_file() else {}

    with pytest.raises(error, match=says) as caught:
        Store.open(path)

    assert str(path) in str(caught.value)
    assert (contents(tmp_path) if path.is_file() else {}) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["thing.db"]


def test_opening_a_newer_schema_names_the_found_and_the_known_revision(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    make_newer_database(path)

    with pytest.raises(SchemaMismatch) as caught:
        Store.open(path)

    assert (caught.value.found, caught.value.expected) == ("9999", schema.head())


def test_opening_a_damaged_file_is_corrupt_data(sqlite_path: Path) -> None:
    damaged = bytearray(sqlite_path.read_bytes())
    damaged[100:4096] = b"\xff" * 3996
    sqlite_path.write_bytes(damaged)

    with pytest.raises(CorruptData, match="damaged"):
        Store.open(sqlite_path)


@pytest.mark.parametrize(
    ("database", "says"),
    [
        ("mysql://root@127.0.0.1/x", "does not run on 'mysql'"),
        ("postgresql+asyncpg://127.0.0.1/x", "does not run on"),
        ("nonsense://x", "does not run on 'nonsense'"),
        ("sqlite://host/x.db", "three slashes"),
        ("sqlite:///x.db?mode=ro", "options in an SQLite URL"),
        ("://", "cannot be read"),
        ("", "not the path"),
        ("   ", "not the path"),
        ("a\x00b.db", "not the path"),
    ],
)
def test_opening_an_invalid_database_name_is_invalid_input(database: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Store.open(database)


def test_opening_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="a file, not a folder"):
        Store.open(tmp_path / "file" / "a.db")


_AS_NOBODY = """
import os, sys
from vibeweaver_store import Store, StoreUnavailable
os.setgid(65534); os.setuid(65534)
try:
    Store.open(sys.argv[1])
except StoreUnavailable as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "says"),
    [
        (0o555, None, "cannot make"),
        (0o555, 0o666, "read-only"),
        (0o777, 0o444, "cannot be read and written"),
        (0o777, 0o000, "cannot be read and written"),
    ],
)
def test_opening_without_write_permission_is_refused(
    processes: Processes, sqlite_template: Path, *, folder_mode: int, file_mode: int | None, says: str
) -> None:
    # Not under pytest's own folder, which other users may not enter.
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "a.db"
        if file_mode is not None:
            path.write_bytes(sqlite_template.read_bytes())
            path.chmod(file_mode)
        folder.chmod(folder_mode)
        before = sorted(entry.name for entry in folder.iterdir())

        done = processes.run(_AS_NOBODY, path)

        assert says in done.stdout, done.stderr
        assert sorted(entry.name for entry in folder.iterdir()) == before


def test_opening_with_migrate_false_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="db init"):
        Store.open(tmp_path / "a.db", migrate=False)

    assert list(tmp_path.iterdir()) == []


def test_opening_an_older_schema_with_migrate_false_names_the_command_to_run(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    schema.upgrade(path)
    schema.downgrade(path, "base")

    with pytest.raises(SchemaMismatch, match="db upgrade"):
        Store.open(path, migrate=False)


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """A table of mounts in which one folder of the test's own is a share of another machine."""
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/music {tmp_path}/share\\040a nfs4 rw 0 0\n")
    return table


def test_opening_in_wal_mode_on_a_network_file_system_is_refused_with_advice(tmp_path: Path, mounts: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nfs4.*VIBEWEAVER_JOURNAL_MODE=DELETE.*VIBEWEAVER_FORCE_WAL=1"):
        sqlite_file.check_file_system(tmp_path / "share a" / "store.db", Settings(), mounts)


@pytest.mark.parametrize("settings", [Settings(force_wal=True), Settings(journal_mode="DELETE")])
def test_opening_on_a_network_file_system_warns(tmp_path: Path, mounts: Path, settings: Settings) -> None:
    with pytest.warns(NetworkFileSystemWarning, match="nfs4"):
        sqlite_file.check_file_system(tmp_path / "share a" / "store.db", settings, mounts)


@pytest.mark.parametrize("use", [Store.open, schema.upgrade, schema.downgrade])
def test_a_refused_network_file_system_gets_no_database_file(
    tmp_path: Path, mounts: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], object]
) -> None:
    (tmp_path / "share a").mkdir()
    monkeypatch.setattr(sqlite_file, "MOUNTS", mounts)

    with pytest.raises(StoreUnavailable, match="nfs4"):
        use(tmp_path / "share a" / "store.db")

    assert list((tmp_path / "share a").iterdir()) == []


def test_opening_on_a_local_disk_does_not_warn(tmp_path: Path, mounts: Path) -> None:
    sqlite_file.check_file_system(tmp_path / "store.db", Settings(), mounts)  # a warning would be an error here


def test_opening_does_not_warn_if_the_file_system_is_unknown(tmp_path: Path) -> None:
    assert sqlite_file.file_system(tmp_path, tmp_path / "absent") is None


def test_a_memory_store_is_one_database_for_all_threads() -> None:
    with Store.open(":memory:") as store:
        threads = [
            threading.Thread(target=store.run, args=(sessions.create,), kwargs={"name": f"jam {n}"}) for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert {jam.name for jam in store.query(sessions.page).items} == {f"jam {n}" for n in range(16)}


def test_memory_stores_share_no_data() -> None:
    with Store.open(":memory:") as one, Store.open(":memory:") as two:
        one.run(sessions.create, name="jam")

        assert two.query(sessions.page).items == []


def test_a_memory_store_can_be_read_while_it_is_written() -> None:
    with Store.open(":memory:") as store, store.begin() as uow:
        sessions.create(uow, name="jam")

        assert store.query(sessions.page).items == []


def test_a_memory_store_leaves_nothing_behind_when_closed() -> None:
    store = Store.open(":memory:")
    folder = store._target.file.parent
    assert folder.is_dir()

    store.close()

    assert not folder.exists()


def test_a_closed_store_is_unavailable_and_can_be_closed_again(sqlite_path: Path) -> None:
    store = Store.open(sqlite_path)
    store.close()
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        store.query(sessions.page)


@needs_postgres
def test_opening_a_postgresql_database_does_not_migrate_it(postgres_server: PostgresServer) -> None:
    name = postgres_server.make()
    try:
        with pytest.raises(SchemaMismatch, match=r"vibeweaver-store --db '.*' db upgrade"):
            Store.open(postgres_server.url_of(name))
        with Store.open(postgres_server.url_of(name), migrate=True) as store:
            assert store.run(sessions.create, name="jam").name == "jam"
    finally:
        postgres_server.drop(name)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://vibe:s3cret@127.0.0.1:1/nothing",
        pytest.param("postgresql://vibe:s3cret@{server}/no_such_database", marks=needs_postgres),
    ],
)
def test_opening_an_unreachable_server_is_unavailable_without_a_password(
    url: str, request: pytest.FixtureRequest
) -> None:
    if "{server}" in url:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = url.replace("{server}", f"{server.url.host}:{server.url.port or 5432}")

    with pytest.raises(StoreUnavailable) as caught:
        Store.open(url, settings=Settings(busy_timeout_seconds=1))

    assert "s3cret" not in str(caught.value)


def test_an_invalid_setting_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBEWEAVER_BUSY_TIMEOUT_SECONDS", "soon")

    with pytest.raises(InvalidInput, match="VIBEWEAVER_BUSY_TIMEOUT_SECONDS"):
        Store.open(":memory:")


_CRASH_AMID_A_TRANSACTION = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("CREATE TABLE recipes (name TEXT)")
connection.execute("BEGIN")
connection.executemany("INSERT INTO recipes VALUES (?)", [("x" * 1000,) for _ in range(1000)])
os._exit(0)
"""


def test_opening_does_not_roll_back_a_hot_journal_of_another_application(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "f.db"
    processes.start(_CRASH_AMID_A_TRANSACTION, path).finish()
    before = contents(tmp_path)
    assert "f.db-journal" in before

    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        Store.open(path)

    assert contents(tmp_path) == before


def test_opening_a_file_locked_by_another_process_is_store_busy(sqlite_path: Path, impatient: Settings) -> None:
    with sqlite3.connect(sqlite_path, isolation_level=None) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy) as busy:
            Store.open(sqlite_path, settings=impatient)
    holder.close()

    assert busy.value.waited >= 0.2


@pytest.mark.parametrize("again", [None, "another store"])
def test_a_file_deleted_or_replaced_under_an_open_store_is_not_recreated(
    tmp_path: Path, sqlite_path: Path, sqlite_template: Path, again: str | None
) -> None:
    with Store.open(sqlite_path) as store:
        store.run(sessions.create, name="jam")
        sqlite_path.rename(tmp_path / "moved.db")
        if again:
            shutil.copyfile(sqlite_template, sqlite_path)
            with pytest.raises(StoreUnavailable, match="close that store"):
                Store.open(sqlite_path)
        for use in (store.query, store.run):
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                use(sessions.page)

    assert sqlite_path.exists() == bool(again)


def test_a_database_name_that_is_not_unicode_can_be_opened_twice(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.db"))
    Store.open(path).close()

    with Store.open(path) as store:
        assert store.run(sessions.create, name="jam").name == "jam"


@pytest.mark.parametrize("url", ["postgresql://h:s3cret/x", "postgresql://u@127.0.0.1:1/x?password=s3cret"])
def test_errors_of_opening_hide_a_password_anywhere_in_the_url(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)

    assert "s3cret" not in str(caught.value)


def test_opening_a_store_many_times_leaves_no_descriptor_open(sqlite_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list descriptors")
    Store.open(sqlite_path).close()
    before = len(list(folder.iterdir()))
    for _ in range(100):
        with Store.open(sqlite_path) as store:
            store.query(sessions.page)

    assert len(list(folder.iterdir())) <= before + 1


def test_closing_a_store_in_use_closes_its_connections_when_their_use_ends(sqlite_path: Path) -> None:
    store = Store.open(sqlite_path)
    with store.read() as uow:
        sessions.page(uow)
        driver: sqlite3.Connection = uow._usable().driver
        store.close()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")
