"""Rows for tests (factory_boy). Columns that depend on others are filled in, so that no factory builds nonsense.

``RuleFactory.build()`` makes a row, ``RuleFactory.create(uow=uow)`` also writes it, with the session that it needs.
Any column can be given: ``RuleFactory.create(uow=uow, session_id=jam.id, priority=Priority.HIGH)``.
"""

from __future__ import annotations

import hashlib
from typing import Any

from factory.declarations import LazyAttribute, LazyFunction, SelfAttribute, Sequence

from vibeweaver_store.columns import new_id
from vibeweaver_store.models import (
    Arena,
    ArenaRuntime,
    GenerationStats,
    HistoryEntry,
    Import,
    ImportStatus,
    Instance,
    InstanceStatus,
    JournalEvent,
    Marker,
    Message,
    MessageRole,
    Priority,
    Rule,
    Session,
    SessionKind,
    SessionStatus,
    Snapshot,
    Workspace,
    actions,
    triggers,
)
from vibeweaver_store.models.actions import ActionType
from vibeweaver_store.models.arena import FINAL_OF_INSTANCES
from vibeweaver_store.models.session import FINAL
from vibeweaver_store.models.triggers import TriggerType
from vibeweaver_store.testing.row_factory import EPOCH, PARENTS, RowFactory


class WorkspaceFactory(RowFactory[Workspace]):
    """Workspaces of folders that are not there; the hash follows the path."""

    class Meta:
        model = Workspace

    path = Sequence(lambda n: f"/srv/projects/{n}")
    path_hash = LazyAttribute(lambda workspace: hashlib.sha256(workspace.path.encode()).hexdigest()[:16])
    created_at = EPOCH
    last_accessed_at = SelfAttribute("created_at")


class SessionFactory(RowFactory[Session]):
    """Sessions, jams unless told otherwise, created at the epoch; what a kind or a status asks for follows them."""

    class Meta:
        model = Session

    kind = SessionKind.JAM
    name = Sequence(lambda n: f"jam {n}")
    vibe = "dark techno"
    tempo_bpm = 130.0
    status = SessionStatus.CREATED
    working_dir = LazyAttribute(lambda session: "/srv/project" if session.kind == SessionKind.AGENT else None)
    created_at = EPOCH
    updated_at = SelfAttribute("created_at")
    completed_at = LazyAttribute(lambda session: session.updated_at if session.status in FINAL else None)
    last_activity_at = SelfAttribute("updated_at")


PARENTS["session_id"] = (SessionFactory, "id")


class MessageFactory(RowFactory[Message]):
    """Messages of a user."""

    class Meta:
        model = Message

    session_id: Any = None
    role = MessageRole.USER
    content = Sequence(lambda n: f"message {n}")
    created_at = EPOCH


class InstanceFactory(RowFactory[Instance]):
    """Instances of an arena, each in its own worktree; times follow the status."""

    class Meta:
        model = Instance

    session_id: Any = None
    instance_id = Sequence(lambda n: n)
    worktree_path = LazyAttribute(lambda instance: f"/srv/worktrees/{instance.instance_id}")
    branch = LazyAttribute(lambda instance: f"agent/{instance.instance_id}")
    agent_name = "backend-developer"
    tmux_session_id = LazyAttribute(lambda instance: f"arena-{instance.instance_id}")
    status = InstanceStatus.PENDING
    start_time = LazyAttribute(lambda instance: None if instance.status == InstanceStatus.PENDING else EPOCH)
    end_time = LazyAttribute(lambda instance: EPOCH if instance.status in FINAL_OF_INSTANCES else None)


class ArenaFactory(RowFactory[Arena]):
    """Arenas without instances; give the id of a session of their kind, or a jam is made for them."""

    class Meta:
        model = Arena

    session_id: Any = None
    task = "Implement user authentication"
    model = "claude-sonnet-4-5"


class ArenaRuntimeFactory(RowFactory[ArenaRuntime]):
    """Runtimes of an arena's mix."""

    class Meta:
        model = ArenaRuntime

    session_id: Any = None
    runtime = Sequence(lambda n: f"runtime-{n}")


class JournalEventFactory(RowFactory[JournalEvent]):
    """Lines of a coding agent's journal; what repeats the line follows it."""

    class Meta:
        model = JournalEvent

    session_id: Any = None
    event_uuid = LazyFunction(new_id)
    source_session_id = "7c1e4a52-0d3b-4f6a-9a51-2f0c8d1b6e90"
    event_type = "user"
    timestamp = EPOCH
    data = LazyAttribute(
        lambda event: {"type": event.event_type, "uuid": event.event_uuid, "sessionId": event.source_session_id}
    )


class ImportFactory(RowFactory[Import]):
    """Imports that are done."""

    class Meta:
        model = Import

    importer = "claude-code"
    source = Sequence(lambda n: f"/srv/transcripts/{n}.jsonl")
    fingerprint = "0" * 64
    status = ImportStatus.COMPLETED
    started_at = EPOCH
    finished_at = LazyAttribute(lambda each: None if each.status == ImportStatus.RUNNING else each.started_at)


class RuleFactory(RowFactory[Rule]):
    """Rules that notify on every fourth beat; what repeats the trigger and the action follows them."""

    class Meta:
        model = Rule

    session_id: Any = None
    trigger = LazyFunction(lambda: triggers.Beat(divisor=4))
    trigger_type = LazyAttribute(lambda rule: TriggerType(rule.trigger.type))
    trigger_key = LazyAttribute(lambda rule: rule.trigger.key)
    action = Sequence(lambda n: actions.Notify(message=f"message {n}"))
    action_type = LazyAttribute(lambda rule: ActionType(rule.action.type))
    priority = Priority.NORMAL
    enabled = True
    one_shot = False
    fired_count = 0
    last_fired_at = LazyAttribute(lambda rule: EPOCH if rule.fired_count else None)
    created_at = EPOCH


class MarkerFactory(RowFactory[Marker]):
    """Markers, one every 16 beats."""

    class Meta:
        model = Marker

    session_id: Any = None
    beat = Sequence(lambda n: float(n * 16))
    name = Sequence(lambda n: f"section {n}")
    created_at = EPOCH


class HistoryEntryFactory(RowFactory[HistoryEntry]):
    """Entries of a session's history."""

    class Meta:
        model = HistoryEntry

    session_id: Any = None
    action = "sample"
    params = LazyFunction(lambda: {"space": "drums"})
    created_at = EPOCH


class SnapshotFactory(RowFactory[Snapshot]):
    """Snapshots; size and checksum follow the state."""

    class Meta:
        model = Snapshot

    session_id: Any = None
    state = Sequence(lambda n: f"state {n}".encode())
    size_bytes = LazyAttribute(lambda snapshot: len(snapshot.state))
    sha256 = LazyAttribute(lambda snapshot: hashlib.sha256(snapshot.state).hexdigest())
    captured_at = EPOCH


class GenerationStatsFactory(RowFactory[GenerationStats]):
    """Stats of one sample; with more samples, give their sums too."""

    class Meta:
        model = GenerationStats

    space = Sequence(lambda n: f"space {n}")
    sample_count = 1
    last_ms = 250
    total_ms = LazyAttribute(lambda stats: stats.last_ms * stats.sample_count)
    min_ms = SelfAttribute("last_ms")
    max_ms = SelfAttribute("last_ms")
    sum_of_squares_ms2 = LazyAttribute(lambda stats: float(stats.last_ms**2 * stats.sample_count))
    updated_at = EPOCH
