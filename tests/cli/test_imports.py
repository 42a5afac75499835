"""``import midi`` on the line: a unit of work a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Line, run_line
from tests.importers.midi_bytes import as_bytes, marker, rest, tempo, title
from vibeweaver_store import Store, sessions


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.mid"
    path.write_bytes(as_bytes([title("Ode"), tempo(90), marker("Verse"), rest(4)]))
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.mid"
    path.write_bytes(b"not music")
    return path


def test_a_file_becomes_a_session_and_its_id_is_printed(line: Line, look: Store, good: Path) -> None:
    done = line("import", "midi", good, "--vibe", "solemn")

    (made,) = look.query(sessions.page).items
    assert (done.code, done.out, done.err) == (0, f"{made.id}\n", "good.mid: Ode, 4 beats, 1 marker, 0:03\n")
    assert (made.name, made.vibe, made.tempo_bpm) == ("Ode", "solemn", 90)


def test_a_session_a_line_is_printed_as_json(line_on_both: Line, good: Path) -> None:
    done = line_on_both("import", "midi", good, good, "--json")

    assert [each["name"] for each in done.documents] == ["Ode", "Ode"]


def test_bad_files_are_told_of_and_good_ones_go_in(line: Line, look: Store, good: Path, bad: Path) -> None:
    done = line("import", "midi", good, bad, good)

    assert done.code == 4
    assert len(done.out.splitlines()) == 2
    assert len(look.query(sessions.page).items) == 2
    first, *_, last = done.err.splitlines()
    assert first == f"vibeweaver-store: {bad}: this is not a MIDI file: it does not begin with a MIDI header"
    assert last == "vibeweaver-store: imported 2 of 3 files"


def test_bad_files_alone_make_no_database(bad: Path, tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path / "new.db", "import", "midi", bad])

    assert (done.code, done.out) == (4, "")
    assert list(tmp_path.iterdir()) == [bad]


def test_no_file_is_wrong_usage(line: Line) -> None:
    assert line("import", "midi").code == 2
