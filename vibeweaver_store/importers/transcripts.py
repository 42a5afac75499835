"""Brings transcripts in, a batch of lines a unit of work, each file from where the run before left off.

A batch is one whole: its lines in the journal, its messages, the session, and how far the file was read. So a process
that is killed leaves the beginning of a file, and the next run goes on behind it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound, StoreError
from vibeweaver_store.importers.jsonl import JsonLine, Line, Lines, fingerprint, whole_array
from vibeweaver_store.importers.recorded import source_name
from vibeweaver_store.importers.redaction import redact
from vibeweaver_store.importers.runs import Counts, Progress, Run
from vibeweaver_store.importers.transcript_lines import (
    Facts,
    Said,
    fitting_id,
    said_in,
    source_session_of,
)
from vibeweaver_store.importers.transcript_sessions import Origin, keep_up, make_sure
from vibeweaver_store.models import Import, ImportStatus
from vibeweaver_store.services import imports, journal, messages
from vibeweaver_store.services.journal import NewEvent
from vibeweaver_store.services.journal_lines import instant_of
from vibeweaver_store.services.messages import NewMessage
from vibeweaver_store.unit_of_work import UnitOfWork

_BATCH_BYTES: Final = 2 * 1024 * 1024
_BATCH_LINES: Final = 1000
_CHUNK: Final = 1024 * 1024
_PROBLEMS_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Manner:
    """How files are brought in.

    Attributes:
        redact: strike out credentials and the ids of organizations.
        arrays: a file may be one JSON array instead of a line an item.
        progress: is told of bytes that were dealt with.
    """

    redact: bool = True
    arrays: bool = False
    progress: Progress | None = None


@dataclass(slots=True)
class _Batch:
    """Some lines of a file, as they are to be stored; ``end`` and ``line`` are where they end, in bytes and lines."""

    end: int = 0
    line: int = 0
    size: int = 0
    last: bool = False
    events: list[tuple[int, JsonLine]] = field(default_factory=list)
    said: list[tuple[Said, datetime | None]] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    counts: Counts = field(default_factory=Counts)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def is_full_with(self, line: Line) -> bool:
        return self.line > 0 and (self.size + len(line.raw) > _BATCH_BYTES or len(self.events) >= _BATCH_LINES)

    def let_go(self) -> None:
        """Drop what was stored, before the next batch is read."""
        self.events.clear()
        self.said.clear()

    def leave_out(self, line: int, reason: str) -> None:
        self.counts.broken += 1
        self.problems.append((line, reason))


def bring_in(run: Run, path: Path, manner: Manner) -> None:
    """Bring in what is new in a file. One that cannot be read, or another run is at, is left out of the report.

    Raises:
        StoreError: the database fails; what was brought in before it is whole.
    """
    run.report.sources += 1
    if not path.is_file():
        run.report.leave_out(source_name(path), None, "this is no file" if path.exists() else "there is no such file")
        return
    try:
        with path.open("rb") as file:
            _Transcript(run, path, file, manner).bring_in()
    except OSError as error:
        run.report.leave_out(source_name(path), None, error.strerror or "the file cannot be read")


class _Transcript:
    """One file while it is brought in."""

    def __init__(self, run: Run, path: Path, file: BinaryIO, manner: Manner) -> None:
        self._run = run
        self._file = file
        self._manner = manner
        self._path = path
        self._source = source_name(path)
        self._session_id = ""
        self._import_id: int | None = None
        self._counts = Counts()
        self._told: list[str] = []
        self._at: datetime | None = None
        self._passed = 0

    def bring_in(self) -> None:
        try:
            self._bring_in()
        except (IllegalTransition, InvalidInput, NotFound) as error:
            self._run.report.leave_out(self._source, None, error.message)
            if self._import_id is not None:
                with suppress(StoreError):  # it was ended by whoever has taken over
                    self._run.do(imports.finish, self._import_id, status=ImportStatus.FAILED)

    def _bring_in(self) -> None:
        before = self._run.ask(imports.latest, self._run.report.importer, self._source)
        offset, number = self._resume(before)
        self._pass(offset)
        lines = Lines(self._file, offset=offset, number=number)
        array = whole_array(self._file) if self._manner.arrays and offset == 0 else None
        self._session_id = self._session_id or self._named_session(array)
        for batch in self._batches(lines if array is None else array):
            self._store(batch)
        if self._import_id is None:
            self._run.report.unchanged += 1
        self._run.report.torn += lines.torn
        self._pass(self._file.seek(0, 2))

    def _pass(self, end: int) -> None:
        if self._manner.progress is not None and end > self._passed:
            self._manner.progress(end - self._passed)
        self._passed = max(end, self._passed)

    # --- where to begin ----------------------------------------------------------------------------------------

    def _resume(self, before: Import | None) -> tuple[int, int]:
        """Return how far the file was read, in bytes and in lines: not at all, where it is another one by now."""
        if before is None or before.offset_bytes == 0:
            return 0, 0
        size = self._file.seek(0, 2)
        if size < before.offset_bytes or fingerprint(self._file, before.offset_bytes) != before.fingerprint:
            self._run.report.rewritten += 1
            return 0, 0
        self._session_id = before.report.get("session_id", "")
        return before.offset_bytes, before.report.get("lines", 0)

    def _named_session(self, array: Iterable[Line] | None) -> str:
        """Return the session that the file is of.

        That is the one that the file is named after, where a line is of it, else the first that a line is of, else
        one that is called as the file.
        """
        name = source_name(self._path).rpartition("/")[2].removesuffix(".jsonl")
        if fitting_id(name) is not None and self._mentions(name):
            return name
        lines: Iterable[Line] = Lines(self._file) if array is None else array
        named = (source_session_of(each) for line in lines for each in line.objects)
        return next(filter(None, named), None) or fitting_id(name) or hashlib.sha256(name.encode()).hexdigest()

    def _mentions(self, session_id: str) -> bool:
        """Say whether a line is of a session, without reading it as JSON."""
        wanted = re.compile(rb'"session(?:Id|_id)"\s?:\s?"' + re.escape(session_id.encode()) + b'"')
        rest = b""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            if wanted.search(rest + chunk):
                return True
            rest = chunk[-(len(session_id.encode()) + 20) :]
        return False

    # --- batches -----------------------------------------------------------------------------------------------

    def _batches(self, lines: Iterable[Line]) -> Iterator[_Batch]:
        batch = _Batch()
        for line in lines:
            if batch.is_full_with(line):
                yield batch
                batch = _Batch()
            self._take(batch, line)
        if batch.line:
            batch.last = True
            yield batch

    def _take(self, batch: _Batch, line: Line) -> None:
        batch.end, batch.line, batch.size = line.end, line.number, batch.size + len(line.raw)
        batch.counts.read += len(line.objects) + bool(line.problem)
        if line.problem:
            batch.leave_out(line.number, line.problem)
        for each in line.objects:
            kept, redacted = redact(each, line.raw) if self._manner.redact else (each, 0)
            batch.counts.redacted += redacted
            batch.events.append((line.number, kept))
            said = said_in(kept)
            batch.facts.take(kept, said)
            self._at = instant_of(kept) or self._at
            if said is not None:
                batch.said.append((said, self._at))

    def _store(self, batch: _Batch) -> None:
        mark = fingerprint(self._file, batch.end)
        try:
            import_id, counts = self._run.do(self._write, batch, mark)
        except InvalidInput:
            _sieve(batch, self._session_id)
            import_id, counts = self._run.do(self._write, batch, mark)
        if self._import_id is None:
            self._import_id = import_id
            self._run.note(import_id)
        self._counts.add(counts)
        self._run.report.counts.add(counts)
        for line, reason in batch.problems:
            self._run.report.leave_out(self._source, line, reason)
        self._told = self._problems(batch)
        self._pass(batch.end)
        batch.let_go()

    def _write(self, uow: UnitOfWork, batch: _Batch, mark: str) -> tuple[int, Counts]:
        """Store a batch, and return the import that it came by and what became of its lines."""
        import_id = self._note(uow, batch.end, mark)
        counts = Counts()
        counts.add(batch.counts)
        if batch.events:
            self._write_lines(uow, batch, Origin(self._run.report.importer, import_id, self._folder()), counts)
        total = Counts()
        total.add(self._counts)
        total.add(counts)
        report = {"session_id": self._session_id, "lines": batch.line, "problems": self._problems(batch)}
        note = imports.finish if batch.last else imports.record
        note(uow, import_id, counts=total.as_document(), report=report)
        return import_id, counts

    def _note(self, uow: UnitOfWork, end: int, mark: str) -> int:
        """Note how far the file was read: first of all, so that whoever was told to stop writes nothing more."""
        if self._import_id is not None:
            imports.record(uow, self._import_id, offset_bytes=end, fingerprint=mark)
            return self._import_id
        begun = imports.begin(uow, self._run.report.importer, self._source, mark, offset_bytes=end)
        assert begun.id is not None  # noqa: S101 - it was inserted
        return begun.id

    def _write_lines(self, uow: UnitOfWork, batch: _Batch, origin: Origin, counts: Counts) -> None:
        session_id = self._session_id
        counts.sessions += make_sure(uow, session_id, batch.facts, origin)
        ingested = journal.ingest(uow, [self._event(line, origin.import_id) for _, line in batch.events])
        counts.new += ingested.new
        counts.duplicate += ingested.duplicate
        counts.unknown += ingested.unknown
        readable = [
            NewMessage(said.role, said.text, said.public_id, created_at=at, import_id=origin.import_id)
            for said, at in batch.said
        ]
        counts.messages += messages.append_many(uow, session_id, readable, if_exists="ignore")
        keep_up(uow, session_id, batch.facts, origin)

    def _event(self, line: JsonLine, import_id: int) -> NewEvent:
        return NewEvent(line, source_session_id=self._session_id, session_id=self._session_id, import_id=import_id)

    def _folder(self) -> str:
        return self._source.rpartition("/")[0] or "/"

    def _problems(self, batch: _Batch) -> list[str]:
        told = [f"line {line}: {reason}" for line, reason in batch.problems]
        return [*self._told, *told][:_PROBLEMS_KEPT]


def _sieve(batch: _Batch, session_id: str) -> None:
    """Leave out of a batch what the journal does not take."""
    events, batch.events = batch.events, []
    for number, line in events:
        try:
            journal.columns_of(NewEvent(line, source_session_id=session_id))
        except InvalidInput as error:
            batch.leave_out(number, error.message)
        else:
            batch.events.append((number, line))
