"""Arenas: several agents on one task, made, finished and read as one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.conftest import recorded_statements
from tests.services.arena_scene import (
    BAD_TASKS,
    TASK,
    WRITES,
    agent,
    but,
    create,
    fields,
    run_all,
)
from tests.services.bad_input import (
    BAD_IDS,
    BAD_NAMES,
    BAD_NUMBERS,
    VERBATIM,
    any_name,
    cases,
)
from tests.services.plans import indexes_of, recorded, sqlite_plan
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    AlreadyExists,
    InstanceStatus,
    InvalidInput,
    NotFound,
    SessionKind,
    SessionStatus,
    Store,
    arenas,
    messages,
    sessions,
    workspaces,
)
from vibeweaver_store.models.arena import FINAL_OF_INSTANCES
from vibeweaver_store.testing import (
    EPOCH,
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


# Create


def test_a_new_arena_is_read_back_as_it_was_made(store: Store, other: Store) -> None:
    made = create(store, agent("a"), agent("b"), runtimes=["claude", "codex"])
    found = other.query(arenas.get, made.session.id)
    assert columns_of(found.session) == columns_of(made.session)
    assert columns_of(found.arena) == columns_of(made.arena)
    assert [columns_of(each) for each in found.instances] == [columns_of(each) for each in made.instances]
    assert found.runtimes == made.runtimes == ["claude", "codex"]


def test_a_new_arena_has_the_values_it_was_given(
    store: Store, other: Store, tmp_path: Path, clock: SettableClock
) -> None:
    made = store.run(
        arenas.create_arena,
        "ensemble",
        TASK,
        tmp_path,
        name="auth",
        model="claude-sonnet-4-5",
        timeout_seconds=600,
        preserve_worktrees=False,
        session_id="auth-1",
        working_dir="/srv/project",
        attributes={"ticket": 7},
    )
    found = other.query(arenas.get, "auth-1")
    workspace = other.query(workspaces.find_by_path, tmp_path)
    assert workspace is not None
    session, arena = found.session, found.arena
    assert (session.kind, session.name, session.status) == (SessionKind.ENSEMBLE, "auth", SessionStatus.CREATED)
    assert (session.working_dir, session.workspace_id) == ("/srv/project", workspace.id)
    assert (session.attributes, session.created_at) == ({"ticket": 7}, clock.instant)
    assert (arena.task, arena.model, arena.timeout_seconds) == (TASK, "claude-sonnet-4-5", 600.0)
    assert (arena.preserve_worktrees, arena.winner_instance_id, arena.total_duration_seconds) == (False, None, None)
    assert made.session.id == "auth-1"


def test_a_new_instance_has_the_values_it_was_given(store: Store, other: Store) -> None:
    at = EPOCH + timedelta(hours=1)
    given: dict[str, Any] = {
        "agent_name": "backend-developer",
        "worktree_path": "/srv/worktrees/3",
        "branch": "agent/3",
        "instance_id": 3,
        "tmux_session_id": "arena-3",
        "status": InstanceStatus.FAILED,
        "runtime": "claude",
        "model": "opus",
        "runtime_label": "Claude Code",
        "output": "…",
        "start_time": at,
        "end_time": at + timedelta(minutes=5),
        "files_changed": 1,
        "lines_added": 2,
        "lines_deleted": 3,
    }
    made = create(store, arenas.NewInstance(**given))
    (found,) = other.query(arenas.instances, made.session.id)
    assert columns_of(found) == given | {"session_id": made.session.id, "import_id": None}


def test_a_new_instance_is_pending_by_default(store: Store, race: str) -> None:
    found = store.query(arenas.get_instance, race, 0)
    unknown = ("start_time", "end_time", "files_changed", "lines_added", "lines_deleted", "runtime", "model", "output")
    assert found.status is InstanceStatus.PENDING
    assert [getattr(found, name) for name in unknown] == [None] * len(unknown)
    assert found.tmux_session_id == ""


@pytest.mark.parametrize("kind", arenas.KINDS)
def test_an_arena_can_be_of_each_of_the_three_kinds(lasting_store: Store, kind: SessionKind) -> None:
    made = lasting_store.run(arenas.create_arena, kind.value, TASK, None)
    assert (made.session.kind, made.session.tempo_bpm, made.session.workspace_id) == (kind, None, None)
    assert (made.instances, made.runtimes) == ([], [])


def test_an_arena_joins_the_existing_workspace_of_its_path(store: Store, tmp_path: Path) -> None:
    there = store.run(workspaces.ensure, tmp_path)
    made = [store.run(arenas.create_arena, "debate", TASK, path) for path in (tmp_path, f"{tmp_path}/")]
    assert [each.session.workspace_id for each in made] == [there.id] * 2


def test_instances_are_numbered_from_0_in_the_order_given(store: Store) -> None:
    made = create(store, agent("c"), agent("a"), agent("b"))
    assert [(each.instance_id, each.agent_name) for each in made.instances] == [(0, "c"), (1, "a"), (2, "b")]


def test_an_instance_without_a_number_follows_the_greatest_so_far(store: Store) -> None:
    made = create(store, agent("a", instance_id=4), agent("b"), agent("c", instance_id=1), agent("d"))
    assert [(each.instance_id, each.agent_name) for each in made.instances] == [
        (1, "c"),
        (4, "a"),
        (5, "b"),
        (6, "d"),
    ]


def test_an_arena_with_two_instances_of_one_number_is_refused(store: Store, other: Store) -> None:
    with pytest.raises(AlreadyExists) as caught:
        create(store, agent("a", instance_id=1), agent("b", instance_id=1), session_id="race")
    assert (caught.value.entity, caught.value.key) == ("instance", ("race", 1))
    assert other.query(sessions.find, "race") is None


def test_a_runtime_named_twice_is_in_the_arena_once(store: Store, other: Store) -> None:
    made = create(store, runtimes=["codex", "claude", "codex"])
    assert other.query(arenas.runtimes, made.session.id) == ["claude", "codex"]


def test_a_new_running_instance_begins_now_and_sets_its_session_running(store: Store, clock: SettableClock) -> None:
    made = create(store, agent("a", status="active"), agent("b"))
    assert made.session.status is SessionStatus.RUNNING
    assert [(each.status, each.start_time) for each in made.instances] == [
        (InstanceStatus.RUNNING, clock.instant),
        (InstanceStatus.PENDING, None),
    ]


@pytest.mark.parametrize("status", FINAL_OF_INSTANCES)
def test_a_new_finished_instance_ends_now(store: Store, clock: SettableClock, status: InstanceStatus) -> None:
    (instance,) = create(store, agent("a", status=status)).instances
    assert (instance.start_time, instance.end_time) == (None, clock.instant)


@pytest.mark.parametrize("status", [each for each in InstanceStatus if each not in FINAL_OF_INSTANCES])
def test_a_new_unfinished_instance_has_no_end(lasting_store: Store, status: InstanceStatus) -> None:
    with pytest.raises(InvalidInput) as caught:
        create(lasting_store, agent("a", status=status, end_time=EPOCH))
    assert caught.value.field == "end_time"


def test_creating_an_arena_takes_one_statement_per_table(store: Store) -> None:
    with recorded_statements(store) as few:
        create(store, agent("0"), agent("1"))
    with recorded_statements(store) as many:
        create(store, *[agent(str(n)) for n in range(100)])
    assert len(few) == len(many)


# What it is called


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("Fix the bug", "Fix the bug"),
        ("  Fix the bug \n\nIt crashes.", "Fix the bug"),
        ("\n \r\n\u2028Fix the bug\r\nIt crashes.", "Fix the bug"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 119 + "…"),
        ("x" * 118 + " yz", "x" * 118 + "…"),
        ("🥁" * 500, "🥁" * 119 + "…"),
    ],
)
def test_an_arena_session_is_named_after_the_first_line_of_its_task(lasting_store: Store, task: str, name: str) -> None:
    made = lasting_store.run(arenas.create_arena, "debate", task, None)
    assert (made.session.name, made.arena.task) == (name, task)


@given(task=any_name)
def test_any_arena_task_gives_a_valid_session_name(lasting_store: Store, task: str) -> None:
    made = lasting_store.run(arenas.create_arena, "debate", task, None)
    assert made.session.name == arenas.name_of(task)
    assert (made.arena.task, "\n" in made.session.name) == (task, False)


@pytest.mark.parametrize("text", VERBATIM)
def test_arena_texts_are_kept_verbatim(lasting_store: Store, text: str) -> None:
    new = arenas.NewInstance(
        agent_name=text,
        worktree_path=text,
        branch=text,
        tmux_session_id=text,
        runtime=text,
        model=text,
        runtime_label=text,
        output=text,
    )
    key = lasting_store.run(
        arenas.create_arena, "debate", text, None, instances=[new], runtimes=[text], name=text, model=text
    ).session.id
    found = lasting_store.query(arenas.get, key)
    (instance,) = found.instances
    assert {found.session.name, found.arena.task, found.arena.model, *found.runtimes} == {text}
    names = ("agent_name", "worktree_path", "branch", "tmux_session_id", "runtime", "model", "runtime_label", "output")
    assert {getattr(instance, name) for name in names} == {text}


# What is refused


@pytest.mark.parametrize("kind", ["jam", "agent", SessionKind.JAM])
def test_a_kind_without_an_arena_is_refused(lasting_store: Store, kind: str) -> None:
    with pytest.raises(InvalidInput, match="competition, ensemble, debate") as caught:
        lasting_store.run(arenas.create_arena, kind, TASK, None)
    assert caught.value.field == "kind"


@pytest.mark.parametrize("kind", cases(nothing=None, another="duel", empty="", true=True, a_number=1))
def test_an_invalid_arena_kind_is_refused(lasting_store: Store, kind: Any) -> None:
    with pytest.raises(InvalidInput, match="competition"):
        lasting_store.run(arenas.create_arena, kind, TASK, None)


@pytest.mark.parametrize(
    ("field", "value"),
    fields(
        task=BAD_TASKS,
        workspace=but(BAD_NAMES, "nothing", "too long", "too long in bytes"),
        name=but(BAD_NAMES, "nothing"),
        model=but(BAD_NAMES, "nothing"),
        timeout_seconds=[*but(BAD_NUMBERS, "nothing", "text", "true"), *cases(below_zero=-1)],
        preserve_worktrees=cases(one=1, text="true"),
        session_id=BAD_IDS,
        attributes=cases(a_list=[1], text="{}", nan={"a": float("nan")}),
        runtimes=cases(text="claude", nothing=None, a_number=[5], blank=[" "], nul=["a\0"], too_long=["x" * 1001]),
        instances=cases(nothing=None, a_dict=[{}], text="abc"),
    ),
)
def test_an_arena_with_an_invalid_value_is_refused_without_a_write(
    lasting_store: Store, lasting_other: Store, field: str, value: Any
) -> None:
    before = dump(lasting_other)
    values = {"kind": "debate", "task": TASK, "workspace": "/srv/refused", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(arenas.create_arena, **values)
    assert caught.value.field == {"session_id": "session_id", "workspace": "path"}.get(field, field)
    assert dump(lasting_other) == before


def test_an_arena_with_a_taken_session_id_is_refused_without_a_write(store: Store, other: Store, race: str) -> None:
    with store.begin() as uow:
        before = dump(other)
        with pytest.raises(AlreadyExists) as caught:
            arenas.create_arena(
                uow, "debate", TASK, "/srv/new", instances=[agent("x")], runtimes=["new"], session_id=race
            )
    assert (caught.value.entity, caught.value.key) == ("session", race)
    assert dump(other) == before


# Reads


def test_finding_the_arena_of_a_session_without_one_returns_none(store: Store) -> None:
    jam = make(store, SessionFactory)
    assert store.query(arenas.find, jam.id) is None
    assert store.query(arenas.instances, jam.id) == []
    assert store.query(arenas.runtimes, jam.id) == []
    with pytest.raises(NotFound) as caught:
        store.query(arenas.get, jam.id)
    assert (caught.value.entity, caught.value.key) == ("arena", jam.id)


def test_a_missing_arena_has_no_instances(lasting_store: Store) -> None:
    assert lasting_store.query(arenas.find, "nowhere") is None
    assert lasting_store.query(arenas.instances, "nowhere") == []
    assert lasting_store.query(arenas.instance_count, "nowhere") == 0


def test_the_error_for_a_missing_instance_names_its_session(lasting_store: Store, lasting_race: str) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.query(arenas.get_instance, lasting_race, 9)
    assert (caught.value.entity, caught.value.key) == ("instance", (lasting_race, 9))
    assert lasting_race in caught.value.message


def test_instances_are_sorted_by_number_not_by_text(store: Store) -> None:
    key = create(store, *[agent(str(n)) for n in range(12)]).session.id
    assert [each.instance_id for each in store.query(arenas.instances, key)] == list(range(12))


@pytest.mark.parametrize("count", [0, 1, 12])
def test_instances_are_counted_per_arena(store: Store, race: str, count: int) -> None:
    key = create(store, *[agent(str(n)) for n in range(count)]).session.id
    assert store.query(arenas.instance_count, key) == count


def test_instances_are_counted_without_being_read(lasting_store: Store, lasting_race: str) -> None:
    with recorded(lasting_store) as sent:
        lasting_store.query(arenas.instance_count, lasting_race)
    assert len(sent) == 1
    if lasting_store.backend == "sqlite":  # PostgreSQL reads a table of one block at once
        (step,) = sqlite_plan(lasting_store, sent[0])
        assert step.startswith("SEARCH instances USING COVERING INDEX")


@pytest.mark.parametrize("page_size", [1, 3, 100])
def test_instances_of_all_arenas_are_listed_by_status(store: Store, page_size: int) -> None:
    with store.begin() as uow:
        keys = sorted(SessionFactory.create(uow=uow, kind="debate").id for _ in range(3))
    made = [
        each
        for key in keys
        for each in make_many(
            store, InstanceFactory, *[{"instance_id": n, "status": list(InstanceStatus)[n % 5]} for n in range(12)],
            session_id=key,
        )
    ]  # fmt: skip
    for status in InstanceStatus:
        found = list(store.iterate(arenas.instances_by_status, status, limit=page_size))
        assert found == [each for each in made if each.status is status]
    page = store.query(arenas.instances_by_status, "active", limit=1)
    again = store.query(arenas.instances_by_status, "running", limit=1, cursor=page.next_cursor)
    assert again.items == [each for each in made if each.status is InstanceStatus.RUNNING][1:2]


def test_listing_instances_by_status_uses_the_index(lasting_store: Store, lasting_race: str) -> None:
    with recorded(lasting_store) as sent:
        lasting_store.query(arenas.instances_by_status, "pending")
    if lasting_store.backend == "sqlite":  # PostgreSQL reads a table of one block at once
        assert [index for each in sent for index in indexes_of(lasting_store, each)] == ["ix_instances_by_status"]
    assert len(sent) == 1


@pytest.mark.parametrize("count", [1, 100])
def test_an_arena_is_read_in_four_statements_however_many_instances_it_has(store: Store, count: int) -> None:
    key = create(store, *[agent(str(n)) for n in range(count)]).session.id
    with recorded_statements(store) as sent:
        assert len(store.query(arenas.get, key).instances) == count
    assert len(sent) == 4


# With its session


def test_deleting_its_session_deletes_the_whole_arena(store: Store, other: Store, race: str) -> None:
    kept = create(store, agent("kept"), runtimes=["kept"]).session.id
    run_all(store, race)
    store.run(arenas.finish, race, winner=1)
    store.run(messages.append, race, "assistant", "Done.", instance_id=1)
    store.run(sessions.delete, race)
    left = dump(other)
    assert {table for table, rows in left.items() if any(race in row for row in rows)} == set()
    assert len(other.query(arenas.get, kept).instances) == 1


def test_messages_of_each_instance_are_told_apart(store: Store, other: Store, race: str) -> None:
    with store.begin() as uow:
        messages.append(uow, race, "system", TASK)
        for n in range(3):
            messages.append(uow, race, "assistant", f"I am {n}.", instance_id=n)
    assert [each.content for each in messages.iterate(other, race, instance_id=1)] == ["I am 1."]
    assert other.query(messages.count, race) == 4


def test_each_write_to_an_arena_wakes_followers_of_its_session(store: Store, race: str) -> None:
    writes: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        *[(write, (race, 0)) for write in WRITES.values()],
        (arenas.set_instance_status, (race, 0, "completed")),
        (arenas.add_instance, (race, agent("d"))),
        (arenas.finish, (race,)),
    ]
    for write, arguments in writes:
        with store.begin() as uow:
            write(uow, *arguments)
            assert uow._topics == {sessions.topic(race)}
