"""A MIDI file is read as a song: its length, tempos, markers and names."""

from __future__ import annotations

import hashlib
import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mido  # type: ignore[import-untyped]  # mido ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.importers.midi_bytes import TICKS, as_bytes, marker, rest, smpte, tempo, ticks, title
from tests.shared_data import MUSIC, needs_shared_data
from vibeweaver_store.errors import ImportRejected
from vibeweaver_store.importers.midi import Song, SongMarker, read_song
from vibeweaver_store.services.transport import TempoChange

ReadTracks = Callable[..., Song]


@pytest.fixture
def read_tracks(tmp_path: Path) -> ReadTracks:
    """Save tracks as a file and read it."""

    def read(*tracks: list[Any], name: str = "file.mid", **header: int) -> Song:
        path = tmp_path / name
        path.write_bytes(as_bytes(*tracks, **header))
        return read_song(path)

    return read


# Length


def test_a_song_is_as_long_as_its_longest_track(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(3)], [rest(8)], [rest(5)]).timeline.beats == 8


def test_the_last_beat_of_a_song_is_the_first_at_or_after_its_end(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(4)]).timeline.beats == 4
    assert read_tracks([rest(4 + 1 / TICKS)]).timeline.beats == 5


def test_silence_before_the_end_of_a_track_counts_towards_a_song(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(1), mido.MetaMessage("end_of_track", time=ticks(3))]).timeline.beats == 4


def test_a_song_without_length_has_one_marker_and_no_beats(read_tracks: ReadTracks) -> None:
    song = read_tracks([])

    assert (song.timeline.beats, song.duration_seconds) == (0, 0)
    assert song.markers == (SongMarker(0, "beat 0"),)


def test_a_midi_file_of_format_0_is_read(read_tracks: ReadTracks) -> None:
    assert read_tracks([marker("Verse", after=2), rest(2)], kind=0).markers == (SongMarker(2, "Verse"),)


def test_a_midi_meta_event_unknown_to_mido_keeps_its_time(read_tracks: ReadTracks) -> None:
    program_name = mido.UnknownMetaMessage(0x08, data=b"Piano", time=ticks(2))

    assert read_tracks([program_name, marker("Verse", after=1)]).markers == (SongMarker(3, "Verse"),)


def test_reading_a_song_leaves_mido_unpatched() -> None:
    data = as_bytes([mido.UnknownMetaMessage(0x08, data=b"Piano", time=ticks(2))])

    assert mido.MidiFile(file=io.BytesIO(data)).tracks[0][0].type == "unknown_meta"


def test_a_song_may_have_100_000_beats(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(100_000)]).timeline.beats == 100_000


# Tempo


def test_a_song_without_a_tempo_plays_at_120(read_tracks: ReadTracks) -> None:
    song = read_tracks([rest(4)])

    assert song.timeline.tempo_map == (TempoChange(0, 120),)
    assert song.duration_seconds == 2


def test_a_song_plays_at_120_until_its_first_tempo(read_tracks: ReadTracks) -> None:
    song = read_tracks([tempo(60, after=4), rest(4)])

    assert song.timeline.tempo_map == (TempoChange(0, 120), TempoChange(4, 60))
    assert song.duration_seconds == 2 + 4


def test_the_last_of_several_tempos_at_one_beat_of_a_song_counts(read_tracks: ReadTracks) -> None:
    assert read_tracks([tempo(90), tempo(60), rest(4)]).timeline.tempo_map == (TempoChange(0, 60),)


def test_a_tempo_change_to_the_same_tempo_is_dropped(read_tracks: ReadTracks) -> None:
    song = read_tracks([tempo(90), tempo(90, after=4), tempo(60, after=4), rest(4)])

    assert song.timeline.tempo_map == (TempoChange(0, 90), TempoChange(8, 60))


def test_tempos_of_all_tracks_of_a_song_are_merged(read_tracks: ReadTracks) -> None:
    song = read_tracks([tempo(90), tempo(60, after=8)], [tempo(72, after=4), rest(8)])

    assert [(change.beat, change.tempo_bpm) for change in song.timeline.tempo_map] == [(0, 90), (4, 72), (8, 60)]


@pytest.mark.parametrize("bpm", [72, 110, 132, 140, 97.3, 999])
def test_a_tempo_that_microseconds_can_only_approximate_is_read_as_it_was_meant(
    read_tracks: ReadTracks, bpm: float
) -> None:
    assert read_tracks([tempo(bpm), rest(1)]).timeline.tempo_map == (TempoChange(0, bpm),)


def test_a_tempo_cut_down_to_whole_microseconds_is_read_as_it_was_meant(read_tracks: ReadTracks) -> None:
    cut_down = mido.MetaMessage("set_tempo", tempo=545_454)  # 110 bpm are 545 454.54

    assert read_tracks([cut_down, rest(1)]).timeline.tempo_map == (TempoChange(0, 110),)


def test_tempo_at_changes_on_the_beat_of_the_change(read_tracks: ReadTracks) -> None:
    song = read_tracks([tempo(90), tempo(60, after=4), rest(4)])

    assert [song.timeline.tempo_at(beat) for beat in (-1, 0, 3.999, 4, 100)] == [90, 90, 90, 60, 60]


def test_seconds_at_follows_the_tempo_map(read_tracks: ReadTracks) -> None:
    song = read_tracks([tempo(120), tempo(60, after=4), rest(4)])

    assert [song.timeline.seconds_at(beat) for beat in (-2, 0, 1, 4, 5, 8, 10)] == [-1, 0, 0.5, 2, 3, 6, 8]


# Markers


def test_a_song_without_markers_gets_one_every_sixteen_beats(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(33)]).markers == (
        SongMarker(0, "beat 0"),
        SongMarker(16, "beat 16"),
        SongMarker(32, "beat 32"),
    )


def test_a_generated_marker_of_a_song_may_stand_on_its_last_beat(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(16)]).markers[-1] == SongMarker(16, "beat 16")


def test_markers_of_all_tracks_of_a_song_are_sorted_by_beat(read_tracks: ReadTracks) -> None:
    song = read_tracks([marker("Verse", after=4)], [marker("Intro"), marker("Chorus", after=8)])

    assert [(at.beat, at.name) for at in song.markers] == [(0, "Intro"), (4, "Verse"), (8, "Chorus")]


def test_cue_markers_count_in_a_song_without_markers(read_tracks: ReadTracks) -> None:
    assert read_tracks([marker("Curtain", after=4, kind="cue_marker")]).markers == (SongMarker(4, "Curtain"),)


def test_cue_markers_do_not_count_in_a_song_with_markers(read_tracks: ReadTracks) -> None:
    song = read_tracks([marker("Verse"), marker("Curtain", after=4, kind="cue_marker")])

    assert song.markers == (SongMarker(0, "Verse"),)


def test_song_markers_without_a_name_are_dropped(read_tracks: ReadTracks) -> None:
    song = read_tracks([marker(" \x00\t"), marker("Verse", after=1), marker("", after=1)])

    assert song.markers == (SongMarker(1, "Verse"),)


def test_a_song_whose_markers_all_lack_a_name_has_none(read_tracks: ReadTracks) -> None:
    assert read_tracks([marker("  "), rest(4)]).markers == (SongMarker(0, "beat 0"),)


def test_a_song_marker_repeated_in_every_track_is_kept_once(read_tracks: ReadTracks) -> None:
    song = read_tracks([marker("Verse", after=4)], [marker("Verse", after=4)], [marker("Solo", after=4)])

    assert song.markers == (SongMarker(4, "Verse"), SongMarker(4, "Solo"))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Überleitung ♫".encode(), "Überleitung ♫"),
        ("Überleitung".encode("latin-1"), "Überleitung"),
        (b"  Verse 2\x00\x00", "Verse 2"),
        (b"Ver\x07se\r\n", "Verse"),
        (b"Verse\n2", "Verse 2"),
        (b"x" * 300, "x" * 200),
        (b"x" * 199 + b" yz", "x" * 199),
    ],
)
def test_names_in_a_song_are_made_printable(read_tracks: ReadTracks, written: bytes, name: str) -> None:
    assert read_tracks([marker(written.decode("latin-1"))]).markers == (SongMarker(0, name),)


# Name and origin


def test_the_song_is_named_after_its_first_track(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(1), title("Ode")], [title("Piano")]).name == "Ode"


def test_a_song_whose_first_track_has_no_name_takes_the_next_one(read_tracks: ReadTracks) -> None:
    assert read_tracks([title(" "), rest(1)], [title("Piano")]).name == "Piano"


def test_a_song_without_track_names_is_named_after_its_file(read_tracks: ReadTracks) -> None:
    assert read_tracks([rest(1)], name="my song.mid").name == "my song"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is text")
def test_a_song_file_name_that_is_not_text_can_be_stored(read_tracks: ReadTracks) -> None:
    song = read_tracks([rest(1)], name=os.fsdecode(b"caf\xe9.mid"))

    assert (song.name, song.source) == ("caf?", "caf?.mid")


def test_a_song_knows_its_file_and_the_checksum_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file.mid"
    path.write_bytes(as_bytes([rest(1)]))

    song = read_song(str(path))

    assert (song.source, song.sha256) == ("file.mid", hashlib.sha256(path.read_bytes()).hexdigest())


# Format 2: patterns


def test_midi_patterns_play_one_after_the_other(read_tracks: ReadTracks) -> None:
    song = read_tracks([title("Groove"), rest(4)], [rest(8)], [title("Fill"), rest(2)], kind=2)

    assert song.timeline.beats == 14
    assert song.markers == (SongMarker(0, "Groove"), SongMarker(4, "pattern 2"), SongMarker(12, "Fill"))


def test_a_midi_pattern_without_length_is_skipped(read_tracks: ReadTracks) -> None:
    song = read_tracks([title("Conductor")], [rest(4)], [], [rest(4)], kind=2)

    assert song.markers == (SongMarker(0, "pattern 1"), SongMarker(4, "pattern 2"))


def test_tempos_and_markers_of_a_midi_pattern_count_from_its_start(read_tracks: ReadTracks) -> None:
    song = read_tracks([rest(4)], [tempo(60, after=1), marker("Break", after=1), rest(2)], kind=2)

    assert song.timeline.tempo_map == (TempoChange(0, 120), TempoChange(5, 60))
    assert song.markers == (SongMarker(6, "Break"),)


# SMPTE time


@pytest.mark.parametrize(("frames", "ticks_per_second"), [(24, 2400), (25, 2500), (29, 2997), (30, 3000)])
def test_smpte_time_is_laid_on_120_beats_a_minute(read_tracks: ReadTracks, frames: int, ticks_per_second: int) -> None:
    four_seconds = mido.Message("note_off", note=60, time=4 * ticks_per_second)

    song = read_tracks([four_seconds, marker("End")], division=smpte(frames, 100))

    assert (song.timeline.beats, song.duration_seconds) == (8, 4)
    assert song.markers == (SongMarker(8, "End"),)


def test_smpte_time_ignores_tempos(read_tracks: ReadTracks) -> None:
    song = read_tracks([tempo(60), mido.Message("note_off", time=1000)], division=smpte(25, 40))

    assert song.timeline.tempo_map == (TempoChange(0, 120),)


# Whatever the song


@settings(deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 5000), st.integers(60_061, 0xFFFFFF)), max_size=10))
def test_song_durations_agree_with_mido(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.getbasetemp() / "steps.mid"
    track = [mido.MetaMessage("set_tempo", time=time, tempo=tempo) for time, tempo in steps]
    path.write_bytes(as_bytes([*track, rest(4)]))

    assert math.isclose(read_song(path).duration_seconds, mido.MidiFile(path).length, rel_tol=2e-5)


# Real files


class Fact(NamedTuple):
    name: str
    beats: int
    seconds: float
    tempos: list[float]
    markers: int


REAL = {
    "hootenanny__mars_drums.mid": Fact("Mars Drums - Dramatic Build", 161, 160.554, [60], 11),
    "hootenanny__mars_with_drums.mid": Fact("Mars Drums - Dramatic Build", 161, 160.458, [60], 11),
    "jazzsoft__test-2-tracks-type-2.mid": Fact("Standard MIDI file type 2", 18, 9, [120], 2),
    "jazzsoft__test-karaoke-kar.mid": Fact("Karaoke .KAR Test", 16, 10.6, [90], 2),
    "nfroidure-Avgvst__TogetherAgain.mid": Fact(
        "Distortion Guitar", 264, (246 / 120 + 4 / 110 + 6 / 100 + 8 / 90) * 60, [120, 110, 100, 90, 80], 17
    ),
    "nfroidure__MIDIOkFormat0.mid": Fact("nfroidure__MIDIOkFormat0", 4, 2, [120], 1),
    "nfroidure__MIDIOkFormat1.mid": Fact("nfroidure__MIDIOkFormat1", 4, 2, [120], 1),
    "nfroidure__MIDIOkFormat2.mid": Fact("nfroidure__MIDIOkFormat2", 8, 8 * 95 / 96 / 2, [120], 8),
    "partitura__mozart_k265_var1.mid": Fact("Boesendorfer Grand Piano", 92, 46, [120], 6),
    "partitura__test_basic_midi.mid": Fact("partitura__test_basic_midi", 8, 3.975, [120], 1),
    "tonejs__beat.mid": Fact("untitled", 65, 38.6, [100], 5),
}
FORMAT_2 = {"jazzsoft__test-2-tracks-type-2.mid", "nfroidure__MIDIOkFormat2.mid"}  # mido gives no length
MALFORMED = {
    "jazzsoft__test-not-a-midi-file.mid": "not a MIDI file",
    "nfroidure__MIDIBadHeaderChunk.mid": "not a MIDI file",
    "nfroidure__MIDIBadTrackHdr.mid": "track header",
}


@needs_shared_data
def test_song_tests_know_every_real_midi_file() -> None:
    assert {path.name for path in MUSIC.glob("*.mid")} == REAL.keys() | MALFORMED.keys()


@needs_shared_data
@pytest.mark.parametrize(("file", "fact"), REAL.items(), ids=REAL)
def test_a_real_midi_file_is_read_as_known(file: str, fact: Fact) -> None:
    song = read_song(MUSIC / file)

    assert (song.name, song.timeline.beats, len(song.markers)) == (fact.name, fact.beats, fact.markers)
    assert [change.tempo_bpm for change in song.timeline.tempo_map] == fact.tempos
    assert math.isclose(song.duration_seconds, fact.seconds, abs_tol=0.001)


@needs_shared_data
def test_a_real_midi_file_that_repeats_its_tempos_has_each_change_once() -> None:
    path = MUSIC / "nfroidure-Avgvst__TogetherAgain.mid"
    events = [message for message in mido.MidiFile(path).merged_track if message.type == "set_tempo"]

    assert (len(events), len(read_song(path).timeline.tempo_map)) == (37, 5)


@needs_shared_data
@pytest.mark.parametrize("file", sorted(REAL.keys() - FORMAT_2))
def test_a_real_midi_file_lasts_as_long_as_mido_says(file: str) -> None:
    expected = mido.MidiFile(MUSIC / file).length

    assert math.isclose(read_song(MUSIC / file).duration_seconds, expected, rel_tol=1e-5)


@needs_shared_data
@pytest.mark.parametrize(("file", "reason"), MALFORMED.items(), ids=MALFORMED)
def test_a_malformed_real_midi_file_is_refused(file: str, reason: str) -> None:
    with pytest.raises(ImportRejected, match=reason):
        read_song(MUSIC / file)
