"""persist-queue's queue with acknowledgements, on SQLite."""

from __future__ import annotations

from persistqueue import Empty, SQLiteAckQueue


class Persist:
    def __init__(self, path: str) -> None:
        self._queue = SQLiteAckQueue(path, timeout=60, auto_commit=True)

    def put(self, number: int) -> None:
        self._queue.put(number)

    def take(self) -> int | None:
        try:
            number = self._queue.get(block=False)
        except Empty:
            return None
        self._queue.ack(number)
        return int(number)

    def close(self) -> None:
        self._queue.close()
