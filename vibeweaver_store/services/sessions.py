"""Sessions: make, find, change, list and delete them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, PathText, parse_enum, require
from vibeweaver_store.errors import AlreadyExists, NotFound
from vibeweaver_store.models.session import DEFAULT_TEMPO_BPM, AgentStatus, Session, SessionKind, TempoBpm
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import UNSET, Unset
from vibeweaver_store.services.workspaces import require_workspace
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

_ACTIVITY_IS_KEPT_TO: Final = timedelta(seconds=1)
"""How exactly ``last_activity_at`` is kept: who appends a hundred times a second need not write it each time."""


def create(
    uow: UnitOfWork,
    *,
    name: str,
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
        name: what people call it; not blank, and need not be unique.
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
    of_kind = parse_enum(SessionKind, kind)
    jam, agent = of_kind is SessionKind.JAM, of_kind is SessionKind.AGENT
    tempo = (DEFAULT_TEMPO_BPM if jam else None) if isinstance(tempo_bpm, Unset) else tempo_bpm
    if jam:
        require(TempoBpm, tempo, field="tempo_bpm")
    if agent:
        require(PathText, working_dir, field="working_dir")
    given: dict[str, Any] = {} if session_id is None else {"id": session_id}
    session = Session.build(
        **given,
        kind=of_kind,
        name=name,
        vibe=vibe,
        tempo_bpm=tempo,
        agent_status=AgentStatus.NOT_STARTED if agent else None,
        working_dir=working_dir,
        workspace_id=workspace_id,
        attributes={} if attributes is None else attributes,
        created_at=now,
        updated_at=now,
        last_activity_at=now,
    )
    if workspace_id is not None:
        require_workspace(uow, workspace_id)
    if session_id is not None and find(uow, session_id) is not None:
        raise AlreadyExists("session", session_id)
    uow.insert(session)
    return session


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
    return uow.exec(select(Session).where(col(Session.id) == key)).one_or_none()


def require_session(uow: ReadUnitOfWork, session_id: str) -> None:
    """See to it that a session is there, before something is written that belongs to it.

    A failed foreign key would undo the whole unit of work; this does not.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    statement = select(col(Session.id)).where(col(Session.id) == key)
    if uow.exec(statement).first() is None:
        raise NotFound("session", session_id)


def hold(uow: UnitOfWork, session_id: str) -> int:
    """See to it that a session is there, and let nobody else append to it until the unit of work ends.

    Returns the revision of its rules, which nobody else changes meanwhile. That something was done in the session is
    noted in its ``last_activity_at``, once a second at most.

    On PostgreSQL the keys of a log are drawn when rows are written and seen when they are committed: without waiting
    for each other, a reader that goes by the key would pass over one that is committed late. SQLite has one writer.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    # NO KEY: rows that refer to the session can still be added meanwhile.
    statement = select(col(Session.rules_rev), col(Session.last_activity_at)).where(col(Session.id) == key)
    found = uow.exec(statement.with_for_update(key_share=True)).first()
    if found is None:
        raise NotFound("session", session_id)
    revision, last_activity_at = found
    if uow.now() - last_activity_at >= _ACTIVITY_IS_KEPT_TO:
        seen = sa.update(Session).where(col(Session.id) == key).values(last_activity_at=uow.now())
        uow.exec(seen, execution_options={"synchronize_session": False})
    return revision


def topic(session_id: str) -> str:
    """Return what is announced by whoever appends to one of a session's logs, or deletes it."""
    return f"session {session_id}"


def update(
    uow: UnitOfWork,
    session_id: str,
    *,
    name: str | Unset = UNSET,
    vibe: str | Unset | None = UNSET,
    tempo_bpm: float | Unset = UNSET,
) -> Session:
    """Change what is given of a session, and nothing else; ``updated_at`` becomes now.

    ``vibe=None`` takes the vibe away. Called with nothing to change, it only returns the session.

    Raises:
        NotFound: there is no such session.
        InvalidInput: a value is blank, of a wrong type or out of range.
    """
    given = {"name": name, "vibe": vibe, "tempo_bpm": tempo_bpm}
    changes = {field: value for field, value in given.items() if value is not UNSET}
    if "tempo_bpm" in changes:
        require(TempoBpm, tempo_bpm, field="tempo_bpm")
    session = get(uow, session_id)
    if not changes:
        return session
    checked = Session.build(**{**session.model_dump(), **changes})
    values = {field: getattr(checked, field) for field in changes}
    statement = sa.update(Session).where(col(Session.id) == session_id).values(**values, updated_at=uow.now())
    uow.exec(statement)
    return get(uow, session_id)


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Session]:
    """Return sessions, the last changed first, ties by id.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order = Order(["sessions"], [col(Session.updated_at), col(Session.id)], falling=True)
    return fetch(uow, select(Session), order, limit=limit, cursor=cursor)


def delete(uow: UnitOfWork, session_id: str) -> None:
    """Delete a session and all that belongs to it: rules, markers, history, snapshots.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    deleted = uow.exec(sa.delete(Session).where(col(Session.id) == key))
    if deleted.rowcount == 0:
        raise NotFound("session", session_id)
    uow.announce(topic(key))
