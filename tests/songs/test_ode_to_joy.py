"""The song that ships is the one that is written out, and it is music."""

from __future__ import annotations

import io
from itertools import accumulate
from pathlib import Path

import mido  # type: ignore[import-untyped]  # mido ships no types
import pytest

from tests.spawning import Processes
from vibeweaver_store.importers.midi import Song, read_song
from vibeweaver_store.songs import ODE_TO_JOY
from vibeweaver_store.songs.ode_to_joy import SECTIONS, Line, Section, compose, notes

CHECKOUT = Path(__file__).resolve().parents[2]
LINES = {f"{section.name}, {voice}": (section, line) for section in SECTIONS for voice, line in section.lines.items()}


@pytest.fixture(scope="module")
def song() -> Song:
    return read_song(ODE_TO_JOY)


def test_the_packaged_song_file_equals_the_generated_one() -> None:
    written = io.BytesIO()
    compose().save(file=written)

    assert written.getvalue() == ODE_TO_JOY.read_bytes()


MODULE = "vibeweaver_store.songs.ode_to_joy"


def test_the_song_module_writes_the_file(processes: Processes, tmp_path: Path) -> None:
    processes.start_module(MODULE, tmp_path / "ode.mid").finish()

    assert (tmp_path / "ode.mid").read_bytes() == ODE_TO_JOY.read_bytes()


def test_the_song_module_without_a_path_prints_its_usage(processes: Processes) -> None:
    done = processes.run_module(MODULE)

    assert (done.returncode, done.stdout) == (1, "")
    assert "usage" in done.stderr


def test_the_packaged_song_has_a_name_and_lasts_162_seconds(song: Song) -> None:
    assert song.name == "Ode to Joy"
    assert song.timeline.beats == 288
    assert song.duration_seconds == pytest.approx(162)


def test_the_packaged_song_file_names_its_author() -> None:
    rights = [message.text for message in mido.MidiFile(ODE_TO_JOY).tracks[0] if message.type == "copyright"]

    assert rights == ["Melody: L. van Beethoven, public domain. Arrangement: vibeweaver-store, MIT licence."]


def test_the_packaged_song_file_is_of_format_1_with_480_ticks_a_beat() -> None:
    file = mido.MidiFile(ODE_TO_JOY)

    assert (file.type, file.ticks_per_beat) == (1, 480)
    assert [track.name for track in file.tracks] == ["Ode to Joy", "Melody", "Chords", "Bass", "Drums"]


def test_every_section_of_the_packaged_song_is_a_marker(song: Song) -> None:
    assert [(int(marker.beat), marker.name) for marker in song.markers] == [
        (0, "Intro"),
        (16, "Theme"),
        (80, "Variation 1: Walking Bass"),
        (144, "Bridge"),
        (176, "Variation 2: Running Eighths"),
        (240, "Finale"),
        (272, "Coda"),
    ]


def test_the_packaged_song_is_slowest_at_the_bridge_and_fastest_at_the_finale(song: Song) -> None:
    tempos = {marker.name: song.timeline.tempo_at(marker.beat) for marker in song.markers}

    assert min(tempos, key=tempos.__getitem__) == "Bridge"
    assert max(tempos, key=tempos.__getitem__) == "Finale"


@pytest.mark.parametrize(("section", "line"), LINES.values(), ids=LINES)
def test_every_line_of_the_packaged_song_fills_its_section(section: Section, line: Line) -> None:
    assert sum(note.beats for note in notes(line)) == section.beats


def test_the_theme_of_the_packaged_song_is_the_ode_to_joy() -> None:
    theme = next(section for section in SECTIONS if section.name == "Theme")
    pitches = [note.pitches[0] for note in notes(theme.lines["Melody"])]
    above_first = [pitch - pitches[0] for pitch in pitches[:15]]

    assert above_first == [0, 0, 1, 3, 3, 1, 0, -2, -4, -4, -2, 0, 0, -2, -2]


@pytest.mark.parametrize("track", compose().tracks[1:], ids=lambda track: track.name)
def test_every_note_of_the_packaged_song_ends_before_it_sounds_again(track: mido.MidiTrack) -> None:
    sounding = set()
    for message in track:
        if message.type == "note_on":
            assert message.note not in sounding
            sounding.add(message.note)
        elif message.type == "note_off":
            sounding.remove(message.note)

    assert not sounding


@pytest.mark.parametrize("track", compose().tracks, ids=lambda track: track.name)
def test_every_track_of_the_packaged_song_ends_with_it(track: mido.MidiTrack) -> None:
    assert list(accumulate(message.time for message in track))[-1] == 288 * 480


def test_a_chord_in_song_notation_is_written_by_its_name() -> None:
    assert [note.pitches for note in notes(Line("D:2 A4+D5:2"))] == [(50, 54, 57), (69, 74)]


def test_a_line_in_song_notation_sounds_in_each_of_its_octaves() -> None:
    assert [note.pitches for note in notes(Line("C4", octaves=(-1, 0)))] == [(48, 60)]


def test_a_note_length_in_song_notation_defaults_to_one_unit() -> None:
    written = notes(Line("C4 | R:3 E4:.5", unit=0.5))

    assert [(note.beat, note.beats) for note in written] == [(0, 0.5), (0.5, 1.5), (2, 0.25)]


@pytest.mark.parametrize("word", ["H4", "F##4", "D4+", "bell", "D4:long"])
def test_an_invalid_note_in_song_notation_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"neither a note|could not convert"):
        list(notes(Line(word)))
