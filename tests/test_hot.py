"""Hot statements: the rows, the transaction and the errors of a unit of work, at another cost."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlmodel
from sqlalchemy.orm import object_session
from sqlmodel import col, select

from tests.conftest import recorded_statements
from tests.driven import DRIVES
from vibeweaver_store import (
    AlreadyExists,
    AsyncStore,
    InvalidInput,
    NotFound,
    ReadUnitOfWork,
    Store,
    StoreError,
    StoreUnavailable,
    UnitOfWork,
    actions,
    history,
    markers,
    rules,
    sessions,
    triggers,
)
from vibeweaver_store.columns import TEXT
from vibeweaver_store.hot import Hot, HotRows, among
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.hot_rows import duplicates
from vibeweaver_store.models import HistoryEntry, Job, JournalEvent, Marker, Message, Rule, Session, Snapshot
from vibeweaver_store.testing import (
    HistoryEntryFactory,
    JobFactory,
    JournalEventFactory,
    MarkerFactory,
    MessageFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
)


class BoomError(Exception):
    pass


@pytest.fixture(params=DRIVES)
def drive(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


SESSIONS = HotRows(Session, select(Session).where(col(Session.id) == sa.bindparam("id")))
NEW_MARKERS = HotInsert(Marker)
RENAME = Hot(
    sa.update(Session).where(col(Session.id) == sa.bindparam("id")).values(name=sa.bindparam("to", type_=TEXT))
)
NAMES = Hot(sa.select(col(Session.name)).where(col(Session.id) == sa.bindparam("id")))
NONSENSE = Hot(sa.text("SELECT nonsense").columns(sa.column("x", TEXT)))


@pytest.fixture
def jam(store: Store) -> Session:
    with store.begin() as uow:
        return SessionFactory.create(uow=uow, name="before")


def new_marker(session_id: str, **values: Any) -> dict[str, Any]:
    return MarkerFactory.build(session_id=session_id, **values).model_dump()


# --- rows ------------------------------------------------------------------------------------------------------


FACTORIES: dict[type[Any], Any] = {
    HistoryEntry: HistoryEntryFactory,
    Job: JobFactory,
    JournalEvent: JournalEventFactory,
    Marker: MarkerFactory,
    Message: MessageFactory,
    Rule: RuleFactory,
    Session: SessionFactory,
    Snapshot: SnapshotFactory,
}


@pytest.mark.parametrize("table", FACTORIES, ids=[table.__name__ for table in FACTORIES])
def test_a_hot_select_returns_the_row_the_orm_reads(store: Store, table: type[Any]) -> None:
    with store.begin() as uow:
        FACTORIES[table].create(uow=uow)
    statement = HotRows(table, select(table))

    (hot,) = store.query(statement.all)
    (read,) = store.query(lambda uow: uow.exec(select(table)).all())

    assert hot == read
    assert type(hot) is table
    assert hot.model_dump() == read.model_dump()
    assert repr(hot).startswith(f"{table.__name__}(")
    assert sa.inspect(hot).identity == sa.inspect(read).identity
    assert sa.inspect(hot).detached


@pytest.mark.parametrize("table", FACTORIES, ids=[table.__name__ for table in FACTORIES])
def test_a_hot_insert_writes_what_the_orm_writes(store: Store, table: type[Any]) -> None:
    with store.begin() as uow:
        row = FACTORIES[table].create(uow=uow)
        values = row.model_dump()
        uow.exec(sa.delete(table))
        (key,) = [column.key for column in sa.inspect(table).primary_key]
        insert = HotInsert(table)
        given = {name: getattr(row, name) for name in values if not (name == key and isinstance(values[key], int))}
        written = insert.insert(uow, insert.checked(given))

    (read,) = store.query(lambda uow: uow.exec(select(table)).all())
    assert written == read
    assert {**read.model_dump(), key: None} == {**values, key: None}


@pytest.mark.parametrize(
    "twin",
    [
        copy.copy,
        copy.deepcopy,
        lambda row: pickle.loads(pickle.dumps(row)),
        lambda row: row.model_copy(),
        lambda row: duplicates([row])[0],
    ],
    ids=["copy", "deepcopy", "pickle", "model_copy", "duplicate"],
)
def test_a_hot_row_can_be_copied(store: Store, jam: Session, twin: Callable[[Session], Session]) -> None:
    (row,) = store.query(SESSIONS.all, id=jam.id)
    other = twin(row)

    assert other == row
    other.name = "another"
    assert row.name == "before"


def test_a_hot_row_can_be_added_to_a_unit_of_work(store: Store, other: Store, jam: Session) -> None:
    (row,) = store.query(SESSIONS.all, id=jam.id)
    with store.begin() as uow:
        uow.add(row)
        row.name = "after"

    assert other.query(sessions.get, jam.id).name == "after"


def test_a_hot_select_without_rows_returns_an_empty_list_and_no_first(store: Store) -> None:
    assert store.query(SESSIONS.all, id="nowhere") == []
    assert store.query(SESSIONS.first, id="nowhere") is None


# --- one transaction with the session ----------------------------------------------------------------------------


def test_a_hot_write_is_seen_by_the_orm(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        assert RENAME.count(uow, id=jam.id, to="after") == 1
        assert uow.exec(select(Session.name)).one() == "after"


def test_an_orm_write_is_seen_by_a_hot_select(store: Store) -> None:
    with store.begin() as uow:
        made = SessionFactory.create(uow=uow, name="fresh")
        assert NAMES.all(uow, id=made.id) == [("fresh",)]


def test_an_edit_of_a_row_is_flushed_before_a_hot_statement(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        sessions.get(uow, jam.id).name = "edited"
        assert NAMES.all(uow, id=jam.id) == [("edited",)]
        assert SESSIONS.all(uow, id=jam.id)[0].name == "edited"


def test_an_edit_of_a_hot_row_is_written_when_the_block_ends(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        SESSIONS.all(uow, id=jam.id)[0].name = "after"

    assert other.query(sessions.get, jam.id).name == "after"


def test_an_edit_of_a_hot_inserted_row_is_written(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        history.append(uow, jam.id, "before").action = "after"

    (entry,) = other.query(history.recent, jam.id)
    assert entry.action == "after"


def test_edits_of_any_number_of_hot_rows_are_written(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        entries = [history.append(uow, jam.id, f"before {n}") for n in range(700)]
        for n, entry in enumerate(entries):
            entry.action = f"after {n}"

    assert [entry.action for entry in other.iterate(history.page, jam.id, oldest_first=True)] == [
        f"after {n}" for n in range(700)
    ]


def test_hot_rows_without_references_are_not_kept_by_the_unit_of_work(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        first = history.append(uow, jam.id, "kept")
        gone = [weakref.ref(history.append(uow, jam.id, "let go")) for _ in range(2000)]
        gc.collect()
        assert sum(each() is not None for each in gone) < 600
        first.action = "edited"

    assert first.action == "edited"


def test_an_accessed_hot_row_joins_the_session_with_its_batch(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        one, another = history.append(uow, jam.id, "one"), history.append(uow, jam.id, "another")
        assert object_session(one) is uow
        assert another in uow
        uow.delete(another)
        uow.refresh(one)

    assert [entry.action for entry in store.query(history.recent, jam.id)] == ["one"]


def test_a_hot_row_of_another_unit_of_work_is_not_attached(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        elsewhere = history.append(uow, jam.id, "elsewhere")
    with store.begin() as uow:
        here = history.append(uow, jam.id, "here")
        assert sa.inspect(elsewhere).detached
        assert object_session(here) is uow


def test_an_edit_of_a_hot_row_in_a_reading_unit_of_work_is_refused(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(InvalidInput, match="only reads"), store.read() as uow:
        SESSIONS.all(uow, id=jam.id)[0].name = "after"

    assert other.query(sessions.get, jam.id).name == "before"


def test_a_hot_row_is_one_object_per_unit_of_work_with_current_values(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        (first,) = SESSIONS.all(uow, id=jam.id)
        RENAME.count(uow, id=jam.id, to="after")
        (second,) = SESSIONS.all(uow, id=jam.id)
        read = uow.exec(select(Session).where(col(Session.id) == jam.id)).one()

        assert first is second
        assert first is read
        assert first.name == "after"
        assert object_session(first) is uow
    assert sa.inspect(first).detached


def test_a_hot_write_is_rolled_back_with_its_unit_of_work(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(BoomError), store.begin() as uow:
        RENAME.count(uow, id=jam.id, to="after")
        raise BoomError

    assert other.query(sessions.get, jam.id).name == "before"


def test_a_savepoint_rolls_back_only_its_hot_writes(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        kept = history.append(uow, jam.id, "kept")
        with pytest.raises(BoomError), uow.savepoint():
            gone = history.append(uow, jam.id, "gone")
            raise BoomError

    assert [entry.action for entry in other.query(history.recent, jam.id)] == ["kept"]
    assert (kept.action, gone.action) == ("kept", "gone")


def test_a_savepoint_rolls_back_a_hot_statement_that_came_first_in_it(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow, pytest.raises(BoomError), uow.savepoint():
        RENAME.count(uow, id=jam.id, to="after")
        raise BoomError

    assert other.query(sessions.get, jam.id).name == "before"


def test_a_session_locked_in_a_rolled_back_savepoint_is_locked_again(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        with pytest.raises(BoomError), uow.savepoint():
            history.append(uow, jam.id, "gone")
            raise BoomError
        with recorded_statements(store) as sent:
            pass
        assert uow.known == {}
        history.append(uow, jam.id, "kept")
        assert len(uow.known) == 1
    assert sent == []


def test_a_session_deleted_in_the_unit_of_work_is_not_taken_for_locked(store: Store, other: Store) -> None:
    with store.begin() as uow:
        gone, kept = SessionFactory.create(uow=uow), SessionFactory.create(uow=uow)
        history.append(uow, gone.id, "before")
        sessions.delete(uow, gone.id)
        with pytest.raises(NotFound):
            history.append(uow, gone.id, "after")
        history.append(uow, kept.id, "goes on")

    assert other.query(history.count, kept.id) == 1


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_value_refused_by_a_hot_insert_names_its_field_and_rolls_nothing_back(
    store: Store, other: Store, jam: Session
) -> None:
    with store.begin() as uow:
        with pytest.raises(InvalidInput, match="beat") as refused:
            NEW_MARKERS.checked({**new_marker(jam.id), "beat": float("nan")})
        assert refused.value.field == "beat"
        markers.add(uow, jam.id, 1.0, "chorus")

    assert len(other.query(markers.page, jam.id).items) == 1


def test_a_taken_key_in_a_hot_insert_rolls_the_unit_of_work_back(store: Store, other: Store, jam: Session) -> None:
    row = new_marker(jam.id)
    with pytest.raises(StoreError, match="savepoint"), store.begin() as uow:
        NEW_MARKERS.insert(uow, dict(row))
        with pytest.raises(AlreadyExists):
            NEW_MARKERS.insert(uow, dict(row))

    assert other.query(markers.page, jam.id).items == []


def test_a_taken_key_in_a_hot_insert_rolls_only_its_savepoint_back(store: Store, other: Store, jam: Session) -> None:
    row = new_marker(jam.id)
    with store.begin() as uow:
        NEW_MARKERS.insert(uow, dict(row))
        with pytest.raises(AlreadyExists), uow.savepoint():
            NEW_MARKERS.insert_all(uow, [new_marker(jam.id), dict(row)])

    assert [marker.id for marker in other.query(markers.page, jam.id).items] == [row["id"]]


def test_a_failed_flush_before_a_hot_statement_rolls_back_even_if_swallowed(
    store: Store, other: Store, jam: Session
) -> None:
    with pytest.raises(StoreError, match="undid it"), store.begin() as uow:
        sessions.get(uow, jam.id).tempo_bpm = 5000.0
        with pytest.raises(InvalidInput, match="tempo"):
            NAMES.all(uow, id=jam.id)
        assert uow._failed
        with pytest.raises(StoreError, match="undid it"):
            RENAME.count(uow, id=jam.id, to="after")

    assert other.query(sessions.get, jam.id) == jam


def test_a_hot_insert_without_its_parent_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        NEW_MARKERS.insert(uow, new_marker("nowhere"))


def test_an_error_of_a_hot_statement_has_the_driver_error_as_its_cause(store: Store) -> None:
    with pytest.raises(StoreError) as failed:
        store.query(NONSENSE.all)

    assert type(failed.value.__cause__).__module__.split(".")[0] in {"sqlite3", "psycopg"}


def test_a_hot_write_in_a_reading_unit_of_work_is_refused(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(InvalidInput, match="only reads"):
        store.query(Hot(RENAME.statement).all, id=jam.id, to="after")

    assert other.query(sessions.get, jam.id).name == "before"


def test_an_ended_unit_of_work_refuses_a_hot_statement(store: Store, jam: Session) -> None:
    with store.begin() as uow:
        pass
    with pytest.raises(StoreError, match="has ended"):
        SESSIONS.all(uow, id=jam.id)


# --- lists, and who looks on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_a_hot_select_among_any_number_of_values_is_one_statement(store: Store, count: int) -> None:
    with store.begin() as uow:
        made = [SessionFactory.create(uow=uow).id for _ in range(3)]
    wanted = [*made, *[f"other {number}" for number in range(5000)]][:count]
    statement = Hot(sa.select(col(Session.id)).where(among(col(Session.id), "ids")))

    assert {key for (key,) in store.query(statement.all, ids=wanted)} == set(made[:count])


def test_a_hot_select_among_texts_that_look_like_sql_is_safe(store: Store) -> None:
    odd = ["it's", '"quoted"', "'); DROP TABLE sessions; --", "[]", "null", "ß 音"]
    with store.begin() as uow:
        for key in odd:
            SessionFactory.create(uow=uow, id=key)
    statement = Hot(sa.select(col(Session.id)).where(among(col(Session.id), "ids")))

    assert sorted(key for (key,) in store.query(statement.all, ids=odd)) == sorted(odd)


def test_engine_listeners_see_hot_statements(store: Store, jam: Session) -> None:
    with recorded_statements(store) as sent:
        store.query(SESSIONS.all, id=jam.id)
        store.run(RENAME.count, id=jam.id, to="after")

    assert [statement.split()[0] for statement in sent] == ["SELECT", "UPDATE"]


def test_a_hot_statement_does_the_same_with_engine_listeners(store: Store, other: Store, jam: Session) -> None:
    with recorded_statements(store):
        with store.begin() as uow:
            SESSIONS.all(uow, id=jam.id)[0].name = "after"
            entry = history.append(uow, jam.id, "heard")
            history.append_many(uow, jam.id, [history.NewEntry("many")] * 3)
        with pytest.raises(AlreadyExists), store.begin() as uow:
            row = new_marker(jam.id)
            NEW_MARKERS.insert_all(uow, [row, dict(row)])

    assert other.query(sessions.get, jam.id).name == "after"
    assert other.query(history.recent, jam.id)[-1].id == entry.id
    assert other.query(history.count, jam.id) == 4
    assert other.query(markers.page, jam.id).items == []


# --- at a glance -----------------------------------------------------------------------------------------------------


def test_a_glance_shows_committed_rows(database: str) -> None:
    with Store.open(database) as one, Store.open(database) as another:
        jam = one.run(sessions.create, name="before")
        assert one.glance(NAMES, id=jam.id) == [("before",)]
        with another.begin() as uow:
            sessions.update(uow, jam.id, name="after")
            assert one.glance(NAMES, id=jam.id) == [("before",)]
        assert one.glance(NAMES, id=jam.id) == [("after",)]
        assert one.glance(NAMES, id="nowhere") == []


def test_a_glance_blocks_no_writer_and_keeps_no_connection(database: str) -> None:
    with Store.open(database) as store, store.begin() as uow:
        jam = sessions.create(uow, name="jam")
        assert store.glance(NAMES, id=jam.id) == []
        assert store._engines.in_use() == 1


def test_a_glance_through_a_closed_store_is_refused(database: str) -> None:
    store = Store.open(database)
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.glance(NAMES, id="jam")


def test_a_glance_at_a_replaced_file_is_refused(sqlite_path: Path) -> None:
    with Store.open(sqlite_path) as store:
        jam = store.run(sessions.create, name="jam")
        sqlite_path.rename(sqlite_path.with_name("moved.db"))
        with pytest.raises(StoreUnavailable, match="replaced"):
            store.glance(NAMES, id=jam.id)


def test_a_failed_glance_is_a_typed_error(database: str) -> None:
    with Store.open(database) as store:
        with pytest.raises(StoreError):
            store.glance(NONSENSE)
        assert store.glance(NAMES, id="nowhere") == []


def test_engine_listeners_see_a_glance(database: str) -> None:
    with Store.open(database) as store, recorded_statements(store) as sent:
        store.glance(NAMES, id="jam")
    assert len(sent) == 1


async def test_a_glance_can_be_awaited(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        jam = await store.run(sessions.create, name="jam")
        assert await store.glance(NAMES, id=jam.id) == [("jam",)]


# --- units of work -------------------------------------------------------------------------------------------------


def test_a_unit_of_work_has_all_methods_of_an_orm_session(store: Store) -> None:
    with store.begin() as uow:
        assert all(hasattr(uow, name) for name in vars(sqlmodel.Session()))
        assert not hasattr(uow, "anything_else")


def test_units_of_work_share_no_mutable_state(store: Store) -> None:
    seen: list[ReadUnitOfWork] = []
    with store.begin() as uow:
        seen.append(uow)
        assert uow.is_active
    with store.begin() as uow:
        seen.append(uow)
        assert uow.is_active
    first, second = (
        {name: value for name, value in vars(each).items() if isinstance(value, dict | list | set) and name != "info"}
        for each in seen
    )

    assert first.keys() == second.keys()
    # SQLAlchemy's immutabledict is a dict.
    shared = [name for name in first if first[name] is second[name] and type(first[name]) in {dict, list, set}]
    assert shared == []


def test_adding_rules_moves_their_revision_once(store: Store, jam: Session) -> None:
    def add(uow: UnitOfWork) -> None:
        rules.add_many(uow, jam.id, [rules.NewRule(triggers.Beat(divisor=4), actions.Notify(message="go"))] * 3)

    before = store.query(sessions.get, jam.id).rules_rev
    store.run(add)
    assert store.query(sessions.get, jam.id).rules_rev != before
