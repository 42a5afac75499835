"""``import``: foreign data in, a list of what came in, and the way to take it out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import exit_code, say
from vibeweaver_store.cli.import_runs import DryRun, progress_bar, report_and_exit, store_to_fill
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, Yes
from vibeweaver_store.cli.output import hint, print_lines, print_page, print_row
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import clock, compact, counted, instant
from vibeweaver_store.errors import ImportRejected
from vibeweaver_store.importers.claude_code import import_claude_code, transcripts_in
from vibeweaver_store.importers.claude_stream import import_claude_stream
from vibeweaver_store.importers.midi import Song, read_song
from vibeweaver_store.importers.songs import import_song
from vibeweaver_store.importers.transcripts import size_of
from vibeweaver_store.models import Import
from vibeweaver_store.services import imports
from vibeweaver_store.services.imports import Brought

group = new_group("import", "Bring foreign data in, list it, and take it out again.")

NoRedact: TypeAlias = Annotated[
    bool, typer.Option("--no-redact", metavar="", help="Keep credentials and organizations' ids as they are.")
]
ImportId: TypeAlias = Annotated[int, typer.Argument(metavar="ID", help="The import's id.", show_default=False)]

_COLUMNS: Final = (
    Column("ID", "bold", right=True),
    Column("IMPORTER"),
    Column("SOURCE", narrow="fold"),
    Column("STATUS"),
    Column("FINISHED", "dim"),
    Column("READ", "cyan", right=True),
    Column("NEW", "cyan", right=True),
    Column("BROKEN", "cyan", right=True),
)


@command(group, "midi", example='import midi song.mid\nimport midi *.mid --vibe "late set"')
def midi(
    cli: Cli,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="MIDI files.", show_default=False)],
    vibe: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The mood of the sessions.", show_default=False)
    ] = None,
) -> None:
    """Make a session of each MIDI file, with its tempo and markers, and print the ids.

    A file that cannot be read is told of and left out; the others go in.
    """
    songs, refused = _read(files)
    if songs:
        with cli.store() as store:
            for song in songs:
                session = store.run(import_song, song, vibe=vibe)
                if cli.json:
                    print_lines([session])
                else:
                    typer.echo(session.id)
                hint(f"{song.source}: {_described(song)}")
    if refused:
        say(f"imported {len(songs)} of {counted(len(files), 'file')}")
        raise typer.Exit(exit_code(refused[0]))


def _read(files: list[Path]) -> tuple[list[Song], list[ImportRejected]]:
    songs, refused = [], []
    for file in files:
        try:
            songs.append(read_song(file))
        except ImportRejected as error:
            refused.append(error)
            say(error.message)
    return songs, refused


def _described(song: Song) -> str:
    beats, markers = counted(song.timeline.beats, "beat"), counted(len(song.markers), "marker")
    return f"{song.name}, {beats}, {markers}, {clock(song.duration_seconds)}"


# --- agents' transcripts ---------------------------------------------------------------------------------------


@command(
    group,
    "claude-code",
    example="import claude-code ~/.claude/projects\nimport claude-code ~/.claude/projects --dry-run --json",
)
def claude_code(
    cli: Cli,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Transcripts, or folders of them.", show_default=False)
    ],
    *,
    dry_run: DryRun = False,
    no_redact: NoRedact = False,
) -> None:
    """Bring in what is new in transcripts of Claude Code, sub-agents' included.

    A session a transcript: its lines go into the journal, what can be read of
    it into the messages. Run it again at any time: a file is read from where it
    was left. What cannot be read is told of, and the exit code is 4.
    """
    files = [file for path in paths for file in transcripts_in(path)]
    with store_to_fill(cli, dry_run=dry_run) as store, progress_bar(sum(map(size_of, files))) as progress:
        report = import_claude_code(store, paths, dry_run=dry_run, redact=not no_redact, progress=progress)
    report_and_exit(cli, report)


@command(
    group,
    "claude-stream",
    example="claude -p … --output-format stream-json --verbose > run.jsonl\nimport claude-stream run.jsonl",
)
def claude_stream(
    cli: Cli,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="What headless runs wrote.", show_default=False)],
    *,
    dry_run: DryRun = False,
    no_redact: NoRedact = False,
) -> None:
    """Bring in the stream-json output of headless runs of Claude Code.

    A session a file: its lines go into the journal, what can be read of it into
    the messages, and what it cost into the session's attributes.
    """
    with store_to_fill(cli, dry_run=dry_run) as store, progress_bar(sum(map(size_of, files))) as progress:
        report = import_claude_stream(store, files, dry_run=dry_run, redact=not no_redact, progress=progress)
    report_and_exit(cli, report)


# --- what came in ----------------------------------------------------------------------------------------------


@command(group, "list", example="import list\nimport list --json --limit 1000 | jq .source")
def list_(cli: Cli, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List what was imported, the newest first: a line a file and run."""
    with cli.store() as store:
        page = store.query(imports.page, limit=limit, cursor=cursor)
    print_page(cli, page, _COLUMNS, _row, none="nothing was imported yet")


@command(group, "show", example="import show 3")
def show(cli: Cli, import_id: ImportId) -> None:
    """Show one import, with what it left out."""
    with cli.store() as store:
        found = store.query(imports.get, import_id)
    print_row(cli, found, _card)


@command(group, "undo", example="import undo 3\nimport undo 3 4 5 --yes")
def undo(
    cli: Cli,
    import_ids: Annotated[list[int], typer.Argument(metavar="ID", help="The imports' ids.", show_default=False)],
    yes: Yes = False,
) -> None:
    """Remove what imports brought, and nothing else.

    A session stays that others have put something into. The next import reads
    the source from its beginning.
    """
    with cli.store() as store:
        there = [store.query(imports.brought, each) for each in import_ids]
        confirm(f"Undo {counted(len(import_ids), 'import')}: remove {_listed(there)}?", yes=yes)
        for each in import_ids:
            undone = store.run(imports.undo, each)
            if cli.json:
                print_lines([{"import": each, **asdict(undone)}])
            else:
                hint(f"undid import {each}: removed {_listed([undone])}{_kept(undone)}")


def _listed(each: Sequence[Brought | imports.Undone]) -> str:
    """Return what there is of each kind; of the rarer ones, where there is any."""
    counts = [(sum(getattr(one, name) for one in each), name, what) for name, what in _KINDS.items()]
    return ", ".join(counted(count, what) for count, name, what in counts if count or name in _ALWAYS_TOLD)


def _kept(undone: imports.Undone) -> str:
    kinds = {"session": undone.kept, "project": undone.kept_projects, "ticket": undone.kept_tickets}
    kept = ", ".join(counted(count, what) for what, count in {**kinds, "job": undone.kept_jobs}.items() if count)
    return f"; kept {kept} that others use" if kept else ""


_ALWAYS_TOLD: Final = frozenset({"sessions", "messages", "journal_events", "workspaces"})
_KINDS: Final = {
    "sessions": "session",
    "messages": "message",
    "journal_events": "journal event",
    "workspaces": "workspace",
    "projects": "project",
    "worker_types": "worker type",
    "tickets": "ticket",
    "comments": "comment",
    "workers": "worker",
    "coordination_events": "coordination event",
    "jobs": "job",
}


def _row(each: Import) -> Sequence[str]:
    counts = [str(each.counts.get(name, "")) for name in ("read", "new", "broken")]
    return (str(each.id), each.importer, each.source, each.status.value, instant(each.finished_at), *counts)


def _card(each: Import) -> dict[str, str]:
    problems = each.report.get("problems", [])
    notes = each.report.get("notes", [])
    rest = {name: value for name, value in each.report.items() if name not in {"problems", "notes"}}
    return {
        "id": str(each.id),
        "importer": each.importer,
        "source": each.source,
        "status": each.status.value,
        "started": instant(each.started_at),
        "finished": instant(each.finished_at),
        "read up to": counted(each.offset_bytes, "byte"),
        **{name: f"{count:,}" for name, count in each.counts.items()},
        **{name: value if isinstance(value, str) else compact(value) for name, value in rest.items()},
        **{f"left out {number}": str(problem) for number, problem in enumerate(problems, 1)},
        **{f"noted {number}": str(note) for number, note in enumerate(notes, 1)},
    }
