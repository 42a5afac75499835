"""Another application's database: read as it is, never changed, and refused where it is something else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from tests.importers.foreign_files import (
    LULU,
    OF_LULU,
    VIBEWEAVER,
    lulu_database,
    make_database,
    memva_database,
    write_rows,
)
from tests.spawning import Processes
from vibeweaver_store import ImportRejected, Store, StoreBusy
from vibeweaver_store.importers import foreign_database, lulu, memva, vibeweaver
from vibeweaver_store.importers.foreign_database import ForeignDatabase, in_batches, opened

SESSIONS = [{"id": "one"}, {"id": "two"}]


def ids(source: ForeignDatabase, table: str = "sessions") -> list[object]:
    return [row.key for row in source.rows(table)]


def state_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of a folder: its size, when it was written, and what is in it."""
    return {each.name: (each.stat().st_size, each.stat().st_mtime_ns, each.read_bytes()) for each in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs" / "lulu.db"


# --- left as it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_reading_a_foreign_database_changes_neither_it_nor_files_beside_it(path: Path, journal_mode: str) -> None:
    write_rows(make_database(path, LULU, journal_mode=journal_mode), OF_LULU, sessions=SESSIONS)
    before = state_of(path.parent)

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert ids(source) == ["one", "two"]

    assert state_of(path.parent) == before


def test_a_foreign_database_in_wal_mode_is_read_up_to_its_last_commit(path: Path) -> None:
    lulu_database(path, sessions=SESSIONS[:1])
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("PRAGMA wal_autocheckpoint = 0")
        write = "INSERT INTO sessions VALUES ('two', 'n', 'created', '/', '2025-01-01 00:00:00', '2025-01-01 00:00:00')"
        with theirs:
            theirs.execute(write)
        before = {name: it for name, it in state_of(path.parent).items() if not name.endswith("-shm")}
        assert set(before) == {"lulu.db", "lulu.db-wal"}

        with opened(path, "lulu", lulu.LAYOUT) as source:
            assert ids(source) == ["one", "two"]

        after = {name: it for name, it in state_of(path.parent).items() if not name.endswith("-shm")}
        assert after == before


def test_reading_a_copied_foreign_database_with_its_wal_leaves_only_a_wal_index(path: Path, tmp_path: Path) -> None:
    lulu_database(path, sessions=SESSIONS[:1])
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(path)) as theirs:
        with theirs:
            theirs.execute("UPDATE sessions SET name = 'later'")
        for name in ("lulu.db", "lulu.db-wal"):
            shutil.copy(path.with_name(name), copy)
    before = state_of(copy)

    with opened(copy / "lulu.db", "lulu", lulu.LAYOUT) as source:
        assert [row["name"] for row in source.rows("sessions")] == ["later"]

    after = state_of(copy)
    assert set(after) - set(before) <= {"lulu.db-shm"}
    assert {name: after[name] for name in before} == before


def test_a_foreign_database_is_read_in_one_snapshot(path: Path) -> None:
    lulu_database(path, sessions=SESSIONS)

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert ids(source) == ["one", "two"]
        write_rows(path, OF_LULU, sessions=[{"id": "three"}])
        assert ids(source) == ["one", "two"]


def test_a_foreign_database_is_opened_read_only(path: Path) -> None:
    lulu_database(path)

    with opened(path, "lulu", lulu.LAYOUT) as source, pytest.raises(Exception, match=r"(?i)only reads|read.?only"):
        source._connection.exec_driver_sql("DELETE FROM sessions")


_AS_SOMEBODY = """
import os, sys
from pathlib import Path
from vibeweaver_store import ImportRejected
from vibeweaver_store.importers import lulu
from vibeweaver_store.importers.foreign_database import opened
def read(path):
    try:
        with opened(path, "lulu", lulu.LAYOUT) as source:
            return [row.key for row in source.rows("sessions")]
    except ImportRejected as refused:
        return refused.reason
read(Path(sys.argv[1]))  # so that all is imported before the user is another one
if os.geteuid() == 0:  # root may write whatever the mode says
    os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    print(read(Path(path)))
"""


def test_a_foreign_database_in_a_read_only_folder_is_read_or_refused_with_advice(processes: Processes) -> None:
    # Not under pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / "delete.db", folder / "wal.db"]
        for path, journal_mode in zip(paths, ("DELETE", "WAL"), strict=True):
            write_rows(make_database(path, LULU, journal_mode=journal_mode), OF_LULU, sessions=SESSIONS)
            path.chmod(0o444)
        folder.chmod(0o555)
        before = state_of(folder)
        try:
            done = processes.run(_AS_SOMEBODY, *paths)
            assert state_of(folder) == before
        finally:
            folder.chmod(0o755)

    read, refused = done.stdout.splitlines()
    assert read == "['one', 'two']"
    assert refused.endswith("one in WAL mode is only read where files can be made beside it: copy it to another folder")


# --- refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "there is no such file"),
        (lambda path: path.mkdir(), "there is no such file"),
        (lambda path: path.write_bytes(b""), "this is no lulu database: it has no table sessions"),
        (lambda path: path.write_bytes(b"not a database" * 100), "this is no SQLite database"),
        (lambda path: make_database(path, VIBEWEAVER), "this is no lulu database: table sessions has no column status"),
        (
            lambda path: make_database(path, LULU.replace("role TEXT NOT NULL,", "")),
            "this is no lulu database: table messages has no column role",
        ),
    ],
    ids=["nothing", "a folder", "empty", "text", "of another application", "a column short"],
)
def test_a_file_that_is_not_the_expected_foreign_database_is_refused(path: Path, make: object, reason: str) -> None:
    make(path)  # type: ignore[operator]

    with pytest.raises(ImportRejected) as refused, opened(path, "lulu", lulu.LAYOUT):
        pass

    assert refused.value.reason == reason
    assert refused.value.source == str(path)


def test_a_store_is_refused_as_a_foreign_database(sqlite_path: Path) -> None:
    with Store.open(sqlite_path), pytest.raises(ImportRejected) as refused, opened(sqlite_path, "lulu", lulu.LAYOUT):
        pass

    assert refused.value.reason == "this is a store of vibeweaver-store itself; open it with --db, or restore it"


def test_a_damaged_foreign_database_is_refused_when_the_damage_is_met(path: Path) -> None:
    many = [{"id": f"message {n}", "session_id": "one", "content": "x" * 500} for n in range(500)]
    lulu_database(path, sessions=SESSIONS, messages=many)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)

    with opened(path, "lulu", lulu.LAYOUT) as source, pytest.raises(ImportRejected) as refused:
        ids(source, "messages")

    assert "damaged" in refused.value.reason


def test_an_exclusively_locked_foreign_database_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBEWEAVER_BUSY_TIMEOUT_SECONDS", "0.1")
    make_database(path, LULU, journal_mode="DELETE")
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("BEGIN EXCLUSIVE")

        with pytest.raises(StoreBusy), opened(path, "lulu", lulu.LAYOUT):
            pass


@pytest.mark.parametrize(
    ("module", "column"),
    [(lulu, "status"), (memva, "title"), (vibeweaver, "vibe")],
    ids=["lulu", "memva", "vibeweaver"],
)
def test_each_foreign_layout_is_told_from_the_others(path: Path, module: object, column: str) -> None:
    make_database(
        path, "CREATE TABLE sessions (id, name, created_at, updated_at, session_id); CREATE TABLE messages (id)"
    )

    with pytest.raises(ImportRejected, match=f"has no column {column}"), opened(path, "x", module.LAYOUT):  # type: ignore[attr-defined]
        pass


# --- values ----------------------------------------------------------------------------------------------------


def test_foreign_table_and_column_names_are_found_in_any_case(path: Path) -> None:
    make_database(path, LULU.replace("sessions (", "Sessions (").replace("working_dir", "Working_Dir"))
    write_rows(path, OF_LULU, sessions=SESSIONS)

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert [row["working_dir"] for row in source.rows("sessions")] == ["/srv/lulu", "/srv/lulu"]


def test_foreign_rows_of_a_without_rowid_table_come_in_key_order(path: Path) -> None:
    schema = LULU.replace("id TEXT PRIMARY KEY,\n    name", "name").replace(
        "working_dir TEXT", "id TEXT, working_dir TEXT"
    )
    sessions, rest = schema.split(");", 1)
    make_database(path, f"{sessions}, PRIMARY KEY (name, id)) WITHOUT ROWID;{rest}")
    write_rows(
        path, OF_LULU, sessions=[{"id": key, "name": name} for key, name in (("b", "y"), ("a", "y"), ("c", "x"))]
    )

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert ids(source) == ["c", "a", "b"]
        assert [row.key for row in source.rows("sessions", name="y", order_by=["created_at"])] == ["a", "b"]
        assert set(next(source.rows("sessions")).values) == set(lulu.LAYOUT["sessions"])


def test_foreign_text_that_is_not_utf_8_spoils_no_other_row(path: Path) -> None:
    lulu_database(path, sessions=SESSIONS, messages=[{"id": "m", "session_id": "two"}])
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("UPDATE sessions SET id = CAST(x'74ff' AS TEXT) WHERE id = 'two'")
        theirs.execute("UPDATE messages SET session_id = CAST(x'74ff' AS TEXT)")

    with opened(path, "lulu", lulu.LAYOUT) as source:
        first, second = source.rows("sessions")
        assert (first.key, second.key) == ("one", "t\udcff")
        assert [row.key for row in source.rows("messages", session_id=second.key)] == ["m"]
        assert str(second) == r"sessions 't\udcff'"


def test_foreign_rows_are_found_by_text_beyond_ascii(path: Path) -> None:
    lulu_database(path, sessions=[{"id": "späte Session 🥁"}], messages=[{"id": "m", "session_id": "späte Session 🥁"}])

    with opened(path, "lulu", lulu.LAYOUT) as source:
        (session,) = source.rows("sessions")
        assert [row.key for row in source.rows("messages", session_id=session.key)] == ["m"]


def test_foreign_rows_are_found_by_any_of_several_values(path: Path) -> None:
    said = [{"id": str(n), "session_id": key} for n, key in enumerate(["one", "two", "ä", "one", None, "three"])]
    make_database(path, LULU.replace("session_id TEXT NOT NULL", "session_id TEXT"))
    write_rows(path, OF_LULU, sessions=SESSIONS, messages=said)

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert [row.key for row in source.rows("messages", session_id=["ä", "one", None, b"two", 5])] == ["0", "2", "3"]
        assert list(source.rows("messages", session_id=[])) == []


def test_strays_are_the_foreign_rows_without_their_parent(path: Path) -> None:
    said = [{"id": str(n), "session_id": key} for n, key in enumerate(["one", "nobody", None])]
    make_database(path, LULU.replace("session_id TEXT NOT NULL", "session_id TEXT"))
    write_rows(path, OF_LULU, sessions=SESSIONS, messages=said)

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert [row.key for row in source.strays("messages")] == ["1", "2"]
        assert [row.key for row in source.strays("sessions", parent="messages", by="id")] == ["one", "two"]


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_optional_foreign_table_has_no_rows(path: Path, missing: bool) -> None:
    memva_database(path, jobs=[{"id": "job"}])
    if missing:
        with closing(sqlite3.connect(path)) as theirs:
            theirs.execute("DROP TABLE jobs")

    with opened(path, "memva", memva.LAYOUT) as source:
        assert ids(source, "jobs") == ([] if missing else ["job"])
        assert list(source.rows("jobs", status="failed", order_by=["created_at"])) == []


def test_progress_of_a_foreign_database_is_in_bytes_of_the_file(path: Path) -> None:
    lulu_database(path, sessions=[{"id": str(n)} for n in range(100)])
    told: list[int] = []

    with opened(path, "lulu", lulu.LAYOUT, progress=told.append) as source:
        ids(source)
        ids(source)  # twice, as where a unit of work is repeated

    assert len(told) > 10
    assert sum(told) == path.stat().st_size


def test_batches_of_foreign_rows_are_limited_in_rows_and_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 3)
    monkeypatch.setattr(foreign_database, "BATCH_BYTES", 1000)
    sizes = [*[10] * 4, 2000, *[10] * 2]
    said = [{"id": str(n), "session_id": "one", "content": "x" * size} for n, size in enumerate(sizes)]
    lulu_database(path, messages=said)

    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert [[row.key for row in batch] for batch in in_batches(source.rows("messages"))] == [
            ["0", "1", "2"],
            ["3", "4"],
            ["5", "6"],
        ]


def test_foreign_rows_are_not_all_held_in_memory(path: Path) -> None:
    lulu_database(path, sessions=[{"id": "one"}])
    big = ({"id": str(n), "session_id": "one", "content": os.urandom(32768).hex()} for n in range(400))
    write_rows(path, OF_LULU, messages=big)

    tracemalloc.start()
    with opened(path, "lulu", lulu.LAYOUT) as source:
        assert sum(1 for _ in source.rows("messages", order_by=["timestamp"])) == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert path.stat().st_size > 25_000_000
    assert peak < 5_000_000
