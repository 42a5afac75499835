"""The revision of a session's rules: a number that no two states of them share, so that a copy can be checked."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlmodel import col

from vibeweaver_store.columns import INTEGER, Id, UtcDateTime
from vibeweaver_store.errors import NotFound
from vibeweaver_store.hot import Hot
from vibeweaver_store.models.session import Session, new_revision
from vibeweaver_store.models.weaving import Rule
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


def revision(uow: ReadUnitOfWork, session_id: str) -> int | None:
    """Return the revision of a session's rules, ``None`` where there is no such session.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    found = REVISION.first(uow, id=key)
    return None if found is None else found[0]


def revise(uow: UnitOfWork, session_id: str) -> int:
    """Say that the rules of a session change in this unit of work, and return their revision from now on.

    Services do, and so do edits of rows. Whoever changes rules by a statement of their own is to call it too. It is
    noted as activity of the session. On PostgreSQL it waits for others who change rules of the same session.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    changed = new_revision()
    if _REVISE.count(uow, id=key, revision=changed, at=uow.now()) == 0:
        raise NotFound("session", key)
    return changed


_OF_SESSION: Final = col(Session.id) == sa.bindparam("id")
REVISION: Final = Hot(sa.select(col(Session.rules_rev)).where(_OF_SESSION))
"""The statement of :func:`revision`, for :meth:`Store.glance`; the session is its ``id``."""
_REVISE: Final = Hot(
    sa.update(Session)
    .where(_OF_SESSION)
    .values(rules_rev=sa.bindparam("revision", type_=INTEGER), last_activity_at=sa.bindparam("at", type_=UtcDateTime()))
)


@event.listens_for(UnitOfWork, "before_flush")
def _revise_by_rows(uow: UnitOfWork, *_: object) -> None:
    for row in uow.dirty:
        # Merged from elsewhere, a row would bring an old revision back.
        if isinstance(row, Session) and sa.inspect(row).attrs.rules_rev.history.has_changes():
            row.rules_rev = new_revision()
    changed = [row for row in (*uow.new, *uow.dirty, *uow.deleted) if isinstance(row, Rule)]
    for session_id in sorted({session_id for row in changed for session_id in _sessions_of(row)}):
        revise(uow, session_id)


def _sessions_of(row: Rule) -> list[str]:
    """Return the session that a row belongs to, and the one that it belonged to before it was edited.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    added, unchanged, deleted = sa.inspect(row).attrs.session_id.history
    return [require(Id, each, field="session_id") for each in (*added, *unchanged, *deleted)]
