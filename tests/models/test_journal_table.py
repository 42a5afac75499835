"""The table of the journal: what a row must be, whoever writes it, and what goes away with what."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from vibeweaver_store import AlreadyExists, InvalidInput, NotFound, Store, sessions
from vibeweaver_store.services import journal
from vibeweaver_store.testing import ImportFactory, JournalEventFactory, SessionFactory, columns_of


def test_a_journal_event_row_is_read_back_as_it_was_written(store: Store) -> None:
    with store.begin() as uow:
        made = JournalEventFactory.create(
            uow=uow,
            is_sidechain=True,
            parent_uuid="u-1",
            cwd="/srv/late set",
            project_name="late set",
            model="claude-opus",
            message_id="msg_1",
            request_id="req_1",
            input_tokens=0,
            output_tokens=2**40,
            cache_read_input_tokens=1,
            cache_creation_input_tokens=2,
            import_id=ImportFactory.create(uow=uow).id,
        )
    assert made.id is not None
    assert columns_of(store.query(journal.get, made.id)) == columns_of(made)


def test_a_journal_event_needs_neither_a_session_nor_a_time(store: Store) -> None:
    (made,) = _alone(store, timestamp=None)
    assert (made.session_id, made.timestamp, made.output_tokens) == (None, None, None)


def _alone(store: Store, **values: Any) -> list[Any]:
    with store.begin() as uow:
        row = JournalEventFactory.build(**values)
        row.session_id = None
        uow.insert(row)
    return store.query(journal.recent)


@pytest.mark.parametrize(
    ("assignment", "constraint"),
    [
        ("event_uuid = ''", "ck_journal_events_event_uuid"),
        ("source_session_id = ''", "ck_journal_events_source_session_id"),
        ("event_type = ''", "ck_journal_events_event_type"),
        ("input_tokens = -1", "ck_journal_events_tokens"),
        ("output_tokens = -1", "ck_journal_events_tokens"),
        ("cache_read_input_tokens = -1", "ck_journal_events_tokens"),
        ("cache_creation_input_tokens = -1", "ck_journal_events_tokens"),
    ],
)
def test_the_table_of_journal_events_checks_its_constraints(store: Store, assignment: str, constraint: str) -> None:
    with store.begin() as uow:
        JournalEventFactory.create(uow=uow)
    with pytest.raises(InvalidInput, match=constraint), store.begin() as uow:
        uow.execute(sa.text(f"UPDATE journal_events SET {assignment}"))


def test_the_table_of_journal_events_has_a_line_once_per_source_session(store: Store) -> None:
    with store.begin() as uow:
        JournalEventFactory.create(uow=uow, event_uuid="u-1")
        JournalEventFactory.create(uow=uow, event_uuid="u-1", source_session_id="a fork")
    with pytest.raises(AlreadyExists), store.begin() as uow:
        JournalEventFactory.create(uow=uow, event_uuid="u-1")


@pytest.mark.parametrize("values", [{"session_id": "nowhere"}, {"import_id": 4711}], ids=str)
def test_the_table_of_journal_events_refuses_a_missing_session_or_import(store: Store, values: dict[str, Any]) -> None:
    with pytest.raises(NotFound), store.begin() as uow:
        JournalEventFactory.create(uow=uow, **values)


def test_journal_events_are_deleted_with_their_session_but_survive_their_import(store: Store) -> None:
    with store.begin() as uow:
        session, brought = SessionFactory.create(uow=uow), ImportFactory.create(uow=uow)
        JournalEventFactory.create(uow=uow, session_id=session.id)
        kept = JournalEventFactory.create(uow=uow, import_id=brought.id)
    with store.begin() as uow:
        sessions.delete(uow, session.id)
        uow.execute(sa.text("DELETE FROM imports"))
    assert [(event.id, event.import_id) for event in store.query(journal.recent)] == [(kept.id, None)]


def test_a_journal_event_key_is_never_reused(store: Store) -> None:
    with store.begin() as uow:
        first = JournalEventFactory.create(uow=uow)
        uow.execute(sa.text("DELETE FROM journal_events"))
        second = JournalEventFactory.create(uow=uow)
    assert first.id is not None
    assert second.id is not None
    assert second.id > first.id
