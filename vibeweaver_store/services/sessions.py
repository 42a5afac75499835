"""Sessions: make, find, change, list and delete them.

The whole of it under one name: what is written here, and what stands in ``session_rows``, ``session_search`` and
``session_status``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.columns import Id, PathText, parse_enum
from vibeweaver_store.errors import AlreadyExists, InvalidInput, NotFound
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models.session import DEFAULT_TEMPO_BPM, AgentStatus, Session, SessionKind, TempoBpm
from vibeweaver_store.services.arguments import UNSET, Unset
from vibeweaver_store.services.session_rows import (
    find,
    get,
    hold,
    lock,
    part_with,
    require_session,
    topic,
    write,
)
from vibeweaver_store.services.session_search import SessionCount, SessionFilter, counts, overview, page, search
from vibeweaver_store.services.session_status import reconcile, set_status
from vibeweaver_store.services.workspaces import require_workspace
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "SessionCount",
    "SessionFilter",
    "counts",
    "create",
    "delete",
    "find",
    "get",
    "hold",
    "overview",
    "page",
    "reconcile",
    "require_session",
    "search",
    "set_status",
    "topic",
    "update",
]


_SESSIONS: Final = HotInsert(Session)


def create(
    uow: UnitOfWork,
    *,
    name: str | None = None,
    kind: SessionKind | str = SessionKind.JAM,
    vibe: str | None = None,
    tempo_bpm: float | Unset | None = UNSET,
    working_dir: str | None = None,
    workspace_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    session_id: str | None = None,
) -> Session:
    """Make a new session, a jam unless told otherwise.

    Args:
        uow: the unit of work to write in.
        name: what people call it; not blank, and need not be unique. A session may have none.
        kind: what sort of work it is. An arena's session is made with its arena: see ``arenas.create_arena``.
        vibe: its mood, in free words.
        tempo_bpm: beats a minute, 1 to 999; of a jam 120 by default, of other kinds none.
        working_dir: where its agent works; an agent's session needs one.
        workspace_id: the workspace that it belongs to.
        attributes: whatever else is to be kept with it, a JSON object.
        session_id: an id of your own; a UUIDv7 by default.

    Raises:
        InvalidInput: a value is blank, of a wrong type or out of range; a jam has no tempo, or an agent's session no
            working directory.
        NotFound: there is no such workspace.
        AlreadyExists: the id is taken.
    """
    now = uow.now()
    of_kind = parse_enum(SessionKind, kind, field="kind")
    tempo = (DEFAULT_TEMPO_BPM if of_kind is SessionKind.JAM else None) if isinstance(tempo_bpm, Unset) else tempo_bpm
    values = {
        "kind": of_kind,
        "name": name,
        "vibe": vibe,
        "tempo_bpm": tempo,
        "agent_status": AgentStatus.NOT_STARTED if of_kind is SessionKind.AGENT else None,
        "working_dir": working_dir,
        "workspace_id": workspace_id,
        "attributes": {} if attributes is None else attributes,
    }
    _require_of_kind(of_kind, values)
    own_id = {} if session_id is None else {"id": session_id}
    session = _SESSIONS.checked({**own_id, **_readable(values)}, created_at=now, updated_at=now, last_activity_at=now)
    if workspace_id is not None:
        require_workspace(uow, workspace_id)
    if session_id is not None and find(uow, session_id) is not None:
        raise AlreadyExists("session", session_id)
    return _SESSIONS.insert(uow, session)


def update(
    uow: UnitOfWork,
    session_id: str,
    *,
    name: str | Unset | None = UNSET,
    vibe: str | Unset | None = UNSET,
    tempo_bpm: float | Unset | None = UNSET,
    working_dir: str | Unset | None = UNSET,
    workspace_id: str | Unset | None = UNSET,
    agent_status: AgentStatus | str | Unset | None = UNSET,
    attributes: Mapping[str, Any] | Unset = UNSET,
    expected_version: int | None = None,
) -> Session:
    """Change what is given of a session, and nothing else; ``updated_at`` becomes now, and ``version`` one more.

    ``None`` takes a value away. ``attributes`` are replaced whole. Called with nothing to change, it only returns the
    session. Where it stands is changed by :func:`set_status`.

    Args:
        uow: the unit of work to write in.
        session_id: which session.
        name: what people call it.
        vibe: its mood.
        tempo_bpm: beats a minute, 1 to 999; a jam keeps one.
        working_dir: where its agent works; an agent's session keeps one.
        workspace_id: the workspace that it belongs to.
        agent_status: what its agent is doing.
        attributes: whatever else is to be kept with it, a JSON object.
        expected_version: the ``version`` that it was read at; whoever changed it since is not overruled. Appending to
            the session's logs is no change of it.

    Raises:
        NotFound: there is no such session, or no such workspace.
        StaleWrite: it is at another version; ``current`` is the session as it is now.
        InvalidInput: a value is blank, of a wrong type or out of range; a jam would lose its tempo, or an agent's
            session its working directory.
    """
    given = {
        "name": name,
        "vibe": vibe,
        "tempo_bpm": tempo_bpm,
        "working_dir": working_dir,
        "workspace_id": workspace_id,
        "agent_status": agent_status,
        "attributes": attributes,
    }
    changes = {field: value for field, value in given.items() if value is not UNSET}
    session = lock(uow, session_id, expected_version)
    if not changes:
        return session
    values = _readable(changes)
    _require_of_kind(session.kind, {"tempo_bpm": session.tempo_bpm, "working_dir": session.working_dir, **values})
    checked = _SESSIONS.checked(values)
    if isinstance(workspace_id, str):
        require_workspace(uow, workspace_id)
    return write(uow, session.id, {field: checked[field] for field in changes})


def _readable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with what has several spellings in the one that a row takes."""
    read = dict(values)
    if isinstance(read.get("attributes"), Mapping):
        read["attributes"] = dict(read["attributes"])
    if read.get("agent_status") is not None:
        read["agent_status"] = parse_enum(AgentStatus, read["agent_status"], field="agent_status")
    return read


def _require_of_kind(kind: SessionKind, values: Mapping[str, Any]) -> None:
    """See to it that a session has what its kind cannot do without; the table's CHECK would undo the unit of work."""
    if kind is SessionKind.JAM:
        require(TempoBpm, values["tempo_bpm"], field="tempo_bpm")
    if kind is SessionKind.AGENT and values["working_dir"] is None:
        raise InvalidInput("working_dir: an agent's session needs one, the folder it works in", field="working_dir")
    if kind is SessionKind.AGENT:
        require(PathText, values["working_dir"], field="working_dir")


def delete(uow: UnitOfWork, session_id: str) -> None:
    """Delete a session and all that belongs to it: messages, journal, arena, rules, markers, history, snapshots.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    deleted = uow.exec(sa.delete(Session).where(col(Session.id) == key))
    if deleted.rowcount == 0:
        raise NotFound("session", session_id)
    part_with(uow, [key])
