"""The rows of imports: found, broken off. What other services build on; callers find it in ``imports``."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, require
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models.imports import Import, ImportStatus
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork


def require_imports(uow: ReadUnitOfWork, import_ids: AbstractSet[int | None]) -> None:
    """See to it that imports are there, before something is written that they brought; ``None`` is none.

    A failed foreign key would undo the whole unit of work; this does not.

    Raises:
        NotFound: one is not there.
    """
    wanted = {key for key in import_ids if key is not None}
    missing = wanted - set(uow.exec(select(Import.id).where(col(Import.id).in_(wanted)))) if wanted else wanted
    if missing:
        raise NotFound("import", min(missing))


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
    return uow.exec(select(Import).where(col(Import.id) == key_of(import_id))).one_or_none()


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


def break_off(uow: UnitOfWork, of: Import) -> None:
    """Let the imports of the same source that are at work have failed."""
    at_work = sa.update(Import).where(*same_source(of), col(Import.status) == ImportStatus.RUNNING)
    uow.exec(at_work.values(status=ImportStatus.FAILED, finished_at=uow.now()))
