"""Rows of ensembles for tests; see :mod:`vibeweaver_store.testing.factories`."""

from __future__ import annotations

from typing import Any

from factory.declarations import LazyAttribute, LazyFunction, SelfAttribute, Sequence

from vibeweaver_store.models import (
    Comment,
    CoordinationEvent,
    CoordinationEventType,
    EnsembleWorker,
    Project,
    Ticket,
    WorkerStatus,
    WorkerType,
)
from vibeweaver_store.models.ensemble import PLANNED, next_stage_of
from vibeweaver_store.testing.row_factory import EPOCH, PARENTS, RowFactory


class ProjectFactory(RowFactory[Project]):
    """Projects of repositories that are not there."""

    class Meta:
        model = Project

    repository_name = Sequence(lambda n: f"band/song-{n}")
    path = LazyAttribute(lambda project: f"/srv/{project.repository_name}")
    created_at = EPOCH
    updated_at = SelfAttribute("created_at")


PARENTS["project_id"] = (ProjectFactory, "repository_name")


class WorkerTypeFactory(RowFactory[WorkerType]):
    """Worker types of a project."""

    class Meta:
        model = WorkerType

    project_id: Any = None
    worker_type = Sequence(lambda n: f"role {n}")
    system_prompt = LazyAttribute(lambda each: f"You are the {each.worker_type}.")
    created_at = EPOCH
    updated_at = SelfAttribute("created_at")


class TicketFactory(RowFactory[Ticket]):
    """Open tickets of two stages; what comes next follows the plan, the last stage that is done, and the closing.

    The worker types of the plan are not made.
    """

    class Meta:
        model = Ticket

    ticket_id = Sequence(lambda n: f"T-{n}")
    project_id: Any = None
    title = Sequence(lambda n: f"ticket {n}")
    execution_plan = LazyFunction(lambda: ["writer", "reviewer"])
    last_completed_stage = PLANNED
    closed_at: Any = None
    next_stage = LazyAttribute(
        lambda each: next_stage_of(each.execution_plan, each.last_completed_stage, each.closed_at)
    )
    created_at = EPOCH
    updated_at = SelfAttribute("created_at")


PARENTS["ticket_id"] = (TicketFactory, "ticket_id")


class CommentFactory(RowFactory[Comment]):
    """Comments on a ticket."""

    class Meta:
        model = Comment

    ticket_id: Any = None
    content = Sequence(lambda n: f"comment {n}")
    created_at = EPOCH


class EnsembleWorkerFactory(RowFactory[EnsembleWorker]):
    """Workers that wait for a ticket. Their worker type is not made."""

    class Meta:
        model = EnsembleWorker

    worker_id = Sequence(lambda n: f"worker-{n}")
    project_id: Any = None
    worker_type = "writer"
    status = WorkerStatus.IDLE
    queue_name = LazyAttribute(lambda each: f"{each.worker_type}-queue")
    started_at = EPOCH
    last_activity = SelfAttribute("started_at")


class CoordinationEventFactory(RowFactory[CoordinationEvent]):
    """Events of completed stages, which nobody has taken."""

    class Meta:
        model = CoordinationEvent

    event_type = CoordinationEventType.TICKET_STAGE_COMPLETED
    ticket_id = Sequence(lambda n: f"T-{n}")
    worker_id = Sequence(lambda n: f"worker-{n}")
    stage = "writer"
    created_at = EPOCH
