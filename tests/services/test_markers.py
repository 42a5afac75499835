"""Markers: named places on a session's timeline."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BEATS, BAD_IDS, BAD_NAMES, VERBATIM, cases
from tests.services.scene import make, make_many
from vibeweaver_store import AlreadyExists, InvalidInput, Marker, NotFound, Session, Store, markers
from vibeweaver_store.testing import MarkerFactory, SessionFactory, SettableClock, columns_of


def beats_of(found: list[Marker]) -> list[float]:
    return [marker.beat for marker in found]


# Add


def test_a_new_marker_is_read_back_as_it_was_made(store: Store, other: Store, jam: Session) -> None:
    added = store.run(markers.add, jam.id, 16.5, "chorus", metadata={"key": "a minor"})
    assert columns_of(other.query(markers.get, added.id)) == columns_of(added)


def test_a_new_marker_has_the_values_it_was_given(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    found = other.query(markers.get, store.run(markers.add, jam.id, 16.5, "chorus").id)
    assert (found.session_id, found.beat, found.name) == (jam.id, 16.5, "chorus")
    assert (found.metadata_, found.created_at) == (None, clock.instant)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"key": "a minor", "bars": 8, "loop": True, "gain": 0.5, "note": None},
        {"nested": {"list": [1, [2, {"three": []}]]}},
        {"": "an empty key", "جوقة": "🎶", "'; DROP TABLE markers; --": "\\"},
        MappingProxyType({"any": "mapping"}),
    ],
    ids=["empty", "flat", "nested", "odd keys", "a mapping proxy"],
)
def test_marker_metadata_is_kept(lasting_store: Store, lasting_jam: Session, metadata: dict[str, Any]) -> None:
    added = lasting_store.run(markers.add, lasting_jam.id, 0, "chorus", metadata=metadata)
    assert lasting_store.query(markers.get, added.id).metadata_ == metadata


def test_marker_metadata_edited_afterwards_is_not_stored(store: Store, other: Store, jam: Session) -> None:
    metadata = {"sections": ["verse"]}
    with store.begin() as uow:
        added = markers.add(uow, jam.id, 0, "chorus", metadata=metadata)
        metadata["sections"].append("bridge")
    assert other.query(markers.get, added.id).metadata_ == added.metadata_ == {"sections": ["verse"]}


@pytest.mark.parametrize("beat", [0, 0.0, 5e-324, 1 / 3, 2**53, 1.7976931348623157e308], ids=str)
def test_any_finite_beat_of_a_marker_from_zero_is_kept(lasting_store: Store, lasting_jam: Session, beat: float) -> None:
    added = lasting_store.run(markers.add, lasting_jam.id, beat, "chorus")
    assert lasting_store.query(markers.get, added.id).beat == beat


@pytest.mark.parametrize("text", VERBATIM)
def test_marker_names_are_kept_verbatim(lasting_store: Store, lasting_jam: Session, text: str) -> None:
    added = lasting_store.run(markers.add, lasting_jam.id, 0, text)
    assert lasting_store.query(markers.get, added.id).name == text


def test_a_given_marker_id_is_kept(store: Store, other: Store, jam: Session) -> None:
    store.run(markers.add, jam.id, 16, "chorus", marker_id="first-chorus")
    assert other.query(markers.get, "first-chorus").name == "chorus"


def test_the_error_for_a_taken_marker_id_names_it(store: Store, jam: Session) -> None:
    taken = make(store, MarkerFactory)
    with pytest.raises(AlreadyExists) as caught:
        store.run(markers.add, jam.id, 16, "chorus", marker_id=taken.id)
    assert (caught.value.entity, caught.value.key) == ("marker", taken.id)


def test_a_marker_name_may_be_repeated(store: Store, other: Store, jam: Session) -> None:
    for beat in (16, 48, 48):
        store.run(markers.add, jam.id, beat, "chorus")
    assert beats_of(other.query(markers.page, jam.id).items) == [16.0, 48.0, 48.0]


@pytest.mark.parametrize("beat", BAD_BEATS)
def test_an_invalid_marker_beat_is_refused(lasting_store: Store, lasting_jam: Session, beat: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(markers.add, lasting_jam.id, beat, "chorus")
    assert caught.value.field == "beat"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_invalid_marker_name_is_refused(lasting_store: Store, lasting_jam: Session, name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(markers.add, lasting_jam.id, 0, name)
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    "metadata",
    cases(a_list=[1], text="{}", a_number=1, nan={"x": float("nan")}, a_set={"x": {1}}, a_number_for_a_key={1: "x"}),
)
def test_marker_metadata_that_is_not_an_object_is_refused(
    lasting_store: Store, lasting_jam: Session, metadata: Any
) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(markers.add, lasting_jam.id, 0, "chorus", metadata=metadata)


def test_a_marker_error_names_the_argument_not_the_attribute(lasting_store: Store, lasting_jam: Session) -> None:
    # SQLAlchemy keeps the attribute "metadata" for itself; whoever calls does not know.
    with pytest.raises(InvalidInput, match=r"^metadata: ") as caught:
        lasting_store.run(markers.add, lasting_jam.id, 0, "chorus", metadata="{}")  # type: ignore[arg-type]
    assert caught.value.field == "metadata"


# Add many


def test_add_many_adds_all_markers(store: Store, other: Store, jam: Session) -> None:
    new = [markers.NewMarker(beat, f"at {beat}", {"n": beat}) for beat in range(100)]
    added = store.run(markers.add_many, jam.id, new)
    assert [(marker.beat, marker.name, marker.metadata_) for marker in added] == [
        (each.beat, each.name, each.metadata) for each in new
    ]
    assert other.query(markers.page, jam.id, limit=1000).items == added


def test_add_many_takes_markers_from_any_iterable(store: Store, other: Store, jam: Session) -> None:
    store.run(markers.add_many, jam.id, (markers.NewMarker(beat, "bar") for beat in (8, 0, 4)))
    assert beats_of(other.query(markers.page, jam.id).items) == [0.0, 4.0, 8.0]


def test_add_many_adds_no_marker_if_one_is_bad(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow, pytest.raises(InvalidInput):
        markers.add_many(uow, jam.id, [markers.NewMarker(0, "intro"), markers.NewMarker(-1, "before")])
    assert other.query(markers.page, jam.id).items == []


@pytest.mark.parametrize(
    "add",
    [
        lambda uow: markers.add(uow, "nowhere", 0, "chorus"),
        lambda uow: markers.add_many(uow, "nowhere", [markers.NewMarker(0, "chorus")]),
        lambda uow: markers.add_many(uow, "nowhere", []),
    ],
    ids=["add", "add_many", "add_many of none"],
)
def test_a_marker_of_a_missing_session_is_refused(lasting_store: Store, add: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(add)


# Get and find


def test_getting_a_missing_marker_names_it(lasting_store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.query(markers.get, "nowhere")
    assert (caught.value.entity, caught.value.key) == ("marker", "nowhere")


def test_finding_a_missing_marker_returns_none(lasting_store: Store) -> None:
    assert lasting_store.query(markers.find, "nowhere") is None


@pytest.mark.parametrize("operation", [markers.get, markers.find, markers.delete])
@pytest.mark.parametrize("marker_id", BAD_IDS)
def test_a_marker_lookup_by_an_invalid_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], marker_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, marker_id)
    assert caught.value.field == "marker_id"


# Page


def test_markers_are_paged_by_beat_then_id(store: Store, other: Store, jam: Session) -> None:
    make(store, MarkerFactory)
    made = make_many(
        store, MarkerFactory, *[{"beat": beat} for beat in (100.0, 16.0, 9.0, 16.0, 0.0)], session_id=jam.id
    )
    assert other.query(markers.page, jam.id).items == sorted(made, key=lambda marker: (marker.beat, marker.id))


def test_pages_of_markers_go_forward_and_back(store: Store, other: Store, jam: Session) -> None:
    make_many(store, MarkerFactory, *[{"beat": beat} for beat in (0.0, 1.0, 1.0, 2.0, 3.0)], session_id=jam.id)
    first = other.query(markers.page, jam.id, limit=2)
    second = other.query(markers.page, jam.id, limit=2, cursor=first.next_cursor)
    back = other.query(markers.page, jam.id, limit=2, cursor=second.previous_cursor)
    assert (beats_of(first.items), beats_of(second.items)) == ([0.0, 1.0], [1.0, 2.0])
    assert back.items == first.items


@pytest.mark.parametrize("listed", [1, 300])
def test_a_page_of_markers_takes_one_statement_however_many_there_are(store: Store, jam: Session, listed: int) -> None:
    store.run(markers.add_many, jam.id, [markers.NewMarker(beat, "bar") for beat in range(listed)])
    with recorded_statements(store) as sent:
        assert len(store.query(markers.page, jam.id, limit=1000).items) == listed
    assert len(sent) == 1


# Between


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((0, 64), [0.0, 16.0, 32.0, 32.5]),
        ((0, 32), [0.0, 16.0]),
        ((32, 64), [32.0, 32.5]),
        ((16, 16.000001), [16.0]),
        ((16, 16), []),
        ((1, 15), []),
        ((33, 1e308), []),
        ((0, 0), []),
    ],
)
def test_a_range_of_markers_includes_its_first_beat_but_not_its_last(
    store: Store, other: Store, jam: Session, edges: tuple[float, float], expected: list[float]
) -> None:
    make_many(store, MarkerFactory, *[{"beat": beat} for beat in (32.5, 0.0, 32.0, 16.0)], session_id=jam.id)
    assert beats_of(other.query(markers.between, jam.id, *edges).items) == expected


@given(beats=st.lists(st.floats(0, 100), max_size=10), cuts=st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_adjacent_ranges_of_markers_neither_share_nor_miss_one(
    lasting_store: Store, beats: list[float], cuts: list[float]
) -> None:
    session = make(lasting_store, SessionFactory)
    make_many(lasting_store, MarkerFactory, *[{"beat": beat} for beat in beats], session_id=session.id)
    edges = [0.0, *sorted(cuts), 101.0]
    with lasting_store.read() as uow:
        found = [
            marker.beat
            for start, end in pairwise(edges)
            for marker in markers.between(uow, session.id, start, end).items
        ]
    assert found == sorted(beats)


def test_a_range_of_markers_is_paged(store: Store, other: Store, jam: Session) -> None:
    make_many(store, MarkerFactory, *[{"beat": float(beat)} for beat in range(8)], session_id=jam.id)
    first = other.query(markers.between, jam.id, 2, 7, limit=3)
    second = other.query(markers.between, jam.id, 2, 7, limit=3, cursor=first.next_cursor)
    assert (beats_of(first.items), beats_of(second.items)) == ([2.0, 3.0, 4.0], [5.0, 6.0])
    assert second.next_cursor is None


def test_a_range_of_markers_leaves_out_other_sessions(store: Store, jam: Session) -> None:
    make(store, MarkerFactory, beat=16.0)
    assert store.query(markers.between, jam.id, 0, 64).items == []


def test_a_backwards_range_of_markers_is_refused(lasting_store: Store, lasting_jam: Session) -> None:
    with pytest.raises(InvalidInput, match="before") as caught:
        lasting_store.query(markers.between, lasting_jam.id, 16, 15.9)
    assert caught.value.field == "to_beat"


@pytest.mark.parametrize("beat", BAD_BEATS)
@pytest.mark.parametrize(("edge", "values"), [("from_beat", {"to_beat": 1}), ("to_beat", {"from_beat": 0})])
def test_a_range_of_markers_with_an_invalid_beat_is_refused(
    lasting_store: Store, lasting_jam: Session, edge: str, values: dict[str, Any], beat: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(markers.between, lasting_jam.id, **{edge: beat}, **values)
    assert caught.value.field == edge


# Delete


def test_deleting_a_marker_deletes_no_other(store: Store, other: Store, jam: Session) -> None:
    doomed, kept = make_many(store, MarkerFactory, {}, {}, session_id=jam.id)
    store.run(markers.delete, doomed.id)
    assert other.query(markers.page, jam.id).items == [kept]


def test_deleting_a_missing_marker_is_an_error(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(markers.delete, "nowhere")
