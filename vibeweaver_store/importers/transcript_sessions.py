"""The session of a transcript: made of its first lines, and kept up with those that come later."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import PathText
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.hot import Hot, placed
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.importers.transcript_lines import FOLDERS, TITLES, UNTITLED, Facts
from vibeweaver_store.models import AgentStatus, JournalEvent, Session, SessionKind, SessionStatus
from vibeweaver_store.services import sessions, workspaces
from vibeweaver_store.unit_of_work import UnitOfWork, upsert
from vibeweaver_store.validation import require

_NEWEST: Final = ("summary of another", "summary", "custom title")
"""Of these names the newest one counts, of others the first."""

_LEAVES: Final = 500
_MOST_SUMMARIES: Final = 20

_KEPT_UP: Final = (SessionStatus.COMPLETED, SessionStatus.FAILED)
"""A session that somebody has moved elsewhere keeps its status."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a session comes from: which importer, which import, and the folder that its transcript lies in."""

    importer: str
    import_id: int
    folder: str


def make_sure(uow: UnitOfWork, session_id: str, facts: Facts, origin: Origin) -> bool:
    """Make a session where there is none, and say whether it was made.

    Raises:
        InvalidInput: the session cannot be called so.
    """
    if sessions.find(uow, session_id) is not None:
        return False
    values = _values(uow, session_id, None, facts, origin)
    made = _SESSIONS.checked({"id": session_id, "kind": SessionKind.AGENT, "import_id": origin.import_id, **values})
    return _make(uow.backend).count(uow, **made) == 1  # else somebody made it just now


_SESSIONS: Final = HotInsert(Session)


@cache
def _make(backend: str) -> Hot:
    names = {name: name for name in Session.model_fields}
    return Hot(upsert(Session, backend).on_conflict_do_nothing(index_elements=["id"]), names=names)


@cache
def _keep(names: tuple[str, ...]) -> Hot:
    """Return the statement that brings columns of a session up to what lines say."""
    changes: dict[Any, Any] = dict([placed(Session, name) for name in names])
    statement = sa.update(Session).where(col(Session.id) == sa.bindparam("session_id"))
    return Hot(statement.values({**changes, Session.version: col(Session.version) + 1}))


def keep_up(uow: UnitOfWork, session_id: str, facts: Facts, origin: Origin) -> None:
    """Bring a session up to what more lines say.

    One that was not made by this importer, or whose attributes somebody has changed, stays as it is. So does a name
    that somebody has changed.
    """
    session = sessions.get(uow, session_id)
    if session.import_id is None or not _is_of_importer(session.attributes, origin.importer):
        return
    changes = _values(uow, session_id, session, facts, origin)
    if all(getattr(session, name) == value for name, value in changes.items()):
        return
    new = {f"new_{name}": value for name, value in changes.items()}
    _keep(tuple(changes)).count(uow, session_id=session_id, **new)


def _is_of_importer(attributes: Mapping[str, Any], importer: str) -> bool:
    noted = attributes.get("import")
    whole = isinstance(noted, Mapping) and noted.get("title_from") in TITLES and noted.get("folder_from") in FOLDERS
    return whole and attributes.get("source") == importer


def _values(uow: UnitOfWork, session_id: str, session: Session | None, facts: Facts, origin: Origin) -> dict[str, Any]:
    known: Mapping[str, Any] = {} if session is None else session.attributes
    noted: Mapping[str, Any] = known.get("import", {})
    title, title_from = _title(uow, session_id, facts, noted)
    folder, folder_from = _folder(facts, noted, origin)
    first, last = _span(uow, session, facts, timed=bool(noted.get("timed")))
    timed = bool(noted.get("timed")) or facts.first_at is not None
    attributes = facts.attributes({"source": origin.importer, **known})
    attributes["import"] = {"title": title, "title_from": title_from, "folder_from": folder_from, "timed": timed}
    values = {"attributes": attributes, "created_at": first, "updated_at": last, "last_activity_at": last}
    if session is None or session.name == noted.get("title"):
        values["name"] = title
    if session is None or folder_from != noted.get("folder_from"):
        values["working_dir"] = folder
        values["workspace_id"] = _workspace(uow, folder, origin) if folder_from != FOLDERS[0] else None
    return {**values, **_status(session, facts, last)}


def _title(uow: UnitOfWork, session_id: str, facts: Facts, noted: Mapping[str, Any]) -> tuple[str, str]:
    """Return the best name so far, and what it is from. A newer title or summary takes the place of an older one."""
    found = dict(facts.titles)
    own = _those_of(uow, session_id, facts.summaries)
    for leaf, summary in facts.summaries:
        found["summary" if leaf in own else "summary of another"] = summary
    before = noted.get("title_from", TITLES[0])
    best = max(found, key=TITLES.index, default=TITLES[0])
    better, equal = TITLES.index(best) > TITLES.index(before), best == before
    if better or (equal and best in _NEWEST):
        return found[best], best
    return noted.get("title", UNTITLED), before


def _those_of(uow: UnitOfWork, session_id: str, summaries: list[tuple[str, str]]) -> set[str]:
    """Return the lines that are the session's, of those that summaries go up to: mostly they are of other sessions."""
    leaves = sorted({leaf for leaf, _ in summaries if leaf})
    line, of_session = col(JournalEvent.event_uuid), col(JournalEvent.source_session_id) == session_id
    found: set[str] = set()
    for start in range(0, len(leaves), _LEAVES):
        among = line.in_(leaves[start : start + _LEAVES])
        found.update(uow.exec(select(line).where(of_session, among)))
    return found


def open_summaries(uow: UnitOfWork, session_id: str, summaries: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the summaries that may turn out to be the session's newest: their line may be still to come.

    Those that stand before one that is the session's cannot; and of very many the last ones are kept.
    """
    own = _those_of(uow, session_id, summaries)
    newest = max((number for number, (leaf, _) in enumerate(summaries, 1) if leaf in own), default=0)
    return [each for each in summaries[newest:] if each[0]][-_MOST_SUMMARIES:]


def _folder(facts: Facts, noted: Mapping[str, Any], origin: Origin) -> tuple[str, str]:
    """Return the best working directory of these lines, and what it is from, or what it was from before."""
    before = noted.get("folder_from", FOLDERS[0])
    best = max((name for name, path in facts.folders.items() if _is_path(path)), key=FOLDERS.index, default=FOLDERS[0])
    if FOLDERS.index(best) > FOLDERS.index(before):
        return facts.folders[best], best
    return origin.folder, before


def _is_path(value: str) -> bool:
    with suppress(InvalidInput):
        require(PathText, value, field="cwd")
        return True
    return False


def _workspace(uow: UnitOfWork, folder: str, origin: Origin) -> str | None:
    """Return the workspace of a folder, made if it is not there; none of what is a placeholder for one."""
    if not (PurePosixPath(folder).is_absolute() or PureWindowsPath(folder).is_absolute()):
        return None
    return workspaces.ensure(uow, folder, import_id=origin.import_id).id


def _span(uow: UnitOfWork, session: Session | None, facts: Facts, *, timed: bool) -> tuple[datetime, datetime]:
    """Return the session's first and last time; now, until a line has told one."""
    times = [at for at in (facts.first_at, facts.last_at) if at is not None]
    if session is not None and (timed or not times):
        times += [session.created_at, session.updated_at]
    return min(times, default=uow.now()), max(times, default=uow.now())


def _status(session: Session | None, facts: Facts, last: datetime) -> dict[str, Any]:
    if session is not None and session.status not in _KEPT_UP:
        return {}
    if session is not None and facts.failed is None:
        return {"completed_at": last}
    status, agent_status = (
        (SessionStatus.FAILED, AgentStatus.ERROR) if facts.failed else (SessionStatus.COMPLETED, AgentStatus.COMPLETED)
    )
    return {"status": status, "agent_status": agent_status, "completed_at": last}
