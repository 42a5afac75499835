"""``import`` on the line: files in, what came in, and out again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Line, RunAtTerminal, run_line
from tests.importers.midi_bytes import as_bytes, marker, rest, tempo, title
from tests.importers.transcript_files import SESSION, append, prompt, talk, write
from tests.importers.undoing import content
from vibeweaver_store import ImportStatus, Store, imports, messages, sessions


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.mid"
    path.write_bytes(as_bytes([title("Ode"), tempo(90), marker("Verse"), rest(4)]))
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.mid"
    path.write_bytes(b"not music")
    return path


def test_import_midi_makes_a_session_and_prints_its_id(line: Line, look: Store, good: Path) -> None:
    done = line("import", "midi", good, "--vibe", "solemn")

    (made,) = look.query(sessions.page).items
    assert (done.code, done.out, done.err) == (0, f"{made.id}\n", "good.mid: Ode, 4 beats, 1 marker, 0:03\n")
    assert (made.name, made.vibe, made.tempo_bpm) == ("Ode", "solemn", 90)


def test_import_midi_prints_a_session_per_line_as_json(line_on_both: Line, good: Path) -> None:
    done = line_on_both("import", "midi", good, good, "--json")

    assert [each["name"] for each in done.documents] == ["Ode", "Ode"]


def test_import_midi_reports_bad_files_and_imports_good_ones(line: Line, look: Store, good: Path, bad: Path) -> None:
    done = line("import", "midi", good, bad, good)

    assert done.code == 4
    assert len(done.out.splitlines()) == 2
    assert len(look.query(sessions.page).items) == 2
    first, *_, last = done.err.splitlines()
    assert first == f"vibeweaver-store: {bad}: this is not a MIDI file: it does not begin with a MIDI header"
    assert last == "vibeweaver-store: imported 2 of 3 files"


def test_import_midi_of_only_bad_files_makes_no_database(bad: Path, tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path / "new.db", "import", "midi", bad])

    assert (done.code, done.out) == (4, "")
    assert list(tmp_path.iterdir()) == [bad]


def test_import_midi_without_a_file_is_wrong_usage(line: Line) -> None:
    assert line("import", "midi").code == 2


# --- transcripts -----------------------------------------------------------------------------------------------

NOTHING = {
    **dict.fromkeys(["updated", "duplicate", "unknown", "broken", "redacted", "problem_count"], 0),
    "problems": [],
    "notes": [],
}


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    return write(tmp_path / "projects" / "-srv" / f"{SESSION}.jsonl", *talk(1, 4))


def card(out: str) -> dict[str, str]:
    """What a card says, by name."""
    return dict(re.split(r"  +", each, maxsplit=1) for each in out.splitlines())


def test_import_claude_code_takes_a_tree_of_transcripts_and_prints_a_report(
    line_on_both: Line, transcript: Path
) -> None:
    done = line_on_both("import", "claude-code", transcript.parents[1])

    told = card(done.out)
    assert (done.code, done.err) == (0, "")
    assert {told[name] for name in ("read", "new", "messages")} == {"4"}
    assert (told["sources"], told["sessions"], told["left out"], told["imports"]) == ("1 source", "1", "0", "1")


def test_import_claude_code_of_many_files_shortens_the_list_of_imports(line: Line, transcript: Path) -> None:
    for number in range(3):
        write(transcript.parent / f"other-{number}.jsonl", prompt(1, sessionId=f"other-{number}"))

    assert card(line("import", "claude-code", transcript.parent).out)["imports"] == "1-4"


def test_import_claude_code_prints_its_report_as_one_json_document(line: Line, transcript: Path) -> None:
    done = line("import", "claude-code", transcript, "--json")

    document = done.document
    assert document.pop("seconds") >= 0
    found = {"importer": "claude-code", "read": 4, "new": 4, "sessions": 1, "messages": 4, "imports": [1]}
    assert document == {"dry_run": False, "sources": 1, "unchanged": 0, "rewritten": 0, "torn": 0, **NOTHING, **found}


def test_import_claude_code_again_takes_only_new_lines(line: Line, look: Store, transcript: Path) -> None:
    line("import", "claude-code", transcript)
    append(transcript, prompt(5), b'{"torn')

    done = line("import", "claude-code", transcript)
    again = line("import", "claude-code", transcript)

    assert card(done.out)["sources"] == "1 source (1 with a last line to come)"
    assert (done.code, card(done.out)["read"], card(again.out)["broken"]) == (0, "1", "1")
    assert (again.code, card(again.out)["sources"]) == (4, "1 source (1 unchanged)")
    assert again.err == f"vibeweaver-store: {transcript}:6: the line is no JSON\n"
    assert look.query(messages.count, SESSION) == 5


def test_import_claude_code_reports_rejected_lines_and_exits_4(line: Line, look: Store, transcript: Path) -> None:
    append(transcript, b"// broken\n", prompt(5))

    done = line("import", "claude-code", transcript, transcript.parent / "gone.jsonl")

    assert done.code == 4
    assert done.err.splitlines() == [
        f"vibeweaver-store: {transcript}:5: the line is no JSON",
        f"vibeweaver-store: {transcript.parent}/gone.jsonl: there is no such file",
    ]
    assert (card(done.out)["broken"], card(done.out)["left out"]) == ("1", "2")
    assert look.query(messages.count, SESSION) == 5


def test_import_claude_code_reports_unreadable_paths_and_imports_the_rest(line: Line, transcript: Path) -> None:
    loop = transcript.parent / "x.jsonl"
    loop.symlink_to(loop)
    long = transcript.parent / ("x" * 5000)

    done = line("import", "claude-code", transcript.parent, long)
    stream = line("import", "claude-stream", long)

    assert (done.code, stream.code, card(done.out)["new"]) == (4, 4, "4")
    first, second = done.err.splitlines()
    assert first == f"vibeweaver-store: {loop}: Too many levels of symbolic links"
    assert second.startswith(f"vibeweaver-store: {long.parent}/xxx")
    assert second.endswith(": File name too long")


def test_import_claude_code_reports_only_part_of_many_rejected_lines(line: Line, transcript: Path) -> None:
    append(transcript, *[b"broken\n"] * 1200)

    told = line("import", "claude-code", transcript, "--dry-run")
    document = line("import", "claude-code", transcript, "--json").document

    assert len(told.err.splitlines()) == 22
    assert told.err.splitlines()[20] == "vibeweaver-store: and 1,180 more problems; --json lists the first 1,000"
    assert (document["problem_count"], len(document["problems"])) == (1200, 1000)


def test_a_dry_run_of_import_claude_code_says_nothing_was_written(line: Line, look: Store, transcript: Path) -> None:
    done = line("import", "claude-code", transcript, "--dry-run")

    assert (done.code, done.err) == (0, "a dry run: nothing was written\n")
    assert (card(done.out)["new"], card(done.out)["imports"]) == ("4", "—")
    assert look.query(sessions.page).items == []


def test_import_claude_code_redacts_secrets_by_default(line: Line, look: Store, transcript: Path) -> None:
    secret = "sk-" + "ant-api03-abcdefghijklmnop"
    append(transcript, prompt(5, f"my key is {secret}"))

    dry = line("import", "claude-code", transcript, "--dry-run", "--no-redact")
    done = line("import", "claude-code", transcript)

    assert (card(dry.out)["redacted"], card(done.out)["redacted"]) == ("0", "1")
    assert look.query(messages.last, SESSION)[-1].content == "my key is [redacted]"


def test_import_claude_stream_takes_the_output_of_a_headless_run(line: Line, look: Store, tmp_path: Path) -> None:
    result = {"type": "result", "session_id": "run", "uuid": "u1", "is_error": True, "total_cost_usd": 0.5}
    path = write(tmp_path / "run.jsonl", result)

    done = line("import", "claude-stream", path, "--json")

    assert (done.code, done.document["importer"], done.document["new"]) == (0, "claude-stream", 1)
    assert look.query(sessions.get, "run").attributes["total_cost_usd"] == 0.5


def test_import_claude_code_shows_progress_at_a_terminal_only(
    sqlite_path: Path, transcript: Path, run_at_terminal: RunAtTerminal, run_process: Line
) -> None:
    append(transcript, *talk(10, 3000))

    code, shown = run_at_terminal("--db", sqlite_path, "import", "claude-code", transcript, "--dry-run")
    done = run_process("--db", sqlite_path, "import", "claude-code", transcript)

    assert (code, done.code, done.err) == (0, 0, "")
    assert re.search(r"\d/\d+\.\d (KiB|MiB)|\d+\.\d/\d+\.\d", shown)


def test_import_claude_code_continues_after_an_interruption(
    line: Line, look: Store, transcript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("vibeweaver_store.importers.transcripts.keep_up", interrupt)
        assert line("import", "claude-code", transcript).code == 130
    assert look.query(sessions.page).items == []

    assert line("import", "claude-code", transcript).code == 0
    assert look.query(messages.count, SESSION) == 4


@pytest.mark.parametrize("name", ["claude-code", "claude-stream", "undo", "show"])
def test_import_commands_without_an_argument_are_wrong_usage(line: Line, name: str) -> None:
    assert line("import", name).code == 2


# --- list, show, undo ------------------------------------------------------------------------------------------


def test_import_list_pages_imports_newest_first(line: Line, transcript: Path) -> None:
    other = write(transcript.parent / "other.jsonl", prompt(1, sessionId="other"), b"broken\n")
    line("import", "claude-code", transcript)
    line("import", "claude-code", other)

    first = line("import", "list", "--limit", 1)
    cursor = first.err.removeprefix("next cursor: ").strip()
    rest = line("import", "list", "--limit", 1, "--cursor", cursor)

    head, row = first.out.splitlines()
    assert head.split() == ["ID", "IMPORTER", "SOURCE", "STATUS", "FINISHED", "READ", "NEW", "BROKEN"]
    assert row.split()[:4] == ["2", "claude-code", str(other), "completed"]
    assert row.split()[-3:] == ["2", "1", "1"]
    assert rest.out.splitlines()[1].split()[0] == "1"
    assert rest.err == ""


def test_import_list_prints_a_json_line_per_import(line_on_both: Line, transcript: Path) -> None:
    line_on_both("import", "claude-code", transcript)

    (document,) = line_on_both("import", "list", "--json").documents

    assert (document["id"], document["source"], document["status"]) == (1, str(transcript), "completed")
    assert document["counts"]["new"] == 4


def test_an_empty_import_list_says_so(line: Line) -> None:
    done = line("import", "list")

    assert (done.code, done.out, done.err) == (0, "", "nothing was imported yet\n")


def test_import_show_prints_rejected_lines(line: Line, transcript: Path) -> None:
    append(transcript, b"broken\n")
    line("import", "claude-code", transcript)

    done = line("import", "show", 1)

    told = card(done.out)
    assert (told["source"], told["status"], told["new"]) == (str(transcript), "completed", "4")
    assert (told["session_id"], told["left out 1"]) == (SESSION, "line 5: the line is no JSON")
    assert line("import", "show", 1, "--json").document["report"]["lines"] == 5
    assert line("import", "show", 2).code == 3


def test_import_undo_prints_the_rows_removed(line_on_both: Line, transcript: Path, database: str) -> None:
    other = write(transcript.parent / "other.jsonl", prompt(1, sessionId="other", cwd="/srv/other"))
    line_on_both("import", "claude-code", transcript, other)

    done = line_on_both("import", "undo", 1, 2, "--yes")

    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "undid import 1: removed 1 session, 4 messages, 4 journal events, 1 workspace",
        "undid import 2: removed 1 session, 1 message, 1 journal event, 1 workspace",
    ]
    with Store.open(database) as store:
        assert not any(content(store).values())


def test_import_undo_reports_removed_and_kept_rows_in_json(line: Line, look: Store, transcript: Path) -> None:
    line("import", "claude-code", transcript)
    look.run(messages.append, SESSION, "user", "mine")

    done = line("import", "undo", 1, "--yes", "--json")

    (told,) = done.documents
    ensemble = ["projects", "worker_types", "tickets", "comments", "workers", "coordination_events", "jobs"]
    gone = dict.fromkeys(["sessions", "workspaces", "spaces", *ensemble], 0)
    gone |= dict.fromkeys(["kept_projects", "kept_tickets", "kept_jobs"], 0)
    assert told == {"import": 1, "messages": 4, "journal_events": 4, "kept": 1, **gone}


def test_import_undo_asks_first(
    sqlite_path: Path, line: Line, look: Store, transcript: Path, run_at_terminal: RunAtTerminal
) -> None:
    line("import", "claude-code", transcript)

    refused = line("import", "undo", 1)
    code, shown = run_at_terminal("--db", sqlite_path, "import", "undo", 1, answer="n\n")

    question = "Undo 1 import: remove 1 session, 4 messages, 4 journal events, 1 workspace?"
    assert (refused.code, question in refused.err) == (2, True)
    assert (code, question in " ".join(shown.split())) == (1, True)
    assert look.query(imports.get, 1).status is ImportStatus.COMPLETED


def test_import_undo_of_a_missing_import_is_refused(line: Line, transcript: Path) -> None:
    line("import", "claude-code", transcript)
    line("import", "undo", 1, "--yes")

    assert line("import", "undo", 1, "--yes").error == "import 1 was undone before"
    assert line("import", "undo", 7, "--yes").code == 3


def test_a_dry_run_of_import_claude_code_makes_no_store(tmp_path: Path) -> None:
    transcript = tmp_path / "late-set.jsonl"
    transcript.write_text('{"type": "user", "uuid": "a", "sessionId": "s", "message": {"content": "louder"}}\n')
    done = run_line(["--db", tmp_path / "new.db", "import", "claude-code", transcript, "--dry-run", "--json"])

    assert (done.code, done.document["new"]) == (0, 1)
    assert list(tmp_path.iterdir()) == [transcript]
