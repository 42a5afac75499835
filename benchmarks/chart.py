"""The chart: how far each target is met, and what the peers take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Measured, Verdict, beside_others, verdicts
from benchmarks.rows import OURS
from benchmarks.tables import number

MET, MISSED, OWN, OTHER = "#2f7d5b", "#b5482f", "#2f7d5b", "#8a8f98"
ROW_INCHES = 0.27


def draw(results: Sequence[Measured], path: Path) -> None:
    """Draw a PNG. Needs matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    judged = [each for each in verdicts(results) if each.value]
    rows = [row for row in beside_others(results) if row.figure(OURS)]
    bars = sum(len(row.rounds) for row in rows)
    heights = [max(1, len(judged)), *[len(row.rounds) + 1.2 for row in rows]]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(11, ROW_INCHES * (len(judged) + bars) + 1.0 * len(heights) + 1),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    _targets(axes[0][0], judged)
    for (axis,), row in zip(axes[1:], rows, strict=True):
        _peers(axis, row)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _targets(axis: Any, judged: list[Verdict]) -> None:
    """A bar is the share of its target that is used up; left of the line is met."""
    shares = [_share(each) for each in judged]
    names = [f"{each.row.name}   {each.target.said(each.row.unit)}" for each in judged]
    colours = [MET if each.met else MISSED for each in judged]
    bars = axis.barh(names, shares, color=colours, height=0.7)
    plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # the line does not cross them
    axis.bar_label(bars, [number(each.value) for each in judged], padding=3, fontsize=8, bbox=plain)
    axis.set_xscale("log")
    axis.set_xlim(min([*shares, 0.5]) / 1.5, max([*shares, 2]) * 2)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_title("The share of each target that is used up (1 = the target; less is better)", fontsize=11, loc="left")
    _finish(axis)


def _share(verdict: Verdict) -> float:
    assert verdict.value
    return verdict.target.bound / verdict.value if verdict.target.least else verdict.value / verdict.target.bound


def _peers(axis: Any, row: Measured) -> None:
    names = list(row.rounds)
    figures = [row.figure(name) or 0 for name in names]
    colours = [MISSED if row.note(name) else OWN if name == OURS else OTHER for name in names]
    bars = axis.barh(names, figures, color=colours, height=0.7)
    notes = [row.note(name).partition(";")[0] for name in names]  # that of one round says enough
    labels = [f"{number(figure)}  {note}" for figure, note in zip(figures, notes, strict=True)]
    axis.bar_label(bars, labels, padding=3, fontsize=8)
    axis.set_xlim(0, max(figures) * 1.35)
    better = "more" if row.unit.endswith("/s") else "less"
    axis.set_title(f"{row.name}, {row.unit} ({better} is better)", fontsize=11, loc="left")
    _finish(axis)


def _finish(axis: Any) -> None:
    axis.margins(y=0.01)
    axis.invert_yaxis()
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
