"""How far a transcript was read: what a run notes with its import, and where the next one goes on.

Reading a file in parts is to bring what reading it at once brings. One thing is left: which session a file is of is
decided by the lines that are there when it is first read. It stays so, though later lines may name another: where no
line had named one yet, and the file is not called as its session is, or where the first ones were of an earlier one.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Final, Self

from pydantic import AwareDatetime, BaseModel, ValidationError

from vibeweaver_store.errors import CorruptData
from vibeweaver_store.importers.jsonl import fingerprint
from vibeweaver_store.models import Import, Session
from vibeweaver_store.validation import explain

MAX_PROBLEMS_KEPT: Final = 100
"""How many of the things that were left out are kept with an import; all are counted."""


class _File(BaseModel):
    size: int
    changed_ns: int


class _Noted(BaseModel):
    """What the next run reads of a report."""

    lines: int = 0
    session_id: str = ""
    last_at: AwareDatetime | None = None
    summaries: list[tuple[str, str]] = []
    file: _File | None = None


def _noted_by(before: Import) -> _Noted:
    try:
        return _Noted.model_validate(before.report)
    except ValidationError as error:
        raise CorruptData(
            f"import {before.id}: its report is not what a run writes: {explain(error)}; undo that import and repeat it"
        ) from error


@dataclass(slots=True)
class Mark:
    """A place in a file, and what is known there of the lines before it.

    Attributes:
        offset: where it is, in bytes.
        lines: how many lines are before it.
        session_id: the session that these went into; empty where nothing did.
        last_at: the last time that one of them told.
        summaries: those whose line may be still to come: the ``uuid`` of that line, and the summary.
        problems: what this run left out of them, the first hundred.
    """

    offset: int = 0
    lines: int = 0
    session_id: str = ""
    last_at: datetime | None = None
    summaries: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, before: Import) -> Self:
        """Return where an import left off; it is another run's, so its problems are told already.

        Raises:
            CorruptData: its report is not what a run writes; somebody has edited it.
        """
        noted = _noted_by(before)
        return cls(
            offset=before.offset_bytes,
            lines=noted.lines,
            session_id=noted.session_id,
            last_at=noted.last_at,
            summaries=noted.summaries,
        )

    def as_report(self) -> dict[str, Any]:
        """Return it as it is noted with an import."""
        told = {
            "session_id": self.session_id,
            "lines": self.lines,
            "last_at": None if self.last_at is None else self.last_at.isoformat(),
            "summaries": [list(each) for each in self.summaries],
        }
        kept = {name: value for name, value in told.items() if value not in ("", None, [])}
        return {**kept, "problems": self.problems}


@dataclass(frozen=True, slots=True)
class State:
    """What a file was like as a whole: its size in bytes, and when it was changed, in nanoseconds."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, file: BinaryIO) -> Self:
        """Return what an open file is like."""
        status = os.fstat(file.fileno())
        return cls(status.st_size, status.st_mtime_ns)

    @classmethod
    def noted(cls, before: Import) -> Self | None:
        """Return what a file was like when an import began to read it.

        Raises:
            CorruptData: its report is not what a run writes; somebody has edited it.
        """
        noted = _noted_by(before).file
        return None if noted is None else cls(noted.size, noted.changed_ns)

    def as_report(self) -> dict[str, int]:
        """Return it as it is noted with an import."""
        return asdict(self)

    def was_touched_since(self, before: Self | None) -> bool:
        """Say whether somebody has written to it since, and not just behind what was there."""
        return before is not None and self.changed_ns != before.changed_ns and self.size <= before.size


def is_rewritten(file: BinaryIO, before: Import, state: State) -> bool:
    """Say whether a file is not the one any more that an import has read a part of."""
    if state.size < before.offset_bytes:
        return True
    return fingerprint(file, before.offset_bytes) != before.fingerprint


def is_gone(session: Session | None, before: Import) -> bool:
    """Say whether the session that an import has filled is not there, or was made anew since: by another file of it."""
    return session is None or (
        session.import_id is not None and before.id is not None and session.import_id > before.id
    )
