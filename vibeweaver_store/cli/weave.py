"""``weave``: play a MIDI file through the store, and tell what its rules did. The main job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.output import console, print_document
from vibeweaver_store.cli.rules_file import read_rules
from vibeweaver_store.cli.text import number
from vibeweaver_store.cli.weave_report import HISTORY_LINES, Weaving, as_document, print_report
from vibeweaver_store.domain_store import Store
from vibeweaver_store.importers.midi import Song, read_song
from vibeweaver_store.importers.songs import import_song, starter_rules
from vibeweaver_store.models import Marker, Session
from vibeweaver_store.paging import MAX_LIMIT
from vibeweaver_store.services import history, rules, sessions, transport
from vibeweaver_store.services.rules import NewRule
from vibeweaver_store.services.transport import Step, Timeline
from vibeweaver_store.songs import ODE_TO_JOY
from vibeweaver_store.unit_of_work import UnitOfWork

group = typer.Typer(add_completion=False)
"""Of one command, which Typer takes for that command alone: it belongs to no group."""


@command(
    group,
    "weave",
    example="""
weave
weave song.mid --vibe "late set" --realtime --count-in 4
weave song.mid --rules rules.json --json
""",
)
def weave(
    cli: Cli,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A MIDI file.", show_default="Ode to Joy, which comes with the program"),
    ] = None,
    *,
    rules_file: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help='A JSON list: [{"on": "beat:4", "do": "notify:bar", "priority": "high", "one_shot": true}]',
            show_default="a starter set",
        ),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", metavar="", help="Play at tempo, not as fast as it can.")
    ] = False,
    vibe: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The mood of the session.", show_default=False)
    ] = None,
    count_in: Annotated[
        int, typer.Option("--count-in", metavar="N", min=0, max=1000, help="Count so many beats before the first.")
    ] = 0,
) -> None:
    """Weave a song: make a session of a MIDI file, play it from the first beat to the last, and fire its rules.

    Tempo and markers are the file's. Each beat is a unit of work of its own.
    Beat 0 is where bar 1 begins; count-in and pick-up bar lie before it.
    At the end you see what fired, what history tells, and how long it took.
    A file that is refused leaves nothing behind.
    """
    song = read_song(ODE_TO_JOY if file is None else file)
    given = starter_rules(song) if rules_file is None else read_rules(rules_file)
    with cli.store() as store:
        session = store.run(_begin, song, given, vibe)
        woven = _play(store, session, song, _counted_in(song.timeline, count_in), realtime=realtime)
    if cli.json:
        print_document(as_document(woven))
    else:
        print_report(console(), woven)


def _begin(uow: UnitOfWork, song: Song, given: list[NewRule], vibe: str | None) -> Session:
    session = import_song(uow, song, vibe=vibe)
    rules.add_many(uow, session.id, given)
    return session


def _counted_in(timeline: Timeline, beats: int) -> Timeline:
    """Return a timeline that begins so many beats earlier, at its first tempo."""
    return replace(timeline, first_beat=timeline.first_beat - beats)


def _play(store: Store, session: Session, song: Song, timeline: Timeline, *, realtime: bool) -> Weaving:
    reached: list[Marker] = []
    with _progress(timeline) as show:

        def on_step(step: Step) -> None:
            reached.extend(step.markers)
            show(step)

        played = transport.play(store, session.id, timeline, realtime=realtime, on_step=on_step)

    return Weaving(
        song=song,
        timeline=timeline,
        session=store.query(sessions.get, session.id),
        performance=played,
        rules=list(store.iterate(rules.page_by_session, session.id, limit=MAX_LIMIT)),
        reached=reached,
        history=store.query(history.recent, session.id, HISTORY_LINES),
        history_count=store.query(history.count, session.id),
    )


@contextmanager
def _progress(timeline: Timeline) -> Iterator[Callable[[Step], None]]:
    """Show a bar on stderr while the song plays, where a person can see it."""
    if not sys.stderr.isatty():
        yield lambda _step: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - only on terminals

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("beat {task.fields[beat]} of {task.fields[last]}"),
        TextColumn("[cyan]{task.fields[tempo]} bpm"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, emoji=False), transient=True) as bar:
        first = timeline.first_beat
        tempo = number(timeline.tempo_at(first))
        task = bar.add_task("…", total=timeline.length_beats, beat=first, last=timeline.beats, tempo=tempo)

        def show(step: Step) -> None:
            bar.update(task, completed=step.beat - first, beat=step.beat, tempo=number(step.tempo_bpm))
            if step.markers:
                bar.update(task, description=_escaped(step.markers[-1].name))

        yield show


def _escaped(name: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 - only on terminals

    return escape(name if len(name) <= 24 else f"{name[:23]}…")
