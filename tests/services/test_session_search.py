"""Searching sessions: what a filter lets through, in which order, by which index; the overview, and the counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, BAD_TEXTS, VERBATIM
from tests.services.scene import make, make_many
from tests.sizes import Size
from vibeweaver_store import (
    AgentStatus,
    Arena,
    InvalidInput,
    Page,
    Session,
    SessionComplete,
    SessionKind,
    SessionStatus,
    Store,
    paging,
    sessions,
)
from vibeweaver_store.services.session_search import Sort
from vibeweaver_store.services.sessions import SessionCount, SessionFilter
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    ArenaRuntimeFactory,
    InstanceFactory,
    JournalEventFactory,
    MessageFactory,
    SessionFactory,
    WorkspaceFactory,
)

Listing = Callable[..., Page[Any]]

both = pytest.mark.parametrize("listing", [sessions.search, sessions.overview], ids=["search", "overview"])


def second(number: float) -> datetime:
    return EPOCH + timedelta(seconds=number)


def found(store: Store, where: SessionFilter | None = None, listing: Listing = sessions.search, **options: Any) -> Any:
    """The ids of all that a search gives."""
    return [row.id for row in paging.iterate(lambda cursor: store.query(listing, where, cursor=cursor, **options))]


# One filter


@both
def test_a_session_search_without_a_filter_lists_all_last_changed_first(store: Store, listing: Listing) -> None:
    made = make_many(store, SessionFactory, *[{"updated_at": second(n)} for n in (2, 1, 3)])
    assert found(store, listing=listing) == [made[2].id, made[0].id, made[1].id]
    assert found(store, SessionFilter(), listing) == found(store, listing=listing)


@both
def test_sessions_are_found_by_workspace(store: Store, listing: Listing) -> None:
    here, elsewhere = make_many(store, WorkspaceFactory, {}, {})
    made = [make(store, SessionFactory, workspace_id=key) for key in (here.id, elsewhere.id, None)]
    assert found(store, SessionFilter(workspace_id=here.id), listing) == [made[0].id]
    assert found(store, SessionFilter(workspace_id="nowhere"), listing) == []


@both
@pytest.mark.parametrize("kind", SessionKind)
def test_sessions_are_found_by_kind(store: Store, listing: Listing, kind: SessionKind) -> None:
    made = {each: make(store, SessionFactory, kind=each) for each in SessionKind}
    assert found(store, SessionFilter(kind=kind.value), listing) == [made[kind].id]


@both
@pytest.mark.parametrize("status", SessionStatus)
def test_sessions_are_found_by_status(store: Store, listing: Listing, status: SessionStatus) -> None:
    made = {each: make(store, SessionFactory, status=each) for each in SessionStatus}
    assert found(store, SessionFilter(status=status), listing) == [made[status].id]


@both
@pytest.mark.parametrize("status", AgentStatus)
def test_sessions_are_found_by_agent_status(store: Store, listing: Listing, status: AgentStatus) -> None:
    made = {each: make(store, SessionFactory, agent_status=each) for each in (None, *AgentStatus)}
    assert found(store, SessionFilter(agent_status=status.value.upper()), listing) == [made[status].id]


@both
@pytest.mark.parametrize(("word", "status"), [("active", SessionStatus.RUNNING), ("error", SessionStatus.FAILED)])
def test_a_session_search_accepts_the_statuses_of_the_seed_projects(
    store: Store, listing: Listing, word: str, status: SessionStatus
) -> None:
    made = {each: make(store, SessionFactory, status=each) for each in SessionStatus}
    assert found(store, SessionFilter(status=word), listing) == [made[status].id]


@both
@pytest.mark.parametrize("column", ["created", "updated"])
def test_a_session_search_includes_the_first_time_of_a_range_but_not_the_last(
    store: Store, listing: Listing, column: str
) -> None:
    times = [second(n) for n in range(5)]
    made = [make(store, SessionFactory, **{f"{column}_at": time}) for time in times]
    where = SessionFilter(**{f"{column}_from": times[1], f"{column}_to": times[3]})  # type: ignore[arg-type]
    assert set(found(store, where, listing)) == {made[1].id, made[2].id}
    assert found(store, SessionFilter(**{f"{column}_from": times[4]}), listing) == [made[4].id]  # type: ignore[arg-type]
    assert found(store, SessionFilter(**{f"{column}_to": times[1]}), listing) == [made[0].id]  # type: ignore[arg-type]


def test_a_session_search_of_an_empty_range_finds_none(store: Store, jam: Session) -> None:
    where = SessionFilter(updated_from=jam.updated_at, updated_to=jam.updated_at)
    assert found(store, where) == []


# Text


@pytest.fixture
def told(store: Store) -> dict[str, str]:
    """Sessions that have something to tell in one place each, by that place."""
    made = {
        "name": make(store, SessionFactory, name="Build the Login page", vibe=None),
        "vibe": make(store, SessionFactory, name="a", vibe="100% dark_techno"),
        "task": make(store, SessionFactory, name="b", vibe=None, kind=SessionKind.COMPETITION),
        "none": make(store, SessionFactory, name="c", vibe=None),
    }
    make(store, ArenaFactory, session_id=made["task"].id, task="Implement user\nauthentication /now\\")
    return {place: session.id for place, session in made.items()}


@both
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("login", "name"),
        ("LOGIN PAGE", "name"),
        ("the L", "name"),
        ("techno", "vibe"),
        ("0% d", "vibe"),
        ("k_t", "vibe"),
        ("user\nauth", "task"),
        ("/now\\", "task"),
        ("IMPLEMENT", "task"),
    ],
)
def test_a_session_search_finds_text_anywhere_in_name_vibe_and_task(
    store: Store, told: dict[str, str], listing: Listing, text: str, place: str
) -> None:
    assert found(store, SessionFilter(text=text), listing) == [told[place]]


@both
@pytest.mark.parametrize("text", ["%", "_", "login%page", "log_n", "d%k", "' OR '1'='1", "Build%"])
def test_a_session_search_takes_wildcards_literally(store: Store, listing: Listing, text: str) -> None:
    make(store, SessionFactory, name="Build the Login page", vibe="dark")
    assert found(store, SessionFilter(text=text), listing) == []


@both
@pytest.mark.parametrize("text", VERBATIM)
def test_a_session_search_finds_any_text_verbatim(lasting_store: Store, listing: Listing, text: str) -> None:
    made = make(lasting_store, SessionFactory, name=text)
    assert made.id in found(lasting_store, SessionFilter(text=text), listing)


# Orders


@both
@pytest.mark.parametrize("falling", [None, True, False], ids=["as it is", "falling", "rising"])
@pytest.mark.parametrize("sort", ["updated_at", "created_at", "name"])
def test_sessions_are_sorted_ties_by_id(store: Store, listing: Listing, sort: Any, falling: bool | None) -> None:
    made = make_many(
        store,
        SessionFactory,
        *[
            {"name": f"{n * 5 % 4}", "created_at": second(n * 3 % 4), "updated_at": second(10 + n * 7 % 4)}
            for n in range(12)
        ],
    )
    turned = sort != "name" if falling is None else falling
    expected = sorted(made, key=lambda session: (getattr(session, sort), session.id), reverse=turned)
    assert found(store, None, listing, sort=sort, falling=falling, limit=5) == [session.id for session in expected]


# Any filter

WORKSPACES, POPULATION = 3, 60


@pytest.fixture(scope="module")
def people(lasting_store: Store) -> list[dict[str, Any]]:
    """Sessions of all sorts, as what a search can know of them."""
    with lasting_store.begin() as uow:
        homes = [WorkspaceFactory.create(uow=uow).id for _ in range(WORKSPACES)]
        rows = [
            SessionFactory.create(
                uow=uow,
                workspace_id=homes[n % 4] if n % 4 < WORKSPACES else None,
                kind=list(SessionKind)[n % 5],
                status=list(SessionStatus)[n % 6],
                agent_status=[None, *AgentStatus][n % 5],
                name=f"set {n % 7}",
                vibe=["Dark", "bright", None][n % 3],
                created_at=second(n * 37 % 20),
                updated_at=second(20 + n * 17 % 20),
            )
            for n in range(POPULATION)
        ]
        tasks: dict[str, Arena] = {row.id: ArenaFactory.create(uow=uow, session_id=row.id) for row in rows[::4]}
    return [{**row.model_dump(), "task": getattr(tasks.get(row.id), "task", None)} for row in rows]


def lets_through(where: SessionFilter, each: dict[str, Any]) -> bool:
    """What a search is to do, said in Python."""
    same = ("workspace_id", "kind", "status", "agent_status")
    text = where.text and where.text.lower()
    return (
        all(getattr(where, name) in (None, each[name]) for name in same)
        and (not text or any(text in (each[place] or "").lower() for place in ("id", "name", "vibe", "task")))
        and all(
            (getattr(where, f"{time}_from") or EPOCH)
            <= each[f"{time}_at"]
            < (getattr(where, f"{time}_to") or second(99))
            for time in ("created", "updated")
        )
    )


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), values)


ranges = st.lists(st.integers(0, 40), min_size=2, max_size=2).map(lambda each: [second(n) for n in sorted(each)])


@both
@given(data=st.data())
def test_a_session_search_applies_its_filter_on_every_page(
    lasting_store: Store, people: list[dict[str, Any]], listing: Listing, data: st.DataObject
) -> None:
    homes = sorted({each["workspace_id"] for each in people} - {None})
    created, updated = data.draw(maybe(ranges)) or [None, None], data.draw(maybe(ranges)) or [None, None]
    where = SessionFilter(
        workspace_id=data.draw(maybe(st.sampled_from(homes))),
        kind=data.draw(maybe(st.sampled_from(SessionKind))),
        status=data.draw(maybe(st.sampled_from(SessionStatus))),
        agent_status=data.draw(maybe(st.sampled_from(AgentStatus))),
        text=data.draw(maybe(st.sampled_from(["dark", "T 3", "user auth", "nowhere"]))),
        created_from=created[0],
        created_to=created[1],
        updated_from=updated[0],
        updated_to=updated[1],
    )
    sort: Sort = data.draw(st.sampled_from(["updated_at", "created_at", "name"]))
    falling = data.draw(st.booleans())
    limit = data.draw(st.integers(1, 30))
    through = [each for each in people if lets_through(where, each)]
    expected = sorted(through, key=lambda each: (each[sort], each["id"]), reverse=falling)
    mine = {each["id"] for each in people}
    got = found(lasting_store, where, listing, sort=sort, falling=falling, limit=limit)
    assert [each for each in got if each in mine] == [each["id"] for each in expected]


# Bad input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("workspace_id", *each.values, id=f"workspace, {each.id}") for each in BAD_IDS],
        *[pytest.param("text", *each.values, id=f"text, {each.id}") for each in BAD_TEXTS],
        *[("text", text) for text in ("", " \n", "x" * 1001)],
        *[
            (field, value)
            for field in ("kind", "status", "agent_status")
            for value in ("nowhere", "", 5, True, ["nowhere"])
        ],
        *[
            (f"{column}_{end}", value)
            for column, end in product(["created", "updated"], ["from", "to"])
            for value in (datetime(2026, 1, 1), "2026-01-01T00:00:00Z", 5, EPOCH.date())  # noqa: DTZ001 - naive
        ],
    ],
)
@both
def test_a_session_search_names_the_invalid_field_of_its_filter(
    lasting_store: Store, listing: Listing, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(listing, SessionFilter(**{field: value}))
    assert caught.value.field == field


@pytest.mark.parametrize("column", ["created", "updated"])
def test_a_session_search_of_a_backwards_range_is_refused(lasting_store: Store, column: str) -> None:
    where = SessionFilter(**{f"{column}_from": second(1), f"{column}_to": second(0)})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(sessions.search, where)
    assert caught.value.field == f"{column}_to"


@pytest.mark.parametrize("where", ["running", {"status": "running"}, 5, True], ids=repr)
def test_a_session_search_by_an_invalid_filter_is_refused(lasting_store: Store, where: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(sessions.search, where)
    assert caught.value.field == "where"


@pytest.mark.parametrize("sort", ["", "id", "name; DROP TABLE sessions", None, 5, ["name"]], ids=repr)
def test_a_session_search_in_an_invalid_order_is_refused(lasting_store: Store, sort: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(sessions.search, sort=sort)
    assert caught.value.field == "sort"


@pytest.mark.parametrize("falling", [each for each in BAD_BOOLEANS if each.id != "nothing"])
def test_a_session_search_in_an_invalid_direction_is_refused(lasting_store: Store, falling: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(sessions.search, falling=falling)
    assert caught.value.field == "falling"


# Seed 004: sessions without a title, events by type, the last thing said


@both
@pytest.mark.parametrize("falling", [False, True])
def test_memva_sessions_without_a_title_are_listed_by_name_before_all_others(
    store: Store, other: Store, listing: Listing, falling: bool
) -> None:
    with store.begin() as uow:
        for number, name in enumerate([None, "b", None, "A", None]):
            SessionFactory.create(uow=uow, id=f"s{number}", name=name)
    wanted = ["s0", "s2", "s4", "s3", "s1"]
    for limit in (1, 2, 10):
        pages = found(other, listing=listing, sort="name", falling=falling, limit=limit)
        assert pages == (wanted[::-1] if falling else wanted)
    third = other.query(listing, sort="name", limit=1, cursor=other.query(listing, sort="name", limit=2).next_cursor)
    assert [row.id for row in other.query(listing, sort="name", limit=3, cursor=third.previous_cursor).items] == [
        "s0",
        "s2",
    ]
    assert {row.name for row in other.query(listing).items} == {None, "A", "b"}


@both
def test_memva_sessions_without_a_title_are_searched_by_their_vibe(
    store: Store, other: Store, listing: Listing
) -> None:
    make_many(store, SessionFactory, {"id": "one", "vibe": "dark"}, {"id": "two", "vibe": "bright"}, name=None)
    assert found(other, SessionFilter(text="DARK"), listing) == ["one"]
    assert found(other, SessionFilter(text="untitled"), listing) == []


def test_memva_overview_counts_events_by_type_and_shows_the_last_message(store: Store, other: Store) -> None:
    make_many(store, SessionFactory, {"id": "a"}, {"id": "b"}, {"id": "c"})
    types = {"a": ["user", "assistant", "user", "omen"], "b": ["user"]}
    with store.begin() as uow:
        for session_id, of_session in types.items():
            for event_type in of_session:
                JournalEventFactory.create(uow=uow, session_id=session_id, event_type=event_type)
        for content in ("Find it.", "Found it."):
            MessageFactory.create(uow=uow, session_id="a", content=content)
        MessageFactory.create(uow=uow, session_id="b", content="é" * 1500)
    rows = {row.id: row for row in other.query(sessions.overview).items}
    assert [dict(rows[key].event_counts or {}) for key in "abc"] == [
        {"user": 2, "assistant": 1, "omen": 1},
        {"user": 1},
        {},
    ]
    assert [rows[key].last_said for key in "abc"] == ["Found it.", "é" * 1000, None]
    filtered = other.query(sessions.overview, SessionFilter(kind="jam", status="created"), sort="name").items
    assert {row.id: row.last_said for row in filtered} == {key: rows[key].last_said for key in "abc"}


def test_memva_overview_is_one_statement_with_all_of_it(store: Store) -> None:
    make_many(store, SessionFactory, *[{} for _ in range(20)])
    with recorded_statements(store) as sent:
        page = store.query(sessions.overview, limit=10)
        assert [(row.event_counts, row.last_said) for row in page.items] == [({}, None)] * 10
    assert len(sent) == 1


def test_a_view_read_by_another_statement_has_no_event_counts(store: Store, jam: Session) -> None:
    row = store.query(lambda uow: uow.exec(select(SessionComplete)).one())
    assert (row.id, row.event_counts, row.last_said) == (jam.id, None, None)


# Overview


@pytest.fixture
def arena(store: Store) -> Session:
    """A competition with two instances, three messages and two runtimes."""
    workspace = make(store, WorkspaceFactory, path="/srv/shop")
    session = make(store, SessionFactory, kind=SessionKind.COMPETITION, workspace_id=workspace.id)
    make_many(store, InstanceFactory, {"instance_id": 0}, {"instance_id": 1}, session_id=session.id)
    make(store, ArenaFactory, session_id=session.id, task="Build it", winner_instance_id=1, total_files_changed=9)
    make_many(store, MessageFactory, {}, {}, {}, session_id=session.id)
    make_many(store, ArenaRuntimeFactory, {"runtime": "codex"}, {"runtime": "claude"}, session_id=session.id)
    return session


def test_a_session_overview_has_workspace_arena_and_counts(store: Store, other: Store, arena: Session) -> None:
    ((row),) = other.query(sessions.overview).items
    assert isinstance(row, SessionComplete)
    assert (row.id, row.name, row.kind, row.status) == (arena.id, arena.name, arena.kind, arena.status)
    assert (row.workspace_path, row.task, row.model) == ("/srv/shop", "Build it", "claude-sonnet-4-5")
    assert (row.winner_instance_id, row.total_files_changed) == (1, 9)
    assert (row.instance_count, row.message_count, row.runtime_mix) == (2, 3, "claude,codex")


def test_a_session_overview_of_a_jam_has_no_arena(store: Store, jam: Session) -> None:
    ((row),) = store.query(sessions.overview).items
    assert (row.workspace_path, row.task, row.runtime_mix) == (None, None, None)
    assert (row.instance_count, row.message_count) == (0, 0)


def test_a_session_overview_counts_instances_and_messages_separately(store: Store, jam: Session, size: Size) -> None:
    instance_count, message_count = size(20, 50), size(1_000, 10_000)
    with store.begin() as uow:
        instances = [InstanceFactory.build(session_id=jam.id, instance_id=n) for n in range(instance_count)]
        uow.insert(*instances)
        message = MessageFactory.build(session_id=jam.id).model_dump(exclude={"id", "public_id"})
        said = [{**message, "public_id": str(n)} for n in range(message_count)]
        uow.execute(sa.insert(MessageFactory._meta.model), said)
    ((row),) = store.query(sessions.overview).items
    assert (row.instance_count, row.message_count) == (instance_count, message_count)


@both
@pytest.mark.parametrize("where", [None, SessionFilter(text="dark", status="created")], ids=["all", "some"])
def test_a_page_of_a_session_search_is_one_statement(
    store: Store, arena: Session, listing: Listing, where: SessionFilter | None
) -> None:
    make_many(store, SessionFactory, *[{} for _ in range(20)])
    with recorded_statements(store) as sent:
        assert store.query(listing, where, limit=10).items != []
    assert len(sent) == 1


# Counts


def test_sessions_are_counted_by_kind_and_status(store: Store, other: Store) -> None:
    jams = [{"status": status} for status in ("running", "created", "running")]
    make_many(store, SessionFactory, *jams)
    make(store, SessionFactory, kind=SessionKind.AGENT, status=SessionStatus.FAILED)
    assert other.query(sessions.counts) == [
        SessionCount(SessionKind.AGENT, SessionStatus.FAILED, 1),
        SessionCount(SessionKind.JAM, SessionStatus.CREATED, 1),
        SessionCount(SessionKind.JAM, SessionStatus.RUNNING, 2),
    ]


def test_session_counts_of_an_empty_store_are_empty(store: Store) -> None:
    assert store.query(sessions.counts) == []


def test_counting_sessions_is_one_statement(store: Store, jam: Session) -> None:
    with recorded_statements(store) as sent:
        store.query(sessions.counts)
    assert len(sent) == 1
