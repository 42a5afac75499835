"""Taking an import away again, and nothing else. Callers find it in ``imports``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, ValidationError
from sqlmodel import col, select

from vibeweaver_store.errors import CorruptData, InvalidInput, NotFound
from vibeweaver_store.models import (
    Arena,
    CoordinationEvent,
    GenerationStats,
    HistoryEntry,
    Import,
    ImportStatus,
    Instance,
    Job,
    JobAttempt,
    JobStatus,
    JournalEvent,
    Marker,
    Message,
    Rule,
    Session,
    Snapshot,
    Workspace,
)
from vibeweaver_store.models.session import new_revision
from vibeweaver_store.services.import_rows import break_off, key_of, same_source
from vibeweaver_store.services.import_undo_ensemble import hold_ensembles, remove_ensembles
from vibeweaver_store.services.session_rows import part_with, topic
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import explain

SPACES: Final = "spaces"
"""Where a report names the generation stats that an import brought: an object of sample counts by space."""
LATEST: Final = "latest"
"""Where a report tells the latest time, as the source has it, of what an import brought with a session."""
GROWN: Final = "grown"
"""Where a report names what an import brought to sessions that were there, and that has no column to say so.

An object by session of objects by table: the ids, and of logs the first and the last id of each batch. Between these
two, a session's log has nothing else: who brings them holds the session.
"""

ATTACHED: Final = "attached"
"""Where a report names the rows that were there without a parent, and that an import attached to one.

An object by table of objects by parent: the ids of jobs, and of logs the first and the last id of each run of them.
"""

_BATCH: Final = 500


def _check_instant(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("must have a time zone")
    return text


class _Grown(BaseModel):
    rules: list[str] = []
    markers: list[str] = []
    history: list[tuple[int, int]] = []
    snapshots: list[tuple[int, int]] = []


class _Attached(BaseModel):
    journal_events: dict[str, list[tuple[int, int]]] = {}
    coordination_events: dict[str, list[tuple[int, int]]] = {}
    jobs: dict[str, list[str]] = {}


class _Report(BaseModel):
    """What an undo reads of a report."""

    spaces: dict[str, int] = {}
    latest: Annotated[str, AfterValidator(_check_instant)] | None = None
    grown: dict[str, _Grown] = {}
    attached: _Attached = _Attached()


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
        projects: how many projects.
        worker_types: how many worker types.
        tickets: how many tickets.
        comments: how many comments.
        workers: how many workers of ensembles; the tickets that they held are given back.
        coordination_events: how many coordination events.
        jobs: how many background jobs.
        kept_projects: how many projects were kept that it had made, since something of others is in them.
        kept_tickets: how many tickets were kept that it had made, since others were at work on them.
        kept_jobs: how many jobs were kept that it had brought, since they were taken up here.
    """

    sessions: int
    messages: int
    journal_events: int
    workspaces: int
    spaces: int
    kept: int
    projects: int = 0
    worker_types: int = 0
    tickets: int = 0
    comments: int = 0
    workers: int = 0
    coordination_events: int = 0
    jobs: int = 0
    kept_projects: int = 0
    kept_tickets: int = 0
    kept_jobs: int = 0


def undo(uow: UnitOfWork, import_id: int) -> Undone:
    """Remove what an import brought, and nothing else. Its source is read from the beginning the next time.

    Its messages, journal events and instances go, and what it brought to sessions that were there before it. A session
    that it made goes with all that hangs on it, unless messages, journal events, instances or jobs of another origin
    remain in it, or history, rules, markers or snapshots that were made after the import ended: then it is kept, and
    from then on belongs to the import by which the rest came, if any. An arena that is kept keeps its totals, and loses
    a winner that goes. A workspace that it made goes where it has no sessions any more; else it is handed on likewise.

    So it is with ensembles: a ticket goes unless others have commented on it, have an event that names it, have closed
    it with an outcome, or hold it; a worker type unless an open ticket or a worker needs it; a project unless something
    is left in it. Workers go, and what they hold is given back. A job goes unless it was taken up here.

    Rows that came by an earlier import without a parent, and that this one attached to a parent, have none again.

    Two things are not as they were: where one of several imports of a source is undone, what it had brought comes again
    at the end of the conversation, behind what the others brought; and a session that it changed, but did not make,
    keeps what it changed (its name, its times, its attributes).

    An import that is at work can be undone, too: whoever is at it is refused on its next
    :func:`~vibeweaver_store.services.imports.record`.

    Raises:
        NotFound: there is no such import.
        InvalidInput: it was undone before, or the id is no whole number.
        CorruptData: its report is not what an importer writes: somebody has edited it.
    """
    found = _hold(uow, import_id)
    _detach(uow, _attached(found))
    messages, journal_events = _remove(uow, Message, import_id), _remove(uow, JournalEvent, import_id)
    _remove_instances(uow, import_id)
    jobs, kept_jobs = _remove_jobs(uow, import_id)
    _remove_grown(uow, _grown(found))
    sessions, kept = _remove_sessions(uow, found)
    undone = Undone(
        sessions=sessions,
        messages=messages,
        journal_events=journal_events,
        workspaces=_remove_workspaces(uow, import_id),
        spaces=_remove_spaces(uow, found.report.get(SPACES)),
        kept=kept,
        jobs=jobs,
        kept_jobs=kept_jobs,
        **remove_ensembles(uow, import_id),
    )
    break_off(uow, found.importer, found.source)
    uow.exec(sa.update(Import).where(*same_source(found)).values(offset_bytes=0))
    noted = {
        "status": ImportStatus.UNDONE,
        "finished_at": found.finished_at or uow.now(),
        "report": {**found.report, "undone": asdict(undone)},
    }
    uow.exec(sa.update(Import).where(col(Import.id) == import_id).values(**noted))
    return undone


def _hold(uow: UnitOfWork, import_id: int) -> Import:
    """Return an import, and let nobody add to it, or to what it is about, until the unit of work ends.

    Raises:
        NotFound: there is no such import.
        InvalidInput: it was undone before, or the id is no whole number.
        CorruptData: its report is not what an importer writes.
    """
    found = uow.exec(select(Import).where(col(Import.id) == key_of(import_id)).with_for_update()).one_or_none()
    if found is None:
        raise NotFound("import", import_id)
    if found.status is ImportStatus.UNDONE:
        raise InvalidInput(f"import {import_id} was undone before", field="import_id")
    _check_report(found)
    concerned: Any = sa.union(
        select(col(Session.id)).where(col(Session.import_id) == import_id),
        select(col(Message.session_id)).where(col(Message.import_id) == import_id),
        select(col(JournalEvent.session_id)).where(col(JournalEvent.import_id) == import_id),
        select(col(Instance.session_id)).where(col(Instance.import_id) == import_id),
        select(col(Job.session_id)).where(col(Job.import_id) == import_id),
        *([select(col(Session.id)).where(col(Session.id).in_(sorted(grown)))] if (grown := _changed(found)) else []),
    )
    # In one order, so that two who undo at once do not wait for each other in a circle.
    uow.exec(select(col(Session.id)).where(col(Session.id).in_(concerned)).order_by(col(Session.id)).with_for_update())
    hold_ensembles(uow, import_id)
    return found


def _check_report(of: Import) -> None:
    try:
        _Report.model_validate(of.report)
    except ValidationError as error:
        raise CorruptData(f"import {of.id}: its report is not what an importer writes: {explain(error)}") from error


def _remove(uow: UnitOfWork, table: type[Message | JournalEvent], import_id: int) -> int:
    return uow.exec(sa.delete(table).where(col(table.import_id) == import_id)).rowcount


def _remove_instances(uow: UnitOfWork, import_id: int) -> None:
    own = col(Instance.import_id) == import_id
    won = sa.tuple_(col(Arena.session_id), col(Arena.winner_instance_id))
    gone = select(col(Instance.session_id), col(Instance.instance_id)).where(own)
    uow.exec(sa.update(Arena).where(won.in_(gone)).values(winner_instance_id=None))
    uow.exec(sa.delete(Instance).where(own))


def _remove_jobs(uow: UnitOfWork, import_id: int) -> tuple[int, int]:
    """Remove the jobs of an import that nobody here has taken up, and return how many went and how many stay."""
    own = col(Job.import_id) == import_id
    # Who ends one meanwhile writes an attempt of it: wait for it here, and see it in the next statement.
    brought = col(Job.id).in_(select(col(Job.id)).where(own))
    uow.exec(select(col(Job.id)).where(brought).order_by(col(Job.id)).with_for_update())
    attempted = select(sa.true()).where(col(JobAttempt.job_id) == col(Job.id)).exists()
    removed = uow.exec(sa.delete(Job).where(own, col(Job.status) != JobStatus.PROCESSING, ~attempted)).rowcount
    return removed, uow.exec(sa.update(Job).where(own).values(import_id=None)).rowcount


def _changed(of: Import) -> set[str]:
    """Return the sessions that were there, and to which an import brought something."""
    attached = _attached(of)
    return {*_grown(of), *(key for table in _OF_SESSIONS for key in attached.get(table, ()))}


def _attached(of: Import) -> Mapping[str, Mapping[str, list[Any]]]:
    found = of.report.get(ATTACHED)
    return found if isinstance(found, Mapping) else {}


_OF_SESSIONS: Final = ("journal_events", "jobs")


def _detach(uow: UnitOfWork, attached: Mapping[str, Mapping[str, list[Any]]]) -> None:
    """Take rows away from the parents that an import has attached them to, where they are theirs still."""
    for session_id, runs in attached.get("journal_events", {}).items():
        own = col(JournalEvent.session_id) == session_id
        for first, last in runs:
            those = (own, col(JournalEvent.id).between(first, last))
            uow.exec(sa.update(JournalEvent).where(*those).values(session_id=None))
        uow.announce(topic(session_id))
    for session_id, ids in attached.get("jobs", {}).items():
        for start in range(0, len(ids), _BATCH):
            those = (col(Job.session_id) == session_id, col(Job.id).in_(ids[start : start + _BATCH]))
            uow.exec(sa.update(Job).where(*those).values(session_id=None))
    for project_id, runs in attached.get("coordination_events", {}).items():
        for first, last in runs:
            those = (col(CoordinationEvent.project_id) == project_id, col(CoordinationEvent.id).between(first, last))
            uow.exec(sa.update(CoordinationEvent).where(*those).values(project_id=None))


def _grown(of: Import) -> Mapping[str, Mapping[str, list[Any]]]:
    found = of.report.get(GROWN)
    return found if isinstance(found, Mapping) else {}


def _remove_grown(uow: UnitOfWork, grown: Mapping[str, Mapping[str, list[Any]]]) -> None:
    """Remove what an import brought to sessions that were there, and say so to who follows them."""
    for session_id, tables in grown.items():
        for table in (Rule, Marker):
            ids = iter(tables.get(table.__tablename__, []))
            while batch := list(islice(ids, _BATCH)):
                uow.exec(sa.delete(table).where(col(table.session_id) == session_id, col(table.id).in_(batch)))
        for log in (HistoryEntry, Snapshot):
            for first, last in tables.get(log.__tablename__, []):
                of_batch = col(log.id).between(first, last)
                uow.exec(sa.delete(log).where(col(log.session_id) == session_id, of_batch))
        if Rule.__tablename__ in tables:  # as in rules.revise, but that nothing was done in the session
            revised = sa.update(Session).where(col(Session.id) == session_id)
            uow.exec(revised.values(rules_rev=new_revision()))
        uow.announce(topic(session_id))


def _latest(of: Import) -> datetime:
    """Return the latest time of what came with sessions; long ago, where that is not said."""
    said = of.report.get(LATEST)
    return datetime.fromisoformat(said) if isinstance(said, str) else datetime.min.replace(tzinfo=UTC)


def _remove_sessions(uow: UnitOfWork, of: Import) -> tuple[int, int]:
    """Remove the sessions of an import to which nobody else has added, and return how many went and how many stay."""
    own = col(Session.import_id) == of.id
    ended = max(of.finished_at or of.started_at, _latest(of))
    added = [
        *[
            select(sa.true()).where(col(table.session_id) == col(Session.id))
            for table in (Message, JournalEvent, Instance, Job)
        ],
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
    part_with(uow, removed)
    job = select(col(Job.import_id)).where(col(Job.session_id) == col(Session.id), col(Job.import_id).is_not(None))
    rest = sa.func.coalesce(_import_of_first(Message), _import_of_first(JournalEvent), job.limit(1).scalar_subquery())
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
