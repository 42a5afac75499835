"""``messages`` on the line."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import MessageRole, Session, Store, messages


@pytest.fixture
def talk(look: Store, jam: Session) -> Session:
    """A session in which five things were said."""
    with look.begin() as uow:
        messages.append(uow, "jam", "system", "You are a bass player.", public_id="brief")
        for number in range(2):
            messages.append(uow, "jam", "user", f"Take {number}?", public_id=f"ask {number}")
            messages.append(uow, "jam", "assistant", f"Here\nis {number}.", instance_id=number)
    return jam


def test_messages_add_prints_the_id(line: Line, look: Store, jam: Session) -> None:
    done = line("messages", "add", "jam", "assistant", "Here is a take.", "--instance", 2)

    (made,) = look.query(messages.page, "jam").items
    assert (done.code, done.out, done.err) == (0, f"{made.public_id}\n", "")
    assert (made.role, made.content, made.instance_id) == (MessageRole.ASSISTANT, "Here is a take.", 2)


def test_messages_add_prints_the_message_as_json(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    document = line_on_both("messages", "add", "jam", "user", "Übung ♫", "--id", "mine", "--json").document

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", document.pop("created_at"))
    assert document == {
        "id": 1,
        "public_id": "mine",
        "session_id": "jam",
        "role": "user",
        "content": "Übung ♫",
        "instance_id": None,
        "import_id": None,
    }


@pytest.mark.parametrize("text", ["from a pipe", "two\nlines\n", "🥁" * 10_000])
def test_messages_add_reads_a_message_from_stdin_verbatim(line: Line, look: Store, jam: Session, text: str) -> None:
    done = line("messages", "add", "jam", "user", "-", "--id", "mine", stdin=text.encode())

    assert (done.code, done.out) == (0, "mine\n")
    assert look.query(messages.get, "jam", "mine").content == text


@pytest.mark.parametrize(
    "given", [b"", b" \n", b"\xff\xfe", b"a\0b", b"x" * (16 * 1024**2 + 1)], ids=lambda b: repr(b[:5])
)
def test_messages_add_refuses_an_invalid_message_on_stdin(line: Line, look: Store, jam: Session, given: bytes) -> None:
    assert line("messages", "add", "jam", "user", "-", stdin=given).code == 4
    assert look.query(messages.count, "jam") == 0


def test_messages_add_refuses_a_taken_id_unless_told_to_ignore_it(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set", "--id", "jam")
    line_on_both("messages", "add", "jam", "user", "Here.", "--id", "mine")
    refused = line_on_both("messages", "add", "jam", "user", "There.", "--id", "mine")
    ignored = line_on_both("messages", "add", "jam", "user", "There.", "--id", "mine", "--ignore-existing", "--json")

    assert (refused.code, refused.error) == (4, "message 'mine' exists already")
    assert (ignored.code, ignored.document["content"]) == (0, "Here.")


@pytest.mark.parametrize("role", ["tool", "USER", ""])
def test_messages_add_with_an_invalid_role_is_wrong_usage(line: Line, jam: Session, role: str) -> None:
    done = line("messages", "add", "jam", role, "Here.")

    assert done.code == 2
    assert "'user', 'assistant', 'system'" in done.error


def test_messages_list_prints_messages_in_order(line: Line, talk: Session) -> None:
    done = line("messages", "list", "jam")

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert title.split() == ["ID", "AT", "ROLE", "INSTANCE", "TEXT"]
    assert [row.split(maxsplit=3)[3].split() for row in rows] == [
        ["system", "You", "are", "a", "bass", "player."],
        ["user", "Take", "0?"],
        ["assistant", "0", "Here\\nis", "0."],
        ["user", "Take", "1?"],
        ["assistant", "1", "Here\\nis", "1."],
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], [1, 2, 3, 4, 5]),
        (["--newest-first"], [5, 4, 3, 2, 1]),
        (["--role", "user"], [2, 4]),
        (["--instance", 1], [5]),
        (["--role", "user", "--instance", 1], []),
        (["--role", "assistant", "--instance", 0, "--newest-first"], [3]),
    ],
    ids=str,
)
def test_messages_list_filters_and_reverses_messages(
    line: Line, talk: Session, words: list[object], found: list[int]
) -> None:
    assert [each["id"] for each in line("messages", "list", "jam", *words, "--json").documents] == found


def test_messages_list_continues_from_the_cursor_on_stderr(line: Line, talk: Session) -> None:
    first = line("messages", "list", "jam", "--json", "--limit", 3)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line("messages", "list", "jam", "--json", "--limit", 3, "--cursor", cursor)

    assert [each["id"] for each in [*first.documents, *second.documents]] == [1, 2, 3, 4, 5]
    assert second.err == ""


def test_an_empty_messages_list_hints_at_the_next_step(line: Line, jam: Session) -> None:
    done = line("messages", "list", "jam")

    assert (done.code, done.out) == (0, "")
    assert "messages add jam user" in done.err


def test_messages_tail_is_the_end_of_the_conversation_oldest_first(line: Line, talk: Session) -> None:
    assert [each["id"] for each in line("messages", "tail", "jam", "-n", 2, "--json").documents] == [4, 5]
    assert [told.split()[0] for told in line("messages", "tail", "jam").out.splitlines()] == ["1", "2", "3", "4", "5"]
    assert [each["id"] for each in line("messages", "tail", "jam", "--role", "user", "--json").documents] == [2, 4]
    assert [each["id"] for each in line("messages", "tail", "jam", "--instance", 0, "--json").documents] == [3]
    assert line("messages", "tail", "jam", "--lines", 0).out == ""


def test_messages_tail_follows_added_messages(
    line: Line, look: Store, talk: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = messages.follow

    def for_a_while(store: Store, session_id: str, **given: object) -> object:
        look.run(messages.append, "jam", "user", "And now?")
        return followed(store, session_id, idle_seconds=0.3, **given)  # type: ignore[call-overload]

    monkeypatch.setattr(messages, "follow", for_a_while)
    done = line("messages", "tail", "jam", "--follow", "--role", "user", "-n", 1, "--json")

    assert [each["content"] for each in done.documents] == ["Take 1?", "And now?"]


@pytest.mark.parametrize("words", [["list", "nobody"], ["tail", "nobody"], ["add", "nobody", "user", "Here."]])
def test_messages_commands_on_a_missing_session_exit_3(line: Line, words: list[str]) -> None:
    done = line("messages", *words)

    assert (done.code, done.error) == (3, "no session 'nobody'")
