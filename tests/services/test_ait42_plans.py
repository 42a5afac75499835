"""By which indexes searches of several values go, and the listings of what was said in all sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.services.conftest import SYNC
from tests.services.plans import Sent, indexes_of, postgresql_plan, recorded, sqlite_plan, steps
from tests.services.scene import make_many
from vibeweaver_store import MessageRole, Page, SessionKind, SessionStatus, Store, messages, sessions
from vibeweaver_store.services.sessions import SessionFilter
from vibeweaver_store.testing import EPOCH, MessageFactory, SessionFactory, WorkspaceFactory

Listing = Callable[..., Page[Any]]

both = pytest.mark.parametrize("listing", [sessions.search, sessions.overview], ids=["search", "overview"])
every_order = pytest.mark.parametrize("sort", ["updated_at", "created_at", "name"])

SESSIONS, MESSAGES, LIMIT = 2000, 4000, 5
STATUSES, KINDS = ["running", "paused", "failed"], ["jam", "agent"]
KEY = {"sqlite": "sqlite_autoindex_sessions_1", "postgresql": "pk_sessions"}


@pytest.fixture(scope="module", params=SYNC)
def lasting(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The plan of a statement is the same on either driver."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture(scope="module")
def plenty(lasting_store: Store) -> Store:
    """Some thousand sessions and messages, and a planner that knows how many."""
    kinds, statuses, roles = list(SessionKind), list(SessionStatus), list(MessageRole)
    with lasting_store.begin() as uow:
        WorkspaceFactory.create(uow=uow, id="home")
        rows = [
            SessionFactory.build(
                kind=kinds[n % 5],
                status=statuses[n % 6],
                workspace_id="home" if n % 20 == 0 else None,
                created_at=EPOCH + timedelta(seconds=n * 7 % SESSIONS),
                updated_at=EPOCH + timedelta(seconds=SESSIONS + n),
            )
            for n in range(SESSIONS)
        ]
        uow.insert(*rows)
        said = [
            MessageFactory.build(
                session_id=rows[n % 8].id, role=roles[n % 4], created_at=EPOCH + timedelta(seconds=n * 7 % MESSAGES)
            )
            for n in range(MESSAGES)
        ]
        uow.insert(*said)
        uow.execute(sa.text("ANALYZE"))
    return lasting_store


def two_pages(store: Store, listing: Listing, *args: Any, **options: Any) -> list[Sent]:
    """The statements of the first page and of the next."""
    with recorded(store) as sent:
        first = store.query(listing, *args, **options, limit=LIMIT)
        store.query(listing, *args, **options, limit=LIMIT, cursor=first.next_cursor)
    assert first.next_cursor is not None
    return sent


def sorts_more_than(rows: int, store: Store, sent: Sent) -> bool:
    """Whether a statement sorts more rows than the first ones of each value, which LIMIT has cut already."""
    if store.backend == "sqlite":
        # SQLite merges the parts, and does not see that each is in order already.
        plan = sqlite_plan(store, sent)
        return sum("TEMP B-TREE" in step for step in plan) > sum(step.startswith("SCAN anon") for step in plan)
    plans = steps(postgresql_plan(store, sent))
    return any(int(step["Plan Rows"]) > rows for step in plans if "Sort" in step["Node Type"])


@both
@every_order
@pytest.mark.parametrize(
    ("given", "walked"),
    [
        ({"status": STATUSES}, ["status"] * 3),
        ({"kind": KINDS}, ["kind"] * 2),
        ({"status": STATUSES, "kind": KINDS}, ["status"] * 3),
        ({"status": STATUSES, "text": "jam"}, ["status"] * 3),
        ({"status": STATUSES, "kind": "jam"}, ["kind"]),
        ({"workspace_id": "home", "status": STATUSES}, ["workspace_id"]),
    ],
    ids=["statuses", "kinds", "statuses and kinds", "statuses and a text", "statuses of a kind", "of a workspace"],
)
def test_ait42_search_of_several_values_walks_the_index_of_each(
    plenty: Store, listing: Listing, sort: str, given: dict[str, Any], walked: list[str]
) -> None:
    sent = two_pages(plenty, listing, SessionFilter(**given), sort=sort)
    walks = [each for each in sent if KEY[plenty.backend] not in indexes_of(plenty, each)]
    assert (len(walks), len(sent)) == (2, 4 if len(walked) > 1 else 2)
    for each in walks:
        used = [index for index in indexes_of(plenty, each) if index.startswith("ix_sessions")]
        assert used == [f"ix_sessions_by_{leading}_{sort}" for leading in walked]
        assert not sorts_more_than(len(walked) * (LIMIT + 1), plenty, each)


@pytest.fixture
def few(sqlite_path: Path) -> Iterator[Store]:
    """SQLite, which knows nothing of the rows."""
    with Store.open(sqlite_path) as store:
        make_many(store, SessionFactory, *[{"status": status, "vibe": "dark"} for status in STATUSES * 5])
        yield store


@both
@every_order
def test_ait42_search_of_several_statuses_goes_by_indexes_in_a_database_without_statistics(
    few: Store, listing: Listing, sort: str
) -> None:
    where = SessionFilter(status=STATUSES, kind=KINDS, text="dark", created_from=EPOCH - timedelta(days=1))
    sent = two_pages(few, listing, where, sort=sort)
    for each in sent[::2]:
        used = [index for index in indexes_of(few, each) if index.startswith("ix_sessions")]
        assert used == [f"ix_sessions_by_status_{sort}"] * 3


@pytest.mark.parametrize("newest_first", [False, True], ids=["by time", "newest first"])
@pytest.mark.parametrize("since", [None, EPOCH + timedelta(seconds=100)], ids=["of all times", "of a time"])
@pytest.mark.parametrize("role", [None, "assistant"], ids=["of all roles", "of a role"])
def test_ait42_messages_of_all_sessions_go_by_the_index_of_times_which_has_the_roles(
    plenty: Store, role: str | None, since: Any, newest_first: bool
) -> None:
    wanted = "ix_messages_of_all_by_created_at"
    sent = two_pages(plenty, messages.page, role=role, since=since, newest_first=newest_first)
    assert len(sent) == 2
    for each in sent:
        assert indexes_of(plenty, each) == [wanted]
        if plenty.backend == "sqlite":
            assert [step for step in sqlite_plan(plenty, each) if "TEMP B-TREE" in step] == []
        else:
            assert [step for step in steps(postgresql_plan(plenty, each)) if "Sort" in step["Node Type"]] == []
