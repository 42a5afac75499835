"""Backups of PostgreSQL databases: made by ``pg_dump``, read back by ``pg_restore``, which come with PostgreSQL."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection, NullPool

from vibeweaver_store import schema, whole_file
from vibeweaver_store.compression import Progress
from vibeweaver_store.engine import Target, connected, postgresql_engine
from vibeweaver_store.errors import CorruptData, InvalidInput, StoreUnavailable
from vibeweaver_store.locks import FORK_GATE
from vibeweaver_store.settings import Settings
from vibeweaver_store.sqlite_copy import Contents
from vibeweaver_store.sqlite_file import VERSION_TABLE

ENDING: Final = ".dump"


def dump(target: Target, name: Path, settings: Settings, progress: Progress, *, overwrite: bool) -> Contents:
    """Have ``pg_dump`` write an archive of a whole database, and give it its name once it can be read.

    Rows are counted in the snapshot that it dumps. The password goes over in the environment.

    Raises:
        StoreUnavailable: ``pg_dump`` is missing, older than the server, or failed; the message says what to run.
        InvalidInput: the URL has a password of a client certificate, which ``pg_dump`` cannot be given in secret.
        AlreadyExists: the name is taken, and not to be overwritten.
        CorruptData: the archive cannot be read back.
    """
    reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    engine = postgresql_engine(target, settings, poolclass=NullPool).execution_options(**reading)
    with FORK_GATE.passing(), connected(engine) as connection, whole_file.unnamed(name) as archive:
        where = _connection_words(target)
        if "sslpassword" in where:
            raise InvalidInput(f"{target.place}: pg_dump cannot be handed sslpassword in secret; use a key without one")
        words = ["pg_dump", "--format=custom", f"--file={name}", f"--dbname={_in_libpq_words(where)}"]
        _check_tools(target, connection, shlex.join(words))
        found = Contents(schema.recorded(connection), schema.row_counts(connection))
        if found.revision is None:
            raise StoreUnavailable(f"{target.place}: there is no store in it; make it with: vibeweaver-store db init")
        snapshot = connection.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one()
        patience = round(settings.busy_timeout_seconds * 1000) or 1
        words[2:3] = [f"--file={archive}", f"--snapshot={snapshot}", f"--lock-wait-timeout={patience}", "--no-password"]
        progress("pg_dump", 0, 0)
        password = {"PGPASSWORD": where["password"]} if "password" in where else {}
        _run(target, words, os.environ | password)
        progress("checking", 0, 0)
        _check_archive(archive, name)
        whole_file.give_name(archive, name, overwrite=overwrite)
    return found


def restore_command(target: Target, source: Path) -> str:
    """Return the line that restores an archive into a database. It asks for the password, where there is one."""
    where = _in_libpq_words(_connection_words(target))
    return shlex.join(
        ["pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={where}", str(source)]
    )


def _connection_words(target: Target) -> dict[str, str]:
    words = target.url.get_dialect()().create_connect_args(target.url)[1]
    return {name: str(value) for name, value in words.items() if isinstance(value, str | int)}


def _in_libpq_words(words: dict[str, str]) -> str:
    """Return a connection string for others to see: without any password."""
    seen = {name: value for name, value in words.items() if "password" not in name}
    return " ".join(f"{name}={_quoted(value)}" for name, value in seen.items())


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w.:/,@-]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _check_tools(target: Target, connection: Connection, command: str) -> None:
    missing = [tool for tool in ("pg_dump", "pg_restore") if shutil.which(tool) is None]
    if missing:
        raise StoreUnavailable(
            f"{target.place}: {missing[0]} is not on PATH; install PostgreSQL's client programs, or run where they "
            f"are: {command}"
        )
    server = str(connection.execute(sa.text("SHOW server_version")).scalar_one())
    major = int(server.partition(".")[0])
    told = _output(["pg_dump", "--version"])
    found = re.search(r"(\d+)(\.\d+)*", told)
    if found is None or int(found[1]) < major:
        raise StoreUnavailable(
            f"{target.place}: {told.strip()} is older than the server, which is {server}; "
            f"install PostgreSQL's client programs of version {major}, or run where they are: {command}"
        )


def _run(target: Target, words: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(words, env=environment, capture_output=True, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
        raise StoreUnavailable(f"{target.place}: the backup failed: {said or f'{words[0]} ended by {done.returncode}'}")


def _output(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, check=False).stdout.decode(errors="replace")  # noqa: S603


def _check_archive(archive: Path, name: Path) -> None:
    if not re.search(rf"TABLE DATA \S+ {VERSION_TABLE} ", _output(["pg_restore", "--list", str(archive)])):
        raise CorruptData(f"{name}: pg_restore cannot read what pg_dump wrote; there is no backup")
