"""Backups: a whole, checked copy of a live database, under its name only when it is both.

SQLite is copied by its own online backup, PostgreSQL by ``pg_dump``. :mod:`vibeweaver_store.restore` is the way back.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from vibeweaver_store import compression, pg_dump, schema, sqlite_copy, sqlite_file, whole_file
from vibeweaver_store.compression import Compression, Progress
from vibeweaver_store.driver_errors import translating
from vibeweaver_store.engine import Target, resolve
from vibeweaver_store.errors import AlreadyExists, CorruptData, InvalidInput
from vibeweaver_store.locks import FORK_GATE
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.sqlite_copy import Contents


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made and checked.

    Attributes:
        path: the file.
        place: the database that was copied, without a password.
        size_bytes: of the file.
        revision: of the schema in it; ``None`` before the first.
        rows: how many rows each table in it has.
        compress: how it is compressed; ``None`` on PostgreSQL, whose archives are in themselves.
        seconds: how long it took.
    """

    path: Path
    place: str
    size_bytes: int
    revision: str | None
    rows: Mapping[str, int]
    compress: Compression | None
    seconds: float


def back_up(
    database: str | Path | URL | None,
    destination: str | Path,
    *,
    compress: Compression | None = None,
    overwrite: bool = False,
    progress: Progress = sqlite_copy.silent,
    settings: Settings | None = None,
) -> Backup:
    """Copy a database as it is at one instant, check the copy, and only then give it its name.

    Whoever has the database open goes on reading and, in WAL mode, writing; the WAL grows by what is written
    meanwhile. What was committed before the call is in the copy. To compress takes
    room for the plain copy beside the compressed one.

    Args:
        database: as :meth:`Store.open` takes it.
        destination: a file, or a folder in which the backup gets a name made of the database, its revision and the
            time (UTC).
        compress: ``gzip`` or ``zstd`` (needs ``vibeweaver-store[zstd]``); SQLite only.
        overwrite: replace a file that is there.
        progress: told what is being done, how much of it, and of how much.
        settings: instead of those of the environment.

    Raises:
        InvalidInput: an in-memory store, no such compression, or a destination that cannot be one: in no folder, the
            database itself, a name that SQLite or the lock has for a side file, a name that is too long.
        AlreadyExists: there is such a file, and it is not to be overwritten.
        StoreUnavailable: there is no such database, it cannot be read, or the destination cannot be written;
            on PostgreSQL, ``pg_dump`` is missing or too old.
        SchemaMismatch: the database is newer than this package.
        CorruptData: the database is damaged; there is no backup of it.
        StoreBusy: somebody keeps the database to himself for longer than the busy timeout.
    """
    settings = settings or load()
    target = resolve(database, settings)
    started = time.monotonic()
    _check(target, compress)
    revision = schema.current(database, settings=settings)
    schema.refuse_newer(target.place, revision)
    if target.path is None:
        name = _name(destination, f"{target.url.database}-{revision}", pg_dump.ENDING, overwrite=overwrite)
        found = pg_dump.dump(target, name, settings, progress, overwrite=overwrite)
    else:
        ending = f".db{compression.ENDINGS[compress] if compress else ''}"
        name = _name(
            destination, f"{target.path.stem}-{revision or 'base'}", ending, overwrite=overwrite, database=target.path
        )
        found = _back_up_file(target.path, name, compress, settings, progress, overwrite=overwrite)
    took = time.monotonic() - started
    return Backup(name, target.place, name.stat().st_size, found.revision, found.rows, compress, took)


def _check(target: Target, compress: str | None) -> None:
    compression.check_compression(compress)
    if target.temporary:
        raise InvalidInput("an in-memory store has no file to back up; give the store a file")
    if target.path is None and compress is not None:
        raise InvalidInput("what pg_dump makes is compressed in itself; leave compress out", field="compress")


# --- where it goes ---------------------------------------------------------------------------------------------


def _name(destination: str | Path, stem: str, ending: str, *, overwrite: bool, database: Path | None = None) -> Path:
    name = whole_file.path_of(destination, "destination")
    if name.is_dir():
        name /= f"{stem.replace(os.sep, '_')}-{whole_file.stamp()}{ending}"
    if not name.parent.is_dir():
        raise InvalidInput(f"{name}: there is no folder {name.parent}; make it first", field="destination")
    _refuse_unfit(name)
    if name.exists() and not name.is_file():
        raise InvalidInput(f"{name} is not a regular file", field="destination")
    if database is not None:
        _refuse_to_harm(database, name)
    if name.exists() and not overwrite:
        raise AlreadyExists("file", str(name))
    return name


def _refuse_unfit(name: Path) -> None:
    """Refuse a name that would be taken for a database's side file, or leaves no room for its own ones."""
    if name.name.endswith((*sqlite_file.side_files(name), ".lock")):
        raise InvalidInput(f"{name} reads as what lies beside a database; choose another name", field="destination")
    try:
        sqlite_file.side_files(name)["-journal"].stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidInput(f"{name}: {error.strerror}; choose a shorter name", field="destination") from error


def _refuse_to_harm(database: Path, name: Path) -> None:
    """Refuse names that SQLite knows, at the database or at the backup."""
    own = {database, *sqlite_file.side_files(database).values(), database.with_name(f"{database.name}.lock")}
    if name in own or sqlite_file.identity(name) == sqlite_file.identity(database):
        raise InvalidInput(f"{name} belongs to the database itself; a backup needs a file of its own")
    for beside in sqlite_file.side_files(name).values():
        if beside.exists():
            raise InvalidInput(
                f"{name} has {beside.name} beside it, which SQLite would play into the backup; choose another name, "
                "or delete that file where no database belongs to it"
            )


# --- SQLite ----------------------------------------------------------------------------------------------------


def _back_up_file(
    path: Path, name: Path, compress: Compression | None, settings: Settings, progress: Progress, *, overwrite: bool
) -> Contents:
    with FORK_GATE.passing(), whole_file.unnamed(name) as copied:
        found = _copy(path, copied, name, settings, progress)
        if compress is None:
            whole_file.give_name(copied, name, overwrite=overwrite)
            return found
        with whole_file.unnamed(name) as packed:
            with whole_file.writing(name):
                compression.pack(copied, packed, compress, progress)
            whole_file.give_name(packed, name, overwrite=overwrite)
    return found


def _copy(path: Path, copied: Path, name: Path, settings: Settings, progress: Progress) -> Contents:
    with (
        translating(path),
        closing(sqlite_copy.open_snapshot(sqlite_file.uri(path, "rw"), settings.busy_timeout_seconds)) as snapshot,
    ):
        there = sqlite_copy.contents(snapshot)
        with translating(name), whole_file.writing(name):
            sqlite_copy.copy(snapshot, copied, progress)
    found = sqlite_copy.checked_contents(copied, path, progress)
    if found != there:
        raise CorruptData(f"{path}: the copy has other rows than the database; the disk or the memory is at fault")
    return found
