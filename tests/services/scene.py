"""A database with some of everything in it, and ways to look at all of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlmodel import col, select

from tests.services import ensemble_scene, job_scene
from tests.services.ensemble_scene import EnsembleScene, build_ensemble_scene
from tests.services.job_scene import JobScene, build_job_scene
from vibeweaver_store import (
    HistoryEntry,
    Import,
    ImportStatus,
    InstanceStatus,
    JournalEvent,
    Marker,
    Message,
    Rule,
    Session,
    SessionKind,
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
    snapshots,
    stats,
    triggers,
    workspaces,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.models import METADATA, Base
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
    RowFactory,
    RuleFactory,
    SessionFactory,
    SnapshotFactory,
    WorkspaceFactory,
)

T = TypeVar("T", bound=Base)

SERVICES: tuple[ModuleType, ...] = (
    sessions,
    workspaces,
    messages,
    arenas,
    journal,
    imports,
    rules,
    markers,
    history,
    snapshots,
    stats,
    *ensemble_scene.SERVICES,
    *job_scene.SERVICES,
)


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
    workspace_id: str
    path: str
    message_id: str
    event_id: int
    last_event_id: int
    import_id: int
    source: str
    ensemble: EnsembleScene
    jobs: JobScene


OF_A_SESSION: tuple[type[RowFactory[Any]], ...] = (
    RuleFactory,
    MarkerFactory,
    HistoryEntryFactory,
    SnapshotFactory,
    MessageFactory,
    ArenaFactory,
    ArenaRuntimeFactory,
    InstanceFactory,
    JournalEventFactory,
)
"""A factory for each table whose rows belong to a session."""


def build_scene(store: Store) -> Scene:
    with store.begin() as uow:
        for factory in OF_A_SESSION:
            factory.create(uow=uow)
        workspace = WorkspaceFactory.create(uow=uow, path=f"/srv/{new_id()}")
        session = SessionFactory.create(uow=uow, kind=SessionKind.COMPETITION, workspace_id=workspace.id)
        fill_scene(uow, session.id)
        brought = ImportFactory.create(uow=uow, source=f"/srv/{new_id()}.jsonl", status=ImportStatus.RUNNING)
        MessageFactory.create(uow=uow, session_id=session.id, import_id=brought.id)
        scene = scene_of(uow, session, workspace, brought)
        # What is appended now is its first activity for a long time.
        uow.execute(sa.update(Session).where(col(Session.id) == session.id).values(last_activity_at=EPOCH))
    return scene


def fill_scene(uow: UnitOfWork, key: str) -> None:
    for factory in (RuleFactory, MarkerFactory, HistoryEntryFactory, MessageFactory, ArenaRuntimeFactory, ArenaFactory):
        factory.create(uow=uow, session_id=key)
    RuleFactory.create(uow=uow, session_id=key, trigger=triggers.Deadline(beat=8.0))
    for status in (InstanceStatus.RUNNING, InstanceStatus.PENDING):
        InstanceFactory.create(
            uow=uow, session_id=key, instance_id=int(status is InstanceStatus.PENDING), status=status
        )
    first = JournalEventFactory.create(uow=uow, session_id=key, source_session_id=f"{key} of the agent")
    values = {"message_id": new_id(), "model": "claude-sonnet-4-5", "input_tokens": 3, "output_tokens": 5}
    JournalEventFactory.create(
        uow=uow,
        session_id=key,
        source_session_id=first.source_session_id,
        parent_uuid=first.event_uuid,
        event_type="assistant",
        **values,
    )
    for _ in range(3):
        SnapshotFactory.create(uow=uow, session_id=key)


def scene_of(uow: UnitOfWork, session: Session, workspace: Workspace, brought: Import) -> Scene:
    key = session.id
    found = uow.exec(select(Rule).where(col(Rule.session_id) == key).order_by(col(Rule.trigger_type))).all()
    journaled = select(sa.func.min(JournalEvent.id), sa.func.max(JournalEvent.id))
    first, last = uow.exec(journaled.where(JournalEvent.session_id == key)).one()
    assert brought.id is not None
    assert first is not None
    assert last is not None
    return Scene(
        session_id=key,
        rule_id=found[0].id,
        deadline_id=found[1].id,
        marker_id=uow.exec(select(Marker.id).where(Marker.session_id == key)).one(),
        space=stats.record(uow, "drums", 100).space,
        workspace_id=workspace.id,
        path=workspace.path,
        message_id=uow.exec(select(Message.public_id).where(Message.session_id == key).limit(1)).one(),
        event_id=first,
        last_event_id=last,
        import_id=brought.id,
        source=brought.source,
        ensemble=build_ensemble_scene(uow),
        jobs=build_job_scene(uow),
    )


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
