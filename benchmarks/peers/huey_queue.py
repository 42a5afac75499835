"""huey on SQLite. What is taken is gone from the file: a worker that is killed loses it."""

from __future__ import annotations

from huey import SqliteHuey


class Huey:
    def __init__(self, path: str) -> None:
        self._huey = SqliteHuey(filename=path, timeout=60)
        self._render = self._huey.task()(render)

    def put(self, number: int) -> None:
        self._render(number)

    def take(self) -> int | None:
        task = self._huey.dequeue()
        if task is None:
            return None
        self._huey.execute(task)
        return int(task.args[0])

    def close(self) -> None:
        self._huey.storage.close()


def render(number: int) -> int:
    return number
