"""The schema of a database: which revision it is at, and how it gets to another one.

The migrations are Alembic's. In a checkout they lie in ``alembic/`` at the top; the wheel carries them as
``vibeweaver_store/_alembic``. Alembic itself is imported only when there is something to migrate.
"""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection, NullPool
from sqlalchemy.engine import URL

from vibeweaver_store import sqlite_copy, sqlite_file, whole_file
from vibeweaver_store.driver_errors import translating
from vibeweaver_store.engine import Target, connected, postgresql_engine, resolve, sqlite_engine
from vibeweaver_store.errors import (
    CorruptData,
    InvalidInput,
    MigrationFailed,
    SchemaMismatch,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from vibeweaver_store.locks import FORK_GATE, MIGRATING, file_lock
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.sqlite_file import APPLICATION_ID, VERSION_TABLE, FileState

if TYPE_CHECKING:
    from alembic.config import Config

_ADVISORY_LOCK = APPLICATION_ID
_VERSION = sa.table(VERSION_TABLE, sa.column("version_num"))


@dataclass(frozen=True, slots=True)
class Revision:
    """One migration: its number and what it does."""

    number: str
    title: str


@dataclass(frozen=True, slots=True)
class Migration:
    """What an upgrade or downgrade did. ``backup`` is the copy that was made first, where there was data."""

    before: str | None
    after: str | None
    backup: Path | None = None


# --- what there is ---------------------------------------------------------------------------------------------


def scripts() -> Path:
    """Return the folder of the migrations: in the wheel beside this module, in a checkout at the top."""
    here = Path(__file__).parent
    shipped = here / "_alembic"
    return shipped if shipped.is_dir() else here.parent / "alembic"


@lru_cache(maxsize=1)
def history() -> tuple[Revision, ...]:
    """Return all migrations, oldest first."""
    files = sorted((scripts() / "versions").glob("[0-9]*_*.py"))
    return tuple(Revision(*file.stem.split("_", 1)) for file in files)


def head() -> str:
    """Return the newest revision that this version of the package knows."""
    return history()[-1].number


def current(database: str | Path | URL | None = None, *, settings: Settings | None = None) -> str | None:
    """Return the revision of a database, ``None`` where it has none yet.

    Raises:
        StoreUnavailable: there is no such database, it cannot be reached, or is another application's.
    """
    settings = settings or load()
    target = resolve(database, settings)
    state = _inspect(target, settings)
    if state.kind == "absent":
        raise StoreUnavailable(f"{target.place}: there is no such file; make it with: vibeweaver-store db init")
    return state.revision


def _inspect(target: Target, settings: Settings) -> FileState:
    if target.path is not None:
        with FORK_GATE.passing():
            return sqlite_file.inspect(target.path, settings)
    with FORK_GATE.passing(), connected(postgresql_engine(target, settings, poolclass=NullPool)) as connection:
        return FileState("store", recorded(connection))


def recorded(connection: Connection) -> str | None:
    """Return the revision that a connection's database is at, ``None`` where it has none yet.

    Raises:
        CorruptData: it says that it is at several.
    """
    known = sa.inspect(connection).has_table(VERSION_TABLE)
    found = connection.execute(sa.select(_VERSION.c.version_num)).scalars().all() if known else []
    if len(found) > 1:
        raise CorruptData(f"the table {VERSION_TABLE} has several revisions: {', '.join(sorted(found))}")
    return found[0] if found else None


# --- opening ---------------------------------------------------------------------------------------------------


def ensure(target: Target, settings: Settings, *, migrate: bool) -> None:
    """See to it that a database is at head, for :meth:`Store.open`: without a lock where it already is.

    Raises:
        SchemaMismatch: it is newer than this package, or older and ``migrate`` is false.
        StoreUnavailable: there is none and ``migrate`` is false, or it cannot be opened.
        MigrationFailed: a migration was rolled back.
    """
    state = _inspect(target, settings)
    if state.revision == head():
        return
    refuse_newer(target.place, state.revision)
    if migrate:
        _upgrade(target, settings, "head")
        return
    if state.kind == "absent":
        raise StoreUnavailable(f"{target.place}: there is no such file; make it with: vibeweaver-store db init")
    raise SchemaMismatch(
        f"{target.place}: its schema is at {state.revision or 'nothing'} and this package needs {head()}; "
        f"run: vibeweaver-store --db '{target.place}' db upgrade",
        found=state.revision,
        expected=head(),
    )


def refuse_newer(place: object, revision: str | None) -> None:
    """See to it that this package knows the revision of a database.

    Raises:
        SchemaMismatch: it does not: the database is newer.
    """
    if revision is not None and revision not in {known.number for known in history()}:
        raise SchemaMismatch(
            f"{place}: its schema is at {revision}, which this version does not know (its newest is {head()}); "
            "upgrade the package: pip install --upgrade vibeweaver-store",
            found=revision,
            expected=head(),
        )


# --- migrating -------------------------------------------------------------------------------------------------


def upgrade(
    database: str | Path | URL | None = None, revision: str = "head", *, settings: Settings | None = None
) -> Migration:
    """Bring a database up to a revision; a missing SQLite file is made.

    It happens in one transaction, once, however many processes ask together. An SQLite file with data in it is
    copied first, unless it is at that revision already.

    Raises:
        InvalidInput: no such revision, or an in-memory store.
        SchemaMismatch: the database is newer than this package.
        MigrationFailed: a migration failed or, on SQLite, broke a foreign key or lost rows; it was rolled back.
        StoreBusy: another process held the database for longer than the busy timeout.
        StoreUnavailable: the database cannot be opened.
    """
    settings = settings or load()
    return _upgrade(_lasting(resolve(database, settings), settings), settings, _checked(revision))


def downgrade(
    database: str | Path | URL | None = None, revision: str = "-1", *, settings: Settings | None = None
) -> Migration:
    """Bring a database back to an older revision (``base`` for none). What the later ones added is gone.

    Raises:
        StoreUnavailable: there is no such database, or it cannot be opened.
        InvalidInput, SchemaMismatch, MigrationFailed, StoreBusy: as :func:`upgrade` does.
    """
    settings = settings or load()
    target = _lasting(resolve(database, settings), settings)
    wanted = _checked(revision)
    if _inspect(target, settings).kind == "absent":
        raise StoreUnavailable(f"{target.place}: there is no such file")
    with migrating(target, settings) as run:
        return run.to("downgrade", wanted)


def _lasting(target: Target, settings: Settings) -> Target:
    if target.temporary:
        raise InvalidInput(
            "an in-memory store lives within its Store, which is made at head; there is no other to migrate"
        )
    if target.path is not None:
        sqlite_file.check_file_system(target.path, settings)
    return target


def _upgrade(target: Target, settings: Settings, revision: str) -> Migration:
    with migrating(target, settings) as run:
        return run.to("upgrade", revision)


def _checked(revision: str) -> str:
    known = {"head", "base", *(entry.number for entry in history())}
    if revision not in known and not (isinstance(revision, str) and re.fullmatch(r"[+-]\d{1,4}", revision)):
        numbers = ", ".join(entry.number for entry in history())
        raise InvalidInput(f"no revision {revision!r}; there are base, {numbers}, head, or steps as +1 and -1")
    return revision


class MigrationRun:
    """A connection in the one transaction of a migration."""

    def __init__(self, connection: Connection, target: Target) -> None:
        self.connection = connection
        self.target = target
        self.before = recorded(connection)
        self.backup: Path | None = None
        refuse_newer(target.place, self.before)

    def to(self, command: str, revision: str) -> Migration:
        """Run Alembic's ``upgrade`` or ``downgrade`` on the connection and say what came of it.

        Raises:
            MigrationFailed: anything went wrong; the caller's transaction is to be rolled back.
            InvalidInput: the revision cannot be reached from here.
        """
        if self.before == {"base": None, "head": head()}.get(revision, revision):
            return Migration(self.before, self.before)
        from alembic.util import CommandError  # noqa: PLC0415

        from alembic import command as alembic_command  # noqa: PLC0415 - slow, and needed only here

        counts = self._prepare()
        config = alembic_config()
        config.attributes["connection"] = self.connection
        try:
            getattr(alembic_command, command)(config, revision)
        except (CorruptData, StoreBusy, StoreUnavailable):
            raise
        except CommandError as error:
            raise InvalidInput(f"{self.target.place}: no {command} to {revision}: {error}") from error
        except Exception as error:
            raise MigrationFailed(
                f"{self.target.place}: the migration from {self.before or 'base'} to {revision} failed and was "
                f"rolled back: {error}",
                backup=self.backup,
            ) from error
        self._check(counts)
        return Migration(self.before, recorded(self.connection), self.backup)

    def _prepare(self) -> dict[str, int]:
        if self.target.path is None:
            return {}
        counts = row_counts(self.connection)
        if any(counts.values()):
            self.backup = _back_up(self.target.path, self.before)
        return counts

    def _check(self, counts: dict[str, int]) -> None:
        """Refuse what SQLite does not: foreign keys are off while tables are rebuilt."""
        if self.target.path is None:
            return
        broken = self.connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            tables = ", ".join(sorted({row[0] for row in broken}))
            raise MigrationFailed(
                f"{self.target.place}: the migration would leave {len(broken)} rows without their parent, in {tables}; "
                "it was rolled back",
                backup=self.backup,
            )
        after = row_counts(self.connection)
        lost = {table: rows - after[table] for table, rows in counts.items() if after.get(table, rows) < rows}
        if lost:
            told = ", ".join(f"{rows} of {table}" for table, rows in sorted(lost.items()))
            raise MigrationFailed(
                f"{self.target.place}: the migration would lose rows ({told}); it was rolled back",
                backup=self.backup,
            )


@contextmanager
def migrating(target: Target, settings: Settings) -> Iterator[MigrationRun]:
    """Hold a database for a migration, alone among processes and threads, in one transaction.

    Raises:
        StoreBusy: others held it for longer than the busy timeout.
        StoreUnavailable: it cannot be opened or made.
    """
    if target.path is None:
        with _migrating_postgresql(target, settings) as run:
            yield run
        return
    sqlite_file.create_folder(target.path.parent)
    with FORK_GATE.passing(), file_lock(target.path, settings.busy_timeout_seconds), MIGRATING.lock:
        _mark_as_ours(target.path, settings)
        # Foreign keys are off before BEGIN (they cannot be switched within): with them on, rebuilding a table
        # would delete its children by cascade.
        engine = sqlite_engine(target, settings, begin="BEGIN IMMEDIATE", pool_size=0, foreign_keys=False)
        with connected(engine) as connection, connection.begin():
            # Or a table that a view shows could not be rebuilt: for an instant there is none of its name.
            connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
            yield MigrationRun(connection, target)


@contextmanager
def _migrating_postgresql(target: Target, settings: Settings) -> Iterator[MigrationRun]:
    engine = postgresql_engine(target, settings, poolclass=NullPool)
    with FORK_GATE.passing(), MIGRATING.lock, connected(engine) as connection, connection.begin():
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        yield MigrationRun(connection, target)


def _mark_as_ours(path: Path, settings: Settings) -> None:
    """Make the file where it is missing; application_id goes in before WAL, so that it is always in the header."""
    if sqlite_file.inspect(path, settings).kind == "store":
        return
    sqlite_file.create(path)
    connecting = sqlite3.connect(path, timeout=settings.busy_timeout_seconds, isolation_level=None)
    with translating(path), closing(connecting) as connection:
        # Can only be chosen before there are tables; space is given back in steps, when somebody asks for it.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def row_counts(connection: Connection) -> dict[str, int]:
    """Count the rows of all tables but Alembic's own."""
    names = [name for name in sa.inspect(connection).get_table_names() if name != VERSION_TABLE]
    count = sa.func.count()
    return {name: connection.execute(sa.select(count).select_from(sa.table(name))).scalar_one() for name in names}


def _back_up(path: Path, revision: str | None) -> Path:
    """Copy a database with SQLite's online backup, as it was before the open transaction."""
    backup = path.with_name(f"{path.name}.{revision or 'base'}-{whole_file.stamp()}.backup")
    try:
        sqlite_copy.copy_file(path, backup)
    except (sqlite3.Error, OSError, StoreError) as error:
        raise MigrationFailed(
            f"{path}: the backup before the migration failed ({error}); nothing was changed"
        ) from error
    return backup


def alembic_config(output: io.TextIOBase | None = None) -> Config:
    """Return Alembic's configuration for the migrations of this package; it touches no logging."""
    from alembic.config import Config  # noqa: PLC0415 - slow, and needed only to migrate

    quiet = io.StringIO()
    config = Config(stdout=quiet, output_buffer=output if output is not None else quiet)  # type: ignore[arg-type]
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config


# --- looking ---------------------------------------------------------------------------------------------------


def sql(backend: str = "sqlite", revisions: str = "base:head") -> str:
    """Return the SQL that migrations run, for a backend, for a reviewer to read. Nothing is executed.

    Raises:
        InvalidInput: no such backend or revision, or a range that goes back.
    """
    if backend not in {"sqlite", "postgresql"}:
        raise InvalidInput(f"no backend {backend!r}; there are sqlite and postgresql")
    start, colon, stop = revisions.partition(":")
    for revision in (start, stop) if colon else (start,):
        if _checked(revision)[0] in "+-":
            raise InvalidInput(f"steps like {revision!r} need a database to count from; name a revision")
    known = ["base", *(entry.number for entry in history()), "head"]
    if stop and known.index(start) > known.index(stop):
        raise InvalidInput(f"{start} comes after {stop}; there is SQL of upgrades alone")
    from alembic.util import CommandError  # noqa: PLC0415

    from alembic import command  # noqa: PLC0415 - slow, and needed only here

    output = io.StringIO()
    config = alembic_config(output)
    config.attributes["dialect"] = backend
    try:
        with MIGRATING.lock:
            command.upgrade(config, f"{start}:{stop}" if stop else f"base:{start}", sql=True)
    except CommandError as error:
        raise InvalidInput(f"no such range of revisions: {revisions!r} ({error})") from error
    return output.getvalue()
