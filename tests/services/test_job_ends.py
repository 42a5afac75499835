"""How attempts end (seed 004: updateJobStatus): completed, failed, handed back; and who is told of it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_TEXTS, NO_NUMBER, UNPRINTABLE, cases
from tests.services.queue_steps import claim, claimed, enqueue, story
from tests.services.scene import make
from vibeweaver_store import (
    InvalidInput,
    Job,
    JobStatus,
    LeaseLost,
    Rule,
    Store,
    actions,
    history,
    jobs,
    rules,
    triggers,
)
from vibeweaver_store.testing import SessionFactory, SettableClock, columns_of

SECOND = timedelta(seconds=1)


@pytest.fixture
def held(timed_store: Store, kind: str) -> Job:
    return claimed(timed_store, kind, unique_key="chorus")


@pytest.fixture
def of_a_session(timed_store: Store, kind: str) -> Job:
    """A job of a session, in the hands of a worker."""
    return claimed(timed_store, kind, session_id=make(timed_store, SessionFactory).id)


def waiting_for(store: Store, job: Job) -> Rule:
    """A rule of a job's session that waits for it, beside one that waits for another."""
    assert job.session_id is not None
    store.run(rules.add, job.session_id, triggers.JobComplete(job_id="another"), actions.Play())
    return store.run(rules.add, job.session_id, triggers.JobComplete(job_id=job.id), actions.Notify(message="done"))


# Complete


def test_completing_a_job_ends_it_with_its_result(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_clock.advance(seconds=5)
    ended = timed_store.run(jobs.complete, held, {"path": "/srv/chorus.wav"})
    changed = {
        "status": JobStatus.COMPLETED,
        "completed_at": timed_clock.instant,
        "updated_at": timed_clock.instant,
        "result": {"path": "/srv/chorus.wav"},
        "lease_token": None,
        "lease_expires_at": None,
    }
    assert columns_of(ended.job) == columns_of(held) | changed
    assert columns_of(lasting_other.query(jobs.get, held.id)) == columns_of(ended.job)
    assert ended.firings == []


def test_the_attempt_that_completed_a_job_is_recorded(
    timed_store: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_clock.advance(seconds=1.2345)
    timed_store.run(jobs.complete, held)
    (attempt,) = timed_store.query(jobs.attempts, held.id)
    assert (attempt.attempt, attempt.worker_id, attempt.error) == (1, "worker-1", None)
    assert (attempt.started_at, attempt.ended_at) == (held.started_at, timed_clock.instant)
    assert attempt.duration_ms == 1234


def test_a_job_attempt_lasts_no_time_if_the_clock_went_back(store: Store, clock: SettableClock) -> None:
    job = claimed(store, "render")
    clock.advance(seconds=-5)
    store.run(jobs.complete, job)
    assert [each.duration_ms for each in store.query(jobs.attempts, job.id)] == [0]


def test_a_completed_job_clears_its_error_but_its_attempts_keep_theirs(
    timed_store: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_store.run(jobs.fail, held, "it broke", backoff=jobs.Backoff(0))
    again = claim(timed_store, held.type, "worker-2")
    assert again.error == "it broke"
    assert timed_store.run(jobs.complete, again).job.error is None
    assert story(timed_store, held.id) == [(1, "worker-1", "it broke"), (2, "worker-2", None)]


def test_attempts_reset_by_hand_are_recorded_again(timed_store: Store, held: Job) -> None:
    timed_store.run(jobs.fail, held, "it broke", backoff=jobs.Backoff(0))
    with timed_store.begin() as uow:
        unused = {"attempts": 0, "started_at": None}
        uow.execute(sa.update(Job).where(col(Job.id) == held.id).values(**unused))
    again = claim(timed_store, held.type, "worker-2")
    assert timed_store.run(jobs.complete, again).job.status is JobStatus.COMPLETED
    assert story(timed_store, held.id) == [(1, "worker-2", None)]


@pytest.mark.parametrize("result", [None, 0, False, "", [1, {"a": 1e300}], {"ü": "🥁"}], ids=repr)
def test_a_job_result_is_any_json(timed_store: Store, lasting_other: Store, held: Job, result: Any) -> None:
    timed_store.run(jobs.complete, held, result)
    assert lasting_other.query(jobs.get, held.id).result == result


@pytest.mark.parametrize(
    "result", cases(nan=float("nan"), a_set={1}, nul="\x00", too_great=2**63, unprintable=UNPRINTABLE)
)
def test_a_job_result_that_is_not_json_is_refused(timed_store: Store, held: Job, result: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.complete, held, result)
    assert caught.value.field == "result"
    assert timed_store.query(jobs.get, held.id).status is JobStatus.PROCESSING


def test_completing_a_job_without_a_session_takes_two_statements(timed_store: Store, held: Job) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.complete, held)
    assert [statement.split()[0] for statement in sent] == ["UPDATE", "INSERT"]


def test_completing_a_job_no_rule_waits_for_takes_five_statements(timed_store: Store, of_a_session: Job) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.complete, of_a_session)
    assert len(sent) == 5


# Many at once


def claimed_together(store: Store, count: int = 3, **values: Any) -> list[Job]:
    for _ in range(count):
        enqueue(store, "mix", **values)
    return store.run(jobs.claim, ["mix"], "worker-1", limit=count).jobs


def test_complete_many_ends_each_job_with_its_result_and_attempt(
    store: Store, other: Store, clock: SettableClock
) -> None:
    taken = claimed_together(store)
    results: list[Any] = [{"ü": ["🥁", 1e300]}, None, "it's done"]
    clock.advance(seconds=2)

    ended = store.run(jobs.complete_many, [jobs.Completion(*each) for each in zip(taken[::-1], results, strict=True)])

    assert [each.job.id for each in ended] == [job.id for job in taken[::-1]]
    for job, result in zip(taken[::-1], results, strict=True):
        read = other.query(jobs.get, job.id)
        assert (read.status, read.result, read.completed_at) == (JobStatus.COMPLETED, result, clock.instant)
        assert (read.lease_token, read.lease_expires_at) == (None, None)
        assert story(other, job.id) == [(1, "worker-1", None)]


def test_complete_many_does_to_each_job_what_complete_does(store: Store, clock: SettableClock) -> None:
    one, another = claimed_together(store, 2, data={"bar": 1})
    alone = store.run(jobs.complete, one, {"a": 1}).job
    (together,) = store.run(jobs.complete_many, [jobs.Completion(another, {"a": 1})])

    assert columns_of(together.job) == columns_of(alone) | {
        name: getattr(another, name) for name in ("id", "created_at", "scheduled_at")
    }


def test_complete_many_fires_rules_that_wait_for_any_of_its_jobs(store: Store) -> None:
    session = make(store, SessionFactory)
    taken = claimed_together(store, session_id=session.id)
    waiting = [waiting_for(store, job) for job in taken[:2]]

    ended = store.run(jobs.complete_many, [jobs.Completion(job) for job in taken])

    assert [[firing.rule.id for firing in each.firings] for each in ended] == [*[[rule.id] for rule in waiting], []]


def test_complete_many_completes_no_job_if_one_lease_is_lost(store: Store, other: Store) -> None:
    taken = claimed_together(store)
    store.run(jobs.cancel, taken[1].id)

    with pytest.raises(LeaseLost, match="cancelled"):
        store.run(jobs.complete_many, [jobs.Completion(job) for job in taken])

    assert [other.query(jobs.get, job.id).status.value for job in taken] == ["processing", "cancelled", "processing"]


def test_complete_many_refuses_a_job_given_twice(store: Store, other: Store) -> None:
    (job,) = claimed_together(store, 1)

    with pytest.raises(InvalidInput, match="twice"):
        store.run(jobs.complete_many, [jobs.Completion(job), jobs.Completion(job)])

    assert other.query(jobs.get, job.id).status is JobStatus.PROCESSING


def test_complete_many_leaves_no_job_half_done_if_lease_lost_is_swallowed(store: Store, other: Store) -> None:
    taken = claimed_together(store)
    store.run(jobs.cancel, taken[2].id)

    with store.begin() as uow, suppress(LeaseLost):
        jobs.complete_many(uow, [jobs.Completion(job) for job in taken])

    assert [other.query(jobs.get, job.id).status.value for job in taken] == ["processing", "processing", "cancelled"]
    assert [story(other, job.id) for job in taken[:2]] == [[], []]


@pytest.mark.parametrize("count", [1, 100, 101, 250])
def test_complete_many_completes_any_number_of_jobs(store: Store, other: Store, count: int) -> None:
    taken = claimed_together(store, count)

    ended = store.run(jobs.complete_many, (jobs.Completion(job, n) for n, job in enumerate(taken)))

    assert [each.job.result for each in ended] == list(range(count))
    assert other.query(jobs.count, status="completed") == count


def test_complete_many_completes_no_job_after_the_leases_expired(store: Store, clock: SettableClock) -> None:
    taken = claimed_together(store)
    clock.advance(hours=1)

    with pytest.raises(LeaseLost, match="expired"):
        store.run(jobs.complete_many, [jobs.Completion(job) for job in taken])


@pytest.mark.parametrize("completions", cases(no_list=5, no_completion=["job"], no_job=[jobs.Completion("job")]))  # type: ignore[arg-type]
def test_complete_many_refuses_invalid_completions(store: Store, completions: Any) -> None:
    with pytest.raises(InvalidInput):
        store.run(jobs.complete_many, completions)


def test_complete_many_refuses_a_result_that_is_not_json(store: Store, other: Store) -> None:
    (job,) = claimed_together(store, 1)

    with pytest.raises(InvalidInput) as caught:
        store.run(jobs.complete_many, [jobs.Completion(job, float("nan"))])

    assert caught.value.field == "result"
    assert other.query(jobs.get, job.id).status is JobStatus.PROCESSING


def test_complete_many_takes_three_statements(store: Store) -> None:
    taken = claimed_together(store, 40)

    with recorded_statements(store) as sent:
        store.run(jobs.complete_many, [jobs.Completion(job) for job in taken])

    assert [statement.split()[0] for statement in sent] == ["SELECT", "UPDATE", "INSERT"]


def test_complete_many_of_no_jobs_sends_no_statement(store: Store) -> None:
    with recorded_statements(store) as sent:
        assert store.run(jobs.complete_many, []) == []
    assert sent == []


# Rules


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_job_that_ends_fires_the_rules_that_wait_for_it(
    timed_store: Store, lasting_other: Store, of_a_session: Job, end: str
) -> None:
    rule = waiting_for(timed_store, of_a_session)
    ends: dict[str, Any] = {
        "complete": lambda: timed_store.run(jobs.complete, of_a_session),
        "fail": lambda: timed_store.run(jobs.fail, of_a_session, "it broke", retry=False),
        "cancel": lambda: timed_store.run(jobs.cancel, of_a_session.id),
    }
    (firing,) = ends[end]().firings
    assert (firing.rule.id, firing.rule.fired_count, firing.action.message) == (rule.id, 1, "done")
    assert lasting_other.query(rules.get, rule.id).fired_count == 1
    (entry,) = lasting_other.query(history.recent, rule.session_id)
    assert entry.params is not None
    assert entry.params["signal"] == {"type": "job_finished", "job_id": of_a_session.id}


def test_firings_of_a_completed_job_roll_back_with_the_unit_of_work(
    timed_store: Store, lasting_other: Store, of_a_session: Job
) -> None:
    rule = waiting_for(timed_store, of_a_session)
    with pytest.raises(RuntimeError), timed_store.begin() as uow:
        assert len(jobs.complete(uow, of_a_session).firings) == 1
        raise RuntimeError
    assert lasting_other.query(rules.get, rule.id).fired_count == 0
    assert lasting_other.query(jobs.get, of_a_session.id).status is JobStatus.PROCESSING


def test_a_job_to_be_retried_fires_no_rules(timed_store: Store, of_a_session: Job) -> None:
    rule = waiting_for(timed_store, of_a_session)
    assert timed_store.run(jobs.fail, of_a_session, "it broke", backoff=jobs.Backoff(0)).firings == []
    timed_store.run(jobs.hand_back, claim(timed_store, of_a_session.type))
    assert timed_store.query(rules.get, rule.id).fired_count == 0


# Fail


def test_a_failed_attempt_is_retried_after_a_delay(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_clock.advance(seconds=5)
    ended = timed_store.run(jobs.fail, held, "it broke", backoff=jobs.Backoff(10, 100))
    due = ended.job.scheduled_at
    assert timed_clock.instant + 5 * SECOND <= due <= timed_clock.instant + 10 * SECOND
    changed = {
        "status": JobStatus.PENDING,
        "ready": False,
        "scheduled_at": due,
        "error": "it broke",
        "updated_at": timed_clock.instant,
        "lease_token": None,
        "lease_expires_at": None,
    }
    assert columns_of(ended.job) == columns_of(held) | changed
    assert columns_of(lasting_other.query(jobs.get, held.id)) == columns_of(ended.job)
    assert story(timed_store, held.id) == [(1, "worker-1", "it broke")]


def test_a_failed_attempt_is_claimed_again_after_its_delay(
    timed_store: Store, timed_clock: SettableClock, held: Job
) -> None:
    due = timed_store.run(jobs.fail, held, "it broke").job.scheduled_at
    timed_clock.set(due - timedelta(microseconds=1))
    assert timed_store.run(jobs.claim, [held.type], "worker-2").jobs == []
    timed_clock.set(due)
    assert claim(timed_store, held.type, "worker-2").id == held.id


def test_a_failed_attempt_without_backoff_is_ready_at_once(timed_store: Store, held: Job) -> None:
    assert timed_store.run(jobs.fail, held, "it broke", backoff=jobs.Backoff(0)).job.ready is True


def test_a_job_fails_after_its_last_attempt(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    made = enqueue(timed_store, kind, max_attempts=3)
    for n in range(1, 4):
        timed_clock.advance(hours=1)
        ended = timed_store.run(jobs.fail, claim(timed_store, kind, f"worker-{n}"), f"it broke {n}").job
    assert (ended.status, ended.attempts, ended.error) == (JobStatus.FAILED, 3, "it broke 3")
    assert (ended.completed_at, ended.ready) == (timed_clock.instant, None)
    assert story(timed_store, made.id) == [(n, f"worker-{n}", f"it broke {n}") for n in (1, 2, 3)]


def test_a_job_failed_without_retry_has_failed_for_good(timed_store: Store, held: Job) -> None:
    ended = timed_store.run(jobs.fail, held, "no such file", retry=False).job
    assert (ended.status, ended.attempts, ended.max_attempts) == (JobStatus.FAILED, 1, 3)


@pytest.mark.parametrize("error", [*BAD_TEXTS, *cases(nothing=None, empty="", blank=" \n")])
def test_an_invalid_job_error_is_refused(timed_store: Store, held: Job, error: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.fail, held, error)
    assert caught.value.field == "error"
    assert timed_store.query(jobs.get, held.id).status is JobStatus.PROCESSING


@pytest.mark.parametrize("retry", BAD_BOOLEANS)
def test_an_invalid_retry_flag_of_a_job_is_refused(timed_store: Store, held: Job, retry: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.fail, held, "it broke", retry=retry)
    assert caught.value.field == "retry"


@pytest.mark.parametrize("backoff", cases(nothing=None, seconds=5, beyond_the_calendar=jobs.Backoff(8e13, 8e13)))
def test_an_invalid_backoff_of_a_job_is_refused(timed_store: Store, held: Job, backoff: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.fail, held, "it broke", backoff=backoff)
    assert caught.value.field == "backoff"


def test_failing_a_job_takes_two_statements(timed_store: Store, held: Job) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.fail, held, "it broke")
    assert len(sent) == 2


# Backoff


def test_backoff_doubles_the_delay_up_to_the_cap() -> None:
    backoff = jobs.Backoff(base_seconds=1, cap_seconds=300)
    whole = [backoff.delay(attempt, lambda: 1.0).total_seconds() for attempt in range(1, 12)]
    assert whole == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert backoff.delay(3, lambda: 0.0).total_seconds() == 2


@given(
    base=st.floats(0, 1e9),
    cap=st.floats(0, 1e9),
    attempt=st.integers(1, 2**31 - 1),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_backoff_jitters_from_half_to_the_whole_delay_within_the_cap(
    base: float, cap: float, attempt: int, chance: float
) -> None:
    backoff = jobs.Backoff(base, cap)
    whole = min(cap, base * 2.0 ** min(attempt - 1, 1000))
    delay = backoff.delay(attempt, lambda: chance)
    assert timedelta(seconds=whole / 2) <= delay <= timedelta(seconds=whole) <= timedelta(seconds=cap)
    assert delay <= backoff.delay(min(attempt + 1, 2**31 - 1), lambda: chance)


def test_jobs_that_fail_together_are_not_retried_together() -> None:
    assert len({jobs.DEFAULT_BACKOFF.delay(9) for _ in range(20)}) > 1


@pytest.mark.parametrize("field", ["base_seconds", "cap_seconds"])
@pytest.mark.parametrize("value", cases(**NO_NUMBER, below_zero=-0.1))
def test_a_backoff_that_is_not_a_number_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        jobs.Backoff(**{field: value})
    assert caught.value.field == field


def test_a_backoff_cap_beyond_the_range_of_time_is_refused() -> None:
    with pytest.raises(InvalidInput, match="longer than time"):
        jobs.Backoff(cap_seconds=1e300)


@pytest.mark.parametrize("attempt", [0, -1, None, True, 1.0, "1", 2**31], ids=repr)
def test_a_backoff_of_an_invalid_attempt_is_refused(attempt: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        jobs.DEFAULT_BACKOFF.delay(attempt)
    assert caught.value.field == "attempt"


# Hand back


def test_handing_a_job_back_costs_no_attempt(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_clock.advance(seconds=5)
    back = timed_store.run(jobs.hand_back, held)
    changed = {
        "status": JobStatus.PENDING,
        "ready": True,
        "max_attempts": held.max_attempts + 1,
        "updated_at": timed_clock.instant,
        "lease_token": None,
        "lease_expires_at": None,
    }
    assert columns_of(back) == columns_of(held) | changed
    assert columns_of(lasting_other.query(jobs.get, held.id)) == columns_of(back)
    assert story(timed_store, held.id) == [(1, "worker-1", "handed back")]


def test_a_job_handed_back_keeps_its_place_in_the_queue(
    timed_store: Store, timed_clock: SettableClock, held: Job
) -> None:
    timed_clock.advance(seconds=5)
    timed_store.run(jobs.hand_back, held, reason="SIGTERM")
    enqueue(timed_store, held.type)
    assert claim(timed_store, held.type, "worker-2").id == held.id
    assert story(timed_store, held.id) == [(1, "worker-1", "SIGTERM")]


@pytest.mark.parametrize("reason", [*BAD_TEXTS, *cases(nothing=None, empty="", blank=" \n")])
def test_an_invalid_reason_for_handing_a_job_back_is_refused(timed_store: Store, held: Job, reason: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.hand_back, held, reason=reason)
    assert caught.value.field == "reason"
