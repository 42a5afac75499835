"""One source as it is brought in: in parts, each a unit of work, all under one row of the table of imports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.errors import InvalidInput, StoreError
from vibeweaver_store.importers.runs import Counts, Run
from vibeweaver_store.models import ImportStatus, Session
from vibeweaver_store.services import imports
from vibeweaver_store.unit_of_work import UnitOfWork

T = TypeVar("T")

_PROBLEMS_KEPT: Final = 100
"""How many of the things that were left out are kept with an import; all are counted."""


@dataclass(slots=True)
class Part:
    """What one unit of work makes of a source.

    Attributes:
        import_id: the import that brings it.
        counts: what became of the items.
        left_out: which were left out, and why.
        spaces: of generation stats that it brings, the space and how many samples.
    """

    import_id: int
    counts: Counts = field(default_factory=Counts)
    left_out: list[str] = field(default_factory=list)
    spaces: dict[str, int] = field(default_factory=dict)

    def attempt(self, item: object, read: Callable[[], T]) -> T | None:
        """Count an item as read and return what ``read`` makes of it; what it refuses is left out, and ``None``."""
        self.counts.read += 1
        try:
            return read()
        except InvalidInput as error:
            self.leave_out(item, error.message)
            return None

    def leave_out(self, item: object, reason: str) -> None:
        """Leave an item out that was counted as read."""
        self.counts.broken += 1
        self.left_out.append(f"{item}: {reason}")

    def refuse(self, items: Iterable[object], reason: str) -> None:
        """Count items as read and leave all of them out."""
        for item in items:
            self.counts.read += 1
            self.leave_out(item, reason)


class RecordedSource:
    """A source while it is brought in: see :func:`recorded`."""

    def __init__(self, run: Run, source: Path, fingerprint: str) -> None:
        self._run = run
        self._source = source
        self._fingerprint = fingerprint
        self._import_id: int | None = None
        self._counts = Counts()
        self._left_out: list[str] = []
        self._spaces: dict[str, int] = {}
        self._ended = False

    def bring(self, work: Callable[[UnitOfWork, Part], None], *, whole: bool = False) -> None:
        """Do a part of the work in a unit of work of its own. ``whole``: it is all that there is to be done.

        What brings nothing new writes nothing, whatever it tried.

        Raises:
            StoreError: whatever the work raises; nothing of the part is kept.
        """
        part = self._run.do(self._bring, work, whole)
        self._counts.add(part.counts)
        self._spaces.update(part.spaces)
        self._left_out.extend(part.left_out[: _PROBLEMS_KEPT - len(self._left_out)])
        self._run.report.counts.add(part.counts)
        for reason in part.left_out:
            self._run.report.leave_out(self._source, None, reason)
        if self._import_id is None and (part.counts.new or part.counts.messages):
            self._import_id = part.import_id
            self._run.note(part.import_id)
            self._ended = whole

    def _bring(self, uow: UnitOfWork, work: Callable[[UnitOfWork, Part], None], whole: bool) -> Part:
        with suppress(_NothingNewError), uow.savepoint():
            part = Part(self._import_id or self._begin(uow))
            work(uow, part)
            if not (part.counts.new or part.counts.messages):
                raise _NothingNewError
            note = imports.finish if whole else imports.record
            note(uow, part.import_id, **self._so_far(part))
        return part

    def _begin(self, uow: UnitOfWork) -> int:
        begun = imports.begin(uow, self._run.report.importer, source_name(self._source), self._fingerprint)
        assert begun.id is not None  # noqa: S101 - it was inserted
        return begun.id

    def _so_far(self, part: Part) -> dict[str, Any]:
        counts = Counts()
        counts.add(self._counts)
        counts.add(part.counts)
        report: dict[str, Any] = {"problems": [*self._left_out, *part.left_out][:_PROBLEMS_KEPT]}
        if spaces := {**self._spaces, **part.spaces}:
            # Their average is a rounded one, so their sums are about right, and their range is not known.
            report |= {imports.SPACES: spaces, "approximate": imports.SPACES}
        return {"counts": counts.as_document(), "report": report}

    def end(self, status: ImportStatus) -> None:
        """End the import; where it brought nothing, there is none.

        Raises:
            StoreError: it was undone meanwhile, or taken over by another run.
        """
        if self._import_id is None:
            self._run.report.unchanged += 1
        elif not self._ended:
            self._run.do(imports.finish, self._import_id, status=status, **self._so_far(Part(self._import_id)))
        self._ended = True


class _NothingNewError(Exception):
    """Undoes a part that has brought nothing."""


@contextmanager
def recorded(run: Run, source: Path, fingerprint: str) -> Iterator[RecordedSource]:
    """Bring a source in, in the block; its import is completed behind it, or has failed where an error leaves it.

    What was brought before an error stays. A process that is killed leaves the import ``running``; what it brought is
    whole. The next run of the same source finds it there, brings the rest, and lets the killed one have failed.

    Raises:
        StoreError: it was undone meanwhile, or taken over by another run.
    """
    run.report.sources += 1
    bringing = RecordedSource(run, source, fingerprint)
    try:
        yield bringing
    except BaseException:
        with suppress(StoreError):
            bringing.end(ImportStatus.FAILED)
        raise
    bringing.end(ImportStatus.COMPLETED)


def keep_activity(uow: UnitOfWork, part: Part, session_ids: Iterable[str]) -> None:
    """Set when something was last done in sessions that the import made back to what their source says.

    Writing what belongs to them has made it now, as if somebody were at work in them.
    """
    made = (col(Session.id).in_(list(session_ids)), col(Session.import_id) == part.import_id)
    uow.exec(sa.update(Session).where(*made).values(last_activity_at=col(Session.updated_at)))


def source_name(source: Path) -> str:
    """Return how a file is called in the table of imports: by its whole path, as text that a column takes."""
    return os.fsencode(source.resolve()).decode(errors="backslashreplace")
