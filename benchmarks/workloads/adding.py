"""Many rows at once, beside the same rows one after the other in one unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import JAM, Stage
from vibeweaver_store import Store, UnitOfWork, actions, jobs, messages, rules, triggers

MANY = 1000
EACH = "one after the other"


def rows(stage: Stage) -> Iterator[Row]:
    path = stage.copy("added", stage.templates.empty)
    notify = actions.Notify(message="four on the floor")
    waiting = [triggers.Marker(name=f"marker {n}") for n in range(MANY)]
    new_rules = [rules.NewRule(each, notify) for each in waiting]
    said = [messages.NewMessage("user", f"take {n}") for n in range(MANY)]
    with Store.open(path) as store:
        yield _row(
            store,
            "rules.add_many",
            lambda uow: rules.add_many(uow, JAM, new_rules),
            lambda uow: [rules.add(uow, JAM, each, notify) for each in waiting],
        )
        yield _row(
            store,
            "messages.append_many",
            lambda uow: messages.append_many(uow, JAM, said),
            lambda uow: [messages.append(uow, JAM, each.role, each.content) for each in said],
        )
        yield _row(
            store,
            "jobs.enqueue_many",
            lambda uow: jobs.enqueue_many(uow, [jobs.NewJob("render", {"bars": 16})] * MANY),
            lambda uow: [jobs.enqueue(uow, "render", {"bars": 16}) for _ in range(MANY)],
        )


def _row(store: Store, name: str, many: Callable[[UnitOfWork], Any], each: Callable[[UnitOfWork], Any]) -> Row:
    subjects = {OURS: timed(lambda: store.run(many)), EACH: timed(lambda: store.run(each))}
    return Row(f"{name}, {MANY:,}", subjects, calls=1, chunks=5, warm=1)
