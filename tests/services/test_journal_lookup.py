"""The journal looked up: by id, by session, type, side and time, each by an index that leads to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, BAD_NAMES, cases
from tests.services.journal_events import SOURCE, everything, line, make_agent, make_mixed, uuids
from tests.services.plans import Sent, indexes_of, recorded
from tests.services.scene import make, make_many
from vibeweaver_store import InvalidInput, NotFound, Session, Store
from vibeweaver_store.services import journal, journal_lookup
from vibeweaver_store.testing import EPOCH, JournalEventFactory, SessionFactory


@pytest.fixture
def agent(store: Store) -> Session:
    return make_agent(store)


@pytest.fixture
def mixed(store: Store) -> Session:
    return make_mixed(store)


# Looking up


def test_a_journal_event_is_found_by_its_id(store: Store, other: Store) -> None:
    made = make(store, JournalEventFactory)
    assert made.id is not None
    assert other.query(journal.get, made.id) == made
    assert other.query(journal.find, made.id) == made
    assert other.query(journal.find, made.id + 1) is None
    with pytest.raises(NotFound, match="journal event"):
        other.query(journal.get, made.id + 1)


@pytest.mark.parametrize("bad", [None, -1, True, "1", 1.0, 2**63], ids=repr)
@pytest.mark.parametrize("operation", [journal.get, journal.find, journal.thread])
def test_a_journal_lookup_by_an_invalid_event_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], bad: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, bad)
    assert caught.value.field == "event_id"


def test_recent_journal_events_include_those_of_all_sessions_and_of_none(
    store: Store, other: Store, agent: Session
) -> None:
    store.run(journal.ingest, [line("a"), journal.NewEvent(line("b"), session_id=agent.id), line("c")])
    assert uuids(other.query(journal.recent)) == ["c", "b", "a"]
    assert uuids(other.query(journal.recent, 2)) == ["c", "b"]


@pytest.mark.parametrize("limit", [0, 1001, True, "5"])
def test_recent_journal_events_honour_the_limit(lasting_store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        lasting_store.query(journal.recent, limit)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abcde"),
        ({"event_type": "user"}, "acd"),
        ({"event_type": "result"}, ""),
        ({"sidechain": True}, "cde"),
        ({"sidechain": False}, "ab"),
        ({"event_type": "assistant", "sidechain": True}, "e"),
        ({"since": EPOCH}, "dbea"),
        ({"until": EPOCH + timedelta(hours=2)}, "d"),
        ({"since": EPOCH + timedelta(hours=2), "until": EPOCH + timedelta(hours=3)}, "be"),
        ({"since": EPOCH + timedelta(hours=2), "until": EPOCH + timedelta(hours=2)}, ""),
        ({"since": EPOCH + timedelta(hours=2), "event_type": "assistant"}, "be"),
        ({"since": EPOCH, "sidechain": True}, "de"),
        ({"until": EPOCH + timedelta(days=1), "sidechain": False, "event_type": "user"}, "a"),
    ],
    ids=str,
)
def test_journal_events_of_a_session_can_be_filtered(
    store: Store, mixed: Session, filters: dict[str, Any], found: str
) -> None:
    assert everything(store, mixed, **filters) == list(found)
    assert everything(store, mixed, **filters, newest_first=True) == list(reversed(found))
    assert everything(store, mixed, **filters, page_size=1) == list(found)


def test_a_missing_session_has_no_journal_events(lasting_store: Store) -> None:
    assert lasting_store.query(journal.for_session, "nowhere").items == []
    assert lasting_store.query(journal.count, "nowhere") == 0
    assert lasting_store.query(journal.source_sessions_of, "nowhere") == []
    assert lasting_store.query(journal.latest_source_session, "nowhere") is None


def test_journal_events_are_counted(store: Store, mixed: Session) -> None:
    assert store.query(journal.count, mixed.id) == 5
    assert store.query(journal.count, mixed.id, event_type="assistant") == 2


def test_a_backwards_range_of_journal_events_is_refused(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(journal.for_session, "any", since=EPOCH, until=EPOCH - timedelta(seconds=1))
    assert caught.value.field == "until"


@pytest.mark.parametrize("bad", cases(naive=datetime(2026, 1, 1), text="2026-01-01", number=5))  # noqa: DTZ001
@pytest.mark.parametrize("field", ["since", "until"])
def test_an_invalid_time_in_a_journal_filter_is_refused(lasting_store: Store, field: str, bad: Any) -> None:
    filters: dict[str, Any] = {field: bad}
    operations: list[Any] = [lambda uow, **given: journal.for_session(uow, "any", **given), journal.usage]
    for operation in operations:
        with pytest.raises(InvalidInput) as caught:
            lasting_store.query(operation, **filters)
        assert caught.value.field == field


@pytest.mark.parametrize("bad", [case for case in BAD_NAMES if case.id != "nothing"])
@pytest.mark.parametrize("operation", [journal.for_session, journal.count])
def test_an_invalid_type_in_a_journal_filter_is_refused(
    lasting_store: Store, operation: Callable[..., object], bad: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, "any", event_type=bad)
    assert caught.value.field == "event_type"


@pytest.mark.parametrize("bad", [case for case in BAD_BOOLEANS if case.id != "nothing"])
def test_an_invalid_sidechain_flag_in_a_journal_filter_is_refused(lasting_store: Store, bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(journal.for_session, "any", sidechain=bad)
    assert caught.value.field == "sidechain"


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize(
    "operation",
    [
        journal.for_session,
        journal.count,
        journal.source_sessions_of,
        journal.latest_source_session,
        lambda uow, key: journal.associate(uow, [], key),
        lambda uow, key: journal.usage(uow, session_id=key),
    ],
    ids=["for_session", "count", "source_sessions_of", "latest_source_session", "associate", "usage"],
)
def test_a_journal_lookup_by_an_invalid_session_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], bad: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, bad)
    assert caught.value.field == "session_id"


times = st.none() | st.integers(0, 3).map(lambda hours: EPOCH + timedelta(hours=hours))
filters_of_any_kind = st.fixed_dictionaries(
    {},
    optional={
        "event_type": st.just("user"),
        "sidechain": st.booleans(),
        "since": st.integers(0, 2).map(lambda hours: EPOCH + timedelta(hours=hours)),
        "until": st.integers(2, 4).map(lambda hours: EPOCH + timedelta(hours=hours)),
        "newest_first": st.booleans(),
    },
)


@given(
    events=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.booleans(), times), max_size=12),
    filters=filters_of_any_kind,
    page_size=st.integers(1, 5),
)
def test_journal_pages_of_any_size_and_filter_rebuild_the_whole_list(
    lasting_store: Store, events: list[tuple[str, bool, Any]], filters: dict[str, Any], page_size: int
) -> None:
    session = make(lasting_store, SessionFactory)
    each = [{"event_type": kind, "is_sidechain": side, "timestamp": at} for kind, side, at in events]
    rows = make_many(lasting_store, JournalEventFactory, *each, session_id=session.id)
    found = everything(lasting_store, session, **filters, page_size=page_size)
    assert found == uuids(chosen(rows, **filters))


def chosen(rows: list[Any], *, newest_first: bool = False, **filters: Any) -> list[Any]:
    """What a listing is to hold, said in another way."""
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "event_type": lambda row, wanted: row.event_type == wanted,
        "sidechain": lambda row, wanted: row.is_sidechain == wanted,
        "since": lambda row, first: row.timestamp is not None and row.timestamp >= first,
        "until": lambda row, end: row.timestamp is not None and row.timestamp < end,
    }
    found = [row for row in rows if all(tests[name](row, value) for name, value in filters.items())]
    if {"since", "until"} & filters.keys():
        found.sort(key=lambda row: row.timestamp)
    return found[::-1] if newest_first else found


# Source sessions


def test_source_sessions_are_sorted_by_their_first_journal_event(store: Store, other: Store, agent: Session) -> None:
    for source in ("z", "a", "m", "z", "a"):
        make(store, JournalEventFactory, session_id=agent.id, source_session_id=source)
    make(store, JournalEventFactory, source_session_id="of another session")
    assert other.query(journal.source_sessions_of, agent.id) == ["z", "a", "m"]
    assert other.query(journal.latest_source_session, agent.id) == "a"


# Indexes


@pytest.fixture(scope="module")
def busy(lasting_store: Store) -> str:
    """One of many sessions with events in them, interleaved as sessions at work at the same time write them."""
    keys = [made.id for made in make_many(lasting_store, SessionFactory, *[{}] * 60)]
    kinds = ("user", "assistant", "system")
    with lasting_store.begin() as uow:
        journal.ingest(uow, busy_lines(keys, kinds))
        uow.execute(sa.text("ANALYZE"))
    return keys[30]


def busy_lines(keys: list[str], kinds: tuple[str, ...]) -> Iterator[journal.NewEvent]:
    for n in range(100):
        for key in keys:
            at = (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=n)).isoformat()
            message = {"id": f"m-{n // 2}", "model": "claude", "usage": {"output_tokens": n}}
            own = line(f"u-{n}", kinds[n % 3], timestamp=at, parentUuid=f"u-{n - 1}", message=message)
            yield journal.NewEvent({**own, "sessionId": f"of {key}", "isSidechain": n % 5 == 0}, session_id=key)


DAY = EPOCH - timedelta(days=300)
PLANS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "all": (lambda uow, key: journal.for_session(uow, key, limit=5), {"by_session"}),
    "newest first": (lambda uow, key: journal.for_session(uow, key, limit=5, newest_first=True), {"by_session"}),
    "a type": (lambda uow, key: journal.for_session(uow, key, limit=5, event_type="user"), {"by_type"}),
    "a side": (lambda uow, key: journal.for_session(uow, key, limit=5, sidechain=True), {"by_session"}),
    "since": (lambda uow, key: journal.for_session(uow, key, limit=5, since=DAY), {"by_timestamp"}),
    "until": (lambda uow, key: journal.for_session(uow, key, limit=5, until=DAY), {"by_timestamp"}),
    "a type since": (
        lambda uow, key: journal.for_session(uow, key, limit=5, since=DAY, event_type="user"),
        {"by_timestamp"},
    ),
    "the latest source": (journal.latest_source_session, {"by_session"}),
    "a count": (journal.count, {"by_session"}),
    "usage of a session": (lambda uow, key: journal.usage(uow, session_id=key), {"of_messages"}),
    "usage of a day": (
        lambda uow, _: journal.usage(uow, since=DAY - timedelta(days=1), until=DAY + timedelta(days=1)),
        {"of_messages_by_timestamp"},
    ),
}


@pytest.mark.parametrize(("lookup", "indexes"), PLANS.values(), ids=PLANS)
def test_each_journal_lookup_uses_its_index(
    lasting_store: Store, busy: str, lookup: Callable[..., Any], indexes: set[str]
) -> None:
    with recorded(lasting_store) as sent:
        assert lasting_store.query(lookup, busy)
    used = {name for each in sent for name in indexes_of(lasting_store, each)}
    assert used == {f"ix_journal_events_{name}" for name in indexes}


def test_usage_of_a_workspace_reads_only_the_messages_of_its_sessions(lasting_store: Store, busy: str) -> None:
    with recorded(lasting_store) as sent:
        lasting_store.query(journal.usage, workspace_id="of no session")
    (statement,) = sent
    assert "ix_journal_events_of_messages" in indexes_of(lasting_store, statement)


def test_a_journal_thread_is_climbed_by_the_index_of_line_keys(lasting_store: Store, busy: str) -> None:
    last = lasting_store.query(journal.for_session, busy, limit=1, newest_first=True).items[0]
    assert last.id is not None
    assert len(lasting_store.query(journal.thread, last.id)) == 100
    with lasting_store.read() as uow:
        chain = str(journal_lookup._chain(last.id).compile(uow.get_bind(), compile_kwargs={"literal_binds": True}))
    used = indexes_of(lasting_store, Sent(chain, ()))
    key = "uq_journal_events_source_session_id_event_uuid"
    assert ("sqlite_autoindex_journal_events_1" if lasting_store.backend == "sqlite" else key) in used


# Seed 004: events by their uuids, and the events of one source session


def test_memva_finds_an_event_by_its_source_and_uuid(store: Store, other: Store) -> None:
    fork = {**line("a"), "sessionId": "fork"}
    store.run(journal.ingest, [line("a"), fork])
    found = other.query(journal.get, journal.EventKey("fork", "a"))
    assert (found.source_session_id, found.event_uuid) == ("fork", "a")
    assert other.query(journal.find, ("fork", "a")) == found
    assert other.query(journal.find, ("fork", "b")) is None
    with pytest.raises(NotFound, match=r"no journal event \('fork', 'b'\)"):
        other.query(journal.get, journal.EventKey("fork", "b"))


def test_memva_follows_the_parents_of_an_event_by_its_uuid(store: Store, other: Store) -> None:
    store.run(journal.ingest, [line("a"), line("b", parentUuid="a"), line("c", parentUuid="b")])
    assert uuids(other.query(journal.thread, (SOURCE, "c"))) == ["a", "b", "c"]
    with pytest.raises(NotFound):
        other.query(journal.thread, (SOURCE, "d"))


@pytest.mark.parametrize("bad", [(), ("a",), ("a", "b", "c"), ("a", 1), (1, "a"), ("", "a"), ("a", " ")], ids=repr)
@pytest.mark.parametrize("operation", [journal.get, journal.find, journal.thread])
def test_a_bad_key_of_a_journal_event_is_refused(
    lasting_store: Store, operation: Callable[..., object], bad: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, bad)
    assert caught.value.field == "event_id"


def test_memva_lists_the_events_of_one_source_session(store: Store, other: Store, agent: Session) -> None:
    own = [journal.NewEvent({**line(uuid), "sessionId": "agent-1"}, session_id=agent.id) for uuid in "ace"]
    store.run(journal.ingest, [own[0], line("b"), own[1], line("d"), {**line("f"), "sessionId": "agent-1"}, own[2]])
    pages: list[list[str]] = []
    cursor = None
    while True:
        page = other.query(journal.for_source, "agent-1", limit=3, cursor=cursor)
        pages.append(uuids(page.items))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["a", "c", "f"], ["e"]]
    assert uuids(other.query(journal.for_source, "agent-1", newest_first=True).items) == ["e", "f", "c", "a"]
    assert other.query(journal.for_source, "agent-2").items == []


def test_a_cursor_of_another_source_session_is_refused(store: Store) -> None:
    store.run(journal.ingest, [line("a"), line("b")])
    cursor = store.query(journal.for_source, SOURCE, limit=1).next_cursor
    with pytest.raises(InvalidInput, match="cursor"):
        store.query(journal.for_source, "agent-1", cursor=cursor)


@pytest.mark.parametrize("bad", [*BAD_IDS, None])
def test_a_bad_source_session_is_refused(lasting_store: Store, bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(journal.for_source, bad)
    assert caught.value.field == "source_session_id"


def test_memva_counts_the_events_of_a_session_by_type(store: Store, mixed: Session) -> None:
    store.run(journal.ingest, [journal.NewEvent(line("z", "telepathy"), session_id=mixed.id)])
    assert list(store.query(journal.counts, mixed.id).items()) == [("assistant", 2), ("telepathy", 1), ("user", 3)]
    assert store.query(journal.counts, "nowhere") == {}
