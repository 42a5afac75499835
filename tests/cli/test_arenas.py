"""``arenas`` on the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Session, Store, arenas, sessions, workspaces


@pytest.fixture
def race(look: Store) -> arenas.WholeArena:
    """An arena in which the second of two instances is done, the first at work."""
    new = [
        arenas.NewInstance(agent_name=f"agent {n}", worktree_path=f"/srv/{n}", branch=f"take-{n}", runtime=runtime)
        for n, runtime in enumerate(["claude", None])
    ]
    with look.begin() as uow:
        arenas.create_arena(
            uow, "competition", "Write a bass line\nin D", None, instances=new, runtimes=["claude"], session_id="race"
        )
        for status in ("running", "completed"):
            arenas.set_instance_status(uow, "race", 1, status)
        arenas.record_diff(uow, "race", 1, files_changed=3, lines_added=1200, lines_deleted=7)
        arenas.set_instance_status(uow, "race", 0, "running")
        return arenas.get(uow, "race")


def test_arenas_create_prints_the_id(line: Line, look: Store, tmp_path: Path) -> None:
    done = line(
        *("arenas", "create", "debate", "Which key?", "--workspace", tmp_path, "--name", "keys", "--model", "opus"),
        *("--runtime", "claude", "--runtime", "codex", "--timeout", 90, "--preserve-worktrees"),
    )

    made = look.query(arenas.get, done.out.strip())
    assert (done.code, done.err) == (0, "")
    assert (made.session.kind, made.session.name, made.arena.task) == ("debate", "keys", "Which key?")
    assert (made.arena.model, made.arena.timeout_seconds, made.arena.preserve_worktrees) == ("opus", 90, True)
    assert made.runtimes == ["claude", "codex"]
    assert made.session.workspace_id == getattr(look.query(workspaces.find_by_path, tmp_path), "id", None)


def test_arenas_create_needs_only_a_kind_and_a_task(line_on_both: Line) -> None:
    document = line_on_both("arenas", "create", "ensemble", "Write\nit", "--id", "mine", "--json").document

    assert set(document) == {"session", "arena", "instances", "runtimes"}
    assert (document["session"]["id"], document["session"]["name"]) == ("mine", "Write")
    assert (document["session"]["workspace_id"], document["arena"]["preserve_worktrees"]) == (None, None)
    assert (document["instances"], document["runtimes"]) == ([], [])


@pytest.mark.parametrize("words", [["jam", "x"], ["duel", "x"], ["debate", " "], ["debate", "x", "--timeout", "-1"]])
def test_arenas_create_refuses_an_invalid_arena(line: Line, look: Store, words: list[str]) -> None:
    assert line("arenas", "create", "--", *words).code in {2, 4}
    assert look.query(sessions.page).items == []


def test_arenas_add_instance_prints_the_number(line_on_both: Line) -> None:
    line_on_both("arenas", "create", "debate", "Which key?", "--id", "race")
    words = ["arenas", "add-instance", "race", "--agent", "bass player", "--worktree", "/srv/0", "--branch", "take-0"]
    first = line_on_both(*words)
    second = line_on_both(*words, "--tmux", "t1", "--runtime", "codex", "--model", "o4", "--json").document

    assert (first.code, first.out, first.err) == (0, "0\n", "")
    assert (second["instance_id"], second["agent_name"], second["status"]) == (1, "bass player", "pending")
    assert (second["tmux_session_id"], second["runtime"], second["model"]) == ("t1", "codex", "o4")
    assert (second["worktree_path"], second["branch"]) == ("/srv/0", "take-0")


def test_arenas_set_instance_status_moves_and_shows_an_instance(line: Line, race: arenas.WholeArena) -> None:
    paused = line("arenas", "set-instance-status", "race", 0, "paused", "--json").document
    done = line("arenas", "set-instance-status", "race", 0, "active")

    assert paused["status"] == "paused"
    assert (done.code, done.err) == (0, "")
    assert "status    running\n" in done.out
    assert "agent     agent 0\n" in done.out


def test_arenas_set_instance_status_lists_the_legal_moves_of_a_refused_one(line: Line, race: arenas.WholeArena) -> None:
    done = line("arenas", "set-instance-status", "race", 1, "paused")

    assert done.code == 4
    assert "is completed and cannot become paused; it may become running" in done.error


def test_arenas_record_diff_records_and_shows_a_diff(line: Line, race: arenas.WholeArena) -> None:
    done = line("arenas", "record-diff", "race", 0, "--files", 2, "--added", 1500, "--deleted", 0)

    assert (done.code, done.err) == (0, "")
    assert "files     2\nlines     +1,500 -0\n" in done.out


def test_arenas_show_prints_a_table_of_instances(line: Line, race: arenas.WholeArena) -> None:
    done = line("arenas", "show", "race")

    head, table = done.out.split("\n\n")
    assert (done.code, done.err) == (0, "")
    assert "name      Write a bass line\ntask      Write a bass line\\nin D\nstatus    running\n" in head
    assert "runtimes  claude\n" in head
    assert "lasted" not in head
    assert [row.split() for row in table.splitlines()] == [
        ["N", "AGENT", "STATUS", "RUNTIME", "TOOK", "FILES", "LINES", "BRANCH", "WORKTREE"],
        ["0", "agent", "0", "running", "claude", "take-0", "/srv/0"],
        ["1", "agent", "1", "completed", "0:00", "3", "+1,200", "-7", "take-1", "/srv/1"],
    ]


def test_arenas_show_prints_the_whole_arena_as_one_json_document(line: Line, race: arenas.WholeArena) -> None:
    document = line("arenas", "show", "race", "--json").document

    assert document["session"]["status"] == "running"
    assert document["arena"]["task"] == "Write a bass line\nin D"
    assert [each["instance_id"] for each in document["instances"]] == [0, 1]
    assert document["runtimes"] == ["claude"]


def test_arenas_show_of_an_arena_without_instances_hints_at_the_next_step(line: Line) -> None:
    line("arenas", "create", "debate", "Which key?", "--id", "race")
    done = line("arenas", "show", "race")

    assert "task      Which key?\n" in done.out
    assert "add-instance" in done.err


def test_arenas_finish_sums_up_and_stars_the_winner(line: Line, race: arenas.WholeArena) -> None:
    line("arenas", "set-instance-status", "race", 0, "failed")
    done = line("arenas", "finish", "race", "--winner", 1)

    assert (done.code, done.err) == (0, "")
    assert "status    completed\n" in done.out
    assert "changed   3 files, lines +1,200 -7\n" in done.out
    assert "winner    1, agent 1\n" in done.out
    assert [row.split()[0] for row in done.out.split("\n\n")[1].splitlines()] == ["N", "0", "★"]


def test_arenas_finish_can_fail_an_arena(line: Line, race: arenas.WholeArena) -> None:
    line("arenas", "set-instance-status", "race", 0, "failed")
    document = line("arenas", "finish", "race", "--failed", "--json").document

    assert (document["session"]["status"], document["arena"]["winner_instance_id"]) == ("failed", None)
    assert document["arena"]["total_lines_added"] == 1200


@pytest.mark.parametrize(
    ("words", "told"), [([], "number 0 is running"), (["--winner", 2], "2 is no instance of this arena")]
)
def test_arenas_finish_refuses_an_arena_that_cannot_be_finished(
    line: Line, look: Store, race: arenas.WholeArena, words: list[object], told: str
) -> None:
    done = line("arenas", "finish", "race", *words)

    assert done.code == 4
    assert told in done.error
    assert look.query(arenas.get, "race").session.status == "running"


@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["finish"],
        ["set-instance-status", 0, "running"],
        ["record-diff", 0, "--files", 1, "--added", 1, "--deleted", 1],
        ["add-instance", "--agent", "a", "--worktree", "/srv", "--branch", "b"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("session", ["nobody", "jam"])
def test_arenas_commands_on_a_session_without_an_arena_exit_3(
    line: Line, jam: Session, words: list[object], session: str
) -> None:
    done = line("arenas", words[0], session, *words[1:])

    assert done.code == 3
    assert session in done.error
