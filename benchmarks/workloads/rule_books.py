"""A rule book beside the query in C: unchanged, while somebody else appends, and never stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

from benchmarks.driver import Driver
from benchmarks.rows import OURS, Chunk, Row, Taken, timed
from benchmarks.stage import JAM, RULES, Stage
from benchmarks.targets import B
from vibeweaver_store import Store, rules, signals

ALL_MATCH = signals.BeatTick(beat=0)
QUERY = "rules.match"


def rows(stage: Stage) -> Iterator[Row]:
    store = stage.store
    book = store.rule_book(JAM)
    path = stage.folder / "ours.db"
    with Store.open(path) as other, closing(Driver(path, "jam-1")) as appender:

        def match() -> object:
            return book.match(ALL_MATCH)

        def query() -> object:
            return store.query(rules.match, JAM, ALL_MATCH)

        def changed() -> str:
            return _stale(other, lambda: len(book.match(ALL_MATCH)))

        by_trigger = stage.kept.chunk("by_trigger")
        yield Row(
            "rule_book.match, unchanged",
            {OURS: _never_stale(timed(match), changed), B: by_trigger, QUERY: timed(query)},
        )
        yield Row(
            "rule_book.match amid another's appends",
            {
                OURS: _never_stale(timed(match, before=appender.append), changed),
                B: by_trigger,
                QUERY: timed(query, before=appender.append),
            },
        )


def _never_stale(chunk: Chunk, changed: Callable[[], str]) -> Chunk:
    """Have the rules change after each chunk, and see that the book has noticed."""

    def checked(calls: int) -> Taken:
        taken = chunk(calls)
        return replace(taken, note=changed())

    return checked


def _stale(other: Store, matched: Callable[[], int]) -> str:
    one = other.query(rules.by_trigger, JAM, "beat")[0]
    other.run(rules.set_enabled, one.id, False)
    without = matched()
    other.run(rules.set_enabled, one.id, True)
    seen = (without, matched())
    return "" if seen == (RULES - 1, RULES) else f"stale: {seen} rules where there were {RULES - 1} and {RULES}"
