"""What ``weave`` tells at the end, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from vibeweaver_store.cli.history import COLUMNS as HISTORY_COLUMNS
from vibeweaver_store.cli.history import history_cells
from vibeweaver_store.cli.rules import DO, FIRED, ON, PRIORITY, rule_cells
from vibeweaver_store.cli.table import Cell, Column, print_table
from vibeweaver_store.cli.text import clock, counted, number, shown
from vibeweaver_store.importers.midi import Song
from vibeweaver_store.models import HistoryEntry, Marker, Rule, Session
from vibeweaver_store.services.transport import Performance, Timeline

HISTORY_LINES: Final = 10
_MOST_RULES: Final = 20
_MOST_MARKERS: Final = 12


@dataclass(frozen=True, slots=True)
class Weaving:
    """A song that was played, and what came of it.

    ``timeline`` is the song's, with the count-in before it; ``history`` is its end, newest first.
    """

    song: Song
    timeline: Timeline
    session: Session
    performance: Performance
    rules: Sequence[Rule]
    reached: Sequence[Marker]
    history: Sequence[HistoryEntry]
    history_count: int

    @property
    def tempos(self) -> tuple[float, float]:
        """The slowest and the fastest tempo of the song, in bpm."""
        tempos = [change.tempo_bpm for change in self.song.timeline.tempo_map]
        return min(tempos), max(tempos)

    @property
    def units_per_second(self) -> float:
        """How many units of work a second the playing took."""
        return self.performance.units_of_work / max(self.performance.seconds, 1e-9)

    def fired(self, rule: Rule) -> int:
        """Return how often a rule fired while the song played."""
        return self.performance.by_rule.get(rule.id, 0)


def as_document(woven: Weaving) -> dict[str, Any]:
    """Return the report as one JSON document, with all that the printed one leaves out for length."""
    song, played = woven.song, woven.performance
    slowest, fastest = woven.tempos
    return {
        "session": woven.session,
        "song": {
            "name": song.name,
            "source": song.source,
            "sha256": song.sha256,
            "first_beat": song.timeline.first_beat,
            "beats": song.timeline.beats,
            "duration_seconds": song.duration_seconds,
            "slowest_bpm": slowest,
            "fastest_bpm": fastest,
        },
        "rules": woven.rules,
        "markers": [{"marker": each, "seconds": song.timeline.seconds_at(each.beat)} for each in woven.reached],
        "history": woven.history,
        "history_count": woven.history_count,
        "performance": {
            "first_beat": woven.timeline.first_beat,
            "beats": played.beats,
            "firings": played.firings,
            "deadlines": played.deadlines,
            "by_rule": played.by_rule,
            "seconds": played.seconds,
            "units_of_work": played.units_of_work,
            "units_of_work_per_second": woven.units_per_second,
        },
    }


def print_report(out: Console, woven: Weaving) -> None:
    """Print the report for people."""
    out.print(_head(woven), soft_wrap=True)
    _print_section(out, "Rules", len(woven.rules), "none were given")
    _print_rules(out, woven)
    _print_section(out, "Markers", len(woven.reached), "none were reached")
    _print_markers(out, woven)
    _print_section(out, "History", woven.history_count, "", "newest first")
    _print_history(out, woven)
    out.print()
    out.print(_foot(woven), soft_wrap=True)


def _head(woven: Weaving) -> Text:
    slowest, fastest = woven.tempos
    tempo = number(slowest) if slowest == fastest else f"{number(slowest)} to {number(fastest)}"
    song = woven.song
    facts = f"{tempo} bpm · {counted(song.timeline.length_beats, 'beat')} · {clock(song.duration_seconds)}"
    vibe = f" · {shown(woven.session.vibe)}" if woven.session.vibe else ""
    return Text.assemble((shown(song.name), "bold magenta"), f"  {facts}{vibe}")


def _print_section(out: Console, title: str, count: int, none: str, order: str = "") -> None:
    out.print()
    told = f"{count:,}{f', {order}' if order else ''}" if count else none
    out.print(Text.assemble((title, "bold underline"), (f"  {told}", "dim")), soft_wrap=True)


def _print_rules(out: Console, woven: Weaving) -> None:
    if not woven.rules:
        return
    rows: list[list[Cell]] = [[*rule_cells(rule), f"{woven.fired(rule):,}"] for rule in woven.rules[:_MOST_RULES]]
    print_table(out, (ON, DO, PRIORITY, FIRED), rows, indent=2)
    _print_rest(out, len(woven.rules) - _MOST_RULES, f"rules list {woven.session.id}")


def _print_markers(out: Console, woven: Weaving) -> None:
    if not woven.reached:
        return
    columns = (
        Column("BEAT", "cyan", right=True),
        Column("TIME", right=True),
        Column("BPM", right=True),
        Column("NAME", "bold", narrow="fold"),
    )
    timeline = woven.song.timeline
    rows = [
        [number(each.beat), clock(timeline.seconds_at(each.beat)), number(timeline.tempo_at(each.beat)), each.name]
        for each in woven.reached[:_MOST_MARKERS]
    ]
    print_table(out, columns, rows, indent=2)
    _print_rest(out, len(woven.reached) - _MOST_MARKERS, f"markers list {woven.session.id}")


def _print_rest(out: Console, left_out: int, see: str) -> None:
    if left_out > 0:
        out.print(Text(f"  … and {left_out:,} more: vibeweaver-store {see}", style="dim"), soft_wrap=True)


def _print_history(out: Console, woven: Weaving) -> None:
    # It was all just now and nothing failed, or there would be no report: neither AT nor OK tells anything.
    told = [index for index, column in enumerate(HISTORY_COLUMNS) if column.title not in {"AT", "OK"}]
    rows = [history_cells(entry) for entry in woven.history]
    columns = [HISTORY_COLUMNS[index] for index in told]
    print_table(out, columns, [[row[index] for index in told] for row in rows], indent=2)


def _foot(woven: Weaving) -> Text:
    played = woven.performance
    beats = f"beats {woven.timeline.first_beat:,} to {woven.timeline.beats:,}"
    done = f"{beats}, {counted(played.firings, 'firing')}, in {played.seconds:.2f} s"
    pace = f"{woven.units_per_second:,.0f} units of work a second"
    return Text.assemble((done, "bold green"), f" · {pace}\n", (f"session {woven.session.id}", "dim"))
