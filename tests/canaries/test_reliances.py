"""The list of canaries is complete: whatever the package uses that is private or fragile has one."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from tests.canaries import scan
from tests.canaries.canary import Canary, Library, canary_of
from tests.canaries.reliances import RELIANCES

HERE = Path(__file__).parent
LISTED = {(module, name) for module, names in RELIANCES.items() for name in names}
MODULES = sorted(path.stem for path in HERE.glob("test_*.py") if path.stem != Path(__file__).stem)


def canaries_in(module: str) -> dict[str, Canary | None]:
    tests = vars(import_module(f"tests.canaries.{module}"))
    return {name: canary_of(test) for name, test in tests.items() if name.startswith("test_") and callable(test)}


def source_of(module: str) -> str:
    return (HERE / f"{module}.py").read_text()


# --- the list --------------------------------------------------------------------------------------------------


def test_every_private_or_fragile_name_that_the_package_uses_has_a_canary() -> None:
    missing = [f"{module} uses {name}" for module, name in sorted(scan.found() - LISTED)]

    assert missing == [], "write a canary, and name it in tests/canaries/reliances.py"


def test_the_list_has_no_name_that_the_package_does_not_use() -> None:
    needless = [f"{module} does not use {name} any more" for module, name in sorted(LISTED - scan.found())]

    assert needless == []


def test_the_canary_of_a_name_says_which_module_relies_on_it() -> None:
    watching = {(module, name): canary_of(RELIANCES[module][name]) for module, name in LISTED}

    silent = [each for each, canary in watching.items() if canary is None or each[0] not in canary.modules]
    assert silent == []


def test_every_test_beside_this_module_is_a_canary_of_modules_that_exist() -> None:
    canaries = {f"{module}.{name}": each for module in MODULES for name, each in canaries_in(module).items()}
    relying = {path for each in canaries.values() if each is not None for path in each.modules}

    assert len(canaries) > 150
    assert [name for name, each in canaries.items() if each is None or not each.modules] == []
    assert [path for path in sorted(relying) if not (scan.PACKAGE / path).is_file()] == []


def test_canaries_import_nothing_of_the_package_which_a_new_version_may_break() -> None:
    nodes = [node for name in ("canary", "conftest", *MODULES) for node in ast.walk(ast.parse(source_of(name)))]
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}

    assert [name for name in imported if name.startswith("vibeweaver_store")] == []


# --- the scan, tried out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("row._state", {"_state"}),
        ("self._state", {"_state"}),
        ("self._ours", set()),
        ("uow._ours", set()),
        ("uow._transaction", {"_transaction"}),
        ("self._new = {}", {"_new"}),
        ("row.state", set()),
        ("row.__dict__", set()),
        ("driver.pgconn.socket", {"pgconn"}),
        ("getattr(error, 'sqlstate', None)", {"sqlstate"}),
        ("vars(row)['_sa_instance_state']", {"_sa_instance_state"}),
        ("vars(row)['__pydantic_private__']", {"__pydantic_private__"}),
        ("from sqlalchemy.orm.identity import _WeakInstanceDict", {"_WeakInstanceDict"}),
        ("from pydantic._internal import x", {"_internal"}),
        ("import pydantic._internal.x", {"_internal"}),
        ("from vibeweaver_store import _NAMES_OF", set()),
        ("class C:\n    def self_group(self): ...", {"self_group"}),
    ],
)
def test_a_private_or_fragile_name_is_seen(code: str, used: set[str]) -> None:
    assert scan.uses(ast.parse(code), ours={"_ours", "_transaction", "_new"}) == used


# --- the sentence ----------------------------------------------------------------------------------------------


def test_a_canary_that_fails_says_what_has_changed_and_who_relies_on_it() -> None:
    @Library("pytest")("hot.py", "kept.py", to="go on")
    def test_birds_sing(tune: str) -> None:
        raise AttributeError(tune)

    assert list(inspect.signature(test_birds_sing).parameters) == ["tune"]
    with pytest.raises(AssertionError) as caught:
        test_birds_sing("no\n  beak")
    assert str(caught.value) == (
        f"pytest {pytest.__version__}: it is no longer true that birds sing. vibeweaver_store/hot.py and "
        "vibeweaver_store/kept.py rely on it to go on. (AttributeError: no beak)"
    )


def test_a_canary_that_misses_an_error_says_so_too() -> None:
    @Library("pytest")("hot.py", to="go on")
    def test_cats_are_refused() -> None:
        with pytest.raises(ValueError, match="cat"):
            pass

    with pytest.raises(AssertionError, match="no longer true that cats are refused"):
        test_cats_are_refused()


def test_a_canary_that_is_skipped_is_no_failure() -> None:
    @Library("pytest")("hot.py", to="go on")
    def test_fish_swim() -> None:
        pytest.skip("it is night")

    with pytest.raises(pytest.skip.Exception):
        test_fish_swim()
