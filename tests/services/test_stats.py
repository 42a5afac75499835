"""Generation stats: how long generating in a space takes, as exact sums."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.services.bad_input import BAD_NAMES, VERBATIM, any_name, cases
from vibeweaver_store import GenerationStats, InvalidInput, NotFound, Store, stats
from vibeweaver_store.columns import new_id
from vibeweaver_store.services.stats import MAX_DURATION_MS
from vibeweaver_store.testing import SettableClock, columns_of


def record_all(store: Store, space: str, durations: list[int]) -> GenerationStats:
    with store.begin() as uow:
        recorded = [stats.record(uow, space, duration_ms) for duration_ms in durations]
    return recorded[-1]


# Record


def test_the_first_sample_creates_the_stats_of_a_space(store: Store, other: Store, clock: SettableClock) -> None:
    store.run(stats.record, "drums", 1500)
    assert columns_of(other.query(stats.get, "drums")) == {
        "space": "drums",
        "sample_count": 1,
        "total_ms": 1500,
        "min_ms": 1500,
        "max_ms": 1500,
        "sum_of_squares_ms2": 1500.0**2,
        "last_ms": 1500,
        "updated_at": clock.instant,
    }


def test_further_samples_are_added_to_stats(store: Store, other: Store, clock: SettableClock) -> None:
    record_all(store, "drums", [1500, 500])
    clock.advance(seconds=1)
    store.run(stats.record, "drums", 1000)
    assert columns_of(other.query(stats.get, "drums")) == {
        "space": "drums",
        "sample_count": 3,
        "total_ms": 3000,
        "min_ms": 500,
        "max_ms": 1500,
        "sum_of_squares_ms2": 1500.0**2 + 500.0**2 + 1000.0**2,
        "last_ms": 1000,
        "updated_at": clock.instant,
    }


def test_recording_a_sample_returns_the_stats_as_stored(store: Store, other: Store) -> None:
    recorded = record_all(store, "drums", [1500, 500])
    assert columns_of(recorded) == columns_of(other.query(stats.get, "drums"))


def test_stats_of_spaces_are_kept_apart(store: Store, other: Store) -> None:
    for space in ("drums", "Drums", "drums "):
        store.run(stats.record, space, 100)
    assert [found.sample_count for found in other.query(stats.page).items] == [1, 1, 1]


@given(durations=st.lists(st.integers(0, 3_600_000), min_size=1, max_size=20))
def test_stats_sums_are_exact(lasting_store: Store, durations: list[int]) -> None:
    space = new_id()
    record_all(lasting_store, space, durations)
    found = lasting_store.query(stats.get, space)
    assert found.sample_count == len(durations)
    assert found.total_ms == sum(durations)
    assert (found.min_ms, found.max_ms, found.last_ms) == (min(durations), max(durations), durations[-1])
    assert found.sum_of_squares_ms2 == sum(duration**2 for duration in durations)


@given(durations=st.lists(st.integers(0, 3_600_000), min_size=1, max_size=20))
def test_the_average_of_stats_is_the_mean(lasting_store: Store, durations: list[int]) -> None:
    space = new_id()
    record_all(lasting_store, space, durations)
    assert lasting_store.query(stats.get, space).average_ms == pytest.approx(statistics.mean(durations), rel=1e-12)


@given(durations=st.lists(st.integers(0, 3_600_000), min_size=1, max_size=20))
@example([3_600_000, 3_600_000, 3_600_001])
@example([3_599_999] * 7)
def test_the_standard_deviation_of_stats_is_that_of_the_population(lasting_store: Store, durations: list[int]) -> None:
    space = new_id()
    record_all(lasting_store, space, durations)
    found = lasting_store.query(stats.get, space)
    # The sums are exact here (below 2**53), so that nothing need be lost in the difference of two large numbers.
    assert found.standard_deviation_ms == pytest.approx(statistics.pstdev(durations), rel=1e-9, abs=1e-9)


def test_the_longest_duration_of_a_stats_sample_is_kept(store: Store, other: Store) -> None:
    record_all(store, "patience", [MAX_DURATION_MS] * 3)
    found = other.query(stats.get, "patience")
    assert (found.total_ms, found.average_ms) == (3 * MAX_DURATION_MS, MAX_DURATION_MS)


@pytest.mark.parametrize("space", VERBATIM)
def test_stats_space_names_are_kept_verbatim(lasting_store: Store, space: str) -> None:
    lasting_store.run(stats.record, space, 100)
    assert lasting_store.query(stats.get, space).space == space


@given(space=any_name)
def test_stats_of_any_space_are_found_again(lasting_store: Store, space: str) -> None:
    lasting_store.run(stats.record, space, 100)
    assert lasting_store.query(stats.get, space).space == space


def test_the_longest_stats_space_name_is_kept(lasting_store: Store) -> None:
    # 1,000 bytes that do not compress, beside an id of 200: a B-tree of PostgreSQL holds 2,704 a row.
    space = "".join(chr(0x20000 + 7919 * n % 42_000) for n in range(250))
    lasting_store.run(stats.record, space, 100)
    assert lasting_store.query(stats.get, space).space == space


# Get, find and estimate


def test_getting_stats_of_an_unknown_space_names_it(lasting_store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.query(stats.get, "silence")
    assert (caught.value.entity, caught.value.key) == ("generation stats of space", "silence")


def test_finding_stats_of_an_unknown_space_returns_none(lasting_store: Store) -> None:
    assert lasting_store.query(stats.find, "silence") is None


def test_a_stats_estimate_is_the_average(store: Store, other: Store) -> None:
    record_all(store, "drums", [1000, 2001])
    assert other.query(stats.estimate, "drums") == 1500.5


def test_a_stats_estimate_of_an_unknown_space_is_five_seconds(lasting_store: Store) -> None:
    assert lasting_store.query(stats.estimate, "silence") == 5000.0


@pytest.mark.parametrize("default", [0, 250, 1e12])
def test_a_stats_estimate_can_have_another_default(lasting_store: Store, default: float) -> None:
    assert lasting_store.query(stats.estimate, "silence", default) == default


def test_a_stats_estimate_of_a_known_space_ignores_the_default(store: Store) -> None:
    store.run(stats.record, "drums", 0)
    assert store.query(stats.estimate, "drums", 250) == 0.0


# Page


def test_stats_are_paged_by_space_name(store: Store, other: Store) -> None:
    for space in ("strings", "bass", "drums"):
        store.run(stats.record, space, 100)
    assert [found.space for found in other.query(stats.page).items] == ["bass", "drums", "strings"]


def test_pages_of_stats_go_forward_and_back(store: Store, other: Store) -> None:
    for space in "edcba":
        store.run(stats.record, space, 100)
    first = other.query(stats.page, limit=2)
    second = other.query(stats.page, limit=2, cursor=first.next_cursor)
    back = other.query(stats.page, limit=2, cursor=second.previous_cursor)
    assert [found.space for found in first.items + second.items] == ["a", "b", "c", "d"]
    assert back.items == first.items


# Refusals


@pytest.mark.parametrize("space", BAD_NAMES)
@pytest.mark.parametrize(
    "operation",
    [lambda uow, space: stats.record(uow, space, 100), stats.get, stats.find, stats.estimate],
    ids=["record", "get", "find", "estimate"],
)
def test_an_invalid_stats_space_is_refused(lasting_store: Store, operation: Callable[..., object], space: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, space)
    assert caught.value.field == "space"


@pytest.mark.parametrize(
    "duration",
    cases(
        negative=-1,
        half=0.5,
        a_float=100.0,
        true=True,
        text="100",
        nothing=None,
        nan=float("nan"),
        too_long=MAX_DURATION_MS + 1,
    ),
)
def test_an_invalid_duration_of_a_stats_sample_is_refused(lasting_store: Store, duration: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(stats.record, "drums", duration)
    assert caught.value.field == "duration_ms"


@pytest.mark.parametrize("default", cases(negative=-1, nan=float("nan"), infinity=float("inf"), text="5", true=True))
def test_an_invalid_default_of_a_stats_estimate_is_refused(lasting_store: Store, default: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(stats.estimate, "silence", default)
    assert caught.value.field == "default_ms"
