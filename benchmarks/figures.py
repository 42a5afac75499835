"""The committed figures: written, and what a run is checked against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.results import Measured, Verdict, verdicts

FILE = Path(__file__).with_name("figures.json")
LOSS = 0.25
"""Which share of a ratio may be lost before the check fails."""


def write(results: list[Measured], machine: dict[str, str], date: str) -> None:
    told = {
        "date": date,
        "machine": machine,
        "ratios": {each.key: each.value for each in verdicts(results) if each.value is not None},
        "rows": {row.name: row.as_document() for row in results},
    }
    FILE.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def read() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text()))


def losses(results: list[Measured]) -> list[str]:
    """What is worse than the committed figures by more than may be, or wrong at all, a line each.

    Only ratios are compared: how many milliseconds something takes is the machine's affair.
    """
    committed = read()["ratios"]
    return [line for each in verdicts(results) if (line := _loss(each, committed.get(each.key)))]


def _loss(verdict: Verdict, committed: float | None) -> str:
    if verdict.trouble:
        return f"{verdict.key}: {verdict.trouble}"
    if committed is None or verdict.target.against is None:
        return ""
    if verdict.value is None:
        return f"{verdict.key}: was {committed:.2f}, and is not measured"
    if verdict.target.worse(verdict.value, committed, LOSS):
        return f"{verdict.key}: was {committed:.2f}, is {verdict.value:.2f}"
    return ""
