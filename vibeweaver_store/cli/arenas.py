"""``arenas``: make, show and finish what several agents do on one task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import CompletedAt, CreatedAt, OwnId, SessionId, UpdatedAt, parse_times
from vibeweaver_store.cli.output import console, hint, print_card, print_document, print_items, print_made, print_row
from vibeweaver_store.cli.table import Cell, Column, print_table
from vibeweaver_store.cli.text import UNTITLED, clock, counted, instant, number
from vibeweaver_store.models import Arena, Instance, InstanceStatus
from vibeweaver_store.services import arenas
from vibeweaver_store.services.arenas import NewInstance, WholeArena

group = new_group("arenas", "Make, show and finish what several agents do on one task.")

Number: TypeAlias = Annotated[
    int, typer.Argument(metavar="N", help="The instance's number, from 0.", show_default=False)
]
Runtime: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="What runs its agent.", show_default=False)
]
Model: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="The model to use.", show_default=False)]

_COLUMNS: Final = (
    Column("N", right=True),
    Column("AGENT", "bold", narrow="fold"),
    Column("STATUS"),
    Column("RUNTIME", narrow="fold"),
    Column("TOOK", right=True),
    Column("FILES", right=True),
    Column("LINES", right=True),
    Column("BRANCH", "dim", narrow="fold"),
    Column("WORKTREE", "dim", narrow="below"),
)

_STYLES: Final = {
    InstanceStatus.PENDING: "dim",
    InstanceStatus.RUNNING: "cyan",
    InstanceStatus.PAUSED: "yellow",
    InstanceStatus.COMPLETED: "green",
    InstanceStatus.FAILED: "bold red",
}


@command(
    group,
    "create",
    example="""
arenas create competition "Write a bass line" --workspace ~/set --runtime claude
""",
)
def create(
    cli: Cli,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="competition, ensemble or debate.", show_default=False)],
    task: Annotated[str, typer.Argument(metavar="TASK", help="What the agents are to do.", show_default=False)],
    *,
    workspace: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The workspace it belongs to.", show_default=False)
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A runtime of the mix; may be repeated.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it.", show_default="the task's first line")
    ] = None,
    model: Model = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long the agents are given.", show_default=False)
    ] = None,
    preserve: Annotated[
        bool | None,
        typer.Option(
            "--preserve-worktrees/--drop-worktrees", metavar="", help="What becomes of them.", show_default=False
        ),
    ] = None,
    session_id: OwnId = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Where its session stands.", show_default="created")
    ] = None,
    created_at: CreatedAt = None,
    updated_at: UpdatedAt = None,
    completed_at: CompletedAt = None,
) -> None:
    """Make a session with an arena, and print its id. Instances are added to it."""
    with cli.store() as store:
        made = store.run(
            arenas.create_arena,
            kind,
            task,
            workspace,
            runtimes=runtime or (),
            name=name,
            model=model,
            timeout_seconds=timeout,
            preserve_worktrees=preserve,
            session_id=session_id,
            status=status,
            **parse_times(created_at, updated_at, completed_at),
        )
    print_made(cli, made, made.session.id)


@command(group, "show", example='arenas show "$SESSION"\narenas show "$SESSION" --json | jq .instances[].status')
def show(cli: Cli, session: SessionId) -> None:
    """Show an arena with its instances; a star marks the winner."""
    with cli.store() as store:
        found = store.query(arenas.get, session)
    _print_arena(cli, found)


@command(
    group,
    "add-instance",
    example="""
arenas add-instance "$SESSION" --agent "bass player" --worktree ~/set-0 --branch take-0
""",
)
def add_instance(
    cli: Cli,
    session: SessionId,
    *,
    agent: Annotated[str, typer.Option(metavar="NAME", help="The agent that is at work.", show_default=False)],
    worktree: Annotated[str, typer.Option(metavar="PATH", help="Where it works.", show_default=False)],
    branch: Annotated[str, typer.Option(metavar="NAME", help="Its branch there.", show_default=False)],
    tmux: Annotated[str, typer.Option(metavar="ID", help="The tmux session it is in.", show_default=False)] = "",
    runtime: Runtime = None,
    model: Model = None,
) -> None:
    """Add an instance to an arena, and print its number."""
    new = NewInstance(
        agent_name=agent,
        worktree_path=worktree,
        branch=branch,
        tmux_session_id=tmux,
        runtime=runtime,
        model=model,
    )
    with cli.store() as store:
        made = store.run(arenas.add_instance, session, new)
    print_made(cli, made, made.instance_id)


@command(
    group,
    "add-runtime",
    example='arenas add-runtime "$SESSION" codex\narenas add-runtime "$SESSION" claude --json',
)
def add_runtime(
    cli: Cli,
    session: SessionId,
    runtime: Annotated[str, typer.Argument(metavar="NAME", help="The runtime's name.", show_default=False)],
) -> None:
    """Add a runtime to an arena's mix, and list the mix."""
    with cli.store() as store:
        _print_mix(cli, store.run(arenas.add_runtime, session, runtime))


@command(
    group,
    "set-runtimes",
    example='arenas set-runtimes "$SESSION" claude codex\narenas set-runtimes "$SESSION" --none',
)
def set_runtimes(
    cli: Cli,
    session: SessionId,
    runtimes: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="The runtimes' names.", show_default=False)
    ] = None,
    none: Annotated[bool, typer.Option("--none", metavar="", help="It has no mix.")] = False,
) -> None:
    """Put a runtime mix in the place of an arena's mix, and list it."""
    if none == bool(runtimes):
        raise LineError("name the runtimes of the mix, or say --none")
    with cli.store() as store:
        _print_mix(cli, store.run(arenas.set_runtimes, session, runtimes or ()))


def _print_mix(cli: Cli, mix: Sequence[str]) -> None:
    items = [{"runtime": name} for name in mix]
    print_items(cli, items, (Column("RUNTIME", "bold"),), lambda each: (each["runtime"],), none="no runtimes")


@command(group, "set-instance-status", example='arenas set-instance-status "$SESSION" 0 running')
def set_instance_status(
    cli: Cli,
    session: SessionId,
    instance: Number,
    status: Annotated[
        str,
        typer.Argument(metavar="STATUS", help="pending, running, paused, completed or failed.", show_default=False),
    ],
) -> None:
    """Move an instance to another status, and show it."""
    with cli.store() as store:
        print_row(cli, store.run(arenas.set_instance_status, session, instance, status), _card)


@command(group, "record-diff", example='arenas record-diff "$SESSION" 0 --files 3 --added 120 --deleted 7')
def record_diff(
    cli: Cli,
    session: SessionId,
    instance: Number,
    *,
    files: Annotated[int, typer.Option(metavar="N", help="How many files it changed.", show_default=False)],
    added: Annotated[int, typer.Option(metavar="N", help="How many lines it added.", show_default=False)],
    deleted: Annotated[int, typer.Option(metavar="N", help="How many lines it deleted.", show_default=False)],
) -> None:
    """Say how much an instance has changed, and show it."""
    with cli.store() as store:
        changed = store.run(
            arenas.record_diff, session, instance, files_changed=files, lines_added=added, lines_deleted=deleted
        )
    print_row(cli, changed, _card)


@command(group, "finish", example='arenas finish "$SESSION" --winner 1\narenas finish "$SESSION" --failed')
def finish(
    cli: Cli,
    session: SessionId,
    winner: Annotated[
        int | None, typer.Option(metavar="N", help="The instance that won.", show_default="none did")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", metavar="", help="It ended without being done.")] = False,
) -> None:
    """Sum up what an arena came to, say who won, and show it; its session is completed."""
    with cli.store() as store:
        done = store.run(arenas.finish, session, winner=winner, status="failed" if failed else "completed")
    _print_arena(cli, done)


def _print_arena(cli: Cli, found: WholeArena) -> None:
    if cli.json:
        print_document(found)
        return
    print_card(_head(found))
    if not found.instances:
        hint("no instances; add one: vibeweaver-store arenas add-instance --help")
        return
    typer.echo()
    rows = [_row(each, won=each.instance_id == found.arena.winner_instance_id) for each in found.instances]
    print_table(console(), _COLUMNS, rows)


def _head(found: WholeArena) -> dict[str, str]:
    session, arena = found.session, found.arena
    winner = next((each for each in found.instances if each.instance_id == arena.winner_instance_id), None)
    return {
        "id": session.id,
        "kind": session.kind.value,
        "name": session.name or UNTITLED,
        "task": arena.task,
        "status": session.status.value,
        "runtimes": ", ".join(found.runtimes),
        "model": arena.model or "",
        "timeout": "" if arena.timeout_seconds is None else f"{number(arena.timeout_seconds)} s",
        "created": instant(session.created_at),
        **outcome(arena, winner),
    }


def outcome(arena: Arena, winner: Instance | None) -> dict[str, str]:
    """Return what an arena came to, as names and values; nothing of what is not known yet."""
    told = {}
    if arena.total_duration_seconds is not None:
        told["lasted"] = clock(arena.total_duration_seconds)
    if arena.total_files_changed is not None:
        lines = _lines(arena.total_lines_added, arena.total_lines_deleted)
        told["changed"] = ", lines ".join(filter(None, [counted(arena.total_files_changed, "file"), lines]))
    if told or winner is not None:
        told["winner"] = "" if winner is None else f"{winner.instance_id}, {winner.agent_name}"
    return told


def _row(each: Instance, *, won: bool) -> Sequence[Cell]:
    return (
        Text(f"★ {each.instance_id}", style="bold yellow") if won else str(each.instance_id),
        each.agent_name,
        Text(each.status.value, style=_STYLES[each.status]),
        each.runtime_label or each.runtime or "",
        _took(each),
        _count(each.files_changed),
        _lines(each.lines_added, each.lines_deleted),
        each.branch,
        each.worktree_path,
    )


def _card(each: Instance) -> dict[str, str]:
    return {
        "instance": str(each.instance_id),
        "session": each.session_id,
        "agent": each.agent_name,
        "status": each.status.value,
        "began": instant(each.start_time),
        "ended": instant(each.end_time),
        "files": _count(each.files_changed),
        "lines": _lines(each.lines_added, each.lines_deleted),
        "worktree": each.worktree_path,
        "branch": each.branch,
    }


def _took(each: Instance) -> str:
    if each.start_time is None or each.end_time is None:
        return ""
    return clock((each.end_time - each.start_time).total_seconds())


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _lines(added: int | None, deleted: int | None) -> str:
    return "" if added is None and deleted is None else f"+{added or 0:,} -{deleted or 0:,}"
