"""The workloads, a file a group: each gives rows, one after the other, on a round's stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.workloads import (
    adding,
    agent_memory,
    appending,
    asynchronous,
    command_line,
    contention,
    firing,
    growth,
    importing,
    ingesting,
    jobs,
    logs,
    memory,
    opening,
    pages,
    postgres,
    postgres_queues,
    queues,
    rule_books,
    rule_lookup,
    searching,
    snapshots,
)

Group = Callable[[Stage], Iterator[Row]]

GROUPS: dict[str, Group] = {
    module.__name__.rpartition(".")[2]: module.rows
    for module in (
        appending,
        adding,
        pages,
        rule_lookup,
        rule_books,
        firing,
        snapshots,
        logs,
        jobs,
        contention,
        importing,
        ingesting,
        searching,
        opening,
        command_line,
        asynchronous,
        postgres,
        memory,
        growth,
        agent_memory,
        queues,
        postgres_queues,
    )
}
"""In the order of the tables."""
