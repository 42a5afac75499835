"""Every function that writes: alone, in a unit of work that commits, and in one that fails.

What is committed is read through a second store; ``CHANGED`` says which tables a function touches, and no other may
change. All of them share one database: each has a scene of its own in it, and a whole dump before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeAlias

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.services import ensemble_scene, job_scene
from tests.services.scene import OF_A_SESSION, Scene, dump, services_that_take
from vibeweaver_store import (
    Session,
    Store,
    UnitOfWork,
    actions,
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
    triggers,
    workspaces,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.testing import EPOCH

Mutator: TypeAlias = Callable[[UnitOfWork, Scene], object]

NEW_RULE = rules.NewRule(triggers.Marker(name="drop"), actions.Play())

NEW_INSTANCE = arenas.NewInstance(agent_name="tester", worktree_path="/srv/worktrees/new", branch="agent/new")
OF_SESSIONS = {str(factory._meta.model.__tablename__) for factory in OF_A_SESSION}


def crash_and_reconcile(uow: UnitOfWork, at: Scene) -> None:
    uow.execute(
        sa.update(Session).where(col(Session.id) == at.session_id).values(status="running", last_activity_at=EPOCH)
    )
    sessions.reconcile(uow, idle_for=timedelta(days=1))


def end_and_finish(uow: UnitOfWork, at: Scene) -> None:
    arenas.set_instance_status(uow, at.session_id, 0, "completed")
    arenas.set_instance_status(uow, at.session_id, 1, "failed")
    arenas.finish(uow, at.session_id, winner=0)


def move_to_a_new_session(uow: UnitOfWork, at: Scene) -> None:
    journal.associate(uow, [at.event_id], sessions.create(uow, name="new").id)


def of_ensembles(mutate: ensemble_scene.Mutator) -> Mutator:
    return lambda uow, at: mutate(uow, at.ensemble)


def of_jobs(mutate: job_scene.Mutator) -> Mutator:
    return lambda uow, at: mutate(uow, at.jobs)


MUTATORS: dict[str, tuple[Mutator, set[str]]] = {
    "sessions.create": (lambda uow, _: sessions.create(uow, name="new"), {"sessions"}),
    "sessions.update": (lambda uow, at: sessions.update(uow, at.session_id, vibe="new"), {"sessions"}),
    "sessions.set_status": (lambda uow, at: sessions.set_status(uow, at.session_id, "running"), {"sessions"}),
    "sessions.reconcile": (crash_and_reconcile, {"sessions"}),
    "sessions.delete": (lambda uow, at: sessions.delete(uow, at.session_id), {"sessions", *OF_SESSIONS}),
    "workspaces.ensure": (lambda uow, at: workspaces.ensure(uow, at.path), {"workspaces"}),
    "workspaces.delete": (
        lambda uow, at: workspaces.delete(uow, at.workspace_id),
        {"workspaces", "sessions", *OF_SESSIONS},
    ),
    "messages.append": (
        lambda uow, at: messages.append(uow, at.session_id, "user", "four on the floor"),
        {"messages", "sessions"},
    ),
    "messages.append_many": (
        lambda uow, at: messages.append_many(uow, at.session_id, [messages.NewMessage("user", "louder")] * 3),
        {"messages", "sessions"},
    ),
    "arenas.create_arena": (
        lambda uow, at: arenas.create_arena(
            uow, "debate", "Which key?", at.path, instances=[NEW_INSTANCE], runtimes=["claude"]
        ),
        {"arenas", "arena_runtimes", "instances", "sessions", "workspaces"},
    ),
    "arenas.add_instance": (
        lambda uow, at: arenas.add_instance(uow, at.session_id, NEW_INSTANCE),
        {"instances", "sessions"},
    ),
    "arenas.set_instance_status": (
        lambda uow, at: arenas.set_instance_status(uow, at.session_id, 1, "failed"),
        {"instances", "sessions"},
    ),
    "arenas.record_diff": (
        lambda uow, at: arenas.record_diff(uow, at.session_id, 0, files_changed=1, lines_added=2, lines_deleted=3),
        {"instances", "sessions"},
    ),
    "arenas.set_output": (
        lambda uow, at: arenas.set_output(uow, at.session_id, 0, "done"),
        {"instances", "sessions"},
    ),
    "arenas.finish": (end_and_finish, {"arenas", "instances", "sessions"}),
    "journal.ingest": (
        lambda uow, at: journal.ingest(uow, [journal.NewEvent({"type": "user"}, new_id(), at.session_id)]),
        {"journal_events", "sessions"},
    ),
    "journal.associate": (move_to_a_new_session, {"journal_events", "sessions"}),
    "imports.begin": (lambda uow, at: imports.begin(uow, "claude-code", at.source, ""), {"imports"}),
    "imports.record": (lambda uow, at: imports.record(uow, at.import_id, offset_bytes=100), {"imports"}),
    "imports.finish": (lambda uow, at: imports.finish(uow, at.import_id), {"imports"}),
    "imports.undo": (lambda uow, at: imports.undo(uow, at.import_id), {"imports", "messages"}),
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
    "history.append": (lambda uow, at: history.append(uow, at.session_id, "play"), {"history", "sessions"}),
    "history.append_many": (
        lambda uow, at: history.append_many(uow, at.session_id, [history.NewEntry("play")] * 3),
        {"history", "sessions"},
    ),
    "snapshots.save": (lambda uow, at: snapshots.save(uow, at.session_id, b"new"), {"snapshots", "sessions"}),
    "snapshots.save and keep": (
        lambda uow, at: snapshots.save(uow, at.session_id, b"new", keep=1),
        {"snapshots", "sessions"},
    ),
    "snapshots.prune": (lambda uow, at: snapshots.prune(uow, at.session_id, keep=1), {"snapshots"}),
    "stats.record in a new space": (lambda uow, _: stats.record(uow, new_id(), 250), {"generation_stats"}),
    "stats.record in a known space": (lambda uow, at: stats.record(uow, at.space, 250), {"generation_stats"}),
    **{name: (of_ensembles(mutate), tables) for name, (mutate, tables) in ensemble_scene.MUTATORS.items()},
    **{name: (of_jobs(mutate), tables) for name, (mutate, tables) in job_scene.MUTATORS.items()},
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


def test_mutator_tests_cover_every_function_that_writes() -> None:
    holds_only = {"sessions.hold"}  # what appends calls it, and notes the activity by it
    assert {name.partition(" ")[0] for name in MUTATORS} == services_that_take("UnitOfWork") - holds_only


@every_mutator_and_its_tables
def test_a_mutator_alone_commits(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator, tables: set[str]
) -> None:
    before = dump(lasting_other)
    lasting_store.run(mutate, lasting_scene)
    assert changed(before, dump(lasting_other)) == tables


@every_mutator_and_its_tables
def test_a_mutator_commits_with_its_unit_of_work_and_not_before(
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
def test_a_mutator_rolls_back_with_a_failed_unit_of_work(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator
) -> None:
    before = dump(lasting_other)
    with failing(lasting_store) as uow:
        mutate(uow, lasting_scene)
    assert dump(lasting_other) == before


@every_mutator
def test_a_mutator_rolls_back_with_a_failed_savepoint(
    lasting_store: Store, lasting_other: Store, lasting_scene: Scene, mutate: Mutator
) -> None:
    before = dump(lasting_other)
    with lasting_store.begin() as uow, pytest.raises(MishapError), uow.savepoint():
        mutate(uow, lasting_scene)
        raise MishapError
    assert dump(lasting_other) == before
