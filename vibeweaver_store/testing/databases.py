"""Databases for tests: migrated once, then copied, since a copy takes a hundredth of the time of the migrations."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import NullPool
from sqlalchemy.engine import URL

from vibeweaver_store import Store, schema, sqlite_file
from vibeweaver_store.engine import Target, connected, postgresql_engine, resolve
from vibeweaver_store.errors import AlreadyExists, InvalidInput, StoreUnavailable
from vibeweaver_store.settings import Settings, load
from vibeweaver_store.unit_of_work import Clock, utc_now

# --- SQLite ----------------------------------------------------------------------------------------------------


class _Template:
    """The file that is copied: made when it is first asked for, again where it is gone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.path: Path | None = None

    def get(self) -> Path:
        with self.lock:
            if self.path is None or not self.path.exists():
                self.path = _make_template()
            return self.path

    def start_anew_in_child(self) -> None:
        self.lock = threading.Lock()  # the parent's may be held by a thread that is gone


_TEMPLATE = _Template()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TEMPLATE.start_anew_in_child)


def _make_template() -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="vibeweaver-template-"))
    except OSError as error:
        raise StoreUnavailable(f"the folder of the template cannot be made: {error}") from error
    atexit.register(_remove_own, folder, os.getpid())
    path = folder / "template.db"
    schema.upgrade(path)
    return path


def _remove_own(folder: Path, owner: int) -> None:
    """A forked child that ends leaves its parent's folder alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def template() -> Path:
    """Return an empty SQLite database at head, to be copied and never opened.

    It is migrated once a process, whichever thread asks first, in a temporary folder that goes away with the process.
    Forked children share it; each worker of pytest-xdist, being a process of its own, makes its own.

    Raises:
        StoreUnavailable: there is no room for temporary files.
    """
    return _TEMPLATE.get()


def new_file(path: str | Path) -> Path:
    """Make an empty SQLite database at head by copying the template, and return its whole path.

    The folders above it are made where they are missing, and only this user may read it.

    Raises:
        InvalidInput: ``path`` is blank or no path of a file.
        AlreadyExists: there is a file, or what an old one left beside it; nothing is overwritten.
        StoreUnavailable: there is no right or no room to make it.
    """
    if path is None:
        raise InvalidInput("name the file; without a name it would be the per-user one")
    return _copy_template(resolve(path, load()))


def new_store(path: str | Path | None = None, *, settings: Settings | None = None, clock: Clock = utc_now) -> Store:
    """Open an empty store at head on a new file, or in memory where no path is given. Close it after use.

    It is what ``Store.open`` makes of a missing file, in a few milliseconds instead of the time of all migrations.

    Args:
        path: of a file that is not there yet.
        settings: instead of those of the environment.
        clock: where ``uow.now()`` comes from; a :class:`~vibeweaver_store.testing.SettableClock` is one.

    Raises:
        InvalidInput: ``path`` is blank or no path of a file.
        AlreadyExists: there is a file, or what an old one left beside it; nothing is overwritten.
        StoreUnavailable: there is no right or no room to make it.
    """
    settings = settings or load()
    target = resolve(":memory:" if path is None else path, settings)
    _copy_template(target)
    return Store(target, settings, clock)


def _copy_template(target: Target) -> Path:
    path = target.file
    try:
        content = template().read_bytes()
        for ending in ("-wal", "-journal"):  # SQLite would play what an old file left into the new one
            if path.with_name(f"{path.name}{ending}").exists():
                raise AlreadyExists("file", f"{path}{ending}")
        sqlite_file.create_folder(path.parent)
        _write_new(path, content)
    except FileExistsError as error:
        raise AlreadyExists("file", str(path)) from error
    except OSError as error:
        if target.temporary:
            shutil.rmtree(path.parent, ignore_errors=True)
        raise StoreUnavailable(f"{target.place}: cannot be made: {error.strerror}") from error
    return path


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there, whole or not at all."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink()
            raise


# --- PostgreSQL ------------------------------------------------------------------------------------------------


class PostgresServer:
    """Makes and drops databases on a server: ``PostgresServer("postgresql://postgres@127.0.0.1/postgres")``.

    The role of the URL needs the right to make databases. All are named ``vibeweaver_test_…``, so that those which a
    killed test run left can be told and dropped.

    Attributes:
        url: the server's, with the database that one connects to in order to make others.
    """

    def __init__(self, url: str | URL) -> None:
        self._target = resolve(url, load())
        if self._target.backend != "postgresql":
            raise InvalidInput(f"{self._target.place} is no PostgreSQL server; give postgresql://USER@HOST/DATABASE")
        self.url = self._target.url

    def run(self, statement: str) -> None:
        """Run one statement outside of any transaction, on the database of the URL.

        Raises:
            StoreUnavailable: the server does not answer, or psycopg is not installed.
            StoreError: the server refuses the statement.
        """
        engine = postgresql_engine(self._target, load(), poolclass=NullPool)
        with connected(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
            connection.exec_driver_sql(statement)

    def make(self, template: str | None = None) -> str:
        """Make a database, empty or as a copy of one that nobody is connected to, and return its name.

        Raises:
            StoreUnavailable: the server does not answer, or psycopg is not installed.
            StoreError: the server refuses, for want of rights or of the template.
        """
        name = f"vibeweaver_test_{uuid4().hex}"
        self.run(f"CREATE DATABASE {name}" + (f' TEMPLATE "{template}"' if template else ""))
        return name

    def drop(self, name: str) -> None:
        """Drop a database and whatever is connected to it; one that is not there is no error.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url_of(self, name: str) -> str:
        """Return the URL of a database of this server, for ``Store.open``. It has the password in it."""
        return self.url.set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def template(self) -> Iterator[str]:
        """Keep an empty database at head for the block, to be copied; its name.

        Raises:
            StoreUnavailable: the server does not answer, or psycopg is not installed.
        """
        name = self.make()
        try:
            schema.upgrade(self.url_of(name))
            yield name
        finally:
            self.drop(name)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Keep a database for the block, empty or as a copy of a template; its URL.

        Raises:
            StoreUnavailable: the server does not answer, or psycopg is not installed.
        """
        name = self.make(template)
        try:
            yield self.url_of(name)
        finally:
            self.drop(name)
