"""``python -m benchmarks``: measures, prints the tables, and saves or checks where asked."""

from __future__ import annotations

import signal
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import chart, figures, machine, page, tables
from benchmarks.options import Options, parse
from benchmarks.results import Measured
from benchmarks.runner import run

ON_DISK = (
    "appending",
    "pages",
    "snapshots.",
    "jobs one at a time",
    "jobs by batches",
    "contention",
    "importing",
    "opening",
)


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files and databases go, as on Ctrl-C
    results = run(options)
    _print(list(results.values()))
    if options.chart:
        chart.draw(list(results.values()), options.chart)
    if options.save:
        _save(options, results)
    return _check(results) if options.check else 0


def _print(results: list[Measured]) -> None:
    made = [make(results) for make in (tables.targets, tables.others, tables.everything)]
    print(*[table for table in made if table.count("\n") > 1], sep="\n\n")


def _save(options: Options, results: dict[str, Measured]) -> None:
    """Put what was measured in place of what was known of the same rows, and write all that is made of it."""
    told = figures.read() if options.only else figures.Figures()
    told.take(results, f"{datetime.now(UTC):%Y-%m-%d}", quick=options.quick)
    told.machine = machine.described(options)
    if not options.only:
        told.disk = run(replace(options, only=ON_DISK, rounds=1, folder=Path(tempfile.gettempdir())))
    figures.write(told)
    chart.draw(list(told.rows.values()), page.CHART)
    page.write(told)


def _check(results: dict[str, Measured]) -> int:
    lost = figures.losses(results, figures.read())
    print("", *(lost or ["nothing is worse than the committed figures by more than may be"]), sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
