"""``journal``: what coding agents wrote of their own work, and the tokens that they used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer
from rich.cells import cell_len
from rich.text import Text

from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.journal_text import summary
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, SessionId, parse_instant, within
from vibeweaver_store.cli.output import (
    console,
    hint,
    print_card,
    print_document,
    print_items,
    print_lines,
    print_page,
)
from vibeweaver_store.cli.table import Cell, Column, print_table
from vibeweaver_store.cli.text import compact, counted, instant, spelled
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models import JournalEvent
from vibeweaver_store.services import journal, sessions, workspaces
from vibeweaver_store.services.journal import EventKey, Usage
from vibeweaver_store.services.journal_lines import TOKENS
from vibeweaver_store.unit_of_work import ReadUnitOfWork

group = new_group("journal", "List what coding agents wrote, and count their tokens.")

_COLUMNS: Final = (
    Column("ID", "dim", right=True),
    Column("AT", "dim"),
    Column("TYPE"),
    Column("WHAT", narrow="cut"),
)

_COUNTED: Final = (Column("TYPE"), Column("EVENTS", "cyan", right=True))

Source: TypeAlias = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="The agent's own name for its session.", show_default=False),
]
EventArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="EVENT", help="The event's number; with --source, its uuid.", show_default=False)
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From 2026-01-23T18:30:00Z on, say.", show_default=False),
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before then.", show_default=False)
]
By: TypeAlias = Literal["day", "model"]


@command(
    group,
    "list",
    example="""
journal list "$SESSION" --type assistant
journal list "$SESSION" --newest-first --json
journal list --source "$AGENTS_SESSION"
""",
)
def list_(
    cli: Cli,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)
    ] = None,
    *,
    source: Source = None,
    event_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only lines of this type.", show_default=False)
    ] = None,
    sidechain: Annotated[
        bool | None,
        typer.Option(
            "--sidechain/--main", metavar="", help="Only sub-agents, or only the main one.", show_default=False
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", metavar="", help="From the end.")] = False,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List events as they were taken in: those of a session, or with --source those of an agent's session.

    With --since or --until they are listed by their times.
    """
    filters: dict[str, Any] = {
        "event_type": event_type,
        "sidechain": sidechain,
        "since": parse_instant(since, option="--since"),
        "until": parse_instant(until, option="--until"),
    }
    if (session is None) == (source is None):
        raise LineError("say whose events: either a SESSION or --source")
    if source is not None and any(each is not None for each in filters.values()):
        raise LineError("--source: it goes with --newest-first, --limit and --cursor alone")
    paging: dict[str, Any] = {"newest_first": newest_first, "limit": limit, "cursor": cursor}
    with cli.store() as store, store.read() as uow:
        if source is not None:
            page = journal.for_source(uow, source, **paging)
        else:
            page = within(uow, session or "", journal.for_session, **filters, **paging)
    print_page(
        cli, page, _COLUMNS, _cells, none="nothing in this journal; bring in a transcript: vibeweaver-store import"
    )


@command(group, "show", example='journal show 4711\njournal show "$UUID" --source "$AGENTS_SESSION" --json | jq .data')
def show(cli: Cli, event: EventArgument, source: Source = None) -> None:
    """Show one event with the whole line that the agent wrote."""
    ref = _event(event, source)
    with cli.store() as store:
        found = store.query(journal.get, ref)
    if cli.json:
        print_document(found)
    else:
        print_card(_card(found))


@command(group, "thread", example='journal thread 4711\njournal thread "$UUID" --source "$AGENTS_SESSION"')
def thread(cli: Cli, event: EventArgument, source: Source = None) -> None:
    """Show an event behind its parent, that one behind its own, and so on, from the first."""
    ref = _event(event, source)
    with cli.store() as store:
        found = store.query(journal.thread, ref)
    print_items(cli, found, _COLUMNS, _cells, none="")


@command(
    group,
    "associate",
    example="""
journal associate "$SESSION" 4711 4712
journal associate "$SESSION" "$UUID" --source "$AGENTS_SESSION"
""",
)
def associate(
    cli: Cli,
    session: SessionId,
    events: Annotated[
        list[str],
        typer.Argument(metavar="EVENT", help="Events' numbers; with --source, uuids.", show_default=False),
    ],
    source: Source = None,
) -> None:
    """Have events belong to a session, whichever they belonged to."""
    refs = [_event(each, source) for each in events]
    with cli.store() as store:
        changed = store.run(journal.associate, refs, session)
    if cli.json:
        print_document({"session_id": session, "associated": changed})
    else:
        hint(f"{counted(changed, 'event')} of {counted(len(refs), 'event')} came to session {session}")


@command(group, "counts", example='journal counts "$SESSION"\njournal counts "$SESSION" --json')
def counts(cli: Cli, session: SessionId) -> None:
    """List how many events of each type a session has."""
    with cli.store() as store:
        found = store.query(within, session, journal.counts)
    items = [{"type": event_type, "count": count} for event_type, count in found.items()]
    print_items(cli, items, _COUNTED, lambda each: (str(each["type"]), f"{each['count']:,}"), none="no events")


def _event(text: str, source: str | None) -> int | EventKey:
    """Return what an event is named by: its number, or its uuid where the source is given."""
    if source is not None:
        return EventKey(source, text)
    if not (text.isascii() and text.isdecimal()):
        raise LineError(f"EVENT: {text!r} is no number; with an event's uuid, say --source")
    return int(text)


def _card(event: JournalEvent) -> dict[str, str]:
    told = {
        "session": event.session_id or "",
        "parent": event.parent_uuid or "",
        "folder": event.cwd or "",
        "project": event.project_name or "",
        "model": event.model or "",
        "message": event.message_id or "",
    }
    return {
        "id": str(event.id),
        "uuid": event.event_uuid,
        "source": event.source_session_id,
        "type": f"{event.event_type}{', of a sub-agent' if event.is_sidechain else ''}",
        "at": instant(event.timestamp),
        **{name: value for name, value in told.items() if value},
        "line": compact(event.data),
    }


def _cells(event: JournalEvent) -> Sequence[Cell]:
    kind = Text(f"↳ {event.event_type}", style="dim") if event.is_sidechain else event.event_type
    return str(event.id), instant(event.timestamp), kind, summary(event.data)


# --- usage -----------------------------------------------------------------------------------------------------

_COUNTS: Final = ("responses", *TOKENS)
_TITLES: Final = ("RESPONSES", "INPUT", "OUTPUT", "CACHED", "WRITTEN", "TOTAL")
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_SHORTEST_BAR: Final = 6
_LONGEST_BAR: Final = 40
_WIDEST_COUNT: Final = len("999.9M")


@command(
    group,
    "usage",
    example="""
journal usage "$SESSION"
journal usage --workspace . --by day
journal usage --since 2026-01-01T00:00:00Z --json
""",
)
def usage(
    cli: Cli,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Only this session's.", show_default=False)
    ] = None,
    *,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", metavar="PATH", help="Only of its sessions.", show_default=False)
    ] = None,
    since: Since = None,
    until: Until = None,
    by: Annotated[
        By | None, typer.Option("--by", metavar="day|model", help="Add up by one of the two.", show_default=False)
    ] = None,
) -> None:
    """Show the tokens that were used, by day and model; each API response counts once.

    CACHED tokens were read from the cache, WRITTEN ones went into it. Days are in UTC.
    """
    first, end = parse_instant(since, option="--since"), parse_instant(until, option="--until")
    with cli.store() as store:
        found = store.query(_find, session, workspace, first, end)
    summed = found if by is None else journal.add_up(found, by)
    if cli.json:
        print_lines(_document(each, by) for each in summed)
    elif not summed:
        hint("no tokens were used")
    else:
        _print_chart(summed, by)


def _find(
    uow: ReadUnitOfWork, session_id: str | None, folder: Path | None, since: datetime | None, until: datetime | None
) -> list[Usage]:
    if session_id is not None:
        sessions.get(uow, session_id)
    workspace_id = None
    if folder is not None:
        workspace = workspaces.find_by_path(uow, folder)
        if workspace is None:
            raise NotFound("workspace", spelled(folder))
        workspace_id = workspace.id
    return journal.usage(uow, session_id=session_id, workspace_id=workspace_id, since=since, until=until)


def _document(row: Usage, by: By | None) -> dict[str, Any]:
    labels = {"day": None if row.day is None else row.day.isoformat(), "model": row.model}
    counts = {name: value for name, value in asdict(row).items() if name not in labels}
    return {
        **{name: label for name, label in labels.items() if by in {None, name}},
        **counts,
        "total_tokens": row.total_tokens,
    }


def _print_chart(rows: Sequence[Usage], by: By | None) -> None:
    """Print the counts; on a terminal short ones, with a bar of the total that takes the room that is left."""
    out = console()
    labels = [Column("DAY")] if by != "model" else []
    labels += [Column("MODEL", "bold", narrow="fold")] if by != "day" else []
    counts = [Column(title, right=True) for title in _TITLES]
    told = [
        [*_labels(row, by), *(_count(row, name, short=out.is_terminal) for name in (*_COUNTS, "total_tokens"))]
        for row in rows
    ]
    if out.is_terminal:
        counts[-1] = Column(_TITLES[-1], "cyan")
        columns = [*labels, *counts]
        wide = [
            max(cell_len(text) for text in (column.title, *(row[at] for row in told)))
            for at, column in enumerate(columns[:-1])
        ]
        room = out.width - sum(wide) - 2 * len(wide) - _WIDEST_COUNT - 1
        length = max(_SHORTEST_BAR, min(_LONGEST_BAR, room))
        longest = max(row.total_tokens for row in rows)
        for row, cells in zip(rows, told, strict=True):
            cells[-1] = f"{_bar(row.total_tokens / longest, length)} {cells[-1]:>{_WIDEST_COUNT}}"
    print_table(out, [*labels, *counts], told)


def _labels(row: Usage, by: By | None) -> list[str]:
    day = [] if by == "model" else ["" if row.day is None else row.day.isoformat()]
    return [*day, *([] if by == "day" else [row.model or ""])]


def _count(row: Usage, name: str, *, short: bool) -> str:
    count: int = getattr(row, name)
    return _short(count) if short else str(count)


def _short(count: int) -> str:
    """Return a count in a few characters: 999, 12.3k, 4.5M."""
    if count < 1000:
        return str(count)
    value = float(count)
    for unit in "kMG":
        value /= 1000
        if value < 999.95:  # what would be rounded up to 1000.0 is told in the next unit
            return f"{value:.1f}{unit}"
    return f"{value / 1000:.1f}T"


def _bar(part: float, length: int) -> str:
    """Return a bar that fills a part of its length, to an eighth of a character; never empty where there is a part."""
    eighths = max(round(part * length * 8), 1 if part else 0)
    whole, rest = divmod(eighths, 8)
    return f"{'█' * whole}{_EIGHTHS[rest] if rest else ''}".ljust(length)
