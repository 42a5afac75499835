"""What tests start processes with: nobody starts one unasked, none is left behind, and a forked one is as a new one."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spawning import Process, Processes, processes_that_end, starting_processes

# --- the guard -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(["true"], check=False),
        os.fork,
        os.forkpty,
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: os.system("true"),
    ],
    ids=["subprocess", "fork", "forkpty", "posix_spawn", "system"],
)
def test_a_test_that_did_not_ask_for_processes_starts_none(start: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="ask for the fixture `processes`"):
        start()


def test_a_fixture_of_a_module_may_start_processes_in_a_block() -> None:
    with starting_processes():
        assert subprocess.run(["true"], check=False).returncode == 0


def test_a_process_that_is_left_running_is_killed_and_reported(processes: Processes) -> None:
    left: list[Process] = []
    with pytest.raises(AssertionError, match="left running"), processes_that_end() as started:
        left.append(started.start("input()"))
        left.append(started.execute("sleep", "60"))

    assert [process.returncode for process in left] == [-signal.SIGKILL] * 2


def test_a_child_that_is_left_running_is_killed_and_reported(processes: Processes) -> None:
    child = 0
    with pytest.raises(AssertionError, match="left running"), processes_that_end():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)

    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_process_that_has_ended_is_not_reported(processes: Processes) -> None:
    with processes_that_end() as started:
        assert started.run("print('done')").stdout == "done\n"


# --- a forked process ------------------------------------------------------------------------------------------


def test_a_forked_script_has_its_arguments_and_streams(processes: Processes) -> None:
    script = "import sys; print(sys.argv); print(input(), file=sys.stderr); sys.exit(7)"
    process = processes.start(script, "one", 2)
    process.write_line("told")

    assert process.read_to_end() == "['-c', 'one', '2']\n"
    assert (process.returncode, process.stderr) == (7, "told\n")


def test_a_forked_script_has_the_environment_and_folder_that_it_is_given(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text("NAME = 'found'")
    script = "import os, handlers; print(dict(os.environ), os.getcwd(), handlers.NAME, __name__)"

    written = processes.start(script, folder=tmp_path, environment={"ONLY": "this"}).finish()

    assert written == f"{{'ONLY': 'this'}} {tmp_path} found __main__\n"


def test_a_forked_script_that_fails_says_so(processes: Processes) -> None:
    ended = processes.run("1 / 0")

    assert ended.returncode == 1
    assert ended.stderr.endswith("ZeroDivisionError: division by zero\n")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        processes.start("1 / 0").finish()


def test_a_forked_script_takes_warnings_as_it_is_told(processes: Processes) -> None:
    script = "import warnings; warnings.warn('careful', DeprecationWarning)"

    assert processes.run(script, warnings="ignore").stderr == ""
    assert processes.run(script, warnings="error").returncode == 1


def test_a_forked_script_writes_in_the_encoding_that_it_is_told(processes: Processes) -> None:
    ended = processes.run("print('ü')", environment={"PYTHONIOENCODING": "ascii"})

    assert "UnicodeEncodeError" in ended.stderr


def test_a_forked_process_has_ids_of_its_own(processes: Processes) -> None:
    script = "import random; from vibeweaver_store.columns import new_id; print(new_id(), random.random())"

    assert len({processes.run(script).stdout for _ in range(3)}) == 3


@pytest.mark.parametrize("kind", ["forked", "executed"])
def test_a_paused_process_goes_on_when_it_is_told(processes: Processes, kind: str) -> None:
    process = processes.start("print(input())") if kind == "forked" else processes.execute("cat")
    process.pause()
    process.write_line("going on")
    assert select.select([process.stdout], [], [], 0.1)[0] == []

    process.go_on()

    assert process.finish() == "going on\n"


@pytest.mark.parametrize("kind", ["forked", "executed"])
def test_a_killed_process_is_gone(processes: Processes, kind: str) -> None:
    process = processes.start("input()") if kind == "forked" else processes.execute("cat")
    assert process.runs

    process.kill()

    assert not process.runs
    assert process.returncode == -signal.SIGKILL
