"""How many jobs a prune would delete, told beforehand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from vibeweaver_store import InvalidInput, JobStatus, Store, jobs
from vibeweaver_store.testing import JobFactory

DAY = timedelta(days=1)


@pytest.fixture
def past(store: Store) -> None:
    """Jobs that ended long ago: one cancelled, two failed, three completed; and of each one that ended now."""
    ended = (JobStatus.CANCELLED, JobStatus.FAILED, JobStatus.COMPLETED)
    with store.begin() as uow:
        for number, status in enumerate(ended, 1):
            JobFactory.create_batch(number, uow=uow, status=status, completed_at=uow.now() - 2 * DAY)
            JobFactory.create(uow=uow, status=status, completed_at=uow.now())
        JobFactory.create(uow=uow)


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("older_than", "count"),
    [
        (DAY, 6),
        ({"failed": DAY}, 2),
        ({"failed": DAY, JobStatus.CANCELLED: DAY}, 3),
        ({"completed": 365 * DAY}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_the_count_of_prunable_jobs_equals_the_number_pruned(store: Store, older_than: Any, count: int) -> None:
    assert store.query(jobs.prunable, older_than) == count
    assert store.run(jobs.prune, older_than) == count
    assert store.query(jobs.prunable, older_than) == 0


@pytest.mark.parametrize("older_than", [{"pending": DAY}, {"asleep": DAY}, -DAY, 7, 10**6 * DAY], ids=str)
def test_counting_prunable_jobs_of_an_invalid_age_is_refused(store: Store, older_than: Any) -> None:
    with pytest.raises(InvalidInput, match="older_than"):
        store.query(jobs.prunable, older_than)
