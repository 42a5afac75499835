"""Asking before something is destroyed."""

from __future__ import annotations

import sys

import typer

from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.text import shown


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal, and go on only where the answer is yes.

    Args:
        question: what is about to happen, ending in a question mark.
        yes: it was answered on the line, by ``--yes``.

    Raises:
        LineError: there is no terminal to ask on.
        Abort: the answer is no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise LineError(f"{question} There is no terminal to ask on; say --yes")
    typer.echo(f"{shown(question)} [y/N] ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer:
        typer.echo(err=True)  # the end of input leaves the cursor behind the question
    if answer.strip().lower() not in {"y", "yes"}:
        raise typer.Abort
