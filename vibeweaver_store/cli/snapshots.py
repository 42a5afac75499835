"""``snapshots``: save, load, list and prune the versions of a session's state."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, SessionId, Yes, read_file, within
from vibeweaver_store.cli.output import hint, print_document, print_made, print_page
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import counted, instant
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.services import snapshots
from vibeweaver_store.services.snapshots import MAX_STATE_BYTES, SnapshotInfo
from vibeweaver_store.upkeep.findings import told_size

group = new_group("snapshots", "Save, load, list and prune versions of a session's state.")


@command(
    group, "save", example='snapshots save "$SESSION" state.bin --label "before the drop"\nsnapshots save "$SESSION" -'
)
def save(
    cli: Cli,
    session: SessionId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The state; - for stdin.", show_default=False)],
    *,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to call this version.", show_default=False)
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="Then keep only the newest N.", show_default=False)
    ] = None,
) -> None:
    """Save a version of a session's state, and print its number."""
    state = read_file(file, MAX_STATE_BYTES)
    with cli.store() as store:
        made = store.run(snapshots.save, session, state, label=label, keep=keep)
    print_made(cli, made, made.id)


@command(
    group,
    "load",
    example='snapshots load "$SESSION" -o state.bin\nsnapshots load "$SESSION" --id 7 | sha256sum',
    json=False,
)
def load(
    cli: Cli,
    session: SessionId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - for stdout.", show_default="stdout"),
    ] = None,
    snapshot_id: Annotated[
        int | None, typer.Option("--id", metavar="N", help="Which one.", show_default="the newest")
    ] = None,
) -> None:
    """Write a snapshot's state to a file or to stdout, once its checksum was found right."""
    if output is None and sys.stdout.isatty():
        raise LineError("a state is bytes, not for a terminal to show; name a file with -o FILE, or insist with -o -")
    with cli.store() as store:
        found = store.query(within, session, snapshots.load, snapshot_id)
    if output is None or str(output) == "-":
        typer.echo(found.state, nl=False)
        return
    try:
        output.write_bytes(found.state)
    except OSError as error:
        raise InvalidInput(f"{output}: {error.strerror}") from error
    hint(f"snapshot {found.id}, {told_size(found.size_bytes)}, written to {output}")


@command(group, "list", example='snapshots list "$SESSION"')
def list_(cli: Cli, session: SessionId, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List a session's snapshots, newest first."""
    with cli.store() as store:
        page = store.query(within, session, snapshots.page, limit=limit, cursor=cursor)
    columns = (
        Column("ID", "cyan", right=True),
        Column("CAPTURED", "dim"),
        Column("SIZE", right=True),
        Column("LABEL", "bold", narrow="fold"),
        Column("SHA-256", "dim", narrow="cut"),
    )
    print_page(cli, page, columns, _row, none=f"no snapshots; save one: vibeweaver-store snapshots save {session} FILE")


@command(group, "prune", example='snapshots prune "$SESSION" --keep 10 --yes')
def prune(
    cli: Cli,
    session: SessionId,
    keep: Annotated[int, typer.Option(metavar="N", help="How many of the newest stay.", show_default=False)],
    yes: Yes = False,
) -> None:
    """Delete all but a session's newest snapshots."""
    with cli.store() as store:
        store.query(within, session, snapshots.page, limit=1)
        confirm(f"Delete all but the newest {counted(keep, 'snapshot')} of session {session}?", yes=yes)
        deleted = store.run(snapshots.prune, session, keep=keep)
    if cli.json:
        print_document({"deleted": deleted})
    else:
        hint(f"deleted {counted(deleted, 'snapshot')}")


def _row(snapshot: SnapshotInfo) -> Sequence[str]:
    return (
        str(snapshot.id),
        instant(snapshot.captured_at),
        told_size(snapshot.size_bytes),
        snapshot.label or "",
        snapshot.sha256,
    )
