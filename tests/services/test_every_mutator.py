"""Every function that writes: alone, in a unit of work that commits, and in one that fails.

What is committed is read through a second store; ``CHANGED`` says which tables a function touches, and no other may
change. All of them share one database: each has a scene of its own in it, and a whole dump before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pytest

from tests.services.scene import Scene, dump, services_that_take
from vibeweaver_store import (
    Store,
    UnitOfWork,
    actions,
    history,
    markers,
    rules,
    sessions,
    signals,
    snapshots,
    stats,
    triggers,
)
from vibeweaver_store.columns import new_id

Mutator: TypeAlias = Callable[[UnitOfWork, Scene], object]

NEW_RULE = rules.NewRule(triggers.Marker(name="drop"), actions.Play())

MUTATORS: dict[str, tuple[Mutator, set[str]]] = {
    "sessions.create": (lambda uow, _: sessions.create(uow, name="new"), {"sessions"}),
    "sessions.update": (lambda uow, at: sessions.update(uow, at.session_id, vibe="new"), {"sessions"}),
    "sessions.delete": (
        lambda uow, at: sessions.delete(uow, at.session_id),
        {"sessions", "rules", "markers", "history", "snapshots"},
    ),
    "rules.add": (
        lambda uow, at: rules.add(uow, at.session_id, NEW_RULE.trigger, NEW_RULE.action),
        {"rules", "sessions"},
    ),
    "rules.add_many": (lambda uow, at: rules.add_many(uow, at.session_id, [NEW_RULE] * 3), {"rules", "sessions"}),
    "rules.set_enabled": (lambda uow, at: rules.set_enabled(uow, at.rule_id, False), {"rules", "sessions"}),
    "rules.mark_fired": (lambda uow, at: rules.mark_fired(uow, at.deadline_id), {"rules", "history", "sessions"}),
    "rules.fire": (
        lambda uow, at: rules.fire(uow, at.session_id, signals.BeatTick(beat=4)),
        {"rules", "history", "sessions"},
    ),
    "rules.delete": (lambda uow, at: rules.delete(uow, at.rule_id), {"rules", "sessions"}),
    "rules.revise": (lambda uow, at: rules.revise(uow, at.session_id), {"sessions"}),
    "markers.add": (lambda uow, at: markers.add(uow, at.session_id, 8, "drop"), {"markers"}),
    "markers.add_many": (
        lambda uow, at: markers.add_many(uow, at.session_id, [markers.NewMarker(8, "drop")] * 3),
        {"markers"},
    ),
    "markers.delete": (lambda uow, at: markers.delete(uow, at.marker_id), {"markers"}),
    "history.append": (lambda uow, at: history.append(uow, at.session_id, "play"), {"history"}),
    "history.append_many": (
        lambda uow, at: history.append_many(uow, at.session_id, [history.NewEntry("play")] * 3),
        {"history"},
    ),
    "snapshots.save": (lambda uow, at: snapshots.save(uow, at.session_id, b"new"), {"snapshots"}),
    "snapshots.save and keep": (lambda uow, at: snapshots.save(uow, at.session_id, b"new", keep=1), {"snapshots"}),
    "snapshots.prune": (lambda uow, at: snapshots.prune(uow, at.session_id, keep=1), {"snapshots"}),
    "stats.record in a new space": (lambda uow, _: stats.record(uow, new_id(), 250), {"generation_stats"}),
    "stats.record in a known space": (lambda uow, at: stats.record(uow, at.space, 250), {"generation_stats"}),
}

every_mutator = pytest.mark.parametrize("mutate", [mutate for mutate, _ in MUTATORS.values()], ids=MUTATORS)
every_mutator_and_its_tables = pytest.mark.parametrize(("mutate", "tables"), MUTATORS.values(), ids=MUTATORS)


class MishapError(Exception):
    """What goes wrong after the mutator has done its work."""


@contextmanager
def failing(store: Store) -> Iterator[UnitOfWork]:
    """A unit of work that fails when its block is done."""
    with pytest.raises(MishapError), store.begin() as uow:
        yield uow
        raise MishapError


def changed(before: dict[str, list[tuple[object, ...]]], after: dict[str, list[tuple[object, ...]]]) -> set[str]:
    return {table for table in before if before[table] != after[table]}


def test_every_function_that_writes_is_tried_here() -> None:
    holds_only = {"sessions.hold"}  # it locks, and writes nothing
    assert {name.partition(" ")[0] for name in MUTATORS} == services_that_take("UnitOfWork") - holds_only


@every_mutator_and_its_tables
def test_alone_it_commits(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator, tables: set[str]
) -> None:
    before = dump(lasting_other)
    lasting_store.run(mutate, lasting_scene)
    assert changed(before, dump(lasting_other)) == tables


@every_mutator_and_its_tables
def test_it_is_committed_with_its_unit_of_work_and_not_before(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator, tables: set[str]
) -> None:
    before = dump(lasting_other)
    with lasting_store.begin() as uow:
        mutate(uow, lasting_scene)
        uow.flush()
        midway = dump(lasting_other)
    assert changed(before, midway) == set()
    assert changed(before, dump(lasting_other)) == tables


@every_mutator
def test_nothing_of_it_remains_of_a_unit_of_work_that_fails(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator
) -> None:
    before = dump(lasting_other)
    with failing(lasting_store) as uow:
        mutate(uow, lasting_scene)
    assert dump(lasting_other) == before


@every_mutator
def test_nothing_of_it_remains_of_a_savepoint_that_fails(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator
) -> None:
    before = dump(lasting_other)
    with lasting_store.begin() as uow, pytest.raises(MishapError), uow.savepoint():
        mutate(uow, lasting_scene)
        raise MishapError
    assert dump(lasting_other) == before
