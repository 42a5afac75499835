"""The column types: what goes in comes out, on both backends, and what no backend can hold is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite
from sqlmodel import col, select

from tests.conftest import BACKENDS
from tests.services.lasting import lasting_database
from vibeweaver_store import (
    CorruptData,
    InvalidInput,
    Priority,
    ReadUnitOfWork,
    Rule,
    Session,
    SessionKind,
    SessionStatus,
    Store,
    UnitOfWork,
    rules,
    sessions,
)
from vibeweaver_store.columns import EnumInteger, EnumText, Flag, UtcDateTime, parse_enum
from vibeweaver_store.json_values import dump_json
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.stored_forms import column_reader, read_json, read_time
from vibeweaver_store.testing import RuleFactory, SessionFactory


@pytest.fixture(scope="module", params=BACKENDS)
def lasting_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that the tests here share; each looks at rows of its own."""
    with lasting_database(request, tmp_path_factory, request.param) as database, Store.open(database) as opened:
        yield opened


# Times

EARLIEST, LATEST = datetime(2, 1, 1), datetime(9998, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
instants = st.datetimes(EARLIEST, LATEST, timezones=st.timezones() | st.just(UTC))


@given(instant=instants)
def test_a_time_column_reads_any_instant_back_in_utc(lasting_store: Store, instant: datetime) -> None:
    with lasting_store.begin() as uow:
        rule = rules.mark_fired(uow, RuleFactory.create(uow=uow).id, instant)
    found = lasting_store.query(rules.get, rule.id).last_fired_at
    assert found is not None
    # In UTC: Python calls no two zones equal at an hour that a clock was put forward over.
    assert found == instant.astimezone(UTC)
    assert found.utcoffset() == timedelta(0)


def test_a_time_column_keeps_microseconds(lasting_store: Store) -> None:
    instant = datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    with lasting_store.begin() as uow:
        key = SessionFactory.create(uow=uow, created_at=instant).id
    assert lasting_store.query(sessions.get, key).created_at == instant


def bound(instant: Any) -> Any:
    return UtcDateTime().process_bind_param(instant, sqlite.dialect())


@given(one=instants, another=instants)
def test_a_time_column_on_sqlite_sorts_as_text(one: datetime, another: datetime) -> None:
    assert (bound(one) < bound(another), bound(one) == bound(another)) == (one < another, one == another)


@given(instant=instants)
def test_a_time_column_on_sqlite_has_text_of_one_width(instant: datetime) -> None:
    assert (len(bound(instant)), bound(instant)[-1]) == (27, "Z")


def test_a_time_column_on_sqlite_has_the_documented_format() -> None:
    kolkata = datetime(2026, 11, 20, 23, 34, 5, 123, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert bound(kolkata) == "2026-11-20T18:04:05.000123Z"


NO_TIMES = {
    "naive": datetime(2026, 1, 1),  # noqa: DTZ001 - the point
    "a date": datetime(2026, 1, 1, tzinfo=UTC).date(),
    "text": "2026-01-01T00:00:00Z",
    "a number": 0,
    "beyond the calendar": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    "before the calendar": datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
}


@pytest.mark.parametrize("instant", NO_TIMES.values(), ids=NO_TIMES)
def test_a_time_column_refuses_an_invalid_instant(lasting_store: Store, instant: Any) -> None:
    with pytest.raises(InvalidInput):
        UtcDateTime().process_bind_param(instant, lasting_store._engines.write.dialect)


@pytest.mark.parametrize("instant", NO_TIMES.values(), ids=NO_TIMES)
def test_a_row_refuses_an_invalid_instant(instant: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        SessionFactory.build(created_at=instant, updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.field == "created_at"


def test_a_naive_instant_is_refused_in_a_filter(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput, match="naive"), lasting_store.read() as uow:
        uow.exec(select(Session).where(col(Session.created_at) < datetime(2026, 1, 1))).all()  # noqa: DTZ001


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01T00:00:00.000000Z", 5])
def test_an_invalid_stored_time_is_corrupt(text: Any) -> None:
    with pytest.raises(CorruptData):
        read_time(text)


def test_a_stored_time_without_a_zone_is_in_utc() -> None:
    # As SQLite's datetime('now') writes it, in a statement of a program of its own.
    written = "2026-11-20 18:04:05"
    expected = datetime(2026, 11, 20, 18, 4, 5, tzinfo=UTC)
    assert read_time(written) == expected
    ours = "2026-11-20T18:04:05.000000Z"
    assert column_reader(read_time)([ours, None, written]) == [expected, None, expected]


# Vocabularies and flags


def raw(store: Store, expression: str, table: str) -> Any:
    with store.read() as uow:
        return uow.execute(sa.text(f"SELECT {expression} FROM {table}")).one()[0]


@pytest.mark.parametrize(
    ("expression", "table", "expected"),
    [
        ("kind", "sessions", "debate"),
        ("status", "sessions", "archived"),
        ("trigger_type", "rules", "beat"),
        ("priority", "rules", 4),
        ("enabled", "rules", False),
    ],
)
def test_an_enum_member_is_stored_as_its_value(store: Store, expression: str, table: str, expected: Any) -> None:
    with store.begin() as uow:
        session = SessionFactory.create(uow=uow, kind=SessionKind.DEBATE, status=SessionStatus.ARCHIVED)
        RuleFactory.create(uow=uow, session_id=session.id, priority=Priority.IDLE, enabled=False)
    assert raw(store, expression, table) == expected


def write_unchecked(uow: UnitOfWork, constraint: str, table: str, assignment: str) -> None:
    """Write what a CHECK keeps out, as a damaged file or a later version would have it."""
    if uow.backend == "sqlite":
        uow.execute(sa.text("PRAGMA ignore_check_constraints = ON"))
    else:
        uow.execute(sa.text(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"))
    uow.execute(sa.text(f"UPDATE {table} SET {assignment}"))


def read_session(uow: ReadUnitOfWork, rule: Rule) -> object:
    return sessions.get(uow, rule.session_id)


def read_rule(uow: ReadUnitOfWork, rule: Rule) -> object:
    return rules.get(uow, rule.id)


@pytest.mark.parametrize(
    ("constraint", "assignment", "read"),
    [
        ("ck_sessions_kind", "kind = 'rehearsal'", read_session),
        ("ck_sessions_status", "status = 'active'", read_session),
        ("ck_rules_priority", "priority = 9", read_rule),
        ("ck_rules_trigger_type", "trigger_type = 'sunrise'", read_rule),
        ("ck_rules_action_type", "action_type = 'explode'", read_rule),
    ],
)
def test_a_stored_value_of_no_enum_member_is_corrupt(
    store: Store, other: Store, constraint: str, assignment: str, read: Callable[[ReadUnitOfWork, Rule], object]
) -> None:
    with store.begin() as uow:
        rule = RuleFactory.create(uow=uow)
        write_unchecked(uow, constraint, constraint.split("_")[1], assignment)
    with pytest.raises(CorruptData):
        other.query(read, rule)


@pytest.mark.parametrize("assignment", ["status = 'active'", "status = ''", "kind = 'JAM'", "tempo_bpm = 0"])
def test_a_table_refuses_a_value_of_no_enum_member(lasting_store: Store, assignment: str) -> None:
    with lasting_store.begin() as uow:
        SessionFactory.create(uow=uow)
    with pytest.raises(InvalidInput, match="ck_sessions_"), lasting_store.begin() as uow:
        uow.execute(sa.text(f"UPDATE sessions SET {assignment}"))


@pytest.mark.parametrize(
    "assignment",
    ['trigger = \'{"type": "sunrise"}\'', 'action = \'{"type": "seek", "beat": "soon"}\''],
    ids=["an unknown trigger", "an action with a bad field"],
)
def test_a_stored_document_of_an_unknown_variant_is_corrupt(store: Store, other: Store, assignment: str) -> None:
    with store.begin() as uow:
        rule = RuleFactory.create(uow=uow)
        uow.connection().exec_driver_sql(f"UPDATE rules SET {assignment}")
    with pytest.raises(CorruptData, match="not valid"):
        other.query(rules.get, rule.id)


@pytest.mark.parametrize("value", ["jamboree", "", 5, None, True, 1.0, ["jam"]], ids=repr)
def test_parsing_an_unknown_enum_member_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="is none of"):
        parse_enum(SessionKind, value)


@pytest.mark.parametrize("value", [TriggerType.JOB_COMPLETE, "job_complete", "JOB_COMPLETE", "Job_Complete"], ids=repr)
def test_an_enum_member_is_parsed_from_its_value_or_name_in_any_case(value: str) -> None:
    assert parse_enum(TriggerType, value) is TriggerType.JOB_COMPLETE


@pytest.mark.parametrize("value", [Priority.HIGH, 1, "high", "HIGH"], ids=repr)
def test_a_priority_is_parsed_from_its_number_or_word(value: Any) -> None:
    assert parse_enum(Priority, value) is Priority.HIGH


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (EnumText(SessionKind), "jamboree"),
        (EnumInteger(Priority), 5),
        (EnumInteger(Priority), True),
        (Flag(), 1),
        (Flag(), "true"),
    ],
    ids=repr,
)
def test_an_enum_or_document_column_refuses_a_value_of_another_kind(column: Any, value: Any) -> None:
    with pytest.raises(InvalidInput):
        column.process_bind_param(value, sqlite.dialect())


@pytest.mark.parametrize(
    "texts",
    [
        ["1,2", "3"],
        ["[1", "2],3"],
        ["[1", "2],3,4"],
        ['{"a":1', '"b":2}'],
        ['{"a":1', '"b":2},5,6'],
        ["", "1"],
        ["1", "]"],
        ["1", "{"],
    ],
    ids=repr,
)
def test_stored_texts_that_are_json_only_together_are_corrupt(texts: list[str]) -> None:
    with pytest.raises(CorruptData):
        column_reader(read_json)(texts)


@given(st.lists(st.none() | st.recursive(st.integers(-5, 5) | st.text() | st.none(), st.lists), max_size=5))
def test_a_column_of_documents_is_read_as_each_of_them(documents: list[Any]) -> None:
    texts = [None if document is None else dump_json(document) for document in documents]
    assert list(column_reader(read_json)(texts)) == [read_json(text) for text in texts]
