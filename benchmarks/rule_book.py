"""What a tick costs with a rule book beside the query: ``python benchmarks/rule_book.py [--rules N] [--database URL]``.

One session has rules of all kinds; a sequencer asks on every beat. The book is unchanged, changed by its own firing, or
changed by somebody else before each question.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measuring import Pair, report

from vibeweaver_store import Store, actions, rules, sessions, signals, triggers


def fill(store: Store, count: int) -> str:
    """A session with as many rules on beats as on markers, artifacts, jobs and transports."""
    jam = store.run(sessions.create, name="bench")
    kinds = [
        *[triggers.Beat(divisor=n) for n in range(2, 2 + count // 5)],
        *[triggers.Marker(name=f"marker {n}") for n in range(count // 5)],
        *[triggers.Artifact(tag=f"tag {n}") for n in range(count // 5)],
        *[triggers.JobComplete(job_id=f"job {n}") for n in range(count // 5)],
        *[triggers.Transport(state=f"state {n}") for n in range(count // 5)],
    ]
    store.run(
        rules.add_many, jam.id, [rules.NewRule(each, actions.Notify(message="four on the floor")) for each in kinds]
    )
    return jam.id


def pairs(store: Store, session_id: str) -> Iterator[Pair]:
    book = store.rule_book(session_id)
    other = store.rule_book(session_id)
    few, none = signals.BeatTick(beat=8), signals.BeatTick(beat=1)
    marker = signals.MarkerReached(name="marker 7", beat=8.0)
    for name, signal in (("a beat, 3 match", few), ("a beat, none matches", none), ("a marker, 1 matches", marker)):
        yield Pair(
            f"match {name}",
            lambda signal=signal: book.match(signal),  # type: ignore[misc]
            "the query",
            lambda signal=signal: store.query(rules.match, session_id, signal),  # type: ignore[misc]
        )
    yield Pair(
        "fire a beat, none matches",
        lambda: book.fire(signals.BeatTick(beat=1)),
        "rules.fire",
        lambda: store.run(rules.fire, session_id, signals.BeatTick(beat=1)),
    )
    yield Pair(
        "fire a marker, 1 matches",
        lambda: book.fire(marker),
        "rules.fire",
        lambda: store.run(rules.fire, session_id, marker),
    )
    yield Pair(
        "match a beat amid others' firings",
        lambda: (other.fire(marker), book.match(few)),
        "the query",
        lambda: (store.run(rules.fire, session_id, marker), store.query(rules.match, session_id, few)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1000, help="rules of the session")
    parser.add_argument("--database", help="a database to work in; a file of its own by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each pair is measured")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(arguments.database or Path(folder) / "bench.db") as store,
    ):
        report(pairs(store, fill(store, arguments.rules)), arguments.seconds)


if __name__ == "__main__":
    main()
