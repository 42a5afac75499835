"""Rows by the million, written by SQLite itself into the tables that the store made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AT = "strftime('%Y-%m-%dT%H:%M:%S', 1790000000 + n, 'unixepoch') || '.000000Z'"

PARAMS = (
    "json_object('tool', 'set_param', 'track', printf('drums-%02d', n % 16), 'param', 'filter.cutoff', 'value',"
    " n * 37 % 1000 / 1000.0, 'bar', n % 512, 'beat', n % 4, 'source', 'agent-1')"
)
RESULT = (
    "json_object('ok', json('true'), 'rev', n, 'took_us', n % 997, 'changed', json_array('filter.cutoff'), 'warnings',"
    " json_array())"
)
LINE = (
    "json_object('type', 'assistant', 'uuid', printf('line-%012d', n), 'sessionId', 'source', 'cwd', '/srv/late-set',"
    " 'message', json_object('id', printf('msg-%d', n / 4), 'model', 'm', 'content',"
    " json_array(json_object('type', 'text', 'text', 'Four on the floor, take ' || n || printf('%.400c', 'x')))))"
)

STATEMENTS = {
    "history": "INSERT INTO history (session_id, action, params, result, success, created_at)"
    f" SELECT :session, 'set_param', {PARAMS}, {RESULT}, 1, {AT} FROM numbers",
    "messages": "INSERT INTO messages (public_id, session_id, role, content, created_at)"
    " SELECT printf('message-%012d', n), :session, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,"
    f" 'Four on the floor, please; take ' || n || printf('%.100c', 'x'), {AT} FROM numbers",
    "journal_events": "INSERT INTO journal_events (event_uuid, source_session_id, event_type, timestamp, is_sidechain,"
    " cwd, project_name, session_id, model, message_id, input_tokens, output_tokens, data)"
    f" SELECT printf('line-%012d', n), 'source', 'assistant', {AT}, 0, '/srv/late-set', 'late-set', :session, 'm',"
    f" printf('msg-%d', n / 4), 3, 250, {LINE} FROM numbers",
    "snapshots": "INSERT INTO snapshots (session_id, size_bytes, sha256, captured_at, state)"
    f" SELECT :session, 16, printf('%064d', n), {AT}, zeroblob(16) FROM numbers",
    "rules": 'INSERT INTO rules (id, session_id, trigger_type, "trigger", action_type, action, priority, enabled,'
    " one_shot, fired_count, created_at) SELECT printf('rule-%012d', n), :session, 'beat', '{\"type\":\"beat\","
    '"divisor":\' || (n % 64 + 1) || \'}\', \'notify\', \'{"type":"notify","message":"four on the floor"}\','
    f" n % 5, 1, 0, 0, {AT} FROM numbers",
    "jobs": "INSERT INTO jobs (id, type, status, priority, ready, attempts, max_attempts, scheduled_at, created_at,"
    " updated_at, data) SELECT printf('job-%012d', n), :kind, 'pending', -(n % 8), 1, 0, 3,"
    f' {AT}, {AT}, {AT}, \'{{"song":"late set","bars":[1,2,3]}}\' FROM numbers',
}

COUNTED = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count) "


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for bulk work: what a crash would leave of the file does not matter."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        yield connection
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def fill(path: Path, table: str, count: int, *, session: str = "", kind: str = "render") -> None:
    """Add so many rows to a table, for a session or of a type of jobs; its indexes are made anew afterwards."""
    with opened(path) as connection, _without_indexes(connection, table):
        select = STATEMENTS[table]
        place = select.index(" SELECT ")
        # SQLite takes the WITH of an INSERT before its SELECT.
        statement = f"{select[:place]} {COUNTED}{select[place + 1 :]}"
        connection.execute(statement, {"count": count, "session": session, "kind": kind})


@contextmanager
def _without_indexes(connection: sqlite3.Connection, table: str) -> Iterator[None]:
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    indexes = connection.execute(query, (table,)).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    yield
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
