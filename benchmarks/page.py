"""Writes the figures into ``docs/performance.md``, between its marks."""

from __future__ import annotations

from pathlib import Path

from benchmarks import tables
from benchmarks.figures import Figures

FILE = Path(__file__).parents[1] / "docs" / "performance.md"
CHART = FILE.with_suffix(".png")
BEGIN, END = "<!-- figures: written by the benchmark -->\n", "<!-- end of figures -->\n"


def write(told: Figures) -> None:
    head, _, rest = FILE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    FILE.write_text(head + BEGIN + _figures(told) + END + tail)


def _figures(told: Figures) -> str:
    rows, disk = list(told.rows.values()), list(told.disk.values())
    facts = "".join(f"- {name}: {value}\n" for name, value in told.machine.items())
    parts = [
        f"\n{_when(told)}\n\n{facts}",
        f"## Targets\n\n{tables.targets(rows)}\n",
        f"![Each target and how it was met; then what peers take]({CHART.name})\n",
        f"## Beside others\n\n{tables.others(rows)}\n",
        f"## All figures\n\n{tables.everything(rows)}\n",
    ]
    if disk:
        parts.append(f"## On disk\n\nOne round in the temporary folder, not gated.\n\n{tables.everything(disk)}\n")
    return "\n".join(parts) + "\n"


def _when(told: Figures) -> str:
    days = sorted(set(told.dates.values()))
    quick = len(told.quick)
    short = f" {quick} of {len(told.rows)} rows are of a quick run, which tells little of speed." if quick else ""
    return f"Measured on {' to '.join(dict.fromkeys([days[0], days[-1]]))}.{short}"
