"""The way back: a backup takes the place of a database, which is kept beside it.

At every moment, also of a kill or a loss of power, the database's name leads to all of the old or all of the new:

1. The backup is unpacked into a nameless file beside the database, and checked there.
2. SQLite locks the database, which fails while anybody has it open; and the old one is copied to its new name.
3. SQLite writes the new database over the old one in one transaction, through the WAL, as any other. The file stays
   the same: a process that was just about to open it cannot take the -wal or -journal of one for the other's, as it
   could where files are exchanged (https://www.sqlite.org/howtocorrupt.html, 4).

Only a file that SQLite cannot read is exchanged. What lies beside it goes with it first, or it would be played into
the new file; a hard link gives the old file its second name, and then the new one takes the first, in one step.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from vibeweaver_store import compression, opened, pg_dump, schema, sqlite_copy, sqlite_file, whole_file
from vibeweaver_store.compression import Progress
from vibeweaver_store.driver_errors import SQLITE_ERRORS, translating
from vibeweaver_store.engine import Target, resolve
from vibeweaver_store.errors import CorruptData, InvalidInput, StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.locks import FORK_GATE, file_lock
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.sqlite_file import APPLICATION_ID


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        place: the database.
        source: the backup.
        revision: of the schema in it; an older one than this package's is migrated when the store is opened.
        rows: how many rows each table has.
        kept: where the database lies as it was before; ``None`` where there was none.
        seconds: how long it took.
    """

    place: str
    source: Path
    revision: str | None
    rows: Mapping[str, int]
    kept: Path | None
    seconds: float


def restore(
    source: str | Path,
    database: str | Path | URL | None = None,
    *,
    progress: Progress = sqlite_copy.silent,
    settings: Settings | None = None,
) -> Restored:
    """Put a backup in the place of an SQLite database, which is kept beside it as ``NAME.before-restore-TIME``.

    The backup may be plain, in gzip or in zstd, whatever its name, and is left as it is. A damaged database can be
    replaced as well as a sound one, and there need not be one at all. Rows without their parent hinder nothing.

    In a rollback journal mode a store of another process that is idle cannot be seen. It goes on with what was
    restored, in the same file.

    Args:
        source: what :func:`vibeweaver_store.backup.back_up` made, or any database file of this package.
        database: as :meth:`Store.open` takes it.
        progress: told what is being done, how much of it, and of how much (0 where nobody knows).
        settings: instead of those of the environment.

    Raises:
        InvalidInput: the backup is not there or the database itself; the database is in memory or on PostgreSQL, and
            then the message says what to run instead.
        CorruptData: the backup is damaged or cut short; nothing was changed.
        SchemaMismatch: the backup is newer than this package; nothing was changed.
        StoreBusy: another process, or a store of this one, has the database open; nothing was changed.
        StoreUnavailable: the backup is no store's, the database is another application's or lies on a network file
            system, or the disk does not take it; nothing was changed.
    """
    settings = settings or load()
    target = resolve(database, settings)
    started = time.monotonic()
    path = _file_of(target, source)
    backup = checked_source(source, path)
    sqlite_file.check_file_system(path, settings)
    _refuse_open_here(path)
    sqlite_file.create_folder(path.parent)
    with FORK_GATE.passing(), whole_file.unnamed(path) as new:
        _unpack(backup, new, path, settings, progress)
        found = sqlite_copy.checked_contents(new, backup, progress)
        schema.refuse_newer(backup, found.revision)
        with file_lock(path, settings.busy_timeout_seconds):
            _refuse_open_here(path)
            kept = _put_in_place(new, path, settings, progress)
    return Restored(target.place, backup, found.revision, found.rows, kept, time.monotonic() - started)


def _file_of(target: Target, source: str | Path) -> Path:
    if target.temporary:
        raise InvalidInput("an in-memory store is gone when it is closed; restore to a file")
    if target.path is None:
        raise InvalidInput(
            f"{target.place} is restored by PostgreSQL's own program: "
            f"{pg_dump.restore_command(target, whole_file.path_of(source, 'source'))}"
        )
    return target.path


def _refuse_open_here(path: Path) -> None:
    # SQLite tells of a sound database alone, and opening a damaged one would drop the locks of this process on it.
    if opened.open_here(path):
        raise _in_use(path)


# --- the backup ------------------------------------------------------------------------------------------------


def checked_source(source: str | Path, path: Path) -> Path:
    """Return the file that a backup is said to be in. Nothing is read of it.

    Raises:
        InvalidInput: there is none, or it is the database at ``path``.
        StoreUnavailable: this user may not look there.
    """
    backup = whole_file.path_of(source, "source")
    if not backup.exists():
        raise InvalidInput(f"{backup}: there is no such file", field="source")
    if not backup.is_file():
        raise InvalidInput(f"{backup} is not a regular file", field="source")
    if sqlite_file.identity(backup) == sqlite_file.identity(path):
        raise InvalidInput(f"{backup} is the database itself", field="source")
    return backup


def _unpack(backup: Path, new: Path, path: Path, settings: Settings, progress: Progress) -> None:
    """Bring the backup into a plain database file, and put that on disk.

    SQLite reads first: then a backup that is a live database is copied with what is in its -wal, and only what is no
    database is opened here, where closing it cannot drop anybody's locks.
    """
    try:
        with closing(_open(backup, settings)) as snapshot, translating(path), whole_file.writing(path):
            sqlite_copy.copy(snapshot, new, progress)
    except CorruptData as error:
        if not _is(error, "SQLITE_NOTADB"):
            raise
        packed = compression.compression_of(backup)
        if packed is None:
            raise StoreUnavailable(
                f"{backup} is no backup of a store: neither an SQLite database nor one in gzip or zstd "
                "(what pg_dump made goes into PostgreSQL, by pg_restore)"
            ) from error
        with whole_file.writing(path):
            compression.unpack(backup, new, packed, progress)
            whole_file.sync(new)


def _open(backup: Path, settings: Settings) -> sqlite3.Connection:
    # What is beside it is read with it, and never written into it: it may not be ours.
    unfinished = any(beside.exists() for beside in sqlite_file.side_files(backup).values())
    try:
        return _connect(backup, sqlite_file.uri(backup, "ro" if unfinished else "rw"), settings)
    except StoreUnavailable as error:
        if _is(error, "SQLITE_READONLY"):
            raise StoreUnavailable(
                f"{backup} has an unfinished transaction beside it ({backup.name}-journal); open it once as a store"
            ) from error
        if unfinished or not _is(error, "SQLITE_CANTOPEN"):
            raise
    # In WAL mode where SQLite cannot make its side files, as on a read-only disk: nobody writes to it there.
    return _connect(backup, f"{sqlite_file.uri(backup, 'ro')}&immutable=1", settings)


def _connect(backup: Path, uri: str, settings: Settings) -> sqlite3.Connection:
    with translating(backup):
        return sqlite_copy.open_snapshot(uri, settings.busy_timeout_seconds)


# --- the database ----------------------------------------------------------------------------------------------

_LOCK_BYTES: Final = (512, 0x40000000)
"""How many bytes, from where, SQLite locks in a database file (https://www.sqlite.org/lockingv3.html)."""


def _put_in_place(new: Path, path: Path, settings: Settings, progress: Progress) -> Path | None:
    """Have the new database under the name, and return where the old one is kept."""
    kept = path.with_name(f"{path.name}.before-restore-{whole_file.stamp()}")
    if not path.exists():
        with whole_file.writing(path):
            _put_side_files_aside(path, kept)
        whole_file.give_name(new, path)
        return None
    if not _is_readable(path, settings) or not _overwrite(new, path, kept, settings, progress):
        with whole_file.writing(path), _held_unread(path):
            _exchange(new, path, kept)
    return kept


def _is_readable(path: Path, settings: Settings) -> bool:
    if path.is_file() and path.stat().st_size == 0:
        return False  # SQLite would delete the -wal beside it, which may be all that is left
    try:
        sqlite_file.inspect(path, settings)
    except CorruptData:
        return False
    except StoreUnavailable as error:
        if _is(error, "SQLITE_NOTADB"):
            return False
        raise
    return True


def _is(error: StoreError, name: str) -> bool:
    """Say whether SQLite gave this name to what went wrong."""
    return str(getattr(error.__cause__, "sqlite_errorname", "")).startswith(name)


# --- a database that SQLite can read ---------------------------------------------------------------------------


def _overwrite(new: Path, path: Path, kept: Path, settings: Settings, progress: Progress) -> bool:
    """Keep a copy of the database, and write the new one over it; say whether SQLite could read it after all."""
    progress("waiting", 0, 0)
    connecting = sqlite3.connect(
        sqlite_file.uri(path, "rw"), uri=True, isolation_level=None, timeout=settings.busy_timeout_seconds
    )
    try:
        with translating(path), closing(connecting) as connection, _locked_out_others(connection):
            with whole_file.unnamed(kept) as copied, whole_file.writing(kept):
                sqlite_copy.copy(connection, copied)
                _dress_as(path, copied)
                whole_file.give_name(copied, kept)
            _write_over(connection, new, kept, progress)
    except StoreBusy as error:
        raise _in_use(path) from error
    except CorruptData:
        if kept.exists():
            raise
        return False
    return True


@contextmanager
def _locked_out_others(connection: sqlite3.Connection) -> Iterator[None]:
    """Have a database to oneself, in WAL mode, for the block and until the connection is closed."""
    # Before the first read: then the WAL needs no -shm, and nobody else has one open.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("SELECT count(*) FROM sqlite_master")
    before: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.execute("PRAGMA journal_mode = WAL")
    try:
        yield
    finally:
        with suppress(*SQLITE_ERRORS):  # what is committed is; whoever opens it next clears up
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute(f"PRAGMA journal_mode = {before}")


def _write_over(connection: sqlite3.Connection, new: Path, kept: Path, progress: Progress) -> None:
    page_size = connection.execute("PRAGMA page_size").fetchone()[0]
    version = _schema_version(connection)
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as source:
            if source.execute("PRAGMA page_size").fetchone()[0] != page_size:
                source.execute(f"PRAGMA page_size = {page_size}")  # in WAL mode a database cannot change its own
                source.execute("VACUUM")
            sqlite_copy.copy_pages(source, connection, "replacing", progress)
    except BaseException:
        # Ctrl-C may come when all is committed; then what is kept is the only copy of the old database.
        if version is not None and _schema_version(connection) == version:
            kept.unlink()
        raise


def _schema_version(connection: sqlite3.Connection) -> int | None:
    """Return the number that SQLite raises as it commits another content; ``None`` where it cannot be read."""
    try:
        version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    except SQLITE_ERRORS:
        return None
    return version


# --- a database that SQLite cannot read ------------------------------------------------------------------------


@contextmanager
def _held_unread(path: Path) -> Iterator[None]:
    """Lock a file where SQLite would."""
    with path.open("r+b") as file:
        with suppress(ModuleNotFoundError):
            _lock(path, file.fileno())
        header = file.read(100)
        if header.startswith(b"SQLite format 3\0") and header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
            raise StoreUnavailable(f"{path} is the damaged database of another application; nothing was changed")
        yield


def _lock(path: Path, descriptor: int) -> None:
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *_LOCK_BYTES)
    except OSError as error:
        raise _in_use(path) from error


def _in_use(path: Path) -> StoreBusy:
    return StoreBusy(
        f"{path}: another process, or a store of this one, has the database open; close it and restore again"
    )


def _exchange(new: Path, path: Path, kept: Path) -> None:
    _dress_as(path, new)
    try:
        _link(path, kept)
        _put_side_files_aside(path, kept)
        whole_file.sync(path.parent)
        new.replace(path)
    except BaseException:
        if sqlite_file.identity(path) == sqlite_file.identity(kept):
            _take_back(path, kept)
        raise
    whole_file.sync(path.parent)


def _dress_as(path: Path, new: Path) -> None:
    """Let whoever could use the old file use the new one, as when an administrator restores a service's database."""
    status = path.stat()
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(new, status.st_uid, status.st_gid)
    new.chmod(stat.S_IMODE(status.st_mode))


def _link(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} is damaged, and cannot be given a second name on this disk ({error.strerror}); move it away, "
            "with the -wal and -journal beside it, and restore again"
        ) from error


def _put_side_files_aside(path: Path, kept: Path) -> None:
    """Let what SQLite keeps beside a file go with the kept one; a -shm it makes anew from the -wal."""
    for ending, beside in sqlite_file.side_files(path).items():
        if ending == "-shm":
            beside.unlink(missing_ok=True)
        elif beside.exists():
            beside.replace(sqlite_file.side_files(kept)[ending])


def _take_back(path: Path, kept: Path) -> None:
    for ending, beside in sqlite_file.side_files(kept).items():
        if beside.exists():
            beside.replace(sqlite_file.side_files(path)[ending])
    kept.unlink()
