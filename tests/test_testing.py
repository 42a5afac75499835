"""What applications are given for their own tests: the clock, the copied databases, the factories, the fixtures."""

from __future__ import annotations

import os
import stat
import statistics
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.conftest import needs_postgres
from tests.spawning import Processes
from vibeweaver_store import InvalidInput, Settings, Store, StoreUnavailable, schema, sessions, stats
from vibeweaver_store.errors import AlreadyExists
from vibeweaver_store.testing import (
    GenerationStatsFactory,
    HistoryEntryFactory,
    MarkerFactory,
    PostgresServer,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SettableClock,
    SnapshotFactory,
    columns_of,
    new_file,
    new_store,
    template,
)

FACTORIES: list[type[RowFactory[Any]]] = [
    *(SessionFactory, RuleFactory, MarkerFactory, HistoryEntryFactory, SnapshotFactory, GenerationStatsFactory)
]
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


# --- the clock -------------------------------------------------------------------------------------------------


def test_the_settable_clock_stands_still() -> None:
    clock = SettableClock()

    assert clock() == NOON
    assert clock() == NOON


def test_the_settable_clock_advances_when_told_to() -> None:
    clock = SettableClock()

    assert clock.advance(hours=1, seconds=0.5) == NOON + timedelta(hours=1, seconds=0.5)
    assert clock.advance(hours=-1) == clock() == NOON + timedelta(seconds=0.5)


def test_the_settable_clock_shows_the_instant_it_is_set_to() -> None:
    clock = SettableClock(datetime(1999, 12, 31, tzinfo=UTC))
    assert clock().year == 1999

    there = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert clock.set(there) == clock() == there


def test_a_store_takes_its_time_from_the_settable_clock(store: Store, clock: SettableClock) -> None:
    clock.set(datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2))))

    assert store.run(sessions.create, name="late set").created_at == datetime(2029, 12, 31, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize("instant", [datetime(2026, 1, 1), "2026-01-01", None, 0])  # noqa: DTZ001 - naive on purpose
def test_the_settable_clock_refuses_an_invalid_instant(instant: Any) -> None:
    clock = SettableClock()

    with pytest.raises(InvalidInput, match="aware datetime"):
        clock.set(instant)
    with pytest.raises(InvalidInput, match="aware datetime"):
        SettableClock(instant)

    assert clock() == NOON


@pytest.mark.parametrize("delta", [{"beats": 4}, {"days": "one"}, {"days": 10**9}, {"seconds": float("nan")}])
def test_the_settable_clock_refuses_an_invalid_duration(delta: dict[str, Any]) -> None:
    clock = SettableClock()

    with pytest.raises(InvalidInput, match="cannot be advanced"):
        clock.advance(**delta)

    assert clock() == NOON


# --- the template ----------------------------------------------------------------------------------------------


def test_the_template_database_is_at_head_with_no_file_beside_it() -> None:
    made = template()

    assert schema.current(made) == schema.head()
    assert made == template()
    assert {entry.name for entry in made.parent.iterdir()} <= {made.name, f"{made.name}.lock"}


def test_threads_that_ask_together_get_one_template_database(processes: Processes) -> None:
    script = """
import threading
from vibeweaver_store import schema
from vibeweaver_store.testing import template
calls, upgrade = [], schema.upgrade
schema.upgrade = lambda *a, **k: (calls.append(1), upgrade(*a, **k))
paths = set()
threads = [threading.Thread(target=lambda: paths.add(template())) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(len(paths), len(calls))
"""
    assert processes.run(script).stdout == "1 1\n"


def test_a_deleted_template_database_is_made_again(processes: Processes) -> None:
    script = """
import shutil
from vibeweaver_store.testing import new_store, template
shutil.rmtree(template().parent)
new_store().close()
print(template().exists())
"""
    assert processes.run(script).stdout == "True\n"


def test_the_template_database_without_a_temporary_folder_is_unavailable(processes: Processes) -> None:
    script = """
import tempfile
from vibeweaver_store import StoreUnavailable
from vibeweaver_store.testing import template
tempfile.tempdir = "/nowhere"
try:
    template()
except StoreUnavailable as error:
    print(error)
"""
    assert "the folder of the template cannot be made" in processes.run(script).stdout


# --- new stores ------------------------------------------------------------------------------------------------


def test_new_store_in_memory_is_empty_and_isolated() -> None:
    with new_store() as one, new_store() as two:
        one.run(sessions.create, name="late set")

        assert one.place == ":memory:"
        assert len(one.query(sessions.page).items) == 1
        assert two.query(sessions.page).items == []


def test_new_store_in_memory_leaves_nothing_behind() -> None:
    store = new_store()
    folder = store._target.file.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    store.close()

    assert not folder.exists()


def test_new_store_equals_a_store_opened_on_a_missing_file(tmp_path: Path) -> None:
    with new_store(tmp_path / "copied.db"), Store.open(tmp_path / "opened.db"):
        pass

    assert schema.current(tmp_path / "copied.db") == schema.head()
    assert (tmp_path / "copied.db").stat().st_mode == (tmp_path / "opened.db").stat().st_mode
    assert (tmp_path / "copied.db").stat().st_size == (tmp_path / "opened.db").stat().st_size


def test_new_store_takes_a_clock_and_settings(clock: SettableClock, impatient: Settings) -> None:
    with new_store(clock=clock, settings=impatient) as store:
        assert store.run(sessions.create, name="late set").created_at == clock()
        assert store._settings is impatient


def test_new_store_takes_under_five_milliseconds() -> None:
    template()
    spent = []
    for _ in range(50):
        before = time.process_time()  # not the wall's time: the machine may have other things to do
        store = new_store()
        spent.append(time.process_time() - before)
        store.close()

    assert statistics.median(spent) < 0.005


@pytest.mark.parametrize("name", ["naïve ♫.db", "a b.db", "100% #1?.db", "new/folder/a.db", ".hidden"])
def test_new_file_takes_any_name(tmp_path: Path, name: str) -> None:
    assert new_file(tmp_path / name) == tmp_path / name

    with Store.open(tmp_path / name, migrate=False) as store:
        store.run(sessions.create, name="late set")


def test_new_file_takes_a_path_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert new_file("store.db") == tmp_path / "store.db"


@pytest.mark.parametrize("taken", ["store.db", "store.db-wal", "store.db-journal"])
def test_new_file_and_new_store_overwrite_no_file(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"precious")

    with pytest.raises(AlreadyExists, match=taken):
        new_file(tmp_path / "store.db")
    with pytest.raises(AlreadyExists, match=taken):
        new_store(tmp_path / "store.db")

    assert [entry.name for entry in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == b"precious"


def test_new_file_called_concurrently_makes_one_file(tmp_path: Path) -> None:
    template()
    made: list[object] = []

    def make() -> None:
        try:
            made.append(new_file(tmp_path / "store.db"))
        except AlreadyExists as error:
            made.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [each for each in made if isinstance(each, Path)] == [tmp_path / "store.db"]
    assert len(made) == 8


def test_new_file_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AlreadyExists):
        new_file(tmp_path)


def test_new_file_refuses_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="file"):
        new_file(tmp_path / "file" / "store.db")


@pytest.mark.parametrize("path", ["", "  ", "a\x00b", "mysql://host/name", "postgresql://host/name"])
def test_new_store_refuses_an_invalid_path(path: str) -> None:
    with pytest.raises(InvalidInput):
        new_store(path)


def test_new_file_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name the file"):
        new_file(None)  # type: ignore[arg-type]


def test_new_file_on_a_full_disk_leaves_no_partial_file(processes: Processes, tmp_path: Path) -> None:
    # A limit on the size of files ends a write as a full disk does, and needs no rights.
    script = """
import resource, signal, sys
from vibeweaver_store import StoreUnavailable
from vibeweaver_store.testing import new_file, new_store, template
template()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for make in (lambda: new_file(sys.argv[1]), new_store):
    try:
        make()
    except StoreUnavailable as error:
        print(error)
"""
    told = processes.run(script, tmp_path / "store.db")

    assert told.stdout.splitlines() == [
        f"{tmp_path / 'store.db'}: cannot be made: File too large",
        ":memory:: cannot be made: File too large",
    ], told.stderr
    assert list(tmp_path.iterdir()) == []


# --- PostgreSQL ------------------------------------------------------------------------------------------------


@needs_postgres
def test_a_postgresql_test_database_is_copied_and_dropped(
    postgres_server: PostgresServer, postgres_template: str, clock: SettableClock
) -> None:
    with postgres_server.database(postgres_template) as url, Store.open(url, clock=clock) as store:
        assert store.run(sessions.create, name="late set").created_at == clock()

    with pytest.raises(StoreUnavailable):
        Store.open(url)


@needs_postgres
def test_a_postgresql_test_database_is_dropped_despite_a_failed_test_and_an_open_store(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    with pytest.raises(ZeroDivisionError), postgres_server.database(postgres_template) as url:
        left_open = Store.open(url)
        left_open.query(sessions.page)
        raise ZeroDivisionError
    left_open.close()

    with pytest.raises(StoreUnavailable):
        Store.open(url)


@needs_postgres
def test_a_missing_postgresql_template_is_reported(postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreUnavailable, match="no_such_template"):
        postgres_server.make("no_such_template")


@pytest.mark.parametrize("url", ["store.db", ":memory:", "sqlite:///store.db"])
def test_an_invalid_postgresql_server_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="no PostgreSQL server"):
        PostgresServer(url)


def test_an_unreachable_postgresql_test_server_is_unavailable_without_a_password() -> None:
    server = PostgresServer("postgresql://vibe:s3cret@127.0.0.1:1/postgres")

    with pytest.raises(StoreUnavailable) as caught:
        server.make()

    assert "s3cret" not in f"{caught.value} {server!r}"


# --- the factories ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_factory_makes_rows_its_table_accepts(store: Store, factory: type[RowFactory[Any]]) -> None:
    with store.begin() as uow:
        made = factory.create_batch(3, uow=uow)

    assert len({str(columns_of(row)) for row in made}) == 3


def test_a_stats_factory_of_several_samples_is_consistent(store: Store, other: Store) -> None:
    with store.begin() as uow:
        made = GenerationStatsFactory.create(uow=uow, sample_count=4, last_ms=100)

    found = other.query(stats.get, made.space)
    assert (found.average_ms, found.standard_deviation_ms) == (100, 0)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("values", [{}, {"uow": None}, {"uow": "unit of work"}])
def test_a_factory_writes_only_in_a_unit_of_work(factory: type[RowFactory[Any]], values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"{factory.__name__}\.create\(uow=uow\)"):
        factory.create(**values)


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_factory_builds_valid_rows_without_a_database(factory: type[RowFactory[Any]]) -> None:
    built = factory.build()

    assert columns_of(type(built).build(**columns_of(built))) == columns_of(built)


def test_a_factory_names_the_field_of_an_invalid_value() -> None:
    with pytest.raises(InvalidInput, match="beat"):
        MarkerFactory.build(beat="soon")


# --- the fixtures in an application ----------------------------------------------------------------------------

ACTIVATED = 'pytest_plugins = ["vibeweaver_store.testing"]\n'
AN_APPLICATIONS_TESTS = """
from pathlib import Path
from vibeweaver_store import Store, sessions

def test_store(store, store_clock):
    store_clock.advance(hours=1)
    assert store.run(sessions.create, name="late set").created_at == store_clock()

def test_another_store_is_empty(store):
    assert store.query(sessions.page).items == []

def test_file(store_file):
    with Store.open(store_file) as store:
        store.run(sessions.create, name="late set")

def test_postgres(postgres_store):
    assert postgres_store.backend == "postgresql"
    postgres_store.run(sessions.create, name="late set")
"""


RunApplication: TypeAlias = Callable[..., str]


@pytest.fixture
def run_application(processes: Processes, tmp_path: Path) -> RunApplication:
    """Run the tests of an application that is nowhere near ours, every warning an error."""

    def run(conftest: str, *arguments: str, url: str = "") -> str:
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_application.py").write_text(AN_APPLICATIONS_TESTS)
        ours = ("VIBEWEAVER_", "PYTEST_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = processes.run_module(
            *("pytest", "-q", "-rs", "-W", "error", "-p", "no:cacheprovider", *arguments),
            folder=tmp_path,
            environment={**environment, "VIBEWEAVER_TEST_POSTGRES_URL": url},
        )
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    "conftest",
    [
        ACTIVATED,
        "from vibeweaver_store.testing import SettableClock\n" + ACTIVATED,
        "from vibeweaver_store.testing import *",
    ],
)
def test_an_application_activates_the_pytest_fixtures_in_its_conftest(
    run_application: RunApplication, conftest: str
) -> None:
    told = run_application(conftest)

    assert "3 passed, 1 skipped" in told
    assert "VIBEWEAVER_TEST_POSTGRES_URL is not set" in told


def test_the_pytest_fixtures_isolate_xdist_workers(run_application: RunApplication) -> None:
    assert "3 passed, 1 skipped" in run_application(ACTIVATED, "-n", "2")


@needs_postgres
def test_an_application_may_name_its_postgresql_server_in_a_fixture(
    run_application: RunApplication, postgres_server: PostgresServer
) -> None:
    url = postgres_server.url.render_as_string(hide_password=False)
    override = f"import pytest\n@pytest.fixture(scope='session')\ndef store_postgres_url():\n    return {url!r}\n"

    assert "4 passed" in run_application(ACTIVATED + override)
    assert "4 passed" in run_application(ACTIVATED, url=url)


def test_the_package_registers_no_pytest_plugin_unasked(run_application: RunApplication) -> None:
    assert "fixture 'store' not found" in run_application("")


def test_the_package_does_not_import_its_testing_module(processes: Processes) -> None:
    script = (
        "import sys, vibeweaver_store.cli; print({'pytest', 'factory', 'vibeweaver_store.testing'} & {*sys.modules})"
    )

    assert processes.execute(sys.executable, "-c", script).finish() == "set()\n"


@pytest.mark.parametrize("missing", ["pytest", "factory"])
def test_importing_the_testing_module_without_its_extra_says_what_to_install(
    processes: Processes, missing: str
) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; import vibeweaver_store.testing"

    told = processes.call(sys.executable, "-c", script).stderr.splitlines()[-1]

    assert missing in told
    assert told.endswith("pip install 'vibeweaver-store[testing]'")
