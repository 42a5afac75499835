"""The form in which values stand in a database: how drivers' values are read, and ours are written.

Each takes one value, ``None`` included. They are what column types and hot statements go by; values that are written
have been validated before.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar

import orjson

from vibeweaver_store.errors import CorruptData
from vibeweaver_store.json_values import FrozenDict, JsonText, dump_json, frozen_copy, load_json

Reader: TypeAlias = Callable[[Any], Any]
"""What turns a value of a driver into ours, or the other way round."""

ColumnReader: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]
"""What turns the values of a column of several rows into ours: one call for all of them."""

EnumT = TypeVar("EnumT", bound=enum.Enum)


def read_flag(value: Any) -> bool | None:
    """Return a flag, which SQLite has as a number."""
    return None if value is None else bool(value)


def write_time(value: datetime | None) -> str | None:
    """Return an instant in UTC as SQLite has it: ISO 8601 text of fixed width."""
    return None if value is None else value.isoformat(timespec="microseconds")[:-6] + "Z"


def read_time(value: Any) -> datetime | None:
    """Return an instant in UTC. A text without a zone is in UTC: SQLite's ``datetime('now')`` writes such.

    Raises:
        CorruptData: the text is none.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise CorruptData(f"{value!r} is not a stored time") from error
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


@cache
def enum_reader(vocabulary: type[EnumT]) -> Reader:
    """Return what reads the members of a vocabulary by their values.

    Raises:
        CorruptData: on reading a value that no member has.
    """
    # By value alone: another word for a member is read on the way in, and never stored.
    members: dict[Any, EnumT | None] = {None: None, **{member.value: member for member in vocabulary}}

    def read(value: Any) -> EnumT | None:
        try:
            return members[value]
        except (KeyError, TypeError) as error:
            raise CorruptData(f"{value!r} is no {vocabulary.__name__}") from error

    def read_column(values: Sequence[Any]) -> list[EnumT | None]:
        try:
            return [members[value] for value in values]
        except (KeyError, TypeError):
            return [read(value) for value in values]  # which tells of the one that is none

    read_by_column(read, read_column)
    return read


def write_enum(value: enum.Enum | None) -> Any:
    """Return the value of a member."""
    return None if value is None else value.value


def read_json(text: Any) -> Any:
    """Return the document that a text holds, frozen.

    Raises:
        CorruptData: the text is not JSON.
    """
    return None if text is None else read_document(load_json(text))


def read_document(document: Any) -> Any:
    """Return a document that a driver has read, frozen.

    Raises:
        CorruptData: it is nested too deep.
    """
    try:
        return frozen_copy(document)
    except RecursionError as error:
        raise CorruptData("a stored document is nested too deep") from error


def write_json(document: Any) -> str | None:
    """Return a document as text."""
    return document if document is None or type(document) is JsonText else dump_json(document)


# --- whole columns: the same, at a fraction of the time a value -----------------------------------------------------


def column_reader(read: Reader) -> ColumnReader:
    """Return what reads a column of values that one of the above reads one by one."""
    return _COLUMN_READERS.get(read) or partial(_read_each, read)


def read_by_column(read: Reader, read_column: ColumnReader) -> None:
    """Have columns of values that one reads one by one be read by the other."""
    _COLUMN_READERS[read] = read_column


def _read_each(read: Reader, values: Sequence[Any]) -> list[Any]:
    return [read(value) for value in values]


def _read_flags(values: Sequence[Any]) -> list[bool | None]:
    return [None if value is None else bool(value) for value in values]


def _read_times(values: Sequence[Any]) -> list[datetime | None]:
    parse = datetime.fromisoformat
    try:
        # What ends with Z is as we write it.
        return [None if value is None else parse(value) if value[-1] == "Z" else read_time(value) for value in values]
    except (TypeError, ValueError, LookupError):
        return [read_time(value) for value in values]  # which tells of the one that is none


def _read_documents(texts: Sequence[Any]) -> list[Any]:
    try:
        # One array of all of them, which orjson reads in two thirds of the time. The numbers between them are where
        # they were, unless a text is no document by itself.
        joined = orjson.loads(f"[{',0,'.join(['null' if text is None else text for text in texts])}]")
        if joined[1::2] == [0] * (len(texts) - 1):
            return [_frozen(text, document) for text, document in zip(texts, joined[::2], strict=True)]
    except (TypeError, ValueError, RecursionError):
        pass
    return [read_json(text) for text in texts]  # which tells of the one that is none


def _frozen(text: str, document: Any) -> Any:
    # Most are objects that hold no other: the text tells without a look at each value.
    if type(document) is dict and "[" not in text and text.find("{", 1) < 0:
        return FrozenDict(document)
    return frozen_copy(document)


_COLUMN_READERS: dict[Reader, ColumnReader] = {
    read_flag: _read_flags,
    read_time: _read_times,
    read_json: _read_documents,
}
