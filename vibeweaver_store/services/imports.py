"""Imports: what was brought in from where, how far a source was read, and how to take it away again.

An import is one source (a file) and one run that found something new in it. It is begun, told of each batch in the
batch's own unit of work, and finished; what a killed one brought is whole, and the next run goes on behind it.

The whole of it under one name: what is written here, and what stands in ``import_rows`` and ``import_undo``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from vibeweaver_store.columns import Count, JsonObject, Name, PathText, Text, parse_enum
from vibeweaver_store.errors import IllegalTransition, InvalidInput
from vibeweaver_store.hot import HotRows, placed
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models import (
    Comment,
    CoordinationEvent,
    EnsembleWorker,
    Import,
    ImportStatus,
    Job,
    JournalEvent,
    Message,
    Project,
    Session,
    Ticket,
    WorkerType,
    Workspace,
)
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.import_rows import break_off, find, get, key_of
from vibeweaver_store.services.import_undo import ATTACHED, GROWN, LATEST, SPACES, Undone, undo
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "ATTACHED",
    "GROWN",
    "LATEST",
    "SPACES",
    "Brought",
    "Undone",
    "begin",
    "brought",
    "find",
    "finish",
    "get",
    "latest",
    "page",
    "record",
    "undo",
]


@dataclass(frozen=True, slots=True)
class Brought:
    """How many rows of each kind are there of an import."""

    sessions: int
    messages: int
    journal_events: int
    workspaces: int
    projects: int = 0
    worker_types: int = 0
    tickets: int = 0
    comments: int = 0
    workers: int = 0
    coordination_events: int = 0
    jobs: int = 0


# --- a run -----------------------------------------------------------------------------------------------------


def begin(uow: UnitOfWork, importer: str, source: str, fingerprint: str, *, offset_bytes: int = 0) -> Import:
    """Begin an import of a source. One of the same source that is at work still, or was killed at it, is failed.

    Whoever was at it is refused on its next :func:`record`: so two do not go on reading a source side by side. On
    PostgreSQL, several that begin at one moment do not see each other: each brings its first batch, which finds what
    another one brought to be there, and then all but the newest are refused.

    Args:
        uow: the unit of work to write in.
        importer: what reads it, ``claude-code`` say.
        source: the file's path.
        fingerprint: of the part that was read, as the importer makes it; may be empty.
        offset_bytes: how far it was read before.

    Raises:
        InvalidInput: a value is blank or of a wrong type.
    """
    values = {"importer": importer, "source": source, "fingerprint": fingerprint, "offset_bytes": offset_bytes}
    begun = _IMPORTS.checked(values, started_at=uow.now(), status=ImportStatus.RUNNING)
    break_off(uow, begun["importer"], begun["source"])
    return _IMPORTS.insert(uow, begun)


_IMPORTS: Final = HotInsert(Import)


def record(
    uow: UnitOfWork,
    import_id: int,
    *,
    offset_bytes: int | None = None,
    fingerprint: str | None = None,
    counts: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
) -> Import:
    """Note how far an import has come, in the unit of work that brings what was read so far.

    Args:
        uow: the unit of work to write in.
        import_id: which.
        offset_bytes: how far the source was read, in bytes.
        fingerprint: of the part up to there.
        counts: of everything so far; takes the place of what was noted.
        report: what else there is to tell; takes the place of what was noted.

    Raises:
        NotFound: there is no such import.
        IllegalTransition: it is finished, was undone, or another run has taken over.
        InvalidInput: a value is of a wrong type.
    """
    return _change(uow, import_id, ImportStatus.RUNNING, _noted(offset_bytes, fingerprint, counts, report))


def finish(
    uow: UnitOfWork,
    import_id: int,
    *,
    status: ImportStatus | str = ImportStatus.COMPLETED,
    counts: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
) -> Import:
    """End an import: ``completed``, or ``failed`` where it broke off.

    Raises:
        NotFound: there is no such import.
        IllegalTransition: it is finished, was undone, or another run has taken over.
        InvalidInput: a value is of a wrong type, or the status is neither of the two.
    """
    ended = parse_enum(ImportStatus, status, field="status")
    if ended not in {ImportStatus.COMPLETED, ImportStatus.FAILED}:
        raise InvalidInput(f"status: an import ends completed or failed, not {ended}", field="status")
    noted = _noted(None, None, counts, report)
    return _change(uow, import_id, ended, {**noted, "status": ended, "finished_at": uow.now()})


def _noted(
    offset_bytes: int | None,
    fingerprint: str | None,
    counts: Mapping[str, Any] | None,
    report: Mapping[str, Any] | None,
) -> dict[str, Any]:
    kinds = {"offset_bytes": Count, "fingerprint": Text, "counts": JsonObject, "report": JsonObject}
    given = zip(kinds, (offset_bytes, fingerprint, counts, report), strict=True)
    plain = {field: dict(value) if isinstance(value, Mapping) else value for field, value in given}
    return {field: require(kinds[field], value, field=field) for field, value in plain.items() if value is not None}


def _change(uow: UnitOfWork, import_id: int, wanted: ImportStatus, values: dict[str, Any]) -> Import:
    key = key_of(import_id)
    new = {f"new_{name}": value for name, value in values.items()}
    changed = _changed(tuple(values), wanted is ImportStatus.FAILED).first(uow, key=key, **new)
    if changed is None:
        raise _refusal(uow, key, wanted)
    return changed


@cache
def _changed(names: tuple[str, ...], fails: bool) -> HotRows[Import]:
    of = [col(Import.id) == sa.bindparam("key"), col(Import.status) == ImportStatus.RUNNING]
    if not fails:  # who has been taken over may still say that it is over
        of.append(~_newer())
    # Nothing to note still has to be refused where the import is not at work.
    changes: list[tuple[Any, Any]] = [placed(Import, name) for name in names]
    changes = changes or [(col(Import.importer), col(Import.importer))]
    return HotRows(Import, sa.update(Import).where(*of).values(dict(changes)).returning(Import))


def _newer() -> sa.Exists:
    """Return whether there is a newer import of the source: who began at the same moment could not break it off."""
    newer = aliased(Import)
    same = (col(newer.importer) == col(Import.importer), col(newer.source) == col(Import.source))
    return select(sa.true()).where(*same, col(newer.id) > col(Import.id)).correlate(Import).exists()


def _refusal(uow: UnitOfWork, key: int, wanted: ImportStatus) -> IllegalTransition:
    found = get(uow, key)
    refusal = IllegalTransition("import", key, found.status, wanted)
    broken_off = found.status in {ImportStatus.RUNNING, ImportStatus.FAILED}
    if broken_off and uow.exec(select(Import.id).where(col(Import.id) == key, _newer())).first() is not None:
        refusal.args = (f"import {key} was taken over by another run",)
    return refusal


# --- looking ---------------------------------------------------------------------------------------------------


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Import]:
    """Return imports, the newest first.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order = Order(["imports"], [col(Import.id)], falling=True)
    return fetch(uow, Import, order, limit=limit, cursor=cursor)


def latest(uow: ReadUnitOfWork, importer: str, source: str) -> Import | None:
    """Return the newest import of a source that was not undone: where the next run goes on. ``None``: from the start.

    Raises:
        InvalidInput: a value is blank or of a wrong type.
    """
    of = {"importer": require(Name, importer, field="importer"), "source": require(PathText, source, field="source")}
    return _LATEST.first(uow, **of)


_LATEST: Final = HotRows(
    Import,
    select(Import)
    .where(
        col(Import.importer) == sa.bindparam("importer"),
        # A range of one value keeps PostgreSQL to the index: see paging.confined.
        col(Import.source).between(sa.bindparam("source"), sa.bindparam("source")),
        col(Import.status) != ImportStatus.UNDONE,
    )
    .order_by(col(Import.source).desc(), col(Import.id).desc())
    .limit(1),
)


def brought(uow: ReadUnitOfWork, import_id: int) -> Brought:
    """Return how much is there of what an import brought.

    Raises:
        NotFound: there is no such import.
        InvalidInput: the id is no whole number.
    """
    get(uow, import_id)
    return Brought(**{table.__tablename__: _count(uow, table, import_id) for table in _BROUGHT})


_BROUGHT: Final[Sequence[Any]] = (
    *(Session, Message, JournalEvent, Workspace),
    *(Project, WorkerType, Ticket, Comment, EnsembleWorker, CoordinationEvent, Job),
)


def _count(uow: ReadUnitOfWork, table: Any, import_id: int) -> int:
    statement = select(sa.func.count()).select_from(table).where(col(table.import_id) == import_id)
    return uow.exec(statement).one()
