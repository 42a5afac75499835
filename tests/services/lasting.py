"""A database that the tests of one module share: a fresh one a test costs more than most tests here do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.reused import ReusedDatabases
from vibeweaver_store.testing import new_file


@contextmanager
def lasting_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backend: str
) -> Iterator[str]:
    """A database at head with nothing in it, on a backend."""
    if backend == "sqlite":
        yield str(new_file(tmp_path_factory.mktemp("lasting") / "store.db"))
        return
    databases: ReusedDatabases = request.getfixturevalue("reused_databases")
    with databases.database(new=hasattr(request.module, "indexes_of")) as url:  # see ReusedDatabases.database
        yield url
