"""What goes where: the result to stdout, as a table or as JSON; hints and questions to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.table import Cell, Column, print_table
from vibeweaver_store.cli.text import shown
from vibeweaver_store.paging import Page

T = TypeVar("T")


def console() -> Console:
    """Return the console of stdout. It reads no markup: what is printed came from a database."""
    return Console(markup=False, emoji=False, highlight=False)


# --- JSON ------------------------------------------------------------------------------------------------------


def to_json(value: object) -> bytes:
    """Return a value as compact JSON: rows by their columns, enumerations by value, times as ISO 8601 with ``Z``."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, BaseModel):
        # A column that SQLAlchemy keeps the name of has an attribute with an underscore behind it.
        names = (*type(value).model_fields, *getattr(type(value), "ON_REQUEST", ()))
        return {name.removesuffix("_"): getattr(value, name) for name in names}
    raise TypeError(f"{type(value).__name__} is not JSON")


def print_document(value: object) -> None:
    """Print one JSON document."""
    typer.echo(to_json(value))


def print_lines(values: Iterable[object]) -> None:
    """Print a JSON document a line."""
    lines = b"\n".join(map(to_json, values))
    if lines:
        typer.echo(lines)


# --- for people ------------------------------------------------------------------------------------------------


def hint(text: str) -> None:
    """Tell something on stderr that is not the result."""
    sys.stdout.flush()
    typer.secho(shown(text), err=True, dim=True)


def print_card(pairs: Mapping[str, str]) -> None:
    """Print names and values under each other."""
    out = console()
    widest = max(map(len, pairs))
    for name, value in pairs.items():
        line = Text(f"{name:<{widest}}  ", style="dim") + Text(shown(value) or "—", style="none")
        out.print(line, soft_wrap=True)


def print_text(text: str, *, indent: int = 2) -> None:
    """Print a text of several lines, each with nothing in it that could move the cursor."""
    out = console()
    for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n"):
        out.print(Text(f"{' ' * indent}{shown(line)}".rstrip()), soft_wrap=True)


def print_items(
    cli: Cli, items: Sequence[T], columns: Sequence[Column], row: Callable[[T], Sequence[Cell]], *, none: str
) -> None:
    """Print a list as a table or as JSON lines. ``none`` is the hint where it is empty."""
    if cli.json:
        print_lines(items)
    elif items:
        print_table(console(), columns, [row(item) for item in items])
    else:
        hint(none)


def print_page(
    cli: Cli, page: Page[T], columns: Sequence[Column], row: Callable[[T], Sequence[Cell]], *, none: str
) -> None:
    """Print a page of a list, and on stderr the cursor that leads on."""
    print_items(cli, page.items, columns, row, none=none)
    if page.next_cursor is not None:
        hint(f"next cursor: {page.next_cursor}")


def print_row(cli: Cli, row: T, card: Callable[[T], Mapping[str, str]]) -> None:
    """Print one row, as a card or as JSON."""
    if cli.json:
        print_document(row)
    else:
        print_card(card(row))


def print_made(cli: Cli, row: object, key: object) -> None:
    """Print what was made: its key, for the next command to take, or the whole as JSON."""
    if cli.json:
        print_document(row)
    else:
        typer.echo(shown(str(key)))


def print_deleted(cli: Cli, what: str, key: str) -> None:
    """Tell that something is gone."""
    if cli.json:
        print_document({"deleted": key})
    else:
        hint(f"deleted {what} {key}")
