"""What a user of vibe-ensemble (seed 003) does on the line, with exit codes and streams."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import Line, RunAtTerminal
from vibeweaver_store import Store, coordination, tickets, workers
from vibeweaver_store.cli import batches
from vibeweaver_store.testing import CoordinationEventFactory

SONG = "band/song"


@pytest.fixture
def ensemble(line: Line) -> None:
    """A project with writers and reviewers."""
    make_ensemble(line)


def make_ensemble(line: Line) -> None:
    line("projects", "create", SONG, "/srv/song")
    for role in ("writer", "reviewer"):
        line("worker-types", "create", SONG, role, "--prompt", "x")


# Tickets


def test_vibe_ensemble_ticket_is_created_without_a_description(line_on_both: Line) -> None:
    make_ensemble(line_on_both)
    done = line_on_both("tickets", "create", "T-1", SONG, "--title", "Bridge", "--plan", "writer")
    page = line_on_both("tickets", "show", "T-1")

    assert (done.code, done.out, done.err) == (0, "T-1\n", "")
    assert (page.code, page.err) == (0, "")
    assert "comment" not in page.out
    assert line_on_both("tickets", "show", "T-1", "--json").document["comments"] == []


@pytest.mark.usefixtures("ensemble")
def test_vibe_ensemble_ticket_update_changes_title_and_plan(line: Line) -> None:
    line("tickets", "create", "T-1", SONG, "--title", "Bridge", "--plan", "writer,reviewer")
    line("workers", "register", "w-1", SONG, "writer")
    line("tickets", "complete-stage", "T-1", "writer", "--worker", "w-1")
    titled = line("tickets", "update", "T-1", "--title", "Outro")
    planned = line("tickets", "update", "T-1", "--plan", "writer,deployer,reviewer", "--no-strict")
    same = line("tickets", "update", "T-1", "--json").document

    assert (titled.code, titled.err, "Outro" in titled.out) == (0, "", True)
    assert (planned.code, planned.err) == (0, "")
    assert "✓ writer → ▶ deployer → · reviewer" in planned.out
    assert (same["title"], same["execution_plan"]) == ("Outro", ["writer", "deployer", "reviewer"])


@pytest.mark.usefixtures("ensemble")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["T-1", "--plan", "reviewer,writer"], 4, "execution_plan: must begin with the stages that are done: writer"),
        (["T-1", "--plan", "writer,deployer"], 3, "no worker type ('band/song', 'deployer')"),
        (["T-1", "--stage", "writer", "--stage", "writer"], 4, "execution_plan: must name each stage once"),
        (["T-1", "--plan", "writer", "--stage", "writer"], 2, "say by which stages it goes"),
        (["T-9", "--plan", "writer"], 3, "no ticket 'T-9'"),
        (["T-2", "--plan", "writer"], 4, "ticket 'T-2' is closed"),
    ],
    ids=str,
)
def test_vibe_ensemble_ticket_update_refuses_a_plan(
    line: Line, look: Store, *, words: list[str], code: int, told: str
) -> None:
    for key in ("T-1", "T-2"):
        line("tickets", "create", key, SONG, "--title", "Bridge", "--plan", "writer,reviewer")
    line("workers", "register", "w-1", SONG, "writer")
    line("tickets", "complete-stage", "T-1", "writer", "--worker", "w-1")
    line("tickets", "close", "T-2", "merged")
    done = line("tickets", "update", *words)

    assert done.code == code
    assert done.error.startswith(told)
    assert look.query(tickets.get, "T-1").ticket.execution_plan == ["writer", "reviewer"]


def test_vibe_ensemble_ticket_check_lists_missing_worker_types(line_on_both: Line) -> None:
    make_ensemble(line_on_both)
    for key, plan in (("T-1", "writer,deployer"), ("T-2", "tester,deployer"), ("T-3", "writer")):
        line_on_both("tickets", "create", key, SONG, "--title", "x", "--plan", plan, "--no-strict")
    found = line_on_both("tickets", "check")
    machine = line_on_both("tickets", "check", "--project", SONG, "--json")
    for role in ("tester", "deployer"):
        line_on_both("worker-types", "create", SONG, role, "--prompt", "x")
    sound = line_on_both("tickets", "check")

    title, *rows = found.out.splitlines()
    assert (found.code, found.err, title.split()) == (4, "", ["TICKET", "MISSING", "PROJECT"])
    assert [row.split() for row in rows] == [["T-2", "tester,", "deployer", SONG], ["T-1", "deployer", SONG]]
    assert (machine.code, machine.documents) == (
        4,
        [
            {"ticket_id": "T-2", "project_id": SONG, "worker_types": ["tester", "deployer"]},
            {"ticket_id": "T-1", "project_id": SONG, "worker_types": ["deployer"]},
        ],
    )
    assert (sound.code, sound.out) == (0, "")
    assert sound.err == "no ticket waits for a worker type that is not there\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [(["--project", "nobody"], 3, "no project 'nobody'"), (["--limit", 0], 4, "limit: ")],
    ids=str,
)
def test_vibe_ensemble_ticket_check_refuses_invalid_values(
    line: Line, words: list[object], code: int, told: str
) -> None:
    done = line("tickets", "check", *words)

    assert done.code == code
    assert done.error.startswith(told)


# Workers


def test_vibe_ensemble_worker_gets_pid_and_queue_after_spawning(line_on_both: Line) -> None:
    make_ensemble(line_on_both)
    line_on_both("workers", "register", "w-1", SONG, "writer")
    done = line_on_both("workers", "update", "w-1", "--pid", 4711, "--queue", "night-shift")
    bare = line_on_both("workers", "update", "w-1", "--no-pid", "--json")

    assert (done.code, done.err) == (0, "")
    assert "4711" in done.out
    assert "night-shift" in done.out
    assert (bare.code, bare.document["pid"], bare.document["queue_name"]) == (0, None, "night-shift")


@pytest.mark.usefixtures("ensemble")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["w-9", "--pid", 1], 3, "no worker 'w-9'"),
        (["w-1", "--pid", -1], 4, "pid: "),
        (["w-1", "--queue", " "], 4, "queue_name: "),
        (["w-1", "--pid", "many"], 2, "Invalid value for '--pid'"),
    ],
    ids=str,
)
def test_vibe_ensemble_worker_update_refuses_invalid_values(
    line: Line, look: Store, *, words: list[object], code: int, told: str
) -> None:
    line("workers", "register", "w-1", SONG, "writer")
    done = line("workers", "update", *words)

    assert done.code == code
    assert done.error.startswith(told)
    assert look.query(workers.get, "w-1").pid is None


# Events


@pytest.fixture
def events(look: Store) -> None:
    """Six events: 1 to 4 processed long ago, 5 processed now, 6 long ago and not processed."""
    with look.begin() as uow:
        CoordinationEventFactory.create_batch(4, uow=uow, processed=True)
        CoordinationEventFactory.create(uow=uow, processed=True, created_at=datetime.now(UTC) + timedelta(hours=1))
        CoordinationEventFactory.create(uow=uow)


def left(look: Store) -> list[int | None]:
    return [event.id for event in look.query(coordination.page).items]


@pytest.mark.usefixtures("events")
def test_vibe_ensemble_event_is_deleted_when_asked_for(line: Line, look: Store) -> None:
    unasked = line("coordination", "delete", 6)
    done = line("coordination", "delete", 6, "--yes")
    machine = line("coordination", "delete", 5, "-y", "--json")
    gone = line("coordination", "delete", 6, "--yes")

    assert unasked.code == 2
    assert unasked.error.startswith("Delete event 6 (ticket_stage_completed), which is not processed yet?")
    assert (done.code, done.out, done.err) == (0, "", "deleted event 6\n")
    assert (machine.code, machine.document) == (0, {"deleted": "5"})
    assert (gone.code, gone.error) == (3, "no coordination event 6")
    assert left(look) == [1, 2, 3, 4]


@pytest.mark.usefixtures("events")
def test_vibe_ensemble_event_prune_keeps_events_that_nobody_took(
    line: Line, look: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH", 2)
    unasked = line("coordination", "prune", "--older-than", "1h")
    done = line("coordination", "prune", "--older-than", "1h", "--yes")
    none = line("coordination", "prune", "--older-than", "1h")

    assert unasked.code == 2
    assert unasked.error.startswith("Delete 4 processed events recorded more than 1h ago?")
    assert (done.code, done.out, done.err) == (0, "", "deleted 4 events\n")
    assert (none.code, none.out, none.err) == (0, "", "deleted 0 events\n")
    assert left(look) == [5, 6]


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(("answer", "code", "count"), [("y\n", 0, 2), ("n\n", 1, 6)])
def test_vibe_ensemble_event_prune_asks_at_a_terminal(
    sqlite_path: Any, look: Store, run_at_terminal: RunAtTerminal, *, answer: str, code: int, count: int
) -> None:
    ended, shown = run_at_terminal("--db", sqlite_path, "coordination", "prune", "--older-than", "1h", answer=answer)

    assert (ended, len(left(look))) == (code, count)
    assert "Delete 4 processed events recorded more than 1h ago? [y/N]" in shown


def test_vibe_ensemble_event_prune_prints_json(line_on_both: Line) -> None:
    make_ensemble(line_on_both)
    line_on_both("workers", "register", "w-1", SONG, "writer")
    line_on_both("workers", "set-status", "w-1", "finished")
    line_on_both("coordination", "take")
    done = line_on_both("coordination", "prune", "--older-than", "0", "--yes", "--json")

    assert (done.code, done.document) == (0, {"deleted": 1})


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["prune"], 2, "Missing option '--older-than'"),
        (["prune", "--older-than", "long"], 4, "--older-than: 'long' is no length of time"),
        (["prune", "--older-than", f"{10**6}d"], 4, "older_than: "),
        (["delete"], 2, "Missing argument 'ID'"),
        (["delete", "one"], 2, "Invalid value for 'ID'"),
    ],
    ids=str,
)
def test_vibe_ensemble_event_commands_refuse_invalid_values(
    line: Line, words: list[object], code: int, told: str
) -> None:
    done = line("coordination", *words)

    assert done.code == code
    assert done.error.startswith(told)
