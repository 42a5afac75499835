"""What memory iterating a million entries takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import OURS, Row, Taken, whole
from benchmarks.stage import JAM, Stage
from vibeweaver_store import Store, history

STATUS = Path("/proc/self/status")
EVERY = 10_000


def rows(stage: Stage) -> Iterator[Row]:
    if not stage.first or (stage.options.quick and not stage.options.only):
        return
    path = stage.templates.deep
    yield Row(
        "memory of iterating 1,000,000 entries",
        {OURS: whole(lambda: _measured(path))},
        unit="MB",
        calls=1,
        chunks=1,
        warm=0,
    )


def _measured(path: Path) -> Taken:
    command = (sys.executable, "-m", "benchmarks.workloads.memory", str(path))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Taken([float(done.stdout)])


def _own_megabytes() -> float:
    """What this process holds of its own, without the file that SQLite maps; on Linux."""
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def main(path: str) -> None:
    """Print by how much memory has grown at most, in MB."""
    with Store.open(path) as store:
        store.query(history.page, JAM)
        before = _own_megabytes()
        most = before
        for number, _ in enumerate(history.iterate(store, JAM)):
            if number % EVERY == 0:
                most = max(most, _own_megabytes())
        print(most - before)


if __name__ == "__main__":
    main(sys.argv[1])
