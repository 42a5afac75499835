"""The tables of a run, as Markdown, which reads on a terminal too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.results import Measured, Verdict, beside_others, verdicts
from benchmarks.rows import OURS

SIGNS = {True: "yes", False: "**no**", None: "not measured"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as what is in them; all but the first are set to the right."""
    body = list(rows)
    widths = [max(3, *[len(line[column]) for line in [head, *body]]) for column in range(len(head))]
    rule = ["-" * widths[0], *["-" * (width - 1) + ":" for width in widths[1:]]]
    return "\n".join(f"| {' | '.join(_set(line, widths))} |" for line in [head, rule, *body])


def _set(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *[text.rjust(width) for text, width in others]]


def number(value: float | None) -> str:
    """Three digits that count, or whole thousands."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def targets(results: Sequence[Measured]) -> str:
    head = ("through the public API", "target", "measured", "ours", "p99", "the other", "unit", "met")
    return table(head, [_verdict(each) for each in verdicts(results)])


def _verdict(verdict: Verdict) -> tuple[str, ...]:
    row, target = verdict.row, verdict.target
    other = None if target.against is None else row.figure(target.against)
    met = f"**no**: {verdict.trouble}" if verdict.trouble else SIGNS[verdict.met]
    reason = row.note(target.against or OURS) if verdict.value is None else ""
    return (
        row.name,
        target.said(row.unit),
        number(verdict.value),
        number(row.figure(target.subject)),
        number(row.p99(target.subject)),
        number(other),
        row.unit,
        f"{met}: {reason}" if reason else met,
    )


def others(results: Sequence[Measured]) -> str:
    """Rows with the peers: the figure of each, and how many times ours it is."""
    head = ("what is done", "by", "median", "p99", "unit", "times ours", "")
    return table(head, [_other(row, name) for row in beside_others(results) for name in row.subjects])


def _other(row: Measured, name: str) -> tuple[str, ...]:
    ratio = number(row.ratio(name, OURS))
    return row.name, name, number(row.figure(name)), number(row.p99(name)), row.unit, ratio, row.note(name)


def everything(results: Sequence[Measured]) -> str:
    """All subjects of the rows that something is aimed at."""
    known = {row.name for row in beside_others(results)}
    head = ("what is done", "by", "median", "p99", "unit", "")
    rows = [
        (row.name, name, number(row.figure(name)), number(row.p99(name)), row.unit, row.note(name))
        for row in results
        if row.name not in known
        for name in row.subjects
    ]
    return table(head, rows)
