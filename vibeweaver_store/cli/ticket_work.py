"""How tickets move on: claimed, released, a stage completed or opened again, closed."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer

from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import ProjectName, parse_duration, text_or_stdin, timed
from vibeweaver_store.cli.output import hint, print_document
from vibeweaver_store.cli.ticket_page import TicketId, move, print_ticket_page
from vibeweaver_store.cli.tickets import group
from vibeweaver_store.cli.worker_types import TypeName
from vibeweaver_store.services import tickets

Stage: TypeAlias = Annotated[
    str, typer.Argument(metavar="STAGE", help="A worker type of its plan.", show_default=False)
]
Worker: TypeAlias = Annotated[str, typer.Option("--worker", metavar="ID", help="Which worker.", show_default=False)]
Comment: TypeAlias = Annotated[
    str | None,
    typer.Option("--comment", metavar="TEXT", help="What is to be said of it; - for stdin.", show_default=False),
]
Lease: TypeAlias = Annotated[
    str, typer.Option("--lease-seconds", metavar="TIME", help="How long the claim holds: 900, 15m, 2h.")
]

_LEASE: Final = f"{tickets.DEFAULT_LEASE_SECONDS:g}"


@command(
    group,
    "claim",
    example="tickets claim T-1 --worker worker-3\ntickets claim T-1 --worker worker-3 --lease-seconds 1h",
)
def claim(cli: Cli, ticket: TicketId, worker: Worker, lease: Lease = _LEASE) -> None:
    """Claim a ticket for a worker, who is to do its next stage, and show it. Who holds it renews the claim."""
    move(cli, tickets.claim, ticket, worker, lease_seconds=_seconds(lease))


@command(
    group,
    "claim-next",
    example="""
tickets claim-next band/song reviewer --worker w-3
tickets claim-next band/song reviewer --worker w-3 --json
""",
)
def claim_next(cli: Cli, project: ProjectName, worker_type: TypeName, worker: Worker, lease: Lease = _LEASE) -> None:
    """Claim the oldest ticket that waits for a worker of a type, and show it; with --json, null where none does."""
    with cli.store() as store:
        found, now = store.run(timed, tickets.claim_next, project, worker_type, worker, lease_seconds=_seconds(lease))
    if cli.json:
        print_document(found)
    elif found is None:
        hint(f"no ticket of {project} waits for a {worker_type}")
    else:
        print_ticket_page(found, (), now)


@command(group, "release", example="tickets release T-1 --worker worker-3")
def release(cli: Cli, ticket: TicketId, worker: Worker) -> None:
    """Give a claim back, and show the ticket."""
    move(cli, tickets.release, ticket, worker)


@command(
    group,
    "complete-stage",
    example="""
tickets complete-stage T-1 writer --worker w-3
tickets complete-stage T-1 writer --worker w-3 --comment - < notes.md
""",
)
def complete_stage(cli: Cli, ticket: TicketId, stage: Stage, worker: Worker, comment: Comment = None) -> None:
    """Complete the next stage of a ticket, tell coordinators of it, and show it."""
    move(cli, tickets.complete_stage, ticket, stage, worker_id=worker, comment=_text(comment))


@command(
    group,
    "reopen-stage",
    example='tickets reopen-stage T-1 writer --comment "The second verse drags."',
)
def reopen_stage(
    cli: Cli,
    ticket: TicketId,
    stage: Stage,
    worker: Annotated[
        str | None, typer.Option("--worker", metavar="ID", help="Which worker says so.", show_default=False)
    ] = None,
    comment: Comment = None,
) -> None:
    """Open a completed stage of a ticket again, and all after it, and show it."""
    move(cli, tickets.reopen_stage, ticket, stage, worker_id=worker, comment=_text(comment))


@command(group, "close", example='tickets close T-1 merged\ntickets close T-1 dropped --comment "Too long."')
def close(
    cli: Cli,
    ticket: TicketId,
    outcome: Annotated[
        str, typer.Argument(metavar="OUTCOME", help="What came of it, in your words.", show_default=False)
    ],
    comment: Comment = None,
) -> None:
    """Close a ticket for good, and show it: nothing moves on it any more."""
    move(cli, tickets.close, ticket, outcome, comment=_text(comment))


def _seconds(lease: str) -> float:
    return parse_duration(lease, option="--lease-seconds").total_seconds()


def _text(comment: str | None) -> str | None:
    return None if comment is None else text_or_stdin(comment)
