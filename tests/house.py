"""The rules of the house that are about the text of one module, as functions: each returns the complaints it has.

Which way imports go is import-linter's to say: ``[tool.importlinter]`` in ``pyproject.toml``, which also tells what
the kernel is.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from vibeweaver_store import errors

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "vibeweaver_store"

LONGEST = 400
DRIVERS = {"sqlite3", "aiosqlite", "psycopg", "psycopg2", "asyncpg"}
OF_THE_KERNEL = {
    *("create_engine", "create_async_engine", "engine_from_config", "async_engine_from_config"),
    *("create_engines", "sqlite_engine"),
    *("sessionmaker", "async_sessionmaker"),
    *("UnitOfWork", "ReadUnitOfWork", "AsyncUnitOfWork", "AsyncReadUnitOfWork"),
}
"""What only the kernel makes; others may name these in a signature, but not call them."""

SESSIONS = {
    *("sqlmodel.Session", "orm.Session", "sa.orm.Session", "sqlalchemy.orm.Session"),
    *("sqlmodel.ext.asyncio.session.AsyncSession", "sqlalchemy.ext.asyncio.AsyncSession"),
}

WORKED_ON = {"UnitOfWork", "ReadUnitOfWork", "AsyncUnitOfWork", "AsyncReadUnitOfWork", "Store", "AsyncStore"}

OVERRIDDEN = {"process_bind_param", "result_processor"}
"""SQLAlchemy's own methods: what they raise is told by the class."""

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def kernel() -> set[str]:
    """The modules at the bottom of the layers, where transactions, engines and drivers are at home."""
    (contract,) = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {name.strip() for name in contract["layers"][-1].split(":")}


# --- length ----------------------------------------------------------------------------------------------------


def too_long(text: str) -> list[str]:
    """A module of more than 400 lines says why on its first: ``# Over 400 lines: REASON``."""
    lines = text.splitlines()
    if len(lines) <= LONGEST or re.match(rf"# Over {LONGEST} lines: \w+", lines[0]):
        return []
    return [f"{len(lines)} lines, and the first does not say why: # Over {LONGEST} lines: REASON"]


# --- transactions, engines and drivers -------------------------------------------------------------------------


def goes_behind_the_kernel(text: str) -> list[str]:
    """Outside the kernel nothing commits, makes an engine or a session, or imports a driver."""
    tree = ast.parse(text)
    meant = _meant(tree)
    return [complaint for node in ast.walk(tree) for complaint in _behind_the_kernel(node, meant)]


def _meant(tree: ast.Module) -> dict[str, str]:
    """What names of others stand for in a module, by the name that they have there."""
    names = [
        (name, f"{node.module}." if isinstance(node, ast.ImportFrom) else "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    ]
    return {name.asname: f"{prefix}{name.name}" for name, prefix in names if name.asname} | {
        name.name: f"{prefix}{name.name}" for name, prefix in names if prefix and not name.asname
    }


def _spelled_out(called: ast.expr, meant: dict[str, str]) -> str:
    first, dot, rest = ast.unparse(called).partition(".")
    return f"{meant.get(first, first)}{dot}{rest}"


def _behind_the_kernel(node: ast.AST, meant: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Call):
        called = _spelled_out(node.func, meant)
        if called.rpartition(".")[2] in {"commit", "rollback", *OF_THE_KERNEL}:
            yield f"line {node.lineno} calls {called}()"
        if called in SESSIONS:
            yield f"line {node.lineno} makes a session of its own"
    if isinstance(node, ast.Import):
        yield from (f"line {node.lineno} imports {name.name}" for name in node.names if _top(name.name) in DRIVERS)
    if isinstance(node, ast.ImportFrom) and _top(node.module) in DRIVERS:
        yield f"line {node.lineno} imports from {node.module}"
    if isinstance(node, ast.ImportFrom) and _top(node.module) in {"sqlalchemy", "sqlmodel"}:
        made = {"Session", "AsyncSession", *OF_THE_KERNEL} & {name.name for name in node.names}
        yield from (f"line {node.lineno} imports {name} from {node.module}" for name in sorted(made))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]


# --- docstrings ------------------------------------------------------------------------------------------------


def hides_what_it_raises(text: str) -> list[str]:
    """The docstring of a public function names, under ``Raises:``, each error of ours that its body raises.

    The ``_helpers`` of the same module that it calls are a part of its body. ``StoreError`` stands for all.
    """
    tree = ast.parse(text)
    helpers = {node.name: node for node in ast.walk(tree) if isinstance(node, Function) and node.name.startswith("_")}
    return [
        f"{function.name} raises {error} and does not say so"
        for function in _public_functions(tree)
        for error in sorted(_raised(function, helpers) - _told(function))
    ]


def _public_functions(node: ast.Module | ast.ClassDef) -> Iterator[Function]:
    for child in node.body:
        if isinstance(child, Function | ast.ClassDef) and (child.name.startswith("_") or child.name in OVERRIDDEN):
            continue
        if isinstance(child, Function):
            yield child
        if isinstance(child, ast.ClassDef):
            yield from _public_functions(child)


def _raised(function: Function, helpers: dict[str, Function], seen: frozenset[str] = frozenset()) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            found |= _kinds(node.exc, helpers)
        if isinstance(node, ast.Call) and (called := _last_name(node.func)) in helpers.keys() - seen:
            found |= _raised(helpers[called], helpers, seen | {called})
    return found & ERRORS


def _kinds(raised: ast.expr, helpers: dict[str, Function]) -> set[str]:
    """Which errors an expression that is raised may be: of a helper, those that it says to return."""
    name = _last_name(raised.func if isinstance(raised, ast.Call) else raised)
    if name in helpers and (returned := helpers[name].returns) is not None:
        return set(re.findall(r"\w+", ast.unparse(returned)))
    return {name}


def _told(function: Function) -> set[str]:
    section = re.search(r"^Raises:\n(.*)", ast.get_docstring(function) or "", re.DOTALL | re.MULTILINE)
    told = set(re.findall(r"\w+", section[1])) if section else set()
    return ERRORS if "StoreError" in told else told


# --- services --------------------------------------------------------------------------------------------------


def takes_its_unit_of_work_late(text: str) -> list[str]:
    """A function of a service that takes a unit of work (or, where it walks through many, a store) takes it first."""
    return [
        f"{node.name} takes {argument.arg}, a {ast.unparse(argument.annotation)}, after others"
        for node in ast.parse(text).body
        if isinstance(node, Function) and not node.name.startswith("_")
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs][1:]
        if argument.annotation is not None and WORKED_ON & set(re.findall(r"\w+", ast.unparse(argument.annotation)))
    ]


# --- imports ---------------------------------------------------------------------------------------------------


def import_linter(folder: Path) -> str:
    """What import-linter says of the package in a folder, by the contract of the ``pyproject.toml`` there."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    return done.stdout + done.stderr


# --- names of tests --------------------------------------------------------------------------------------------

NO_SUBJECTS = {
    *("it", "its", "they", "their", "that", "this", "these", "those", "there", "such"),
    *("who", "whoever", "whose", "what", "whatever", "which", "where", "when", "while"),
    *("nothing", "nobody", "something", "somebody", "someone", "anything", "everything", "everybody", "one"),
    *("of", "on", "in", "at", "to", "by", "for", "from", "with", "without", "within", "before", "after", "until"),
}
"""First words of a test's name that keep its subject from the reader of a list of failures."""


def misnamed_tests(texts: Mapping[str, str]) -> list[str]:
    """The name of a test is unique among all modules and begins with its subject: ``test_a_marker_...``."""
    names = [
        (module, node.name)
        for module, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function) and node.name.startswith("test_")
    ]
    times = Counter(name for _, name in names)
    return [f"{module}: {name} is the name of {times[name]} tests" for module, name in names if times[name] > 1] + [
        f"{module}: {name} does not begin with its subject"
        for module, name in names
        if name.split("_")[1] in NO_SUBJECTS
    ]
