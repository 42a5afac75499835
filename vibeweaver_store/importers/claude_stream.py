"""Brings in the ``stream-json`` output of headless runs of Claude Code: a JSON object a line, or one array of them.

A file becomes one agent's session, under the id that its lines name. It is ``failed`` where its last result is an
error. What it has cost is the greatest ``total_cost_usd``, which is a sum over the session, and not to be added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vibeweaver_store.importers.runs import ImportReport, Progress, running
from vibeweaver_store.importers.transcripts import Manner, bring_in
from vibeweaver_store.store import Store

IMPORTER: Final = "claude-stream"


def import_claude_stream(
    store: Store,
    files: Iterable[Path | str],
    *,
    dry_run: bool = False,
    redact: bool = True,
    progress: Progress | None = None,
) -> ImportReport:
    """Bring in the output of headless runs: what is new in the files since the last time.

    Lines that cannot be read and files that cannot be opened are told of in the report, and do not stop the rest.

    Args:
        store: where to.
        files: what ``claude --output-format stream-json`` wrote, a session each.
        dry_run: tell what would be done, and write nothing.
        redact: strike out credentials and the ids of organizations before anything is stored.
        progress: is told of bytes that were dealt with.

    Raises:
        StoreError: the database fails; what was brought in before is whole, and the next run goes on behind it.
    """
    manner = Manner(redact=redact, arrays=True, progress=progress)
    with running(store, IMPORTER, dry_run=dry_run) as run:
        for file in files:
            bring_in(run, Path(file), manner)
    return run.report
