"""Promises about jobs and processes, kept by real ones: many that drain a queue, some killed, and how one ends."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlmodel import col, select

from tests.processes.job_steps import prepared
from tests.sizes import Size
from tests.spawning import Process, Processes
from tests.test_worker import status_of, told, wait_until
from vibeweaver_store import HistoryEntry, Job, JobAttempt, JobStatus, Store, jobs

WORKERS, KILLED = 8, 3

# --- many workers, some killed ---------------------------------------------------------------------------------

_DRAIN = """
import sys, time
import sqlalchemy as sa
from vibeweaver_store import HistoryEntry, Store, Worker, jobs
database, die_at, lease_seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
done = 0
def effect(uow, job):
    row = {"session_id": "jam", "action": "render", "params": job.data, "success": True, "created_at": uow.now()}
    uow.execute(sa.insert(HistoryEntry), row)
def render(lease):
    global done
    done += 1
    if done == die_at:
        print("amid work", flush=True)
        time.sleep(120)
    with lease.begin() as uow:
        effect(uow, lease.job)
        jobs.complete(uow, lease.job)
with Store.open(database) as store:
    print("ready", flush=True)
    Worker(store, {"render": render}, lease_seconds=lease_seconds, concurrency=4).run()
"""


def test_workers_of_whom_some_are_killed_complete_each_of_many_jobs_once(
    processes: Processes, database: str, size: Size
) -> None:
    # Of no session, and the effect written without a service: what is tried here is the claiming.
    count, lease_seconds, each = size(400, 5_000), size(2.0, 5.0), size(5, 20)
    prepared(database, count, session_id=None, max_attempts=20)
    workers = [
        processes.start(_DRAIN, database, each * (n + 1) if n < KILLED else 0, lease_seconds) for n in range(WORKERS)
    ]
    for worker in workers[:KILLED]:
        assert [worker.read_line(), worker.read_line()] == ["ready", "amid work"]
        worker.kill()

    with Store.open(database) as store:
        until = time.monotonic() + 240
        while store.query(jobs.count, status="completed") < count:
            assert time.monotonic() < until
            time.sleep(0.1)
        for worker in workers[KILLED:]:
            worker.send_signal(signal.SIGTERM)
        for worker in workers[KILLED:]:
            worker.finish()
        with store.read() as uow:
            effects = uow.exec(select(HistoryEntry.params).where(col(HistoryEntry.session_id) == "jam")).all()
            story = uow.exec(select(JobAttempt.job_id, JobAttempt.attempt, JobAttempt.error)).all()
            attempted = dict(uow.exec(select(Job.id, Job.attempts)).all())

    assert sorted(map(str, effects)) == sorted(map(str, range(count)))
    assert len(attempted) == count
    assert Counter(job_id for job_id, _, _ in story) == attempted
    completed = [(job_id, attempt) for job_id, attempt, error in story if error is None]
    assert dict(completed) == attempted
    assert len(completed) == count
    expired = [error for _, _, error in story if error is not None]
    assert len(expired) >= KILLED
    assert all("lease" in error for error in expired)


# --- the end of a worker process -------------------------------------------------------------------------------

HANDLERS = """
import time
def short(lease):
    time.sleep(0.2)
    return "finished"
def long(lease):
    time.sleep(60)
def quick(lease):
    print("at work")
    return lease.job.data
HANDLERS = {"short": short, "long": long, "quick": quick}
"""


def work(processes: Processes, folder: Path, database: str, *options: str) -> Process:
    """Start ``jobs work`` in a folder that its handlers lie in."""
    (folder / "studio_handlers.py").write_text(HANDLERS)
    line = ["--db", database, "jobs", "work", "--handlers", "studio_handlers:HANDLERS", *options]
    return processes.start_module("vibeweaver_store", *line, folder=folder, environment={})


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_process_told_to_end_finishes_its_jobs(
    processes: Processes, database: str, tmp_path: Path, ending: signal.Signals
) -> None:
    with Store.open(database) as store:
        job = store.run(jobs.enqueue, "short").job
        process = work(processes, tmp_path, database)
        wait_until(lambda: status_of(store, job) is JobStatus.PROCESSING)
        process.send_signal(ending)
        out = process.finish()
        found = store.query(jobs.get, job.id)
    assert (found.status, found.result) == (JobStatus.COMPLETED, "finished")
    assert out.count("\n") == 1
    assert f"short  {job.id}  completed" in out


def test_a_worker_process_hands_back_jobs_it_cannot_finish_in_time(
    processes: Processes, database: str, tmp_path: Path
) -> None:
    with Store.open(database) as store:
        job = store.run(jobs.enqueue, "long", max_attempts=1).job
        process = work(processes, tmp_path, database, "--grace-seconds", "0", "--worker-id", "night shift")
        wait_until(lambda: status_of(store, job) is JobStatus.PROCESSING)
        process.send_signal(signal.SIGTERM)
        process.finish()
        found = store.query(jobs.get, job.id)
        (attempt,) = store.query(jobs.attempts, job.id)
    assert (found.status, found.attempts, found.max_attempts) == (JobStatus.PENDING, 1, 2)
    assert attempt.error == "night shift was stopped amid it"


def test_a_draining_worker_process_ends_by_itself(processes: Processes, database: str, tmp_path: Path) -> None:
    with Store.open(database) as store:
        made = [store.run(jobs.enqueue, "quick", n).job.id for n in range(5)]
        out = work(processes, tmp_path, database, "--drain", "--concurrency", "2", "--json").finish()
        assert store.query(jobs.count, status="completed") == 5
    ended = [json.loads(line) for line in out.splitlines()]
    assert sorted((each["job"]["id"], each["job"]["result"]) for each in ended) == sorted(
        zip(made, range(5), strict=True)
    )


@pytest.mark.parametrize(
    ("module", "handlers", "said"),
    [
        ("pass", "studio:HANDLERS", "module 'studio' has no 'HANDLERS'"),
        ("HANDLERS = 5", "studio:HANDLERS", "studio:HANDLERS is no mapping of job types to functions"),
        ("import os; os.nope", "studio:HANDLERS", "module 'studio' cannot be imported: AttributeError: "),
        ("1 +", "studio:HANDLERS", "module 'studio' cannot be imported: SyntaxError: "),
        ("import nowhere", "studio:HANDLERS", "module 'studio' imports 'nowhere', and there is none"),
        ("pass", "nowhere:HANDLERS", "there is no module 'nowhere' here, nor installed"),
        ("pass", "studio", "'studio' is no MODULE:NAME"),
        ("HANDLERS = {}", "studio:HANDLERS", "handlers: must be a mapping of 1 to 100 job types to handlers"),
    ],
)
def test_unusable_handlers_of_a_worker_process_are_refused_in_one_line(
    processes: Processes, tmp_path: Path, sqlite_path: Path, module: str, *, handlers: str, said: str
) -> None:
    (tmp_path / "studio.py").write_text(module)
    process = work(processes, tmp_path, str(sqlite_path), "--handlers", handlers)
    out = process.read_to_end()
    assert (process.returncode, out) == (4, "")
    assert said in process.stderr
    assert process.stderr.count("\n") == 1


# --- work and its cause ----------------------------------------------------------------------------------------

_HALF_A_CAUSE = """
import sys, time
from vibeweaver_store import Store, history, jobs
store = Store.open(sys.argv[1])
with store.begin() as uow:
    history.append(uow, "jam", "asked for a song")
    jobs.enqueue(uow, "render", session_id="jam")
    uow.flush()
    print("written, not committed", flush=True)
    time.sleep(60)
"""


def test_a_process_killed_before_its_commit_leaves_neither_job_nor_cause(processes: Processes, database: str) -> None:
    prepared(database, 0)
    process = processes.start(_HALF_A_CAUSE, database)
    assert process.read_line() == "written, not committed"
    process.kill()
    with Store.open(database) as store:
        assert told(store, "jam") == []
        assert store.query(jobs.count) == 0
