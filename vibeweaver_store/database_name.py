"""From the name of a database, a path or a URL, to the file or the server that it means. Nothing is opened or made.

A text that begins with a word and a colon is a URL, never the name of a file. Taken for one, ``sqlite:late-set.db``
would be a file beside the one that is meant, and ``postgresql:/me:PASSWORD@host/jam`` one with a password as its name.
A file of such a name is written ``./sqlite:late-set.db``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from vibeweaver_store.errors import InvalidInput

MEMORY: Final = ":memory:"

_SQLITE: Final = {"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"}
_POSTGRESQL: Final = {"postgresql", "postgresql+psycopg"}

_SCHEME: Final = re.compile(r"\s*([a-z][a-z0-9+.-]+):", re.IGNORECASE)
"""How a URL begins. A drive of Windows has one letter."""
_CONNECTION_STRING: Final = re.compile(
    r"(?:^|[\s;])(?:host|hostaddr|server|dbname|database|user|uid|password|pwd)\s*=", re.IGNORECASE
)
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)\})(?=/|$)")

_FORMS: Final = "a file, sqlite:FILE or postgresql+psycopg://USER@HOST/DATABASE"
_SLASHES: Final = (
    "an SQLite URL has three slashes before the file or none (sqlite:///late-set.db, sqlite:late-set.db), and no host"
)


def read(database: str | Path | URL) -> Path | URL | None:
    """Return the SQLite file that a name means, the URL of a PostgreSQL server, or ``None`` for ``":memory:"``.

    In a text, a leading ``~`` is the home folder, and a leading ``$NAME`` is that variable's value. A ``Path`` names a
    file as it is.

    Raises:
        InvalidInput: blank, a URL that cannot be read, or a backend that the store does not run on. A part of the name
            that may be a password is not repeated.
    """
    if isinstance(database, Path):
        return database if _is_file(database) else Path(_checked_path(str(database)))
    if isinstance(database, URL):
        return _read_url(database)
    if database == MEMORY:
        return None
    scheme = _SCHEME.match(database)
    if scheme is not None and scheme[1].lower() in _SQLITE:
        return _read_sqlite(database[scheme.end() :])
    if "://" in database:
        return _read_url(database)
    return Path(_checked_path(_expanded(database)))


def _read_url(database: str | URL) -> Path | URL | None:
    try:
        url = make_url(database)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise InvalidInput("the database URL cannot be read; it looks like sqlite:///late-set.db") from error
    if url.drivername in _POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in _SQLITE:
        wanted = "sqlite:///FILE" if backend == "sqlite" else _FORMS
        raise InvalidInput(f"the store does not run on {url.drivername!r}; give {wanted}")
    _refuse_options(url.query)
    if url.host:
        raise InvalidInput(_SLASHES)
    return Path(_checked_path(url.database)) if url.database and url.database != MEMORY else None


def _read_sqlite(rest: str) -> Path | None:
    """Return the file that the text of an SQLite URL means, without its scheme.

    Three slashes are SQLAlchemy's spelling: ``sqlite:///relative.db``, ``sqlite:////absolute.db``. No slashes are that
    of sqlx: ``sqlite:relative.db``, ``sqlite:/absolute.db``; so are two, unless a host may be meant.
    """
    named, _, query = rest.partition("?")
    _refuse_options(each.partition("=")[0] for each in query.split("&") if each)
    slashes = "///" if named.startswith("///") else "//" if named.startswith("//") else ""
    text = named.removeprefix(slashes)
    if text == MEMORY or (slashes and not text):
        return None
    if slashes == "//" and "/" in text and text[0] not in ".~$":
        raise InvalidInput(_SLASHES)
    if not text.strip():
        raise InvalidInput("the SQLite URL names no file; it looks like sqlite:late-set.db")
    path = Path(_checked_path(_expanded(_unquoted(text))))
    if slashes == "///":
        _refuse_lost_slash(path)
    elif not slashes:
        _refuse_stray_file(Path(f"sqlite:{text}"), path)
    return path


def _unquoted(text: str) -> str:
    """Return a text with its percent escapes as what they stand for; the name of a file need not be Unicode."""
    try:
        return os.fsdecode(unquote_to_bytes(os.fsencode(text)))
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not the path of a database: {error}") from error


def _refuse_options(names: Iterable[str]) -> None:
    listed = ", ".join(sorted(set(names)))
    if listed:
        raise InvalidInput(f"options in an SQLite URL are not supported: {listed}; give the file alone")


def _refuse_lost_slash(path: Path) -> None:
    """Refuse ``sqlite:///home/me/late-set.db``: an absolute path to sqlx, and a relative one to SQLAlchemy and here."""
    absolute = Path("/", path)
    if not path.expanduser().parent.is_dir() and absolute.parent.is_dir():
        raise InvalidInput(
            f"after three slashes a path is relative, and there is no folder {str(path.parent)!r} here; write "
            f"sqlite:{absolute} for the folder {str(absolute.parent)!r}, which is there, or sqlite:{path}"
        )


def _refuse_stray_file(stray: Path, path: Path) -> None:
    """Refuse a URL that an earlier version took for the name of a file, and whose data is still in that file."""
    if _is_file(stray) and not _is_file(path.expanduser()):
        raise InvalidInput(
            f"{str(stray)!r} means the file {str(path)!r}, which is missing, but there is a file './{stray}'; "
            "move it to where it belongs, or open it by that name"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _expanded(text: str) -> str:
    """Return a path with the value of the variable that it begins with, as a shell would have put it.

    Raises:
        InvalidInput: the environment has no such variable.
    """
    found = _VARIABLE.match(text)
    if found is None:
        return text
    name = found[1] or found[2]
    value = os.environ.get(name)
    if not value:
        raise InvalidInput(f"the environment has no {name}; a file whose name begins with $ is ./$…")
    return value + text[found.end() :]


def _checked_path(text: str) -> str:
    refuse_url(text)
    if not text.strip() or "\x00" in text:
        raise InvalidInput(f"{text!r} is not the path of a database")
    return text


def refuse_url(text: str, *, wanted: str = _FORMS, field: str | None = None) -> None:
    """Refuse the path of a file that is a URL or a connection string. It may hold a password, and is not repeated.

    Args:
        text: the path.
        wanted: what to give instead, for the error.
        field: which argument it is of, for the error.

    Raises:
        InvalidInput: it is one.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None:
        raise InvalidInput(
            f"{scheme[1]!r} begins a URL that is not read here; give {wanted}. "
            f"A file whose name begins so is ./{scheme[1]}:…",
            field=field,
        )
    if not text.startswith(("/", "./", "../", "~")) and _CONNECTION_STRING.search(text):
        raise InvalidInput(
            f"a connection string is not read here; give {wanted}. A file whose name looks so has ./ before it",
            field=field,
        )
