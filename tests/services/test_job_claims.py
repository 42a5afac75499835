"""Claiming jobs (seed 004: getNextJob): in one order, what is due, and what expired leases left behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import BACKENDS, recorded_statements
from tests.services.bad_input import BAD_IDS, NO_NUMBER, cases
from tests.services.queue_steps import claim, claimed, enqueue, ids, story
from tests.services.scene import make, make_many
from vibeweaver_store import InvalidInput, JobStatus, Store, actions, history, jobs, rules, sessions, triggers
from vibeweaver_store.testing import EPOCH, JobFactory, SessionFactory, SettableClock, columns_of

SECOND = timedelta(seconds=1)


def test_a_claimed_job_is_held_by_its_worker(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, kind: str
) -> None:
    made = enqueue(timed_store, kind, {"bar": 1})
    job = claim(timed_store, kind, "worker-7", lease_seconds=30)
    assert (job.id, job.data, job.status, job.ready) == (made.id, {"bar": 1}, JobStatus.PROCESSING, None)
    assert (job.worker_id, job.attempts, job.started_at) == ("worker-7", 1, timed_clock.instant)
    assert job.lease_expires_at == timed_clock.instant + 30 * SECOND
    assert columns_of(lasting_other.query(jobs.get, job.id)) == columns_of(job)


def test_claiming_a_job_changes_only_its_claim_columns(timed_store: Store, lasting_other: Store, kind: str) -> None:
    bystander = enqueue(timed_store, f"{kind} too")
    made = enqueue(timed_store, kind, priority=3, unique_key="chorus")
    job = claim(timed_store, kind)
    changed = {name for name, value in columns_of(job).items() if columns_of(made)[name] != value}
    assert changed <= {
        *("status", "ready", "attempts", "started_at", "updated_at"),
        *("worker_id", "lease_token", "lease_expires_at"),
    }
    assert columns_of(lasting_other.query(jobs.get, bystander.id)) == columns_of(bystander)


def test_each_job_claim_has_its_own_token(timed_store: Store, kind: str) -> None:
    tokens = {claimed(timed_store, kind).lease_token for _ in range(3)}
    assert len(tokens - {None}) == 3


def test_a_job_lease_lasts_a_minute_by_default(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    assert claimed(timed_store, kind).lease_expires_at == timed_clock.instant + 60 * SECOND


def test_a_job_is_claimed_once(timed_store: Store, kind: str) -> None:
    claimed(timed_store, kind)
    assert timed_store.run(jobs.claim, [kind], "worker-2").jobs == []


def test_claiming_from_an_empty_queue_returns_no_jobs(timed_store: Store, kind: str) -> None:
    assert timed_store.run(jobs.claim, [kind], "worker-1") == jobs.Claimed([], [])


def test_claiming_a_job_again_resets_its_progress(timed_store: Store, kind: str) -> None:
    job = claimed(timed_store, kind)
    timed_store.run(jobs.set_progress, job, 7, 8)
    assert timed_store.run(jobs.hand_back, job).progress == {"done": 7, "total": 8, "note": None}
    assert claim(timed_store, kind).progress is None


# The order

IN_ORDER: list[dict[str, Any]] = [
    {"priority": 5, "scheduled_at": EPOCH + 9 * SECOND},
    {"priority": 1, "scheduled_at": EPOCH + SECOND, "id": "a"},
    {"priority": 1, "scheduled_at": EPOCH + SECOND, "id": "b"},
    {"priority": 1, "scheduled_at": EPOCH + 2 * SECOND},
    {"priority": 0, "scheduled_at": EPOCH},
    {"priority": -(2**31), "scheduled_at": EPOCH},
]
"""What is claimed before what: priority, then due time, then id."""


def in_order(kind: str) -> list[dict[str, Any]]:
    return [{**each, "id": f"{each['id']} {kind}"} if "id" in each else each for each in IN_ORDER]


def test_jobs_are_claimed_by_priority_then_due_time_then_id(timed_store: Store, kind: str) -> None:
    made = make_many(timed_store, JobFactory, *reversed(in_order(kind)), type=kind)[::-1]
    assert [claim(timed_store, kind).id for _ in made] == ids(made)


def test_jobs_claimed_together_are_returned_in_claim_order(timed_store: Store, kind: str) -> None:
    made = make_many(timed_store, JobFactory, *reversed(in_order(kind)), type=kind)[::-1]
    first = timed_store.run(jobs.claim, [kind], "worker-1", limit=4).jobs
    rest = timed_store.run(jobs.claim, [kind], "worker-1", limit=1000).jobs
    assert (ids(first), ids(rest)) == (ids(made[:4]), ids(made[4:]))


def test_jobs_of_several_types_are_claimed_in_one_common_order(timed_store: Store, kind: str) -> None:
    kinds = [f"{kind} {n}" for n in range(3)]
    each = [{**values, "type": kinds[n % 3]} for n, values in enumerate(in_order(kind))]
    made = make_many(timed_store, JobFactory, *reversed(each))[::-1]
    enqueue(timed_store, kind, priority=9)  # a type that is not asked for
    assert ids(timed_store.run(jobs.claim, kinds, "worker-1", limit=4).jobs) == ids(made[:4])
    assert [ids(timed_store.run(jobs.claim, kinds, "worker-1").jobs) for _ in made[4:]] == [
        [one.id] for one in made[4:]
    ]


def test_a_claim_without_types_takes_jobs_of_every_type_in_order(store: Store) -> None:
    each = [{**values, "type": f"kind {n}"} for n, values in enumerate(in_order(""))]
    made = make_many(store, JobFactory, *reversed(each))[::-1]
    assert ids(store.run(jobs.claim, None, "worker-1", limit=10).jobs) == ids(made)


def test_a_job_type_named_twice_in_a_claim_counts_once(timed_store: Store, kind: str) -> None:
    enqueue(timed_store, kind)
    assert len(timed_store.run(jobs.claim, [kind, "other", kind], "worker-1", limit=5).jobs) == 1


def test_a_claim_may_name_a_hundred_job_types(timed_store: Store, kind: str) -> None:
    made = enqueue(timed_store, f"{kind} 99")
    kinds = [f"{kind} {n}" for n in range(jobs.MAX_TYPES)]
    assert ids(timed_store.run(jobs.claim, kinds, "worker-1").jobs) == [made.id]


# What comes due


def test_a_job_is_not_claimed_before_it_is_due(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    job = enqueue(timed_store, kind, delay=SECOND)
    timed_clock.advance(seconds=1, microseconds=-1)
    assert timed_store.run(jobs.claim, [kind], "worker-1").jobs == []
    timed_clock.advance(microseconds=1)
    assert claim(timed_store, kind).id == job.id


def test_a_claim_marks_due_jobs_of_other_types_ready(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    job = enqueue(timed_store, kind, delay=SECOND)
    timed_clock.advance(seconds=1)
    timed_store.run(jobs.claim, ["other"], "worker-1")
    found = timed_store.query(jobs.get, job.id)
    assert columns_of(found) == columns_of(job) | {"ready": True}


def test_a_claim_readies_a_thousand_due_jobs_at_once_longest_due_first(store: Store, clock: SettableClock) -> None:
    store.run(jobs.enqueue_many, [jobs.NewJob("render", n, delay=(1 + n // 1001) * SECOND) for n in range(1003)])
    clock.advance(seconds=2)
    first = store.run(jobs.claim, None, "worker-1", limit=1000).jobs
    rest = store.run(jobs.claim, None, "worker-1", limit=1000).jobs
    assert (len(first), {job.scheduled_at for job in first}) == (1000, {clock.instant - SECOND})
    assert len(rest) == 3


# Leases that expire


def test_a_job_lease_is_held_until_it_expires(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    job = claimed(timed_store, kind)
    timed_clock.advance(seconds=60, microseconds=-1)
    assert timed_store.run(jobs.claim, [kind], "worker-2").jobs == []
    timed_clock.advance(microseconds=1)
    again = claim(timed_store, kind, "worker-2")
    assert (again.id, again.worker_id, again.attempts) == (job.id, "worker-2", 2)
    assert again.lease_token != job.lease_token


def test_an_attempt_whose_lease_expired_is_recorded(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    job = claimed(timed_store, kind)
    timed_clock.advance(hours=8)
    again = claim(timed_store, kind, "worker-2")
    assert again.error == "the lease expired"
    (attempt,) = timed_store.query(jobs.attempts, job.id)
    assert (attempt.attempt, attempt.worker_id, attempt.error) == (1, "worker-1", "the lease expired")
    # It ended with its lease, and not when that was found out.
    assert (attempt.started_at, attempt.ended_at) == (job.started_at, job.lease_expires_at)
    assert attempt.duration_ms == 60_000


def test_a_job_whose_lease_expired_keeps_its_place_in_the_queue(
    timed_store: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = claimed(timed_store, kind)
    timed_clock.advance(hours=1)
    enqueue(timed_store, kind)
    assert claim(timed_store, kind).id == job.id


def test_a_claim_takes_back_expired_leases_of_other_types(
    timed_store: Store, timed_clock: SettableClock, kind: str
) -> None:
    job = claimed(timed_store, kind)
    timed_clock.advance(hours=1)
    timed_store.run(jobs.claim, ["other"], "worker-2")
    found = timed_store.query(jobs.get, job.id)
    assert (found.status, found.ready, found.lease_token, found.lease_expires_at) == (
        JobStatus.PENDING,
        True,
        None,
        None,
    )
    assert (found.attempts, found.scheduled_at, found.updated_at) == (1, job.scheduled_at, timed_clock.instant)


def test_a_job_whose_last_lease_expired_fails(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    job = claimed(timed_store, kind, max_attempts=1)
    timed_clock.advance(hours=1)
    claim = timed_store.run(jobs.claim, [kind], "worker-2")
    found = timed_store.query(jobs.get, job.id)
    assert claim == jobs.Claimed([], [jobs.Ended(found, [])])
    assert (found.status, found.completed_at) == (JobStatus.FAILED, timed_clock.instant)
    assert found.error == "the lease expired on the last attempt"
    assert story(timed_store, job.id) == [(1, "worker-1", "the lease expired on the last attempt")]


def test_a_job_that_fails_by_expiry_fires_rules_of_its_session(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, kind: str
) -> None:
    session = make(timed_store, SessionFactory)
    job = claimed(timed_store, kind, max_attempts=1, session_id=session.id)
    rule = timed_store.run(rules.add, session.id, triggers.JobComplete(job_id=job.id), actions.Play())
    timed_clock.advance(hours=1)
    (ended,) = timed_store.run(jobs.claim, ["other"], "worker-2").ended
    assert (ended.job.id, ended.job.status) == (job.id, JobStatus.FAILED)
    assert [(firing.rule.id, firing.signal.type) for firing in ended.firings] == [(rule.id, "job_finished")]
    assert lasting_other.query(history.count, session.id) == 1
    assert timed_store.run(jobs.claim, ["other"], "worker-2").ended == []


def test_an_expired_lease_with_attempts_left_fires_no_rules(
    timed_store: Store, timed_clock: SettableClock, kind: str
) -> None:
    session = make(timed_store, SessionFactory)
    job = claimed(timed_store, kind, session_id=session.id)
    timed_store.run(rules.add, session.id, triggers.JobComplete(job_id=job.id), actions.Play())
    timed_clock.advance(hours=1)
    claimed_again = timed_store.run(jobs.claim, [kind], "worker-2")
    assert (ids(claimed_again.jobs), claimed_again.ended) == ([job.id], [])


def test_many_expired_leases_are_taken_back_together(store: Store, clock: SettableClock) -> None:
    for max_attempts in (1, 2):
        store.run(jobs.enqueue_many, [jobs.NewJob("render", max_attempts=max_attempts)] * 5)
    store.run(jobs.claim, None, "worker-1", limit=10)
    clock.advance(hours=1)
    again = store.run(jobs.claim, None, "worker-2", limit=10).jobs
    assert [job.max_attempts for job in again] == [2] * 5
    assert store.query(jobs.count, status="failed") == 5


@pytest.mark.parametrize("backend", BACKENDS[1:])  # SQLite has one writer
def test_a_claim_defers_a_failure_by_expiry_while_the_session_is_locked(
    store: Store, other: Store, clock: SettableClock
) -> None:
    session = make(store, SessionFactory)
    job = claimed(store, "render", max_attempts=1, session_id=session.id)
    clock.advance(hours=1)
    with other.begin() as uow:
        sessions.hold(uow, session.id)
        store.run(jobs.claim, None, "worker-2")
        assert store.query(jobs.get, job.id).status is JobStatus.PROCESSING
    store.run(jobs.claim, None, "worker-2")
    assert store.query(jobs.get, job.id).status is JobStatus.FAILED


# Statements


@pytest.mark.parametrize("types", [["render"], ["render", "mix", "master"], None], ids=["one type", "types", "all"])
@pytest.mark.parametrize("there", [0, 1, 5], ids=["nothing", "one", "several"])
def test_claiming_a_job_takes_two_statements(store: Store, types: list[str] | None, there: int) -> None:
    store.run(jobs.enqueue_many, [jobs.NewJob("render")] * there)
    with recorded_statements(store) as sent:
        assert len(store.run(jobs.claim, types, "worker-1", limit=10).jobs) == there
    assert len(sent) == 2


def test_a_claim_handles_due_jobs_and_expired_leases_in_few_statements(store: Store, clock: SettableClock) -> None:
    store.run(jobs.enqueue_many, [jobs.NewJob("render")] * 20 + [jobs.NewJob("mix", delay=SECOND)] * 20)
    store.run(jobs.claim, ["render"], "worker-1", limit=20)
    clock.advance(hours=1)
    with recorded_statements(store) as sent:
        assert len(store.run(jobs.claim, None, "worker-2", limit=100).jobs) == 40
    assert len(sent) == 8


# Next due


def test_next_due_is_the_earliest_schedule_or_lease_expiry_of_a_job(store: Store, clock: SettableClock) -> None:
    assert store.query(jobs.next_due) is None
    there = enqueue(store, "render")
    assert store.query(jobs.next_due) == there.scheduled_at  # it has passed: there is something now
    assert store.query(jobs.next_due, ["mix"]) is None
    later = enqueue(store, "render", delay=10 * SECOND)
    assert store.query(jobs.next_due, ["mix"]) == later.scheduled_at
    job = store.run(jobs.claim, ["render"], "worker-1", lease_seconds=5).jobs[0]
    assert store.query(jobs.next_due) == job.lease_expires_at
    store.run(jobs.heartbeat, job, lease_seconds=20)
    assert store.query(jobs.next_due) == later.scheduled_at
    clock.advance(seconds=15)
    assert store.query(jobs.next_due) == later.scheduled_at


def test_next_due_of_jobs_is_one_statement(timed_store: Store) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.query(jobs.next_due)
    assert len(sent) == 1


# Bad input

BAD_LEASES = cases(
    **NO_NUMBER,
    zero=0,
    below_zero=-1.0,
    less_than_a_microsecond=4e-7,
    beyond_the_calendar=1e12,
    beyond_spans=1e300,
)


@pytest.mark.parametrize("seconds", BAD_LEASES)
def test_an_invalid_lease_of_a_job_claim_is_refused(timed_store: Store, seconds: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.claim, None, "worker-1", lease_seconds=seconds)
    assert caught.value.field == "lease_seconds"


def test_a_job_lease_may_be_a_microsecond(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    enqueue(timed_store, kind)
    expires = claim(timed_store, kind, lease_seconds=1e-6).lease_expires_at
    assert expires == timed_clock.instant + timedelta(microseconds=1)


@pytest.mark.parametrize(
    "types",
    cases(
        none_named=[],
        a_text="render",
        a_number=5,
        a_set={"render"},
        a_blank_one=["render", " "],
        a_number_among_them=["render", 5],
        too_many=[str(n) for n in range(101)],
    ),
)
def test_invalid_types_of_a_job_claim_are_refused(timed_store: Store, types: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.claim, types, "worker-1")
    assert caught.value.field == "types"


@pytest.mark.parametrize("worker_id", [*BAD_IDS, *cases(nothing=None)])
def test_an_invalid_worker_of_a_job_claim_is_refused(timed_store: Store, worker_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.claim, None, worker_id)
    assert caught.value.field == "worker_id"


@pytest.mark.parametrize("limit", cases(zero=0, below=-1, too_many=1001, true=True, text="1", nothing=None))
def test_an_invalid_limit_of_a_job_claim_is_refused(timed_store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.claim, None, "worker-1", limit=limit)
    assert caught.value.field == "limit"
