"""Google ADK's DatabaseSessionService: an event with one message, and a session with its 50 newest events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.adk.events import Event
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai.types import Content, Part

from benchmarks.rows import Chunk, timed_async

WHO: dict[str, Any] = {"app_name": "bench", "user_id": "somebody", "session_id": "late set"}


@contextmanager
def service(folder: Path) -> Iterator[tuple[Chunk, Chunk]]:
    sessions = DatabaseSessionService(f"sqlite+aiosqlite:///{folder}/adk.db")
    newest = GetSessionConfig(num_recent_events=50)
    with asyncio.Runner() as runner:
        session = runner.run(sessions.create_session(**WHO))

        def append() -> Awaitable[Event]:
            said = Content(role="user", parts=[Part(text="Four on the floor, please.")])
            return sessions.append_event(session, Event(author="user", content=said))

        yield (
            timed_async(runner.run, append),
            timed_async(runner.run, lambda: sessions.get_session(**WHO, config=newest)),
        )
        runner.run(sessions.db_engine.dispose())
