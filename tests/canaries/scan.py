"""Finds what the package uses of its libraries that no library promises to keep."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import orm

TOP: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = TOP / "vibeweaver_store"
SOURCES: Final = [*sorted(PACKAGE.rglob("*.py")), *sorted((TOP / "alembic").rglob("*.py"))]

OF_SESSIONS: Final = {*dir(orm.Session), *vars(orm.Session())}
"""What SQLAlchemy's session has: such a private name is SQLAlchemy's, though a unit of work sets it on itself."""

FRAGILE: Final = frozenset(
    {
        # SQLAlchemy
        *("identity_map", "hash_key", "all_states", "class_manager", "committed_state", "modified"),
        *("bind_names", "positiontup", "positional", "exported_columns", "autoincrement_column", "dialect_impl"),
        *("result_processor", "bind_processor", "dispatch", "is_disconnect", "loaded_dbapi", "do_ping", "run_async"),
        *("InstanceState", "instance_state", "greenlet_spawn", "await_"),
        *("checkedout", "set_committed_value", "get_property_by_column", "self_group", "create_connect_args"),
        # the drivers
        *("pgconn", "transaction_status", "notifies", "add_notice_handler", "remove_notice_handler", "sqlstate"),
        *("execute_fetchall", "execute_insert", "interrupt", "sqlite_errorname", "diag", "text_factory"),
        *("lastrowid", "executescript"),
        # pydantic and the command line
        *(
            "validator",
            "__signature__",
            "make_context",
            "parse_args",
            "format_message",
            "command_path",
            "ensure_object",
        ),
        # the system
        *("flock", "fcntl", "lockf", "F_OFD_SETLK", "F_OFD_SETLKW"),
        # mido
        *("read_file_header", "read_chunk_header", "read_variable_int", "read_byte", "read_meta_message"),
        *("read_sysex", "read_message"),
    }
)
"""Names without an underscore that are documented badly or not at all, or whose behaviour is relied on beyond that."""

_PRIVATE: Final = re.compile(r"_(?!(?:replace|asdict|fields|make)$)[A-Za-z]\w*")
"""A name with an underscore, but for those of named tuples, which the standard library documents."""
_INTERNAL_TEXT: Final = re.compile(r"_sa_\w+|__pydantic_\w+__")


@cache
def found() -> frozenset[tuple[str, str]]:
    """Return each use of what is private or fragile, as the module's path and the name."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    ours = {name for tree in trees.values() for name in _defined_in(tree)}
    return frozenset((_name_of(path), name) for path, tree in trees.items() for name in uses(tree, ours))


def _name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else TOP))


def uses(tree: ast.Module, ours: set[str]) -> set[str]:
    """Return what a module uses. ``ours`` are the private names that the package itself defines somewhere."""
    named = {name for node in ast.walk(tree) for name in _attributes_named_by(node)}
    imported = {name for node in ast.walk(tree) for name in _imported_by(node)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {
        *(named & FRAGILE),
        *(name for name in named if _PRIVATE.fullmatch(name) and (name not in ours or name in OF_SESSIONS)),
        *filter(_PRIVATE.fullmatch, imported),
        *filter(_INTERNAL_TEXT.fullmatch, texts),
    }


def _attributes_named_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.FunctionDef):  # it may override one of a library's
        yield from FRAGILE & {node.name}
    elif isinstance(node, ast.ImportFrom) and not _is_ours(node):
        yield from FRAGILE & {each.name for each in node.names}
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr"}:
        yield from (each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _imported_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and not _is_ours(node):
        yield from (node.module or "").split(".")
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.Import):
        yield from (part for each in node.names for part in each.name.split("."))


def _is_ours(node: ast.ImportFrom) -> bool:
    return (node.module or "").startswith("vibeweaver_store")


def _defined_in(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module gives to functions, classes, variables and attributes of ``self`` or ``cls``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}
