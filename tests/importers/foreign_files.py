"""Files of other applications, made for tests: databases with the tables that the seeds print, and AIT42's JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

EARLY = "2025-01-13T10:00:00Z"
LATE = "2025-01-13T12:30:00Z"

VIBEWEAVER = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, vibe TEXT, tempo_bpm REAL NOT NULL DEFAULT 120.0,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE TABLE rules (
    id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    trigger_type TEXT NOT NULL, trigger_params TEXT NOT NULL, action_type TEXT NOT NULL, action_params TEXT NOT NULL,
    priority TEXT NOT NULL DEFAULT 'normal', enabled INTEGER NOT NULL DEFAULT 1, one_shot INTEGER NOT NULL DEFAULT 0,
    fired_count INTEGER NOT NULL DEFAULT 0, last_fired_at TEXT, created_at TEXT NOT NULL
);
CREATE INDEX idx_rules_session ON rules(session_id);
CREATE TABLE markers (
    id TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    beat REAL NOT NULL, name TEXT NOT NULL, metadata TEXT, created_at TEXT NOT NULL
);
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
    action TEXT NOT NULL, params TEXT, result TEXT, success INTEGER NOT NULL DEFAULT 1, created_at TEXT NOT NULL
);
CREATE TABLE kernel_snapshots (
    session_id TEXT PRIMARY KEY REFERENCES sessions(id) ON DELETE CASCADE,
    state_capnp BLOB NOT NULL, captured_at TEXT NOT NULL
);
CREATE TABLE generation_stats (
    space TEXT PRIMARY KEY, avg_duration_ms INTEGER NOT NULL, sample_count INTEGER NOT NULL DEFAULT 1,
    last_updated TEXT NOT NULL
);
"""

VIBEWEAVER_BY_TYPES = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, name TEXT, vibe TEXT, tempo_bpm REAL, created_at TEXT, updated_at TEXT);
CREATE TABLE rules (
    id TEXT PRIMARY KEY, session_id TEXT, "trigger" TEXT, action TEXT, priority INTEGER, enabled INTEGER,
    one_shot INTEGER, fired_count INTEGER, last_fired_at TEXT, created_at TEXT
);
CREATE TABLE markers (id TEXT PRIMARY KEY, session_id TEXT, beat REAL, name TEXT, metadata TEXT, created_at TEXT);
CREATE TABLE history (
    id INTEGER PRIMARY KEY, session_id TEXT, action TEXT, params TEXT, result TEXT, success INTEGER, created_at TEXT
);
CREATE TABLE snapshots (id INTEGER PRIMARY KEY, session_id TEXT, state BLOB, created_at TEXT);
CREATE TABLE generation_stats (space TEXT PRIMARY KEY, avg_ms INTEGER, count INTEGER);
"""
"""As the types of seed 000 alone would name the columns."""

LULU = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'created',
    working_dir TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_messages_session_id ON messages(session_id);
"""

MEMVA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, title TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, status TEXT NOT NULL,
    project_path TEXT NOT NULL, metadata TEXT, claude_status TEXT DEFAULT 'not_started'
);
CREATE TABLE events (
    uuid TEXT PRIMARY KEY, session_id TEXT NOT NULL, event_type TEXT NOT NULL, timestamp TEXT NOT NULL,
    is_sidechain INTEGER DEFAULT 0, parent_uuid TEXT, cwd TEXT NOT NULL, project_name TEXT NOT NULL,
    data TEXT NOT NULL, memva_session_id TEXT
);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, data TEXT NOT NULL, status TEXT NOT NULL, priority INTEGER DEFAULT 0,
    attempts INTEGER DEFAULT 0, max_attempts INTEGER DEFAULT 3, error TEXT, result TEXT, scheduled_at TEXT,
    started_at TEXT, completed_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
"""

OF_VIBEWEAVER: Mapping[str, Mapping[str, Any]] = {
    "sessions": {
        "name": "late set",
        "vibe": "dark techno",
        "tempo_bpm": 130.0,
        "created_at": EARLY,
        "updated_at": LATE,
    },
    "rules": {
        "trigger_type": "beat",
        "trigger_params": '{"type":"Beat","divisor":4}',
        "action_type": "notify",
        "action_params": '{"type":"Notify","message":"four"}',
        "created_at": EARLY,
    },
    "markers": {"beat": 64.0, "name": "drop", "created_at": EARLY},
    "history": {"action": "sample", "created_at": EARLY},
    "kernel_snapshots": {"state_capnp": b"state", "captured_at": LATE},
    "generation_stats": {"avg_duration_ms": 250, "sample_count": 4, "last_updated": LATE},
}
OF_LULU: Mapping[str, Mapping[str, Any]] = {
    "sessions": {
        "name": "fix the login",
        "status": "active",
        "working_dir": "/srv/lulu",
        "created_at": EARLY,
        "updated_at": LATE,
    },
    "messages": {"role": "user", "content": "Please fix it.", "timestamp": EARLY},
}
OF_MEMVA: Mapping[str, Mapping[str, Any]] = {
    "sessions": {
        "title": "A search page",
        "created_at": EARLY,
        "updated_at": LATE,
        "status": "active",
        "project_path": "/srv/memva",
        "claude_status": "completed",
    },
    "events": {
        "session_id": "agent-1",
        "event_type": "user",
        "timestamp": EARLY,
        "cwd": "/srv/memva",
        "project_name": "memva",
        "data": "{}",
    },
}


def write_rows(path: Path, defaults: Mapping[str, Mapping[str, Any]], **tables: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to tables; a column that is not given has its table's default here, else its column's."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, rows in tables.items():
            for given in rows:
                row = {**defaults.get(table, {}), **given}
                columns, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" for _ in row)
                connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))


def make_database(path: Path, schema: str, *, journal_mode: str = "WAL") -> Path:
    """Make a database with tables and nothing in them."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.executescript(schema)
    return path


def vibeweaver_database(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Path:
    write_rows(make_database(path, VIBEWEAVER), OF_VIBEWEAVER, **tables)
    return path


def lulu_database(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Path:
    write_rows(make_database(path, LULU), OF_LULU, **tables)
    return path


def memva_database(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Path:
    write_rows(make_database(path, MEMVA), OF_MEMVA, **tables)
    return path


def whole_jam(path: Path, session_id: str = "jam-1") -> Path:
    """A vibeweaver database with one session that has some of everything."""
    mine = {"session_id": session_id}
    return vibeweaver_database(
        path,
        sessions=[{"id": session_id}],
        rules=[{"id": "rule-1", **mine}],
        markers=[{"id": "marker-1", **mine, "metadata": '{"tempo_bpm":130}'}],
        history=[{**mine, "params": '{"space":"drums"}'}, {**mine, "success": 0}],
        kernel_snapshots=[mine],
        generation_stats=[{"space": "drums"}],
    )


# --- AIT42 -----------------------------------------------------------------------------------------------------


def ait42_session(session_id: str = "session-1", **changes: Any) -> dict[str, Any]:
    """A session as AIT42 writes it; a change to ``None`` takes the name away."""
    session = {
        "id": session_id,
        "type": "competition",
        "task": "Implement the login",
        "status": "running",
        "createdAt": EARLY,
        "updatedAt": LATE,
        "instances": [],
        "chatHistory": [],
        **changes,
    }
    return {name: value for name, value in session.items() if value is not None}


def ait42_instance(instance_id: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "instanceId": instance_id,
        "worktreePath": f"/tmp/worktree_{instance_id}",
        "branch": f"agent-{instance_id}",
        "agentName": "backend-developer",
        "status": "running",
        "tmuxSessionId": f"ait42_{instance_id}",
        **changes,
    }


def ait42_message(message_id: str = "msg-1", **changes: Any) -> dict[str, Any]:
    return {"id": message_id, "role": "user", "content": "Please begin.", "timestamp": EARLY, **changes}


def ait42_file(path: Path, sessions: Sequence[Any]) -> Path:
    path.write_text(json.dumps(sessions))
    return path
