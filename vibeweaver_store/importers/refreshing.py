"""Sessions that were imported before: brought up to what their source says now, unless somebody changed them here.

A session is untouched while its version is the one that an import left, and nothing was done in it since: imports set
``last_activity_at`` to the source's ``updated_at``. The version is 1 where a session was made; where an import has
changed it since, the report of the import that made it says which (:data:`REFRESHED`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.errors import NotFound
from vibeweaver_store.importers.recorded import Part
from vibeweaver_store.models import Import, Session
from vibeweaver_store.services import sessions
from vibeweaver_store.services.session_rows import lock
from vibeweaver_store.unit_of_work import UnitOfWork

REFRESHED: Final = "refreshed"
"""Where the report of an import names the sessions that it made and later ones changed: versions by session."""

_FOLLOWED: Final = (
    *("name", "vibe", "tempo_bpm", "status", "agent_status", "working_dir", "attributes"),
    *("created_at", "updated_at", "completed_at"),
)


class _Making(NamedTuple):
    """The import that made a session, held: its id, and when it began."""

    id: int
    started_at: datetime


class Earlier:
    """A session that was there before, which nobody else changes until the unit of work ends.

    Attributes:
        session: its row, as it was found.
        attributes: its attributes, as they were written last.
        made_by: the import that made it, where that was one of the same importer.
        untouched: whether nobody has changed it here, nor done anything in it, since an import wrote it.
    """

    def __init__(self, session: Session, made_by: _Making | None, version_left: int) -> None:
        self.session = session
        self.attributes: Mapping[str, Any] = session.attributes
        self.made_by = made_by
        is_as_left = session.version == version_left and session.last_activity_at == session.updated_at
        self.untouched = made_by is not None and is_as_left
        self._version = session.version

    def differences(self, now: Session) -> dict[str, Any]:
        """Return the columns that its source has otherwise by now."""
        return {name: new for name in _FOLLOWED if (new := getattr(now, name)) != getattr(self.session, name)}

    def write(self, uow: UnitOfWork, part: Part, changes: Mapping[str, Any]) -> None:
        """Write changes of its row as an import's own: where it was untouched, it is so for the next import."""
        key = self.session.id
        self._version += 1
        values = {**changes, "version": self._version}
        if self.untouched:
            values["last_activity_at"] = part.activity[key] = changes.get("updated_at", self.session.updated_at)
        uow.exec(sa.update(Session).where(col(Session.id) == key).values(**values))
        uow.announce(sessions.topic(key))
        self.attributes = changes.get("attributes", self.attributes)
        if self.untouched and self.made_by is not None:
            report = _report(uow, self.made_by.id)
            noted = {**report, REFRESHED: {**_versions(report), key: self._version}}
            uow.exec(sa.update(Import).where(col(Import.id) == self.made_by.id).values(report=noted))


def _report(uow: UnitOfWork, import_id: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = uow.exec(select(col(Import.report)).where(col(Import.id) == import_id)).one()
    return found


def _versions(report: Mapping[str, Any]) -> Mapping[str, int]:
    found = report.get(REFRESHED)
    return found if isinstance(found, Mapping) else {}


def find_earlier(uow: UnitOfWork, importer: str, session_id: str) -> Earlier | None:
    """Return a session that is there, and hold it; ``None`` where it is not."""
    found = sessions.find(uow, session_id)
    if found is None:
        return None
    made_by = _making(uow, importer, found.import_id)
    with suppress(NotFound):  # it was deleted meanwhile
        there = lock(uow, session_id, None)
        if made_by is None or there.import_id != made_by.id:
            return Earlier(there, None, there.version)
        return Earlier(there, made_by, _versions(_report(uow, made_by.id)).get(session_id, 1))
    return None


def _making(uow: UnitOfWork, importer: str, import_id: int | None) -> _Making | None:
    """Hold an import of an importer: before its sessions, as an undo does."""
    of = (col(Import.id) == import_id, col(Import.importer) == importer)
    found = select(col(Import.id), col(Import.started_at)).where(*of).with_for_update(key_share=True)
    return next((_Making(key, began) for key, began in uow.exec(found) if key is not None), None)


def bring_again(
    uow: UnitOfWork, part: Part, earlier: Earlier, now: Session, *, item: object, others_differ: bool = False
) -> bool:
    """Bring a session up to what its source says now, if nobody touched it here; count it, and say whether it was.

    A source that is older than what is here changes nothing. Where both were changed, the session stays as it is here:
    that is a problem if the source says that it was changed after the import, and else a note.

    Args:
        uow: the unit of work to write in.
        part: what the unit of work brings.
        earlier: the session as it is here.
        now: the session as its source has it.
        item: what the source calls it, for the report.
        others_differ: its source has rows of it otherwise that the caller writes.
    """
    changes = earlier.differences(now)
    is_older = now.updated_at < earlier.session.updated_at
    if earlier.made_by is None or not (changes or others_differ) or (earlier.untouched and is_older):
        part.counts.duplicate += 1
        return False
    if earlier.untouched:
        earlier.write(uow, part, changes)
        part.counts.updated += 1
        return True
    if now.updated_at > earlier.made_by.started_at:
        part.leave_out(item, "it was changed here, and since it was imported also there; it stays as it is here")
    else:
        part.counts.duplicate += 1
        part.note(f"{item} was changed here and stays as it is here")
    return False
