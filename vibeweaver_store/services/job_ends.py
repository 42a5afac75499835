"""How attempts at a job end: it is completed, has failed, or is handed back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from vibeweaver_store.columns import JsonDocument, NotBlank, Seconds
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.job import Attempts, Job, JobStatus
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.services.job_rows import (
    JOBS_TOPIC,
    MORE_ATTEMPTS,
    UNHELD,
    Ended,
    attempt_of,
    fire_finished,
    hold_session,
    later,
    lease_of,
    note_ended,
    record_attempt,
    record_attempts,
    write_all_held,
    write_held,
)
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import require

_MOST_DOUBLINGS: Final = 1000
"""A float holds as many, of anything that is not astronomical."""

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a job waits that is to be tried again: twice as long each time, up to a cap.

    Attributes:
        base_seconds: how long after the first attempt; finite and >= 0.
        cap_seconds: how long at most; likewise.

    Raises:
        InvalidInput: a number is refused.
    """

    base_seconds: float = 1.0
    cap_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        require(Seconds, self.base_seconds, field="base_seconds")
        cap: float = require(Seconds, self.cap_seconds, field="cap_seconds")
        if cap > timedelta.max.total_seconds():
            raise InvalidInput(f"cap_seconds: {shown(cap)} is longer than time itself", field="cap_seconds")

    def delay(self, attempt: int, chance: Callable[[], float] = random.random) -> timedelta:
        """Return how long to wait after an attempt: by chance, from half to the whole of what it has doubled to.

        The chance has jobs that failed together not come back together.

        Args:
            attempt: which attempt has failed, from 1.
            chance: gives numbers from 0 to 1.

        Raises:
            InvalidInput: the attempt is no whole number from 1.
        """
        doublings = min(require(Attempts, attempt, field="attempt") - 1, _MOST_DOUBLINGS)
        whole = min(self.cap_seconds, self.base_seconds * 2.0**doublings)
        return timedelta(seconds=whole * (0.5 + 0.5 * chance()))


DEFAULT_BACKOFF: Final = Backoff()


def complete(uow: UnitOfWork, job: Job, result: Any = None) -> Ended:
    """Have a job be completed, and fire the rules of its session that wait for it, in the same unit of work.

    Args:
        uow: the unit of work to write in.
        job: the job as :func:`claim` returned it.
        result: what came of it, any JSON value.

    Raises:
        LeaseLost: it is not held any more by who claimed it: it was taken over, cancelled, or has ended.
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed, or the result is no JSON.
    """
    document = require(JsonDocument, result, field="result")
    return _end(uow, job, {**_completed(uow), "result": document}, error=None)


def _completed(uow: UnitOfWork) -> dict[str, Any]:
    return {"status": JobStatus.COMPLETED, "completed_at": uow.now(), "error": None}


@dataclass(frozen=True, slots=True)
class Completion:
    """A job that is done, for :func:`complete_many`: as :func:`claim` returned it, and what came of it."""

    job: Job
    result: Any = None


def complete_many(uow: UnitOfWork, completions: Iterable[Completion]) -> list[Ended]:
    """Have jobs be completed as :func:`complete` does, a batch of them in one statement; return them in their order.

    For whoever claims many small jobs at once. One that is not held any more has none of them be completed.

    Args:
        uow: the unit of work to write in.
        completions: the jobs, each with its result. Those beyond the hundredth come in further statements.

    Raises:
        LeaseLost: one is not held any more by who claimed it. Of more than a hundred, those before it are completed, if
            the unit of work goes on.
        NotFound: there is no such job any more; likewise.
        InvalidInput: one is no job as it was claimed, or comes twice, or a result is no JSON; likewise.
    """
    remaining = expect_many(Completion, completions, field="completions")
    ended: list[Ended] = []
    while batch := list(islice(remaining, _BATCH)):
        ended += _complete_all(uow, [(each.job, require(JsonDocument, each.result, field="result")) for each in batch])
    return ended


def _complete_all(uow: UnitOfWork, done: Sequence[tuple[Job, Any]]) -> list[Ended]:
    _hold_sessions(uow, [job for job, _ in done])
    written = write_all_held(uow, done, "result", {**UNHELD, **_completed(uow)})
    record_attempts(uow, [attempt_of(job, uow.now(), None) for job in written])
    return [note_ended(uow, Ended(job, fire_finished(uow, job.id, job.session_id))) for job in written]


def _hold_sessions(uow: UnitOfWork, jobs: Sequence[Job]) -> None:
    """Hold the sessions of jobs, in one order, so that two that do so do not wait for each other."""
    for job in jobs:
        lease_of(job)
    for session_id, job_id in sorted({job.session_id: job.id for job in jobs if job.session_id is not None}.items()):
        hold_session(uow, job_id, session_id)


def fail(uow: UnitOfWork, job: Job, error: str, *, retry: bool = True, backoff: Backoff = DEFAULT_BACKOFF) -> Ended:
    """Have an attempt at a job have failed: it is tried again later, or the job is ``failed``.

    After ``max_attempts`` attempts, or where it is not to be tried again, the rules of its session fire that wait for
    it, in the same unit of work.

    Args:
        uow: the unit of work to write in.
        job: the job as :func:`claim` returned it.
        error: what went wrong; not blank.
        retry: false where to try again is of no use.
        backoff: how long it waits before it is tried again.

    Raises:
        LeaseLost: it is not held any more by who claimed it: it was taken over, cancelled, or has ended.
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed, or a value is refused.
    """
    told = require(NotBlank, error, field="error")
    if not isinstance(retry, bool):
        raise InvalidInput(f"retry: must be true or false (got {shown(retry)})", field="retry")
    if not isinstance(backoff, Backoff):
        raise InvalidInput(f"backoff: must be a Backoff (got {shown(backoff)})", field="backoff")
    now = uow.now()
    lease_of(job)
    if not retry or job.attempts >= job.max_attempts:
        return _end(uow, job, {"status": JobStatus.FAILED, "completed_at": now, "error": told}, error=told)
    due = later(now, backoff.delay(job.attempts), field="backoff")
    again = {"status": JobStatus.PENDING, "ready": due <= now, "scheduled_at": due, "error": told}
    return _end(uow, job, again, error=told)


def hand_back(uow: UnitOfWork, job: Job, *, reason: str = "handed back") -> Job:
    """Give a job back undone, as a worker does that is to end; return it as it is then.

    It is due as it was before, and the attempt costs it nothing: ``max_attempts`` grows by one.

    Args:
        uow: the unit of work to write in.
        job: the job as :func:`claim` returned it.
        reason: why, in free words; it stands with the attempt.

    Raises:
        LeaseLost: it is not held any more by who claimed it: it was taken over, cancelled, or has ended.
        NotFound: there is no such job any more.
        InvalidInput: it is no job as it was claimed, or the reason is blank.
    """
    told = require(NotBlank, reason, field="reason")
    changes = {"status": JobStatus.PENDING, "ready": True, MORE_ATTEMPTS: 1}
    return _end(uow, job, changes, error=told).job


def _end(uow: UnitOfWork, job: Job, changes: dict[str, Any], *, error: str | None) -> Ended:
    """End an attempt: the job's session held first where it may fire, then the row, the attempt, and the rules."""
    lease_of(job)
    over = changes["status"] is not JobStatus.PENDING
    if over:
        hold_session(uow, job.id, job.session_id)
    written = write_held(uow, job, {**UNHELD, **changes})
    record_attempt(uow, written, error=error)
    if not over:
        uow.announce(JOBS_TOPIC)
        return note_ended(uow, Ended(written, []))
    return note_ended(uow, Ended(written, fire_finished(uow, written.id, written.session_id)))
