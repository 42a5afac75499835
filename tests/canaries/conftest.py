"""Fixtures of the canaries: a connection to the server, made without anything of vibeweaver_store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.processes_fixture import processes

__all__ = ["processes"]


@pytest.fixture
def postgres_url() -> str:
    """The server that tests may use; in continuous integration, one that is not there fails the test."""
    url = os.environ.get("VIBEWEAVER_TEST_POSTGRES_URL", "")
    if not url and not os.environ.get("VIBEWEAVER_TEST_ALL"):
        pytest.skip("VIBEWEAVER_TEST_POSTGRES_URL is not set")
    assert url, "VIBEWEAVER_TEST_POSTGRES_URL is not set"
    return url


@pytest.fixture
def server(postgres_url: str) -> Iterator[Any]:
    """A connection of psycopg's own."""
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        yield connection
