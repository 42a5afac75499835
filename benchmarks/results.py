"""What a run has measured: of each row and subject a figure a round, and what is made of the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from benchmarks.rows import OURS, Row, Taken, percentile
from benchmarks.targets import Target, targets_of

ENOUGH_FOR_P99 = 100


@dataclass
class Round:
    """What one subject took in one round."""

    figure: float
    p99: float | None
    note: str = ""


@dataclass
class Measured:
    """A row as it was measured."""

    name: str
    unit: str
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def subjects(self) -> list[str]:
        return [*self.rounds, *self.missing]

    def figure(self, subject: str) -> float | None:
        rounds = self.rounds.get(subject)
        return statistics.median(each.figure for each in rounds) if rounds else None

    def p99(self, subject: str) -> float | None:
        known = [each.p99 for each in self.rounds.get(subject, []) if each.p99 is not None]
        return statistics.median(known) if known else None

    def note(self, subject: str) -> str:
        """Why it is missing, or what went wrong in any of the rounds."""
        told = [each.note for each in self.rounds.get(subject, []) if each.note]
        return self.missing.get(subject, "") or "; ".join(dict.fromkeys(told))

    def ratio(self, subject: str, against: str) -> float | None:
        """The median of the rounds' ratios."""
        pairs = zip(self.rounds.get(subject, []), self.rounds.get(against, []), strict=False)
        ratios = [ours.figure / theirs.figure for ours, theirs in pairs if theirs.figure]
        return statistics.median(ratios) if ratios else None

    def add(self, subject: str, row: Row, chunks: list[Taken]) -> None:
        values = [value for taken in chunks for value in taken.values]
        note = "; ".join(dict.fromkeys(taken.note for taken in chunks if taken.note))
        if not values:
            self.missing[subject] = note or "nothing was done"
            return
        p99 = percentile(values, 0.99) if len(values) >= ENOUGH_FOR_P99 else None
        self.rounds.setdefault(subject, []).append(Round(row.figure(values), p99, note))

    def as_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_document(cls, told: dict[str, Any]) -> Self:
        rounds = {name: [Round(**each) for each in rounds] for name, rounds in told["rounds"].items()}
        return cls(**{**told, "rounds": rounds})


@dataclass(frozen=True)
class Verdict:
    """A target and how it was met; without a value where it was not measured, and why."""

    target: Target
    row: Measured
    value: float | None

    @property
    def key(self) -> str:
        return f"{self.row.name} | {self.target.against or self.row.unit}"

    @property
    def trouble(self) -> str:
        """What our own subject did wrong, if anything: then no figure makes it good."""
        return self.row.note(self.target.subject) if self.target.subject in self.row.rounds else ""

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.target.meets(self.value) and not self.trouble


def verdicts(results: Sequence[Measured]) -> Iterator[Verdict]:
    for row in results:
        for target in targets_of(row.name):
            yield Verdict(target, row, _value(row, target))


def _value(row: Measured, target: Target) -> float | None:
    return row.figure(target.subject) if target.against is None else row.ratio(target.subject, target.against)


def beside_others(results: Sequence[Measured]) -> list[Measured]:
    """The rows that nothing is aimed at, but that others are in."""
    return [row for row in results if not targets_of(row.name) and OURS in row.subjects]
