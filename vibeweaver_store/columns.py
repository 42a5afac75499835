"""The column types that all tables share, and the Python types that validate what goes into them.

The SQL types come in two spellings: one that SQLite's ``STRICT`` tables accept (``INTEGER``, ``REAL``, ``TEXT``,
``BLOB``) and PostgreSQL's own (``BIGINT``, ``DOUBLE PRECISION``, ``TIMESTAMPTZ``, ``JSONB``, ``BYTEA``). Migrations
name these types, so the stored form of a type never changes once it landed: a new form is a new type.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeAlias, TypeVar

import sqlalchemy as sa
import uuid_utils
from pydantic import AfterValidator, BeforeValidator, Field, Strict, TypeAdapter, ValidationError
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine

from vibeweaver_store.errors import CorruptData, InvalidInput
from vibeweaver_store.json_values import FrozenDict, check_text, dump_json, freeze, shown
from vibeweaver_store.stored_forms import (
    Reader,
    enum_reader,
    read_by_column,
    read_document,
    read_flag,
    read_json,
    read_time,
    write_enum,
    write_json,
    write_time,
)
from vibeweaver_store.validation import explain

_MAX_INTEGER = 2**63 - 1

DocumentT = TypeVar("DocumentT")
StrEnumT = TypeVar("StrEnumT", bound=enum.StrEnum)
IntEnumT = TypeVar("IntEnumT", bound=enum.IntEnum)


def new_id() -> str:
    """Return a new text id: a UUIDv7, whose text order is the order of making (RFC 9562)."""
    return str(uuid_utils.uuid7())


# --- Python types: what a value must be before it reaches a column ---------------------------------------------


def _check_not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _at_most(limit: int) -> Callable[[str], str]:
    """In bytes: names are indexed, and PostgreSQL takes 2,704 bytes of an index row."""

    def check(value: str) -> str:
        if len(value.encode()) > limit:
            raise ValueError(f"must be at most {limit:,} bytes long")
        return value

    return check


def _to_utc(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise ValueError("must be a datetime")  # noqa: TRY004 - pydantic reads ValueError
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("must have a time zone; a naive datetime does not say when")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999 in UTC") from None


Text: TypeAlias = Annotated[str, Strict(), AfterValidator(check_text)]
"""Any text that both backends can hold: no NUL, no lone surrogate. May be empty."""
Name: TypeAlias = Annotated[Text, AfterValidator(_at_most(1000)), AfterValidator(_check_not_blank)]
"""Text of 1 to 1,000 bytes in UTF-8 that is not blank."""
Id: TypeAlias = Annotated[Text, AfterValidator(_at_most(200)), AfterValidator(_check_not_blank)]
"""The text key of an entity: 1 to 200 bytes in UTF-8, not blank."""
PathText: TypeAlias = Annotated[Text, AfterValidator(_at_most(2000)), AfterValidator(_check_not_blank)]
"""A path of a file system, here or elsewhere: 1 to 2,000 bytes in UTF-8, not blank."""
NotBlank: TypeAlias = Annotated[Text, AfterValidator(_check_not_blank)]
"""Text of any length that is not blank."""
Utc: TypeAlias = Annotated[datetime, BeforeValidator(_to_utc)]
"""An instant; anything with a time zone is taken and turned into UTC."""
FiniteFloat: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""A number that is neither NaN nor infinite; an ``int`` is taken, text is not."""
BeatPosition: TypeAlias = Annotated[FiniteFloat, Field(ge=0)]
"""A place on a session's timeline, in beats from its start; finite and >= 0."""
Seconds: TypeAlias = Annotated[FiniteFloat, Field(ge=0)]
"""A length of time, in seconds; finite and >= 0."""
Count: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=_MAX_INTEGER)]
"""A whole number from 0."""
StrictBool: TypeAlias = Annotated[bool, Strict()]


def _freeze_object(value: object) -> FrozenDict:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - pydantic reads ValueError
    frozen: FrozenDict = freeze(value)
    return frozen


JsonDocument: TypeAlias = Annotated[Any, BeforeValidator(freeze)]
"""Any JSON value; what is handed out cannot be edited in place."""
JsonObject: TypeAlias = Annotated[Any, BeforeValidator(_freeze_object)]
"""A JSON object; what is handed out cannot be edited in place."""


# --- SQL types -------------------------------------------------------------------------------------------------

TEXT = sa.Text()
REAL: TypeEngine[float] = sa.REAL().with_variant(sa.Double(), "postgresql")
INTEGER = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")
BLOB = sa.LargeBinary().with_variant(sa.BLOB(), "sqlite")


class Flag(TypeDecorator[bool]):
    """True or false; 0 or 1 on SQLite, whose ``STRICT`` tables have no boolean."""

    impl = sa.Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.INTEGER() if dialect.name == "sqlite" else sa.Boolean())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> Any:
        if value is not None and not isinstance(value, bool):
            raise InvalidInput(f"must be true or false (got {shown(value)})")
        return value

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader | None:
        return read_flag if dialect.name == "sqlite" else None

    def written(self, dialect: Dialect) -> Reader | None:
        return None


class UtcDateTime(TypeDecorator[datetime]):
    """An instant with a time zone, in UTC.

    On SQLite it is ISO 8601 text of fixed width (``2026-11-20T18:04:05.000123Z``), so that text order is time order.
    A naive datetime is refused.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            instant = _to_utc(value)
        except ValueError as error:
            raise InvalidInput(f"a time {error} (got {shown(value)})") from error
        return instant if dialect.name == "postgresql" else write_time(instant)

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader | None:
        return read_time

    def written(self, dialect: Dialect) -> Reader | None:
        return None if dialect.name == "postgresql" else write_time


class _Now(sa.ColumnElement[datetime]):
    """The present instant in the stored form of :class:`UtcDateTime`; on SQLite, to the millisecond."""

    inherit_cache = True
    type = UtcDateTime()


@compiles(_Now, "sqlite")
def _now_on_sqlite(_element: _Now, _compiler: Any, **_: Any) -> str:
    return "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"


@compiles(_Now)
def _now_elsewhere(_element: _Now, _compiler: Any, **_: Any) -> str:
    return "CURRENT_TIMESTAMP"


NOW = _Now()
"""The default of a column that the database itself fills in; the package's own rows bring ``uow.now()``."""


class OptionalText(TypeDecorator[str]):
    """Text or ``None``, which is stored as an empty text: so it has one place in every order and in every index."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str:
        return "" if value is None else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return value or None


class EnumText(TypeDecorator[StrEnumT]):
    """A closed vocabulary, stored as its value. The table adds the CHECK: see :func:`one_of`."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, vocabulary: type[StrEnumT]) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(parse_enum(self.vocabulary, value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader | None:
        return enum_reader(self.vocabulary)

    def written(self, dialect: Dialect) -> Reader | None:
        return write_enum


class EnumInteger(TypeDecorator[IntEnumT]):
    """A closed vocabulary with an order, stored as its number. The table adds the CHECK."""

    impl = sa.SmallInteger
    cache_ok = True

    def __init__(self, vocabulary: type[IntEnumT]) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.INTEGER() if dialect.name == "sqlite" else sa.SmallInteger())

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return None if value is None else int(parse_enum(self.vocabulary, value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader | None:
        return enum_reader(self.vocabulary)

    def written(self, dialect: Dialect) -> Reader | None:
        return write_enum


EnumT = TypeVar("EnumT", bound=enum.Enum)


def parse_enum(vocabulary: type[EnumT], value: object, *, field: str | None = None) -> EnumT:
    """Return the member of a vocabulary that a value names, by its value or by its name in any case.

    Args:
        vocabulary: the enumeration.
        value: what names the member.
        field: which argument it is of, for the error.

    Raises:
        InvalidInput: no member is called so; the message lists them.
    """
    if type(value) is vocabulary:
        return value
    if isinstance(value, str) and value.upper() in vocabulary.__members__:
        return vocabulary[value.upper()]
    known = {member.value: member for member in vocabulary}
    # True is 1 to a dict, and no priority.
    if isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):  # besides its values, a vocabulary may know other words: see enum's _missing_
            return known[value] if value in known else vocabulary(value)
    named = issubclass(vocabulary, enum.IntEnum)
    members = ", ".join(member.name.lower() if named else str(member.value) for member in vocabulary)
    raise InvalidInput(f"{field or vocabulary.__name__}: {shown(value)} is none of {members}", field=field)


def one_of(column: str, vocabulary: type[enum.StrEnum]) -> sa.CheckConstraint:
    """Return the CHECK that keeps a column within a vocabulary, named after the column."""
    values = ", ".join(f"'{member.value}'" for member in vocabulary)
    return sa.CheckConstraint(f"{column} IN ({values})", name=column)


class Json(TypeDecorator[Any]):
    """One JSON document: ``JSONB`` on PostgreSQL, text on SQLite. Read back, it refuses edits in place."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            document = freeze(value)
        except ValueError as error:
            raise InvalidInput(f"a document {error}") from error
        return document if dialect.name == "postgresql" else dump_json(document)

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader | None:
        return read_document if dialect.name == "postgresql" else read_json

    def written(self, dialect: Dialect) -> Reader | None:
        return self.load_dialect_impl(dialect).bind_processor(dialect) if dialect.name == "postgresql" else write_json


class UnionDocument(Json):
    """A pydantic discriminated union as one JSON document, validated on the way in and on the way out."""

    cache_ok = True

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        super().__init__()
        self.adapter = adapter
        self._read = _union_reader(adapter)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        document = None if value is None else self.adapter.dump_python(value, mode="json")
        return super().process_bind_param(document, dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader | None:
        return self._read

    def written(self, dialect: Dialect) -> Reader | None:
        write, dump = super().written(dialect), partial(self.adapter.dump_python, mode="json")
        return lambda value: None if value is None else write(dump(value)) if write else dump(value)


_LONGEST_KEPT = 2000
_MOST_KEPT = 4096


def _union_reader(adapter: TypeAdapter[Any]) -> Reader:
    """Return what reads the documents of a union; that of one text is one object, which cannot be edited."""
    known: dict[Any, Any] = {None: None}

    def read(value: Any) -> Any:
        if value is None:
            return None
        text = value if isinstance(value, str) else dump_json(value)
        variant = known.get(text) or _variant(adapter, text)
        if len(text) <= _LONGEST_KEPT:
            if len(known) > _MOST_KEPT:
                known.clear()
            known[text] = variant
        return variant

    def read_column(values: Sequence[Any]) -> list[Any]:
        try:
            return [known[value] for value in values]
        except (KeyError, TypeError):  # it is new, or a document that the driver has read
            return [read(value) for value in values]

    read_by_column(read, read_column)
    return read


def _variant(adapter: TypeAdapter[Any], text: str) -> Any:
    try:
        return adapter.validate_python(read_json(text))
    except ValidationError as error:
        raise CorruptData(f"a stored document is not valid: {explain(error)}") from error
