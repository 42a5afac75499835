"""``markers``: add, list and delete the named places of a session's timeline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import TakesNumbers, command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, OwnId, SessionId, Yes, parse_json, within
from vibeweaver_store.cli.output import print_deleted, print_made, print_page
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import compact, number
from vibeweaver_store.models import Marker
from vibeweaver_store.services import markers

group = new_group("markers", "Add, list and delete named places on a timeline.")


@command(
    group,
    "add",
    example="""
markers add "$SESSION" 64 Chorus
markers add "$SESSION" 96.5 "Guitar solo" --metadata '{"key": "D minor"}'
markers add "$SESSION" -4 "Count-in"
""",
    cls=TakesNumbers,
)
def add(
    cli: Cli,
    session: SessionId,
    beat: Annotated[float, typer.Argument(metavar="BEAT", help="Where; below 0 before bar 1.", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.", show_default=False)],
    *,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="A value of your own.", show_default=False)
    ] = None,
    marker_id: OwnId = None,
) -> None:
    """Add a marker to a session, and print its id. Names may repeat."""
    document = parse_json(metadata, option="--metadata")
    with cli.store() as store:
        made = store.run(markers.add, session, beat, name, metadata=document, marker_id=marker_id)
    print_made(cli, made, made.id)


@command(group, "list", example='markers list "$SESSION"\nmarkers list "$SESSION" --from 64 --to 128 --json')
def list_(
    cli: Cli,
    session: SessionId,
    *,
    from_beat: Annotated[
        float | None, typer.Option("--from", metavar="BEAT", help="The first beat to look at.", show_default=False)
    ] = None,
    to_beat: Annotated[
        float | None, typer.Option("--to", metavar="BEAT", help="The beat to stop before.", show_default=False)
    ] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List a session's markers by beat."""
    with cli.store() as store:
        if from_beat is None and to_beat is None:
            page = store.query(within, session, markers.page, limit=limit, cursor=cursor)
        else:
            first = -sys.float_info.max if from_beat is None else from_beat
            last = sys.float_info.max if to_beat is None else to_beat
            page = store.query(within, session, markers.between, first, last, limit=limit, cursor=cursor)
    columns = (
        Column("BEAT", "cyan", right=True),
        Column("NAME", "bold", narrow="fold"),
        Column("METADATA", "dim", narrow="cut"),
        Column("ID", "dim", narrow="below"),
    )
    print_page(cli, page, columns, _row, none=f"no markers; add one: vibeweaver-store markers add {session} 64 Chorus")


@command(group, "delete", example='markers delete "$MARKER" --yes')
def delete(
    cli: Cli,
    marker: Annotated[str, typer.Argument(metavar="MARKER", help="The marker's id.", show_default=False)],
    yes: Yes = False,
) -> None:
    """Delete a marker."""
    with cli.store() as store:
        found = store.query(markers.get, marker)
        confirm(f"Delete marker {found.name!r} at beat {number(found.beat)}?", yes=yes)
        store.run(markers.delete, marker)
    print_deleted(cli, "marker", marker)


def _row(marker: Marker) -> Sequence[str]:
    metadata = "" if marker.metadata_ is None else compact(marker.metadata_)
    return number(marker.beat), marker.name, metadata, marker.id
