"""One source as it is brought in: in parts, each a unit of work, all under one row of the table of imports."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.errors import AlreadyExists, InvalidInput, StoreError
from vibeweaver_store.importers.redaction import redact_text
from vibeweaver_store.importers.runs import Counts, Run, noted
from vibeweaver_store.importers.transcript_marks import MAX_PROBLEMS_KEPT
from vibeweaver_store.models import ImportStatus, Session
from vibeweaver_store.services import imports
from vibeweaver_store.unit_of_work import UnitOfWork

T = TypeVar("T")

_TRIES: Final = 5
"""How often a part is begun anew whose keys others take while it is brought."""

_LONGEST_BYTES: Final = 2000
"""How long a path may be that a column takes."""


@dataclass(slots=True)
class Part:
    """What one unit of work makes of a source.

    Attributes:
        import_id: the import that brings it.
        counts: what became of the items.
        left_out: which were left out, and why.
        spaces: of generation stats that it brings, the space and how many samples.
        latest: the latest time of what it brings with sessions that has no column to say by which import it came.
        grown: of what it brings of that to sessions that were there, where it is; as :data:`imports.GROWN` has it.
        activity: when something was last done in sessions that were there: see :func:`note_activity`.
        notes: what was stored otherwise than the source has it, each with how many rows.
        lost: what rows have that has no place here and was left out, though the rows were not; likewise.
        attached: rows that were there without a parent, by table and parent; as :data:`imports.ATTACHED` has it.
    """

    import_id: int
    counts: Counts = field(default_factory=Counts)
    left_out: list[str] = field(default_factory=list)
    spaces: dict[str, int] = field(default_factory=dict)
    latest: datetime | None = None
    grown: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    activity: dict[str, datetime] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    attached: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @property
    def brought(self) -> bool:
        """Whether it has written anything."""
        return bool(self.counts.new or self.counts.updated or self.counts.messages)

    def attempt(self, item: object, read: Callable[[], T]) -> T | None:
        """Count an item as read and return what ``read`` makes of it; what it refuses is left out, and ``None``."""
        self.counts.read += 1
        try:
            return read()
        except InvalidInput as error:
            self.leave_out(item, error.message)
            return None

    def leave_out(self, item: object, reason: str) -> None:
        """Leave an item out that was counted as read. What is told of it is kept, and so without secrets."""
        self.counts.broken += 1
        self.left_out.append(redact_text(f"{item}: {reason}"))

    def note(self, text: str) -> None:
        """Note something that was stored otherwise than the source has it, and is no loss."""
        self.notes[text] += 1

    def attach(self, table: str, parent: str, ids: Iterable[int]) -> None:
        """Note which rows of a log were attached to a parent, as :data:`imports.ATTACHED` has it."""
        runs = self.attached.setdefault(table, {}).setdefault(parent, [])
        for first, last in _spans(ids):
            if runs and runs[-1][1] + 1 == first:
                runs[-1][1] = last
            else:
                runs.append([first, last])

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
        self._latest: datetime | None = None
        self._grown: dict[str, dict[str, list[Any]]] = {}
        self._attached: dict[str, dict[str, list[Any]]] = {}
        self._notes: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._ended = False

    def bring(self, work: Callable[[UnitOfWork, Part], None], *, whole: bool = False) -> None:
        """Do a part of the work in a unit of work of its own. ``whole``: it is all that there is to be done.

        What brings nothing new writes nothing, whatever it tried.

        Raises:
            StoreError: whatever the work raises; nothing of the part is kept.
        """
        part = self._do(work, whole)
        self._counts.add(part.counts)
        self._spaces.update(part.spaces)
        self._latest = _later(self._latest, part.latest)
        self._grown.update(part.grown)
        self._attached = _merged(self._attached, part.attached)
        self._notes.update(part.notes)
        self._lost.update(part.lost)
        self._left_out.extend(part.left_out[: MAX_PROBLEMS_KEPT - len(self._left_out)])
        self._run.report.counts.add(part.counts)
        for reason in part.left_out:
            self._run.report.leave_out(self._source, None, reason)
        if self._import_id is None and part.brought:
            self._import_id = part.import_id
            self._run.note(part.import_id)
            self._ended = whole

    def _do(self, work: Callable[[UnitOfWork, Part], None], whole: bool) -> Part:
        for _ in range(_TRIES):
            # Another run that brings the same at the same time has written a key that we found free: now it is there.
            with suppress(AlreadyExists):
                return self._run.do(self._bring, work, whole)
        return self._run.do(self._bring, work, whole)

    def _bring(self, uow: UnitOfWork, work: Callable[[UnitOfWork, Part], None], whole: bool) -> Part:
        with suppress(_NothingNewError), uow.savepoint():
            part = Part(self._import_id or self._begin(uow))
            work(uow, part)
            if not part.brought:
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
        lost = _listed(self._lost + part.lost)
        report: dict[str, Any] = {"problems": [*lost, *self._left_out, *part.left_out][:MAX_PROBLEMS_KEPT]}
        if notes := _listed(self._notes + part.notes):
            report["notes"] = notes[:MAX_PROBLEMS_KEPT]
        if spaces := {**self._spaces, **part.spaces}:
            # Their average is a rounded one, so their sums are about right, and their range is not known.
            report |= {imports.SPACES: spaces, "approximate": imports.SPACES}
        if latest := _later(self._latest, part.latest):
            report[imports.LATEST] = latest.isoformat()
        if grown := {**self._grown, **part.grown}:
            report[imports.GROWN] = grown
        if attached := _merged(self._attached, part.attached):
            report[imports.ATTACHED] = attached
        return {"counts": counts.as_document(), "report": report}

    def end(self, status: ImportStatus) -> None:
        """End the import; where it brought nothing, there is none.

        Raises:
            StoreError: it was undone meanwhile, or taken over by another run.
        """
        for text, count in self._lost.items():
            self._run.report.leave_out(self._source, None, noted(text, count))
        for text, count in self._notes.items():
            self._run.report.note(self._source, text, count)
        if self._import_id is None:
            self._run.report.unchanged += 1
        elif not self._ended:
            self._run.do(imports.finish, self._import_id, status=status, **self._so_far(Part(self._import_id)))
        self._ended = True


def _listed(told: Counter[str]) -> list[str]:
    return [redact_text(noted(text, count)) for text, count in told.items()]


def _merged(
    one: Mapping[str, Mapping[str, list[Any]]], other: Mapping[str, Mapping[str, list[Any]]]
) -> dict[str, dict[str, list[Any]]]:
    """Return lists by two keys, those of both put together."""
    merged = {table: {key: list(rows) for key, rows in by_key.items()} for table, by_key in one.items()}
    for table, by_key in other.items():
        for key, rows in by_key.items():
            merged.setdefault(table, {}).setdefault(key, []).extend(rows)
    return merged


def _spans(ids: Iterable[int]) -> list[list[int]]:
    """Return whole numbers as the first and the last of each run without a gap."""
    found: list[list[int]] = []
    for each in sorted(ids):
        if found and each == found[-1][1] + 1:
            found[-1][1] = each
        else:
            found.append([each, each])
    return found


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((each for each in (one, other) if each is not None), default=None)


class _NothingNewError(Exception):
    """Undoes a part that has brought nothing."""


@contextmanager
def recorded(run: Run, source: Path, fingerprint: str) -> Iterator[RecordedSource]:
    """Bring a source in, in the block; its import is completed behind it, or has failed where an error leaves it.

    What was brought before an error, or before Ctrl-C, stays. A process that is killed leaves the import ``running``;
    what it brought is whole. The next run of the same source finds it there, brings the rest, and lets the killed one
    have failed.

    Raises:
        StoreError: it was undone meanwhile, or taken over by another run.
    """
    run.report.sources += 1
    bringing = RecordedSource(run, source, fingerprint)
    try:
        yield bringing
        bringing.end(ImportStatus.COMPLETED)
    except BaseException:
        with suppress(StoreError):
            bringing.end(ImportStatus.FAILED)
        raise


def note_activity(uow: UnitOfWork, part: Part, session_ids: Iterable[str]) -> None:
    """Note when something was last done in sessions, before a part writes to them, for :func:`keep_activity`."""
    found = select(col(Session.id), col(Session.last_activity_at)).where(col(Session.id).in_(list(session_ids)))
    for session_id, active_at in uow.exec(found.order_by(col(Session.id)).with_for_update(key_share=True)):
        part.activity.setdefault(session_id, active_at)


def keep_activity(uow: UnitOfWork, part: Part, session_ids: Iterable[str]) -> None:
    """Set when something was last done in sessions back: an import is no activity, though it writes to them.

    In sessions that the import made it is what their source says, in others what :func:`note_activity` found.
    """
    written = list(session_ids)
    made = (col(Session.id).in_(written), col(Session.import_id) == part.import_id)
    uow.exec(sa.update(Session).where(*made).values(last_activity_at=col(Session.updated_at)))
    for session_id in part.activity.keys() & written:
        others = (col(Session.id) == session_id, col(Session.import_id).is_distinct_from(part.import_id))
        uow.exec(sa.update(Session).where(*others).values(last_activity_at=part.activity[session_id]))


def source_name(source: Path) -> str:
    """Return how a file is called in the table of imports: by its whole path, as text that a column takes.

    A path that no file can have is called as it was given; one that is too long for a column has a digest as its end.
    """
    try:
        path = os.path.realpath(source)
    except (OSError, ValueError):
        path = str(source)
    name = os.fsencode(path).decode(errors="backslashreplace").replace("\0", r"\x00")
    return name if len(name.encode()) <= _LONGEST_BYTES else _shortened(name.encode())


def _shortened(name: bytes) -> str:
    end = f"...{hashlib.sha256(name).hexdigest()}"
    return name[: _LONGEST_BYTES - len(end)].decode(errors="ignore") + end
