"""By which index a search goes: that of its first filter and its order, whatever else is sieved on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.services.conftest import SYNC
from tests.services.plans import indexes_of, postgresql_plan, recorded, sqlite_plan, steps
from tests.services.scene import make_many
from vibeweaver_store import Page, SessionKind, SessionStatus, Store, sessions
from vibeweaver_store.services.sessions import SessionFilter
from vibeweaver_store.testing import EPOCH, SessionFactory, WorkspaceFactory

Listing = Callable[..., Page[Any]]

both = pytest.mark.parametrize("listing", [sessions.search, sessions.overview], ids=["search", "overview"])
every_order = pytest.mark.parametrize("sort", ["updated_at", "created_at", "name"])


def second(number: float) -> datetime:
    return EPOCH + timedelta(seconds=number)


GIVEN: dict[str, Any] = {
    "workspace_id": "home",
    "status": "created",
    "kind": "jam",
    "agent_status": "processing",
    "text": "jam",
    "created_from": second(0),
    "created_to": second(5000),
    "updated_from": second(0),
    "updated_to": second(5000),
}
"""All of them together let some sessions through, so that there is a second page."""

FIXING = ("workspace_id", "status", "kind")
SETS: list[tuple[str, ...]] = [
    (),
    *[(name,) for name in GIVEN],
    ("kind", "status"),
    ("workspace_id", "kind", "status"),
    ("status", "updated_from", "updated_to"),
    ("kind", "created_from", "created_to"),
    ("workspace_id", "text"),
    tuple(GIVEN),
]


def index_of(names: tuple[str, ...], sort: str) -> str:
    return "_".join(["ix_sessions_by", *[name for name in FIXING if name in names][:1], sort])


def two_pages(store: Store, listing: Listing, names: tuple[str, ...], sort: str) -> Iterator[Any]:
    """The statements of the first page and of the next."""
    where = SessionFilter(**{name: GIVEN[name] for name in names})
    with recorded(store) as sent:
        first = store.query(listing, where, sort=sort, limit=2)
        store.query(listing, where, sort=sort, limit=2, cursor=first.next_cursor)
    assert first.next_cursor is not None
    assert len(sent) == 2
    yield from sent


# SQLite, which knows nothing of the rows


@pytest.fixture
def few(sqlite_path: Path) -> Iterator[Store]:
    with Store.open(sqlite_path) as store:
        with store.begin() as uow:
            WorkspaceFactory.create(uow=uow, id="home")
        make_many(store, SessionFactory, *[{} for _ in range(5)], workspace_id="home", agent_status="processing")
        yield store


@both
@every_order
@pytest.mark.parametrize("names", SETS, ids=lambda names: ", ".join(names) or "nothing")
def test_a_session_search_on_sqlite_walks_one_index_without_a_sort(
    few: Store, listing: Listing, names: tuple[str, ...], sort: str
) -> None:
    for each in two_pages(few, listing, names, sort):
        plan = sqlite_plan(few, each)
        assert index_of(names, sort) in plan[0].split()
        assert [step for step in plan if "TEMP B-TREE" in step] == []


@both
@pytest.mark.parametrize("time", ["updated", "created"])
@pytest.mark.parametrize("end", ["from", "to"])
@pytest.mark.parametrize("leading", [(), ("kind",)], ids=["alone", "within a kind"])
def test_a_session_search_by_a_time_range_scans_a_range_of_the_index(
    few: Store, listing: Listing, time: str, end: str, leading: tuple[str, ...]
) -> None:
    sign = {"from": ">", "to": "<"}[end]
    first, _ = two_pages(few, listing, (*leading, f"{time}_{end}"), f"{time}_at")
    assert f"{time}_at{sign}?" in sqlite_plan(few, first)[0]


def test_counting_sessions_on_sqlite_uses_only_the_index(few: Store) -> None:
    with recorded(few) as sent:
        few.query(sessions.counts)
    assert [sqlite_plan(few, each) for each in sent] == [
        ["SCAN sessions USING COVERING INDEX ix_sessions_by_kind_and_status"]
    ]


def test_reconciling_sessions_on_sqlite_uses_the_index_of_statuses(few: Store) -> None:
    with recorded(few) as sent:
        few.run(sessions.reconcile, idle_for=timedelta(hours=1))
    plans = [step for each in sent for step in sqlite_plan(few, each) if "sessions" in step]
    assert plans != []
    assert [step for step in plans if "(status=?)" not in step and "(id=?)" not in step] == []


# PostgreSQL, whose planner goes by what it knows of the rows


@pytest.fixture(scope="module", params=SYNC)
def lasting(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The plan of a statement is the same on either driver."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture(scope="module")
def plenty(lasting_store: Store) -> Store:
    """Some thousand sessions, and a planner that knows how many."""
    kinds, statuses = list(SessionKind), list(SessionStatus)
    with lasting_store.begin() as uow:
        WorkspaceFactory.create(uow=uow, id="home")
        rows = [
            SessionFactory.build(
                kind=kinds[n % 5],
                status=statuses[n % 6],
                workspace_id="home" if n % 20 == 0 else None,
                created_at=second(n * 7 % 2000),
                updated_at=second(2000 + n),
            )
            for n in range(2000)
        ]
        uow.insert(*rows)
        uow.execute(sa.text("ANALYZE"))
    return lasting_store


@both
@every_order
@pytest.mark.parametrize("names", [(), *[(name,) for name in FIXING]], ids=lambda names: "".join(names) or "nothing")
def test_a_session_search_uses_the_index_of_its_filter_and_order(
    plenty: Store, listing: Listing, names: tuple[str, ...], sort: str
) -> None:
    for each in two_pages(plenty, listing, names, sort):
        assert index_of(names, sort) in indexes_of(plenty, each)
        if plenty.backend == "postgresql":
            sorted_by = [key for step in steps(postgresql_plan(plenty, each)) for key in step.get("Sort Key", [])]
            # The overview's mix is in order; and where a table of messages is empty, its planner may sort it.
            assert [key for key in sorted_by if "runtime" not in key and "messages" not in key] == []
