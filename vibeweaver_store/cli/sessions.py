"""``sessions``: make, list, show, change and delete them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, OwnId, SessionId, Yes
from vibeweaver_store.cli.output import print_deleted, print_made, print_page, print_row
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import instant, number
from vibeweaver_store.models import Session
from vibeweaver_store.models.session import DEFAULT_TEMPO_BPM
from vibeweaver_store.services import sessions
from vibeweaver_store.services.arguments import UNSET, Unset

group = new_group("sessions", "Make, list, show, change and delete sessions.")

_COLUMNS = (
    Column("NAME", "bold", narrow="fold"),
    Column("VIBE", narrow="fold"),
    Column("BPM", "cyan", right=True),
    Column("STATUS"),
    Column("UPDATED", "dim"),
    Column("ID", "dim", narrow="below"),
)


@command(
    group,
    "create",
    example="""
sessions create "late set" --vibe "dark techno" --tempo 130
sessions create warm-up --json
""",
)
def create(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.", show_default=False)],
    vibe: Annotated[str | None, typer.Option(metavar="TEXT", help="Its mood.", show_default=False)] = None,
    tempo: Annotated[float, typer.Option(metavar="BPM", help="Beats a minute, 1 to 999.")] = DEFAULT_TEMPO_BPM,
    session_id: OwnId = None,
) -> None:
    """Make a new session, and print its id."""
    with cli.store() as store:
        made = store.run(sessions.create, name=name, vibe=vibe, tempo_bpm=tempo, session_id=session_id)
    print_made(cli, made, made.id)


@command(group, "list", example="sessions list\nsessions list --json --limit 1000 | jq .name")
def list_(cli: Cli, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List sessions, the last changed first."""
    with cli.store() as store:
        page = store.query(sessions.page, limit=limit, cursor=cursor)
    print_page(cli, page, _COLUMNS, _row, none="no sessions; make one: vibeweaver-store sessions create NAME")


@command(group, "show", example='sessions show "$SESSION"')
def show(cli: Cli, session: SessionId) -> None:
    """Show one session."""
    with cli.store() as store:
        found = store.query(sessions.get, session)
    print_row(cli, found, _card)


@command(group, "update", example='sessions update "$SESSION" --tempo 132 --vibe "peak time"')
def update(
    cli: Cli,
    session: SessionId,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name.", show_default=False)] = None,
    vibe: Annotated[str | None, typer.Option(metavar="TEXT", help="Its new mood.", show_default=False)] = None,
    no_vibe: Annotated[bool, typer.Option("--no-vibe", metavar="", help="Take its mood away.")] = False,
    tempo: Annotated[float | None, typer.Option(metavar="BPM", help="Its new tempo.", show_default=False)] = None,
) -> None:
    """Change what is given of a session, and show it."""
    new_vibe: str | Unset | None = UNSET if vibe is None else vibe
    with cli.store() as store:
        changed = store.run(
            sessions.update,
            session,
            name=UNSET if name is None else name,
            vibe=None if no_vibe else new_vibe,
            tempo_bpm=UNSET if tempo is None else tempo,
        )
    print_row(cli, changed, _card)


@command(group, "delete", example='sessions delete "$SESSION" --yes')
def delete(cli: Cli, session: SessionId, yes: Yes = False) -> None:
    """Delete a session with all its rules, markers, history and snapshots."""
    with cli.store() as store:
        found = store.query(sessions.get, session)
        confirm(f"Delete session {found.name!r} with its rules, markers, history and snapshots?", yes=yes)
        store.run(sessions.delete, session)
    print_deleted(cli, "session", session)


def _tempo(session: Session) -> str:
    return "" if session.tempo_bpm is None else number(session.tempo_bpm)


def _row(session: Session) -> Sequence[str]:
    return (
        session.name,
        session.vibe or "",
        _tempo(session),
        session.status.value,
        instant(session.updated_at),
        session.id,
    )


def _card(session: Session) -> dict[str, str]:
    return {
        "id": session.id,
        "kind": session.kind.value,
        "name": session.name,
        "vibe": session.vibe or "",
        "tempo": f"{_tempo(session)} bpm",
        "status": session.status.value,
        "created": instant(session.created_at),
        "updated": instant(session.updated_at),
    }
