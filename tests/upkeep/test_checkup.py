"""Checking a database: each thing that can be wrong is found, whatever else is, and looking changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from tests.conftest import needs_postgres
from tests.spawning import Processes
from vibeweaver_store import InvalidInput, Settings, Store, history, schema, sessions, sqlite_file
from vibeweaver_store.testing import PostgresServer
from vibeweaver_store.upkeep.checkup import Checkup, check
from vibeweaver_store.upkeep.checkup_sqlite import resets_wal_wrongly
from vibeweaver_store.upkeep.comparison import drift

OF_THE_MACHINE = {"sqlite_version", "free_disk"}
"""What depends on where the tests run."""


def verdicts(found: Checkup) -> dict[str, str]:
    """The verdicts that are not ok, by the check's name."""
    return {
        each.name: each.verdict for each in found.findings if each.verdict != "ok" and each.name not in OF_THE_MACHINE
    }


def said(found: Checkup, name: str) -> str:
    (finding,) = (each for each in found.findings if each.name == name)
    return finding.said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}


def change(path: Path, *statements: str) -> None:
    """Do to a file, behind the store's back, what no store would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rewrite_schema(path: Path, table: str, old: str, new: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        made = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ? AND instr(sql, ?)"
        assert connection.execute(made, (old, new, table, old)).rowcount == 1
        connection.execute("PRAGMA writable_schema = RESET")


def leave_unfinished(path: Path, journal_mode: Literal["WAL", "DELETE"]) -> None:
    """Leave the files that a killed process leaves: of a transaction that it had begun and not committed."""
    with Store.open(path, settings=Settings(journal_mode=journal_mode, cache_size=5)) as store:
        store.run(sessions.create, name="kept", session_id="jam")
        with pytest.raises(ZeroDivisionError), store.begin() as uow:
            history.append_many(uow, "jam", (history.NewEntry("lost", params="x" * 500) for _ in range(5000)))
            left = {each: each.read_bytes() for each in path.parent.glob(f"{path.name}*")}
            raise ZeroDivisionError
    for file, data in left.items():
        file.write_bytes(data)


def test_a_checkup_of_a_sound_database_lists_every_check_and_none_broken(database: str, backend: str) -> None:
    found = check(database)

    assert verdicts(found) == {}
    assert not found.broken
    assert found.backend == backend
    names = {each.name for each in found.findings}
    assert (
        names
        == {
            "sqlite": {
                *("file", "permissions", "file_system", "free_disk", "leftovers", "sqlite_version", "application_id"),
                *("integrity", "foreign_keys", "revision", "strict", "triggers", "checks", "drift", "wal"),
            },
            "postgresql": {"server", "revision", "constraints", "indexes", "checks", "drift"},
        }[backend]
    )


def test_a_checkup_passes_a_sound_database_in_use(store: Store, database: str) -> None:
    store.run(sessions.create, name="jam", session_id="jam")
    with store.begin() as uow:
        sessions.update(uow, "jam", name="not committed yet")
        uow.flush()

        assert verdicts(check(database)) == {}


def test_a_checkup_takes_a_path_with_special_characters(tmp_path: Path) -> None:
    path = tmp_path / "a b#?%20ü.db"
    Store.open(path).close()

    assert verdicts(check(path)) == {}


def make_text(path: Path) -> None:
    path.write_text("a shopping list, and no database at all\n" * 50)


def make_foreign(path: Path) -> None:
    change(path, "PRAGMA journal_mode = WAL", "CREATE TABLE recipes (name TEXT)")


def make_sound(path: Path) -> None:
    Store.open(path).close()


def make_older(path: Path) -> None:
    schema.upgrade(path)
    schema.downgrade(path, "base")


def make_with_wal(path: Path) -> None:
    leave_unfinished(path, "WAL")
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def make_with_journal(path: Path) -> None:
    leave_unfinished(path, "DELETE")
    assert path.with_name(f"{path.name}-journal").exists()


@pytest.mark.parametrize("make", [Path.touch, make_text, make_foreign, make_sound, make_older, make_with_journal])
def test_a_checkup_changes_nothing(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "store.db"
    make(path)
    before = contents(tmp_path)

    check(path)

    assert contents(tmp_path) == before


def test_a_checkup_leaves_the_wal_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_with_wal(path)
    wal = path.with_name("store.db-wal").read_bytes()

    assert verdicts(check(path)) == {}

    assert path.with_name("store.db-wal").read_bytes() == wal
    with Store.open(path) as store:
        assert store.query(sessions.get, "jam").name == "kept"


def test_a_checkup_reports_and_leaves_a_hot_rollback_journal(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_with_journal(path)

    found = check(path)

    assert verdicts(found) == {"leftovers": "warning", "readable": "warning"}
    assert "store.db-journal" in said(found, "readable")


def test_a_checkup_of_a_missing_file_is_broken_and_makes_none(tmp_path: Path) -> None:
    found = check(tmp_path / "none.db")

    assert verdicts(found) == {"file": "broken"}
    assert "db init" in said(found, "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "file/store.db"])
def test_a_checkup_of_a_path_that_is_not_a_file_is_broken(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    assert verdicts(check(tmp_path / name)) == {"file": "broken"}


@pytest.mark.parametrize("database", [":memory:", "", "mysql://root@127.0.0.1/x"])
def test_a_checkup_of_an_in_memory_or_unsupported_database_is_invalid_input(database: str) -> None:
    with pytest.raises(InvalidInput):
        check(database)


def test_a_checkup_of_a_file_that_is_not_a_database_is_broken(tmp_path: Path) -> None:
    make_text(tmp_path / "notes.txt")

    assert verdicts(check(tmp_path / "notes.txt"))["readable"] == "broken"


def test_a_checkup_of_a_foreign_database_is_broken_but_checks_its_pages(tmp_path: Path) -> None:
    make_foreign(tmp_path / "recipes.db")
    found = check(tmp_path / "recipes.db")

    assert verdicts(found)["application_id"] == "broken"
    assert "every page" in said(found, "integrity")


def test_a_checkup_finds_a_damaged_page_broken(sqlite_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_markers_by_beat'").fetchone()
    with sqlite_path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)

    assert verdicts(check(sqlite_path))["integrity"] == "broken"


def test_a_checkup_finds_a_row_that_violates_a_check_broken(sqlite_path: Path) -> None:
    change(
        sqlite_path,
        "PRAGMA ignore_check_constraints = ON",
        "INSERT INTO generation_stats VALUES ('drums', 0, 1, 1, 1, 1.0, 1, '2026-01-01T00:00:00.000000Z')",
    )
    found = check(sqlite_path)

    assert verdicts(found) == {"integrity": "broken"}
    assert "generation_stats" in said(found, "integrity")


def test_a_checkup_counts_rows_without_their_parent_as_broken(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin() as uow:
        sessions.create(uow, name="jam", session_id="jam")
        history.append_many(uow, "jam", [history.NewEntry("x")] * 3)
    change(sqlite_path, "PRAGMA foreign_keys = OFF", "DELETE FROM sessions")
    found = check(sqlite_path)

    assert verdicts(found) == {"foreign_keys": "broken"}
    assert "3 of history" in said(found, "foreign_keys")


def test_a_checkup_warns_of_foreign_rows_without_their_parent(sqlite_path: Path) -> None:
    change(
        sqlite_path,
        "CREATE TABLE books (id INTEGER PRIMARY KEY)",
        "CREATE TABLE recipes (book INTEGER REFERENCES books (id))",
        "INSERT INTO recipes VALUES (7)",
    )
    found = check(sqlite_path)

    assert verdicts(found) == {"foreign_keys": "warning"}
    assert "1 of recipes" in said(found, "foreign_keys")


def test_a_checkup_finds_a_table_that_lost_its_strict_broken(sqlite_path: Path) -> None:
    rewrite_schema(sqlite_path, "markers", "STRICT", "")
    found = check(sqlite_path)

    assert verdicts(found) == {"strict": "broken", "drift": "broken"}
    assert said(found, "strict") == "not STRICT: markers"


def test_a_checkup_finds_a_table_that_lost_a_check_broken(sqlite_path: Path) -> None:
    rewrite_schema(sqlite_path, "sessions", "CONSTRAINT ck_sessions_version CHECK (version > 0),", "")
    found = check(sqlite_path)

    assert verdicts(found) == {"checks": "broken", "drift": "broken"}
    assert said(found, "checks") == "missing: ck_sessions_version"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("ALTER TABLE sessions ADD COLUMN extra TEXT", "not known column: sessions extra"),
        ("DROP INDEX ix_markers_by_beat", "missing index: ix_markers_by_beat"),
        ("CREATE INDEX ix_mine ON markers (name)", "not known index: ix_mine"),
        ("DROP TABLE snapshots", "missing table: snapshots"),
    ],
)
def test_a_checkup_describes_how_a_schema_differs_from_the_table_classes(
    database: str, statement: str, says: str
) -> None:
    with Store.open(database) as store, store.begin() as uow:
        uow.execute(sa.text(statement))
    found = check(database)

    assert verdicts(found)["drift"] == "broken"
    assert says in said(found, "drift")
    assert says in drift(database)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("history", "PRIMARY KEY AUTOINCREMENT", "PRIMARY KEY", "AUTOINCREMENT"),
        ("markers", "CHECK (name <> '')", "CHECK (name <> 'x')", "CHECK (name <> 'x')"),
        ("markers", "name TEXT NOT NULL", "name TEXT COLLATE NOCASE NOT NULL", "COLLATE NOCASE"),
        ("markers", "name TEXT NOT NULL", "name TEXT DEFAULT 'x' NOT NULL", "DEFAULT 'x'"),
        ("markers", " STRICT", "", "STRICT"),
        ("ix_markers_by_beat", "beat, id", "beat DESC, id", "beat DESC"),
        ("ix_history_of_failures", "success = 0", "success = 1", "success = 1"),
    ],
)
def test_a_checkup_finds_a_changed_table_definition_as_drift(
    sqlite_path: Path, name: str, old: str, new: str, says: str
) -> None:
    rewrite_schema(sqlite_path, name, old, new)
    found = check(sqlite_path)

    assert verdicts(found)["drift"] == "broken"
    assert f"{name} has" in said(found, "drift")
    assert says in said(found, "drift")


def test_a_checkup_warns_of_a_trigger_on_a_table(sqlite_path: Path) -> None:
    change(
        sqlite_path,
        "CREATE TABLE recipes (name TEXT)",
        "CREATE TRIGGER theirs AFTER INSERT ON recipes BEGIN SELECT 1; END",
    )
    assert verdicts(check(sqlite_path)) == {}
    change(sqlite_path, "CREATE TRIGGER mine AFTER INSERT ON sessions BEGIN SELECT 1; END")
    found = check(sqlite_path)

    assert verdicts(found) == {"triggers": "warning"}
    assert said(found, "triggers").endswith(": mine on sessions")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM vibeweaver_version", "0 rows instead of one: none"),
        ("INSERT INTO vibeweaver_version VALUES ('0001')", "2 rows instead of one: 0001, "),
    ],
)
def test_a_checkup_finds_more_or_less_than_one_revision_broken(database: str, statement: str, says: str) -> None:
    with Store.open(database) as store, store.begin() as uow:
        uow.execute(sa.text(statement))
    found = check(database)

    assert verdicts(found) == {"revision": "broken", "drift": "warning"}
    assert says in said(found, "revision")


def test_a_checkup_finds_a_name_that_is_not_unicode_broken(sqlite_path: Path) -> None:
    damaged = bytearray(sqlite_path.read_bytes())
    damaged[damaged.find(b"ix_markers_by_beat") + 3] = 0xBF
    sqlite_path.write_bytes(damaged)
    found = check(sqlite_path)

    assert verdicts(found) == {"readable": "broken"}
    assert "no UTF-8" in said(found, "readable")


def test_a_checkup_does_not_count_a_foreign_table_as_drift(database: str) -> None:
    with Store.open(database) as store, store.begin() as uow:
        uow.execute(sa.text("CREATE TABLE recipes (name TEXT)"))

    assert verdicts(check(database)) == {}


def test_a_checkup_warns_of_an_older_schema_without_comparing_it(empty_database: str) -> None:
    schema.upgrade(empty_database)
    schema.downgrade(empty_database, "-1")
    found = check(empty_database)

    assert verdicts(found) == {"revision": "warning", "drift": "warning"}
    assert "db upgrade" in said(found, "revision")


def test_a_checkup_finds_a_schema_of_a_newer_package_broken(database: str) -> None:
    with Store.open(database) as store, store.begin() as uow:
        uow.execute(sa.text("UPDATE vibeweaver_version SET version_num = '9999'"))

    assert verdicts(check(database))["revision"] == "broken"


@pytest.mark.parametrize(
    ("mode", "folder_mode", "found"), [(0o644, 0o700, "warning"), (0o600, 0o777, "warning"), (0o600, 0o755, "ok")]
)
def test_a_checkup_warns_of_a_file_others_may_read_or_replace(
    tmp_path: Path, sqlite_template: Path, mode: int, folder_mode: int, found: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "store.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(mode)
    folder.chmod(folder_mode)

    assert verdicts(check(path)).get("permissions", "ok") == found


_AS_SOMEBODY = """
import os, sys
from vibeweaver_store.upkeep import check
if os.geteuid() == 0:  # root may write whatever the mode says
    os.setgid(65534); os.setuid(65534)
print(*(each.name for each in check(sys.argv[1]).findings if each.verdict == "broken"))
"""


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o444, 0o777), (0o000, 0o777), (0o666, 0o555)])
def test_a_checkup_finds_a_file_without_write_permission_broken(
    processes: Processes, sqlite_template: Path, mode: int, folder_mode: int
) -> None:
    # Not under pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "store.db"
        shutil.copyfile(sqlite_template, path)
        path.chmod(mode)
        path.parent.chmod(folder_mode)
        assert processes.start(_AS_SOMEBODY, path).finish() == "permissions\n"
        assert list(path.parent.iterdir()) == [path]
        path.parent.chmod(0o700)


def test_a_checkup_warns_of_a_network_file_system(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = sqlite_path.with_name("mounts")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/music {sqlite_path.parent} nfs4 rw 0 0\n")
    monkeypatch.setattr(sqlite_file, "MOUNTS", mounts)

    assert verdicts(check(sqlite_path)) == {"file_system": "warning"}


def test_a_checkup_warns_of_a_file_locked_by_another_process(sqlite_path: Path, impatient: Settings) -> None:
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        found = check(sqlite_path, settings=impatient)

    assert verdicts(found)["readable"] == "warning"
    assert not found.broken


def test_a_checkup_warns_of_a_large_wal_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_with_wal(path)
    os.truncate(path.with_name("store.db-wal"), 65 * 2**20)  # as it is after a long reader
    found = check(path)

    assert verdicts(found) == {"wal": "warning"}
    assert "db maintain" in said(found, "wal")


def details(found: Checkup, name: str) -> Mapping[str, int]:
    (finding,) = (each for each in found.findings if each.name == name)
    return finding.details


def test_a_checkup_reports_the_wal_in_numbers(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        nothing = {"wal_bytes": 0, "wal_frames": 0, "checkpointed_frames": 0}
        assert details(check(sqlite_path), "wal") == nothing
        store.run(sessions.create, name="jam", session_id="jam")
        with store.read() as reader:
            sessions.page(reader)
            store.run(history.append, "jam", "later")
            found = details(check(sqlite_path), "wal")

        assert found["wal_bytes"] == sqlite_path.with_name("store.db-wal").stat().st_size
        assert found["wal_frames"] > found["checkpointed_frames"] > 0
        assert details(check(sqlite_path), "integrity") == {}


_ON_A_FULL_DISK = """
import json, resource, sys
from vibeweaver_store import Store, history
from vibeweaver_store.upkeep import check
with Store.open(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, -1))
    store.run(history.append, "large", "committed")
    found = check(sys.argv[1])
    print(json.dumps([found.broken, [[each.verdict, each.said] for each in found.findings if each.name == "wal"]]))
"""


def test_a_checkup_warns_of_a_wal_without_room_for_a_checkpoint(processes: Processes, sqlite_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limits to the size of a file")
    with Store.open(sqlite_path) as store, store.begin() as uow:
        sessions.create(uow, name="large", session_id="large")
        history.append_many(uow, "large", (history.NewEntry("x", params="y" * 500) for _ in range(4000)))
    broken, ((verdict, told),) = json.loads(processes.start(_ON_A_FULL_DISK, sqlite_path).finish())

    assert (broken, verdict) == (False, "warning")
    assert "could not be brought into the database" in told


def test_a_checkup_warns_of_an_abandoned_partial_copy(sqlite_path: Path) -> None:
    part = sqlite_path.with_name(".vibeweaver-0123.part")
    part.touch()
    assert verdicts(check(sqlite_path)) == {}
    os.utime(part, (0, 0))
    found = check(sqlite_path)

    assert verdicts(found) == {"leftovers": "warning"}
    assert part.name in said(found, "leftovers")


def test_a_checkup_reports_a_reader_that_holds_the_wal_back(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        store.run(sessions.create, name="jam", session_id="jam")
        with store.read() as reader:
            sessions.page(reader)
            store.run(history.append, "jam", "later")

            assert "a reader holds back" in said(check(sqlite_path), "wal")
        assert "holds back" not in said(check(sqlite_path), "wal")


@pytest.mark.parametrize(
    ("version", "wrongly"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_a_checkup_knows_the_sqlite_versions_with_the_wal_reset_bug(version: tuple[int, ...], wrongly: bool) -> None:
    assert resets_wal_wrongly(version) is wrongly


# --- PostgreSQL ------------------------------------------------------------------------------------------------


def test_a_checkup_of_an_unreachable_server_is_broken_without_a_password() -> None:
    found = check("postgresql://vibe:s3cret@127.0.0.1:1/nothing", settings=Settings(busy_timeout_seconds=1))

    assert verdicts(found) == {"server": "broken"}
    assert "s3cret" not in repr(found)


@needs_postgres
@pytest.mark.parametrize(
    ("statements", "name", "says"),
    [
        (["ALTER TABLE markers DROP CONSTRAINT ck_markers_name"], "checks", "missing: ck_markers_name"),
        (
            [
                "ALTER TABLE markers DROP CONSTRAINT ck_markers_name",
                "ALTER TABLE markers ADD CONSTRAINT ck_markers_name CHECK (name <> '') NOT VALID",
            ],
            "constraints",
            "ck_markers_name",
        ),
        (
            ["UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_markers_by_beat'::regclass"],
            "indexes",
            "ix_markers_by_beat",
        ),
    ],
)
def test_a_checkup_on_postgresql_finds_unenforced_constraints_and_unused_indexes_broken(
    postgres_server: PostgresServer, postgres_template: str, statements: list[str], name: str, says: str
) -> None:
    database = postgres_server.make(template=postgres_template)
    try:
        with Store.open(postgres_server.url_of(database)) as store, store.begin() as uow:
            for statement in statements:
                uow.execute(sa.text(statement))
        found = check(postgres_server.url_of(database))

        assert verdicts(found)[name] == "broken"
        assert says in said(found, name)
    finally:
        postgres_server.drop(database)
