"""Arenas to try things out on, and values that they refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.services.bad_input import NO_TEXT, cases
from vibeweaver_store import Instance, Store, arenas

TASK = "Implement user authentication"


def agent(name: str = "backend-developer", **values: Any) -> arenas.NewInstance:
    return arenas.NewInstance(
        **{"agent_name": name, "worktree_path": f"/srv/{name}", "branch": f"agent/{name}", **values}
    )


def create(store: Store, *new: arenas.NewInstance, **values: Any) -> arenas.WholeArena:
    return store.run(arenas.create_arena, "competition", TASK, None, instances=new, **values)


def move(store: Store, session_id: str, instance_id: int, *statuses: str) -> Instance:
    moved = [store.run(arenas.set_instance_status, session_id, instance_id, status) for status in statuses]
    return moved[-1]


def run_all(store: Store, session_id: str) -> None:
    for instance in store.query(arenas.instances, session_id):
        move(store, session_id, instance.instance_id, "running", "completed")


WRITES: dict[str, Callable[..., Instance]] = {
    "set_instance_status": lambda uow, key, n: arenas.set_instance_status(uow, key, n, "running"),
    "record_diff": lambda uow, key, n: arenas.record_diff(uow, key, n, files_changed=1, lines_added=1, lines_deleted=1),
    "set_output": lambda uow, key, n: arenas.set_output(uow, key, n, "Done."),
}

BAD_TASKS = cases(**NO_TEXT, nothing=None, empty="", blank=" \t\n")
BAD_COUNTS = cases(below_zero=-1, a_float=1.0, text="1", true=True, too_great=2**63)
BAD_DIFFS = [*BAD_COUNTS, *cases(more_than_the_most=arenas.MAX_DIFF + 1)]
BAD_TIMES = cases(naive=datetime(2026, 1, 1), text="2026-01-01T00:00:00Z", a_number=0)  # noqa: DTZ001


def fields(**bad: list[Any]) -> list[Any]:
    """Parameters: a field, and a value that it refuses."""
    return [pytest.param(field, each.values[0], id=f"{field}: {each.id}") for field in bad for each in bad[field]]


def but(bad: list[Any], *names: str) -> list[Any]:
    return [case for case in bad if case.id not in names]
