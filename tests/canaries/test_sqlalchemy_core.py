"""What the package relies on in SQLAlchemy beneath the ORM: compiled statements, types, engines, events and DDL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable, CreateView
from sqlalchemy.types import TypeDecorator

from tests.canaries.canary import Library

canary = Library("SQLAlchemy")

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("size", sa.REAL()),
    sa.CheckConstraint("name <> ''", name="name"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
SQLITE = sqlite.dialect()
PSYCOPG: Any = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]
NAMED = sa.bindparam("named", type_=sa.Text())


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        METADATA.create_all(connection)
        yield connection


# --- compiled statements ---------------------------------------------------------------------------------------


@canary("hot.py", to="put values where a driver takes them by place")
def test_a_compiled_statement_of_sqlite_tells_its_values_in_their_places() -> None:
    statement = sa.select(THINGS.c.id).where(THINGS.c.name == NAMED, THINGS.c.size > 1.5, THINGS.c.name != NAMED)
    compiled: Any = statement.compile(dialect=SQLITE)

    assert compiled.positional
    assert compiled.positiontup == ["named", "size_1", "named"]
    assert compiled.string.count("?") == 3


@canary("hot.py", to="hand values over by name where a driver takes them so")
def test_a_compiled_statement_of_psycopg_has_its_values_by_name() -> None:
    compiled: Any = sa.select(THINGS.c.id).where(THINGS.c.name == NAMED).compile(dialect=PSYCOPG)

    assert not compiled.positional
    assert "%(named)s" in compiled.string


@canary("hot.py", to="know what a statement is to be run with, and what it brings along")
def test_a_compiled_statement_tells_its_parameters_by_name_and_which_of_them_have_values() -> None:
    statement = sa.select(THINGS.c.id).where(THINGS.c.name == NAMED, THINGS.c.size > 1.5)
    for dialect in (SQLITE, PSYCOPG):
        compiled: Any = statement.compile(dialect=dialect)
        told = {name: (each.required, each.value) for each, name in compiled.bind_names.items()}
        assert told == {"named": (True, None), "size_1": (False, 1.5)}
        assert [type(each.type) for each in compiled.bind_names] == [sa.Text, sa.REAL]


@canary("hot_insert.py", to="write the columns that are named, and no other")
def test_an_inline_insert_has_a_value_for_each_column_that_is_named() -> None:
    insert = sa.insert(THINGS).inline()
    for dialect in (SQLITE, PSYCOPG):
        compiled: Any = insert.compile(dialect=dialect, column_keys=["name", "size"])
        assert compiled.string.startswith("INSERT INTO things (name, size) VALUES (")
        assert "RETURNING" not in compiled.string
        assert list(compiled.bind_names.values()) == ["name", "size"]
        assert all(each.required for each in compiled.bind_names)


@canary("hot_insert.py", "hot_rows.py", to="ask for the key that the database gives")
def test_a_table_tells_the_column_that_the_database_numbers() -> None:
    assert THINGS.autoincrement_column is THINGS.c.id
    assert sa.Table("texts", sa.MetaData(), sa.Column("id", sa.Text(), primary_key=True)).autoincrement_column is None


@canary("hot.py", to="read the values of rows by the types of their columns")
def test_a_statement_tells_the_columns_of_its_rows() -> None:
    def told(statement: Any) -> list[str]:
        return [column.name for column in statement.exported_columns]

    assert told(sa.select(THINGS)) == ["id", "name", "size"]
    assert told(sa.insert(THINGS).returning(THINGS.c.id)) == ["id"]
    assert told(sa.update(THINGS).values(name="x").returning(THINGS.c.id, THINGS.c.size)) == ["id", "size"]
    assert told(sa.update(THINGS).values(name="x")) == []
    assert told(sa.text("SELECT 1").columns(sa.column("x", sa.Text()))) == ["x"]
    assert not getattr(sa.text("SELECT 1"), "exported_columns", ())


class among(sa.ColumnElement[bool]):  # noqa: N801 - as hot.py has it
    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> among:
        del against
        return self


@compiles(among)
def _among(_element: among, _compiler: Any, **_: Any) -> str:
    return "x IN (1, 2)"


@canary("hot.py", to="have SQLite look a list of texts up by an index")
def test_an_element_that_groups_itself_stands_as_it_is_in_a_condition() -> None:
    told = str(sa.select(sa.column("x")).where(among(), sa.column("y") == 1).compile(dialect=SQLITE))

    assert "WHERE x IN (1, 2) AND y = ?" in " ".join(told.split())


# --- types -----------------------------------------------------------------------------------------------------


class Shouted(TypeDecorator[str]):
    """A type that reads by a ``result_processor`` of its own, as those of columns.py do."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        del dialect
        return value and value.lower()

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        del dialect, coltype
        return lambda value: value and value.upper()


@canary("columns.py", to="read values once, without SQLAlchemy's wrapper around each")
def test_a_type_that_overrides_result_processor_reads_by_it(connection: sa.Connection) -> None:
    shouted = sa.column("name", Shouted())
    connection.execute(sa.insert(THINGS).values(name="one"))

    assert connection.execute(sa.select(shouted).select_from(THINGS)).scalar_one() == "ONE"
    assert connection.execute(sa.select(shouted).select_from(THINGS).where(shouted == "ONE")).scalar_one() == "ONE"


@canary("hot.py", to="read and write values as SQLAlchemy does")
def test_the_implementation_of_a_type_for_a_dialect_is_what_reads_and_writes() -> None:
    for dialect in (SQLITE, PSYCOPG):
        shouted: Any = Shouted().dialect_impl(dialect)
        assert shouted.result_processor(dialect, None)("one") == "ONE"
        assert shouted.bind_processor(dialect)("ONE") == "one"


@canary("hot.py", to="compile statements before any row was read")
def test_the_types_of_the_store_need_no_description_of_a_row_to_be_read() -> None:
    types: list[sa.types.TypeEngine[Any]] = [
        *(sa.Text(), sa.INTEGER(), sa.BigInteger(), sa.SmallInteger(), sa.Boolean(), sa.LargeBinary(), sa.BLOB()),
        *(postgresql.TIMESTAMP(timezone=True), postgresql.JSONB(), postgresql.ARRAY(sa.Text())),
    ]
    for dialect in (SQLITE, PSYCOPG):
        for kind in types if dialect is PSYCOPG else types[:7]:
            kind.dialect_impl(dialect).result_processor(dialect, None)


@canary("hot.py", to="leave values as they are that the drivers read by themselves")
def test_texts_and_numbers_and_times_are_read_by_the_drivers_themselves() -> None:
    def reader(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Any:
        return kind.dialect_impl(dialect).result_processor(dialect, None)

    both = (sa.Text(), sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), sa.SmallInteger())
    assert [reader(kind, dialect) for kind in both for dialect in (SQLITE, PSYCOPG)] == [None] * 6
    assert reader(postgresql.TIMESTAMP(timezone=True), PSYCOPG) is None


@canary("columns.py", to="hand documents to psycopg as JSONB")
def test_the_jsonb_of_a_dialect_writes_values_as_psycopgs_jsonb_and_leaves_reading_to_psycopg() -> None:
    from psycopg.types.json import Jsonb

    kind: Any = PSYCOPG.type_descriptor(postgresql.JSONB(none_as_null=True))

    assert isinstance(kind.bind_processor(PSYCOPG)({"a": 1}), Jsonb)
    assert kind.result_processor(PSYCOPG, None) is None


@canary("columns.py", "hot.py", to="have names of its own beside those of a type and an element")
def test_types_and_elements_have_no_name_that_the_store_has_for_something_else() -> None:
    assert [name for name in ("written", "vocabulary", "adapter", "_read") if hasattr(TypeDecorator, name)] == []
    assert [name for name in ("column", "values") if hasattr(sa.ColumnElement, name)] == []


# --- engines and connections -----------------------------------------------------------------------------------


@canary("kept.py", to="send statements past SQLAlchemy only where nobody listens to them")
def test_an_engine_tells_whether_anybody_listens_to_its_statements(engine: sa.Engine) -> None:
    def listen(*_: object) -> None: ...

    derived = engine.execution_options(isolation_level="SERIALIZABLE")
    for heard in (engine, derived):
        assert not heard.dispatch.before_cursor_execute
        assert not heard.dispatch.after_cursor_execute
        for name in ("before_cursor_execute", "after_cursor_execute"):
            event.listen(heard, name, listen)
            assert getattr(heard.dispatch, name)
            event.remove(heard, name, listen)
            assert not getattr(heard.dispatch, name)


@canary("kept.py", to="send statements past SQLAlchemy only where they are not logged")
def test_an_engine_logs_its_statements_to_a_logger_of_this_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="sqlalchemy.engine.Engine"):
        engine = sa.create_engine("sqlite://")
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 'logged'")
        engine.dispose()

    assert "SELECT 'logged'" in caplog.text


@canary("kept.py", to="work on the driver's own connection, and give it back")
def test_a_connection_has_the_drivers_own(connection: sa.Connection) -> None:
    import sqlite3

    assert isinstance(connection.connection.dbapi_connection, sqlite3.Connection)
    assert connection.connection.driver_connection is connection.connection.dbapi_connection
    assert connection.dialect.loaded_dbapi.Error is sqlite3.Error
    assert connection.dialect.driver == "pysqlite"
    assert not connection.dialect.is_async


@canary("kept.py", "unit_of_work.py", to="begin by itself, and to let a session join that")
def test_a_connection_does_not_look_whether_its_driver_is_in_a_transaction(engine: sa.Engine) -> None:
    begun: list[sa.Connection] = []
    event.listen(engine, "begin", begun.append)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.isolation_level = None
        driver.execute("BEGIN")
        assert not connection.in_transaction()
        connection.exec_driver_sql("SELECT 1")
        assert begun == [connection]
        assert connection.in_transaction()
        connection.commit()
        assert not driver.in_transaction


@canary("kept.py", to="see that a connection was lost")
def test_a_dialect_says_of_an_error_whether_the_connection_was_lost(engine: sa.Engine) -> None:
    import sqlite3

    lost: Any = sqlite3.ProgrammingError("Cannot operate on a closed database.")
    other: Any = sqlite3.OperationalError("no such table: x")
    with engine.connect() as connection:
        told: Any = connection.connection.dbapi_connection
        assert connection.dialect.is_disconnect(lost, told, None)
        assert not connection.dialect.is_disconnect(other, told, None)


@canary("kept.py", to="throw away a connection that was lost, and no other")
def test_a_connection_that_is_invalidated_says_so_and_is_closed(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert not connection.invalidated
        connection.invalidate(RuntimeError("lost"))
        assert connection.invalidated
        with pytest.raises(Exception, match="closed"):
            driver.execute("SELECT 1")


@canary("driver_errors.py", to="raise its own errors in place of a driver's")
def test_an_error_that_a_listener_returns_replaces_the_drivers_error(connection: sa.Connection) -> None:
    class OursError(Exception):
        pass

    seen: list[Any] = []

    def translate(context: Any) -> Exception:
        seen.append((type(context.original_exception).__name__, context.is_disconnect, context.connection))
        return OursError()

    event.listen(connection.engine, "handle_error", translate)
    with pytest.raises(OursError) as caught:
        connection.exec_driver_sql("SELECT nonsense")

    assert seen == [("OperationalError", False, connection)]
    assert type(caught.value.__cause__).__name__ == "OperationalError"


@canary("driver_errors.py", to="keep a connection that Ctrl-C or a cancelled task interrupted, and roll it back")
def test_a_listener_can_keep_a_connection_that_an_interrupt_would_have_thrown_away(connection: sa.Connection) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    seen: list[bool] = []

    def keep(context: Any) -> None:
        seen.append(context.is_disconnect)
        context.is_disconnect = False

    event.listen(connection.engine, "handle_error", keep)
    dialect: Any = connection.dialect
    execute, dialect.do_execute = dialect.do_execute, interrupt
    try:
        with pytest.raises(KeyboardInterrupt):
            connection.exec_driver_sql("SELECT 1")
    finally:
        dialect.do_execute = execute

    assert seen == [True]
    assert not connection.invalidated
    connection.rollback()
    assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


@canary("engine.py", to="say how a connection is made, whatever the driver")
def test_a_listener_of_do_connect_says_what_the_driver_is_called_with(engine: sa.Engine) -> None:
    made: list[Any] = []

    @event.listens_for(engine, "do_connect")
    def change(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        arguments[:] = ["file:canary?mode=memory"]
        options.update(uri=True, isolation_level=None, timeout=1.5, check_same_thread=False)

    @event.listens_for(engine, "connect")
    def keep(connection: Any, _record: object) -> None:
        made.append(connection)

    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert [each.isolation_level for each in made] == [None]


@canary("engine.py", to="count the connections that units of work have")
def test_a_queue_pool_tells_how_many_connections_it_has_given_out(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/canary.db", poolclass=sa.QueuePool)
    pool: Any = engine.pool
    with engine.connect(), engine.connect():
        assert pool.checkedout() == 2
    assert pool.checkedout() == 0
    assert issubclass(sa.AsyncAdaptedQueuePool, sa.QueuePool)
    engine.dispose()


@canary("engine.py", to="have readers and writers of a server share one pool")
def test_an_engine_with_other_options_has_the_same_pool_and_keeps_options_of_ours(engine: sa.Engine) -> None:
    derived = engine.execution_options(isolation_level="SERIALIZABLE", begin_with="BEGIN")

    assert derived.pool is engine.pool
    assert derived.get_execution_options()["begin_with"] == "BEGIN"


@canary("unit_of_work.py", to="tell the key of a row that was inserted while somebody listens")
def test_a_result_tells_the_row_number_of_an_insert_and_how_many_rows_changed(connection: sa.Connection) -> None:
    result = connection.exec_driver_sql("INSERT INTO things (name) VALUES ('one')")
    assert (result.lastrowid, result.rowcount, result.returns_rows) == (1, 1, False)
    result = connection.exec_driver_sql("INSERT INTO things (name) VALUES ('two') RETURNING id")
    assert (result.returns_rows, result.fetchone()[0]) == (True, 2)  # type: ignore[index]


@canary("upkeep/checkup_sqlite.py", "upkeep/maintenance.py", to="go by the version of SQLite")
def test_a_dialect_tells_the_version_of_sqlite_as_numbers(connection: sa.Connection) -> None:
    import sqlite3

    assert connection.dialect.server_version_info == sqlite3.sqlite_version_info


@canary("pg_dump.py", to="tell pg_dump where a database is")
def test_a_dialect_turns_a_url_into_the_words_of_libpq() -> None:
    url = sa.make_url("postgresql+psycopg://me:secret@host:5433/base?sslmode=require")

    _, words = url.get_dialect()().create_connect_args(url)
    assert {name: str(value) for name, value in words.items() if isinstance(value, str | int)} == {
        "host": "host",
        "port": "5433",
        "dbname": "base",
        "user": "me",
        "password": "secret",
        "sslmode": "require",
    }


# --- asyncio ---------------------------------------------------------------------------------------------------


@canary("async_unit_of_work.py", "following.py", to="run plain services on an event loop")
def test_plain_code_in_a_greenlet_can_await() -> None:
    from sqlalchemy.util.concurrency import await_, greenlet_spawn

    def plain(number: int, *, more: int) -> int:
        await_(asyncio.sleep(0))
        return number + more

    assert asyncio.run(greenlet_spawn(plain, 1, more=2)) == 3


@canary("async_unit_of_work.py", to="undo what a task that is cancelled has begun")
def test_a_cancellation_is_raised_in_the_greenlet_where_it_awaits() -> None:
    from sqlalchemy.util.concurrency import await_, greenlet_spawn

    seen: list[str] = []

    def plain() -> None:
        try:
            await_(asyncio.sleep(60))
        except asyncio.CancelledError:
            await_(asyncio.sleep(0))
            seen.append("cancelled")
            raise

    async def cancel() -> None:
        task = asyncio.ensure_future(greenlet_spawn(plain))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert seen == ["cancelled"]


# --- DDL -------------------------------------------------------------------------------------------------------


def compiled(element: Any) -> str:
    return " ".join(str(element.compile(dialect=SQLITE)).split())


@canary("upkeep/comparison.py", to="compare the CREATE statements of a file with what the table classes declare")
def test_the_text_of_create_table_is_what_files_have_that_were_made_before() -> None:
    table = sa.Table(
        "parts",
        sa.MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s", "pk": "pk_%(table_name)s"}),
        sa.Column("id", sa.INTEGER(), primary_key=True),
        sa.Column("thing", sa.Text(), sa.ForeignKey("things.id", ondelete="CASCADE", name="fk_parts"), nullable=False),
        sa.Column("made", sa.Text(), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False),
        sa.CheckConstraint("thing <> ''", name="thing"),
        sa.UniqueConstraint("thing", "made", name="uq_parts"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    sa.Table("things", table.metadata, sa.Column("id", sa.Text(), primary_key=True))

    assert compiled(CreateTable(table)) == (
        "CREATE TABLE parts ( id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL, "
        "made TEXT DEFAULT CURRENT_TIMESTAMP NOT NULL, CONSTRAINT ck_parts_thing CHECK (thing <> ''), "
        "CONSTRAINT uq_parts UNIQUE (thing, made), CONSTRAINT fk_parts FOREIGN KEY(thing) REFERENCES things (id) "
        "ON DELETE CASCADE ) STRICT"
    )


@canary("upkeep/comparison.py", to="compare the indexes of a file with what the table classes declare")
def test_the_text_of_create_index_is_what_files_have_that_were_made_before() -> None:
    columns = (THINGS.c.name, sa.desc(THINGS.c.id))
    index = sa.Index("ix_things", *columns, unique=True, sqlite_where=sa.text("size IS NULL"))
    try:
        told = compiled(CreateIndex(index))
    finally:
        THINGS.indexes.discard(index)

    assert told == "CREATE UNIQUE INDEX ix_things ON things (name, id DESC) WHERE size IS NULL"


@canary("upkeep/comparison.py", "models/views.py", to="compare the views of a file with what it declares")
def test_the_text_of_create_view_is_what_files_have_that_were_made_before() -> None:
    inner = sa.select(sa.func.count()).select_from(THINGS).where(THINGS.c.size > sa.literal_column("1"))
    joined = sa.func.aggregate_strings(THINGS.c.name, ",").label("names")
    view = CreateView(sa.select(inner.scalar_subquery().label("large"), joined), "summary")

    assert compiled(view) == (
        "CREATE VIEW summary AS SELECT (SELECT count(*) AS count_1 FROM things WHERE things.size > 1) AS large, "
        "group_concat(things.name, ',') AS names FROM things"
    )


class Now(sa.ColumnElement[datetime]):
    inherit_cache = True
    type = sa.Text()  # type: ignore[assignment]


@compiles(Now)
def _now(_element: Now, _compiler: Any, **_: Any) -> str:
    return "strftime('%Y', 'now')"


@canary("columns.py", to="have the database fill in the present instant")
def test_an_element_of_ours_can_be_the_default_that_a_database_fills_in() -> None:
    table = sa.Table("times", sa.MetaData(), sa.Column("at", sa.Text(), server_default=Now()))

    assert "at TEXT DEFAULT (strftime('%Y', 'now'))" in compiled(CreateTable(table))
