"""The names of the package: all are there, each is what its module has, and none is imported before it is asked for."""

from __future__ import annotations

import ast
import inspect
import pickle
import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import pytest

import vibeweaver_store
from tests.spawning import Processes
from vibeweaver_store import _NAMES_OF

HOMES = [(home, name) for home, names in _NAMES_OF.items() for name in names]
SOURCE = ast.parse(Path(vibeweaver_store.__file__).read_text())


InANewProcess: TypeAlias = Callable[[str], str]


@pytest.fixture
def in_a_new_process(processes: Processes) -> InANewProcess:
    """Run a program in a process that has imported nothing yet, and return what it prints."""
    return lambda code: processes.execute(sys.executable, "-W", "error", "-c", code).finish().strip()


# --- one list --------------------------------------------------------------------------------------------------


def test_type_checkers_see_the_names_the_package_exports() -> None:
    (block,) = [node for node in SOURCE.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imported = {
        node.module: tuple(name.name for name in node.names) for node in block.body if isinstance(node, ast.ImportFrom)
    }

    assert imported == _NAMES_OF


def test_the_public_names_of_the_package_are_the_exported_ones() -> None:
    assert sorted(vibeweaver_store.__all__) == sorted(["__version__", *(name for _, name in HOMES)])


def test_type_checkers_reject_an_unknown_name_of_the_package() -> None:
    assert "__getattr__" not in {node.name for node in SOURCE.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("home", "name"), HOMES, ids=lambda each: each.rpartition(".")[2])
def test_a_name_of_the_package_is_the_object_of_its_module(home: str, name: str) -> None:
    found = getattr(vibeweaver_store, name)

    if inspect.ismodule(found):
        assert found.__name__ == f"{home}.{name}"
    else:
        assert found is getattr(import_module(home), name)


def test_importing_a_module_does_not_change_a_name_of_the_package() -> None:
    """Importing ``vibeweaver_store.schema`` sets ``schema`` on the package, whatever was there."""
    modules = {module.name for module in pkgutil.iter_modules(vibeweaver_store.__path__)}

    assert modules & set(vibeweaver_store.__all__) == set(_NAMES_OF["vibeweaver_store"])


# --- as of any package -----------------------------------------------------------------------------------------


def test_a_star_import_of_the_package_gives_all_names(in_a_new_process: InANewProcess) -> None:
    code = "from vibeweaver_store import *; names = dir(); import vibeweaver_store; print(vibeweaver_store.__all__ == "
    code += "sorted(name for name in names if name in vibeweaver_store.__all__))"

    assert in_a_new_process(code) == "True"


def test_dir_of_the_package_lists_all_names(in_a_new_process: InANewProcess) -> None:
    code = "import vibeweaver_store as v; print([n for n in v.__all__ if n not in dir(v)])"

    assert in_a_new_process(code) == "[]"


@pytest.mark.parametrize("name", ["nonsense", "_private", "__wrapped__", "__pycache__", "history.append", ""])
def test_an_unknown_name_of_the_package_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match="module 'vibeweaver_store' has no attribute"):
        getattr(vibeweaver_store, name)


def test_an_unknown_name_cannot_be_imported_from_the_package() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'vibeweaver_store'"):
        exec("from vibeweaver_store import nonsense")


def test_a_missing_dependency_of_a_module_is_not_reported_as_an_unknown_name(in_a_new_process: InANewProcess) -> None:
    code = """
import sys
import vibeweaver_store
sys.modules["filelock"] = None
try:
    vibeweaver_store.locks
except ModuleNotFoundError as missing:
    print(missing.name)
"""

    assert in_a_new_process(code) == "filelock"


def test_every_class_of_the_package_can_be_pickled() -> None:
    classes = [each for _, name in HOMES if inspect.isclass(each := getattr(vibeweaver_store, name))]

    assert len(classes) > 50
    assert [pickle.loads(pickle.dumps(each)) for each in classes] == classes


# --- not before it is asked for --------------------------------------------------------------------------------


def test_importing_the_package_imports_no_dependency(in_a_new_process: InANewProcess) -> None:
    code = "import sys; before = set(sys.modules); import vibeweaver_store.errors; print(*(set(sys.modules) - before))"
    loaded = in_a_new_process(code).split()

    assert {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "vibeweaver_store",
        "vibeweaver_store.errors",
    }


def test_names_and_modules_of_the_package_need_no_separate_import(in_a_new_process: InANewProcess) -> None:
    code = "import vibeweaver_store as v; print(v.history.append.__module__, v.errors.NotFound is v.NotFound)"

    assert in_a_new_process(code) == "vibeweaver_store.services.history True"


def test_importing_a_store_brings_the_listener_that_revises_edited_rules(in_a_new_process: InANewProcess) -> None:
    code = "import sys; from vibeweaver_store import Store; print(*sys.modules)"

    assert "vibeweaver_store.services.rule_revisions" in in_a_new_process(code).split()


@pytest.mark.parametrize("home", _NAMES_OF)
def test_any_name_of_the_package_can_be_imported_first(in_a_new_process: InANewProcess, home: str) -> None:
    name = _NAMES_OF[home][0]

    assert in_a_new_process(f"from vibeweaver_store import {name}; print({name}.__name__)").endswith(name)
