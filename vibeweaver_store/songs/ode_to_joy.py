"""Beethoven's Ode to Joy, written out as text.

``python -m vibeweaver_store.songs.ode_to_joy PATH`` writes the MIDI file, ``ode_to_joy.mid`` in this folder.
The melody (Symphony No. 9, 1824) is in the public domain. The arrangement was made for this package and has
its licence, MIT.

Notation: notes are separated by blanks. ``F#4`` lasts one unit, ``F#4:1.5`` one and a half, ``R`` is a rest.
A unit is a beat unless the line says otherwise. ``D4+F#4`` sound together. ``D``, ``A7`` ... are chords, even
where a note has that name, and ``kick``, ``hat`` ... are drums. ``|`` marks bars for the eye.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import mido  # type: ignore[import-untyped]  # mido ships no types

TICKS_PER_BEAT: Final = 480
COPYRIGHT: Final = "Melody: L. van Beethoven, public domain. Arrangement: vibeweaver-store, MIT licence."

_SEMITONES: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_CHORDS: Final = {
    "D": "D3+F#3+A3",
    "A": "C#3+E3+A3",
    "A7": "C#3+E3+G3",
    "G": "D3+G3+B3",
    "E7": "D3+E3+G#3",
    "Bm": "D3+F#3+B3",
    "F#": "C#3+F#3+A#3",
    "Em": "E3+G3+B3",
}
_DRUMS: Final = {"kick": 36, "snare": 38, "hat": 42, "crash": 49}


class Voice(NamedTuple):
    """A track: its MIDI channel, counted from 0, and General MIDI program."""

    channel: int
    program: int


VOICES: Final = {
    "Melody": Voice(0, 48),  # strings
    "Chords": Voice(1, 0),  # piano
    "Bass": Voice(2, 43),  # contrabass
    "Drums": Voice(9, 0),
}


@dataclass(frozen=True, slots=True)
class Line:
    """What one voice plays in a section; it sounds in each of ``octaves``, counted from the written one."""

    text: str
    unit: float = 1.0
    octaves: tuple[int, ...] = (0,)
    velocity: int = 80


@dataclass(frozen=True, slots=True)
class Section:
    """A named part of the song, ``beats`` long; a voice without a line is silent."""

    name: str
    tempo_bpm: int
    beats: int
    lines: Mapping[str, Line]


class Note(NamedTuple):
    """Pitches that sound together, from ``beat`` on for ``beats``; no pitches are a rest."""

    beat: float
    beats: float
    pitches: tuple[int, ...]


# The theme: a a' b a', four bars each. The last a' comes in one beat early, as Beethoven has it.

_HEAD = "F#4 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 |"
_HALF_CLOSE = "F#4:1.5 E4:.5 E4:2 |"
_FULL_CLOSE = "E4:1.5 D4:.5 D4:2 |"
_MIDDLE = "E4 E4 F#4 D4 | E4 F#4:.5 G4:.5 F#4 D4 | E4 F#4:.5 G4:.5 F#4 E4 | D4 E4 A3"
_EARLY_HEAD = "F#4:2 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 |"
_SECOND_HALF = f"{_MIDDLE} {_EARLY_HEAD} {_FULL_CLOSE}"
_THEME = f"{_HEAD} {_HALF_CLOSE} {_HEAD} {_FULL_CLOSE} {_SECOND_HALF}"

_CHORDS_SECOND_HALF = "A:2 D:2 | A:2 D:2 | A:2 F#:2 | Bm E7 A7:2 | D:4 | A7:4 | D:2 Bm:2 | A7:2 D:2 |"
_CHORDS_THEME = f"D:4 | A7:4 | D:2 Bm:2 | D:2 A:2 | D:4 | A7:4 | D:2 Bm:2 | A7:2 D:2 | {_CHORDS_SECOND_HALF}"

# Variation 1: the bass walks.

_WALK_SECOND_HALF = """
    A2 C#3 D3 D2 | A2 C#3 D3 D2 | A2 G2 F#2 A#2 | B2 E2 A2 A2 |
    D2 E2 F#2 D2 | A2 B2 C#3 A2 | D3 C#3 B2 G2 | A2 A2 D2:2 |
"""
_WALK = f"""
    D2 E2 F#2 D2 | A2 B2 C#3 A2 | D3 C#3 B2 F#2 | D2 D2 A2 G2 |
    D2 E2 F#2 D2 | A2 B2 C#3 A2 | D3 C#3 B2 G2 | A2 A2 D2:2 | {_WALK_SECOND_HALF}
"""

# Bridge: the theme's head turns to minor and stops on the dominant.

_BRIDGE_MELODY = """
    D4 D4 E4 F#4 | F#4 E4 D4 C#4 | B3 B3 C#4 D4 | D4:1.5 C#4:.5 C#4:2 |
    D4 D4 E4 F#4 | F#4 G4 F#4 E4 | D4 B3 C#4 D4 | E4:2 R:2 |
"""
_BRIDGE_CHORDS = "Bm:4 | F#:4 | G:2 Em:2 | F#:4 | Bm:4 | D:2 Em:2 | G:2 E7:2 | A7:4 |"
_BRIDGE_BASS = "B1:4 | A#1:4 | G1:2 E2:2 | F#1:4 | B1:4 | D2:2 E2:2 | G1:2 G#1:2 | A1:4 |"

# Variation 2: the melody runs in eighths around the theme.

_RUN_HEAD = "F#4 E4 F#4 A4 G4 F#4 A4 G4 | A4 B4 G4 A4 F#4 G4 E4 F#4 | D4 C#4 D4 F#4 E4 D4 F#4 E4 |"
_RUN_FULL_CLOSE = "E4 F#4 E4 D4 D4 A3 D4:2 |"
_RUNNING = f"""
    {_RUN_HEAD} F#4 G4 F#4 E4 E4 F#4 E4 C#4 | {_RUN_HEAD} {_RUN_FULL_CLOSE}
    E4 C#4 E4 A4 F#4 E4 D4 F#4 | E4 C#4 F#4 G4 F#4 E4 D4 F#4 | E4 C#4 F#4 G4 F#4 G4 E4 C#4 |
    D4 C#4 E4 D4 A3 C#4 F#4:4 F#4 A4 G4 F#4 A4 G4 |
    A4 B4 G4 A4 F#4 G4 E4 F#4 | D4 C#4 D4 F#4 E4 D4 F#4 E4 | {_RUN_FULL_CLOSE}
"""

# Coda

_CODA_MELODY = "D4 D4 E4 F#4 | E4:1.5 D4:.5 D4:2 | B4:2 A4:2 | D4:4 |"
_CODA_CHORDS = "D:2 Bm:2 | A7:2 D:2 | G:2 A7:2 | D:4 |"
_CODA_BASS = "D2:2 B1:2 | A1:2 D2:2 | G1:2 A1:2 | D1+D2:4 |"

_PEDAL = "D2:4 | "
_COUNT_IN = "hat hat hat hat | "
_MARCH = "kick+hat:.5 hat:.5 snare+hat:.5 hat:.5 " * 2 + "| "
_GALLOP = "kick+hat:.5 kick:.5 snare+hat:.5 hat:.5 kick+hat:.5 kick:.5 snare+hat:.5 snare:.5 | "

SECTIONS: Final = (
    Section(
        "Intro",
        108,
        16,
        {
            "Chords": Line("D:4 | A7:4 | D:2 Bm:2 | A7:4 |", velocity=56),
            "Bass": Line(_PEDAL * 4, velocity=64),
            "Drums": Line("R:12 " + _COUNT_IN, velocity=60),
        },
    ),
    Section(
        "Theme",
        108,
        64,
        {
            "Melody": Line(_THEME, octaves=(-1,), velocity=72),
            "Bass": Line(_PEDAL * 16, velocity=56),
        },
    ),
    Section(
        "Variation 1: Walking Bass",
        108,
        64,
        {
            "Melody": Line(_THEME, velocity=84),
            "Chords": Line(_CHORDS_THEME, velocity=60),
            "Bass": Line(_WALK, velocity=76),
            "Drums": Line(_MARCH * 16, velocity=52),
        },
    ),
    Section(
        "Bridge",
        72,
        32,
        {
            "Melody": Line(_BRIDGE_MELODY, velocity=68),
            "Chords": Line(_BRIDGE_CHORDS, velocity=52),
            "Bass": Line(_BRIDGE_BASS, velocity=60),
        },
    ),
    Section(
        "Variation 2: Running Eighths",
        120,
        64,
        {
            "Melody": Line(_RUNNING, unit=0.5, octaves=(1,), velocity=84),
            "Chords": Line(_CHORDS_THEME, velocity=64),
            "Bass": Line(_WALK, velocity=76),
            "Drums": Line(_MARCH * 16, velocity=64),
        },
    ),
    Section(
        "Finale",
        144,
        32,
        {
            "Melody": Line(_SECOND_HALF, octaves=(0, 1), velocity=104),
            "Chords": Line(_CHORDS_SECOND_HALF, octaves=(0, 1), velocity=84),
            "Bass": Line(_WALK_SECOND_HALF, octaves=(-1, 0), velocity=92),
            "Drums": Line(_GALLOP * 8, velocity=84),
        },
    ),
    Section(
        "Coda",
        96,
        16,
        {
            "Melody": Line(_CODA_MELODY, octaves=(0, 1), velocity=108),
            "Chords": Line(_CODA_CHORDS, octaves=(0, 1), velocity=88),
            "Bass": Line(_CODA_BASS, velocity=96),
            "Drums": Line("crash+kick:4 | crash+kick:4 | crash+kick:4 | crash+kick:4 |", velocity=80),
        },
    ),
)


def notes(line: Line) -> Iterator[Note]:
    """Read a line's notation.

    Raises:
        ValueError: a word is no note, chord, drum or rest, or its length is no number.

    """
    beat = 0.0
    for word in line.text.replace("|", " ").split():
        what, _, length = word.partition(":")
        beats = float(length or 1) * line.unit
        pitches = () if what == "R" else tuple(_pitches(what, line.octaves))
        yield Note(beat, beats, pitches)
        beat += beats


def _pitches(what: str, octaves: tuple[int, ...]) -> Iterator[int]:
    for name in _CHORDS.get(what, what).split("+"):
        if name in _DRUMS:
            yield _DRUMS[name]
        else:
            yield from (_pitch(name) + 12 * octave for octave in octaves)


def _pitch(name: str) -> int:
    """Give the MIDI number of ``F#4``; C4 is 60."""
    parts = re.fullmatch(r"([A-G])(#?)(\d)", name)
    if parts is None:
        raise ValueError(f"{name!r} is neither a note nor a chord nor a drum")
    letter, sharp, octave = parts.groups()
    return 12 * (int(octave) + 1) + _SEMITONES[letter] + len(sharp)


def compose() -> mido.MidiFile:
    """Make the song: format 1, a track for tempo and markers, then one for each voice."""
    song = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, tracks=[_conductor()])
    song.tracks.extend(_track(name, voice) for name, voice in VOICES.items())
    return song


def _starts() -> Iterator[tuple[int, Section]]:
    """Give each section with the beat that it begins at."""
    start = 0
    for section in SECTIONS:
        yield start, section
        start += section.beats


def _conductor() -> mido.MidiTrack:
    events: list[tuple[float, Any]] = [
        (0, mido.MetaMessage("track_name", name="Ode to Joy")),
        (0, mido.MetaMessage("copyright", text=COPYRIGHT)),
        (0, mido.MetaMessage("time_signature", numerator=4, denominator=4)),
        (0, mido.MetaMessage("key_signature", key="D")),
    ]
    for start, section in _starts():
        events.append((start, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(section.tempo_bpm))))
        events.append((start, mido.MetaMessage("marker", text=section.name)))
    return _on_tape(events)


def _track(name: str, voice: Voice) -> mido.MidiTrack:
    events: list[tuple[float, Any]] = [
        (0, mido.MetaMessage("track_name", name=name)),
        (0, mido.Message("program_change", channel=voice.channel, program=voice.program)),
    ]
    sounds = [
        (start + at, message)
        for start, section in _starts()
        if name in section.lines
        for at, message in _sounds(section.lines[name], voice.channel)
    ]
    # At one beat the old note ends before the new one begins.
    sounds.sort(key=lambda sound: (sound[0], sound[1].type == "note_on"))
    return _on_tape(events + sounds)


def _sounds(line: Line, channel: int) -> Iterator[tuple[float, Any]]:
    for note in notes(line):
        for pitch in note.pitches:
            on = mido.Message("note_on", channel=channel, note=pitch, velocity=line.velocity)
            yield note.beat, on
            yield note.beat + note.beats, mido.Message("note_off", channel=channel, note=pitch)


def _on_tape(events: list[tuple[float, Any]]) -> mido.MidiTrack:
    """Make a track of messages with their beats, in order; it ends where the song ends."""
    length = sum(section.beats for section in SECTIONS)
    track = mido.MidiTrack()
    now = 0
    for beat, message in [*events, (length, mido.MetaMessage("end_of_track"))]:
        tick = round(beat * TICKS_PER_BEAT)
        track.append(message.copy(time=tick - now))
        now = tick
    return track


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m vibeweaver_store.songs.ode_to_joy PATH")
    compose().save(Path(sys.argv[1]))
