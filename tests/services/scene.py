"""A database with some of everything in it, and ways to look at all of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import sqlalchemy as sa

from vibeweaver_store import HistoryEntry, Store, history, markers, rules, sessions, snapshots, stats, triggers
from vibeweaver_store.models import METADATA, Base
from vibeweaver_store.testing import (
    HistoryEntryFactory,
    MarkerFactory,
    RowFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
)

T = TypeVar("T", bound=Base)

SERVICES: tuple[ModuleType, ...] = (sessions, rules, markers, history, snapshots, stats)


def make(store: Store, factory: type[RowFactory[T]], **values: Any) -> T:
    """Write one row of a factory in a unit of work of its own."""
    with store.begin() as uow:
        return factory.create(uow=uow, **values)


def make_many(store: Store, factory: type[RowFactory[T]], *each: dict[str, Any], **values: Any) -> list[T]:
    """Write several rows of a factory in one unit of work; ``values`` are those that all have in common."""
    with store.begin() as uow:
        return [factory.create(uow=uow, **values, **own) for own in each]


@dataclass(frozen=True)
class Scene:
    """The keys of a session that has some of everything, beside another one that nobody is to touch."""

    session_id: str
    rule_id: str
    deadline_id: str
    marker_id: str
    space: str


def build_scene(store: Store) -> Scene:
    with store.begin() as uow:
        RuleFactory.create(uow=uow)
        MarkerFactory.create(uow=uow)
        HistoryEntryFactory.create(uow=uow)
        SnapshotFactory.create(uow=uow)
        session_id = SessionFactory.create(uow=uow).id
        rule = RuleFactory.create(uow=uow, session_id=session_id)
        deadline = RuleFactory.create(uow=uow, session_id=session_id, trigger=triggers.Deadline(beat=8.0))
        marker = MarkerFactory.create(uow=uow, session_id=session_id)
        HistoryEntryFactory.create(uow=uow, session_id=session_id)
        for _ in range(3):
            SnapshotFactory.create(uow=uow, session_id=session_id)
        space = stats.record(uow, "drums", 100).space
    return Scene(session_id, rule.id, deadline.id, marker.id, space)


def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, as it was committed."""
    with store.read() as uow:
        return {
            table.name: [tuple(row) for row in uow.execute(sa.select(*table.c).order_by(*table.primary_key))]
            for table in METADATA.sorted_tables
        }


def params_of(entry: HistoryEntry) -> Any:
    """The params of an entry that has some."""
    assert entry.params is not None
    return entry.params


def services_that_take(unit_of_work: str) -> set[str]:
    """The public functions of the services whose first argument is annotated so, as ``module.function``."""
    found = set()
    for module in SERVICES:
        for name in getattr(module, "__all__", vars(module)):
            function = getattr(module, name)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            ours = function.__module__.startswith("vibeweaver_store.services")
            imported = not hasattr(module, "__all__") and function.__module__ != module.__name__
            first = next(iter(inspect.signature(function).parameters.values()), None)
            if ours and not imported and first is not None and first.annotation == unit_of_work:
                found.add(f"{module.__name__.rpartition('.')[2]}.{name}")
    return found
