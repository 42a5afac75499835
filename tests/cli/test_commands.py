"""The list of commands: it says what they say of themselves, and none of them is imported to show it."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import environment, run_line
from tests.spawning import Processes
from vibeweaver_store import cli
from vibeweaver_store.cli.commands import COMMANDS, Entry

MODULES = sorted(module for entry in COMMANDS.values() for module in entry.modules)
SLOW = {"sqlalchemy", "sqlmodel", "alembic", "pydantic", "pydantic_settings"}


def root() -> Any:
    return typer.main.get_command(cli.app)


# --- what it imports -------------------------------------------------------------------------------------------


PROGRAM = """
import runpy, sys
try:
    runpy.run_module("vibeweaver_store", run_name="__main__")
finally:
    print(*sys.modules, file=sys.stderr)
"""


def imported_by(processes: Processes, *words: str, **variables: str) -> set[str]:
    """Which modules there are in the program's process at its end."""
    process = processes.execute(sys.executable, "-c", PROGRAM, *words, env=environment(**variables))
    assert process.finish()
    return set(process.stderr.split())


def commands_in(imported: set[str]) -> set[str]:
    return {module for module in MODULES if f"vibeweaver_store.cli.{module}" in imported}


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_need_no_database_and_no_command(processes: Processes, option: str) -> None:
    imported = imported_by(processes, option)

    assert "typer" in imported
    assert imported & SLOW == set()
    assert commands_in(imported) == set()


def test_completing_a_command_name_needs_no_database_or_command_module(processes: Processes) -> None:
    completing = {"COMP_WORDS": "vibeweaver-store s", "COMP_CWORD": "1"}
    imported = imported_by(processes, _VIBEWEAVER_STORE_COMPLETE="complete_bash", **completing)

    assert imported & SLOW - {"pydantic"} == set()  # Typer itself reads a line's options with it
    assert commands_in(imported) == set()


def test_a_group_imports_its_own_module_when_its_help_is_asked_for(processes: Processes) -> None:
    assert commands_in(imported_by(processes, "markers", "--help")) == {"markers"}


# --- what it says ----------------------------------------------------------------------------------------------


def test_the_command_list_names_each_command_module_once() -> None:
    found = [path.stem for path in Path(cli.__file__).parent.glob("*.py") if has_commands(path)]

    assert sorted(found) == MODULES


def has_commands(path: Path) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "vibeweaver_store.cli.context"
        and "command" in {name.name for name in node.names}
        for node in ast.walk(ast.parse(path.read_text()))
    )


@pytest.mark.parametrize(("name", "entry"), COMMANDS.items(), ids=COMMANDS)
def test_a_command_is_listed_with_its_own_summary(name: str, entry: Entry) -> None:
    command = root().commands[name].loaded

    assert command.name == name
    assert entry.about == " ".join(command.help.partition("\n\n")[0].split())


@pytest.mark.parametrize("entry", COMMANDS.values(), ids=COMMANDS)
def test_modules_of_one_command_share_one_group(entry: Entry) -> None:
    groups = {id(import_module(f"vibeweaver_store.cli.{module}").group) for module in entry.modules}

    assert len(groups) == 1


def help_of(command: Any, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    return capsys.readouterr().out


def test_the_command_list_looks_like_that_of_the_loaded_commands(capsys: pytest.CaptureFixture[str]) -> None:
    listing, listing_all = root(), root()
    listing_all.commands = {name: command.loaded for name, command in listing.commands.items()}

    assert help_of(listing, capsys) == help_of(listing_all, capsys) != ""


# --- what the shell completes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("se", {"sessions"}),
        ("w", {"weave", "workspaces", "worker-types", "workers"}),
        ("sessions s", {"show", "set-status", "search"}),
        ("weave --re", {"--realtime"}),
    ],
)
def test_the_shell_completes_commands_and_their_words(
    typed: str, completed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_VIBEWEAVER_STORE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"vibeweaver-store {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))

    assert set(run_line([]).out.split()) == completed
