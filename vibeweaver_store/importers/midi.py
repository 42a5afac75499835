"""Reads a MIDI file into a :class:`Song`: its length in beats, its tempo map and its markers.

Nothing here touches the database. A beat is a quarter note. Every file either becomes a song or raises one
:class:`~vibeweaver_store.errors.ImportRejected`, whose ``__cause__`` is what the parser met.

Where MIDI leaves a choice:

- ``marker`` events are the song's markers; ``cue_marker`` events count only where no marker has a name.
- Format 2 holds independent patterns: they play one after the other, and a tempo lasts into the next pattern.
- SMPTE files count time, not beats: they are laid on a grid of 120 beats per minute and their tempo events,
  which mean nothing there, are ignored.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import mido  # type: ignore[import-untyped]  # mido ships no types
from mido.midifiles.meta import (  # type: ignore[import-untyped]  # mido ships no types
    _META_SPECS,
    KeySignatureError,
    add_meta_spec,
)

from vibeweaver_store.errors import ImportRejected

DEFAULT_BPM: Final = 120.0
MAX_BEATS: Final = 100_000
MAX_BPM: Final = 999
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
MAX_NAME: Final = 200
MIN_BPM: Final = 1
BEATS_BETWEEN_MADE_UP_MARKERS: Final = 16

_SMPTE_FRAME_RATES: Final = {24: Fraction(24), 25: Fraction(25), 29: Fraction(2997, 100), 30: Fraction(30)}
_KEPT_EVENTS: Final = frozenset({"set_tempo", "marker", "cue_marker"})


@dataclass(frozen=True, slots=True)
class TempoChange:
    """From ``beat`` on the song plays at ``tempo_bpm`` quarter notes a minute, 1 to 999."""

    beat: float
    tempo_bpm: float


@dataclass(frozen=True, slots=True)
class SongMarker:
    """A named place in the song; the name has 1 to 200 characters."""

    beat: float
    name: str


@dataclass(frozen=True, slots=True)
class Song:
    """What a transport needs to know about a song.

    Attributes:
        name: the first track name that is not blank, else the file's name without its ending.
        source: the file's name, without its folder.
        sha256: of the file's bytes, in hexadecimal.
        beats: the last beat that the transport reaches; 0 for a song without length.
        duration_seconds: the exact playing time, which may end before beat ``beats``.
        tempo_map: by beat, the first at beat 0, no two neighbours alike.
        markers: by beat, at least one, no two alike.

    """

    name: str
    source: str
    sha256: str
    beats: int
    duration_seconds: float
    tempo_map: tuple[TempoChange, ...]
    markers: tuple[SongMarker, ...]
    _starts: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", _starts_in_seconds(self.tempo_map))

    def tempo_at(self, beat: float) -> float:
        """Give the tempo in bpm at this beat; a change counts from its own beat on.

        Before beat 0 the first tempo holds, after the end the last one.
        """
        return self.tempo_map[_index_at(self.tempo_map, beat)].tempo_bpm

    def seconds_at(self, beat: float) -> float:
        """Give the seconds from beat 0 to this beat; negative before beat 0, and counted on after the end."""
        return _seconds_at(self.tempo_map, self._starts, beat)


def read_song(path: Path | str) -> Song:
    """Read a MIDI file of format 0, 1 or 2.

    A song without a tempo plays at 120 bpm. A song without markers gets one every 16 beats ("beat 0",
    "beat 16", ...), or in format 2 one at the start of each pattern.

    Raises:
        ImportRejected: there is no such file, it cannot be read, is empty, too large (64 MiB, or 4 MiB of
            music), cut off, damaged or not MIDI; it has a tempo outside 1 to 999 bpm, over 100 000 beats, or
            no usable time division.

    """
    path = Path(path)
    origin = _plain(str(path))
    data = _read_bytes(path, origin)
    midi = _parse(data, origin)
    grid = _ticks_per_beat(midi.ticks_per_beat, origin)
    timeline = _timeline(midi)
    if timeline.end > MAX_BEATS * grid:
        raise ImportRejected(origin, f"the song is longer than {MAX_BEATS} beats; is the file damaged?")
    tempo_map = _tempo_map(timeline.tempos if midi.ticks_per_beat > 0 else (), grid, origin)
    return Song(
        name=_first(map(_track_name, midi.tracks)) or _plain(path.stem)[:MAX_NAME] or "untitled",
        source=_plain(path.name),
        sha256=hashlib.sha256(data).hexdigest(),
        beats=math.ceil(timeline.end / grid),
        duration_seconds=_seconds_at(tempo_map, _starts_in_seconds(tempo_map), float(timeline.end / grid)),
        tempo_map=tempo_map,
        markers=_markers(timeline, grid),
    )


# The file


def _read_bytes(path: Path, origin: str) -> bytes:
    try:
        reason = _refusal(path.stat())
        data = b"" if reason else path.read_bytes()
    except FileNotFoundError as error:
        raise ImportRejected(origin, "there is no such file") from error
    except PermissionError as error:
        raise ImportRejected(origin, "the file may not be read: permission denied") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImportRejected(origin, "the file cannot be read from where it lies") from error
    if reason:
        raise ImportRejected(origin, reason)
    return data


def _refusal(status: os.stat_result) -> str:
    """Say why this is no file to read; nothing where it is one. A pipe would block, a device never end."""
    if stat.S_ISDIR(status.st_mode):
        return "this is a folder, not a MIDI file"
    if not stat.S_ISREG(status.st_mode):
        return "this is not a regular file"
    if status.st_size > MAX_FILE_BYTES:
        return f"the file is larger than {MAX_FILE_BYTES // 1024**2} MiB"
    return "" if status.st_size else "the file is empty"


def _parse(data: bytes, origin: str) -> Any:
    """Hand the bytes to mido, and translate whatever it raises on bad ones."""
    try:
        midi = mido.MidiFile(file=_GuardedBytes(data))
    except (OSError, EOFError, ValueError, LookupError, KeySignatureError) as error:
        raise ImportRejected(origin, _in_plain_words(error)) from error
    if midi.type not in (0, 1, 2):
        raise ImportRejected(origin, f"MIDI format {midi.type} is unknown; 0, 1 and 2 can be read")
    if not midi.tracks:
        raise ImportRejected(origin, "the file has no tracks")
    return midi


def _in_plain_words(error: Exception) -> str:
    text = str(error)
    if isinstance(error, _TooCostlyError):
        return text
    if isinstance(error, EOFError):
        return "the file is cut off: it ends in the middle of the music"
    if "MThd" in text:
        return "this is not a MIDI file: it does not begin with a MIDI header"
    if "MTrk" in text:
        return "the file is damaged: a track does not begin with a track header"
    return "the file is damaged: it holds an event that makes no sense"


# Work-arounds for mido 1.3


class _TooCostlyError(OSError):
    """Reading on would take minutes or gigabytes."""


class _GuardedBytes(io.BytesIO):
    """Stops mido where a hostile file would cost minutes or gigabytes.

    mido takes up to 150 bytes of memory for a byte of music, and reads a number of n bytes in n² steps. A
    number in MIDI has four bytes at most; the limit is higher because text, too, has bytes of 128 and more.
    """

    _LONGEST_RUN: Final = 4096
    _run = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does.

        Raises:
            _TooCostlyError: the music is longer than :data:`MAX_EVENT_BYTES`, or a number in it does not end.

        """
        if self.tell() > MAX_EVENT_BYTES:
            raise _TooCostlyError(f"the file holds more than {MAX_EVENT_BYTES // 1024**2} MiB of music")
        chunk = super().read(size)
        self._run = self._run + 1 if size == 1 and chunk >= b"\x80" else 0
        if self._run > self._LONGEST_RUN:
            raise _TooCostlyError("the file is damaged: it holds a number that does not end")
        return chunk


class _AnyMeta:
    """Reads a meta event that mido has no name for, and keeps its time.

    mido itself drops the time of such events, so that all that follows in the track comes too early.
    """

    attributes = ("data",)
    defaults = ((),)

    def __init__(self, code: int) -> None:
        self.type_byte = code
        self.type = f"unknown_meta_{code:#04x}"

    def decode(self, message: Any, data: Iterable[int]) -> None:
        message.data = tuple(data)

    def encode(self, message: Any) -> list[int]:
        return list(message.data)

    def check(self, name: str, value: object) -> None:
        """Take anything."""


for _code in set(range(256)) - set(_META_SPECS):
    add_meta_spec(partial(_AnyMeta, _code))


# Ticks, tempos and markers


class _Timeline(NamedTuple):
    """All tracks on one line, by tick; ``patterns`` begin in format 2 only, ``end`` is the last tick."""

    tempos: Sequence[tuple[int, int]]
    markers: Sequence[tuple[int, str]]
    cues: Sequence[tuple[int, str]]
    patterns: Sequence[tuple[int, str]]
    end: int


def _ticks_per_beat(division: int, origin: str) -> Fraction:
    """Take the header's division; mido leaves SMPTE negative, frames a second above and ticks a frame below.

    Raises:
        ImportRejected: a beat would have no ticks, or the frame rate is none of 24, 25, 29 (29.97) and 30.

    """
    if division > 0:
        return Fraction(division)
    ticks_per_frame = division & 0xFF
    if ticks_per_frame == 0:
        raise ImportRejected(origin, "the file divides a beat into 0 ticks, so nothing in it has a time")
    frames = _SMPTE_FRAME_RATES.get(-(division >> 8))
    if frames is None:
        raise ImportRejected(origin, f"SMPTE time with {-(division >> 8)} frames a second is unknown")
    return frames * ticks_per_frame * 60 / Fraction(DEFAULT_BPM)


def _timeline(midi: Any) -> _Timeline:
    """Lay the tracks over each other; in format 2 in a row, where one without length is no pattern."""
    patterns: list[tuple[int, str]] = []
    events: list[tuple[int, Any]] = []
    end = 0
    for track in midi.tracks:
        tick = start = end if midi.type == 2 else 0
        for message in track:
            tick += message.time
            if message.type in _KEPT_EVENTS:
                events.append((tick, message))
        if midi.type == 2 and tick > start:
            patterns.append((start, _track_name(track) or f"pattern {len(patterns) + 1}"))
        end = max(end, tick)
    events.sort(key=itemgetter(0))  # stable: at one tick the later track comes later
    return _Timeline(
        tempos=[(tick, message.tempo) for tick, message in events if message.type == "set_tempo"],
        markers=_named(events, "marker"),
        cues=_named(events, "cue_marker"),
        patterns=patterns,
        end=end,
    )


def _named(events: Iterable[tuple[int, Any]], kind: str) -> list[tuple[int, str]]:
    found = ((tick, _name(message.text)) for tick, message in events if message.type == kind)
    return [(tick, name) for tick, name in found if name]


def _tempo_map(tempos: Iterable[tuple[int, int]], grid: Fraction, origin: str) -> tuple[TempoChange, ...]:
    by_tick = {0: DEFAULT_BPM}
    for tick, microseconds in tempos:
        by_tick[tick] = _bpm(microseconds, origin)
    changes: list[TempoChange] = []
    for tick, bpm in by_tick.items():
        if not changes or changes[-1].tempo_bpm != bpm:
            changes.append(TempoChange(float(tick / grid), bpm))
    return tuple(changes)


def _bpm(microseconds: int, origin: str) -> float:
    """Give the roundest tempo within a microsecond a beat: 428571 is 140 bpm, not 140.00014.

    Raises:
        ImportRejected: the tempo is outside 1 to 999 bpm.

    """
    if microseconds == 0:
        raise ImportRejected(origin, "its tempo of 0 microseconds a beat is endlessly fast")
    exact = 60e6 / microseconds
    rounded = (round(exact, digits) for digits in range(4))
    bpm = next((near for near in rounded if abs(60e6 / near - microseconds) < 1), exact)
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise ImportRejected(origin, f"its tempo of {bpm:.10g} bpm is outside {MIN_BPM} to {MAX_BPM}")
    return bpm


def _markers(timeline: _Timeline, grid: Fraction) -> tuple[SongMarker, ...]:
    """Take the file's own markers, each once, even where several tracks repeat it; else make some up."""
    named = timeline.markers or timeline.cues or timeline.patterns
    if named:
        return tuple(SongMarker(float(tick / grid), name) for tick, name in dict.fromkeys(named))
    beats = range(0, math.ceil(timeline.end / grid) + 1, BEATS_BETWEEN_MADE_UP_MARKERS)
    return tuple(SongMarker(float(beat), f"beat {beat}") for beat in beats)


# Names


def _track_name(track: Iterable[Any]) -> str:
    return _first(_name(message.name) for message in track if message.type == "track_name")


def _first(names: Iterable[str]) -> str:
    return next(filter(None, names), "")


def _name(text: str) -> str:
    """Make a name of a meta event's text, which mido takes for Latin-1 where most programs write UTF-8."""
    with suppress(UnicodeError):  # it is Latin-1
        text = text.encode("latin-1").decode("utf-8")
    return _plain(text)[:MAX_NAME].rstrip()


def _plain(text: str) -> str:
    """Drop what cannot be shown or stored: control characters, halves of characters, surrounding blanks."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    spaced = (" " if char in "\t\n\r" else char for char in text)
    return "".join(char for char in spaced if unicodedata.category(char) != "Cc").strip()


# Beats to seconds


def _starts_in_seconds(tempo_map: Sequence[TempoChange]) -> tuple[float, ...]:
    """Give the second at which each tempo begins."""
    starts = [0.0]
    for before, after in pairwise(tempo_map):
        starts.append(starts[-1] + (after.beat - before.beat) * 60 / before.tempo_bpm)
    return tuple(starts)


def _index_at(tempo_map: Sequence[TempoChange], beat: float) -> int:
    return max(bisect_right(tempo_map, beat, key=attrgetter("beat")) - 1, 0)


def _seconds_at(tempo_map: Sequence[TempoChange], starts: Sequence[float], beat: float) -> float:
    index = _index_at(tempo_map, beat)
    change = tempo_map[index]
    return starts[index] + (beat - change.beat) * 60 / change.tempo_bpm
