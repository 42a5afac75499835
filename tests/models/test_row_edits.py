"""Edits of rows: validated when they are flushed, and refused with a typed error before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import BACKENDS
from tests.services.lasting import lasting_database
from tests.services.scene import make
from vibeweaver_store import (
    ImportStatus,
    InvalidInput,
    Priority,
    SessionStatus,
    Store,
    StoreError,
    Ticket,
    actions,
    triggers,
)
from vibeweaver_store.json_values import FrozenDict, FrozenList
from vibeweaver_store.models import METADATA, Base
from vibeweaver_store.models.actions import ActionType
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    ArenaRuntimeFactory,
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    GenerationStatsFactory,
    HistoryEntryFactory,
    ImportFactory,
    InstanceFactory,
    JobAttemptFactory,
    JobFactory,
    JournalEventFactory,
    MarkerFactory,
    MessageFactory,
    ProjectFactory,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
    TicketFactory,
    WorkerTypeFactory,
    WorkspaceFactory,
    columns_of,
)

FACTORIES: list[type[RowFactory[Any]]] = [
    *(ArenaFactory, ArenaRuntimeFactory, CommentFactory, CoordinationEventFactory, EnsembleWorkerFactory),
    *(GenerationStatsFactory, HistoryEntryFactory, ImportFactory, InstanceFactory, JobAttemptFactory, JobFactory),
    *(JournalEventFactory, MarkerFactory, MessageFactory, ProjectFactory, RuleFactory, SessionFactory),
    *(SnapshotFactory, TicketFactory, WorkerTypeFactory, WorkspaceFactory),
]

ODD: list[Any] = [
    *(None, "", " ", "x", "x" * 3000, "a\x00b", "\ud800", 0, -1, 2**63, 0.5, float("nan"), float("inf"), True),
    *([], ["zzz"], {}, {"type": "beat"}, {"type": "beat", "divisor": 2}, b"x", object(), timedelta(1)),
    *(datetime(2020, 1, 1), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),  # noqa: DTZ001 - a naive one
]


@pytest.fixture(scope="module", params=BACKENDS)
def lasting_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that tests share; each edits a row of its own."""
    with lasting_database(request, tmp_path_factory, request.param) as database, Store.open(database) as opened:
        yield opened


def found_again(uow: Any, row: Base) -> Any:
    """The same row, in another unit of work."""
    key = [getattr(row, each.name) for each in sa.inspect(type(row)).primary_key]
    return uow.get(type(row), key[0] if len(key) == 1 else tuple(key))


def edit(store: Store, row: Base, **values: Any) -> Any:
    """Set attributes of a row in a unit of work of its own; give the row as it is then."""
    with store.begin() as uow:
        edited = found_again(uow, row)
        for name, value in values.items():
            setattr(edited, name, value)
    return edited


def stored(store: Store, row: Base) -> Any:
    with store.read() as uow:
        return found_again(uow, row)


# Every column


def test_every_table_is_tried_here() -> None:
    assert {factory._meta.model.__tablename__ for factory in FACTORIES} == set(METADATA.tables)


class UndoneError(Exception):
    """Raised so that what was written is rolled back."""


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_edit_of_a_row_is_written_or_refused_with_a_typed_error(
    lasting_store: Store, factory: type[RowFactory[Any]]
) -> None:
    row = make(lasting_store, factory)
    before = columns_of(stored(lasting_store, row))
    for attribute in sa.inspect(type(row)).column_attrs:
        for value in ODD:
            # Neither another exception, nor a row that cannot be read back.
            with pytest.raises((StoreError, UndoneError)), lasting_store.begin() as uow:
                setattr(found_again(uow, row), attribute.key, value)
                uow.flush()
                uow.expire_all()
                assert uow.exec(select(type(row))).all()
                raise UndoneError
    assert columns_of(stored(lasting_store, row)) == before


# Single values


@pytest.mark.parametrize(
    ("factory", "values", "field"),
    [
        (SessionFactory, {"attributes": ["a"]}, "attributes"),
        (SessionFactory, {"attributes": None}, "attributes"),
        (SessionFactory, {"status": "asleep"}, "status"),
        (SessionFactory, {"name": "x" * 1001}, "name"),
        (SessionFactory, {"created_at": datetime(2026, 1, 1)}, "created_at"),  # noqa: DTZ001 - that is the case
        (JobFactory, {"progress": [1]}, "progress"),
        (JobFactory, {"data": {"a": {1}}}, "data"),
        (GenerationStatsFactory, {"sum_of_squares_ms2": float("inf")}, "sum_of_squares_ms2"),
        (MarkerFactory, {"metadata_": {"a": float("nan")}}, "metadata"),
        (RuleFactory, {"trigger": {"type": "beat"}}, "trigger"),
        (RuleFactory, {"trigger": "every beat"}, "trigger"),
        (RuleFactory, {"action": {"type": "explode"}}, "action"),
        (RuleFactory, {"session_id": 7}, "session_id"),
        (TicketFactory, {"execution_plan": "writer"}, "execution_plan"),
        (TicketFactory, {"execution_plan": []}, "execution_plan"),
        (TicketFactory, {"execution_plan": ["writer", "writer"]}, "execution_plan"),
        (ImportFactory, {"counts": [1]}, "counts"),
    ],
)
def test_a_value_that_is_refused_is_named(
    lasting_store: Store, factory: type[RowFactory[Any]], values: dict[str, Any], field: str
) -> None:
    row = make(lasting_store, factory)
    with pytest.raises(InvalidInput) as caught:
        edit(lasting_store, row, **values)
    assert caught.value.field == field
    assert columns_of(stored(lasting_store, row)) == columns_of(row)


def test_an_edited_row_has_the_values_that_are_read_back(lasting_store: Store) -> None:
    row = make(lasting_store, SessionFactory)
    berlin = timezone(timedelta(hours=1))
    edited = edit(
        lasting_store,
        row,
        status="active",
        attributes={"tags": ["a"]},
        updated_at=datetime(2026, 1, 1, 13, tzinfo=berlin),
    )
    assert (edited.status, edited.updated_at) == (SessionStatus.RUNNING, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert edited.updated_at.tzinfo is UTC
    assert (type(edited.attributes), type(edited.attributes["tags"])) == (FrozenDict, FrozenList)
    assert columns_of(stored(lasting_store, row)) == columns_of(edited)


def test_a_value_in_another_spelling_is_read_as_services_read_it(lasting_store: Store) -> None:
    row = make(lasting_store, RuleFactory)
    edited = edit(lasting_store, row, priority="high", action={"type": "play"}, action_type="play")
    assert (edited.priority, edited.action, edited.action_type) == (Priority.HIGH, actions.Play(), ActionType.PLAY)


def test_a_refused_edit_in_a_savepoint_leaves_the_unit_of_work_as_it_was(lasting_store: Store) -> None:
    row = make(lasting_store, SessionFactory)
    with lasting_store.begin() as uow:
        with pytest.raises(InvalidInput), uow.savepoint():
            found_again(uow, row).attributes = []
        found_again(uow, row).vibe = "kept"
    assert stored(lasting_store, row).vibe == "kept"


@pytest.mark.parametrize("values", [{"priority": 5}, {"trigger": {"type": "beat"}}, {"session_id": None}], ids=str)
def test_a_new_row_is_validated_too(lasting_store: Store, values: dict[str, Any]) -> None:
    there = make(lasting_store, RuleFactory)
    row = RuleFactory.build(session_id=there.session_id)
    for name, value in values.items():
        setattr(row, name, value)
    with pytest.raises(InvalidInput) as caught, lasting_store.begin() as uow:
        uow.add(row)
    assert caught.value.field == next(iter(values))


# Columns that follow from others


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"trigger": triggers.Marker(name="drop")}, "trigger_type"),
        ({"trigger": triggers.Marker(name="drop"), "trigger_type": TriggerType.MARKER}, "trigger_key"),
        ({"trigger_type": TriggerType.MARKER}, "trigger_type"),
        ({"trigger_key": "drop"}, "trigger_key"),
        ({"action": actions.Play()}, "action_type"),
    ],
    ids=["another trigger", "its type alone", "a type", "a key", "another action"],
)
def test_a_rule_is_looked_up_by_what_its_trigger_and_action_say(
    lasting_store: Store, values: dict[str, Any], field: str
) -> None:
    row = make(lasting_store, RuleFactory)
    with pytest.raises(InvalidInput, match=f"{field}: must be") as caught:
        edit(lasting_store, row, **values)
    assert caught.value.field == field


def test_a_trigger_is_edited_with_the_columns_that_repeat_it(lasting_store: Store) -> None:
    row = make(lasting_store, RuleFactory)
    edit(
        lasting_store,
        row,
        trigger={"type": "marker", "name": "drop"},
        trigger_type="marker",
        trigger_key="drop",
    )
    found = stored(lasting_store, row)
    assert (found.trigger, found.trigger_type, found.trigger_key) == (
        triggers.Marker(name="drop"),
        TriggerType.MARKER,
        "drop",
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"execution_plan": ["zzz"]}, "next_stage"),
        ({"execution_plan": ["zzz"], "last_completed_stage": "writer", "next_stage": None}, "last_completed_stage"),
        ({"last_completed_stage": "writer"}, "next_stage"),
        ({"last_completed_stage": "tester"}, "last_completed_stage"),
        ({"next_stage": "reviewer"}, "next_stage"),
        ({"next_stage": None}, "next_stage"),
        ({"closed_at": EPOCH}, "next_stage"),
    ],
    ids=str,
)
def test_the_next_stage_of_a_ticket_follows_from_its_plan(
    lasting_store: Store, values: dict[str, Any], field: str
) -> None:
    row = make(lasting_store, TicketFactory, execution_plan=["writer", "reviewer"])
    with pytest.raises(InvalidInput) as caught:
        edit(lasting_store, row, **values)
    assert caught.value.field == field
    assert columns_of(stored(lasting_store, row)) == columns_of(row)


@pytest.mark.parametrize(
    "values",
    [
        {"execution_plan": ["writer", "tester"]},
        {"execution_plan": ["tester"], "next_stage": "tester"},
        {"last_completed_stage": "writer", "next_stage": "reviewer"},
        {"last_completed_stage": "reviewer", "next_stage": None},
        {"closed_at": EPOCH, "next_stage": None},
    ],
    ids=str,
)
def test_a_ticket_is_edited_where_its_columns_agree(lasting_store: Store, values: dict[str, Any]) -> None:
    row = make(lasting_store, TicketFactory, execution_plan=["writer", "reviewer"])
    edit(lasting_store, row, **values)
    found = stored(lasting_store, row)
    assert {name: getattr(found, name) for name in values} == values


def test_a_new_ticket_whose_next_stage_is_another_is_refused(lasting_store: Store) -> None:
    row = TicketFactory.build(project_id=make(lasting_store, ProjectFactory).repository_name)
    row.execution_plan = ["zzz"]
    with pytest.raises(InvalidInput, match="next_stage: must be 'zzz'"), lasting_store.begin() as uow:
        uow.add(row)
    with lasting_store.read() as uow:
        assert uow.exec(select(Ticket).where(col(Ticket.ticket_id) == row.ticket_id)).first() is None


def test_a_status_of_an_import_is_read_by_its_word(lasting_store: Store) -> None:
    row = make(lasting_store, ImportFactory, status=ImportStatus.RUNNING)
    edited = edit(lasting_store, row, status="completed", finished_at=EPOCH)
    assert edited.status is ImportStatus.COMPLETED
