"""``sessions`` on the line, on both backends."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.conftest import Line, RunAtTerminal
from vibeweaver_store import (
    Session,
    SessionKind,
    Store,
    arenas,
    history,
    journal,
    markers,
    messages,
    rules,
    sessions,
    workspaces,
)
from vibeweaver_store.testing import (
    ArenaFactory,
    ArenaRuntimeFactory,
    InstanceFactory,
    MessageFactory,
    SessionFactory,
    WorkspaceFactory,
)


def test_sessions_create_prints_only_the_new_id(line: Line, look: Store) -> None:
    done = line("sessions", "create", "late set", "--vibe", "dark techno", "--tempo", 130)

    (made,) = look.query(sessions.page).items
    assert (done.code, done.out, done.err) == (0, f"{made.id}\n", "")
    assert (made.name, made.vibe, made.tempo_bpm) == ("late set", "dark techno", 130)


def test_sessions_create_prints_the_columns_as_json(line_on_both: Line) -> None:
    done = line_on_both("sessions", "create", "Übung ♫", "--id", "mine", "--json")

    document = done.document
    assert (done.code, done.err) == (0, "")
    times = [document.pop(name) for name in ("created_at", "updated_at", "last_activity_at")]
    assert document.pop("rules_rev") >= 0
    assert {name: value for name, value in document.items() if value is not None} == {
        "id": "mine",
        "kind": "jam",
        "name": "Übung ♫",
        "tempo_bpm": 120.0,
        "status": "created",
        "attributes": {},
        "version": 1,
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) for time in times)


def test_sessions_create_refuses_a_taken_id(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "a", "--id", "mine")
    done = line_on_both("sessions", "create", "b", "--id", "mine")

    assert (done.code, done.error) == (4, "session 'mine' exists already")


@pytest.mark.parametrize("words", [["create", " "], ["create", "x", "--tempo", "1000"], ["create", "x", "--id", ""]])
def test_sessions_create_refuses_invalid_values(line: Line, look: Store, words: list[str]) -> None:
    assert line("sessions", *words).code == 4
    assert look.query(sessions.page).items == []


def test_sessions_list_shows_the_last_changed_first(line_on_both: Line) -> None:
    for name in ("one", "two", "three"):
        line_on_both("sessions", "create", name)
    done = line_on_both("sessions", "list")

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["NAME", "KIND", "VIBE", "BPM", "STATUS", "UPDATED", "ID"]
    assert [row.split()[0] for row in rows] == ["three", "two", "one"]


def test_sessions_list_continues_from_the_cursor_on_stderr(line_on_both: Line) -> None:
    for name in ("one", "two", "three"):
        line_on_both("sessions", "create", name)
    first = line_on_both("sessions", "list", "--json", "--limit", 2)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line_on_both("sessions", "list", "--json", "--limit", 2, "--cursor", cursor)

    assert [each["name"] for each in [*first.documents, *second.documents]] == ["three", "two", "one"]
    assert second.err == ""


def test_an_empty_sessions_list_hints_at_the_next_step(line: Line) -> None:
    done = line("sessions", "list")

    assert (done.code, done.out) == (0, "")
    assert "sessions create" in done.err


def test_an_empty_sessions_list_is_empty_as_json(line: Line) -> None:
    done = line("sessions", "list", "--json")

    assert (done.code, done.out, done.err) == (0, "", "")


def test_sessions_create_takes_the_options_of_an_agent_session(line_on_both: Line, tmp_path: Path) -> None:
    words = ["--kind", "agent", "--working-dir", f"{tmp_path}/./here/", "--attributes", '{"key": "D minor"}']
    document = line_on_both("sessions", "create", "fix the build", *words, "--json").document

    assert (document["kind"], document["agent_status"], document["tempo_bpm"]) == ("agent", "not_started", None)
    assert (document["working_dir"], document["attributes"]) == (f"{tmp_path.resolve()}/here", {"key": "D minor"})


def test_sessions_create_names_the_missing_option_of_an_agent_session(line: Line) -> None:
    done = line("sessions", "create", "fix the build", "--kind", "agent")

    assert (done.code, done.error) == (4, "working_dir: an agent's session needs one, the folder it works in")


@pytest.mark.parametrize("kind", ["competition", "ensemble", "DEBATE"])
def test_sessions_create_refuses_arena_kinds(line: Line, look: Store, kind: str) -> None:
    done = line("sessions", "create", "who is best", "--kind", kind, "--workspace", "/srv/shop")

    assert done.code == 2
    assert f"say: arenas create {kind.lower()} TASK" in done.error
    assert (look.query(sessions.page).items, look.query(workspaces.page).items) == ([], [])


def test_sessions_create_ensures_the_workspace(line_on_both: Line) -> None:
    ids = {
        line_on_both("sessions", "create", "x", "--workspace", path, "--json").document["workspace_id"]
        for path in ("/srv/shop", "/srv/shop/")
    }
    (workspace,) = line_on_both("workspaces", "list", "--json").documents

    assert ids == {workspace["id"]}
    assert workspace["path"] == "/srv/shop"


def test_sessions_create_of_a_refused_session_makes_no_workspace(line: Line, look: Store) -> None:
    assert line("sessions", "create", "x", "--kind", "agent", "--workspace", "/srv/shop").code == 4
    assert look.query(workspaces.page).items == []


# Show


def test_sessions_show_prints_the_head_of_a_jam(line: Line, jam: Session) -> None:
    done = line("sessions", "show", "jam")

    head, history_ = done.out.split("\n\n")
    told = dict(row.split(None, 1) for row in head.splitlines())
    assert (done.code, done.err) == (0, "")
    assert {"name": "late set", "kind": "jam", "tempo": "120 bpm", "status": "created", "version": "1"}.items() <= (
        told.items()
    )
    assert told["holds"] == "1 entry of history"
    assert history_.splitlines()[0] == "history"
    assert "mix.bounced" in history_


@pytest.fixture
def competition(look: Store) -> Session:
    """A competition in a workspace, with an instance and twelve messages."""
    with look.begin() as uow:
        workspace = WorkspaceFactory.create(uow=uow, path="/srv/shop")
        values = {"kind": SessionKind.COMPETITION, "tempo_bpm": None, "vibe": None}
        session: Session = SessionFactory.create(uow=uow, id="arena", workspace_id=workspace.id, **values)
        InstanceFactory.create(uow=uow, session_id="arena", instance_id=0)
        ArenaFactory.create(uow=uow, session_id="arena", task="Build a login page", winner_instance_id=0)
        ArenaRuntimeFactory.create(uow=uow, session_id="arena", runtime="claude")
        for number in range(12):
            MessageFactory.create(uow=uow, session_id="arena", content=f"message no. {number}")
    return session


def test_sessions_show_prints_an_arena_and_the_last_messages(line: Line, competition: Session) -> None:
    done = line("sessions", "show", "arena", "--last", 2)

    head, messages = done.out.split("\n\n")
    told = dict(row.split(None, 1) for row in head.splitlines())
    expected = {
        "task": "Build a login page",
        "runtimes": "claude",
        "winner": "0, backend-developer",
        "workspace": "/srv/shop",
    }
    assert expected.items() <= told.items()
    assert not {"tempo", "vibe", "folder", "lasted", "changed"} & told.keys()
    assert told["holds"] == "1 instance, 12 messages"
    title, _, *rows = messages.splitlines()
    assert title == "messages, the last 2 of 12"
    assert [row.rpartition(" ")[2] for row in rows] == ["10", "11"]


def test_sessions_show_prints_arena_totals_as_arenas_show_does(line: Line, look: Store, competition: Session) -> None:
    look.run(sessions.set_status, "arena", "running")
    look.run(arenas.record_diff, "arena", 0, files_changed=3, lines_added=1200, lines_deleted=7)
    look.run(arenas.finish, "arena", winner=0)
    heads = [line(group, "show", "arena").out.split("\n\n")[0] for group in ("sessions", "arenas")]

    told = [dict(row.split(None, 1) for row in head.splitlines()) for head in heads]
    assert told[0]["changed"] == "3 files, lines +1,200 -7"
    assert [each["winner"] for each in told] == ["0, backend-developer"] * 2
    assert told[0]["lasted"] == told[1]["lasted"]


def test_sessions_show_prints_one_json_document(line: Line, competition: Session) -> None:
    done = line("sessions", "show", "arena", "--json")

    document = done.document
    assert (done.code, done.err) == (0, "")
    assert list(document) == ["session", "workspace_path", "arena", "counts", "messages", "history"]
    assert document["session"]["id"] == "arena"
    assert document["workspace_path"] == "/srv/shop"
    assert (document["arena"]["task"], document["arena"]["runtimes"]) == ("Build a login page", ["claude"])
    assert document["counts"] == {"instances": 1, "messages": 12, "journal_events": 0, "history": 0}
    assert [each["content"] for each in document["messages"]] == [f"message no. {n}" for n in range(7, 12)]
    assert document["history"] == []


def test_sessions_show_escapes_text_that_would_move_the_cursor(line: Line, look: Store) -> None:
    look.run(sessions.create, name="a\x1b[2J", session_id="odd")
    look.run(messages.append, "odd", "user", "one\ntwo\x1b[2J")
    done = line("sessions", "show", "odd")

    assert "\x1b" not in done.out
    assert "one\\ntwo\\x1b[2J" in done.out


@pytest.mark.parametrize("last", ["0", "1001"])
def test_sessions_show_refuses_an_invalid_number_of_messages(line: Line, jam: Session, last: str) -> None:
    assert line("sessions", "show", "jam", "--last", last).code == 4


@pytest.mark.parametrize("words", [["show"], ["update"], ["delete"], ["set-status", "running"]], ids=" ".join)
def test_sessions_commands_on_a_missing_session_exit_3(line: Line, words: list[str]) -> None:
    command, *rest = words
    done = line("sessions", command, "nobody", *rest)

    assert (done.code, done.error) == (3, "no session 'nobody'")


def test_sessions_update_changes_only_the_given_values(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--vibe", "dark", "--id", "jam")
    done = line_on_both("sessions", "update", "jam", "--tempo", 132, "--json")

    document = done.document
    assert (document["name"], document["vibe"], document["tempo_bpm"]) == ("late set", "dark", 132)


def test_sessions_update_removes_a_vibe(line: Line, jam: Session) -> None:
    assert line("sessions", "update", "jam", "--no-vibe", "--json").document["vibe"] is None


def test_sessions_update_changes_an_agent_session(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "fix", "--kind", "agent", "--working-dir", "/srv/a", "--id", "mine")
    words = ["--working-dir", "/srv/b/", "--agent-status", "processing", "--workspace", "/srv/shop"]
    document = line_on_both("sessions", "update", "mine", *words, "--attributes", "{}", "--json").document

    assert (document["working_dir"], document["agent_status"]) == ("/srv/b", "processing")
    assert document["workspace_id"] is not None
    left = line_on_both("sessions", "update", "mine", "--no-workspace", "--json").document
    assert (left["workspace_id"], left["version"]) == (None, 3)


@pytest.mark.parametrize(
    "words", [["update", "--name", "mine"], ["set-status", "archived"]], ids=lambda words: words[0]
)
def test_sessions_update_at_another_version_is_refused(line_on_both: Line, words: list[str]) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    line_on_both("sessions", "update", "jam", "--name", "somebody else's")
    command, *rest = words
    done = line_on_both("sessions", command, "jam", *rest, "--expected-version", 1)

    assert (done.code, done.error.partition(":")[0]) == (4, "session 'jam' is at version 2, not 1")


# Status


def test_sessions_set_status_moves_and_shows_a_session(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    done = line_on_both("sessions", "set-status", "jam", "error", "--reason", "the cable broke")

    assert (done.code, done.err) == (0, "")
    assert "status   failed: the cable broke\n" in done.out
    assert re.search(r"^ended +20", done.out, re.MULTILINE)


def test_sessions_set_status_accepts_the_statuses_of_the_seed_projects(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")

    assert line_on_both("sessions", "set-status", "jam", "active", "--json").document["status"] == "running"
    assert [each["id"] for each in line_on_both("sessions", "search", "--status", "active", "--json").documents] == [
        "jam"
    ]


def test_sessions_set_status_refuses_an_illegal_move_and_lists_the_legal_ones(line: Line, jam: Session) -> None:
    line("sessions", "set-status", "jam", "running")
    done = line("sessions", "set-status", "jam", "archived")

    assert done.code == 4
    assert done.error == "session 'jam' is running and cannot become archived; it may become paused, completed, failed"


def test_sessions_reconcile_lists_idle_sessions(line: Line, look: Store) -> None:
    with look.begin() as uow:
        SessionFactory.create(uow=uow, id="silent", status="running")
        SessionFactory.create(uow=uow, id="busy", status="running", last_activity_at=datetime.now(UTC))
    done = line("sessions", "reconcile", "--idle-for", 3600, "--json")

    assert [(each["id"], each["status"]) for each in done.documents] == [("silent", "failed")]
    assert done.documents[0]["status_reason"] == "no activity since 2026-01-01T00:00:00.000000Z"
    again = line("sessions", "reconcile", "--idle-for", "1h")
    assert (again.code, again.out, again.err) == (0, "", "no session that runs was silent for so long\n")


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e300"])
def test_sessions_reconcile_refuses_an_invalid_duration(line: Line, seconds: str) -> None:
    done = line("sessions", "reconcile", f"--idle-for={seconds}")

    assert done.code == 4
    assert done.error.startswith("--idle-for: ")


# Search

SEARCHES = {
    "login": ["arena"],
    "LATE": ["jam"],
    "--kind jam": ["jam"],
    "--status created": ["jam", "arena"],
    "--agent-status error": [],
    "--workspace /srv/shop/": ["arena"],
    "--updated-from 2026-01-01T01:00:00+01:00": ["jam", "arena"],
    "--updated-to 2026-01-01T00:00:00Z": [],
    "--created-from 2026-01-01T00:00:00.000001Z": [],
    "--created-to 2026-01-02T00:00:00Z --kind competition": ["arena"],
    "--sort name": ["arena", "jam"],
    "--sort name --reverse": ["jam", "arena"],
    "--limit 1": ["jam"],
}


@pytest.mark.parametrize("command", ["search", "overview"])
@pytest.mark.parametrize(("words", "found"), SEARCHES.items(), ids=SEARCHES)
def test_sessions_search_lists_sessions_that_match_all_filters(
    line: Line, look: Store, competition: Session, jam: Session, *, command: str, words: str, found: list[str]
) -> None:
    with look.begin() as uow:
        uow.execute(sa.text("UPDATE sessions SET name = 'arena' WHERE id = 'arena'"))
    done = line("sessions", command, *words.split(), "--json")

    assert done.code == 0
    assert sorted(each["id"] for each in done.documents) == sorted(found)
    if "--sort" in words or "--limit" in words:
        assert [each["id"] for each in done.documents][: len(found)] == found


def test_sessions_search_continues_from_its_cursor(line_on_both: Line) -> None:
    for name in ("a", "b", "c"):
        line_on_both("sessions", "create", name)
    words = ["sessions", "search", "--sort", "name", "--limit", 2, "--json"]
    first = line_on_both(*words)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line_on_both(*words, "--cursor", cursor)

    assert [each["name"] for each in [*first.documents, *second.documents]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--workspace", "/srv/nowhere"], 3, "no workspace '/srv/nowhere'"),
        (["--workspace", "nowhere"], 3, "no workspace "),
        (["--created-from", "yesterday"], 4, "--created-from: 'yesterday' is no time"),
        (["--updated-to", "2026-01-01T00:00:00"], 4, "--updated-to: '2026-01-01T00:00:00' "),
        (["--status", "idle"], 4, "status: "),
        (["--kind", "concert"], 4, "kind: "),
        (["--agent-status", "x"], 4, "agent_status: "),
        ([" "], 4, "text: "),
        (["--sort", "id"], 2, ""),
        (
            ["--created-from", "2026-01-02T00:00:00Z", "--created-to", "2026-01-01T00:00:00Z"],
            4,
            "created_to: 2026-01-01T00:00:00+00:00 lies before",
        ),
    ],
)
@pytest.mark.parametrize("command", ["search", "overview"])
def test_sessions_search_refuses_invalid_filters(
    line: Line, command: str, words: list[str], code: int, told: str
) -> None:
    done = line("sessions", command, *words)

    assert done.code == code
    assert done.error.startswith(told)


def test_sessions_overview_shows_counts_and_runtimes(line: Line, competition: Session) -> None:
    done = line("sessions", "overview")

    title, row = done.out.splitlines()
    assert title.split()[3:7] == ["INSTANCES", "MESSAGES", "EVENTS", "UPDATED"]
    assert row.split()[2:10] == ["competition", "created", "1", "12", "0", "2026-01-01", "00:00:00Z", "claude"]
    assert "/srv/shop" in row


def test_sessions_overview_fits_a_terminal(
    sqlite_path: Path, look: Store, competition: Session, jam: Session, run_at_terminal: RunAtTerminal
) -> None:
    with look.begin() as uow:
        uow.execute(sa.text("UPDATE sessions SET name = 'Write a bass line in D' WHERE id = 'arena'"))
    code, shown = run_at_terminal("--db", sqlite_path, "sessions", "overview", "--sort", "name")

    lines = [re.sub(r"\x1b\[[0-9;]*m", "", each).rstrip() for each in shown.splitlines()]
    assert code == 0
    assert [each.split("  ")[0] for each in lines] == ["NAME", "Write a bass line in D", "", "late set", ""]
    assert lines[2] == "  2026-01-01 00:00:00Z  claude  /srv/shop  message no. 11  arena"
    assert lines[4] == "  2026-01-01 00:00:00Z  jam"
    assert max(map(len, lines)) <= 80


def test_sessions_counts_are_listed_by_kind_and_status(line: Line, competition: Session, jam: Session) -> None:
    done = line("sessions", "counts")

    assert [row.split() for row in done.out.splitlines()] == [
        ["KIND", "STATUS", "SESSIONS"],
        ["competition", "created", "1"],
        ["jam", "created", "1"],
    ]
    assert line("sessions", "counts", "--json").documents == [
        {"kind": "competition", "status": "created", "count": 1},
        {"kind": "jam", "status": "created", "count": 1},
    ]


# Delete


def test_sessions_delete_deletes_all_a_session_owns(line: Line, look: Store, jam: Session) -> None:
    done = line("sessions", "delete", "jam", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted session jam\n")
    assert look.query(sessions.find, "jam") is None
    assert look.query(rules.page_by_session, "jam").items == []
    assert look.query(markers.page, "jam").items == []
    assert look.query(history.page, "jam").items == []


def test_sessions_delete_reports_in_json(line: Line, jam: Session) -> None:
    assert line("sessions", "delete", "jam", "-y", "--json").document == {"deleted": "jam"}


def test_sessions_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, jam: Session) -> None:
    done = line("sessions", "delete", "jam", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete session 'late set' with its 1 entry of history, rules, markers and snapshots?")
    assert done.error.endswith("say --yes")
    assert look.query(sessions.find, "jam") is not None


# --- seed 004: sessions without a title, and what was said in them ----------------------------------------------


def test_memva_sessions_without_a_title_are_shown_as_untitled(line_on_both: Line) -> None:
    made = line_on_both("sessions", "create", "--kind", "agent", "--working-dir", "/srv/memva", "--id", "one")
    assert (made.code, made.out, made.err) == (0, "one\n", "")
    for command in ("list", "search", "overview"):
        done = line_on_both("sessions", command)
        assert (done.code, done.out.splitlines()[1].split()[:2]) == (0, ["untitled", "agent"])
        assert line_on_both("sessions", command, "--json").document["name"] is None
    shown = line_on_both("sessions", "show", "one")
    assert (shown.code, shown.out.splitlines()[2].split()) == (0, ["name", "untitled"])
    assert line_on_both("sessions", "show", "one", "--json").document["session"]["name"] is None
    asked = line_on_both("sessions", "delete", "one", stdin="n\n")
    assert "Delete session 'untitled' with its" in asked.err


def test_memva_session_titles_are_given_and_taken_away(line: Line) -> None:
    line("sessions", "create", "--id", "one")
    assert line("sessions", "update", "one", "--name", "A page", "--json").document["name"] == "A page"
    done = line("sessions", "update", "one", "--no-name", "--json")
    assert (done.code, done.document["name"], done.document["version"]) == (0, None, 3)


def test_memva_overview_shows_what_was_said_last_and_counts_events(line: Line, look: Store, jam: Session) -> None:
    look.run(messages.append, "jam", "user", "Make it\ndarker.")
    look.run(journal.ingest, [journal.NewEvent({"type": "user", "uuid": "a"}, "agent-1", "jam")])
    done = line("sessions", "overview")
    assert done.code == 0
    assert "Make it darker." in done.out
    assert done.out.splitlines()[1].split()[4:7] == ["0", "1", "1"]
    document = line("sessions", "overview", "--json").document
    assert (document["event_counts"], document["last_said"]) == ({"user": 1}, "Make it\ndarker.")
