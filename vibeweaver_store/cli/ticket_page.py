"""How a ticket reads: its card, its plan drawn with what is done, what is next and what is open, and its comments."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Concatenate, Final, NamedTuple, ParamSpec, TypeAlias

import typer
from rich.console import Console
from rich.text import Text

from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import timed
from vibeweaver_store.cli.output import console, print_card, print_document, print_text
from vibeweaver_store.cli.text import counted, instant, shown
from vibeweaver_store.models import Comment, Ticket
from vibeweaver_store.models.ensemble import PLANNED
from vibeweaver_store.unit_of_work import UnitOfWork

P = ParamSpec("P")

TicketId: TypeAlias = Annotated[str, typer.Argument(metavar="TICKET", help="The ticket's id.", show_default=False)]


class _Stand(enum.Enum):
    """Where a stage stands."""

    DONE = "done"
    CURRENT = "current"
    OPEN = "open"


_STYLES: Final = {_Stand.DONE: "green", _Stand.CURRENT: "bold cyan", _Stand.OPEN: "dim"}


class _Signs(NamedTuple):
    """What stands before a stage, and between two."""

    of: Mapping[_Stand, str]
    between: str


_DRAWN: Final = _Signs({_Stand.DONE: "✓", _Stand.CURRENT: "▶", _Stand.OPEN: "·"}, "→")
_IN_ASCII: Final = _Signs({_Stand.DONE: "[x]", _Stand.CURRENT: "[>]", _Stand.OPEN: "[ ]"}, "->")
"""For terminals and pipes that cannot take the other ones."""


def print_ticket_page(ticket: Ticket, comments: Sequence[Comment], now: datetime) -> None:
    """Print a ticket, its plan, and what was written on it."""
    print_card(_card(ticket))
    typer.echo("\nplan")
    _print_plan(ticket, now)
    if comments:
        typer.echo(f"\n{counted(len(comments), 'comment')}")
    for comment in comments:
        _print_comment(ticket, comment)


def move(cli: Cli, operation: Callable[Concatenate[UnitOfWork, P], Ticket], *args: P.args, **kwargs: P.kwargs) -> None:
    """Do something with a ticket, and show it as it is then, without its comments.

    Raises:
        StoreError: whatever the operation raises.
    """
    with cli.store() as store:
        ticket, now = store.run(timed, operation, *args, **kwargs)
    if cli.json:
        print_document(ticket)
    else:
        print_ticket_page(ticket, (), now)


def status(ticket: Ticket) -> str:
    """Return whether a ticket is open, or what came of it."""
    if ticket.closed_at is None:
        return "open"
    return "closed" if ticket.outcome is None else f"closed: {ticket.outcome}"


def done_count(ticket: Ticket) -> int:
    """Return how many stages of a ticket are done."""
    plan, last = ticket.execution_plan, ticket.last_completed_stage
    return plan.index(last) + 1 if last != PLANNED and last in plan else 0


def _card(ticket: Ticket) -> dict[str, str]:
    may_be = {"closed": instant(ticket.closed_at)} if ticket.closed_at is not None else {}
    return {
        "ticket": ticket.ticket_id,
        "project": ticket.project_id,
        "title": ticket.title,
        "status": status(ticket),
        "created": instant(ticket.created_at),
        "updated": instant(ticket.updated_at),
        **may_be,
    }


# --- the plan --------------------------------------------------------------------------------------------------


def _print_plan(ticket: Ticket, now: datetime) -> None:
    out = console()
    for line in _plan_lines(out, ticket, now):
        out.print(Text("  ") + line, soft_wrap=True)


def _plan_lines(out: Console, ticket: Ticket, now: datetime) -> Iterator[Text]:
    """Yield the plan as one line in a pipe, and at a terminal as lines that end between two stages."""
    signs = _signs_for(out)
    width = out.width - 2 if out.is_terminal else None
    line = Text()
    for number, stage in enumerate(ticket.execution_plan):
        drawn = _drawn(ticket, number, stage, signs, now)
        if number:
            line += Text(f" {signs.between}", style="dim")
            if width is not None and line.cell_len + 1 + drawn.cell_len + 1 + len(signs.between) > width:
                yield line
                line = Text("  ")
            else:
                line += Text(" ")
        line += drawn
    yield line


def _drawn(ticket: Ticket, number: int, stage: str, signs: _Signs, now: datetime) -> Text:
    done = done_count(ticket)
    stand = _Stand.DONE if number < done else _Stand.OPEN
    if number == done and ticket.next_stage is not None:
        stand = _Stand.CURRENT
    drawn = Text(f"{signs.of[stand]} {shown(stage)}", style=_STYLES[stand])
    if stand is _Stand.CURRENT and ticket.claimed_by is not None:
        drawn += Text(f" ({shown(claim(ticket, now))})", style="none")
    return drawn


def claim(ticket: Ticket, now: datetime) -> str:
    """Return who holds a ticket and until when; nothing where nobody does."""
    if ticket.claimed_by is None or ticket.claim_expires_at is None:
        return ""
    ends = ticket.claim_expires_at
    # On the same day the time alone tells.
    at = f"{ends:%H:%M:%SZ}" if ends.date() == now.date() else instant(ends)
    return f"{ticket.claimed_by} until {at}" if ends > now else f"{ticket.claimed_by}, expired {at}"


def _signs_for(out: Console) -> _Signs:
    try:
        "".join([*_DRAWN.of.values(), _DRAWN.between]).encode(out.encoding)
    except (LookupError, UnicodeEncodeError):
        return _IN_ASCII
    return _DRAWN


# --- comments --------------------------------------------------------------------------------------------------


def _print_comment(ticket: Ticket, comment: Comment) -> None:
    who = ", ".join(map(shown, filter(None, [comment.worker_id, _about(ticket, comment)])))
    head = Text(f"  {comment.id}", style="dim") + Text(f"  {instant(comment.created_at)}", style="dim")
    console().print(head + Text(f"  {who}" if who else "", style="cyan"), soft_wrap=True)
    print_text(comment.content, indent=4)


def _about(ticket: Ticket, comment: Comment) -> str:
    """Return what a comment is about: the whole ticket, a stage, or what the writer's role is."""
    place = comment.stage_number
    if place == 0:
        return "description"
    if place is not None:
        stage = ticket.execution_plan[place - 1] if place <= len(ticket.execution_plan) else f"stage {place}"
        return f"on {stage}" if comment.worker_type in {None, stage} else f"{comment.worker_type} on {stage}"
    return comment.worker_type or ""
