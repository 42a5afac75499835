"""procrastinate on PostgreSQL, by the calls of its own worker."""

from __future__ import annotations

import asyncio

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Status


class Procrastinate:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=1))
        self._task = self._app.task(name="render")(render)
        self._run(self._app.open_async())
        if not self._run(self._app.check_connection_async()):
            self._run(self._app.schema_manager.apply_schema_async())
        self._worker = self._run(self._app.job_manager.register_worker())

    def _run(self, awaited: object) -> object:
        return self._loop.run_until_complete(awaited)  # type: ignore[arg-type]

    def put(self, number: int) -> None:
        self._run(self._task.defer_async(number=number))

    def take(self) -> int | None:
        return self._run(self._take())  # type: ignore[return-value]

    async def _take(self) -> int | None:
        manager = self._app.job_manager
        job = await manager.fetch_job(None, self._worker)  # type: ignore[arg-type]
        if job is None:
            return None
        await manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
        return int(str(job.task_kwargs["number"]))

    def close(self) -> None:
        self._run(self._app.close_async())
        self._loop.close()


def render(number: int) -> int:
    return number
