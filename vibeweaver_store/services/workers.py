"""Workers: the agents at work for a project, each in the role of a worker type.

Where one stands, ``WorkerStatus`` explains. Not to be taken for :class:`vibeweaver_store.Worker`, which runs jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id, Name, NotBlank, parse_enum
from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.models.ensemble import (
    FINAL_OF_WORKERS,
    WORKER_IS_LIVING,
    WORKER_TRANSITIONS,
    CoordinationEvent,
    CoordinationEventType,
    EnsembleWorker,
    Project,
    Ticket,
    WorkerStatus,
)
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services.arguments import UNSET, Unset, instant_ago
from vibeweaver_store.services.ensemble_rows import (
    append_events,
    hold_project,
    hold_project_of,
    hold_worker_types,
    insert_new,
    lease_end,
    lock_worker,
    release_claims,
    update_row,
)
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

_BATCH: Final = 1000


def register(
    uow: UnitOfWork,
    worker_id: str,
    project: str,
    worker_type: str,
    *,
    queue_name: str | None = None,
    pid: int | None = None,
    status: WorkerStatus | str = WorkerStatus.SPAWNING,
) -> EnsembleWorker:
    """Make a new worker known, and return it.

    Args:
        uow: the unit of work to write in.
        worker_id: its id, of one's own: 1 to 200 bytes. Another worker may have it only once this one was deleted.
        project: the name of the project that it works for.
        worker_type: in which role; a worker type of the project.
        queue_name: the queue that feeds it; by default ``PROJECT:WORKER_TYPE``, which those of one role share.
        pid: the id of its process, where it has one on this machine.
        status: where it stands: ``spawning``, ``active`` or ``idle``.

    Raises:
        NotFound: there is no such project, or it has no such worker type.
        AlreadyExists: there is a worker of this id.
        InvalidInput: a value is blank, of a wrong type or too long, or the status is one of a worker that has ended.
    """
    now = uow.now()
    stands = parse_enum(WorkerStatus, status, field="status")
    if stands in FINAL_OF_WORKERS:
        raise InvalidInput(f"status: a worker that is {stands} has ended, and is not to be registered", field="status")
    worker = EnsembleWorker.build(
        worker_id=worker_id,
        project_id=require(Id, project, field="project"),
        worker_type=worker_type,
        status=stands,
        pid=pid,
        queue_name=f"{project}:{worker_type}" if queue_name is None else queue_name,
        started_at=now,
        last_activity=now,
    )
    hold_project(uow, worker.project_id)
    hold_worker_types(uow, worker.project_id, [worker.worker_type])
    return insert_new(uow, worker, "worker", worker.worker_id)


def get(uow: ReadUnitOfWork, worker_id: str) -> EnsembleWorker:
    """Return a worker by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: the id is no text, or blank.
    """
    worker = find(uow, worker_id)
    if worker is None:
        raise NotFound("worker", worker_id)
    return worker


def find(uow: ReadUnitOfWork, worker_id: str) -> EnsembleWorker | None:
    """Return a worker by its id, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    return uow.exec(select(EnsembleWorker).where(col(EnsembleWorker.worker_id) == _key(worker_id))).one_or_none()


def page(
    uow: ReadUnitOfWork,
    *,
    project: str | None = None,
    status: WorkerStatus | str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[EnsembleWorker]:
    """Return workers, of a project and in a status where given, the newest first, ties by id.

    With both filters it walks the workers of the project, and passes over those in other statuses.

    Raises:
        InvalidInput: a filter is of a wrong type, the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    of_project = require(Id | None, project, field="project")
    in_status = None if status is None else parse_enum(WorkerStatus, status, field="status")
    fixed: list[tuple[Any, Any]] = []
    if of_project is not None:
        fixed.append((col(EnsembleWorker.project_id), of_project))
    if in_status is not None:
        fixed.append((col(EnsembleWorker.status), in_status))
    order = Order(
        ["workers", of_project, in_status],
        [col(EnsembleWorker.started_at), col(EnsembleWorker.worker_id)],
        falling=True,
        within=fixed[:1],
    )
    sieves = [column == value for column, value in fixed[1:]]
    if uow.backend == "sqlite":  # which would go by the index of the status, and sort
        sieves = [condition.is_(sa.true()) for condition in sieves]
    return fetch(uow, select(EnsembleWorker).where(*sieves), order, limit=limit, cursor=cursor)


def update(
    uow: UnitOfWork, worker_id: str, *, pid: int | Unset | None = UNSET, queue_name: str | Unset = UNSET
) -> EnsembleWorker:
    """Change what is given of a worker, and nothing else; return the worker.

    For what is known only once its process has started. It is no sign of life: ``last_activity`` stays as it is. Called
    with nothing to change, it only returns the worker.

    Args:
        uow: the unit of work to write in.
        worker_id: which worker, in any status.
        pid: the id of its process; ``None`` takes it away.
        queue_name: the queue that feeds it.

    Raises:
        NotFound: there is no such worker.
        InvalidInput: a value is blank, of a wrong type, too long or below 0.
    """
    key = _key(worker_id)
    changes: dict[str, Any] = {}
    if not isinstance(pid, Unset):
        changes["pid"] = require(Count | None, pid, field="pid")
    if not isinstance(queue_name, Unset):
        changes["queue_name"] = require(Name, queue_name, field="queue_name")
    if not changes:
        return get(uow, key)
    changed = update_row(uow, EnsembleWorker, col(EnsembleWorker.worker_id) == key, **changes)
    if changed is None:
        raise NotFound("worker", key)
    return changed


def delete(uow: UnitOfWork, worker_id: str) -> None:
    """Delete a worker, whatever its status, and release what it holds. No event tells of it; those that name it stay.

    Raises:
        NotFound: there is no such worker.
        InvalidInput: the id is no text, or blank.
    """
    key = _key(worker_id)
    if uow.exec(sa.delete(EnsembleWorker).where(col(EnsembleWorker.worker_id) == key)).rowcount == 0:
        raise NotFound("worker", key)
    release_claims(uow, [key])


# --- signs of life ---------------------------------------------------------------------------------------------


def heartbeat(uow: UnitOfWork, worker_id: str, *, lease_seconds: float | None = None) -> EnsembleWorker:
    """Note that a worker is alive, and return it: its ``last_activity`` becomes now.

    Args:
        uow: the unit of work to write in.
        worker_id: which worker.
        lease_seconds: from now on, the tickets that it holds are its own for so long at least, above 0 and up to a
            year; a claim that has expired stays so. By default claims end when they would have.

    Raises:
        NotFound: there is no such worker.
        IllegalTransition: it has ended.
        InvalidInput: the id is no text, or blank; or the lease is out of range.
    """
    key = _key(worker_id)
    until = None if lease_seconds is None else lease_end(uow, lease_seconds)
    living = (col(EnsembleWorker.worker_id) == key, col(EnsembleWorker.status).not_in(FINAL_OF_WORKERS))
    worker = update_row(uow, EnsembleWorker, *living, last_activity=uow.now())
    if worker is None:
        raise IllegalTransition("worker", key, get(uow, key).status, WorkerStatus.ACTIVE)
    if until is not None:
        _extend_claims(uow, key, until)
    return worker


def _extend_claims(uow: UnitOfWork, worker_id: str, until: datetime) -> None:
    ends = col(Ticket.claim_expires_at)
    held = sa.update(Ticket).where(col(Ticket.claimed_by) == worker_id, ends > uow.now(), ends < until)
    uow.exec(held.values(claim_expires_at=until), execution_options={"synchronize_session": False})


def set_status(
    uow: UnitOfWork, worker_id: str, status: WorkerStatus | str, *, reason: str | None = None
) -> EnsembleWorker:
    """Move a worker to another status, and return it. Where it is in that status already, nothing is written.

    Its ``last_activity`` becomes now. With ``finished`` and ``failed`` it has ended: in the same unit of work, what it
    holds is released, and an event tells coordinators. Do that last in a unit of work of your own: on PostgreSQL nobody
    else writes an event until that ends.

    Args:
        uow: the unit of work to write in.
        worker_id: which worker.
        status: where it is to stand.
        reason: why it ended, in free words, for the event; only an end has one.

    Raises:
        NotFound: there is no such worker.
        IllegalTransition: it cannot move there from where it stands; ``allowed`` says where it could.
        InvalidInput: there is no such status, the reason is blank or is one of no end, or the id is no text, or blank.
    """
    key = _key(worker_id)
    wanted = parse_enum(WorkerStatus, status, field="status")
    told = require(NotBlank | None, reason, field="reason")
    if wanted in FINAL_OF_WORKERS:
        # Before the worker, as whoever deletes the project does: the event refers to it.
        hold_project_of(uow, select(col(EnsembleWorker.project_id)).where(col(EnsembleWorker.worker_id) == key))
    elif told is not None:
        raise InvalidInput(f"reason: only an end has one, and {wanted} is none", field="reason")
    worker = lock_worker(uow, key)
    if worker.status is wanted:
        return worker
    allowed = WORKER_TRANSITIONS[worker.status]
    if wanted not in allowed:
        raise IllegalTransition("worker", key, worker.status, wanted, allowed)
    changed = update_row(
        uow, EnsembleWorker, col(EnsembleWorker.worker_id) == key, status=wanted, last_activity=uow.now()
    )
    if changed is None:
        raise NotFound("worker", key)
    if wanted in FINAL_OF_WORKERS:
        release_claims(uow, [key])
        append_events(uow, _stopped(uow, changed, told))
    return changed


def _stopped(uow: UnitOfWork, worker: EnsembleWorker, reason: str | None) -> CoordinationEvent:
    return CoordinationEvent.build(
        event_type=CoordinationEventType.WORKER_STOPPED,
        project_id=worker.project_id,
        worker_id=worker.worker_id,
        reason=reason,
        created_at=uow.now(),
    )


# --- those that nothing was heard of ---------------------------------------------------------------------------


def stale(
    uow: ReadUnitOfWork, older_than: timedelta, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[EnsembleWorker]:
    """Return the workers that have not ended and of which nothing was heard for so long, the most silent first.

    Those of one instant come by their ids.

    Raises:
        InvalidInput: ``older_than`` is no ``timedelta``, below 0, or longer than time itself; the limit is not 1 to
            1,000, or the cursor is not of this listing.
    """
    order = Order(["stale workers", older_than], [col(EnsembleWorker.last_activity), col(EnsembleWorker.worker_id)])
    return fetch(uow, select(EnsembleWorker).where(*_stale(uow, older_than)), order, limit=limit, cursor=cursor)


def reap(uow: UnitOfWork, older_than: timedelta) -> list[EnsembleWorker]:
    """Give up the workers that :func:`stale` returns, and return them: they failed, as by :func:`set_status`.

    The reason says since when nothing was heard; ``last_activity`` stays as it was. On PostgreSQL a worker that
    somebody holds is passed over, for something is being done by it; so is one whose project is being deleted.

    Raises:
        InvalidInput: ``older_than`` is no ``timedelta``, below 0, or longer than time itself.
    """
    silent = select(EnsembleWorker).where(*_stale(uow, older_than))
    ordered = silent.order_by(col(EnsembleWorker.last_activity), col(EnsembleWorker.worker_id))
    found = uow.exec(ordered.with_for_update(key_share=True, skip_locked=True)).all()
    batches = [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
    reaped = [worker for batch in batches for worker in _give_up(uow, batch)]
    if reaped:  # the events last, as everywhere: no other writes any until the unit of work ends
        append_events(
            uow, *[_stopped(uow, each, f"no activity since {_spelled(each.last_activity)}") for each in reaped]
        )
    return reaped


def _stale(uow: ReadUnitOfWork, older_than: object) -> tuple[Any, ...]:
    before = instant_ago(uow, older_than, field="older_than")
    return sa.text(WORKER_IS_LIVING), col(EnsembleWorker.last_activity) < before


def _give_up(uow: UnitOfWork, silent: Sequence[EnsembleWorker]) -> list[EnsembleWorker]:
    """Let locked workers have failed, but for those whose project is being deleted; return them."""
    name = col(Project.repository_name)
    of_them = select(name).where(name.in_({worker.project_id for worker in silent})).order_by(name)
    # Who deletes a project waits for its workers, which we hold: to wait for the project would be a deadlock.
    held = set(uow.exec(of_them.with_for_update(read=True, key_share=True, skip_locked=True)))
    given_up = [worker for worker in silent if worker.project_id in held]
    if not given_up:
        return []
    keys = [worker.worker_id for worker in given_up]
    failed = sa.update(EnsembleWorker).where(col(EnsembleWorker.worker_id).in_(keys))
    changed = failed.values(status=WorkerStatus.FAILED).returning(EnsembleWorker)
    rows = uow.execute(changed, execution_options={"synchronize_session": False}).scalars()
    by_id = {worker.worker_id: worker for worker in rows}
    release_claims(uow, keys)
    return [by_id[key] for key in keys]


def _spelled(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _key(worker_id: object) -> str:
    key: str = require(Id, worker_id, field="worker_id")
    return key
