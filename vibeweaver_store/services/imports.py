"""Imports: what was brought in from where, how far a source was read, and how to take it away again.

An import is one source (a file) and one run that found something new in it. It is begun, told of each batch in the
batch's own unit of work, and finished; what a killed one brought is whole, and the next run goes on behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, JsonObject, Name, PathText, Text, parse_enum, require
from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.models import (
    GenerationStats,
    HistoryEntry,
    Import,
    ImportStatus,
    JournalEvent,
    Marker,
    Message,
    Rule,
    Session,
    Snapshot,
    Workspace,
)
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch, ordered
from vibeweaver_store.services.sessions import topic
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork

SPACES: Final = "spaces"
"""Where a report names the generation stats that an import brought: an object of sample counts by space."""

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Brought:
    """How many rows of each kind are there of an import."""

    sessions: int
    messages: int
    journal_events: int
    workspaces: int


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo removed.

    Attributes:
        sessions: how many sessions, each with all that belonged to it.
        messages: how many messages.
        journal_events: how many lines of journals.
        workspaces: how many workspaces, which had no sessions any more.
        spaces: how many generation stats, to which no sample was added since.
        kept: how many sessions were kept that it had made, since others have put something into them.
    """

    sessions: int
    messages: int
    journal_events: int
    workspaces: int
    spaces: int
    kept: int


# --- a run -----------------------------------------------------------------------------------------------------


def begin(uow: UnitOfWork, importer: str, source: str, fingerprint: str, *, offset_bytes: int = 0) -> Import:
    """Begin an import of a source. One of the same source that is at work still, or was killed at it, is failed.

    Whoever was at it is refused on its next :func:`record`: so two never bring the same part of a source.

    Args:
        uow: the unit of work to write in.
        importer: what reads it, ``claude-code`` say.
        source: the file's path.
        fingerprint: of the part that was read, as the importer makes it; may be empty.
        offset_bytes: how far it was read before.

    Raises:
        InvalidInput: a value is blank or of a wrong type.
    """
    begun = Import.build(
        importer=importer, source=source, fingerprint=fingerprint, offset_bytes=offset_bytes, started_at=uow.now()
    )
    _break_off(uow, begun)
    uow.insert(begun)
    return begun


def _break_off(uow: UnitOfWork, of: Import) -> None:
    at_work = sa.update(Import).where(*_same_source(of), col(Import.status) == ImportStatus.RUNNING)
    uow.exec(at_work.values(status=ImportStatus.FAILED, finished_at=uow.now()))


def _same_source(of: Import) -> tuple[sa.ColumnElement[bool], ...]:
    return col(Import.importer) == of.importer, col(Import.source) == of.source


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


def _change(uow: UnitOfWork, import_id: int, wanted: str, values: dict[str, Any]) -> Import:
    key = _key(import_id)
    statement = sa.update(Import).where(col(Import.id) == key, col(Import.status) == ImportStatus.RUNNING)
    # Nothing to note still has to be refused where the import is not at work.
    if uow.exec(statement.values(**values or {"importer": col(Import.importer)})).rowcount == 0:
        raise IllegalTransition("import", key, get(uow, key).status, wanted)
    return get(uow, key)


def _key(import_id: int) -> int:
    key: int = require(Count, import_id, field="import_id")
    return key


# --- looking ---------------------------------------------------------------------------------------------------


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
    return uow.exec(select(Import).where(col(Import.id) == _key(import_id))).one_or_none()


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Import]:
    """Return imports, the newest first.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order = Order(["imports"], [col(Import.id)], falling=True)
    return fetch(uow, select(Import), order, limit=limit, cursor=cursor)


def latest(uow: ReadUnitOfWork, importer: str, source: str) -> Import | None:
    """Return the newest import of a source that was not undone: where the next run goes on. ``None``: from the start.

    Raises:
        InvalidInput: a value is blank or of a wrong type.
    """
    within = [
        (col(Import.importer), require(Name, importer, field="importer")),
        (col(Import.source), require(PathText, source, field="source")),
    ]
    order = Order(["imports of source"], [col(Import.id)], falling=True, within=within)
    statement = ordered(uow, select(Import).where(col(Import.status) != ImportStatus.UNDONE), order)
    return uow.exec(statement.limit(1)).one_or_none()


def brought(uow: ReadUnitOfWork, import_id: int) -> Brought:
    """Return how much is there of what an import brought.

    Raises:
        NotFound: there is no such import.
        InvalidInput: the id is no whole number.
    """
    get(uow, import_id)
    tables = {"sessions": Session, "messages": Message, "journal_events": JournalEvent, "workspaces": Workspace}
    return Brought(**{name: _count(uow, table, import_id) for name, table in tables.items()})


def _count(uow: ReadUnitOfWork, table: Any, import_id: int) -> int:
    statement = select(sa.func.count()).select_from(table).where(col(table.import_id) == import_id)
    return uow.exec(statement).one()


# --- undoing ---------------------------------------------------------------------------------------------------


def undo(uow: UnitOfWork, import_id: int) -> Undone:
    """Remove what an import brought, and nothing else. Its source is read from the beginning the next time.

    Its messages and journal events go. A session that it made goes with all that hangs on it, unless messages or
    journal events of another origin remain in it, or history, rules, markers or snapshots that were made after the
    import ended: then it is kept, and from then on belongs to the import by which the rest came, if any. A workspace
    that it made goes where it has no sessions any more; else it is handed on likewise.

    An import that is at work can be undone, too: whoever is at it is refused on the next :func:`record`.

    Raises:
        NotFound: there is no such import.
        InvalidInput: it was undone before, or the id is no whole number.
    """
    found = _hold(uow, import_id)
    messages, journal_events = _remove(uow, Message, import_id), _remove(uow, JournalEvent, import_id)
    sessions, kept = _remove_sessions(uow, found)
    undone = Undone(
        sessions=sessions,
        messages=messages,
        journal_events=journal_events,
        workspaces=_remove_workspaces(uow, import_id),
        spaces=_remove_spaces(uow, found.report.get(SPACES)),
        kept=kept,
    )
    _break_off(uow, found)
    uow.exec(sa.update(Import).where(*_same_source(found)).values(offset_bytes=0))
    noted = {
        "status": ImportStatus.UNDONE,
        "finished_at": found.finished_at or uow.now(),
        "report": {**found.report, "undone": asdict(undone)},
    }
    uow.exec(sa.update(Import).where(col(Import.id) == import_id).values(**noted))
    return undone


def _hold(uow: UnitOfWork, import_id: int) -> Import:
    """Return an import, and let nobody add to it, or to the sessions that it is about, until the unit of work ends.

    Raises:
        NotFound: there is no such import.
        InvalidInput: it was undone before, or the id is no whole number.
    """
    found = uow.exec(select(Import).where(col(Import.id) == _key(import_id)).with_for_update()).one_or_none()
    if found is None:
        raise NotFound("import", import_id)
    if found.status is ImportStatus.UNDONE:
        raise InvalidInput(f"import {import_id} was undone before", field="import_id")
    concerned: Any = sa.union(
        select(col(Session.id)).where(col(Session.import_id) == import_id),
        select(col(Message.session_id)).where(col(Message.import_id) == import_id),
        select(col(JournalEvent.session_id)).where(col(JournalEvent.import_id) == import_id),
    )
    # In one order, so that two who undo at once do not wait for each other in a circle.
    uow.exec(select(col(Session.id)).where(col(Session.id).in_(concerned)).order_by(col(Session.id)).with_for_update())
    return found


def _remove(uow: UnitOfWork, table: type[Message | JournalEvent], import_id: int) -> int:
    return uow.exec(sa.delete(table).where(col(table.import_id) == import_id)).rowcount


def _remove_sessions(uow: UnitOfWork, of: Import) -> tuple[int, int]:
    """Remove the sessions of an import to which nobody else has added, and return how many went and how many stay."""
    own = col(Session.import_id) == of.id
    ended = of.finished_at or of.started_at
    added = [
        *[select(sa.true()).where(col(log.session_id) == col(Session.id)) for log in (Message, JournalEvent)],
        *[
            select(sa.true()).where(col(row.session_id) == col(Session.id), made > ended)
            for row, made in (
                (HistoryEntry, col(HistoryEntry.created_at)),
                (Rule, col(Rule.created_at)),
                (Marker, col(Marker.created_at)),
                (Snapshot, col(Snapshot.captured_at)),
            )
        ],
    ]
    untouched = [~each.exists() for each in added]
    removed = uow.exec(sa.delete(Session).where(own, *untouched).returning(col(Session.id))).scalars().all()
    for session_id in removed:
        uow.announce(topic(session_id))
    rest = sa.func.coalesce(_import_of_first(Message), _import_of_first(JournalEvent))
    handed_on = sa.update(Session).where(own).values(import_id=rest, version=col(Session.version) + 1)
    return len(removed), uow.exec(handed_on).rowcount


def _import_of_first(log: type[Message | JournalEvent]) -> Any:
    """Return the import by which the first row of a session's log came."""
    # A range of one value: with =, PostgreSQL may walk the primary key through the rows of everybody else.
    of_session = (col(log.session_id) >= col(Session.id), col(log.session_id) <= col(Session.id))
    first = select(col(log.import_id)).where(*of_session).order_by(col(log.session_id), col(log.id)).limit(1)
    return first.scalar_subquery()


def _remove_workspaces(uow: UnitOfWork, import_id: int) -> int:
    own = col(Workspace.import_id) == import_id
    # A session that is made in one meanwhile would go with it: wait for it here, and see it in the next statement.
    uow.exec(select(col(Workspace.id)).where(own).order_by(col(Workspace.id)).with_for_update())
    sessions = col(Session.workspace_id) == col(Workspace.id)
    removed = uow.exec(sa.delete(Workspace).where(own, ~select(sa.true()).where(sessions).exists())).rowcount
    of_rest = select(col(Session.import_id)).where(sessions, col(Session.import_id).is_not(None)).limit(1)
    uow.exec(sa.update(Workspace).where(own).values(import_id=of_rest.scalar_subquery()))
    return removed


def _remove_spaces(uow: UnitOfWork, spaces: object) -> int:
    """Remove the stats of an import to which no sample was added since."""
    if not isinstance(spaces, Mapping):
        return 0
    brought, removed = iter(spaces.items()), 0
    key = sa.tuple_(col(GenerationStats.space), col(GenerationStats.sample_count))
    while batch := list(islice(brought, _BATCH)):
        removed += uow.exec(sa.delete(GenerationStats).where(key.in_(batch))).rowcount
    return removed
