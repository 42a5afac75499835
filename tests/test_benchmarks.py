"""The benchmark: what it tells of a loss (issue 6), and that it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Figures, losses
from benchmarks.results import Measured, Round
from benchmarks.targets import B
from tests.spawning import Processes

ROOT = Path(__file__).parent.parent
APPEND = "history.append, one a transaction"
JOBS = "jobs one at a time, 4 processes"
OPENING = "opening a store at head"


def measured(name: str, unit: str = "µs", note: str = "", **figures: float) -> dict[str, Measured]:
    """A row with a round; ``ours`` and the others by name."""
    return {name: Measured(name, unit, {subject: [Round(each, None, note)] for subject, each in figures.items()})}


def lost(committed: dict[str, Measured], now: dict[str, Measured]) -> list[str]:
    return losses(now, Figures(rows=committed))


@pytest.mark.parametrize(("ours", "told"), [(100, 0), (60, 0), (124, 0), (126, 1), (400, 1)])
def test_a_benchmark_ratio_a_quarter_worse_is_a_loss(ours: float, told: int) -> None:
    lines = lost(measured(APPEND, ours=100, b=20), measured(APPEND, ours=ours, b=20))
    assert len(lines) == told
    assert all(line == f"{APPEND} | {B}: was 5, is {ours / 20:.3g}" for line in lines)


@pytest.mark.parametrize(("ours", "told"), [(1000, 0), (2000, 0), (760, 0), (740, 1)])
def test_a_benchmark_rate_a_quarter_lower_is_a_loss(ours: float, told: int) -> None:
    assert len(lost(measured(JOBS, "jobs/s", ours=1000, b=5000), measured(JOBS, "jobs/s", ours=ours, b=5000))) == told


def test_a_benchmark_on_a_uniformly_slower_machine_has_no_loss() -> None:
    assert lost(measured(APPEND, ours=100, b=20, a=900), measured(APPEND, ours=300, b=60, a=2700)) == []
    assert lost(measured(OPENING, "ms", ours=4), measured(OPENING, "ms", ours=40)) == []


def test_a_competitor_missing_from_a_benchmark_is_a_loss() -> None:
    assert lost(measured(APPEND, ours=100, b=20), measured(APPEND, ours=100)) == [
        f"{APPEND} | {B}: was 5, and is not measured"
    ]


def test_a_benchmark_reports_work_lost_or_done_twice() -> None:
    now = measured(JOBS, "jobs/s", "3 done twice", ours=9000, b=5000)
    assert lost(measured(JOBS, "jobs/s", ours=1000, b=5000), now) == [f"{JOBS} | {B}: 3 done twice"]


def test_a_benchmark_does_not_miss_rows_never_measured() -> None:
    assert lost({**measured(APPEND, ours=100, b=20), **measured(JOBS, "jobs/s", ours=1, b=1)}, {}) == []


def test_a_quick_benchmark_run_measures_and_prints_what_is_asked_for(processes: Processes, tmp_path: Path) -> None:
    wanted = ["--only", "opening", "--only", "asynchronous", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-peers", *wanted]
    done = processes.call(*command, cwd=tmp_path, env=environment)

    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| opening a store at head")]
    assert any("≤ 5 ms" in row for row in rows), done.stdout
    assert "asyncio, 200 queries of a page at once" in done.stdout
    assert list(tmp_path.iterdir()) == []
