"""A database that the tests of one module share: a fresh one a test costs more than most tests here do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import PostgresServer


@contextmanager
def lasting_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database at head with nothing in it, on the backend that the fixture's parameter names."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("lasting") / "store.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        path.chmod(0o600)
        yield str(path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.make(template=request.getfixturevalue("postgres_template"))
    try:
        yield server.url_of(name)
    finally:
        server.drop(name)
