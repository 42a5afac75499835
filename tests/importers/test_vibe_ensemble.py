"""A vibe-ensemble database: projects with all that is in them, the first time and when more was done since."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.importers.foreign_files import (
    OF_VIBE_ENSEMBLE,
    lulu_database,
    vibe_ensemble_database,
    whole_ensemble,
    write_rows,
)
from tests.importers.undoing import content, undo_all
from vibeweaver_store import ImportRejected, Store, StoreError
from vibeweaver_store.importers import foreign_database
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.importers.vibe_ensemble import import_vibe_ensemble
from vibeweaver_store.models import (
    Comment,
    CoordinationEvent,
    CoordinationEventType,
    EnsembleWorker,
    ImportStatus,
    Project,
    Ticket,
    WorkerStatus,
    WorkerType,
)
from vibeweaver_store.models.base import Base
from vibeweaver_store.services import coordination, imports, tickets
from vibeweaver_store.testing import (
    CommentFactory,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    SettableClock,
    TicketFactory,
    WorkerTypeFactory,
)

T = TypeVar("T", bound=Base)

AT_TEN = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
HALF_PAST_TWELVE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)
SONG = [{"repository_name": "band/song"}]
ONE = [{"ticket_id": "T-1"}]
SECRET = "sk-ant-api03-" + "a1b2c3d4" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ensemble.db"


def rows_of(store: Store, table: type[T]) -> list[T]:
    """Every row of a table, by its key."""
    with store.read() as uow:
        key = list(sa.inspect(table).primary_key)
        return list(uow.exec(select(table).order_by(*key)))


def said(store: Store) -> list[str]:
    return [each.content for each in rows_of(store, Comment)]


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def edit(store: Store, table: type[Base], *where: Any, **values: Any) -> None:
    with store.begin() as uow:
        uow.exec(sa.update(table).where(*where).values(**values))


def change(path: Path, statement: str) -> None:
    """Have vibe-ensemble itself go on."""
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute(statement)


# --- as its programs wrote it ----------------------------------------------------------------------------------

WRITTEN = """
INSERT INTO projects (repository_name, path) VALUES ('band/song', '/srv/song');
INSERT INTO worker_types (project_id, worker_type, system_prompt) VALUES ('band/song', 'writer', 'You write.');
INSERT INTO tickets (ticket_id, project_id, title, execution_plan)
    VALUES ('T-1', 'band/song', 'A chorus', '["writer", "mixer"]');
INSERT INTO tickets (ticket_id, project_id, title, execution_plan)
    VALUES ('T-2', 'band/song', 'A bridge', '["writer"]');
INSERT INTO workers (worker_id, project_id, worker_type, status, queue_name)
    VALUES ('w-1', 'band/song', 'writer', 'spawning', 'writers');
UPDATE workers SET pid = 4711, status = 'active', last_activity = datetime('now') WHERE worker_id = 'w-1';
UPDATE tickets SET last_completed_stage = 'writer', closed_at = datetime('now') WHERE ticket_id = 'T-2';
INSERT INTO events (event_type, ticket_id, worker_id, stage) VALUES ('ticket_stage_completed', 'T-2', 'w-1', 'writer');
UPDATE projects SET short_description = 'One song', updated_at = datetime('now') WHERE repository_name = 'band/song';
"""
"""The seed's own SQL: no description, a worker type that comes later, a pid after spawning."""


def test_vibe_ensemble_databases_are_imported_as_their_programs_wrote_them(
    store: Store, other: Store, path: Path
) -> None:
    vibe_ensemble_database(path)
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(WRITTEN)

    report = import_vibe_ensemble(store, path)

    assert (report.problems, report.counts.new) == ([], 6)
    planned, closed = rows_of(other, Ticket)
    assert (planned.next_stage, planned.closed_at) == ("writer", None)
    assert (closed.next_stage, closed.closed_at is not None) == (None, True)
    assert rows_of(other, Comment) == []
    assert [each.worker_types for each in other.query(tickets.check).items] == [("mixer",)]
    (worker,) = rows_of(other, EnsembleWorker)
    assert (worker.pid, worker.status) == (4711, WorkerStatus.ACTIVE)
    (project,) = rows_of(other, Project)
    assert project.short_description == "One song"


def test_vibe_ensemble_tickets_go_on_after_the_import(store: Store, path: Path) -> None:
    vibe_ensemble_database(path)
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(WRITTEN)
    import_vibe_ensemble(store, path)

    store.run(tickets.complete_stage, "T-1", "writer", worker_id="w-1")
    changed = store.run(tickets.update, "T-1", execution_plan=["writer"])
    (theirs_event, ours) = store.run(coordination.take)

    assert changed.next_stage is None
    assert (theirs_event.ticket_id, ours.ticket_id) == ("T-2", "T-1")
    assert store.query(tickets.check).items == []
    assert import_vibe_ensemble(store, path).counts.new == 0


def test_vibe_ensemble_events_pruned_here_come_again_as_the_file_has_them(
    store: Store, other: Store, path: Path, clock: SettableClock
) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    store.run(coordination.take)
    clock.advance(days=400)
    assert store.run(coordination.prune, timedelta(days=1)) == 2

    assert import_vibe_ensemble(store, path).counts.new == 2

    assert [each.processed for each in rows_of(other, CoordinationEvent)] == [True, False]


# --- the first time --------------------------------------------------------------------------------------------


def test_an_ensemble_project_keeps_its_keys_and_times(store: Store, other: Store, path: Path) -> None:
    report = import_vibe_ensemble(store, whole_ensemble(path))

    (import_id,) = report.import_ids
    made_then = {"created_at": AT_TEN, "updated_at": HALF_PAST_TWELVE, "import_id": import_id}
    assert [each.model_dump() for each in rows_of(other, Project)] == [
        {"repository_name": "band/song", "path": "/srv/song", "short_description": None, **made_then}
    ]
    assert [each.model_dump(exclude={"id"}) for each in rows_of(other, WorkerType)] == [
        {"project_id": "band/song", "worker_type": name, "short_description": None, "system_prompt": does, **made_then}
        for name, does in (("writer", "You write."), ("reviewer", "You review."))
    ]
    (ticket,) = rows_of(other, Ticket)
    assert ticket.model_dump() == {
        "ticket_id": "T-1",
        "project_id": "band/song",
        "title": "A chorus",
        "execution_plan": ["writer", "reviewer"],
        "last_completed_stage": "writer",
        "next_stage": "reviewer",
        **dict.fromkeys(["claimed_by", "claim_expires_at", "outcome", "closed_at"]),
        **made_then,
    }
    first, second = rows_of(other, Comment)
    assert (first.content, first.stage_number, first.worker_type, first.worker_id) == ("Four bars.", 0, None, None)
    assert (second.content, second.stage_number, second.worker_type, second.worker_id) == (
        *("Written.", 1, "writer", "w-1"),
    )
    assert (second.ticket_id, second.created_at, second.import_id) == ("T-1", AT_TEN, import_id)
    counts = report.counts
    assert (counts.read, counts.new, counts.duplicate, counts.broken) == (10, 10, 0, 0)


def test_ensemble_workers_and_events_are_imported_as_they_were(store: Store, other: Store, path: Path) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))

    one, two = rows_of(other, EnsembleWorker)
    assert (one.worker_id, one.project_id, one.worker_type, one.queue_name) == ("w-1", "band/song", "writer", "writers")
    assert (one.status, one.pid, one.started_at, one.last_activity) == (
        *(WorkerStatus.IDLE, 4711, AT_TEN, HALF_PAST_TWELVE),
    )
    assert (two.status, two.pid) == (WorkerStatus.FAILED, None)
    done, stopped = rows_of(other, CoordinationEvent)
    assert (done.event_type, done.ticket_id, done.worker_id, done.stage, done.reason, done.processed) == (
        *(CoordinationEventType.TICKET_STAGE_COMPLETED, "T-1", "w-1", "writer", None, True),
    )
    assert (stopped.event_type, stopped.worker_id, stopped.reason, stopped.processed) == (
        *(CoordinationEventType.WORKER_STOPPED, "w-2", "out of memory", False),
    )
    assert {done.created_at, stopped.created_at} == {AT_TEN}


@pytest.mark.parametrize(
    ("plan", "done", "closed_at", "next_stage"),
    [
        (["writer", "reviewer"], "Planned", None, "writer"),
        (["writer", "reviewer"], "writer", None, "reviewer"),
        (["writer", "reviewer"], "reviewer", None, None),
        (["writer", "reviewer"], "writer", "2025-01-13 12:00:00", None),
        (["nobody here is called so"], "Planned", None, "nobody here is called so"),
        (["作曲", "🎹"], "作曲", None, "🎹"),
    ],
    ids=["planned", "on its way", "done", "closed", "unknown worker types", "Unicode"],
)
def test_the_next_stage_of_an_ensemble_ticket_follows_from_its_plan(
    store: Store, path: Path, *, plan: list[str], done: str, closed_at: str | None, next_stage: str | None
) -> None:
    ticket = {"ticket_id": "T-1", "execution_plan": json.dumps(plan), "last_completed_stage": done}
    report = import_vibe_ensemble(
        store, vibe_ensemble_database(path, projects=SONG, tickets=[{**ticket, "closed_at": closed_at}])
    )

    (found,) = rows_of(store, Ticket)
    assert report.problems == []
    assert (found.execution_plan, found.last_completed_stage, found.next_stage) == (plan, done, next_stage)
    assert (found.closed_at is None, found.outcome) == (closed_at is None, None)


def test_ensemble_events_belong_to_the_project_of_their_ticket_or_worker(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 2)
    events: list[dict[str, Any]] = [
        {"ticket_id": "T-2", "created_at": "2025-01-13 12:00:00"},
        {"ticket_id": "gone", "worker_id": "w-1"},
        {"ticket_id": "gone"},
        {"worker_id": "gone", "event_type": "worker_stopped"},
        {"ticket_id": "T-1", "worker_id": "w-2"},
    ]
    vibe_ensemble_database(
        path,
        projects=[*SONG, {"repository_name": "band/other"}],
        tickets=[*ONE, {"ticket_id": "T-2", "project_id": "band/other"}],
        workers=[{"worker_id": "w-1"}, {"worker_id": "w-2", "project_id": "band/other"}],
        events=events,
    )

    assert import_vibe_ensemble(store, path).problems == []

    found = rows_of(other, CoordinationEvent)
    assert [each.project_id for each in found] == ["band/other", "band/song", None, None, "band/song"]
    assert [(each.ticket_id, each.worker_id) for each in found] == [
        (each.get("ticket_id"), each.get("worker_id")) for each in events
    ]


def test_ensemble_comments_keep_their_order_in_batches_of_any_size(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 3)
    tickets = [{"ticket_id": f"T-{n}"} for n in range(5)]
    comments = [{"ticket_id": f"T-{n % 5}", "content": f"{n % 5}: {n}"} for n in range(40)]

    report = import_vibe_ensemble(
        store, vibe_ensemble_database(path, projects=SONG, tickets=tickets, comments=comments)
    )

    assert report.counts.new == 46
    for n in range(5):
        of_ticket = [each.content for each in rows_of(other, Comment) if each.ticket_id == f"T-{n}"]
        assert of_ticket == [each["content"] for each in comments if each["ticket_id"] == f"T-{n}"]


STRANGE = ["'; DROP TABLE tickets; --", "naïve ☃ 🎹 \u202e", "%_\\", "x" * 100_000, " leading\n\tand trailing "]


def test_ensemble_texts_are_imported_verbatim(store: Store, other: Store, path: Path) -> None:
    vibe_ensemble_database(
        path,
        projects=[{"repository_name": text[:50], "short_description": text} for text in STRANGE],
        tickets=[{"ticket_id": text[:50], "project_id": text[:50], "title": text[:250]} for text in STRANGE],
        comments=[{"ticket_id": text[:50], "content": text} for text in STRANGE],
        events=[{"ticket_id": text[:50], "reason": text} for text in STRANGE],
    )

    report = import_vibe_ensemble(store, path)

    assert (report.problems, report.counts.new) == ([], 20)
    assert sorted(said(other)) == sorted(STRANGE)
    assert [each.reason for each in rows_of(other, CoordinationEvent)] == STRANGE
    assert {each.title for each in rows_of(other, Ticket)} == {text[:250] for text in STRANGE}
    assert import_vibe_ensemble(store, path).counts.duplicate == 20


def test_blank_names_in_an_ensemble_become_null(store: Store, other: Store, path: Path) -> None:
    blank = {"worker_type": "", "worker_id": " "}
    events = [{"ticket_id": "", "worker_id": "", "stage": "", "reason": ""}]
    vibe_ensemble_database(path, projects=SONG, tickets=ONE, comments=[{"content": "a", **blank}], events=events)

    assert import_vibe_ensemble(store, path).problems == []

    (comment,), (event,) = rows_of(other, Comment), rows_of(other, CoordinationEvent)
    assert (comment.worker_type, comment.worker_id) == (None, None)
    assert (event.ticket_id, event.worker_id, event.stage, event.reason) == (None, None, None, "")


def test_an_ensemble_database_in_use_is_read_as_it_is(store: Store, other: Store, path: Path) -> None:
    vibe_ensemble_database(path, projects=SONG, tickets=ONE)
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("PRAGMA wal_autocheckpoint = 0")
        with theirs:
            theirs.execute("INSERT INTO comments (ticket_id, content) VALUES ('T-1', 'in the log')")
        assert path.with_name("ensemble.db-wal").stat().st_size > 0

        report = import_vibe_ensemble(store, path)

    assert (report.counts.new, said(other)) == (3, ["in the log"])


# --- secrets ---------------------------------------------------------------------------------------------------


def with_secrets(path: Path) -> Path:
    return vibe_ensemble_database(
        path,
        projects=[{"repository_name": "band/song", "short_description": SECRET}],
        worker_types=[{"worker_type": "writer", "system_prompt": f"Use {SECRET}", "short_description": SECRET}],
        tickets=[{"ticket_id": "T-1", "title": SECRET}],
        comments=[{"content": f"The key is {SECRET}"}],
        workers=[{"worker_id": "w-1", "queue_name": SECRET}],
        events=[{"worker_id": "w-1", "reason": SECRET}],
    )


def test_an_ensemble_import_redacts_secrets_by_default(store: Store, other: Store, path: Path) -> None:
    report = import_vibe_ensemble(store, with_secrets(path))

    assert report.counts.redacted == 7
    assert SECRET not in str(content(other))
    undo_all(store, report)
    assert import_vibe_ensemble(store, path, redact=False).counts.redacted == 0
    assert str(content(other)).count(SECRET) == 7


@pytest.mark.parametrize("redact", [True, False])
def test_an_ensemble_imported_with_and_without_redaction_has_no_duplicates(
    store: Store, other: Store, path: Path, redact: bool
) -> None:
    import_vibe_ensemble(store, with_secrets(path), redact=redact)
    before = content(other)

    again = import_vibe_ensemble(store, path, redact=not redact)

    assert content(other) == before
    assert (again.counts.duplicate, again.counts.new) == (6, 0)


def test_the_report_of_an_ensemble_import_redacts_secrets(store: Store, other: Store, path: Path) -> None:
    vibe_ensemble_database(path, projects=SONG, tickets=[{"ticket_id": "T-1", "execution_plan": SECRET}])
    report = import_vibe_ensemble(store, path)

    assert report.problem_count == 1
    assert SECRET[:20] not in str([report.as_document(), content(other), other.query(imports.page).items[0].report])


# --- what cannot be read ---------------------------------------------------------------------------------------

BROKEN_TICKETS: list[tuple[dict[str, Any], str]] = [
    ({"execution_plan": '["a","b","a"]'}, "execution_plan: must name each stage once ('a' comes twice)"),
    ({"execution_plan": "[]"}, "execution_plan: "),
    ({"execution_plan": "writer"}, "execution_plan: is no JSON"),
    ({"execution_plan": '{"a":1}'}, "execution_plan: "),
    ({"execution_plan": '["a",1]'}, "execution_plan: "),
    ({"execution_plan": '["a"," "]'}, "execution_plan: must not be blank"),
    ({"execution_plan": '["Planned"]'}, "execution_plan: must not have a stage 'Planned'"),
    ({"execution_plan": json.dumps([str(n) for n in range(101)])}, "execution_plan: "),
    ({"execution_plan": b"\xff"}, "execution_plan: is no JSON"),
    ({"execution_plan": "[" * 5000}, "execution_plan: is no JSON"),
    ({"last_completed_stage": "tester"}, "last_completed_stage: must be 'Planned' or a stage of the plan"),
    ({"last_completed_stage": b"writer"}, "last_completed_stage: must be 'Planned' or a stage of the plan"),
    ({"title": "\t"}, "title: must not be blank"),
    ({"title": "x" * 1001}, "title: must be at most 1,000 bytes long"),
    ({"title": "a\x00b"}, "title: must not contain NUL characters"),
    ({"created_at": "2025-01-13"}, "created_at: must be a time"),
    ({"updated_at": 1736762400}, "updated_at: must be a time"),
    ({"closed_at": ""}, "closed_at: must be a time"),
    ({"project_id": "band/nobody"}, "its project is not there"),
]


def test_an_unreadable_ensemble_ticket_is_rejected_with_its_comments(store: Store, other: Store, path: Path) -> None:
    tickets = [{"ticket_id": f"bad-{n}", **columns} for n, (columns, _) in enumerate(BROKEN_TICKETS)]
    comments = [{"ticket_id": each["ticket_id"], "content": "a"} for each in tickets]
    vibe_ensemble_database(path, projects=SONG, tickets=[*tickets, *ONE], comments=[*comments, {"content": "kept"}])

    report = import_vibe_ensemble(store, path)

    told = reasons(report)
    of_tickets = {each.partition(": ")[0]: each.partition(": ")[2] for each in told if each.startswith("tickets")}
    for n, (_, reason) in enumerate(BROKEN_TICKETS):
        assert of_tickets[f"tickets 'bad-{n}'"].startswith(reason)
    assert len([each for each in told if each.endswith(": its ticket was left out")]) == len(tickets)
    assert ([each.ticket_id for each in rows_of(other, Ticket)], said(other)) == (["T-1"], ["kept"])
    assert (report.counts.new, report.counts.broken) == (3, 2 * len(tickets))
    assert report.counts.read == report.counts.new + report.counts.broken


def test_other_unreadable_ensemble_rows_are_rejected_alone(store: Store, other: Store, path: Path) -> None:
    broken: dict[str, list[tuple[dict[str, Any], str]]] = {
        "projects": [
            ({"repository_name": " "}, "repository_name: must not be blank"),
            ({"repository_name": "x" * 201}, "repository_name: must be at most 200 bytes long"),
            ({"repository_name": "pathless", "path": ""}, "path: must not be blank"),
            ({"repository_name": b"band"}, "repository_name: "),
        ],
        "worker_types": [
            ({"worker_type": ""}, "worker_type: must not be blank"),
            ({"worker_type": "blob", "system_prompt": b"\x00"}, "system_prompt: "),
            ({"worker_type": "stray", "project_id": "pathless"}, "its project is not there"),
        ],
        "workers": [
            ({"worker_id": "w-1", "status": "asleep"}, "status: 'asleep' is none of"),
            ({"worker_id": "w-2", "pid": -1}, "pid: "),
            ({"worker_id": "w-3", "pid": "many"}, "pid: "),
            ({"worker_id": "w-4", "queue_name": ""}, "queue_name: must not be blank"),
            ({"worker_id": "w-5", "last_activity": "now"}, "last_activity: must be a time"),
            ({"worker_id": "w-6", "project_id": "nobody"}, "its project is not there"),
            ({"worker_id": None}, "worker_id: "),
        ],
        "comments": [
            ({"content": " \n"}, "content: must not be blank"),
            ({"content": b"\xff"}, "content: "),
            ({"content": "a", "stage_number": -1}, "stage_number: "),
            ({"content": "a", "worker_id": "x" * 201}, "worker_id: must be at most 200 bytes long"),
            ({"content": "a", "created_at": "soon"}, "created_at: must be a time"),
            ({"content": "a", "ticket_id": "T-9"}, "its ticket is not there"),
        ],
        "events": [
            ({"event_type": "omen"}, "event_type: 'omen' is none of"),
            ({"processed": 2}, "processed: must be 0 or 1"),
            ({"created_at": ""}, "created_at: must be a time"),
            ({"reason": "a\x00"}, "reason: must not contain NUL characters"),
        ],
    }
    vibe_ensemble_database(
        path, checked=False, tickets=ONE, **{table: [row for row, _ in rows] for table, rows in broken.items()}
    )
    write_rows(path, OF_VIBE_ENSEMBLE, projects=SONG, comments=[{"content": "kept"}], events=[{}])

    report = import_vibe_ensemble(store, path)

    expected = [(table, reason) for table, rows in broken.items() for _, reason in rows]
    told = {each.partition(": ")[::2] for each in reasons(report)}
    for table, reason in expected:
        assert any(item.startswith(table) and why.startswith(reason) for item, why in told), (table, reason)
    assert (report.counts.broken, report.counts.new, len(told)) == (len(expected), 4, len(expected))
    assert (said(other), len(rows_of(other, CoordinationEvent))) == (["kept"], 1)


def test_an_ensemble_row_with_text_that_is_not_utf_8_is_rejected(store: Store, other: Store, path: Path) -> None:
    vibe_ensemble_database(path, projects=SONG, tickets=ONE)
    change(path, "INSERT INTO comments (ticket_id, content) VALUES ('T-1', CAST(x'ff41' AS TEXT))")
    change(
        path,
        "INSERT INTO tickets (ticket_id, project_id, title, execution_plan) VALUES "
        "(CAST(x'ff42' AS TEXT), 'band/song', 't', '[\"a\"]')",
    )
    change(path, "INSERT INTO comments (ticket_id, content) VALUES (CAST(x'ff42' AS TEXT), 'of it')")

    report = import_vibe_ensemble(store, path)

    assert sorted(each.partition(": ")[2] for each in reasons(report)) == [
        "content: must be valid Unicode (it has a lone surrogate) (got '\\udcffA')",
        "its ticket was left out",
        "ticket_id: must be valid Unicode (it has a lone surrogate) (got '\\udcffB')",
    ]
    assert [each.ticket_id for each in rows_of(other, Ticket)] == ["T-1"]


@pytest.mark.parametrize("table", ["tickets", "workers"])
def test_an_ensemble_key_taken_in_another_project_is_rejected(
    store: Store, other: Store, path: Path, table: str
) -> None:
    with store.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name="ours")
        TicketFactory.create(uow=uow, ticket_id="T-1", project_id="ours" if table == "tickets" else None)
        EnsembleWorkerFactory.create(uow=uow, worker_id="w-1", project_id="ours" if table == "workers" else None)
    keys = {"ticket_id": "T-1"} if table == "tickets" else {"worker_id": "w-1"}
    vibe_ensemble_database(path, projects=SONG, events=[keys])
    write_rows(path, OF_VIBE_ENSEMBLE, **{table: [keys]})
    if table == "tickets":
        write_rows(path, OF_VIBE_ENSEMBLE, comments=[{"content": "of another ticket"}])
    before = {**content(other), "projects": []}

    report = import_vibe_ensemble(store, path)

    kind = table.removesuffix("s")
    assert [each.partition(": ")[2] for each in reasons(report)] == [
        "its id is taken in project 'ours'",
        *(["its ticket was left out"] if table == "tickets" else []),
        f"its {kind} is another one here, of project 'ours'",
    ]
    assert {**content(other), "projects": []} == before


@pytest.mark.parametrize("kind", ["lulu", "nothing", "text", "half"])
def test_an_ensemble_import_refuses_a_database_of_another_application(
    store: Store, other: Store, path: Path, kind: str
) -> None:
    if kind == "lulu":
        lulu_database(path, sessions=[{"id": "one"}])
    elif kind == "text":
        path.write_text("not a database " * 100)
    elif kind == "half":
        change(whole_ensemble(path), "ALTER TABLE tickets RENAME COLUMN execution_plan TO plan")
    before = content(other)

    with pytest.raises(ImportRejected) as refused:
        import_vibe_ensemble(store, path)

    assert (
        refused.value.reason
        == {
            "lulu": "this is no vibe-ensemble database: it has no table projects",
            "nothing": "there is no such file",
            "text": "this is no SQLite database",
            "half": "this is no vibe-ensemble database: table tickets has no column execution_plan",
        }[kind]
    )
    assert (content(other), other.query(imports.page).items) == (before, [])


# --- again -----------------------------------------------------------------------------------------------------


def test_a_second_ensemble_import_adds_nothing(store: Store, other: Store, path: Path, clock: SettableClock) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    before = content(other)
    clock.advance(seconds=3600)

    again = import_vibe_ensemble(store, path)

    assert content(other) == before
    assert (again.counts.read, again.counts.duplicate, again.counts.new) == (10, 10, 0)
    assert (again.unchanged, again.import_ids, len(other.query(imports.page).items)) == (1, [], 1)


def test_an_ensemble_import_of_a_copy_adds_nothing(store: Store, other: Store, path: Path, tmp_path: Path) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    before = content(other)

    again = import_vibe_ensemble(store, whole_ensemble(tmp_path / "copy.db"))

    assert (content(other), again.counts.duplicate) == (before, 10)


def test_a_second_ensemble_import_adds_new_rows(store: Store, other: Store, path: Path) -> None:
    first = import_vibe_ensemble(store, whole_ensemble(path))
    before = content(other)
    write_rows(
        path,
        OF_VIBE_ENSEMBLE,
        projects=[{"repository_name": "band/new"}],
        worker_types=[{"worker_type": "tester"}],
        tickets=[{"ticket_id": "T-2"}],
        comments=[{"content": "Reviewed.", "stage_number": 2}, {"ticket_id": "T-2", "content": "A verse."}],
        workers=[{"worker_id": "w-3"}],
        events=[{"ticket_id": "T-1", "stage": "reviewer"}],
    )

    again = import_vibe_ensemble(store, path)

    assert (again.counts.new, again.counts.duplicate) == (7, 10)
    assert said(other) == ["Four bars.", "Written.", "Reviewed.", "A verse."]
    assert [each.stage for each in rows_of(other, CoordinationEvent)] == ["writer", None, "reviewer"]
    undo_all(store, again)
    assert content(other) == before
    undo_all(store, first)
    assert not any(content(other).values())


def test_a_ticket_that_moved_in_the_ensemble_stays_as_it_is_here(store: Store, other: Store, path: Path) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    before = content(other)
    change(path, "UPDATE tickets SET last_completed_stage = 'reviewer', closed_at = datetime('now'), title = 'later'")
    change(path, "UPDATE workers SET status = 'finished'")
    change(path, "UPDATE events SET processed = 1")
    change(path, "UPDATE projects SET path = '/elsewhere'")

    again = import_vibe_ensemble(store, path)

    assert (content(other), again.counts.duplicate, again.unchanged) == (before, 10, 1)


def test_an_ensemble_ticket_that_moved_here_stays_as_it_is(store: Store, other: Store, path: Path) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    edit(store, Ticket, last_completed_stage="reviewer", next_stage=None, closed_at=HALF_PAST_TWELVE, outcome="sung")
    edit(store, CoordinationEvent, processed=True)
    write_rows(path, OF_VIBE_ENSEMBLE, comments=[{"content": "And louder."}])
    before = {**content(other), "comments": []}

    again = import_vibe_ensemble(store, path)

    assert {**content(other), "comments": []} == before
    assert (again.counts.new, said(other)[-1]) == (1, "And louder.")


def test_equal_ensemble_comments_and_events_are_all_imported(
    store: Store, other: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_database, "BATCH_ROWS", 2)
    same: dict[str, Any] = {
        "comments": [{"content": "+1"}] * 3,
        "events": [{"ticket_id": "T-1", "stage": "writer"}] * 3,
    }
    import_vibe_ensemble(store, vibe_ensemble_database(path, projects=SONG, tickets=ONE, **same))
    write_rows(path, OF_VIBE_ENSEMBLE, **same)

    again = import_vibe_ensemble(store, path)

    assert (again.counts.new, again.counts.duplicate) == (6, 8)
    assert (len(rows_of(other, Comment)), len(rows_of(other, CoordinationEvent))) == (6, 6)
    assert import_vibe_ensemble(store, path).counts.new == 0


def test_an_edited_ensemble_comment_is_not_imported_twice(store: Store, other: Store, path: Path) -> None:
    comments = [{"content": "first"}, {"content": "second"}, {"content": "third"}]
    import_vibe_ensemble(store, vibe_ensemble_database(path, projects=SONG, tickets=ONE, comments=comments))
    edit(store, Comment, col(Comment.content) == "first", content="FIRST")
    change(path, "UPDATE comments SET content = 'THIRD' WHERE content = 'third'")
    write_rows(path, OF_VIBE_ENSEMBLE, comments=[{"content": "fourth"}])

    again = import_vibe_ensemble(store, path)

    assert (again.counts.new, again.counts.duplicate) == (1, 5)
    assert said(other) == ["FIRST", "second", "third", "fourth"]


def test_a_repaired_ensemble_comment_is_imported(store: Store, other: Store, path: Path) -> None:
    comments: list[dict[str, Any]] = [{"content": " "}, {"content": "second"}]
    import_vibe_ensemble(store, vibe_ensemble_database(path, projects=SONG, tickets=ONE, comments=comments))
    change(path, "UPDATE comments SET content = 'mended' WHERE content = ' '")

    again = import_vibe_ensemble(store, path)

    assert (again.counts.new, said(other)) == (1, ["second", "mended"])


def test_an_ensemble_ticket_with_a_repaired_plan_is_imported_with_comments(
    store: Store, other: Store, path: Path
) -> None:
    broken = [{"ticket_id": "T-1", "execution_plan": "[]"}]
    vibe_ensemble_database(path, projects=SONG, tickets=broken, comments=[{"content": "a"}])
    assert import_vibe_ensemble(store, path).counts.broken == 2
    change(path, "UPDATE tickets SET execution_plan = '[\"writer\"]'")

    assert import_vibe_ensemble(store, path).counts.new == 2
    assert said(other) == ["a"]


def test_rows_of_an_ensemble_removed_here_are_imported_again(store: Store, other: Store, path: Path) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    with store.begin() as uow:
        uow.exec(sa.delete(Comment).where(col(Comment.content) == "Four bars."))

    again = import_vibe_ensemble(store, path)

    assert (again.counts.new, said(other)) == (1, ["Written.", "Four bars."])


def test_an_ensemble_import_adds_to_existing_rows_of_its_keys(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name="band/song", path="/ours")
        WorkerTypeFactory.create(uow=uow, project_id="band/song", worker_type="writer", system_prompt="ours")
        TicketFactory.create(uow=uow, ticket_id="T-1", project_id="band/song", execution_plan=["writer"])
        CommentFactory.create(uow=uow, ticket_id="T-1", content="ours")
        EnsembleWorkerFactory.create(uow=uow, worker_id="w-1", project_id="band/song", queue_name="ours")
        CoordinationEventFactory.create(uow=uow, project_id="band/song", ticket_id="T-1")
    before = content(other)

    report = import_vibe_ensemble(store, whole_ensemble(path))

    assert (report.counts.new, report.counts.duplicate) == (6, 4)
    after = content(other)
    assert (after["projects"], after["tickets"]) == (before["projects"], before["tickets"])
    assert set(before["workers"]) < set(after["workers"])
    assert said(other) == ["ours", "Four bars.", "Written."]
    undo_all(store, report)
    assert content(other) == before


def test_rows_of_an_undone_ensemble_import_are_imported_again_once(store: Store, other: Store, path: Path) -> None:
    first = import_vibe_ensemble(store, whole_ensemble(path))
    write_rows(path, OF_VIBE_ENSEMBLE, comments=[{"content": "Louder."}], events=[{"ticket_id": "T-1"}])
    import_vibe_ensemble(store, path)
    undo_all(store, first)

    again = import_vibe_ensemble(store, path)

    assert again.counts.duplicate + again.counts.new == 12
    assert sorted(said(other)) == ["Four bars.", "Louder.", "Written."]
    assert len(rows_of(other, CoordinationEvent)) == 3


# --- as an import ----------------------------------------------------------------------------------------------


def test_a_dry_run_of_an_ensemble_import_reports_the_same_and_writes_nothing(
    store: Store, other: Store, path: Path
) -> None:
    whole_ensemble(path)
    write_rows(
        path,
        OF_VIBE_ENSEMBLE,
        tickets=[{"ticket_id": "bad", "execution_plan": "[]"}],
        comments=[{"ticket_id": "bad", "content": "a"}],
        events=[{"ticket_id": "bad", "reason": "a\x00"}, {"ticket_id": "bad"}],
    )
    before = content(other)

    tried = import_vibe_ensemble(store, path, dry_run=True)

    assert content(other) == before
    assert other.query(imports.page).items == []
    done = import_vibe_ensemble(store, path)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}
    assert (done.counts.new, done.counts.broken) == (11, 3)


def test_an_ensemble_import_is_recorded_and_reports_progress(store: Store, other: Store, path: Path) -> None:
    told: list[int] = []
    import_vibe_ensemble(store, whole_ensemble(path), progress=told.append)

    (recorded,) = other.query(imports.page).items
    assert (recorded.importer, recorded.source, recorded.status) == (
        *("vibe-ensemble", str(path), ImportStatus.COMPLETED),
    )
    assert (recorded.counts["read"], recorded.counts["new"]) == (10, 10)
    assert sum(told) == path.stat().st_size


def test_an_undone_ensemble_import_leaves_nothing_and_can_be_repeated(store: Store, other: Store, path: Path) -> None:
    with store.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id="theirs", project_id=None)
        CommentFactory.create(uow=uow, ticket_id="theirs")
        CoordinationEventFactory.create(uow=uow)
    before = content(other)

    undo_all(store, import_vibe_ensemble(store, whole_ensemble(path)))

    assert content(other) == before
    assert import_vibe_ensemble(store, path).counts.new == 10


def test_an_ensemble_import_that_meets_damage_fails_and_keeps_earlier_batches(
    store: Store, other: Store, path: Path
) -> None:
    long = [{"content": "x" * 3000} for _ in range(200)]
    vibe_ensemble_database(path, projects=SONG, tickets=ONE, comments=long)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 16384)

    with pytest.raises(ImportRejected, match="damaged"):
        import_vibe_ensemble(store, path)

    (recorded,) = other.query(imports.page).items
    assert (recorded.status, recorded.counts["new"]) == (ImportStatus.FAILED, 1)
    assert ([each.repository_name for each in rows_of(other, Project)], rows_of(other, Ticket)) == (["band/song"], [])


def test_ensemble_rows_that_violate_the_seed_constraints_do_no_harm(store: Store, other: Store, path: Path) -> None:
    vibe_ensemble_database(path, projects=SONG, comments=[{"content": "a"}])
    change(path, "CREATE TABLE loose AS SELECT * FROM tickets")
    change(path, "DROP TABLE tickets")
    change(path, "ALTER TABLE loose RENAME TO tickets")
    write_rows(path, OF_VIBE_ENSEMBLE, tickets=[*ONE, *ONE, {**ONE[0], "last_completed_stage": "Planned"}])

    report = import_vibe_ensemble(store, path)

    assert (len(rows_of(other, Ticket)), said(other)) == (1, ["a"])
    assert report.counts.new == 3


def test_concurrent_ensemble_imports_of_a_file_make_no_duplicates(store: Store, other: Store, path: Path) -> None:
    import_vibe_ensemble(store, whole_ensemble(path))
    since = {"comments": [{"content": "Louder."}] * 20, "events": [{"ticket_id": "T-1", "stage": "writer"}] * 20}
    write_rows(path, OF_VIBE_ENSEMBLE, **since)
    together = threading.Barrier(2)

    def bring(into: Store) -> None:
        together.wait()
        with suppress(StoreError):  # the older one is refused once it is taken over
            import_vibe_ensemble(into, path)

    running = [threading.Thread(target=bring, args=(each,)) for each in (store, other)]
    for each in running:
        each.start()
    for each in running:
        each.join()

    import_vibe_ensemble(store, path)
    assert (len(said(other)), len(rows_of(other, CoordinationEvent))) == (22, 22)


# --- parents that come later, and columns that have no place here ----------------------------------------------


def test_vibe_ensemble_events_are_attached_once_their_project_comes(store: Store, other: Store, path: Path) -> None:
    vibe_ensemble_database(
        path,
        projects=[{"repository_name": "band/song", "path": " "}],
        tickets=[{"ticket_id": "T-1"}],
        comments=[{"content": "Four bars."}],
        events=[{"ticket_id": "T-1"}, {"ticket_id": "T-1"}, {"ticket_id": "T-2"}],
    )
    first = import_vibe_ensemble(store, path)
    assert [(each.ticket_id, each.project_id) for each in events_here(other)] == [
        *[("T-1", None)] * 2,
        ("T-2", None),
    ]
    assert (first.counts.new, first.problem_count) == (3, 3)
    before = content(other)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE projects SET path = '/srv/song'")

    second = import_vibe_ensemble(store, path)

    assert [(each.ticket_id, each.project_id) for each in events_here(other)] == [
        *[("T-1", "band/song")] * 2,
        ("T-2", None),
    ]
    counts = second.counts
    assert (counts.read, counts.new, counts.updated, counts.duplicate, second.problems) == (6, 3, 2, 1, [])
    third = import_vibe_ensemble(store, path)
    assert (third.counts.updated, third.counts.duplicate, third.unchanged) == (0, 6, 1)
    undo_all(store, second)
    assert content(other) == before
    undo_all(store, first)
    assert all(rows == [] for rows in content(other).values())


def test_vibe_ensemble_columns_without_a_place_are_reported_as_left_out(store: Store, path: Path) -> None:
    vibe_ensemble_database(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("projects", "worker_types", "tickets", "comments", "workers", "events"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN colour TEXT")
    red = {"colour": "red"}
    write_rows(
        path,
        OF_VIBE_ENSEMBLE,
        projects=[{"repository_name": "band/song", **red}],
        worker_types=[{"worker_type": "writer", **red}, {"worker_type": "reviewer"}],
        tickets=[{"ticket_id": "T-1", **red}],
        comments=[{"content": "Four.", **red}, {"content": "Five.", **red}],
        workers=[{"worker_id": "w-1", **red}],
        events=[{"ticket_id": "T-1", **red}],
    )

    report = import_vibe_ensemble(store, path)

    assert {problem.reason for problem in report.problems} == {
        "comments.colour was left out: there is no place for it here (2 rows)",
        *(
            f"{table}.colour was left out: there is no place for it here"
            for table in ("projects", "worker_types", "tickets", "workers", "events")
        ),
    }
    assert (report.counts.new, report.counts.broken) == (8, 0)
    assert import_vibe_ensemble(store, path).problems == []


def events_here(store: Store) -> list[CoordinationEvent]:
    with store.read() as uow:
        return list(uow.exec(select(CoordinationEvent).order_by(col(CoordinationEvent.id))))
