"""How a call of the command line ends: one line on stderr, and an exit code that says what kind of thing went wrong."""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import typer
from typer.core import TyperGroup

from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.text import one_line
from vibeweaver_store.errors import (
    AlreadyClaimed,
    AlreadyExists,
    CorruptData,
    IllegalTransition,
    ImportRejected,
    InvalidInput,
    LeaseLost,
    MigrationFailed,
    NotFound,
    SchemaMismatch,
    StaleWrite,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)

PROGRAM: Final = "vibeweaver-store"

UNEXPECTED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

EXIT_CODES: Final[dict[type[StoreError], int]] = {
    StoreError: UNEXPECTED,
    NotFound: 3,
    AlreadyClaimed: 4,
    AlreadyExists: 4,
    IllegalTransition: 4,
    ImportRejected: 4,
    InvalidInput: 4,
    LeaseLost: 4,
    StaleWrite: 4,
    StoreBusy: 5,
    CorruptData: 6,
    MigrationFailed: 6,
    SchemaMismatch: 6,
    StoreUnavailable: 6,
}


def exit_code(error: StoreError) -> int:
    """Return the exit code of a kind of error; a class that is not listed has that of the class it derives from."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


class LineError(typer.TyperException):
    """The line asks for something that cannot be done as it stands, though every word of it is in its place."""

    exit_code = USAGE


class Group(TyperGroup):
    """A group of commands that, called without one, puts its help on stderr: nothing was done."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever; see the class.

        Raises:
            TyperException: the line cannot be understood.
        """
        if args:
            return super().parse_args(ctx, args)
        with redirect_stdout(sys.stderr):
            return super().parse_args(ctx, args)


class Root(Group):
    """The whole command line: every call goes through :meth:`main`, which alone says how it ended."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a line and leave with its exit code.

        Raises:
            SystemExit: always.
        """
        del prog_name, standalone_mode
        cli = Cli()
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _prepare_streams()
            try:
                # Not standalone: then Typer leaves the errors to us, and returns the code of a typer.Exit.
                code = super().main(args, PROGRAM, complete_var, False, windows_expand_args, obj=cli, **extra) or 0
                sys.stdout.flush()
            except SystemExit as leaving:
                # Typer and rich leave with 1 when whoever read our output has gone. They got what they wanted.
                code = 0 if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
            except BrokenPipeError:
                code = 0
            except KeyboardInterrupt:
                code = INTERRUPTED
            except Exception as error:  # noqa: BLE001 - the one place where everything ends
                code = _report(error, cli)
        _let_go_of_closed_pipe()
        sys.exit(code)


def _prepare_streams() -> None:
    """Have both streams, and let no sign be a failure because the terminal cannot show it.

    Where the caller closed one, it becomes one that nobody reads; else the database might be opened under its number.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process is
            setattr(sys, name, null)
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _let_go_of_closed_pipe() -> None:
    """Keep Python's own last flush from complaining of a pipe that nobody reads any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # it was closed, or is full, which was told before


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    del category
    say(f"warning: {message}")


def say(message: str, database: str | None = None) -> None:
    """Put one line on stderr, in the program's name, without any password of the database's URL."""
    typer.echo(f"{PROGRAM}: {one_line(without_passwords(message, database))}", err=True)


def _report(error: Exception, cli: Cli) -> int:
    """Tell of an error, and return the exit code for it."""
    if cli.debug and not isinstance(error, typer.Abort | typer.TyperException):
        told = "".join(traceback.format_exception(error))
        typer.echo(without_passwords(told, cli.database), err=True, nl=False)
    if isinstance(error, StoreError):
        say(error.message, cli.database)
        return exit_code(error)
    if isinstance(error, typer.Abort):
        say("nothing was done")
        return UNEXPECTED
    if isinstance(error, typer.TyperException):
        _explain_usage(error)
        return error.exit_code
    said = error.strerror if isinstance(error, OSError) else None
    place = f"{error.filename}: " if isinstance(error, OSError) and error.filename is not None else ""
    hint = "" if cli.debug or said else " (a bug; --debug shows where)"
    say(f"{place}{said or f'{type(error).__name__}: {error}'}{hint}", cli.database)
    return UNEXPECTED


def _explain_usage(error: typer.TyperException) -> None:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return  # the help was the answer
    see = "" if context is None else f"; see: {context.command_path} --help"
    message = " ".join(error.format_message().split()).replace("Value error, ", "").removesuffix(".")
    say(f"{message}{see}")


# --- passwords -------------------------------------------------------------------------------------------------

_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):(\S*)@")
_NO_PORT = re.compile(r"(?<=://)([^\s/:@]*):([^\s/:@?]*[^\s/:@?\d][^\s/:@?]*)(?![^\s/]*@)")
_IN_QUERY = re.compile(r"(?i)([?&](?:ssl)?password=)([^&\s'\"]+)")
_HIDDEN: Final = "***"


def without_passwords(text: str, database: str | None = None) -> str:
    """Return a text in which no password of a database URL is to be read, whoever put it there.

    URLs are known by their shape; besides, the passwords of ``database`` and of ``VIBEWEAVER_DATABASE`` are hidden
    wherever they stand.
    """
    for secret in sorted(_secrets(database, os.environ.get("VIBEWEAVER_DATABASE")), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _USER_AND_PASSWORD.sub(rf"\1:{_HIDDEN}@", text)
    text = _NO_PORT.sub(rf"\1:{_HIDDEN}", text)
    return _IN_QUERY.sub(rf"\1{_HIDDEN}", text)


def _secrets(*databases: str | None) -> set[str]:
    found: set[str] = set()
    for database in filter(None, databases):
        for _, password in _USER_AND_PASSWORD.findall(database):
            # A password with an @ that was not escaped is cut there, and its rest is taken for a part of the host.
            _, *rest = password.split("@")
            found.update({password, unquote(password), *[f"{part}@" for part in rest]})
        for _, password in [*_IN_QUERY.findall(database), *_NO_PORT.findall(database)]:
            found.update({password, unquote(password)})
    return {secret for secret in found if len(secret) > 2}
