"""``coordination`` on the line."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import Line
from vibeweaver_store import CoordinationEventType, Store, coordination
from vibeweaver_store.testing import CoordinationEventFactory, ProjectFactory

SONG = "band/song"


@pytest.fixture
def events(look: Store) -> None:
    """Four events: 1 and 4 of a project, 2 processed, 3 of a worker."""
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
        CoordinationEventFactory.create(uow=uow, project_id=SONG, ticket_id="T-1", worker_id="w-1")
        CoordinationEventFactory.create(uow=uow, processed=True)
        CoordinationEventFactory.create(
            uow=uow,
            event_type=CoordinationEventType.WORKER_STOPPED,
            worker_id="w-1",
            ticket_id=None,
            stage=None,
            reason="out of memory\x1b[2J",
        )
        CoordinationEventFactory.create(uow=uow, project_id=SONG)


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], [1, 2, 3, 4]),
        (["--newest-first"], [4, 3, 2, 1]),
        (["--processed"], [2]),
        (["--unprocessed"], [1, 3, 4]),
        (["--project", SONG], [1, 4]),
        (["--project", SONG, "--processed"], []),
        (["--unprocessed", "--newest-first", "--limit", 2], [4, 3]),
    ],
    ids=str,
)
def test_coordination_list_filters_events(line: Line, words: list[object], found: list[int]) -> None:
    assert [each["id"] for each in line("coordination", "list", *words, "--json").documents] == found


@pytest.mark.usefixtures("events")
def test_coordination_list_shows_the_subject_of_each_event(line: Line) -> None:
    done = line("coordination", "list")

    title, *rows = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert re.split(r"  +", title.strip()) == [
        *("ID", "AT", "EVENT", "TICKET", "STAGE", "WORKER", "PROCESSED", "REASON", "PROJECT"),
    ]
    assert rows[0].split() == [
        *("1", "2026-01-01", "00:00:00Z", "ticket_stage_completed", "T-1", "writer", "w-1", "no", SONG),
    ]
    assert rows[1].split()[-1] == "yes"
    assert "out of memory\\x1b[2J" in rows[2]


@pytest.mark.usefixtures("events")
def test_coordination_list_continues_from_its_cursor(line: Line) -> None:
    first = line("coordination", "list", "--json", "--limit", 3)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line("coordination", "list", "--json", "--limit", 3, "--cursor", cursor)

    assert [each["id"] for each in [*first.documents, *second.documents]] == [1, 2, 3, 4]


def test_an_empty_coordination_list_says_so(line: Line) -> None:
    done = line("coordination", "list")

    assert (done.code, done.out, done.err) == (0, "", "no such events\n")


def test_coordination_list_of_a_missing_project_exits_3(line: Line) -> None:
    done = line("coordination", "list", "--project", "nobody")

    assert (done.code, done.error) == (3, "no project 'nobody'")


@pytest.mark.usefixtures("events")
def test_coordination_take_gives_each_event_once_and_in_order(line: Line, look: Store) -> None:
    first = line("coordination", "take", "--limit", 2, "--json")
    second = line("coordination", "take")
    none = line("coordination", "take")

    assert [each["id"] for each in first.documents] == [1, 3]
    assert [row.split()[0] for row in second.out.splitlines()] == ["ID", "4"]
    assert (none.code, none.out, none.err) == (0, "", "nothing is to be done\n")
    assert look.query(coordination.unprocessed).items == []


def test_coordination_take_gives_the_end_of_a_worker_once(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    line_on_both("worker-types", "create", SONG, "writer", "--prompt", "x")
    line_on_both("workers", "register", "w-1", SONG, "writer")
    line_on_both("workers", "set-status", "w-1", "finished", "--reason", "the set is over")
    (taken,) = line_on_both("coordination", "take", "--json").documents

    assert (taken["event_type"], taken["worker_id"]) == ("worker_stopped", "w-1")
    assert (taken["reason"], taken["processed"]) == ("the set is over", True)
    assert line_on_both("coordination", "take", "--json").documents == []


@pytest.mark.usefixtures("events")
def test_coordination_mark_processed_counts_newly_marked_events(line: Line) -> None:
    done = line("coordination", "mark-processed", 1, 2, 99)

    assert (done.code, done.out, done.err) == (0, "", "marked 1 event\n")
    assert line("coordination", "mark-processed", 1, 3, "--json").document == {"marked": 1}
    assert [each["id"] for each in line("coordination", "list", "--unprocessed", "--json").documents] == [4]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["take", "--limit", 0], 4, "limit: "),
        (["mark-processed"], 2, "Missing argument 'ID'"),
        (["mark-processed", "one"], 2, "Invalid value for 'ID'"),
    ],
    ids=str,
)
def test_coordination_commands_refuse_invalid_values(line: Line, words: list[object], code: int, told: str) -> None:
    done = line("coordination", *words)

    assert done.code == code
    assert done.error.startswith(told)
