"""``import ait42``, ``vibeweaver``, ``lulu``, ``vibe-ensemble`` and ``memva``: what others keep, in files of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Protocol, TypeAlias

import orjson
import typer

from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.import_runs import DryRun, progress_bar, report_and_exit, store_to_fill
from vibeweaver_store.cli.imports import NoRedact, group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import read_file
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.ait42 import files_of, import_ait42
from vibeweaver_store.importers.lulu import import_lulu
from vibeweaver_store.importers.memva import import_memva
from vibeweaver_store.importers.runs import ImportReport, Progress
from vibeweaver_store.importers.transcripts import size_of
from vibeweaver_store.importers.vibe_ensemble import import_vibe_ensemble
from vibeweaver_store.importers.vibeweaver import import_vibeweaver
from vibeweaver_store.store import Store

DatabaseFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help="Its SQLite database; it is only read.", show_default=False)
]

_MAX_MAPPING_BYTES: Final = 16 * 1024 * 1024


@command(
    group,
    "ait42",
    example="""
import ait42 ~/.ait42/sessions.db
import ait42 sessions.json --workspace ~/src/app
import ait42 ~/.ait42 --mapping workspaces.json
""",
)
def ait42(
    cli: Cli,
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Databases, session files, or folders of them.", show_default=False),
    ],
    workspace: Annotated[
        str | None, typer.Option(metavar="PATH", help="The workspace that session files are of.", show_default=False)
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON object: workspaces by file names.", show_default=False),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", metavar="", help="Take nothing of a file with an invalid session.")
    ] = False,
    no_redact: NoRedact = False,
    dry_run: DryRun = False,
) -> None:
    """Bring in AIT42's sessions with their instances and chat.

    Its SQLite database says of which workspaces they are; a JSON file does not. Do it again
    for what came since: a session follows AIT42 until it is changed here.
    """
    run = partial(
        import_ait42,
        paths=paths,
        workspace=workspace,
        mapping=None if mapping is None else _read_mapping(mapping),
        strict=strict,
        redact=not no_redact,
        dry_run=dry_run,
    )
    _run(cli, files_of(paths), run, dry_run=dry_run)


@command(group, "vibeweaver", example="import vibeweaver vibeweaver.db\nimport vibeweaver vibeweaver.db --dry-run")
def vibeweaver(cli: Cli, file: DatabaseFile, no_redact: NoRedact = False, dry_run: DryRun = False) -> None:
    """Bring in a vibeweaver database: jams with all that hangs on them, and generation stats.

    Do it again for what came to its jams since. A jam that came otherwise is left as it is.
    """
    run = partial(import_vibeweaver, path=file, redact=not no_redact, dry_run=dry_run)
    _run(cli, [file], run, dry_run=dry_run)


@command(group, "lulu", example="import lulu lulu.db\nimport lulu lulu.db --dry-run")
def lulu(cli: Cli, file: DatabaseFile, no_redact: NoRedact = False, dry_run: DryRun = False) -> None:
    """Bring in a lulu database: agents' sessions and their messages.

    Do it again for what came since: a session follows lulu until it is changed here.
    """
    run = partial(import_lulu, path=file, redact=not no_redact, dry_run=dry_run)
    _run(cli, [file], run, dry_run=dry_run)


@command(
    group,
    "vibe-ensemble",
    example="import vibe-ensemble vibe-ensemble.db\nimport vibe-ensemble vibe-ensemble.db --dry-run",
)
def vibe_ensemble(cli: Cli, file: DatabaseFile, no_redact: NoRedact = False, dry_run: DryRun = False) -> None:
    """Bring in a vibe-ensemble database: projects with worker types, tickets, comments, workers, and events.

    Do it again for what came since. What is there already is left as it is.
    """
    run = partial(import_vibe_ensemble, path=file, redact=not no_redact, dry_run=dry_run)
    _run(cli, [file], run, dry_run=dry_run)


@command(group, "memva", example="import memva memva.db\nimport memva memva.db --dry-run")
def memva(
    cli: Cli,
    file: DatabaseFile,
    no_redact: NoRedact = False,
    dry_run: DryRun = False,
) -> None:
    """Bring in a memva database: agents' sessions, their journal and messages, and jobs.

    Do it again for what came since: a session follows memva until it is changed here. A job that was at work has
    lost its worker: it waits again, or has failed where it was its last attempt.
    """
    run = partial(import_memva, path=file, redact=not no_redact, dry_run=dry_run)
    _run(cli, [file], run, dry_run=dry_run)


class _Importer(Protocol):
    def __call__(self, store: Store, *, progress: Progress) -> ImportReport: ...


def _run(cli: Cli, files: Iterable[Path], run: _Importer, *, dry_run: bool) -> None:
    total_bytes = sum(map(size_of, files))
    with store_to_fill(cli, dry_run=dry_run) as store, progress_bar(total_bytes) as progress:
        report = run(store, progress=progress)
    report_and_exit(cli, report)


def _read_mapping(file: Path) -> Mapping[str, str]:
    try:
        found = orjson.loads(read_file(file, _MAX_MAPPING_BYTES))
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{file}: this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{file}: must be a JSON object of workspaces by the names of files")
    return found
