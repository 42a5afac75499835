"""Arguments and options that several commands have."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, Literal, ParamSpec, TypeAlias, TypeVar

import orjson
import typer

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import Priority
from vibeweaver_store.paging import DEFAULT_LIMIT
from vibeweaver_store.services import projects, sessions
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

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
CreatedAt: TypeAlias = Annotated[
    str | None,
    typer.Option("--created-at", metavar="TIME", help="When it was, as 2026-01-23T18:30:00Z.", show_default="now"),
]
UpdatedAt: TypeAlias = Annotated[
    str | None,
    typer.Option("--updated-at", metavar="TIME", help="When it was last changed.", show_default=False),
]
CompletedAt: TypeAlias = Annotated[
    str | None,
    typer.Option("--completed-at", metavar="TIME", help="When it was over.", show_default=False),
]
ProjectName: TypeAlias = Annotated[
    str, typer.Argument(metavar="PROJECT", help="The project's name.", show_default=False)
]
OfProject: TypeAlias = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT", help="Only of this project.", show_default=False)
]
PriorityName: TypeAlias = Literal["critical", "high", "normal", "low", "idle"]

LIMIT = DEFAULT_LIMIT

MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""The longest text that is read from stdin."""

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)
_SECONDS_OF: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


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


def parse_times(created_at: str | None, updated_at: str | None, completed_at: str | None) -> dict[str, Any]:
    """Read the times of a record that exists elsewhere already, as services take them.

    Raises:
        InvalidInput: one is no time, or has no zone.
    """
    given = {"created_at": created_at, "updated_at": updated_at, "completed_at": completed_at}
    return {name: parse_instant(text, option=f"--{name.replace('_', '-')}") for name, text in given.items()}


def parse_duration(text: str, *, option: str) -> timedelta:
    """Read a length of time that was given on the line: ``30s``, ``5m``, ``2h``, ``7d``, or plain seconds.

    Raises:
        InvalidInput: it is no such length, or longer than time itself.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{option}: {text!r} is no length of time; write it as 30s, 5m, 2h, 7d, or in seconds")
    try:
        return timedelta(seconds=float(found[1]) * _SECONDS_OF[found[2]])
    except OverflowError as error:
        raise InvalidInput(f"{option}: {text} is longer than time itself") from error


def text_or_stdin(given: str) -> str:
    """Return a text that was given on the line, or all that stands on stdin where it is ``-``.

    Raises:
        InvalidInput: what stands on stdin is no UTF-8, or longer than 16 MiB.
    """
    if given != "-":
        return given
    try:
        return read_file(Path("-"), MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("-: what stands on stdin is no UTF-8") from error


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


def within_project(
    uow: ReadUnitOfWork,
    project: str | None,
    operation: Callable[Concatenate[ReadUnitOfWork, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Read something of a project where one is named, and say so where there is none of that name.

    Raises:
        NotFound: there is no such project.
    """
    if project is not None:
        projects.get(uow, project)
    return operation(uow, *args, **kwargs)


def within_session(
    uow: ReadUnitOfWork,
    session_id: str | None,
    operation: Callable[Concatenate[ReadUnitOfWork, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Read something of a session where one is named, as :func:`within_project` does of a project.

    Raises:
        NotFound: there is no such session.
    """
    if session_id is not None:
        sessions.get(uow, session_id)
    return operation(uow, *args, **kwargs)


def timed(
    uow: UnitOfWork, operation: Callable[Concatenate[UnitOfWork, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> tuple[T, datetime]:
    """Run an operation, and say what time it was.

    Raises:
        StoreError: whatever the operation raises.
    """
    return operation(uow, *args, **kwargs), uow.now()
