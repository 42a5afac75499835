"""Reads a MIDI file into a :class:`Song`: its length in beats, its tempo map and its markers.

Nothing here touches the database. A beat is a quarter note. Every file either becomes a song or raises one
:class:`~vibeweaver_store.errors.ImportRejected`, whose ``__cause__`` is what the parser met.

Where MIDI leaves a choice:

- ``marker`` events are the song's markers; ``cue_marker`` events count only where no marker has a name.
- Format 2 holds independent patterns: they play one after the other, and a tempo lasts into the next pattern.
- SMPTE files count time, not beats: they are laid on a grid of 120 beats per minute and their tempo events,
  which mean nothing there, are ignored.
- A file that begins with exactly one bar of a meter, such as 1/4, and goes on in one with longer bars, such as 4/4,
  begins with a pick-up (anacrusis): programs for notation write it so. Bar 1, and so beat 0, begins after it, and its
  own beats lie below 0. Formats 0 and 1 only. Without such a change of meter a pick-up cannot be told from a bar.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from mido.midifiles import midifiles as mido_files  # type: ignore[import-untyped]  # mido ships no types
from mido.midifiles.meta import KeySignatureError  # type: ignore[import-untyped]  # mido ships no types

from vibeweaver_store.errors import ImportRejected
from vibeweaver_store.services.transport import TempoChange, Timeline

DEFAULT_BPM: Final = 120.0
MAX_BEATS: Final = 100_000
MAX_BPM: Final = 999
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
MAX_MARKERS: Final = 10_000
MAX_NAME: Final = 200
MAX_TEMPO_CHANGES: Final = 100_000
MIN_BPM: Final = 1
BEATS_BETWEEN_MADE_UP_MARKERS: Final = 16

_SMPTE_FRAME_RATES: Final = {24: Fraction(24), 25: Fraction(25), 29: Fraction(2997, 100), 30: Fraction(30)}
_META: Final = 0xFF
_KEPT_EVENTS: Final = frozenset({"set_tempo", "marker", "cue_marker", "time_signature"})


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
        duration_seconds: the exact playing time, which may end before the timeline's last beat.
        timeline: its first and last beat and its tempo map, in which no two neighbours are alike. The first beat is 0,
            or below 0 where the song has a pick-up.
        markers: by beat, at least one, no two alike.
    """

    name: str
    source: str
    sha256: str
    duration_seconds: float
    timeline: Timeline
    markers: tuple[SongMarker, ...]


def read_song(path: Path | str) -> Song:
    """Read a MIDI file of format 0, 1 or 2.

    A song without a tempo plays at 120 bpm. A song without markers gets one every 16 beats ("beat 0",
    "beat 16", ...), or in format 2 one at the start of each pattern.

    Raises:
        ImportRejected: there is no such file, it cannot be read, is empty, too large (64 MiB, or 4 MiB of
            music), cut off, damaged or not MIDI; it has a tempo outside 1 to 999 bpm, over 100 000 beats, 10 000
            markers or 100 000 changes of tempo, or no usable time division.
    """
    path = Path(path)
    origin = _plain(str(path))
    data = _read_bytes(path, origin)
    midi = _parse(data, origin)
    grid = _ticks_per_beat(midi.ticks_per_beat, origin)
    events = _events(midi)
    if events.end - events.start > MAX_BEATS * grid:
        raise ImportRejected(origin, f"the song is longer than {MAX_BEATS} beats; is the file damaged?")
    timeline = Timeline(
        beats=math.ceil(events.end / grid),
        tempo_map=_tempo_map(events.start, events.tempos if midi.ticks_per_beat > 0 else (), grid, origin),
        first_beat=math.floor(events.start / grid),
    )
    return Song(
        name=_first(map(_track_name, midi.tracks)) or _plain(path.stem)[:MAX_NAME] or "untitled",
        source=_plain(path.name),
        sha256=hashlib.sha256(data).hexdigest(),
        duration_seconds=timeline.seconds_at(float(events.end / grid))
        - timeline.seconds_at(float(events.start / grid)),
        timeline=timeline,
        markers=_markers(events, grid, origin),
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


def _parse(data: bytes, origin: str) -> _File:
    """Hand the bytes to mido, and translate whatever it raises on bad ones."""
    try:
        midi = _read_file(_GuardedBytes(data))
    except (OSError, EOFError, ValueError, LookupError, KeySignatureError) as error:
        raise ImportRejected(origin, _in_plain_words(error)) from error
    if midi.kind not in (0, 1, 2):
        raise ImportRejected(origin, f"MIDI format {midi.kind} is unknown; 0, 1 and 2 can be read")
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


class _File(NamedTuple):
    """A file as mido's messages, before anything is made of them; ``kind`` is the format."""

    kind: int
    ticks_per_beat: int
    tracks: Sequence[Sequence[Any]]


def _read_file(file: _GuardedBytes) -> _File:
    kind, tracks, ticks_per_beat = mido_files.read_file_header(file)
    return _File(kind, ticks_per_beat, [_read_track(file) for _ in range(tracks)])


def _read_track(file: _GuardedBytes) -> list[Any]:
    """Do as ``mido.midifiles.midifiles.read_track``, but keep the time of every event.

    mido itself drops the time of a meta event that it has no name for, so that all that follows in the track comes
    too early. Naming them all would do, too, but for everyone else in the process who uses mido.
    """
    name, size = mido_files.read_chunk_header(file)
    if name != b"MTrk":
        raise OSError("no MTrk header at start of track")
    end = file.tell() + size
    running: int | None = None
    track: list[Any] = []
    while file.tell() != end:
        time = mido_files.read_variable_int(file)
        status, peeked = mido_files.read_byte(file), []
        if status < 0x80:
            if running is None:
                raise OSError("running status without last_status")
            status, peeked = running, [status]
        elif status != _META:
            running = status
        message = _read_event(file, status, peeked, time)
        message.time = time
        track.append(message)
    return track


def _read_event(file: _GuardedBytes, status: int, peeked: list[int], time: int) -> Any:
    if status == _META:
        return mido_files.read_meta_message(file, time)
    if status in {0xF0, 0xF7}:
        return mido_files.read_sysex(file, time)
    return mido_files.read_message(file, status, peeked, time)


# Ticks, tempos and markers


class _Events(NamedTuple):
    """All tracks on one line, by tick; ``patterns`` begin in format 2 only.

    ``start`` is the first tick and ``end`` the last: 0 is where bar 1 begins, so a pick-up starts below 0.
    """

    tempos: Sequence[tuple[int, int]]
    markers: Sequence[tuple[int, str]]
    cues: Sequence[tuple[int, str]]
    patterns: Sequence[tuple[int, str]]
    start: int
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


def _events(midi: _File) -> _Events:
    """Lay the tracks over each other; in format 2 in a row, where one without length is no pattern."""
    patterns: list[tuple[int, str]] = []
    events: list[tuple[int, Any]] = []
    end = 0
    for track in midi.tracks:
        tick = start = end if midi.kind == 2 else 0
        for message in track:
            tick += message.time
            if message.type in _KEPT_EVENTS:
                events.append((tick, message))
        if midi.kind == 2 and tick > start:
            patterns.append((start, _track_name(track) or f"pattern {len(patterns) + 1}"))
        end = max(end, tick)
    events.sort(key=itemgetter(0))  # stable: at one tick the later track comes later
    pick_up = _pick_up(events, midi) if midi.kind != 2 and midi.ticks_per_beat > 0 else 0
    events = [(tick - pick_up, message) for tick, message in events]
    return _Events(
        tempos=[(tick, message.tempo) for tick, message in events if message.type == "set_tempo"],
        markers=_named(events, "marker"),
        cues=_named(events, "cue_marker"),
        patterns=patterns,
        start=-pick_up,
        end=end - pick_up,
    )


def _pick_up(events: Iterable[tuple[int, Any]], midi: _File) -> int:
    """Return how many ticks the song's pick-up has, 0 where it has none; see the module."""
    bars: dict[int, Fraction] = {}
    for tick, message in events:
        if message.type == "time_signature":
            bars[tick] = Fraction(4 * message.numerator, message.denominator) * midi.ticks_per_beat
    if len(bars) < 2 or 0 not in bars:
        return 0
    (_, first_bar), (change, next_bar), *_ = bars.items()
    return change if first_bar == change and first_bar < next_bar else 0


def _named(events: Iterable[tuple[int, Any]], kind: str) -> list[tuple[int, str]]:
    found = ((tick, _name(message.text)) for tick, message in events if message.type == kind)
    return [(tick, name) for tick, name in found if name]


def _tempo_map(start: int, tempos: Iterable[tuple[int, int]], grid: Fraction, origin: str) -> tuple[TempoChange, ...]:
    by_tick = {start: DEFAULT_BPM}
    for tick, microseconds in tempos:
        by_tick[tick] = _bpm(microseconds, origin)
    changes: list[TempoChange] = []
    for tick, bpm in by_tick.items():
        if not changes or changes[-1].tempo_bpm != bpm:
            changes.append(TempoChange(float(tick / grid), bpm))
    if len(changes) > MAX_TEMPO_CHANGES:
        raise ImportRejected(origin, f"its tempo changes more than {MAX_TEMPO_CHANGES} times; is the file damaged?")
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


def _markers(events: _Events, grid: Fraction, origin: str) -> tuple[SongMarker, ...]:
    """Take the file's own markers, each once, even where several tracks repeat it; else make some up.

    Raises:
        ImportRejected: there are more of them than a session should hold.
    """
    named = dict.fromkeys(events.markers or events.cues or events.patterns)
    if len(named) > MAX_MARKERS:
        raise ImportRejected(origin, f"it has more than {MAX_MARKERS} markers; is the file damaged?")
    if named:
        return tuple(SongMarker(float(tick / grid), name) for tick, name in named)
    beats = range(0, math.ceil(events.end / grid) + 1, BEATS_BETWEEN_MADE_UP_MARKERS)
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
