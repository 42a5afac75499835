"""``coordination``: list, take, tick off, delete and prune the events that coordinators must act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.batches import in_batches
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, OfProject, Yes, parse_duration, within_project
from vibeweaver_store.cli.output import hint, print_deleted, print_document, print_items, print_page
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.text import counted, instant
from vibeweaver_store.models import CoordinationEvent
from vibeweaver_store.services import coordination

group = new_group("coordination", "List, take, tick off and remove the events for coordinators.")

_COLUMNS: Final = (
    Column("ID", "dim", right=True),
    Column("AT", "dim", narrow="below"),
    Column("EVENT"),
    Column("TICKET", "bold", narrow="fold"),
    Column("STAGE", "cyan", narrow="fold"),
    Column("WORKER", narrow="fold"),
    Column("PROCESSED"),
    Column("REASON", narrow="below"),
    Column("PROJECT", "dim", narrow="below"),
)


@command(group, "list", example="coordination list --unprocessed\ncoordination list --project band/song --newest-first")
def list_(
    cli: Cli,
    *,
    processed: Annotated[
        bool | None,
        typer.Option("--processed/--unprocessed", metavar="", help="Only such ones.", show_default=False),
    ] = None,
    project: OfProject = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", metavar="", help="From the end.")] = False,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List the events, in their order. Nothing is taken."""
    with cli.store() as store:
        page = store.query(
            within_project,
            project,
            coordination.page,
            processed=processed,
            project=project,
            newest_first=newest_first,
            limit=limit,
            cursor=cursor,
        )
    print_page(cli, page, _COLUMNS, _row, none="no such events")


@command(group, "take", example="coordination take --limit 10 --json")
def take(cli: Cli, limit: Limit = LIMIT) -> None:
    """Take the oldest events that nobody has taken, and list them; each goes to one taker only."""
    with cli.store() as store:
        taken = store.run(coordination.take, limit)
    print_items(cli, taken, _COLUMNS, _row, none="nothing is to be done")


@command(group, "mark-processed", example="coordination mark-processed 7 8 9")
def mark_processed(
    cli: Cli,
    event: Annotated[list[int], typer.Argument(metavar="ID", help="The events' numbers.", show_default=False)],
) -> None:
    """Mark events as processed, and say how many were not yet."""
    with cli.store() as store:
        changed = store.run(coordination.mark_processed, event)
    if cli.json:
        print_document({"marked": changed})
    else:
        hint(f"marked {counted(changed, 'event')}")


@command(group, "delete", example="coordination delete 7 --yes")
def delete(
    cli: Cli,
    event: Annotated[int, typer.Argument(metavar="ID", help="The event's number.", show_default=False)],
    yes: Yes = False,
) -> None:
    """Delete one event, processed or not."""
    with cli.store() as store:
        found = store.query(coordination.get, event)
        state = "processed" if found.processed else "not processed yet"
        confirm(f"Delete event {event} ({found.event_type.value}), which is {state}?", yes=yes)
        store.run(coordination.delete, event)
    print_deleted(cli, "event", str(event))


@command(group, "prune", example="coordination prune --older-than 30d --yes")
def prune(
    cli: Cli,
    *,
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago they were recorded: 12h, 7d.", show_default=False)
    ],
    yes: Yes = False,
) -> None:
    """Delete processed events that were recorded long ago. Those that nobody has taken stay."""
    age = parse_duration(older_than, option="--older-than")
    with cli.store() as store:
        count = store.query(coordination.prunable, age)
        if count:
            confirm(f"Delete {counted(count, 'processed event')} recorded more than {older_than} ago?", yes=yes)
        deleted = in_batches(store, count, coordination.prune, age)
    if cli.json:
        print_document({"deleted": deleted})
    else:
        hint(f"deleted {counted(deleted, 'event')}")


def _row(event: CoordinationEvent) -> Sequence[Cell]:
    return (
        str(event.id),
        instant(event.created_at),
        event.event_type.value,
        event.ticket_id or "",
        event.stage or "",
        event.worker_id or "",
        "yes" if event.processed else "no",
        event.reason or "",
        event.project_id or "",
    )
