"""Limits and cursors: a cursor leads on in the very listing that gave it, and anything else is refused."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.scene import make_many
from vibeweaver_store import (
    InvalidInput,
    Page,
    Session,
    Store,
    arenas,
    history,
    imports,
    journal,
    markers,
    messages,
    paging,
    rules,
    sessions,
    snapshots,
    stats,
    workspaces,
)
from vibeweaver_store.paging import Order, check_limit
from vibeweaver_store.testing import (
    EPOCH,
    HistoryEntryFactory,
    ImportFactory,
    InstanceFactory,
    JournalEventFactory,
    MarkerFactory,
    MessageFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
    WorkspaceFactory,
)

# Limits


@pytest.mark.parametrize("limit", [0, -1, 1001, True, False, "5", 5.0, None, 2**63], ids=repr)
def test_a_page_limit_outside_1_to_1000_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidInput, match="from 1 to 1,000") as caught:
        check_limit(limit)
    assert caught.value.field == "limit"


NEXT_DAY = EPOCH + timedelta(days=1)
ONE_MORE = NEXT_DAY + timedelta(days=1)

PAGES: dict[str, Callable[..., Page[Any]]] = {
    "sessions": lambda uow, _, **values: sessions.page(uow, **values),
    "sessions by name": lambda uow, _, **values: sessions.search(uow, sort="name", **values),
    "overview": lambda uow, _, **values: sessions.overview(uow, **values),
    "workspaces": lambda uow, _, **values: workspaces.page(uow, **values),
    "messages": messages.page,
    "messages of a day": lambda uow, key, **values: messages.between(uow, key, EPOCH, NEXT_DAY, **values),
    "instances": lambda uow, _, **values: arenas.instances_by_status(uow, "pending", **values),
    "journal": journal.for_session,
    "journal of a day": lambda uow, key, **values: journal.for_session(uow, key, since=EPOCH, **values),
    "imports": lambda uow, _, **values: imports.page(uow, **values),
    "stats": lambda uow, _, **values: stats.page(uow, **values),
    "rules": rules.page_by_session,
    "markers": markers.page,
    "markers of a range": lambda uow, key, **values: markers.between(uow, key, 0, 10, **values),
    "snapshots": snapshots.page,
    "history": history.page,
}


@pytest.mark.parametrize("limit", [0, 1001])
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_listing_checks_its_page_limit(lasting_store: Store, page: Callable[..., Page[Any]], limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        lasting_store.query(page, "any", limit=limit)


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_page_limit_of_1_to_1000_is_accepted(limit: int) -> None:
    assert check_limit(limit) == limit


# Cursors

LETTERS = f"{string.ascii_letters}{string.digits}-_+/=.~ \n\u00e9"


def altered(cursor: str) -> Iterator[str]:
    """Every cursor that differs from this one by a character: another one, one less, one more."""
    for place in range(len(cursor) + 1):
        before, after = cursor[:place], cursor[place:]
        yield from (before + letter + after for letter in LETTERS)
        if after:
            yield from (before + letter + after[1:] for letter in LETTERS if letter != after[0])
            yield from (before + after[1:], before)


# Entries 5, 50 and 110: cursors of three lengths, so that base64 ends in each of its three ways.
@pytest.mark.parametrize("limit", [5, 50, 110])
def test_an_altered_cursor_is_refused(store: Store, jam: Session, limit: int) -> None:
    make_many(store, HistoryEntryFactory, *[{}] * 120, session_id=jam.id)
    taken = []
    with store.read() as uow:
        cursor = history.page(uow, jam.id, limit=limit, oldest_first=True).next_cursor
        assert cursor is not None
        for other in altered(cursor):
            try:
                history.page(uow, jam.id, limit=limit, oldest_first=True, cursor=other)
            except InvalidInput:
                continue
            taken.append(other.removeprefix(cursor[:-1]))
    assert taken == []


any_text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.one_of(
    any_text,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=st.just(UTC)),
)


@given(
    way=st.sampled_from(["next", "previous"]),
    inclusive=st.booleans(),
    key=st.lists(values, max_size=3),
    listing=st.lists(st.none() | st.booleans() | any_text, max_size=3),
)
def test_a_cursor_decodes_to_what_was_encoded(way: Any, inclusive: bool, key: list[Any], listing: list[Any]) -> None:
    order = Order(listing, [])
    decoded = paging._decode(paging._encode(paging._Cursor(way, inclusive, key), order), order)
    assert decoded == paging._Cursor(way, inclusive, key)
    assert [type(value) for value in decoded.key] == [type(value) for value in key]


BAD_CURSORS: list[Any] = [
    "",
    " ",
    "a",
    "AAAA",
    "=",
    "{}",
    "\u00e9",
    "\ud800",
    "\x00",
    "x" * 10_000,
    5,
    0,
    True,
    b"AAAA",
    [],
    {},
]


@pytest.mark.parametrize("cursor", BAD_CURSORS, ids=lambda cursor: ascii(cursor)[:20])
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_listing_refuses_an_invalid_cursor(
    lasting_store: Store, page: Callable[..., Page[Any]], cursor: Any
) -> None:
    with pytest.raises(InvalidInput, match="altered or belongs to another listing") as caught:
        lasting_store.query(page, "any", cursor=cursor)
    assert caught.value.field == "cursor"


OF_KIND = sessions.SessionFilter(kind="jam")


def listings_of(*keys: str) -> dict[str, Callable[..., Page[Any]]]:
    """Listings that differ in their table, their session, one of their filters or their order."""
    one, two = keys
    return {
        "sessions": sessions.page,
        "sessions, rising": lambda uow, **values: sessions.search(uow, falling=False, **values),
        "sessions by name": lambda uow, **values: sessions.search(uow, sort="name", **values),
        "sessions of a kind": lambda uow, **values: sessions.search(uow, OF_KIND, **values),
        "overview": sessions.overview,
        "overview of a kind": lambda uow, **values: sessions.overview(uow, OF_KIND, **values),
        "workspaces": workspaces.page,
        "messages": lambda uow, **values: messages.page(uow, one, **values),
        "messages of another": lambda uow, **values: messages.page(uow, two, **values),
        "messages, newest first": lambda uow, **values: messages.page(uow, one, newest_first=True, **values),
        "messages of users": lambda uow, **values: messages.page(uow, one, role="user", **values),
        "messages of an instance": lambda uow, **values: messages.page(uow, one, instance_id=0, **values),
        "messages of a day": lambda uow, **values: messages.between(uow, one, EPOCH, NEXT_DAY, **values),
        "messages of a longer time": lambda uow, **values: messages.between(uow, one, EPOCH, ONE_MORE, **values),
        "instances that are pending": lambda uow, **values: arenas.instances_by_status(uow, "pending", **values),
        "instances that are running": lambda uow, **values: arenas.instances_by_status(uow, "running", **values),
        "journal": lambda uow, **values: journal.for_session(uow, one, **values),
        "journal of another": lambda uow, **values: journal.for_session(uow, two, **values),
        "journal, newest first": lambda uow, **values: journal.for_session(uow, one, newest_first=True, **values),
        "journal of a type": lambda uow, **values: journal.for_session(uow, one, event_type="user", **values),
        "journal of a side": lambda uow, **values: journal.for_session(uow, one, sidechain=True, **values),
        "journal from a day on": lambda uow, **values: journal.for_session(uow, one, since=EPOCH, **values),
        "imports": imports.page,
        "stats": stats.page,
        "rules": lambda uow, **values: rules.page_by_session(uow, one, **values),
        "rules of another": lambda uow, **values: rules.page_by_session(uow, two, **values),
        "markers": lambda uow, **values: markers.page(uow, one, **values),
        "markers of another": lambda uow, **values: markers.page(uow, two, **values),
        "markers of a range": lambda uow, **values: markers.between(uow, one, 0, 10, **values),
        "markers of a longer range": lambda uow, **values: markers.between(uow, one, 0, 11, **values),
        "snapshots": lambda uow, **values: snapshots.page(uow, one, **values),
        "snapshots of another": lambda uow, **values: snapshots.page(uow, two, **values),
        "history": lambda uow, **values: history.page(uow, one, **values),
        "history of another": lambda uow, **values: history.page(uow, two, **values),
        "history, oldest first": lambda uow, **values: history.page(uow, one, oldest_first=True, **values),
        "history of an action": lambda uow, **values: history.page(uow, one, action="sample", **values),
        "history of successes": lambda uow, **values: history.page(uow, one, success=True, **values),
    }


def test_a_cursor_of_one_listing_is_refused_by_others(store: Store) -> None:
    with store.begin() as uow:
        keys = [SessionFactory.create(uow=uow).id for _ in range(2)]
        for key in keys * 2:
            for factory in (RuleFactory, HistoryEntryFactory, SnapshotFactory):
                factory.create(uow=uow, session_id=key)
            MarkerFactory.create(uow=uow, session_id=key, beat=1.0)
            MessageFactory.create(uow=uow, session_id=key, instance_id=0)
            JournalEventFactory.create(uow=uow, session_id=key, is_sidechain=True)
            for status in ("pending", "running"):
                InstanceFactory.create(uow=uow, session_id=key, status=status)
            WorkspaceFactory.create(uow=uow)
            ImportFactory.create(uow=uow)
        for space in ("bass", "drums"):
            stats.record(uow, space, 100)
    pages = listings_of(*keys)
    taken = []
    with store.read() as uow:
        cursors = {name: page(uow, limit=1).next_cursor for name, page in pages.items()}
        for (source, cursor), (name, page) in product(cursors.items(), pages.items()):
            try:
                page(uow, limit=1, cursor=cursor)
            except InvalidInput:
                continue
            taken.append((source, name))
    assert taken == [(name, name) for name in pages]
