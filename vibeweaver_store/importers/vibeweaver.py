"""Brings in a database of vibeweaver (seed 000): jams with their rules, markers, history and snapshots, and stats.

The seed prints the types and refers to another document for the tables. Read are the tables as vibeweaver has them
(``trigger_params``, ``kernel_snapshots``, ``avg_duration_ms``), and as the types alone would name them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field
from sqlmodel import col, select

from vibeweaver_store.columns import Count, parse_document, parse_enum, require
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.foreign_database import (
    ForeignDatabase,
    ForeignRow,
    Layout,
    fingerprint,
    in_batches,
    opened,
)
from vibeweaver_store.importers.recorded import Part, keep_activity, recorded
from vibeweaver_store.importers.runs import ImportReport, Progress, running
from vibeweaver_store.json_values import shown
from vibeweaver_store.models import (
    GenerationStats,
    HistoryEntry,
    Marker,
    Priority,
    Rule,
    Session,
    SessionKind,
    Snapshot,
    actions,
    triggers,
)
from vibeweaver_store.models.actions import ActionType
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.services import sessions, stats
from vibeweaver_store.services.snapshots import MAX_STATE_BYTES
from vibeweaver_store.services.stats import MAX_DURATION_MS
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork

IMPORTER: Final = "vibeweaver"

LAYOUT: Final[Layout] = {
    "sessions": ("id", "name", "vibe", "tempo_bpm", "created_at", "updated_at"),
    "rules": (
        *("id", "session_id", "trigger_type?", "trigger|trigger_params|trigger_json|trigger_data"),
        *("action_type?", "action|action_params|action_json|action_data", "priority", "enabled", "one_shot"),
        *("fired_count", "last_fired_at", "created_at"),
    ),
    "markers": ("id", "session_id", "beat", "name", "metadata", "created_at"),
    "history": ("id", "session_id", "action", "params", "result", "success", "created_at"),
    "snapshots|kernel_snapshots": ("session_id", "state|state_capnp", "captured_at|created_at"),
    "generation_stats": (*("space", "avg_ms|avg_duration_ms", "count|sample_count", "updated_at|last_updated?"),),
}

_Child: TypeAlias = Rule | Marker | HistoryEntry | Snapshot
_Average: TypeAlias = Annotated[Count, Field(le=MAX_DURATION_MS)]
_Samples: TypeAlias = Annotated[Count, Field(ge=1)]


def import_vibeweaver(
    store: Store, path: Path, *, dry_run: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Bring in a vibeweaver database: a unit of work a session, which goes in whole, with all that hangs on it.

    Every row of its tables counts as one item. A session that is there already is a duplicate, and so is all that
    hangs on it, also what came to it since. What cannot be read is left out and told of, the rest goes in. Of the
    stats of a space only a rounded average is known: count and average are kept, the sums follow from them.

    Args:
        store: where to.
        path: the file; it is only read.
        dry_run: tell what would be done, and write nothing.
        progress: is told how much of the file was dealt with, in bytes.

    Raises:
        ImportRejected: there is no such file, or it is no vibeweaver database.
        StoreBusy: another process holds the file exclusively.
        StoreError: the store cannot be written.
    """
    with (
        opened(path, IMPORTER, LAYOUT, progress=progress) as source,
        running(store, IMPORTER, dry_run=dry_run) as run,
        recorded(run, path, fingerprint(path)) as bringing,
    ):
        for session in source.rows("sessions"):
            bringing.bring(partial(_bring_session, source, session))
        bringing.bring(partial(_refuse_strays, source))
        bringing.bring(partial(_bring_stats, source))
    return run.report


# --- sessions --------------------------------------------------------------------------------------------------


def _bring_session(source: ForeignDatabase, row: ForeignRow, uow: UnitOfWork, part: Part) -> None:
    session = part.attempt(row, partial(_session, row, part.import_id))
    if session is None:
        for table in _CHILDREN:
            part.refuse(source.rows(table, session_id=row.key), "its session was left out")
        return
    there = sessions.find(uow, session.id) is not None
    if not there:
        uow.insert(session)
        part.counts.sessions += 1
    _count(part, 1, there=there)
    for table, read in _CHILDREN.items():
        for batch in in_batches(source.rows(table, session_id=row.key)):
            built = [made for each in batch if (made := part.attempt(each, partial(read, each))) is not None]
            if not there:
                built = _without_taken(uow, part, built)
                uow.insert(*built)
            _count(part, len(built), there=there)
    keep_activity(uow, part, [session.id])


def _count(part: Part, number: int, *, there: bool) -> None:
    if there:
        part.counts.duplicate += number
    else:
        part.counts.new += number


def _without_taken(uow: UnitOfWork, part: Part, built: list[_Child]) -> list[_Child]:
    """Return the rows whose ids are free: rules and markers have ids of their own, which others may have, too."""
    if not built or isinstance(built[0], HistoryEntry | Snapshot):
        return built
    table: Any = type(built[0])
    ids = [row.id for row in built]
    taken = set(uow.exec(select(col(table.id)).where(col(table.id).in_(ids))))
    free = []
    for row in built:
        if row.id in taken:
            part.leave_out(f"{table.__tablename__} {row.id!r}", "its id is taken")
        else:
            free.append(row)
            taken.add(row.id)
    return free


def _refuse_strays(source: ForeignDatabase, _uow: UnitOfWork, part: Part) -> None:
    for table in _CHILDREN:
        part.refuse(source.strays(table), "its session is not there")


# --- rows ------------------------------------------------------------------------------------------------------


def _session(row: ForeignRow, import_id: int) -> Session:
    updated_at = row.time("updated_at")
    return Session.build(
        id=row["id"],
        kind=SessionKind.JAM,
        name=row["name"],
        vibe=row["vibe"],
        tempo_bpm=row["tempo_bpm"],
        created_at=row.time("created_at"),
        updated_at=updated_at,
        last_activity_at=updated_at,
        import_id=import_id,
    )


def _rule(row: ForeignRow) -> Rule:
    trigger = parse_document(triggers.ADAPTER, _variant(row, "trigger", _TRIGGERS), field="trigger")
    action = parse_document(actions.ADAPTER, _variant(row, "action", _ACTIONS), field="action")
    rule = Rule.build(
        id=row["id"],
        session_id=row["session_id"],
        trigger_type=TriggerType(trigger.type),
        trigger_key=trigger.key,
        trigger=trigger,
        action_type=ActionType(action.type),
        action=action,
        priority=parse_enum(Priority, row["priority"]),
        enabled=row.flag("enabled"),
        one_shot=row.flag("one_shot"),
        fired_count=row["fired_count"],
        last_fired_at=row.optional_time("last_fired_at"),
        created_at=row.time("created_at"),
    )
    if (rule.fired_count == 0) != (rule.last_fired_at is None):
        raise InvalidInput("last_fired_at: a rule has one if and only if it has fired", field="last_fired_at")
    return rule


def _tags(*vocabularies: type[TriggerType] | type[ActionType]) -> dict[str, str]:
    """Return our words by what vibeweaver calls its variants: ``JobComplete``, and in columns ``job_complete``."""
    words = [str(word) for vocabulary in vocabularies for word in vocabulary]
    return {name: word for word in words for name in (word, word.title().replace("_", ""))}


_TRIGGERS: Final = _tags(TriggerType)
_ACTIONS: Final = _tags(ActionType)


def _variant(row: ForeignRow, column: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the document of a trigger or an action with our word for its variant."""
    document = row.json(column)
    if not isinstance(document, dict):
        raise InvalidInput(f"{column}: must be a JSON object (got {shown(document)})", field=column)
    tag = document.get("type", row[f"{column}_type"])
    if not isinstance(tag, str) or tag not in tags:
        raise InvalidInput(f"{column}: {shown(tag)} is no kind of {column}", field=column)
    return {**document, "type": tags[tag]}


def _marker(row: ForeignRow) -> Marker:
    return Marker.build(
        id=row["id"],
        session_id=row["session_id"],
        beat=row["beat"],
        name=row["name"],
        metadata_=row.json("metadata"),
        created_at=row.time("created_at"),
    )


def _history_entry(row: ForeignRow) -> HistoryEntry:
    return HistoryEntry.build(
        session_id=row["session_id"],
        action=row["action"],
        params=row.json("params"),
        result=row.json("result"),
        success=row.flag("success"),
        created_at=row.time("created_at"),
    )


def _snapshot(row: ForeignRow) -> Snapshot:
    state = row["state"]
    if not isinstance(state, bytes) or len(state) > MAX_STATE_BYTES:
        raise InvalidInput(f"state: must be at most {MAX_STATE_BYTES:,} bytes (got {shown(state)})", field="state")
    return Snapshot.build(
        session_id=row["session_id"],
        state=state,
        size_bytes=len(state),
        sha256=hashlib.sha256(state).hexdigest(),
        captured_at=row.time("captured_at"),
    )


_CHILDREN: Final[Mapping[str, Callable[[ForeignRow], _Child]]] = {
    "rules": _rule,
    "markers": _marker,
    "history": _history_entry,
    "snapshots": _snapshot,
}


# --- generation stats ------------------------------------------------------------------------------------------


def _bring_stats(source: ForeignDatabase, uow: UnitOfWork, part: Part) -> None:
    for row in source.rows("generation_stats"):
        found = part.attempt(row, partial(_stats, row, uow))
        if found is None:
            continue
        there = stats.find(uow, found.space) is not None
        if not there:
            uow.insert(found)
            part.spaces[found.space] = found.sample_count
        _count(part, 1, there=there)


def _stats(row: ForeignRow, uow: UnitOfWork) -> GenerationStats:
    average: int = require(_Average, row["avg_ms"], field="avg_ms")
    count: int = require(_Samples, row["count"], field="count")
    return GenerationStats.build(
        space=row["space"],
        sample_count=count,
        total_ms=average * count,
        min_ms=average,
        max_ms=average,
        sum_of_squares_ms2=float(average) ** 2 * count,
        last_ms=average,
        updated_at=row.optional_time("updated_at") or uow.now(),
    )
