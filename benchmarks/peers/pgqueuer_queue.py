"""pgqueuer on PostgreSQL, by the queries of its own worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import psycopg
from pgqueuer import PsycopgDriver, Queries
from pgqueuer.queries import EntrypointExecutionParameter

RENDER = {"render": EntrypointExecutionParameter(0)}
PATIENCE = timedelta(minutes=1)


class PgQueue:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection = self._run(psycopg.AsyncConnection.connect(url, autocommit=True))
        self._queries = Queries(PsycopgDriver(self._connection))  # type: ignore[arg-type]
        self._me = uuid4()
        if not self._run(self._queries.has_table("pgqueuer")):
            self._run(self._queries.install())

    def _run(self, awaited: object) -> object:
        return self._loop.run_until_complete(awaited)  # type: ignore[arg-type]

    def put(self, number: int) -> None:
        self._run(self._queries.enqueue("render", str(number).encode()))

    def take(self) -> int | None:
        return self._run(self._take())  # type: ignore[return-value]

    async def _take(self) -> int | None:
        found = await self._queries.dequeue(1, RENDER, self._me, None, PATIENCE)  # type: ignore[arg-type]
        if not found:
            return None
        await self._queries.log_jobs([(found[0], "successful", None)])
        return int(found[0].payload or b"")

    def close(self) -> None:
        self._run(self._connection.close())  # type: ignore[attr-defined]
        self._loop.close()
