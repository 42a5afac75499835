"""Transcripts of Claude Code read again: grown, rewritten, broken off, by two at once, undone."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.importers.transcript_files import (
    SESSION,
    append,
    at,
    counted,
    custom_title,
    encoded,
    events_of,
    import_of,
    in_small_batches,
    messages_of,
    prompt,
    session_of,
    summary,
    talk,
    write,
)
from tests.importers.undoing import content
from tests.services.scene import build_scene, dump
from vibeweaver_store import (
    CorruptData,
    ImportStatus,
    Store,
    StoreUnavailable,
    imports,
    sessions,
)
from vibeweaver_store.importers import transcripts
from vibeweaver_store.importers.claude_code import import_claude_code
from vibeweaver_store.importers.transcript_sessions import keep_up
from vibeweaver_store.models import METADATA

# --- a second run ----------------------------------------------------------------------------------------------


def test_a_second_transcript_import_finds_no_new_line_and_writes_nothing(
    store: Store, folder: Path, file: Path
) -> None:
    write(file, *talk(1, 5))
    write(folder / "empty.jsonl")
    import_claude_code(store, [folder])
    before = dump(store)

    report = import_claude_code(store, [folder])

    assert dump(store) == before
    assert (report.sources, report.unchanged, counted(report), report.import_ids) == (2, 2, {}, [])


def test_a_grown_transcript_is_read_from_where_it_ended(store: Store, file: Path) -> None:
    write(file, *talk(1, 4))
    import_claude_code(store, [file])
    append(file, b"// broken\n", *talk(5, 2))

    report = import_claude_code(store, [file])

    assert counted(report) == {"read": 3, "new": 2, "broken": 1, "messages": 2}
    assert [problem.line for problem in report.problems] == [5]
    assert [each.content for each in messages_of(store)][3:] == ["prompt 4", "answer 5", "prompt 6"]
    assert (session_of(store).created_at, session_of(store).updated_at) == (at(1), at(6))
    assert import_of(store).offset_bytes == file.stat().st_size


def test_a_torn_last_line_of_a_transcript_is_left_for_the_next_run(store: Store, file: Path) -> None:
    whole = encoded([prompt(2)])
    write(file, prompt(1), whole[:-20])

    first = import_claude_code(store, [file])
    again = import_claude_code(store, [file])
    append(file, whole[-20:])
    second = import_claude_code(store, [file])

    assert (counted(first), first.torn, first.problem_count) == (
        {"read": 1, "new": 1, "sessions": 1, "messages": 1},
        1,
        0,
    )
    assert (counted(again), again.torn, again.unchanged) == ({"read": 1, "broken": 1}, 0, 1)
    assert [(problem.line, problem.reason) for problem in again.problems] == [(2, "the line is no JSON")]
    assert (counted(second), second.torn) == ({"read": 1, "new": 1, "messages": 1}, 0)


def test_a_torn_last_line_of_a_transcript_is_broken_if_the_next_run_finds_it_again(
    store: Store, folder: Path, file: Path
) -> None:
    write(file, *talk(1, 2))
    import_claude_code(store, [file])
    append(file, b'{"torn')
    (folder / "again.jsonl").symlink_to(file)

    found, still = (import_claude_code(store, [folder]) for _ in range(2))
    append(file, b" further")
    further = import_claude_code(store, [folder])

    assert [(each.torn, each.problem_count) for each in (found, still, further)] == [(2, 0), (0, 2), (2, 0)]
    assert (counted(found), found.unchanged, len(found.import_ids)) == ({}, 1, 1)
    assert import_of(store).offset_bytes == len(encoded(talk(1, 2)))


def test_a_transcript_of_one_torn_line_is_broken_at_the_second_run(store: Store, file: Path) -> None:
    write(file, b'{"torn')

    first, second = (import_claude_code(store, [file]) for _ in range(2))

    assert [(each.torn, each.problem_count) for each in (first, second)] == [(1, 0), (0, 1)]
    assert store.query(sessions.page).items == []


def test_a_transcript_line_appended_without_a_newline_before_it_is_read(store: Store, file: Path) -> None:
    write(file, encoded([prompt(1)]).rstrip())
    import_claude_code(store, [file])
    append(file, prompt(2), encoded([prompt(3)]).rstrip(), prompt(4))

    report = import_claude_code(store, [file])

    assert counted(report) == {"read": 3, "new": 3, "messages": 3}
    assert [each.public_id for each in messages_of(store)] == ["uuid-1", "uuid-2", "uuid-3", "uuid-4"]


@pytest.mark.parametrize("how", ["shorter", "longer", "as long"])
def test_a_rewritten_transcript_is_noticed_and_read_anew(store: Store, file: Path, how: str) -> None:
    write(file, *talk(1, 6))
    import_claude_code(store, [file])
    rewritten = {"shorter": talk(1, 2), "longer": talk(3, 9), "as long": [*talk(1, 5)[::-1], *talk(6, 1)]}[how]
    write(file, *rewritten)

    report = import_claude_code(store, [file])
    again = import_claude_code(store, [file])

    new = {"shorter": 0, "longer": 5, "as long": 0}[how]
    assert report.rewritten == 1
    assert (report.counts.read, report.counts.new) == (len(rewritten), new)
    assert len(events_of(store)) == len(messages_of(store)) == 6 + new
    assert (again.rewritten, again.unchanged) == (0, 1)


def test_a_change_amid_a_transcript_that_has_not_grown_is_noticed(store: Store, file: Path) -> None:
    lines = talk(1, 200)
    write(file, *lines)
    import_claude_code(store, [file])
    lines[100] = {**lines[100], "uuid": "uuid-new"}
    lines[101] = {**lines[101], "uuid": "uuid-neu"}
    changed = file.stat()
    write(file, *lines)
    assert file.stat().st_size == changed.st_size
    os.utime(file, ns=(changed.st_atime_ns, changed.st_mtime_ns + 10**9))

    report = import_claude_code(store, [file])
    again = import_claude_code(store, [file])

    assert (report.rewritten, counted(report)) == (1, {"read": 200, "new": 2, "duplicate": 198, "messages": 2})
    assert (again.unchanged, counted(again)) == (1, {})


def test_a_touched_transcript_brings_no_new_lines(store: Store, file: Path) -> None:
    write(file, *talk(1, 4))
    import_claude_code(store, [file])
    before = without_keys(store)
    os.utime(file, (0, 0))

    report = import_claude_code(store, [file])

    assert (report.rewritten, counted(report)) == (0, {"read": 4, "duplicate": 4})
    assert without_keys(store) == before


# --- a session that somebody has deleted -----------------------------------------------------------------------


def test_a_deleted_transcript_session_returns_whole_once_its_file_grows(store: Store, file: Path) -> None:
    write(file, *talk(1, 4))
    import_claude_code(store, [file])
    store.run(sessions.delete, SESSION)

    assert import_claude_code(store, [file]).unchanged == 1
    assert store.query(sessions.page).items == []
    append(file, *talk(5, 1))
    report = import_claude_code(store, [file])

    assert counted(report) == {"read": 5, "new": 5, "sessions": 1, "messages": 5}
    assert (session_of(store).name, session_of(store).created_at) == ("prompt 2", at(1))
    assert len(events_of(store)) == 5


def test_a_transcript_session_recreated_by_another_file_is_made_whole(store: Store, folder: Path, file: Path) -> None:
    write(file, *talk(1, 4))
    aside = write(folder / "agent-a1.jsonl", prompt(20, isSidechain=True))
    import_claude_code(store, [file, aside])
    store.run(sessions.delete, SESSION)
    append(aside, prompt(21, isSidechain=True))
    import_claude_code(store, [file, aside])
    append(file, *talk(5, 1))

    report = import_claude_code(store, [file, aside])

    assert counted(report) == {"read": 5, "new": 5, "messages": 5}
    assert len(events_of(store)) == 7


# --- in parts --------------------------------------------------------------------------------------------------

BARE = {"type": "user", "message": {"content": "and when?"}}
SHORT = {"type": "user", "sessionId": SESSION}
PARTS = encoded(
    [
        b"\xef\xbb\xbf",
        summary("early", "u3"),
        summary("of another"),
        {**SHORT, "uuid": "u1", "timestamp": "2026-03-01T12:00:01Z", "message": {"content": "é"}},
        b"broken\n",
        json.dumps(BARE).encode() + b"\r\n\r\n",
        b'{"type":"system"}{"type":"user","uuid":"u2"}\r\n',
        b"[1]\n",
        {**SHORT, "uuid": "u3", "timestamp": "2026-03-01T12:00:05Z"},
        {**BARE, "message": {"content": "then?"}},
        b'{"type":"system","n":1}',
    ]
)
BROKEN = [4, 8]


def in_parts(store: Store, file: Path, ends: Iterable[int]) -> tuple[dict[str, Any], list[int | None]]:
    """Import a file as it is each time when it has grown, and return what came of it, and which lines were broken."""
    file.parent.mkdir(parents=True, exist_ok=True)
    broken: list[int | None] = []
    for end in ends:
        file.write_bytes(PARTS[:end])
        broken += [problem.line for problem in import_claude_code(store, [file]).problems]
    found = without_keys(store)
    del found["workspaces"]
    return {**found, "order": [each.content for each in messages_of(store)]}, broken


@pytest.mark.parametrize("step", [1, 7, 61])
def test_a_transcript_imported_in_parts_equals_one_imported_whole(
    sqlite_path: Path, tmp_path: Path, file: Path, step: int
) -> None:
    with Store.open(tmp_path / "whole.db") as store:
        whole = in_parts(store, file, [len(PARTS)])
    with Store.open(sqlite_path) as store:
        parts = in_parts(store, file, [*range(1, len(PARTS), step), len(PARTS)])

    assert parts == whole
    assert whole[1] == BROKEN


def test_a_transcript_imported_in_two_parts_equals_one_imported_whole(store: Store, file: Path) -> None:
    whole = in_parts(store, file, [len(PARTS)])

    for end in range(40, len(PARTS), 97):
        store.run(sessions.delete, SESSION)
        for made in store.query(imports.page).items:
            if made.status is not ImportStatus.UNDONE:
                store.run(imports.undo, made.id or 0)

        assert in_parts(store, file, [end, len(PARTS)]) == whole


def test_a_summary_of_a_much_later_transcript_line_names_the_session(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_batches(monkeypatch, 2)
    write(file, summary("mine", "uuid-7"), *talk(1, 5))
    import_claude_code(store, [file])
    assert session_of(store).name == "prompt 2"
    append(file, *talk(6, 5), summary("of another"))

    import_claude_code(store, [file])

    assert session_of(store).name == "mine"


def test_the_newest_summary_of_another_session_names_a_transcript_session(store: Store, file: Path) -> None:
    write(file, summary("one", "uuid-of-one"))
    import_claude_code(store, [file])
    append(file, summary("two", "uuid-of-another"))

    import_claude_code(store, [file])

    assert session_of(store).name == "two"


# --- dry runs, progress ----------------------------------------------------------------------------------------


def test_a_dry_run_of_a_transcript_import_reports_and_writes_nothing(store: Store, folder: Path, file: Path) -> None:
    write(file, *talk(1, 5), b"broken\n")
    write(folder / "copy.jsonl", *talk(1, 6))
    build_scene(store)
    before = dump(store)

    dry = import_claude_code(store, [folder], dry_run=True)
    assert dump(store) == before
    real = import_claude_code(store, [folder])

    told, done = dry.as_document(), real.as_document()
    assert (told.pop("dry_run"), told.pop("imports")) == (True, [])
    assert (done.pop("dry_run"), len(done.pop("imports"))) == (False, 2)
    del told["seconds"], done["seconds"]
    assert told == done


def test_progress_of_a_transcript_import_counts_all_bytes_once(
    store: Store, folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_batches(monkeypatch)
    write(file, *talk(1, 20), b'{"torn')
    write(folder / "other.jsonl", *talk(1, 3))
    size = sum(each.stat().st_size for each in folder.iterdir())
    for _ in range(2):
        passed: list[int] = []

        import_claude_code(store, [folder], progress=passed.append)

        assert sum(passed) == size
        assert all(count > 0 for count in passed)


# --- batches ---------------------------------------------------------------------------------------------------

TREE: dict[str, list[dict[str, Any] | bytes]] = {
    f"{SESSION}.jsonl": [summary("of another"), *talk(1, 9), b"broken\n", custom_title("late set"), *talk(10, 5)],
    "agent-a1.jsonl": [prompt(n, isSidechain=True, agentId="a1") for n in range(30, 37)],
    "other.jsonl": [{**each, "sessionId": "other"} for each in talk(1, 8)],
}


def write_tree(folder: Path) -> Path:
    for name, lines in TREE.items():
        write(folder / name, *lines)
    return folder


KEPT = {
    "sessions": ("id", "name", "working_dir", "status", "attributes", "created_at", "updated_at", "last_activity_at"),
    "messages": ("session_id", "public_id", "role", "content", "created_at"),
    "journal_events": ("session_id", "event_uuid", "source_session_id", "timestamp", "data"),
    "workspaces": ("path",),
}


def without_keys(store: Store) -> dict[str, Any]:
    """All that was brought, but for the numbers, ids and versions that are as they come."""
    tables = {name: [METADATA.tables[name].c[column] for column in columns] for name, columns in KEPT.items()}
    with store.read() as uow:
        return {name: sorted(map(str, uow.execute(sa.select(*columns)))) for name, columns in tables.items()}


@pytest.fixture
def whole(store: Store, folder: Path) -> dict[str, Any]:
    """What a run that nobody disturbed brings of the tree; it is gone again."""
    write_tree(folder)
    report = import_claude_code(store, [folder])
    found = without_keys(store)
    for import_id in report.import_ids:
        store.run(imports.undo, import_id)
    assert store.query(sessions.page).items == []
    return found


def test_a_transcript_import_in_small_batches_equals_one_batch(
    store: Store, folder: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_batches(monkeypatch)

    report = import_claude_code(store, [folder])

    assert without_keys(store) == whole
    assert counted(report) == {"read": 32, "new": 31, "broken": 1, "sessions": 2, "messages": 22}
    assert {each.status for each in store.query(imports.page, limit=3).items} == {ImportStatus.COMPLETED}


@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_an_interrupted_transcript_import_leaves_whole_batches_to_continue_from(
    store: Store, folder: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    in_small_batches(monkeypatch)
    with monkeypatch.context() as broken:
        break_after(broken, after)
        with pytest.raises(StoreUnavailable):
            import_claude_code(store, [folder])
    events = [event for each in (SESSION, "other") for event in events_of(store, each)]
    brought = [each.counts for each in store.query(imports.page).items if each.offset_bytes]
    assert len(events) == sum(counts.get("new", 0) for counts in brought) <= after * 3

    report = import_claude_code(store, [folder])

    assert report.rewritten == 0
    assert report.counts.new == 31 - len(events)
    assert report.counts.read == 32 - sum(counts.get("read", 0) for counts in brought)
    assert without_keys(store) == whole


@pytest.mark.parametrize(
    "report",
    [{"lines": "many"}, {"last_at": "yesterday"}, {"summaries": [["leaf"]]}, {"file": {"size": 3}}, {"file": 5}],
    ids=str,
)
def test_a_transcript_import_stops_at_a_report_that_was_edited(
    store: Store, folder: Path, file: Path, report: dict[str, Any]
) -> None:
    write(file, *talk(1, 5))
    import_claude_code(store, [folder])
    append(file, *talk(6, 9))
    with store.begin() as uow:
        imports.get(uow, import_of(store).id or 0).report = report
    before = dump(store)

    with pytest.raises(CorruptData, match="its report is not what a run writes"):
        import_claude_code(store, [folder])

    assert dump(store) == before


def break_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Have the database go away at the end of a batch, behind all that it writes."""
    left = [batches]

    def broken(*args: Any) -> None:
        keep_up(*args)
        left[0] -= 1
        if left[0] < 0:
            raise StoreUnavailable("the server is gone")

    monkeypatch.setattr(transcripts, "keep_up", broken)


def test_a_transcript_import_stops_at_a_file_taken_over_by_another_run(
    store: Store, other: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_batches(monkeypatch)
    write_tree(folder)
    taken: list[int] = []

    def take_over(_: int) -> None:
        if not taken:
            running = import_of(other)
            made = other.run(imports.begin, running.importer, running.source, running.fingerprint)
            taken.append(made.id or 0)

    report = import_claude_code(store, [folder], progress=take_over)

    (problem,) = report.problems
    assert (problem.line, "was taken over by another run" in problem.reason) == (None, True)
    assert store.query(imports.get, report.import_ids[0]).counts["new"] == 3
    assert store.query(imports.get, taken[0]).status is ImportStatus.RUNNING


def test_concurrent_transcript_imports_bring_each_line_once(
    store: Store, other: Store, folder: Path, whole: dict[str, Any]
) -> None:
    together = threading.Barrier(2)

    def run(on: Store) -> None:
        together.wait()
        import_claude_code(on, [folder])

    threads = [threading.Thread(target=run, args=[each]) for each in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    import_claude_code(store, [folder])
    assert without_keys(store) == whole


# --- undoing ---------------------------------------------------------------------------------------------------


def test_a_transcript_import_can_be_undone_and_repeated(store: Store, folder: Path, whole: dict[str, Any]) -> None:
    build_scene(store)
    before = content(store)
    report = import_claude_code(store, [folder])

    for import_id in report.import_ids:
        store.run(imports.undo, import_id)
    assert content(store) == before

    again = import_claude_code(store, [folder])
    assert counted(again) == counted(report)
