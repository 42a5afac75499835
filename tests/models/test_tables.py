"""The table classes: what a row must be, whoever writes it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from vibeweaver_store import AlreadyExists, InvalidInput, NotFound, SessionKind, SessionStatus, Store, sessions
from vibeweaver_store.models import METADATA
from vibeweaver_store.models.session import FINAL
from vibeweaver_store.testing import (
    HistoryEntryFactory,
    MarkerFactory,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
    WorkspaceFactory,
    columns_of,
)

FACTORIES: list[type[RowFactory[Any]]] = [RuleFactory, MarkerFactory, HistoryEntryFactory, SnapshotFactory]


@pytest.mark.parametrize("kind", [kind for kind in SessionKind if kind is not SessionKind.JAM])
def test_the_table_of_sessions_allows_other_kinds_than_jams_without_a_tempo(
    store: Store, other: Store, kind: SessionKind
) -> None:
    with store.begin() as uow:
        made = SessionFactory.create(uow=uow, kind=kind, tempo_bpm=None)
    assert made.tempo_bpm is None
    assert columns_of(other.query(sessions.get, made.id)) == columns_of(made)


@pytest.mark.parametrize("status", SessionStatus)
def test_the_table_of_sessions_has_an_end_time_exactly_for_finished_ones(store: Store, status: SessionStatus) -> None:
    with store.begin() as uow:
        assert (SessionFactory.create(uow=uow, status=status).completed_at is not None) == (status in FINAL)
    other_way = "created_at" if status not in FINAL else "NULL"
    with pytest.raises(InvalidInput, match="ck_sessions_final_has_time"), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE sessions SET completed_at = {other_way}"))


def test_the_table_of_workspaces_has_a_path_once(store: Store) -> None:
    with store.begin() as uow:
        WorkspaceFactory.create(uow=uow, path="/srv/shop")
    with pytest.raises(AlreadyExists, match="path"), store.begin() as uow:
        WorkspaceFactory.create(uow=uow, path="/srv/shop")


def test_deleting_a_workspace_deletes_its_sessions(store: Store, other: Store) -> None:
    with store.begin() as uow:
        workspace = WorkspaceFactory.create(uow=uow)
        doomed = SessionFactory.create(uow=uow, workspace_id=workspace.id)
        kept = SessionFactory.create(uow=uow)
        uow.execute(sa.text("DELETE FROM workspaces"))
    assert other.query(sessions.find, doomed.id) is None
    assert other.query(sessions.find, kept.id) is not None


@pytest.mark.parametrize("factory", FACTORIES)
def test_session_tables_refuse_a_row_of_a_missing_session(store: Store, factory: type[RowFactory[Any]]) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        factory.create(uow=uow, session_id="nowhere")


@pytest.mark.parametrize(
    ("factory", "assignment", "constraint"),
    [
        (RuleFactory, "priority = 5", "ck_rules_priority"),
        (RuleFactory, "fired_count = -1, last_fired_at = created_at", "ck_rules_fired_count"),
        (RuleFactory, "fired_count = 1", "ck_rules_fired_has_time"),
        (RuleFactory, "last_fired_at = created_at", "ck_rules_fired_has_time"),
        (MarkerFactory, "name = ''", "ck_markers_name"),
        (HistoryEntryFactory, "action = ''", "ck_history_action"),
        (SnapshotFactory, "size_bytes = size_bytes + 1", "ck_snapshots_size_bytes"),
        (SnapshotFactory, "sha256 = 'short'", "ck_snapshots_sha256"),
        (SessionFactory, "kind = 'concert'", "ck_sessions_kind"),
        (SessionFactory, "status = 'active'", "ck_sessions_status"),
        (SessionFactory, "agent_status = 'running'", "ck_sessions_agent_status"),
        (SessionFactory, "id = ''", "ck_sessions_id"),
        (SessionFactory, "working_dir = ''", "ck_sessions_working_dir"),
        (SessionFactory, "version = 0", "ck_sessions_version"),
        (SessionFactory, "tempo_bpm = 1000", "ck_sessions_tempo_bpm"),
        (SessionFactory, "tempo_bpm = NULL", "ck_sessions_jam_has_tempo"),
        (SessionFactory, "kind = 'agent'", "ck_sessions_agent_has_working_dir"),
        (SessionFactory, "completed_at = created_at", "ck_sessions_final_has_time"),
        (WorkspaceFactory, "id = ''", "ck_workspaces_id"),
        (WorkspaceFactory, "path = ''", "ck_workspaces_path"),
        (WorkspaceFactory, "path_hash = 'short'", "ck_workspaces_path_hash"),
    ],
)
def test_session_tables_check_their_constraints(
    store: Store, factory: type[RowFactory[Any]], assignment: str, constraint: str
) -> None:
    with store.begin() as uow:
        table = factory.create(uow=uow).__tablename__
    with pytest.raises(InvalidInput, match=constraint), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE {table} SET {assignment}"))


def test_the_beat_of_a_marker_is_finite_by_its_table(store: Store, backend: str) -> None:
    infinite = "9e999" if backend == "sqlite" else "'Infinity'"
    with store.begin() as uow:
        MarkerFactory.create(uow=uow)
    with pytest.raises(InvalidInput, match="ck_markers_beat"), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE markers SET beat = {infinite}"))


def test_every_declared_constraint_and_index_has_a_conventional_name() -> None:
    named: dict[type, str] = {
        sa.PrimaryKeyConstraint: "pk_",
        sa.ForeignKeyConstraint: "fk_",
        sa.CheckConstraint: "ck_",
        sa.UniqueConstraint: "uq_",
    }
    odd = [
        (table.name, name)
        for table in METADATA.sorted_tables
        for each in (*table.constraints, *table.indexes)
        if not (name := str(getattr(each, "name", None))).startswith(f"{named.get(type(each), 'ix_')}{table.name}")
    ]
    assert odd == []
