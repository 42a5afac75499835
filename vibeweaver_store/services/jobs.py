"""Jobs: background work that is claimed under a lease, retried, and completed once.

The whole of it under one name; what is written here stands in ``job_queue``, ``job_claims``, ``job_ends``,
``job_leases``, ``job_overrides``, ``job_status``, ``job_lookup``, ``job_stats`` and ``job_prune``. Of seed 004,
``createJob`` is :func:`enqueue`, ``getNextJob`` is :func:`claim`, and ``updateJobStatus`` is :func:`complete`,
:func:`fail` and :func:`cancel`, or :func:`set_status` for programs that do not claim.
"""

from __future__ import annotations

from vibeweaver_store.services.job_claims import MAX_TYPES, Claimed, claim, heartbeat, next_due, set_progress
from vibeweaver_store.services.job_ends import (
    DEFAULT_BACKOFF,
    Backoff,
    Completion,
    complete,
    complete_many,
    fail,
    hand_back,
)
from vibeweaver_store.services.job_leases import AsyncLease, Lease
from vibeweaver_store.services.job_lookup import active_for_session, attempts, count, page
from vibeweaver_store.services.job_overrides import cancel, delete, retry, retry_many
from vibeweaver_store.services.job_prune import prunable, prune
from vibeweaver_store.services.job_queue import Enqueued, NewJob, enqueue, enqueue_many
from vibeweaver_store.services.job_rows import DEFAULT_LEASE_SECONDS, JOBS_TOPIC, Ended, find, get
from vibeweaver_store.services.job_stats import JobCount, JobDurations, JobStats, stats
from vibeweaver_store.services.job_status import set_status

__all__ = [
    "DEFAULT_BACKOFF",
    "DEFAULT_LEASE_SECONDS",
    "JOBS_TOPIC",
    "MAX_TYPES",
    "AsyncLease",
    "Backoff",
    "Claimed",
    "Completion",
    "Ended",
    "Enqueued",
    "JobCount",
    "JobDurations",
    "JobStats",
    "Lease",
    "NewJob",
    "active_for_session",
    "attempts",
    "cancel",
    "claim",
    "complete",
    "complete_many",
    "count",
    "delete",
    "enqueue",
    "enqueue_many",
    "fail",
    "find",
    "get",
    "hand_back",
    "heartbeat",
    "next_due",
    "page",
    "prunable",
    "prune",
    "retry",
    "retry_many",
    "set_progress",
    "set_status",
    "stats",
]
