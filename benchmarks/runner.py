"""Runs the workloads: rounds of chunks in which the subjects of a row take turns, in random order, warm."""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.options import Options
from benchmarks.results import Measured
from benchmarks.rows import Chunk, Missing, Row, Taken
from benchmarks.stage import Stage, Templates
from benchmarks.workloads import GROUPS, Group

SEED = 7


def run(options: Options) -> dict[str, Measured]:
    """Measure what is wanted; the rows by name, in the order of the tables."""
    results: dict[str, Measured] = {}
    order = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        templates = Templates(Path(folder))
        for number in range(options.rounds):
            with Stage(templates, options, first=not number) as stage:
                for row in _rows(stage):
                    _say(options, f"round {number + 1}: {row.name}")
                    result = results.setdefault(row.name, Measured(row.name, row.unit))
                    _measure(_shortened(row, options), result, order)
    return results


def _rows(stage: Stage) -> Iterator[Row]:
    """The rows that are wanted: all, those of groups by name, and others by a part of their own name."""
    words = stage.options.only
    of_rows = [word for word in words if not any(word in name for name in GROUPS)]
    for name, group in GROUPS.items():
        whole = not words or any(word in name for word in words)
        if whole or any(_may_name(group, word) for word in of_rows):
            yield from _of_group(group, stage, [] if whole else of_rows)


def _may_name(group: Group, name: str) -> bool:
    """Whether the source of a group has all parts of a row's name; where it has not, it need not be set up."""
    source = Path(sys.modules[group.__module__].__file__ or "").read_text()
    return all(part in source for part in re.findall(r"[A-Za-z_]+", name))


def _of_group(group: Group, stage: Stage, words: list[str]) -> Iterator[Row]:
    with closing(group(stage)) as rows:  # type: ignore[type-var]  # each is a generator
        for row in rows:
            if not words or any(word in row.name for word in words):
                yield row


def _shortened(row: Row, options: Options) -> Row:
    return replace(row, chunks=-(-row.chunks // 4), calls=-(-row.calls // 2)) if options.quick else row


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
        print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)
