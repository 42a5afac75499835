"""``journal`` on the line: a session's events, the thread of one, and what was used."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from tests.cli.conftest import Line, RunAtTerminal
from tests.services.scene import make, make_many
from vibeweaver_store import Session, Store, sessions
from vibeweaver_store.cli.journal import _bar, _short
from vibeweaver_store.cli.journal_text import summary
from vibeweaver_store.services import journal, workspaces
from vibeweaver_store.testing import EPOCH, JournalEventFactory

HOUR = timedelta(hours=1)


@pytest.fixture
def taken_in(look: Store, jam: Session) -> Session:
    """Four events: a question, an answer, a call of a sub-agent without a time, and its result."""
    lines: list[dict[str, Any]] = [
        {"type": "user", "uuid": "a", "message": {"content": "Make it\n darker."}, "timestamp": EPOCH.isoformat()},
        {
            "type": "assistant",
            "uuid": "b",
            "parentUuid": "a",
            "timestamp": (EPOCH + HOUR).isoformat(),
            "requestId": "req_1",
            "message": {
                "id": "msg_1",
                "model": "claude-opus",
                "content": [{"type": "text", "text": "As you wish."}],
                "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 30_000},
            },
        },
        {
            "type": "assistant",
            "uuid": "c",
            "parentUuid": "b",
            "isSidechain": True,
            "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"timeout": 5, "command": "make"}}]},
        },
        {"type": "result", "uuid": "d", "result": "done", "timestamp": (EPOCH + 2 * HOUR).isoformat()},
    ]
    new = [journal.NewEvent(each, source_session_id="source", session_id=jam.id) for each in lines]
    assert look.run(journal.ingest, new).new == 4
    return jam


# --- list ------------------------------------------------------------------------------------------------------


def test_journal_list_prints_a_summary_of_each_event(line: Line, taken_in: Session) -> None:
    done = line("journal", "list", "jam")
    title, *rows = done.out.splitlines()

    assert (done.code, done.err) == (0, "")
    assert title.split() == ["ID", "AT", "TYPE", "WHAT"]
    assert [row.split(maxsplit=1)[1] for row in rows] == [
        "2026-01-01 00:00:00Z  user         Make it darker.",
        "2026-01-01 01:00:00Z  assistant    As you wish.",
        "↳ assistant  Bash: make",
        "2026-01-01 02:00:00Z  result       done",
    ]


@pytest.mark.parametrize(
    ("words", "uuids"),
    [
        ([], "abcd"),
        (["--newest-first"], "dcba"),
        (["--type", "assistant"], "bc"),
        (["--sidechain"], "c"),
        (["--main"], "abd"),
        (["--since", "2026-01-01T01:00:00Z"], "bd"),
        (["--until", "2026-01-01T03:00:00+02:00"], "a"),
        (["--since", "2026-01-01T01:00:00Z", "--until", "2026-01-01T02:00:00Z", "--newest-first"], "b"),
        (["--limit", 2], "ab"),
    ],
    ids=str,
)
def test_journal_list_filters_and_reverses_events(
    line: Line, taken_in: Session, words: list[object], uuids: str
) -> None:
    assert [each["event_uuid"] for each in line("journal", "list", "jam", *words, "--json").documents] == list(uuids)


def test_journal_list_continues_from_its_cursor(line: Line, taken_in: Session) -> None:
    first = line("journal", "list", "jam", "--limit", 3)
    cursor = first.err.removeprefix("next cursor: ").strip()
    done = line("journal", "list", "jam", "--limit", 3, "--cursor", cursor, "--json")

    assert [each["event_uuid"] for each in done.documents] == ["d"]


def test_journal_list_in_json_prints_rows_with_whole_lines(line: Line, taken_in: Session) -> None:
    (found,) = line("journal", "list", "jam", "--type", "result", "--json").documents

    assert found["data"] == {"type": "result", "uuid": "d", "result": "done", "timestamp": "2026-01-01T02:00:00+00:00"}
    assert (found["timestamp"], found["source_session_id"]) == ("2026-01-01T02:00:00.000000Z", "source")


def test_an_empty_journal_list_says_so_on_stderr(line: Line, jam: Session) -> None:
    done = line("journal", "list", "jam")

    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("nothing in this journal")


def test_journal_list_escapes_a_line_that_would_move_the_cursor(line: Line, look: Store, jam: Session) -> None:
    nasty = {"type": "user", "uuid": "a", "sessionId": "s", "message": {"content": "\x1b[2Jgone"}}
    look.run(journal.ingest, [journal.NewEvent(nasty, session_id="jam")])

    assert "\\x1b[2Jgone" in line("journal", "list", "jam").out


@pytest.mark.parametrize("words", ["list jam", "thread 1"])
def test_journal_list_escapes_the_type_of_a_sidechain_line(line: Line, look: Store, jam: Session, words: str) -> None:
    nasty = {"type": "ev\x1b[2Jil\u202e", "uuid": "a", "sessionId": "s", "isSidechain": True}
    look.run(journal.ingest, [journal.NewEvent(nasty, session_id="jam")])

    assert "ev\\x1b[2Jil\\u202e" in line("journal", *words.split()).out


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [("yesterday", "is no time"), ("2026-01-23T18:30:00", "in which zone"), ("2026-01-23", "in which zone")],
)
def test_journal_commands_refuse_an_invalid_time(line: Line, jam: Session, option: str, text: str, reason: str) -> None:
    for words in (["list", "jam"], ["usage"]):
        done = line("journal", *words, option, text)
        assert done.code == 4
        assert done.error.startswith(f"{option}: ")
        assert reason in done.error


@pytest.mark.parametrize("words", [["list", "nobody"], ["usage", "nobody"]])
def test_journal_list_of_a_missing_session_exits_3(line: Line, words: list[str]) -> None:
    done = line("journal", *words)

    assert (done.code, done.error) == (3, "no session 'nobody'")


# --- what a line is about --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"message": {"content": "Hello\n\n  there"}}, "Hello there"),
        ({"message": {"content": [{"type": "text", "text": "Hello"}]}}, "Hello"),
        ({"message": {"content": [{"type": "thinking", "thinking": "Hm."}]}}, "(Hm.)"),
        ({"message": {"content": [{"type": "thinking", "thinking": "", "signature": "x"}]}}, "(thinking)"),
        (
            {"message": {"content": [{"type": "tool_use", "name": "Read", "input": {"n": 1, "path": "a.py"}}]}},
            "Read: a.py",
        ),
        ({"message": {"content": [{"type": "tool_use", "name": "TaskList", "input": {}}]}}, "TaskList"),
        ({"message": {"content": [{"type": "tool_result", "content": "ok"}]}}, "→ ok"),
        (
            {
                "message": {
                    "content": [{"type": "tool_result", "is_error": True, "content": [{"type": "text", "text": "no"}]}]
                }
            },
            "failed no",
        ),
        ({"message": {"content": [{"type": "text", "text": "See"}, {"type": "image", "source": {}}]}}, "See [image]"),
        ({"message": {"content": None}}, ""),
        ({"message": {"content": ["text", 5, None]}}, ""),
        ({"type": "summary", "summary": "A late set"}, "A late set"),
        ({"type": "custom-title", "customTitle": "Late set"}, "Late set"),
        ({"type": "queue-operation", "operation": "dequeue"}, "dequeue"),
        ({"type": "queue-operation", "operation": "enqueue", "content": "Darker"}, "Darker"),
        ({"type": "system", "subtype": "turn_duration"}, "turn_duration"),
        ({"type": "progress", "data": {"type": "bash_progress"}}, "bash_progress"),
        ({"type": "attachment", "attachment": {"type": "hook_success"}}, "hook_success"),
        ({"type": "stream_event", "event": {"type": "message_start"}}, "message_start"),
        ({"type": "mode", "mode": "plan"}, "plan"),
        ({"type": "file-history-snapshot", "snapshot": {}}, ""),
        ({"message": "text", "data": 5, "content": {}}, ""),
        ({}, ""),
        ({"message": {"content": "x" * 5000}}, "x" * 199 + "…"),
    ],
    ids=str,
)
def test_a_journal_line_is_summarised_in_a_few_words(data: dict[str, Any], told: str) -> None:
    assert summary(data) == told


# --- thread ----------------------------------------------------------------------------------------------------


def test_journal_thread_is_shown_from_its_first_event(line: Line, look: Store, taken_in: Session) -> None:
    events = {event.event_uuid: event.id for event in look.query(journal.recent)}

    assert [each["event_uuid"] for each in line("journal", "thread", events["c"], "--json").documents] == [
        "a",
        "b",
        "c",
    ]
    assert [row.split()[0] for row in line("journal", "thread", events["b"]).out.splitlines()] == [
        "ID",
        str(events["a"]),
        str(events["b"]),
    ]


def test_journal_thread_of_a_missing_event_exits_3(line: Line, taken_in: Session) -> None:
    done = line("journal", "thread", 4711)

    assert (done.code, done.error) == (3, "no journal event 4711")


# --- one event, and where it belongs --------------------------------------------------------------------------


def test_memva_s_source_session_is_listed(line: Line, look: Store, taken_in: Session) -> None:
    look.run(journal.ingest, [{"type": "user", "uuid": "e", "sessionId": "source"}, {"uuid": "f", "sessionId": "x"}])
    done = line("journal", "list", "--source", "source", "--json")
    assert (done.code, done.err) == (0, "")
    assert [each["event_uuid"] for each in done.documents] == list("abcde")
    first = line("journal", "list", "--source", "source", "--newest-first", "--limit", 1, "--json")
    assert ([each["event_uuid"] for each in first.documents], first.err[:13]) == (["e"], "next cursor: ")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "say whose events: either a SESSION or --source"),
        (["jam", "--source", "source"], "say whose events: either a SESSION or --source"),
        (["--source", "source", "--main"], "--source: it goes with --newest-first, --limit and --cursor alone"),
        (["--source", "source", "--type", "user"], "--source: it goes with --newest-first, --limit and --cursor alone"),
    ],
    ids=str,
)
def test_journal_list_takes_either_a_session_or_a_source(
    line: Line, taken_in: Session, words: list[str], error: str
) -> None:
    done = line("journal", "list", *words)
    assert (done.code, done.error) == (2, error)


def test_memva_s_event_is_shown_by_its_uuid(line: Line, look: Store, taken_in: Session) -> None:
    done = line("journal", "show", "b", "--source", "source")
    found = look.query(journal.get, ("source", "b"))
    assert (done.code, done.err) == (0, "")
    assert [row.split(maxsplit=1) for row in done.out.splitlines()[:-1]] == [
        ["id", str(found.id)],
        ["uuid", "b"],
        ["source", "source"],
        ["type", "assistant"],
        ["at", "2026-01-01 01:00:00Z"],
        ["session", "jam"],
        ["parent", "a"],
        ["model", "claude-opus"],
        ["message", "msg_1"],
    ]
    assert done.out.splitlines()[-1].startswith('line     {"type":"assistant","uuid":"b"')
    by_number = line("journal", "show", found.id, "--json")
    assert (by_number.code, by_number.document["data"]) == (0, found.data)


def test_a_journal_thread_is_shown_by_an_uuid(line: Line, taken_in: Session) -> None:
    done = line("journal", "thread", "c", "--source", "source", "--json")
    assert (done.code, [each["event_uuid"] for each in done.documents]) == (0, ["a", "b", "c"])


@pytest.mark.parametrize("words", [["show", "b"], ["thread", "b"], ["associate", "jam", "b"]], ids=" ".join)
def test_a_journal_uuid_on_the_line_needs_its_source(line: Line, taken_in: Session, words: list[str]) -> None:
    done = line("journal", *words)
    assert (done.code, done.error) == (2, "EVENT: 'b' is no number; with an event's uuid, say --source")


@pytest.mark.parametrize("words", [["show", "z"], ["thread", "z"], ["associate", "jam", "z"]], ids=" ".join)
def test_a_missing_journal_uuid_on_the_line_is_not_found(line: Line, taken_in: Session, words: list[str]) -> None:
    done = line("journal", *words, "--source", "source")
    assert (done.code, done.error) == (3, "no journal event ('source', 'z')")


def test_memva_s_events_are_associated_with_a_session(line: Line, look: Store, taken_in: Session) -> None:
    look.run(sessions.create, name="late", session_id="late")
    numbers = [each.id for each in look.query(journal.for_session, "jam").items]
    done = line("journal", "associate", "late", *numbers[:2])
    assert (done.code, done.out, done.err) == (0, "", "2 events of 2 events came to session late\n")
    again = line("journal", "associate", "late", "a", "c", "--source", "source", "--json")
    assert (again.code, again.document) == (0, {"session_id": "late", "associated": 1})
    assert [each.event_uuid for each in look.query(journal.for_session, "late").items] == ["a", "b", "c"]


def test_memva_s_events_are_counted_by_type(line: Line, look: Store, taken_in: Session) -> None:
    done = line("journal", "counts", "jam")
    assert (done.code, done.err) == (0, "")
    assert [row.split() for row in done.out.splitlines()] == [
        ["TYPE", "EVENTS"],
        ["assistant", "2"],
        ["result", "1"],
        ["user", "1"],
    ]
    look.run(sessions.create, name="late", session_id="late")
    assert line("journal", "counts", "jam", "--json").documents[0] == {"type": "assistant", "count": 2}
    empty = line("journal", "counts", "late")
    assert (empty.code, empty.out, empty.err) == (0, "", "no events\n")
    assert line("journal", "counts", "nowhere").code == 3


# --- usage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def spent(look: Store, jam: Session) -> Session:
    """Two days, two models; what another session used goes into no workspace."""
    workspace = look.run(workspaces.ensure, "/srv/set")
    look.run(sessions.create, name="in the workspace", session_id="set", workspace_id=workspace.id)
    day = timedelta(days=1)
    make_many(
        look,
        JournalEventFactory,
        {"message_id": "m1", "model": "opus", "input_tokens": 10, "output_tokens": 5},
        {"message_id": "m1", "model": "opus", "input_tokens": 10, "output_tokens": 7},
        {"message_id": "m2", "model": "haiku", "cache_read_input_tokens": 1000},
        {"message_id": "m3", "model": "opus", "timestamp": EPOCH + day, "cache_creation_input_tokens": 20},
        session_id="set",
    )
    make(look, JournalEventFactory, message_id="m4", model="opus", output_tokens=1, session_id="jam")
    return jam


def rows(done: Any) -> list[list[str]]:
    return [row.split() for row in done.out.splitlines()]


def test_journal_usage_in_a_pipe_is_a_table_of_plain_numbers(line: Line, spent: Session) -> None:
    done = line("journal", "usage")

    assert (done.code, done.err) == (0, "")
    assert rows(done) == [
        ["DAY", "MODEL", "RESPONSES", "INPUT", "OUTPUT", "CACHED", "WRITTEN", "TOTAL"],
        ["2026-01-01", "haiku", "1", "0", "0", "1000", "0", "1000"],
        ["2026-01-01", "opus", "2", "10", "8", "0", "0", "18"],
        ["2026-01-02", "opus", "1", "0", "0", "0", "20", "20"],
    ]


def test_journal_usage_sums_by_day_or_by_model(line: Line, spent: Session) -> None:
    assert rows(line("journal", "usage", "--by", "day"))[1:] == [
        ["2026-01-01", "3", "10", "8", "1000", "0", "1018"],
        ["2026-01-02", "1", "0", "0", "0", "20", "20"],
    ]
    assert rows(line("journal", "usage", "--by", "model"))[1:] == [
        ["haiku", "1", "0", "0", "1000", "0", "1000"],
        ["opus", "3", "10", "8", "0", "20", "38"],
    ]


def test_journal_usage_prints_a_json_line_per_row(line: Line, spent: Session) -> None:
    counts = {"responses": 1, "input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 1000}
    haiku = {**counts, "cache_creation_input_tokens": 0, "total_tokens": 1000}

    assert line("journal", "usage", "--json").documents[0] == {"day": "2026-01-01", "model": "haiku", **haiku}
    assert line("journal", "usage", "--json", "--by", "model").documents[0] == {"model": "haiku", **haiku}
    assert line("journal", "usage", "--json", "--by", "day").documents[1]["day"] == "2026-01-02"
    assert "model" not in line("journal", "usage", "--json", "--by", "day").documents[1]


@pytest.mark.parametrize(
    ("words", "totals"),
    [
        (["jam"], [1]),
        (["set"], [1000, 17, 20]),
        (["--workspace", "/srv/set"], [1000, 17, 20]),
        (["jam", "--workspace", "/srv/set"], []),
        (["--since", "2026-01-02T00:00:00Z"], [20]),
        (["--until", "2026-01-02T00:00:00Z", "set"], [1000, 17]),
    ],
    ids=str,
)
def test_journal_usage_can_be_filtered(line: Line, spent: Session, words: list[str], totals: list[int]) -> None:
    assert [each["total_tokens"] for each in line("journal", "usage", *words, "--json").documents] == totals


def test_journal_usage_of_a_folder_that_is_not_a_workspace_exits_3(line: Line, spent: Session, tmp_path: Path) -> None:
    done = line("journal", "usage", "--workspace", tmp_path)

    assert done.code == 3
    assert done.error == f"no workspace '{tmp_path}'"


def test_an_empty_journal_usage_says_so_on_stderr(line: Line, jam: Session) -> None:
    done = line("journal", "usage", "jam")

    assert (done.code, done.out, done.err) == (0, "", "no tokens were used\n")


def test_journal_usage_leaves_an_unknown_day_or_model_blank(line: Line, look: Store, jam: Session) -> None:
    make(look, JournalEventFactory, message_id="m", timestamp=None, output_tokens=3)

    assert rows(line("journal", "usage"))[1:] == [["1", "0", "3", "0", "0", "3"]]
    (document,) = line("journal", "usage", "--json").documents
    assert (document["day"], document["model"]) == (None, None)


@pytest.mark.parametrize("words", [[], ["--by", "day"], ["--by", "model"]], ids=str)
def test_journal_usage_at_a_terminal_has_bars_within_its_width(
    sqlite_path: Path, spent: Session, words: list[str], run_at_terminal: RunAtTerminal
) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "journal", "usage", *words)
    table = [Text.from_ansi(row).plain for row in shown.replace("\r", "").splitlines()]
    longest, *_, shortest = (row.count("█") for row in table[1:])

    assert code == 0
    assert max(map(len, table)) <= 80
    assert (longest >= 6, shortest) == (True, 0)
    assert set("▏▎▍▌▋▊▉") & set(table[-1])


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (12_345, "12.3k"),
        (999_949, "999.9k"),
        (999_950, "1.0M"),
        (28_537_288, "28.5M"),
        (2 * 10**9, "2.0G"),
        (2**44, "17.6T"),
    ],
)
def test_a_token_count_is_printed_in_a_few_characters(count: int, told: str) -> None:
    assert _short(count) == told


@pytest.mark.parametrize(
    ("part", "bar"), [(1, "████"), (0.5, "██  "), (0.28, "█▏  "), (1e-9, "▏   "), (0, "    "), (0.999, "████")]
)
def test_a_usage_bar_fills_its_part_to_an_eighth(part: float, bar: str) -> None:
    assert _bar(part, 4) == bar
