"""What is aimed at, a line each: a row of the benchmark, what it is held against, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

B = "b"
"""C, one kept connection, prepared statements."""
A = "a"
"""C, a connection a call with its PRAGMAs, while another connection holds the file open."""
C = "c"
"""Python's sqlite3 with dataclasses and json."""
NEWEST = "newest page"
ALONE = "busy_timeout alone"
TYPER = "import typer"
THREADS = "8 threads"
PSYCOPG = "psycopg"
SMALL = "10 thousand"


@dataclass(frozen=True)
class Target:
    """A bound for the ratio of ours to another subject, or for our own figure where ``against`` is nothing.

    Attributes:
        row: the name of the row, or how it begins where it ends with ``*``.
        bound: in the row's unit where it is no ratio.
        against: the subject that is held against.
        least: the bound is a lower one.
        subject: who is held to it.
    """

    row: str
    bound: float
    against: str | None = None
    least: bool = False
    subject: str = "ours"

    def of(self, row: str) -> bool:
        return row.startswith(self.row[:-1]) if self.row.endswith("*") else row == self.row

    def meets(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound

    def worse(self, value: float, committed: float, share: float) -> bool:
        """Whether this much of it was lost."""
        return value < committed * (1 - share) if self.least else value > committed * (1 + share)

    def said(self, unit: str) -> str:
        sign = "≥" if self.least else "≤"
        return f"{sign} {self.bound:g} {unit}" if self.against is None else f"{sign} {self.bound:g} x {self.against}"


TARGETS = (
    Target("history.append, one a transaction", 3, B),
    Target("history.append, one a transaction", 0.25, A),
    Target("history.append in an open unit of work", 1.5, B),
    Target("history.append_many, 10,000", 0.85, C),
    Target("history.page, newest 50", 0.85, C),
    Target("history.page at depth 90,000", 1.1, NEWEST),
    Target("history.page at depth 1,000,000", 1.1, NEWEST),
    Target("rules.by_trigger, 17 rows", 1.3, C),
    Target("rule_book.match, unchanged", 0.5, B),
    Target("rule_book.match amid another's appends", 0.5, B),
    Target("rules.fire, 17 match", 2, C),
    Target("snapshots.save, 64 KiB", 1.5, C),
    Target("snapshots.load, 64 KiB", 1.5, C),
    Target("snapshots.save, 1 MiB", 1.3, C),
    Target("snapshots.load, 1 MiB", 1.3, C),
    Target("messages.page, 50", 0.85, C),
    Target("journal.for_session, 50", 0.85, C),
    Target("jobs one at a time, 4 processes", 0.35, B, least=True),
    Target("jobs by batches of 32, 4 processes", 0.4, B, least=True),
    Target("8 processes that read, change and write: longest wait", 60),
    Target("8 threads that read, change and write: p99.9", 5),
    Target("import of transcripts, new", 80, least=True),
    Target("import of transcripts, already in", 1000, least=True),
    Target("opening a store at head", 5),
    Target("--help, wall", 3, TYPER),
    Target("asyncio, 200 queries of a page at once", 0.7, THREADS, least=True),
    Target("PostgreSQL: history.append", 1.5, PSYCOPG),
    Target("PostgreSQL: history.page, newest 50", 1.5, PSYCOPG),
    Target("PostgreSQL: rules.by_trigger, 17 rows", 1.5, PSYCOPG),
    Target("PostgreSQL: jobs.claim", 1.5, PSYCOPG),
    Target("memory of iterating 1,000,000 entries", 60),
    Target("growth to 1 million: *", 1.3, SMALL, subject="1 million"),
    Target("growth to 10 million: *", 1.3, SMALL, subject="10 million"),
)


def targets_of(row: str) -> list[Target]:
    return [target for target in TARGETS if target.of(row)]
