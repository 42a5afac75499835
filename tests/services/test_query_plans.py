"""Every lookup goes by an index that leads to the rows it returns, order included: no scan and no sort of a table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa

from tests.services import ensemble_scene, job_scene
from tests.services.conftest import SYNC
from tests.services.ensemble_scene import EnsembleScene, build_busy_ensemble
from tests.services.job_scene import JobScene, build_busy_jobs
from tests.services.plans import Sent, indexes_of, postgresql_plan, recorded, sqlite_plan, steps
from tests.services.scene import Scene, services_that_take
from tests.services.variants import TRIGGERS
from vibeweaver_store import (
    GenerationStats,
    Import,
    InstanceStatus,
    JournalEvent,
    MessageRole,
    Page,
    Priority,
    Session,
    SessionKind,
    SessionStatus,
    Store,
    UnitOfWork,
    Workspace,
    arenas,
    history,
    imports,
    journal,
    markers,
    messages,
    rules,
    sessions,
    signals,
    snapshots,
    stats,
    workspaces,
)
from vibeweaver_store.models import METADATA
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.testing import (
    EPOCH,
    ArenaFactory,
    ArenaRuntimeFactory,
    HistoryEntryFactory,
    ImportFactory,
    InstanceFactory,
    JournalEventFactory,
    MarkerFactory,
    MessageFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
    WorkspaceFactory,
)

# A few thousand rows a table: sessions with much in them, at work at the same time, among others that are empty.
BUSY, EMPTY, RULES, MARKERS, ENTRIES, SNAPSHOTS, SPACES = 8, 2000, 350, 400, 600, 250, 2000
MESSAGES, EVENTS, INSTANCES, WORKSPACES, IMPORTS = 600, 600, 50, 1000, 2000


@pytest.fixture(scope="module", params=SYNC)
def lasting(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The plan of a statement is the same on either driver."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture(scope="module")
def busy(lasting_store: Store) -> Scene:
    """One of the sessions with much in them, in a database whose planner knows how full it is."""
    with lasting_store.begin() as uow:
        uow.insert(*[stats_of(f"space {n}") for n in range(SPACES)])
        folders = [WorkspaceFactory.build(last_accessed_at=later(n)) for n in range(WORKSPACES)]
        uow.insert(*folders)
        empty = [empty_session(n, folders[n % WORKSPACES].id) for n in range(EMPTY)]
        uow.insert(*empty)
        for factory in (ArenaFactory, ArenaRuntimeFactory, InstanceFactory):
            uow.insert(*[factory.build(session_id=each.id) for each in empty])
        keys = [
            SessionFactory.create(uow=uow, kind=SessionKind.COMPETITION, workspace_id=folders[n].id).id
            for n in range(BUSY)
        ]
        imported = [ImportFactory.build(source=f"/srv/{n % 100}.jsonl") for n in range(IMPORTS)]
        uow.insert(*imported)
        ensemble, jobs = build_busy_ensemble(uow), build_busy_jobs(uow)
        scenes = [
            fill(uow, key, folder, imported[-1], ensemble=ensemble, jobs=jobs)
            for key, folder in zip(keys, folders, strict=False)
        ]
        insert_logs(uow, keys, imported)
        uow.execute(sa.text("ANALYZE"))
    return fill_in_events(lasting_store, scenes[BUSY // 2])


def later(n: int) -> datetime:
    return EPOCH + timedelta(minutes=n)


def empty_session(n: int, workspace_id: str) -> Session:
    return SessionFactory.build(
        kind=list(SessionKind)[n % 5],
        status=list(SessionStatus)[n % 6],
        workspace_id=workspace_id,
        created_at=later(n),
        updated_at=later(2 * n),
    )


def insert_logs(uow: UnitOfWork, keys: list[str], imported: list[Import]) -> None:
    """What sessions at work at the same time log stands interleaved."""
    actions = ("sample", "play", "stop")
    uow.insert(
        *[
            HistoryEntryFactory.build(session_id=key, action=actions[n % 3], success=n % 20 != 0)
            for n, key in product(range(ENTRIES), keys)
        ]
    )
    uow.insert(*[SnapshotFactory.build(session_id=key) for _, key in product(range(SNAPSHOTS), keys)])
    uow.insert(
        *[
            MessageFactory.build(
                session_id=key,
                role=list(MessageRole)[n % 3],
                instance_id=None if n % 2 else n % INSTANCES,
                created_at=later(n),
                import_id=imported[n % IMPORTS].id,
            )
            for n, key in product(range(MESSAGES), keys)
        ]
    )
    uow.insert(*[event_of(n, key, imported[n % IMPORTS].id) for n, key in product(range(EVENTS), keys)])


def event_of(n: int, key: str, import_id: int | None) -> JournalEvent:
    of_model = n % 3 == 1
    return JournalEventFactory.build(
        session_id=key,
        source_session_id=f"{key} {n // 300}",
        event_uuid=f"event {n}",
        parent_uuid=f"event {n - 1}" if n % 300 else None,
        event_type=("user", "assistant", "progress")[n % 3],
        timestamp=later(n),
        is_sidechain=n % 7 == 0,
        message_id=f"message {n // 6}" if of_model else None,
        model="claude-sonnet-4-5" if of_model else None,
        output_tokens=n if of_model else None,
        import_id=import_id,
    )


def fill_in_events(store: Store, scene: Scene) -> Scene:
    """Add the keys of rows that numbered themselves."""
    with store.read() as uow:
        newest = journal.for_session(uow, scene.session_id, newest_first=True, limit=1).items[0].id
        return replace(scene, event_id=newest or 0, message_id=messages.last(uow, scene.session_id, 1)[0].public_id)


def fill(
    uow: UnitOfWork, key: str, folder: Workspace, imported: Import, *, ensemble: EnsembleScene, jobs: JobScene
) -> Scene:
    made = [
        RuleFactory.build(session_id=key, trigger=trigger, priority=Priority(n % 5), enabled=n % 10 != 0)
        for n, (trigger, _) in product(range(RULES // len(TRIGGERS)), TRIGGERS)
    ]
    placed = [MarkerFactory.build(session_id=key, beat=float(n * 7 % MARKERS)) for n in range(MARKERS)]
    uow.insert(*made)
    uow.insert(*placed)
    deadline = next(rule for rule in made if rule.trigger_type is TriggerType.DEADLINE and rule.enabled)
    ArenaFactory.create(uow=uow, session_id=key)
    uow.insert(*[ArenaRuntimeFactory.build(session_id=key) for _ in range(5)])
    uow.insert(
        *[
            InstanceFactory.build(session_id=key, instance_id=n, status=list(InstanceStatus)[n % 5])
            for n in range(INSTANCES)
        ]
    )
    return Scene(
        session_id=key,
        rule_id=made[0].id,
        deadline_id=deadline.id,
        marker_id=placed[0].id,
        space="space 7",
        workspace_id=folder.id,
        path=folder.path,
        message_id="",
        event_id=0,
        last_event_id=0,
        import_id=imported.id or 0,
        source=imported.source,
        ensemble=ensemble,
        jobs=jobs,
    )


def stats_of(space: str) -> GenerationStats:
    return GenerationStats.build(
        space=space,
        sample_count=1,
        total_ms=100,
        min_ms=100,
        max_ms=100,
        sum_of_squares_ms2=10_000.0,
        last_ms=100,
        updated_at=EPOCH,
    )


# What is looked up

Lookup: TypeAlias = Callable[[UnitOfWork, Scene], object]


def listing(page: Callable[..., Page[Any]], **filters: Any) -> Lookup:
    """The first page of a session's listing, the next, and back."""
    return lambda uow, at: there_and_back(lambda **values: page(uow, at.session_id, **values, **filters))


def there_and_back(fetch: Callable[..., Page[Any]]) -> None:
    first = fetch(limit=3)
    second = fetch(limit=3, cursor=first.next_cursor)
    back = fetch(limit=3, cursor=second.previous_cursor)
    assert back.items == first.items


def by_trigger(trigger_type: TriggerType) -> Lookup:
    return lambda uow, at: rules.by_trigger(uow, at.session_id, trigger_type)


def signalled(operation: Callable[..., object], signal: Any) -> Lookup:
    return lambda uow, at: operation(uow, at.session_id, signal)


def counting(**filters: Any) -> Lookup:
    return lambda uow, at: history.count(uow, at.session_id, **filters)


def of_newest_snapshot(uow: UnitOfWork, at: Scene) -> object:
    return snapshots.load(uow, at.session_id, snapshots.page(uow, at.session_id, limit=1).items[0].id)


SIGNALS = {
    "a beat": signals.BeatTick(beat=8),
    "a marker": signals.MarkerReached(name="chorus", beat=16),
    "an artifact": signals.ArtifactCreated(),
    "an artifact of a tag": signals.ArtifactCreated(tags=("drums",)),
    "an artifact of tags": signals.ArtifactCreated(tags=("drums", "bass", "loop")),
    "a job": signals.JobFinished(job_id="job-7"),
    "a transport": signals.TransportChanged(state="playing"),
}

FILTERS: dict[str, dict[str, Any]] = {
    f"{action or 'any action'}, {words}": {"action": action, "success": success}
    for action in (None, "sample")
    for success, words in ((None, "however it went"), (True, "successes"), (False, "failures"))
}


def searching(search: Callable[..., Page[Any]], sort: str, *, by: str | None) -> Lookup:
    """A search in an order, within what one of the filters that have indexes of their own lets through."""

    def look(uow: UnitOfWork, at: Scene) -> None:
        values = {"workspace_id": at.workspace_id, "status": "created", "kind": "competition"}
        given: dict[str, Any] = {} if by is None else {by: values[by]}
        where = sessions.SessionFilter(**given)
        first = search(uow, where, sort=sort, limit=3)
        if first.next_cursor is not None:
            search(uow, where, sort=sort, limit=3, cursor=first.next_cursor)

    return look


SEARCHES: dict[str, Lookup] = {
    f"sessions.{name} by {sort} within {by}": searching(search, sort, by=by)
    for name, search in (("search", sessions.search), ("overview", sessions.overview))
    for sort in ("updated_at", "created_at", "name")
    for by in (None, "workspace_id", "status", "kind")
}

LOOKUPS: dict[str, Lookup] = {
    "sessions.get": lambda uow, at: sessions.get(uow, at.session_id),
    "sessions.find": lambda uow, at: sessions.find(uow, at.session_id),
    "sessions.require_session": lambda uow, at: sessions.require_session(uow, at.session_id),
    "sessions.page": lambda uow, _: there_and_back(lambda **values: sessions.page(uow, **values)),
    "sessions.counts": lambda uow, _: sessions.counts(uow),
    **SEARCHES,
    "workspaces.get": lambda uow, at: workspaces.get(uow, at.workspace_id),
    "workspaces.find": lambda uow, at: workspaces.find(uow, at.workspace_id),
    "workspaces.find_by_path": lambda uow, at: workspaces.find_by_path(uow, at.path),
    "workspaces.find_by_hash": lambda uow, at: workspaces.find_by_hash(uow, workspaces.path_hash(at.path)),
    "workspaces.require_workspace": lambda uow, at: workspaces.require_workspace(uow, at.workspace_id),
    "workspaces.page": lambda uow, _: there_and_back(lambda **values: workspaces.page(uow, **values)),
    "workspaces.session_count": lambda uow, at: workspaces.session_count(uow, at.workspace_id),
    "messages.get": lambda uow, at: messages.get(uow, at.session_id, at.message_id),
    "messages.find": lambda uow, at: messages.find(uow, at.session_id, at.message_id),
    "messages.last": lambda uow, at: messages.last(uow, at.session_id, 10),
    "messages.page": listing(messages.page),
    "messages.page newest first": listing(messages.page, newest_first=True),
    "messages.page of a role": listing(messages.page, role="assistant"),
    "messages.page of an instance": listing(messages.page, instance_id=4),
    "messages.page of both": listing(messages.page, instance_id=4, role="assistant"),
    "messages.page of a time": listing(messages.page, since=later(100)),
    "messages.page of a time and a role": listing(messages.page, until=later(300), role="assistant", newest_first=True),
    "messages.page of a time in all sessions": lambda uow, _: there_and_back(
        lambda **values: messages.page(uow, since=later(100), until=later(300), newest_first=True, **values)
    ),
    "messages.page of a time and a role in all sessions": lambda uow, _: there_and_back(
        lambda **values: messages.page(uow, since=later(100), role="assistant", **values)
    ),
    "messages.between": listing(messages.between, start=later(100), end=later(300)),
    "messages.count": lambda uow, at: messages.count(uow, at.session_id),
    "arenas.find": lambda uow, at: arenas.find(uow, at.session_id),
    "arenas.get": lambda uow, at: arenas.get(uow, at.session_id),
    "arenas.runtimes": lambda uow, at: arenas.runtimes(uow, at.session_id),
    "arenas.instances": lambda uow, at: arenas.instances(uow, at.session_id),
    "arenas.instance_count": lambda uow, at: arenas.instance_count(uow, at.session_id),
    "arenas.get_instance": lambda uow, at: arenas.get_instance(uow, at.session_id, 7),
    "arenas.instances_by_status": lambda uow, _: there_and_back(
        lambda **values: arenas.instances_by_status(uow, "running", **values)
    ),
    "journal.get": lambda uow, at: journal.get(uow, at.event_id),
    "journal.find": lambda uow, at: journal.find(uow, at.event_id),
    "journal.find by its key": lambda uow, at: journal.find(uow, (f"{at.session_id} 0", "event 7")),
    "journal.recent": lambda uow, _: journal.recent(uow, 10),
    "journal.for_session": listing(journal.for_session),
    "journal.for_session newest first": listing(journal.for_session, newest_first=True),
    "journal.for_session of a type": listing(journal.for_session, event_type="assistant"),
    "journal.for_session of sidechains": listing(journal.for_session, sidechain=True),
    "journal.for_session of a time": listing(journal.for_session, since=later(100), until=later(300)),
    "journal.for_source": lambda uow, at: there_and_back(
        lambda **values: journal.for_source(uow, f"{at.session_id} 1", **values)
    ),
    "journal.for_source newest first": lambda uow, at: there_and_back(
        lambda **values: journal.for_source(uow, f"{at.session_id} 1", newest_first=True, **values)
    ),
    "journal.count": lambda uow, at: journal.count(uow, at.session_id),
    "journal.count of a type": lambda uow, at: journal.count(uow, at.session_id, event_type="assistant"),
    "journal.counts": lambda uow, at: journal.counts(uow, at.session_id),
    "journal.thread": lambda uow, at: journal.thread(uow, at.event_id),
    "journal.source_sessions_of": lambda uow, at: journal.source_sessions_of(uow, at.session_id),
    "journal.latest_source_session": lambda uow, at: journal.latest_source_session(uow, at.session_id),
    "journal.usage of a session": lambda uow, at: journal.usage(uow, session_id=at.session_id),
    "journal.usage of a workspace": lambda uow, at: journal.usage(uow, workspace_id=at.workspace_id),
    "journal.usage since": lambda uow, _: journal.usage(uow, since=later(60 * 24 + 590)),
    "imports.get": lambda uow, at: imports.get(uow, at.import_id),
    "imports.find": lambda uow, at: imports.find(uow, at.import_id),
    "imports.page": lambda uow, _: there_and_back(lambda **values: imports.page(uow, **values)),
    "imports.latest": lambda uow, at: imports.latest(uow, "claude-code", at.source),
    "imports.brought": lambda uow, at: imports.brought(uow, at.import_id),
    "rules.get": lambda uow, at: rules.get(uow, at.rule_id),
    "rules.find": lambda uow, at: rules.find(uow, at.rule_id),
    "rules.page_by_session": listing(rules.page_by_session),
    **{f"rules.by_trigger {trigger_type}": by_trigger(trigger_type) for trigger_type in TriggerType},
    **{f"rules.match {name}": signalled(rules.match, signal) for name, signal in SIGNALS.items()},
    "rules.revision": lambda uow, at: rules.revision(uow, at.session_id),
    "rules.due": lambda uow, at: rules.due(uow, at.session_id, 8),
    "rules.next_due": lambda uow, at: rules.next_due(uow, at.session_id, 8),
    "markers.get": lambda uow, at: markers.get(uow, at.marker_id),
    "markers.find": lambda uow, at: markers.find(uow, at.marker_id),
    "markers.page": listing(markers.page),
    "markers.between": listing(markers.between, from_beat=16, to_beat=64),
    "history.recent": lambda uow, at: history.recent(uow, at.session_id, 10),
    **{f"history.page of {name}": listing(history.page, **filters) for name, filters in FILTERS.items()},
    **{
        f"history.page of {name}, oldest first": listing(history.page, **filters, oldest_first=True)
        for name, filters in FILTERS.items()
    },
    **{f"history.count of {name}": counting(**filters) for name, filters in FILTERS.items()},
    "snapshots.load": lambda uow, at: snapshots.load(uow, at.session_id),
    "snapshots.load by id": of_newest_snapshot,
    "snapshots.find": lambda uow, at: snapshots.find(uow, at.session_id),
    "snapshots.page": listing(snapshots.page),
    "stats.get": lambda uow, at: stats.get(uow, at.space),
    "stats.find": lambda uow, at: stats.find(uow, at.space),
    "stats.estimate": lambda uow, at: stats.estimate(uow, at.space),
    "stats.page": lambda uow, _: there_and_back(lambda **values: stats.page(uow, **values)),
}

WRITERS: dict[str, Lookup] = {
    "sessions.update": lambda uow, at: sessions.update(uow, at.session_id, vibe="new"),
    "sessions.update with a status": lambda uow, at: sessions.update(uow, at.session_id, status="running"),
    "sessions.set_status": lambda uow, at: sessions.set_status(uow, at.session_id, "running"),
    "sessions.reconcile": lambda uow, _: sessions.reconcile(uow, idle_for=timedelta(days=1)),
    "workspaces.ensure": lambda uow, at: (workspaces.ensure(uow, at.path), workspaces.get(uow, at.workspace_id)),
    "workspaces.delete": lambda uow, at: workspaces.delete(uow, at.workspace_id),
    "messages.append": lambda uow, at: messages.append(uow, at.session_id, "user", "louder"),
    "messages.append_many": lambda uow, at: messages.append_many(
        uow, at.session_id, [messages.NewMessage("user", "louder", at.message_id)], if_exists="ignore"
    ),
    "arenas.set_instance_status": lambda uow, at: arenas.set_instance_status(uow, at.session_id, 1, "paused"),
    "arenas.add_runtime": lambda uow, at: arenas.add_runtime(uow, at.session_id, "codex"),
    "arenas.set_runtimes": lambda uow, at: arenas.set_runtimes(uow, at.session_id, ["codex"]),
    "arenas.set_output": lambda uow, at: arenas.set_output(uow, at.session_id, 1, "done"),
    "journal.ingest": lambda uow, at: journal.ingest(uow, [journal.NewEvent({"type": "user"}, "x", at.session_id)]),
    "journal.associate": lambda uow, at: journal.associate(uow, [at.event_id], at.session_id),
    "journal.associate by a key": lambda uow, at: journal.associate(
        uow, [(f"{at.session_id} 0", "event 7")], at.session_id
    ),
    "imports.undo": lambda uow, at: imports.undo(uow, at.import_id),
    **{f"rules.fire {name}": signalled(rules.fire, signal) for name, signal in SIGNALS.items()},
    "rules.mark_fired": lambda uow, at: rules.mark_fired(uow, at.deadline_id),
    "rules.set_enabled": lambda uow, at: rules.set_enabled(uow, at.rule_id, False),
    "rules.delete": lambda uow, at: rules.delete(uow, at.rule_id),
    "rules.revise": lambda uow, at: rules.revise(uow, at.session_id),
    "markers.delete": lambda uow, at: markers.delete(uow, at.marker_id),
    "snapshots.prune": lambda uow, at: snapshots.prune(uow, at.session_id, keep=20),
}


def of_ensembles(look: ensemble_scene.Mutator) -> Lookup:
    return lambda uow, at: look(uow, at.ensemble)


def of_jobs(look: job_scene.Mutator) -> Lookup:
    return lambda uow, at: look(uow, at.jobs)


LOOKUPS |= {name: of_ensembles(look) for name, look in ensemble_scene.LOOKUPS.items()}
LOOKUPS |= {name: of_jobs(look) for name, look in job_scene.LOOKUPS.items()}
WRITERS |= {name: of_ensembles(look) for name, look in ensemble_scene.WRITERS.items()}
WRITERS |= {name: of_jobs(look) for name, look in job_scene.WRITERS.items()}

WHOLE_TABLE_IN_ORDER = {
    *("sessions", "workspaces", "instances", "imports", "journal_events", "generation_stats"),
    *ensemble_scene.WHOLE_TABLE_IN_ORDER,
    *job_scene.WHOLE_TABLE_IN_ORDER,
}
"""Tables whose listing is of all their rows: its first page reads the index of the order from one end."""


def test_query_plan_tests_cover_every_lookup() -> None:
    assert {name.partition(" ")[0] for name in LOOKUPS} == services_that_take("ReadUnitOfWork")


class UndoneError(Exception):
    """Raised so that what a writer wrote is rolled back."""


IN_SETS = {
    *("sessions.counts", "journal.usage", "journal.thread", "imports.undo"),
    *ensemble_scene.IN_SETS,
    *job_scene.IN_SETS,
}
"""What counts, groups or gathers many rows in one statement: it sorts what it found, and where that is a good part of a
table of a few thousand rows, PostgreSQL reads all of it."""


@pytest.mark.parametrize("name", [*LOOKUPS, *WRITERS])
def test_every_lookup_uses_an_index(lasting_store: Store, busy: Scene, name: str) -> None:
    with recorded(lasting_store) as sent, suppress(UndoneError), lasting_store.begin() as uow:
        (LOOKUPS | WRITERS)[name](uow, busy)
        raise UndoneError
    looked_up = [each for each in sent if not each.statement.startswith("INSERT")]
    complain = complaints_of_sqlite if lasting_store.backend == "sqlite" else complaints_of_postgresql
    complaints = [complaint for each in looked_up for complaint in complain(lasting_store, each)]
    in_sets = name.partition(" ")[0] in IN_SETS
    assert looked_up
    assert [each for each in complaints if not (in_sets and is_of_a_set(lasting_store, each))] == []


def is_of_a_set(store: Store, complaint: str) -> bool:
    return store.backend == "postgresql" or "TEMP B-TREE" in complaint


def complaints_of_sqlite(store: Store, sent: Sent) -> list[str]:
    """The steps of a plan that scan a table or sort."""
    return [
        step
        for step in sqlite_plan(store, sent)
        if "TEMP B-TREE" in step
        # "SCAN CONSTANT ROW" is an empty list of tags.
        or (step.startswith("SCAN") and step.split()[1] in METADATA.tables and not is_in_order(step))
    ]


def is_in_order(step: str) -> bool:
    table = step.split()[1]
    # What is called nothing is the primary key of a log, whose order is that of the table.
    indexed = " USING INDEX " in step or " USING COVERING INDEX " in step or step == f"SCAN {table}"
    return indexed and table in WHOLE_TABLE_IN_ORDER


FEW = 100


def complaints_of_postgresql(store: Store, sent: Sent) -> list[str]:
    """The steps of a plan that scan a table, pass over the rows of other sessions, or sort many rows for a page.

    A sort is tolerated where all that is sorted is returned (``by_trigger``, ``due``), or all but a few of one session
    and kind (``match`` of an artifact, whose keys are several), or where only a few rows remain (the failures): to
    fetch those by bitmap and sort them is what the planner finds cheaper than the order of the index.
    """
    plan = postgresql_plan(store, sent)
    limited = any(step["Node Type"] == "Limit" for step in steps(plan))
    return [
        f"{step['Node Type']} {step.get('Index Name', '')} of {step['Plan Rows']} rows, {step.get('Filter', '')}"
        for step in steps(plan)
        if step["Node Type"] == "Seq Scan"
        or passes_over_other_sessions(step)
        or (limited and "Sort" in step["Node Type"] and step["Plan Rows"] > FEW)
    ]


def passes_over_other_sessions(step: dict[str, Any]) -> bool:
    # The trap: where a session has an eighth of the rows, the planner walks the primary key, whose order is the page's,
    # and sieves. Of a session that has been quiet since, the first page then costs a walk over all that came after.
    led_by = step.get("Index Cond", "") + step.get("Recheck Cond", "")
    return "session_id" in step.get("Filter", "") and "session_id" not in led_by and "(id = " not in led_by


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_a_deep_page_of_history_uses_the_index_of_the_first_page(
    lasting_store: Store, busy: Scene, filters: dict[str, Any]
) -> None:
    cursor = None
    used = []
    for limit in (5, 10, 5):
        with recorded(lasting_store) as sent:
            page = lasting_store.query(history.page, busy.session_id, limit=limit, cursor=cursor, **filters)
        cursor = page.next_cursor or page.previous_cursor
        used.append([index for each in sent for index in indexes_of(lasting_store, each)])
    assert used == [used[0]] * 3
    assert len(used[0]) == 1


def test_every_foreign_key_leads_an_index() -> None:
    # Else to delete a session would scan the tables of what belongs to it; no plan shows what a cascade does.
    missing = [
        f"{table.name}.{key.column_keys[0]}"
        for table in METADATA.sorted_tables
        for key in table.foreign_key_constraints
        if key.columns[0] not in leading_columns(table)
    ]
    assert missing == []


def leading_columns(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns that a key or an index begins with; one of some rows counts where it holds all that have a value."""
    keys = [each for each in table.constraints if isinstance(each, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    indexes = [
        index
        for index in table.indexes
        if (where := index.dialect_kwargs.get("sqlite_where")) is None
        or str(where) == f"{next(iter(index.columns)).name} IS NOT NULL"
    ]
    return [next(iter(each.columns)) for each in (*keys, *indexes)]
