"""What every table class is: a SQLModel with metadata, naming convention and validation of its own."""

from __future__ import annotations

import enum
from typing import Any, Self, TypeVar, cast

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

from vibeweaver_store.columns import NOW, UtcDateTime
from vibeweaver_store.models.row_validation import remember_validated, validate_when_flushed
from vibeweaver_store.validation import explain

T = TypeVar("T")

NAMING = {
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""How constraints are named; messages and migrations go by it. Indexes are ``ix_TABLE_WHAT_IT_SERVES``."""

STRICT = {"sqlite_strict": True}
"""Table options: SQLite checks the type of every value, as PostgreSQL does."""

LOG = {**STRICT, "sqlite_autoincrement": True}
"""Table options of a log: besides, an integer key is never given twice, even after the newest row was deleted."""


class Base(SQLModel, registry=registry(metadata=sa.MetaData(naming_convention=NAMING))):
    """The root of the table classes; apart from ``SQLModel.metadata``, which belongs to the application."""

    @classmethod
    def build(cls, **values: Any) -> Self:
        """Make a new row from values, validated (a table class validates nothing when it is called).

        Raises:
            InvalidInput: a value is refused; the message names its field.
        """
        try:
            row = cls.model_validate(values)
        except ValidationError as error:
            raise explain(error) from error
        remember_validated(row)
        return row

    def check_row(self) -> None:
        """Check that the values of this row fit together; called before the row is written, after each value alone.

        Table classes override it where one column follows from others.

        Raises:
            InvalidInput: a value contradicts another; ``field`` names it.
        """


validate_when_flushed(Base)


def column(sa_type: TypeEngine[Any] | type[TypeEngine[Any]], **options: Any) -> Any:
    """Return a SQLModel field that is stored with one of the types of :mod:`vibeweaver_store.columns`."""
    return Field(sa_type=cast("type[Any]", sa_type), **options)


def made_now() -> Any:
    """Return the field of an instant that the database fills in where a raw insert leaves it out."""
    return column(UtcDateTime, sa_column_kwargs={"server_default": NOW})


def with_default(sa_type: TypeEngine[Any] | type[TypeEngine[Any]], default: Any, **options: Any) -> Any:
    """Return a field with the same default in a new row and in the database, for raw inserts that leave it out."""
    text = sa.true() if default is True else sa.false() if default is False else str(default)
    if isinstance(default, enum.IntEnum):
        text = str(int(default))
    return column(sa_type, default=default, sa_column_kwargs={"server_default": text}, **options)


def explicit(sa_type: TypeEngine[T]) -> TypeEngine[T]:
    """Return a type whose ``None`` is written as NULL, where the ORM would leave the column to its default."""
    return sa_type.evaluates_none()


def belongs_to(parent: str, sa_type: TypeEngine[Any], **options: Any) -> Any:
    """Return a field that refers to ``table.column`` and goes away with the row that it refers to."""
    return column(sa_type, foreign_key=parent, ondelete="CASCADE", **options)


def partial_index(name: str, *columns: Any, where: str, unique: bool = False) -> sa.Index:
    """Return an index of the rows of a table for which a condition holds, which both backends read alike.

    SQLite uses it only where the text of a query implies the condition: ``IS NULL`` does, a bound value does not.
    """
    condition = sa.text(where)
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def flag_index(name: str, *columns: Any, flag: str, is_set: bool) -> sa.Index:
    """Return an index of the rows of a table whose flag is set, or is not: SQLite has numbers there."""
    on_sqlite, on_postgresql = sa.text(f"{flag} = {int(is_set)}"), sa.text(f"{flag} = {str(is_set).lower()}")
    return sa.Index(name, *columns, sqlite_where=on_sqlite, postgresql_where=on_postgresql)
