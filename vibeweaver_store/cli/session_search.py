"""``sessions search``, ``overview`` and ``counts``: which sessions there are, by what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer

from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, parse_instant
from vibeweaver_store.cli.output import print_items, print_page
from vibeweaver_store.cli.sessions import COLUMNS, group, row
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import UNTITLED, instant
from vibeweaver_store.cli.workspaces import sought
from vibeweaver_store.models import SessionComplete
from vibeweaver_store.paging import Page
from vibeweaver_store.services import sessions
from vibeweaver_store.services.session_search import Sort
from vibeweaver_store.services.sessions import SessionCount, SessionFilter
from vibeweaver_store.unit_of_work import ReadUnitOfWork

T = TypeVar("T")

Words: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="TEXT", help="A part of the id, the name, the vibe or the task.", show_default=False),
]
InWorkspace: TypeAlias = Annotated[
    str | None, typer.Option("--workspace", metavar="PATH", help="Only of this folder.", show_default=False)
]
Kind: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND", help="Only of this kind; repeated, of one of them.", show_default=False),
]
Status: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="STATUS", help="Only in this status; repeated, in one of them.", show_default=False),
]
AgentsStatus: TypeAlias = Annotated[
    str | None, typer.Option("--agent-status", metavar="STATUS", help="Only with such an agent.", show_default=False)
]
CreatedFrom: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only made then or later.", show_default=False)
]
CreatedTo: TypeAlias = Annotated[str | None, typer.Option(metavar="TIME", help="Only made before.", show_default=False)]
UpdatedFrom: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only changed then or later.", show_default=False)
]
UpdatedTo: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only last changed before.", show_default=False)
]
By: TypeAlias = Annotated[Sort, typer.Option("--sort", metavar="ORDER", help="updated_at, created_at or name.")]
Turned: TypeAlias = Annotated[bool, typer.Option("--reverse", metavar="", help="The other way round.")]

_OVERVIEW: Final = (
    Column("NAME", "bold", narrow="fold"),
    Column("KIND"),
    Column("STATUS"),
    Column("INSTANCES", "cyan", right=True),
    Column("MESSAGES", "cyan", right=True),
    Column("EVENTS", "cyan", right=True),
    Column("UPDATED", "dim", narrow="below"),
    Column("RUNTIMES", "cyan", narrow="below"),
    Column("WORKSPACE", "dim", narrow="below"),
    Column("LAST SAID", narrow="below"),
    Column("ID", "dim", narrow="below"),
)
_LAST_SAID: Final = 60

_COUNTS: Final = (Column("KIND", "bold"), Column("STATUS"), Column("SESSIONS", "cyan", right=True))


def _add_listing(
    name: str,
    about: str,
    *,
    example: str,
    listing: Callable[..., Page[T]],
    columns: Sequence[Column],
    cells: Callable[[T], Sequence[str]],
) -> None:
    """Make the command of a listing: what sessions are sought by is the same of each."""

    def run(
        cli: Cli,
        text: Words = None,
        *,
        workspace: InWorkspace = None,
        kind: Kind = None,
        status: Status = None,
        agent_status: AgentsStatus = None,
        created_from: CreatedFrom = None,
        created_to: CreatedTo = None,
        updated_from: UpdatedFrom = None,
        updated_to: UpdatedTo = None,
        sort: By = "updated_at",
        reverse: Turned = False,
        limit: Limit = LIMIT,
        cursor: Cursor = None,
    ) -> None:
        times = _times(created_from, created_to, updated_from, updated_to)
        several = {"kind": kind or None, "status": status or None}
        given = {"text": text, "agent_status": agent_status, **several, **times}
        options = {"sort": sort, "falling": _falling(sort, reverse), "limit": limit, "cursor": cursor}
        with cli.store() as store:
            page = store.query(_listed, listing, workspace, given, options)
        print_page(cli, page, columns, cells, none="no such sessions")

    run.__doc__ = about
    command(group, name, example=example)(run)


def _overview_row(session: SessionComplete) -> Sequence[str]:
    return (
        session.name or UNTITLED,
        session.kind.value,
        session.status.value,
        f"{session.instance_count:,}",
        f"{session.message_count:,}",
        f"{sum((session.event_counts or {}).values()):,}",
        instant(session.updated_at),
        session.runtime_mix or "",
        session.workspace_path or "",
        shorten((session.last_said or ""), _LAST_SAID, placeholder="…"),
        session.id,
    )


_add_listing(
    "search",
    "List the sessions of which all that is given is true.",
    example="""
sessions search "login page" --kind competition --status completed
sessions search --workspace . --updated-from 2026-11-20T18:00:00Z --sort name
sessions search --status running --status paused --json
""",
    listing=sessions.search,
    columns=COLUMNS,
    cells=row,
)
_add_listing(
    "overview",
    "List sessions as search does, each with its workspace, its arena and its counts.",
    example="sessions overview\nsessions overview --workspace . --kind competition --json",
    listing=sessions.overview,
    columns=_OVERVIEW,
    cells=_overview_row,
)


@command(group, "counts", example="sessions counts\nsessions counts --json")
def counts(cli: Cli) -> None:
    """List how many sessions there are of each kind and status."""
    with cli.store() as store:
        found = store.query(sessions.counts)
    print_items(cli, found, _COUNTS, _count_row, none="no sessions")


def _listed(
    uow: ReadUnitOfWork,
    listing: Callable[..., Page[T]],
    workspace: str | None,
    given: dict[str, Any],
    options: dict[str, Any],
) -> Page[T]:
    workspace_id = None if workspace is None else sought(uow, workspace).id
    return listing(uow, SessionFilter(workspace_id=workspace_id, **given), **options)


def _times(*given: str | None) -> dict[str, Any]:
    names = ("created_from", "created_to", "updated_from", "updated_to")
    return {
        name: parse_instant(text, option=f"--{name.replace('_', '-')}") for name, text in zip(names, given, strict=True)
    }


def _falling(sort: Sort, reverse: bool) -> bool:
    return (sort != "name") != reverse


def _count_row(counted: SessionCount) -> Sequence[str]:
    return counted.kind.value, counted.status.value, f"{counted.count:,}"
