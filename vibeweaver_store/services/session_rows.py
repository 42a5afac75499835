"""The rows of sessions: found, locked, written. What other services build on; callers find it in ``sessions``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import Field
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id, UtcDateTime
from vibeweaver_store.errors import NotFound, StaleWrite
from vibeweaver_store.hot import Hot, HotRows, placed
from vibeweaver_store.models.session import Session
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

_ACTIVITY_IS_KEPT_TO: Final = timedelta(seconds=1)
"""How exactly ``last_activity_at`` is kept: who appends a hundred times a second need not write it each time."""

_Version = Annotated[Count, Field(ge=1)]


_OF_ID: Final = col(Session.id) == sa.bindparam("id")
_ONE: Final = HotRows(Session, select(Session).where(_OF_ID))
_LOCKED: Final = HotRows(Session, select(Session).where(_OF_ID).with_for_update(key_share=True))
# NO KEY: rows that refer to the session can still be added meanwhile.
_HOLD: Final = Hot(
    sa.select(col(Session.rules_rev), col(Session.last_activity_at)).where(_OF_ID).with_for_update(key_share=True)
)
_NOTE: Final = Hot(sa.update(Session).where(_OF_ID).values(last_activity_at=sa.bindparam("at", type_=UtcDateTime())))
_THERE: Final = Hot(sa.select(col(Session.id)).where(_OF_ID))


def get(uow: ReadUnitOfWork, session_id: str) -> Session:
    """Return a session by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    session = find(uow, session_id)
    if session is None:
        raise NotFound("session", session_id)
    return session


def find(uow: ReadUnitOfWork, session_id: str) -> Session | None:
    """Return a session by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    return _ONE.first(uow, id=key)


def require_session(uow: ReadUnitOfWork, session_id: str) -> None:
    """See to it that a session is there, before something is written that belongs to it.

    A failed foreign key would undo the whole unit of work; this does not.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    if _THERE.first(uow, id=key) is None:
        raise NotFound("session", session_id)


def hold(uow: UnitOfWork, session_id: str, *, active: bool = True) -> None:
    """See to it that a session is there, and let nobody else append to it until the unit of work ends.

    That something is done in the session is noted in its ``last_activity_at``, once a second at most, unless ``active``
    says that it is not certain yet.

    On PostgreSQL the keys of a log are drawn when rows are written and seen when they are committed: without waiting
    for each other, a reader that goes by the key would pass over one that is committed late. SQLite has one writer.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    active_at = uow.known.get((hold, key)) or hold_rules(uow, key)[1]
    if active and uow.now() - active_at >= _ACTIVITY_IS_KEPT_TO:
        _NOTE.count(uow, id=key, at=uow.now())
        uow.known[hold, key] = uow.now()


def hold_rules(uow: UnitOfWork, session_id: str) -> tuple[int, datetime]:
    """Hold a session as :func:`hold` does; return the revision of its rules, and when something was last done in it.

    Nobody else changes its rules meanwhile.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    found: tuple[int, datetime] | None = _HOLD.first(uow, id=key)
    if found is None:
        raise NotFound("session", session_id)
    uow.known[hold, key] = found[1]
    return found


def part_with(uow: UnitOfWork, session_ids: Iterable[str]) -> None:
    """Tell who follows sessions that they were deleted, and have the unit of work forget that it holds them."""
    for session_id in session_ids:
        uow.known.pop((hold, session_id), None)
        uow.announce(topic(session_id))


def topic(session_id: str) -> str:
    """Return what is announced by whoever appends to one of a session's logs, moves its status, or deletes it."""
    return f"session {session_id}"


def lock(uow: UnitOfWork, session_id: str, expected_version: int | None) -> Session:
    """Return a session that nobody else changes until the unit of work ends, seen to be at a version where one is said.

    Raises:
        NotFound: there is none.
        StaleWrite: it is at another version.
        InvalidInput: the id is no text, or blank, or the version no whole number from 1.
    """
    key = require(Id, session_id, field="session_id")
    if expected_version is not None:
        require(_Version, expected_version, field="expected_version")
    session: Session | None = _LOCKED.first(uow, id=key)
    if session is None:
        raise NotFound("session", session_id)
    if expected_version is not None and session.version != expected_version:
        raise StaleWrite("session", key, expected_version, session)
    return session


def write(uow: UnitOfWork, session_id: str, changes: dict[str, Any]) -> Session:
    """Write changes of a locked session's row, with what every change of it brings; return it as it is then."""
    new = {f"new_{name}": value for name, value in changes.items()}
    changed: Session
    (changed,) = _change(tuple(changes)).all(uow, id=session_id, now=uow.now(), **new)
    return changed


@cache
def _change(names: tuple[str, ...]) -> HotRows[Session]:
    """Return the statement that writes columns of a session, with what every change of it brings."""
    now = sa.bindparam("now", type_=UtcDateTime())
    brought: dict[Any, Any] = {Session.version: col(Session.version) + 1, Session.updated_at: now}
    changes = dict([placed(Session, name) for name in names])
    statement = sa.update(Session).where(_OF_ID).values({**changes, **brought, Session.last_activity_at: now})
    return HotRows(Session, statement.returning(Session))
