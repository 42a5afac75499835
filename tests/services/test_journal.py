"""The journal: lines are taken in once, in order, and found again by session, type, side and time."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import recorded_statements
from tests.services.journal_events import SOURCE, everything, ids, line, make_agent, make_mixed, uuids
from tests.services.scene import dump, make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import InvalidInput, NotFound, Session, Store, sessions
from vibeweaver_store.models import JournalEvent
from vibeweaver_store.services import journal
from vibeweaver_store.testing import ImportFactory, JournalEventFactory, SessionFactory, SettableClock


@pytest.fixture
def agent(store: Store) -> Session:
    return make_agent(store)


@pytest.fixture
def mixed(store: Store) -> Session:
    return make_mixed(store)


# The events of seed 004


def seed_event(number: int, session_id: str) -> dict[str, Any]:
    """An event as the seed has it in its table: a row whose ``data`` is the whole line."""
    return {
        "uuid": f"5e1f-{number}",
        "session_id": session_id,
        "event_type": ("user", "assistant", "system", "result")[number % 4],
        "timestamp": f"2025-06-14T12:00:{number:02}.000Z",
        "is_sidechain": number == 5,
        "parent_uuid": f"5e1f-{number - 1}" if number else None,
        "cwd": "/Users/ada/code/late-set",
        "project_name": "late-set",
    }


def as_line(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "uuid": event["uuid"],
        "sessionId": event["session_id"],
        "type": event["event_type"],
        "timestamp": event["timestamp"],
        "isSidechain": event["is_sidechain"],
        "parentUuid": event["parent_uuid"],
        "cwd": event["cwd"],
    }


def test_journal_events_of_the_seed_data_are_kept_whole(store: Store, other: Store, agent: Session) -> None:
    events = [seed_event(number, "claude-1" if number < 6 else "claude-2") for number in range(8)]
    lines = [as_line(event) for event in events]
    told = store.run(journal.ingest, [journal.NewEvent(each, session_id=agent.id) for each in lines])

    found = other.query(journal.for_session, agent.id).items
    assert told == journal.Ingested(read=8, new=8, duplicate=0, unknown=0)
    assert [each.data for each in found] == lines
    for event, row in zip(events, found, strict=True):
        assert row.timestamp == datetime.fromisoformat(event.pop("timestamp"))
        names = {"uuid": "event_uuid", "session_id": "source_session_id"}
        assert {name: getattr(row, names.get(name, name)) for name in event} == event
    assert other.query(journal.source_sessions_of, agent.id) == ["claude-1", "claude-2"]
    assert other.query(journal.latest_source_session, agent.id) == "claude-2"


# Ingest


def test_journal_lines_are_kept_in_the_order_given(store: Store, other: Store, agent: Session) -> None:
    shuffled = [f"u-{number}" for number in range(1234)]
    random.Random(7).shuffle(shuffled)
    store.run(journal.ingest, (journal.NewEvent(line(uuid), session_id=agent.id) for uuid in shuffled))
    assert everything(other, agent) == shuffled


def test_a_single_journal_line_is_ingested(store: Store, other: Store) -> None:
    assert store.run(journal.ingest, [line("a")]) == journal.Ingested(1, 1, 0, 0)
    (found,) = other.query(journal.recent)
    assert (found.event_uuid, found.session_id, found.import_id, found.data) == ("a", None, None, line("a"))


def test_ingesting_no_journal_lines_counts_none(store: Store) -> None:
    assert store.run(journal.ingest, []) == journal.Ingested(0, 0, 0, 0)


def test_a_journal_line_already_ingested_is_a_duplicate(store: Store, other: Store, agent: Session) -> None:
    lines = [line("a"), line("b"), line(mode="plan"), line(mode="default")]
    store.run(journal.ingest, [journal.NewEvent(each, session_id=agent.id) for each in lines])
    before = dump(other)
    again = [*lines, line("c")]
    told = store.run(journal.ingest, [journal.NewEvent(each, session_id=agent.id) for each in again[:-1]])
    assert told == journal.Ingested(read=4, new=0, duplicate=4, unknown=0)
    assert dump(other) == before
    assert store.run(journal.ingest, again) == journal.Ingested(read=5, new=1, duplicate=4, unknown=0)


def test_a_journal_line_text_not_verified_to_be_its_own_is_not_used(store: Store, other: Store) -> None:
    told: Any = "anything"
    store.run(journal.ingest, [journal.NewEvent(line("a"), text=told)])
    (event,) = other.query(lambda uow: uow.exec(select(JournalEvent)).all())
    assert event.data == line("a")


def test_duplicate_journal_lines_are_found_while_statements_are_recorded(store: Store) -> None:
    lines = [line("a"), line("b")]
    store.run(journal.ingest, lines)
    with recorded_statements(store):
        assert store.run(journal.ingest, lines).duplicate == 2


@pytest.mark.parametrize("between", [0, 1500])
def test_a_journal_line_given_twice_in_a_call_is_ingested_once(store: Store, other: Store, between: int) -> None:
    lines = [line("a"), *(line(f"x-{number}") for number in range(between)), line("a", cwd="/elsewhere")]
    assert store.run(journal.ingest, lines) == journal.Ingested(between + 2, between + 1, 1, 0)
    assert other.query(journal.get, 1).cwd is None


def test_a_duplicate_journal_line_leaves_the_first_as_it_was(store: Store, other: Store, agent: Session) -> None:
    store.run(journal.ingest, [line("a", cwd="/one")])
    store.run(journal.ingest, [journal.NewEvent(line("a", cwd="/two"), session_id=agent.id)])
    (found,) = other.query(journal.recent)
    assert (found.cwd, found.session_id) == ("/one", None)


def test_a_journal_uuid_repeated_by_a_fork_is_a_separate_event(store: Store, other: Store) -> None:
    fork = {**line("a"), "sessionId": "fork"}
    assert store.run(journal.ingest, [line("a"), fork]) == journal.Ingested(2, 2, 0, 0)
    assert sorted(each.source_session_id for each in other.query(journal.recent)) == sorted([SOURCE, "fork"])


def test_journal_lines_of_several_sources_are_each_kept_once_in_order(store: Store, other: Store) -> None:
    store.run(journal.ingest, [line("b")])
    fork = [{**line(uuid), "sessionId": "fork"} for uuid in ("a", "b", "a")]
    lines = [fork[0], line("a"), line("b"), fork[1], line("c"), fork[2], line("c", cwd="/elsewhere")]
    assert store.run(journal.ingest, lines) == journal.Ingested(7, 4, 3, 0)
    found = sorted(other.query(journal.recent), key=lambda each: each.id or 0)
    keys = [(each.source_session_id, each.event_uuid, each.cwd) for each in found]
    assert keys == [
        (SOURCE, "b", None),
        ("fork", "a", None),
        (SOURCE, "a", None),
        ("fork", "b", None),
        (SOURCE, "c", None),
    ]


def test_journal_lines_of_unknown_types_are_kept_and_counted(store: Store, other: Store) -> None:
    lines = [line("a"), line("b", "telepathy"), line("c", "telepathy"), {"sessionId": SOURCE, "uuid": "d"}]
    assert store.run(journal.ingest, lines) == journal.Ingested(4, 4, 0, 3)
    assert store.run(journal.ingest, lines) == journal.Ingested(4, 0, 4, 0)
    assert [each.event_type for each in other.query(journal.recent)] == ["unknown", "telepathy", "telepathy", "user"]


def test_a_journal_line_no_backend_can_hold_verbatim_is_kept(store: Store, other: Store) -> None:
    store.run(journal.ingest, [line("a", toolUseResult={"stdout": "a\x00b\ud800", "size": 2**70})])
    (found,) = other.query(journal.recent)
    assert found.data["toolUseResult"] == {"stdout": "a\ufffdb\ufffd", "size": str(2**70)}


def test_a_journal_line_of_a_megabyte_comes_back_whole(store: Store, other: Store) -> None:
    big = line("a", message={"content": "x" * 1_100_000})
    store.run(journal.ingest, [big])
    assert other.query(journal.recent)[0].data == big


def test_journal_events_name_the_import_that_brought_them(store: Store, other: Store) -> None:
    brought = make(store, ImportFactory)
    store.run(journal.ingest, [journal.NewEvent(line("a"), import_id=brought.id)])
    assert other.query(journal.recent)[0].import_id == brought.id


def test_ingesting_journal_lines_is_activity_of_the_session(
    store: Store, other: Store, agent: Session, clock: SettableClock
) -> None:
    clock.advance(minutes=5)
    store.run(journal.ingest, [journal.NewEvent(line("a"), session_id=agent.id)])
    assert other.query(sessions.get, agent.id).last_activity_at == clock.instant


def test_journal_lines_of_several_sessions_go_to_each(store: Store, other: Store) -> None:
    keys = [made.id for made in make_many(store, SessionFactory, {}, {}, {})]
    lines = [journal.NewEvent(line(f"u-{n}"), session_id=keys[n % 3]) for n in range(300)]
    store.run(journal.ingest, lines)
    assert [other.query(journal.count, key) for key in keys] == [100, 100, 100]


@pytest.mark.parametrize("position", [0, 1200])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (journal.NewEvent(line("z"), session_id="nowhere"), NotFound),
        (journal.NewEvent(line("z"), import_id=4711), NotFound),
        ({"type": "summary"}, InvalidInput),
        ("a line", InvalidInput),
    ],
    ids=["no session", "no import", "no source", "no line"],
)
def test_a_bad_journal_line_among_many_leaves_none(
    store: Store, other: Store, bad: Any, error: type[Exception], position: int
) -> None:
    lines: list[Any] = [line(f"u-{number}") for number in range(position + 10)]
    lines.insert(position, bad)
    with pytest.raises(error):
        store.run(journal.ingest, lines)
    assert other.query(journal.recent) == []


@pytest.mark.parametrize("lines", [None, 5, "text", b"bytes", {"type": "user"}], ids=repr)
def test_ingesting_something_other_than_journal_lines_is_refused(lasting_store: Store, lines: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(journal.ingest, lines)
    assert caught.value.field == "events"


def test_a_refused_journal_line_leaves_the_unit_of_work_usable(store: Store, other: Store) -> None:
    with store.begin() as uow:
        for bad in ({"type": "summary"}, journal.NewEvent(line("z"), session_id="nowhere")):
            with pytest.raises((InvalidInput, NotFound)):
                journal.ingest(uow, [bad])
        journal.ingest(uow, [line("a")])
    assert uuids(other.query(journal.recent)) == ["a"]


@pytest.mark.parametrize("drive", ["sync"])
def test_journal_lines_ingested_concurrently_are_kept_once(store: Store, other: Store, agent: Session) -> None:
    lines = [journal.NewEvent(line(f"u-{n}"), session_id=agent.id if n % 2 else None) for n in range(400)]
    told = at_once(store, other, work=lambda each, _: each.run(journal.ingest, lines))
    assert sum(each.new for each in told) == 400
    assert sum(each.duplicate for each in told) == 400 * (THREADS - 1)
    assert len(other.query(journal.recent, 1000)) == 400


@pytest.mark.parametrize("drive", ["sync"])
def test_journal_lines_ingested_in_crossed_session_orders_do_not_deadlock(store: Store, other: Store) -> None:
    one, two = make_many(store, SessionFactory, {}, {})

    def take_in(each: Store, number: int) -> journal.Ingested:
        order = (one.id, two.id) if number % 2 else (two.id, one.id)
        lines = [
            journal.NewEvent(line(f"u-{number}-{at}"), session_id=session_id)
            for session_id in order
            for at in range(at_of(session_id, one.id), at_of(session_id, one.id) + 150)
        ]
        with each.begin() as uow:  # not repeated: a deadlock would show
            return journal.ingest(uow, lines)

    told = at_once(store, other, work=take_in)
    assert [each.new for each in told] == [300] * THREADS


def at_of(session_id: str, first: str) -> int:
    return 0 if session_id == first else 150


# Association


def test_journal_events_can_be_associated_with_a_session(store: Store, other: Store, agent: Session) -> None:
    store.run(journal.ingest, [line("a"), line("b"), line("c")])
    all_three = ids(other.query(journal.recent))
    assert store.run(journal.associate, all_three[1:], agent.id) == 2
    assert everything(other, agent) == ["a", "b"]
    assert store.run(journal.associate, iter([*all_three, *all_three]), agent.id) == 1
    assert everything(other, agent) == ["a", "b", "c"]


def test_associating_journal_events_skips_those_of_the_session(
    store: Store, other: Store, mixed: Session, clock: SettableClock
) -> None:
    clock.advance(minutes=5)
    keys = ids(other.query(journal.for_session, mixed.id).items)
    before = dump(other)
    assert store.run(journal.associate, keys, mixed.id) == 0
    assert store.run(journal.associate, [], mixed.id) == 0
    assert dump(other) == before


def test_associating_journal_events_moves_them_from_another_session(store: Store, other: Store, mixed: Session) -> None:
    taker = make(store, SessionFactory)
    keys = ids(other.query(journal.for_session, mixed.id, event_type="assistant").items)
    assert store.run(journal.associate, keys, taker.id) == 2
    assert everything(other, taker) == ["b", "e"]
    assert everything(other, mixed) == ["a", "c", "d"]


def test_more_journal_events_than_one_statement_takes_can_be_associated(
    store: Store, other: Store, agent: Session
) -> None:
    store.run(journal.ingest, (line(f"u-{number}") for number in range(2500)))
    with other.read() as uow:
        keys = [key for key in uow.scalars(sa.select(col(JournalEvent.id))) if key is not None]
    assert store.run(journal.associate, keys, agent.id) == 2500
    assert other.query(journal.count, agent.id) == 2500


def test_associating_a_missing_journal_event_names_it_and_changes_none(
    store: Store, other: Store, mixed: Session
) -> None:
    taker = make(store, SessionFactory)
    keys = ids(other.query(journal.for_session, mixed.id).items)
    with pytest.raises(NotFound, match="4711"):
        store.run(journal.associate, [*keys, 4711], taker.id)
    assert other.query(journal.count, taker.id) == 0


def test_associating_journal_events_with_a_missing_session_is_refused(lasting_store: Store) -> None:
    made = make(lasting_store, JournalEventFactory)
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(journal.associate, ids([made]), "nowhere")


@pytest.mark.parametrize("bad", [None, 5, "12", ["12"], [True], [None], [-1], [1.0], [2**63]], ids=repr)
def test_associating_journal_events_by_invalid_ids_is_refused(
    lasting_store: Store, lasting_jam: Session, bad: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(journal.associate, bad, lasting_jam.id)
    assert caught.value.field == "event_ids"


# Seed 004: ids and uuids


def test_memva_is_told_the_ids_of_what_it_ingests(store: Store, other: Store, agent: Session) -> None:
    store.run(journal.ingest, [line("b"), line("x")])
    lines = [line("a"), line("b"), line("c"), line("a"), {**line("b"), "sessionId": "fork"}, line(mode="plan")]
    told = store.run(journal.ingest, iter(lines))
    found = [other.query(journal.get, event_id) for event_id in told.ids]
    assert [(each.source_session_id, each.event_uuid) for each in found[:5]] == [
        *((SOURCE, uuid) for uuid in "abca"),
        ("fork", "b"),
    ]
    assert found[5].data == line(mode="plan")
    assert store.run(journal.ingest, lines).ids == told.ids
    assert (told.read, told.new, told.duplicate) == (6, 4, 2)
    assert store.run(journal.associate, told.ids, agent.id) == 5


def test_ingested_ids_are_right_after_the_newest_events_were_deleted(
    store: Store, other: Store, agent: Session
) -> None:
    store.run(journal.ingest, [journal.NewEvent(line("a"), session_id=agent.id), line("b")])
    store.run(sessions.delete, agent.id)
    told = store.run(journal.ingest, [line("c"), line("a"), line("b")])
    assert [other.query(journal.get, event_id).event_uuid for event_id in told.ids] == ["c", "a", "b"]


def test_ingested_ids_of_many_lines_are_in_their_order(store: Store, other: Store) -> None:
    shuffled = [f"u-{number}" for number in range(350)]
    random.Random(3).shuffle(shuffled)
    store.run(journal.ingest, [line(uuid) for uuid in shuffled[:100:3]])
    told = store.run(journal.ingest, [line(uuid) for uuid in shuffled])
    assert [other.query(journal.get, event_id).event_uuid for event_id in told.ids[90:210]] == shuffled[90:210]
    assert len(set(told.ids)) == 350


def test_memva_associates_events_by_their_uuids(store: Store, other: Store, agent: Session) -> None:
    fork = {**line("a"), "sessionId": "fork"}
    ids = store.run(journal.ingest, [line("a"), line("b"), fork, line("c")]).ids
    refs: list[journal.EventRef] = [(SOURCE, "b"), journal.EventKey("fork", "a"), ids[3], ids[1]]
    assert store.run(journal.associate, refs, agent.id) == 3
    assert [each.id for each in other.query(journal.for_session, agent.id).items] == [*ids[1:]]


def test_associating_a_missing_uuid_names_it_and_changes_none(store: Store, other: Store, agent: Session) -> None:
    store.run(journal.ingest, [line("a")])
    with pytest.raises(NotFound, match=r"\('fork', 'a'\)"):
        store.run(journal.associate, [(SOURCE, "a"), ("fork", "a")], agent.id)
    assert other.query(journal.count, agent.id) == 0


# Following


def test_journal_events_of_a_session_are_followed(store: Store, other: Store, agent: Session) -> None:
    def take_in(*lines: dict[str, Any]) -> None:
        other.run(journal.ingest, [journal.NewEvent(each, session_id=agent.id) for each in lines])

    take_in(line("a"), line("b", "assistant"))
    followed = journal.follow(store, agent.id, event_type="user")
    assert next(followed).event_uuid == "a"
    take_in(line("c", "assistant"), line("a"), line("d"))
    assert next(followed).event_uuid == "d"
    followed.close()  # type: ignore[attr-defined]


def test_a_journal_follower_resumes_behind_an_event_or_a_cursor(store: Store, mixed: Session) -> None:
    first = store.query(journal.for_session, mixed.id, limit=2, sidechain=True)
    for after in (first.items[-1].id, first.next_cursor):
        followed = journal.follow(store, mixed.id, after=after, sidechain=True, idle_seconds=0.05)
        assert uuids(list(followed)) == ["e"]


def test_a_journal_follower_reads_more_events_than_one_page(store: Store, agent: Session) -> None:
    store.run(journal.ingest, (journal.NewEvent(line(f"u-{n}"), session_id=agent.id) for n in range(250)))
    assert len(list(journal.follow(store, agent.id, idle_seconds=0))) == 250


def test_following_the_journal_of_a_missing_session_is_refused(lasting_store: Store) -> None:
    with pytest.raises(NotFound):
        next(journal.follow(lasting_store, "nowhere"))
