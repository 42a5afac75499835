"""Sessions: make, find, change, list and delete them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
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
    AlreadyExists,
    InvalidInput,
    NotFound,
    Session,
    SessionKind,
    SessionStatus,
    Store,
    sessions,
)
from vibeweaver_store.testing import (
    EPOCH,
    HistoryEntryFactory,
    MarkerFactory,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SettableClock,
    SnapshotFactory,
    columns_of,
)

# Create


def test_a_new_session_is_read_back_as_it_was_made(store: Store, other: Store) -> None:
    made = store.run(sessions.create, name="late set", vibe="dark techno", tempo_bpm=131.5)
    assert columns_of(other.query(sessions.get, made.id)) == columns_of(made)


def test_a_new_session_has_what_it_was_given(store: Store, other: Store) -> None:
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
    assert made.created_at == made.updated_at == clock.instant


def test_ids_are_uuids_of_version_7_in_the_order_of_making(store: Store) -> None:
    with store.begin() as uow:
        ids = [sessions.create(uow, name="same name").id for _ in range(20)]
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("session_id", cases(a_word="late-set", a_letter="x", longest="x" * LONGEST_ID))
def test_an_id_brought_along_is_kept(store: Store, other: Store, session_id: str) -> None:
    store.run(sessions.create, name="late set", session_id=session_id)
    assert other.query(sessions.get, session_id).name == "late set"


def test_an_id_that_is_taken_is_refused_by_name(store: Store, jam: Session) -> None:
    with pytest.raises(AlreadyExists) as caught:
        store.run(sessions.create, name="again", session_id=jam.id)
    assert (caught.value.entity, caught.value.key) == ("session", jam.id)


def test_an_id_that_is_taken_does_not_undo_the_unit_of_work(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        with pytest.raises(AlreadyExists):
            sessions.create(uow, name="again", session_id=jam.id)
        made = sessions.create(uow, name="another")
    assert other.query(sessions.find, made.id) is not None


# Get and find


def test_getting_a_session_that_is_not_there_names_it(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        store.query(sessions.get, "nowhere")
    assert (caught.value.entity, caught.value.key) == ("session", "nowhere")


def test_finding_a_session_that_is_not_there_gives_nothing(store: Store) -> None:
    assert store.query(sessions.find, "nowhere") is None


def test_finding_a_session_gives_it(store: Store, other: Store, jam: Session) -> None:
    assert other.query(sessions.find, jam.id) == jam


# Update

CHANGES = [{"name": "closing set"}, {"vibe": "ambient"}, {"vibe": None}, {"tempo_bpm": 90.0}]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_an_update_changes_only_what_is_given(
    store: Store, other: Store, jam: Session, clock: SettableClock, change: dict[str, Any]
) -> None:
    store.run(sessions.update, jam.id, **change)
    assert columns_of(other.query(sessions.get, jam.id)) == columns_of(jam) | change | {"updated_at": clock.instant}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_an_update_returns_what_is_then_stored(
    store: Store, other: Store, jam: Session, change: dict[str, Any]
) -> None:
    changed = store.run(sessions.update, jam.id, **change)
    assert columns_of(changed) == columns_of(other.query(sessions.get, jam.id))


def test_an_update_leaves_other_sessions_alone(store: Store, other: Store, jam: Session) -> None:
    bystander = make(store, SessionFactory)
    store.run(sessions.update, jam.id, name="closing set")
    assert other.query(sessions.get, bystander.id) == bystander


def test_an_update_with_nothing_to_change_writes_nothing(store: Store, jam: Session) -> None:
    with recorded_statements(store) as sent:
        assert store.run(sessions.update, jam.id) == jam
    assert [statement for statement in sent if not statement.startswith("SELECT")] == []


@pytest.mark.parametrize("change", [{}, {"name": "closing set"}], ids=["nothing", "a name"])
def test_updating_a_session_that_is_not_there_is_an_error(lasting_store: Store, change: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(sessions.update, "nowhere", **change)


def test_a_refused_update_changes_nothing(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(InvalidInput):
        store.run(sessions.update, jam.id, name="closing set", tempo_bpm=0)
    assert other.query(sessions.get, jam.id) == jam


# Tempo


@pytest.mark.parametrize("tempo", [1, 1.0, 59.94, 999, 999.0])
def test_a_tempo_within_the_limits_is_kept(lasting_store: Store, tempo: float) -> None:
    made = lasting_store.run(sessions.create, name="late set", tempo_bpm=tempo)
    assert lasting_store.query(sessions.get, made.id).tempo_bpm == tempo


OUT_OF_RANGE = cases(just_below=0.999999, just_above=999.000001, zero=0, negative=-120.0)


@pytest.mark.parametrize("tempo", [*OUT_OF_RANGE, *BAD_NUMBERS])
def test_a_tempo_that_is_none_is_refused(lasting_store: Store, tempo: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", tempo_bpm=tempo)
    assert caught.value.field == "tempo_bpm"


@pytest.mark.parametrize("tempo", [*OUT_OF_RANGE, *BAD_NUMBERS])
def test_an_update_to_a_tempo_that_is_none_is_refused(lasting_store: Store, lasting_jam: Session, tempo: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.update, lasting_jam.id, tempo_bpm=tempo)
    assert caught.value.field == "tempo_bpm"


# Page


def test_sessions_are_paged_by_last_change_newest_first_ties_by_id(store: Store, other: Store) -> None:
    instants = [EPOCH + timedelta(seconds=second) for second in (3, 1, 3, 2, 1, 3)]
    made = make_many(store, SessionFactory, *[{"updated_at": instant} for instant in instants])
    expected = sorted(made, key=lambda session: (session.updated_at, session.id), reverse=True)
    assert other.query(sessions.page).items == expected


def test_a_session_that_is_updated_comes_first(store: Store, other: Store, clock: SettableClock) -> None:
    first, *_ = make_many(store, SessionFactory, {}, {}, {})
    clock.advance(seconds=1)
    store.run(sessions.update, first.id, vibe="ambient")
    assert other.query(sessions.page).items[0].id == first.id


def test_the_next_page_goes_on_where_the_last_ended(store: Store) -> None:
    made = make_many(store, SessionFactory, *[{} for _ in range(5)])
    newest_first = [session.id for session in reversed(made)]
    first = store.query(sessions.page, limit=2)
    second = store.query(sessions.page, limit=2, cursor=first.next_cursor)
    assert [session.id for session in first.items + second.items] == newest_first[:4]


def test_an_empty_store_has_one_empty_page(store: Store) -> None:
    page = store.query(sessions.page)
    assert (page.items, page.next_cursor, page.previous_cursor) == ([], None, None)


# Delete


def test_a_deleted_session_is_gone(store: Store, other: Store, jam: Session) -> None:
    store.run(sessions.delete, jam.id)
    assert other.query(sessions.find, jam.id) is None


@pytest.mark.parametrize("factory", [RuleFactory, MarkerFactory, HistoryEntryFactory, SnapshotFactory])
def test_deleting_a_session_deletes_what_belongs_to_it_and_nothing_else(
    store: Store, other: Store, factory: type[RowFactory[Any]]
) -> None:
    kept = make(store, factory)
    before = dump(other)
    doomed = make(store, factory)
    make(store, factory, session_id=doomed.session_id)
    store.run(sessions.delete, doomed.session_id)
    assert kept.session_id != doomed.session_id
    assert dump(other) == before


def test_deleting_a_session_that_is_not_there_is_an_error(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(sessions.delete, "nowhere")


# Bad input


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_none_is_refused(lasting_store: Store, name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name=name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_update_to_a_name_that_is_none_is_refused(lasting_store: Store, lasting_jam: Session, name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.update, lasting_jam.id, name=name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("vibe", BAD_TEXTS)
def test_a_vibe_that_is_no_text_is_refused(lasting_store: Store, vibe: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", vibe=vibe)
    assert caught.value.field == "vibe"


@pytest.mark.parametrize("session_id", BAD_IDS)
def test_an_id_that_is_none_is_refused(lasting_store: Store, session_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(sessions.create, name="late set", session_id=session_id)
    assert caught.value.field == "id"


@pytest.mark.parametrize("operation", [sessions.get, sessions.find, sessions.update, sessions.delete])
@pytest.mark.parametrize("session_id", [*BAD_IDS, pytest.param(None, id="nothing")])
def test_looking_up_what_is_no_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, session_id)
    assert caught.value.field == "session_id"


@pytest.mark.parametrize("text", VERBATIM)
def test_texts_are_kept_as_they_are(lasting_store: Store, text: str) -> None:
    made = lasting_store.run(sessions.create, name=text, vibe=text)
    found = lasting_store.query(sessions.get, made.id)
    assert (found.name, found.vibe) == (text, text)


def test_the_longest_name_in_bytes_is_kept(lasting_store: Store) -> None:
    longest = "🥁" * (LONGEST_NAME // 4)
    made = lasting_store.run(sessions.create, name=longest)
    assert lasting_store.query(sessions.get, made.id).name == longest


@given(name=any_name, vibe=st.none() | any_text)
def test_any_name_and_vibe_come_back_as_they_were(lasting_store: Store, name: str, vibe: str | None) -> None:
    made = lasting_store.run(sessions.create, name=name, vibe=vibe)
    found = lasting_store.query(sessions.get, made.id)
    assert (found.name, found.vibe) == (name, vibe)


def test_an_id_in_sql_deletes_nothing_else(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(NotFound):
        store.run(sessions.delete, "x' OR '1'='1")
    assert other.query(sessions.find, jam.id) is not None
