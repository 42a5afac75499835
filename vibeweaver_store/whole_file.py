"""A file that has its name only when it is whole: made under another one beside it, synced, then named at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from vibeweaver_store.database_name import refuse_url
from vibeweaver_store.errors import AlreadyExists, InvalidInput, StoreUnavailable
from vibeweaver_store.sqlite_file import side_files


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Raises:
        OSError: the disk does not take it.
    """
    if os.name == "nt":
        return  # folders cannot be opened there, nor files be synced that are open only to read
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def path_of(given: str | Path, field: str) -> Path:
    """Return the path that somebody named, whole, with ``~`` and symbolic links followed.

    Raises:
        InvalidInput: it is no path, or a URL; ``field`` names the argument.
        StoreUnavailable: this user may not look there.
    """
    if isinstance(given, str):
        refuse_url(given, wanted="the path of a file", field=field)
    try:
        text = os.fspath(given)
        if not text.strip():
            raise ValueError("it is blank")  # noqa: TRY301 - one edge for all that is no path
        whole = Path(text).expanduser().resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            whole.stat()  # a name too long shows here
    except PermissionError as error:
        raise StoreUnavailable(f"{given}: {error.strerror}") from error
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{given!r} is not the path of a file: {reason}", field=field) from error
    return whole


def stamp() -> str:
    """Return this instant as it stands in the names of copies, so that text order is time order."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


@contextmanager
def writing(name: Path) -> Iterator[None]:
    """Say of a disk that does not take something which file it was for.

    Raises:
        AlreadyExists: the name is taken.
        StoreUnavailable: there is no right or no room.
    """
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists("file", str(name)) from error
    except OSError as error:
        raise StoreUnavailable(f"{name}: cannot be written: {error.strerror}") from error


@contextmanager
def unnamed(beside: Path) -> Iterator[Path]:
    """Make an empty file (0600) in the folder of a path, and remove it after the block where it has no name by then.

    Only a process that is killed leaves it behind, as ``.vibeweaver-….part``.

    Raises:
        StoreUnavailable: there is no right or no room to.
    """
    temporary = beside.with_name(f".vibeweaver-{uuid4().hex}.part")
    try:
        with writing(beside):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
    finally:
        for leftover in (temporary, *side_files(temporary).values()):
            leftover.unlink(missing_ok=True)


def give_name(temporary: Path, name: Path, *, overwrite: bool = False) -> None:
    """Put a file on disk and give it its name, at once: no other ever sees a part of it.

    Raises:
        AlreadyExists: the name is taken, and not to be overwritten.
        StoreUnavailable: the disk does not take it.
    """
    with writing(name):
        sync(temporary)
        if overwrite:
            temporary.replace(name)
        else:
            _give_free_name(temporary, name)
        sync(name.parent)


def _give_free_name(temporary: Path, name: Path) -> None:
    try:
        os.link(temporary, name)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links, as many a USB stick has. Between look and rename another may take the
        # name; there is no better way on these.
        if os.path.lexists(name):
            raise FileExistsError(name) from None
        temporary.rename(name)
