"""The command line as people run it: in a process of its own, in a pipe, at a terminal."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, environment, run_at_terminal, run_process
from tests.importers.midi_bytes import as_bytes, rest, tempo
from vibeweaver_store import Session, Store, actions, history, rules, sessions, triggers
from vibeweaver_store.songs import ODE_TO_JOY


def test_the_package_runs_as_a_module(sqlite_path: Path) -> None:
    done = run_process("--db", sqlite_path, "weave", ODE_TO_JOY)

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Ode to Joy")
    assert "\x1b" not in done.out


def test_an_error_of_the_command_line_process_is_one_line(sqlite_path: Path) -> None:
    done = run_process("sessions", "show", "nobody", VIBEWEAVER_DATABASE=str(sqlite_path))

    assert (done.code, done.error) == (3, "no session 'nobody'")


def test_characters_the_terminal_cannot_show_are_no_error(sqlite_path: Path) -> None:
    made = run_process("--db", sqlite_path, "sessions", "create", "Übung ♫", "--json", PYTHONIOENCODING="ascii")
    listed = run_process("--db", sqlite_path, "sessions", "list", PYTHONIOENCODING="ascii")

    assert made.document["name"] == "Übung ♫"
    assert listed.code == 0
    assert "\\xdcbung \\u266b" in listed.out


@pytest.mark.parametrize(
    "words", [["history", "list", "jam", "--limit", "1000"], ["history", "list", "jam", "--json", "--limit", "1000"]]
)
def test_a_pipe_closed_early_is_no_error_of_the_command_line(
    sqlite_path: Path, look: Store, jam: Session, words: list[str]
) -> None:
    look.run(history.append_many, jam.id, [history.NewEntry("x", params="y" * 1000) for _ in range(1000)])
    command = [*PROGRAM, "--db", str(sqlite_path), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    told = process.stderr.read().decode()
    process.stderr.close()

    assert process.wait(timeout=30) == 0
    assert "Broken" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_stream_closed_from_the_start_is_no_error_of_the_command_line(sqlite_path: Path, closed: str) -> None:
    line = f'"$@" {closed}'
    words = [*PROGRAM, "--db", str(sqlite_path), "sessions", "create", "late set"]
    done = subprocess.run(["sh", "-c", line, "sh", *words], capture_output=True, env=environment(), check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def interruptible(command: list[str]) -> subprocess.Popen[str]:
    """Start a process that Ctrl-C can end.

    Where these tests were started in the background, SIGINT is ignored, and a child would inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_weave_quietly_and_stops_the_transport(tmp_path: Path, sqlite_path: Path, look: Store) -> None:
    (tmp_path / "slow.mid").write_bytes(as_bytes([tempo(120), rest(1000)]))
    (tmp_path / "rules.json").write_text('[{"on": "beat:1", "do": "play"}, {"on": "transport:stopped", "do": "stop"}]')
    words = ["weave", tmp_path / "slow.mid", "--realtime", "--rules", tmp_path / "rules.json", "--db", sqlite_path]
    process = interruptible([*PROGRAM, *map(str, words)])
    deadline = time.monotonic() + 30
    while not (found := look.query(sessions.page).items) or not look.query(
        history.count, found[0].id, action=rules.FIRED
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err) == (130, "", "")
    fired = {rule.trigger_type.value: rule.fired_count for rule in look.query(rules.page_by_session, found[0].id).items}
    assert fired["transport"] == 1
    assert 1 <= fired["beat"] < 100


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_history_tail_follows_entries_of_others_until_ctrl_c(database: str, store: Store, words: list[str]) -> None:
    store.run(sessions.create, name="late set", session_id="jam")
    store.run(history.append, "jam", "before")
    command = [*PROGRAM, "--db", database, "history", "tail", "jam", "--follow", *words]
    with interruptible(command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "before" in process.stdout.readline()
        for number in range(3):
            store.run(history.append, "jam", f"added.{number}")
            assert f"added.{number}" in process.stdout.readline()
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=30) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_weave_in_real_time_lasts_as_long_as_the_song(tmp_path: Path, sqlite_path: Path) -> None:
    (tmp_path / "short.mid").write_bytes(as_bytes([tempo(600), rest(10)]))
    done = run_process("--db", sqlite_path, "weave", tmp_path / "short.mid", "--realtime", "--json")

    assert 1 <= done.document["performance"]["seconds"] < 2


# --- at a terminal ---------------------------------------------------------------------------------------------


def test_weave_at_a_terminal_shows_progress_and_a_report_that_fits(sqlite_path: Path) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "weave")
    report = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).rpartition("Ode to Joy  72")[2].splitlines()

    assert code == 0
    assert re.search(r"beat \d+ of 288", shown)
    assert "\x1b[1;35mOde to Joy" in shown
    assert max(map(len, report)) <= 80


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1), ("\x04", 1, 1)])
def test_a_deleting_command_asks_at_a_terminal(
    sqlite_path: Path, look: Store, jam: Session, answer: str, *, code: int, left: int
) -> None:
    ended, shown = run_at_terminal("--db", sqlite_path, "sessions", "delete", "jam", answer=answer)

    assert (ended, len(look.query(sessions.page).items)) == (code, left)
    assert "Delete session 'late set' with its 1 entry of history, rules, markers and snapshots? [y/N]" in shown
    assert ("nothing was done" in shown) == bool(left)


def test_snapshots_load_does_not_write_bytes_to_a_terminal(sqlite_path: Path, jam: Session) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "snapshots", "load", "jam")

    assert code == 2
    assert "-o FILE" in shown


def test_sessions_list_at_a_terminal_keeps_ids_whole(sqlite_path: Path, look: Store, jam: Session) -> None:
    rule = look.run(
        rules.add, jam.id, triggers.Marker(name="Variation 1: Walking Bass"), actions.Notify(message="a " * 30)
    )
    _, shown = run_at_terminal("--db", sqlite_path, "rules", "list", "jam", variables={"NO_COLOR": "1"})
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()

    assert f"  {rule.id}" in rows
    assert max(map(len, rows)) <= 80
