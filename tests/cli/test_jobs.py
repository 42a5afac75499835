"""``jobs`` on the line; ``jobs work`` has its own tests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import Line, RunAtTerminal
from vibeweaver_store import Job, Session, Store, actions, jobs, rules, triggers
from vibeweaver_store.cli import batches
from vibeweaver_store.cli.text import lasting
from vibeweaver_store.testing import JobAttemptFactory, JobFactory

FUTURE = datetime(2999, 1, 1, 18, 30, tzinfo=UTC)
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


# --- enqueuing -------------------------------------------------------------------------------------------------


def test_jobs_enqueue_prints_the_id(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    words = ["--priority", "-5", "--max-attempts", 7, "--session", "jam", "--unique-key", "bar 7", "--id", "mine"]
    done = line_on_both("jobs", "enqueue", "render", '{"bar": 7}', *words)
    document = line_on_both("jobs", "show", "mine", "--json").document["job"]

    assert (done.code, done.out, done.err) == (0, "mine\n", "")
    assert (document["type"], document["data"], document["status"]) == ("render", {"bar": 7}, "pending")
    assert (document["priority"], document["max_attempts"]) == (-5, 7)
    assert (document["session_id"], document["unique_key"]) == ("jam", "bar 7")


def test_jobs_enqueue_prints_the_whole_job_as_json(line: Line) -> None:
    document = line("jobs", "enqueue", "render", "--json").document

    assert document["new"] is True
    assert (document["job"]["type"], document["job"]["data"]) == ("render", None)


def test_jobs_enqueue_reads_data_from_stdin(line: Line, look: Store) -> None:
    done = line("jobs", "enqueue", "render", "-", stdin='["♫",\n 1]\n')

    assert look.query(jobs.get, done.out.strip()).data == ["♫", 1]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [(["--delay", "30s"], 30), (["--delay", "90"], 90), (["--delay", "1.5h"], 5400), (["--delay", "7d"], 604_800)],
    ids=str,
)
def test_jobs_enqueue_takes_a_delay_as_a_duration(line: Line, words: list[str], seconds: int) -> None:
    document = line("jobs", "enqueue", "render", *words, "--json").document["job"]
    waits = datetime.fromisoformat(document["scheduled_at"]) - datetime.fromisoformat(document["created_at"])

    assert waits == timedelta(seconds=seconds)


def test_jobs_enqueue_takes_a_time_to_run_at(line: Line) -> None:
    document = line("jobs", "enqueue", "render", "--at", "2999-01-01T19:30:00+01:00", "--json").document["job"]

    assert document["scheduled_at"] == "2999-01-01T18:30:00.000000Z"
    assert f"scheduled  {FUTURE:%Y-%m-%d %H:%M:%SZ}\n" in line("jobs", "show", document["id"]).out


def test_jobs_enqueue_with_a_taken_unique_key_prints_the_existing_job(line_on_both: Line) -> None:
    first = line_on_both("jobs", "enqueue", "index", "--unique-key", "nightly")
    again = line_on_both("jobs", "enqueue", "index", "--unique-key", "nightly")
    document = line_on_both("jobs", "enqueue", "index", "--unique-key", "nightly", "--json").document

    assert (again.code, again.out) == (0, first.out)
    assert again.err == "nothing was enqueued: index of key nightly is pending already\n"
    assert (document["new"], document["job"]["id"]) == (False, first.out.strip())


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([" "], 4, "type: "),
        (["render", "{bar}"], 4, "DATA: '{bar}' is no JSON"),
        (["render", "--delay", "soon"], 4, "--delay: 'soon' is no length of time"),
        (["render", "--delay=-5s"], 4, "--delay: '-5s' is no length of time"),
        (["render", "--delay", f"{10**12}d"], 4, "--delay: 1000000000000d is longer than time itself"),
        (["render", "--at", "tomorrow"], 4, "--at: 'tomorrow' is no time"),
        (["render", "--at", "2999-01-01T00:00:00Z", "--delay", "5m"], 4, ""),
        (["render", "--max-attempts", "0"], 4, "max_attempts: "),
        (["render", "--session", "nobody"], 3, "no session 'nobody'"),
        (["render", "--unique-key", " "], 4, "unique_key: "),
        (["render", "--id", "mine"], 4, "job 'mine' exists already"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_jobs_enqueue_refuses_invalid_values(
    line: Line, look: Store, *, words: list[str], code: int, told: str
) -> None:
    look.run(jobs.enqueue, "render", job_id="mine")
    done = line("jobs", "enqueue", *words)

    assert done.code == code
    assert done.error.startswith(told)
    assert look.query(jobs.count) == 1


# --- listing and showing ---------------------------------------------------------------------------------------


@pytest.fixture
def queue(look: Store, jam: Session) -> None:
    """A job in each status, of two types, one of them of a session."""
    given: list[dict[str, Any]] = [
        {"id": "waits", "type": "index", "session_id": "jam"},
        {"id": "runs", "status": "processing", "progress": {"done": 3, "total": 12, "note": "bass"}},
        {"id": "done", "status": "completed", "result": {"url": "a.wav"}},
        {"id": "broke", "status": "failed", "attempts": 3, "unique_key": "bar 7"},
        {"id": "off", "status": "cancelled", "type": "index"},
    ]
    with look.begin() as uow:
        for day, each in enumerate(given, 1):
            JobFactory.create(uow=uow, created_at=datetime(2026, 1, day, tzinfo=UTC), **each)
        JobAttemptFactory.create(uow=uow, job_id="broke", error="no\x1b[2J disk", duration_ms=4200)
        JobAttemptFactory.create(uow=uow, job_id="broke", attempt=2, error="it broke", duration_ms=162_000)
        JobAttemptFactory.create(uow=uow, job_id="done", duration_ms=850)


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["off", "broke", "done", "runs", "waits"]),
        (["--status", "failed"], ["broke"]),
        (["--type", "index"], ["off", "waits"]),
        (["--type", "index", "--status", "pending"], ["waits"]),
        (["--session", "jam"], ["waits"]),
        (["--session", "jam", "--status", "failed"], []),
    ],
    ids=str,
)
def test_jobs_list_filters_by_status_type_and_session(line: Line, words: list[str], found: list[str]) -> None:
    assert [each["id"] for each in line("jobs", "list", *words, "--json").documents] == found


@pytest.mark.usefixtures("queue")
def test_jobs_list_shows_the_state_of_each_job(line: Line) -> None:
    done = line("jobs", "list")

    title, *rows = (re.split(r"  +", row) for row in done.out.splitlines())
    assert (done.code, done.err) == (0, "")
    assert title == ["TYPE", "STATUS", "PRIORITY", "TRIES", "CREATED", "ERROR", "ID"]
    assert rows[1] == ["render", "failed", "0", "3/3", "2026-01-04 00:00:00Z", "it broke", "broke"]
    assert [row[1] for row in rows] == ["cancelled", "failed", "completed", "processing", "pending"]


@pytest.mark.usefixtures("queue")
def test_jobs_list_continues_from_its_cursor(line: Line) -> None:
    first = line("jobs", "list", "--json", "--limit", 4)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line("jobs", "list", "--json", "--limit", 4, "--cursor", cursor)

    assert [each["id"] for each in [*first.documents, *second.documents]] == ["off", "broke", "done", "runs", "waits"]


def test_an_empty_jobs_list_hints_at_the_next_step(line: Line) -> None:
    done = line("jobs", "list")

    assert (done.code, done.out) == (0, "")
    assert "jobs enqueue" in done.err


def test_jobs_list_fits_a_terminal_and_keeps_ids_whole(
    sqlite_path: Any, look: Store, run_at_terminal: RunAtTerminal
) -> None:
    job = look.run(jobs.enqueue, "render the whole of the second movement").job
    with look.begin() as uow:
        JobFactory.create(uow=uow, status="failed", error="many words " * 20)
    _, shown = run_at_terminal("--db", sqlite_path, "jobs", "list", variables={"NO_COLOR": "1"})
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()

    assert f"  {job.id}" in rows
    assert max(map(len, rows)) <= 80


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("waits", ["status     pending", "attempts   0 of 3", "session    jam", f"scheduled  {STAMP}, due"]),
        ("runs", ["progress  3 of 12 (25%): bass", f"lease     expired {STAMP}", "worker    worker-1"]),
        ("done", ["status    completed", 'result    {"url":"a.wav"}', f"ended     {STAMP}"]),
        ("broke", ["unique key  bar 7", "error       it broke", r"attempts    3 of 3", r'data        \{"bar":\d+\}']),
    ],
)
def test_jobs_show_prints_only_known_values(line: Line, job: str, told: list[str]) -> None:
    done = line("jobs", "show", job)

    assert (done.code, done.err) == (0, "")
    for each in told:
        pattern = each if "\\" in each else re.escape(each).replace(re.escape(STAMP), STAMP)
        assert re.search(f"^{pattern}$", done.out, re.MULTILINE), each


@pytest.mark.usefixtures("queue")
def test_jobs_show_lists_the_attempts(line: Line) -> None:
    _, _, table = line("jobs", "show", "broke").out.partition("\n2 attempts\n")

    assert [re.split(r"  +", row.strip()) for row in table.splitlines()] == [
        ["N", "WORKER", "STARTED", "TOOK", "OUTCOME"],
        ["1", "worker-1", "2026-01-01 00:00:00Z", "4.2 s", "no\\x1b[2J disk"],
        ["2", "worker-1", "2026-01-01 00:00:00Z", "2:42", "it broke"],
    ]
    assert line("jobs", "show", "done").out.splitlines()[-1].split()[-3:] == ["850", "ms", "done"]


def test_jobs_show_prints_the_time_of_the_next_attempt(line: Line, look: Store) -> None:
    with look.begin() as uow:
        JobFactory.create(
            uow=uow, id="again", attempts=1, scheduled_at=FUTURE, ready=False, error="it broke", data=None
        )
        JobFactory.create(uow=uow, id="held", status="processing", lease_expires_at=FUTURE, progress={"done": 7})
    out = line("jobs", "show", "again").out

    assert "next try  2999-01-01 18:30:00Z\n" in out
    assert "data" not in out
    held = line("jobs", "show", "held").out
    assert "lease     until 2999-01-01 18:30:00Z\n" in held
    assert "progress  7\n" in held


@pytest.mark.usefixtures("queue")
def test_jobs_show_prints_the_whole_job_as_json(line: Line) -> None:
    document = line("jobs", "show", "broke", "--json").document

    assert list(document) == ["job", "attempts"]
    assert (document["job"]["id"], document["job"]["attempts"]) == ("broke", 3)
    assert [each["duration_ms"] for each in document["attempts"]] == [4200, 162_000]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1 s"),
        (4.25, "4.2 s"),
        (59.96, "1:00"),
        (162, "2:42"),
        (3723, "1:02:03"),
        (86_400, "1 d 0:00"),
        (3 * 86_400 + 3600 + 62, "3 d 1:01:02"),
    ],
)
def test_durations_of_jobs_are_printed_with_sensible_precision(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


# --- again and off ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("queue")
def test_jobs_retry_requeues_and_shows_a_job(line: Line) -> None:
    done = line("jobs", "retry", "broke")

    assert (done.code, done.err) == (0, "")
    assert re.search(f"^next try +{STAMP}, due$", done.out, re.MULTILINE)
    assert "attempts    3 of 4\n" in done.out
    assert line("jobs", "retry", "off", "--json").document["status"] == "pending"


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["failed"], ["broke"]),
        (["cancelled"], ["off"]),
        (["failed", "--type", "render"], ["broke"]),
        (["failed", "--type", "index"], []),
        (["failed", "--session", "jam"], []),
    ],
    ids=str,
)
def test_jobs_retry_requeues_all_jobs_of_a_kind(line: Line, look: Store, words: list[str], found: list[str]) -> None:
    done = line("jobs", "retry", "--yes", "--json", "--status", *words)

    assert (done.code, done.document) == (0, {"retried": len(found)})
    pending = {each.id for each in look.query(jobs.page, status="pending").items}
    assert pending == {"waits", *found}


def test_jobs_retry_counts_asks_and_continues_until_all_are_requeued(
    line: Line, look: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with look.begin() as uow:
        JobFactory.create_batch(5, uow=uow, status="failed")
    monkeypatch.setattr(batches, "BATCH", 2)
    asked = line("jobs", "retry", "--status", "failed", stdin="y\n")
    done = line("jobs", "retry", "--status", "failed", "-y")

    assert (asked.code, asked.error.partition("?")[0]) == (2, "Try 5 failed jobs again")
    assert (done.code, done.out, done.err) == (0, "", "retried 5 jobs\n")
    assert look.query(jobs.count, status="pending") == 5


def test_jobs_retry_skips_and_reports_a_job_whose_key_is_taken(line: Line, look: Store) -> None:
    with look.begin() as uow:
        JobFactory.create(uow=uow, id="old", status="failed", unique_key="bar 7")
        JobFactory.create(uow=uow, status="failed")
        JobFactory.create(uow=uow, unique_key="bar 7")
    one, many = line("jobs", "retry", "old"), line("jobs", "retry", "--status", "failed", "-y")

    assert (one.code, one.error) == (4, "job 'bar 7' exists already")
    assert (many.code, many.out) == (0, "")
    assert many.err.startswith("retried 1 job; 1 was left: ")


def test_jobs_retry_of_no_jobs_does_not_ask(line: Line) -> None:
    done = line("jobs", "retry", "--status", "failed")

    assert (done.code, done.out, done.err) == (0, "", "retried 0 jobs\n")


@pytest.mark.parametrize(
    "words", [[], ["broke", "--status", "failed"], ["broke", "--type", "render"], ["--type", "render"]], ids=str
)
def test_jobs_retry_needs_either_an_id_or_a_status(line: Line, words: list[str]) -> None:
    done = line("jobs", "retry", *words)

    assert (done.code, done.error.partition(":")[0]) == (2, "say which")


@pytest.mark.usefixtures("queue")
def test_jobs_cancel_cancels_and_shows_a_job(line: Line, look: Store) -> None:
    done = line("jobs", "cancel", "runs", "--reason", "the set is over")

    assert (done.code, done.err) == (0, "")
    assert "status    cancelled\n" in done.out
    assert "the set is over" in done.out
    assert [each.error for each in look.query(jobs.attempts, "runs")] != [None]


@pytest.mark.usefixtures("queue")
def test_jobs_cancel_shows_the_rules_that_fired(line: Line, look: Store) -> None:
    for job_id in ("waits", "later"):
        if job_id == "later":
            look.run(jobs.enqueue, "index", session_id="jam", job_id="later")
        look.run(rules.add, "jam", triggers.JobComplete(job_id=job_id), actions.Notify(message="it is off"))
    done = line("jobs", "cancel", "waits")
    document = line("jobs", "cancel", "later", "--json").document

    assert done.code == 0
    assert "\n1 rule fired\n" in done.out
    assert 'notify:"it is off"' in done.out
    assert document["job"]["status"] == "cancelled"
    assert [each["rule"]["action"]["message"] for each in document["firings"]] == ["it is off"]


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["list", "--status", "asleep"], 4, "status: "),
        (["list", "--session", "nobody"], 3, "no session 'nobody'"),
        (["show", "nobody"], 3, "no job 'nobody'"),
        (["retry", "nobody"], 3, "no job 'nobody'"),
        (["retry", "done"], 4, "job 'done' is completed and cannot become pending"),
        (["retry", "--status", "completed"], 2, "Invalid value for '--status'"),
        (["retry", "--status", "failed", "--session", "nobody"], 3, "no session 'nobody'"),
        (["cancel", "nobody"], 3, "no job 'nobody'"),
        (["cancel", "done"], 4, "job 'done' is completed and cannot become cancelled"),
        (["stats", "--since", "yesterday"], 4, "--since: 'yesterday' is no time"),
        (["prune", "--older-than", "long"], 4, "--older-than: 'long' is no length of time"),
        (["prune", "--older-than", f"{10**6}d"], 4, "older_than: "),
        (["prune", "--older-than", "7d", "--status", "asleep"], 4, "older_than: 'asleep' is none of"),
        (["prune", "--older-than", "7d", "--status", "pending"], 4, "older_than: "),
        (["prune"], 2, "Missing option '--older-than'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_jobs_commands_refuse_invalid_values(line: Line, *, words: list[str], code: int, told: str) -> None:
    done = line("jobs", *words)

    assert done.code == code
    assert done.error.startswith(told)


def test_a_job_is_cancelled_retried_and_deleted_on_both_backends(line_on_both: Line) -> None:
    line_on_both("jobs", "enqueue", "render", "--id", "mine")
    off = line_on_both("jobs", "cancel", "mine", "--json").document["job"]
    on = line_on_both("jobs", "retry", "mine", "--json").document
    listed = line_on_both("jobs", "list", "--status", "pending", "--type", "render", "--json").documents
    counts = line_on_both("jobs", "stats", "--json").document["counts"]
    line_on_both("jobs", "cancel", "mine")
    many = line_on_both("jobs", "retry", "--status", "cancelled", "--type", "render", "--yes", "--json").document
    line_on_both("jobs", "cancel", "mine")
    gone = line_on_both("jobs", "prune", "--older-than", "0", "--yes", "--json").document

    assert (off["status"], on["status"], on["max_attempts"]) == ("cancelled", "pending", 3)
    assert [each["id"] for each in listed] == ["mine"]
    assert counts == [{"type": "render", "status": "pending", "count": 1}]
    assert (many, gone) == ({"retried": 1}, {"deleted": 1})
    assert line_on_both("jobs", "show", "mine").code == 3


# --- all of them -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("queue")
def test_jobs_stats_prints_tables(line: Line) -> None:
    done = line("jobs", "stats")

    counts, durations, rest = done.out.split("\n\n")
    assert (done.code, done.err) == (0, "")
    assert [row.split() for row in counts.splitlines()] == [
        ["TYPE", "PENDING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"],
        ["index", "1", "0", "0", "0", "1"],
        ["render", "0", "1", "1", "1", "0"],
    ]
    assert [re.split(r"  +", row.strip()) for row in durations.splitlines()] == [
        ["how long an attempt takes that succeeds"],
        ["TYPE", "ATTEMPTS", "P50", "P95", "P99"],
        ["render", "1", "850 ms", "850 ms", "850 ms"],
    ]
    oldest, expired = rest.splitlines()
    assert re.fullmatch(r"oldest pending  \d+ d \d+:\d\d(:\d\d)?", oldest)
    assert expired == "expired leases  1"


@pytest.mark.usefixtures("queue")
def test_jobs_stats_prints_one_json_document(line: Line) -> None:
    document = line("jobs", "stats", "--json").document
    later = line("jobs", "stats", "--since", "2999-01-01T00:00:00Z", "--json").document

    assert {(each["type"], each["status"]): each["count"] for each in document["counts"]} == {
        ("index", "pending"): 1,
        ("index", "cancelled"): 1,
        ("render", "processing"): 1,
        ("render", "completed"): 1,
        ("render", "failed"): 1,
    }
    assert document["durations"] == [{"type": "render", "attempts": 1, "p50_ms": 850, "p95_ms": 850, "p99_ms": 850}]
    assert document["oldest_pending_seconds"] > 0
    assert document["expired_leases"] == 1
    assert later["durations"] == []


def test_jobs_stats_of_an_empty_queue_says_so(line: Line) -> None:
    done = line("jobs", "stats")

    assert (done.code, done.out, done.err) == (0, "", "no jobs\n")
    assert line("jobs", "stats", "--json").document["counts"] == []


@pytest.fixture
def past(look: Store) -> None:
    """Jobs that ended at the year's beginning, three completed and two failed, and one that ended now."""
    with look.begin() as uow:
        JobFactory.create_batch(3, uow=uow, status="completed")
        JobFactory.create_batch(2, uow=uow, status="failed")
        JobFactory.create(uow=uow, id="new", status="completed", completed_at=datetime.now(UTC))
        JobFactory.create(uow=uow, id="waits")


def ids(look: Store) -> list[Job]:
    return look.query(jobs.page).items


@pytest.mark.usefixtures("past")
def test_jobs_prune_counts_asks_and_continues_until_all_are_gone(
    line: Line, look: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH", 2)
    asked = line("jobs", "prune", "--older-than", "1h", stdin="y\n")
    done = line("jobs", "prune", "--older-than", "1h", "--yes")

    assert (asked.code, asked.error.partition("?")[0]) == (2, "Delete 5 jobs that ended more than 1h ago")
    assert (done.code, done.out, done.err) == (0, "", "deleted 5 jobs\n")
    assert {each.id for each in ids(look)} == {"new", "waits"}


@pytest.mark.usefixtures("past")
def test_jobs_prune_can_be_limited_to_a_status(line: Line, look: Store) -> None:
    failed = line("jobs", "prune", "--older-than", "1h", "--status", "failed", "-y", "--json")
    both = line("jobs", "prune", "--older-than", "0", "--status", "failed", "--status", "completed", "-y", "--json")

    assert (failed.document, both.document) == ({"deleted": 2}, {"deleted": 4})
    assert {each.id for each in ids(look)} == {"waits"}


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 2), ("n\n", 1, 7)])
def test_jobs_prune_asks_at_a_terminal(
    sqlite_path: Any, look: Store, answer: str, run_at_terminal: RunAtTerminal, *, code: int, left: int
) -> None:
    ended, shown = run_at_terminal("--db", sqlite_path, "jobs", "prune", "--older-than", "1h", answer=answer)

    assert (ended, len(ids(look))) == (code, left)
    assert "Delete 5 jobs that ended more than 1h ago? [y/N]" in shown
    assert ("deleted 5 jobs" in shown) == (code == 0)


def test_jobs_list_escapes_an_id_that_would_move_the_cursor(line: Line, look: Store) -> None:
    with look.begin() as uow:
        JobFactory.create(uow=uow, id="odd\x1b[2J", unique_key="k")

    assert line("jobs", "enqueue", "render", "--unique-key", "k").out == "odd\\x1b[2J\n"


def test_jobs_prune_of_no_jobs_does_not_ask(line: Line) -> None:
    done = line("jobs", "prune", "--older-than", "7d")

    assert (done.code, done.out, done.err) == (0, "", "deleted 0 jobs\n")


# --- for programs that do not claim ----------------------------------------------------------------------------


def test_memva_s_job_is_completed_without_a_claim(line_on_both: Line) -> None:
    line_on_both("jobs", "enqueue", "render", "--id", "mine")
    done = line_on_both("jobs", "set-status", "mine", "completed", "--result", '{"bars": 8}', "--worker", "memva")
    assert (done.code, done.err) == (0, "")
    told = dict(row.split(maxsplit=1) for row in done.out.splitlines())
    assert (told["status"], told["attempts"], told["worker"]) == ("completed", "1 of 3", "memva")
    assert told["result"] == '{"bars":8}'
    shown = line_on_both("jobs", "show", "mine", "--json").document
    assert [(each["attempt"], each["worker_id"], each["error"]) for each in shown["attempts"]] == [(1, "memva", None)]


def test_memva_s_job_fails_without_a_claim(line: Line) -> None:
    line("jobs", "enqueue", "render", "--id", "mine")
    words = ["--error", "the disk is full", "--started", "2026-01-01T00:00:00Z"]
    done = line("jobs", "set-status", "mine", "failed", *words, "--json")
    assert (done.code, done.err, done.document["firings"]) == (0, "", [])
    assert (done.document["job"]["status"], done.document["job"]["error"]) == ("failed", "the disk is full")
    assert done.document["job"]["started_at"] == "2026-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["mine", "running"], 4, "status: a job is processing only under a lease; claim it"),
        (["mine", "failed"], 4, "error: say why the job failed"),
        (["mine", "completed", "--result", "{"], 4, None),
        (["mine", "completed", "--started", "soon"], 4, None),
        (["nothing", "completed"], 3, "no job 'nothing'"),
        (["held", "completed"], 4, None),
        (["over", "failed", "--error", "it broke"], 4, "job 'over' is completed and cannot become failed"),
    ],
    ids=str,
)
def test_jobs_set_status_refuses_what_cannot_be(
    line: Line, look: Store, words: list[str], code: int, error: str | None
) -> None:
    look.run(jobs.enqueue, "render", job_id="held")
    look.run(jobs.claim, None, "worker-1")
    line("jobs", "enqueue", "render", "--id", "mine")
    line("jobs", "enqueue", "render", "--id", "over")
    line("jobs", "set-status", "over", "completed")
    done = line("jobs", "set-status", *words)
    assert done.code == code
    assert done.error == error or (error is None and done.error)
