"""Promises kept while a process is stopped, as by Ctrl-Z, a debugger or a laptop that sleeps."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.processes.job_steps import prepared
from tests.spawning import Processes
from tests.test_worker import status_of, told
from vibeweaver_store import JobStatus, Store, jobs
from vibeweaver_store.turns import FileTurn

LEASE_SECONDS = 1.0
"""Long enough that nobody loses it before the pause, on a machine that is busy too."""

# --- a worker that is paused past its lease --------------------------------------------------------------------

_SLEEPER = """
import json, sys
from vibeweaver_store import Store, StoreError, history, jobs
store = Store.open(sys.argv[1])
job = store.run(jobs.claim, ["render"], "sleeper", lease_seconds=float(sys.argv[2])).jobs[0]
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


def wait_past_its_lease(store: Store, job_id: str) -> None:
    expires = store.query(jobs.get, job_id).lease_expires_at
    assert expires is not None
    time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 0.05)


@pytest.mark.parametrize("taken_over", [True, False], ids=["and its job is another's", "and its job is nobody's"])
def test_a_worker_paused_past_its_lease_writes_nothing(processes: Processes, database: str, taken_over: bool) -> None:
    (job_id,) = prepared(database, 1)
    process = processes.start(_SLEEPER, database, LEASE_SECONDS)
    assert process.read_line() == "holding"
    process.pause()
    with Store.open(database) as store:
        wait_past_its_lease(store, job_id)
        if taken_over:
            (job,) = store.run(jobs.claim, ["render"], "successor", lease_seconds=60).jobs
        before = store.query(jobs.get, job_id)
        process.go_on()
        process.write_line()
        said: dict[str, str] = json.loads(process.read_line())
        process.finish()
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
job = store.run(jobs.claim, ["render"], "sleeper", lease_seconds=float(sys.argv[2])).jobs[0]
with store.lease(job) as lease:
    try:
        with lease.begin() as uow:
            history.append(uow, "jam", "too late")
            if sys.argv[3] == "complete":
                jobs.complete(uow, job)
            print("written, not committed", flush=True)
            sys.stdin.readline()
    except LeaseLost:
        print("lost", flush=True)
    else:
        print("landed", flush=True)
"""


@pytest.mark.parametrize("also", ["complete", "write alone"])
def test_a_unit_of_work_paused_past_its_lease_is_rolled_back(processes: Processes, database: str, also: str) -> None:
    (job_id,) = prepared(database, 1)
    process = processes.start(_SLEEPS_WITHIN, database, LEASE_SECONDS, also)
    assert process.read_line() == "written, not committed"
    process.pause()
    with Store.open(database) as store:
        wait_past_its_lease(store, job_id)
        process.go_on()
        process.write_line()
        assert process.read_line() == "lost"
        process.finish()
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
    Worker(store, {"render": render}, lease_seconds=float(sys.argv[2]), worker_id="sleeper").run(until_idle=True)
"""


def test_a_worker_process_paused_past_its_lease_leaves_the_job_to_its_successor(
    processes: Processes, database: str
) -> None:
    (job_id,) = prepared(database, 1)
    process = processes.start(_WORKS_AND_SLEEPS, database, LEASE_SECONDS)
    assert process.read_line() == "holding"
    process.pause()
    with Store.open(database) as store:
        wait_past_its_lease(store, job_id)
        (job,) = store.run(jobs.claim, ["render"], "successor", lease_seconds=60).jobs
        store.run(jobs.complete, job, "by the successor")
        process.go_on()
        process.write_line()
        process.finish()
        found = store.query(jobs.get, job_id)
        assert (found.status, found.result, found.worker_id) == (JobStatus.COMPLETED, "by the successor", "successor")
        assert told(store, "jam") == []
        assert [(each.worker_id, each.error is None) for each in store.query(jobs.attempts, job_id)] == [
            ("sleeper", False),
            ("successor", True),
        ]


# --- who is next to write --------------------------------------------------------------------------------------

WAITER = """
import sys
from vibeweaver_store.turns import FileTurn
turn = FileTurn(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(turn.take(), flush=True)
turn.wait(60)
"""


def test_a_process_that_is_next_and_stopped_keeps_the_turn_to_write_from_nobody(
    processes: Processes, tmp_path: Path
) -> None:
    wal = tmp_path / "store.db-wal"
    wal.touch()
    holder, waiter = FileTurn(str(wal)), processes.start(WAITER, wal)
    assert waiter.read_line() == "ready"
    assert holder.take()
    waiter.write_line()
    assert waiter.read_line() == "False"
    time.sleep(0.1)  # by when it waits
    waiter.pause()
    newcomer, started = FileTurn(str(wal)), time.monotonic()
    holder.leave()
    if not newcomer.take():
        newcomer.wait(60)
    assert time.monotonic() - started < 20
    assert not FileTurn(str(wal)).take()
    waiter.kill()
