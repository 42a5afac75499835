"""What is no song is refused in words, and nothing else ever happens."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import mido  # type: ignore[import-untyped]  # mido ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.importers.midi_bytes import (
    END_OF_TRACK,
    TICKS,
    as_bytes,
    marker,
    one_track,
    rest,
    smpte,
    tempo,
    title,
)
from vibeweaver_store.errors import ImportRejected
from vibeweaver_store.importers import midi
from vibeweaver_store.importers.midi import Song, read_song

Rejection = Callable[[bytes], ImportRejected]


@pytest.fixture
def rejection(tmp_path: Path) -> Rejection:
    """Save bytes as a file, read it, and give the refusal."""

    def refuse(data: bytes) -> ImportRejected:
        path = tmp_path / "file.mid"
        path.write_bytes(data)
        return refusal(path)

    return refuse


def refusal(path: Path | str) -> ImportRejected:
    with pytest.raises(ImportRejected) as caught:
        read_song(path)
    return caught.value


# Time


def test_a_song_tempo_above_999_is_refused_with_its_value(rejection: Rejection) -> None:
    assert "1000 bpm" in rejection(as_bytes([tempo(1000), rest(1)])).reason


def test_a_song_tempo_of_no_microseconds_is_refused(rejection: Rejection) -> None:
    assert "0 microseconds" in rejection(one_track(b"\x00\xff\x51\x03\x00\x00\x00" + END_OF_TRACK)).reason


def test_smpte_time_of_an_unknown_frame_rate_is_refused(rejection: Rejection) -> None:
    assert "17 frames" in rejection(as_bytes([rest(1)], division=smpte(17, 40))).reason


def test_a_song_with_too_many_tempo_changes_is_refused(rejection: Rejection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi, "MAX_TEMPO_CHANGES", 3)
    changes = [tempo(bpm, after=1) for bpm in (60, 70, 80)]

    assert "more than 3 times" in rejection(as_bytes(changes)).reason


# Markers


def test_a_song_with_too_many_markers_is_refused(rejection: Rejection) -> None:
    assert "more than 10000 markers" in rejection(as_bytes([marker(f"{n}") for n in range(10_001)])).reason


def test_a_song_may_have_10_000_markers(tmp_path: Path) -> None:
    path = tmp_path / "file.mid"
    path.write_bytes(as_bytes([marker(f"{n % 10_000}") for n in range(20_000)]))

    assert len(read_song(path).markers) == 10_000


# Damaged and odd files


@pytest.mark.parametrize("division", [0, smpte(25, 0)])
def test_a_song_with_beats_without_ticks_is_refused(rejection: Rejection, division: int) -> None:
    assert "0 ticks" in rejection(as_bytes([rest(1)], division=division)).reason


def test_a_song_of_more_than_100_000_beats_is_refused(rejection: Rejection) -> None:
    assert "100000 beats" in rejection(as_bytes([rest(100_000 + 1 / TICKS)])).reason


class Damage(NamedTuple):
    data: bytes
    reason: str
    cause: type[Exception] | None


WELL_FORMED = as_bytes([title("Ode"), tempo(90), marker("Verse"), rest(4)])
DAMAGED = {
    "empty": Damage(b"", "is empty", None),
    "not MIDI": Damage(b"RIFF, surely?!", "not a MIDI file", OSError),
    "cut off in the header": Damage(WELL_FORMED[:10], "cut off", EOFError),
    "cut off in a track": Damage(WELL_FORMED[:-6], "cut off", EOFError),
    "a header too short for its fields": Damage(b"MThd\x00\x00\x00\x02\x00\x01", "cut off", EOFError),
    "no track header": Damage(WELL_FORMED.replace(b"MTrk", b"Mtrk"), "track header", OSError),
    "a track of 2 GiB": Damage(WELL_FORMED[:18] + b"\x7f\xff\xff\xff" + WELL_FORMED[22:], "cut off", EOFError),
    "an event of 256 MiB": Damage(one_track(b"\x00\xff\x01\xff\xff\xff\x7f"), "no sense", OSError),
    "no tracks": Damage(WELL_FORMED[:10] + b"\x00\x00" + WELL_FORMED[12:], "no tracks", None),
    "format 3": Damage(one_track(END_OF_TRACK, kind=3), "format 3", None),
    "no such status": Damage(one_track(b"\x00\xf4\x00"), "no sense", OSError),
    "no such key": Damage(one_track(b"\x00\xff\x59\x02\x10\x00"), "no sense", mido.KeySignatureError),
    "a tempo without a number": Damage(one_track(b"\x00\xff\x51\x00"), "no sense", IndexError),
    "no such frame rate": Damage(one_track(b"\x00\xff\x54\x05\xff\0\0\0\0"), "no sense", KeyError),
    "a number without end": Damage(one_track(b"\xff" * 100_000 + b"\x00"), "does not end", OSError),
    "an absurd pause": Damage(one_track(b"\xff" * 4000 + END_OF_TRACK), "100000 beats", None),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_midi_file_is_refused_with_a_reason(rejection: Rejection, damage: Damage) -> None:
    refused = rejection(damage.data)

    assert damage.reason in refused.reason
    assert isinstance(refused.__cause__, damage.cause) if damage.cause else refused.__cause__ is None


def test_a_missing_midi_file_is_refused(tmp_path: Path) -> None:
    refused = refusal(tmp_path / "none.mid")

    assert refused.reason == "there is no such file"
    assert refused.source == str(tmp_path / "none.mid")


def test_a_folder_is_refused_as_a_midi_file(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path).reason


def test_a_midi_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "cannot be read" in refusal(tmp_path / "file" / "song.mid").reason


def test_an_impossible_midi_path_is_refused() -> None:
    assert "cannot be read" in refusal("no\0file.mid").reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_as_a_midi_file_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "regular file" in refusal(tmp_path / "pipe").reason


def test_a_midi_file_without_read_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "file.mid").write_bytes(WELL_FORMED)
    monkeypatch.setattr(Path, "read_bytes", forbid)

    refused = refusal(tmp_path / "file.mid")

    assert "permission" in refused.reason
    assert isinstance(refused.__cause__, PermissionError)


def test_a_midi_file_of_more_than_64_mib_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "file.mid").open("wb") as file:
        file.truncate(64 * 1024**2 + 1)

    assert "larger than 64 MiB" in refusal(tmp_path / "file.mid").reason


def test_a_song_too_large_for_memory_is_refused(rejection: Rejection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi, "MAX_EVENT_BYTES", 1024)

    assert "of music" in rejection(as_bytes([rest(0)] * 1000)).reason


# Whatever the bytes


BUSY = as_bytes(
    [
        title("Ode"),
        mido.MetaMessage("key_signature", key="D"),
        mido.MetaMessage("smpte_offset", frame_rate=25),
        mido.MetaMessage("time_signature"),
        tempo(90),
        marker("Verse"),
        tempo(60, after=4),
        marker("Chorus", after=4),
    ],
    [
        mido.Message("sysex", data=[1, 2, 3]),
        mido.MetaMessage("channel_prefix"),
        mido.UnknownMetaMessage(0x60, data=b"abc", time=10),
        mido.Message("note_on", note=60, time=480),
        mido.Message("pitchwheel", pitch=100),
        rest(2),
    ],
)
edits = st.tuples(st.integers(0, len(BUSY)), st.integers(0, 3), st.binary(max_size=5))


@settings(deadline=None)
@given(changes=st.lists(edits, min_size=1, max_size=5), length=st.integers(len(BUSY) // 2, len(BUSY) * 2))
def test_a_midi_file_with_changed_bytes_gives_a_song_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int, bytes]], length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.mid"
    data = bytearray(BUSY)
    for start, removed, added in changes:
        data[start : start + removed] = added
    path.write_bytes(data[:length])

    try:
        song = read_song(path)
    except ImportRejected:
        return
    assert_sound(song)


def assert_sound(song: Song) -> None:
    beats = [change.beat for change in song.timeline.tempo_map]
    assert beats[0] == 0
    assert all(before < after for before, after in pairwise(beats))
    assert all(1 <= change.tempo_bpm <= 999 for change in song.timeline.tempo_map)
    assert song.markers
    assert all(0 <= at.beat <= song.timeline.beats and 1 <= len(at.name) <= 200 for at in song.markers)
    assert 0 <= song.duration_seconds <= song.timeline.seconds_at(song.timeline.beats) + 1e-9
