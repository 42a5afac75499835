"""Seed 002, AIT42: its operations on workspaces, arenas, instances, runtimes and chat, its search, and its SQL.

The table in ``docs/coming-from/ait42.md`` names these tests. Its indexes are those of ``test_ait42_plans``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.services.arena_scene import TASK, agent, create, fields
from tests.services.bad_input import BAD_IDS, BAD_NAMES, cases
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    AlreadyExists,
    InstanceStatus,
    InvalidInput,
    Message,
    MessageRole,
    NotFound,
    Page,
    SessionKind,
    SessionStatus,
    Settings,
    Store,
    StoreBusy,
    arenas,
    messages,
    paging,
    sessions,
    workspaces,
)
from vibeweaver_store.models.arena import FINAL_OF_INSTANCES
from vibeweaver_store.models.session import FINAL
from vibeweaver_store.services.sessions import SessionFilter
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    MessageFactory,
    SessionFactory,
    SettableClock,
    columns_of,
)

Listing = Callable[..., Page[Any]]

AT = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

both = pytest.mark.parametrize("listing", [sessions.search, sessions.overview], ids=["search", "overview"])


@pytest.fixture
def race(store: Store) -> str:
    """The session of an arena with one instance and no runtimes."""
    return create(store, agent("a")).session.id


@pytest.fixture(scope="module")
def lasting_race(lasting_store: Store) -> str:
    """An arena on the shared store; for refusals."""
    return create(lasting_store, agent("a"), runtimes=["claude"]).session.id


# --- a session is made with all that belongs to it -------------------------------------------------------------


@pytest.mark.parametrize("kind", arenas.KINDS)
def test_ait42_session_is_created_and_retrieved(store: Store, other: Store, tmp_path: Path, kind: SessionKind) -> None:
    made = store.run(arenas.create_arena, kind, "Test task", tmp_path, session_id="test-session-1", status="running")

    found = other.query(arenas.get, "test-session-1")
    assert (found.session.id, found.session.kind, found.session.status) == ("test-session-1", kind, "running")
    assert found.arena.task == "Test task"
    assert columns_of(found.session) == columns_of(made.session)


def test_ait42_session_comes_with_its_instances_in_one_transaction(store: Store, other: Store, tmp_path: Path) -> None:
    with store.begin() as uow:
        arenas.create_arena(
            uow,
            "competition",
            TASK,
            tmp_path,
            session_id="race",
            status="running",
            created_at=AT,
            updated_at=AT + HOUR,
            instances=[agent("a", status="running", tmux_session_id="race-0"), agent("b", status="idle")],
            runtimes=["claude", "codex"],
        )
        assert other.query(sessions.find, "race") is None

    found = other.query(arenas.get, "race")
    assert (found.session.created_at, found.session.updated_at) == (AT, AT + HOUR)
    assert [(each.instance_id, each.agent_name, each.status) for each in found.instances] == [
        (0, "a", InstanceStatus.RUNNING),
        (1, "b", InstanceStatus.PENDING),
    ]
    assert found.runtimes == ["claude", "codex"]


@pytest.mark.parametrize("status", SessionStatus)
def test_ait42_arena_is_created_in_any_status(
    store: Store, other: Store, clock: SettableClock, status: SessionStatus
) -> None:
    key = create(store, agent("a"), status=status).session.id

    found = other.query(sessions.get, key)
    assert (found.status, found.version) == (status, 1)
    assert found.completed_at == (clock.instant if status in FINAL else None)


@pytest.mark.parametrize("begun", [each for each in InstanceStatus if each is not InstanceStatus.PENDING])
def test_ait42_arena_runs_from_the_beginning_when_an_instance_has_begun(
    store: Store, other: Store, begun: InstanceStatus
) -> None:
    key = create(store, agent("a"), agent("b", status=begun), created_at=AT).session.id

    found = other.query(sessions.get, key)
    assert (found.status, found.version, found.updated_at) == (SessionStatus.RUNNING, 1, AT)


def test_ait42_arena_that_is_said_to_be_created_has_no_instance_that_has_begun(
    lasting_store: Store, lasting_other: Store
) -> None:
    before = dump(lasting_other)
    with pytest.raises(InvalidInput, match="instance 1 has") as caught:
        create(lasting_store, agent("a"), agent("b", status="running"), status="created")
    assert caught.value.field == "status"
    assert dump(lasting_other) == before


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"status": "idle"}, "status"),
        ({"status": 1}, "status"),
        ({"created_at": datetime(2025, 1, 13)}, "created_at"),  # noqa: DTZ001 - naive
        ({"created_at": AT, "updated_at": AT - HOUR}, "updated_at"),
        ({"status": "running", "completed_at": AT}, "completed_at"),
        ({"status": "completed", "created_at": AT, "completed_at": AT - HOUR}, "updated_at"),
    ],
    ids=str,
)
def test_ait42_arena_with_a_bad_status_or_time_is_refused_and_nothing_is_made(
    lasting_store: Store, lasting_other: Store, values: dict[str, Any], field: str
) -> None:
    before = dump(lasting_other)
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.create_arena, "debate", TASK, "/srv/refused", instances=[agent("a")], **values)
    assert caught.value.field == field
    assert dump(lasting_other) == before


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_ait42_arena_that_is_created_over_is_summed_up_by_finish(store: Store, other: Store, status: str) -> None:
    done = [agent(str(n), status="completed", end_time=AT + HOUR, files_changed=2, lines_added=3) for n in range(2)]
    key = create(store, *done, status=status, created_at=AT, completed_at=AT + HOUR).session.id
    store.run(arenas.finish, key, winner=1, status=status)

    found = other.query(arenas.get, key)
    totals = (found.arena.total_files_changed, found.arena.total_lines_added, found.arena.total_lines_deleted)
    assert (found.session.status, found.session.completed_at) == (status, AT + HOUR)
    assert (found.arena.winner_instance_id, found.arena.total_duration_seconds, totals) == (1, 3600.0, (4, 6, 0))


@pytest.mark.parametrize("status", InstanceStatus)
def test_ait42_instance_is_created_in_any_status(store: Store, other: Store, status: InstanceStatus) -> None:
    key = create(store, agent("a", status=status)).session.id

    (found,) = other.query(arenas.instances, key)
    assert (found.status, found.end_time is not None) == (status, status in FINAL_OF_INSTANCES)


# --- runtimes are added later ----------------------------------------------------------------------------------


def test_ait42_runtimes_are_added_later_each_once(store: Store, other: Store, race: str) -> None:
    assert store.run(arenas.add_runtime, race, "codex") == ["codex"]
    assert store.run(arenas.add_runtime, race, "claude") == ["claude", "codex"]
    assert store.run(arenas.add_runtime, race, "codex") == ["claude", "codex"]
    assert other.query(arenas.runtimes, race) == ["claude", "codex"]


def test_ait42_runtimes_are_replaced(store: Store, other: Store, race: str) -> None:
    elsewhere = create(store, runtimes=["claude"]).session.id
    assert store.run(arenas.set_runtimes, race, ["codex", "claude", "codex"]) == ["claude", "codex"]
    assert store.run(arenas.set_runtimes, race, ["gemini", "codex"]) == ["codex", "gemini"]
    assert other.query(arenas.runtimes, race) == ["codex", "gemini"]
    assert store.run(arenas.set_runtimes, race, []) == other.query(arenas.runtimes, race) == []
    assert other.query(arenas.runtimes, elsewhere) == ["claude"]


MIXES = [
    lambda uow, key, names=("codex",): arenas.set_runtimes(uow, key, names),
    lambda uow, key, names=("codex",): arenas.add_runtime(uow, key, *names),
]
mixes = pytest.mark.parametrize("mix", MIXES, ids=["set_runtimes", "add_runtime"])


@mixes
def test_ait42_runtimes_that_change_are_something_done_in_the_session(
    store: Store, other: Store, race: str, clock: SettableClock, mix: Callable[..., object]
) -> None:
    before = other.query(sessions.get, race)
    now = clock.advance(hours=1)
    with store.begin() as uow:
        mix(uow, race)
        assert uow._topics == {sessions.topic(race)}
    found = other.query(sessions.get, race)
    assert columns_of(found) == columns_of(before) | {"last_activity_at": now}


@mixes
def test_ait42_runtimes_that_stay_as_they_are_write_nothing(
    store: Store, other: Store, clock: SettableClock, mix: Callable[..., object]
) -> None:
    key = create(store, runtimes=["codex"]).session.id
    before = dump(other)
    clock.advance(hours=1)
    with store.begin() as uow:
        assert mix(uow, key) == ["codex"]
        assert uow._topics == set()
    assert dump(other) == before


@mixes
def test_ait42_runtimes_of_a_session_without_an_arena_are_refused_and_the_unit_of_work_goes_on(
    store: Store, other: Store, race: str, mix: Callable[..., object]
) -> None:
    jam = make(store, SessionFactory)
    with store.begin() as uow:
        for key, entity in ((jam.id, "arena"), ("nowhere", "session")):
            with pytest.raises(NotFound) as caught:
                mix(uow, key)
            assert (caught.value.entity, caught.value.key) == (entity, key)
        mix(uow, race)
    assert other.query(arenas.runtimes, race) == ["codex"]


@mixes
@pytest.mark.parametrize("name", [case for case in BAD_NAMES if case.id != "nothing"])
def test_ait42_runtime_with_a_bad_name_is_refused(
    lasting_store: Store, lasting_other: Store, lasting_race: str, mix: Callable[..., object], name: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(mix, lasting_race, [name])
    assert caught.value.field in {"runtime", "runtimes"}
    assert lasting_other.query(arenas.runtimes, lasting_race) == ["claude"]


@pytest.mark.parametrize("names", cases(text="codex", nothing=None, a_number=5, a_list_of_numbers=[5]))
def test_ait42_runtimes_that_are_no_list_of_names_are_refused(
    lasting_store: Store, lasting_race: str, names: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.set_runtimes, lasting_race, names)
    assert caught.value.field == "runtimes"


@mixes
@pytest.mark.parametrize("session_id", BAD_IDS)
def test_ait42_runtimes_of_what_is_no_id_are_refused(
    lasting_store: Store, mix: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(mix, session_id)
    assert caught.value.field == "session_id"


@pytest.mark.parametrize("drive", ["sync"])
def test_ait42_runtimes_that_many_add_at_once_are_all_there(store: Store, other: Store, race: str) -> None:
    gate = threading.Barrier(4, timeout=30)

    def add(number: int) -> None:
        gate.wait()
        for name in ("claude", f"runtime {number}"):
            (store, other)[number % 2].run(arenas.add_runtime, race, name)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.query(arenas.runtimes, race) == ["claude", *[f"runtime {number}" for number in range(4)]]


# --- search_sessions -------------------------------------------------------------------------------------------


def found(store: Store, where: SessionFilter | None = None, listing: Listing = sessions.search, **options: Any) -> Any:
    return [row.id for row in paging.iterate(lambda cursor: store.query(listing, where, cursor=cursor, **options))]


@both
def test_ait42_sessions_are_searched_by_workspace_status_and_type(
    store: Store, tmp_path: Path, listing: Listing
) -> None:
    workspace = store.run(workspaces.ensure, tmp_path).id
    for kind, status, path in product(arenas.KINDS, ("running", "failed"), (tmp_path, None)):
        key = f"{kind} {status} {'here' if path else 'elsewhere'}"
        store.run(arenas.create_arena, kind, TASK, path, session_id=key, status=status)

    where = SessionFilter(workspace_id=workspace, status="running", kind="debate")
    assert found(store, where, listing) == ["debate running here"]
    assert len(found(store, SessionFilter(workspace_id=workspace), listing)) == 6


POPULATION = 60


@pytest.fixture(scope="module")
def people(lasting_store: Store) -> list[dict[str, Any]]:
    """Sessions of each kind and status, by what a search goes by."""
    with lasting_store.begin() as uow:
        rows = [
            SessionFactory.create(
                uow=uow,
                id=f"session {n:02}",
                kind=list(SessionKind)[n % 5],
                status=list(SessionStatus)[n % 6],
                name=None if n % 7 == 0 else f"set {n % 7}",
                created_at=EPOCH + timedelta(seconds=n * 37 % 20),
                updated_at=EPOCH + timedelta(seconds=20 + n * 17 % 20),
            )
            for n in range(POPULATION)
        ]
    return [row.model_dump() for row in rows]


members = st.sampled_from
some = {
    name: st.none()
    | members(vocabulary)
    | st.lists(members(vocabulary), min_size=1)
    | st.sets(members(vocabulary), min_size=1)
    for name, vocabulary in (("kind", list(SessionKind)), ("status", list(SessionStatus)))
}


def wanted(value: Any) -> set[Any] | None:
    return None if value is None else {value} if isinstance(value, str) else set(value)


@both
@given(data=st.data())
def test_ait42_search_of_several_statuses_and_kinds_finds_what_has_one_of_each(
    lasting_store: Store, people: list[dict[str, Any]], listing: Listing, data: st.DataObject
) -> None:
    kind, status = data.draw(some["kind"]), data.draw(some["status"])
    sort = data.draw(st.sampled_from(["updated_at", "created_at", "name"]))
    falling, limit = data.draw(st.booleans()), data.draw(st.integers(1, 30))
    where = SessionFilter(kind=kind, status=status, text=data.draw(st.none() | st.sampled_from(["SESSION 1", "set 3"])))
    through = [
        each
        for each in people
        if all(
            chosen is None or each[name] in chosen
            for name, chosen in (("kind", wanted(kind)), ("status", wanted(status)))
        )
        and (where.text is None or where.text.lower() in each["id"] or where.text.lower() in (each["name"] or ""))
    ]
    expected = sorted(through, key=lambda each: (each[sort] or "", each["id"]), reverse=falling)
    ours = {each["id"] for each in people}
    listed = found(lasting_store, where, listing, sort=sort, falling=falling, limit=limit)
    assert [each for each in listed if each in ours] == [each["id"] for each in expected]


@both
def test_ait42_search_of_several_statuses_leads_on_and_back(
    lasting_store: Store, people: list[dict[str, Any]], listing: Listing
) -> None:
    where = SessionFilter(status=["running", "paused", "failed"])
    pages = [lasting_store.query(listing, where, limit=7)]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(lasting_store.query(listing, where, limit=7, cursor=cursor))
    assert len(pages) > 3
    assert pages[0].previous_cursor is None
    for before, after in pairwise(pages):
        assert lasting_store.query(listing, where, limit=7, cursor=after.previous_cursor).items == before.items


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ({"status": ["paused", "running"]}, {"status": ("active", SessionStatus.PAUSED, "paused")}),
        ({"status": "running"}, {"status": {"running"}}),
        ({"kind": frozenset({"jam", "agent"})}, {"kind": ["AGENT", "jam"]}),
    ],
    ids=["a list and a tuple", "a word and a set of one", "a set and a list"],
)
def test_ait42_search_of_the_same_values_is_the_same_listing_however_they_are_given(
    lasting_store: Store, people: list[dict[str, Any]], one: dict[str, Any], another: dict[str, Any]
) -> None:
    cursor = lasting_store.query(sessions.search, SessionFilter(**one), limit=3).next_cursor
    on = [
        lasting_store.query(sessions.search, SessionFilter(**each), limit=3, cursor=cursor) for each in (one, another)
    ]
    assert on[0] == on[1]
    with pytest.raises(InvalidInput, match="cursor"):
        lasting_store.query(sessions.search, SessionFilter(status=["failed", "paused"]), cursor=cursor)


@both
@pytest.mark.parametrize(
    ("field", "value"),
    fields(
        kind=cases(none_at_all=[], an_empty_set=set(), one_that_is_none=["jam", "nowhere"], bytes=b"jam", numbers=[1]),
        status=cases(none_at_all=(), one_that_is_none=["running", None], nested=[["running"]], a_dict={"running": 1}),
        agent_status=cases(several=["processing", "completed"]),
    ),
)
def test_ait42_search_of_several_values_that_are_none_is_refused_by_name(
    lasting_store: Store, listing: Listing, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(listing, SessionFilter(**{field: value}))
    assert caught.value.field == field


@both
@pytest.mark.parametrize("text", ["race-2025", "2025-01", "RACE", "13"])
def test_ait42_search_finds_by_a_part_of_the_id(store: Store, listing: Listing, text: str) -> None:
    make(store, SessionFactory, id="another", name="a", vibe=None)
    session = make(store, SessionFactory, id="race-2025-01-13", name="b", vibe=None, kind=SessionKind.COMPETITION)
    make(store, ArenaFactory, session_id=session.id, task="Build it")
    assert found(store, SessionFilter(text=text), listing) == [session.id]
    assert found(store, SessionFilter(text="race%01"), listing) == []


# --- chat_messages of all sessions -----------------------------------------------------------------------------

SPAN = 12


@pytest.fixture(scope="module")
def chat(lasting_store: Store) -> list[Message]:
    """What was said in three sessions, some of it at the same time; as a listing by time has it."""
    keys = [make(lasting_store, SessionFactory).id for _ in range(3)]
    made = make_many(
        lasting_store,
        MessageFactory,
        *[
            {
                "session_id": keys[n % 3],
                "role": list(MessageRole)[n % 4],
                "instance_id": (None, 0, 1)[n % 3],
                "created_at": EPOCH + timedelta(minutes=n * 7 % SPAN),
            }
            for n in range(48)
        ],
    )
    return sorted(made, key=lambda message: (message.created_at, message.id))


minutes = st.none() | st.integers(0, SPAN).map(lambda n: EPOCH + timedelta(minutes=n))


@given(data=st.data())
def test_ait42_messages_of_all_sessions_are_listed_by_time_and_by_role(
    lasting_store: Store, chat: list[Message], data: st.DataObject
) -> None:
    role, newest_first = data.draw(st.none() | members(list(MessageRole))), data.draw(st.booleans())
    since, until = sorted([data.draw(minutes), data.draw(minutes)], key=lambda time: time or EPOCH)
    expected = [
        each
        for each in chat
        if role in {None, each.role}
        and (since is None or each.created_at >= since)
        and (until is None or each.created_at < until)
    ]
    filters: dict[str, Any] = {"role": role, "since": since, "until": until, "newest_first": newest_first}
    listed = list(lasting_store.iterate(messages.page, limit=data.draw(st.integers(1, 20)), **filters))
    ours = {each.session_id for each in chat}
    assert [each for each in listed if each.session_id in ours] == (expected[::-1] if newest_first else expected)


@given(data=st.data())
def test_ait42_messages_of_one_session_in_a_range_of_time_come_by_time(
    lasting_store: Store, chat: list[Message], data: st.DataObject
) -> None:
    key, role = chat[0].session_id, data.draw(st.none() | members(list(MessageRole)))
    instance_id, since = data.draw(st.sampled_from([None, 0, 1])), data.draw(minutes) or EPOCH
    expected = [
        each
        for each in chat
        if each.session_id == key
        and each.created_at >= since
        and role in {None, each.role}
        and instance_id in {None, each.instance_id}
    ]
    filters: dict[str, Any] = {"role": role, "instance_id": instance_id, "since": since}
    assert list(lasting_store.iterate(messages.page, key, limit=data.draw(st.integers(1, 20)), **filters)) == expected


def test_ait42_messages_of_one_session_without_a_range_stay_in_the_order_of_appending(
    lasting_store: Store, chat: list[Message]
) -> None:
    key = chat[0].session_id
    listed = lasting_store.query(messages.page, session_id=key, limit=100).items
    assert listed == sorted([each for each in chat if each.session_id == key], key=lambda message: message.id or 0)


def test_ait42_messages_of_all_sessions_lead_on_and_back(lasting_store: Store, chat: list[Message]) -> None:
    first = lasting_store.query(messages.page, role="user", limit=5)
    second = lasting_store.query(messages.page, role="user", limit=5, cursor=first.next_cursor)
    assert second.items != first.items
    assert lasting_store.query(messages.page, role="user", limit=5, cursor=second.previous_cursor).items == first.items
    with pytest.raises(InvalidInput, match="cursor"):
        lasting_store.query(messages.page, role="system", limit=5, cursor=first.next_cursor)


@pytest.mark.parametrize(
    ("field", "value"),
    fields(
        role=cases(another="robot", a_number=1, a_list=["user"]),
        instance_id=cases(without_its_session=0, below_zero=-1),
        since=cases(naive=datetime(2026, 1, 1), text="2026-01-01T00:00:00Z", a_number=0),  # noqa: DTZ001
        until=cases(naive=datetime(2026, 1, 1), text="2026-01-01T00:00:00Z", a_number=0),  # noqa: DTZ001
        newest_first=cases(nothing=None, text="yes"),
    ),
)
def test_ait42_messages_of_all_sessions_with_a_bad_filter_are_refused(
    lasting_store: Store, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(messages.page, **{field: value})
    assert caught.value.field == field


def test_ait42_messages_of_a_range_that_runs_backwards_are_refused(lasting_store: Store, lasting_race: str) -> None:
    for key in (None, lasting_race):
        with pytest.raises(InvalidInput) as caught:
            lasting_store.query(messages.page, key, since=AT, until=AT - HOUR)
        assert caught.value.field == "until"


@pytest.mark.parametrize("operation", [messages.last, messages.iterate])
def test_ait42_messages_of_no_session_are_never_taken_for_those_of_all(
    lasting_store: Store, operation: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidInput) as caught, lasting_store.begin() as uow:
        list(operation(uow if operation is messages.last else lasting_store, None))
    assert caught.value.field == "session_id"


# --- its SQL ---------------------------------------------------------------------------------------------------


def send(store: Store, statement: str, **values: Any) -> None:
    with store.begin() as uow:
        uow.execute(sa.text(statement), values)


OF_AN_INSTANCE = """
INSERT INTO instances (session_id, instance_id, worktree_path, branch, agent_name, status, tmux_session_id)
VALUES (:session_id, :instance_id, '/srv/worktree', 'agent/0', 'backend-developer', 'running', 'race-0')"""
"""As the seed writes it."""


@pytest.fixture
def raw(store: Store) -> str:
    """An arena that is made by statements of the seed's kind, without times, status or flags."""
    send(store, "INSERT INTO workspaces (id, path, path_hash) VALUES ('home', '/srv/shop', '0123456789abcdef')")
    send(store, "INSERT INTO sessions (id, workspace_id, kind) VALUES ('race', 'home', 'competition')")
    send(store, "INSERT INTO arenas (session_id, task) VALUES ('race', 'Build the login page')")
    for number in (0, 1):
        send(store, OF_AN_INSTANCE, session_id="race", instance_id=number)
    for runtime in ("codex", "claude"):
        send(store, "INSERT INTO arena_runtimes (session_id, runtime) VALUES ('race', :runtime)", runtime=runtime)
    for number in range(3):
        of_a_message = "INSERT INTO messages (public_id, session_id, role, content) VALUES (:id, 'race', 'user', 'Go.')"
        send(store, of_a_message, id=f"m{number}")
    return "race"


def test_ait42_raw_inserts_may_leave_out_times_and_status(store: Store, other: Store, raw: str) -> None:
    session, workspace = other.query(sessions.get, raw), other.query(workspaces.get, "home")
    assert (session.status, session.name, session.completed_at) == (SessionStatus.CREATED, None, None)
    times = (session.created_at, session.updated_at, session.last_activity_at, workspace.last_accessed_at)
    assert {time.utcoffset() for time in times} == {timedelta()}
    assert [each.created_at.utcoffset() for each in other.query(messages.page, raw).items] == [timedelta()] * 3


def test_ait42_rows_of_raw_inserts_are_read_by_the_services(store: Store, other: Store, raw: str) -> None:
    whole = other.query(arenas.get, raw)
    assert (whole.arena.task, whole.runtimes) == ("Build the login page", ["claude", "codex"])
    assert [(each.instance_id, each.status) for each in whole.instances] == [(0, "running"), (1, "running")]
    (row,) = other.query(sessions.overview).items
    assert (row.workspace_path, row.instance_count, row.message_count, row.runtime_mix) == (
        "/srv/shop",
        2,
        3,
        "claude,codex",
    )


def test_ait42_view_counts_instances_and_messages_once_each(store: Store, other: Store, raw: str) -> None:
    with other.read() as uow:
        (row,) = uow.execute(
            sa.text(
                "SELECT id, workspace_id, workspace_path, kind, task, status, model, instance_count, message_count, "
                "runtime_mix FROM session_complete"
            )
        )
    assert tuple(row) == (
        *("race", "home", "/srv/shop", "competition", "Build the login page", "created", None),
        *(2, 3, "claude,codex"),
    )


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO sessions (id, kind) VALUES ('race', 'debate')", AlreadyExists),
        ("INSERT INTO sessions (id, kind) VALUES ('', 'debate')", InvalidInput),
        ("INSERT INTO sessions (id, kind) VALUES ('x', 'duel')", InvalidInput),
        ("INSERT INTO sessions (id, kind, status) VALUES ('x', 'debate', 'idle')", InvalidInput),
        ("INSERT INTO sessions (id, kind, workspace_id) VALUES ('x', 'debate', 'nowhere')", NotFound),
        ("INSERT INTO arenas (session_id, task) VALUES ('race', 'again')", AlreadyExists),
        ("UPDATE arenas SET task = ''", InvalidInput),
        ("INSERT INTO workspaces (id, path, path_hash) VALUES ('x', '/srv/shop', '0123456789abcde0')", AlreadyExists),
        ("INSERT INTO workspaces (id, path, path_hash) VALUES ('x', '', '0123456789abcdef')", InvalidInput),
        (OF_AN_INSTANCE.replace(":session_id", "'race'").replace(":instance_id", "0"), AlreadyExists),
        (OF_AN_INSTANCE.replace(":session_id", "'race'").replace(":instance_id", "-1"), InvalidInput),
        (OF_AN_INSTANCE.replace(":session_id", "'nowhere'").replace(":instance_id", "0"), NotFound),
        ("INSERT INTO arena_runtimes (session_id, runtime) VALUES ('race', 'codex')", AlreadyExists),
        ("INSERT INTO arena_runtimes (session_id, runtime) VALUES ('nowhere', 'codex')", NotFound),
        (
            "INSERT INTO messages (public_id, session_id, role, content) VALUES ('m', 'race', 'robot', 'a')",
            InvalidInput,
        ),
        ("INSERT INTO messages (public_id, session_id, role, content) VALUES ('m', 'race', 'user', '')", InvalidInput),
        ("INSERT INTO messages (public_id, session_id, role, content) VALUES ('', 'race', 'user', 'a')", InvalidInput),
        ("INSERT INTO messages (public_id, session_id, role, content) VALUES ('m', 'no', 'user', 'a')", NotFound),
    ],
)
def test_ait42_rules_of_its_tables_hold_for_raw_statements(
    store: Store, other: Store, raw: str, statement: str, error: type[Exception]
) -> None:
    before = dump(other)
    with pytest.raises(error):
        send(store, statement)
    assert dump(other) == before


@pytest.mark.parametrize("table", ["workspaces", "sessions"])
def test_ait42_rows_go_with_what_they_belong_to(store: Store, other: Store, raw: str, table: str) -> None:
    send(store, f"DELETE FROM {table}")
    assert {name for name, rows in dump(other).items() if rows} == ({"workspaces"} if table == "sessions" else set())


# --- the database: settings, waiting, errors -------------------------------------------------------------------


def test_ait42_settings_of_its_tuning_can_be_set(tmp_path: Path) -> None:
    tuned = Settings(cache_size=-20_000, mmap_size=268_435_456, pool_size=10, busy_timeout_seconds=5)
    with Store.open(tmp_path / "new" / ".ait42" / "sessions.db", settings=tuned) as store, store.read() as uow:
        names = ("cache_size", "mmap_size", "busy_timeout", "journal_mode", "synchronous", "foreign_keys")
        found = [uow.execute(sa.text(f"PRAGMA {name}")).scalar_one() for name in names]
    assert found == [-20_000, 268_435_456, 5000, "wal", 1, 1]


def test_ait42_writer_that_waits_too_long_is_told_that_the_database_is_busy(sqlite_path: Path) -> None:
    with sqlite3.connect(sqlite_path, isolation_level=None) as another:
        another.execute("BEGIN IMMEDIATE")
        impatient = Settings(busy_timeout_seconds=0.1, retries=0)
        with Store.open(sqlite_path, settings=impatient) as store, pytest.raises(StoreBusy) as caught:
            store.run(sessions.create, name="late set")
    another.close()
    assert caught.value.waited >= 0.1


@pytest.mark.parametrize(
    ("operation", "entity", "key"),
    [
        (lambda uow: workspaces.get(uow, "nowhere"), "workspace", "nowhere"),
        (lambda uow: sessions.get(uow, "nowhere"), "session", "nowhere"),
        (lambda uow: arenas.get_instance(uow, "nowhere", 7), "instance", ("nowhere", 7)),
    ],
    ids=["workspace", "session", "instance"],
)
def test_ait42_error_names_what_was_not_found(
    lasting_store: Store, operation: Callable[..., object], entity: str, key: object
) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.query(operation)
    assert (caught.value.entity, caught.value.key) == (entity, key)
    assert "nowhere" in str(caught.value)
