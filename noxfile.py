"""What continuous integration runs, and anyone can: ``nox`` for all, ``nox -s tests`` for one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

nox.options.sessions = ["lint", "types", "tests", "migrations"]

SOURCES = ("vibeweaver_store", "alembic", "tests", "benchmarks", "noxfile.py")
SERVER_VARIABLE = "VIBEWEAVER_TEST_POSTGRES_URL"
WORKERS = str((os.cpu_count() or 2) * 2)
"""More than there are processors: a test waits for the server, for other processes or for a clock much of its time."""


@nox.session
def lint(session: nox.Session) -> None:
    session.install("--quiet", "ruff>=0.14,<1", "import-linter>=2.5,<3")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    session.install("--quiet", "--editable", ".[dev]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    session.install("--quiet", "--editable", ".[dev]")
    _test(session, *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """The tests that need neither a server nor another process, on SQLite: for while you work."""
    session.install("--quiet", "--editable", ".[dev]")
    session.env["VIBEWEAVER_TEST_BACKENDS"] = "sqlite"
    _test(session, "-m", "not process and not postgresql and not slow", *session.posargs)


def _test(session: nox.Session, *arguments: str) -> None:
    """Run the tests, so that little is done more than once.

    Each worker has a part of the tests that lie together, until it helps another: then what the tests of a module share
    is mostly made by one. And what Python compiled is kept, though the environment may say otherwise: hundreds of tests
    start processes that import the package.
    """
    keep: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None}
    session.run("pytest", "-n", WORKERS, "--dist", "worksteal", *arguments, env=keep)


@nox.session
def migrations(session: nox.Session) -> None:
    """Up, check, down and up again on each backend, with a song in between; then the SQL, for a reviewer to read.

    ``nox -s migrations -- origin/main`` shows the SQL of those migrations alone that ``origin/main`` does not have.
    PostgreSQL takes part where ``VIBEWEAVER_TEST_POSTGRES_URL`` names a server on which databases may be made.
    """
    session.install("--quiet", "--editable", ".[dev]")
    _test(session, "-m", "migrations")
    with TemporaryDirectory() as folder:
        _up_and_down(session, {"VIBEWEAVER_DATABASE": f"{folder}/store.db"})
    if os.environ.get(SERVER_VARIABLE):
        with _scratch_database(session) as url:
            _up_and_down(session, {"VIBEWEAVER_DATABASE": url})
    else:
        session.warn(f"{SERVER_VARIABLE} is not set: nothing was run on PostgreSQL")
    _show_sql(session, _newest_of(session, session.posargs[0]) if session.posargs else "base")


def _up_and_down(session: nox.Session, database: dict[str, str]) -> None:
    # The URL goes by the environment: nox prints the commands, and it may hold a password.
    store = "vibeweaver-store"
    session.run(store, "db", "upgrade", env=database)
    session.run(store, "weave", env=database, silent=True)
    session.run("alembic", "check", env=database)
    session.run(store, "db", "downgrade", "base", "--yes", env=database)
    session.run(store, "db", "upgrade", env=database)
    session.run("alembic", "check", env=database)
    session.run(store, "weave", env=database, silent=True)


_SERVER = f"""
import os, sys
from vibeweaver_store.testing import PostgresServer
server = PostgresServer(os.environ[{SERVER_VARIABLE!r}])
"""


@contextmanager
def _scratch_database(session: nox.Session) -> Iterator[str]:
    name = _told(session, "python", "-c", _SERVER + "print(server.make())")
    try:
        yield _told(session, "python", "-c", _SERVER + "print(server.url_of(sys.argv[1]))", name)
    finally:
        session.run("python", "-c", _SERVER + "server.drop(sys.argv[1])", name)


def _told(session: nox.Session, *command: str) -> str:
    return str(session.run(*command, silent=True)).strip()


def _newest_of(session: nox.Session, commit: str) -> str:
    """Return the newest revision that a commit has, ``base`` where it has none."""
    command = ("git", "ls-tree", "--name-only", commit, "alembic/versions/")
    listed = str(session.run(*command, external=True, silent=True))
    return max(re.findall(r"^alembic/versions/(\d+)_", listed, re.MULTILINE), default="base")


def _show_sql(session: nox.Session, known: str) -> None:
    """Print the SQL of what is newer than a revision; on GitHub, it also goes into the summary of the job."""
    if known == max(path.name.partition("_")[0] for path in Path("alembic/versions").glob("[0-9]*_*.py")):
        session.log(f"no migration is newer than {known}")
        return
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    for backend in ("sqlite", "postgresql"):
        command = ("vibeweaver-store", "db", "sql", "--backend", backend, "--from", known, "--to", "head")
        session.run(*command)
        if summary:
            with Path(summary).open("a") as page:
                page.write(f"### The migrations from {known} to head on {backend}\n\n```sql\n")
                page.flush()
                session.run(*command, stdout=page)
                page.write("```\n")


@nox.session
def newest(session: nox.Session) -> None:
    """The tests on the newest versions that the ranges of pyproject.toml allow."""
    _test_upgraded(session)


@nox.session
def prereleases(session: nox.Session) -> None:
    """The tests on the newest versions that the ranges of pyproject.toml allow, pre-releases among them."""
    _test_upgraded(session, "--pre")


def _test_upgraded(session: nox.Session, *options: str) -> None:
    """Upgrade whatever can be, and run the tests; ``session.posargs`` go to pytest.

    The canaries run first and alone: where a new version keeps the package from being imported, they say why.
    """
    session.install(*options, "--upgrade", "--upgrade-strategy", "eager", "--editable", ".[dev]")
    canaries = "tests/canaries"
    session.run("pytest", "--quiet", "--tb", "line", "--confcutdir", canaries, canaries, success_codes=[0, 1])
    _test(session, *session.posargs)


@nox.session
def minimums(session: nox.Session) -> None:
    """The tests on the lowest versions that the ranges of pyproject.toml allow."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    shipped = [extras[name] for name in sorted(extras.keys() - {"all", "dev", "testing"})]
    ranges = [*project["dependencies"], *(requirement for extra in shipped for requirement in extra)]
    lowest = [re.sub(r">=([^,]+),.*", r"==\1", requirement) for requirement in ranges]
    session.install("--quiet", "--editable", ".[dev]", *lowest)
    _test(session, *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the lines whose loss would hurt most, one at a time, and see a fast test fail. No part of the tests.

    ``nox -s mutants -- lease`` breaks only the mutants with that word in their name, file or test.
    """
    session.install("--quiet", "--editable", ".[dev]")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The store beside SQLite in C, the bare driver and its peers, as ratios in one run. No part of the tests.

    ``nox -s bench -- --help`` tells what can be asked for: ``--check``, ``--save``, ``--only NAME``, ``--quick``.
    """
    session.install("--quiet", "--editable", ".[all]", "matplotlib>=3.10,<4", "-r", "benchmarks/peers/requirements.txt")
    session.run("python", "-m", "benchmarks", *session.posargs)
