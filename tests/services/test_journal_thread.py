"""A thread: an event behind its parent, that one behind its own, up to where the journal ends."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.scene import make, make_many
from tests.shared_data import CLAUDE_CODE, needs_shared_data
from tests.sizes import Size
from vibeweaver_store import NotFound, Store
from vibeweaver_store.columns import new_id
from vibeweaver_store.models import JournalEvent
from vibeweaver_store.services import journal
from vibeweaver_store.testing import JournalEventFactory, SessionFactory


def chain(store: Store, *pairs: tuple[str, str | None], source: str | None = None) -> list[JournalEvent]:
    """Events by uuid and parent, of one source session."""
    each = [{"event_uuid": uuid, "parent_uuid": parent} for uuid, parent in pairs]
    return make_many(store, JournalEventFactory, *each, source_session_id=source or new_id())


def threaded(store: Store, event: JournalEvent) -> list[str]:
    assert event.id is not None
    return [each.event_uuid for each in store.query(journal.thread, event.id)]


def test_a_journal_event_without_a_parent_is_its_own_thread(store: Store, other: Store) -> None:
    (alone,) = chain(store, ("a", None))
    assert alone.id is not None
    assert other.query(journal.thread, alone.id) == [alone]


def test_a_journal_thread_ends_with_the_event_asked_for(store: Store, other: Store) -> None:
    events = chain(store, ("a", None), ("b", "a"), ("c", "b"), ("d", "c"))
    assert [threaded(other, event) for event in events] == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]]


def test_a_journal_thread_follows_parents_not_line_order(store: Store) -> None:
    last, *_ = chain(store, ("d", "c"), ("b", "a"), ("a", None), ("c", "b"))
    assert threaded(store, last) == ["a", "b", "c", "d"]


def test_a_journal_thread_leaves_out_side_branches(store: Store) -> None:
    *_, last = chain(store, ("a", None), ("b", "a"), ("b2", "a"), ("c2", "b2"), ("c", "b"))
    assert threaded(store, last) == ["a", "b", "c"]


def test_a_journal_thread_begins_where_a_parent_is_missing(store: Store) -> None:
    *_, last = chain(store, ("b", "gone"), ("c", "b"))
    assert threaded(store, last) == ["b", "c"]


def test_a_journal_thread_stays_within_its_source_session(store: Store) -> None:
    chain(store, ("a", None), ("b", "a"), ("c", "b"), source="the one that was forked")
    *_, last = chain(store, ("b", "a"), ("c", "b"), source="the fork")
    assert threaded(store, last) == ["b", "c"]


@pytest.mark.parametrize("pairs", [[("a", "a")], [("a", "b"), ("b", "a")], [("a", "c"), ("b", "a"), ("c", "b")]])
def test_a_journal_thread_with_a_cycle_lists_each_event_once(store: Store, pairs: list[tuple[str, str]]) -> None:
    *_, last = chain(store, *pairs)
    assert threaded(store, last) == [uuid for uuid, _ in pairs]


def test_a_journal_thread_continues_behind_a_compaction(store: Store) -> None:
    lines: list[dict[str, Any]] = [
        {"type": "user", "uuid": "a", "parentUuid": None, "sessionId": "s"},
        {"type": "system", "uuid": "b", "parentUuid": None, "logicalParentUuid": "a", "sessionId": "s"},
        {"type": "user", "uuid": "c", "parentUuid": "b", "sessionId": "s"},
    ]
    store.run(journal.ingest, lines)
    assert threaded(store, store.query(journal.recent, 1)[0]) == ["a", "b", "c"]


def test_a_journal_thread_of_thousands_is_one_statement(store: Store, size: Size) -> None:
    length = size(1_500, 3_000)
    session_id = make(store, SessionFactory).id
    parents = [None, *(f"u-{n}" for n in range(length - 1))]
    rows = [
        JournalEventFactory.build(event_uuid=f"u-{n}", parent_uuid=parent, session_id=session_id)
        for n, parent in enumerate(parents)
    ]
    with store.begin() as uow:
        uow.insert(*rows)
    with recorded_statements(store) as sent:
        assert threaded(store, rows[-1]) == [f"u-{n}" for n in range(length)]
    assert len(sent) == 1


def test_the_thread_of_a_missing_journal_event_is_not_found(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="journal event"):
        lasting_store.query(journal.thread, 2**62)


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=10))
def test_a_journal_thread_equals_following_parents_one_by_one(lasting_store: Store, parents: list[int | None]) -> None:
    def climbed(at: int | None) -> list[str]:
        upward: list[str] = []
        while at is not None and at < len(parents) and f"u-{at}" not in upward:
            upward.append(f"u-{at}")
            at = parents[at]
        return upward[::-1]

    pairs = [(f"u-{n}", None if parent is None else f"u-{parent}") for n, parent in enumerate(parents)]
    events = chain(lasting_store, *pairs)
    assert [threaded(lasting_store, event) for event in events] == [climbed(n) for n in range(len(parents))]


@needs_shared_data
def test_a_real_journal_thread_goes_back_beyond_the_compaction(store: Store) -> None:
    path = CLAUDE_CODE / "entire__a6-e4c2a0fbd1-0__full.jsonl"
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    store.run(journal.ingest, [journal.NewEvent(line, source_session_id=path.stem) for line in lines])
    answers = [event for event in store.query(journal.recent, 1000) if event.event_type == "assistant"]

    assert answers[0].id is not None
    thread = store.query(journal.thread, answers[0].id)
    boundary = next(event for event in thread if event.data.get("subtype") == "compact_boundary")
    assert thread.index(boundary) > 10
    assert all(child.parent_uuid == parent.event_uuid for parent, child in pairwise(thread))
    assert thread[0].parent_uuid not in {line.get("uuid") for line in lines}  # which was never written
