"""Instances: the agents at work in an arena, each in its own worktree."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from tests.services.arena_scene import (
    BAD_COUNTS,
    BAD_DIFFS,
    BAD_TIMES,
    WRITES,
    agent,
    but,
    create,
    fields,
    move,
)
from tests.services.bad_input import (
    BAD_IDS,
    BAD_NAMES,
    BAD_TEXTS,
    cases,
)
from tests.services.scene import dump, make
from vibeweaver_store import (
    AlreadyExists,
    IllegalTransition,
    Instance,
    InstanceStatus,
    InvalidInput,
    NotFound,
    SessionStatus,
    Store,
    StoreError,
    arenas,
    sessions,
)
from vibeweaver_store.models.arena import FINAL_OF_INSTANCES, INSTANCE_TRANSITIONS
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    InstanceFactory,
    SessionFactory,
    SettableClock,
    columns_of,
)


@pytest.fixture
def race(store: Store) -> str:
    """The session of an arena with three instances."""
    return create(store, agent("a"), agent("b"), agent("c")).session.id


@pytest.fixture(scope="module")
def lasting_race(lasting_store: Store) -> str:
    """An arena on the shared store with one instance; for refusals."""
    return create(lasting_store, agent("a")).session.id


# Add


def test_an_added_instance_gets_the_next_number(store: Store, other: Store, race: str) -> None:
    made = store.run(arenas.add_instance, race, agent("d"))
    assert made.instance_id == 3
    assert columns_of(other.query(arenas.get_instance, race, 3)) == columns_of(made)


def test_an_added_instance_may_bring_a_free_number(store: Store, other: Store, race: str) -> None:
    store.run(arenas.add_instance, race, agent("d", instance_id=7))
    assert store.run(arenas.add_instance, race, agent("e")).instance_id == 8
    assert [each.instance_id for each in other.query(arenas.instances, race)] == [0, 1, 2, 7, 8]


def test_instances_are_numbered_past_the_greatest_number_a_caller_may_give(store: Store, race: str) -> None:
    store.run(arenas.add_instance, race, agent("d", instance_id=arenas.MAX_INSTANCE_ID))
    made = [store.run(arenas.add_instance, race, agent(name)).instance_id for name in "ef"]
    assert made == [arenas.MAX_INSTANCE_ID + 1, arenas.MAX_INSTANCE_ID + 2]


def test_a_taken_instance_number_is_refused_and_leaves_the_unit_of_work_usable(
    store: Store, other: Store, race: str
) -> None:
    with store.begin() as uow:
        with pytest.raises(AlreadyExists) as caught:
            arenas.add_instance(uow, race, agent("d", instance_id=2))
        arenas.add_instance(uow, race, agent("e"))
    assert caught.value.key == (race, 2)
    assert [each.agent_name for each in other.query(arenas.instances, race)] == ["a", "b", "c", "e"]


def test_adding_a_running_instance_sets_its_session_running(store: Store, race: str) -> None:
    store.run(arenas.add_instance, race, agent("d", status="running"))
    assert store.query(sessions.get, race).status is SessionStatus.RUNNING


def test_a_session_without_an_arena_takes_no_instance(store: Store) -> None:
    jam = make(store, SessionFactory)
    with pytest.raises(NotFound) as caught:
        store.run(arenas.add_instance, jam.id, agent())
    assert (caught.value.entity, caught.value.key) == ("arena", jam.id)


@pytest.mark.parametrize("new", [None, {}, "agent", [agent()]])
def test_adding_something_other_than_an_instance_is_refused(lasting_store: Store, lasting_race: str, new: Any) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(arenas.add_instance, lasting_race, new)


@pytest.mark.parametrize("drive", ["sync"])
def test_instances_added_concurrently_get_distinct_numbers(store: Store, other: Store, race: str) -> None:
    gate = threading.Barrier(8, timeout=30)

    def add(number: int) -> int:
        gate.wait()
        return (store, other)[number % 2].run(arenas.add_instance, race, agent(str(number))).instance_id

    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(add, range(8)))
    assert sorted(numbers) == list(range(3, 11))
    found = {each.instance_id: each.agent_name for each in other.query(arenas.instances, race)}
    assert [found[number] for number in numbers] == [str(n) for n in range(8)]


# What is refused

BAD_OF_INSTANCES = fields(
    agent_name=BAD_NAMES,
    worktree_path=[*but(BAD_NAMES, "too long", "too long in bytes"), *cases(too_long="x" * 2001)],
    branch=BAD_NAMES,
    tmux_session_id=[*BAD_TEXTS, *cases(nothing=None)],
    runtime=but(BAD_NAMES, "nothing"),
    model=but(BAD_NAMES, "nothing"),
    runtime_label=but(BAD_NAMES, "nothing"),
    output=BAD_TEXTS,
    instance_id=[*BAD_COUNTS, *cases(more_than_the_most=arenas.MAX_INSTANCE_ID + 1)],
    files_changed=BAD_DIFFS,
    lines_added=BAD_DIFFS,
    lines_deleted=BAD_DIFFS,
    start_time=BAD_TIMES,
    end_time=BAD_TIMES,
)


@pytest.mark.parametrize(("field", "value"), BAD_OF_INSTANCES)
def test_an_invalid_value_of_an_instance_is_refused(
    lasting_store: Store, lasting_race: str, field: str, value: Any
) -> None:
    new = agent("b", **{field: value})
    with pytest.raises(InvalidInput) as of_new:
        create(lasting_store, new)
    with pytest.raises(InvalidInput) as of_old:
        lasting_store.run(arenas.add_instance, lasting_race, new)
    assert of_new.value.field == of_old.value.field == field


@pytest.mark.parametrize("status", cases(nothing=None, another="done", empty="", true=True, a_number=1))
def test_an_invalid_instance_status_is_refused(lasting_store: Store, lasting_race: str, status: Any) -> None:
    with pytest.raises(InvalidInput, match="pending, running, paused, completed, failed"):
        create(lasting_store, agent("b", status=status))
    with pytest.raises(InvalidInput, match="pending, running, paused, completed, failed"):
        lasting_store.run(arenas.set_instance_status, lasting_race, 0, status)
    with pytest.raises(InvalidInput, match="pending, running, paused, completed, failed"):
        lasting_store.query(arenas.instances_by_status, status)


def test_a_pending_instance_has_not_begun(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput, match="pending") as caught:
        create(lasting_store, agent("b", start_time=EPOCH))
    assert caught.value.field == "start_time"


@pytest.mark.parametrize("status", FINAL_OF_INSTANCES)
@pytest.mark.parametrize(
    ("times", "field"),
    [
        ({"start_time": EPOCH, "end_time": EPOCH - timedelta(microseconds=1)}, "end_time"),
        ({"start_time": datetime(9000, 1, 1, tzinfo=UTC)}, "start_time"),
    ],
    ids=["an end before the start", "a start to come"],
)
def test_an_instance_does_not_end_before_it_began(
    lasting_store: Store, status: InstanceStatus, times: dict[str, datetime], field: str
) -> None:
    with pytest.raises(InvalidInput, match="before it began") as caught:
        create(lasting_store, agent("b", status=status, **times))
    assert caught.value.field == field


def test_an_instance_may_end_as_it_begins(lasting_store: Store) -> None:
    (made,) = create(lasting_store, agent("b", status="failed", start_time=EPOCH, end_time=EPOCH)).instances
    assert (made.start_time, made.end_time) == (EPOCH, EPOCH)


# Status


def with_status(store: Store, status: InstanceStatus) -> tuple[str, Instance]:
    with store.begin() as uow:
        key = SessionFactory.create(uow=uow, kind="debate", status="running").id
        ArenaFactory.create(uow=uow, session_id=key)
        return key, InstanceFactory.create(uow=uow, session_id=key, status=status)


MOVES = list(product(InstanceStatus, InstanceStatus))


@pytest.mark.parametrize(("current", "wanted"), [each for each in MOVES if each[1] in INSTANCE_TRANSITIONS[each[0]]])
def test_a_legal_move_of_an_instance_is_made_and_stamped(
    store: Store, other: Store, clock: SettableClock, current: InstanceStatus, wanted: InstanceStatus
) -> None:
    key, before = with_status(store, current)
    now = clock.advance(hours=1)
    moved = move(store, key, before.instance_id, wanted)
    began = now if wanted is InstanceStatus.RUNNING and before.start_time is None else before.start_time
    ended = now if wanted in FINAL_OF_INSTANCES else None
    assert columns_of(moved) == columns_of(before) | {"status": wanted, "start_time": began, "end_time": ended}
    assert columns_of(other.query(arenas.get_instance, key, before.instance_id)) == columns_of(moved)


@pytest.mark.parametrize(
    ("current", "wanted"),
    [each for each in MOVES if each[1] not in INSTANCE_TRANSITIONS[each[0]] and each[0] is not each[1]],
)
def test_an_illegal_move_of_an_instance_is_refused_with_the_legal_ones(
    store: Store, other: Store, current: InstanceStatus, wanted: InstanceStatus
) -> None:
    key, before = with_status(store, current)
    with pytest.raises(IllegalTransition) as caught:
        move(store, key, before.instance_id, wanted)
    assert (caught.value.entity, caught.value.key) == ("instance", (key, before.instance_id))
    assert (caught.value.current, caught.value.wanted) == (current, wanted)
    assert caught.value.allowed == INSTANCE_TRANSITIONS[current]
    assert columns_of(other.query(arenas.get_instance, key, before.instance_id)) == columns_of(before)


@pytest.mark.parametrize("status", InstanceStatus)
def test_setting_an_instance_to_its_current_status_changes_nothing(
    store: Store, other: Store, clock: SettableClock, status: InstanceStatus
) -> None:
    key, before = with_status(store, status)
    kept = dump(other)
    clock.advance(hours=1)
    assert columns_of(move(store, key, before.instance_id, status)) == columns_of(before)
    assert dump(other) == kept


@pytest.mark.parametrize(
    ("word", "status"),
    [("active", "running"), ("Running", "running"), ("error", "failed"), ("ERROR", "failed")],
)
def test_instance_statuses_of_other_systems_are_translated(
    store: Store, other: Store, race: str, word: str, status: str
) -> None:
    move(store, race, 0, word)
    assert other.query(arenas.get_instance, race, 0).status == status


def test_an_instance_status_of_idle_is_read_as_pending(store: Store) -> None:
    (instance,) = create(store, agent("a", status="idle")).instances
    assert instance.status is InstanceStatus.PENDING


def test_a_resumed_instance_keeps_its_first_start_time(store: Store, race: str, clock: SettableClock) -> None:
    began = clock.advance(minutes=1)
    move(store, race, 0, "running")
    clock.advance(minutes=1)
    move(store, race, 0, "completed")
    clock.advance(minutes=1)
    again = move(store, race, 0, "running")
    assert (again.start_time, again.end_time) == (began, None)


def test_the_first_instance_to_begin_sets_its_session_running(store: Store, other: Store, race: str) -> None:
    move(store, race, 1, "running")
    first = other.query(sessions.get, race)
    move(store, race, 0, "running", "paused")
    assert first.status is SessionStatus.RUNNING
    assert other.query(sessions.get, race).version == first.version


@pytest.mark.parametrize("status", [each for each in SessionStatus if each is not SessionStatus.CREATED])
def test_an_instance_that_begins_leaves_a_session_in_another_status_alone(
    store: Store, other: Store, status: SessionStatus
) -> None:
    with store.begin() as uow:
        key = SessionFactory.create(uow=uow, kind="debate", status=status).id
        ArenaFactory.create(uow=uow, session_id=key)
        InstanceFactory.create(uow=uow, session_id=key, instance_id=0)
    move(store, key, 0, "running")
    assert other.query(sessions.get, key).status is status


# Diff and output


def test_a_new_diff_of_an_instance_replaces_the_last(store: Store, other: Store, race: str) -> None:
    store.run(arenas.record_diff, race, 1, files_changed=1, lines_added=2, lines_deleted=3)
    changed = store.run(arenas.record_diff, race, 1, files_changed=4, lines_added=0, lines_deleted=arenas.MAX_DIFF)
    assert (changed.files_changed, changed.lines_added, changed.lines_deleted) == (4, 0, arenas.MAX_DIFF)
    assert columns_of(other.query(arenas.get_instance, race, 1)) == columns_of(changed)


def test_a_new_output_of_an_instance_replaces_the_last(store: Store, other: Store, race: str) -> None:
    store.run(arenas.set_output, race, 1, "x" * 1_000_000)
    assert other.query(arenas.get_instance, race, 1).output == "x" * 1_000_000
    store.run(arenas.set_output, race, 1, "")
    assert other.query(arenas.get_instance, race, 1).output == ""


every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@every_write
def test_a_write_to_an_instance_leaves_other_instances_alone(
    store: Store, other: Store, race: str, write: Callable[..., Instance]
) -> None:
    elsewhere = create(store, agent("a"), agent("b")).session.id

    def others() -> list[Instance]:
        all_ = [*other.query(arenas.instances, race), *other.query(arenas.instances, elsewhere)]
        return [each for each in all_ if (each.session_id, each.instance_id) != (race, 1)]

    before = others()
    store.run(write, race, 1)
    assert others() == before


@every_write
def test_a_write_to_an_instance_is_activity_of_the_session(
    store: Store, other: Store, race: str, clock: SettableClock, write: Callable[..., Instance]
) -> None:
    now = clock.advance(hours=1)
    store.run(write, race, 1)
    assert other.query(sessions.get, race).last_activity_at == now


@pytest.mark.parametrize(
    "refused",
    [
        *[lambda uow, key, write=write: write(uow, key, 3) for write in WRITES.values()],
        lambda uow, key: arenas.set_instance_status(uow, key, 0, "completed"),
        lambda uow, key: arenas.add_instance(uow, key, agent("d", instance_id=2)),
    ],
    ids=[*[f"{name} of none" for name in WRITES], "an illegal move", "a number that is taken"],
)
def test_a_refused_write_to_an_instance_is_no_activity_of_the_session(
    store: Store, other: Store, race: str, clock: SettableClock, refused: Callable[..., object]
) -> None:
    before = dump(other)
    clock.advance(hours=1)
    with store.begin() as uow, pytest.raises(StoreError):
        refused(uow, race)
    assert dump(other) == before


@every_write
def test_a_missing_instance_is_refused_and_leaves_the_unit_of_work_usable(
    store: Store, other: Store, race: str, write: Callable[..., Instance]
) -> None:
    with store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            write(uow, race, 3)
        write(uow, race, 1)
    assert (caught.value.entity, caught.value.key) == ("instance", (race, 3))
    assert columns_of(other.query(arenas.get_instance, race, 1)) != columns_of(
        other.query(arenas.get_instance, race, 0)
    )


@pytest.mark.parametrize(
    "write",
    [
        *WRITES.values(),
        lambda uow, key, _: arenas.add_instance(uow, key, agent()),
        lambda uow, key, _: arenas.finish(uow, key),
        lambda uow, key, _: arenas.get(uow, key),
    ],
    ids=[*WRITES, "add_instance", "finish", "get"],
)
def test_a_write_to_an_instance_of_a_missing_session_is_refused(
    lasting_store: Store, write: Callable[..., object]
) -> None:
    with pytest.raises(NotFound, match="no session 'nowhere'"):
        lasting_store.run(write, "nowhere", 0)


@pytest.mark.parametrize("instance_id", [*BAD_COUNTS, *cases(nothing=None)])
@pytest.mark.parametrize("operation", [*WRITES.values(), arenas.get_instance], ids=[*WRITES, "get_instance"])
def test_an_invalid_instance_number_is_refused(
    lasting_store: Store, lasting_race: str, operation: Callable[..., object], instance_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, lasting_race, instance_id)
    assert caught.value.field == "instance_id"


@pytest.mark.parametrize(
    ("field", "value"),
    fields(
        files_changed=[*BAD_DIFFS, *cases(nothing=None)],
        lines_added=[*BAD_DIFFS, *cases(nothing=None)],
        lines_deleted=[*BAD_DIFFS, *cases(nothing=None)],
    ),
)
def test_an_invalid_diff_of_an_instance_is_refused(
    lasting_store: Store, lasting_race: str, field: str, value: Any
) -> None:
    diff = {"files_changed": 1, "lines_added": 1, "lines_deleted": 1, field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.record_diff, lasting_race, 0, **diff)
    assert caught.value.field == field


@pytest.mark.parametrize("output", [*BAD_TEXTS, *cases(nothing=None)])
def test_an_invalid_output_of_an_instance_is_refused(lasting_store: Store, lasting_race: str, output: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.set_output, lasting_race, 0, output)
    assert caught.value.field == "output"


@pytest.mark.parametrize("session_id", BAD_IDS)
@pytest.mark.parametrize(
    "operation",
    [
        *[lambda uow, key, write=write: write(uow, key, 0) for write in WRITES.values()],
        lambda uow, key: arenas.add_instance(uow, key, agent()),
        lambda uow, key: arenas.get_instance(uow, key, 0),
        arenas.finish,
        arenas.get,
        arenas.find,
        arenas.instances,
        arenas.instance_count,
        arenas.runtimes,
    ],
    ids=[
        *WRITES,
        *("add_instance", "get_instance", "finish", "get", "find", "instances", "instance_count", "runtimes"),
    ],
)
def test_an_instance_write_to_an_invalid_session_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, session_id)
    assert caught.value.field == "session_id"
