"""What continuous integration runs, and anyone can: ``nox`` for all, ``nox -s tests`` for one."""

from __future__ import annotations

import re

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

nox.options.sessions = ["lint", "types", "tests", "migrations"]

SOURCES = ("vibeweaver_store", "alembic", "tests", "benchmarks", "noxfile.py")


@nox.session
def lint(session: nox.Session) -> None:
    session.install("--quiet", "ruff>=0.14,<1")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)


@nox.session
def types(session: nox.Session) -> None:
    session.install("--quiet", "--editable", ".[dev]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    session.install("--quiet", "--editable", ".[dev]")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def migrations(session: nox.Session) -> None:
    """Up, check, down and up again on both backends, and the SQL for a reviewer to read."""
    session.install("--quiet", "--editable", ".[dev]")
    session.run("pytest", "-n", "auto", "-m", "migrations", *session.posargs)
    session.run("vibeweaver-store", "db", "sql", "--backend", "sqlite")
    session.run("vibeweaver-store", "db", "sql", "--backend", "postgresql")


@nox.session
def minimums(session: nox.Session) -> None:
    """The tests on the lowest versions that the ranges of pyproject.toml allow."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    ranges = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    lowest = [re.sub(r">=([^,]+),.*", r"==\1", requirement) for requirement in ranges]
    session.install("--quiet", "--editable", ".[dev]", *lowest)
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What the services cost beside the bare driver, as ratios in one run. No part of the tests."""
    session.install("--quiet", "--editable", ".")
    session.run("python", "benchmarks/weaving.py", *session.posargs)
