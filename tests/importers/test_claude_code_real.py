"""Real transcripts, read in place: what is imported agrees with a count of the raw lines that knows nothing of us."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.importers.undoing import content
from tests.services.scene import dump
from tests.shared_data import CLAUDE_CODE, CLAUDE_STREAM, FACTS, needs_shared_data
from vibeweaver_store import Import, Session, Store, imports, journal, messages, sessions
from vibeweaver_store.importers.claude_code import import_claude_code
from vibeweaver_store.importers.claude_stream import import_claude_stream
from vibeweaver_store.importers.runs import ImportReport

pytestmark = needs_shared_data

TRANSCRIPTS = sorted(CLAUDE_CODE.glob("*.jsonl"))
STREAMS = sorted(CLAUDE_STREAM.glob("*.jsonl"))


@lru_cache
def facts() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FACTS.read_bytes())
    return found


def facts_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = facts()[f"{path.parent.name}/{path.name}"]
    return found


def bring_in(store: Store, path: Path, **options: Any) -> ImportReport:
    take = import_claude_stream if path.parent == CLAUDE_STREAM else import_claude_code
    return take(store, [path], **options)


# --- an independent count: the standard library, line by line --------------------------------------------------


def raw_objects(path: Path) -> Iterator[tuple[int, Any]]:
    """What each line holds, in a plain way: a number and a JSON value, or ``None`` where there is none."""
    decoder = json.JSONDecoder()
    for number, text in enumerate(path.read_text().splitlines(), 1):
        rest = text.strip()
        while rest:
            try:
                value, end = decoder.raw_decode(rest)
            except ValueError:
                yield number, None
                break
            yield number, value
            rest = rest[end:].strip()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [value for _, value in raw_objects(path) if isinstance(value, dict)]


def broken_in(path: Path) -> list[int]:
    return sorted({number for number, value in raw_objects(path) if not isinstance(value, dict)})


def keys_of(path: Path) -> set[tuple[str, str]]:
    """What tells lines apart: their session and uuid, or, of those without one, their content."""
    return {
        (line.get("sessionId") or line.get("session_id") or "", line.get("uuid") or json.dumps(line, sort_keys=True))
        for line in lines_of(path)
    }


def answers_in(path: Path) -> int:
    """How many answers in text of the session's own agent there are, but for lines whose uuid was there before."""
    seen: set[str] = set()
    found = 0
    for line in lines_of(path):
        own = line.get("isSidechain") is not True and line.get("parent_tool_use_id") is None
        if line.get("type") == "assistant" and own and line.get("uuid") not in seen:
            blocks = line["message"]["content"]
            found += any(block["type"] == "text" and block["text"].strip() for block in blocks)
        seen |= {line["uuid"]} if line.get("uuid") else set()
    return found


# --- each file alone -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TRANSCRIPTS, *STREAMS], ids=lambda path: path.stem)
def test_a_real_transcript_is_imported_whole_and_only_once(store: Store, path: Path) -> None:
    report = bring_in(store, path)

    raw, known = lines_of(path), facts_of(path)
    counts = report.counts
    assert counts.read == len(raw) + len(broken_in(path))
    assert counts.new == len(keys_of(path))
    assert (counts.new + counts.duplicate, counts.broken) == (len(raw), len(broken_in(path)))
    assert [problem.line for problem in report.problems] == broken_in(path)
    events = [event for each in all_sessions(store) for event in store.iterate(journal.for_session, each.id)]
    assert len(events) == counts.new
    assert len({event.event_uuid for event in events if event.data.get("uuid")}) == known["distinct_uuids"]
    answers = [store.query(messages.count, each.id, role="assistant") for each in all_sessions(store)]
    assert sum(answers) == answers_in(path)

    malformed = known["malformed_lines"]  # two of them hold two objects each, which are taken apart
    glued = [value for number, value in raw_objects(path) if number in malformed and isinstance(value, dict)]
    assert known["lines"] == len({number for number, _ in raw_objects(path)})
    assert report.problem_count == sum(number in broken_in(path) for number in malformed) + known["non_object_lines"]
    assert Counter(map(type_of, raw)) == Counter(known["types"]) + Counter(map(type_of, glued))

    before = dump(store)
    again = bring_in(store, path)
    assert (again.unchanged, again.counts.read, again.import_ids) == (1, 0, [])
    assert dump(store) == before


def type_of(line: dict[str, Any]) -> str:
    """A line's type as the facts name it."""
    subtype = line.get("subtype")
    return f"{line.get('type')}/{subtype}" if subtype else str(line.get("type"))


def all_sessions(store: Store) -> list[Session]:
    return list(store.iterate(sessions.page))


@pytest.fixture
def file_store(sqlite_path: Path) -> Iterator[Store]:
    """For what the importer reads out of a file, which is the same whatever it is written to."""
    with Store.open(sqlite_path) as store:
        yield store


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_session_of_a_real_transcript_has_its_times(file_store: Store, path: Path) -> None:
    bring_in(file_store, path)

    known = facts_of(path)
    if known.get("min_timestamp") and path.stem != "daaain__edge_cases":  # which has times of other forms
        (session,) = all_sessions(file_store)
        assert session.created_at == datetime.fromisoformat(known["min_timestamp"])
        assert session.updated_at == datetime.fromisoformat(known["max_timestamp"])


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_the_session_of_a_real_headless_run_has_the_cost_of_its_last_result(file_store: Store, path: Path) -> None:
    bring_in(file_store, path)

    costs = [line["total_cost_usd"] for line in lines_of(path) if "total_cost_usd" in line]
    (session,) = all_sessions(file_store)
    assert session.attributes.get("total_cost_usd") == (costs[-1] if costs else None)


# --- all of them -----------------------------------------------------------------------------------------------


def test_real_transcripts_together_are_imported_only_once(store: Store) -> None:
    dry = import_claude_code(store, [CLAUDE_CODE], dry_run=True)
    assert all_sessions(store) == []

    report = import_claude_code(store, [CLAUDE_CODE])

    assert dry.counts == report.counts
    assert report.counts.read == sum(len(lines_of(path)) + len(broken_in(path)) for path in TRANSCRIPTS)
    assert report.counts.new == len(all_keys())
    assert report.counts.sessions == len(all_sessions(store)) == len(all_session_ids())
    before = dump(store)

    again = import_claude_code(store, [CLAUDE_CODE])

    assert (again.sources, again.unchanged, again.counts.read) == (len(TRANSCRIPTS), len(TRANSCRIPTS), 0)
    assert dump(store) == before


def all_keys() -> set[tuple[str, str]]:
    """The keys of all lines, where those that name no session are of the one that their file is of."""
    return {(session or session_of(path), key) for path in TRANSCRIPTS for session, key in keys_of(path)}


def session_of(path: Path) -> str:
    named = [line["sessionId"] for line in lines_of(path) if line.get("sessionId")]
    return named[0] if named else path.stem


def all_session_ids() -> set[str]:
    return {session_of(path) for path in TRANSCRIPTS if path.stat().st_size}


def test_imports_of_real_transcripts_are_undone_without_a_trace_in_any_order(store: Store) -> None:
    report = import_claude_code(store, [CLAUDE_CODE])
    every_other = [*report.import_ids[::2], *report.import_ids[1::2]]

    for import_id in every_other:
        store.run(imports.undo, import_id)

    assert {table: rows for table, rows in content(store).items() if rows} == {}


def test_a_real_transcript_imported_in_steps_equals_its_last_step(store: Store, other: Store, tmp_path: Path) -> None:
    steps = [
        CLAUDE_CODE / f"entire__{name}-0__full.jsonl" for name in ("2e-a0c2a8161d", "ff-d2a5cf8a87", "b3-76aca4c326")
    ]
    growing = tmp_path / "full.jsonl"
    for step in steps:
        growing.write_bytes(step.read_bytes())
        import_claude_code(store, [growing])

    (session,) = all_sessions(other)
    events = [event.event_uuid for event in store.iterate(journal.for_session, session.id)]
    assert [each.counts["new"] for each in newest_first(store)] == [83, 38, 91]
    assert len(events) == len(keys_of(steps[-1]))


def newest_first(store: Store) -> list[Import]:
    return store.query(imports.page).items
