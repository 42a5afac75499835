"""What rows of another program have that has no place of its own here: kept in a session's attributes, and told."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson
import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.importers.foreign_database import ForeignRow
from vibeweaver_store.importers.nearest_words import WordT, read_word
from vibeweaver_store.importers.recorded import Part
from vibeweaver_store.importers.redaction import Redactor
from vibeweaver_store.importers.refreshing import Earlier
from vibeweaver_store.json_values import freeze, shown
from vibeweaver_store.models import Session
from vibeweaver_store.unit_of_work import UnitOfWork

T = TypeVar("T")

MAX_KEPT_BYTES: Final = 256 * 1024
"""How much is kept in one session's attributes, as JSON. Attributes come with every listing of sessions."""


@dataclass(slots=True)
class Kept:
    """What a session, and the rows that belong to it, have that has no place of its own here.

    Attributes:
        application: under which name it is kept in the session's attributes.
        redactor: strikes the secrets out of it.
        own: of the session itself, by column.
        rows: of what belongs to it, by table, the row's key and column.
        notes: what is to be told of it, each with how many rows.
        lost: what was left out because there was too much; likewise.
    """

    application: str
    redactor: Redactor
    own: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0

    def columns_of_session(self, row: ForeignRow) -> None:
        """Keep the columns of a session's row that have no place here."""
        for column, value in row.besides.items():
            if self._keep(self.own, row, column, value):
                self.notes[_told(row, column)] += 1

    def columns_of(self, row: ForeignRow) -> None:
        """Keep the columns of a row that belongs to the session, and that have no place here."""
        for column, value in row.besides.items():
            if self._keep_in_row(row, column, value):
                self.notes[_told(row, column)] += 1

    def word_of_session(self, row: ForeignRow, column: str, vocabulary: type[WordT]) -> WordT:
        """Return the member that a session's word comes nearest to; the word itself is kept where it is another one.

        Raises:
            InvalidInput: the column holds no text.
        """
        member, exact = read_word(vocabulary, row[column], field=column)
        if not exact:
            self._keep(self.own, row, column, row[column])
            self.notes[f"{row.table}.{column} {shown(row[column])} is read as {member}"] += 1
        return member

    def word_of(self, row: ForeignRow, column: str, vocabulary: type[WordT]) -> WordT:
        """Return the member that a word of a row comes nearest to, likewise.

        Raises:
            InvalidInput: the column holds no text.
        """
        member, exact = read_word(vocabulary, row[column], field=column)
        if not exact:
            self._keep_in_row(row, column, row[column])
            self.notes[f"{row.table}.{column} {shown(row[column])} is read as {member}"] += 1
        return member

    def value_of_session(self, row: ForeignRow, column: str, told: str) -> None:
        """Keep a value of a session that has no place here, and tell what became of it."""
        if self._keep(self.own, row, column, row[column]):
            self.notes[told] += 1

    def value_of(self, row: ForeignRow, column: str, told: str) -> None:
        """Keep a value of a row that is stored as another one, and tell what became of it."""
        self._keep_in_row(row, column, row[column])
        self.notes[told] += 1

    def _keep_in_row(self, row: ForeignRow, column: str, value: Any) -> bool:
        of_table = self.rows.setdefault(row.table, {})
        return self._keep(of_table.setdefault(str(row.key), {}), row, column, value)

    def _keep(self, place: dict[str, Any], row: ForeignRow, column: str, value: Any) -> bool:
        document = self.redactor.strike({column: kept_value(value)})
        size_bytes = len(orjson.dumps([str(row.key), document]))
        if self.size_bytes + size_bytes > MAX_KEPT_BYTES:
            self.lost[f"{row.table}.{column} was left out: it has no place here, and the session keeps too much"] += 1
            return False
        self.size_bytes += size_bytes
        place.update(document)
        return True

    def take_over(self, there: Session, *tables: str) -> None:
        """Take what was kept before of rows of the session, by the names of their tables."""
        before = there.attributes.get(self.application)
        for table in tables:
            if isinstance(before, Mapping) and isinstance(before.get(table), Mapping):
                self.rows[table] = {key: dict(values) for key, values in before[table].items()}
        self.size_bytes += len(orjson.dumps(self.rows))

    def within(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of the session with what was kept of it and of its rows so far."""
        return _with(attributes, self.application, {**self.own, **_full(self.rows)})

    def add_to(self, uow: UnitOfWork, part: Part, made: Session, earlier: Earlier | None) -> None:
        """Keep what rows of a session had in its attributes, beside what is there.

        Args:
            uow: the unit of work to write in.
            part: what the unit of work brings.
            made: the session as its source has it.
            earlier: the session that was there before, if it was; else ``made`` was written.
        """
        there = made.attributes if earlier is None else earlier.attributes
        attributes = _with(there, self.application, _full(self.rows), instead_of=self.rows)
        if attributes == there:
            return
        if earlier is not None:
            earlier.write(uow, part, {"attributes": attributes})
        else:  # nobody has seen it yet
            uow.exec(sa.update(Session).where(col(Session.id) == made.id).values(attributes=attributes))

    def drop(self, row: ForeignRow, column: str) -> None:
        """Keep a value of a row no more: it has a place by now."""
        self.rows.get(row.table, {}).get(str(row.key), {}).pop(column, None)

    def forget_notes(self) -> None:
        """Tell nothing of what was kept so far: it was kept before."""
        self.notes.clear()
        self.lost.clear()

    def tell(self, part: Part) -> None:
        """Tell of what was kept so far, and of what was left out; once."""
        part.notes.update(self.notes)
        part.lost.update(self.lost)
        self.notes.clear()
        self.lost.clear()


def lose_columns(part: Part, row: ForeignRow) -> None:
    """Tell of the columns of a row that have no place here, where there are no attributes to keep them in."""
    for column in row.besides:
        part.lost[f"{row.table}.{column} was left out: there is no place for it here"] += 1


def _told(row: ForeignRow, column: str) -> str:
    return f"{row.table}.{column} has no column here and is kept in the session's attributes"


def _full(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    kept = {table: {key: dict(values) for key, values in by_key.items() if values} for table, by_key in rows.items()}
    return {table: by_key for table, by_key in kept.items() if by_key}


def _with(
    attributes: Mapping[str, Any], application: str, kept: Mapping[str, Any], *, instead_of: Collection[str] = ()
) -> dict[str, Any]:
    """Return attributes with what is kept under an application's name, beside what the application itself has there.

    ``instead_of`` names what was kept there before and is not kept any more.
    """
    before = attributes.get(application, {})
    if not isinstance(before, Mapping):
        return _with(attributes, f"{application} columns", kept, instead_of=instead_of)
    now = {**{name: value for name, value in before.items() if name not in instead_of}, **kept}
    others = {name: value for name, value in attributes.items() if name != application}
    return {**others, application: now} if now else others


def kept_value(value: Any) -> Any:
    """Return a value of an SQLite column as JSON: a text that is a JSON object or array as that, bytes in base64."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        with suppress(ValueError):
            document = orjson.loads(value)
            freeze(document)
            return document
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):
            value.encode()
            return value.replace("\x00", "\ufffd")
        value = value.encode(errors="surrogateescape")
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
