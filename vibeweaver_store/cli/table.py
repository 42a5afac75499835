"""Tables for people: aligned, whole in a pipe, and within the width of a terminal.

Where a terminal is too narrow, an id moves to a line beneath its row, and what may be folded or cut is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from rich.console import Console
from rich.text import Text

from vibeweaver_store.cli.text import shown

Cell: TypeAlias = str | Text

_GAP: Final = 2
_NARROWEST: Final = 8


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: what stands above it.
        style: how its cells look on a terminal.
        right: it is aligned to the right, as numbers are.
        narrow: what becomes of it where there is no room: it keeps its width, is folded, cut off, or goes beneath the
            row, where what is empty takes no place and the rest stands on as few lines as it fits on.
    """

    title: str
    style: str = ""
    right: bool = False
    narrow: Literal["keep", "fold", "cut", "below"] = "keep"


def print_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, indent: int = 0
) -> None:
    """Print rows under their titles; in a pipe as wide as they are."""
    width = console.width - indent if console.is_terminal else None
    for line in lay_out(console, columns, rows, width):
        console.print(Text(" " * indent) + line, soft_wrap=True)


def lay_out(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None
) -> Iterator[Text]:
    """Yield the lines of a table, none wider than ``width`` where one is given and the columns allow it."""
    cells = [[_text(cell, column) for cell, column in zip(row, columns, strict=True)] for row in rows]
    titles = [Text(column.title, style="bold") for column in columns]
    widths = [max(text.cell_len for text in texts) for texts in zip(titles, *cells, strict=True)]
    beside = list(range(len(columns)))
    if width is not None and _total(widths) > width:
        beside = [index for index in beside if columns[index].narrow != "below"]
        widths = _shrunk(columns, widths, beside, width)
    for row in [titles, *cells]:
        yield from _lines(console, columns, row, widths, beside)
        if row is not titles and width is not None:
            yield from _beneath([text for index, text in enumerate(row) if index not in beside and text], width)


def _text(cell: Cell, column: Column) -> Text:
    return escaped(cell) if isinstance(cell, Text) else Text(shown(cell), style=column.style)


def escaped(text: Text) -> Text:
    """Return a text with its control characters spelled out; where it has any, it loses its styles but the first."""
    return text if shown(text.plain) == text.plain else Text(shown(text.plain), style=text.style)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _shrunk(columns: Sequence[Column], natural: Sequence[int], beside: Sequence[int], width: int) -> list[int]:
    """Take from the widest of the columns that can give, until all fit or none can give any more."""
    widths = list(natural)
    while (excess := _total([widths[index] for index in beside]) - width) > 0:
        giving = [index for index in beside if columns[index].narrow != "keep" and widths[index] > _NARROWEST]
        if not giving:
            break
        widest = max(giving, key=widths.__getitem__)
        next_wide = max([widths[index] for index in giving if index != widest], default=_NARROWEST)
        widths[widest] -= max(1, min(excess, widths[widest] - max(next_wide, _NARROWEST)))
    return widths


def _lines(
    console: Console, columns: Sequence[Column], row: Sequence[Text], widths: Sequence[int], beside: Sequence[int]
) -> Iterator[Text]:
    folded = {index: _fit(console, row[index], columns[index], widths[index]) for index in beside}
    for number in range(max(len(lines) for lines in folded.values())):
        line = Text()
        for index in beside:
            part = folded[index][number] if number < len(folded[index]) else Text()
            blank = " " * (widths[index] - part.cell_len)
            line += Text(blank) + part if columns[index].right else part + Text(blank)
            if index != beside[-1]:
                line += Text(" " * _GAP)
        line.rstrip()
        yield line


def _beneath(texts: Sequence[Text], width: int) -> Iterator[Text]:
    """Yield what goes beneath a row, several on a line where there is room, none of them folded."""
    gap = Text(" " * _GAP)
    line = Text()
    for text in texts:
        if line and line.cell_len + _GAP + text.cell_len > width:
            yield line
            line = Text()
        line += gap + text
    if line:
        yield line


def _fit(console: Console, text: Text, column: Column, width: int) -> list[Text]:
    if text.cell_len <= width:
        return [text]
    if column.narrow == "cut":
        short = text.copy()
        short.truncate(width, overflow="ellipsis")
        return [short]
    return list(text.wrap(console, width, overflow="fold"))
