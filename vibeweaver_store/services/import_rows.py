"""The rows of imports: found, broken off. What other services build on; callers find it in ``imports``."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, UtcDateTime
from vibeweaver_store.errors import NotFound
from vibeweaver_store.hot import Hot, HotRows
from vibeweaver_store.models.imports import Import, ImportStatus
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

_OF_ID: Final = col(Import.id) == sa.bindparam("id")
_THERE: Final = Hot(sa.select(col(Import.id)).where(_OF_ID))
_ONE: Final = HotRows(Import, select(Import).where(_OF_ID))
_BROKEN_OFF: Final = Hot(
    sa.update(Import)
    .where(
        col(Import.importer) == sa.bindparam("importer_"),
        col(Import.source) == sa.bindparam("source_"),
        col(Import.status) == ImportStatus.RUNNING,
    )
    .values(status=ImportStatus.FAILED, finished_at=sa.bindparam("at", type_=UtcDateTime()))
)


def require_imports(uow: ReadUnitOfWork, import_ids: AbstractSet[int | None]) -> None:
    """See to it that imports are there, before something is written that they brought; ``None`` is none.

    A failed foreign key would undo the whole unit of work; this does not.

    Raises:
        NotFound: one is not there.
    """
    for key in sorted(key for key in import_ids if key is not None):
        if _THERE.first(uow, id=key) is None:
            raise NotFound("import", key)


def get(uow: ReadUnitOfWork, import_id: int) -> Import:
    """Return an import by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no whole number.
    """
    found = find(uow, import_id)
    if found is None:
        raise NotFound("import", import_id)
    return found


def find(uow: ReadUnitOfWork, import_id: int) -> Import | None:
    """Return an import by its id, or ``None``.

    Raises:
        InvalidInput: the id is no whole number.
    """
    return _ONE.first(uow, id=key_of(import_id))


def key_of(import_id: int) -> int:
    """Return the id of an import, checked.

    Raises:
        InvalidInput: it is no whole number.
    """
    key: int = require(Count, import_id, field="import_id")
    return key


def same_source(of: Import) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what holds for the imports of the same source."""
    return col(Import.importer) == of.importer, col(Import.source) == of.source


def break_off(uow: UnitOfWork, importer: str, source: str) -> None:
    """Let the imports of a source that are at work have failed."""
    _BROKEN_OFF.count(uow, importer_=importer, source_=source, at=uow.now())
