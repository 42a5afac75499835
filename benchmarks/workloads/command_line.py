"""What help on the command line takes, beside an import of what the command line is made with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.rows import OURS, Row, Taken
from benchmarks.stage import Stage
from benchmarks.targets import TYPER

COMMAND = Path(sys.executable).parent / "vibeweaver-store"


def rows(stage: Stage) -> Iterator[Row]:
    compiled = stage.templates.folder / "compiled"
    # Of both, what Python compiles is kept, and in a place of its own, whatever the environment says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    subjects = {
        OURS: partial(_wall, (str(COMMAND), "--help"), environment),
        TYPER: partial(_wall, (sys.executable, "-c", "import typer"), environment),
    }
    yield Row("--help, wall", subjects, unit="ms", calls=2, chunks=5, warm=2)


def _wall(command: Sequence[str], environment: dict[str, str], calls: int) -> Taken:
    values = []
    for _ in range(calls):
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        values.append((time.perf_counter() - started) * 1e3)
    return Taken(values)
