"""``weave``: the song is played through the store, and what happened is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Line, run_line
from tests.importers.midi_bytes import as_bytes, marker, rest, tempo, title
from tests.shared_data import MUSIC, needs_shared_data
from vibeweaver_store import Store, history, rules, sessions
from vibeweaver_store.songs import ODE_TO_JOY

MALFORMED = {
    "jazzsoft__test-not-a-midi-file.mid",
    "nfroidure__MIDIBadHeaderChunk.mid",
    "nfroidure__MIDIBadTrackHdr.mid",
}


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Eight beats: a verse at 120 bpm, a chorus at 60."""
    path = tmp_path / "song.mid"
    path.write_bytes(
        as_bytes([title("Ode"), tempo(120), marker("Verse"), tempo(60, after=4), marker("Chorus"), rest(4)])
    )
    return path


@pytest.fixture
def rules_file(tmp_path: Path) -> Any:
    def write(entries: object) -> Path:
        path = tmp_path / "rules.json"
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return path

    return write


def test_weave_plays_a_song_and_prints_a_report(line: Line, song: Path) -> None:
    done = line("weave", song, "--vibe", "solemn")

    assert (done.code, done.err) == (0, "")
    head, *_ = done.out.splitlines()
    assert head == "Ode  60 to 120 bpm · 8 beats · 0:06 · solemn"
    for told in ("Rules  6", "Markers  2", "History  9, newest first", "beats 0 to 8, 8 firings, in "):
        assert told in done.out
    assert done.out.splitlines()[-1].startswith("session ")


def test_weave_reports_rules_with_their_number_of_firings(line: Line, song: Path) -> None:
    rows = [row.split() for row in line("weave", song).out.splitlines()]

    assert ["beat:4", "notify:bar", "low", "3"] in rows
    assert ["beat:16", 'sample:"drums:a', 'fill"', "normal", "1"] in rows
    assert ["marker:Chorus", "notify:Chorus", "high", "1"] in rows
    assert ["deadline:4", 'sample:"pads:lead', "into", 'Chorus"', "critical", "1"] in rows


def test_weave_reports_markers_with_beat_time_and_tempo(line: Line, song: Path) -> None:
    rows = [row.split() for row in line("weave", song).out.splitlines()]

    assert ["BEAT", "TIME", "BPM", "NAME"] in rows
    assert ["4", "0:02", "60", "Chorus"] in rows


def test_weave_reports_ten_lines_of_history(line: Line) -> None:
    history_told = line("weave", ODE_TO_JOY).out.partition("History")[2].partition("\n\n")[0].splitlines()

    assert history_told[0] == "  102, newest first"
    assert len(history_told) == 2 + 10


def test_weave_fits_eighty_columns_but_cuts_nothing_in_a_pipe(line: Line, rules_file: Any, song: Path) -> None:
    long = "a message of more than eighty signs, which a pipe must be given to its very last one: this"
    path = rules_file([{"on": "beat:4", "do": f"notify:{long}"}])

    assert long in line("weave", song, "--rules", path).out


def test_weave_prints_its_report_as_one_json_document(line_on_both: Line, song: Path) -> None:
    done = line_on_both("weave", song, "--json")

    document = done.document
    assert (done.code, done.err) == (0, "")
    assert document["session"]["name"] == "Ode"
    assert document["session"]["tempo_bpm"] == 60
    assert document["song"]["duration_seconds"] == 6
    assert [(each["marker"]["name"], each["seconds"]) for each in document["markers"]] == [("Verse", 0), ("Chorus", 2)]
    assert sum(each["fired_count"] for each in document["rules"]) == document["performance"]["firings"] == 8
    assert (len(document["history"]), document["history_count"]) == (9, 9)
    assert document["performance"]["units_of_work"] == 11


def test_weave_without_a_file_plays_the_packaged_song(line: Line, look: Store) -> None:
    assert line("weave").out.startswith("Ode to Joy  72 to 144 bpm · 288 beats · 2:42\n")
    assert [each.name for each in look.query(sessions.page).items] == ["Ode to Joy"]


def test_weave_makes_a_new_database(tmp_path: Path, song: Path) -> None:
    assert run_line(["weave", song, "--db", tmp_path / "new.db"]).code == 0
    assert (tmp_path / "new.db").is_file()


def test_weave_escapes_names_that_would_move_the_cursor(line: Line, tmp_path: Path, rules_file: Any) -> None:
    (tmp_path / "song.mid").write_bytes(
        as_bytes([title("O\x9bde"), marker("Ve\u202erse".encode().decode("latin-1")), rest(1)])
    )
    done = line("weave", tmp_path / "song.mid", "--vibe", "\x1b[2J")

    assert done.code == 0
    assert all(row.isprintable() for row in done.out.splitlines())


def test_weave_reports_only_part_of_many_markers_and_rules(line: Line, tmp_path: Path, rules_file: Any) -> None:
    (tmp_path / "song.mid").write_bytes(as_bytes([marker(f"m{n}", after=0.25) for n in range(30)]))
    path = rules_file([{"on": f"beat:{n}", "do": "play"} for n in range(1, 31)])
    out = line("weave", tmp_path / "song.mid", "--rules", path).out

    assert "… and 10 more: vibeweaver-store rules list " in out
    assert "… and 18 more: vibeweaver-store markers list " in out


# --- rules of one's own ----------------------------------------------------------------------------------------


def test_weave_takes_rules_from_a_file_in_either_form(line: Line, rules_file: Any, song: Path) -> None:
    path = rules_file(
        [
            {"on": "beat:4", "do": 'notify:"four on the floor"', "priority": "high", "one_shot": True},
            {"on": {"type": "marker", "name": "Chorus"}, "do": {"type": "play"}, "priority": 0},
            {"on": "beat:1", "do": "stop", "enabled": False},
        ]
    )
    told = line("weave", song, "--rules", path, "--json").document["rules"]

    assert [(each["trigger"]["type"], each["priority"], each["fired_count"]) for each in told] == [
        ("marker", 0, 1),
        ("beat", 1, 1),
        ("beat", 2, 0),
    ]


def test_weave_takes_rules_from_stdin(line: Line, song: Path) -> None:
    done = line("weave", song, "--rules", "-", "--json", stdin='[{"on": "beat:1", "do": "play"}]')

    assert [each["fired_count"] for each in done.document["rules"]] == [9]


def test_weave_can_play_a_song_without_rules(line: Line, rules_file: Any, song: Path) -> None:
    done = line("weave", song, "--rules", rules_file([]))

    assert done.code == 0
    assert "Rules  none were given" in done.out


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ("[", "it is no JSON"),
        ({"on": "beat:4", "do": "play"}, "it must hold a list"),
        (["beat:4"], "entry 1: must be an object"),
        ([{"on": "beat:4", "do": "play"}, {"on": "bet:4", "do": "play"}], "entry 2: trigger 'bet:4'"),
        ([{"on": "beat:4", "do": "jump"}], "entry 1: action 'jump'"),
        ([{"on": {"type": "beat"}, "do": "play"}], "entry 1: trigger: beat.divisor: Field required"),
        ([{"on": "beat:4"}], "entry 1: 'do' is missing"),
        ([{"on": "beat:4", "do": "play", "oneshot": True}], "entry 1: there is no field 'oneshot'"),
        ([{"on": "beat:4", "do": "play", "one_shot": "yes"}], "entry 1: one_shot"),
        ([{"on": "beat:4", "do": "play", "priority": "urgent"}], "entry 1: priority: 'urgent' is none of critical"),
        ([{"on": "beat:4", "do": "play", "priority": []}], "entry 1: priority: [] is none of critical"),
    ],
)
def test_weave_with_an_invalid_rules_file_leaves_nothing_behind(
    tmp_path: Path, rules_file: Any, song: Path, entries: object, told: str
) -> None:
    path = rules_file(entries)
    done = run_line(["--db", tmp_path / "new.db", "weave", song, "--rules", path])

    assert done.code == 4
    assert done.error.startswith(f"{path}: ")
    assert told in done.error
    assert sorted(tmp_path.iterdir()) == [path, song]


def test_weave_with_an_invalid_rules_file_adds_nothing_to_a_database(
    line: Line, look: Store, rules_file: Any, song: Path
) -> None:
    assert line("weave", song, "--rules", rules_file(["nonsense"])).code == 4
    assert look.query(sessions.page).items == []


def test_weave_refuses_a_missing_rules_file(line: Line, song: Path, tmp_path: Path) -> None:
    done = line("weave", song, "--rules", tmp_path / "none.json")

    assert (done.code, done.error) == (4, f"{tmp_path / 'none.json'}: No such file or directory")


# --- real songs ------------------------------------------------------------------------------------------------


@needs_shared_data
@pytest.mark.parametrize("file", sorted({path.name for path in MUSIC.glob("*.mid")} - MALFORMED))
def test_weave_plays_every_well_formed_midi_file(line: Line, look: Store, file: str) -> None:
    done = line("weave", MUSIC / file, "--json")

    document = done.document
    assert (done.code, done.err) == (0, "")
    assert document["performance"]["firings"] == look.query(
        history.count, document["session"]["id"], action=rules.FIRED
    )
    assert all(rule["fired_count"] for rule in document["rules"])


@needs_shared_data
@pytest.mark.parametrize("file", sorted(MALFORMED))
def test_weave_refuses_every_malformed_midi_file_and_leaves_nothing_behind(tmp_path: Path, file: str) -> None:
    done = run_line(["--db", tmp_path / "new.db", "weave", MUSIC / file])

    assert done.code == 4
    assert done.error.startswith(f"{MUSIC / file}: ")
    assert list(tmp_path.iterdir()) == []
