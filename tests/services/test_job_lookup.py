"""Looking jobs up: by id, listed by status, type and session, counted, with the attempts at them."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, cases
from tests.services.queue_steps import enqueue, ids
from tests.services.scene import make, make_many
from vibeweaver_store import InvalidInput, Job, JobStatus, NotFound, Store, jobs
from vibeweaver_store.paging import iterate
from vibeweaver_store.testing import EPOCH, JobAttemptFactory, JobFactory, SessionFactory, columns_of

FILTERS = [
    {name: value for name, value in zip(("status", "type", "session_id"), given, strict=True) if value}
    for given in product((None, "failed"), (None, "mix"), (None, "session"))
]
"""Every combination of a status, a type and a session."""


@pytest.fixture
def jobs_of_all_sorts(timed_store: Store, kind: str) -> list[Job]:
    """Jobs of two types and two sessions in every status, some of one age; the newest first."""
    sessions = [make(timed_store, SessionFactory).id for _ in range(2)]
    sorts = product(JobStatus, (f"{kind} mix", f"{kind} master"), (*sessions, None))
    each = [
        {"status": status, "type": of, "session_id": session, "created_at": EPOCH + timedelta(hours=n // 3)}
        for n, (status, of, session) in enumerate(sorts)
    ]
    made = make_many(timed_store, JobFactory, *each)
    return sorted(made, key=lambda job: (job.created_at, job.id), reverse=True)


def asked(made: list[Job], filters: dict[str, str]) -> tuple[dict[str, Any], list[Job]]:
    """A filter in terms of those jobs, and those that it lets through."""
    known = {
        "status": JobStatus.FAILED,
        "type": next(job.type for job in made if job.type.endswith("mix")),
        "session_id": next(job.session_id for job in made if job.session_id is not None),
    }
    wanted = {name: known[name] for name in filters}
    return wanted, [job for job in made if all(getattr(job, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_jobs_are_listed_newest_first_and_counted(
    timed_store: Store, jobs_of_all_sorts: list[Job], filters: dict[str, str]
) -> None:
    wanted, expected = asked(jobs_of_all_sorts, filters)
    ours = {job.id for job in jobs_of_all_sorts}
    found = list(
        iterate(lambda cursor: timed_store.query(jobs.page, **wanted, limit=1000 if not filters else 2, cursor=cursor))
    )
    assert ids([job for job in found if job.id in ours]) == ids(expected)
    assert timed_store.query(jobs.count, **wanted) == len(found)


def test_a_page_of_jobs_is_one_statement(timed_store: Store) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.query(jobs.page, status="failed")
    assert len(sent) == 1


def test_a_jobs_cursor_of_other_filters_is_refused(timed_store: Store, kind: str) -> None:
    for _ in range(2):
        enqueue(timed_store, kind)
    cursor = timed_store.query(jobs.page, type=kind, limit=1).next_cursor
    others: list[dict[str, Any]] = [{}, {"status": "failed"}, {"session_id": kind}, {"type": kind, "status": "pending"}]
    for filters in others:
        with pytest.raises(InvalidInput, match="cursor"):
            timed_store.query(jobs.page, **filters, cursor=cursor)


def test_active_jobs_of_a_session_are_the_unfinished_ones_oldest_first(
    timed_store: Store, jobs_of_all_sorts: list[Job]
) -> None:
    wanted, ours = asked(jobs_of_all_sorts, {"session_id": ""})
    active = [job for job in reversed(ours) if job.status in {JobStatus.PENDING, JobStatus.PROCESSING}]
    key = wanted["session_id"]
    found = list(iterate(lambda cursor: timed_store.query(jobs.active_for_session, key, limit=3, cursor=cursor)))
    assert ids(found) == ids(active)


def test_a_missing_session_has_no_active_jobs(timed_store: Store) -> None:
    assert timed_store.query(jobs.active_for_session, "nowhere").items == []


def test_a_job_is_found_by_its_id(timed_store: Store, kind: str) -> None:
    job = enqueue(timed_store, kind)
    assert columns_of(timed_store.query(jobs.get, job.id)) == columns_of(job)
    assert timed_store.query(jobs.find, job.id) is not None


def test_a_missing_job_is_not_found(lasting_store: Store) -> None:
    assert lasting_store.query(jobs.find, "nowhere") is None
    with pytest.raises(NotFound) as caught:
        lasting_store.query(jobs.get, "nowhere")
    assert (caught.value.entity, caught.value.key) == ("job", "nowhere")


def test_attempts_of_a_job_are_listed_in_order(timed_store: Store, kind: str) -> None:
    job = make(timed_store, JobFactory, type=kind, status=JobStatus.COMPLETED, attempts=3)
    other = make(timed_store, JobFactory, type=kind, status=JobStatus.COMPLETED)
    made = make_many(timed_store, JobAttemptFactory, *[{"attempt": n} for n in (3, 1, 2)], job_id=job.id)
    make(timed_store, JobAttemptFactory, job_id=other.id)
    found = timed_store.query(jobs.attempts, job.id)
    assert [columns_of(each) for each in found] == [columns_of(made[n]) for n in (1, 2, 0)]
    assert timed_store.query(jobs.attempts, "nowhere") == []


# Bad input


@pytest.mark.parametrize("operation", [jobs.get, jobs.find, jobs.attempts])
@pytest.mark.parametrize("job_id", [*BAD_IDS, *cases(nothing=None)])
def test_a_job_lookup_by_an_invalid_id_is_refused(lasting_store: Store, operation: Any, job_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, job_id)
    assert caught.value.field == "job_id"


@pytest.mark.parametrize("operation", [jobs.page, jobs.count])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("status", value) for value in ("broken", "", 1, True)],
        *[("type", case.values[0]) for case in BAD_NAMES if case.values[0] is not None],
        *[("session_id", case.values[0]) for case in BAD_IDS],
    ],
)
def test_an_invalid_filter_of_jobs_is_refused(lasting_store: Store, operation: Any, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, **{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("session_id", [*BAD_IDS, *cases(nothing=None)])
def test_active_jobs_of_an_invalid_session_id_are_refused(lasting_store: Store, session_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(jobs.active_for_session, session_id)
    assert caught.value.field == "session_id"
