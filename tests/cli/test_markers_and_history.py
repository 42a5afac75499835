"""``markers``, ``history`` and ``stats`` on the line."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Session, Store, history, markers, rules, signals

# --- markers ---------------------------------------------------------------------------------------------------


def test_markers_add_prints_the_id(line: Line, look: Store, jam: Session) -> None:
    done = line("markers", "add", "jam", 96.5, "Guitar solo", "--metadata", '{"key": "D minor"}')

    made = look.query(markers.get, done.out.strip())
    assert (done.code, done.err) == (0, "")
    assert (made.beat, made.name, made.metadata_) == (96.5, "Guitar solo", {"key": "D minor"})


def test_markers_print_their_metadata_as_metadata_in_json(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    document = line_on_both("markers", "add", "jam", 4, "Drop", "--metadata", '{"a": [1]}', "--json").document

    assert document["metadata"] == {"a": [1]}
    assert set(document) == {"id", "session_id", "beat", "name", "metadata", "created_at"}


@pytest.mark.parametrize("metadata", ["{", "[1]", "null words"])
def test_markers_add_refuses_metadata_that_is_not_an_object(line: Line, jam: Session, metadata: str) -> None:
    done = line("markers", "add", "jam", 4, "Drop", "--metadata", metadata)

    assert done.code == 4
    assert "metadata" in done.error


def test_markers_list_is_sorted_by_beat(line: Line, look: Store, jam: Session) -> None:
    look.run(markers.add, jam.id, 4, "Intro")
    title, *rows = line("markers", "list", "jam").out.splitlines()

    assert title.split() == ["BEAT", "NAME", "METADATA", "ID"]
    assert [row.split()[:2] for row in rows] == [["4", "Intro"], ["64", "Drop"]]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--from", "4"], ["b", "c"]),
        (["--to", "8"], ["a", "b"]),
        (["--from", "4", "--to", "8"], ["b"]),
        (["--from", "9"], []),
    ],
)
def test_markers_list_takes_a_range_of_beats(line: Line, look: Store, words: list[str], names: list[str]) -> None:
    line("sessions", "create", "late set", "--id", "new")
    look.run(markers.add_many, "new", [markers.NewMarker(beat, name) for beat, name in [(0, "a"), (4, "b"), (8, "c")]])

    assert [each["name"] for each in line("markers", "list", "new", *words, "--json").documents] == names


def test_markers_list_refuses_a_backwards_range(line: Line, jam: Session) -> None:
    assert line("markers", "list", "jam", "--from", 8, "--to", 4).code == 4


def test_markers_delete_deletes_a_marker(line: Line, look: Store, jam: Session) -> None:
    done = line("markers", "delete", "drop", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted marker drop\n")
    assert look.query(markers.find, "drop") is None


def test_markers_delete_needs_confirmation(line: Line, look: Store, jam: Session) -> None:
    assert line("markers", "delete", "drop").code == 2
    assert look.query(markers.find, "drop") is not None


@pytest.mark.parametrize("words", [["add", "nobody", "4", "Drop"], ["list", "nobody"], ["delete", "nothing", "--yes"]])
def test_markers_commands_on_a_missing_session_or_marker_exit_3(line: Line, words: list[str]) -> None:
    assert line("markers", *words).code == 3


# --- history ---------------------------------------------------------------------------------------------------


def test_history_append_prints_the_number_of_the_entry(line: Line, look: Store, jam: Session) -> None:
    done = line("history", "append", "jam", "mix.bounced", "--params", '{"to": 1}', "--result", '"full"', "--failed")

    entry = look.query(history.page, "jam").items[0]
    assert (done.code, done.out, done.err) == (0, f"{entry.id}\n", "")
    assert (entry.action, entry.params, entry.result, entry.success) == ("mix.bounced", {"to": 1}, "full", False)


def test_history_append_refuses_invalid_json_with_a_hint(line: Line, jam: Session) -> None:
    done = line("history", "append", "jam", "mix.bounced", "--result", "full")

    assert done.code == 4
    assert done.error.startswith("--result: 'full' is no JSON")
    assert "a text needs double quotes" in done.error


def test_history_list_prints_firings_in_rule_notation(line: Line, look: Store, jam: Session) -> None:
    look.run(rules.fire, jam.id, signals.BeatTick(beat=8))
    firing = line("history", "list", "jam").out.splitlines()[1]

    assert "rule.fired" in firing
    assert '[beat:8] beat:4 → notify:"message' in firing


@pytest.mark.parametrize(
    "params", [None, "beat:4", {"trigger": "nonsense", "action": {}, "signal": None}, {"rule_id": "x"}]
)
def test_history_list_prints_firings_written_by_others_verbatim(
    line: Line, look: Store, jam: Session, params: object
) -> None:
    look.run(history.append, jam.id, "rule.fired", params=params, result=[1])
    told = line("history", "list", "jam", "--limit", 1).out.splitlines()[1]

    assert told.endswith(f"{'' if params is None else json.dumps(params, separators=(',', ':'))} → [1]".strip())


def test_history_list_filters_and_reverses_entries(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    for number, words in enumerate([["a"], ["b", "--failed"], ["a", "--failed"]]):
        line_on_both("history", "append", "jam", *words, "--params", number)

    def found(*words: str) -> list[int]:
        return [each["params"] for each in line_on_both("history", "list", "jam", "--json", *words).documents]

    assert found() == [2, 1, 0]
    assert found("--oldest-first") == [0, 1, 2]
    assert found("--action", "a") == [2, 0]
    assert found("--failed") == [2, 1]
    assert found("--succeeded") == [0]
    assert line_on_both("history", "count", "jam").out == "3\n"
    assert line_on_both("history", "count", "jam", "--failed", "--action", "a", "--json").document == {"count": 1}


@pytest.mark.parametrize(
    "words", [["list", "nobody"], ["tail", "nobody"], ["count", "nobody"], ["append", "nobody", "x"]]
)
def test_history_commands_on_a_missing_session_exit_3(line: Line, words: list[str]) -> None:
    assert line("history", *words).error == "no session 'nobody'"


def test_history_tail_is_the_end_of_history_oldest_first(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    for action in ("play", "stop", "seek"):
        line_on_both("history", "append", "jam", action)

    assert [each["action"] for each in line_on_both("history", "tail", "jam", "-n", 2, "--json").documents] == [
        "stop",
        "seek",
    ]
    assert [told.split()[3] for told in line_on_both("history", "tail", "jam").out.splitlines()] == [
        "play",
        "stop",
        "seek",
    ]
    assert [
        each["action"] for each in line_on_both("history", "tail", "jam", "--action", "play", "--json").documents
    ] == ["play"]
    assert line_on_both("history", "tail", "jam", "--lines", 0).out == ""


# --- stats -----------------------------------------------------------------------------------------------------


def test_stats_record_records_and_shows_a_sample(line_on_both: Line) -> None:
    line_on_both("stats", "record", "drums", 4000)
    document = line_on_both("stats", "record", "drums", 4400, "--json").document

    assert (document["sample_count"], document["average_ms"], document["standard_deviation_ms"]) == (2, 4200, 200)
    assert "average  4200 ms, ± 200\n" in line_on_both("stats", "show", "drums").out


def test_stats_list_is_sorted_by_space(line: Line) -> None:
    for space in ("pads", "drums"):
        line("stats", "record", space, 10)
    listed, first = line("stats", "list"), line("stats", "list", "--json", "--limit", 1)

    assert [row.split()[0] for row in listed.out.splitlines()] == ["SPACE", "drums", "pads"]
    assert [each["space"] for each in first.documents] == ["drums"]
    assert first.err.startswith("next cursor: ")


def test_stats_show_of_an_unknown_space_exits_3(line: Line) -> None:
    assert line("stats", "show", "drums").code == 3


def test_stats_record_refuses_an_invalid_duration(line: Line) -> None:
    assert line("stats", "record", "drums", 10**11).code == 4
