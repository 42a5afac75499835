"""Lines and events of a journal, for the tests of all that is done with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.services.scene import make, make_many
from vibeweaver_store import Session, Store
from vibeweaver_store.models import JournalEvent, SessionKind
from vibeweaver_store.services import journal
from vibeweaver_store.testing import EPOCH, JournalEventFactory, SessionFactory

SOURCE = "7c1e4a52-0d3b-4f6a-9a51-2f0c8d1b6e90"


def make_agent(store: Store) -> Session:
    return make(store, SessionFactory, kind=SessionKind.AGENT, tempo_bpm=None)


def line(uuid: str | None = None, event_type: str = "user", **fields: Any) -> dict[str, Any]:
    own = {} if uuid is None else {"uuid": uuid}
    return {"type": event_type, "sessionId": SOURCE, **own, **fields}


def uuids(events: list[JournalEvent]) -> list[str]:
    return [event.event_uuid for event in events]


def ids(events: list[JournalEvent]) -> list[int]:
    return [event.id for event in events if event.id is not None]


def everything(store: Store, session: Session, **filters: Any) -> list[str]:
    return uuids(list(journal.iterate(store, session.id, **filters)))


def make_mixed(store: Store) -> Session:
    """Events of two types, on two sides, at times that run against their order; one has none, one is of another."""
    agent, elsewhere = make_agent(store), make(store, SessionFactory)
    make_many(
        store,
        JournalEventFactory,
        {"event_uuid": "a", "timestamp": EPOCH + timedelta(hours=3)},
        {"event_uuid": "b", "timestamp": EPOCH + timedelta(hours=2), "event_type": "assistant"},
        {"event_uuid": "c", "timestamp": None, "is_sidechain": True},
        {"event_uuid": "d", "timestamp": EPOCH + timedelta(hours=1), "is_sidechain": True},
        {"event_uuid": "e", "timestamp": EPOCH + timedelta(hours=2), "is_sidechain": True, "event_type": "assistant"},
        session_id=agent.id,
    )
    make(store, JournalEventFactory, timestamp=EPOCH + timedelta(hours=2), session_id=elsewhere.id)
    return agent
