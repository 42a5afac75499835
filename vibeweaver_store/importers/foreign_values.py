"""Values as other applications write them: times, flags and JSON documents as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

import orjson
from pydantic import BeforeValidator

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_OF_SQLITE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", re.ASCII)


def parse_time(value: object) -> datetime:
    """Return the instant that a text in RFC 3339 names, digits beyond microseconds cut off.

    Raises:
        ValueError: it is no such text, or has no time zone.
    """
    text = value.upper() if isinstance(value, str) else ""
    if _RFC_3339.fullmatch(text):
        return datetime.fromisoformat(text)
    if _OF_SQLITE.fullmatch(text.replace("T", " ")):
        raise ValueError("has no time zone, and so does not say when")
    raise ValueError("must be a time as 2026-01-13T10:00:00Z")


Instant: TypeAlias = Annotated[datetime, BeforeValidator(parse_time)]
"""A time in a JSON document, as text."""


def read_time(value: object, *, field: str) -> datetime:
    """Return the instant that a column of an SQLite database names: RFC 3339, or what ``datetime('now')`` gives.

    The latter has no time zone; by SQLite's definition it is UTC.

    Raises:
        InvalidInput: it is neither.
    """
    try:
        if isinstance(value, str) and _OF_SQLITE.fullmatch(value):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        return parse_time(value)
    except ValueError as error:
        raise InvalidInput(f"{field}: {error} (got {shown(value)})", field=field) from error


def read_flag(value: object, *, field: str) -> bool:
    """Return a column that is 0 or 1 as false or true.

    Raises:
        InvalidInput: it is neither.
    """
    if isinstance(value, int) and value in {0, 1}:
        return bool(value)
    raise InvalidInput(f"{field}: must be 0 or 1 (got {shown(value)})", field=field)


def read_json(value: object, *, field: str) -> Any:
    """Return the document that a column holds as JSON.

    Raises:
        InvalidInput: it is no text, or no JSON.
    """
    if not isinstance(value, str | bytes):
        raise InvalidInput(f"{field}: must be JSON (got {shown(value)})", field=field)
    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{field}: is no JSON: {error} (got {shown(value)})", field=field) from error


def read_optional(read: Callable[..., Any], value: object, *, field: str) -> Any:
    """Return what ``read`` makes of a value; ``None`` where there is none.

    Raises:
        InvalidInput: the value is refused.
    """
    return None if value is None else read(value, field=field)
