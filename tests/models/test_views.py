"""The views: read as rows are, and never written."""

from __future__ import annotations

import pytest

from tests.services.scene import make
from vibeweaver_store import InvalidInput, SessionComplete, Store, UnitOfWork, sessions
from vibeweaver_store.testing import SessionFactory


def shown(uow: UnitOfWork) -> SessionComplete:
    return sessions.overview(uow).items[0]


def test_a_row_of_a_view_cannot_be_changed(store: Store, other: Store) -> None:
    made = make(store, SessionFactory)
    with pytest.raises(InvalidInput, match="session_complete is a view"), store.begin() as uow:
        shown(uow).name = "another"
    assert other.query(sessions.get, made.id).name == made.name


def test_a_row_of_a_view_cannot_be_deleted(store: Store, other: Store) -> None:
    made = make(store, SessionFactory)
    with pytest.raises(InvalidInput, match="session_complete is a view"), store.begin() as uow:
        uow.delete(shown(uow))
        uow.flush()
    assert other.query(sessions.get, made.id).name == made.name


def test_a_row_cannot_be_inserted_into_a_view(store: Store) -> None:
    with pytest.raises(InvalidInput, match="session_complete is a view"), store.begin() as uow:
        uow.insert(SessionComplete(id="mine", name="late set"))
