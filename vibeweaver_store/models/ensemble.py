"""The tables of ensembles: projects, worker types, tickets, comments, workers, coordination events (seed 003)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, TypeAlias

import sqlalchemy as sa
from pydantic import AfterValidator, Field

from vibeweaver_store.columns import (
    INTEGER,
    TEXT,
    Count,
    EnumText,
    Flag,
    Id,
    Json,
    Name,
    NotBlank,
    PathText,
    StrictBool,
    Text,
    Utc,
    UtcDateTime,
    one_of,
)
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import FrozenList, shown
from vibeweaver_store.models.base import (
    LOG,
    STRICT,
    Base,
    belongs_to,
    column,
    explicit,
    flag_index,
    made_now,
    partial_index,
)
from vibeweaver_store.models.imports import brought_by_import, import_reference

PLANNED: Final = "Planned"
"""What the last completed stage of a ticket is called before any is done; no stage can be called so."""

MAX_STAGES: Final = 100
"""The most stages that an execution plan has."""


def _check_plan(stages: list[str]) -> list[str]:
    for place, stage in enumerate(stages):
        if stage == PLANNED:
            raise ValueError(f"must not have a stage {PLANNED!r}, which says that none is done yet")
        if stage in stages[:place]:
            raise ValueError(f"must name each stage once ({shown(stage)} comes twice)")
    return FrozenList(stages)


ExecutionPlan: TypeAlias = Annotated[
    list[Name], Field(min_length=1, max_length=MAX_STAGES), AfterValidator(_check_plan)
]
"""The worker types that a ticket goes through, in their order: 1 to 100, each once. It cannot be edited in place."""


def stages_to_do(plan: Sequence[str], last_completed_stage: str) -> Sequence[str]:
    """Return the stages of a plan that are not done yet, in their order.

    Raises:
        InvalidInput: the last completed stage is neither ``Planned`` nor a stage of the plan.
    """
    if last_completed_stage == PLANNED:
        return plan
    if last_completed_stage not in plan:
        raise InvalidInput(
            f"last_completed_stage: must be {PLANNED!r} or a stage of the plan (got {shown(last_completed_stage)})",
            field="last_completed_stage",
        )
    return plan[plan.index(last_completed_stage) + 1 :]


def next_stage_of(plan: Sequence[str], last_completed_stage: str, closed_at: datetime | None) -> str | None:
    """Return the stage that a ticket waits for; ``None`` where all stages are done or the ticket is closed.

    Raises:
        InvalidInput: the last completed stage is neither ``Planned`` nor a stage of the plan.
    """
    remaining = stages_to_do(plan, last_completed_stage)
    return remaining[0] if remaining and closed_at is None else None


class WorkerStatus(enum.StrEnum):
    """Where a worker stands. A new one is ``spawning``.

    - ``spawning``: its process was started, and has not told of itself yet.
    - ``active``: it is at work on a ticket.
    - ``idle``: it waits for a ticket.
    - ``finished``: it ended in good order.
    - ``failed``: it broke off, or was given up since nothing was heard of it; see ``workers.reap``.

    The last two are final. Whoever moves it there also writes a ``worker_stopped`` event, and releases its tickets.
    """

    SPAWNING = "spawning"
    ACTIVE = "active"
    IDLE = "idle"
    FINISHED = "finished"
    FAILED = "failed"


WORKER_TRANSITIONS: Final[Mapping[WorkerStatus, tuple[WorkerStatus, ...]]] = {
    WorkerStatus.SPAWNING: (WorkerStatus.ACTIVE, WorkerStatus.IDLE, WorkerStatus.FINISHED, WorkerStatus.FAILED),
    WorkerStatus.ACTIVE: (WorkerStatus.IDLE, WorkerStatus.FINISHED, WorkerStatus.FAILED),
    WorkerStatus.IDLE: (WorkerStatus.ACTIVE, WorkerStatus.FINISHED, WorkerStatus.FAILED),
    WorkerStatus.FINISHED: (),
    WorkerStatus.FAILED: (),
}
"""What a worker may become, by what it is."""

FINAL_OF_WORKERS: Final = (WorkerStatus.FINISHED, WorkerStatus.FAILED)

WORKER_IS_LIVING: Final = "status IN ('spawning', 'active', 'idle')"
"""A worker that is in such a status has not ended; put as here, an index of these rows serves it."""


class CoordinationEventType(enum.StrEnum):
    """What a coordinator must act on.

    - ``ticket_stage_completed``: a stage of a ticket is done, and whoever is next can be called.
    - ``worker_stopped``: a worker finished or failed, and its queue is without it.
    """

    TICKET_STAGE_COMPLETED = "ticket_stage_completed"
    WORKER_STOPPED = "worker_stopped"


class Project(Base, table=True):
    """A repository that an ensemble works on. ``repository_name`` is its key, ``owner/name`` say."""

    __tablename__: ClassVar[str] = "projects"
    __table_args__ = (
        sa.CheckConstraint("repository_name <> ''", name="repository_name"),
        sa.CheckConstraint("path <> ''", name="path"),
        sa.Index("ix_projects_by_created_at", "created_at", "repository_name"),
        brought_by_import("projects"),
        STRICT,
    )

    repository_name: Id = column(TEXT, primary_key=True)
    path: PathText = column(TEXT)
    short_description: Text | None = column(TEXT, default=None)
    created_at: Utc = made_now()
    updated_at: Utc = made_now()
    import_id: Count | None = import_reference()


class WorkerType(Base, table=True):
    """A role in a project, with the prompt that makes an agent of it; once in a project."""

    __tablename__: ClassVar[str] = "worker_types"
    __table_args__ = (
        sa.UniqueConstraint("project_id", "worker_type"),
        sa.CheckConstraint("worker_type <> ''", name="worker_type"),
        brought_by_import("worker_types"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    project_id: Id = belongs_to("projects.repository_name", TEXT)
    worker_type: Name = column(TEXT)
    short_description: Text | None = column(TEXT, default=None)
    system_prompt: Text = column(TEXT)
    created_at: Utc = made_now()
    updated_at: Utc = made_now()
    import_id: Count | None = import_reference()


class Ticket(Base, table=True):
    """A piece of work that goes through the stages of its plan, each done by a worker of that type.

    ``last_completed_stage`` is ``Planned`` before any is done. ``next_stage`` repeats, for lookups, what follows from
    it and the plan: nothing once all are done, or the ticket is closed. Triggers of the database check that, and fill
    it in where a raw insert leaves it out. A claim holds until ``claim_expires_at``.
    """

    __tablename__: ClassVar[str] = "tickets"
    __table_args__ = (
        sa.CheckConstraint("ticket_id <> ''", name="ticket_id"),
        sa.CheckConstraint("title <> ''", name="title"),
        sa.CheckConstraint("last_completed_stage <> ''", name="last_completed_stage"),
        sa.CheckConstraint("(claimed_by IS NULL) = (claim_expires_at IS NULL)", name="claim_has_end"),
        # Nothing is left to be done on a closed ticket, and nobody is at it.
        sa.CheckConstraint("closed_at IS NULL OR (next_stage IS NULL AND claimed_by IS NULL)", name="closed_is_over"),
        # A ticket on which nothing is done yet has its first stage before it, until it is closed.
        sa.CheckConstraint(
            "next_stage IS NOT NULL OR closed_at IS NOT NULL OR last_completed_stage <> 'Planned'",
            name="planned_has_next",
        ),
        # A claim is one of a stage.
        sa.CheckConstraint("claimed_by IS NULL OR next_stage IS NOT NULL", name="claim_has_stage"),
        sa.CheckConstraint("outcome IS NULL OR closed_at IS NOT NULL", name="outcome"),
        # page
        sa.Index("ix_tickets_by_created_at", "created_at", "ticket_id"),
        sa.Index("ix_tickets_by_project", "project_id", "created_at", "ticket_id"),
        # page(open=True): there are few among all that were ever closed.
        *[
            partial_index(
                f"ix_tickets_open{name}",
                *(*leading, "created_at", "ticket_id"),
                where="closed_at IS NULL",
            )
            for name, leading in (("", ()), ("_by_project", ("project_id",)))
        ],
        # page(stage=…) and claim_next: the oldest that waits for a worker of a type.
        partial_index(
            "ix_tickets_by_next_stage",
            "project_id",
            "next_stage",
            "created_at",
            "ticket_id",
            where="next_stage IS NOT NULL",
        ),
        # What a worker holds, to be released with its end.
        partial_index("ix_tickets_by_claim", "claimed_by", "ticket_id", where="claimed_by IS NOT NULL"),
        brought_by_import("tickets"),
        STRICT,
    )

    ticket_id: Id = column(TEXT, primary_key=True)
    project_id: Id = belongs_to("projects.repository_name", TEXT)
    title: Name = column(TEXT)
    execution_plan: ExecutionPlan = column(Json)
    last_completed_stage: Name = column(TEXT, default=PLANNED, sa_column_kwargs={"server_default": PLANNED})
    next_stage: Name | None = column(explicit(TEXT), default=None, sa_column_kwargs={"server_default": ""})
    claimed_by: Id | None = column(TEXT, default=None)
    claim_expires_at: Utc | None = column(UtcDateTime, default=None)
    outcome: Name | None = column(TEXT, default=None)
    created_at: Utc = made_now()
    updated_at: Utc = made_now()
    closed_at: Utc | None = column(UtcDateTime, default=None)
    import_id: Count | None = import_reference()

    def check_row(self) -> None:
        """Check that ``next_stage`` follows from the plan, the last completed stage and the closing.

        Raises:
            InvalidInput: it does not, or the last completed stage is not of the plan.
        """
        expected = next_stage_of(self.execution_plan, self.last_completed_stage, self.closed_at)
        if self.next_stage != expected:
            raise InvalidInput(
                f"next_stage: must be {shown(expected)}, which follows from the plan, the last completed stage and the "
                f"closing (got {shown(self.next_stage)})",
                field="next_stage",
            )


class Comment(Base, table=True):
    """Something written on a ticket, in the order of writing. The first is the ticket's description, of stage 0.

    ``stage_number`` is the place in the plan, from 1, of the stage that it is about. The worker is named, and need not
    be there any more.
    """

    __tablename__: ClassVar[str] = "comments"
    __table_args__ = (
        sa.CheckConstraint("content <> ''", name="content"),
        sa.CheckConstraint("stage_number >= 0", name="stage_number"),
        sa.Index("ix_comments_by_ticket", "ticket_id", "id"),
        brought_by_import("comments"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    ticket_id: Id = belongs_to("tickets.ticket_id", TEXT)
    worker_type: Name | None = column(TEXT, default=None)
    worker_id: Id | None = column(TEXT, default=None)
    stage_number: Count | None = column(INTEGER, default=None)
    content: NotBlank = column(TEXT)
    created_at: Utc = made_now()
    import_id: Count | None = import_reference()


class EnsembleWorker(Base, table=True):
    """One agent at work for a project, in the role of a worker type, fed by a queue.

    Not to be taken for :class:`vibeweaver_store.Worker`, which runs jobs.
    """

    __tablename__: ClassVar[str] = "workers"
    __table_args__ = (
        one_of("status", WorkerStatus),
        sa.CheckConstraint("worker_id <> ''", name="worker_id"),
        sa.CheckConstraint("worker_type <> ''", name="worker_type"),
        sa.CheckConstraint("queue_name <> ''", name="queue_name"),
        sa.CheckConstraint("pid >= 0", name="pid"),
        # page
        sa.Index("ix_workers_by_started_at", "started_at", "worker_id"),
        sa.Index("ix_workers_by_project", "project_id", "started_at", "worker_id"),
        # page(status=…)
        sa.Index("ix_workers_by_status", "status", "started_at", "worker_id"),
        # stale and reap: few among all that ever ended.
        partial_index("ix_workers_living", "last_activity", "worker_id", where=WORKER_IS_LIVING),
        brought_by_import("workers"),
        STRICT,
    )

    worker_id: Id = column(TEXT, primary_key=True)
    project_id: Id = belongs_to("projects.repository_name", TEXT)
    worker_type: Name = column(TEXT)
    status: WorkerStatus = column(EnumText(WorkerStatus), default=WorkerStatus.SPAWNING)
    pid: Count | None = column(INTEGER, default=None)
    queue_name: Name = column(TEXT)
    started_at: Utc = made_now()
    last_activity: Utc = made_now()
    import_id: Count | None = import_reference()


class CoordinationEvent(Base, table=True):
    """Something that a coordinator must act on; ``processed`` once one has taken it.

    What it is about is named, and need not be there any more: only with its project does an event go.
    """

    __tablename__: ClassVar[str] = "coordination_events"
    __table_args__ = (
        one_of("event_type", CoordinationEventType),
        sa.CheckConstraint("processed IN (0, 1)", name="processed").ddl_if(dialect="sqlite"),
        # unprocessed and take: few among all that were ever processed.
        flag_index("ix_coordination_events_unprocessed", "id", flag="processed", is_set=False),
        # prune and prunable
        flag_index("ix_coordination_events_processed", "created_at", "id", flag="processed", is_set=True),
        partial_index("ix_coordination_events_by_project", "project_id", "id", where="project_id IS NOT NULL"),
        brought_by_import("coordination_events"),
        LOG,
    )

    id: int | None = column(INTEGER, default=None, primary_key=True)
    event_type: CoordinationEventType = column(EnumText(CoordinationEventType))
    project_id: Id | None = belongs_to("projects.repository_name", TEXT, default=None)
    ticket_id: Id | None = column(TEXT, default=None)
    worker_id: Id | None = column(TEXT, default=None)
    stage: Name | None = column(TEXT, default=None)
    reason: Text | None = column(TEXT, default=None)
    created_at: Utc = made_now()
    processed: StrictBool = column(Flag, default=False, sa_column_kwargs={"server_default": sa.false()})
    import_id: Count | None = import_reference()
