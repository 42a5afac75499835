"""Pages: any size and direction rebuilds the listing, whatever is added meanwhile; a cursor is exact or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col

from tests.conftest import BACKENDS
from tests.services.lasting import lasting_database
from vibeweaver_store import (
    HistoryEntry,
    Marker,
    Page,
    ReadUnitOfWork,
    Rule,
    Session,
    Snapshot,
    Store,
    UnitOfWork,
    history,
    markers,
    rules,
    sessions,
    snapshots,
    stats,
)
from vibeweaver_store.models import Base
from vibeweaver_store.testing import (
    EPOCH,
    HistoryEntryFactory,
    MarkerFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
)


@pytest.fixture(scope="module", params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that the tests here share; each looks at a session of its own."""
    with lasting_database(request, tmp_path_factory, request.param) as database, Store.open(database) as opened:
        yield opened


# Listings over real tables, each with rows that only differ in the last column of their order


@dataclass(frozen=True)
class Listing:
    """A listing of one session's rows; ``add`` adds a row that ``spot``, 0 to 3, puts early or late in the order."""

    model: type[Base]
    page: Callable[..., Page[Any]]
    add: Callable[[UnitOfWork, str, int], object]

    def fetch(self, uow: ReadUnitOfWork, key: str, limit: int, cursor: str | None = None) -> Page[Any]:
        return self.page(uow, key, limit=limit, cursor=cursor)

    def whole(self, store: Store, key: str) -> list[Any]:
        with store.read() as uow:
            return [row.id for row in self.fetch(uow, key, 1000).items]


def all_sessions(uow: ReadUnitOfWork, _key: str, /, **values: Any) -> Page[Any]:
    return sessions.page(uow, **values)


def oldest_first(uow: ReadUnitOfWork, key: str, /, **values: Any) -> Page[HistoryEntry]:
    return history.page(uow, key, oldest_first=True, **values)


def append(uow: UnitOfWork, key: str, _spot: int) -> None:
    HistoryEntryFactory.create(uow=uow, session_id=key)


LISTINGS = {
    "sessions, by time falling": Listing(
        Session,
        all_sessions,
        lambda uow, _, spot: SessionFactory.create(uow=uow, updated_at=EPOCH + timedelta(seconds=spot)),
    ),
    "rules, by three columns": Listing(
        Rule,
        rules.page_by_session,
        lambda uow, key, spot: RuleFactory.create(
            uow=uow, session_id=key, priority=spot % 2, created_at=EPOCH + timedelta(microseconds=spot // 2)
        ),
    ),
    "markers, by a number": Listing(
        Marker, markers.page, lambda uow, key, spot: MarkerFactory.create(uow=uow, session_id=key, beat=spot / 3)
    ),
    "markers of a range": Listing(
        Marker,
        lambda uow, key, **values: markers.between(uow, key, 0, 10, **values),
        lambda uow, key, spot: MarkerFactory.create(uow=uow, session_id=key, beat=spot / 3),
    ),
    "history, by id falling": Listing(HistoryEntry, history.page, append),
    "history, by id rising": Listing(HistoryEntry, oldest_first, append),
    "snapshots, without their states": Listing(
        Snapshot, snapshots.page, lambda uow, key, _: SnapshotFactory.create(uow=uow, session_id=key)
    ),
}

every_listing = pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
sizes = st.integers(1, 10)
spots = st.lists(st.integers(0, 3), max_size=12)


def new_session(store: Store, listing: Listing, at: list[int]) -> str:
    """A session with rows at these spots. The listing of sessions has no key, so that it is emptied first."""
    with store.begin() as uow:
        if listing.page is all_sessions:
            uow.execute(sa.text("DELETE FROM sessions"))
            key = "nowhere"
        else:
            key = SessionFactory.create(uow=uow).id
        for spot in at:
            listing.add(uow, key, spot)
    return key


def forward(uow: ReadUnitOfWork, listing: Listing, key: str, limit: int) -> tuple[list[Any], Page[Any]]:
    """All ids by the next pages, and the last page."""
    page = listing.fetch(uow, key, limit)
    found = [row.id for row in page.items]
    while page.next_cursor is not None:
        page = listing.fetch(uow, key, limit, page.next_cursor)
        found += [row.id for row in page.items]
    return found, page


@every_listing
@given(at=spots, size=sizes)
def test_next_pages_of_any_size_rebuild_the_listing(store: Store, listing: Listing, at: list[int], size: int) -> None:
    key = new_session(store, listing, at)
    with store.read() as uow:
        found, _ = forward(uow, listing, key, size)
    assert found == listing.whole(store, key)
    assert len(found) == len(at)


@every_listing
@given(at=spots, size=sizes, back_size=sizes)
def test_previous_pages_of_any_size_rebuild_the_listing_from_its_end(
    store: Store, listing: Listing, at: list[int], size: int, back_size: int
) -> None:
    key = new_session(store, listing, at)
    with store.read() as uow:
        _, page = forward(uow, listing, key, size)
        found = [row.id for row in page.items]
        while page.previous_cursor is not None:
            page = listing.fetch(uow, key, back_size, page.previous_cursor)
            found = [row.id for row in page.items] + found
    assert found == listing.whole(store, key)


@every_listing
@given(at=spots, size=sizes, steps=st.lists(st.booleans(), max_size=12))
def test_a_walk_to_and_fro_shows_each_page_at_its_place(
    store: Store, listing: Listing, at: list[int], size: int, steps: list[bool]
) -> None:
    key = new_session(store, listing, at)
    whole = listing.whole(store, key)
    place = 0
    with store.read() as uow:
        page = listing.fetch(uow, key, size)
        for onward in steps:
            cursor = page.next_cursor if onward else page.previous_cursor
            if cursor is not None:
                place += size if onward else -size
                page = listing.fetch(uow, key, size, cursor)
            assert [row.id for row in page.items] == whole[place : place + size]


@every_listing
@given(at=spots, size=sizes, added=st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=4))
def test_rows_added_between_pages_neither_repeat_nor_hide_a_row(
    store: Store, listing: Listing, at: list[int], size: int, added: list[list[int]]
) -> None:
    key = new_session(store, listing, at)
    there_from_the_start = listing.whole(store, key)
    met: list[Any] = []
    cursor: str | None = None
    waiting = iter(added)
    while True:
        with store.read() as uow:
            page = listing.fetch(uow, key, size, cursor)
        met += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        with store.begin() as uow:
            for spot in next(waiting, []):
                listing.add(uow, key, spot)
    assert len(met) == len(set(met))
    assert [each for each in met if each in set(there_from_the_start)] == there_from_the_start


@given(at=spots, size=sizes, deleted=st.lists(st.integers(0, 11), max_size=6))
def test_rows_deleted_between_pages_hide_no_other_row(
    store: Store, at: list[int], size: int, deleted: list[int]
) -> None:
    listing = LISTINGS["markers, by a number"]
    key = new_session(store, listing, at)
    whole = listing.whole(store, key)
    met, doomed = [], [whole[n] for n in deleted if n < len(whole)]
    cursor: str | None = None
    while True:
        with store.begin() as uow:
            page = listing.fetch(uow, key, size, cursor)
            uow.execute(sa.delete(Marker).where(col(Marker.id).in_(doomed[:2])))
        met += [row.id for row in page.items]
        doomed, cursor = doomed[2:], page.next_cursor
        if cursor is None:
            break
    left = listing.whole(store, key)
    assert [each for each in met if each in left] == left


@every_listing
def test_a_store_iterates_a_listing_page_by_page(store: Store, listing: Listing) -> None:
    key = new_session(store, listing, [3, 1, 2, 1, 0, 1, 3])
    assert [row.id for row in store.iterate(listing.page, key, limit=2)] == listing.whole(store, key)


@given(spaces=st.sets(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1)))
def test_pages_of_names_in_all_alphabets_go_forward_and_back(store: Store, spaces: set[str]) -> None:
    with store.begin() as uow:
        uow.execute(sa.text("DELETE FROM generation_stats"))
        for space in spaces:
            stats.record(uow, space, 100)
        whole = [row.space for row in stats.page(uow, limit=1000).items]
        page = stats.page(uow, limit=2)
        met = [row.space for row in page.items]
        while page.next_cursor is not None:
            page = stats.page(uow, limit=2, cursor=page.next_cursor)
            met += [row.space for row in page.items]
    assert met == whole
    assert set(met) == spaces


# Where a listing ends


def test_the_first_page_has_only_a_next_cursor_and_the_last_only_a_previous_one(store: Store) -> None:
    key = new_session(store, LISTINGS["history, by id rising"], [0] * 4)
    first = store.query(oldest_first, key, limit=2)
    last = store.query(oldest_first, key, limit=2, cursor=first.next_cursor)
    assert (first.next_cursor is None, first.previous_cursor is None) == (False, True)
    assert (last.next_cursor is None, last.previous_cursor is None) == (True, False)


def test_rows_added_at_the_end_are_found_from_the_last_page(store: Store) -> None:
    key = new_session(store, LISTINGS["history, by id rising"], [0] * 3)
    first = store.query(oldest_first, key, limit=2)
    store.run(history.append, key, "added")
    found = store.query(oldest_first, key, limit=2, cursor=first.next_cursor)
    assert [entry.action for entry in found.items] == ["sample", "added"]


@every_listing
def test_the_end_cursor_of_a_page_leads_on_even_from_the_last_page(store: Store, listing: Listing) -> None:
    key = new_session(store, listing, [0, 1, 2, 3, 3])
    whole = store.query(listing.page, key, limit=5)
    first = store.query(listing.page, key, limit=2)
    assert whole.next_cursor is None
    assert first.end_cursor == first.next_cursor
    rest = store.query(listing.page, key, limit=5, cursor=first.end_cursor)
    assert [row.id for row in rest.items] == [row.id for row in whole.items[2:]]
    beyond = store.query(listing.page, key, limit=5, cursor=whole.end_cursor)
    assert (beyond.items, beyond.end_cursor) == ([], whole.end_cursor)


def test_an_empty_page_has_no_end_cursor(store: Store) -> None:
    assert store.query(oldest_first, "nowhere").end_cursor is None


@every_listing
def test_a_page_whose_rows_were_deleted_is_empty_and_leads_back(store: Store, listing: Listing) -> None:
    key = new_session(store, listing, [0, 1, 2, 3, 3])
    first = store.query(listing.page, key, limit=3)
    kept = [row.id for row in first.items]
    with store.begin() as uow:
        uow.execute(sa.delete(listing.model).where(listing.model.id.not_in(kept)))  # type: ignore[attr-defined]
    beyond = store.query(listing.page, key, limit=3, cursor=first.next_cursor)
    back = store.query(listing.page, key, limit=3, cursor=beyond.previous_cursor)
    assert (beyond.items, beyond.next_cursor) == ([], None)
    assert [row.id for row in back.items] == kept
