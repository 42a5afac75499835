"""``sessions`` on the line, on both backends."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Session, Store, history, markers, rules, sessions


def test_create_prints_the_new_id_and_nothing_else(line: Line, look: Store) -> None:
    done = line("sessions", "create", "late set", "--vibe", "dark techno", "--tempo", 130)

    (made,) = look.query(sessions.page).items
    assert (done.code, done.out, done.err) == (0, f"{made.id}\n", "")
    assert (made.name, made.vibe, made.tempo_bpm) == ("late set", "dark techno", 130)


def test_create_prints_the_columns_as_json(line_on_both: Line) -> None:
    done = line_on_both("sessions", "create", "Übung ♫", "--id", "mine", "--json")

    document = done.document
    assert (done.code, done.err) == (0, "")
    times = [document.pop("created_at"), document.pop("updated_at")]
    assert document.pop("rules_rev") >= 0
    assert document == {
        "id": "mine",
        "kind": "jam",
        "name": "Übung ♫",
        "vibe": None,
        "tempo_bpm": 120.0,
        "status": "created",
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) for time in times)


def test_create_refuses_an_id_that_is_taken(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "a", "--id", "mine")
    done = line_on_both("sessions", "create", "b", "--id", "mine")

    assert (done.code, done.error) == (4, "session 'mine' exists already")


@pytest.mark.parametrize("words", [["create", " "], ["create", "x", "--tempo", "1000"], ["create", "x", "--id", ""]])
def test_create_refuses_what_cannot_be(line: Line, look: Store, words: list[str]) -> None:
    assert line("sessions", *words).code == 4
    assert look.query(sessions.page).items == []


def test_list_shows_the_last_changed_first(line_on_both: Line) -> None:
    for name in ("one", "two", "three"):
        line_on_both("sessions", "create", name)
    done = line_on_both("sessions", "list")

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["NAME", "VIBE", "BPM", "STATUS", "UPDATED", "ID"]
    assert [row.split()[0] for row in rows] == ["three", "two", "one"]


def test_list_goes_on_from_the_cursor_on_stderr(line_on_both: Line) -> None:
    for name in ("one", "two", "three"):
        line_on_both("sessions", "create", name)
    first = line_on_both("sessions", "list", "--json", "--limit", 2)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line_on_both("sessions", "list", "--json", "--limit", 2, "--cursor", cursor)

    assert [each["name"] for each in [*first.documents, *second.documents]] == ["three", "two", "one"]
    assert second.err == ""


def test_an_empty_list_prints_nothing_and_hints_at_the_way_on(line: Line) -> None:
    done = line("sessions", "list")

    assert (done.code, done.out) == (0, "")
    assert "sessions create" in done.err


def test_an_empty_list_is_empty_as_json(line: Line) -> None:
    done = line("sessions", "list", "--json")

    assert (done.code, done.out, done.err) == (0, "", "")


def test_show_prints_a_card(line: Line, jam: Session) -> None:
    done = line("sessions", "show", "jam")

    assert (done.code, done.err) == (0, "")
    assert "name     late set\n" in done.out
    assert "tempo    120 bpm\n" in done.out


@pytest.mark.parametrize("command", ["show", "update", "delete"])
def test_a_session_that_is_not_there_exits_3(line: Line, command: str) -> None:
    done = line("sessions", command, "nobody")

    assert (done.code, done.error) == (3, "no session 'nobody'")


def test_update_changes_what_is_given_and_nothing_else(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--vibe", "dark", "--id", "jam")
    done = line_on_both("sessions", "update", "jam", "--tempo", 132, "--json")

    document = done.document
    assert (document["name"], document["vibe"], document["tempo_bpm"]) == ("late set", "dark", 132)


def test_update_takes_a_vibe_away(line: Line, jam: Session) -> None:
    assert line("sessions", "update", "jam", "--no-vibe", "--json").document["vibe"] is None


def test_delete_takes_all_that_belongs_to_it(line: Line, look: Store, jam: Session) -> None:
    done = line("sessions", "delete", "jam", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted session jam\n")
    assert look.query(sessions.find, "jam") is None
    assert look.query(rules.page_by_session, "jam").items == []
    assert look.query(markers.page, "jam").items == []
    assert look.query(history.page, "jam").items == []


def test_delete_tells_programs_what_is_gone(line: Line, jam: Session) -> None:
    assert line("sessions", "delete", "jam", "-y", "--json").document == {"deleted": "jam"}


def test_delete_without_a_terminal_wants_a_yes_on_the_line(line: Line, look: Store, jam: Session) -> None:
    done = line("sessions", "delete", "jam", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete session 'late set'")
    assert done.error.endswith("say --yes")
    assert look.query(sessions.find, "jam") is not None
