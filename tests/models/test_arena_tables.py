"""The tables of messages and arenas, and the view over them: what the database itself sees to, whoever writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.services.scene import make
from vibeweaver_store import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    SessionComplete,
    SessionKind,
    SessionStatus,
    Store,
    StoreError,
    UnitOfWork,
    arenas,
    sessions,
)
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    ArenaRuntimeFactory,
    InstanceFactory,
    MessageFactory,
    RowFactory,
    SessionFactory,
    WorkspaceFactory,
    columns_of,
)

FACTORIES: list[type[RowFactory[Any]]] = [MessageFactory, ArenaFactory, ArenaRuntimeFactory, InstanceFactory]

# CHECKs, keys and foreign keys


@pytest.mark.parametrize(
    ("factory", "assignment", "constraint"),
    [
        (MessageFactory, "role = 'robot'", "ck_messages_role"),
        (MessageFactory, "public_id = ''", "ck_messages_public_id"),
        (MessageFactory, "content = ''", "ck_messages_content"),
        (MessageFactory, "instance_id = -1", "ck_messages_instance_id"),
        (ArenaFactory, "task = ''", "ck_arenas_task"),
        (ArenaFactory, "timeout_seconds = -0.5", "ck_arenas_timeout_seconds"),
        (ArenaFactory, "total_duration_seconds = -0.5", "ck_arenas_totals"),
        (ArenaFactory, "total_files_changed = -1", "ck_arenas_totals"),
        (ArenaFactory, "total_lines_added = -1", "ck_arenas_totals"),
        (ArenaFactory, "total_lines_deleted = -1", "ck_arenas_totals"),
        (ArenaRuntimeFactory, "runtime = ''", "ck_arena_runtimes_runtime"),
        (InstanceFactory, "status = 'idle'", "ck_instances_status"),
        (InstanceFactory, "instance_id = -1", "ck_instances_instance_id"),
        (InstanceFactory, "end_time = '2026-01-01T00:00:00.000000Z'", "ck_instances_final_has_time"),
        (InstanceFactory, "status = 'failed'", "ck_instances_final_has_time"),
        (InstanceFactory, "files_changed = -1", "ck_instances_diff"),
        (InstanceFactory, "lines_added = -1", "ck_instances_diff"),
        (InstanceFactory, "lines_deleted = -1", "ck_instances_diff"),
    ],
)
def test_arena_tables_check_their_constraints(
    store: Store, factory: type[RowFactory[Any]], assignment: str, constraint: str
) -> None:
    table = make(store, factory).__tablename__
    with pytest.raises(InvalidInput, match=constraint), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE {table} SET {assignment}"))


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_arena_flag_is_0_or_1_on_sqlite(store: Store) -> None:
    make(store, ArenaFactory)
    with pytest.raises(InvalidInput, match="ck_arenas_preserve_worktrees"), store.begin() as uow:
        uow.execute(sa.text("UPDATE arenas SET preserve_worktrees = 2"))


NOT_NULL = {
    MessageFactory: ["public_id", "session_id", "role", "content", "created_at"],
    ArenaFactory: ["session_id", "task"],
    ArenaRuntimeFactory: ["session_id", "runtime"],
    InstanceFactory: [
        *("session_id", "instance_id", "worktree_path", "branch", "agent_name", "status", "tmux_session_id"),
    ],
}


@pytest.mark.parametrize(
    ("factory", "column"), [(factory, column) for factory, columns in NOT_NULL.items() for column in columns]
)
def test_arena_tables_require_their_columns(store: Store, factory: type[RowFactory[Any]], column: str) -> None:
    table = make(store, factory).__tablename__
    with pytest.raises(InvalidInput, match=column), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE {table} SET {column} = NULL"))


@pytest.mark.parametrize("factory", FACTORIES)
def test_arena_tables_refuse_a_row_of_a_missing_session(store: Store, factory: type[RowFactory[Any]]) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        factory.create(uow=uow, session_id="nowhere")


@pytest.mark.parametrize(
    ("factory", "key"),
    [
        (MessageFactory, {"public_id": "first"}),
        (ArenaFactory, {}),
        (ArenaRuntimeFactory, {"runtime": "claude"}),
        (InstanceFactory, {"instance_id": 0}),
    ],
)
def test_keys_of_arena_tables_are_unique_per_session(
    store: Store, factory: type[RowFactory[Any]], key: dict[str, Any]
) -> None:
    first = make(store, factory, **key)
    make(store, factory, **key)
    with pytest.raises(AlreadyExists), store.begin() as uow:
        factory.create(uow=uow, session_id=first.session_id, **key)


def test_an_arena_winner_is_an_instance_of_the_same_session(store: Store) -> None:
    arena, elsewhere = make(store, ArenaFactory), make(store, InstanceFactory)
    with pytest.raises(NotFound), store.begin() as uow:
        uow.execute(
            sa.text("UPDATE arenas SET winner_instance_id = :winner WHERE session_id = :key"),
            {"winner": elsewhere.instance_id, "key": arena.session_id},
        )


def test_the_winning_instance_of_an_arena_cannot_be_deleted(store: Store) -> None:
    won = make(store, InstanceFactory)
    make(store, ArenaFactory, session_id=won.session_id, winner_instance_id=won.instance_id)
    with pytest.raises(StoreError), store.begin() as uow:
        uow.execute(sa.text("DELETE FROM instances"))


@pytest.mark.parametrize("factory", FACTORIES)
def test_rows_of_arena_tables_are_deleted_with_their_session(
    store: Store, other: Store, factory: type[RowFactory[Any]]
) -> None:
    gone, kept = make(store, factory), make(store, factory)
    store.run(sessions.delete, gone.session_id)
    with other.read() as uow:
        left = uow.execute(sa.text(f"SELECT session_id FROM {gone.__tablename__}")).scalars().all()
    assert left == [kept.session_id]


# The view: one row a session, whatever hangs on it


def rows(store: Store) -> dict[str, SessionComplete]:
    with store.read() as uow:
        return {row.id: row for row in uow.exec(select(SessionComplete))}


def test_the_session_view_has_a_row_for_an_empty_jam(store: Store, other: Store) -> None:
    jam = make(store, SessionFactory, vibe="dub")
    row = rows(other)[jam.id]
    assert columns_of(row) == {
        "id": jam.id,
        "workspace_id": None,
        "workspace_path": None,
        "kind": SessionKind.JAM,
        "name": jam.name,
        "vibe": "dub",
        "task": None,
        "status": SessionStatus.CREATED,
        "agent_status": None,
        "created_at": EPOCH,
        "updated_at": EPOCH,
        "completed_at": None,
        "model": None,
        "timeout_seconds": None,
        "preserve_worktrees": None,
        "winner_instance_id": None,
        "total_duration_seconds": None,
        "total_files_changed": None,
        "total_lines_added": None,
        "total_lines_deleted": None,
        "instance_count": 0,
        "message_count": 0,
        "runtime_mix": None,
    }


def test_the_session_view_has_a_whole_row_for_an_arena(store: Store, other: Store) -> None:
    with store.begin() as uow:
        workspace = WorkspaceFactory.create(uow=uow)
        session = SessionFactory.create(
            uow=uow, kind="ensemble", status="completed", workspace_id=workspace.id, tempo_bpm=None
        )
        InstanceFactory.create(uow=uow, session_id=session.id, instance_id=3, status="completed")
        arena = ArenaFactory.create(
            uow=uow,
            session_id=session.id,
            timeout_seconds=60.0,
            preserve_worktrees=True,
            winner_instance_id=3,
            total_duration_seconds=1.5,
            total_files_changed=1,
            total_lines_added=2,
            total_lines_deleted=3,
        )
        for runtime in ("codex", "claude"):
            ArenaRuntimeFactory.create(uow=uow, session_id=session.id, runtime=runtime)
    row = columns_of(rows(other)[session.id])
    of_session = {name: value for name, value in columns_of(session).items() if name in row}
    of_arena = {name: value for name, value in columns_of(arena).items() if name in row}
    assert row == of_session | of_arena | {
        "workspace_path": workspace.path,
        "instance_count": 1,
        "message_count": 0,
        "runtime_mix": "claude,codex",
    }


SIZES = [(0, 0, 0), (1, 0, 0), (0, 3, 0), (0, 0, 2), (1, 1, 1), (5, 0, 2), (4, 7, 3), (0, 9, 4), (10, 10, 0)]
"""How many instances, messages and runtimes a session has."""


def fill(uow: UnitOfWork, size: tuple[int, int, int]) -> str:
    session_id: str = SessionFactory.create(uow=uow, kind="debate").id
    ArenaFactory.create(uow=uow, session_id=session_id)
    factories: list[Callable[..., Any]] = [InstanceFactory.create, MessageFactory.create, ArenaRuntimeFactory.create]
    for create, count in zip(factories, size, strict=True):
        for _ in range(count):
            create(uow=uow, session_id=session_id)
    return session_id


def test_the_session_view_counts_instances_messages_and_runtimes_separately(store: Store, other: Store) -> None:
    with store.begin() as uow:
        made = {fill(uow, size): size for size in SIZES}
    found = rows(other)
    mixes = {key: (found[key].runtime_mix or "").split(",") if found[key].runtime_mix else [] for key in made}
    counted = {key: (found[key].instance_count, found[key].message_count, len(mixes[key])) for key in made}
    assert counted == made
    assert [mixes[key] for key in made] == [other.query(arenas.runtimes, key) for key in made]


def test_the_session_view_can_be_filtered_and_sorted_as_a_table(store: Store) -> None:
    with store.begin() as uow:
        keys = [fill(uow, size) for size in SIZES]
    statement = select(SessionComplete).where(col(SessionComplete.message_count) > 5).order_by(col(SessionComplete.id))
    with store.read() as uow:
        assert [row.id for row in uow.exec(statement)] == sorted([keys[6], keys[7], keys[8]])
