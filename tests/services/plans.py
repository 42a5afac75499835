"""What a database intends to do: the statements that a store sends, with their values, and the plan of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from vibeweaver_store import Store


@dataclass(frozen=True)
class Sent:
    """One statement as the driver gets it."""

    statement: str
    parameters: Any


@contextmanager
def recorded(store: Store) -> Iterator[list[Sent]]:
    """The statements that a store sends with their values, without BEGIN, COMMIT and savepoints."""
    sent: list[Sent] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
            sent.append(Sent(statement, parameters))

    engines = {id(engine.pool): engine for engine in (store._engines.read, store._engines.write)}.values()
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    try:
        yield sent
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", record)


def sqlite_plan(store: Store, sent: Sent) -> list[str]:
    """The steps of SQLite's plan, ``SEARCH rules USING INDEX …`` say."""
    with store._engines.read.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent.statement}", sent.parameters)
        return [row.detail for row in rows]


def postgresql_plan(store: Store, sent: Sent) -> dict[str, Any]:
    """The root of PostgreSQL's plan; the steps below it are in ``Plans``."""
    with store._engines.read.connect() as connection:
        ((found,),) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sent.statement}", sent.parameters)
    root: dict[str, Any] = found[0]["Plan"]
    return root


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A step of PostgreSQL's plan and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from steps(below)


def indexes_of(store: Store, sent: Sent) -> list[str]:
    """The indexes that a statement goes by, on either backend."""
    if store.backend == "sqlite":
        # Of several that are put together, as OR does it, each has a step that numbers it: INDEX 1. A list that is
        # bound as one value is a table by itself: VIRTUAL TABLE INDEX.
        plan = [step for step in sqlite_plan(store, sent) if "VIRTUAL TABLE" not in step]
        words = [step.split() for step in plan if not step.startswith("INDEX ")]
        return [each[each.index("INDEX") + 1] for each in words if "INDEX" in each]
    found = steps(postgresql_plan(store, sent))
    return [step["Index Name"] for step in found if "Index Name" in step]
