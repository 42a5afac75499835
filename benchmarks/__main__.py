"""``python -m benchmarks``: measures, prints the tables, and saves or checks where asked."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import chart, figures, machine, page, tables
from benchmarks.options import Options, parse
from benchmarks.results import Measured
from benchmarks.runner import run

ON_DISK = ("appending", "snapshots.save", "jobs one at a time")


def main() -> int:
    options = parse()
    results = run(options)
    _print(results)
    if options.chart:
        chart.draw(results, options.chart)
    if options.save:
        _save(options, results)
    return _check(results) if options.check else 0


def _print(results: list[Measured]) -> None:
    print(tables.targets(results), tables.others(results), tables.everything(results), sep="\n\n")


def _save(options: Options, results: list[Measured]) -> None:
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    described = machine.described(options)
    disk = run(replace(options, only=ON_DISK, rounds=1, folder=Path(tempfile.gettempdir())))
    chart.draw(results, page.CHART)
    figures.write(results, described, date)
    page.write(results, disk, described, date)


def _check(results: list[Measured]) -> int:
    lost = figures.losses(results)
    print("", *(lost or ["nothing is worse than the committed figures by more than may be"]), sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
