"""Imports: begun, gone on with, finished, found again, and undone without a trace of anything else."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.importers.undoing import content
from tests.services.bad_input import BAD_NAMES, VERBATIM, cases
from tests.services.plans import indexes_of, recorded, sqlite_plan
from tests.services.scene import build_scene, dump, make, make_many
from vibeweaver_store import (
    CorruptData,
    IllegalTransition,
    ImportStatus,
    InvalidInput,
    NotFound,
    Session,
    Store,
    arenas,
    imports,
    messages,
    rules,
    sessions,
    stats,
    workspaces,
)
from vibeweaver_store.models import Arena
from vibeweaver_store.services.imports import Brought, Undone
from vibeweaver_store.testing import (
    ArenaFactory,
    GenerationStatsFactory,
    HistoryEntryFactory,
    ImportFactory,
    InstanceFactory,
    JournalEventFactory,
    MarkerFactory,
    MessageFactory,
    RuleFactory,
    SessionFactory,
    SettableClock,
    SnapshotFactory,
    WorkspaceFactory,
)

SOURCE = "/srv/transcripts/late-set.jsonl"
NOTHING = Undone(sessions=0, messages=0, journal_events=0, workspaces=0, spaces=0, kept=0)


def begun(store: Store, source: str = SOURCE, *, importer: str = "claude-code", **values: Any) -> int:
    made = store.run(imports.begin, importer, source, "print", **values)
    assert made.id is not None
    return made.id


def status_of(store: Store, import_id: int) -> ImportStatus:
    return store.query(imports.get, import_id).status


# --- a run -----------------------------------------------------------------------------------------------------


def test_an_import_begins_running_at_the_given_offset(store: Store, other: Store, clock: SettableClock) -> None:
    made = store.run(imports.begin, "claude-code", SOURCE, "print", offset_bytes=4096)

    assert made.id is not None
    read = other.query(imports.get, made.id)
    assert (read.importer, read.source, read.fingerprint, read.offset_bytes) == ("claude-code", SOURCE, "print", 4096)
    assert (read.status, read.started_at, read.finished_at) == (ImportStatus.RUNNING, clock(), None)
    assert (read.counts, read.report) == ({}, {})


def test_beginning_an_import_again_fails_the_running_one_of_its_source(store: Store, clock: SettableClock) -> None:
    killed, elsewhere = begun(store), begun(store, "/srv/other.jsonl")
    of_another_importer = begun(store, importer="claude-stream")
    clock.advance(seconds=60)

    begun(store)

    failed = store.query(imports.get, killed)
    assert (failed.status, failed.finished_at) == (ImportStatus.FAILED, clock())
    assert status_of(store, elsewhere) == status_of(store, of_another_importer) == ImportStatus.RUNNING


def test_recording_an_import_replaces_only_the_given_values(store: Store, other: Store) -> None:
    key = begun(store)
    store.run(imports.record, key, offset_bytes=10, fingerprint="ten", counts={"read": 1}, report={"lines": 1})

    store.run(imports.record, key, offset_bytes=20, counts={"new": 2})

    read = other.query(imports.get, key)
    assert (read.offset_bytes, read.fingerprint, read.counts, read.report) == (20, "ten", {"new": 2}, {"lines": 1})
    assert read.status is ImportStatus.RUNNING


def test_finishing_an_import_completes_it_by_default(store: Store, other: Store, clock: SettableClock) -> None:
    done, broken = begun(store), begun(store, "/srv/broken.jsonl")
    clock.advance(seconds=5)

    store.run(imports.finish, done, counts={"read": 3}, report={"lines": 3})
    store.run(imports.finish, broken, status="failed")

    read = other.query(imports.get, done)
    assert (read.status, read.finished_at, read.counts, read.report) == (
        ImportStatus.COMPLETED,
        clock(),
        {"read": 3},
        {"lines": 3},
    )
    assert status_of(other, broken) is ImportStatus.FAILED


@pytest.mark.parametrize("end", ["finished", "undone", "taken over"])
def test_writing_to_an_ended_import_is_refused(store: Store, end: str) -> None:
    key = begun(store)
    if end == "finished":
        store.run(imports.finish, key)
    elif end == "undone":
        store.run(imports.undo, key)
    else:
        begun(store)
    ended = status_of(store, key)

    with pytest.raises(IllegalTransition) as recording:
        store.run(imports.record, key, offset_bytes=1)
    with pytest.raises(IllegalTransition):
        store.run(imports.record, key)
    with pytest.raises(IllegalTransition):
        store.run(imports.finish, key)

    assert (recording.value.current, recording.value.wanted) == (ended, "running")
    assert (str(recording.value) == f"import {key} was taken over by another run") is (end == "taken over")
    assert store.query(imports.get, key).offset_bytes == 0


def test_the_older_of_two_imports_begun_at_once_is_refused(store: Store) -> None:
    older, newer = 11, 12
    make_many(store, ImportFactory, {"id": older}, {"id": newer}, importer="ait42", source=SOURCE, status="running")

    for operation in (imports.record, imports.finish):
        with pytest.raises(IllegalTransition, match=f"import {older} was taken over by another run"):
            store.run(operation, older)
    store.run(imports.finish, older, status="failed")
    store.run(imports.record, newer)

    assert [status_of(store, each) for each in (older, newer)] == [ImportStatus.FAILED, ImportStatus.RUNNING]


@pytest.mark.parametrize("field", ["importer", "source"])
@pytest.mark.parametrize("bad", BAD_NAMES)
def test_an_import_with_an_invalid_importer_or_source_is_refused(lasting_store: Store, field: str, bad: Any) -> None:
    if field == "source" and isinstance(bad, str) and len(bad) > 100:
        bad = bad * 2  # a path may be longer than a name
    given = {"importer": "claude-code", "source": SOURCE, field: bad}

    with pytest.raises(InvalidInput) as refused:
        lasting_store.run(imports.begin, given["importer"], given["source"], "print")

    assert refused.value.field == field


@pytest.mark.parametrize("text", VERBATIM)
def test_import_names_are_kept_verbatim(lasting_store: Store, text: str) -> None:
    key = begun(lasting_store, text, importer=text)

    found = lasting_store.query(imports.latest, text, text)

    assert found is not None
    assert (found.id, found.importer, found.source) == (key, text, text)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("offset_bytes", -1),
        ("offset_bytes", True),
        ("offset_bytes", 2**63),
        ("offset_bytes", "12"),
        ("fingerprint", 5),
        ("fingerprint", "a\x00b"),
        ("counts", [1]),
        ("counts", {"read": float("nan")}),
        ("report", "text"),
        ("report", {"why": "\ud800"}),
    ],
)
def test_recording_an_invalid_value_of_an_import_is_refused(lasting_store: Store, field: str, bad: Any) -> None:
    key = begun(lasting_store)

    with pytest.raises(InvalidInput) as refused:
        lasting_store.run(imports.record, key, **{field: bad})

    assert refused.value.field == field


@pytest.mark.parametrize("status", ["running", "undone", "done", None])
def test_an_import_ends_only_as_completed_or_failed(lasting_store: Store, status: Any) -> None:
    key = begun(lasting_store)

    with pytest.raises(InvalidInput):
        lasting_store.run(imports.finish, key, status=status)

    assert status_of(lasting_store, key) is ImportStatus.RUNNING


@pytest.mark.parametrize("operation", [imports.get, imports.record, imports.finish, imports.undo, imports.brought])
def test_a_missing_import_is_not_found(lasting_store: Store, operation: Any) -> None:
    with lasting_store.begin() as uow:
        with pytest.raises(NotFound) as missing:
            operation(uow, 2**40)
        assert imports.find(uow, 2**40) is None  # the unit of work goes on

    assert (missing.value.entity, missing.value.key) == ("import", 2**40)


@pytest.mark.parametrize("bad", cases(text="1", a_float=1.0, true=True, below_zero=-1, nothing=None))
@pytest.mark.parametrize("operation", [imports.get, imports.find, imports.record, imports.undo])
def test_an_import_id_that_is_not_an_integer_is_refused(lasting_store: Store, operation: Any, bad: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        lasting_store.run(operation, bad)

    assert refused.value.field == "import_id"


# --- looking ---------------------------------------------------------------------------------------------------


def test_imports_are_listed_newest_first(store: Store) -> None:
    keys = [begun(store, f"/srv/{n}.jsonl") for n in range(5)]

    first = store.query(imports.page, limit=3)
    rest = store.query(imports.page, limit=3, cursor=first.next_cursor)

    assert [each.id for each in [*first.items, *rest.items]] == keys[::-1]


def test_the_latest_import_of_a_source_skips_undone_ones(store: Store) -> None:
    first, second, third = begun(store), begun(store), begun(store)
    begun(store, "/srv/other.jsonl")
    begun(store, importer="claude-stream")
    store.run(imports.undo, third)

    found = store.query(imports.latest, "claude-code", SOURCE)
    assert found is not None
    assert found.id == second

    store.run(imports.undo, second)
    store.run(imports.undo, first)
    assert store.query(imports.latest, "claude-code", SOURCE) is None


def test_rows_brought_by_an_import_are_counted(store: Store) -> None:
    key = begun(store)
    with store.begin() as uow:
        WorkspaceFactory.create(uow=uow, import_id=key)
        SessionFactory.create(uow=uow, import_id=key, id="late-set")
        for _ in range(3):
            MessageFactory.create(uow=uow, import_id=key, session_id="late-set")
        MessageFactory.create(uow=uow, session_id="late-set")
        for _ in range(2):
            JournalEventFactory.create(uow=uow, import_id=key, session_id="late-set")

    assert store.query(imports.brought, key) == Brought(sessions=1, messages=3, journal_events=2, workspaces=1)


# --- undoing ---------------------------------------------------------------------------------------------------


def bring(store: Store, key: int, session_id: str, *, messages: int = 2, events: int = 3) -> Session:
    """Have an import bring a session with its workspace, messages and journal."""
    with store.begin() as uow:
        workspace = WorkspaceFactory.create(uow=uow, import_id=key)
        session: Session = SessionFactory.create(uow=uow, id=session_id, import_id=key, workspace_id=workspace.id)
        for _ in range(messages):
            MessageFactory.create(uow=uow, session_id=session_id, import_id=key)
        for _ in range(events):
            JournalEventFactory.create(uow=uow, session_id=session_id, import_id=key)
    return session


def test_undoing_an_import_removes_only_the_rows_it_brought(store: Store, other: Store) -> None:
    scene = build_scene(store)
    bring(store, begun(store, "/srv/other.jsonl"), "another")
    before = content(other)
    key = begun(store)
    bring(store, key, "late set")
    with store.begin() as uow:
        for factory in (RuleFactory, MarkerFactory, HistoryEntryFactory, SnapshotFactory):
            factory.create(uow=uow, session_id="late set")
        for session_id in (scene.session_id, "another"):
            JournalEventFactory.create(uow=uow, import_id=key, session_id=session_id)
            MessageFactory.create(uow=uow, import_id=key, session_id=session_id)
    store.run(imports.finish, key)

    undone = store.run(imports.undo, key)

    assert undone == Undone(sessions=1, messages=4, journal_events=5, workspaces=1, spaces=0, kept=0)
    assert content(other) == before


def test_an_undone_import_reports_the_rows_removed(store: Store, other: Store, clock: SettableClock) -> None:
    key = begun(store)
    bring(store, key, "late set")
    store.run(imports.record, key, counts={"read": 3}, report={"lines": 3})
    clock.advance(seconds=9)

    undone = store.run(imports.undo, key)

    read = other.query(imports.get, key)
    assert (read.status, read.finished_at, read.counts) == (ImportStatus.UNDONE, clock(), {"read": 3})
    assert read.report["lines"] == 3
    assert read.report["undone"]["journal_events"] == undone.journal_events == 3


def test_a_second_undo_of_an_import_is_refused_and_changes_nothing(store: Store) -> None:
    key = begun(store)
    bring(store, key, "late set")
    store.run(imports.undo, key)
    before = dump(store)

    with pytest.raises(InvalidInput, match="undone before"):
        store.run(imports.undo, key)

    assert dump(store) == before


@pytest.mark.parametrize(
    "report",
    [
        {"grown": 5},
        {"grown": {"late set": 5}},
        {"grown": {"late set": {"history": [5]}}},
        {"latest": "yesterday"},
        {"latest": "2026-01-01T00:00:00"},
        {"spaces": ["drums"]},
        {"attached": {"journal_events": {"late set": [5]}}},
        {"attached": ["jobs"]},
    ],
    ids=str,
)
def test_an_import_with_an_edited_report_is_not_undone(store: Store, report: dict[str, Any]) -> None:
    key = begun(store)
    bring(store, key, "late set")
    with store.begin() as uow:
        imports.get(uow, key).report = report
    before = dump(store)

    with pytest.raises(CorruptData, match=f"import {key}: its report"):
        store.run(imports.undo, key)

    assert dump(store) == before


def test_an_import_after_an_undo_reads_its_source_from_the_start(store: Store) -> None:
    first = begun(store, offset_bytes=100)
    store.run(imports.finish, first)
    second = begun(store, offset_bytes=200)
    elsewhere = begun(store, "/srv/other.jsonl", offset_bytes=300)

    store.run(imports.undo, first)

    found = store.query(imports.latest, "claude-code", SOURCE)
    assert found is not None
    assert (found.id, found.offset_bytes) == (second, 0)
    assert found.status is ImportStatus.FAILED  # whoever is at it would note its own offset
    assert store.query(imports.get, elsewhere).offset_bytes == 300


@pytest.mark.parametrize("factory", [MessageFactory, JournalEventFactory])
@pytest.mark.parametrize("brought", [True, False])
def test_undoing_an_import_keeps_a_session_with_messages_of_others(store: Store, factory: Any, brought: bool) -> None:
    key, by_another = begun(store), begun(store, "/srv/other.jsonl")
    session = bring(store, key, "late set")
    theirs = make(store, factory, session_id="late set", import_id=by_another if brought else None)

    undone = store.run(imports.undo, key)

    assert (undone.sessions, undone.workspaces, undone.kept) == (0, 0, 1)
    kept = store.query(sessions.get, "late set")
    assert (kept.import_id, kept.version) == (by_another if brought else None, session.version + 1)
    assert [row for row in dump(store)[type(theirs).__tablename__] if "late set" in row] != []


def bring_arena(store: Store, key: int) -> None:
    """Have an import bring an arena with two instances, the second of which won."""
    with store.begin() as uow:
        SessionFactory.create(uow=uow, id="contest", kind="competition", import_id=key)
        for number in range(2):
            InstanceFactory.create(uow=uow, session_id="contest", instance_id=number, files_changed=3, import_id=key)
        ArenaFactory.create(uow=uow, session_id="contest", winner_instance_id=1, total_files_changed=6)


def test_undoing_an_import_removes_an_arena_with_its_instances(store: Store) -> None:
    before = content(store)
    key = begun(store)
    bring_arena(store, key)

    undone = store.run(imports.undo, key)

    assert (undone.sessions, undone.kept) == (1, 0)
    assert content(store) == before


def test_undoing_an_import_keeps_an_arena_with_instances_of_others(store: Store, other: Store) -> None:
    key = begun(store)
    bring_arena(store, key)
    new = arenas.NewInstance(worktree_path="/srv/mine", branch="mine", agent_name="me", tmux_session_id="mine")
    mine = store.run(arenas.add_instance, "contest", new)

    undone = store.run(imports.undo, key)

    assert (undone.sessions, undone.kept) == (0, 1)
    whole = other.query(arenas.get, "contest")
    assert [each.instance_id for each in whole.instances] == [mine.instance_id]
    assert (whole.arena.winner_instance_id, whole.arena.total_files_changed) == (None, 6)


def test_undoing_an_import_keeps_a_winner_set_by_others(store: Store, other: Store) -> None:
    key = begun(store)
    bring_arena(store, key)
    make(store, InstanceFactory, session_id="contest", instance_id=7)
    with store.begin() as uow:
        uow.exec(sa.update(Arena).values(winner_instance_id=7))

    store.run(imports.undo, key)

    assert other.query(arenas.get, "contest").arena.winner_instance_id == 7


def test_undoing_the_second_import_removes_a_session_the_first_undo_kept(store: Store) -> None:
    before = content(store)
    first, second = begun(store), begun(store, "/srv/other.jsonl")
    bring(store, first, "late set")
    make(store, MessageFactory, session_id="late set", import_id=second)
    store.run(imports.undo, first)

    undone = store.run(imports.undo, second)

    assert undone == Undone(sessions=1, messages=1, journal_events=0, workspaces=1, spaces=0, kept=0)
    assert content(store) == before


@pytest.mark.parametrize(
    ("factory", "time"),
    [
        (HistoryEntryFactory, "created_at"),
        (RuleFactory, "created_at"),
        (MarkerFactory, "created_at"),
        (SnapshotFactory, "captured_at"),
    ],
)
def test_undoing_an_import_keeps_a_session_written_to_after_it_ended(
    store: Store, clock: SettableClock, factory: Any, time: str
) -> None:
    key = begun(store)
    bring(store, key, "late set")
    bring(store, key, "early set")
    store.run(imports.finish, key)
    make(store, factory, session_id="early set", **{time: clock()})  # as the import itself would
    make(store, factory, session_id="late set", **{time: clock() + timedelta(microseconds=1)})

    undone = store.run(imports.undo, key)

    assert (undone.sessions, undone.kept) == (1, 1)
    assert [each.id for each in store.query(sessions.page).items] == ["late set"]


def test_rows_the_source_dates_after_the_import_do_not_keep_a_session(store: Store, clock: SettableClock) -> None:
    key = begun(store)
    latest = clock() + timedelta(days=9)
    bring(store, key, "late set")
    bring(store, key, "early set")
    store.run(imports.finish, key, report={"latest": latest.isoformat()})
    make(store, MarkerFactory, session_id="early set", created_at=latest)
    make(store, MarkerFactory, session_id="late set", created_at=latest + timedelta(microseconds=1))

    undone = store.run(imports.undo, key)

    assert (undone.sessions, undone.kept) == (1, 1)
    assert [each.id for each in store.query(sessions.page).items] == ["late set"]


def test_undoing_an_import_into_an_existing_session_removes_only_its_rows(store: Store, other: Store) -> None:
    make(store, SessionFactory, id="late set")
    factories: tuple[Any, ...] = (RuleFactory, MarkerFactory, HistoryEntryFactory, SnapshotFactory)
    for factory in factories:
        make(store, factory, session_id="late set")
    before, revision = content(other), other.query(rules.revision, "late set")
    key = begun(store)
    with store.begin() as uow:
        theirs = [[factory.create(uow=uow, session_id="late set").id for _ in range(3)] for factory in factories]
    keyed, logs = theirs[:2], [[[ids[0], ids[1]], [ids[2], ids[2]]] for ids in theirs[2:]]
    grown = dict(zip(("rules", "markers", "history", "snapshots"), [*keyed, *logs], strict=True))
    store.run(imports.finish, key, report={"grown": {"late set": grown, "gone": {"rules": ["rule"]}}})

    undone = store.run(imports.undo, key)

    assert undone == NOTHING
    assert {**content(other), "sessions": []} == {**before, "sessions": []}
    assert other.query(rules.revision, "late set") != revision


def test_undoing_an_import_keeps_a_workspace_with_sessions_of_others(store: Store) -> None:
    before = content(store)
    first, second = begun(store), begun(store, "/srv/other.jsonl")
    with store.begin() as uow:
        shared = WorkspaceFactory.create(uow=uow, import_id=first)
        SessionFactory.create(uow=uow, workspace_id=shared.id, import_id=first)
        SessionFactory.create(uow=uow, workspace_id=shared.id, import_id=second)

    assert store.run(imports.undo, first).workspaces == 0
    assert store.query(workspaces.get, shared.id).import_id == second

    assert store.run(imports.undo, second).workspaces == 1
    assert content(store) == before


def test_undoing_an_import_removes_stats_without_later_samples(store: Store) -> None:
    before = content(store)
    key = begun(store)
    make_many(store, GenerationStatsFactory, *[{"space": f"space {n}", "sample_count": 3} for n in range(700)])
    store.run(imports.record, key, report={"spaces": {f"space {n}": 3 for n in range(700)}})
    store.run(stats.record, "space 7", 250)

    undone = store.run(imports.undo, key)

    assert undone.spaces == 699
    (left,) = store.query(stats.page).items
    assert (left.space, left.sample_count) == ("space 7", 4)
    assert {**content(store), "generation_stats": []} == before


def test_undoing_an_import_waits_for_a_writer_of_a_session_and_keeps_it(store: Store, other: Store) -> None:
    key = begun(store)
    bring(store, key, "late set")
    undone: list[Undone] = []
    undoing = threading.Thread(target=lambda: undone.append(other.run(imports.undo, key)))

    with store.begin() as uow:
        messages.append(uow, "late set", "user", "one more thing")
        undoing.start()
        undoing.join(0.3)
        assert undone == []
    undoing.join(30)

    (done,) = undone
    assert (done.sessions, done.kept) == (0, 1)
    (left,) = store.query(messages.page, "late set").items
    assert left.content == "one more thing"


def test_undoing_an_import_takes_a_fixed_number_of_statements(store: Store) -> None:
    few, many = begun(store, "/srv/few.jsonl"), begun(store, "/srv/many.jsonl")
    bring(store, few, "few", messages=1, events=1)
    bring(store, many, "many", messages=50, events=50)

    with recorded(store) as of_few:
        store.run(imports.undo, few)
    with recorded(store) as of_many:
        store.run(imports.undo, many)

    assert len(of_few) == len(of_many)


def test_undoing_an_import_finds_its_rows_by_an_index(store: Store) -> None:
    key = begun(store)
    bring(store, key, "late set")

    with recorded(store) as sent:
        store.run(imports.undo, key)
        store.query(imports.brought, key)

    if store.backend == "sqlite":
        scans = [
            step
            for each in sent
            for step in sqlite_plan(store, each)
            # A virtual table is the plan of a ticket, taken apart.
            if step.startswith("SCAN") and "SUBQUERY" not in step and "VIRTUAL TABLE" not in step
        ]
        assert scans == []
    used = {index for each in sent for index in indexes_of(store, each)}
    assert {
        f"ix_{table}_by_import" for table in ("messages", "journal_events", "instances", "sessions", "workspaces")
    } <= used


def test_the_latest_import_is_found_by_its_index_without_a_sort(store: Store) -> None:
    with store.begin() as uow:
        for _ in range(1000):
            ImportFactory.create(uow=uow)
        if store.backend == "postgresql":
            uow.connection().exec_driver_sql("ANALYZE imports")

    with recorded(store) as sent:
        store.query(imports.latest, "claude-code", SOURCE)

    assert [indexes_of(store, each) for each in sent] == [["ix_imports_by_source"]]
    if store.backend == "sqlite":
        assert not any("B-TREE" in step for each in sent for step in sqlite_plan(store, each))
