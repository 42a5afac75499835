"""Workspaces: the folders that sessions belong to."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, PathText
from vibeweaver_store.errors import InvalidInput, NotFound
from vibeweaver_store.hot import HotRows, placed
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.session import Session, Workspace
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.import_rows import require_imports
from vibeweaver_store.services.session_rows import part_with
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork, upsert
from vibeweaver_store.validation import require

_OF_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\/]")
"""How an absolute path of Windows begins: with a drive, or with a server."""


def normalize(path: str | os.PathLike[str]) -> str:
    """Return the one spelling of a path that a workspace is known by: absolute, without a slash at its end.

    Symbolic links are resolved where the path exists. A path of Windows is somebody else's folder, and stays as it is
    but for separators at its end. A ``~`` is a name as any other.

    Raises:
        InvalidInput: the path is no text, blank, or longer than 2,000 bytes, or the working folder is gone.
    """
    given: str = require(PathText, os.fspath(path) if isinstance(path, os.PathLike) else path, field="path")
    if _OF_WINDOWS.match(given):
        kept = given.rstrip("\\/")
        return f"{kept}\\" if kept.endswith(":") else kept
    # Two slashes at the beginning are one to the systems that we know, and two to POSIX.
    spelled: str = require(PathText, "/" + _absolute(Path(given)).lstrip("/"), field="path")
    return spelled


def _absolute(path: Path) -> str:
    try:
        return str(path.resolve(strict=True))
    except (OSError, RuntimeError):  # it is not there or not to be looked at, or its links run in a circle
        pass
    try:
        return os.path.normpath(path.absolute())
    except OSError as error:
        raise InvalidInput(f"path: {shown(str(path))} is relative to a folder that is gone", field="path") from error


def path_hash(path: str | os.PathLike[str]) -> str:
    """Return the short name of a path: the first 16 hex digits of the SHA-256 of its one spelling.

    Raises:
        InvalidInput: as :func:`normalize` does.
    """
    return _digest(normalize(path))


def _digest(normalized: str) -> str:
    return hashlib.sha256(normalized.encode()).hexdigest()[:16]


def ensure(uow: UnitOfWork, path: str | os.PathLike[str], *, import_id: int | None = None) -> Workspace:
    """Return the workspace of a path, made if it is not there, and accessed now; one atomic statement.

    Args:
        uow: the unit of work to write in.
        path: the folder; see :func:`normalize`.
        import_id: the import that brings it, kept where it is made.

    Raises:
        InvalidInput: the path is refused, or the import no whole number from 0.
        NotFound: there is no such import.
    """
    now = uow.now()
    normalized = normalize(path)
    made = Workspace.build(
        path=normalized, path_hash=_digest(normalized), created_at=now, last_accessed_at=now, import_id=import_id
    )
    require_imports(uow, {made.import_id})
    (ensured,) = _ensure(uow.backend).all(uow, **{f"new_{name}": value for name, value in made.model_dump().items()})
    return ensured


@cache
def _ensure(backend: str) -> HotRows[Workspace]:
    insert = upsert(Workspace, backend).values(dict([placed(Workspace, name) for name in Workspace.model_fields]))
    there, new = col(Workspace.last_accessed_at), insert.excluded.last_accessed_at
    later = sa.case((new > there, new), else_=there)
    updating = insert.on_conflict_do_update(index_elements=["path"], set_={"last_accessed_at": later})
    return HotRows(Workspace, updating.returning(Workspace))


def get(uow: ReadUnitOfWork, workspace_id: str) -> Workspace:
    """Return a workspace by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    workspace = find(uow, workspace_id)
    if workspace is None:
        raise NotFound("workspace", workspace_id)
    return workspace


def find(uow: ReadUnitOfWork, workspace_id: str) -> Workspace | None:
    """Return a workspace by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, workspace_id, field="workspace_id")
    return uow.exec(select(Workspace).where(col(Workspace.id) == key)).one_or_none()


def find_by_path(uow: ReadUnitOfWork, path: str | os.PathLike[str]) -> Workspace | None:
    """Return the workspace of a path, however it is spelled, or ``None``.

    Raises:
        InvalidInput: the path is refused; see :func:`normalize`.
    """
    return uow.exec(select(Workspace).where(col(Workspace.path) == normalize(path))).one_or_none()


def find_by_hash(uow: ReadUnitOfWork, path_hash: str) -> Workspace | None:
    """Return the workspace of a path's hash, or ``None``: AIT42 names its files after it. See :func:`path_hash`.

    Raises:
        InvalidInput: the hash is no text, or blank.
    """
    short = require(Id, path_hash, field="path_hash")
    # Two paths of one hash would take 2**32 paths: the first is as good as the other.
    statement = select(Workspace).where(col(Workspace.path_hash) == short).order_by(col(Workspace.id)).limit(1)
    return uow.exec(statement).first()


def require_workspace(uow: ReadUnitOfWork, workspace_id: str) -> None:
    """See to it that a workspace is there, before something is written that belongs to it.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, workspace_id, field="workspace_id")
    statement = select(col(Workspace.id)).where(col(Workspace.id) == key)
    if uow.exec(statement).first() is None:
        raise NotFound("workspace", workspace_id)


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Workspace]:
    """Return workspaces, the last accessed first, ties by id.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order = Order(["workspaces"], [col(Workspace.last_accessed_at), col(Workspace.id)], falling=True)
    return fetch(uow, Workspace, order, limit=limit, cursor=cursor)


def session_count(uow: ReadUnitOfWork, workspace_id: str) -> int:
    """Return how many sessions belong to a workspace, and would go with it; 0 where there is no such workspace.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, workspace_id, field="workspace_id")
    return uow.exec(select(sa.func.count()).select_from(Session).where(col(Session.workspace_id) == key)).one()


def delete(uow: UnitOfWork, workspace_id: str) -> int:
    """Delete a workspace with its sessions and all that belongs to them; return how many sessions that were.

    The folder itself stays as it is.

    Raises:
        NotFound: there is no such workspace.
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, workspace_id, field="workspace_id")
    # Locked first, so that no session is added to it meanwhile, which nobody would count and announce.
    held = select(col(Workspace.id)).where(col(Workspace.id) == key).with_for_update()
    if uow.exec(held).first() is None:
        raise NotFound("workspace", workspace_id)
    of_workspace = sa.delete(Session).where(col(Session.workspace_id) == key).returning(col(Session.id))
    deleted = uow.execute(of_workspace, execution_options={"synchronize_session": False}).scalars().all()
    uow.exec(sa.delete(Workspace).where(col(Workspace.id) == key))
    part_with(uow, deleted)
    return len(deleted)
