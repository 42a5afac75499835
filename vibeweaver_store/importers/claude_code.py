"""Brings in the transcripts that Claude Code writes: a JSON object a line, a file a session or one of its sub-agents.

A transcript becomes one agent's session, under the transcript's own id: its lines go into the journal, what people
can read of them into the messages. The lines of a sub-agent's file belong to the session that called it, and are no
messages. A line is known by its session and its uuid, so nothing comes in twice, from whichever copy of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from vibeweaver_store.importers.recorded import source_name
from vibeweaver_store.importers.runs import ImportReport, Progress, running
from vibeweaver_store.importers.transcripts import Manner, bring_in
from vibeweaver_store.store import Store

IMPORTER: Final = "claude-code"


def import_claude_code(
    store: Store,
    paths: Iterable[Path | str],
    *,
    dry_run: bool = False,
    redact: bool = True,
    progress: Progress | None = None,
) -> ImportReport:
    """Bring in transcripts: what is new in them since the last time.

    Each file goes in by batches, each a unit of work. A file that was rewritten is read anew. Lines that cannot be
    read, files that cannot be opened and folders without transcripts are told of in the report, and do not stop the
    rest.

    Args:
        store: where to.
        paths: files, or folders that are looked through for ``*.jsonl``.
        dry_run: tell what would be done, and write nothing.
        redact: strike out credentials and the ids of organizations before anything is stored.
        progress: is told of bytes that were dealt with.

    Raises:
        StoreError: the database fails; what was brought in before is whole, and the next run goes on behind it.
    """
    manner = Manner(redact=redact, progress=progress)
    with running(store, IMPORTER, dry_run=dry_run) as run:
        for path in paths:
            for file in _found(run.report, Path(path)):
                bring_in(run, file, manner)
    return run.report


def transcripts_in(path: Path, unreadable: list[OSError] | None = None) -> Iterator[Path]:
    """Yield the transcripts of a folder and all below it, in order; a file is one itself. Links to folders stay shut.

    Args:
        path: the file or folder.
        unreadable: takes the errors of folders that cannot be looked into.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - what cannot be looked at is no folder, and raises nothing
        yield path
        return
    errors = [] if unreadable is None else unreadable
    names = [
        os.path.join(folder, name)  # noqa: PTH118 - there may be a hundred thousand
        for folder, _, names in os.walk(path, onerror=errors.append)
        for name in names
        if name.endswith(".jsonl")
    ]
    yield from map(Path, sorted(names))


def _found(report: ImportReport, path: Path) -> Iterator[Path]:
    unreadable: list[OSError] = []
    files = list(transcripts_in(path, unreadable))
    for error in unreadable:
        report.leave_out(error.filename, None, error.strerror or "the folder cannot be read")
    if not files and not unreadable:
        report.leave_out(source_name(path), None, "there are no transcripts (*.jsonl) in this folder")
    yield from files
