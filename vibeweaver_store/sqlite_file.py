"""The SQLite file as a file: whose it is, who may read it, and where it lies. SQLite itself does the reading.

A process must never ``open()`` and close a database file that it has connections to: closing any descriptor drops
all POSIX locks of the process on that file (https://www.sqlite.org/howtocorrupt.html, 2.2). So even the header is
read through a connection.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from vibeweaver_store.driver_errors import SQLITE_ERRORS, from_sqlite
from vibeweaver_store.errors import CorruptData, NetworkFileSystemWarning, StoreError, StoreUnavailable
from vibeweaver_store.settings import Settings

APPLICATION_ID = 0x56425753
"""``VBWS``: marks a database file as a vibeweaver store's (``PRAGMA application_id``)."""

VERSION_TABLE = "vibeweaver_version"
"""Where Alembic keeps the revision; a name of its own, so that an application's migrations can live beside."""

OLDEST_SQLITE = (3, 37, 0)
"""The first version with STRICT tables."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What a path holds: nothing, an empty database, or a store at a revision (``None`` before its first one)."""

    kind: Literal["absent", "empty", "store"]
    revision: str | None = None


def inspect(path: Path, settings: Settings) -> FileState:
    """Say what a path holds, without locking or changing anything.

    Only the unfinished transaction that a killed process left in a store's ``-journal`` is taken back: nothing can be
    read before.

    Raises:
        StoreUnavailable: a folder, a device, unreadable, read-only, no SQLite database, or another application's.
        CorruptData: an SQLite database that is damaged.
        StoreBusy: another process held it exclusively for longer than the busy timeout.
        StoreError: SQLite has another reason not to read it.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; STRICT tables need 3.37 or newer")
    if not _exists(path):
        return FileState("absent")
    _check_writable(path)
    return _identify(path, settings)


def _exists(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        raise StoreUnavailable(f"{path}: a part of the path is a file, not a folder") from error
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise StoreUnavailable(f"{path} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise StoreUnavailable(f"{path} is not a regular file")
    return True


def _check_writable(path: Path) -> None:
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnavailable(f"{path} cannot be read and written by this user, or lies on a read-only disk")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreUnavailable(f"{path.parent} is read-only; SQLite makes its -wal and -shm files beside the database")


def uri(path: Path, mode: Literal["ro", "rw"]) -> str:
    """Return the URI of a database file, which is not made where it is missing."""
    return f"file:{quote(os.fsencode(path))}?mode={mode}"


def side_files(database: Path) -> dict[str, Path]:
    """Return where SQLite keeps what belongs to a database file, by ending: ``-wal``, ``-shm``, ``-journal``."""
    return {ending: database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-shm", "-journal")}


def identity(path: Path | str) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; ``None`` where it is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116 - each unit of work asks, and Path.stat takes twice as long
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _identify(path: Path, settings: Settings) -> FileState:
    # Opened mode=rw, the last connection clears up its own side files; where a -wal is there already, mode=ro keeps it
    # from being written into a database that may not be ours, and so with a -journal, unless the database says it is.
    wal, _, journal = (beside.exists() for beside in side_files(path).values())
    if wal and path.stat().st_size == 0:
        # SQLite would drop what the -wal holds, and a new store would be made in place of the old one.
        raise CorruptData(f"{path} is empty, but not its -wal file: it was cut off; restore it from a backup")
    where = uri(path, "ro" if wal or (journal and not _is_marked(path)) else "rw")
    try:
        connection = sqlite3.connect(where, uri=True, timeout=settings.busy_timeout_seconds, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error
    try:
        return _state(connection, path)
    except SQLITE_ERRORS as error:
        raise _refusal(error, path, settings) from error
    finally:
        connection.close()


def _is_marked(path: Path) -> bool:
    """Say whether the header names a store, where an unfinished transaction keeps SQLite from reading more.

    What was marked once stays so; the header as it stands on the disk, amid a transaction, is good enough.
    """
    try:
        with closing(sqlite3.connect(f"{uri(path, 'ro')}&immutable=1", uri=True)) as connection:
            return bool(connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID)
    except sqlite3.Error:
        return False


def _state(connection: sqlite3.Connection, path: Path) -> FileState:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if application_id not in {APPLICATION_ID, 0} or (tables and application_id == 0):
        raise StoreUnavailable(f"{path} is the database of another application; nothing was changed")
    if application_id == 0:
        return FileState("empty")
    if VERSION_TABLE not in tables:
        return FileState("store")
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    return FileState("store", row[0] if row else None)


def _refusal(error: sqlite3.Error | UnicodeDecodeError, path: Path, settings: Settings) -> StoreError:
    name: str = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_NOTADB"):
        return StoreUnavailable(f"{path} is not an SQLite database; nothing was changed")
    if name.startswith("SQLITE_READONLY"):
        return StoreUnavailable(
            f"{path} has an unfinished transaction beside it ({path.name}-journal), which its own application is to "
            "take back first; nothing was changed"
        )
    return from_sqlite(error, str(path), settings.busy_timeout_seconds)


def create(path: Path) -> None:
    """Make the folder (0700) and the empty file (0600) where they are missing. The caller holds the file lock.

    Raises:
        StoreUnavailable: there is no right or no room to.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be made: {error.strerror}") from error
    os.close(descriptor)


def create_folder(folder: Path) -> None:
    """Make a database's folder and the missing ones above it, readable by this user only.

    Raises:
        StoreUnavailable: there is no right or no room to.
    """
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"{folder}: the folder cannot be made: {error.strerror}") from error


_NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("9p", "acfs", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs"),
        *("fuse.davfs2", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs"),
    }
)


MOUNTS = Path("/proc/self/mounts")
"""Where Linux lists what is mounted, and as what."""


def check_file_system(path: Path, settings: Settings, mounts: Path | None = None) -> None:
    """Warn when a database lies on a network file system, where it can be known (Linux), and refuse WAL there.

    WAL keeps its index in shared memory, which machines do not share: one that reads what another has written ruins
    the database (https://www.sqlite.org/wal.html). With ``force_wal`` there is the warning alone.

    Raises:
        StoreUnavailable: it lies on one, and the journal mode is WAL.
    """
    kind = network_file_system(path, mounts)
    if kind is None:
        return
    said = f"{path} lies on a network file system ({kind})"
    if settings.journal_mode == "WAL" and not settings.force_wal:
        raise StoreUnavailable(
            f"{said}, where WAL can ruin it; set VIBEWEAVER_JOURNAL_MODE=DELETE, use PostgreSQL to share a store "
            "between machines, or set VIBEWEAVER_FORCE_WAL=1 where one machine alone ever opens it"
        )
    warnings.warn(
        f"{said}: SQLite's locks need a local disk; use PostgreSQL to share a store between machines",
        NetworkFileSystemWarning,
        stacklevel=2,
    )


def network_file_system(path: Path, mounts: Path | None = None) -> str | None:
    """Return the type of the network file system that holds a path; ``None`` where there is none that is known."""
    kind = file_system(path, mounts or MOUNTS)
    return kind if kind in _NETWORK_FILE_SYSTEMS else None


def file_system(path: Path, mounts: Path) -> str | None:
    """Return the type of the file system that holds a path, or ``None`` where the system does not tell."""
    try:
        table = mounts.read_text(errors="replace")
    except OSError:
        return None
    within, longest, kind = f"{path}/", 0, None
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = f"{fields[1].rstrip('/')}/".replace("\\040", " ")
        if within.startswith(point) and len(point) >= longest:
            longest, kind = len(point), fields[2]
    return kind
