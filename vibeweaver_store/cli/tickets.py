"""``tickets``: list, show, make, change, check, comment on and delete them.

How they move on stands in ``ticket_work``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import (
    LIMIT,
    Cursor,
    Limit,
    OfProject,
    ProjectName,
    Yes,
    text_or_stdin,
    within_project,
)
from vibeweaver_store.cli.output import hint, print_deleted, print_document, print_made, print_page
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.text import counted, instant, shown
from vibeweaver_store.cli.ticket_page import TicketId, claim, done_count, move, print_ticket_page, status
from vibeweaver_store.models import Ticket
from vibeweaver_store.services import comments, tickets

group = new_group("tickets", "Make, list, change, check, move on and delete tickets.")

_COLUMNS: Final = (
    Column("TICKET", "bold"),
    Column("TITLE", narrow="fold"),
    Column("DONE", "green", right=True),
    Column("NEXT", "cyan", narrow="fold"),
    Column("HELD BY", narrow="fold"),
    Column("PROJECT", "dim", narrow="below"),
    Column("CREATED", "dim", narrow="below"),
)

_MISSING: Final = (
    Column("TICKET", "bold"),
    Column("MISSING", "yellow", narrow="fold"),
    Column("PROJECT", "dim", narrow="below"),
)

INCOMPLETE: Final = 4
"""The exit code of a check that found something missing."""

Plan: TypeAlias = Annotated[
    str | None, typer.Option("--plan", metavar="A,B,…", help="The worker types it goes through.", show_default=False)
]
Stages: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--stage", metavar="TYPE", help="The same one by one; may be repeated.", show_default=False),
]
Strict: TypeAlias = Annotated[
    bool, typer.Option("--strict/--no-strict", metavar="", help="Refuse worker types that the project does not have.")
]


@command(
    group,
    "list",
    example="""
tickets list --project band/song --open
tickets list --stage reviewer --json | jq -r .ticket_id
tickets list --text bridge --closed
""",
)
def list_(
    cli: Cli,
    *,
    project: OfProject = None,
    is_open: Annotated[
        bool | None, typer.Option("--open/--closed", metavar="", help="Only such ones.", show_default=False)
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Only those of which it is next.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only with it in the title.", show_default=False)
    ] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List tickets, newest first."""
    with cli.store() as store, store.read() as uow:
        now = uow.now()
        page = within_project(
            uow,
            project,
            tickets.page,
            project=project,
            open=is_open,
            stage=stage,
            text=text,
            limit=limit,
            cursor=cursor,
        )

    def row(ticket: Ticket) -> Sequence[Cell]:
        closed = ticket.closed_at is not None
        following = Text(status(ticket), style="dim") if closed else ticket.next_stage or "all done"
        return (
            ticket.ticket_id,
            ticket.title,
            f"{done_count(ticket)}/{len(ticket.execution_plan)}",
            following,
            claim(ticket, now),
            ticket.project_id,
            instant(ticket.created_at),
        )

    print_page(cli, page, _COLUMNS, row, none="no such tickets; make one: vibeweaver-store tickets create --help")


@command(group, "show", example="tickets show T-1\ntickets show T-1 --json | jq -r '.comments[].content'")
def show(cli: Cli, ticket: TicketId) -> None:
    """Show a ticket, its plan, and its comments, oldest first.

    Of the plan: ✓ done, ▶ next (and who holds it until when), · open.
    """
    with cli.store() as store, store.read() as uow:
        now = uow.now()
        found = tickets.get(uow, ticket)
    if cli.json:
        print_document(found)
    else:
        print_ticket_page(found.ticket, found.comments, now)


@command(
    group,
    "create",
    example="""
tickets create T-1 song --title Bridge --plan writer,tester --description -
tickets create T-2 song --title Outro --stage writer --description "End it."
tickets create T-3 song --title Remix --stage remixer --no-strict
""",
)
def create(
    cli: Cli,
    ticket: Annotated[str, typer.Argument(metavar="TICKET", help="An id of your own.", show_default=False)],
    project: ProjectName,
    *,
    title: Annotated[str, typer.Option(metavar="TEXT", help="What it is, in a line.", show_default=False)],
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What is to be done; - for stdin.", show_default=False)
    ] = None,
    plan: Plan = None,
    stage: Stages = None,
    strict: Strict = True,
) -> None:
    """Make a ticket, its description as the first comment where it has one, and print its id."""
    stages = _stages(plan, stage)
    if stages is None:
        raise LineError(_EITHER)
    content = None if description is None else text_or_stdin(description)
    with cli.store() as store:
        made = store.run(tickets.create, ticket, project, title, content, stages, strict=strict)
    print_made(cli, made, made.ticket_id)


_EITHER: Final = "say by which stages it goes, with either --plan writer,reviewer or --stage once a stage"


def _stages(plan: str | None, stages: list[str] | None) -> list[str] | None:
    if plan is not None and stages:
        raise LineError(_EITHER)
    return [part.strip() for part in plan.split(",")] if plan is not None else stages or None


@command(
    group,
    "update",
    example="""
tickets update T-1 --title "Bridge and outro"
tickets update T-1 --plan writer,reviewer,deployer --no-strict
""",
)
def update(
    cli: Cli,
    ticket: TicketId,
    *,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Its new title.", show_default=False)] = None,
    plan: Plan = None,
    stage: Stages = None,
    strict: Strict = True,
) -> None:
    """Change the title or the plan of a ticket, and show it.

    A new plan begins with the stages that are done.
    """
    given = {"title": title, "execution_plan": _stages(plan, stage)}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    move(cli, tickets.update, ticket, **changes, strict=strict)


@command(group, "check", example="tickets check\ntickets check --project band/song --json | jq -r '.worker_types[]'")
def check(cli: Cli, *, project: OfProject = None, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List open tickets that wait, now or later, for worker types that their projects do not have, newest first.

    The exit code is 4 when there are any.
    """
    with cli.store() as store:
        page = store.query(within_project, project, tickets.check, project=project, limit=limit, cursor=cursor)
    print_page(cli, page, _MISSING, _missing, none="no ticket waits for a worker type that is not there")
    if page.items:
        raise typer.Exit(INCOMPLETE)


def _missing(found: tickets.MissingWorkerTypes) -> Sequence[Cell]:
    return found.ticket_id, ", ".join(found.worker_types), found.project_id


@command(group, "next-stage", example="tickets next-stage T-1")
def next_stage(cli: Cli, ticket: TicketId) -> None:
    """Print the stage of a ticket that is next; nothing where none is left."""
    with cli.store() as store:
        following = store.query(tickets.next_stage, ticket)
    if cli.json:
        print_document({"ticket_id": ticket, "next_stage": following})
    elif following is None:
        hint(f"no stage of ticket {ticket} is left")
    else:
        typer.echo(shown(following))


@command(
    group,
    "comment",
    example="""
tickets comment T-1 "Verse 2 drags." --worker w-3 --stage reviewer
tickets comment T-1 - < review.md
""",
)
def comment(
    cli: Cli,
    ticket: TicketId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is written; - for stdin.", show_default=False)],
    *,
    worker: Annotated[str | None, typer.Option(metavar="ID", help="The worker who writes.", show_default=False)] = None,
    worker_type: Annotated[str | None, typer.Option(metavar="TYPE", help="Its role.", show_default=False)] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="The stage that it is about.", show_default=False)
    ] = None,
) -> None:
    """Write a comment on a ticket, closed or not, and print its number."""
    content = text_or_stdin(text)
    with cli.store() as store:
        made = store.run(comments.add, ticket, content, worker_id=worker, worker_type=worker_type, stage=stage)
    print_made(cli, made, made.id)


@command(group, "delete", example="tickets delete T-1 --yes")
def delete(cli: Cli, ticket: TicketId, yes: Yes = False) -> None:
    """Delete a ticket with its comments. What it told coordinators stays."""
    with cli.store() as store:
        found = store.query(tickets.get, ticket)
        goes = counted(len(found.comments), "comment")
        confirm(f"Delete ticket {ticket} ({found.ticket.title!r}) with its {goes}?", yes=yes)
        store.run(tickets.delete, ticket)
    print_deleted(cli, "ticket", ticket)
