"""``projects`` on the line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Line, RunAtTerminal
from vibeweaver_store import Store, projects
from vibeweaver_store.testing import (
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    TicketFactory,
    WorkerTypeFactory,
)

SONG = "band/song"


@pytest.fixture
def song(look: Store) -> str:
    """A project with some of everything, and beside it one with nothing."""
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG, path="/srv/song", short_description="The song.")
        ProjectFactory.create(uow=uow, repository_name="other")
        for role in ("writer", "reviewer"):
            WorkerTypeFactory.create(uow=uow, project_id=SONG, worker_type=role, system_prompt=f"You {role[:-2]}e.")
        TicketFactory.create(uow=uow, project_id=SONG, ticket_id="T-1")
        CommentFactory.create_batch(3, uow=uow, ticket_id="T-1")
        EnsembleWorkerFactory.create(uow=uow, project_id=SONG)
        CoordinationEventFactory.create(uow=uow, project_id=SONG)
    return SONG


def test_projects_create_prints_the_name(line_on_both: Line) -> None:
    done = line_on_both("projects", "create", SONG, "/srv/song/", "--description", "The song.")
    document = line_on_both("projects", "show", SONG, "--json").document

    assert (done.code, done.out, done.err) == (0, f"{SONG}\n", "")
    assert document["project"]["path"] == "/srv/song"
    assert document["project"]["short_description"] == "The song."
    assert document["holds"] == dict.fromkeys(
        ["worker_types", "tickets", "comments", "workers", "coordination_events"], 0
    )
    assert document["worker_types"] == []


def test_projects_create_resolves_a_folder_from_the_working_directory(
    line: Line, look: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line("projects", "create", SONG, ".")

    assert look.query(projects.get, SONG).path == str(tmp_path.resolve())


def test_projects_create_prints_the_whole_project_as_json(line: Line) -> None:
    document = line("projects", "create", SONG, "/srv/song", "--json").document

    assert (document["repository_name"], document["path"]) == (SONG, "/srv/song")


@pytest.mark.parametrize(("name", "path", "field"), [("", "/srv/x", "repository_name"), (SONG, " ", "path")])
def test_projects_create_refuses_invalid_values(line: Line, look: Store, name: str, path: str, field: str) -> None:
    done = line("projects", "create", name, path)

    assert (done.code, done.error.partition(":")[0]) == (4, field)
    assert look.query(projects.page).items == []


def test_projects_create_refuses_a_taken_name(line: Line, song: str) -> None:
    done = line("projects", "create", song, "/srv/elsewhere")

    assert (done.code, done.error) == (4, "project 'band/song' exists already")


def test_projects_list_shows_the_newest_first(line_on_both: Line) -> None:
    for name in ("a", "b"):
        line_on_both("projects", "create", name, f"/srv/{name}")
    done = line_on_both("projects", "list")

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["PROJECT", "PATH", "DESCRIPTION", "CREATED"]
    assert [row.split()[:2] for row in rows] == [["b", "/srv/b"], ["a", "/srv/a"]]


def test_projects_list_continues_from_its_cursor(line: Line, song: str) -> None:
    first = line("projects", "list", "--json", "--limit", 1)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line("projects", "list", "--json", "--limit", 1, "--cursor", cursor)

    assert [each["repository_name"] for each in [*first.documents, *second.documents]] == ["other", song]
    assert second.err == ""


def test_an_empty_projects_list_hints_at_the_next_step(line: Line) -> None:
    done = line("projects", "list")

    assert (done.code, done.out) == (0, "")
    assert "projects create" in done.err


def test_projects_show_prints_the_contents_of_a_project(line: Line, song: str) -> None:
    done = line("projects", "show", song)

    assert (done.code, done.err) == (0, "")
    assert "path         /srv/song\n" in done.out
    held = "2 worker types, 1 ticket, 3 comments, 1 worker, 1 coordination event"
    assert f"holds        {held}\n" in done.out
    _, _, types = done.out.partition("\n\nworker types\n")
    assert [row.split()[0] for row in types.splitlines()] == ["TYPE", "reviewer", "writer"]


def test_projects_show_prints_counts_and_types_as_json(line: Line, song: str) -> None:
    document = line("projects", "show", song, "--json").document

    assert document["holds"] == {
        "worker_types": 2,
        "tickets": 1,
        "comments": 3,
        "workers": 1,
        "coordination_events": 1,
    }
    assert [each["worker_type"] for each in document["worker_types"]] == ["reviewer", "writer"]


@pytest.mark.parametrize("command", ["show", "update", "delete"])
def test_projects_commands_on_a_missing_project_exit_3(line: Line, command: str) -> None:
    done = line("projects", command, "nobody/nothing")

    assert (done.code, done.error) == (3, "no project 'nobody/nothing'")


def test_projects_update_changes_only_the_given_values(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song", "--description", "The song.")
    document = line_on_both("projects", "update", SONG, "--path", "/srv/song-2/", "--json").document

    assert (document["path"], document["short_description"]) == ("/srv/song-2", "The song.")


def test_projects_update_removes_a_description_and_shows_the_project(line: Line, song: str) -> None:
    done = line("projects", "update", song, "--no-description")

    assert (done.code, done.err) == (0, "")
    assert "description  —\n" in done.out


def test_projects_delete_deletes_all_a_project_owns_and_says_what(line: Line, look: Store, song: str) -> None:
    done = line("projects", "delete", song, "--yes")

    held = "2 worker types, 1 ticket, 3 comments, 1 worker and 1 coordination event"
    assert (done.code, done.out, done.err) == (0, "", f"deleted project band/song with {held}\n")
    assert [each.repository_name for each in look.query(projects.page).items] == ["other"]


def test_projects_delete_does_not_mention_empty_contents(line: Line, song: str) -> None:
    assert line("projects", "delete", "other", "-y").err == "deleted project other\n"


def test_projects_delete_reports_in_json(line: Line, song: str) -> None:
    document = line("projects", "delete", song, "-y", "--json").document

    assert document == {
        "deleted": song,
        "worker_types": 2,
        "tickets": 1,
        "comments": 3,
        "workers": 1,
        "coordination_events": 1,
    }


def test_projects_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, song: str) -> None:
    done = line("projects", "delete", song, stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete project band/song with 2 worker types, 1 ticket, 3 comments, 1 worker and 1 ")
    assert look.query(projects.find, song) is not None


def test_projects_list_fits_a_terminal_and_keeps_names_whole(
    sqlite_path: Path, look: Store, song: str, run_at_terminal: RunAtTerminal
) -> None:
    with look.begin() as uow:
        ProjectFactory.create(
            uow=uow, repository_name="b" * 50, path=f"/srv/{'p' * 60}", short_description="many words " * 9
        )
    _, shown = run_at_terminal("--db", sqlite_path, "projects", "list", variables={"NO_COLOR": "1"})
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()

    assert any(row.startswith("b" * 50) for row in rows)
    assert max(map(len, rows)) <= 80


def test_projects_commands_escape_text_that_would_move_the_cursor(line: Line, look: Store) -> None:
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name="odd", short_description="one\ntwo\x1b[2J")

    for words in (["list"], ["show", "odd"]):
        assert "one\\ntwo\\x1b[2J" in line("projects", *words).out
