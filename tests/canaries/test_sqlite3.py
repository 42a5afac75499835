"""What the package relies on in Python's ``sqlite3`` and in SQLite itself, beyond what they document."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.canaries.canary import Library

canary = Library("SQLite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "canary.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection as the store's are, to a file in WAL mode with one table."""
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "
            "size REAL, parent INTEGER REFERENCES things (id), CONSTRAINT ck_things_name CHECK (name <> '')) STRICT"
        )
        yield connection


def connect(path: Path, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(path, isolation_level=None, timeout=0, **options)
    return connection


def refusal(connection: sqlite3.Connection, statement: str, *values: object) -> Any:
    """Return the error of a statement that is refused."""
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(statement, values).fetchall()
    return caught.value


# --- the driver ------------------------------------------------------------------------------------------------


@canary("engine.py", "autocommit.py", to="begin transactions by statements of its own")
def test_a_connection_without_an_isolation_level_begins_nothing_by_itself(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO things (name) VALUES ('one')")
    assert not connection.in_transaction
    connection.execute("BEGIN IMMEDIATE")
    assert connection.in_transaction
    connection.execute("INSERT INTO things (name) VALUES ('two')")
    connection.rollback()
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM things").fetchone() == (1,)


@canary("kept.py", to="go on after a statement that failed, where a savepoint holds it")
def test_a_statement_that_is_refused_leaves_the_transaction_open(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO things (name) VALUES ('one')")
    refusal(connection, "INSERT INTO things (name) VALUES ('one')")

    assert connection.in_transaction
    connection.commit()
    assert connection.execute("SELECT count(*) FROM things").fetchone() == (1,)


@canary("kept.py", to="see that SQLite has given a transaction up")
def test_a_connection_says_that_sqlite_itself_has_undone_its_transaction(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO things (name) VALUES ('one')")
    refusal(connection, "INSERT OR ROLLBACK INTO things (name) VALUES ('one')")

    assert not connection.in_transaction


@canary("kept.py", "driver_errors.py", to="tell of a full disk, and that it has undone the unit of work")
def test_a_full_disk_undoes_the_transaction_and_has_a_name(connection: sqlite3.Connection) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    error = refusal(connection, "INSERT INTO things (name) VALUES (hex(zeroblob(1000000)))")

    assert error.sqlite_errorname == "SQLITE_FULL"
    assert not connection.in_transaction


@canary("kept.py", to="tell the key of a new row without asking for it")
def test_the_last_row_is_the_key_that_an_insert_was_given(connection: sqlite3.Connection) -> None:
    keys = [connection.execute("INSERT INTO things (name) VALUES (?)", (name,)).lastrowid for name in ("one", "two")]

    assert keys == [1, 2]
    connection.execute("DELETE FROM things")
    assert connection.execute("INSERT INTO things (name) VALUES ('three')").lastrowid == 3


@canary("kept.py", to="count the rows that a statement has changed")
def test_a_cursor_counts_the_rows_that_were_changed(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO things (name) VALUES (?)", [("one",), ("two",)])

    assert connection.execute("UPDATE things SET size = 1").rowcount == 2
    assert connection.execute("UPDATE things SET size = 2 WHERE name = 'three'").rowcount == 0
    again = "INSERT INTO things (name) VALUES ('one') ON CONFLICT DO NOTHING"
    assert connection.execute(again).rowcount == 0


@canary("engine.py", to="know the connections that are open, for a forked child to close")
def test_the_factory_of_a_connection_can_be_a_function_and_make_one_with_weak_references(path: Path) -> None:
    class Connection(sqlite3.Connection):
        pass

    made: list[weakref.ref[Any]] = []

    def make(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = Connection(*args, **options)
        made.append(weakref.ref(connection))
        return connection

    with closing(connect(path, factory=make)) as connection:
        assert made[0]() is connection
        assert connection.isolation_level is None
        assert connection.execute("SELECT 1").fetchone() == (1,)


@canary("upkeep/maintenance.py", to="give all pages back that it asks for")
def test_a_script_runs_every_step_of_an_incremental_vacuum(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("CREATE TABLE large (data BLOB)")
        connection.execute("INSERT INTO large VALUES (zeroblob(100000))")
        connection.execute("DELETE FROM large")
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        assert free > 10
        connection.executescript(f"PRAGMA incremental_vacuum({free - 5})")

        assert connection.execute("PRAGMA freelist_count").fetchone() == (5,)


@canary("importers/foreign_database.py", to="read texts of others that are no UTF-8")
def test_a_text_factory_is_given_the_bytes_of_a_text(connection: sqlite3.Connection) -> None:
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")

    assert connection.execute("SELECT CAST(x'ff61' AS TEXT)").fetchone() == ("\udcffa",)


@canary("driver_errors.py", to="call a text that is no UTF-8 damage")
def test_a_text_that_is_no_utf_8_is_refused_in_these_words(connection: sqlite3.Connection) -> None:
    error = refusal(connection, "SELECT CAST(x'ff61' AS TEXT)")

    assert str(error).startswith("Could not decode to UTF-8")


# --- errors ----------------------------------------------------------------------------------------------------


@canary("driver_errors.py", to="name the table and the column of a key that is taken")
def test_a_unique_constraint_that_fails_is_told_by_table_and_column(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO things (id, name) VALUES (1, 'one')")

    taken = refusal(connection, "INSERT INTO things (name) VALUES ('one')")
    assert (taken.sqlite_errorname, str(taken)) == (
        "SQLITE_CONSTRAINT_UNIQUE",
        "UNIQUE constraint failed: things.name",
    )
    taken = refusal(connection, "INSERT INTO things (id, name) VALUES (1, 'two')")
    assert (taken.sqlite_errorname, str(taken)) == (
        "SQLITE_CONSTRAINT_PRIMARYKEY",
        "UNIQUE constraint failed: things.id",
    )


@canary("driver_errors.py", to="name the rule of a table that a value breaks")
def test_a_check_that_fails_is_told_by_its_name(connection: sqlite3.Connection) -> None:
    error = refusal(connection, "INSERT INTO things (name) VALUES ('')")

    told = (error.sqlite_errorname, str(error))
    assert told == ("SQLITE_CONSTRAINT_CHECK", "CHECK constraint failed: ck_things_name")


@canary("driver_errors.py", to="name the column that must be given")
def test_a_value_that_is_missing_is_told_by_table_and_column(connection: sqlite3.Connection) -> None:
    error = refusal(connection, "INSERT INTO things (name) VALUES (NULL)")

    told = (error.sqlite_errorname, str(error))
    assert told == ("SQLITE_CONSTRAINT_NOTNULL", "NOT NULL constraint failed: things.name")


@canary("driver_errors.py", to="tell a parent that is not there from other refusals")
def test_a_parent_that_is_missing_has_a_name_of_its_own(connection: sqlite3.Connection) -> None:
    error = refusal(connection, "INSERT INTO things (name, parent) VALUES ('one', 7)")

    assert error.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY"


@canary("driver_errors.py", to="call a value of a wrong type invalid input")
def test_a_constraint_that_is_not_kept_is_an_integrity_error_even_without_a_name(
    connection: sqlite3.Connection,
) -> None:
    error = refusal(connection, "INSERT INTO things (name, size) VALUES ('one', 'large')")

    assert isinstance(error, sqlite3.IntegrityError)
    assert str(error) == "cannot store TEXT value in REAL column things.size"
    assert error.sqlite_errorname in {"unknown", "SQLITE_CONSTRAINT_DATATYPE"}


@canary("driver_errors.py", to="say that others write to the database")
def test_a_lock_that_another_holds_is_busy(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with closing(connect(path)) as other:
        assert refusal(other, "BEGIN IMMEDIATE").sqlite_errorname.startswith("SQLITE_BUSY")


@canary("driver_errors.py", to="say that a unit of work only reads")
def test_a_write_where_only_queries_are_allowed_is_readonly_and_no_more(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")

    assert refusal(connection, "INSERT INTO things (name) VALUES ('one')").sqlite_errorname == "SQLITE_READONLY"


@canary("driver_errors.py", "restore.py", "sqlite_file.py", to="tell a file that is no database")
def test_a_file_that_is_no_database_has_a_name_of_its_own(path: Path) -> None:
    path.write_text("this is no database, and long enough to be taken for one" * 20)
    with closing(connect(path)) as connection:
        assert refusal(connection, "SELECT 1 FROM sqlite_master").sqlite_errorname == "SQLITE_NOTADB"


@canary("driver_errors.py", "restore.py", to="tell a file that cannot be opened")
def test_a_file_that_is_not_there_cannot_be_opened(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"file:{path}?mode=rw", uri=True)

    assert caught.value.sqlite_errorname == "SQLITE_CANTOPEN"
    assert not path.exists()


@canary("driver_errors.py", to="call a number that does not fit invalid input")
def test_an_integer_of_more_than_64_bits_overflows(connection: sqlite3.Connection) -> None:
    with pytest.raises(OverflowError):
        connection.execute("SELECT ?", (2**63,))


# --- files -----------------------------------------------------------------------------------------------------


@canary("following.py", to="see that another connection has committed, without reading the log")
def test_the_data_version_of_a_connection_changes_when_another_one_commits(
    connection: sqlite3.Connection, path: Path
) -> None:
    def version(of: sqlite3.Connection) -> int:
        found: int = of.execute("PRAGMA data_version").fetchone()[0]
        return found

    with closing(connect(path)) as other:
        before = version(connection)
        assert version(connection) == before
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO things (name) VALUES ('one')")
        assert version(connection) == before
        other.commit()
        assert version(connection) != before


@canary("sqlite_copy.py", to="copy a database as it is at one moment, under a busy writer")
def test_a_backup_of_a_connection_in_a_transaction_is_of_its_snapshot(
    connection: sqlite3.Connection, path: Path
) -> None:
    connection.executemany("INSERT INTO things (name) VALUES (?)", [(f"{n}{'x' * 1000}",) for n in range(100)])
    steps: list[int] = []

    def write(*_: int) -> None:
        steps.append(1)
        connection.execute("INSERT INTO things (name) VALUES (?)", (f"late {len(steps)}",))

    with closing(connect(path)) as snapshot, closing(connect(path.with_name("copy.db"))) as copied:
        snapshot.execute("BEGIN")
        snapshot.execute("SELECT count(*) FROM sqlite_master")
        snapshot.backup(copied, pages=10, progress=write)

        assert len(steps) > 1
        assert copied.execute("SELECT count(*) FROM things").fetchone() == (100,)


@canary("restore.py", to="see whether a restore was committed before Ctrl-C")
def test_the_schema_version_rises_when_another_content_was_copied_in(
    connection: sqlite3.Connection, path: Path
) -> None:
    before = connection.execute("PRAGMA schema_version").fetchone()
    with closing(connect(path.with_name("other.db"))) as other:
        other.execute("CREATE TABLE others (id INTEGER)")
        other.backup(connection)

    assert connection.execute("PRAGMA schema_version").fetchone() > before
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("others",)]


@canary("restore.py", to="have a database to itself, without a -shm file")
def test_an_exclusive_connection_in_wal_mode_needs_no_shared_memory_and_lets_nobody_in(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("CREATE TABLE things (id INTEGER)")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO things VALUES (1)")
        assert not path.with_name(f"{path.name}-shm").exists()
        with closing(connect(path)) as other:
            assert refusal(other, "SELECT * FROM things").sqlite_errorname.startswith("SQLITE_BUSY")


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB, 512, 0x40000000)
    except OSError:
        print("locked")
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX locks")
@canary("restore.py", to="keep others off a file that SQLite cannot read")
def test_sqlite_locks_these_bytes_of_a_file_that_is_open(connection: sqlite3.Connection, path: Path) -> None:
    def told() -> str:
        command = [sys.executable, "-c", LOCKED, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    connection.execute("SELECT count(*) FROM things").fetchone()
    assert told() == "locked"
    connection.close()
    assert told() == ""


@canary("restore.py", "sqlite_file.py", to="know a store's file, even a damaged one, by its first bytes")
def test_a_file_begins_with_its_format_and_has_the_application_id_at_byte_68(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {0x56425753}")
        connection.execute("CREATE TABLE things (id INTEGER)")
    header = path.read_bytes()[:100]

    assert header.startswith(b"SQLite format 3\0")
    assert header[68:72] == b"VBWS"


@canary("upkeep/comparison.py", to="compare the CREATE statements of a file with what the table classes declare")
def test_the_schema_table_keeps_a_statement_as_it_was_written(path: Path) -> None:
    written = "CREATE TABLE things (\n\tid INTEGER NOT NULL, \n\tCONSTRAINT ck CHECK (id > 0)\n)\n STRICT"
    with closing(connect(path)) as connection:
        connection.execute(written)
        connection.execute("CREATE TABLE [_alembic_tmp] (id INTEGER)")
        connection.execute("ALTER TABLE [_alembic_tmp] RENAME TO renamed")
        found = dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())

    assert found["things"] == written
    assert found["renamed"] == 'CREATE TABLE "renamed" (id INTEGER)'


@canary("columns.py", to="fill in the present instant as other times are written")
def test_strftime_gives_a_time_of_the_stored_form(connection: sqlite3.Connection) -> None:
    (told,) = connection.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')").fetchone()

    assert len(told) == len("2026-11-20T18:04:05.000000Z")
    assert told.endswith("000Z")


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@canary("opened.py", to="close the connections of a parent in a forked child without harm to the parent")
def test_a_connection_that_nobody_uses_can_be_closed_in_a_forked_child(
    connection: sqlite3.Connection, path: Path
) -> None:
    connection.execute("INSERT INTO things (name) VALUES ('one')")
    if (child := os.fork()) == 0:
        connection.close()
        os._exit(0)
    os.waitpid(child, 0)
    connection.execute("INSERT INTO things (name) VALUES ('two')")

    with closing(connect(path)) as other:
        assert other.execute("SELECT count(*) FROM things").fetchone() == (2,)
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
