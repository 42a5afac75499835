"""What the commands that print the end of a log have in common: ``history tail``, ``messages tail``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.output import console, print_document
from vibeweaver_store.cli.table import Cell, escaped
from vibeweaver_store.cli.text import shown

Lines: TypeAlias = Annotated[
    int, typer.Option("--lines", "-n", metavar="N", min=0, max=1000, help="How many to begin with.")
]
Follow: TypeAlias = Annotated[bool, typer.Option("--follow", "-f", metavar="", help="Go on with what is added.")]

LINES = 10


def print_line(cli: Cli, row: object, cells: Sequence[Cell]) -> None:
    """Print a row at once, as its cells or as JSON; widths of columns are not known while more is to come."""
    if cli.json:
        print_document(row)
        return
    texts = [escaped(cell) if isinstance(cell, Text) else Text(shown(cell)) for cell in cells]
    line = Text("  ").join(texts)
    line.rstrip()
    console().print(line, soft_wrap=True)
