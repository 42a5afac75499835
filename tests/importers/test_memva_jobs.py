"""The background jobs of a memva database: kept as they were, where a store can have them so, else made to agree."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.importers.foreign_files import OF_MEMVA, memva_database, write_rows
from tests.importers.undoing import content, undo_all
from vibeweaver_store import Store
from vibeweaver_store.importers import foreign_database
from vibeweaver_store.importers.memva import import_memva
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import Job, JobStatus
from vibeweaver_store.services import imports
from vibeweaver_store.testing import JobFactory, SessionFactory, SettableClock

EARLY = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)
BEGUN, ENDED = "2025-01-13T11:00:00.000Z", "2025-01-13T11:30:00.000Z"
BEGUN_AT, ENDED_AT = datetime(2025, 1, 13, 11, 0, tzinfo=UTC), datetime(2025, 1, 13, 11, 30, tzinfo=UTC)
SECRET = "sk-ant-api03-" + "a1b2c3d4" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memva.db"


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def jobs_of(store: Store) -> list[Job]:
    with store.read() as uow:
        return list(uow.exec(select(Job).order_by(col(Job.created_at), col(Job.id))))


def brought(store: Store, path: Path, **columns: Any) -> Job:
    """Bring in a job with these columns, and return it."""
    report = import_memva(store, memva_database(path, jobs=[{"id": "job", **columns}]))
    assert report.problems == []
    (job,) = jobs_of(store)
    assert [job.import_id] == report.import_ids
    return job


# --- states ----------------------------------------------------------------------------------------------------


def test_a_pending_memva_job_stays_pending(store: Store, path: Path) -> None:
    job = brought(store, path, data='{"sessionId":"gone","prompt":"Go."}', priority=7, max_attempts=5)

    assert job.model_dump(exclude={"import_id"}) == {
        "id": "job",
        "type": "session-runner",
        "status": JobStatus.PENDING,
        "priority": 7,
        "ready": True,
        "attempts": 0,
        "max_attempts": 5,
        "scheduled_at": EARLY,
        "created_at": EARLY,
        "updated_at": LATE,
        "data": {"sessionId": "gone", "prompt": "Go."},
        **dict.fromkeys(["started_at", "completed_at", "session_id", "unique_key", "worker_id", "lease_token"]),
        **dict.fromkeys(["lease_expires_at", "progress", "error", "result"]),
    }


@pytest.mark.parametrize(
    ("scheduled_at", "ready"), [(None, True), ("2025-01-13 09:00:00", True), ("2999-01-01T00:00:00Z", False)]
)
def test_a_pending_memva_job_is_ready_once_it_is_due(
    store: Store, path: Path, scheduled_at: str | None, ready: bool
) -> None:
    job = brought(store, path, scheduled_at=scheduled_at)

    assert job.ready is ready
    assert (job.scheduled_at == EARLY) is (scheduled_at is None)


@pytest.mark.parametrize(("attempts", "of", "allowed"), [(0, 3, 3), (2, 3, 3), (3, 3, 4), (9, 3, 10), (0, 0, 1)])
def test_a_pending_memva_job_has_at_least_one_attempt_left(
    store: Store, path: Path, attempts: int, of: int, allowed: int
) -> None:
    job = brought(store, path, attempts=attempts, max_attempts=of, error="it broke")

    assert (job.status, job.attempts, job.max_attempts, job.error) == (JobStatus.PENDING, attempts, allowed, "it broke")
    assert job.started_at == (LATE if attempts else None)


def test_a_memva_job_in_progress_becomes_pending(store: Store, path: Path) -> None:
    job = brought(store, path, status="processing", attempts=1, started_at=BEGUN)

    assert (job.status, job.ready, job.attempts, job.max_attempts) == (JobStatus.PENDING, True, 1, 3)
    assert (job.started_at, job.completed_at, job.worker_id, job.lease_token, job.error) == (
        *(BEGUN_AT, None, None, None, None),
    )


@pytest.mark.parametrize(("before", "after"), [(None, ""), (" ", ""), ("it broke", "; before: it broke")])
def test_a_memva_job_at_its_last_attempt_fails_with_the_reason(
    store: Store, path: Path, before: str | None, after: str
) -> None:
    job = brought(store, path, status="processing", attempts=3, started_at=BEGUN, error=before)

    assert (job.status, job.ready, job.attempts, job.completed_at) == (JobStatus.FAILED, None, 3, LATE)
    told = "its worker was lost at the last attempt: memva had it at work when it was brought in"
    assert job.error == told + after


@pytest.mark.parametrize(
    ("status", "error", "result"), [("completed", None, {"cost": 1.5}), ("failed", "it broke", None)]
)
@pytest.mark.parametrize("times", [True, False], ids=["with times", "without"])
def test_a_finished_memva_job_stays_finished(
    store: Store, path: Path, *, status: str, error: str | None, result: Any, times: bool
) -> None:
    given = {"started_at": BEGUN, "completed_at": ENDED} if times else {}
    text = None if result is None else json.dumps(result)
    job = brought(store, path, status=status, attempts=1, error=error, result=text, **given)

    assert (job.status, job.ready, job.error, job.result) == (JobStatus(status), None, error, result)
    assert (job.started_at, job.completed_at) == ((BEGUN_AT, ENDED_AT) if times else (LATE, LATE))


def test_inconsistent_columns_of_a_memva_job_are_made_consistent(store: Store, other: Store, path: Path) -> None:
    every = product(
        ["pending", "processing", "completed", "failed"], [BEGUN, None], [ENDED, None], [0, 1, 7, None], [0, 2, None]
    )
    columns = ("status", "started_at", "completed_at", "attempts", "max_attempts")
    rest = {"result": '"done"', "error": "it broke", "priority": None, "scheduled_at": None}
    rows: list[dict[str, Any]] = [
        {"id": f"{n:03}", **dict(zip(columns, each, strict=True)), **rest} for n, each in enumerate(every)
    ]

    assert import_memva(store, memva_database(path, jobs=rows)).problems == []

    found = jobs_of(other)
    assert len(found) == len(rows) == 192
    for row, job in zip(rows, found, strict=True):
        assert (job.completed_at is not None) is (job.status in {JobStatus.COMPLETED, JobStatus.FAILED})
        assert (job.started_at is None) is (job.attempts == 0)
        assert job.attempts >= (row["attempts"] or 0)
        assert job.max_attempts >= job.attempts + (job.status is JobStatus.PENDING)
        assert (job.result is not None) is (row["status"] == "completed")


# --- documents -------------------------------------------------------------------------------------------------

DEEP = "[" * 200 + "]" * 200

DOCUMENTS: list[tuple[Any, Any]] = [
    ('{"a":[1,null,"x"]}', {"a": [1, None, "x"]}),
    ("[]", []),
    ('"text"', "text"),
    ("12.5", 12.5),
    ("null", None),
    (None, None),
    ("Not JSON: {", "Not JSON: {"),
    ("", ""),
    ('{"a":"\\u0000"}', '{"a":"\\u0000"}'),
    (DEEP, DEEP),
    (b'{"a":1}', {"a": 1}),
    (b"plain", "plain"),
    ("☃ '; DROP TABLE jobs; --", "☃ '; DROP TABLE jobs; --"),
]


@pytest.mark.parametrize("column", ["data", "result"])
def test_memva_job_data_and_results_are_json_or_else_text(store: Store, other: Store, path: Path, column: str) -> None:
    loose = "CREATE TABLE jobs (id TEXT PRIMARY KEY, type TEXT, data, status TEXT, result, created_at TEXT)"
    memva_database(path)
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(f"DROP TABLE jobs; {loose};")
    rows = [
        {"id": f"{n:02}", "type": "t", "status": "completed", "created_at": "2025-01-13T10:00:00Z", column: given}
        for n, (given, _) in enumerate(DOCUMENTS)
    ]
    write_rows(path, {}, jobs=rows)

    assert import_memva(store, path).problems == []

    assert [getattr(each, column) for each in jobs_of(other)] == [expected for _, expected in DOCUMENTS]


@pytest.mark.parametrize("name", ["sessionId", "session_id", "memva_session_id"])
def test_a_memva_job_belongs_to_the_session_its_data_name(store: Store, other: Store, path: Path, name: str) -> None:
    with store.begin() as uow:
        SessionFactory.create(uow=uow, id="ours")
    named = ["one", "ours", "nobody", "", 5, None, ["one"], "x" * 300, "a\x00b"]
    jobs = [{"id": str(n), "data": json.dumps({name: each})} for n, each in enumerate(named)]
    memva_database(path, sessions=[{"id": "one"}], jobs=[*jobs, {"id": "9", "data": '["one"]'}])

    assert import_memva(store, path).problems == []

    assert [each.session_id for each in jobs_of(other)] == ["one", "ours", *[None] * 8]


def test_an_import_of_memva_jobs_redacts_secrets_by_default(store: Store, other: Store, path: Path) -> None:
    given = {"data": json.dumps({"api_key": "plain", "prompt": SECRET}), "result": SECRET, "error": SECRET}
    report = import_memva(store, memva_database(path, jobs=[{"id": "job", "status": "completed", **given}]))

    assert report.counts.redacted == 4
    assert SECRET not in str(content(other))
    assert jobs_of(other)[0].data == {"api_key": "[redacted]", "prompt": "[redacted]"}
    undo_all(store, report)
    assert import_memva(store, path, redact=False).counts.redacted == 0
    assert jobs_of(other)[0].data == {"api_key": "plain", "prompt": SECRET}


# --- what cannot be read ---------------------------------------------------------------------------------------

BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"status": "asleep"}, "status: 'asleep' is none of"),
    ({"type": " "}, "type: must not be blank"),
    ({"id": ""}, "id: must not be blank"),
    ({"id": None}, "id: "),
    ({"priority": "high"}, "priority: "),
    ({"priority": 2**40}, "priority: "),
    ({"attempts": -1}, "attempts: "),
    ({"attempts": "many"}, "attempts: "),
    ({"max_attempts": 2**40}, "max_attempts: "),
    ({"created_at": "soon"}, "created_at: must be a time"),
    ({"updated_at": 5}, "updated_at: must be a time"),
    ({"scheduled_at": ""}, "scheduled_at: must be a time"),
    ({"error": b"\xff"}, "error: "),
    ({"error": "a\x00b"}, "error: must not contain NUL characters"),
    ({"data": b"\xff"}, "data: "),
    ({"data": "a\x00b"}, "data: must not contain NUL characters"),
]


def test_an_unreadable_memva_job_is_rejected_and_the_rest_imported(store: Store, other: Store, path: Path) -> None:
    rows = [{"id": f"bad-{n:02}", **columns} for n, (columns, _) in enumerate(BROKEN)]
    report = import_memva(store, memva_database(path, jobs=[*rows, {"id": "good"}]))

    told = sorted(each.partition(": ")[2] for each in reasons(report))
    for reason in (reason for _, reason in BROKEN):
        assert any(each.startswith(reason) for each in told), (reason, told)
    assert [each.id for each in jobs_of(other)] == ["good"]
    assert (report.counts.read, report.counts.new, report.counts.broken) == (len(BROKEN) + 1, 1, len(BROKEN))


def test_a_memva_file_without_jobs_or_most_of_their_columns_is_read(store: Store, other: Store, path: Path) -> None:
    memva_database(path, sessions=[{"id": "one"}])
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("DROP TABLE jobs")
    told: list[int] = []

    assert import_memva(store, path, progress=told.append).counts.read == 1
    assert sum(told) == path.stat().st_size

    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, type TEXT, status TEXT, created_at TEXT)")
        theirs.execute("INSERT INTO jobs VALUES ('job', 'tidy', 'completed', '2025-01-13 10:00:00')")

    assert import_memva(store, path).counts.new == 1
    (job,) = jobs_of(other)
    assert (job.priority, job.attempts, job.max_attempts, job.updated_at, job.completed_at, job.data) == (
        *(0, 0, 3, EARLY, EARLY, None),
    )


# --- again -----------------------------------------------------------------------------------------------------


def test_a_second_import_of_memva_jobs_adds_only_new_ones(
    store: Store, other: Store, path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 2)
    first = import_memva(store, memva_database(path, jobs=[{"id": str(n)} for n in range(5)]))
    before = content(other)
    clock.advance(days=1)
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("UPDATE jobs SET status = 'failed'")
    write_rows(path, OF_MEMVA, jobs=[{"id": "5"}])

    again = import_memva(store, path)

    assert (again.counts.read, again.counts.duplicate, again.counts.new) == (6, 5, 1)
    undo_all(store, again)
    assert content(other) == before
    undo_all(store, first)
    assert not any(content(other).values())


def test_an_import_of_memva_jobs_leaves_an_existing_job_of_the_id_alone(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        JobFactory.create(uow=uow, id="job", type="ours")
    before = content(other)

    report = import_memva(store, memva_database(path, jobs=[{"id": "job"}]))

    assert (content(other), report.counts.duplicate, report.unchanged) == (before, 1, 1)


def test_a_dry_run_of_memva_jobs_reports_the_same_and_writes_nothing(store: Store, other: Store, path: Path) -> None:
    jobs = [{"id": "a", "data": '{"sessionId":"one"}'}, {"id": "b", "status": "asleep"}]
    memva_database(path, sessions=[{"id": "one"}], jobs=jobs)
    before = content(other)

    tried = import_memva(store, path, dry_run=True)

    assert content(other) == before
    assert other.query(imports.page).items == []
    done = import_memva(store, path)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


def test_an_undone_memva_import_keeps_jobs_started_here_and_their_session(
    store: Store, other: Store, path: Path
) -> None:
    data = [f'{{"sessionId":"{name}"}}' for name in ("one", "two")]
    jobs = [{"id": str(n), "data": each} for n, each in enumerate(data)]
    report = import_memva(store, memva_database(path, sessions=[{"id": "one"}, {"id": "two"}], jobs=jobs))
    held = {"status": "processing", "ready": None, "attempts": 1, "started_at": LATE, "worker_id": "w"}
    with store.begin() as uow:
        lease = {"lease_token": "token", "lease_expires_at": LATE}
        uow.exec(sa.update(Job).where(col(Job.id) == "0").values(**held, **lease))

    (import_id,) = report.import_ids
    undone = store.run(imports.undo, import_id)

    assert (undone.jobs, undone.kept_jobs, undone.sessions, undone.kept) == (1, 1, 1, 1)
    (kept,) = jobs_of(other)
    assert (kept.id, kept.session_id, kept.import_id) == ("0", "one", None)
