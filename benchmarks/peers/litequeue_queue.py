"""litequeue: one table of SQLite."""

from __future__ import annotations

from litequeue import LiteQueue


class Lite:
    def __init__(self, path: str) -> None:
        self._queue = LiteQueue(path, timeout=60)

    def put(self, number: int) -> None:
        self._queue.put(str(number))

    def take(self) -> int | None:
        message = self._queue.pop()
        if message is None:
            return None
        self._queue.done(message.message_id)
        return int(message.data)

    def close(self) -> None:
        self._queue.close()
