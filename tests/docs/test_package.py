"""The README's first command, run as a newcomer would: a fresh copy, a fresh environment, a song; then away from it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.spawning import Processes
from vibeweaver_store import __version__, schema

TOP = Path(__file__).resolve().parents[2]
README = TOP / "README.md"


def command(name: str) -> str:
    """The one command that the README gives under a marker: ``<!-- command: NAME -->``."""
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", README.read_text())
    assert found is not None, name
    return found[1]


@pytest.fixture(scope="module")
def newcomer(processes_of_module: Processes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of what is in version control, in which the README's first command was run, and what it printed."""
    copy = tmp_path_factory.mktemp("newcomer") / "checkout"
    copy.mkdir()
    listed = processes_of_module.execute("git", "ls-files", "-z", cwd=TOP).finish()
    for name in filter(None, listed.split("\0")):
        if (TOP / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, copy / name)
    line = command("weave").replace("python3 ", f"{sys.executable} ")
    # Installing waits for the package index.
    return copy, processes_of_module.execute("bash", "-c", line, cwd=copy).finish(seconds=600)


def test_the_first_command_of_the_readme_plays_the_song(newcomer: tuple[Path, str]) -> None:
    copy, printed = newcomer

    assert "Ode to Joy" in printed
    assert "rule.fired" in printed
    assert (copy / "late-set.db").is_file()


Away: TypeAlias = Callable[..., str]


@pytest.fixture
def away(processes: Processes, newcomer: tuple[Path, str], tmp_path: Path) -> Away:
    """Run a program of the installed environment where no checkout is near, and return what it printed."""

    def run(program: str, *arguments: str, code: int = 0) -> str:
        installed = newcomer[0] / ".venv" / "bin" / program
        done = processes.call(installed, *arguments, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


SMOKE = """
from pathlib import Path
import vibeweaver_store as v

assert "site-packages" in v.__file__, v.__file__
assert v.schema.scripts() == Path(v.__file__).parent / "_alembic"
assert v.schema.upgrade("away.db").after == v.schema.head()
with v.Store.open("away.db") as store:
    jam = store.run(v.sessions.create, name="away")
    store.run(v.rules.add, jam.id, v.triggers.Beat(divisor=4), v.actions.Play())
    fired = [len(store.run(v.rules.fire, jam.id, v.signals.BeatTick(beat=beat))) for beat in range(1, 25)]
    assert sum(fired) == 6, fired
    page = store.query(v.history.page, jam.id, limit=4)
    rest = store.query(v.history.page, jam.id, limit=4, cursor=page.next_cursor)
    assert (len(page.items), len(rest.items), rest.next_cursor) == (4, 2, None)
    assert [entry.id for entry in store.iterate(v.history.page, jam.id, limit=1)] == [
        entry.id for entry in [*page.items, *rest.items]
    ]
    try:
        store.query(v.sessions.get, "nobody")
    except v.NotFound as error:
        print(error.code)
print(v.schema.downgrade("away.db", "base").backup is not None)
"""


def test_the_wheel_away_from_the_checkout_opens_migrates_and_uses_a_store(away: Away) -> None:
    assert away("python", "-c", SMOKE) == "not_found\nTrue\n"


def test_the_command_line_of_the_wheel_migrates_an_old_file_and_weaves_the_packaged_song(
    away: Away, tmp_path: Path
) -> None:
    def store(*arguments: str) -> str:
        return away("vibeweaver-store", "--db", "away.db", *arguments)

    assert "Ode to Joy" in store("weave")
    store("db", "downgrade", "0001", "--yes")
    assert schema.current(tmp_path / "away.db") == "0001"
    assert "Ode to Joy" in store("weave")

    assert schema.current(tmp_path / "away.db") == schema.head()
    assert len(store("sessions", "list", "--json").splitlines()) == 2
    assert "CREATE TABLE" in store("db", "sql", "--backend", "postgresql")
    assert "nothing is broken" in store("db", "check")


def test_the_wheel_has_no_development_dependency(newcomer: tuple[Path, str]) -> None:
    libraries = newcomer[0] / ".venv" / "lib"
    installed = dict(each.stem.lower().split("-") for each in libraries.glob("*/site-packages/*.dist-info"))

    assert installed["vibeweaver_store"] == __version__
    for name in ("pytest", "factory_boy", "hypothesis", "nox", "ruff", "mypy", "import_linter", "psycopg", "aiosqlite"):
        assert name not in installed


def test_the_testing_module_of_the_wheel_names_the_extra_it_needs(away: Away) -> None:
    told = away("python", "-c", "import vibeweaver_store.testing", code=1)

    assert told.endswith("pip install 'vibeweaver-store[testing]'\n")


def test_the_wheel_runs_as_a_module_and_as_a_script(away: Away) -> None:
    assert __version__ in away("python", "-m", "vibeweaver_store", "--version")
    assert __version__ in away("vibeweaver-store", "--version")


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    script = (TOP / ".ci" / "run").read_text()

    assert "README.md" in script
    assert "command: tests" in script
    assert command("tests").startswith("python3 -m venv")


WORKFLOWS = TOP / ".github" / "workflows"


def sessions_of(workflow: str) -> set[str]:
    """The sessions of nox that a workflow names."""
    named = re.findall(r"(?:nox -s|session:) \[?([\w, ]+)", (WORKFLOWS / workflow).read_text())
    return {name for names in named for name in names.strip().split(", ")}


def test_the_workflows_run_existing_nox_sessions_and_together_all_of_them() -> None:
    sessions = set(re.findall(r"@nox\.session\ndef (\w+)", (TOP / "noxfile.py").read_text()))
    run = {path.name: sessions_of(path.name) for path in WORKFLOWS.iterdir()}

    assert run.keys() == {"bench.yml", "ci.yml", "nightly.yml"}
    assert run["nightly.yml"] == {"newest", "prereleases"}
    assert run["ci.yml"] >= {"lint", "types", "tests", "minimums", "migrations"}
    assert set().union(*run.values()) == sessions - {"fast"}  # which is a part of the tests


@pytest.mark.parametrize("workflow", ["ci.yml", "nightly.yml"])
def test_the_workflow_tests_the_oldest_and_newest_python_of_the_package(workflow: str) -> None:
    classified = re.findall(r"Python :: (3\.\d+)", (TOP / "pyproject.toml").read_text())

    assert f'python: ["{classified[0]}", "{classified[-1]}"]' in (WORKFLOWS / workflow).read_text()
