"""``sessions``: make, list, show, change and delete them. How they are searched stands in ``session_search``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import (
    LIMIT,
    CompletedAt,
    CreatedAt,
    Cursor,
    Limit,
    OwnId,
    SessionId,
    UpdatedAt,
    Yes,
    parse_duration,
    parse_json,
    parse_times,
    within,
)
from vibeweaver_store.cli.output import print_deleted, print_document, print_items, print_made, print_page, print_row
from vibeweaver_store.cli.session_page import as_document, card, count, gather, print_session_page, told
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import UNTITLED, instant, number
from vibeweaver_store.columns import parse_enum
from vibeweaver_store.models import Session, SessionKind
from vibeweaver_store.models.session import DEFAULT_TEMPO_BPM
from vibeweaver_store.services import arenas, sessions, workspaces
from vibeweaver_store.services.arguments import UNSET
from vibeweaver_store.unit_of_work import UnitOfWork

group = new_group("sessions", "Make, list, search, show, change and delete sessions.")

COLUMNS: Final = (
    Column("NAME", "bold", narrow="fold"),
    Column("KIND"),
    Column("VIBE", narrow="fold"),
    Column("BPM", "cyan", right=True),
    Column("STATUS"),
    Column("UPDATED", "dim"),
    Column("ID", "dim", narrow="below"),
)

WorkingDir: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PATH", help="Where its agent works.", show_default=False)
]
InWorkspace: TypeAlias = Annotated[
    str | None,
    typer.Option("--workspace", metavar="PATH", help="The folder it belongs to; made known.", show_default=False),
]
Attributes: TypeAlias = Annotated[
    str | None, typer.Option(metavar="JSON", help="An object of your own.", show_default=False)
]
ExpectedVersion: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="Only if it is at this version still.", show_default=False)
]


@command(
    group,
    "create",
    example="""
sessions create "late set" --vibe "dark techno" --tempo 130
sessions create "fix the build" --kind agent --working-dir . --workspace . --json
sessions create "last week" --status completed --created-at 2026-11-20T18:00:00Z --updated-at 2026-11-20T23:30:00Z
""",
)
def create(
    cli: Cli,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What to call it, if anything.", show_default=False)
    ] = None,
    *,
    kind: Annotated[str, typer.Option(metavar="KIND", help="jam or agent.")] = "jam",
    vibe: Annotated[str | None, typer.Option(metavar="TEXT", help="Its mood.", show_default=False)] = None,
    tempo: Annotated[
        float | None,
        typer.Option(
            metavar="BPM", help="Beats a minute, 1 to 999.", show_default=f"{number(DEFAULT_TEMPO_BPM)} of a jam"
        ),
    ] = None,
    working_dir: WorkingDir = None,
    workspace: InWorkspace = None,
    attributes: Attributes = None,
    session_id: OwnId = None,
    status: Annotated[str, typer.Option(metavar="STATUS", help="Where it stands, of one that exists already.")] = (
        "created"
    ),
    created_at: CreatedAt = None,
    updated_at: UpdatedAt = None,
    completed_at: CompletedAt = None,
) -> None:
    """Make a new session, and print its id. Of the other kinds they are made by: arenas create."""
    _refuse_arena(kind)
    given: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "vibe": vibe,
        "working_dir": _absolute(working_dir),
        "attributes": parse_json(attributes, option="--attributes"),
        "session_id": session_id,
        "status": status,
        **parse_times(created_at, updated_at, completed_at),
    }
    if tempo is not None:
        given["tempo_bpm"] = tempo
    with cli.store() as store:
        made = store.run(_create, workspace, given)
    print_made(cli, made, made.id)


def _refuse_arena(kind: str) -> None:
    of_kind = parse_enum(SessionKind, kind, field="kind")
    if of_kind in arenas.KINDS:
        raise LineError(
            f"--kind: a session of kind {of_kind} is made with its arena; say: arenas create {of_kind} TASK"
        )


def _create(uow: UnitOfWork, workspace: str | None, given: dict[str, Any]) -> Session:
    workspace_id = None if workspace is None else workspaces.ensure(uow, workspace).id
    return sessions.create(uow, **given, workspace_id=workspace_id)


def _absolute(path: str | None) -> str | None:
    """Return a path as it means the same from every folder."""
    return None if path is None else workspaces.normalize(path)


@command(group, "list", example="sessions list\nsessions list --json --limit 1000 | jq .name")
def list_(cli: Cli, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List sessions, the last changed first."""
    with cli.store() as store:
        page = store.query(sessions.page, limit=limit, cursor=cursor)
    print_page(cli, page, COLUMNS, row, none="no sessions; make one: vibeweaver-store sessions create NAME")


@command(group, "show", example='sessions show "$SESSION"\nsessions show "$SESSION" --last 50')
def show(
    cli: Cli,
    session: SessionId,
    last: Annotated[int, typer.Option(metavar="N", help="How many messages and entries, 1 to 1,000.")] = 5,
) -> None:
    """Show a session: what it is, how much is in it, its last messages and the last of its history."""
    with cli.store() as store:
        found = store.query(gather, session, last)
    if cli.json:
        print_document(as_document(found))
    else:
        print_session_page(found)


@command(
    group,
    "update",
    example="""
sessions update "$SESSION" --tempo 132 --vibe "peak time"
sessions update "$SESSION" --name "closing set" --expected-version 3
""",
)
def update(
    cli: Cli,
    session: SessionId,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name.", show_default=False)] = None,
    no_name: Annotated[bool, typer.Option("--no-name", metavar="", help="Take its name away.")] = False,
    vibe: Annotated[str | None, typer.Option(metavar="TEXT", help="Its new mood.", show_default=False)] = None,
    no_vibe: Annotated[bool, typer.Option("--no-vibe", metavar="", help="Take its mood away.")] = False,
    tempo: Annotated[float | None, typer.Option(metavar="BPM", help="Its new tempo.", show_default=False)] = None,
    working_dir: WorkingDir = None,
    workspace: InWorkspace = None,
    no_workspace: Annotated[bool, typer.Option("--no-workspace", metavar="", help="It belongs to none.")] = False,
    agent_status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="not_started, processing, completed or error.", show_default=False),
    ] = None,
    attributes: Attributes = None,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="running, paused, completed, failed or archived.", show_default=False),
    ] = None,
    expected_version: ExpectedVersion = None,
) -> None:
    """Change what is given of a session, and show it."""
    given = {
        "name": name,
        "vibe": vibe,
        "tempo_bpm": tempo,
        "working_dir": _absolute(working_dir),
        "agent_status": agent_status,
        "attributes": parse_json(attributes, option="--attributes"),
        "status": status,
    }
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    changes |= {"name": None} if no_name else {}
    changes |= {"vibe": None} if no_vibe else {}
    changes |= {"workspace_id": None} if no_workspace else {}
    with cli.store() as store:
        changed = store.run(_update, session, workspace, changes, expected_version)
    print_row(cli, changed, card)


def _update(
    uow: UnitOfWork, session: str, workspace: str | None, changes: dict[str, Any], expected_version: int | None
) -> Session:
    workspace_id = UNSET if workspace is None else workspaces.ensure(uow, workspace).id
    return sessions.update(uow, session, **{"workspace_id": workspace_id, **changes}, expected_version=expected_version)


@command(
    group,
    "set-status",
    example="""
sessions set-status "$SESSION" running
sessions set-status "$SESSION" failed --reason "the disk is full"
""",
)
def set_status(
    cli: Cli,
    session: SessionId,
    status: Annotated[
        str,
        typer.Argument(metavar="STATUS", help="running, paused, completed, failed or archived.", show_default=False),
    ],
    *,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.", show_default=False)] = None,
    expected_version: ExpectedVersion = None,
) -> None:
    """Move a session to another status, and show it."""
    with cli.store() as store:
        moved = store.run(sessions.set_status, session, status, reason=reason, expected_version=expected_version)
    print_row(cli, moved, card)


@command(group, "reconcile", example="sessions reconcile --idle-for 1h")
def reconcile(
    cli: Cli,
    idle_for: Annotated[
        str, typer.Option(metavar="TIME", help="How long nothing was done: 30s, 5m, 2h, 7d.", show_default=False)
    ],
) -> None:
    """After a crash: mark as failed what says to be running, and in which nothing was done for so long; list it."""
    silence = parse_duration(idle_for, option="--idle-for")
    with cli.store() as store:
        failed = store.run(sessions.reconcile, idle_for=silence)
    print_items(cli, failed, COLUMNS, row, none="no session that runs was silent for so long")


@command(group, "delete", example='sessions delete "$SESSION" --yes')
def delete(cli: Cli, session: SessionId, yes: Yes = False) -> None:
    """Delete a session with all that belongs to it: messages, journal, arena, rules, markers, history, snapshots."""
    with cli.store() as store:
        found = store.query(sessions.get, session)
        goes = ", ".join([*told(store.query(within, session, count)), "rules, markers and snapshots"])
        confirm(f"Delete session {found.name or UNTITLED!r} with its {goes}?", yes=yes)
        store.run(sessions.delete, session)
    print_deleted(cli, "session", session)


def row(session: Session) -> Sequence[str]:
    """Return a session as a row of :data:`COLUMNS`."""
    return (
        session.name or UNTITLED,
        session.kind.value,
        session.vibe or "",
        "" if session.tempo_bpm is None else number(session.tempo_bpm),
        session.status.value,
        instant(session.updated_at),
        session.id,
    )
