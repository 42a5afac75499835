"""``workspaces`` on the line, on both backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Store, sessions, workspaces


def test_workspaces_ensure_prints_the_id_and_makes_a_workspace_once(line_on_both: Line) -> None:
    first, again = line_on_both("workspaces", "ensure", "/srv/shop"), line_on_both("workspaces", "ensure", "/srv/shop/")
    (found,) = line_on_both("workspaces", "list", "--json").documents

    assert (first.code, first.err) == (0, "")
    assert first.out == again.out == f"{found['id']}\n"
    assert (found["path"], found["path_hash"]) == ("/srv/shop", workspaces.path_hash("/srv/shop"))


def test_workspaces_ensure_resolves_a_folder_from_the_working_directory(
    line: Line, look: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line("workspaces", "ensure", ".")

    assert [each.path for each in look.query(workspaces.page).items] == [str(tmp_path.resolve())]


@pytest.mark.parametrize("path", ["", " ", "/" + "x" * 2000])
def test_workspaces_ensure_refuses_an_invalid_path(line: Line, look: Store, path: str) -> None:
    done = line("workspaces", "ensure", path)

    assert (done.code, done.error.partition(":")[0]) == (4, "path")
    assert look.query(workspaces.page).items == []


def test_workspaces_commands_take_a_bare_name_that_is_not_an_id_as_a_folder(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = line("workspaces", "ensure", "shop").out.strip()

    assert line("workspaces", "show", "shop", "--json").document["id"] == made
    assert line("workspaces", "show", made, "--json").document["id"] == made


def test_workspaces_list_shows_the_last_accessed_first(line_on_both: Line) -> None:
    for path in ("/srv/a", "/srv/b", "/srv/a"):
        line_on_both("workspaces", "ensure", path)
    done = line_on_both("workspaces", "list")

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["PATH", "HASH", "ACCESSED", "ID"]
    assert [row.split()[0] for row in rows] == ["/srv/a", "/srv/b"]


def test_an_empty_workspaces_list_hints_at_the_next_step(line: Line) -> None:
    done = line("workspaces", "list")

    assert (done.code, done.out) == (0, "")
    assert "workspaces ensure" in done.err


@pytest.fixture
def shop(look: Store) -> str:
    """The id of a workspace with two sessions."""
    with look.begin() as uow:
        workspace = workspaces.ensure(uow, "/srv/shop")
        for name in ("one", "two"):
            sessions.create(uow, name=name, workspace_id=workspace.id)
    return workspace.id


def test_workspaces_show_counts_sessions_by_path_or_id(line: Line, shop: str) -> None:
    by_path, by_id = line("workspaces", "show", "/srv//shop"), line("workspaces", "show", shop)

    assert by_path.code == 0
    assert by_path.out == by_id.out
    assert "path      /srv/shop\n" in by_path.out
    assert "sessions  2\n" in by_path.out


def test_workspaces_show_prints_columns_and_count_as_json(line: Line, shop: str) -> None:
    document = line("workspaces", "show", "/srv/shop", "--json").document

    assert (document["id"], document["path"], document["session_count"]) == (shop, "/srv/shop", 2)


@pytest.mark.parametrize("command", ["show", "delete"])
@pytest.mark.parametrize("word", ["nowhere", "/srv/nowhere"])
def test_workspaces_commands_on_a_missing_workspace_exit_3(line: Line, command: str, word: str) -> None:
    done = line("workspaces", command, word)

    assert done.code == 3
    assert done.error.startswith("no workspace ")
    assert word in done.error


def test_workspaces_delete_deletes_the_sessions_and_counts_them(line: Line, look: Store, shop: str) -> None:
    done = line("workspaces", "delete", "/srv/shop", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted workspace /srv/shop with 2 sessions\n")
    assert look.query(workspaces.find, shop) is None
    assert look.query(sessions.page).items == []


def test_workspaces_delete_reports_in_json(line: Line, shop: str) -> None:
    assert line("workspaces", "delete", shop, "-y", "--json").document == {"deleted": shop, "sessions": 2}


def test_workspaces_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, shop: str) -> None:
    done = line("workspaces", "delete", "/srv/shop", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete workspace /srv/shop with 2 sessions and all that is in them?")
    assert look.query(workspaces.find, shop) is not None
