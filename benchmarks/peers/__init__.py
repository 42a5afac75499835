"""Libraries that do a part of what the store does, each in a file of its own, imported only where it is installed.

Those that keep conversations give a context of two chunks: append one message in a transaction of its own, read the
newest 50. Those that are queues give a :class:`Queue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from benchmarks.rows import Chunk, Missing

CONVERSATIONS = {
    "OpenAI Agents SDK, SQLite": "openai_agents:sqlite",
    "OpenAI Agents SDK, SQLAlchemy": "openai_agents:sqlalchemy",
    "LangGraph SqliteSaver": "langgraph_sqlite:saver",
    "Google ADK DatabaseSessionService": "google_adk:service",
}
QUEUES = {
    "huey": "huey_queue:Huey",
    "litequeue": "litequeue_queue:Lite",
    "persist-queue": "persist_queue_queue:Persist",
}
POSTGRES_QUEUES = {"procrastinate": "procrastinate_queue:Procrastinate", "pgqueuer": "pgqueuer_queue:PgQueue"}

Conversation = Callable[[Path], AbstractContextManager[tuple[Chunk, Chunk]]]


class Queue(Protocol):
    """A queue that one worker has open."""

    def put(self, number: int) -> None:
        """Put one piece of work in, committed."""

    def take(self) -> int | None:
        """Get one, and acknowledge it as done; nothing where there is none."""

    def close(self) -> None: ...


OpenQueue = Callable[[str], Queue]
"""Takes the path of a file, or the URL of a database; makes what is not there."""


def load(where: str) -> Any:
    """The peer of that name, or why it cannot be had."""
    module, _, name = where.partition(":")
    try:
        return getattr(import_module(f"benchmarks.peers.{module}"), name)
    except ImportError as error:
        return Missing(f"not installed ({error.name or error})")


def loaded(registered: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for name, where in registered.items():
        yield name, load(where)
