"""Sessions of the OpenAI Agents SDK, on its own SQLite and on SQLAlchemy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents import SQLiteSession
from agents.extensions.memory import SQLAlchemySession

from benchmarks.rows import Chunk, timed_async

ITEM: Any = {"role": "user", "content": "Four on the floor, please."}


def _chunks(runner: asyncio.Runner, session: Any) -> tuple[Chunk, Chunk]:
    return (
        timed_async(runner.run, lambda: session.add_items([ITEM])),
        timed_async(runner.run, lambda: session.get_items(limit=50)),
    )


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[Chunk, Chunk]]:
    session = SQLiteSession("late set", folder / "openai.db")
    with asyncio.Runner() as runner:
        yield _chunks(runner, session)
        session.close()


@contextmanager
def sqlalchemy(folder: Path) -> Iterator[tuple[Chunk, Chunk]]:
    url = f"sqlite+aiosqlite:///{folder}/openai-alchemy.db"
    session = SQLAlchemySession.from_url("late set", url=url, create_tables=True)
    with asyncio.Runner() as runner:
        yield _chunks(runner, session)
        runner.run(session.engine.dispose())
