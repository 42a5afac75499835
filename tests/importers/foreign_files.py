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
AT_TEN = "2025-01-13 10:00:00"
"""As ``datetime('now')`` gives it; it is UTC."""
HALF_PAST_TWELVE = "2025-01-13 12:30:00"

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

AIT42 = """
CREATE TABLE IF NOT EXISTS workspaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_path TEXT NOT NULL UNIQUE,
    workspace_hash TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    last_accessed_at TEXT NOT NULL DEFAULT (datetime('now')),
    CHECK(workspace_path <> '')
) STRICT;

CREATE INDEX idx_workspaces_path ON workspaces(workspace_path);
CREATE INDEX idx_workspaces_hash ON workspaces(workspace_hash);

CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    workspace_id INTEGER NOT NULL,
    type TEXT NOT NULL,
    task TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    completed_at TEXT,
    model TEXT,
    timeout_seconds INTEGER,
    preserve_worktrees INTEGER,
    winner_id INTEGER,
    total_duration INTEGER,
    total_files_changed INTEGER,
    total_lines_added INTEGER,
    total_lines_deleted INTEGER,
    FOREIGN KEY (workspace_id) REFERENCES workspaces(id) ON DELETE CASCADE,
    CHECK(type IN ('competition', 'ensemble', 'debate')),
    CHECK(status IN ('running', 'completed', 'failed', 'paused')),
    CHECK(id <> ''),
    CHECK(task <> '')
) STRICT;

CREATE INDEX idx_sessions_workspace ON sessions(workspace_id);
CREATE INDEX idx_sessions_status ON sessions(status);
CREATE INDEX idx_sessions_type ON sessions(type);
CREATE INDEX idx_sessions_created_at ON sessions(created_at DESC);
CREATE INDEX idx_sessions_updated_at ON sessions(updated_at DESC);

CREATE TABLE IF NOT EXISTS session_runtime_mix (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    runtime TEXT NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE,
    UNIQUE(session_id, runtime)
) STRICT;

CREATE INDEX idx_runtime_mix_session ON session_runtime_mix(session_id);

CREATE TABLE IF NOT EXISTS instances (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    instance_id INTEGER NOT NULL,
    worktree_path TEXT NOT NULL,
    branch TEXT NOT NULL,
    agent_name TEXT NOT NULL,
    status TEXT NOT NULL,
    tmux_session_id TEXT NOT NULL,
    output TEXT,
    start_time TEXT,
    end_time TEXT,
    files_changed INTEGER,
    lines_added INTEGER,
    lines_deleted INTEGER,
    runtime TEXT,
    model TEXT,
    runtime_label TEXT,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE,
    UNIQUE(session_id, instance_id),
    CHECK(instance_id >= 0)
) STRICT;

CREATE INDEX idx_instances_session ON instances(session_id);
CREATE INDEX idx_instances_status ON instances(status);
CREATE INDEX idx_instances_session_instance ON instances(session_id, instance_id);

CREATE TABLE IF NOT EXISTS chat_messages (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    instance_id INTEGER,
    FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE,
    CHECK(role IN ('user', 'assistant', 'system')),
    CHECK(id <> ''),
    CHECK(content <> '')
) STRICT;

CREATE INDEX idx_chat_messages_session ON chat_messages(session_id);
CREATE INDEX idx_chat_messages_timestamp ON chat_messages(timestamp);
CREATE INDEX idx_chat_messages_role ON chat_messages(role);

CREATE TABLE IF NOT EXISTS migration_metadata (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL DEFAULT 1,
    migrated_at TEXT NOT NULL DEFAULT (datetime('now')),
    json_backup_path TEXT,
    migration_status TEXT NOT NULL DEFAULT 'pending',
    last_updated_at TEXT NOT NULL DEFAULT (datetime('now'))
) STRICT;

INSERT OR IGNORE INTO migration_metadata (id, schema_version, migration_status)
VALUES (1, 1, 'pending');

CREATE VIEW IF NOT EXISTS session_complete AS
SELECT
    s.id,
    s.workspace_id,
    w.workspace_path,
    s.type,
    s.task,
    s.status,
    s.created_at,
    s.updated_at,
    s.completed_at,
    s.model,
    s.timeout_seconds,
    s.preserve_worktrees,
    s.winner_id,
    s.total_duration,
    s.total_files_changed,
    s.total_lines_added,
    s.total_lines_deleted,
    COUNT(DISTINCT i.id) as instance_count,
    COUNT(DISTINCT cm.id) as message_count,
    GROUP_CONCAT(DISTINCT srm.runtime) as runtime_mix
FROM sessions s
JOIN workspaces w ON s.workspace_id = w.id
LEFT JOIN instances i ON s.id = i.session_id
LEFT JOIN chat_messages cm ON s.id = cm.session_id
LEFT JOIN session_runtime_mix srm ON s.id = srm.session_id
GROUP BY s.id;
"""
"""The tables as seed 002 has sqlx make them."""

VIBE_ENSEMBLE = """
CREATE TABLE IF NOT EXISTS projects (
    repository_name TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    short_description TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    updated_at TEXT NOT NULL DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS worker_types (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL,
    worker_type TEXT NOT NULL,
    short_description TEXT,
    system_prompt TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    updated_at TEXT NOT NULL DEFAULT (datetime('now')),
    FOREIGN KEY (project_id) REFERENCES projects(repository_name) ON DELETE CASCADE,
    UNIQUE(project_id, worker_type)
);
CREATE TABLE IF NOT EXISTS tickets (
    ticket_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    title TEXT NOT NULL,
    execution_plan TEXT NOT NULL, -- JSON array of worker types
    last_completed_stage TEXT NOT NULL DEFAULT 'Planned',
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    updated_at TEXT NOT NULL DEFAULT (datetime('now')),
    closed_at TEXT NULL,
    FOREIGN KEY (project_id) REFERENCES projects(repository_name) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket_id TEXT NOT NULL,
    worker_type TEXT,
    worker_id TEXT,
    stage_number INTEGER,
    content TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    FOREIGN KEY (ticket_id) REFERENCES tickets(ticket_id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS workers (
    worker_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    worker_type TEXT NOT NULL,
    status TEXT NOT NULL{statuses},
    pid INTEGER,
    queue_name TEXT NOT NULL,
    started_at TEXT NOT NULL DEFAULT (datetime('now')),
    last_activity TEXT NOT NULL DEFAULT (datetime('now')),
    FOREIGN KEY (project_id) REFERENCES projects(repository_name) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_type TEXT NOT NULL{event_types},
    ticket_id TEXT,
    worker_id TEXT,
    stage TEXT,
    reason TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now')),
    processed BOOLEAN NOT NULL DEFAULT 0
);
"""
"""Without its CHECKs it takes damaged values, too: see :func:`vibe_ensemble_database`."""

_CHECKS_OF_VIBE_ENSEMBLE = {
    "statuses": " CHECK (status IN ('spawning', 'active', 'idle', 'finished', 'failed'))",
    "event_types": " CHECK (event_type IN ('ticket_stage_completed', 'worker_stopped'))",
}

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
    "jobs": {
        "type": "session-runner",
        "data": "{}",
        "status": "pending",
        "scheduled_at": EARLY,
        "created_at": EARLY,
        "updated_at": LATE,
    },
}
OF_AIT42: Mapping[str, Mapping[str, Any]] = {
    "workspaces": {
        "workspace_path": "/srv/app",
        "workspace_hash": "0123456789abcdef",
        "created_at": AT_TEN,
        "last_accessed_at": HALF_PAST_TWELVE,
    },
    "sessions": {
        "workspace_id": 1,
        "type": "competition",
        "task": "Implement the login",
        "status": "running",
        "created_at": EARLY,
        "updated_at": LATE,
    },
    "session_runtime_mix": {"session_id": "session-1"},
    "instances": {
        "session_id": "session-1",
        "worktree_path": "/tmp/worktree",
        "branch": "agent",
        "agent_name": "backend-developer",
        "status": "running",
        "tmux_session_id": "ait42",
    },
    "chat_messages": {
        "session_id": "session-1",
        "role": "user",
        "content": "Please begin.",
        "timestamp": EARLY,
    },
}
OF_VIBE_ENSEMBLE: Mapping[str, Mapping[str, Any]] = {
    "projects": {"path": "/srv/song", "created_at": AT_TEN, "updated_at": HALF_PAST_TWELVE},
    "worker_types": {
        "project_id": "band/song",
        "system_prompt": "You write.",
        "created_at": AT_TEN,
        "updated_at": HALF_PAST_TWELVE,
    },
    "tickets": {
        "project_id": "band/song",
        "title": "A chorus",
        "execution_plan": '["writer","reviewer"]',
        "created_at": AT_TEN,
        "updated_at": HALF_PAST_TWELVE,
    },
    "comments": {"ticket_id": "T-1", "created_at": AT_TEN},
    "workers": {
        "project_id": "band/song",
        "worker_type": "writer",
        "status": "idle",
        "queue_name": "writers",
        "started_at": AT_TEN,
        "last_activity": HALF_PAST_TWELVE,
    },
    "events": {"event_type": "ticket_stage_completed", "created_at": AT_TEN},
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


def ait42_database(path: Path, **tables: Iterable[Mapping[str, Any]]) -> Path:
    write_rows(make_database(path, AIT42), OF_AIT42, **tables)
    return path


def vibe_ensemble_database(path: Path, *, checked: bool = True, **tables: Iterable[Mapping[str, Any]]) -> Path:
    """One as the seed has it, or, not ``checked``, without its CHECKs."""
    checks = _CHECKS_OF_VIBE_ENSEMBLE if checked else dict.fromkeys(_CHECKS_OF_VIBE_ENSEMBLE, "")
    write_rows(make_database(path, VIBE_ENSEMBLE.format(**checks)), OF_VIBE_ENSEMBLE, **tables)
    return path


def whole_ensemble(path: Path) -> Path:
    """A vibe-ensemble database with a project that has some of everything: ten rows."""
    return vibe_ensemble_database(
        path,
        projects=[{"repository_name": "band/song"}],
        worker_types=[{"worker_type": "writer"}, {"worker_type": "reviewer", "system_prompt": "You review."}],
        tickets=[{"ticket_id": "T-1", "last_completed_stage": "writer"}],
        comments=[
            {"content": "Four bars.", "stage_number": 0},
            {"content": "Written.", "worker_type": "writer", "worker_id": "w-1", "stage_number": 1},
        ],
        workers=[{"worker_id": "w-1", "pid": 4711}, {"worker_id": "w-2", "status": "failed"}],
        events=[
            {"ticket_id": "T-1", "worker_id": "w-1", "stage": "writer", "processed": 1},
            {"event_type": "worker_stopped", "worker_id": "w-2", "reason": "out of memory"},
        ],
    )


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
