"""MIDI files, made in a line or two."""

from __future__ import annotations

import io
import struct
from typing import Any

import mido  # type: ignore[import-untyped]  # mido ships no types

TICKS = 480
END_OF_TRACK = b"\x00\xff\x2f\x00"


def ticks(beats: float) -> int:
    return round(beats * TICKS)


def tempo(bpm: float, *, after: float = 0) -> Any:
    return mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm), time=ticks(after))


def marker(text: str, *, after: float = 0, kind: str = "marker") -> Any:
    return mido.MetaMessage(kind, text=text, time=ticks(after))


def meter(beats: int, of: int, *, after: float = 0) -> Any:
    return mido.MetaMessage("time_signature", numerator=beats, denominator=of, time=ticks(after))


def title(name: str) -> Any:
    return mido.MetaMessage("track_name", name=name)


def rest(beats: float) -> Any:
    return mido.Message("note_off", note=60, time=ticks(beats))


def as_bytes(*tracks: list[Any], kind: int = 1, division: int = TICKS) -> bytes:
    file = io.BytesIO()
    mido.MidiFile(type=kind, ticks_per_beat=division, tracks=list(tracks)).save(file=file)
    return file.getvalue()


def one_track(events: bytes, *, kind: int = 0, tracks: int = 1, division: int = TICKS) -> bytes:
    header = struct.pack(">4sLhhh", b"MThd", 6, kind, tracks, division)
    return header + struct.pack(">4sL", b"MTrk", len(events)) + events


def smpte(frames: int, ticks_per_frame: int) -> int:
    return -frames * 256 + ticks_per_frame
