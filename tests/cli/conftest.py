"""Running a line of the command line, in this process, in another one, or at a terminal."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest
import typer.main
import typer.testing
from typer.testing import CliRunner

from tests.spawning import Processes
from vibeweaver_store import Session, Store, triggers
from vibeweaver_store.cli import app
from vibeweaver_store.testing import HistoryEntryFactory, MarkerFactory, RuleFactory, SessionFactory

# Typer and rich take the output for a terminal's where these say so, as they do in some people's shells and CI.
_NO_TERMINAL: dict[str, str | None] = {
    **dict.fromkeys(["FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"]),
    "COLUMNS": "80",
    "NO_COLOR": "1",
}
for _name, _value in _NO_TERMINAL.items():
    if _value is None:
        os.environ.pop(_name, None)  # Typer looks once, when it first shows help

# All commands are built once a run, not once a line: that is most of what a line in this process costs.
setattr(typer.testing, "_get_command", cache(typer.main.get_command))  # noqa: B010 - it is nobody's to set by name

PROGRAM = [sys.executable, "-m", "vibeweaver_store"]


@dataclass(frozen=True)
class Done:
    """How a line ended: its exit code, and what went to which stream."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line that tells what went wrong."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("vibeweaver-store: ")
        return line.removeprefix("vibeweaver-store: ")


Line: TypeAlias = Callable[..., Done]


def run_line(words: Sequence[object], *, stdin: str | bytes | None = None) -> Done:
    result = CliRunner(env=_NO_TERMINAL).invoke(app, list(map(str, words)), input=stdin)
    return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def line(sqlite_path: Path) -> Line:
    """Run a line on an SQLite file that is at head."""

    def run(*words: object, stdin: str | bytes | None = None) -> Done:
        return run_line(["--db", sqlite_path, *words], stdin=stdin)

    return run


@pytest.fixture
def line_on_both(database: str) -> Line:
    """Run a line on a database of each backend."""

    def run(*words: object, stdin: str | bytes | None = None) -> Done:
        return run_line(["--db", database, *words], stdin=stdin)

    return run


@pytest.fixture
def look(sqlite_path: Path) -> Iterator[Store]:
    """Another store on the file that ``line`` works on."""
    with Store.open(sqlite_path) as store:
        yield store


@pytest.fixture
def jam(look: Store) -> Session:
    """A session with a rule, a marker and an entry of history."""
    with look.begin() as uow:
        session: Session = SessionFactory.create(uow=uow, id="jam", name="late set", tempo_bpm=120.0)
        RuleFactory.create(uow=uow, session_id="jam", id="bars", trigger=triggers.Beat(divisor=4))
        MarkerFactory.create(uow=uow, session_id="jam", id="drop", name="Drop", beat=64.0)
        HistoryEntryFactory.create(uow=uow, session_id="jam", action="mix.bounced")
    return session


# --- other processes -------------------------------------------------------------------------------------------


def environment(**changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NO_TERMINAL}
    return {**inherited, "COLUMNS": "80", "PYTHONWARNINGS": "error", **changes}


@pytest.fixture
def run_process(processes: Processes) -> Line:
    """Run a line in another process; ``PYTHONIOENCODING="ascii"`` and the like are its variables."""

    def run(*words: object, **variables: str) -> Done:
        ended = processes.run_module("vibeweaver_store", *words, environment=environment(**variables), warnings="error")
        return Done(ended.returncode, ended.stdout, ended.stderr)

    return run


class RunAtTerminal(Protocol):
    """Run a line at a terminal of 80 columns; return its exit code and all that stood there."""

    def __call__(
        self, *words: object, answer: str | None = None, variables: Mapping[str, str] | None = None
    ) -> tuple[int, str]: ...


@pytest.fixture
def run_at_terminal(processes: Processes) -> RunAtTerminal:
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

    def run(*words: object, answer: str | None = None, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
        terminal, other_side = pty.openpty()
        process = processes.start_module(
            "vibeweaver_store",
            *words,
            environment=environment(TERM="xterm", LINES="24", **(variables or {})),
            warnings="error",
            terminal=other_side,
        )
        os.close(other_side)
        shown = b""
        while part := _read_some(terminal):
            shown += part
            if answer is not None and b"[y/N]" in shown:
                os.write(terminal, answer.encode())
                answer = None
        os.close(terminal)
        return process.wait(), shown.decode()

    return run


def _read_some(terminal: int) -> bytes:
    if not select.select([terminal], [], [], 30)[0]:
        return b""
    try:
        return os.read(terminal, 65536)
    except OSError:  # so Linux tells that the other side has gone
        return b""
