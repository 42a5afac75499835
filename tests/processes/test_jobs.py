"""Promises about jobs and processes, kept by real ones: many that drain a queue, some killed, one paused too long."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from tests.processes.test_stores import finish, start
from tests.test_worker import status_of, told, wait_until
from vibeweaver_store import (
    HistoryEntry,
    Job,
    JobAttempt,
    JobStatus,
    Store,
    jobs,
    sessions,
)

WORKERS = 8
KILLED = 3
JOBS = 5_000


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def write_line(process: subprocess.Popen[str], line: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def prepared(database: str, count: int, session_id: str | None = "jam", **values: Any) -> list[str]:
    """A session, and jobs that belong to it unless told otherwise."""
    with Store.open(database) as store:
        store.run(sessions.create, name="jam", session_id="jam")
        new = [jobs.NewJob("render", n, session_id=session_id, **values) for n in range(count)]
        return [each.job.id for each in store.run(jobs.enqueue_many, new)]


# --- many workers, some killed ---------------------------------------------------------------------------------

_DRAIN = """
import sys, time
import sqlalchemy as sa
from vibeweaver_store import HistoryEntry, Store, Worker, jobs
database, die_at = sys.argv[1], int(sys.argv[2])
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
    Worker(store, {"render": render}, lease_seconds=5, concurrency=4).run()
"""


def test_workers_some_of_which_are_killed_complete_each_of_5000_jobs_once(database: str) -> None:
    # Of no session, and the effect written without a service: what is tried here is the claiming, 5,000 times.
    prepared(database, JOBS, session_id=None, max_attempts=20)
    workers = [start(_DRAIN, database, 20 * (n + 1) if n < KILLED else 0) for n in range(WORKERS)]
    for worker in workers[:KILLED]:
        assert [read_line(worker), read_line(worker)] == ["ready", "amid work"]
        worker.send_signal(signal.SIGKILL)
        worker.communicate()

    with Store.open(database) as store:

        def all_completed() -> bool:
            time.sleep(0.5)
            return store.query(jobs.count, status="completed") == JOBS

        until = time.monotonic() + 240
        while not all_completed():
            assert time.monotonic() < until
        for worker in workers[KILLED:]:
            worker.send_signal(signal.SIGTERM)
            finish(worker)
        with store.read() as uow:
            effects = uow.exec(select(HistoryEntry.params).where(col(HistoryEntry.session_id) == "jam")).all()
            story = uow.exec(select(JobAttempt.job_id, JobAttempt.attempt, JobAttempt.error)).all()
            attempted = dict(uow.exec(select(Job.id, Job.attempts)).all())

    assert sorted(map(str, effects)) == sorted(map(str, range(JOBS)))
    assert len(attempted) == JOBS
    assert Counter(job_id for job_id, _, _ in story) == attempted
    completed = [(job_id, attempt) for job_id, attempt, error in story if error is None]
    assert dict(completed) == attempted
    assert len(completed) == JOBS
    expired = [error for _, _, error in story if error is not None]
    assert len(expired) >= KILLED
    assert all("lease" in error for error in expired)


# --- one that is paused past its lease -------------------------------------------------------------------------

_SLEEPER = """
import json, sys
from vibeweaver_store import Store, StoreError, history, jobs
store = Store.open(sys.argv[1])
job = store.run(jobs.claim, ["render"], "sleeper", lease_seconds=2).jobs[0]
print("holding", flush=True)
sys.stdin.readline()

def within(lease):
    with lease.begin() as uow:
        history.append(uow, "jam", "too late")

def alone(lease):
    with lease.begin() as uow:
        jobs.complete(uow, job, "too late")

attempts = {
    "begin": within,
    "begin and complete": alone,
    "complete": lambda lease: store.run(jobs.complete, job, "too late"),
    "fail": lambda lease: store.run(jobs.fail, job, "too late"),
    "fail for good": lambda lease: store.run(jobs.fail, job, "too late", retry=False),
    "heartbeat": lambda lease: store.run(jobs.heartbeat, job),
    "progress": lambda lease: store.run(jobs.set_progress, job, 1, 2),
    "hand back": lambda lease: store.run(jobs.hand_back, job),
}
said = {}
for name, attempt in attempts.items():
    with store.lease(job) as lease:
        try:
            attempt(lease)
        except StoreError as error:
            said[name] = error.code
        else:
            said[name] = "landed"
print(json.dumps(said), flush=True)
"""


def pause_past_its_lease(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.2)


@pytest.mark.parametrize("taken_over", [True, False], ids=["and its job is another's", "and its job is nobody's"])
def test_a_worker_paused_past_its_lease_writes_nothing(database: str, taken_over: bool) -> None:
    (job_id,) = prepared(database, 1)
    process = start(_SLEEPER, database)
    assert read_line(process) == "holding"
    pause_past_its_lease(process)
    with Store.open(database) as store:
        if taken_over:
            (job,) = store.run(jobs.claim, ["render"], "successor", lease_seconds=60).jobs
        before = store.query(jobs.get, job_id)
        process.send_signal(signal.SIGCONT)
        write_line(process)
        said: dict[str, str] = json.loads(read_line(process))
        finish(process)
        assert store.query(jobs.get, job_id) == before
        assert told(store, "jam") == []
        assert store.query(jobs.attempts, job_id) == ([] if not taken_over else [store.query(jobs.attempts, job_id)[0]])
        if taken_over:
            assert store.run(jobs.complete, job).job.status is JobStatus.COMPLETED
    assert set(said.values()) == {"lease_lost"}
    assert len(said) == 8


_SLEEPS_WITHIN = """
import sys
from vibeweaver_store import Store, LeaseLost, history, jobs
store = Store.open(sys.argv[1])
job = store.run(jobs.claim, ["render"], "sleeper", lease_seconds=2).jobs[0]
with store.lease(job) as lease:
    try:
        with lease.begin() as uow:
            history.append(uow, "jam", "too late")
            if sys.argv[2] == "complete":
                jobs.complete(uow, job)
            print("written, not committed", flush=True)
            sys.stdin.readline()
    except LeaseLost:
        print("lost", flush=True)
    else:
        print("landed", flush=True)
"""


@pytest.mark.parametrize("also", ["complete", "write alone"])
def test_a_unit_of_work_paused_past_its_lease_is_rolled_back(database: str, also: str) -> None:
    (job_id,) = prepared(database, 1)
    process = start(_SLEEPS_WITHIN, database, also)
    assert read_line(process) == "written, not committed"
    pause_past_its_lease(process)
    process.send_signal(signal.SIGCONT)
    write_line(process)
    assert read_line(process) == "lost"
    finish(process)
    with Store.open(database) as store:
        assert told(store, "jam") == []
        assert status_of(store, store.query(jobs.get, job_id)) is JobStatus.PROCESSING


_WORKS_AND_SLEEPS = """
import sys
from vibeweaver_store import Store, Worker, history, jobs
def render(lease):
    print("holding", flush=True)
    sys.stdin.readline()
    with lease.begin() as uow:
        history.append(uow, "jam", "too late")
with Store.open(sys.argv[1]) as store:
    Worker(store, {"render": render}, lease_seconds=2, worker_id="sleeper").run(until_idle=True)
"""


def test_a_worker_process_paused_past_its_lease_leaves_the_job_to_its_successor(database: str) -> None:
    (job_id,) = prepared(database, 1)
    process = start(_WORKS_AND_SLEEPS, database)
    assert read_line(process) == "holding"
    pause_past_its_lease(process)
    with Store.open(database) as store:
        (job,) = store.run(jobs.claim, ["render"], "successor", lease_seconds=60).jobs
        store.run(jobs.complete, job, "by the successor")
        process.send_signal(signal.SIGCONT)
        write_line(process)
        finish(process)
        found = store.query(jobs.get, job_id)
        assert (found.status, found.result, found.worker_id) == (JobStatus.COMPLETED, "by the successor", "successor")
        assert told(store, "jam") == []
        assert [(each.worker_id, each.error is None) for each in store.query(jobs.attempts, job_id)] == [
            ("sleeper", False),
            ("successor", True),
        ]


# --- the end of a worker process -------------------------------------------------------------------------------

HANDLERS = """
import time
def short(lease):
    time.sleep(0.5)
    return "finished"
def long(lease):
    time.sleep(60)
def quick(lease):
    print("at work")
    return lease.job.data
HANDLERS = {"short": short, "long": long, "quick": quick}
"""


def work(folder: Path, database: str, *options: str) -> subprocess.Popen[str]:
    (folder / "studio_handlers.py").write_text(HANDLERS)
    line = [sys.executable, "-m", "vibeweaver_store", "--db", database, "jobs", "work"]
    return subprocess.Popen(
        [*line, "--handlers", "studio_handlers:HANDLERS", *options],
        cwd=folder,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_process_told_to_end_finishes_its_jobs(database: str, tmp_path: Path, ending: signal.Signals) -> None:
    with Store.open(database) as store:
        job = store.run(jobs.enqueue, "short").job
        process = work(tmp_path, database)
        wait_until(lambda: status_of(store, job) is JobStatus.PROCESSING)
        process.send_signal(ending)
        out = finish(process)
        found = store.query(jobs.get, job.id)
    assert (found.status, found.result) == (JobStatus.COMPLETED, "finished")
    assert out.count("\n") == 1
    assert f"short  {job.id}  completed" in out


def test_a_worker_process_hands_back_jobs_it_cannot_finish_in_time(database: str, tmp_path: Path) -> None:
    with Store.open(database) as store:
        job = store.run(jobs.enqueue, "long", max_attempts=1).job
        process = work(tmp_path, database, "--grace-seconds", "0", "--worker-id", "night shift")
        wait_until(lambda: status_of(store, job) is JobStatus.PROCESSING)
        process.send_signal(signal.SIGTERM)
        finish(process)
        found = store.query(jobs.get, job.id)
        (attempt,) = store.query(jobs.attempts, job.id)
    assert (found.status, found.attempts, found.max_attempts) == (JobStatus.PENDING, 1, 2)
    assert attempt.error == "night shift was stopped amid it"


def test_a_draining_worker_process_ends_by_itself(database: str, tmp_path: Path) -> None:
    with Store.open(database) as store:
        made = [store.run(jobs.enqueue, "quick", n).job.id for n in range(5)]
        out = finish(work(tmp_path, database, "--drain", "--concurrency", "2", "--json"))
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
    tmp_path: Path, sqlite_path: Path, module: str, handlers: str, said: str
) -> None:
    (tmp_path / "studio.py").write_text(module)
    process = work(tmp_path, str(sqlite_path), "--handlers", handlers)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert said in err
    assert err.count("\n") == 1


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


def test_a_process_killed_before_its_commit_leaves_neither_job_nor_cause(database: str) -> None:
    prepared(database, 0)
    process = start(_HALF_A_CAUSE, database)
    assert read_line(process) == "written, not committed"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Store.open(database) as store:
        assert told(store, "jam") == []
        assert store.query(jobs.count) == 0
