"""``workers`` on the line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Store, WorkerStatus, coordination, tickets, workers
from vibeweaver_store.testing import EnsembleWorkerFactory, ProjectFactory, TicketFactory, WorkerTypeFactory

SONG = "band/song"


@pytest.fixture
def song(look: Store) -> str:
    """A project with a worker of the year's first day, one of now, one that is done, and one elsewhere."""
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
        WorkerTypeFactory.create(uow=uow, project_id=SONG, worker_type="writer")
        EnsembleWorkerFactory.create(uow=uow, project_id=SONG, worker_id="w-1", pid=1234)
        EnsembleWorkerFactory.create(
            uow=uow, project_id=SONG, worker_id="w-2", status="active", started_at=datetime.now(UTC)
        )
        EnsembleWorkerFactory.create(uow=uow, project_id=SONG, worker_id="w-0", status="finished")
        EnsembleWorkerFactory.create(uow=uow, worker_id="x-1", status="finished")
        TicketFactory.create(uow=uow, project_id=SONG, ticket_id="T-1")
        tickets.claim(uow, "T-1", "w-1")
    return SONG


def test_workers_register_prints_the_id(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    line_on_both("worker-types", "create", SONG, "writer", "--prompt", "x")
    done = line_on_both("workers", "register", "w-1", SONG, "writer", "--pid", 77, "--queue", "fast")
    plain = line_on_both("workers", "register", "w-2", SONG, "writer", "--json").document
    document = line_on_both("workers", "show", "w-1", "--json").document

    assert (done.code, done.out, done.err) == (0, "w-1\n", "")
    assert (document["status"], document["pid"], document["queue_name"]) == ("spawning", 77, "fast")
    assert (plain["worker_id"], plain["pid"], plain["queue_name"]) == ("w-2", None, f"{SONG}:writer")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["w-3", "nobody", "writer"], 3, "no project 'nobody'"),
        (["w-3", SONG, "drummer"], 3, "no worker type ('band/song', 'drummer')"),
        (["w-1", SONG, "writer"], 4, "worker 'w-1' exists already"),
        (["w-3", SONG, "writer", "--pid=-1"], 4, "pid: "),
        (["w-3", SONG, "writer", "--queue", " "], 4, "queue_name: "),
    ],
    ids=str,
)
def test_workers_register_refuses_invalid_values(
    line: Line, song: str, *, words: list[str], code: int, told: str
) -> None:
    done = line("workers", "register", *words)

    assert done.code == code
    assert done.error.startswith(told)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["w-2", "x-1", "w-1", "w-0"]),
        (["--project", SONG], ["w-2", "w-1", "w-0"]),
        (["--status", "finished"], ["x-1", "w-0"]),
        (["--status", "finished", "--project", SONG], ["w-0"]),
        (["--status", "failed"], []),
    ],
    ids=str,
)
def test_workers_list_filters_by_project_and_status(
    line: Line, song: str, words: list[object], found: list[str]
) -> None:
    assert [each["worker_id"] for each in line("workers", "list", *words, "--json").documents] == found


def test_workers_list_shows_the_work_of_each_worker(line: Line, song: str) -> None:
    done = line("workers", "list", "--project", SONG)

    title, *rows = (re.split(r"  +", row) for row in done.out.splitlines())
    assert (done.code, done.err) == (0, "")
    assert title == ["WORKER", "TYPE", "STATUS", "PID", "HEARD OF", "QUEUE", "PROJECT", "STARTED"]
    assert rows[1] == [
        *("w-1", "writer", "idle", "1234", "2026-01-01 00:00:00Z"),
        *("writer-queue", SONG, "2026-01-01 00:00:00Z"),
    ]


def test_workers_list_continues_from_its_cursor(line: Line, song: str) -> None:
    first = line("workers", "list", "--json", "--limit", 3)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line("workers", "list", "--json", "--limit", 3, "--cursor", cursor)

    assert [each["worker_id"] for each in [*first.documents, *second.documents]] == ["w-2", "x-1", "w-1", "w-0"]


def test_an_empty_workers_list_hints_at_the_next_step(line: Line) -> None:
    done = line("workers", "list")

    assert (done.code, done.out) == (0, "")
    assert "workers register" in done.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["list", "--project", "nobody"], 3, "no project 'nobody'"),
        (["list", "--status", "asleep"], 4, "status: "),
        (["show", "w-9"], 3, "no worker 'w-9'"),
        (["heartbeat", "w-9"], 3, "no worker 'w-9'"),
        (["heartbeat", "w-0"], 4, "worker 'w-0' is finished"),
        (["heartbeat", "w-1", "--lease-seconds", "x"], 4, "--lease-seconds: "),
        (["set-status", "w-9", "idle"], 3, "no worker 'w-9'"),
        (["set-status", "w-0", "idle"], 4, "worker 'w-0' is finished and cannot become idle"),
        (["set-status", "w-1", "asleep"], 4, "status: "),
        (["stale", "--older-than", "soon"], 4, "--older-than: 'soon' is no length of time"),
        (["stale"], 2, "Missing option '--older-than'"),
        (["reap", "--older-than", "-5m"], 4, "--older-than: '-5m' is no length of time"),
        (["delete", "w-9"], 3, "no worker 'w-9'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_workers_commands_refuse_invalid_values(
    line: Line, song: str, *, words: list[str], code: int, told: str
) -> None:
    done = line("workers", *words)

    assert done.code == code
    assert done.error.startswith(told)


def test_workers_show_prints_the_whole_worker(line: Line, song: str) -> None:
    done = line("workers", "show", "w-1")

    assert (done.code, done.err) == (0, "")
    assert dict(row.split(None, 1) for row in done.out.replace("heard of", "heard-of").splitlines()) == {
        "worker": "w-1",
        "project": SONG,
        "type": "writer",
        "status": "idle",
        "queue": "writer-queue",
        "pid": "1234",
        "started": "2026-01-01 00:00:00Z",
        "heard-of": "2026-01-01 00:00:00Z",
    }


def test_workers_heartbeat_extends_the_claims_of_a_worker(line: Line, look: Store, song: str) -> None:
    before = look.query(tickets.get, "T-1").ticket.claim_expires_at
    done = line("workers", "heartbeat", "w-1", "--lease-seconds", "2h")
    after = look.query(tickets.get, "T-1").ticket.claim_expires_at

    assert (done.code, done.err) == (0, "")
    assert "heard of  2026-01-01" not in done.out
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 3600


def test_workers_set_status_moves_a_worker_releases_tickets_and_records_an_event(
    line: Line, look: Store, song: str
) -> None:
    done = line("workers", "set-status", "w-1", "failed", "--reason", "out of memory")

    assert (done.code, done.err) == (0, "")
    assert "status    failed\n" in done.out
    assert look.query(tickets.get, "T-1").ticket.claimed_by is None
    (event,) = look.query(coordination.page).items
    assert (event.worker_id, event.reason) == ("w-1", "out of memory")


def test_workers_stale_and_reap_list_and_reap_stale_workers(line: Line, look: Store, song: str) -> None:
    stale = line("workers", "stale", "--older-than", "5m", "--json")
    reaped = line("workers", "reap", "--older-than", "300")
    again = line("workers", "reap", "--older-than", "300")
    none = line("workers", "stale", "--older-than", "1d")

    assert [each["worker_id"] for each in stale.documents] == ["w-1"]
    assert (reaped.code, reaped.err) == (0, "")
    assert [row.split()[:3] for row in reaped.out.splitlines()[1:]] == [["w-1", "writer", "failed"]]
    assert (again.code, again.out, again.err) == (0, "", "no worker was silent for so long\n")
    assert (none.code, none.out, none.err) == (0, "", "no worker was silent for so long\n")
    assert look.query(workers.get, "w-2").status is WorkerStatus.ACTIVE
    assert look.query(tickets.get, "T-1").ticket.claimed_by is None


def test_a_worker_sends_a_heartbeat_and_is_reaped_on_both_backends(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    line_on_both("worker-types", "create", SONG, "writer", "--prompt", "x")
    line_on_both("workers", "register", "w-1", SONG, "writer")
    moved = line_on_both("workers", "set-status", "w-1", "active", "--json").document
    lives = line_on_both("workers", "heartbeat", "w-1", "--lease-seconds", "5m", "--json").document
    listed = line_on_both("workers", "list", "--project", SONG, "--status", "active", "--json").documents
    reaped = line_on_both("workers", "reap", "--older-than", "0", "--json").documents

    assert (moved["status"], lives["status"]) == ("active", "active")
    assert [each["worker_id"] for each in listed] == ["w-1"]
    assert [(each["worker_id"], each["status"]) for each in reaped] == [("w-1", "failed")]
    assert line_on_both("workers", "delete", "w-1", "--yes").code == 0


def test_workers_delete_releases_the_tickets_of_a_worker(line: Line, look: Store, song: str) -> None:
    done = line("workers", "delete", "w-1", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted worker w-1\n")
    assert look.query(workers.find, "w-1") is None
    assert look.query(tickets.get, "T-1").ticket.claimed_by is None
    assert line("workers", "delete", "w-2", "-y", "--json").document == {"deleted": "w-2"}


def test_workers_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, song: str) -> None:
    done = line("workers", "delete", "w-1", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete worker w-1, which is idle, and give back its tickets?")
    assert look.query(workers.find, "w-1") is not None


def test_workers_commands_escape_text_that_would_move_the_cursor(line: Line, look: Store) -> None:
    with look.begin() as uow:
        EnsembleWorkerFactory.create(uow=uow, worker_id="odd", queue_name="one\x1b[2J")

    for words in (["list"], ["show", "odd"]):
        assert "one\\x1b[2J" in line("workers", *words).out
