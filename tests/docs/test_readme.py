"""What the README says is true: its example runs, its commands run, its diagram shows the tables."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.docs.diagram import README, in_readme, mermaid
from tests.spawning import Processes
from vibeweaver_store import Store, sessions
from vibeweaver_store.settings import Settings
from vibeweaver_store.songs import ODE_TO_JOY
from vibeweaver_store.upkeep import back_up

TEXT = README.read_text()


def all_marked(name: str) -> list[str]:
    """The blocks of Python under a marker: ``<!-- NAME -->``."""
    return re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", TEXT, re.DOTALL)


def marked(name: str) -> str:
    (found,) = all_marked(name)
    return found


def section(title: str) -> str:
    found = re.search(rf"## {title}\n(.*?)(?=\n## |\Z)", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_readme_diagram_shows_the_tables_as_they_are() -> None:
    assert in_readme() == mermaid(), "run: python -m tests.docs.diagram"


@pytest.mark.parametrize(
    ("example", "told"), list(zip(all_marked("example") + all_marked("asyncio"), [1, 2, 4, 3, 4, 1], strict=True))
)
def test_each_readme_example_runs_as_printed(processes: Processes, tmp_path: Path, example: str, told: int) -> None:
    written = processes.start(example, folder=tmp_path, warnings="error").finish()

    assert len(written.splitlines()) == told
    assert "four on the floor" in written or "rule.fired" in written


def test_the_readme_test_for_applications_passes_as_printed(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(marked("conftest"))
    (tmp_path / "test_readme.py").write_text(marked("test"))
    done = processes.run_module("pytest", "-q", "-W", "error", "-p", "no:cacheprovider", folder=tmp_path)

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_readme_application_that_shares_the_database_leaves_our_tables_alone() -> None:
    names: dict[str, Any] = {}
    exec(marked("beside"), names)
    include_name = names["include_name"]

    assert not any(include_name(name, "table", {}) for name in ("sessions", "rules", "vibeweaver_version"))
    assert include_name("listeners", "table", {})
    assert include_name(None, "schema", {})


def commands() -> list[str]:
    shown = section("On the command line") + section("Migrating in CI") + section("Keeping a database safe")
    lines = [
        line.partition("  #")[0]
        for block in re.findall(r"```sh\n(.*?)```", shown, re.DOTALL)
        for line in block.splitlines()
    ]
    steps = re.findall(r"- run: (vibeweaver-store .*?)(?:  #| >>|\n)", shown)
    return [line.strip() for line in [*lines, *steps] if line.startswith("vibeweaver-store")]


def test_the_readme_has_commands_to_run() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("line", commands())
def test_each_readme_command_runs_as_printed(
    processes: Processes, line: str, tmp_path: Path, sqlite_template: Path
) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "late-set.db")
    shutil.copyfile(ODE_TO_JOY, tmp_path / "song.mid")
    with Store.open(tmp_path / "late-set.db") as store:
        store.run(sessions.create, name="late set", session_id="SESSION")
    back_up(tmp_path / "late-set.db", tmp_path / "backup.db")
    arguments = shlex.split(line)[1:]
    yes = ["--yes"] if "downgrade" in arguments else ["--force"] if "backup" in arguments else []

    environment = {**os.environ, "VIBEWEAVER_DATABASE": "late-set.db", "XDG_DATA_HOME": str(tmp_path)}
    processes.start_module("vibeweaver_store", *arguments, *yes, folder=tmp_path, environment=environment).finish()


def test_the_readme_names_every_setting() -> None:
    for field in Settings.model_fields:
        assert f"_{field.upper()}" in TEXT, field


def test_the_picture_of_the_readme_exists() -> None:
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", TEXT)

    assert (README.parent / picture).is_file()
