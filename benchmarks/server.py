"""Databases on a PostgreSQL server, dropped at the end."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from uuid import uuid4

from sqlalchemy.engine import URL, make_url


class Server:
    """The role of the URL needs the right to make databases."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._names: list[str] = []

    def make(self) -> str:
        """Make an empty database, and return its URL as the driver takes it."""
        name = f"vibeweaver_bench_{uuid4().hex}"
        self._run(f'CREATE DATABASE "{name}"')
        self._names.append(name)
        return _plain(self._url.set(database=name))

    def _run(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 - only where there is a server

        with psycopg.connect(_plain(self._url), autocommit=True) as connection:
            connection.execute(statement.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names:
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def for_store(url: str) -> str:
    """The URL as the store takes it."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
