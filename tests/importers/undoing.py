"""Looking at a store before an import and after it was undone."""

from __future__ import annotations

from typing import Any

from tests.services.scene import dump
from vibeweaver_store import Store
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.services import imports


def content(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but that of the imports."""
    return {table: rows for table, rows in dump(store).items() if table != "imports"}


def undo_all(store: Store, report: ImportReport) -> None:
    for import_id in report.import_ids:
        store.run(imports.undo, import_id)
