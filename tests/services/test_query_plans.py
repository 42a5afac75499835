"""Every lookup goes by an index that leads to the rows it returns, order included: no scan and no sort of a table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa

from tests.services.plans import Sent, indexes_of, postgresql_plan, recorded, sqlite_plan, steps
from tests.services.scene import Scene, services_that_take
from tests.services.variants import TRIGGERS
from vibeweaver_store import (
    GenerationStats,
    Page,
    Priority,
    Store,
    UnitOfWork,
    history,
    markers,
    rules,
    sessions,
    signals,
    snapshots,
    stats,
)
from vibeweaver_store.models import METADATA
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.testing import (
    EPOCH,
    HistoryEntryFactory,
    MarkerFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
)

# A few thousand rows a table: sessions with much in them, at work at the same time, among others that are empty.
BUSY, EMPTY, RULES, MARKERS, ENTRIES, SNAPSHOTS, SPACES = 8, 2000, 350, 400, 600, 250, 2000


@pytest.fixture(scope="module")
def lasting_drive() -> str:
    """The plan of a statement is the same on either driver."""
    return "sync"


@pytest.fixture(scope="module")
def busy(lasting_store: Store) -> Scene:
    """One of the sessions with much in them, in a database whose planner knows how full it is."""
    with lasting_store.begin() as uow:
        keys = [SessionFactory.create(uow=uow).id for _ in range(BUSY)]
        uow.insert(*[SessionFactory.build() for _ in range(EMPTY)])
        uow.insert(*[stats_of(f"space {n}") for n in range(SPACES)])
        scenes = [fill(uow, key) for key in keys]
        # What sessions at work at the same time log stands interleaved.
        actions = ("sample", "play", "stop")
        uow.insert(
            *[
                HistoryEntryFactory.build(session_id=key, action=actions[n % 3], success=n % 20 != 0)
                for n, key in product(range(ENTRIES), keys)
            ]
        )
        uow.insert(*[SnapshotFactory.build(session_id=key) for _, key in product(range(SNAPSHOTS), keys)])
        uow.execute(sa.text("ANALYZE"))
    return scenes[BUSY // 2]


def fill(uow: UnitOfWork, key: str) -> Scene:
    made = [
        RuleFactory.build(session_id=key, trigger=trigger, priority=Priority(n % 5), enabled=n % 10 != 0)
        for n, (trigger, _) in product(range(RULES // len(TRIGGERS)), TRIGGERS)
    ]
    placed = [MarkerFactory.build(session_id=key, beat=float(n * 7 % MARKERS)) for n in range(MARKERS)]
    uow.insert(*made)
    uow.insert(*placed)
    deadline = next(rule for rule in made if rule.trigger_type is TriggerType.DEADLINE and rule.enabled)
    return Scene(key, made[0].id, deadline.id, placed[0].id, "space 7")


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

LOOKUPS: dict[str, Lookup] = {
    "sessions.get": lambda uow, at: sessions.get(uow, at.session_id),
    "sessions.find": lambda uow, at: sessions.find(uow, at.session_id),
    "sessions.require_session": lambda uow, at: sessions.require_session(uow, at.session_id),
    "sessions.page": lambda uow, _: there_and_back(lambda **values: sessions.page(uow, **values)),
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
    "snapshots.page": listing(snapshots.page),
    "stats.get": lambda uow, at: stats.get(uow, at.space),
    "stats.find": lambda uow, at: stats.find(uow, at.space),
    "stats.estimate": lambda uow, at: stats.estimate(uow, at.space),
    "stats.page": lambda uow, _: there_and_back(lambda **values: stats.page(uow, **values)),
}

WRITERS: dict[str, Lookup] = {
    "sessions.update": lambda uow, at: sessions.update(uow, at.session_id, vibe="new"),
    **{f"rules.fire {name}": signalled(rules.fire, signal) for name, signal in SIGNALS.items()},
    "rules.mark_fired": lambda uow, at: rules.mark_fired(uow, at.deadline_id),
    "rules.set_enabled": lambda uow, at: rules.set_enabled(uow, at.rule_id, False),
    "rules.delete": lambda uow, at: rules.delete(uow, at.rule_id),
    "rules.revise": lambda uow, at: rules.revise(uow, at.session_id),
    "markers.delete": lambda uow, at: markers.delete(uow, at.marker_id),
    "snapshots.prune": lambda uow, at: snapshots.prune(uow, at.session_id, keep=20),
}

WHOLE_TABLE_IN_ORDER = {"sessions", "generation_stats"}
"""Tables whose listing is of all their rows: its first page reads the index of the order from one end."""


def test_every_lookup_is_tried_here() -> None:
    assert {name.partition(" ")[0] for name in LOOKUPS} == services_that_take("ReadUnitOfWork")


class UndoneError(Exception):
    """Raised so that what a writer wrote is rolled back."""


@pytest.mark.parametrize("lookup", [*LOOKUPS.values(), *WRITERS.values()], ids=[*LOOKUPS, *WRITERS])
def test_it_goes_by_an_index(lasting_store: Store, busy: Scene, lookup: Lookup) -> None:
    with recorded(lasting_store) as sent, suppress(UndoneError), lasting_store.begin() as uow:
        lookup(uow, busy)
        raise UndoneError
    looked_up = [each for each in sent if not each.statement.startswith("INSERT")]
    complain = complaints_of_sqlite if lasting_store.backend == "sqlite" else complaints_of_postgresql
    assert looked_up
    assert [complaint for each in looked_up for complaint in complain(lasting_store, each)] == []


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
    return step.split()[1] in WHOLE_TABLE_IN_ORDER and " USING INDEX " in step


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
def test_a_page_of_history_at_depth_goes_by_the_index_of_the_first(
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


def test_every_foreign_key_has_an_index_that_begins_with_it() -> None:
    # Else to delete a session would scan the tables of what belongs to it; no plan shows what a cascade does.
    missing = [
        f"{table.name}.{key.parent.name}"
        for table in METADATA.sorted_tables
        for key in table.foreign_keys
        if not any(
            next(iter(index.columns)) is key.parent and index.dialect_kwargs.get("sqlite_where") is None
            for index in table.indexes
        )
    ]
    assert missing == []
