"""What the checks of a database have in common: how one is made and told, and those of the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from vibeweaver_store import schema
from vibeweaver_store.errors import StoreBusy, StoreError
from vibeweaver_store.models import METADATA
from vibeweaver_store.sqlite_file import VERSION_TABLE
from vibeweaver_store.upkeep.comparison import differences, missing_checks

Verdict: TypeAlias = Literal["ok", "warning", "broken"]
Judgement: TypeAlias = tuple[Verdict, str] | tuple[Verdict, str, Mapping[str, int]]
"""A verdict, a sentence for people, and the numbers in it for programs."""

SubjectT = TypeVar("SubjectT")

MOST_LINES: Final = 20
"""How much a finding tells, where there could be more than anybody reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: a stable word for the check: ``integrity``, ``foreign_keys``, ``drift``, ...
        verdict: ``ok``; ``warning``, which is for somebody to look at; or ``broken``.
        said: a sentence for people.
        details: the numbers of it for programs, by name; empty for most checks.
    """

    name: str
    verdict: Verdict
    said: str
    details: Mapping[str, int] = field(default_factory=dict)


def made(name: str, judge: Callable[[SubjectT], Judgement], subject: SubjectT) -> Finding:
    """Make one check; that it could not be made is a finding as well."""
    try:
        return Finding(name, *judge(subject))
    except StoreBusy as error:
        return Finding(name, "warning", f"not checked: {error.message}")
    except StoreError as error:
        return Finding(name, "broken", error.message)
    except (OSError, SQLAlchemyError) as error:
        return Finding(name, "warning", f"not checked: {error}")


_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def told_size(count: int) -> str:
    """Return a number of bytes in the unit that suits it: 512 bytes, 1.5 MiB."""
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"


# --- the schema, on both backends ------------------------------------------------------------------------------


def of_schema(connection: Connection, checks: Mapping[str, Callable[[Connection], Judgement]]) -> Iterator[Finding]:
    """Yield what is found of the revision and, at head, of the tables; ``checks`` are those of one backend alone."""
    revision = made("revision", _revision, connection)
    yield revision
    if revision.verdict != "ok":
        yield Finding("drift", "warning", f"not checked: only tables at revision {schema.head()} can be compared")
        return
    for name, judge in {**checks, "checks": _checks, "drift": _drift}.items():
        yield made(name, judge, connection)


def _revision(connection: Connection) -> Judgement:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return "warning", "there are no tables yet; make them with: vibeweaver-store db upgrade"
    recorded = sa.select(sa.column("version_num", sa.Text)).select_from(sa.table(VERSION_TABLE))
    rows = connection.execute(recorded).scalars().all()
    ours = METADATA.tables.keys() & set(sa.inspect(connection).get_table_names())
    if len(rows) > 1 or (ours and not rows):
        return "broken", f"{VERSION_TABLE} has {len(rows)} rows instead of one: {', '.join(sorted(rows)) or 'none'}"
    found, head = next(iter(rows), None), schema.head()
    if found == head:
        return "ok", f"{found} (head)"
    if found is None or found in {known.number for known in schema.history()}:
        return "warning", f"{found or 'base'}, and the newest is {head}; go there with: vibeweaver-store db upgrade"
    return "broken", f"{found} is not known to this version of the package, whose newest is {head}"


def _checks(connection: Connection) -> Judgement:
    missing = missing_checks(connection)
    return ("broken", f"missing: {', '.join(missing)}") if missing else ("ok", "every CHECK that should be is there")


def _drift(connection: Connection) -> Judgement:
    found = list(islice(differences(connection), MOST_LINES))
    return ("broken", "; ".join(found)) if found else ("ok", "the tables are as the table classes say")
