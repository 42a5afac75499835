"""The SQLite database of AIT42, whose tables seed 002 prints: its sessions as the JSON documents that it once wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic.alias_generators import to_camel

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.foreign_database import ForeignDatabase, ForeignRow, Layout
from vibeweaver_store.importers.keeping import kept_value
from vibeweaver_store.json_values import shown

LAYOUT: Final[Layout] = {
    "workspaces": ("id", "workspace_path", "workspace_hash?", "created_at?", "last_accessed_at?"),
    "sessions": (
        *("id", "workspace_id", "type", "task", "status", "created_at", "updated_at", "completed_at?", "model?"),
        *("timeout_seconds?", "preserve_worktrees?", "winner_id?", "total_duration?", "total_files_changed?"),
        *("total_lines_added?", "total_lines_deleted?"),
    ),
    "session_runtime_mix?": ("id", "session_id", "runtime"),
    "instances": (
        *("id", "session_id", "instance_id", "worktree_path", "branch", "agent_name", "status", "tmux_session_id"),
        *("output?", "start_time?", "end_time?", "files_changed?", "lines_added?", "lines_deleted?"),
        *("runtime?", "model?", "runtime_label?"),
    ),
    "chat_messages": ("id", "session_id", "role", "content", "timestamp", "instance_id?"),
}
BELONGING: Final = ("session_runtime_mix", "instances", "chat_messages")
"""The tables whose rows belong to a session."""

_TIMES: Final = frozenset({"created_at", "updated_at", "completed_at", "start_time", "end_time", "timestamp"})
_FLAGS: Final = frozenset({"preserve_worktrees"})
_OF_TABLES: Final = frozenset({"workspace_id", "session_id"})
"""Columns that only say what a row belongs to."""


def document_of(source: ForeignDatabase, row: ForeignRow) -> dict[str, Any]:
    """Return a session with its instances and chat as AIT42 writes it in JSON.

    Raises:
        InvalidInput: a time or a flag is none.
        ImportRejected: the file is damaged.
    """
    mix = [each["runtime"] for each in source.rows("session_runtime_mix", session_id=row.key)]
    said = source.rows("chat_messages", session_id=row.key, order_by=["timestamp"])
    return {
        **_object(row),
        **({"runtimeMix": mix} if mix else {}),
        "instances": [
            _object(each, without="id")
            for each in source.rows("instances", session_id=row.key, order_by=["instance_id"])
        ],
        "chatHistory": [_object(each) for each in said],
    }


def _object(row: ForeignRow, *, without: str | None = None) -> dict[str, Any]:
    own = {column for column in row.values if column not in _OF_TABLES and column != without}
    values = {to_camel(column): _value(row, column) for column in row.values if column in own}
    besides = {name: kept_value(value) for name, value in row.besides.items()}
    return {**besides, **{name: value for name, value in values.items() if value is not None}}


def _value(row: ForeignRow, column: str) -> Any:
    if row[column] is None:
        return None
    if column in _TIMES:
        return row.time(column).isoformat()
    return row.flag(column) if column in _FLAGS else row[column]


def paths_of(source: ForeignDatabase) -> dict[object, Any]:
    """Return the paths of the workspaces by their ids.

    Raises:
        ImportRejected: the file is damaged.
    """
    return {row.key: row["workspace_path"] for row in source.rows("workspaces")}


def path_of(row: ForeignRow, paths: dict[object, Any]) -> str:
    """Return the path of a session's workspace.

    Raises:
        InvalidInput: its workspace is not there, or its path is no text.
    """
    path = paths.get(row["workspace_id"])
    if not isinstance(path, str):
        raise InvalidInput(f"workspace_id: there is no workspace {shown(row['workspace_id'])}", field="workspace_id")
    return path


def strays_of(source: ForeignDatabase) -> Iterator[ForeignRow]:
    """Yield the rows that belong to a session which is not there.

    Raises:
        ImportRejected: the file is damaged.
    """
    for table in BELONGING:
        yield from source.strays(table)
