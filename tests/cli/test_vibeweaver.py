"""Seed 000, vibeweaver, on the line: its spelling of types, beats before zero, what happened earlier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Line, RunAtTerminal
from tests.importers.midi_bytes import as_bytes, marker, meter, rest, tempo, title
from vibeweaver_store import Session, Store, actions, history, markers, messages, rules, sessions, triggers
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.triggers import Trigger


@pytest.fixture
def both(line_on_both: Line) -> Line:
    """A line on a database of each backend that has the session ``set`` in it."""
    line_on_both("sessions", "create", "late set", "--id", "set")
    return line_on_both


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A pick-up of one beat at 60 bpm, then eight beats at 120."""
    path = tmp_path / "song.mid"
    events = [
        title("Ode"),
        tempo(60),
        meter(1, 4),
        marker("Pick-up"),
        meter(4, 4, after=1),
        tempo(120),
        marker("Verse"),
    ]
    path.write_bytes(as_bytes([*events, marker("Chorus", after=4), rest(4)]))
    return path


# --- the seed's spelling of types ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "do", "trigger", "action"),
    [
        ('{"type": "Beat", "divisor": 4}', '{"type": "Play"}', triggers.Beat(divisor=4), actions.Play()),
        (
            '{"type": "JobComplete", "job_id": "job-7"}',
            '{"type": "SampleAndSchedule", "space": "pads", "prompt": null, "at": -4}',
            triggers.JobComplete(job_id="job-7"),
            actions.SampleAndSchedule(space="pads", at=-4),
        ),
        (
            "JobComplete:job-7",
            "SampleAndSchedule:pads@-4:lift",
            triggers.JobComplete(job_id="job-7"),
            actions.SampleAndSchedule(space="pads", prompt="lift", at=-4),
        ),
        ("Deadline:-0.5", "Seek:-4", triggers.Deadline(beat=-0.5), actions.Seek(beat=-4)),
    ],
    ids=["documents", "longer documents", "notation", "beats before zero"],
)
def test_vibeweaver_rules_add_reads_the_seeds_types_and_stores_one_spelling(
    both: Line, on: str, do: str, trigger: Trigger, action: Action
) -> None:
    done = both("rules", "add", "set", "--on", on, "--do", do, "--priority", "High", "--json")

    assert (done.code, done.err) == (0, "")
    document = done.document
    assert (document["trigger"], document["trigger_type"]) == (trigger.model_dump(mode="json"), trigger.type)
    assert (document["action"], document["action_type"]) == (action.model_dump(mode="json"), action.type)
    assert document["priority"] == 1


@pytest.mark.parametrize("word", ["JobComplete", "job_complete", "JOB_COMPLETE"])
def test_vibeweaver_rules_list_takes_the_seeds_trigger_type(line: Line, look: Store, jam: Session, word: str) -> None:
    rule = look.run(rules.add, "jam", triggers.JobComplete(job_id="job-7"), actions.Play())
    done = line("rules", "list", "jam", "--trigger", word, "--json")

    assert (done.code, done.err) == (0, "")
    assert [each["id"] for each in done.documents] == [rule.id]


def test_vibeweaver_rules_list_refuses_an_unknown_trigger_type(line: Line, jam: Session) -> None:
    done = line("rules", "list", "jam", "--trigger", "Solstice")

    assert done.code == 4
    assert done.error.startswith("trigger_type: 'Solstice' is none of beat, marker")


@pytest.mark.parametrize(
    "signal", ['{"type": "BeatTick", "beat": -4}', '{"type": "beat_tick", "beat": -4}', "BeatTick:-4", "beat:-4"]
)
def test_vibeweaver_rules_fire_takes_a_signal_in_either_spelling(
    line: Line, look: Store, jam: Session, signal: str
) -> None:
    matched = line("rules", "match", "jam", "--signal", signal, "--json")
    fired = line("rules", "fire", "jam", "--signal", signal, "--json")

    assert (matched.code, fired.code, fired.err) == (0, 0, "")
    assert [each["id"] for each in matched.documents] == ["bars"]
    assert [each["signal"] for each in fired.documents] == [{"type": "beat_tick", "beat": -4}]
    assert look.query(rules.get, "bars").fired_count == 1


def test_vibeweaver_rules_file_takes_the_seeds_documents(line: Line, tmp_path: Path, song: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(
        json.dumps(
            [
                {"on": {"type": "Beat", "divisor": 4}, "do": {"type": "Notify", "message": "bar"}, "priority": "High"},
                {
                    "on": "Marker:Chorus",
                    "do": {"type": "SampleAndSchedule", "space": "pads", "prompt": None, "at": 8.0},
                },
            ]
        )
    )
    done = line("weave", song, "--rules", path, "--json")

    assert (done.code, done.err) == (0, "")
    assert [(each["trigger_type"], each["action_type"], each["fired_count"]) for each in done.document["rules"]] == [
        ("beat", "notify", 3),
        ("marker", "sample_and_schedule", 1),
    ]


def test_vibeweaver_rules_file_with_an_unknown_type_shows_it_as_it_was_written(
    line: Line, tmp_path: Path, song: Path
) -> None:
    path = tmp_path / "rules.json"
    path.write_text('[{"on": {"type": "Solstice"}, "do": "play"}]')
    done = line("weave", song, "--rules", path)

    assert done.code == 4
    assert "'Solstice'" in done.error


# --- markers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beat", ["-4", "-0.5", "-.5", "-1e-3"])
def test_vibeweaver_markers_add_takes_a_beat_before_zero(both: Line, beat: str) -> None:
    done = both("markers", "add", "set", beat, "Count-in", "--id", "count-in")
    listed = both("markers", "list", "set", "--json")

    assert (done.code, done.out, done.err) == (0, "count-in\n", "")
    assert [(each["beat"], each["name"]) for each in listed.documents] == [(float(beat), "Count-in")]


@pytest.mark.parametrize(
    ("metadata", "value"),
    [('["verse", null]', ["verse", None]), ('"loud"', "loud"), ("-4", -4), ("true", True), ("null", None)],
)
def test_vibeweaver_markers_add_takes_any_json_for_metadata(both: Line, metadata: str, value: Any) -> None:
    done = both("markers", "add", "set", 4, "Drop", "--metadata", metadata, "--json")

    assert (done.code, done.err) == (0, "")
    assert done.document["metadata"] == value
    assert both("markers", "list", "set", "--json").documents[0]["metadata"] == value


def test_vibeweaver_markers_list_shows_beats_before_zero_and_their_metadata(line: Line, jam: Session) -> None:
    line("markers", "add", "jam", "-0.5", "Pick-up", "--metadata", "[1]")
    title_row, *rows = line("markers", "list", "jam").out.splitlines()

    assert title_row.split() == ["BEAT", "NAME", "METADATA", "ID"]
    assert rows[0].split()[:3] == ["-0.5", "Pick-up", "[1]"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--to", "0"], ["a", "b"]),
        (["--from", "-4"], ["b", "c"]),
        (["--from", "-8", "--to", "-4"], ["a"]),
        (["--from=-4", "--to=0"], ["b"]),
    ],
)
def test_vibeweaver_markers_list_reaches_before_zero(
    line: Line, look: Store, words: list[str], names: list[str]
) -> None:
    line("sessions", "create", "late set", "--id", "new")
    look.run(
        markers.add_many, "new", [markers.NewMarker(beat, name) for beat, name in [(-8, "a"), (-4, "b"), (0, "c")]]
    )
    done = line("markers", "list", "new", *words, "--json")

    assert (done.code, done.err) == (0, "")
    assert [each["name"] for each in done.documents] == names


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["jam", "4", "Drop", "--metadta", "4"], "No such option: --metadta"),
        (["jam", "-4", "Drop", "--metadta"], "--metadta"),
        (["jam", "-x", "Drop"], "No such option: -x"),
        (["jam", "-4x", "Drop"], "Invalid value for 'BEAT'"),
    ],
)
def test_vibeweaver_markers_add_still_refuses_a_slip_of_an_option(
    line: Line, jam: Session, words: list[str], told: str
) -> None:
    done = line("markers", "add", *words)

    assert done.code == 2
    assert told in done.error


def test_vibeweaver_rules_due_takes_a_beat_before_zero(line: Line, look: Store, jam: Session) -> None:
    rule = look.run(rules.add, "jam", triggers.Deadline(beat=-2), actions.Play())
    early = line("rules", "due", "jam", "--at", "-4", "--json")
    late = line("rules", "due", "jam", "--at", "-2", "--json")

    assert (early.code, early.documents, early.err) == (0, [], "next due at beat -2\n")
    assert [each["rule"]["id"] for each in late.documents] == [rule.id]


# --- what happened earlier -------------------------------------------------------------------------------------


def test_vibeweaver_history_append_takes_when_it_was_and_appends_at_the_end(both: Line) -> None:
    both("history", "append", "set", "play")
    done = both("history", "append", "set", "stop", "--created-at", "2025-01-13T11:00:00+01:00", "--json")

    assert (done.code, done.err) == (0, "")
    assert done.document["created_at"] == "2025-01-13T10:00:00.000000Z"
    listed = both("history", "list", "set", "--oldest-first", "--json").documents
    assert [each["action"] for each in listed] == ["play", "stop"]


def test_vibeweaver_messages_add_takes_when_it_was_and_appends_at_the_end(both: Line) -> None:
    both("messages", "add", "set", "user", "now")
    done = both("messages", "add", "set", "user", "earlier", "--created-at", "2025-01-13T10:00:00Z", "--json")

    assert (done.code, done.err) == (0, "")
    assert done.document["created_at"] == "2025-01-13T10:00:00.000000Z"
    assert [each["content"] for each in both("messages", "list", "set", "--json").documents] == ["now", "earlier"]


@pytest.mark.parametrize("words", [["history", "append", "jam", "play"], ["messages", "add", "jam", "user", "louder"]])
@pytest.mark.parametrize("time", ["2025-01-13T10:00:00", "yesterday", "2025-01-13"])
def test_vibeweaver_time_without_a_zone_is_refused_on_the_line(
    line: Line, look: Store, jam: Session, words: list[str], time: str
) -> None:
    done = line(*words, "--created-at", time)

    assert done.code == 4
    assert done.error.startswith(f"--created-at: {time!r} ")
    assert look.query(history.count, "jam") == 1
    assert look.query(messages.count, "jam") == 0


# --- songs that begin before zero ------------------------------------------------------------------------------


def test_vibeweaver_song_with_a_pick_up_is_woven_from_before_zero(both: Line, song: Path) -> None:
    document = both("weave", song, "--json").document

    told, played = document["song"], document["performance"]
    assert (told["first_beat"], told["beats"], told["duration_seconds"]) == (-1, 8, 5)
    assert (played["first_beat"], played["beats"], played["units_of_work"]) == (-1, 10, 12)
    assert [(each["marker"]["beat"], each["marker"]["name"], each["seconds"]) for each in document["markers"]] == [
        (-1, "Pick-up", -1),
        (0, "Verse", 0),
        (4, "Chorus", 2),
    ]
    (bars,) = [each for each in document["rules"] if each["trigger"] == {"type": "beat", "divisor": 4}]
    assert bars["fired_count"] == 3


def test_vibeweaver_song_with_a_pick_up_is_told_about_for_people(line: Line, song: Path) -> None:
    done = line("weave", song)

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "Ode  60 to 120 bpm · 9 beats · 0:05"
    assert "beats -1 to 8, " in done.out
    assert ["-1", "-0:01", "60", "Pick-up"] in [row.split() for row in done.out.splitlines()]


def test_vibeweaver_song_is_counted_in(line: Line, look: Store, tmp_path: Path) -> None:
    path = tmp_path / "song.mid"
    path.write_bytes(as_bytes([title("Ode"), tempo(120), marker("Verse"), rest(8)]))
    done = line("weave", path, "--count-in", 4, "--json")

    document = done.document
    assert (done.code, done.err) == (0, "")
    assert (document["song"]["first_beat"], document["song"]["beats"]) == (0, 8)
    assert (document["performance"]["first_beat"], document["performance"]["beats"]) == (-4, 13)
    assert look.query(sessions.get, document["session"]["id"]).name == "Ode"
    (bars,) = [each for each in document["rules"] if each["trigger"] == {"type": "beat", "divisor": 4}]
    assert bars["fired_count"] == 4


@pytest.mark.parametrize("beats", ["-1", "1.5", "four", "1001"])
def test_vibeweaver_count_in_is_a_whole_number_from_0(line: Line, look: Store, song: Path, beats: str) -> None:
    done = line("weave", song, "--count-in", beats)

    assert done.code == 2
    assert "--count-in" in done.error
    assert look.query(sessions.page).items == []


def test_vibeweaver_count_in_is_shown_at_a_terminal(
    song: Path, sqlite_path: Path, run_at_terminal: RunAtTerminal
) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "weave", song, "--count-in", "3")

    assert code == 0
    assert "beats -4 to 8, " in shown
