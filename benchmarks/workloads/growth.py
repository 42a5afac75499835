"""Whether the cost of a row stays as the tables grow: beside 10 thousand rows 1 million, and 10 million when asked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import generate
from benchmarks.driver import PARAMS, RESULT
from benchmarks.rows import Chunk, Row, timed
from benchmarks.stage import JAM, RULES, Stage
from vibeweaver_store import (
    Store,
    actions,
    history,
    jobs,
    journal,
    messages,
    rules,
    sessions,
    signals,
    snapshots,
    triggers,
)

SIZES = {"10 thousand": 10_000, "1 million": 1_000_000, "10 million": 10_000_000}
WITHOUT_ASKING = 2
OTHERS = "others"
"""The session whose rules are many; a signal reads those of its own session alone."""

Call = Callable[[Store], object]


def _turn(store: Store) -> None:
    """A job that goes round, so that there are as many afterwards."""
    store.run(jobs.enqueue, "render", {"bars": 16}, priority=9)
    for job in store.run(jobs.claim, ["render"], "bench").jobs:
        store.run(jobs.complete, job, {})


WORK: Mapping[str, Mapping[str, Call]] = {
    "history": {
        "history.append": lambda store: store.run(history.append, JAM, "set_param", params=PARAMS, result=RESULT),
        "history.page": lambda store: store.query(history.page, JAM),
    },
    "rules": {
        "rules.by_trigger": lambda store: store.query(rules.by_trigger, JAM, "beat"),
        "rules.fire": lambda store: store.run(rules.fire, JAM, signals.BeatTick(beat=0)),
    },
    "snapshots": {
        "snapshots.save": lambda store: store.run(snapshots.save, JAM, b"four on the floor"),
        "snapshots.load": lambda store: store.query(snapshots.load, JAM),
    },
    "messages": {
        "messages.append": lambda store: store.run(messages.append, JAM, "user", "four on the floor"),
        "messages.page": lambda store: store.query(messages.page, JAM),
    },
    "journal_events": {"journal.for_session": lambda store: store.query(journal.for_session, JAM)},
    "jobs": {"a job enqueued, claimed, completed": _turn},
}


def rows(stage: Stage) -> Iterator[Row]:
    if not stage.first or (stage.options.quick and not stage.options.only):
        return
    for table, calls in WORK.items():
        if stage.options.wants("growth", *_names(stage, calls)):
            yield from _of_table(stage, table, calls)


def _sizes(stage: Stage) -> list[str]:
    return list(SIZES) if stage.options.growth else list(SIZES)[:WITHOUT_ASKING]


def _name(larger: str, work: str) -> str:
    return f"growth to {larger}: {work}"


def _names(stage: Stage, calls: Mapping[str, Call]) -> list[str]:
    return [_name(larger, work) for work in calls for larger in _sizes(stage)[1:]]


def _of_table(stage: Stage, table: str, calls: Mapping[str, Call]) -> Iterator[Row]:
    sizes = _sizes(stage)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=stage.folder)))
        stores = {name: stack.enter_context(Store.open(_grown(stage, folder, table, name))) for name in sizes}
        for work, call in calls.items():
            for larger in sizes[1:]:
                subjects: dict[str, Chunk] = {
                    name: timed(lambda store=stores[name], call=call: call(store))  # type: ignore[misc]
                    for name in (sizes[0], larger)
                }
                yield Row(_name(larger, work), subjects, calls=20, chunks=15)


def _grown(stage: Stage, folder: Path, table: str, size: str) -> Path:
    path = Path(shutil.copy(stage.templates.empty, folder / f"{size}.db"))
    with Store.open(path) as store:
        store.run(sessions.create, name="others", session_id=OTHERS)
        beats = [rules.NewRule(triggers.Beat(divisor=n), actions.Notify(message="m")) for n in range(1, RULES + 1)]
        store.run(rules.add_many, JAM, beats)
    generate.fill(path, table, SIZES[size], session=OTHERS if table == "rules" else JAM)
    if table == "snapshots":
        with Store.open(path) as store:
            store.run(snapshots.save, JAM, b"four on the floor")
    return path
