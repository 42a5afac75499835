"""Fixtures of the weaving domain: a session to work in, and a store for tests that need no database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import BACKENDS
from tests.driven import DRIVES, opened
from tests.services.lasting import lasting_database
from tests.services.scene import Scene, build_scene, make
from vibeweaver_store import Session, Store
from vibeweaver_store.columns import new_id
from vibeweaver_store.models import METADATA
from vibeweaver_store.testing import SessionFactory, SettableClock

EACH_DRIVE = [
    pytest.param((drive, *backend.values), marks=backend.marks, id=f"{drive}-{backend.values[0]}")
    for drive, backend in product(DRIVES, BACKENDS)
]
"""Each drive on each backend."""

ONCE_EACH = [EACH_DRIVE[0], EACH_DRIVE[-1]]
"""Each drive and each backend, once."""

SYNC = EACH_DRIVE[: len(BACKENDS)]
"""Each backend, without asyncio."""


@pytest.fixture(scope="module", params=ONCE_EACH)
def lasting(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Drive and backend of the store that a module's tests share.

    Most of them are refusals, which do not come as far as a driver: for these not every pair need be tried.
    """
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture(scope="module")
def lasting_database_of_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lasting: tuple[str, str]
) -> Iterator[str]:
    with lasting_database(request, tmp_path_factory, lasting[1]) as database:
        yield database


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out asyncio on PostgreSQL where a test asks for a store of its own.

    It runs there with threads, and on SQLite with both; what the drivers themselves do on either backend is tested with
    the kernel, and here by the tests of following, and those that share a store. A database a test is what most of the
    time goes into.
    """
    pair = {("drive", "async"), ("backend", "postgresql")}
    left_out = [item for item in items if _params(item).items() >= pair and not item.path.stem.endswith("_followed")]
    config.hook.pytest_deselected(items=left_out)
    kept = set(items) - set(left_out)
    items[:] = [item for item in items if item in kept]


def _params(item: pytest.Item) -> dict[str, object]:
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    return {name: value for name, value in params.items() if isinstance(value, str)}


@pytest.fixture(params=DRIVES)
def drive(request: pytest.FixtureRequest) -> str:
    """Each test of a service is run on a Store and on an AsyncStore; see pytest_collection_modifyitems for where."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def lasting_store(lasting: tuple[str, str], lasting_database_of_module: str) -> Iterator[Store]:
    """A store that a module's tests share: for refusals, which write nothing, and for what looks at one session."""
    with opened(lasting[0], lasting_database_of_module) as store:
        yield store


@pytest.fixture(scope="module")
def timed_clock() -> SettableClock:
    """The clock of the store that a module's tests share; it only ever goes on."""
    return SettableClock()


@pytest.fixture(scope="module")
def timed_store(
    lasting: tuple[str, str], lasting_database_of_module: str, timed_clock: SettableClock
) -> Iterator[Store]:
    """As ``lasting_store``, by a clock that tests set: for what time brings about."""
    with opened(lasting[0], lasting_database_of_module, clock=timed_clock) as store:
        yield store


@pytest.fixture(scope="module")
def lasting_other(lasting_database_of_module: str) -> Iterator[Store]:
    """A second store on the database of the first: what it reads was committed."""
    with Store.open(lasting_database_of_module) as opened:
        yield opened


@pytest.fixture(scope="module")
def lasting_jam(lasting_store: Store) -> Session:
    """A session on the shared store; others write to it too, so look at single rows alone."""
    return make(lasting_store, SessionFactory)


@pytest.fixture
def jam(store: Store) -> Session:
    """A session at 120 bpm, where half a second is one beat."""
    return make(store, SessionFactory, tempo_bpm=120.0)


@dataclass(frozen=True)
class _Made:
    """A scene, and every row of the database as it was when the scene was made."""

    scene: Scene
    rows: dict[sa.Table, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def _scene_made(lasting_store: Store) -> _Made:
    scene = build_scene(lasting_store)
    with lasting_store.read() as uow:
        tables = METADATA.sorted_tables
        return _Made(
            scene, {table: [dict(row) for row in uow.execute(sa.select(table)).mappings()] for table in tables}
        )


@pytest.fixture
def lasting_scene(lasting_store: Store, _scene_made: _Made) -> Scene:
    """Some of everything on the shared store, as it was before any test; nothing else is in the database.

    Its rows are written again for each test, which takes a tenth of the time of making a scene.
    """
    with lasting_store.begin() as uow:
        for table in reversed(METADATA.sorted_tables):
            uow.execute(sa.delete(table))
        for table, rows in _scene_made.rows.items():
            if rows:
                uow.execute(sa.insert(table), rows)
    return _scene_made.scene


@pytest.fixture
def kind() -> str:
    """A type of jobs that no other test has."""
    return f"render {new_id()}"
