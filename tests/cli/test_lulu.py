"""Seed 001, lulu, on the command line: sessions that bring their status and times, and the tool's messages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import Session, Store, sessions

OURS = ("--kind", "agent", "--working-dir", "/srv/lulu")


def test_lulu_sessions_create_takes_a_status_and_times(line_on_both: Line) -> None:
    times = ("--created-at", "2025-01-13T10:00:00Z", "--updated-at", "2025-01-13T12:00:00+01:00")
    made = line_on_both("sessions", "create", "a", *OURS, "--id", "one", "--status", "completed", *times)
    shown = line_on_both("sessions", "show", "one", "--json")

    assert (made.code, made.out, made.err) == (0, "one\n", "")
    names = ("status", "created_at", "updated_at", "completed_at")
    assert [shown.document["session"][name] for name in names] == [
        "completed",
        "2025-01-13T10:00:00.000000Z",
        "2025-01-13T11:00:00.000000Z",
        "2025-01-13T11:00:00.000000Z",
    ]


def test_lulu_sessions_create_takes_the_time_when_it_was_over(line: Line, look: Store) -> None:
    made = line(
        *("sessions", "create", "a", *OURS, "--id", "one", "--status", "error", "--created-at", "2025-01-13T10:00Z"),
        *("--completed-at", "2025-01-13T11:00Z", "--updated-at", "2025-01-13T12:00Z"),
    )

    assert (made.code, made.out, made.err) == (0, "one\n", "")
    found = look.query(sessions.get, "one")
    assert (found.status, found.completed_at) == ("failed", datetime(2025, 1, 13, 11, tzinfo=UTC))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--status", "idle"], "status: 'idle' is none of created"),
        (["--created-at", "yesterday"], "--created-at: 'yesterday' is no time"),
        (["--created-at", "2025-01-13T10:00"], "does not say in which zone"),
        (["--updated-at", "2025-01-13T10:00Z"], "give created_at as well"),
        (["--status", "running", "--completed-at", "2025-01-13T10:00Z"], "a session that is running is not over"),
    ],
    ids=["status", "no time", "no zone", "backwards", "not over"],
)
def test_lulu_sessions_create_refuses_what_contradicts_itself(
    line: Line, look: Store, words: list[str], says: str
) -> None:
    done = line("sessions", "create", "a", *OURS, *words)

    assert (done.code, done.out) == (4, "")
    assert says in done.error
    assert look.query(sessions.page).items == []


@pytest.mark.parametrize("status", ["completed", "paused"])
def test_lulu_sessions_update_and_set_status_move_a_created_session_at_once(line: Line, status: str) -> None:
    for key, words in (("one", ["update", "one", "--status", status]), ("two", ["set-status", "two", status])):
        line("sessions", "create", "a", *OURS, "--id", key)
        done = line("sessions", *words, "--json")

        assert (done.code, done.err) == (0, "")
        assert (done.document["id"], done.document["status"], done.document["version"]) == (key, status, 2)


def test_lulu_sessions_update_refuses_an_illegal_status(line: Line, jam: Session, look: Store) -> None:
    line("sessions", "update", "jam", "--status", "archived")
    done = line("sessions", "update", "jam", "--status", "running", "--name", "later set")

    assert (done.code, done.out) == (4, "")
    assert done.error == "session 'jam' is archived and cannot become running"
    assert look.query(sessions.get, "jam").name == "late set"


def test_lulu_messages_of_a_tool_are_added_and_listed(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    made = line_on_both("messages", "add", "jam", "tool", "exit code 0", "--id", "m1")
    listed = line_on_both("messages", "list", "jam", "--role", "tool")

    assert (made.code, made.out, made.err) == (0, "m1\n", "")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.splitlines()[1].split()[3:] == ["tool", "exit", "code", "0"]
