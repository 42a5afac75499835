"""Sessions: make, find, change, list and delete them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import (
    BAD_IDS,
    BAD_NAMES,
    BAD_NUMBERS,
    BAD_TEXTS,
    LONGEST_ID,
    LONGEST_NAME,
    VERBATIM,
    any_name,
    any_text,
    cases,
)
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    AgentStatus,
    AlreadyExists,
    InvalidInput,
    NotFound,
    Session,
    SessionKind,
    SessionStatus,
    StaleWrite,
    Store,
    UnitOfWork,
    history,
    messages,
    sessions,
    snapshots,
)
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    ArenaRuntimeFactory,
    HistoryEntryFactory,
    InstanceFactory,
    JournalEventFactory,
    MarkerFactory,
    MessageFactory,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SettableClock,
    SnapshotFactory,
    WorkspaceFactory,
    columns_of,
)

# Create


def test_a_new_session_is_read_back_as_it_was_made(store: Store, other: Store) -> None:
    made = store.run(sessions.create, name="late set", vibe="dark techno", tempo_bpm=131.5)
    assert columns_of(other.query(sessions.get, made.id)) == columns_of(made)


def test_a_new_session_has_the_values_it_was_given(store: Store, other: Store) -> None:
    found = other.query(sessions.get, store.run(sessions.create, name="late set", vibe="dub", tempo_bpm=131.5).id)
    assert (found.name, found.vibe, found.tempo_bpm) == ("late set", "dub", 131.5)


def test_a_new_session_is_a_jam_without_a_vibe_at_120_bpm(store: Store) -> None:
    made = store.run(sessions.create, name="late set")
    assert (made.kind, made.status, made.vibe, made.tempo_bpm) == (
        SessionKind.JAM,
        SessionStatus.CREATED,
        None,
        120.0,
    )


def test_a_new_session_is_stamped_with_the_instant_of_its_unit_of_work(store: Store, clock: SettableClock) -> None:
    made = store.run(sessions.create, name="late set")
    assert made.created_at == made.updated_at == made.last_activity_at == clock.instant


def test_a_new_session_is_at_version_1_and_not_over(store: Store, other: Store) -> None:
    found = other.query(sessions.get, store.run(sessions.create, name="late set").id)
    assert (found.version, found.completed_at, found.status_reason, found.attributes) == (1, None, None, {})


def test_session_ids_are_version_7_uuids_in_creation_order(store: Store) -> None:
    with store.begin() as uow:
        ids = [sessions.create(uow, name="same name").id for _ in range(20)]
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("session_id", cases(a_word="late-set", a_letter="x", longest="x" * LONGEST_ID))
def test_a_given_session_id_is_kept(store: Store, other: Store, session_id: str) -> None:
    store.run(sessions.create, name="late set", session_id=session_id)
    assert other.query(sessions.get, session_id).name == "late set"


def test_the_error_for_a_taken_session_id_names_it(store: Store, jam: Session) -> None:
    with pytest.raises(AlreadyExists) as caught:
        store.run(sessions.create, name="again", session_id=jam.id)
    assert (caught.value.entity, caught.value.key) == ("session", jam.id)


def test_a_taken_session_id_leaves_the_unit_of_work_usable(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        with pytest.raises(AlreadyExists):
            sessions.create(uow, name="again", session_id=jam.id)
        made = sessions.create(uow, name="another")
    assert other.query(sessions.find, made.id) is not None


# Kinds

OTHER_KINDS = [kind for kind in SessionKind if kind is not SessionKind.JAM]


@pytest.mark.parametrize("kind", [kind for kind in OTHER_KINDS if kind is not SessionKind.AGENT])
def test_a_session_of_another_kind_needs_neither_tempo_nor_folder(
    store: Store, other: Store, kind: SessionKind
) -> None:
    found = other.query(sessions.get, store.run(sessions.create, name="login page", kind=kind).id)
    assert (found.kind, found.tempo_bpm, found.working_dir, found.agent_status) == (kind, None, None, None)


@pytest.mark.parametrize("word", ["agent", "AGENT", SessionKind.AGENT])
def test_a_session_kind_can_be_given_as_text(lasting_store: Store, word: str) -> None:
    made = lasting_store.run(sessions.create, name="fix the build", kind=word, working_dir="/srv/project")
    assert made.kind is SessionKind.AGENT


@pytest.mark.parametrize("kind", cases(another_word="concert", empty="", nothing=None, a_number=1, true=True))
def test_an_invalid_session_kind_is_refused(lasting_store: Store, kind: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^kind: "):
        lasting_store.run(sessions.create, name="late set", kind=kind)


def test_a_new_agent_session_has_not_started(store: Store, other: Store) -> None:
    made = store.run(sessions.create, name="fix the build", kind=SessionKind.AGENT, working_dir="/srv/project")
    found = other.query(sessions.get, made.id)
    assert (found.agent_status, found.working_dir) == (AgentStatus.NOT_STARTED, "/srv/project")


BAD_FOLDERS = [*BAD_TEXTS, *cases(empty="", blank=" ", too_long="x" * 2001)]


def test_the_error_for_an_incomplete_agent_session_names_what_is_missing(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput, match="an agent's session needs one") as caught:
        lasting_store.run(sessions.create, name="fix the build", kind="agent")
    assert caught.value.field == "working_dir"


@pytest.mark.parametrize("folder", [*BAD_FOLDERS, pytest.param(None, id="nothing")])
def test_an_agent_session_without_a_working_directory_is_refused(lasting_store: Store, folder: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="fix the build", kind=SessionKind.AGENT, working_dir=folder)
    assert caught.value.field == "working_dir"


@pytest.mark.parametrize("folder", BAD_FOLDERS)
def test_an_invalid_working_directory_is_refused_for_every_session_kind(lasting_store: Store, folder: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", working_dir=folder)
    assert caught.value.field == "working_dir"


def test_a_jam_without_a_tempo_is_refused_before_any_write(store: Store, other: Store) -> None:
    with store.begin() as uow:
        with pytest.raises(InvalidInput) as caught:
            sessions.create(uow, name="late set", tempo_bpm=None)
        made = sessions.create(uow, name="another")
    assert caught.value.field == "tempo_bpm"
    assert other.query(sessions.find, made.id) is not None


def test_a_new_session_belongs_to_its_given_workspace(store: Store, other: Store) -> None:
    workspace = make(store, WorkspaceFactory)
    made = store.run(sessions.create, name="late set", workspace_id=workspace.id)
    assert other.query(sessions.get, made.id).workspace_id == workspace.id


def test_a_session_of_a_missing_workspace_leaves_the_unit_of_work_usable(
    store: Store, other: Store, jam: Session
) -> None:
    with store.begin() as uow:
        with pytest.raises(NotFound) as created:
            sessions.create(uow, name="late set", workspace_id="nowhere")
        with pytest.raises(NotFound) as updated:
            sessions.update(uow, jam.id, workspace_id="nowhere")
        made = sessions.create(uow, name="another")
    assert [(each.value.entity, each.value.key) for each in (created, updated)] == [("workspace", "nowhere")] * 2
    assert other.query(sessions.find, made.id) is not None


# Attributes

ATTRIBUTES = {"key": "D minor", "takes": [1, 2.5, None, True], "nested": {"ключ": {}}}


def test_session_attributes_are_read_back_as_given(store: Store, other: Store) -> None:
    made = store.run(sessions.create, name="late set", attributes=ATTRIBUTES)
    assert other.query(sessions.get, made.id).attributes == ATTRIBUTES


def test_session_attributes_are_replaced_whole(store: Store, other: Store) -> None:
    made = store.run(sessions.create, name="late set", attributes=ATTRIBUTES)
    store.run(sessions.update, made.id, attributes=MappingProxyType({"new": 1}))
    assert other.query(sessions.get, made.id).attributes == {"new": 1}


BAD_ATTRIBUTES = cases(
    a_list=[1], text="{}", a_number=5, true=True, nan={"x": float("nan")}, nul={"x": "\x00"}, a_key_that_is_none={1: 2}
)


@pytest.mark.parametrize("attributes", BAD_ATTRIBUTES)
def test_session_attributes_that_are_not_a_json_object_are_refused(lasting_store: Store, attributes: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", attributes=attributes)
    assert caught.value.field == "attributes"


@pytest.mark.parametrize("attributes", [*BAD_ATTRIBUTES, pytest.param(None, id="nothing")])
def test_updating_session_attributes_to_something_else_is_refused(
    lasting_store: Store, lasting_jam: Session, attributes: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.update, lasting_jam.id, attributes=attributes)
    assert caught.value.field == "attributes"


# Get and find


def test_getting_a_missing_session_names_it(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        store.query(sessions.get, "nowhere")
    assert (caught.value.entity, caught.value.key) == ("session", "nowhere")


def test_finding_a_missing_session_returns_none(store: Store) -> None:
    assert store.query(sessions.find, "nowhere") is None


def test_finding_a_session_returns_it(store: Store, other: Store, jam: Session) -> None:
    assert other.query(sessions.find, jam.id) == jam


# Update

CHANGES: list[dict[str, Any]] = [
    {"name": "closing set"},
    {"vibe": "ambient"},
    {"vibe": None},
    {"tempo_bpm": 90.0},
    {"working_dir": "/srv/elsewhere"},
    {"agent_status": AgentStatus.PROCESSING},
    {"attributes": {"key": "D minor"}},
    {"name": "closing set", "working_dir": None},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_updating_a_session_changes_only_the_given_values(
    store: Store, other: Store, jam: Session, clock: SettableClock, change: dict[str, Any]
) -> None:
    store.run(sessions.update, jam.id, **change)
    stamped = {"updated_at": clock.instant, "last_activity_at": clock.instant, "version": 2}
    assert columns_of(other.query(sessions.get, jam.id)) == columns_of(jam) | change | stamped


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_updating_a_session_returns_it_as_stored(
    store: Store, other: Store, jam: Session, change: dict[str, Any]
) -> None:
    changed = store.run(sessions.update, jam.id, **change)
    assert columns_of(changed) == columns_of(other.query(sessions.get, jam.id))


def test_updating_a_session_leaves_other_sessions_alone(store: Store, other: Store, jam: Session) -> None:
    bystander = make(store, SessionFactory)
    store.run(sessions.update, jam.id, name="closing set")
    assert other.query(sessions.get, bystander.id) == bystander


def test_updating_a_session_without_changes_writes_nothing(store: Store, jam: Session) -> None:
    with recorded_statements(store) as sent:
        assert store.run(sessions.update, jam.id) == jam
    assert [statement for statement in sent if not statement.startswith("SELECT")] == []


@pytest.mark.parametrize("change", [{}, {"name": "closing set"}], ids=["nothing", "a name"])
def test_updating_a_missing_session_is_an_error(lasting_store: Store, change: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(sessions.update, "nowhere", **change)


def test_a_refused_update_of_a_session_changes_nothing(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(InvalidInput):
        store.run(sessions.update, jam.id, name="closing set", tempo_bpm=0)
    assert other.query(sessions.get, jam.id) == jam


@pytest.mark.parametrize("word", ["processing", "PROCESSING", AgentStatus.PROCESSING])
def test_an_agent_status_of_a_session_can_be_given_as_text(
    lasting_store: Store, lasting_jam: Session, word: str
) -> None:
    changed = lasting_store.run(sessions.update, lasting_jam.id, agent_status=word)
    assert changed.agent_status is AgentStatus.PROCESSING


@pytest.mark.parametrize("status", cases(another_word="running", empty="", a_number=1, true=True))
def test_an_invalid_agent_status_of_a_session_is_refused(
    lasting_store: Store, lasting_jam: Session, status: Any
) -> None:
    with pytest.raises(InvalidInput, match=r"^agent_status: "):
        lasting_store.run(sessions.update, lasting_jam.id, agent_status=status)


def test_a_session_moves_to_a_workspace_and_out_of_it(store: Store, other: Store, jam: Session) -> None:
    workspace = make(store, WorkspaceFactory)
    store.run(sessions.update, jam.id, workspace_id=workspace.id)
    assert other.query(sessions.get, jam.id).workspace_id == workspace.id
    store.run(sessions.update, jam.id, workspace_id=None)
    assert other.query(sessions.get, jam.id).workspace_id is None


@pytest.mark.parametrize(
    ("kind", "change"), [(SessionKind.JAM, "tempo_bpm"), (SessionKind.AGENT, "working_dir")], ids=["a jam", "an agent"]
)
def test_a_session_cannot_lose_a_value_its_kind_requires(
    store: Store, other: Store, kind: SessionKind, change: str
) -> None:
    session = make(store, SessionFactory, kind=kind)
    with store.begin() as uow:
        with pytest.raises(InvalidInput) as caught:
            sessions.update(uow, session.id, **{change: None})  # type: ignore[arg-type]
        sessions.update(uow, session.id, name="goes on")
    assert caught.value.field == change
    assert other.query(sessions.get, session.id).name == "goes on"


def test_a_session_of_another_kind_may_lose_its_tempo(store: Store, other: Store) -> None:
    session = make(store, SessionFactory, kind=SessionKind.DEBATE)
    store.run(sessions.update, session.id, tempo_bpm=None)
    assert other.query(sessions.get, session.id).tempo_bpm is None


# Versions


def test_each_update_of_a_session_increments_its_version(store: Store, other: Store, jam: Session) -> None:
    versions = [store.run(sessions.update, jam.id, name=name).version for name in ("one", "two", "two")]
    assert versions == [2, 3, 4]
    assert other.query(sessions.get, jam.id).version == 4


def test_an_update_of_a_session_at_the_version_read_is_made(store: Store, other: Store, jam: Session) -> None:
    store.run(sessions.update, jam.id, name="new", expected_version=1)
    assert other.query(sessions.get, jam.id).name == "new"


@pytest.mark.parametrize("change", [{"name": "mine"}, {}], ids=["a name", "nothing"])
def test_an_update_at_another_version_is_refused_with_the_current_session(
    store: Store, other: Store, jam: Session, change: dict[str, Any]
) -> None:
    other.run(sessions.update, jam.id, name="somebody else's")
    with pytest.raises(StaleWrite, match="at version 2, not 1") as caught:
        store.run(sessions.update, jam.id, **change, expected_version=1)
    assert (caught.value.entity, caught.value.key, caught.value.expected) == ("session", jam.id, 1)
    assert columns_of(caught.value.current) == columns_of(other.query(sessions.get, jam.id))
    assert caught.value.current.name == "somebody else's"


def test_a_stale_write_of_a_session_leaves_the_unit_of_work_usable(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        with pytest.raises(StaleWrite) as caught:
            sessions.update(uow, jam.id, name="mine", expected_version=7)
        sessions.update(uow, jam.id, name="mine after all", expected_version=caught.value.current.version)
    assert other.query(sessions.get, jam.id).name == "mine after all"


APPENDING: dict[str, Callable[[UnitOfWork, str], object]] = {
    "history": lambda uow, key: history.append(uow, key, "mix.bounced"),
    "messages": lambda uow, key: messages.append(uow, key, "user", "Make it darker."),
    "snapshots": lambda uow, key: snapshots.save(uow, key, b"state"),
}
every_log = pytest.mark.parametrize("append", APPENDING.values(), ids=APPENDING)


@every_log
def test_appending_to_a_log_does_not_conflict_with_a_session_update(
    store: Store, other: Store, jam: Session, append: Callable[[UnitOfWork, str], object]
) -> None:
    other.run(append, jam.id)
    assert store.run(sessions.update, jam.id, name="new", expected_version=1).version == 2


@every_log
def test_appending_to_a_log_changes_only_the_last_activity_of_a_session(
    store: Store, other: Store, jam: Session, clock: SettableClock, append: Callable[[UnitOfWork, str], object]
) -> None:
    clock.advance(minutes=5)
    store.run(append, jam.id)
    found = other.query(sessions.get, jam.id)
    assert columns_of(found) == columns_of(jam) | {"last_activity_at": clock.instant}


def test_the_last_activity_of_a_session_is_written_once_a_second(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    clock.advance(minutes=5)
    first = clock.instant
    store.run(history.append, jam.id, "one")
    clock.advance(seconds=0.9)
    store.run(history.append, jam.id, "two")
    assert other.query(sessions.get, jam.id).last_activity_at == first


THREADS = 8


def at_once(work: Callable[[int], object]) -> list[object]:
    gate = threading.Barrier(THREADS, timeout=30)

    def start(number: int) -> object:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(start, range(THREADS)))


@pytest.mark.parametrize("drive", ["sync"])
@pytest.mark.parametrize("change", ["a name", "a status"])
def test_concurrent_changes_of_a_session_at_one_version_succeed_once(
    store: Store, other: Store, jam: Session, change: str
) -> None:
    def work(number: int) -> object:
        each = (store, other)[number % 2]
        try:
            if change == "a name":
                return each.run(sessions.update, jam.id, name=f"by {number}", expected_version=1).version
            return each.run(sessions.set_status, jam.id, "running", expected_version=1).version
        except StaleWrite as error:
            return f"stale at {error.current.version}"

    assert sorted(map(str, at_once(work))) == ["2", *["stale at 2"] * (THREADS - 1)]


@pytest.mark.parametrize("drive", ["sync"])
def test_concurrent_updates_of_a_session_each_increment_its_version(store: Store, other: Store, jam: Session) -> None:
    versions = at_once(lambda number: (store, other)[number % 2].run(sessions.update, jam.id, name=f"{number}").version)
    assert sorted(versions, key=str) == list(range(2, THREADS + 2))
    assert other.query(sessions.get, jam.id).version == THREADS + 1


@pytest.mark.parametrize("version", cases(zero=0, negative=-1, true=True, text="1", a_float=1.0, huge=2**63))
def test_an_invalid_expected_version_of_a_session_is_refused(
    lasting_store: Store, lasting_jam: Session, version: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.update, lasting_jam.id, expected_version=version)
    assert caught.value.field == "expected_version"


# Tempo


@pytest.mark.parametrize("tempo", [1, 1.0, 59.94, 999, 999.0])
def test_a_session_tempo_within_the_limits_is_kept(lasting_store: Store, tempo: float) -> None:
    made = lasting_store.run(sessions.create, name="late set", tempo_bpm=tempo)
    assert lasting_store.query(sessions.get, made.id).tempo_bpm == tempo


OUT_OF_RANGE = cases(just_below=0.999999, just_above=999.000001, zero=0, negative=-120.0)


@pytest.mark.parametrize("tempo", [*OUT_OF_RANGE, *BAD_NUMBERS])
def test_an_invalid_session_tempo_is_refused(lasting_store: Store, tempo: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", tempo_bpm=tempo)
    assert caught.value.field == "tempo_bpm"


@pytest.mark.parametrize("tempo", [*OUT_OF_RANGE, *BAD_NUMBERS])
def test_updating_a_session_to_an_invalid_tempo_is_refused(
    lasting_store: Store, lasting_jam: Session, tempo: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.update, lasting_jam.id, tempo_bpm=tempo)
    assert caught.value.field == "tempo_bpm"


# Page


def test_sessions_are_paged_by_last_change_newest_first_ties_by_id(store: Store, other: Store) -> None:
    instants = [EPOCH + timedelta(seconds=second) for second in (3, 1, 3, 2, 1, 3)]
    made = make_many(store, SessionFactory, *[{"updated_at": instant} for instant in instants])
    expected = sorted(made, key=lambda session: (session.updated_at, session.id), reverse=True)
    assert other.query(sessions.page).items == expected


def test_an_updated_session_is_listed_first(store: Store, other: Store, clock: SettableClock) -> None:
    first, *_ = make_many(store, SessionFactory, {}, {}, {})
    clock.advance(seconds=1)
    store.run(sessions.update, first.id, vibe="ambient")
    assert other.query(sessions.page).items[0].id == first.id


def test_the_next_page_of_sessions_continues_after_the_last(store: Store) -> None:
    made = make_many(store, SessionFactory, *[{} for _ in range(5)])
    newest_first = [session.id for session in reversed(made)]
    first = store.query(sessions.page, limit=2)
    second = store.query(sessions.page, limit=2, cursor=first.next_cursor)
    assert [session.id for session in first.items + second.items] == newest_first[:4]


def test_a_store_without_sessions_has_one_empty_page_of_them(store: Store) -> None:
    page = store.query(sessions.page)
    assert (page.items, page.next_cursor, page.previous_cursor) == ([], None, None)


# Delete


def test_a_deleted_session_is_gone(store: Store, other: Store, jam: Session) -> None:
    store.run(sessions.delete, jam.id)
    assert other.query(sessions.find, jam.id) is None


@pytest.mark.parametrize(
    "factory",
    [
        RuleFactory,
        MarkerFactory,
        HistoryEntryFactory,
        SnapshotFactory,
        MessageFactory,
        InstanceFactory,
        ArenaRuntimeFactory,
        JournalEventFactory,
    ],
)
def test_deleting_a_session_deletes_all_it_owns_and_nothing_else(
    store: Store, other: Store, factory: type[RowFactory[Any]]
) -> None:
    kept = make(store, factory)
    before = dump(other)
    doomed = make(store, factory)
    make(store, factory, session_id=doomed.session_id)
    store.run(sessions.delete, doomed.session_id)
    assert kept.session_id != doomed.session_id
    assert dump(other) == before


def test_deleting_an_arena_session_deletes_its_arena_and_winner(store: Store, other: Store) -> None:
    before = dump(other)
    session = make(store, SessionFactory, kind=SessionKind.COMPETITION)
    make(store, InstanceFactory, session_id=session.id, instance_id=0)
    make(store, ArenaFactory, session_id=session.id, winner_instance_id=0)
    store.run(sessions.delete, session.id)
    assert dump(other) == before


def test_deleting_a_missing_session_is_an_error(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(sessions.delete, "nowhere")


# Seed 001


def test_a_session_can_be_created_read_listed_moved_and_deleted(store: Store, other: Store) -> None:
    made = store.run(sessions.create, name="fix the build", kind="agent", working_dir="/srv/project")
    assert other.query(sessions.get, made.id).working_dir == "/srv/project"
    assert [each.id for each in other.query(sessions.page).items] == [made.id]
    store.run(sessions.set_status, made.id, "active")
    assert other.query(sessions.get, made.id).status is SessionStatus.RUNNING
    store.run(sessions.set_status, made.id, "completed")
    assert other.query(sessions.get, made.id).status is SessionStatus.COMPLETED
    store.run(sessions.delete, made.id)
    assert other.query(sessions.page).items == []


# Seed 004: sessions without a title


def test_memva_creates_a_session_without_a_title(store: Store, other: Store) -> None:
    made = store.run(sessions.create, kind="agent", working_dir="/srv/memva")
    assert made.name is None
    assert other.query(sessions.get, made.id).name is None
    assert store.run(sessions.update, made.id, name="A search page").name == "A search page"
    assert store.run(sessions.update, made.id, name=None).name is None
    assert other.query(sessions.get, made.id).name is None


# Bad input


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name.id != "nothing"])
def test_an_invalid_session_name_is_refused(lasting_store: Store, name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name=name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name.id != "nothing"])
def test_updating_a_session_to_an_invalid_name_is_refused(
    lasting_store: Store, lasting_jam: Session, name: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.update, lasting_jam.id, name=name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("vibe", BAD_TEXTS)
def test_a_session_vibe_that_is_not_text_is_refused(lasting_store: Store, vibe: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", vibe=vibe)
    assert caught.value.field == "vibe"


@pytest.mark.parametrize("session_id", BAD_IDS)
def test_creating_a_session_with_an_invalid_id_is_refused(lasting_store: Store, session_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", session_id=session_id)
    assert caught.value.field == "id"


@pytest.mark.parametrize("operation", [sessions.get, sessions.find, sessions.update, sessions.delete])
@pytest.mark.parametrize("session_id", [*BAD_IDS, pytest.param(None, id="nothing")])
def test_a_session_lookup_by_an_invalid_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, session_id)
    assert caught.value.field == "session_id"


@pytest.mark.parametrize("text", VERBATIM)
def test_session_texts_are_kept_verbatim(lasting_store: Store, text: str) -> None:
    made = lasting_store.run(sessions.create, name=text, vibe=text)
    found = lasting_store.query(sessions.get, made.id)
    assert (found.name, found.vibe) == (text, text)


def test_the_longest_session_name_is_kept(lasting_store: Store) -> None:
    longest = "🥁" * (LONGEST_NAME // 4)
    made = lasting_store.run(sessions.create, name=longest)
    assert lasting_store.query(sessions.get, made.id).name == longest


@given(name=any_name, vibe=st.none() | any_text)
def test_any_session_name_and_vibe_are_read_back_as_given(lasting_store: Store, name: str, vibe: str | None) -> None:
    made = lasting_store.run(sessions.create, name=name, vibe=vibe)
    found = lasting_store.query(sessions.get, made.id)
    assert (found.name, found.vibe) == (name, vibe)


def test_a_session_id_with_sql_deletes_nothing_else(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(NotFound):
        store.run(sessions.delete, "x' OR '1'='1")
    assert other.query(sessions.find, jam.id) is not None
