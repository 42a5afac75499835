"""Snapshots: versions of a session's state, checked when they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, VERBATIM, cases
from tests.services.scene import make, make_many
from vibeweaver_store import CorruptData, InvalidInput, NotFound, Session, Store, snapshots
from vibeweaver_store.testing import SessionFactory, SettableClock, SnapshotFactory

MIB = 1024 * 1024


def save_all(store: Store, session_id: str, *states: bytes) -> list[int]:
    with store.begin() as uow:
        return [snapshots.save(uow, session_id, state).id for state in states]


def labels_of(store: Store, session_id: str) -> list[str | None]:
    return [info.label for info in store.query(snapshots.page, session_id).items]


# Save and load


def test_a_snapshot_state_is_loaded_as_it_was_saved(store: Store, other: Store, jam: Session) -> None:
    store.run(snapshots.save, jam.id, b"\x00\xffstate\n'\"")
    assert other.query(snapshots.load, jam.id).state == b"\x00\xffstate\n'\""


def test_saving_a_snapshot_returns_all_but_its_state(store: Store, jam: Session, clock: SettableClock) -> None:
    info = store.run(snapshots.save, jam.id, b"state", label="before the drop")
    assert info == snapshots.SnapshotInfo(
        info.id, jam.id, 5, hashlib.sha256(b"state").hexdigest(), "before the drop", clock.instant
    )


def test_a_loaded_snapshot_has_the_values_saving_returned(store: Store, other: Store, jam: Session) -> None:
    info = store.run(snapshots.save, jam.id, b"state", label="before the drop")
    found = other.query(snapshots.load, jam.id)
    assert info == snapshots.SnapshotInfo(
        found.id or 0, found.session_id, found.size_bytes, found.sha256, found.label, found.captured_at
    )


def test_a_snapshot_state_may_be_empty(store: Store, other: Store, jam: Session) -> None:
    store.run(snapshots.save, jam.id, b"")
    found = other.query(snapshots.load, jam.id)
    assert (found.state, found.size_bytes) == (b"", 0)


def test_a_snapshot_state_of_64_mib_is_loaded_as_it_was_saved(store: Store, other: Store, jam: Session) -> None:
    state = hashlib.shake_128(b"late set").digest(MIB) * 64
    store.run(snapshots.save, jam.id, state)
    found = other.query(snapshots.load, jam.id)
    assert (found.size_bytes, found.state == state) == (64 * MIB, True)


@given(state=st.binary(max_size=5000))
def test_any_bytes_of_a_snapshot_are_loaded_as_they_were_saved(lasting_store: Store, state: bytes) -> None:
    session = make(lasting_store, SessionFactory)
    lasting_store.run(snapshots.save, session.id, state)
    assert lasting_store.query(snapshots.load, session.id).state == state


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_snapshot_state_may_be_any_bytes_like_object(
    store: Store, other: Store, jam: Session, kind: Callable[[bytes], Any]
) -> None:
    store.run(snapshots.save, jam.id, kind(b"state"))
    assert other.query(snapshots.load, jam.id).state == b"state"


@pytest.mark.parametrize("label", VERBATIM)
def test_snapshot_labels_are_kept_verbatim(lasting_store: Store, label: str) -> None:
    session = make(lasting_store, SessionFactory)
    lasting_store.run(snapshots.save, session.id, b"state", label=label)
    assert lasting_store.query(snapshots.load, session.id).label == label


def test_the_newest_snapshot_is_loaded_by_default(store: Store, other: Store, jam: Session) -> None:
    save_all(store, jam.id, b"first", b"second", b"third")
    assert other.query(snapshots.load, jam.id).state == b"third"


def test_a_snapshot_is_loaded_by_its_id(store: Store, other: Store, jam: Session) -> None:
    _, second, _ = save_all(store, jam.id, b"first", b"second", b"third")
    assert other.query(snapshots.load, jam.id, second).state == b"second"


def test_a_snapshot_of_another_session_is_not_found(store: Store, jam: Session) -> None:
    stranger = make(store, SnapshotFactory)
    with pytest.raises(NotFound) as caught:
        store.query(snapshots.load, jam.id, stranger.id)
    assert (caught.value.entity, caught.value.key) == ("snapshot of session", (jam.id, stranger.id))


def test_loading_a_snapshot_of_a_session_without_one_is_not_found(store: Store, jam: Session) -> None:
    with pytest.raises(NotFound) as caught:
        store.query(snapshots.load, jam.id)
    assert caught.value.key == jam.id


def test_saving_a_snapshot_for_a_missing_session_is_an_error(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(snapshots.save, "nowhere", b"state")


# Damage


@pytest.mark.parametrize(
    ("column", "value"),
    [("state", b"stale"), ("sha256", "0" * 64), ("sha256", hashlib.sha256(b"stale").hexdigest().upper())],
    ids=["another state", "another checksum", "a checksum in capitals"],
)
def test_a_damaged_snapshot_is_not_loaded(store: Store, other: Store, jam: Session, column: str, value: object) -> None:
    saved = store.run(snapshots.save, jam.id, b"state")
    with store.begin() as uow:
        uow.execute(sa.text(f"UPDATE snapshots SET {column} = :value").bindparams(value=value))
    with pytest.raises(CorruptData, match=f"snapshot {saved.id} of session '{jam.id}'"):
        other.query(snapshots.load, jam.id)


def test_a_damaged_snapshot_does_not_affect_others(store: Store, other: Store, jam: Session) -> None:
    first, second = save_all(store, jam.id, b"first", b"second")
    with store.begin() as uow:
        uow.execute(sa.text("UPDATE snapshots SET state = :state WHERE id = :id"), {"state": b"damage", "id": second})
    assert other.query(snapshots.load, jam.id, first).state == b"first"


# Page


def test_snapshots_are_paged_newest_first(store: Store, other: Store, jam: Session) -> None:
    make(store, SnapshotFactory)
    with store.begin() as uow:
        saved = [snapshots.save(uow, jam.id, bytes(n), label=f"take {n}") for n in range(5)]
    assert other.query(snapshots.page, jam.id).items == saved[::-1]


def test_pages_of_snapshots_go_forward_and_back(store: Store, other: Store, jam: Session) -> None:
    saved = save_all(store, jam.id, *[b"state"] * 5)
    first = other.query(snapshots.page, jam.id, limit=2)
    second = other.query(snapshots.page, jam.id, limit=2, cursor=first.next_cursor)
    back = other.query(snapshots.page, jam.id, limit=2, cursor=second.previous_cursor)
    assert [info.id for info in first.items + second.items] == saved[:0:-1]
    assert back.items == first.items


def test_a_page_of_snapshots_does_not_read_their_states(store: Store, jam: Session) -> None:
    save_all(store, jam.id, b"state")
    with recorded_statements(store) as sent:
        store.query(snapshots.page, jam.id)
    (statement,) = sent
    assert "sha256" in statement
    assert "state" not in statement


# Prune and keep


@pytest.mark.parametrize(
    ("keep", "left"), [(1, ["take 4"]), (2, ["take 4", "take 3"]), (5, None), (6, None), (2**63 - 1, None)]
)
def test_pruning_keeps_the_newest_snapshots(
    store: Store, other: Store, jam: Session, keep: int, left: list[str] | None
) -> None:
    make_many(store, SnapshotFactory, *[{"label": f"take {n}"} for n in range(5)], session_id=jam.id)
    expected = left or [f"take {n}" for n in reversed(range(5))]
    assert store.run(snapshots.prune, jam.id, keep=keep) == 5 - len(expected)
    assert labels_of(other, jam.id) == expected


def test_pruning_leaves_snapshots_of_other_sessions_alone(store: Store, other: Store, jam: Session) -> None:
    stranger = make(store, SnapshotFactory, label="a stranger's")
    make(store, SnapshotFactory, session_id=stranger.session_id, label="the stranger's last")
    make_many(store, SnapshotFactory, {}, {}, session_id=jam.id)
    store.run(snapshots.prune, jam.id, keep=1)
    assert labels_of(other, stranger.session_id) == ["the stranger's last", "a stranger's"]


def test_a_missing_session_has_no_snapshots_to_prune(lasting_store: Store) -> None:
    assert lasting_store.run(snapshots.prune, "nowhere", keep=1) == 0


def test_saving_a_snapshot_may_prune_older_ones(store: Store, other: Store, jam: Session) -> None:
    for take in range(5):
        store.run(snapshots.save, jam.id, b"state", label=f"take {take}", keep=2)
    assert labels_of(other, jam.id) == ["take 4", "take 3"]


def test_a_snapshot_id_is_never_reused(store: Store, jam: Session) -> None:
    newest = make(store, SnapshotFactory)
    with store.begin() as uow:
        uow.execute(sa.text("DELETE FROM snapshots"))
    assert save_all(store, jam.id, b"state")[0] > (newest.id or 0)


# Refusals


@pytest.mark.parametrize("state", cases(text="state", nothing=None, a_number=5, a_list=[1, 2], a_document={"a": 1}))
def test_a_snapshot_state_that_is_not_bytes_is_refused(lasting_store: Store, lasting_jam: Session, state: Any) -> None:
    with pytest.raises(InvalidInput, match="must be bytes") as caught:
        lasting_store.run(snapshots.save, lasting_jam.id, state)
    assert caught.value.field == "state"


def test_a_snapshot_state_that_is_too_large_is_refused(
    lasting_store: Store, lasting_jam: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_STATE_BYTES", 4)
    with pytest.raises(InvalidInput, match="5 bytes are more than 4") as caught:
        lasting_store.run(snapshots.save, lasting_jam.id, b"state")
    assert caught.value.field == "state"


@pytest.mark.parametrize("label", cases(empty="", blank="  ", a_number=5, nul="a\x00", surrogate="\ud800"))
def test_an_invalid_snapshot_label_is_refused(lasting_store: Store, lasting_jam: Session, label: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(snapshots.save, lasting_jam.id, b"state", label=label)
    assert caught.value.field == "label"


BAD_KEEPS = cases(zero=0, negative=-1, true=True, a_float=1.0, text="2", too_large=2**63)


@pytest.mark.parametrize("keep", [*BAD_KEEPS, pytest.param(None, id="nothing")])
def test_pruning_snapshots_to_an_invalid_number_is_refused(
    lasting_store: Store, lasting_jam: Session, keep: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(snapshots.prune, lasting_jam.id, keep=keep)
    assert caught.value.field == "keep"


@pytest.mark.parametrize("keep", BAD_KEEPS)
def test_saving_a_snapshot_and_keeping_an_invalid_number_saves_nothing(
    store: Store, other: Store, jam: Session, keep: Any
) -> None:
    with store.begin() as uow, pytest.raises(InvalidInput):
        snapshots.save(uow, jam.id, b"state", keep=keep)
    assert other.query(snapshots.page, jam.id).items == []


@pytest.mark.parametrize("snapshot_id", cases(text="1", negative=-1, true=True, a_float=1.0, too_large=2**63))
def test_loading_a_snapshot_by_an_invalid_id_is_refused(
    lasting_store: Store, lasting_jam: Session, snapshot_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(snapshots.load, lasting_jam.id, snapshot_id)
    assert caught.value.field == "snapshot_id"


@pytest.mark.parametrize("session_id", BAD_IDS)
@pytest.mark.parametrize(
    "operation",
    [
        lambda uow, key: snapshots.save(uow, key, b"state"),
        lambda uow, key: snapshots.prune(uow, key, keep=1),
        snapshots.load,
        snapshots.page,
    ],
    ids=["save", "prune", "load", "page"],
)
def test_a_snapshot_of_an_invalid_session_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, session_id)
    assert caught.value.field == "session_id"
