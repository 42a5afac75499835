"""Where sessions stand, and how they get there: see ``SessionStatus`` for what each status means."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import NotBlank, parse_enum
from vibeweaver_store.errors import IllegalTransition, InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.session import FINAL, TRANSITIONS, Session, SessionStatus
from vibeweaver_store.services.session_rows import lock, topic, write
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


def set_status(
    uow: UnitOfWork,
    session_id: str,
    status: SessionStatus | str,
    *,
    reason: str | None = None,
    expected_version: int | None = None,
) -> Session:
    """Move a session to another status, and return it. Where it is in that status already, nothing is written.

    ``completed_at`` is when it first came to be over (``completed``, ``failed``, ``archived``), and nothing while it
    is not. ``status_reason`` becomes the reason, or nothing.

    Args:
        uow: the unit of work to write in.
        session_id: which session.
        status: where it is to stand; ``active`` and ``error`` are read as ``running`` and ``failed``.
        reason: why, in free words.
        expected_version: the ``version`` that it was read at; whoever changed it since is not overruled.

    Raises:
        NotFound: there is no such session.
        IllegalTransition: it cannot move there from where it stands; ``allowed`` says where it could.
        StaleWrite: it is at another version; ``current`` is the session as it is now.
        InvalidInput: there is no such status, the reason is blank, or the version no whole number from 1.
    """
    wanted = parse_enum(SessionStatus, status, field="status")
    why = None if reason is None else require(NotBlank, reason, field="reason")
    session = lock(uow, session_id, expected_version)
    if session.status is wanted:
        return session
    changes = transition(uow, session, wanted, reason=why)
    uow.announce(topic(session.id))
    return write(uow, session.id, changes)


def transition(
    uow: UnitOfWork, session: Session, wanted: SessionStatus, *, reason: str | None = None
) -> dict[str, Any]:
    """Return what changes of a locked session that moves to another status.

    Raises:
        IllegalTransition: it cannot move there from where it stands.
    """
    allowed = TRANSITIONS[session.status]
    if wanted not in allowed:
        raise IllegalTransition("session", session.id, session.status, wanted, allowed)
    over_since = (session.completed_at or uow.now()) if wanted in FINAL else None
    return {"status": wanted, "status_reason": reason, "completed_at": over_since}


def reconcile(uow: UnitOfWork, *, idle_for: timedelta) -> list[Session]:
    """Mark as failed the sessions that say to be running and in which nothing was done for so long; return them by id.

    For after a crash: who was at work in them can no longer say how it ended. ``status_reason`` says since when nothing
    was done. ``last_activity_at`` stays as it was. On PostgreSQL a session that somebody holds is passed over, for
    something is being done in it.

    Args:
        uow: the unit of work to write in.
        idle_for: how long nothing was done; longer than what is at work may be silent for.

    Raises:
        InvalidInput: ``idle_for`` is no ``timedelta``, below 0, or longer than time itself.
    """
    now = uow.now()
    idle = (col(Session.status) == SessionStatus.RUNNING, col(Session.last_activity_at) < _before(now, idle_for))
    # By status, and then sieved: there are never many that say to be running. The condition stands in both places, so
    # that a session is spared which somebody touched between the look and the lock.
    found = select(col(Session.id)).where(*idle).with_for_update(key_share=True, skip_locked=True)
    changes: dict[str, Any] = {
        "status": SessionStatus.FAILED,
        "status_reason": sa.literal("no activity since ") + _spelled(uow, col(Session.last_activity_at)),
        "completed_at": now,
        "updated_at": now,
        "version": col(Session.version) + 1,
    }
    statement = sa.update(Session).where(col(Session.id).in_(found), *idle).values(**changes).returning(Session)
    failed: list[Session] = list(uow.execute(statement, execution_options={"synchronize_session": False}).scalars())
    for session in failed:
        uow.announce(topic(session.id))
    return sorted(failed, key=lambda session: session.id)


def _before(now: datetime, idle_for: object) -> datetime:
    if not isinstance(idle_for, timedelta) or idle_for < timedelta():
        raise InvalidInput(f"idle_for: must be a timedelta from 0 (got {shown(idle_for)})", field="idle_for")
    try:
        return now - idle_for
    except OverflowError:
        raise InvalidInput(f"idle_for: {idle_for} is longer than time itself", field="idle_for") from None


def _spelled(uow: ReadUnitOfWork, instant: Any) -> sa.ColumnElement[str]:
    """Return an instant as text, as it is stored on SQLite."""
    if uow.backend == "sqlite":
        return sa.type_coerce(instant, sa.Text())
    in_utc = sa.func.timezone("UTC", instant, type_=sa.DateTime())
    return sa.func.to_char(in_utc, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"', type_=sa.Text())
