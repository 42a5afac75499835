"""``import``: foreign data in, a unit of work a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import exit_code, say
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.output import hint, print_lines
from vibeweaver_store.cli.text import clock, counted
from vibeweaver_store.errors import ImportRejected
from vibeweaver_store.importers.midi import Song, read_song
from vibeweaver_store.importers.songs import import_song

group = new_group("import", "Bring foreign data in, a unit of work a file.")


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
