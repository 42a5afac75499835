"""Maintaining a database: what it gives back, and that it stands in nobody's way. And a log that stays small."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.cli.conftest import run_line
from tests.conftest import needs_postgres
from tests.spawning import Processes
from vibeweaver_store import (
    CorruptData,
    InvalidInput,
    Settings,
    Store,
    StoreBusy,
    StoreUnavailable,
    history,
    schema,
    sessions,
    snapshots,
    sqlite_file,
)
from vibeweaver_store.models import METADATA, HistoryEntry
from vibeweaver_store.testing import PostgresServer
from vibeweaver_store.upkeep.maintenance import maintain

MEBIBYTE = 2**20


def wal_size(path: Path) -> int:
    wal = path.with_name(f"{path.name}-wal")
    return wal.stat().st_size if wal.exists() else 0


def fill(store: Store, entries: int) -> None:
    with store.begin() as uow:
        if sessions.find(uow, "jam") is None:
            sessions.create(uow, name="jam", session_id="jam")
        history.append_many(uow, "jam", (history.NewEntry("x", params="y" * 500) for _ in range(entries)))


def empty(store: Store) -> None:
    with store.begin() as uow:
        sessions.delete(uow, "jam")


def test_maintenance_returns_freed_space_to_the_disk(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        fill(store, 20_000)
        empty(store)
        large = wal_size(sqlite_path)
        done = maintain(sqlite_path)

        assert (done.wal_before, done.wal_after) == (large, 0)
        assert done.checkpointed
        assert done.size_after == sqlite_path.stat().st_size < done.size_before / 10
        assert done.pages_freed * 4096 >= 10 * MEBIBYTE
        assert done.pages_empty == 0
        assert store.query(sessions.page).items == []
        assert maintain(sqlite_path).pages_freed == 0


def test_maintenance_renews_outdated_statistics(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        fill(store, 1000)

        assert "history" in maintain(sqlite_path).analyzed
        assert maintain(sqlite_path).analyzed == ()


def test_maintenance_reports_a_file_that_cannot_shrink(sqlite_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    with Store.open(sqlite_path) as store:
        fill(store, 1000)
        empty(store)
        done = maintain(sqlite_path)

    assert not done.can_shrink
    assert done.pages_freed == 0
    assert done.pages_empty > 100


def test_maintenance_keeps_a_rollback_journal_mode(sqlite_path: Path) -> None:
    with Store.open(sqlite_path, settings=Settings(journal_mode="DELETE")) as store:
        fill(store, 1000)
        empty(store)
        done = maintain(sqlite_path)

    assert done.pages_freed > 0
    assert (done.checkpointed, done.wal_after) == (True, 0)
    with closing(sqlite3.connect(sqlite_path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_maintenance_does_not_migrate_an_older_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    schema.upgrade(path, "0001")

    maintain(path)

    assert schema.current(path) == "0001"


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Path.exists, "no such file"),
        (lambda path: path.write_text("no database" * 100), "not an SQLite database"),
        (make_foreign, "another application"),
    ],
)
def test_maintenance_refuses_a_file_that_is_not_a_store_and_leaves_it(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    path = tmp_path / "thing.db"
    make(path)
    before = path.read_bytes() if path.exists() else None

    with pytest.raises(StoreUnavailable, match=says):
        maintain(path)

    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("database", [":memory:", "", "mysql://root@127.0.0.1/x"])
def test_maintenance_of_an_in_memory_or_unsupported_database_is_invalid_input(database: str) -> None:
    with pytest.raises(InvalidInput):
        maintain(database)


def test_maintenance_on_a_network_file_system_is_refused(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = sqlite_path.with_name("mounts")
    mounts.write_text(f"server:/music {sqlite_path.parent} nfs4 rw 0 0\n")
    monkeypatch.setattr(sqlite_file, "MOUNTS", mounts)

    with pytest.raises(StoreUnavailable, match="nfs4"):
        maintain(sqlite_path)


# --- while others use it ---------------------------------------------------------------------------------------


def test_maintenance_waits_briefly_for_a_reader_and_reports_it(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        fill(store, 100)
        with store.read() as reader:
            sessions.page(reader)
            fill(store, 100)
            done = maintain(sqlite_path)

            assert not done.checkpointed
            assert done.wal_after > 0
            assert history.count(reader, "jam") == 100
        assert maintain(sqlite_path).wal_after == 0


def test_maintenance_queues_behind_a_writer_of_the_process(sqlite_path: Path, impatient: Settings) -> None:
    with Store.open(sqlite_path) as store, store.begin() as uow:
        sessions.create(uow, name="jam", session_id="jam")
        with ThreadPoolExecutor(1) as other, pytest.raises(StoreBusy) as busy:
            other.submit(maintain, sqlite_path, settings=impatient).result()

    assert busy.value.waited >= 0.2
    with Store.open(sqlite_path) as store:
        assert store.query(sessions.get, "jam").name == "jam"


def test_maintenance_within_a_unit_of_work_of_the_same_thread_is_refused_at_once(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, store.begin(), pytest.raises(StoreBusy, match="open on this database"):
        maintain(sqlite_path)


_WRITE = """
import sys
from vibeweaver_store import Store, history
with Store.open(sys.argv[1]) as store:
    print("ready", flush=True)
    for n in range(200):
        store.run(history.append, "jam", "meanwhile")
"""


def append_a_hundred(store: Store) -> None:
    for _ in range(100):
        store.run(history.append, "jam", "meanwhile")


def test_maintenance_during_writes_of_others_loses_nothing(processes: Processes, sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        fill(store, 40_000)
        with store.begin() as uow:
            uow.execute(sa.delete(HistoryEntry))
        process = processes.start(_WRITE, sqlite_path)
        assert process.read_line() == "ready"
        with ThreadPoolExecutor(2) as others:
            writing = [others.submit(append_a_hundred, store) for _ in range(2)]
            freed = maintain(sqlite_path).pages_freed
            for each in writing:
                each.result()
        process.finish()

        assert freed > 1000
        assert store.query(history.count, "jam") == 400


def test_maintenance_of_a_damaged_file_is_corrupt_data(sqlite_path: Path) -> None:
    damaged = bytearray(sqlite_path.read_bytes())
    damaged[100:4096] = b"\xff" * 3996
    sqlite_path.write_bytes(damaged)

    with pytest.raises(CorruptData):
        maintain(sqlite_path)


# --- PostgreSQL ------------------------------------------------------------------------------------------------


@needs_postgres
@pytest.mark.parametrize("backend", ["postgresql"])
def test_maintenance_on_postgresql_vacuums_and_analyzes_the_tables(database: str) -> None:
    with Store.open(database) as store:
        fill(store, 5000)
        empty(store)
        with store.begin():  # a writer is in nobody's way
            done = maintain(database)

    assert "history" in done.analyzed
    assert done.size_after < done.size_before
    assert "vibeweaver_version" not in done.analyzed


@needs_postgres
@pytest.mark.parametrize("backend", ["postgresql"])
def test_maintenance_on_postgresql_without_tables_does_nothing(empty_database: str) -> None:
    assert maintain(empty_database).analyzed == ()


@pytest.fixture
def as_another_role(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of a database, for a role that may read its tables and owns one of them."""
    role = f"vibeweaver_{uuid4().hex}"
    with postgres_server.database(postgres_template) as url:
        with Store.open(url) as store, store.begin() as uow:
            uow.execute(sa.text(f"CREATE ROLE {role}"))
            uow.execute(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
            uow.execute(sa.text(f"ALTER TABLE markers OWNER TO {role}"))
        yield make_url(url).update_query_dict({"options": f"-c role={role}"}).render_as_string(hide_password=False)
        with Store.open(url) as store, store.begin() as uow:
            uow.execute(sa.text(f"DROP OWNED BY {role}"))
            uow.execute(sa.text(f"DROP ROLE {role}"))


@needs_postgres
def test_maintenance_on_postgresql_reports_tables_of_another_role_as_skipped(as_another_role: str) -> None:
    done = maintain(as_another_role)

    assert done.analyzed == ("markers",)
    assert set(done.passed_over) == set(METADATA.tables) - {"markers"}
    assert '"history"' in done.passed_over["history"]
    line = run_line(["--db", as_another_role, "db", "maintain"])
    assert line.code == 0
    assert dict(row.split(maxsplit=1) for row in line.out.splitlines())["vacuumed"] == "markers"
    assert " generation_stats: " in line.out.partition("passed over")[2]


# --- the log stays small ---------------------------------------------------------------------------------------

ROWS = 100_000
PAGE = 1000
LIMIT = 64 * MEBIBYTE


_MANY_ROWS = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :rows)
INSERT INTO history (session_id, action, params, success, created_at)
SELECT 'jam', 'x', n, 1, '2026-01-01T00:00:00.000000Z' FROM numbers
"""


@pytest.fixture
def long_history(sqlite_path: Path) -> Path:
    with Store.open(sqlite_path) as store, store.begin() as uow:
        sessions.create(uow, name="jam", session_id="jam")
        uow.execute(sa.text(_MANY_ROWS), {"rows": ROWS})
    return sqlite_path


class Writer:
    """Another thread that writes a mebibyte whenever it is told to."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._told = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self.largest_wal = 0
        self.written = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._told.release()
        self._thread.join()

    def write(self) -> None:
        """Write a mebibyte, and wait until it is committed."""
        self._told.release()
        assert self._done.acquire(timeout=30)

    def _run(self) -> None:
        while self._told.acquire() and not self._ended:
            self._store.run(snapshots.save, "jam", b"x" * MEBIBYTE)
            self.written += MEBIBYTE
            self.largest_wal = max(self.largest_wal, wal_size(self._path))
            self._done.release()


def test_a_slow_iteration_of_history_does_not_hold_the_wal_back(long_history: Path) -> None:
    seen = 0
    with Store.open(long_history) as store, Writer(store, long_history) as writer:
        for entry in history.iterate(store, "jam", page_size=PAGE, oldest_first=True):
            assert entry.params == seen
            seen += 1
            if seen % PAGE == PAGE // 2:  # amid a page, as a caller who takes his time
                writer.write()

    assert seen == ROWS
    assert writer.written > 1.5 * LIMIT
    assert writer.largest_wal < LIMIT


def test_an_iteration_in_one_transaction_holds_the_wal_back(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store, Writer(store, sqlite_path) as writer:
        fill(store, 1)
        with store.read() as reader:
            history.page(reader, "jam")
            for _ in range(ROWS // PAGE):
                writer.write()

    assert writer.largest_wal > LIMIT
