"""The committed figures: written, and what a run is checked against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import Measured, Verdict, verdicts

FILE = Path(__file__).with_name("figures.json")
LOSS = 0.25
"""Which share of a ratio may be lost before the check fails."""


@dataclass
class Figures:
    """What was measured, when, and on what.

    Attributes:
        dates: of each row, the day.
        quick: the rows that are of a quick run.
        machine: what it was measured on, and with.
        rows: on a file system in memory, by name.
        disk: on a disk.
    """

    dates: dict[str, str] = field(default_factory=dict)
    quick: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Measured] = field(default_factory=dict)
    disk: dict[str, Measured] = field(default_factory=dict)

    def take(self, results: Mapping[str, Measured], date: str, *, quick: bool) -> None:
        """Put rows in place of those of the same names."""
        self.rows.update(results)
        self.dates.update(dict.fromkeys(results, date))
        self.quick = [name for name in self.rows if (quick if name in results else name in self.quick)]


def read() -> Figures:
    """The committed figures; none where there is no file."""
    if not FILE.exists():
        return Figures()
    told = json.loads(FILE.read_text())
    return Figures(**{**told, "rows": _rows(told["rows"]), "disk": _rows(told["disk"])})


def _rows(told: dict[str, Any]) -> dict[str, Measured]:
    return {name: Measured.of_document(each) for name, each in told.items()}


def write(told: Figures) -> None:
    FILE.write_text(json.dumps(asdict(told), indent=1, ensure_ascii=False) + "\n")


def losses(results: Mapping[str, Measured], committed: Figures) -> list[str]:
    """What is worse than the committed figures by more than may be, or wrong at all, a line each.

    Only ratios are compared: how many milliseconds something takes is the machine's affair.
    """
    known = {each.key: each.value for each in verdicts(_those(results, committed)) if each.value is not None}
    return [line for each in verdicts(list(results.values())) if (line := _loss(each, known.get(each.key)))]


def _those(results: Mapping[str, Measured], committed: Figures) -> Sequence[Measured]:
    return [row for name, row in committed.rows.items() if name in results]


def _loss(verdict: Verdict, committed: float | None) -> str:
    if verdict.trouble:
        return f"{verdict.key}: {verdict.trouble}"
    if committed is None or verdict.target.against is None:
        return ""
    if verdict.value is None:
        return f"{verdict.key}: was {committed:.3g}, and is not measured"
    if verdict.target.worse(verdict.value, committed, LOSS):
        return f"{verdict.key}: was {committed:.3g}, is {verdict.value:.3g}"
    return ""
