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


def test_worker_types_create_prints_the_name(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    words = ["--prompt", "You write.", "--description", "The words."]
    done = line_on_both("worker-types", "create", SONG, "writer", *words)
    document = line_on_both("worker-types", "show", SONG, "writer", "--json").document

    assert (done.code, done.out, done.err) == (0, "writer\n", "")
    assert (document["project_id"], document["worker_type"]) == (SONG, "writer")
    assert (document["system_prompt"], document["short_description"]) == ("You write.", "The words.")


def test_worker_types_create_reads_a_prompt_from_stdin_verbatim(line: Line, look: Store, song: str) -> None:
    done = line("worker-types", "create", song, "tester", "--prompt", "-", stdin="You\ntest ♫.\n")

    assert (done.code, done.out) == (0, "tester\n")
    assert look.query(worker_types.get, song, "tester").system_prompt == "You\ntest ♫.\n"


@pytest.mark.parametrize("command", ["create", "update"])
def test_worker_types_commands_refuse_stdin_that_is_not_text(line: Line, song: str, command: str) -> None:
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
def test_worker_types_create_refuses_invalid_values(
    line: Line, song: str, words: list[str], code: int, told: str
) -> None:
    done = line("worker-types", "create", *words)

    assert done.code == code
    assert done.error.startswith(told)


def test_worker_types_list_is_sorted_by_name_and_shows_the_start_of_prompts(line: Line, song: str) -> None:
    done = line("worker-types", "list", song)

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["TYPE", "DESCRIPTION", "PROMPT", "UPDATED"]
    assert [row.split()[0] for row in rows] == ["reviewer", "writer"]
    assert "You review.  " in rows[0]
    assert "You write.…  " in rows[1]


def test_worker_types_list_prints_a_json_document_per_line(line: Line, song: str) -> None:
    done = line("worker-types", "list", song, "--json", "--limit", 1)

    assert [each["worker_type"] for each in done.documents] == ["reviewer"]
    assert done.err.startswith("next cursor: ")


def test_an_empty_worker_types_list_hints_at_the_next_step(line: Line, look: Store) -> None:
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
    done = line("worker-types", "list", SONG)

    assert (done.code, done.out) == (0, "")
    assert f"worker-types create {SONG}" in done.err


def test_worker_types_list_of_a_missing_project_exits_3(line: Line) -> None:
    done = line("worker-types", "list", "nobody/nothing")

    assert (done.code, done.error) == (3, "no project 'nobody/nothing'")


def test_worker_types_show_prints_the_prompt_line_by_line(line: Line, song: str) -> None:
    done = line("worker-types", "show", song, "writer")

    assert (done.code, done.err) == (0, "")
    assert "description  The words.\n" in done.out
    assert done.out.endswith("\nprompt\n  You write.\n\n  No clichés.\n")


def test_worker_types_show_escapes_text_that_would_move_the_cursor(line: Line, song: str) -> None:
    line("worker-types", "update", song, "writer", "--prompt", "a\x1b[2J\r\nb\u2028c\n")

    assert line("worker-types", "show", song, "writer").out.endswith("\nprompt\n  a\\x1b[2J\n  b\\u2028c\n")


def test_worker_types_update_changes_only_the_given_values(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    line_on_both("worker-types", "create", SONG, "writer", "--prompt", "You write.", "--description", "The words.")
    changed = line_on_both("worker-types", "update", SONG, "writer", "--prompt", "-", "--json", stdin="You sing.")
    bare = line_on_both("worker-types", "update", SONG, "writer", "--no-description")

    assert changed.document["system_prompt"] == "You sing."
    assert changed.document["short_description"] == "The words."
    assert (bare.code, bare.err) == (0, "")
    assert "description  —\n" in bare.out


@pytest.mark.parametrize("command", ["show", "update", "delete"])
def test_worker_types_commands_on_a_missing_worker_type_exit_3(line: Line, song: str, command: str) -> None:
    done = line("worker-types", command, song, "drummer")

    assert (done.code, done.error) == (3, "no worker type ('band/song', 'drummer')")


def test_worker_types_delete_says_what_was_deleted(line: Line, look: Store, song: str) -> None:
    done = line("worker-types", "delete", song, "writer", "--yes")
    other = line("worker-types", "delete", song, "reviewer", "-y", "--json")

    assert (done.code, done.out, done.err) == (0, "", "deleted worker type writer of project band/song\n")
    assert other.document == {"deleted": "reviewer", "project": song}
    assert look.query(worker_types.page_by_project, song).items == []


def test_worker_types_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, song: str) -> None:
    done = line("worker-types", "delete", song, "writer", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete worker type writer of project band/song with its prompt?")
    assert look.query(worker_types.find, song, "writer") is not None


def test_worker_types_delete_refuses_a_type_an_open_ticket_needs(line: Line, look: Store, song: str) -> None:
    with look.begin() as uow:
        TicketFactory.create(uow=uow, project_id=song, ticket_id="T-1", execution_plan=["writer"])
    done = line("worker-types", "delete", song, "writer", "--yes")

    assert done.code == 4
    assert "T-1" in done.error
    assert look.query(worker_types.find, song, "writer") is not None
