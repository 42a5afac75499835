"""What tests of backups copy, and look at afterwards."""

from __future__ import annotations

from pathlib import Path

from vibeweaver_store import Store, history, sessions

ENTRIES = 3000


def fill(path: str | Path, name: str = "jam") -> str:
    """Some megabytes, so that a copy takes many steps."""
    with Store.open(path) as store, store.begin() as uow:
        jam = sessions.create(uow, name=name)
        history.append_many(uow, jam.id, [history.NewEntry("x", params="y" * 2000) for _ in range(ENTRIES)])
    return jam.id


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())
