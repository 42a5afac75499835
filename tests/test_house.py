"""The rules of the house, as checks: who may commit, which way imports go, what docstrings tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vibeweaver_store import errors

PACKAGE = Path(__file__).resolve().parents[1] / "vibeweaver_store"
KERNEL = {
    *("columns", "driver_errors", "engine", "errors", "json_values", "locks", "paging", "schema", "settings"),
    *("sqlite_file", "store", "unit_of_work"),
}
ERROR_NAMES = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

LAYERS = ["cli", "importers", "services", "models"]
"""From the top: each may import what stands below it, and the kernel."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def room_of(name: str) -> str:
    return name.partition(".")[0]


def imports_of(path: Path) -> Iterator[str]:
    """The rooms and kernel modules of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vibeweaver_store"):
            inside = node.module.removeprefix("vibeweaver_store").lstrip(".")
            yield from [room_of(inside)] if inside else [alias.name for alias in node.names]
        if isinstance(node, ast.Import):
            yield from [
                room_of(alias.name.removeprefix("vibeweaver_store."))
                for alias in node.names
                if alias.name.startswith("vibeweaver_store.")
            ]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_stays_under_four_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", [path for path in modules() if room_of(name_of(path)) in KERNEL], ids=name_of)
def test_the_kernel_knows_no_domain(path: Path) -> None:
    assert set(imports_of(path)) <= KERNEL


@pytest.mark.parametrize("path", [path for path in modules() if room_of(name_of(path)) in LAYERS], ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    here = LAYERS.index(room_of(name_of(path)))
    above = set(LAYERS[:here])

    assert not above & set(imports_of(path))


@pytest.mark.parametrize("path", [path for path in modules() if room_of(name_of(path)) not in KERNEL], ids=name_of)
def test_only_the_kernel_commits_makes_engines_or_opens_sessions(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }

    assert not called & {"commit", "rollback", "create_engine", "sessionmaker", "UnitOfWork", "ReadUnitOfWork"}
    assert "sqlite3" not in {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }


def public_functions() -> list[tuple[str, ast.FunctionDef]]:
    found: list[tuple[str, ast.FunctionDef]] = []
    for path in modules():
        if room_of(name_of(path)) == "cli":
            continue  # its functions are commands; their docstrings are the help
        found += [
            (f"{name_of(path)}.{node.name}", node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            and node.name not in {"process_bind_param", "process_result_value"}  # SQLAlchemy's, told by the class
        ]
    return found


def raised_by(function: ast.FunctionDef) -> set[str]:
    """The errors of ours that a function's own body raises, nested functions apart."""
    raised = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            raised.add(node.exc.func.id)
    return raised & ERROR_NAMES


@pytest.mark.parametrize(("name", "function"), public_functions(), ids=[name for name, _ in public_functions()])
def test_a_public_function_tells_what_it_raises(name: str, function: ast.FunctionDef) -> None:
    told = re.search(r"Raises:\n(.*)", ast.get_docstring(function) or "", re.DOTALL)
    raised = raised_by(function)

    assert not raised or told is not None, f"{name} raises {raised} and says nothing"
    for error in raised:
        assert told is not None
        assert error in told[1] or "StoreError" in told[1], f"{name} raises {error} and does not say so"


@pytest.mark.parametrize("path", [path for path in modules() if room_of(name_of(path)) == "services"], ids=name_of)
def test_a_service_takes_a_unit_of_work_or_a_store_first(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if (
            isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            and path.stem not in {"arguments", "transport"}
        ):
            first = node.args.args[0]
            kind = ast.unparse(first.annotation) if first.annotation else ""
            assert kind in {"UnitOfWork", "ReadUnitOfWork", "Store"} or node.name in {"candidates", "parse_signal"}
