"""``history``: list, follow, append and count what was done in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.notation import ACTIONS, SIGNALS, TRIGGERS
from vibeweaver_store.cli.options import LIMIT, CreatedAt, Cursor, Limit, SessionId, parse_instant, parse_json, within
from vibeweaver_store.cli.output import print_document, print_made, print_page
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.tail import LINES, Follow, Lines, print_line
from vibeweaver_store.cli.text import compact, instant
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import HistoryEntry
from vibeweaver_store.services import history
from vibeweaver_store.services.rules import FIRED

group = new_group("history", "List, follow, append and count what was done in a session.")

COLUMNS = (
    Column("ID", "dim", right=True),
    Column("AT", "dim"),
    Column("ACTION", "cyan", narrow="fold"),
    Column("OK"),
    Column("DETAILS", narrow="cut"),
)

ActionFilter: TypeAlias = Annotated[
    str | None, typer.Option("--action", metavar="ACTION", help="Only this action.", show_default=False)
]
SuccessFilter: TypeAlias = Annotated[
    bool | None,
    typer.Option("--succeeded/--failed", metavar="", help="Only what went well, or wrong.", show_default=False),
]


@command(
    group, "list", example='history list "$SESSION"\nhistory list "$SESSION" --action rule.fired --oldest-first --json'
)
def list_(
    cli: Cli,
    session: SessionId,
    *,
    action: ActionFilter = None,
    succeeded: SuccessFilter = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", metavar="", help="From the beginning.")] = False,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List a session's history, newest first."""
    with cli.store() as store:
        page = store.query(
            within,
            session,
            history.page,
            limit=limit,
            cursor=cursor,
            action=action,
            success=succeeded,
            oldest_first=oldest_first,
        )
    print_page(cli, page, COLUMNS, history_cells, none="nothing in this history")


@command(
    group,
    "append",
    example="""
history append "$SESSION" mix.bounced --params '{"file": "late-set.wav"}'
history append "$SESSION" mix.bounced --failed --result '"disk full"'
history append "$SESSION" play --created-at 2026-01-23T18:30:00Z
""",
)
def append(
    cli: Cli,
    session: SessionId,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="What was done.", show_default=False)],
    *,
    params: Annotated[str | None, typer.Option(metavar="JSON", help="With what.", show_default=False)] = None,
    result: Annotated[str | None, typer.Option(metavar="JSON", help="What came of it.", show_default=False)] = None,
    failed: Annotated[bool, typer.Option("--failed", metavar="", help="It did not do what it should.")] = False,
    created_at: CreatedAt = None,
) -> None:
    """Append an entry to a session's history, and print its number.

    Its place is the end, also when it was done earlier.
    """
    given = parse_json(params, option="--params")
    came = parse_json(result, option="--result")
    at = parse_instant(created_at, option="--created-at")
    with cli.store() as store:
        made = store.run(history.append, session, action, params=given, result=came, success=not failed, created_at=at)
    print_made(cli, made, made.id)


@command(group, "count", example='history count "$SESSION" --failed')
def count(cli: Cli, session: SessionId, action: ActionFilter = None, succeeded: SuccessFilter = None) -> None:
    """Print how many entries a session's history has."""
    with cli.store() as store:
        found = store.query(within, session, history.count, action=action, success=succeeded)
    if cli.json:
        print_document({"count": found})
    else:
        typer.echo(str(found))


@command(
    group,
    "tail",
    example="""
history tail "$SESSION"
history tail "$SESSION" --follow --action rule.fired
history tail "$SESSION" --lines 0 --follow --json
""",
)
def tail(
    cli: Cli,
    session: SessionId,
    *,
    lines: Lines = LINES,
    follow: Follow = False,
    action: ActionFilter = None,
    succeeded: SuccessFilter = None,
) -> None:
    """Print the end of a session's history, oldest first; with --follow, what any process adds, until Ctrl-C."""
    with cli.store() as store:
        page = store.query(within, session, history.page, limit=max(lines, 1), action=action, success=succeeded)
        for entry in reversed(page.items[:lines]):
            print_line(cli, entry, history_cells(entry))
        if follow:
            after = page.items[0].id if page.items else 0
            for entry in history.follow(store, session, after=after, action=action, success=succeeded):
                print_line(cli, entry, history_cells(entry))


def history_cells(entry: HistoryEntry) -> Sequence[Cell]:
    """Return an entry as a row of :data:`COLUMNS`."""
    verdict = Text("yes", style="green") if entry.success else Text("no", style="bold red")
    return str(entry.id), instant(entry.created_at), entry.action, verdict, _details(entry)


def _details(entry: HistoryEntry) -> str:
    if entry.action == FIRED and isinstance(entry.params, dict):
        told = _firing(entry.params)
        if told is not None:
            return told
    params = "" if entry.params is None else compact(entry.params)
    return params if entry.result is None else f"{params} → {compact(entry.result)}".strip()


def _firing(params: Mapping[str, Any]) -> str | None:
    """Tell a firing as its rule and signal are written; nothing where the entry is of somebody else's making."""
    try:
        on = TRIGGERS.shown(TRIGGERS.from_document(params["trigger"]))
        do = ACTIONS.shown(ACTIONS.from_document(params["action"]))
        signal = params["signal"]
        at = "" if signal is None else f"[{SIGNALS.shown(SIGNALS.from_document(signal))}] "
    except (KeyError, InvalidInput):
        return None
    return f"{at}{on} → {do}"
