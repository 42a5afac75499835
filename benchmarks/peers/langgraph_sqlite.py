"""LangGraph's SQLite checkpointer: a checkpoint with one message, and the newest 50 checkpoints of its thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver

from benchmarks.rows import Chunk, timed

THREAD: RunnableConfig = {"configurable": {"thread_id": "late set", "checkpoint_ns": ""}}


@contextmanager
def saver(folder: Path) -> Iterator[tuple[Chunk, Chunk]]:
    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saved:
        config = THREAD

        def put() -> None:
            nonlocal config
            checkpoint = empty_checkpoint()
            checkpoint["channel_values"] = {"messages": [{"role": "user", "content": "Four on the floor, please."}]}
            config = saved.put(config, checkpoint, {"source": "loop", "step": 1}, {})

        yield timed(put), timed(lambda: list(saved.list(THREAD, limit=50)))
