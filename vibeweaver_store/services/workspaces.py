"""Workspaces: the folders that sessions belong to."""

from __future__ import annotations

from sqlmodel import col, select

from vibeweaver_store.columns import Id, require
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models.session import Workspace
from vibeweaver_store.unit_of_work import ReadUnitOfWork


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
