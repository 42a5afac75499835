"""``workspaces``: list, show, make and delete the folders that sessions belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, Yes
from vibeweaver_store.cli.output import hint, print_card, print_document, print_made, print_page
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import counted, instant
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models import Workspace
from vibeweaver_store.services import workspaces
from vibeweaver_store.unit_of_work import ReadUnitOfWork

group = new_group("workspaces", "List, show, make and delete the folders of sessions.")

Sought: TypeAlias = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="The workspace's path, or its id.", show_default=False)
]

_COLUMNS: Final = (
    Column("PATH", "bold", narrow="fold"),
    Column("HASH", "cyan"),
    Column("ACCESSED", "dim"),
    Column("ID", "dim", narrow="below"),
)


_LONGEST_ID: Final = 50
"""Ids of workspaces are UUIDs, of 36 characters; a path may be longer than any id."""


def sought(uow: ReadUnitOfWork, path_or_id: str) -> Workspace:
    """Return the workspace that a word on the line means: the one of this id, else the one of this path.

    Raises:
        NotFound: there is none.
        InvalidInput: it is neither path nor id.
    """
    named = None if len(path_or_id) > _LONGEST_ID else workspaces.find(uow, path_or_id)
    found = named or workspaces.find_by_path(uow, path_or_id)
    if found is None:
        raise NotFound("workspace", workspaces.normalize(path_or_id))
    return found


def _counted(uow: ReadUnitOfWork, path_or_id: str) -> tuple[Workspace, int]:
    found = sought(uow, path_or_id)
    return found, workspaces.session_count(uow, found.id)


@command(group, "list", example="workspaces list\nworkspaces list --json | jq -r .path")
def list_(cli: Cli, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List workspaces, the last accessed first."""
    with cli.store() as store:
        page = store.query(workspaces.page, limit=limit, cursor=cursor)
    print_page(cli, page, _COLUMNS, _row, none="no workspaces; make one: vibeweaver-store workspaces ensure PATH")


@command(group, "show", example="workspaces show .\nworkspaces show ~/shop --json")
def show(cli: Cli, workspace: Sought) -> None:
    """Show a workspace, and how many sessions belong to it."""
    with cli.store() as store:
        found, count = store.query(_counted, workspace)
    if cli.json:
        print_document({**found.model_dump(), "session_count": count})
        return
    print_card(
        {
            "id": found.id,
            "path": found.path,
            "hash": found.path_hash,
            "sessions": f"{count:,}",
            "created": instant(found.created_at),
            "accessed": instant(found.last_accessed_at),
        }
    )


@command(group, "ensure", example="workspaces ensure .")
def ensure(
    cli: Cli, path: Annotated[str, typer.Argument(metavar="PATH", help="The folder.", show_default=False)]
) -> None:
    """Make the workspace of a folder where it is not there, say that it is accessed now, and print its id."""
    with cli.store() as store:
        made = store.run(workspaces.ensure, path)
    print_made(cli, made, made.id)


@command(group, "delete", example="workspaces delete ~/shop --yes")
def delete(cli: Cli, workspace: Sought, yes: Yes = False) -> None:
    """Delete a workspace with its sessions and all that belongs to them. The folder stays as it is."""
    with cli.store() as store:
        found, count = store.query(_counted, workspace)
        confirm(f"Delete workspace {found.path} with {counted(count, 'session')} and all that is in them?", yes=yes)
        deleted = store.run(workspaces.delete, found.id)
    if cli.json:
        print_document({"deleted": found.id, "sessions": deleted})
    else:
        hint(f"deleted workspace {found.path} with {counted(deleted, 'session')}")


def _row(workspace: Workspace) -> Sequence[str]:
    return workspace.path, workspace.path_hash, instant(workspace.last_accessed_at), workspace.id
