"""The checks of an SQLite file: of the file as a file, of its pages, and of what stands in it."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from vibeweaver_store import autocommit, sqlite_file
from vibeweaver_store.engine import Target
from vibeweaver_store.errors import StoreBusy, StoreError, StoreUnavailable
from vibeweaver_store.models import METADATA
from vibeweaver_store.models.ensemble_triggers import TRIGGERS
from vibeweaver_store.settings import Settings
from vibeweaver_store.sqlite_file import APPLICATION_ID, side_files
from vibeweaver_store.upkeep.findings import MOST_LINES, Finding, Judgement, Verdict, made, of_schema, told_size

_LARGE_WAL: Final = 64 * 2**20
_LEAST_FREE: Final = 100 * 2**20
_STALE_SECONDS: Final = 3600
"""How long nothing was written to the part of a copy that nobody makes any more."""

# --- the file --------------------------------------------------------------------------------------------------


def findings_of_file(target: Target, settings: Settings) -> Iterator[Finding]:
    """Yield what is found of a file, whatever it holds, or whether there is one."""
    path = target.file
    present = made("file", _file, path)
    yield present
    if present.verdict == "broken":
        return
    about = {name: made(name, judge, path) for name, judge in _ABOUT_FILE.items()}
    yield from about.values()
    if about["permissions"].verdict == "broken":
        # SQLite would leave a -wal and -shm beside it that its owner could not use.
        yield Finding("readable", "warning", "not checked: what is in it can be checked only by who may write it")
        return
    wal_size = _size(side_files(path)["-wal"])
    # A connection that may write would play a -wal or -journal that lies there into the database.
    unfinished = wal_size is not None or side_files(path)["-journal"].exists()
    try:
        with autocommit.connect(target, settings, mode="ro" if unfinished else "rw") as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
            found = list(_of_tables(connection))
            yield from found
            sound = all(finding.verdict != "broken" for finding in found)
            yield made("wal", lambda given: _wal(given, target, settings, wal_size, sound=sound), connection)
    except StoreError as error:
        yield _unreadable(error, side_files(path)["-journal"])


def _unreadable(error: StoreError, journal: Path) -> Finding:
    if isinstance(error, StoreBusy):
        return Finding("readable", "warning", f"not checked: {error.message}")
    if isinstance(error, StoreUnavailable) and journal.exists():
        return Finding("readable", "warning", f"not checked: nothing can be read before {journal.name} is taken back")
    return Finding("readable", "broken", f"{error.message}; what is in it was not checked")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _file(path: Path) -> Judgement:
    try:
        status = path.stat()
    except FileNotFoundError:
        return "broken", f"{path}: there is no such file; make it with: vibeweaver-store db init"
    except OSError as error:
        return "broken", f"{path}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "broken", f"{path} is not a regular file"
    return "ok", told_size(status.st_size)


def _permissions(path: Path) -> Judgement:
    mode, folder_mode = (stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent))
    if not os.access(path, os.R_OK | os.W_OK):
        return "broken", f"this user may not read and write it ({mode:04o}), or it lies on a read-only disk"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return "broken", f"{path.parent} is read-only; SQLite makes its -wal and -shm files there"
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return "warning", f"others than its owner may use it ({mode:04o}, not 0600)"
    if folder_mode & (stat.S_IWGRP | stat.S_IWOTH) and not folder_mode & stat.S_ISVTX:
        return "warning", f"others than its owner may replace it: {path.parent} has mode {folder_mode:04o}"
    return "ok", f"only its owner may use it ({mode:04o})"


def _file_system(path: Path) -> Judgement:
    network = sqlite_file.network_file_system(path)
    if network is not None:
        return "warning", f"a network file system ({network}); SQLite's locks and WAL need a local disk"
    return "ok", "no network file system that is known as one"


def _free_disk(path: Path) -> Judgement:
    free, wanted = shutil.disk_usage(path.parent).free, max(path.stat().st_size, _LEAST_FREE)
    if free < wanted:
        return "warning", f"{told_size(free)} are free, less than {told_size(wanted)}; a backup may not fit"
    return "ok", f"{told_size(free)} are free"


def _leftovers(path: Path) -> Judgement:
    journal = side_files(path)["-journal"]
    lines = []
    if journal.exists():
        lines.append(
            f"{journal.name}: a transaction that is under way, or that a killed process left; "
            "opening the store takes it back: vibeweaver-store db info"
        )
    latest = time.time() - _STALE_SECONDS
    stale = sorted(each.name for each in path.parent.glob(".vibeweaver-*.part") if each.stat().st_mtime < latest)
    if stale:
        lines.append(f"{', '.join(stale)}: parts of copies that a killed process left; they may be deleted")
    return ("warning", "; ".join(lines)) if lines else ("ok", "no unfinished transaction or copy beside it")


_ABOUT_FILE: Final[Mapping[str, Callable[[Path], Judgement]]] = {
    "permissions": _permissions,
    "file_system": _file_system,
    "free_disk": _free_disk,
    "leftovers": _leftovers,
}


# --- what is in a file -----------------------------------------------------------------------------------------


def _of_tables(connection: Connection) -> Iterator[Finding]:
    yield made("sqlite_version", _sqlite_version, connection)
    identity = made("application_id", _application_id, connection)
    yield identity
    yield made("integrity", _integrity, connection)
    yield made("foreign_keys", _foreign_keys, connection)
    if identity.verdict == "ok":
        yield from of_schema(connection, {"strict": _strict, "triggers": _triggers})


def _sqlite_version(connection: Connection) -> Judgement:
    number = connection.dialect.server_version_info or ()
    version = ".".join(map(str, number))
    if resets_wal_wrongly(number) and _journal_mode(connection) == "wal":
        return "warning", (
            f"{version} may damage a database in WAL mode when two connections write and checkpoint at the same "
            "instant, which is rare (https://www.sqlite.org/wal.html#walresetbug); fixed in 3.51.3, 3.50.7 and "
            "3.44.6, and maybe in this build: distributions mend older versions without a new number"
        )
    return "ok", version


def _journal_mode(connection: Connection) -> str:
    mode: str = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    return mode


def resets_wal_wrongly(version: tuple[int | str, ...]) -> bool:
    """Say whether a version has the WAL-reset bug: 3.7.0 to 3.51.2, but for what was mended later."""
    mended = (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51)
    return (3, 7, 0) <= version < (3, 51, 3) and not mended


def _application_id(connection: Connection) -> Judgement:
    found: int = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if found == APPLICATION_ID:
        return "ok", f"{found:#x}, a store's"
    if found == 0 and not sa.inspect(connection).get_table_names():
        return "warning", "the database is empty; a store is made in it with: vibeweaver-store db init"
    return "broken", f"{found:#x} is not a store's ({APPLICATION_ID:#x}): the database of another application"


def _integrity(connection: Connection) -> Judgement:
    said = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_LINES})").scalars()
    lines = [line for told in said for line in told.splitlines() if not line.startswith("***")]
    if lines == ["ok"]:
        return "ok", "every page, index and CHECK holds"
    more = "; and maybe more" if len(lines) >= MOST_LINES else ""
    return "broken", f"restore a backup: {'; '.join(lines)}{more}"


def _foreign_keys(connection: Connection) -> Judgement:
    orphans = Counter(row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check"))
    if not orphans:
        return "ok", "every row has its parent"
    verdict: Verdict = "broken" if orphans.keys() & METADATA.tables.keys() else "warning"
    return verdict, f"rows without their parent: {', '.join(f'{n:,} of {table}' for table, n in orphans.items())}"


def _strict(connection: Connection) -> Judgement:
    rows = connection.exec_driver_sql("SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict")
    loose = sorted(set(rows.scalars()) & set(METADATA.tables))
    return ("broken", f"not STRICT: {', '.join(loose)}") if loose else ("ok", "every table is STRICT")


def _triggers(connection: Connection) -> Judgement:
    rows = connection.exec_driver_sql("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    found = [f"{name} on {table}" for name, table in rows if table in METADATA.tables and name not in TRIGGERS]
    if found:
        return "warning", f"not the store's, and run when it writes: {', '.join(found)}"
    return "ok", "none but the store's own"


def _wal(connection: Connection, target: Target, settings: Settings, size: int | None, *, sound: bool) -> Judgement:
    mode = _journal_mode(connection)
    if mode != "wal":
        return "ok", f"journal mode {mode}: there is none"
    if not size:
        return "ok", "empty", {"wal_bytes": 0, "wal_frames": 0, "checkpointed_frames": 0}
    details = {"wal_bytes": size}
    large: Verdict = "warning" if size > _LARGE_WAL else "ok"
    if not sound:
        return large, f"{told_size(size)}; left as it is, since the database is broken", details
    try:
        # The connection above stays open: the last one to close would take the -wal away.
        with autocommit.connect(target, settings) as writing:
            _, frames, done = writing.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    except StoreUnavailable as error:
        return "warning", f"{told_size(size)}, which could not be brought into the database: {error.message}", details
    details |= {"wal_frames": frames, "checkpointed_frames": done}
    held = f"; a reader holds back {frames - done:,} of its {frames:,} pages" if done < frames else ""
    hint = "; shrink it with: vibeweaver-store db maintain" if large == "warning" else ""
    return large, f"{told_size(size)}{held}{hint}", details
