"""Brings in a database of vibeweaver (seed 000): jams with their rules, markers, history and snapshots, and stats.

The seed prints the types and refers to another document for the tables. Read are the tables as vibeweaver has them
(``trigger_params``, ``kernel_snapshots``, ``avg_duration_ms``), and as the types alone would name them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import orjson
from pydantic import Field
from sqlmodel import col, select

from vibeweaver_store.columns import Count, parse_enum
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.foreign_database import (
    BATCH_ROWS,
    ForeignDatabase,
    ForeignRow,
    Layout,
    fingerprint,
    in_batches,
    opened,
)
from vibeweaver_store.importers.keeping import Kept, lose_columns
from vibeweaver_store.importers.recorded import Part, keep_activity, note_activity, recorded
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.refreshing import Earlier, find_earlier
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
from vibeweaver_store.models.documents import TypeName
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.services import sessions, stats
from vibeweaver_store.services.snapshots import MAX_STATE_BYTES
from vibeweaver_store.services.stats import MAX_DURATION_MS
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import parse_document, require

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
_Strike: TypeAlias = Callable[[Any], Any]
"""Strikes the secrets out of a JSON value, or does not."""
_Average: TypeAlias = Annotated[Count, Field(le=MAX_DURATION_MS)]
_Samples: TypeAlias = Annotated[Count, Field(ge=1)]


def import_vibeweaver(
    store: Store, path: Path, *, redact: bool = True, dry_run: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Bring in a vibeweaver database: a unit of work a session, which goes in whole, with all that hangs on it.

    Every row of its tables counts as one item. A session that is there already stays as it is. Where an import of
    ours made it, what came to it since goes in: rules and markers whose ids are not there, history and snapshots that
    are not. All else that hangs on it is a duplicate. What cannot be read is left out and told of, the rest goes in.
    Of the stats of a space only a rounded average is known: count and average are kept, the sums follow from them.
    Columns that have no place here are kept in the session's attributes under ``vibeweaver``, and told of.

    Args:
        store: where to.
        path: the file; it is only read.
        redact: strike credentials and ids of organizations out before anything is stored, but for snapshots.
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
            bringing.bring(partial(_bring_session, source, redact, session))
        bringing.bring(partial(_refuse_strays, source))
        bringing.bring(partial(_bring_stats, source))
    return run.report


# --- sessions --------------------------------------------------------------------------------------------------


def _bring_session(source: ForeignDatabase, redact: bool, row: ForeignRow, uow: UnitOfWork, part: Part) -> None:
    redactor = Redactor(redact)
    kept = Kept(IMPORTER, redactor)
    session = part.attempt(row, partial(_session, row, kept, part.import_id))
    if session is None:
        for table in _CHILDREN:
            part.refuse(source.rows(table, session_id=row.key), "its session was left out")
        return
    known = _known(uow, part, session.id)
    if known is None:
        uow.insert(session)
        part.counts.sessions += 1
    else:
        kept.take_over(known.earlier.session, *_CHILDREN)
        kept.forget_notes()
    _count(part, new=int(known is None), of=1)
    for table, read in _CHILDREN.items():
        for batch in in_batches(source.rows(table, session_id=row.key)):
            tried = [(each, part.attempt(each, partial(read, each, redactor.strike))) for each in batch]
            built = [(each, made) for each, made in tried if made is not None]
            fresh = _bring_children(uow, part, known, [made for _, made in built]) if built else []
            new = set(map(id, fresh))
            for each in [each for each, made in built if id(made) in new]:
                kept.columns_of(each)
    kept.add_to(uow, part, session, None if known is None else known.earlier)
    kept.tell(part)
    part.counts.redacted += redactor.count
    keep_activity(uow, part, [session.id])


def _count(part: Part, *, new: int, of: int) -> None:
    part.counts.new += new
    part.counts.duplicate += of - new


# --- what hangs on them ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """A session that was there before this import: whether it came by one, and what of its logs was there."""

    earlier: Earlier
    logged: Counter[bytes]

    @property
    def session_id(self) -> str:
        return self.earlier.session.id

    @property
    def imported(self) -> bool:
        return self.earlier.made_by is not None

    def has(self, row: _Child) -> bool:
        """Return whether a row of a log was there; of equal ones, as many as there were."""
        columns = _OF_SNAPSHOTS if isinstance(row, Snapshot) else _OF_HISTORY
        digest = _digest([getattr(row, column.key) for column in columns])
        there = self.logged[digest] > 0
        self.logged[digest] -= there
        return there


def _known(uow: UnitOfWork, part: Part, session_id: str) -> _Known | None:
    """Return a session that is there, which nobody else adds to until the unit of work ends; ``None``: it is not."""
    earlier = find_earlier(uow, IMPORTER, session_id)
    if earlier is None:
        return None
    if earlier.made_by is None:
        return _Known(earlier, logged=Counter())
    note_activity(uow, part, [session_id])
    sessions.hold(uow, session_id, active=False)
    return _Known(earlier, logged=Counter(_logged(uow, session_id)))


def _logged(uow: UnitOfWork, session_id: str) -> Iterator[bytes]:
    for columns in (_OF_HISTORY, _OF_SNAPSHOTS):
        of_session = select(*[col(column) for column in columns]).where(col(columns[0].class_.session_id) == session_id)
        for values in uow.exec(of_session.execution_options(yield_per=BATCH_ROWS)):
            yield _digest(values)


_OF_HISTORY: Final[Sequence[Any]] = (
    *(HistoryEntry.created_at, HistoryEntry.action, HistoryEntry.params, HistoryEntry.result, HistoryEntry.success),
)
_OF_SNAPSHOTS: Final[Sequence[Any]] = (Snapshot.captured_at, Snapshot.sha256)
"""By which columns it is known that a row of a log, which has no key of its own, is there."""


def _digest(values: Iterable[Any]) -> bytes:
    return hashlib.sha256(orjson.dumps(list(values), option=orjson.OPT_SORT_KEYS)).digest()


def _bring_children(uow: UnitOfWork, part: Part, known: _Known | None, built: list[_Child]) -> list[_Child]:
    """Bring rows of one table that hang on one session; return those that were not there."""
    if known is not None and not known.imported:
        _count(part, new=0, of=len(built))
        return []
    if isinstance(built[0], Rule | Marker):
        fresh = _with_free_ids(uow, part, known, built)
    else:
        fresh = [row for row in built if known is None or not known.has(row)]
        _count(part, new=len(fresh), of=len(built))
    uow.insert(*fresh)
    if known is None:
        part.latest = max([*map(_time_of, fresh), *([part.latest] if part.latest else [])], default=None)
    elif fresh:
        _note_grown(part, known.session_id, fresh)
        uow.announce(sessions.topic(known.session_id))
    return fresh


def _with_free_ids(uow: UnitOfWork, part: Part, known: _Known | None, built: list[_Child]) -> list[_Child]:
    """Return the rows whose ids are free: rules and markers have ids of their own, which others may have, too."""
    table: Any = type(built[0])
    whose = select(col(table.id), col(table.session_id)).where(col(table.id).in_([row.id for row in built]))
    taken: dict[Any, str | None] = dict(uow.exec(whose).all())
    fresh = []
    for row in built:
        if row.id not in taken:
            fresh.append(row)
            taken[row.id] = None
            part.counts.new += 1
        elif known is not None and taken[row.id] == known.session_id:
            part.counts.duplicate += 1
        else:
            part.leave_out(f"{table.__tablename__} {row.id!r}", "its id is taken")
    return fresh


def _time_of(row: _Child) -> datetime:
    return row.captured_at if isinstance(row, Snapshot) else row.created_at


def _note_grown(part: Part, session_id: str, rows: Sequence[_Child]) -> None:
    """Note what came to a session that was there, for an undo: of a log the first and the last."""
    ids = [row.id for row in rows]
    noted = ids if isinstance(rows[0], Rule | Marker) else [[ids[0], ids[-1]]]
    part.grown.setdefault(session_id, {}).setdefault(str(rows[0].__tablename__), []).extend(noted)


def _refuse_strays(source: ForeignDatabase, _uow: UnitOfWork, part: Part) -> None:
    for table in _CHILDREN:
        part.refuse(source.strays(table), "its session is not there")


# --- rows ------------------------------------------------------------------------------------------------------


def _session(row: ForeignRow, kept: Kept, import_id: int) -> Session:
    updated_at, strike = row.time("updated_at"), kept.redactor.strike
    kept.columns_of_session(row)
    name = strike(row["name"])
    return Session.build(
        id=row["id"],
        kind=SessionKind.JAM,
        name=None if isinstance(name, str) and not name.strip() else name,  # theirs may be empty
        vibe=strike(row["vibe"]),
        tempo_bpm=row["tempo_bpm"],
        attributes=kept.within({}),
        created_at=row.time("created_at"),
        updated_at=updated_at,
        last_activity_at=updated_at,
        import_id=import_id,
    )


def _rule(row: ForeignRow, strike: _Strike) -> Rule:
    trigger = parse_document(triggers.ADAPTER, strike(_variant(row, "trigger", TriggerType)), field="trigger")
    action = parse_document(actions.ADAPTER, strike(_variant(row, "action", ActionType)), field="action")
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


def _variant(row: ForeignRow, column: str, types: type[TypeName]) -> dict[str, Any]:
    """Return the document of a trigger or an action, whose type may stand in a column of its own."""
    document = row.json(column)
    if not isinstance(document, dict):
        raise InvalidInput(f"{column}: must be a JSON object (got {shown(document)})", field=column)
    tag = document.get("type", row[f"{column}_type"])
    try:
        return {**document, "type": str(types(tag))}
    except ValueError as error:
        raise InvalidInput(f"{column}: {shown(tag)} is no kind of {column}", field=column) from error


def _marker(row: ForeignRow, strike: _Strike) -> Marker:
    return Marker.build(
        id=row["id"],
        session_id=row["session_id"],
        beat=row["beat"],
        name=strike(row["name"]),
        metadata_=strike(row.json("metadata")),
        created_at=row.time("created_at"),
    )


def _history_entry(row: ForeignRow, strike: _Strike) -> HistoryEntry:
    return HistoryEntry.build(
        session_id=row["session_id"],
        action=strike(row["action"]),
        params=strike(row.json("params")),
        result=strike(row.json("result")),
        success=row.flag("success"),
        created_at=row.time("created_at"),
    )


def _snapshot(row: ForeignRow, _: _Strike) -> Snapshot:
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


_CHILDREN: Final[Mapping[str, Callable[[ForeignRow, _Strike], _Child]]] = {
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
            lose_columns(part, row)
            part.spaces[found.space] = found.sample_count
        _count(part, new=int(not there), of=1)


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
