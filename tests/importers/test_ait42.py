"""AIT42's session files: what becomes of a session, what is left out and why, and that a file comes in once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.importers.foreign_files import ait42_file, ait42_instance, ait42_message, ait42_session
from tests.importers.undoing import content, undo_all
from tests.shared_data import AIT42, needs_shared_data
from vibeweaver_store import InvalidInput, Store, sessions
from vibeweaver_store.importers import ait42
from vibeweaver_store.importers.ait42 import import_ait42
from vibeweaver_store.importers.ait42_format import read_session, rows_of
from vibeweaver_store.importers.runs import ImportReport
from vibeweaver_store.models import ImportStatus, InstanceStatus, MessageRole, SessionKind, SessionStatus
from vibeweaver_store.services import arenas, imports, messages, workspaces
from vibeweaver_store.services.arenas import WholeArena
from vibeweaver_store.testing import SessionFactory

EARLY = datetime(2025, 1, 13, 10, 0, tzinfo=UTC)
LATE = datetime(2025, 1, 13, 12, 30, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "0123456789abcdef.json"


def bring(store: Store, file: Path, *documents: Any, **options: Any) -> ImportReport:
    return import_ait42(store, [ait42_file(file, documents)], **{"workspace": "/srv/app", **options})


def reasons(report: ImportReport) -> list[str]:
    return [problem.reason for problem in report.problems]


def found(store: Store, session_id: str = "session-1") -> WholeArena:
    return store.query(arenas.get, session_id)


# --- the real file ---------------------------------------------------------------------------------------------


@needs_shared_data
def test_the_sample_of_ait42_itself_is_imported_whole(store: Store, other: Store) -> None:
    raw = [each for file in AIT42.glob("*.json") for each in json.loads(file.read_text())]

    report = import_ait42(store, [AIT42], workspace="/srv/app")

    assert report.problems == []
    assert (report.counts.read, report.counts.new, report.counts.sessions) == (len(raw), len(raw), len(raw))
    assert report.counts.messages == sum(len(each["chatHistory"]) for each in raw)
    for each in raw:
        whole = found(other, each["id"])
        said = other.query(messages.page, each["id"]).items
        assert [message.public_id for message in said] == [message["id"] for message in each["chatHistory"]]
        assert [message.content for message in said] == [message["content"] for message in each["chatHistory"]]
        assert [one.branch for one in whole.instances] == [one["branch"] for one in each["instances"]]
        assert whole.arena.total_lines_added == each.get("totalLinesAdded")
        assert (whole.session.kind, whole.session.status) == (each["type"], each["status"])


@needs_shared_data
def test_the_sample_of_ait42_is_imported_only_once(store: Store, other: Store) -> None:
    import_ait42(store, [AIT42], workspace="/srv/app")
    before = content(other)

    again = import_ait42(store, [AIT42], workspace="/srv/app")

    assert content(other) == before
    assert (again.counts.read, again.counts.new, again.counts.duplicate) == (3, 0, 3)
    assert (again.unchanged, again.import_ids) == (1, [])


# --- a session -------------------------------------------------------------------------------------------------


def test_an_ait42_session_becomes_an_arena_in_the_workspace(store: Store, other: Store, file: Path) -> None:
    session = ait42_session(
        model="claude-sonnet-4-5",
        timeoutSeconds=300,
        preserveWorktrees=True,
        winnerId=1,
        totalDuration=9000,
        totalFilesChanged=15,
        totalLinesAdded=320,
        totalLinesDeleted=85,
        runtimeMix=["claude", "codex", "claude"],
        instances=[ait42_instance(0), ait42_instance(1)],
    )

    bring(store, file, session)

    whole = found(other)
    assert (whole.session.kind, whole.session.name) == (SessionKind.COMPETITION, "Implement the login")
    assert (whole.session.tempo_bpm, whole.session.attributes) == (None, {})
    assert (whole.session.created_at, whole.session.updated_at, whole.session.last_activity_at) == (EARLY, LATE, LATE)
    assert whole.session.workspace_id is not None
    assert other.query(workspaces.get, whole.session.workspace_id).path == "/srv/app"
    arena = whole.arena
    assert (arena.task, arena.model, arena.timeout_seconds) == ("Implement the login", "claude-sonnet-4-5", 300)
    assert (arena.preserve_worktrees, arena.winner_instance_id) == (True, 1)
    assert (arena.total_duration_seconds, arena.total_files_changed) == (9000, 15)
    assert (arena.total_lines_added, arena.total_lines_deleted) == (320, 85)
    assert whole.runtimes == ["claude", "codex"]


def test_an_ait42_instance_keeps_all_its_values(store: Store, other: Store, file: Path) -> None:
    said = ait42_instance(
        3,
        status="failed",
        output="it broke",
        startTime="2025-01-13T10:00:01Z",
        endTime="2025-01-13T11:00:00Z",
        filesChanged=8,
        linesAdded=180,
        linesDeleted=45,
        runtime="claude",
        model="haiku",
        runtimeLabel="Claude Code",
    )

    bring(store, file, ait42_session(instances=[said]))

    (instance,) = found(other).instances
    assert (instance.instance_id, instance.worktree_path, instance.branch) == (3, "/tmp/worktree_3", "agent-3")
    assert (instance.agent_name, instance.tmux_session_id) == ("backend-developer", "ait42_3")
    assert (instance.status, instance.output) == (InstanceStatus.FAILED, "it broke")
    assert (instance.start_time, instance.end_time) == (EARLY + timedelta(seconds=1), EARLY + timedelta(hours=1))
    assert (instance.files_changed, instance.lines_added, instance.lines_deleted) == (8, 180, 45)
    assert (instance.runtime, instance.model, instance.runtime_label) == ("claude", "haiku", "Claude Code")


def test_ait42_chat_messages_keep_their_order_and_ids(store: Store, other: Store, file: Path) -> None:
    chat = [
        ait42_message("z", timestamp="2025-01-13T11:00:00Z"),
        ait42_message("a", role="assistant", content="Begun.", instanceId=0),
        ait42_message("m", role="system", timestamp="2025-01-13T12:00:00+02:00"),
    ]

    report = bring(store, file, ait42_session(chatHistory=chat))

    said = other.query(messages.page, "session-1").items
    assert [each.public_id for each in said] == ["z", "a", "m"]
    assert [each.role for each in said] == [MessageRole.USER, MessageRole.ASSISTANT, MessageRole.SYSTEM]
    assert (said[1].content, said[1].instance_id, said[2].created_at) == ("Begun.", 0, EARLY)
    assert {each.import_id for each in said} == set(report.import_ids)


def test_an_ait42_session_is_named_after_the_first_line_of_its_task(store: Store, other: Store, file: Path) -> None:
    bring(store, file, ait42_session(task="\n  Write it \nand test it"))

    assert found(other).session.name == "Write it"
    assert found(other).arena.task == "\n  Write it \nand test it"


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("running", SessionStatus.RUNNING),
        ("active", SessionStatus.RUNNING),
        ("paused", SessionStatus.PAUSED),
        ("completed", SessionStatus.COMPLETED),
        ("failed", SessionStatus.FAILED),
        ("error", SessionStatus.FAILED),
    ],
)
def test_ait42_statuses_are_translated(
    store: Store, other: Store, file: Path, status: str, ours: SessionStatus
) -> None:
    bring(store, file, ait42_session(status=status))

    assert found(other).session.status is ours


@pytest.mark.parametrize(("completed_at", "over"), [("2025-01-13T11:00:00Z", EARLY + timedelta(hours=1)), (None, LATE)])
def test_a_finished_ait42_session_ended_when_it_says_or_was_last_updated(
    store: Store, other: Store, file: Path, completed_at: str | None, over: datetime
) -> None:
    done = ait42_instance(status="completed")
    bring(store, file, ait42_session(status="completed", completedAt=completed_at, instances=[done]))

    whole = found(other)
    assert whole.session.completed_at == over
    assert whole.instances[0].end_time == over


def test_the_end_time_of_a_running_ait42_session_is_kept_in_attributes(store: Store, other: Store, file: Path) -> None:
    going_on = ait42_instance(7, status="idle", endTime="2025-01-13T11:00:00Z")
    bring(store, file, ait42_session(completedAt="2025-01-13T11:00:00Z", instances=[going_on]))

    whole = found(other)
    assert (whole.session.completed_at, whole.instances[0].end_time) == (None, None)
    assert whole.instances[0].status is InstanceStatus.PENDING
    assert whole.session.attributes == {
        "ait42": {
            "completedAt": "2025-01-13T11:00:00+00:00",
            "instances": {"7": {"endTime": "2025-01-13T11:00:00+00:00"}},
        }
    }


def test_unknown_values_of_an_ait42_session_are_kept(store: Store, other: Store, file: Path) -> None:
    session = ait42_session(
        labels=["urgent"],
        instances=[ait42_instance(0, score=0.5), ait42_instance(1)],
        chatHistory=[ait42_message("m", tokens=12)],
    )

    bring(store, file, session)

    assert found(other).session.attributes == {
        "ait42": {"labels": ["urgent"], "instances": {"0": {"score": 0.5}}, "chatHistory": {"m": {"tokens": 12}}}
    }


@given(
    at=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - made aware below
    offset=st.integers(-14 * 60, 14 * 60),
)
def test_an_ait42_time_of_any_zone_is_read_as_its_instant(at: datetime, offset: int) -> None:
    instant = at.replace(tzinfo=timezone(timedelta(minutes=offset)))

    assert read_session(ait42_session(createdAt=instant.isoformat())).created_at == instant


# --- what is left out ------------------------------------------------------------------------------------------

INVALID: dict[str, tuple[Any, str]] = {
    "no object": (5, "session: must be a JSON object (got 5)"),
    "instance that is no object": (ait42_session(instances=[5]), "instances.0: must be a JSON object (got 5)"),
    "message that is no object": (ait42_session(chatHistory=[[]]), "chatHistory.0: must be a JSON object (got [])"),
    "no id": (ait42_session(id=None), "id: Field required"),
    "blank id": (ait42_session(" "), "id: must not be blank"),
    "number for an id": (ait42_session(id=7), "id: "),
    "another type": (ait42_session(type="solo"), "type: "),
    "blank task": (ait42_session(task="  "), "task: must not be blank"),
    "no task": (ait42_session(task=None), "task: Field required"),
    "another status": (ait42_session(status="lost"), "status: 'lost' is none of created"),
    "naive time": (ait42_session(createdAt="2025-01-13T10:00:00"), "createdAt: has no time zone"),
    "date for a time": (ait42_session(createdAt="2025-01-13"), "createdAt: must be a time as"),
    "number for a time": (ait42_session(updatedAt=5), "updatedAt: must be a time as"),
    "impossible time": (ait42_session(updatedAt="2025-02-30T10:00:00Z"), "updatedAt: day"),
    "text for a number": (ait42_session(timeoutSeconds="300"), "timeoutSeconds: "),
    "below zero": (ait42_session(totalFilesChanged=-1), "totalFilesChanged: "),
    "number for true": (ait42_session(preserveWorktrees=1), "preserveWorktrees: "),
    "a stranger wins": (ait42_session(winnerId=3), "session: has the winner 3, which is none of its instances"),
    "instance twice": (ait42_session(instances=[ait42_instance(), ait42_instance()]), "has the instance 0 twice"),
    "message twice": (ait42_session(chatHistory=[ait42_message(), ait42_message()]), "has the message 'msg-1' twice"),
    "instance without branch": (
        ait42_session(instances=[ait42_instance(branch="")]),
        "instances.0.branch: must not be",
    ),
    "instance of no status": (
        ait42_session(instances=[ait42_instance(status="x")]),
        "instances.0.status: 'x' is none of",
    ),
    "diff too large": (ait42_session(instances=[ait42_instance(linesAdded=2**62)]), "instances.0.linesAdded: "),
    "empty message": (
        ait42_session(chatHistory=[ait42_message(content="")]),
        "chatHistory.0.content: must not be blank",
    ),
    "message of a robot": (
        ait42_session(chatHistory=[ait42_message(role="robot")]),
        "chatHistory.0.role: 'robot' is none of",
    ),
    "nul": (ait42_session(task="a\x00b"), "task: must not contain NUL"),
    "lone surrogate": (ait42_session(task="\ud800"), "task: must be valid Unicode"),
    "infinity": (ait42_session(totalDuration=float("inf")), "totalDuration: "),
    "nul aside": (ait42_session(note="a\x00b"), "attributes: must not contain NUL"),
    "no chat": (ait42_session(chatHistory="none"), "chatHistory: "),
}


@pytest.mark.parametrize(("document", "reason"), INVALID.values(), ids=INVALID)
def test_an_invalid_ait42_session_is_rejected_with_the_reason(document: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rows_of(read_session(document), 1)

    assert reason in refused.value.message


def test_an_ait42_import_reports_invalid_sessions_and_takes_the_rest(store: Store, other: Store, file: Path) -> None:
    invalid = [document for document, _ in INVALID.values()]

    report = bring(store, file, *invalid, ait42_session("good"))

    assert {problem.source for problem in report.problems} == {str(file)}
    assert [reason.split(":")[0].split(" ")[:2] for reason in reasons(report)] == [
        ["session", str(number)] for number in range(1, len(invalid) + 1)
    ]
    assert reasons(report)[-1].startswith("session 30 'session-1': chatHistory: ")
    counts = report.counts
    assert (counts.read, counts.new, counts.broken) == (len(invalid) + 1, 1, len(invalid))
    assert [each.id for each in other.query(sessions.page).items] == ["good"]


def test_the_second_of_two_ait42_sessions_with_one_id_is_rejected(store: Store, other: Store, file: Path) -> None:
    report = bring(store, file, ait42_session(task="first"), ait42_session(task="second"))

    assert reasons(report) == ["session 2 'session-1': id: it came before in the file"]
    assert found(other).arena.task == "first"


def test_a_strict_ait42_import_takes_nothing_of_a_file_with_an_invalid_session(
    store: Store, other: Store, tmp_path: Path
) -> None:
    ait42_file(tmp_path / "bad.json", [ait42_session("one"), ait42_session(""), ait42_session("two")])
    ait42_file(tmp_path / "good.json", [ait42_session("three")])

    report = import_ait42(store, [tmp_path], workspace="/srv/app", strict=True)

    assert [each.id for each in other.query(sessions.page).items] == ["three"]
    assert (report.counts.read, report.counts.new, report.counts.broken) == (4, 1, 3)
    assert reasons(report)[1:] == [
        "session 'one': others of its file are invalid",
        "session 'two': others of its file are invalid",
    ]


# --- secrets ---------------------------------------------------------------------------------------------------

SECRET = "sk-ant-api03-" + "a1b2c3d4" * 4


def test_an_ait42_import_redacts_secrets_by_default(store: Store, other: Store, file: Path) -> None:
    session = ait42_session(
        task=f"Use {SECRET}",
        extra={"api_key": "plain"},
        instances=[ait42_instance(output=f"export KEY={SECRET}")],
        chatHistory=[ait42_message(content=SECRET)],
    )

    report = bring(store, file, session)

    whole = found(other)
    assert report.counts.redacted == 4
    assert SECRET not in str(content(other))
    assert (whole.session.name, whole.arena.task) == ("Use [redacted]", "Use [redacted]")
    assert whole.session.attributes == {"ait42": {"extra": {"api_key": "[redacted]"}}}
    undo_all(store, report)
    assert bring(store, file, session, redact=False).counts.redacted == 0
    assert found(other).instances[0].output == f"export KEY={SECRET}"
    assert other.query(messages.page, "session-1").items[0].content == SECRET


def test_the_report_of_an_ait42_import_redacts_secrets(store: Store, other: Store, file: Path) -> None:
    report = bring(store, file, ait42_session("good"), ait42_session(status=SECRET))

    assert SECRET[:20] not in str([report.as_document(), other.query(imports.page).items[0].report])
    assert reasons(report)[0].startswith("session 2 'session-1': status: '[redacted]' is none of")


# --- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "this is no JSON: "),
        ('{"id": "session-1"}', "an array of sessions is wanted"),
        ("\xff", "this is no JSON: "),
        ("[" * 100_000, "this is no JSON: "),
    ],
    ids=["cut off", "an object", "no UTF-8", "deep"],
)
def test_an_ait42_import_reports_unreadable_files_and_takes_the_rest(
    store: Store, other: Store, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    ait42_file(tmp_path / "b.json", [ait42_session()])

    report = import_ait42(store, [tmp_path], workspace="/srv/app")

    (problem,) = report.problems
    assert problem.source == str(tmp_path / "a.json")
    assert problem.reason.startswith(reason)
    assert (report.sources, report.counts.new) == (2, 1)
    assert found(other).session.id == "session-1"


def test_an_ait42_import_reports_a_missing_file(store: Store, tmp_path: Path) -> None:
    report = import_ait42(store, [tmp_path / "none.json"], workspace="/srv/app")

    assert reasons(report) == ["there is no such file"]


def test_an_ait42_import_reports_a_file_that_is_too_large(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ait42, "MAX_FILE_BYTES", 100)

    assert "it holds more than" in reasons(bring(store, file, ait42_session()))[0]


def test_a_blank_ait42_file_has_no_sessions(store: Store, file: Path) -> None:
    file.write_text(" \n")

    report = import_ait42(store, [file], workspace="/srv/app")

    assert (report.problem_count, report.sources, report.unchanged) == (0, 1, 1)


def test_an_ait42_import_of_a_folder_reads_its_json_files_by_name(store: Store, other: Store, tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "notes.txt"):
        ait42_file(tmp_path / name, [ait42_session("once"), ait42_session(name)])

    report = import_ait42(store, [tmp_path], workspace="/srv/app")

    assert {each.id for each in other.query(sessions.page).items} == {"once", "a.json", "b.json"}
    assert (report.sources, report.counts.new, report.counts.duplicate) == (2, 3, 1)


# --- workspaces ------------------------------------------------------------------------------------------------


def test_an_ait42_import_takes_workspaces_of_files_from_a_mapping(store: Store, other: Store, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        ait42_file(tmp_path / f"{name}.json", [ait42_session(name)])

    import_ait42(store, [tmp_path], workspace="/srv/rest", mapping={"one.json": "/srv/1", "two": "/srv/2/"})

    whole = {name: other.query(sessions.get, name).workspace_id or "" for name in ("one", "two", "three")}
    paths = {name: other.query(workspaces.get, key).path for name, key in whole.items()}
    assert paths == {"one": "/srv/1", "two": "/srv/2", "three": "/srv/rest"}


def test_an_ait42_file_named_after_the_hash_of_a_known_workspace_belongs_to_it(
    store: Store, other: Store, tmp_path: Path
) -> None:
    known = store.run(workspaces.ensure, "/srv/app")
    report = bring(store, tmp_path / f"{known.path_hash}.json", ait42_session(), workspace=None)

    assert report.problems == []
    assert found(other).session.workspace_id == known.id


@pytest.mark.parametrize("mapping", [None, {"another": "/srv/app"}])
def test_an_ait42_file_of_an_unknown_workspace_is_rejected(
    store: Store, other: Store, file: Path, mapping: dict[str, str] | None
) -> None:
    report = bring(store, file, ait42_session(), workspace=None, mapping=mapping)

    assert reasons(report) == [f"its workspace is not known: give one, or a mapping that has {file.name!r}"]
    assert other.query(sessions.page).items == []


@pytest.mark.parametrize("path", ["", 5, "a\x00b"])
def test_an_ait42_import_reports_an_invalid_workspace(store: Store, file: Path, path: Any) -> None:
    report = bring(store, file, ait42_session(), mapping={file.name: path})

    assert reasons(report)[0].startswith("its workspace: path: ")


# --- again, tried, undone --------------------------------------------------------------------------------------


def test_an_ait42_import_leaves_an_existing_session_as_it_is(store: Store, other: Store, file: Path) -> None:
    with store.begin() as uow:
        SessionFactory.create(uow=uow, id="session-1", name="ours", status=SessionStatus.RUNNING)

    said = [ait42_message("a"), ait42_message("b")]
    report = bring(store, file, ait42_session(status="completed", chatHistory=said), ait42_session("new"))

    assert (report.counts.new, report.counts.duplicate, report.problems) == (1, 1, [])
    assert [note.text for note in report.notes] == [
        "session 1 'session-1' is here already and did not come from AIT42; it stays as it is here"
    ]
    assert other.query(sessions.get, "session-1").status is SessionStatus.RUNNING
    assert len(other.query(messages.page, "session-1").items) == 0
    assert found(other, "new").session.id == "new"


def test_a_dry_run_of_an_ait42_import_reports_the_same_and_writes_nothing(
    store: Store, other: Store, file: Path
) -> None:
    documents = [ait42_session(chatHistory=[ait42_message()]), ait42_session("")]
    before = content(other)

    tried = bring(store, file, *documents, dry_run=True)

    assert content(other) == before
    assert other.query(imports.page).items == []
    done = bring(store, file, *documents)
    assert {**tried.as_document(), "seconds": 0} == {**done.as_document(), "seconds": 0, "dry_run": True, "imports": []}


def test_an_ait42_import_is_recorded(store: Store, other: Store, file: Path) -> None:
    report = bring(store, file, ait42_session(), 5)

    (recorded,) = other.query(imports.page).items
    assert [recorded.id] == report.import_ids
    assert (recorded.importer, recorded.source, recorded.status) == ("ait42", str(file), ImportStatus.COMPLETED)
    assert (recorded.counts["read"], recorded.counts["new"], recorded.counts["broken"]) == (2, 1, 1)
    assert len(recorded.report["problems"]) == 1


def test_an_undone_ait42_import_leaves_nothing_and_can_be_repeated(store: Store, other: Store, file: Path) -> None:
    with store.begin() as uow:
        SessionFactory.create(uow=uow, id="there")
    before = content(other)
    whole = ait42_session(
        winnerId=0, runtimeMix=["claude"], instances=[ait42_instance()], chatHistory=[ait42_message()]
    )

    report = bring(store, file, whole, ait42_session("there"))
    undo_all(store, report)

    assert content(other) == before
    assert bring(store, file, whole).counts.new == 1


def test_an_undone_ait42_import_leaves_an_existing_workspace(store: Store, other: Store, file: Path) -> None:
    made = store.run(workspaces.ensure, "/srv/app")

    undo_all(store, bring(store, file, ait42_session()))

    assert [each.id for each in other.query(workspaces.page).items] == [made.id]


def test_an_ait42_import_reports_progress_in_bytes(store: Store, file: Path) -> None:
    told: list[int] = []

    bring(store, file, ait42_session(), progress=told.append)

    assert sum(told) == file.stat().st_size
