"""Values as other applications write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibeweaver_store import InvalidInput
from vibeweaver_store.importers.foreign_values import parse_time, read_flag, read_json, read_time

AT = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-01-13T10:00:00Z", AT),
        ("2025-01-13T10:00:00z", AT),
        ("2025-01-13t10:00:00+00:00", AT),
        ("2025-01-13 10:00:00+00:00", AT),
        ("2025-01-13T12:00:00+02:00", AT),
        ("2025-01-13T10:00:00.5Z", AT + timedelta(milliseconds=500)),
        ("2025-01-13T10:00:00.123456789+00:00", AT + timedelta(microseconds=123456)),
    ],
)
def test_a_foreign_time_in_rfc_3339_is_read(text: str, instant: datetime) -> None:
    assert parse_time(text) == instant
    assert read_time(text, field="at") == instant


def test_a_foreign_time_from_sqlites_datetime_is_utc() -> None:
    text = "2025-01-13 10:00:00"

    assert read_time(text, field="at") == AT
    with pytest.raises(ValueError, match="has no time zone"):
        parse_time(text)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", 5, 1736762400.0, True, b"2025-01-13T10:00:00Z", "2025-01-13", "10:00", "2025-01-13T10:00:00"),
        *("2025-13-01T10:00:00Z", "2025-01-13T25:00:00Z", "0000-01-01T00:00:00Z", " 2025-01-13T10:00:00Z", "now"),
        *("2025-01-13T10:00:00+25:00", "2025-01-13T10:00:00Z\n", "\uff12025-01-13T10:00:00Z", "2025-W03-1T10:00:00Z"),
    ],
)
def test_a_foreign_time_in_another_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_time(value, field="at")

    assert refused.value.field == "at"


@given(
    st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),  # noqa: DTZ001 - made aware below
    st.integers(-1439, 1439),
)
def test_any_instant_as_iso_text_is_read_as_a_foreign_time(at: datetime, offset: int) -> None:
    instant = at.replace(tzinfo=timezone(timedelta(minutes=offset)))

    assert read_time(instant.isoformat(), field="at") == instant


@pytest.mark.parametrize("value", [2, -1, None, "1", 1.0, b"1"])
def test_a_foreign_flag_is_0_or_1(value: Any) -> None:
    assert (read_flag(0, field="on"), read_flag(1, field="on")) == (False, True)
    with pytest.raises(InvalidInput, match="on: must be 0 or 1"):
        read_flag(value, field="on")


@pytest.mark.parametrize("value", ["", "{", "NaN", 5, None, "\udcff", '"\udcff"', b"\xff"])
def test_invalid_foreign_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_json(value, field="data")

    assert refused.value.field == "data"
