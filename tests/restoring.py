"""Databases and backups for tests of restoring, and what is found of them afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from vibeweaver_store import Store, history, sessions
from vibeweaver_store.backup import back_up


def add(path: Path, name: str, entries: int = 0) -> None:
    with Store.open(path) as store, store.begin() as uow:
        jam = sessions.create(uow, name=name)
        history.append_many(uow, jam.id, [history.NewEntry("x", params=f"{n} {'y' * 500}") for n in range(entries)])


def names(path: Path) -> list[str]:
    """The sessions in a database, which must be sound."""
    with Store.open(path) as store:
        found = [str(jam.name) for jam in store.query(sessions.page, limit=1000).items]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return sorted(found)


def kept_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if ".before-restore-" in each.name)


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith(".lock")}


def make_backup(folder: Path, template: Path, *, entries: int = 500) -> Path:
    """Make a backup with a session called new, in a folder of its own."""
    source = folder / "source" / "source.db"
    source.parent.mkdir()
    shutil.copyfile(template, source)
    add(source, "new", entries=entries)
    return back_up(source, source.with_name("backup.db")).path


def make_home(parent: Path) -> Path:
    folder = parent / "home #1 ü?%20"
    folder.mkdir()
    return folder


def make_database(home: Path, template: Path) -> Path:
    """Make a database with a session called old."""
    path = home / "store.db"
    shutil.copyfile(template, path)
    path.chmod(0o600)
    add(path, "old")
    return path


def unfinished(path: Path) -> None:
    """Leave a database as a killed process does: with committed rows that are in its -wal alone."""
    with Store.open(path) as store:
        store.run(sessions.create, name="old in the wal")
        left = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.name != f"{path.name}.lock"}
    for name, data in left.items():
        path.with_name(name).write_bytes(data)
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def overwrite_header(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"\xff" * 4096 + data[4096:])
