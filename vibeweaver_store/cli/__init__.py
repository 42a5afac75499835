"""The command line, ``vibeweaver-store``. Groups are nouns, one file each; commands are verbs."""

from __future__ import annotations

from typing import Annotated

import typer

import vibeweaver_store
from vibeweaver_store.cli.commands import Program
from vibeweaver_store.cli.context import Database, Debug
from vibeweaver_store.cli.errors import PROGRAM

app = typer.Typer(
    name=PROGRAM,
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"{PROGRAM} {vibeweaver_store.__version__}")
        raise typer.Exit


@app.callback(
    epilog="To begin with:\n  vibeweaver-store weave\n\n"
    "Exit codes: 1 unexpected, 2 usage, 3 not found, 4 refused or in conflict,\n"
    "5 busy, 6 database unavailable, damaged or of another schema."
)
def _root(
    database: Database = None,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Weave sessions, rules, markers and history: everything that a creative agent system must remember."""
    del database, debug, version  # their callbacks have done all


def main() -> None:
    """Run the command line and leave with its exit code.

    Raises:
        SystemExit: always.
    """
    app()
