"""The same work by hand: one kept connection of Python's sqlite3, dataclasses and json (c in the table)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_SECONDS = 60
PRAGMAS = ("synchronous = NORMAL", "foreign_keys = ON", "cache_size = -20000", "mmap_size = 268435456")

PARAMS = {
    "tool": "set_param",
    "track": "drums-07",
    "param": "filter.cutoff",
    "value": 0.259,
    "bar": 7,
    "beat": 3,
    "source": "agent-1",
}
RESULT = {"ok": True, "rev": 7, "took_us": 412, "changed": ["filter.cutoff"], "warnings": []}


@dataclass(slots=True)
class Entry:
    id: int
    session_id: str
    action: str
    params: Any
    result: Any
    success: bool
    created_at: datetime


@dataclass(slots=True)
class Rule:
    id: str
    session_id: str
    trigger_type: str
    trigger_key: str | None
    trigger: Any
    action_type: str
    action: Any
    priority: int
    enabled: bool
    one_shot: bool
    fired_count: int
    last_fired_at: datetime | None
    created_at: datetime


@dataclass(slots=True)
class Snapshot:
    id: int
    session_id: str
    size_bytes: int
    sha256: str
    label: str | None
    captured_at: datetime
    state: bytes


@dataclass(slots=True)
class Message:
    id: int
    public_id: str
    session_id: str
    role: str
    content: str
    instance_id: int | None
    created_at: datetime
    import_id: int | None


@dataclass(slots=True)
class Event:
    id: int
    event_uuid: str
    source_session_id: str
    event_type: str
    timestamp: datetime | None
    is_sidechain: bool
    parent_uuid: str | None
    cwd: str | None
    project_name: str | None
    session_id: str | None
    model: str | None
    message_id: str | None
    request_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None
    import_id: int | None
    data: Any


APPEND = "INSERT INTO history (session_id, action, params, result, success, created_at) VALUES (?, ?, ?, ?, ?, ?)"
PAGE = (
    "SELECT id, session_id, action, params, result, success, created_at FROM history WHERE session_id = ?"
    " ORDER BY id DESC LIMIT 50"
)
BY_TRIGGER = (
    'SELECT id, session_id, trigger_type, trigger_key, "trigger", action_type, action, priority, enabled, one_shot,'
    " fired_count, last_fired_at, created_at FROM rules WHERE session_id = ? AND trigger_type = ? AND enabled = 1"
    " ORDER BY priority, created_at, id"
)
COUNT_FIRING = (
    "UPDATE rules SET enabled = CASE WHEN one_shot = 1 THEN 0 ELSE 1 END, fired_count = fired_count + 1,"
    " last_fired_at = ? WHERE id IN ({})"
)
SAVE = "INSERT INTO snapshots (session_id, size_bytes, sha256, captured_at, state) VALUES (?, ?, ?, ?, ?)"
LOAD = (
    "SELECT id, session_id, size_bytes, sha256, label, captured_at, state FROM snapshots WHERE session_id = ?"
    " ORDER BY id DESC LIMIT 1"
)
SAY = "INSERT INTO messages (public_id, session_id, role, content, created_at) VALUES (?, ?, ?, ?, ?)"
MESSAGES = (
    "SELECT id, public_id, session_id, role, content, instance_id, created_at, import_id FROM messages"
    " WHERE session_id = ? ORDER BY id {} LIMIT 50"
)
JOURNAL = (
    "SELECT id, event_uuid, source_session_id, event_type, timestamp, is_sidechain, parent_uuid, cwd, project_name,"
    " session_id, model, message_id, request_id, input_tokens, output_tokens, cache_read_input_tokens,"
    " cache_creation_input_tokens, import_id, data FROM journal_events WHERE session_id = ? ORDER BY id LIMIT 50"
)


def stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def document(text: str | None) -> Any:
    return None if text is None else json.loads(text)


class Driver:
    def __init__(self, path: Path, session_id: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_SECONDS, check_same_thread=False)
        for pragma in PRAGMAS:
            self.connection.execute(f"PRAGMA {pragma}")
        self.session_id = session_id
        self.said = 0

    @contextmanager
    def begin(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def append(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.append_open()
        self.connection.execute("COMMIT")

    def append_open(self) -> None:
        self.connection.execute(APPEND, _entry(self.session_id, "set_param", PARAMS, RESULT))

    def append_many(self, rows: int) -> None:
        with self.begin():
            entries = (_entry(self.session_id, "set_param", PARAMS, RESULT) for _ in range(rows))
            self.connection.executemany(APPEND, entries)

    def page(self) -> list[Entry]:
        rows = self.connection.execute(PAGE, (self.session_id,))
        return [
            Entry(key, session, action, document(params), document(result), bool(success), datetime.fromisoformat(at))
            for key, session, action, params, result, success, at in rows
        ]

    def by_trigger(self) -> list[Rule]:
        rows = self.connection.execute(BY_TRIGGER, (self.session_id, "beat"))
        return [
            Rule(
                *row[:4],
                json.loads(row[4]),
                row[5],
                json.loads(row[6]),
                row[7],
                bool(row[8]),
                bool(row[9]),
                row[10],
                instant(row[11]),
                datetime.fromisoformat(row[12]),
            )
            for row in rows
        ]

    def fire(self, beat: int) -> list[Rule]:
        """What the store does when it fires: counts, stamps, and tells the history."""
        at = stamp()
        with self.begin():
            query = "SELECT rules_rev, last_activity_at FROM sessions WHERE id = ?"
            revision, _ = self.connection.execute(query, (self.session_id,)).fetchone()
            matched = [rule for rule in self.by_trigger() if beat % rule.trigger["divisor"] == 0]
            change = "UPDATE sessions SET last_activity_at = ?, rules_rev = ? WHERE id = ?"
            self.connection.execute(change, (at, revision + 1, self.session_id))
            count = COUNT_FIRING.format(",".join("?" * len(matched)))
            self.connection.execute(count, (at, *[rule.id for rule in matched]))
            self.connection.executemany(APPEND, [self._firing(rule, beat) for rule in matched])
        return matched

    def _firing(self, rule: Rule, beat: int) -> tuple[object, ...]:
        signal = {"type": "beat_tick", "beat": beat}
        params = {"rule_id": rule.id, "trigger": rule.trigger, "action": rule.action, "signal": signal}
        return _entry(self.session_id, "rule.fired", params, None)

    def save(self, state: bytes) -> None:
        with self.begin():
            digest = hashlib.sha256(state).hexdigest()
            self.connection.execute(SAVE, (self.session_id, len(state), digest, stamp(), state))

    def load(self) -> Snapshot:
        row = self.connection.execute(LOAD, (self.session_id,)).fetchone()
        found = Snapshot(*row[:5], datetime.fromisoformat(row[5]), row[6])
        if hashlib.sha256(found.state).hexdigest() != found.sha256:
            raise ValueError("the snapshot is damaged")
        return found

    def say(self) -> None:
        self.said += 1
        with self.begin():
            row = (f"said-{self.said}", self.session_id, "user", f"Four on the floor, take {self.said}.", stamp())
            self.connection.execute(SAY, row)

    def messages(self, *, newest_first: bool = False) -> list[Message]:
        rows = self.connection.execute(MESSAGES.format("DESC" if newest_first else ""), (self.session_id,))
        return [Message(*row[:6], datetime.fromisoformat(row[6]), row[7]) for row in rows]

    def journal(self) -> list[Event]:
        rows = self.connection.execute(JOURNAL, (self.session_id,))
        return [Event(*row[:4], instant(row[4]), bool(row[5]), *row[6:18], json.loads(row[18])) for row in rows]

    def change(self) -> None:
        """Read the session, change it, and tell the history."""
        with self.begin():
            (text,) = self.connection.execute(
                "SELECT attributes FROM sessions WHERE id = ?", (self.session_id,)
            ).fetchone()
            at = stamp()
            self.connection.execute(
                "UPDATE sessions SET attributes = ?, updated_at = ?, last_activity_at = ?, version = version + 1"
                " WHERE id = ?",
                (json.dumps({"n": json.loads(text)["n"] + 1}), at, at, self.session_id),
            )
            self.append_open()

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(session_id: str, action: str, params: object, result: object) -> tuple[object, ...]:
    told = None if result is None else json.dumps(result)
    return session_id, action, json.dumps(params), told, 1, stamp()


def ids(rows: Iterable[Any]) -> list[Any]:
    return [row.id for row in rows]
