"""What all imports have in common: counting, telling of what was left out, and trying without writing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, TypeAlias, TypeVar

from vibeweaver_store.importers.redaction import redact_text
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

P = ParamSpec("P")
T = TypeVar("T")

MAX_PROBLEMS_TOLD: Final = 1000

Progress: TypeAlias = Callable[[int], None]
"""Is told how many bytes of the sources were dealt with since the last time."""


@dataclass(slots=True)
class Counts:
    """What became of the items of a source: lines of a journal, sessions of a file, rows of a database.

    Attributes:
        read: how many there were to be dealt with; ``new + updated + duplicate + broken`` of them.
        new: stored now.
        updated: there already, and changed to what the source says now, or attached to a parent that came later.
        duplicate: there already.
        unknown: stored, but of a kind that this version does not know; they are among the new ones.
        broken: left out, since they could not be read.
        sessions: sessions that were made.
        messages: messages that were made.
        redacted: secrets that were struck out.
    """

    read: int = 0
    new: int = 0
    updated: int = 0
    duplicate: int = 0
    unknown: int = 0
    broken: int = 0
    sessions: int = 0
    messages: int = 0
    redacted: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of another one to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_document(self) -> dict[str, int]:
        """Return the counts by name, as they are kept with an import."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was left out: where it stands, and why. ``line`` counts from 1; ``None`` of the whole source."""

    source: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was stored otherwise than the source has it, and how often: a word that was read as another."""

    source: str
    text: str
    count: int

    def __str__(self) -> str:
        return f"{self.source}: {noted(self.text, self.count)}"


def noted(text: str, count: int) -> str:
    """Return a note with how many rows it is about, where it is more than one."""
    return text if count == 1 else f"{text} ({count:,} rows)"


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do.

    Attributes:
        importer: which one.
        dry_run: nothing was written.
        sources: how many files there were.
        unchanged: how many of them had nothing new.
        rewritten: how many of them were not what had been read of them before, or were written to without growing and
            had something new, and were read anew.
        torn: how many of them end within a line, which is left for the next run; one that it finds unchanged is broken.
        counts: of all sources together.
        problems: what was left out, the first 1,000.
        problem_count: how much was left out.
        notes: what was stored otherwise than a source has it, and is no loss; the first 1,000.
        import_ids: the imports that were recorded, for ``import undo``; none on a dry run.
        seconds: how long it took.
    """

    importer: str
    dry_run: bool = False
    sources: int = 0
    unchanged: int = 0
    rewritten: int = 0
    torn: int = 0
    counts: Counts = field(default_factory=Counts)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    notes: list[Note] = field(default_factory=list)
    import_ids: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def leave_out(self, source: object, line: int | None, reason: str) -> None:
        """Note something that was left out; a reason that shows what was read shows no secret of it."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS_TOLD:
            self.problems.append(Problem(str(source), line, redact_text(reason)))

    def note(self, source: object, text: str, count: int) -> None:
        """Note something that was stored otherwise than a source has it; no secret of the source is shown."""
        if len(self.notes) < MAX_PROBLEMS_TOLD:
            self.notes.append(Note(str(source), redact_text(text), count))

    def as_document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "importer": self.importer,
            "dry_run": self.dry_run,
            "sources": self.sources,
            "unchanged": self.unchanged,
            "rewritten": self.rewritten,
            "torn": self.torn,
            **self.counts.as_document(),
            "problems": [{"source": each.source, "line": each.line, "reason": each.reason} for each in self.problems],
            "problem_count": self.problem_count,
            "notes": [{"source": each.source, "note": each.text, "count": each.count} for each in self.notes],
            "imports": self.import_ids,
            "seconds": round(self.seconds, 3),
        }


class Run:
    """One call of an importer: it writes in units of work of its own, or, on a dry run, in one that is undone."""

    def __init__(self, store: Store, report: ImportReport, trial: UnitOfWork | None) -> None:
        self.report = report
        self._store = store
        self._trial = trial

    def do(self, operation: Callable[Concatenate[UnitOfWork, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing operation in a unit of work, which is committed unless this is a dry run.

        It may be run again where the backend calls its failure transient: let it change nothing but the database.

        Raises:
            StoreError: whatever the operation raises; nothing of it is kept.
        """
        if self._trial is None:
            return self._store.run(operation, *args, **kwargs)
        with self._trial.savepoint():
            return operation(self._trial, *args, **kwargs)

    def ask(self, operation: Callable[Concatenate[ReadUnitOfWork, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading operation; on a dry run it sees what was written so far.

        Raises:
            StoreError: whatever the operation raises.
        """
        if self._trial is None:
            return self._store.query(operation, *args, **kwargs)
        return operation(self._trial, *args, **kwargs)

    def note(self, import_id: int) -> None:
        """Note an import that was recorded; on a dry run there is none."""
        if self._trial is None:
            self.report.import_ids.append(import_id)


class _TrialOverError(Exception):
    """Undoes the unit of work of a dry run."""


@contextmanager
def running(store: Store, importer: str, *, dry_run: bool) -> Iterator[Run]:
    """Give an importer what it runs on, and take the time.

    A dry run does all that the real one does, in one unit of work that is undone at the end: its report is the same,
    and other writers wait for it meanwhile.
    """
    report = ImportReport(importer, dry_run)
    began = time.monotonic()
    try:
        if dry_run:
            with suppress(_TrialOverError), store.begin() as uow:
                yield Run(store, report, uow)
                _give_up()
        else:
            yield Run(store, report, None)
    finally:
        report.seconds = time.monotonic() - began


def _give_up() -> NoReturn:
    raise _TrialOverError
