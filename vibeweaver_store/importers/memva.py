"""Brings in a database of memva (seed 004): agents' sessions, their journal, and their background jobs.

What can be read of the journal becomes messages, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, PathText
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers import memva_jobs
from vibeweaver_store.importers.foreign_database import (
    ForeignDatabase,
    ForeignRow,
    Layout,
    fingerprint,
    in_batches,
    opened,
)
from vibeweaver_store.importers.foreign_values import read_flag, read_optional
from vibeweaver_store.importers.keeping import Kept, kept_value, lose_columns
from vibeweaver_store.importers.recorded import Part, keep_activity, note_activity, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.refreshing import bring_again, find_earlier
from vibeweaver_store.importers.runs import ImportReport, Progress, running
from vibeweaver_store.importers.transcript_lines import Said, said_in, source_session_of, title_of
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import AgentStatus, Job, JournalEvent, MessageRole, Session, SessionKind, SessionStatus
from vibeweaver_store.models.session import FINAL
from vibeweaver_store.services import jobs, journal, messages, sessions, workspaces
from vibeweaver_store.services.journal import NewEvent
from vibeweaver_store.services.journal_lines import columns_of, id_of
from vibeweaver_store.services.messages import NewMessage
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

IMPORTER: Final = "memva"

LAYOUT: Final[Layout] = {
    "sessions": ("id", "title", "created_at", "updated_at", "status", "project_path", "metadata", "claude_status"),
    "events": (
        *("uuid", "session_id", "event_type", "timestamp", "is_sidechain", "parent_uuid", "cwd", "project_name"),
        *("data", "memva_session_id"),
    ),
    "jobs?": memva_jobs.COLUMNS,
}

_PROMPTS_LOOKED_AT: Final = 20


def import_memva(
    store: Store, path: Path, *, redact: bool = True, dry_run: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Bring in a memva database: a unit of work a session, then events and jobs, up to 500 or 2 MiB a unit of work.

    Sessions, events and jobs each count as an item; ``messages`` counts what can be read of the events. Events come in
    the order of their times, equal ones as they were inserted. Jobs keep their ids and times, and belong to the session
    that their data name; one that was at work has lost its worker, and waits again, or has failed where it was at its
    last attempt. An event or a job whose session is not there is kept without one, and attached to it by the import
    that brings the session.

    Run it again for what came since. A session follows its source until somebody changes it here; events and jobs stay
    as they are. What cannot be read is left out and reported, the rest goes in. A status that memva's own programs do
    not define is read as the nearest of ours. Columns that have no place here are kept: those of sessions in the
    session's attributes under ``memva``, those of events in their lines.

    Args:
        store: where to.
        path: the file; it is only read.
        redact: strike credentials and ids of organizations out of sessions, events and jobs before they are
            stored.
        dry_run: tell what would be done, and write nothing.
        progress: is told how much of the file was dealt with, in bytes.

    Raises:
        ImportRejected: there is no such file, or it is no memva database.
        StoreBusy: another process holds the file exclusively.
        StoreError: the store cannot be written.
    """
    with (
        opened(path, IMPORTER, LAYOUT, progress=progress) as source,
        running(store, IMPORTER, dry_run=dry_run) as run,
        recorded(run, path, fingerprint(path)) as bringing,
    ):
        for session in source.rows("sessions"):
            bringing.bring(partial(_bring_session, source, redact, session))
        for events in in_batches(source.rows("events", order_by=["timestamp"])):
            bringing.bring(partial(_bring_events, events, redact))
        for rows in in_batches(source.rows("jobs", order_by=["created_at"])):
            bringing.bring(partial(_bring_jobs, rows, redact))
    return run.report


# --- sessions --------------------------------------------------------------------------------------------------


def _bring_session(source: ForeignDatabase, redact: bool, row: ForeignRow, uow: UnitOfWork, part: Part) -> None:
    redactor = Redactor(redact)
    kept = Kept(IMPORTER, redactor)
    session = part.attempt(row, partial(_session, source, kept, row, part.import_id))
    if session is None:
        return
    part.counts.redacted += redactor.count
    earlier = find_earlier(uow, IMPORTER, session.id)
    if earlier is not None:
        if bring_again(uow, part, earlier, session, item=row):
            kept.tell(part)
        return
    session.workspace_id = workspaces.ensure(uow, row["project_path"], import_id=part.import_id).id
    uow.insert(session)
    kept.tell(part)
    part.counts.new += 1
    part.counts.sessions += 1


def _session(source: ForeignDatabase, kept: Kept, row: ForeignRow, import_id: int) -> Session:
    redactor, updated_at = kept.redactor, row.time("updated_at")
    status, is_begun = kept.word_of_session(row, "status", SessionStatus), row["claude_status"] is not None
    agent_status = kept.word_of_session(row, "claude_status", AgentStatus) if is_begun else AgentStatus.NOT_STARTED
    kept.columns_of_session(row)
    return Session.build(
        id=row["id"],
        kind=SessionKind.AGENT,
        name=title_of(redactor.strike(row["title"])) or _first_prompt(source, redactor.on, row) or None,
        tempo_bpm=None,
        status=status,
        agent_status=agent_status,
        working_dir=require(PathText, row["project_path"], field="project_path"),
        attributes=_attributes(kept, row),
        created_at=row.time("created_at"),
        updated_at=updated_at,
        completed_at=updated_at if status in FINAL else None,
        last_activity_at=updated_at,
        import_id=import_id,
    )


def _attributes(kept: Kept, row: ForeignRow) -> Any:
    with suppress(InvalidInput):
        metadata = row.json("metadata")
        if metadata is None or isinstance(metadata, dict):
            return kept.within(kept.redactor.strike(metadata or {}))
    kept.value_of_session(
        row, "metadata", "sessions.metadata is no JSON object and is kept in the session's attributes"
    )
    return kept.within({})


def _first_prompt(source: ForeignDatabase, redact: bool, row: ForeignRow) -> str:
    asked = source.rows("events", memva_session_id=row.key, event_type="user", order_by=["timestamp"])
    for event in islice(asked, _PROMPTS_LOOKED_AT):
        with suppress(InvalidInput):  # it is told of with the events
            said = _read(event, redact).said
            if said is not None and said.role is MessageRole.USER:
                return title_of(said.text)
    return ""


# --- events ----------------------------------------------------------------------------------------------------


class _Event(NamedTuple):
    """An event as it was read: for the journal, for people, how many secrets were struck out, and which session."""

    new: NewEvent
    said: Said | None
    redacted: int
    at: datetime


def _bring_events(rows: Sequence[ForeignRow], redact: bool, uow: UnitOfWork, part: Part) -> None:
    there = _sessions_there(uow, rows)
    note_activity(uow, part, there)
    tried = [(row, part.attempt(row, partial(_read, row, redact, there, part))) for row in rows]
    read = [event for _, event in tried if event is not None]
    ingested = journal.ingest(uow, [event.new for event in read])
    attached = _attach_events(uow, part, read, ingested.ids) if ingested.duplicate else 0
    part.counts.new += ingested.new
    part.counts.updated += attached
    part.counts.duplicate += ingested.duplicate - attached
    part.counts.unknown += ingested.unknown
    part.counts.redacted += sum(event.redacted for event in read)
    if ingested.new:
        for row, event in tried:
            _tell_of_columns(part, row, event)
    said = defaultdict(list)
    for event in read:
        if event.said is not None and event.new.session_id is not None:
            said[event.new.session_id].append(_message(event, event.said))
    for session_id in sorted(said):
        part.counts.messages += messages.append_many(uow, session_id, said[session_id], if_exists="ignore")
    keep_activity(uow, part, there)


def _attach_events(uow: UnitOfWork, part: Part, read: Sequence[_Event], ids: Sequence[int]) -> int:
    """Attach events that an earlier import brought without their session, which is here now; return how many."""
    named: dict[str, list[int]] = defaultdict(list)
    for event, event_id in zip(read, ids, strict=True):
        if event.new.session_id is not None:
            named[event.new.session_id].append(event_id)
    count = 0
    for session_id in sorted(named):
        strays = (col(JournalEvent.session_id).is_(None), col(JournalEvent.import_id).is_not(None))
        those = sa.update(JournalEvent).where(col(JournalEvent.id).in_(named[session_id]), *strays)
        given = those.values(session_id=session_id).returning(col(JournalEvent.id))
        attached = uow.execute(given, execution_options={"synchronize_session": False}).scalars().all()
        if attached:
            part.attach("journal_events", session_id, [event_id for event_id in attached if event_id is not None])
            uow.announce(sessions.topic(session_id))
        count += len(attached)
    return count


def _tell_of_columns(part: Part, row: ForeignRow, event: _Event | None) -> None:
    for column in row.besides if event is not None else ():
        part.note(f"events.{column} has no column here and is kept in the event's line")


def _sessions_there(uow: UnitOfWork, rows: Iterable[ForeignRow]) -> set[str]:
    named = {key for row in rows if (key := id_of(row["memva_session_id"])) is not None}
    return set(uow.exec(select(col(Session.id)).where(col(Session.id).in_(named))))


def _read(row: ForeignRow, redact: bool, there: Container[str] = (), part: Part | None = None) -> _Event:
    redactor = Redactor(redact)
    line = _line(row, redactor)
    session_id = row["memva_session_id"] if row["memva_session_id"] in there else None
    new = NewEvent(
        line,
        source_session_id=id_of(row["session_id"]) or id_of(row["memva_session_id"]),
        session_id=session_id,
        project_name=redactor.strike(row["project_name"]),
        import_id=None if part is None else part.import_id,
    )
    columns_of(new)  # what the journal would refuse is refused here, and the other events of the batch go in
    return _Event(new, said_in(_as_spoken(line)), redactor.count, row.time("timestamp"))


def _line(row: ForeignRow, redactor: Redactor) -> dict[str, Any]:
    """Return an event as its program wrote it, but for its secrets.

    What it does not say itself is filled in from memva's columns.
    """
    data = row.json("data")
    if not isinstance(data, dict):
        raise InvalidInput(f"data: must be a JSON object (got {shown(data)})", field="data")
    said: dict[str, Any] = redactor.strike(data, row["data"].encode() if isinstance(row["data"], str) else row["data"])
    columns = {
        "uuid": require(Id, row["uuid"], field="uuid"),
        "type": row["event_type"],
        "timestamp": row.time("timestamp").isoformat(),
        "cwd": row["cwd"],
        "parentUuid": row["parent_uuid"],
        "isSidechain": read_optional(read_flag, row["is_sidechain"], field="is_sidechain") or None,
    }
    if source_session_of(said) is None:
        columns["sessionId"] = row["session_id"]
    filled_in = {name: value for name, value in columns.items() if value is not None and said.get(name) is None}
    besides = {name: kept_value(value) for name, value in row.besides.items() if name not in said}
    struck: dict[str, Any] = redactor.strike(besides)
    return said | filled_in | struck


def _as_spoken(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a line as transcripts have it: memva writes down the prompts itself, and without a message around them."""
    return line if "message" in line else {**line, "message": {"content": line.get("content")}}


def _message(event: _Event, said: Said) -> NewMessage:
    return NewMessage(
        role=said.role,
        content=said.text,
        public_id=said.public_id,
        created_at=event.at,
        import_id=event.new.import_id,
    )


# --- jobs ------------------------------------------------------------------------------------------------------


def _bring_jobs(rows: Sequence[ForeignRow], redact: bool, uow: UnitOfWork, part: Part) -> None:
    redactor = Redactor(redact)
    read: dict[str, tuple[ForeignRow, Job]] = {}
    for row in rows:
        job = part.attempt(row, partial(memva_jobs.read_job, row, redactor, part.import_id, uow.now()))
        if job is not None and job.id in read:
            part.counts.duplicate += 1
        elif job is not None:
            read[job.id] = row, job
    part.counts.redacted += redactor.count
    named = {key: memva_jobs.session_named(row) for key, (row, _) in read.items()}
    here = _hold_sessions(uow, named.values())
    there = set(uow.exec(select(col(Job.id)).where(col(Job.id).in_(read)))) if read else set()
    fresh = [job for job_id, (_, job) in read.items() if job_id not in there]
    for job in fresh:
        job.session_id = named[job.id] if named[job.id] in here else None
        lose_columns(part, read[job.id][0])
        if (word := memva_jobs.other_word(read[job.id][0], job)) is not None:
            part.note(word)
    uow.insert(*fresh)
    attached = _attach_jobs(uow, part, {key: owner for key in there if (owner := named[key]) in here and owner})
    part.counts.new += len(fresh)
    part.counts.updated += attached
    part.counts.duplicate += len(there) - attached
    if any(job.ready for job in fresh):
        uow.announce(jobs.JOBS_TOPIC)


def _attach_jobs(uow: UnitOfWork, part: Part, named: Mapping[str, str]) -> int:
    """Attach jobs that an earlier import brought without their session, which is here now; return how many."""
    by_session: dict[str, list[str]] = defaultdict(list)
    for job_id in sorted(named):
        by_session[named[job_id]].append(job_id)
    count = 0
    for session_id, ids in by_session.items():
        strays = (col(Job.session_id).is_(None), col(Job.import_id).is_not(None))
        given = sa.update(Job).where(col(Job.id).in_(ids), *strays).values(session_id=session_id)
        returning = given.returning(col(Job.id))
        attached = uow.execute(returning, execution_options={"synchronize_session": False}).scalars().all()
        if attached:
            part.attached.setdefault("jobs", {}).setdefault(session_id, []).extend(sorted(attached))
        count += len(attached)
    return count


def _hold_sessions(uow: UnitOfWork, named: Iterable[str | None]) -> set[str]:
    """Return which sessions are here, and let nobody delete them until the unit of work ends."""
    found = select(col(Session.id)).where(col(Session.id).in_(list(named))).order_by(col(Session.id))
    return set(uow.exec(found.with_for_update(read=True, key_share=True)))
