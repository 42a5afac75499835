"""``stats``: how long generating takes, space by space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import typer

from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit
from vibeweaver_store.cli.output import print_card, print_document, print_lines, print_page
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import instant, number
from vibeweaver_store.models import GenerationStats
from vibeweaver_store.paging import Page
from vibeweaver_store.services import stats

group = new_group("stats", "Record and show how long generating takes; deadlines go by it.")

Space: TypeAlias = Annotated[
    str, typer.Argument(metavar="SPACE", help="Where something is generated.", show_default=False)
]


@command(group, "record", example="stats record drums 4200")
def record(
    cli: Cli,
    space: Space,
    duration_ms: Annotated[
        int, typer.Argument(metavar="MILLISECONDS", help="How long it took this time.", show_default=False)
    ],
) -> None:
    """Add one sample to a space's stats, and show them."""
    with cli.store() as store:
        _print(cli, store.run(stats.record, space, duration_ms))


@command(group, "list", example="stats list")
def list_(cli: Cli, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List the stats of all spaces, by name. Times are in milliseconds."""
    with cli.store() as store:
        page = store.query(stats.page, limit=limit, cursor=cursor)
    columns = (
        Column("SPACE", "bold", narrow="fold"),
        Column("SAMPLES", right=True),
        Column("AVERAGE", "cyan", right=True),
        Column("±", "dim", right=True),
        Column("MIN", right=True),
        Column("MAX", right=True),
        Column("LAST", right=True),
        Column("UPDATED", "dim"),
    )
    if cli.json:
        # The averages are no columns, but are what the rows are kept for.
        print_lines(map(_document, page.items))
        page = Page([], page.next_cursor)
    print_page(cli, page, columns, _row, none="no stats; record a sample: vibeweaver-store stats record drums 4200")


@command(group, "show", example="stats show drums")
def show(cli: Cli, space: Space) -> None:
    """Show the stats of one space."""
    with cli.store() as store:
        _print(cli, store.query(stats.get, space))


def _print(cli: Cli, found: GenerationStats) -> None:
    if cli.json:
        print_document(_document(found))
    else:
        print_card(_card(found))


def _document(found: GenerationStats) -> dict[str, Any]:
    averages = {"average_ms": found.average_ms, "standard_deviation_ms": found.standard_deviation_ms}
    return {**found.model_dump(), **averages}


def _row(found: GenerationStats) -> Sequence[str]:
    return (
        found.space,
        f"{found.sample_count:,}",
        number(found.average_ms),
        number(found.standard_deviation_ms),
        f"{found.min_ms}",
        f"{found.max_ms}",
        f"{found.last_ms}",
        instant(found.updated_at),
    )


def _card(found: GenerationStats) -> dict[str, str]:
    return {
        "space": found.space,
        "samples": f"{found.sample_count:,}",
        "average": f"{number(found.average_ms)} ms, ± {number(found.standard_deviation_ms)}",
        "range": f"{found.min_ms} to {found.max_ms} ms",
        "last": f"{found.last_ms} ms",
        "updated": instant(found.updated_at),
    }
