"""Jobs as a state machine: every legal and illegal move, against a small model in memory, as time passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.sizes import examples
from vibeweaver_store import AlreadyClaimed, AlreadyExists, IllegalTransition, Job, LeaseLost, Store, jobs
from vibeweaver_store.columns import new_id
from vibeweaver_store.testing import SettableClock

FINAL = {"completed", "failed", "cancelled"}
LEASE = timedelta(seconds=60)


@dataclass
class Known:
    """What a job must be."""

    due: datetime
    priority: int
    max_attempts: int
    key: str | None
    status: str = "pending"
    attempts: int = 0
    token: str | None = None
    expires: datetime | None = None
    told: list[bool] = field(default_factory=list)
    """Of each attempt that has ended, whether it completed the job."""

    def let_go(self, status: str) -> None:
        self.status, self.token, self.expires = status, None, None


class Queue(RuleBasedStateMachine):
    """A type of jobs in a store that others use too."""

    def __init__(self, store: Store, clock: SettableClock) -> None:
        super().__init__()
        self.store, self.clock, self.kind = store, clock, f"machine {new_id()}"
        self.known: dict[str, Known] = {}
        self.claimed: list[Job] = []

    @property
    def now(self) -> datetime:
        return self.clock.instant

    def active_with(self, key: str | None) -> str | None:
        """The job that has a key."""
        taken = [job_id for job_id, job in self.known.items() if key and job.key == key and job.status not in FINAL]
        return taken[0] if taken else None

    # Into the queue, and on

    @initialize()
    def begin_amid_work(self) -> None:
        for key in ("a", None, "b"):
            self.enqueue(priority=0, delay=0, key=key, max_attempts=1 if key == "a" else 2)
        self.claim(limit=3, several=False)

    @rule(
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0, 0, 0, 30]),
        key=st.sampled_from([None, "a", "b"]),
        max_attempts=st.integers(1, 2),
    )
    def enqueue(self, priority: int, delay: int, key: str | None, max_attempts: int) -> None:
        waits = timedelta(seconds=delay)
        given: dict[str, Any] = {"priority": priority, "max_attempts": max_attempts, "unique_key": key}
        there = self.active_with(key)
        enqueued = self.store.run(jobs.enqueue, self.kind, **given, delay=waits)
        assert enqueued.new == (there is None)
        if there is None:
            self.known[enqueued.job.id] = Known(self.now + waits, priority, max_attempts, key)
        else:
            assert enqueued.job.id == there

    @rule(seconds=st.sampled_from([30, 60]), then_claim=st.booleans())
    def time_passes(self, seconds: int, then_claim: bool) -> None:
        self.clock.advance(seconds=seconds)
        if then_claim:
            self.claim(limit=3, several=False)

    @rule(limit=st.integers(1, 3), several=st.booleans())
    def claim(self, limit: int, several: bool) -> None:
        for job in self.known.values():
            if job.expires is not None and job.expires <= self.now:
                job.told.append(False)
                job.let_go("pending" if job.attempts < job.max_attempts else "failed")
        due = [key for key, job in self.known.items() if job.status == "pending" and job.due <= self.now]
        due.sort(key=lambda key: (-self.known[key].priority, self.known[key].due, key))
        types = [self.kind, "another"] if several else [self.kind]
        found = self.store.run(jobs.claim, types, "worker-1", limit=limit).jobs
        assert [job.id for job in found] == due[:limit]
        for taken in found:
            known = self.known[taken.id]
            known.status, known.attempts = "processing", known.attempts + 1
            known.token, known.expires = taken.lease_token, self.now + LEASE
        self.claimed += found

    # What who claimed a job does to it, now or long after

    def attempt(self, data: st.DataObject, operation: Any, *args: Any, **values: Any) -> tuple[Known, Any] | None:
        """Do something to a job that was claimed once; nothing where it is not held any more, as the model knows."""
        job = data.draw(st.sampled_from(self.claimed), "claimed")
        known = self.known[job.id]
        if known.token == job.lease_token and known.expires is not None and known.expires > self.now:
            return known, self.store.run(operation, job, *args, **values)
        with pytest.raises(LeaseLost):
            self.store.run(operation, job, *args, **values)
        return None

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        if landed := self.attempt(data, jobs.complete, {"done": True}):
            landed[0].let_go("completed")
            landed[0].told.append(True)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), retry=st.booleans())
    def fail(self, data: st.DataObject, retry: bool) -> None:
        if landed := self.attempt(data, jobs.fail, "it broke", retry=retry, backoff=jobs.Backoff(10)):
            known, ended = landed
            again = retry and known.attempts < known.max_attempts
            known.let_go("pending" if again else "failed")
            known.told.append(False)
            if again:
                whole = timedelta(seconds=10 * 2 ** (known.attempts - 1))
                assert self.now + whole / 2 <= ended.job.scheduled_at <= self.now + whole
                known.due = ended.job.scheduled_at

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        if landed := self.attempt(data, jobs.hand_back):
            landed[0].let_go("pending")
            landed[0].told.append(False)
            landed[0].max_attempts += 1

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def heartbeat_and_progress(self, data: st.DataObject) -> None:
        self.attempt(data, jobs.set_progress, 1)
        if landed := self.attempt(data, jobs.heartbeat):
            landed[0].expires = self.now + LEASE

    # What people do to any job

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.known)), "job")
        known = self.known[key]
        if known.status in FINAL:
            with pytest.raises(IllegalTransition):
                self.store.run(jobs.cancel, key)
            return
        self.store.run(jobs.cancel, key)
        known.told += [False] * (known.status == "processing")
        known.let_go("cancelled")

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.known)), "job")
        known = self.known[key]
        if known.status not in {"failed", "cancelled"}:
            with pytest.raises(IllegalTransition):
                self.store.run(jobs.retry, key)
        elif self.active_with(known.key) is not None:
            with pytest.raises(AlreadyExists):
                self.store.run(jobs.retry, key)
        else:
            self.store.run(jobs.retry, key)
            known.status, known.due = "pending", self.now
            known.max_attempts = max(known.max_attempts, known.attempts + 1)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), status=st.sampled_from(["completed", "failed"]))
    def set_status(self, data: st.DataObject, status: str) -> None:
        key = data.draw(st.sampled_from(list(self.known)), "job")
        known = self.known[key]
        given: dict[str, Any] = {"error": "it broke"} if status == "failed" else {}
        held = known.expires is not None and known.expires > self.now
        if held or (known.status in FINAL and (known.status != status or given)):
            with pytest.raises(AlreadyClaimed if held else IllegalTransition):
                self.store.run(jobs.set_status, key, status, **given)
            return
        self.store.run(jobs.set_status, key, status, **given)
        if known.status in FINAL:
            return
        known.told += [False] * (known.status == "processing")
        known.attempts += 1
        known.max_attempts = max(known.max_attempts, known.attempts)
        known.told.append(status == "completed")
        known.let_go(status)

    @rule()
    def retry_all_that_failed(self) -> None:
        expected = 0
        for known in self.known.values():
            if known.status == "failed" and self.active_with(known.key) is None:
                known.status, known.due, expected = "pending", self.now, expected + 1
                known.max_attempts = max(known.max_attempts, known.attempts + 1)
        assert self.store.run(jobs.retry_many, type=self.kind) == expected

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.known)), "job")
        if self.known[key].status == "processing":
            with pytest.raises(IllegalTransition):
                self.store.run(jobs.delete, key)
            return
        self.store.run(jobs.delete, key)
        del self.known[key]
        self.claimed = [job for job in self.claimed if job.id != key]

    # What holds at any time

    @invariant()
    def every_job_is_what_it_must_be(self) -> None:
        found = {job.id: job for job in self.store.query(jobs.page, type=self.kind, limit=1000).items}
        assert {
            key: (job.status, job.attempts, job.max_attempts, job.scheduled_at, job.lease_token, job.lease_expires_at)
            for key, job in found.items()
        } == {
            key: (job.status, job.attempts, job.max_attempts, job.due, job.token, job.expires)
            for key, job in self.known.items()
        }
        assert all((job.completed_at is not None) == (job.status in FINAL) for job in found.values())

    def teardown(self) -> None:
        for key, job in self.known.items():
            told = self.store.query(jobs.attempts, key)
            assert [each.error is None for each in told] == job.told
            assert [each.attempt for each in told] == list(range(1, len(job.told) + 1))


def test_jobs_move_only_as_their_state_machine_allows(timed_store: Store, timed_clock: SettableClock) -> None:
    run_state_machine_as_test(
        lambda: Queue(timed_store, timed_clock),  # type: ignore[arg-type]  # a factory will do, its documentation says
        settings=settings(
            max_examples=examples(12, 60),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
