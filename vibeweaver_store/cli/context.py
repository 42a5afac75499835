"""How a function becomes a command, with the options that go anywhere on the line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, Final, ParamSpec, TypeAlias

import typer
from typer.core import TyperCommand

from vibeweaver_store.cli.errors import Group
from vibeweaver_store.cli.invocation import Cli

P = ParamSpec("P")

ANYWHERE: Final = "Anywhere on the line"
"""The panel of the help under which these options stand."""


def _set_database(context: typer.Context, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Cli).database = value


def _set_debug(context: typer.Context, value: bool) -> None:
    if value:
        context.ensure_object(Cli).debug = True


def _set_json(context: typer.Context, value: bool) -> None:
    if value:
        context.ensure_object(Cli).json = True


Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="PATH|URL",
        help="The database: a file or a URL; else $VIBEWEAVER_DATABASE, else your own file.",
        callback=_set_database,
        rich_help_panel=ANYWHERE,
        show_default=False,
    ),
]
Debug: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--debug", metavar="", help="Show the traceback of an error.", callback=_set_debug, rich_help_panel=ANYWHERE
    ),
]
_Json: TypeAlias = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print JSON; of a list, a line an item.", callback=_set_json),
]


def new_group(name: str, about: str) -> typer.Typer:
    """Return an empty group of commands that takes the options of all commands."""
    group = typer.Typer(name=name, help=about, cls=Group, no_args_is_help=True, add_completion=False)

    @group.callback(help=about)
    def shared(database: Database = None, debug: Debug = False) -> None:
        del database, debug  # their callbacks have kept them

    return group


_BELOW_ZERO: Final = re.compile(r"-[0-9.]")


class TakesNumbers(TyperCommand):
    """A command that has a number among its arguments, which may be below 0."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, but leave alone a word such as ``-4``, which would be taken for an option.

        Raises:
            TyperException: the line cannot be understood.
        """
        ctx.ignore_unknown_options = any(map(_BELOW_ZERO.match, args))
        return super().parse_args(ctx, args)


def command(
    group: typer.Typer, name: str, *, example: str, json: bool = True, cls: type[TyperCommand] | None = None
) -> Callable[[Callable[Concatenate[Cli, P], None]], Callable[Concatenate[Cli, P], None]]:
    """Make a function a command of a group: its docstring is the help, its arguments are the command's.

    The first argument is the :class:`Cli`; the options that all commands share are added.

    Args:
        group: where it belongs.
        name: the word that calls it.
        example: command lines that show how it is used, without the program's name, a line each.
        json: whether it takes ``--json``.
        cls: how its line is read, where that is not as ever.
    """

    def register(function: Callable[Concatenate[Cli, P], None]) -> Callable[Concatenate[Cli, P], None]:
        def run(**given: Any) -> None:
            context: typer.Context = given.pop("context")
            for shared in _shared(json=json):
                given.pop(shared.name)
            body: Callable[..., None] = function
            body(context.ensure_object(Cli), **given)

        run.__doc__ = function.__doc__
        run.__signature__ = _signature(function, json=json)  # type: ignore[attr-defined]  # what Typer reads
        lines = "\n".join(f"  vibeweaver-store {line}" for line in example.strip().splitlines())
        group.command(name, epilog=f"For example:\n{lines}", cls=cls)(run)
        return function

    return register


def _shared(*, json: bool) -> list[inspect.Parameter]:
    options: list[tuple[str, Any, Any]] = [("json_", _Json, False)] if json else []
    options += [("database", Database, None), ("debug", Debug, False)]
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, annotation, default in options
    ]


def _signature(function: Callable[..., None], *, json: bool) -> inspect.Signature:
    first, *own = inspect.signature(function, eval_str=True).parameters.values()
    context = first.replace(name="context", annotation=typer.Context)
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    return inspect.Signature(
        [context.replace(kind=inspect.Parameter.KEYWORD_ONLY), *named, *_shared(json=json)], return_annotation=None
    )
