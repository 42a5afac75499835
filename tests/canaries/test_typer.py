"""What the command line relies on in Typer, and in rich, by which Typer prints."""

from __future__ import annotations

import inspect
import io
import os
import subprocess
import sys
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from tests.canaries.canary import Library

canary = Library("typer")


def new_group() -> typer.Typer:
    group = typer.Typer(name="canary", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @group.callback()
    def root(loud: bool = False) -> None:
        """Sing."""

    @group.command("sing")
    def sing(times: int = 1) -> None:
        typer.echo("tweet " * times)

    @group.command("leave")
    def leave() -> None:
        raise typer.Exit(7)

    @group.command("fall")
    def fall() -> None:
        raise typer.Abort

    return group


def run(group: typer.Typer, *line: str, **extra: Any) -> Any:
    """Run a line as errors.py does: so that Typer leaves errors to who calls it."""
    return typer.main.get_command(group).main([*line], "canary", None, False, True, **extra)


@canary("cli/errors.py", to="tell itself how a call ended")
def test_a_line_that_is_not_run_standalone_returns_its_exit_code_and_raises_its_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(new_group(), "sing") is None
    assert run(new_group(), "leave") == 7
    with pytest.raises(typer.Abort):
        run(new_group(), "fall")
    for line in (("sing", "--times", "many"), ("sign",), ("sing", "--nonsense")):
        with pytest.raises(typer.TyperException) as caught:
            run(new_group(), *line)
        assert caught.value.exit_code == 2
        assert caught.value.format_message()
        assert caught.value.ctx.command_path.startswith("canary")  # type: ignore[attr-defined]

    assert capsys.readouterr() == ("tweet \n", "")


@canary("cli/errors.py", to="leave with 130 at Ctrl-C")
def test_ctrl_c_ends_a_line_with_130_or_goes_on_as_it_is() -> None:
    group = new_group()

    @group.command("wait")
    def wait() -> None:
        raise KeyboardInterrupt

    try:
        ended = run(group, "wait")
    except KeyboardInterrupt:
        ended = 130
    assert ended == 130


@canary("cli/errors.py", to="show the help of a group on stderr, once")
def test_a_group_without_a_command_prints_its_help_to_stdout_and_raises_no_args_is_help_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.TyperException) as caught:
        run(new_group())

    assert type(caught.value).__name__ == "NoArgsIsHelpError"
    assert caught.value.exit_code == 2
    assert "sing" in capsys.readouterr().out


@canary("cli/errors.py", to="print that help itself, where the group is parsed")
def test_a_group_finds_that_it_has_no_command_as_it_parses_its_arguments() -> None:
    parsed: list[list[str]] = []

    class Parsing(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            parsed.append([*args])
            return super().parse_args(ctx, args)

    group = typer.Typer(cls=Parsing, no_args_is_help=True)
    group.command("sing")(lambda: None)
    group.command("sign")(lambda: None)
    with pytest.raises(typer.TyperException):
        run(group)
    run(group, "sing")

    assert parsed == [[], ["sing"]]


@canary("cli/context.py", to="take a number below zero for an argument, not for an option")
def test_a_command_decides_as_it_parses_whether_unknown_options_are_arguments() -> None:
    class Lenient(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            ctx.ignore_unknown_options = "-4" in args
            return super().parse_args(ctx, args)

    said: list[str] = []
    group = new_group()

    @group.command("seek", cls=Lenient)
    def seek(beat: str) -> None:
        said.append(beat)

    run(group, "seek", "-4")
    with pytest.raises(typer.TyperException):
        run(group, "seek", "-x")

    assert said == ["-4"]


@canary("cli/errors.py", "cli/context.py", to="hand what was said anywhere on the line to the command")
def test_the_object_that_is_given_to_main_is_the_contexts(capsys: pytest.CaptureFixture[str]) -> None:
    group = new_group()

    @group.command("show")
    def show(context: typer.Context) -> None:
        typer.echo(context.ensure_object(dict)["tune"])

    run(group, "show", obj={"tune": "ode"})
    assert capsys.readouterr().out == "ode\n"


@canary("cli/context.py", to="add the options that go anywhere to each command")
def test_a_command_is_made_by_the_signature_that_a_function_says_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    def sing(**given: Any) -> None:
        typer.echo(sorted(given.items()))

    option = Annotated[int, typer.Option("--times", metavar="N")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    sing.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("name", keyword, annotation=str),
            inspect.Parameter("times", keyword, annotation=option, default=1),
        ]
    )
    group = new_group()
    group.command("as-told")(sing)
    run(group, "as-told", "ode", "--times", "3")

    assert capsys.readouterr().out == "[('name', 'ode'), ('times', 3)]\n"


class Deferred(TyperCommand):
    """A command that is listed at once, and made when it is called, as commands.py has it."""

    def make_context(self, *given: Any, **extra: Any) -> Any:
        made: Any = typer.main.get_command(new_group())
        return made.make_context(*given, **extra)


@canary("cli/commands.py", to="import the modules of a command only when it is called")
def test_a_command_can_have_another_stand_in_its_place_from_its_context_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Program(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.add_command(Deferred("songs", help="Later."))

    program = typer.Typer(name="canary", cls=Program, add_completion=False)
    program.callback()(lambda: None)
    run(program, "songs", "sing", "--times", "2")
    assert capsys.readouterr().out == "tweet tweet \n"
    run(program, "--help")
    assert "Later." in capsys.readouterr().out


@canary("cli/commands.py", to="have names of its own beside those of a command")
def test_a_command_has_no_name_that_the_store_has_for_something_else() -> None:
    assert [name for name in ("loaded", "_modules") if hasattr(TyperCommand("canary"), name)] == []


CLOSED = """
import sys, typer
app = typer.Typer()
@app.command()
def sing() -> None:
    for _ in range(100_000):
        typer.echo("tweet")
try:
    typer.main.get_command(app).main([], "canary", None, False, True)
except SystemExit as leaving:
    print(type(leaving.__context__).__name__, file=sys.stderr)
except BrokenPipeError as error:
    print(type(error).__name__, file=sys.stderr)
"""
CLOSED_RICH = """
import sys
from rich.console import Console
try:
    for _ in range(100_000):
        Console().print("tweet")
except SystemExit as leaving:
    print(type(leaving.__context__).__name__, file=sys.stderr)
except BrokenPipeError as error:
    print(type(error).__name__, file=sys.stderr)
"""


def told_when_nobody_reads(code: str) -> str:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    return done.stderr.splitlines()[0]


@pytest.mark.usefixtures("processes")
@canary("cli/errors.py", to="leave with 0 when whoever read the output has gone")
def test_typer_and_rich_leave_because_of_a_broken_pipe_when_nobody_reads() -> None:
    assert told_when_nobody_reads(CLOSED) == "BrokenPipeError"
    assert told_when_nobody_reads(CLOSED_RICH) == "BrokenPipeError"


@canary("cli/table.py", to="fold, cut and align the cells of a table")
def test_a_text_of_rich_knows_its_width_and_can_be_cut_and_folded() -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text("twelve 漢字")
    assert text.cell_len == 11
    short = text.copy()
    short.truncate(8, overflow="ellipsis")
    assert short.plain == "twelve …"
    console = Console(file=io.StringIO(), markup=False, emoji=False, highlight=False)
    assert [line.plain for line in Text("abcdefgh").wrap(console, 3, overflow="fold")] == ["abc", "def", "gh"]
    assert not console.is_terminal


@canary("cli/output.py", to="print what came from a database as it is")
def test_a_console_without_markup_prints_a_text_as_it_is() -> None:
    from rich.console import Console
    from rich.text import Text

    written = io.StringIO()
    console = Console(file=written, markup=False, emoji=False, highlight=False, width=10)
    console.print(Text("[bold]:smile: and longer than the line"), soft_wrap=True)

    assert written.getvalue() == "[bold]:smile: and longer than the line\n"
