"""Jobs claimed and completed by four processes at once, each exactly once; C does it without lease or fence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import generate
from benchmarks.processes import exactly_once, in_processes
from benchmarks.reference import Reference, program
from benchmarks.rows import OURS, Chunk, Missing, Row, Taken, whole
from benchmarks.stage import JAM, Stage
from benchmarks.targets import B
from vibeweaver_store import Store, jobs

PROCESSES = 4
ONE_AT_A_TIME = 2000
BY_BATCHES = 12_800
BATCH = 32
BARE = "b, one index, no checks"


def rows(stage: Stage) -> Iterator[Row]:
    yield _row(stage, "jobs one at a time, 4 processes", stage.scaled(ONE_AT_A_TIME), 1)
    yield _row(stage, "jobs by batches of 32, 4 processes", stage.scaled(BY_BATCHES), BATCH)


def _row(stage: Stage, name: str, count: int, batch: int) -> Row:
    reference = program()
    in_c: Chunk | Missing = reference if isinstance(reference, Missing) else whole(lambda: _c(stage, count, batch))
    bare = reference if isinstance(reference, Missing) else whole(lambda: _c(stage, count, batch, bare=True))
    subjects = {OURS: whole(lambda: _ours(stage, count, batch)), B: in_c, BARE: bare}
    return Row(name, subjects, unit="jobs/s", calls=1, chunks=1, warm=0)


def _queue(stage: Stage, count: int) -> Path:
    path = stage.copy("jobs", stage.templates.empty)
    generate.fill(path, "jobs", count)
    return path


def _ours(stage: Stage, count: int, batch: int) -> Taken:
    path = _queue(stage, count)

    def work(begin: Callable[[], None]) -> Iterator[str]:
        with Store.open(path) as store:
            begin()
            while taken := store.run(jobs.claim, ["render"], "bench", limit=batch).jobs:
                if batch == 1:
                    store.run(jobs.complete, taken[0], {})
                else:
                    store.run(jobs.complete_many, [jobs.Completion(job, {}) for job in taken])
                yield from [job.id for job in taken]

    outcome = in_processes(PROCESSES, work)
    with Store.open(path) as store:
        unfinished = count - store.query(jobs.count, status="completed")
    left = f"; {unfinished} not completed" if unfinished else ""
    return Taken([count / outcome.seconds], exactly_once(outcome, count) + left)


def _c(stage: Stage, count: int, batch: int, *, bare: bool = False) -> Taken:
    path = _queue(stage, count)
    if bare:
        _strip(path)
    with Reference(path, JAM) as reference:
        told = reference.ask(f"jobs {PROCESSES} {count} {batch}")
    wrong = told["doubled"] or told["done"] != count
    return Taken([count / told["seconds"]], f"{told['done']} done, {told['doubled']} twice" if wrong else "")


def _strip(path: Path) -> None:
    """Leave the jobs, and take away what the store asks of them."""
    with generate.opened(path) as connection:
        connection.execute("CREATE TABLE bare AS SELECT * FROM jobs")
        connection.execute("DROP TABLE job_attempts")
        connection.execute("DROP TABLE jobs")
        connection.execute("ALTER TABLE bare RENAME TO jobs")
        connection.execute("CREATE UNIQUE INDEX pk ON jobs (id)")
        connection.execute("CREATE INDEX ready ON jobs (type, priority DESC, scheduled_at, id) WHERE ready = 1")
