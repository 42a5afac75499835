"""What ``sessions show`` tells of a session: its head, its arena, how much there is, and how it ended last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import typer

from vibeweaver_store.cli import arenas as arenas_cli
from vibeweaver_store.cli import history as history_cli
from vibeweaver_store.cli import messages as messages_cli
from vibeweaver_store.cli.output import console, print_card
from vibeweaver_store.cli.table import Cell, Column, print_table
from vibeweaver_store.cli.text import UNTITLED, compact, counted, instant, number
from vibeweaver_store.models import Arena, HistoryEntry, Instance, Message, Session, SessionKind
from vibeweaver_store.services import arenas, history, journal, messages, sessions, workspaces
from vibeweaver_store.unit_of_work import ReadUnitOfWork

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A session with the end of its logs, oldest first, and how long they are."""

    session: Session
    workspace_path: str | None
    arena: Arena | None
    runtimes: list[str]
    winner: Instance | None
    counts: Mapping[str, int]
    messages: list[Message]
    history: list[HistoryEntry]


def gather(uow: ReadUnitOfWork, session_id: str, last: int) -> SessionPage:
    """Read a session with the last messages and the last entries of its history.

    Raises:
        NotFound: there is no such session.
        InvalidInput: the id is no text, or blank; or ``last`` is not 1 to 1,000.
    """
    session = sessions.get(uow, session_id)
    workspace = None if session.workspace_id is None else workspaces.find(uow, session.workspace_id)
    arena = arenas.find(uow, session_id)
    won = None if arena is None else arena.winner_instance_id
    return SessionPage(
        session=session,
        workspace_path=None if workspace is None else workspace.path,
        arena=arena,
        runtimes=arenas.runtimes(uow, session_id),
        winner=None if won is None else arenas.get_instance(uow, session_id, won),
        counts=count(uow, session_id),
        messages=messages.last(uow, session_id, last),
        history=history.recent(uow, session_id, last)[::-1],
    )


def count(uow: ReadUnitOfWork, session_id: str) -> dict[str, int]:
    """Return how many instances, messages, journal events and entries of history a session has.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    return {
        "instances": arenas.instance_count(uow, session_id),
        "messages": messages.count(uow, session_id),
        "journal_events": journal.count(uow, session_id),
        "history": history.count(uow, session_id),
    }


def told(counts: Mapping[str, int]) -> list[str]:
    """Return in words what there is of a session, without what there is none of."""
    nouns = {
        "instances": ("instance", "instances"),
        "messages": ("message", "messages"),
        "journal_events": ("journal event", "journal events"),
        "history": ("entry of history", "entries of history"),
    }
    return [counted(found, *nouns[name]) for name, found in counts.items() if found]


def as_document(page: SessionPage) -> dict[str, Any]:
    """Return a page as what ``--json`` prints of it."""
    return {
        "session": page.session,
        "workspace_path": page.workspace_path,
        "arena": None if page.arena is None else {**page.arena.model_dump(), "runtimes": page.runtimes},
        "counts": page.counts,
        "messages": page.messages,
        "history": page.history,
    }


def print_session_page(page: SessionPage) -> None:
    """Print a page: the head as a card, then the ends of the logs as tables."""
    head = card(page.session)
    if page.workspace_path is not None:
        head["workspace"] = page.workspace_path
    if page.arena is not None:
        head |= _of_arena(page.arena, page.runtimes) | arenas_cli.outcome(page.arena, page.winner)
    print_card({**head, "holds": ", ".join(told(page.counts))})
    _print_end("messages", page.messages, page.counts["messages"], messages_cli.COLUMNS, messages_cli.message_cells)
    _print_end("history", page.history, page.counts["history"], history_cli.COLUMNS, history_cli.history_cells)


def card(session: Session) -> dict[str, str]:
    """Return a session as names and values; what its kind may go without is left out where it does."""
    may_be = {
        "vibe": session.vibe or "",
        "tempo": "" if session.tempo_bpm is None else f"{number(session.tempo_bpm)} bpm",
        "agent": "" if session.agent_status is None else session.agent_status.value,
        "folder": session.working_dir or "",
        "workspace": session.workspace_id or "",
        "attributes": compact(session.attributes) if session.attributes else "",
        "ended": instant(session.completed_at),
    }
    always = {"vibe", "tempo"} if session.kind is SessionKind.JAM else set()
    reason = "" if session.status_reason is None else f": {session.status_reason}"
    return {
        "id": session.id,
        "kind": session.kind.value,
        "name": session.name or UNTITLED,
        "status": f"{session.status.value}{reason}",
        **{name: value for name, value in may_be.items() if value or name in always},
        "active": instant(session.last_activity_at),
        "created": instant(session.created_at),
        "updated": instant(session.updated_at),
        "version": str(session.version),
    }


def _of_arena(arena: Arena, runtimes: Sequence[str]) -> dict[str, str]:
    told = {"task": arena.task, "model": arena.model or "", "runtimes": ", ".join(runtimes)}
    return {name: value for name, value in told.items() if value}


def _print_end(title: str, rows: Sequence[T], count: int, columns: Sequence[Column], row: Any) -> None:
    if not rows:
        return
    of = "" if len(rows) == count else f", the last {len(rows)} of {count:,}"
    typer.echo(f"\n{title}{of}")
    cells: list[Sequence[Cell]] = [row(each) for each in rows]
    print_table(console(), columns, cells, indent=2)
