"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

import orjson
import typer

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import Priority
from vibeweaver_store.paging import DEFAULT_LIMIT
from vibeweaver_store.services import sessions
from vibeweaver_store.unit_of_work import ReadUnitOfWork

P = ParamSpec("P")
T = TypeVar("T")

SessionId: TypeAlias = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)]
Limit: TypeAlias = Annotated[int, typer.Option("--limit", metavar="N", help="How many to list, 1 to 1,000.")]
Cursor: TypeAlias = Annotated[
    str | None,
    typer.Option("--cursor", metavar="CURSOR", help="Where to go on, as the page before said.", show_default=False),
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]
OwnId: TypeAlias = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="An id of your own.", show_default="a new UUID")
]
PriorityName: TypeAlias = Literal["critical", "high", "normal", "low", "idle"]

LIMIT = DEFAULT_LIMIT


def priority_name(priority: Priority) -> str:
    """Return how a priority is called on the line."""
    return priority.name.lower()


def parse_json(text: str | None, *, option: str) -> Any:
    """Read a JSON value that was given on the line; nothing where none was.

    Raises:
        InvalidInput: it is no JSON.
    """
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{option}: {text!r} is no JSON ({error}); a text needs double quotes") from error


def parse_instant(text: str | None, *, option: str) -> datetime | None:
    """Read a time that was given on the line, in ISO 8601 with a zone; nothing where none was.

    Raises:
        InvalidInput: it is no such time, or has no zone.
    """
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{option}: {text!r} is no time; write it as 2026-01-23T18:30:00Z") from error
    if instant.utcoffset() is None:
        raise InvalidInput(f"{option}: {text!r} does not say in which zone; write it as 2026-01-23T18:30:00Z")
    return instant


def read_file(path: Path, limit_bytes: int) -> bytes:
    """Read a file, or stdin where the path is ``-``.

    Raises:
        InvalidInput: it cannot be read, or holds more than the limit.
    """
    try:
        if str(path) == "-":
            data = typer.get_binary_stream("stdin").read(limit_bytes + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else "this cannot be a path"
        raise InvalidInput(f"{path}: {reason}") from error
    if len(data) > limit_bytes:
        raise InvalidInput(f"{path}: it holds more than {limit_bytes // 1024**2} MiB")
    return data


def within(
    uow: ReadUnitOfWork,
    session_id: str,
    operation: Callable[Concatenate[ReadUnitOfWork, str, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Read something of a session, and say so where there is no such session: a slip in an id is no empty list.

    Raises:
        NotFound: there is no such session.
    """
    sessions.get(uow, session_id)
    return operation(uow, session_id, *args, **kwargs)
