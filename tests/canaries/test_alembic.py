"""What the package relies on in Alembic: what it leaves to the caller, and the form of what it returns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.canaries.canary import Library

canary = Library("alembic")

ENVIRONMENT = """
from alembic import context

def configure(**options):
    context.configure(target_metadata=None, version_table="canary_version", **options)

if context.is_offline_mode():
    dialect = context.config.attributes["dialect"]
    configure(dialect_name=dialect, literal_binds=True, dialect_opts={"paramstyle": "named"})
else:
    configure(connection=context.config.attributes["connection"], render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

def upgrade():
    op.create_table("things", sa.Column("id", sa.INTEGER(), primary_key=True), sa.Column("name", sa.Text()))
    op.bulk_insert(sa.table("things", sa.column("name", sa.Text())), [{"name": "one"}])

def downgrade():
    op.drop_table("things")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "100% scripts"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENVIRONMENT)
    (folder / "versions" / "0001_things.py").write_text(REVISION)
    return folder


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """A connection that begins by a statement of its own, as the store's do."""
    engine = sa.create_engine("sqlite://", connect_args={"isolation_level": None})
    sa.event.listen(engine, "begin", lambda each: each.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def config_of(scripts: Path, output: io.StringIO | None = None) -> Any:
    from alembic.config import Config

    quiet = io.StringIO()
    config = Config(stdout=quiet, output_buffer=output or quiet)
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return config


@canary("schema.py", to="migrate all or nothing, in a transaction of its own")
def test_a_migration_leaves_the_transaction_of_its_connection_open(scripts: Path, connection: sa.Connection) -> None:
    from alembic import command

    driver: Any = connection.connection.driver_connection
    for revision in ("upgrade", "downgrade"):
        with connection.begin() as transaction:
            config = config_of(scripts)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if revision == "downgrade":
                command.downgrade(config, "base")
            assert driver.in_transaction
            transaction.rollback()
        assert not driver.in_transaction
        assert sa.inspect(connection).get_table_names() == []
        connection.rollback()


@canary("schema.py", to="find migrations in a folder with a percent sign in its path, and keep quiet")
def test_a_configuration_takes_a_percent_sign_that_is_doubled_and_prints_where_it_is_told(
    scripts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from alembic import command

    output = io.StringIO()
    config = config_of(scripts, output)
    config.attributes["dialect"] = "postgresql"
    command.upgrade(config, "base:0001", sql=True)

    assert "CREATE TABLE things" in output.getvalue()
    assert "INSERT INTO things (name) VALUES ('one')" in output.getvalue()
    assert "INSERT INTO canary_version" in output.getvalue()
    assert capsys.readouterr() == ("", "")


@canary("schema.py", to="say that a revision cannot be reached")
def test_a_revision_that_is_not_there_is_a_command_error(scripts: Path, connection: sa.Connection) -> None:
    from alembic.util import CommandError

    from alembic import command

    config = config_of(scripts)
    config.attributes["connection"] = connection
    with connection.begin():
        for revision in ("0007", "+7"):
            with pytest.raises(CommandError):
                command.upgrade(config, revision)


@canary("upkeep/comparison.py", to="tell how a database differs from the table classes")
def test_differences_are_tuples_and_those_of_one_column_lists_of_tuples(connection: sa.Connection) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.INTEGER(), primary_key=True), sa.Column("name", sa.Text()))
    sa.Table("more", metadata, sa.Column("id", sa.INTEGER(), primary_key=True))
    connection.exec_driver_sql("CREATE TABLE things (id INTEGER NOT NULL PRIMARY KEY, name BLOB NOT NULL, old TEXT)")
    connection.exec_driver_sql("CREATE TABLE theirs (id INTEGER PRIMARY KEY)")

    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in metadata.tables

    options = {"version_table": "canary_version", "compare_type": True, "include_name": is_ours}
    found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    (changes,) = [each for each in found if isinstance(each, list)]

    assert {each[0] for each in found if isinstance(each, tuple)} == {"add_table", "remove_column"}
    assert {each[0] for each in changes} == {"modify_type", "modify_nullable"}
    assert changes[0][1:4] == (None, "things", "name")
    assert isinstance(changes[0][4], dict)
    (added,) = [each for each in found if each[0] == "add_table"]
    assert added[1].name == "more"
    (removed,) = [each for each in found if each[0] == "remove_column"]
    assert (removed[1], removed[2], removed[3].name) == (None, "things", "old")


@canary("schema.py", to="rebuild a table of SQLite as a STRICT one")
def test_a_batch_rebuilds_a_table_of_sqlite_with_its_options(connection: sa.Connection) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    connection.exec_driver_sql("CREATE TABLE things (id INTEGER NOT NULL PRIMARY KEY) STRICT")
    connection.exec_driver_sql("INSERT INTO things VALUES (7)")
    table = sa.Table("things", sa.MetaData(), sa.Column("id", sa.INTEGER(), primary_key=True))
    operations = Operations(MigrationContext.configure(connection, opts={"render_as_batch": True}))
    strict = {"sqlite_strict": True}
    with operations.batch_alter_table("things", copy_from=table, table_kwargs=strict) as batch:
        batch.add_column(sa.Column("name", sa.Text()))
        batch.create_check_constraint("ck_things_name", "name <> ''")

    assert connection.exec_driver_sql("SELECT * FROM things").all() == [(7, None)]
    written = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'things'").scalar_one()
    assert written.rstrip().endswith("STRICT")
    assert "CONSTRAINT ck_things_name CHECK (name <> '')" in written
