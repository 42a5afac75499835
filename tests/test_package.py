"""The README's first command, run as a newcomer would: a fresh copy, a fresh environment, a song; then away from it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vibeweaver_store import __version__

TOP = Path(__file__).resolve().parents[1]
README = TOP / "README.md"


def command(name: str) -> str:
    """The one command that the README gives under a marker: ``<!-- command: NAME -->``."""
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", README.read_text())
    assert found is not None, name
    return found[1]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of what is in version control, in which the README's first command was run, and what it printed."""
    copy = tmp_path_factory.mktemp("newcomer") / "checkout"
    copy.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (TOP / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, copy / name)
    done = subprocess.run(
        ["bash", "-c", command("weave").replace("python3 ", f"{sys.executable} ")],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return copy, done.stdout


def test_the_first_command_of_the_readme_plays_the_song(newcomer: tuple[Path, str]) -> None:
    copy, printed = newcomer

    assert "Ode to Joy" in printed
    assert "rule.fired" in printed
    assert (copy / "late-set.db").is_file()


def away(newcomer: tuple[Path, str], tmp_path: Path, *arguments: str) -> str:
    """Run the installed interpreter where no checkout is near."""
    python = newcomer[0] / ".venv" / "bin" / "python"
    done = subprocess.run(
        [str(python), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_away_from_the_checkout_the_wheel_opens_migrates_and_uses_a_store(
    newcomer: tuple[Path, str], tmp_path: Path
) -> None:
    script = """
import vibeweaver_store as v
from pathlib import Path
assert "site-packages" in v.__file__, v.__file__
assert v.schema.scripts() == Path(v.__file__).parent / "_alembic"
assert v.schema.upgrade("away.db").after == v.schema.head()
with v.Store.open("away.db") as store:
    jam = store.run(v.sessions.create, name="away")
    store.run(v.rules.add, jam.id, v.triggers.Beat(divisor=4), v.actions.Play())
    print(len(store.run(v.rules.fire, jam.id, v.signals.BeatTick(beat=8))))
print(v.schema.downgrade("away.db", "base").backup is not None)
"""
    assert away(newcomer, tmp_path, "-c", script) == "1\nTrue\n"


def test_the_wheel_brings_no_development_dependency(newcomer: tuple[Path, str], tmp_path: Path) -> None:
    listed = away(newcomer, tmp_path, "-m", "pip", "list", "--format=freeze").lower()

    assert f"vibeweaver-store=={__version__}" in listed
    for name in ("pytest", "factory", "hypothesis", "nox", "ruff", "mypy", "psycopg", "aiosqlite"):
        assert name not in listed


def test_the_wheel_runs_as_a_module_and_as_a_script(newcomer: tuple[Path, str], tmp_path: Path) -> None:
    assert __version__ in away(newcomer, tmp_path, "-m", "vibeweaver_store", "--version")
    script = newcomer[0] / ".venv" / "bin" / "vibeweaver-store"
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout


def test_continuous_integration_runs_the_command_that_the_readme_gives_for_the_tests() -> None:
    script = (TOP / ".ci" / "run").read_text()

    assert "README.md" in script
    assert "command: tests" in script
    assert command("tests").startswith("python3 -m venv")
