"""Seed 002, AIT42, on the command line: running arenas, runtimes, search of several values, and all messages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.conftest import Line, run_line
from vibeweaver_store import Session, Store, sessions
from vibeweaver_store.testing import EPOCH, MessageFactory, SessionFactory


def spelled(value: object) -> str | None:
    """What a case is called: by its words, and by nothing else."""
    return (
        " ".join(map(str, value)) if isinstance(value, list) and all(isinstance(each, str) for each in value) else None
    )


def test_ait42_arenas_create_makes_an_arena_that_is_running(line_on_both: Line) -> None:
    times = ("--created-at", "2025-01-13T10:00:00Z", "--updated-at", "2025-01-13T11:00:00Z")
    made = line_on_both("arenas", "create", "debate", "Which key?", "--id", "keys", "--status", "running", *times)
    shown = line_on_both("arenas", "show", "keys", "--json")

    assert (made.code, made.out, made.err) == (0, "keys\n", "")
    session = shown.document["session"]
    assert (session["status"], session["version"]) == ("running", 1)
    assert (session["created_at"], session["updated_at"]) == (
        "2025-01-13T10:00:00.000000Z",
        "2025-01-13T11:00:00.000000Z",
    )


def test_ait42_arenas_create_refuses_a_status_that_is_none(line: Line, look: Store) -> None:
    done = line("arenas", "create", "debate", "Which key?", "--status", "idle")

    assert (done.code, done.out) == (4, "")
    assert done.error.startswith("status: 'idle' is none of created, running")
    assert look.query(sessions.page).items == []


def test_ait42_arenas_add_runtime_and_set_runtimes_list_the_mix(line_on_both: Line) -> None:
    line_on_both("arenas", "create", "debate", "Which key?", "--id", "keys", "--runtime", "codex")
    added = line_on_both("arenas", "add-runtime", "keys", "claude", "--json")
    put = line_on_both("arenas", "set-runtimes", "keys", "gemini", "codex")
    none = line_on_both("arenas", "set-runtimes", "keys", "--none")

    assert (added.code, added.documents, added.err) == (0, [{"runtime": "claude"}, {"runtime": "codex"}], "")
    assert (put.code, put.out.split(), put.err) == (0, ["RUNTIME", "codex", "gemini"], "")
    assert (none.code, none.out, none.err) == (0, "", "no runtimes\n")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["add-runtime", "nowhere", "codex"], 3, "no session 'nowhere'"),
        (["add-runtime", "jam", "codex"], 3, "no arena 'jam'"),
        (["set-runtimes", "nowhere", "codex"], 3, "no session 'nowhere'"),
        (["add-runtime", "jam", " "], 4, "runtime: must not be blank"),
        (["set-runtimes", "jam"], 2, "name the runtimes of the mix, or say --none"),
        (["set-runtimes", "jam", "codex", "--none"], 2, "name the runtimes of the mix, or say --none"),
    ],
    ids=spelled,
)
def test_ait42_arenas_refuse_runtimes_that_cannot_be(
    line: Line, jam: Session, words: list[str], code: int, says: str
) -> None:
    done = line("arenas", *words)

    assert (done.code, done.out) == (code, "")
    assert says in done.error


@pytest.fixture
def several(look: Store) -> None:
    with look.begin() as uow:
        for number, (key, status) in enumerate(
            [("race-1", "running"), ("race-2", "paused"), ("duel-3", "running"), ("race-4", "failed")]
        ):
            kind = "competition" if key.startswith("race") else "debate"
            at = EPOCH + timedelta(seconds=number)
            SessionFactory.create(
                uow=uow, id=key, kind=kind, name="a", vibe=None, status=status, created_at=EPOCH, updated_at=at
            )


@pytest.mark.parametrize("command", ["search", "overview"])
@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--status", "running", "--status", "paused"], ["duel-3", "race-2", "race-1"]),
        (["--status", "active", "--status", "error", "--kind", "competition"], ["race-4", "race-1"]),
        (["--kind", "competition", "--kind", "debate", "--sort", "name"], ["duel-3", "race-1", "race-2", "race-4"]),
        (["race", "--status", "paused", "--status", "failed"], ["race-4", "race-2"]),
        (["EL-3"], ["duel-3"]),
    ],
    ids=spelled,
)
def test_ait42_sessions_are_searched_by_several_values_and_a_part_of_the_id(
    line: Line, several: None, command: str, words: list[str], keys: list[str]
) -> None:
    done = line("sessions", command, *words, "--json")

    assert (done.code, done.err) == (0, "")
    assert [each["id"] for each in done.documents] == keys


def test_ait42_sessions_of_several_statuses_are_paged(line: Line, several: None) -> None:
    words = ("sessions", "search", "--status", "running", "--status", "failed", "--limit", 2, "--json")
    first = line(*words)
    cursor = first.err.removeprefix("next cursor: ").strip()
    second = line(*words, "--cursor", cursor)

    assert [each["id"] for each in first.documents] == ["race-4", "duel-3"]
    assert (second.code, [each["id"] for each in second.documents], second.err) == (0, ["race-1"], "")


def test_ait42_search_of_a_status_that_is_none_is_refused(line: Line) -> None:
    done = line("sessions", "search", "--status", "running", "--status", "idle")

    assert (done.code, done.out) == (4, "")
    assert done.error.startswith("status: 'idle' is none of created")


@pytest.fixture
def chat(look: Store) -> None:
    with look.begin() as uow:
        for key in ("one", "two"):
            SessionFactory.create(uow=uow, id=key)
        for number in range(6):
            MessageFactory.create(
                uow=uow,
                session_id=("one", "two")[number % 2],
                role=("user", "assistant", "system")[number % 3],
                content=f"message {number}",
                created_at=EPOCH + timedelta(minutes=6 - number),
            )


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ([], [5, 4, 3, 2, 1, 0]),
        (["--newest-first"], [0, 1, 2, 3, 4, 5]),
        (["--role", "user"], [3, 0]),
        (["--since", "2026-01-01T00:02Z", "--until", "2026-01-01T00:04Z"], [4, 3]),
        (["one"], [0, 2, 4]),
        (["one", "--since", "2026-01-01T00:00Z"], [4, 2, 0]),
        (["two", "--role", "user", "--until", "2026-01-01T00:04Z"], [3]),
    ],
    ids=spelled,
)
def test_ait42_messages_list_takes_all_sessions_roles_and_times(
    line: Line, chat: None, words: list[str], numbers: list[int]
) -> None:
    done = line("messages", "list", *words, "--json")

    assert (done.code, done.err) == (0, "")
    assert [each["content"] for each in done.documents] == [f"message {number}" for number in numbers]


def test_ait42_messages_list_of_all_sessions_says_whose_they_are(line: Line, chat: None) -> None:
    done = line("messages", "list", "--role", "user")

    assert (done.code, done.err) == (0, "")
    assert [word in done.out for word in ("message 3", "message 0", "one", "two", "message 1")] == [True] * 4 + [False]


def test_ait42_messages_list_of_all_sessions_without_any_says_so(line: Line) -> None:
    done = line("messages", "list")

    assert (done.code, done.out, done.err) == (0, "", "nothing was said\n")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere"], 3, "no session 'nowhere'"),
        (["--instance", "0"], 4, "instance_id: give the session"),
        (["--since", "yesterday"], 4, "--since: 'yesterday' is no time"),
        (["--since", "2026-01-02T00:00Z", "--until", "2026-01-01T00:00Z"], 4, "until: "),
    ],
    ids=spelled,
)
def test_ait42_messages_list_refuses_what_it_cannot_list(line: Line, words: list[str], code: int, says: str) -> None:
    done = line("messages", "list", *words)

    assert (done.code, done.out) == (code, "")
    assert says in done.error


def test_ait42_database_in_memory_is_gone_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBEWEAVER_DATABASE", "sqlite::memory:")
    made = run_line(["arenas", "create", "debate", "Which key?", "--id", "keys"])
    again = run_line(["arenas", "show", "keys"])

    assert (made.code, made.out, made.err) == (0, "keys\n", "")
    assert (again.code, again.error) == (3, "no session 'keys'")
