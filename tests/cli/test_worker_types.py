"""``worker-types`` on the line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Store, worker_types
from vibeweaver_store.testing import ProjectFactory, TicketFactory, WorkerTypeFactory

SONG = "band/song"


@pytest.fixture
def song(look: Store) -> str:
    """A project with two worker types."""
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
        WorkerTypeFactory.create(
            uow=uow,
            project_id=SONG,
            worker_type="writer",
            short_description="The words.",
            system_prompt="You write.\n\nNo clichés.",
        )
        WorkerTypeFactory.create(uow=uow, project_id=SONG, worker_type="reviewer", system_prompt="You review.")
    return SONG


def test_create_prints_the_name(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    words = ["--prompt", "You write.", "--description", "The words."]
    done = line_on_both("worker-types", "create", SONG, "writer", *words)
    document = line_on_both("worker-types", "show", SONG, "writer", "--json").document

    assert (done.code, done.out, done.err) == (0, "writer\n", "")
    assert (document["project_id"], document["worker_type"]) == (SONG, "writer")
    assert (document["system_prompt"], document["short_description"]) == ("You write.", "The words.")


def test_a_prompt_comes_from_stdin_as_it_stands_there(line: Line, look: Store, song: str) -> None:
    done = line("worker-types", "create", song, "tester", "--prompt", "-", stdin="You\ntest ♫.\n")

    assert (done.code, done.out) == (0, "tester\n")
    assert look.query(worker_types.get, song, "tester").system_prompt == "You\ntest ♫.\n"


@pytest.mark.parametrize("command", ["create", "update"])
def test_what_is_no_text_on_stdin_is_refused(line: Line, song: str, command: str) -> None:
    name = "tester" if command == "create" else "writer"
    done = line("worker-types", command, song, name, "--prompt", "-", stdin=b"\xff\xfe")

    assert (done.code, done.error) == (4, "-: what stands on stdin is no UTF-8")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nobody/nothing", "writer", "--prompt", "x"], 3, "no project 'nobody/nothing'"),
        ([SONG, "writer", "--prompt", "x"], 4, "worker type ('band/song', 'writer') exists already"),
        ([SONG, " ", "--prompt", "x"], 4, "worker_type: "),
        ([SONG, "tester"], 2, "Missing option '--prompt'"),
    ],
    ids=str,
)
def test_create_refuses_what_cannot_be(line: Line, song: str, words: list[str], code: int, told: str) -> None:
    done = line("worker-types", "create", *words)

    assert done.code == code
    assert done.error.startswith(told)


def test_list_goes_by_name_and_shows_how_prompts_begin(line: Line, song: str) -> None:
    done = line("worker-types", "list", song)

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["TYPE", "DESCRIPTION", "PROMPT", "UPDATED"]
    assert [row.split()[0] for row in rows] == ["reviewer", "writer"]
    assert "You review.  " in rows[0]
    assert "You write.…  " in rows[1]


def test_list_prints_a_document_a_line(line: Line, song: str) -> None:
    done = line("worker-types", "list", song, "--json", "--limit", 1)

    assert [each["worker_type"] for each in done.documents] == ["reviewer"]
    assert done.err.startswith("next cursor: ")


def test_an_empty_list_hints_at_the_way_on(line: Line, look: Store) -> None:
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
    done = line("worker-types", "list", SONG)

    assert (done.code, done.out) == (0, "")
    assert f"worker-types create {SONG}" in done.err


def test_a_project_that_is_not_there_is_no_empty_list(line: Line) -> None:
    done = line("worker-types", "list", "nobody/nothing")

    assert (done.code, done.error) == (3, "no project 'nobody/nothing'")


def test_show_prints_the_prompt_line_by_line(line: Line, song: str) -> None:
    done = line("worker-types", "show", song, "writer")

    assert (done.code, done.err) == (0, "")
    assert "description  The words.\n" in done.out
    assert done.out.endswith("\nprompt\n  You write.\n\n  No clichés.\n")


def test_show_spells_out_what_would_move_the_cursor(line: Line, song: str) -> None:
    line("worker-types", "update", song, "writer", "--prompt", "a\x1b[2J\r\nb\u2028c\n")

    assert line("worker-types", "show", song, "writer").out.endswith("\nprompt\n  a\\x1b[2J\n  b\\u2028c\n")


def test_update_changes_what_is_given_and_nothing_else(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    line_on_both("worker-types", "create", SONG, "writer", "--prompt", "You write.", "--description", "The words.")
    changed = line_on_both("worker-types", "update", SONG, "writer", "--prompt", "-", "--json", stdin="You sing.")
    bare = line_on_both("worker-types", "update", SONG, "writer", "--no-description")

    assert changed.document["system_prompt"] == "You sing."
    assert changed.document["short_description"] == "The words."
    assert (bare.code, bare.err) == (0, "")
    assert "description  —\n" in bare.out


@pytest.mark.parametrize("command", ["show", "update", "delete"])
def test_a_worker_type_that_is_not_there_exits_3(line: Line, song: str, command: str) -> None:
    done = line("worker-types", command, song, "drummer")

    assert (done.code, done.error) == (3, "no worker type ('band/song', 'drummer')")


def test_delete_says_what_is_gone(line: Line, look: Store, song: str) -> None:
    done = line("worker-types", "delete", song, "writer", "--yes")
    other = line("worker-types", "delete", song, "reviewer", "-y", "--json")

    assert (done.code, done.out, done.err) == (0, "", "deleted worker type writer of project band/song\n")
    assert other.document == {"deleted": "reviewer", "project": song}
    assert look.query(worker_types.page_by_project, song).items == []


def test_delete_without_a_terminal_wants_a_yes_on_the_line(line: Line, look: Store, song: str) -> None:
    done = line("worker-types", "delete", song, "writer", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete worker type writer of project band/song with its prompt?")
    assert look.query(worker_types.find, song, "writer") is not None


def test_delete_refuses_what_an_open_ticket_needs(line: Line, look: Store, song: str) -> None:
    with look.begin() as uow:
        TicketFactory.create(uow=uow, project_id=song, ticket_id="T-1", execution_plan=["writer"])
    done = line("worker-types", "delete", song, "writer", "--yes")

    assert done.code == 4
    assert "T-1" in done.error
    assert look.query(worker_types.find, song, "writer") is not None
