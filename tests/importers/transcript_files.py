"""Transcripts made for tests: lines as Claude Code writes them, of one session unless told otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vibeweaver_store import Import, JournalEvent, Message, Session, Store, imports, journal, messages, sessions
from vibeweaver_store.importers import transcripts
from vibeweaver_store.importers.runs import ImportReport

SESSION = "7c1e4a52-0d3b-4f6a-9a51-2f0c8d1b6e90"
CWD = "/srv/project"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def line(kind: str, number: int | None, **values: Any) -> dict[str, Any]:
    """A line with the envelope that most have; its uuid and time go by its number."""
    of_number = {} if number is None else {"uuid": f"uuid-{number}", "timestamp": stamp(number)}
    envelope = {"sessionId": SESSION, "cwd": CWD, "version": "2.1.29", "gitBranch": "main", "isSidechain": False}
    return {**envelope, "type": kind, **of_number, **values}


def stamp(number: int) -> str:
    return at(number).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def at(number: int) -> datetime:
    return NOON + timedelta(seconds=number)


def prompt(number: int, content: Any = "make it louder", **values: Any) -> dict[str, Any]:
    return line("user", number, message={"role": "user", "content": content}, **values)


def answer(number: int, *blocks: Any, **values: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    message = {"id": f"msg_{number}", "role": "assistant", "model": "claude-sonnet-4-5", "content": content}
    return line("assistant", number, message=message, requestId=f"req_{number}", **values)


def summary(text: str, leaf: str = "uuid-of-another") -> dict[str, Any]:
    return {"type": "summary", "summary": text, "leafUuid": leaf}


def custom_title(text: str) -> dict[str, Any]:
    return {"type": "custom-title", "customTitle": text, "sessionId": SESSION}


def talk(first: int, count: int) -> list[dict[str, Any]]:
    """So many lines of a conversation, prompts and answers by turns."""
    numbers = range(first, first + count)
    return [answer(n, f"answer {n}") if n % 2 else prompt(n, f"prompt {n}") for n in numbers]


def encoded(lines: Iterable[dict[str, Any] | bytes]) -> bytes:
    return b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in lines)


def write(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(lines))
    return path


def append(path: Path, *lines: dict[str, Any] | bytes) -> None:
    with path.open("ab") as file:
        file.write(encoded(lines))


# --- looking at what came of them ------------------------------------------------------------------------------


def session_of(store: Store, session_id: str = SESSION) -> Session:
    return store.query(sessions.get, session_id)


def events_of(store: Store, session_id: str = SESSION) -> list[JournalEvent]:
    return list(store.iterate(journal.for_session, session_id))


def messages_of(store: Store, session_id: str = SESSION) -> list[Message]:
    return store.query(messages.page, session_id).items


def import_of(store: Store) -> Import:
    """The newest import."""
    return store.query(imports.page, limit=1).items[0]


def counted(report: ImportReport) -> dict[str, int]:
    return {name: count for name, count in report.counts.as_document().items() if count}


def in_small_batches(monkeypatch: pytest.MonkeyPatch, lines: int = 3) -> None:
    monkeypatch.setattr(transcripts, "_BATCH_LINES", lines)
