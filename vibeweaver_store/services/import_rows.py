"""The rows of imports, for services that are told by which import something came."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from sqlmodel import col, select

from vibeweaver_store.errors import NotFound
from vibeweaver_store.models.imports import Import
from vibeweaver_store.unit_of_work import ReadUnitOfWork


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
