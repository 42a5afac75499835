"""Migrations: up, down and up again with rows in the tables, once however many ask, and nothing lost on the way."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from tests.conftest import needs_postgres
from tests.services.scene import OF_A_SESSION
from tests.spawning import Ended, Processes
from vibeweaver_store import (
    CorruptData,
    InvalidInput,
    MigrationFailed,
    Settings,
    Store,
    StoreBusy,
    autocommit,
    schema,
    sessions,
    stats,
)
from vibeweaver_store.engine import resolve
from vibeweaver_store.models import METADATA
from vibeweaver_store.sqlite_file import APPLICATION_ID, VERSION_TABLE
from vibeweaver_store.testing import (
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    ImportFactory,
    JobAttemptFactory,
    PostgresServer,
    ProjectFactory,
    TicketFactory,
    WorkerTypeFactory,
    WorkspaceFactory,
)
from vibeweaver_store.upkeep.comparison import clauses, declared_statements, drift

pytestmark = pytest.mark.migrations

TOP = Path(__file__).resolve().parents[1]


def fill(store: Store) -> str:
    """One row at least in every table."""
    with store.begin() as uow:
        workspace = WorkspaceFactory.create(uow=uow)
        jam = sessions.create(uow, name="jam", workspace_id=workspace.id)
        for factory in OF_A_SESSION:
            factory.create(uow=uow, session_id=jam.id)
        ImportFactory.create(uow=uow)
        project = ProjectFactory.create(uow=uow).repository_name
        WorkerTypeFactory.create(uow=uow, project_id=project)
        CommentFactory.create(uow=uow, ticket_id=TicketFactory.create(uow=uow, project_id=project).ticket_id)
        EnsembleWorkerFactory.create(uow=uow, project_id=project)
        CoordinationEventFactory.create(uow=uow, project_id=project)
        JobAttemptFactory.create(uow=uow)
        stats.record(uow, "drums", 100)
    return jam.id


def rows_of(database: str) -> dict[str, int]:
    with Store.open(database) as store, store.read() as uow:
        return {
            table.name: uow.connection().execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
        }


def test_migration_tests_have_a_row_in_every_table(database: str) -> None:
    with Store.open(database) as store:
        fill(store)

    assert set(rows_of(database).values()) == {1}


def test_migrations_go_up_down_and_up_again_with_rows_in_the_tables(empty_database: str) -> None:
    assert schema.upgrade(empty_database).after == schema.head()
    for revision in reversed(["base", *[each.number for each in schema.history()[:-1]]]):
        with Store.open(empty_database) as store:
            fill(store)
        assert schema.downgrade(empty_database, revision).after == (None if revision == "base" else revision)
        assert schema.upgrade(empty_database).after == schema.head()
        assert drift(empty_database) == []


def test_each_migration_can_be_taken_back_alone(empty_database: str) -> None:
    for revision in schema.history():
        schema.upgrade(empty_database, revision.number)
        schema.downgrade(empty_database, "-1")
        assert schema.upgrade(empty_database, revision.number).after == revision.number


def test_the_migrations_make_the_schema_of_the_table_classes(empty_database: str) -> None:
    schema.upgrade(empty_database)

    assert drift(empty_database) == []


def test_a_column_without_a_migration_is_drift(database: str) -> None:
    extra: sa.Column[str] = sa.Column("extra", sa.Text())
    METADATA.tables["sessions"].append_column(extra)
    try:
        assert any("extra" in line for line in drift(database))
    finally:
        METADATA.tables["sessions"]._columns.remove(extra)


def ddl_of(path: Path) -> dict[str, str]:
    made = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(made).fetchall()
    return {name: " ".join(sql.split()) for name, sql in rows if name != VERSION_TABLE}


def test_the_migrations_on_sqlite_make_every_check_and_strict_of_the_table_classes(tmp_path: Path) -> None:
    schema.upgrade(tmp_path / "migrated.db")

    found, wanted = ddl_of(tmp_path / "migrated.db"), declared_statements()

    assert {name: clauses(ddl) for name, ddl in found.items()} == {name: clauses(ddl) for name, ddl in wanted.items()}


def checks_of(store: Store) -> dict[str, str]:
    with store.read() as uow:
        rows = uow.connection().exec_driver_sql(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname ~ '^(ck|fk|pk|uq)_'"
        )
        return {row.conname: row.pg_get_constraintdef for row in rows}


@needs_postgres
def test_the_migrations_on_postgresql_make_every_constraint_of_the_table_classes(
    postgres_server: PostgresServer,
) -> None:
    name = postgres_server.make()
    url = postgres_server.url_of(name)
    try:
        with Store.open(url, migrate=True) as store:
            found = checks_of(store)
            schema.downgrade(url, "base")
            METADATA.create_all(store._engines.write)

            assert found == checks_of(store)
    finally:
        postgres_server.drop(name)


def test_every_constraint_and_index_on_sqlite_has_a_conventional_name(sqlite_path: Path) -> None:
    made = ddl_of(sqlite_path)
    for table in METADATA.tables:
        # An autoincrement key can only be written at its column, where it has no name.
        ddl = made[table].replace("PRIMARY KEY AUTOINCREMENT", "")
        for kind in ("CHECK", "FOREIGN KEY", "PRIMARY KEY", "UNIQUE"):
            assert ddl.count(f" {kind}") == len(re.findall(rf"CONSTRAINT \w+ {kind}", ddl)), ddl
        names = re.findall(r"CONSTRAINT (\w+)", ddl)
        assert [name for name in names if not re.match(rf"(pk|fk|ck|uq)_{table}(_|$)", name)] == []
    for name, ddl in made.items():
        indexed = re.match(r"CREATE (?:UNIQUE )?INDEX \w+ ON (\w+)", ddl)
        assert indexed is None or name.startswith(f"ix_{indexed[1]}_")


@needs_postgres
def test_every_constraint_and_index_on_postgresql_has_a_conventional_name(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    with Store.open(postgres_server.url_of(postgres_template)) as store, store.read() as uow:
        found = uow.connection().exec_driver_sql(
            "SELECT r.relname, c.conname FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid"
            " WHERE c.connamespace = 'public'::regnamespace AND r.relname <> 'vibeweaver_version'"
            " UNION ALL SELECT tablename, indexname FROM pg_indexes"
            " WHERE schemaname = 'public' AND tablename <> 'vibeweaver_version'"
        )
        names = [(row[0], row[1]) for row in found]

    assert {table for table, _ in names} == set(METADATA.tables)
    assert [name for table, name in names if not re.match(rf"(pk|fk|ck|uq|ix)_{table}(_|$)", name)] == []


def test_a_revision_is_read_by_its_number_and_its_title() -> None:
    numbers = [revision.number for revision in schema.history()]

    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]
    assert schema.history()[0].title == "create_the_weaving_tables"
    for revision in schema.history():
        text = (schema.scripts() / "versions" / f"{revision.number}_{revision.title}.py").read_text()
        assert f'revision = "{revision.number}"' in text


def test_a_migration_gives_old_sessions_a_valid_status(empty_database: str) -> None:
    schema.upgrade(empty_database, "0002")
    insert = sa.text(
        "INSERT INTO sessions (id, kind, name, tempo_bpm, status, created_at, updated_at, rules_rev) "
        "VALUES (:id, :kind, 'old', 120, :status, '2026-01-01T00:00:00.000000Z', '2026-01-02T00:00:00.000000Z', 7)"
    )
    old = [{"id": "a", "kind": "jam", "status": "running"}, {"id": "b", "kind": "agent", "status": "completed"}]
    with autocommit.connect(resolve(empty_database, Settings()), Settings()) as connection:
        connection.execute(insert, old)

    schema.upgrade(empty_database)

    with Store.open(empty_database) as store:
        found = store.query(lambda uow: [sessions.get(uow, each["id"]) for each in old])
    changed = datetime(2026, 1, 2, tzinfo=UTC)
    assert [(each.completed_at, each.working_dir) for each in found] == [(None, None), (changed, ".")]
    assert {(each.last_activity_at, each.version, each.rules_rev) for each in found} == {(changed, 1, 7)}
    assert [each.attributes for each in found] == [{}, {}]


def test_a_migration_can_rebuild_a_table_a_view_depends_on(sqlite_path: Path) -> None:
    settings = Settings()
    with schema.migrating(resolve(sqlite_path, settings), settings) as run:
        operations = Operations(MigrationContext.configure(run.connection))
        with operations.batch_alter_table("workspaces", recreate="always"):
            pass

    with Store.open(sqlite_path) as store:
        assert store.query(sessions.overview).items == []


@pytest.mark.parametrize("backend_name", ["sqlite", "postgresql"])
def test_the_sql_of_the_migrations_is_printed_without_a_database(backend_name: str) -> None:
    text = schema.sql(backend_name)

    assert "CREATE TABLE rules" in text
    assert ("STRICT" in text) == (backend_name == "sqlite")
    assert ("JSONB" in text) == (backend_name == "postgresql")


@pytest.mark.parametrize("revision", ["9999", "", "head; DROP TABLE sessions", "1"])
def test_a_revision_that_does_not_exist_is_invalid_input(tmp_path: Path, revision: str) -> None:
    with pytest.raises(InvalidInput, match="no revision"):
        schema.upgrade(tmp_path / "a.db", revision)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", ["+9", "-9"])
def test_migrating_more_steps_than_exist_is_invalid_input(database: str, steps: str) -> None:
    move = schema.upgrade if steps.startswith("+") else schema.downgrade

    with pytest.raises(InvalidInput, match=re.escape(steps)):
        move(database, steps)

    assert schema.current(database) == schema.head()


@pytest.mark.parametrize("revisions", [":", "+1:-1", "9999", "base:9999", "0002:0001", "head:base", "head:0001"])
def test_a_range_of_missing_revisions_has_no_sql(revisions: str) -> None:
    with pytest.raises(InvalidInput):
        schema.sql("sqlite", revisions)


def test_an_in_memory_store_cannot_be_migrated_from_outside() -> None:
    with pytest.raises(InvalidInput, match="in-memory"):
        schema.upgrade(":memory:")


def test_an_older_database_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    schema.upgrade(path)
    schema.downgrade(path, "base")

    with Store.open(path) as store:
        assert store.run(sessions.create, name="jam").name == "jam"
    assert schema.current(path) == schema.head()


def test_a_migration_copies_a_file_with_data_first(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        session_id = fill(store)

    done = schema.downgrade(sqlite_path, "base")

    assert done.backup is not None
    assert done.backup.parent == sqlite_path.parent
    assert done.backup.stat().st_mode & 0o777 == 0o600
    restored = sqlite_path.with_name("restored.db")
    shutil.copyfile(done.backup, restored)
    with Store.open(restored) as store:
        assert store.query(sessions.get, session_id).name == "jam"


@pytest.mark.parametrize("revision", ["head", schema.head()])
@pytest.mark.parametrize("move", [schema.upgrade, schema.downgrade])
def test_a_migration_without_steps_copies_no_file(
    sqlite_path: Path, move: Callable[..., schema.Migration], revision: str
) -> None:
    with Store.open(sqlite_path) as store:
        fill(store)

    assert move(sqlite_path, revision) == schema.Migration(schema.head(), schema.head(), None)
    assert list(sqlite_path.parent.glob("*.backup")) == []


def test_a_migration_does_not_copy_a_file_without_data(tmp_path: Path) -> None:
    schema.upgrade(tmp_path / "a.db")

    assert schema.downgrade(tmp_path / "a.db", "base").backup is None


def test_opening_a_database_at_head_takes_no_lock(sqlite_path: Path) -> None:
    Store.open(sqlite_path).close()

    assert not sqlite_path.with_name("store.db.lock").exists()


def test_opening_a_database_at_head_does_not_import_alembic(processes: Processes, sqlite_path: Path) -> None:
    script = (
        "import sys; from vibeweaver_store import Store; Store.open(sys.argv[1]); assert 'alembic' not in sys.modules"
    )
    processes.execute(sys.executable, "-c", script, sqlite_path).finish()


def test_threads_that_migrate_different_files_do_not_mix_them_up(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def migrate(n: int) -> None:
        try:
            Store.open(tmp_path / f"{n}.db").close()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=migrate, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert {schema.current(tmp_path / f"{n}.db") for n in range(12)} == {schema.head()}


def test_threads_that_open_one_fresh_database_migrate_it_once(empty_database: str) -> None:
    errors: list[BaseException] = []

    def migrate() -> None:
        try:
            Store.open(empty_database, migrate=True).close()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert schema.current(empty_database) == schema.head()


def test_a_migration_blocked_by_another_process_is_store_busy(tmp_path: Path, impatient: Settings) -> None:
    import filelock

    lock = filelock.FileLock(tmp_path / "a.db.lock")
    with lock, pytest.raises(StoreBusy, match="another process"):
        Store.open(tmp_path / "a.db", settings=impatient)

    assert not (tmp_path / "a.db").exists()


@needs_postgres
def test_a_migration_on_postgresql_that_another_process_holds_up_is_store_busy(
    postgres_server: PostgresServer, impatient: Settings
) -> None:
    with postgres_server.database() as url:
        with psycopg.connect(url.replace("+psycopg", "")) as another:
            another.execute("SELECT pg_advisory_lock(%s)", [APPLICATION_ID])
            with pytest.raises(StoreBusy):
                Store.open(url, migrate=True, settings=impatient)
        assert schema.current(url) is None


def test_a_migration_leaves_the_logging_of_the_application_alone(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level, logging.root.manager.disable)
    mine = logging.getLogger("mine")

    Store.open(tmp_path / "a.db").close()

    assert (root.level, list(root.handlers), logging.getLogger("alembic").level, logging.root.manager.disable) == before
    assert not mine.disabled


def test_a_migration_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Store.open(tmp_path / "a.db").close()

    assert capfd.readouterr() == ("", "")


# --- migrations that go wrong ----------------------------------------------------------------------------------

ONE_MORE = f"{int(schema.head()) + 1:04}"

_BAD = """
import sqlalchemy as sa
from alembic import op
revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None
def upgrade():
    op.add_column("sessions", sa.Column("extra", sa.Text()))
    {body}
def downgrade():
    op.drop_column("sessions", "extra")
"""


@contextmanager
def with_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Iterator[None]:
    """The migrations with one more, in a folder of their own."""
    scripts = tmp_path / "scripts"
    shutil.copytree(schema.scripts(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    wrong = _BAD.format(revision=ONE_MORE, before=schema.head(), body=body)
    (scripts / "versions" / f"{ONE_MORE}_go_wrong.py").write_text(wrong)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "scripts", lambda: scripts)
        schema.history.cache_clear()
        try:
            yield
        finally:
            schema.history.cache_clear()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('raise RuntimeError("half way")', "half way"),
        ('op.execute("SELECT * FROM nowhere")', "nowhere"),
    ],
)
def test_a_failed_migration_is_rolled_back_whole(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    with Store.open(database) as store:
        fill(store)
    before = rows_of(database)

    with with_migration(tmp_path, monkeypatch, body), pytest.raises(MigrationFailed, match=says):
        schema.upgrade(database)

    assert schema.current(database) == schema.head()
    assert drift(database) == []
    assert rows_of(database) == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('op.execute("DELETE FROM history")', "lose rows"),
        ('op.execute("DELETE FROM sessions")', "without their parent"),
    ],
)
def test_a_migration_on_sqlite_that_loses_rows_or_parents_is_rolled_back(
    sqlite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    with Store.open(sqlite_path) as store:
        fill(store)
    before = rows_of(str(sqlite_path))

    with with_migration(tmp_path, monkeypatch, body), pytest.raises(MigrationFailed, match=says) as caught:
        schema.upgrade(sqlite_path)

    assert caught.value.backup is not None
    assert rows_of(str(sqlite_path)) == before


def test_a_migration_on_sqlite_rebuilds_a_table_without_losing_child_rows(
    sqlite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(sqlite_path) as store:
        fill(store)
    before = rows_of(str(sqlite_path))
    rebuild = 'with op.batch_alter_table("sessions", recreate="always", table_kwargs={"sqlite_strict": True}): pass'

    with with_migration(tmp_path, monkeypatch, rebuild):
        assert schema.upgrade(sqlite_path).after == ONE_MORE
        schema.downgrade(sqlite_path, "-1")

    assert rows_of(str(sqlite_path)) == before


# --- Alembic's own command line --------------------------------------------------------------------------------


def alembic(processes: Processes, *arguments: str, **environment: str) -> Ended:
    """Run Alembic's program in the checkout, where its settings are."""
    return processes.run_module("alembic", *arguments, folder=TOP, environment={**os.environ, **environment})


def test_alembics_own_commands_migrate_the_same_way(processes: Processes, empty_database: str) -> None:
    done = alembic(processes, "-x", f"database={empty_database}", "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert schema.current(empty_database) == schema.head()

    checked = alembic(processes, "check", VIBEWEAVER_DATABASE=empty_database)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_table_class_change_without_a_migration_fails_alembic_check(processes: Processes, database: str) -> None:
    schema.downgrade(database, "base")

    assert alembic(processes, "check", VIBEWEAVER_DATABASE=database).returncode != 0


def test_a_database_at_several_revisions_is_corrupt(database: str) -> None:
    with Store.open(database) as store, store.begin() as uow:
        uow.execute(sa.text(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('0001')"))

    with pytest.raises(CorruptData, match="several revisions"):
        schema.downgrade(database, "base")
