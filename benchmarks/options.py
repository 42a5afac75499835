"""What a run is asked for."""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Options:
    only: tuple[str, ...]
    rounds: int
    quick: bool
    growth: bool
    folder: Path
    postgres: str | None
    peers: bool
    check: bool
    save: bool
    chart: Path | None
    verbose: bool

    def wants(self, *names: str) -> bool:
        """Whether any of these was asked for; all are where nothing was."""
        return not self.only or any(word in name for word in self.only for name in names)

    def scaled(self, count: int) -> int:
        """So many, or a tenth of it in a quick run."""
        return max(1, count // 10) if self.quick else count


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="groups of this name, or rows")
    parser.add_argument("--rounds", type=int, help="rounds whose median counts (3, or 1 with --quick)")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work, once: whether it works, not how fast"
    )
    parser.add_argument("--growth", action="store_true", help="also with 10 million rows; takes long, and 10 GB")
    parser.add_argument("--folder", type=Path, help="where the files are; in memory where there is /dev/shm")
    parser.add_argument("--disk", action="store_true", help="the files are in the temporary folder")
    parser.add_argument("--postgres", default=os.environ.get("VIBEWEAVER_TEST_POSTGRES_URL"), metavar="URL")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="measure those installed")
    parser.add_argument("--check", action="store_true", help="fail where a ratio is 25 %% worse than the committed one")
    parser.add_argument(
        "--save",
        action="store_true",
        help="write the figures and docs/performance.md",
    )
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw a PNG")
    parser.add_argument("--verbose", action="store_true", help="print each row as it is measured")
    given = parser.parse_args(arguments)
    if given.check and (given.disk or given.save):
        parser.error("--check goes neither with --disk, which is not gated, nor with --save")
    return Options(
        only=tuple(given.only),
        rounds=given.rounds or (1 if given.quick else 3),
        quick=given.quick,
        growth=given.growth,
        folder=_folder(given.folder, disk=given.disk),
        postgres=given.postgres,
        peers=given.peers,
        check=given.check,
        save=given.save,
        chart=given.chart,
        verbose=given.verbose,
    )


def _folder(given: Path | None, *, disk: bool) -> Path:
    if given is not None:
        return given
    in_memory = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return MEMORY if in_memory and not disk else Path(tempfile.gettempdir())
