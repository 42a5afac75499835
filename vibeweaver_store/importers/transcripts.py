"""Brings transcripts in, a batch of lines a unit of work, each file from where the run before left off.

A batch is one whole: its lines in the journal, its messages, the session, and how far the file was read. So a process
that is killed leaves the beginning of a file, and the next run goes on behind it.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound, StoreError
from vibeweaver_store.importers.jsonl import JsonLine, Line, Lines, fingerprint, whole_array
from vibeweaver_store.importers.recorded import source_name
from vibeweaver_store.importers.redaction import redact
from vibeweaver_store.importers.runs import Counts, Progress, Run
from vibeweaver_store.importers.transcript_lines import Facts, Said, said_in, source_session_of
from vibeweaver_store.importers.transcript_marks import MAX_PROBLEMS_KEPT, Mark, State, is_gone, is_rewritten
from vibeweaver_store.importers.transcript_sessions import Origin, keep_up, make_sure, open_summaries
from vibeweaver_store.json_values import JsonText, text_of_read
from vibeweaver_store.models import Import, ImportStatus
from vibeweaver_store.services import imports, journal, messages, sessions
from vibeweaver_store.services.journal import NewEvent
from vibeweaver_store.services.journal_lines import id_of, instant_of
from vibeweaver_store.services.messages import NewMessage
from vibeweaver_store.unit_of_work import UnitOfWork

_BATCH_BYTES: Final = 2 * 1024 * 1024
_BATCH_LINES: Final = 1000
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Manner:
    """How files are brought in.

    Attributes:
        redact: strike out credentials and the ids of organizations.
        arrays: a file may be one JSON array instead of a line an item.
        progress: is told of bytes that were dealt with.
        noted: the imports of this run; a file may be come by twice.
    """

    redact: bool = True
    arrays: bool = False
    progress: Progress | None = None
    noted: set[int] = field(default_factory=set)


class _Item(NamedTuple):
    """An object of a line, as text too where that is known; the line's number, what people can read, the last time."""

    number: int
    data: JsonLine
    text: JsonText | None
    said: Said | None
    at: datetime | None


@dataclass(slots=True)
class _Batch:
    """Some lines of a file, as they are to be stored; ``end`` and ``line`` are where they end, in bytes and lines."""

    end: int = 0
    line: int = 0
    size: int = 0
    last: bool = False
    items: list[_Item] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def is_full_with(self, line: Line) -> bool:
        return self.line > 0 and (self.size + len(line.raw) > _BATCH_BYTES or len(self.items) >= _BATCH_LINES)

    def facts(self, summaries: Iterable[tuple[str, str]]) -> Facts:
        """Return what the lines say of their session; ``summaries`` are those before them that are open still."""
        facts = Facts(summaries=list(summaries))
        for item in self.items:
            facts.take(item.data, item.said)
        return facts

    def sieve(self, session_id: str) -> None:
        """Leave out what the journal does not take."""
        items, self.items = self.items, []
        for item in items:
            try:
                journal.columns_of(NewEvent(item.data, source_session_id=session_id))
            except InvalidInput as error:
                self.leave_out(item.number, error.message)
            else:
                self.items.append(item)

    def let_go(self) -> None:
        """Drop what was stored, before the next batch is read."""
        self.items.clear()

    def leave_out(self, line: int, reason: str) -> None:
        self.counts.broken += 1
        self.problems.append((line, reason))


def bring_in(run: Run, path: Path, manner: Manner) -> None:
    """Bring in what is new in a file. One that cannot be read, or another run is at, is left out of the report.

    Raises:
        StoreError: the database fails; what was brought in before it is whole.
    """
    run.report.sources += 1
    refusal = _refusal(path)
    if refusal:
        run.report.leave_out(source_name(path), None, refusal)
        return
    try:
        with path.open("rb") as file:
            _Transcript(run, path, file, manner).bring_in()
    except OSError as error:
        run.report.leave_out(source_name(path), None, error.strerror or "the file cannot be read")


def size_of(path: Path) -> int:
    """Return how many bytes a file has; none where it is no file, or cannot be looked at."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _refusal(path: Path) -> str:
    """Return why a path is not one of a file that can be read; empty where it is."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "this is no file"
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return error.strerror or "the file cannot be read"
    except ValueError:
        return "no file can be called so"


class _Transcript:
    """One file while it is brought in."""

    def __init__(self, run: Run, path: Path, file: BinaryIO, manner: Manner) -> None:
        self._run = run
        self._file = file
        self._manner = manner
        self._path = path
        self._source = source_name(path)
        self._state = State.of(file)
        self._mark = Mark()
        self._session_id = ""
        self._import_id: int | None = None
        self._counts = Counts()
        self._at: datetime | None = None
        self._passed = 0
        self._touched = False

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
        self._mark = mark = self._resume(before)
        self._at = mark.last_at
        self._pass(mark.offset)
        lines = Lines(self._file, offset=mark.offset, number=mark.lines)
        array = whole_array(self._file) if self._manner.arrays and mark.offset == 0 else None
        self._session_id = mark.session_id or self._named_session(array)
        for batch in self._batches(lines if array is None else array):
            self._store(batch)
        if lines.torn is not None:
            self._leave(lines.torn, before)
        if self._import_id is None:
            self._run.report.unchanged += 1
        self._run.report.rewritten += self._touched and self._counts.new > 0
        self._pass(self._file.seek(0, 2))

    def _leave(self, line: Line, before: Import | None) -> None:
        """Leave a last line that is not whole for another time. One that nobody has gone on with is broken."""
        noted = before is not None and self._is_as_it_was(before)
        if before is not None and noted and before.id not in self._manner.noted:
            self._run.report.counts.add(Counts(read=1, broken=1))
            self._run.report.leave_out(self._source, line.number, line.problem)
            return
        self._run.report.torn += 1
        if self._import_id is None and not noted:
            mark = fingerprint(self._file, self._mark.offset)
            self._begun(self._run.do(self._write_nothing, mark))

    def _pass(self, end: int) -> None:
        if self._manner.progress is not None and end > self._passed:
            self._manner.progress(end - self._passed)
        self._passed = max(end, self._passed)

    # --- where to begin ----------------------------------------------------------------------------------------

    def _resume(self, before: Import | None) -> Mark:
        """Return how far the file was read: not at all, where it is another one by now, or may be.

        It is another one where its beginning, or what is before the place, differs; it may be one where it was
        written to and has not grown. What was read before is not read twice into the store: a line that was changed,
        and kept its ``uuid``, stays as it was. A change in the middle of a file that has grown is not seen.

        Where somebody has deleted the session, what is new makes it anew, and the file is read from its beginning so
        that it is whole again.
        """
        if before is None or before.offset_bytes == 0:
            return Mark()
        if is_rewritten(self._file, before, self._state):
            self._run.report.rewritten += 1
            return Mark()
        mark = Mark.of(before)
        self._touched = self._state.was_touched_since(State.noted(before))
        return Mark() if self._touched or self._lacks_its_session(mark, before) else mark

    def _lacks_its_session(self, mark: Mark, before: Import) -> bool:
        if not mark.session_id or self._is_as_it_was(before):
            return False
        return is_gone(self._run.ask(sessions.find, mark.session_id), before)

    def _is_as_it_was(self, before: Import) -> bool:
        """Say whether an import has read all of the file, as far as there are lines."""
        return before.status is ImportStatus.COMPLETED and State.noted(before) == self._state

    def _named_session(self, array: Iterable[Line] | None) -> str:
        """Return the session that the file is of.

        That is the one that the file is named after, where a line is of it, else the first that a line is of, else
        one that is called as the file.
        """
        name = source_name(self._path).rpartition("/")[2].removesuffix(".jsonl")
        if id_of(name) is not None and self._mentions(name):
            return name
        lines: Iterable[Line] = Lines(self._file) if array is None else array
        named = (source_session_of(each) for line in lines for each in line.objects)
        return next(filter(None, named), None) or id_of(name) or hashlib.sha256(name.encode()).hexdigest()

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
            self._at = instant_of(kept) or self._at
            text = text_of_read(kept) if line.is_plain else None
            batch.items.append(_Item(line.number, kept, text, said_in(kept), self._at))

    def _store(self, batch: _Batch) -> None:
        mark = fingerprint(self._file, batch.end)
        try:
            import_id, counts, reached = self._run.do(self._write, batch, mark)
        except InvalidInput:
            batch.sieve(self._session_id)
            import_id, counts, reached = self._run.do(self._write, batch, mark)
        self._begun(import_id)
        self._mark = reached
        self._counts.add(counts)
        self._run.report.counts.add(counts)
        for line, reason in batch.problems:
            self._run.report.leave_out(self._source, line, reason)
        self._pass(batch.end)
        batch.let_go()

    def _begun(self, import_id: int) -> None:
        if self._import_id is None:
            self._import_id = import_id
            self._manner.noted.add(import_id)
            self._run.note(import_id)

    def _write(self, uow: UnitOfWork, batch: _Batch, mark: str) -> tuple[int, Counts, Mark]:
        """Store a batch, and return the import that it came by, what became of its lines, and how far that is."""
        import_id = self._note(uow, batch.end, mark)
        counts = Counts()
        counts.add(batch.counts)
        reached = Mark(batch.end, batch.line, self._mark.session_id, self._at, self._mark.summaries)
        told = (f"line {line}: {reason}" for line, reason in batch.problems)
        reached.problems = [*self._mark.problems, *told][:MAX_PROBLEMS_KEPT]
        if batch.items:
            origin = Origin(self._run.report.importer, import_id, self._folder())
            reached.session_id = self._session_id
            reached.summaries = self._write_lines(uow, batch, origin, counts)
        total = Counts()
        total.add(self._counts)
        total.add(counts)
        note = imports.finish if batch.last else imports.record
        note(uow, import_id, counts=total.as_document(), report=self._report(reached))
        return import_id, counts, reached

    def _write_nothing(self, uow: UnitOfWork, mark: str) -> int:
        """Note what the file is like, with no line that could be stored."""
        import_id = self._note(uow, self._mark.offset, mark)
        imports.finish(uow, import_id, counts=Counts().as_document(), report=self._report(self._mark))
        return import_id

    def _report(self, mark: Mark) -> dict[str, Any]:
        return {**mark.as_report(), "file": self._state.as_report()}

    def _note(self, uow: UnitOfWork, end: int, mark: str) -> int:
        """Note how far the file was read: first of all, so that whoever was told to stop writes nothing more."""
        if self._import_id is not None:
            imports.record(uow, self._import_id, offset_bytes=end, fingerprint=mark)
            return self._import_id
        begun = imports.begin(uow, self._run.report.importer, self._source, mark, offset_bytes=end)
        assert begun.id is not None  # noqa: S101 - it was inserted
        return begun.id

    def _write_lines(self, uow: UnitOfWork, batch: _Batch, origin: Origin, counts: Counts) -> list[tuple[str, str]]:
        """Store lines, and return the summaries that are open still."""
        session_id = self._session_id
        facts = batch.facts(self._mark.summaries)
        counts.sessions += make_sure(uow, session_id, facts, origin)
        ingested = journal.ingest(uow, [self._event(item, origin.import_id) for item in batch.items])
        counts.new += ingested.new
        counts.duplicate += ingested.duplicate
        counts.unknown += ingested.unknown
        readable = [
            NewMessage(said.role, said.text, said.public_id, created_at=item.at, import_id=origin.import_id)
            for item in batch.items
            if (said := item.said) is not None
        ]
        counts.messages += messages.append_many(uow, session_id, readable, if_exists="ignore")
        keep_up(uow, session_id, facts, origin)
        return open_summaries(uow, session_id, facts.summaries)

    def _event(self, item: _Item, import_id: int) -> NewEvent:
        session_id = self._session_id
        return NewEvent(item.data, session_id, session_id, import_id=import_id, text=item.text)

    def _folder(self) -> str:
        return self._source.rpartition("/")[0] or "/"
