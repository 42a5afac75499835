"""Runs the workloads: rounds of chunks in which the subjects of a row take turns, in random order, warm."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.options import Options
from benchmarks.results import Measured
from benchmarks.rows import Chunk, Missing, Row, Taken
from benchmarks.stage import Stage, Templates
from benchmarks.workloads import GROUPS, Group

SEED = 7


def run(options: Options) -> list[Measured]:
    results: dict[str, Measured] = {}
    order = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        templates = Templates(Path(folder))
        for number in range(options.rounds):
            with Stage(templates, options) as stage:
                for row in _rows(stage):
                    if row.once and number:
                        continue
                    _say(options, f"round {number + 1}: {row.name}")
                    _measure(row, results.setdefault(row.name, Measured(row.name, row.unit)), order)
    return list(results.values())


def _rows(stage: Stage) -> Iterator[Row]:
    """The rows that are wanted, by the name of their group or their own."""
    for name, group in GROUPS.items():
        whole = stage.options.wants(name)
        if whole or _may_have(group, stage.options):
            yield from _of_group(group, stage, whole=whole)


def _may_have(group: Group, options: Options) -> bool:
    """Whether the source of a group has a word of what is wanted: then its rows are looked through."""
    source = sys.modules[group.__module__].__file__ or ""
    return any(word.lower() in Path(source).read_text().lower() for word in options.only)


def _of_group(group: Group, stage: Stage, *, whole: bool) -> Iterator[Row]:
    with closing(group(stage)) as rows:  # type: ignore[type-var]  # each is a generator
        for row in rows:
            if whole or stage.options.wants(row.name):
                yield row


def _measure(row: Row, result: Measured, order: random.Random) -> None:
    chunks = {name: each for name, each in row.subjects.items() if not isinstance(each, Missing)}
    result.missing.update({name: each.reason for name, each in row.subjects.items() if isinstance(each, Missing)})
    taken: dict[str, list[Taken]] = {name: [] for name in chunks}
    for name in [name for name, chunk in chunks.items() if row.warm and not _took(chunk, row.warm, result, name, [])]:
        del chunks[name]
    for _ in range(row.chunks):
        for name in order.sample(list(chunks), len(chunks)):
            if not _took(chunks[name], row.calls, result, name, taken[name]):
                del chunks[name]
    for name in chunks:
        result.add(name, row, taken[name])


def _took(chunk: Chunk, calls: int, result: Measured, name: str, taken: list[Taken]) -> bool:
    """Whether a chunk went well; a subject that fails is shown as such, and the others go on."""
    try:
        taken.append(chunk(calls))
    except Exception as error:  # noqa: BLE001 - whatever a peer raises
        print(f"{result.name}: {name}: {type(error).__name__}: {error}", file=sys.stderr)
        result.missing[name] = f"failed: {type(error).__name__}"
        return False
    return True


def _say(options: Options, text: str) -> None:
    if options.verbose:
        print(text, file=sys.stderr, flush=True)
