"""The rules of the house tried out: each is broken by a small bad example, and kept by a good one beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import house
from tests.spawning import Processes

# --- length ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("", 0),
        ("line\n" * 400, 0),
        ("line\n" * 401, 1),
        ("# Over 400 lines: one table, which reads best whole\n" + "line\n" * 400, 0),
        ("# Over 400 lines:\n" + "line\n" * 400, 1),
        ("# A long one\n" + "line\n" * 400, 1),
        ("line\n# Over 400 lines: too late\n" + "line\n" * 400, 1),
    ],
)
def test_a_module_of_over_400_lines_gives_its_reason_on_the_first_line(text: str, complaints: int) -> None:
    assert len(house.too_long(text)) == complaints


# --- transactions, engines and drivers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "uow.commit()",
        "connection.rollback()",
        "engine = create_engine('sqlite://')",
        "engine = sa.create_engine('sqlite://')",
        "engine = create_async_engine(url)",
        "maker = orm.sessionmaker(engine)",
        "uow = UnitOfWork(engine, clock)",
        "session = sqlmodel.Session(engine)",
        "from sqlmodel import Session",
        "from sqlalchemy.orm import Session as Orm",
        "from sqlalchemy.ext.asyncio import AsyncSession",
        "import sqlite3",
        "import psycopg.rows",
        "from sqlite3 import connect",
        "from psycopg import sql",
        "def f():\n    import aiosqlite",
        "import psycopg2",
        "from asyncpg import connect",
        "engine = sa.engine_from_config(options)",
        "engine = sqlite_engine(target, settings)",
        "engines = engine.create_engines(target, settings)",
        "import sqlmodel as sm\nsession = sm.Session(engine)",
        "import sqlalchemy.orm as o\nsession = o.Session(engine)",
        "from sqlalchemy import orm as o\nsession = o.Session(engine)",
        "import sqlalchemy as s\nengine = s.create_engine('sqlite://')",
        "from vibeweaver_store.engine import create_engines as make\nmake(target, settings)",
    ],
)
def test_code_that_bypasses_the_kernel_is_found(line: str) -> None:
    assert len(house.goes_behind_the_kernel(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from vibeweaver_store.unit_of_work import UnitOfWork",
        "def add(uow: UnitOfWork) -> None: uow.insert(row)",
        "from vibeweaver_store.models import Session",
        "made = Session.build(name='late set')",
        "with store.begin() as uow: pass",
        "from sqlalchemy import select",
        "import sqlmodel as sm\nrow = sm.SQLModel()",
        "'commit()'",
    ],
)
def test_code_that_uses_the_kernel_as_intended_passes(line: str) -> None:
    assert house.goes_behind_the_kernel(line) == []


def test_the_kernel_is_read_from_the_import_layers() -> None:
    assert {"store", "unit_of_work", "engine", "schema", "errors"} <= house.kernel()
    assert not {"models", "services", "cli", "testing"} & house.kernel()


# --- docstrings ------------------------------------------------------------------------------------------------

SILENT = '''
def get(key):
    """Return a thing."""
    raise NotFound("thing", key)
'''
TELLING = '''
def get(key):
    """Return a thing.

    Raises:
        NotFound: there is none.
    """
    raise NotFound("thing", key)
'''
HELPED = '''
def get(key):
    """Return a thing."""
    return _find(key)

def _find(key):
    return _checked(key)

def _checked(key):
    raise errors.InvalidInput("no key")
'''
RETURNED = '''
def get(key):
    """Return a thing."""
    raise _refusal(key) from None

def _refusal(key) -> StoreBusy | ValueError:
    return StoreBusy("not now")
'''
METHODS = '''
class Thing:
    async def get(self):
        """Return it."""
        self._check()

    def _check(self):
        raise StoreUnavailable

class _Private:
    def get(self):
        raise StoreUnavailable
'''


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        (SILENT, ["get raises NotFound and does not say so"]),
        (TELLING, []),
        (TELLING.replace("NotFound:", "StoreError:"), []),
        (TELLING.replace("NotFound:", "InvalidInput:"), ["get raises NotFound and does not say so"]),
        (SILENT.replace("Return a thing", "Return a thing or NotFound"), ["get raises NotFound and does not say so"]),
        (SILENT.replace("NotFound(", "ValueError("), []),
        (SILENT.replace("get", "_get"), []),
        (HELPED, ["get raises InvalidInput and does not say so"]),
        (RETURNED, ["get raises StoreBusy and does not say so"]),
        (RETURNED.replace("a thing.", "a thing.\n\n    Raises:\n        StoreBusy: it is held.\n    "), []),
        (METHODS, ["get raises StoreUnavailable and does not say so"]),
        ("def get():\n    _again()\ndef _again():\n    _again()", []),
    ],
)
def test_a_public_function_with_an_undocumented_error_is_found(text: str, complaints: list[str]) -> None:
    assert house.hides_what_it_raises(text) == complaints


# --- services --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "complaints"),
    [
        ("uow: UnitOfWork, name: str", 0),
        ("store: Store | AsyncStore, name: str", 0),
        ("name: str", 0),
        ("", 0),
        ("name: str, uow: UnitOfWork", 1),
        ("name: str, *, uow: ReadUnitOfWork | None = None", 1),
    ],
)
def test_a_service_whose_first_argument_is_not_a_unit_of_work_is_found(signature: str, complaints: int) -> None:
    assert len(house.takes_its_unit_of_work_late(f"def add({signature}): ...")) == complaints


# --- imports ---------------------------------------------------------------------------------------------------


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    """The package and its contract, to be spoilt."""
    shutil.copytree(house.PACKAGE, tmp_path / "vibeweaver_store", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(house.TOP / "pyproject.toml", tmp_path)
    return tmp_path / "vibeweaver_store"


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("services/sessions.py", "from vibeweaver_store.cli import app"),
        ("services/sessions.py", "from vibeweaver_store import importers"),
        ("models/base.py", "from vibeweaver_store.services.rules import fire"),
        ("store.py", "import vibeweaver_store.models.session"),
        ("store.py", "def f():\n    from .models import Session"),
        ("engine.py", "from vibeweaver_store import Session"),
        ("services/sessions.py", "from vibeweaver_store.testing import new_store"),
        ("cli/db.py", "from vibeweaver_store.testing import new_store"),
    ],
)
def test_an_import_of_a_higher_layer_is_found(
    processes: Processes, copied_package: Path, module: str, line: str
) -> None:
    with (copied_package / module).open("a") as spoilt:
        spoilt.write(f"\n{line}\n")

    assert "0 kept, 1 broken" in house.import_linter(copied_package.parent)


def test_a_module_without_a_layer_is_found(processes: Processes, copied_package: Path) -> None:
    (copied_package / "elsewhere.py").touch()

    told = house.import_linter(copied_package.parent)

    assert "0 kept, 1 broken" in told
    assert "elsewhere" in told


# --- names of tests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "complaints"),
    [
        ({"a": "def test_a_marker_is_kept(): ...", "b": "def test_a_rule_is_kept(): ..."}, 0),
        ({"a": "def test_a_marker_is_kept(): ...", "b": "async def test_a_marker_is_kept(): ..."}, 2),
        ({"a": "def test_a_marker_is_kept(): ...\n" * 2}, 2),
        ({"a": "class TestMarker:\n    def test_it_is_kept(self): ..."}, 1),
        ({"a": "def test_what_is_no_id_is_refused(): ..."}, 1),
        ({"a": "def test_on_sqlite_a_time_is_text(): ..."}, 1),
        ({"a": "def test_items_of_a_page_are_sorted(): ...\ndef test_whatsoever(): ..."}, 0),
        ({"a": "def it_is_kept(): ..."}, 0),
    ],
)
def test_a_misnamed_test_is_found(texts: dict[str, str], complaints: int) -> None:
    assert len(house.misnamed_tests(texts)) == complaints
