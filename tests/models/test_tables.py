"""The table classes: what a row must be, whoever writes it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from vibeweaver_store import InvalidInput, NotFound, SessionKind, Store, sessions
from vibeweaver_store.models import METADATA
from vibeweaver_store.testing import (
    HistoryEntryFactory,
    MarkerFactory,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
    columns_of,
)

FACTORIES: list[type[RowFactory[Any]]] = [RuleFactory, MarkerFactory, HistoryEntryFactory, SnapshotFactory]


@pytest.mark.parametrize("kind", [kind for kind in SessionKind if kind is not SessionKind.JAM])
def test_a_session_of_another_kind_may_go_without_a_tempo(store: Store, other: Store, kind: SessionKind) -> None:
    with store.begin() as uow:
        made = SessionFactory.create(uow=uow, kind=kind, tempo_bpm=None)
    assert made.tempo_bpm is None
    assert columns_of(other.query(sessions.get, made.id)) == columns_of(made)


def test_a_jam_without_a_tempo_is_refused_by_the_table(store: Store) -> None:
    with store.begin() as uow:
        SessionFactory.create(uow=uow)
    with pytest.raises(InvalidInput, match="ck_sessions_jam_has_tempo"), store.begin() as uow:
        uow.execute(sa.text("UPDATE sessions SET tempo_bpm = NULL"))


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_row_of_a_session_that_is_not_there_is_refused_by_the_table(
    store: Store, factory: type[RowFactory[Any]]
) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        factory.create(uow=uow, session_id="nowhere")


@pytest.mark.parametrize(
    ("factory", "assignment", "constraint"),
    [
        (RuleFactory, "priority = 5", "ck_rules_priority"),
        (RuleFactory, "fired_count = -1, last_fired_at = created_at", "ck_rules_fired_count"),
        (RuleFactory, "fired_count = 1", "ck_rules_fired_has_time"),
        (RuleFactory, "last_fired_at = created_at", "ck_rules_fired_has_time"),
        (MarkerFactory, "beat = -0.5", "ck_markers_beat"),
        (MarkerFactory, "name = ''", "ck_markers_name"),
        (HistoryEntryFactory, "action = ''", "ck_history_action"),
        (SnapshotFactory, "size_bytes = size_bytes + 1", "ck_snapshots_size_bytes"),
        (SnapshotFactory, "sha256 = 'short'", "ck_snapshots_sha256"),
    ],
)
def test_what_a_row_must_be_is_checked_by_the_table(
    store: Store, factory: type[RowFactory[Any]], assignment: str, constraint: str
) -> None:
    with store.begin() as uow:
        table = factory.create(uow=uow).__tablename__
    with pytest.raises(InvalidInput, match=constraint), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE {table} SET {assignment}"))


def test_every_constraint_and_index_has_a_name_from_the_convention() -> None:
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
