"""The command line as people run it: in a process of its own, in a pipe, at a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, Done, Line, RunAtTerminal, environment
from tests.importers.midi_bytes import as_bytes, rest, tempo
from tests.spawning import Processes
from vibeweaver_store import Session, Store, actions, history, rules, sessions, triggers
from vibeweaver_store.songs import ODE_TO_JOY


def run_anew(processes: Processes, *words: object, **variables: str) -> Done:
    """Run a line as a shell does, in a process that has imported nothing."""
    process = processes.execute(*PROGRAM, *words, env=environment(**variables))
    written = process.read_to_end()
    return Done(process.wait(), written, process.stderr)


def test_the_package_runs_as_a_module(processes: Processes, sqlite_path: Path) -> None:
    done = run_anew(processes, "--db", sqlite_path, "weave", ODE_TO_JOY)

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Ode to Joy")
    assert "\x1b" not in done.out


def test_an_error_of_the_command_line_process_is_one_line(processes: Processes, sqlite_path: Path) -> None:
    done = run_anew(processes, "sessions", "show", "nobody", VIBEWEAVER_DATABASE=str(sqlite_path))

    assert (done.code, done.error) == (3, "no session 'nobody'")


def test_characters_the_terminal_cannot_show_are_no_error(processes: Processes, sqlite_path: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    made = run_anew(processes, "--db", sqlite_path, "sessions", "create", "Übung ♫", "--json", **ascii_only)
    listed = run_anew(processes, "--db", sqlite_path, "sessions", "list", **ascii_only)

    assert made.document["name"] == "Übung ♫"
    assert listed.code == 0
    assert "\\xdcbung \\u266b" in listed.out


@pytest.mark.parametrize(
    "words", [["history", "list", "jam", "--limit", "1000"], ["history", "list", "jam", "--json", "--limit", "1000"]]
)
def test_a_pipe_closed_early_is_no_error_of_the_command_line(
    processes: Processes, sqlite_path: Path, look: Store, jam: Session, words: list[str]
) -> None:
    look.run(history.append_many, jam.id, [history.NewEntry("x", params="y" * 1000) for _ in range(1000)])
    process = processes.execute(*PROGRAM, "--db", sqlite_path, *words, env=environment())
    process.stdout.read(10)
    process.stdout.close()

    assert process.wait() == 0
    assert "Broken" not in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_stream_closed_from_the_start_is_no_error_of_the_command_line(
    processes: Processes, sqlite_path: Path, closed: str
) -> None:
    line = f'"$@" {closed}'
    words = [*PROGRAM, "--db", sqlite_path, "sessions", "create", "late set"]
    process = processes.execute("sh", "-c", line, "sh", *words, env=environment())
    process.read_to_end()

    assert (process.returncode, process.stderr) == (0, "")


def test_weave_in_real_time_lasts_as_long_as_the_song(tmp_path: Path, sqlite_path: Path, run_process: Line) -> None:
    (tmp_path / "short.mid").write_bytes(as_bytes([tempo(600), rest(10)]))
    done = run_process("--db", sqlite_path, "weave", tmp_path / "short.mid", "--realtime", "--json")

    assert 1 <= done.document["performance"]["seconds"] < 2


# --- at a terminal ---------------------------------------------------------------------------------------------


def test_weave_at_a_terminal_shows_progress_and_a_report_that_fits(
    sqlite_path: Path, run_at_terminal: RunAtTerminal
) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "weave")
    report = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).rpartition("Ode to Joy  72")[2].splitlines()

    assert code == 0
    assert re.search(r"beat \d+ of 288", shown)
    assert "\x1b[1;35mOde to Joy" in shown
    assert max(map(len, report)) <= 80


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1), ("\x04", 1, 1)])
def test_a_deleting_command_asks_at_a_terminal(
    sqlite_path: Path, look: Store, jam: Session, run_at_terminal: RunAtTerminal, answer: str, *, code: int, left: int
) -> None:
    ended, shown = run_at_terminal("--db", sqlite_path, "sessions", "delete", "jam", answer=answer)

    assert (ended, len(look.query(sessions.page).items)) == (code, left)
    assert "Delete session 'late set' with its 1 entry of history, rules, markers and snapshots? [y/N]" in shown
    assert ("nothing was done" in shown) == bool(left)


def test_snapshots_load_does_not_write_bytes_to_a_terminal(
    sqlite_path: Path, jam: Session, run_at_terminal: RunAtTerminal
) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "snapshots", "load", "jam")

    assert code == 2
    assert "-o FILE" in shown


def test_sessions_list_at_a_terminal_keeps_ids_whole(
    sqlite_path: Path, look: Store, jam: Session, run_at_terminal: RunAtTerminal
) -> None:
    rule = look.run(
        rules.add, jam.id, triggers.Marker(name="Variation 1: Walking Bass"), actions.Notify(message="a " * 30)
    )
    _, shown = run_at_terminal("--db", sqlite_path, "rules", "list", "jam", variables={"NO_COLOR": "1"})
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()

    assert f"  {rule.id}" in rows
    assert max(map(len, rows)) <= 80
