"""Writes the figures into ``docs/performance.md``, between its marks."""

from __future__ import annotations

from pathlib import Path

from benchmarks import tables
from benchmarks.results import Measured

FILE = Path(__file__).parents[1] / "docs" / "performance.md"
CHART = FILE.with_suffix(".png")
BEGIN, END = "<!-- figures: written by the benchmark -->\n", "<!-- end of figures -->\n"


def write(results: list[Measured], disk: list[Measured], machine: dict[str, str], date: str) -> None:
    head, _, rest = FILE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    FILE.write_text(head + BEGIN + _figures(results, disk, machine, date) + END + tail)


def _figures(results: list[Measured], disk: list[Measured], machine: dict[str, str], date: str) -> str:
    facts = "".join(f"- {name}: {value}\n" for name, value in machine.items())
    parts = [
        f"\nMeasured on {date}:\n\n{facts}",
        f"## Targets\n\n{tables.targets(results)}\n",
        f"![Each target and how it was met; then what peers take]({CHART.name})\n",
        f"## Beside others\n\n{tables.others(results)}\n",
        f"## All figures\n\n{tables.everything(results)}\n",
        f"## On disk\n\nOne round, reported and not gated.\n\n{tables.everything(disk)}\n",
    ]
    return "\n".join(parts) + "\n"
