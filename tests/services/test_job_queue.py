"""Enqueuing jobs (seed 004: createJob): one or many, for now or later, once for a unique key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, UNPRINTABLE, VERBATIM, any_text, cases
from tests.services.queue_steps import claimed, enqueue, ids
from tests.services.scene import dump, make
from vibeweaver_store import AlreadyExists, InvalidInput, JobStatus, NotFound, Store, jobs, sessions
from vibeweaver_store.testing import SessionFactory, SettableClock, columns_of

MINUTE = timedelta(minutes=1)


def test_a_new_job_is_pending_and_ready(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, kind: str
) -> None:
    enqueued = timed_store.run(jobs.enqueue, kind, {"bar": 8})
    job = enqueued.job
    assert enqueued.new
    assert (job.type, job.data, job.status, job.ready) == (kind, {"bar": 8}, JobStatus.PENDING, True)
    assert (job.priority, job.attempts, job.max_attempts) == (0, 0, 3)
    assert (job.scheduled_at, job.created_at, job.updated_at) == (timed_clock.instant,) * 3
    assert (job.started_at, job.completed_at, job.error, job.result, job.progress) == (None,) * 5
    assert (job.session_id, job.unique_key, job.lease_token, job.lease_expires_at, job.worker_id) == (None,) * 5
    assert columns_of(lasting_other.query(jobs.get, job.id)) == columns_of(job)


def test_a_job_is_kept_as_it_was_given(timed_store: Store, lasting_other: Store, kind: str) -> None:
    session = make(timed_store, SessionFactory)
    job = enqueue(
        timed_store,
        kind,
        ["a", 1],
        priority=-5,
        max_attempts=9,
        unique_key="chorus",
        session_id=session.id,
        job_id=f"own {kind}"[:40],
        scheduled_at=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )
    found = lasting_other.query(jobs.get, f"own {kind}"[:40])
    assert columns_of(found) == columns_of(job)
    assert (found.priority, found.max_attempts, found.unique_key, found.session_id) == (-5, 9, "chorus", session.id)
    assert (found.scheduled_at.year, found.ready) == (9999, False)


def test_a_job_is_committed_or_rolled_back_with_its_unit_of_work(
    timed_store: Store, lasting_other: Store, kind: str
) -> None:
    with pytest.raises(RuntimeError), timed_store.begin() as uow:
        session = sessions.create(uow, name="late set")
        job = jobs.enqueue(uow, kind, session_id=session.id).job
        raise RuntimeError
    assert lasting_other.query(jobs.find, job.id) is None


def test_enqueuing_a_job_is_one_statement_and_one_more_for_its_session(timed_store: Store, kind: str) -> None:
    session = make(timed_store, SessionFactory)
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.enqueue, kind)
    assert len(sent) == 1
    with recorded_statements(timed_store) as sent:
        timed_store.run(jobs.enqueue, kind, session_id=session.id)
    assert len(sent) == 2


# Data


@pytest.mark.parametrize("text", VERBATIM)
def test_job_texts_are_kept_verbatim(timed_store: Store, lasting_other: Store, kind: str, text: str) -> None:
    job = enqueue(timed_store, kind, {text: [text]}, unique_key=text)
    found = lasting_other.query(jobs.get, job.id)
    assert (found.data, found.unique_key) == ({text: [text]}, text)


@pytest.mark.parametrize("data", [None, 0, False, "", [], {}, 1e16, 1e300, -1.7976931348623157e308, 5e-324, 2**63 - 1])
def test_job_data_is_any_json(timed_store: Store, lasting_other: Store, kind: str, data: Any) -> None:
    found = lasting_other.query(jobs.get, enqueue(timed_store, kind, data).id).data
    assert (type(found), found) == (type(data), data) or found == data == [] or found == data == {}


@given(
    data=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), any_text),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(any_text, inner, max_size=3)),
        max_leaves=8,
    ).filter(lambda data: "inf" not in repr(data))
)
@settings(max_examples=15)
def test_any_json_of_job_data_is_read_back(timed_store: Store, lasting_other: Store, kind: str, data: Any) -> None:
    assert lasting_other.query(jobs.get, enqueue(timed_store, kind, data).id).data == data


@pytest.mark.parametrize(
    "data",
    cases(
        nan=float("nan"),
        infinity=float("inf"),
        a_set={1},
        bytes=b"",
        a_key_of_numbers={1: 2},
        too_great=2**63,
        nul="\x00",
        a_lone_surrogate=["\ud800"],
        unprintable=UNPRINTABLE,
    ),
)
def test_job_data_that_is_not_json_is_refused(timed_store: Store, kind: str, data: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        enqueue(timed_store, kind, data)
    assert caught.value.field == "data"


# Later


def test_a_job_scheduled_for_later_is_not_ready(timed_store: Store, timed_clock: SettableClock, kind: str) -> None:
    at = timed_clock.instant + MINUTE
    scheduled, delayed = enqueue(timed_store, kind, scheduled_at=at), enqueue(timed_store, kind, delay=MINUTE)
    assert [(job.scheduled_at, job.ready) for job in (scheduled, delayed)] == [(at, False)] * 2


@pytest.mark.parametrize("ago", [timedelta(), MINUTE], ids=["now", "a minute ago"])
def test_a_job_already_due_is_ready(timed_store: Store, timed_clock: SettableClock, kind: str, ago: timedelta) -> None:
    assert enqueue(timed_store, kind, scheduled_at=timed_clock.instant - ago).ready is True
    assert enqueue(timed_store, kind, delay=timedelta()).ready is True


def test_a_job_with_both_scheduled_at_and_delay_is_refused(timed_store: Store, timed_clock: SettableClock) -> None:
    with pytest.raises(InvalidInput, match="either") as caught:
        enqueue(timed_store, "render", scheduled_at=timed_clock.instant, delay=MINUTE)
    assert caught.value.field == "delay"


@pytest.mark.parametrize(
    "delay", cases(below_zero=timedelta(microseconds=-1), longer_than_time=timedelta.max, seconds=60, text="60")
)
def test_an_invalid_job_delay_is_refused(timed_store: Store, delay: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        enqueue(timed_store, "render", delay=delay)
    assert caught.value.field == "delay"


@pytest.mark.parametrize("at", cases(naive=datetime(2026, 1, 1), text="2026-01-01T00:00:00Z", a_number=0))  # noqa: DTZ001
def test_an_invalid_scheduled_time_of_a_job_is_refused(timed_store: Store, at: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        enqueue(timed_store, "render", scheduled_at=at)
    assert caught.value.field == "scheduled_at"


# Unique keys


def test_a_unique_key_of_a_pending_job_returns_that_job(timed_store: Store, kind: str) -> None:
    first = enqueue(timed_store, kind, 1, unique_key="chorus")
    again = timed_store.run(jobs.enqueue, kind, 2, unique_key="chorus", priority=9)
    assert not again.new
    assert columns_of(again.job) == columns_of(first)


def test_a_unique_key_of_a_job_in_progress_is_taken(timed_store: Store, kind: str) -> None:
    job = claimed(timed_store, kind, unique_key="chorus")
    again = timed_store.run(jobs.enqueue, kind, unique_key="chorus")
    assert (again.new, again.job.id, again.job.status) == (False, job.id, JobStatus.PROCESSING)


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_unique_key_is_free_once_its_job_is_over(timed_store: Store, kind: str, end: str) -> None:
    job = claimed(timed_store, kind, unique_key="chorus", max_attempts=1)
    over: dict[str, Any] = {
        "complete": lambda: timed_store.run(jobs.complete, job),
        "fail": lambda: timed_store.run(jobs.fail, job, "it broke"),
        "cancel": lambda: timed_store.run(jobs.cancel, job.id),
    }
    over[end]()
    again = timed_store.run(jobs.enqueue, kind, unique_key="chorus")
    assert again.new
    assert again.job.id != job.id


def test_a_unique_key_is_taken_while_its_job_waits_for_a_retry(timed_store: Store, kind: str) -> None:
    job = claimed(timed_store, kind, unique_key="chorus")
    timed_store.run(jobs.fail, job, "it broke")
    assert not timed_store.run(jobs.enqueue, kind, unique_key="chorus").new


def test_a_unique_key_is_unique_per_job_type(timed_store: Store, kind: str) -> None:
    assert timed_store.run(jobs.enqueue, kind, unique_key="chorus").new
    assert timed_store.run(jobs.enqueue, f"{kind} too", unique_key="chorus").new


def test_jobs_without_a_unique_key_are_all_enqueued(timed_store: Store, kind: str) -> None:
    assert len({enqueue(timed_store, kind).id for _ in range(3)}) == 3


# Ids of one's own


def test_a_taken_job_id_is_refused_and_leaves_the_unit_of_work_usable(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind)
    with timed_store.begin() as uow:
        with pytest.raises(AlreadyExists) as caught:
            jobs.enqueue_many(uow, [jobs.NewJob(kind), jobs.NewJob(kind, job_id=job.id)])
        jobs.enqueue(uow, kind, "after")
    assert (caught.value.entity, caught.value.key) == ("job", job.id)
    assert timed_store.query(jobs.count, type=kind) == 2


def test_a_job_id_given_twice_is_refused_before_any_write(timed_store: Store, kind: str) -> None:
    with timed_store.begin() as uow, pytest.raises(AlreadyExists):
        jobs.enqueue_many(uow, [jobs.NewJob(kind, job_id="twice"), jobs.NewJob(kind, job_id="twice")])
    assert timed_store.query(jobs.count, type=kind) == 0


def test_a_taken_unique_key_takes_precedence_over_a_taken_job_id(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind, unique_key="chorus")
    again = timed_store.run(jobs.enqueue, kind, unique_key="chorus", job_id=job.id)
    assert (again.new, again.job.id) == (False, job.id)


# Many


def test_enqueue_many_returns_jobs_in_the_order_given(timed_store: Store, kind: str) -> None:
    given = [jobs.NewJob(kind, n, unique_key=f"{9 - n}" if n % 2 else None) for n in range(6)]
    enqueued = timed_store.run(jobs.enqueue_many, given)
    assert [(each.job.data, each.new) for each in enqueued] == [(n, True) for n in range(6)]


def test_enqueue_many_keeps_only_the_first_job_of_a_unique_key(timed_store: Store, kind: str) -> None:
    there = enqueue(timed_store, kind, "there", unique_key="c")
    given = [jobs.NewJob(kind, n, unique_key=key) for n, key in enumerate("abacb")]
    enqueued = timed_store.run(jobs.enqueue_many, given)
    assert [(each.job.data, each.new) for each in enqueued] == [
        (0, True),
        (1, True),
        (0, False),
        ("there", False),
        (1, False),
    ]
    assert enqueued[3].job.id == there.id


def test_enqueue_many_tells_unique_keys_of_different_types_apart(timed_store: Store, kind: str) -> None:
    given = [jobs.NewJob(f"{kind} {n}", unique_key="chorus") for n in range(120)]
    first, again = (timed_store.run(jobs.enqueue_many, given) for _ in range(2))
    assert [(each.job.id, each.new) for each in again] == [(each.job.id, False) for each in first]


def test_enqueue_many_takes_one_statement_per_batch(timed_store: Store, kind: str) -> None:
    with recorded_statements(timed_store) as sent:
        enqueued = timed_store.run(jobs.enqueue_many, [jobs.NewJob(kind, n) for n in range(1001)])
    assert len(sent) == 2
    assert len(set(ids([each.job for each in enqueued]))) == timed_store.query(jobs.count, type=kind) == 1001


def test_enqueue_many_of_no_jobs_sends_no_statement(timed_store: Store) -> None:
    with recorded_statements(timed_store) as sent:
        assert timed_store.run(jobs.enqueue_many, []) == []
    assert sent == []


@pytest.mark.parametrize("given", cases(no_list=5, text="render", types=["render"], jobs_of_another_kind=[{}]))
def test_enqueue_many_refuses_invalid_jobs(timed_store: Store, given: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        timed_store.run(jobs.enqueue_many, given)
    assert caught.value.field == "jobs"


# Bad input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("type", case.values[0]) for case in BAD_NAMES],
        *[(field, case.values[0]) for field in ("unique_key", "session_id", "job_id") for case in BAD_IDS],
        *[("priority", value) for value in (None, True, 1.0, "1", 2**31, -(2**31) - 1)],
        *[("max_attempts", value) for value in (None, True, 0, -1, 1.0, "1", 2**31)],
    ],
)
def test_an_invalid_value_of_a_job_is_refused_before_any_write(
    timed_store: Store, kind: str, field: str, value: Any
) -> None:
    values = {"type": kind, field: value}
    with timed_store.begin() as uow:
        with pytest.raises(InvalidInput) as caught:
            jobs.enqueue_many(uow, [jobs.NewJob(kind), jobs.NewJob(**values)])
        assert caught.value.field == field
    assert timed_store.query(jobs.count, type=kind) == 0


def test_a_job_of_a_missing_session_leaves_the_unit_of_work_usable(timed_store: Store, kind: str) -> None:
    with timed_store.begin() as uow:
        with pytest.raises(NotFound, match="nowhere") as caught:
            jobs.enqueue(uow, kind, session_id="nowhere")
        jobs.enqueue(uow, kind)
    assert caught.value.entity == "session"
    assert timed_store.query(jobs.count, type=kind) == 1


def test_a_refused_job_leaves_the_queue_as_it_was(timed_store: Store, lasting_other: Store) -> None:
    before = dump(lasting_other)["jobs"]
    for values in ({"priority": "high"}, {"delay": -1}, {"session_id": "nowhere"}):
        with pytest.raises((InvalidInput, NotFound)):
            enqueue(timed_store, "render", **values)
    assert dump(lasting_other)["jobs"] == before
