"""``tickets`` on the line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Line, RunAtTerminal
from vibeweaver_store import Store, Ticket, comments, coordination, tickets
from vibeweaver_store.cli import ticket_page
from vibeweaver_store.testing import (
    CommentFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    TicketFactory,
    WorkerTypeFactory,
)

SONG = "band/song"
PLAN = ["writer", "reviewer", "tester"]
FUTURE = datetime(2999, 1, 1, 18, 30, tzinfo=UTC)


@pytest.fixture
def song(look: Store) -> str:
    """A project with three worker types, a worker of each of the first two, and a ticket that nobody has begun."""
    with look.begin() as uow:
        ProjectFactory.create(uow=uow, repository_name=SONG)
        ProjectFactory.create(uow=uow, repository_name="other")
        for role in PLAN:
            WorkerTypeFactory.create(uow=uow, project_id=SONG, worker_type=role)
        for worker, role in (("w-1", "writer"), ("w-2", "writer"), ("r-1", "reviewer")):
            EnsembleWorkerFactory.create(uow=uow, project_id=SONG, worker_id=worker, worker_type=role)
        TicketFactory.create(uow=uow, project_id=SONG, ticket_id="T-1", title="Bridge", execution_plan=PLAN)
        CommentFactory.create(uow=uow, ticket_id="T-1", content="Write one.", stage_number=0)
    return SONG


def plan_of(out: str) -> str:
    """The plan as a ticket's page draws it."""
    found = re.search(r"^plan\n((?:  .+\n)+)", out, re.MULTILINE)
    assert found is not None
    return found[1].strip()


# --- making ----------------------------------------------------------------------------------------------------


def test_tickets_create_prints_the_id_and_adds_the_first_comment(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    for role in PLAN:
        line_on_both("worker-types", "create", SONG, role, "--prompt", "x")
    words = ["--title", "Bridge", "--description", "Write one.", "--plan", "writer, reviewer,tester"]
    done = line_on_both("tickets", "create", "T-1", SONG, *words)
    document = line_on_both("tickets", "show", "T-1", "--json").document

    assert (done.code, done.out, done.err) == (0, "T-1\n", "")
    assert document["ticket"]["execution_plan"] == PLAN
    assert (document["ticket"]["project_id"], document["ticket"]["title"]) == (SONG, "Bridge")
    assert [(each["content"], each["stage_number"]) for each in document["comments"]] == [("Write one.", 0)]


def test_tickets_create_takes_single_stages_and_a_description_from_stdin(line: Line, look: Store, song: str) -> None:
    words = ["--title", "Outro", "--description", "-", "--stage", "tester", "--stage", "writer", "--json"]
    done = line("tickets", "create", "T-2", song, *words, stdin="End it.\n")

    assert (done.code, done.document["execution_plan"]) == (0, ["tester", "writer"])
    assert [each.content for each in look.query(comments.page, "T-2").items] == ["End it.\n"]


@pytest.mark.parametrize("words", [[], ["--plan", "writer", "--stage", "writer"]], ids=["neither", "both"])
def test_tickets_create_takes_the_plan_in_one_way_only(line: Line, song: str, words: list[str]) -> None:
    done = line("tickets", "create", "T-2", song, "--title", "Outro", "--description", "x", *words)

    assert (done.code, done.error.partition(",")[0]) == (2, "say by which stages it goes")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["T-2", "nobody", "--plan", "writer"], 3, "no project 'nobody'"),
        (["T-2", SONG, "--plan", "writer,drummer"], 3, "no worker type ('band/song', 'drummer')"),
        (["T-1", SONG, "--plan", "writer"], 4, "ticket 'T-1' exists already"),
        (["T-2", SONG, "--plan", "writer,,tester"], 4, "execution_plan"),
        (["T-2", SONG, "--plan", "writer,writer"], 4, "execution_plan"),
    ],
    ids=str,
)
def test_tickets_create_refuses_invalid_values(
    line: Line, look: Store, song: str, *, words: list[str], code: int, told: str
) -> None:
    done = line("tickets", "create", *words, "--title", "Outro", "--description", "x")

    assert done.code == code
    assert done.error.startswith(told)
    assert look.query(tickets.find, "T-2") is None


# --- listing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def backlog(look: Store, song: str) -> str:
    """More tickets: one under way and held, one done, one closed, one elsewhere."""
    times = iter(datetime(2026, 2, day, tzinfo=UTC) for day in range(1, 10))
    given: list[dict[str, Any]] = [
        {"ticket_id": "T-2", "title": "Solo", "last_completed_stage": "writer", "claimed_by": "r-1"},
        {"ticket_id": "T-3", "title": "Bridge again", "last_completed_stage": "tester"},
        {"ticket_id": "T-4", "title": "Intro", "closed_at": FUTURE, "outcome": "merged"},
        {"ticket_id": "O-1", "title": "Elsewhere", "project_id": "other"},
    ]
    with look.begin() as uow:
        for each in given:
            held = {"claim_expires_at": FUTURE} if "claimed_by" in each else {}
            words = {"project_id": song, "execution_plan": PLAN, "created_at": next(times), **held, **each}
            TicketFactory.create(uow=uow, **words)
    return song


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["O-1", "T-4", "T-3", "T-2", "T-1"]),
        (["--project", SONG], ["T-4", "T-3", "T-2", "T-1"]),
        (["--open"], ["O-1", "T-3", "T-2", "T-1"]),
        (["--closed"], ["T-4"]),
        (["--stage", "reviewer"], ["T-2"]),
        (["--text", "BRIDGE"], ["T-3", "T-1"]),
        (["--project", SONG, "--open", "--stage", "writer", "--text", "b"], ["T-1"]),
        (["--project", "other", "--closed"], []),
    ],
    ids=str,
)
def test_tickets_list_filters_tickets(line: Line, backlog: str, words: list[object], found: list[str]) -> None:
    assert [each["ticket_id"] for each in line("tickets", "list", *words, "--json").documents] == found


def test_tickets_list_shows_the_progress_of_each_ticket(line: Line, backlog: str) -> None:
    done = line("tickets", "list", "--project", SONG)

    title, *rows = (re.split(r"  +", row) for row in done.out.splitlines())
    assert (done.code, done.err) == (0, "")
    assert title == ["TICKET", "TITLE", "DONE", "NEXT", "HELD BY", "PROJECT", "CREATED"]
    assert [row[:4] for row in rows] == [
        ["T-4", "Intro", "0/3", "closed: merged"],
        ["T-3", "Bridge again", "3/3", "all done"],
        ["T-2", "Solo", "1/3", "reviewer"],
        ["T-1", "Bridge", "0/3", "writer"],
    ]
    assert rows[2][4] == "r-1 until 2999-01-01 18:30:00Z"


def test_tickets_list_continues_from_its_cursor(line: Line, backlog: str) -> None:
    words = ["tickets", "list", "--open", "--limit", 3, "--json"]
    first = line(*words)
    (cursor,) = re.findall(r"^next cursor: (.+)$", first.err, re.MULTILINE)
    second = line(*words, "--cursor", cursor)

    found = [each["ticket_id"] for each in [*first.documents, *second.documents]]
    assert found == ["O-1", "T-3", "T-2", "T-1"]
    assert second.err == ""


def test_an_empty_tickets_list_hints_at_the_next_step(line: Line) -> None:
    done = line("tickets", "list")

    assert (done.code, done.out) == (0, "")
    assert "tickets create" in done.err


def test_tickets_list_of_a_missing_project_exits_3(line: Line) -> None:
    done = line("tickets", "list", "--project", "nobody")

    assert (done.code, done.error) == (3, "no project 'nobody'")


def test_tickets_list_fits_a_terminal_and_keeps_ids_whole(
    sqlite_path: Path, look: Store, backlog: str, run_at_terminal: RunAtTerminal
) -> None:
    ticket_id = "a-very-long-name-of-a-ticket"
    with look.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id=ticket_id, title="many words " * 20, project_id=backlog)
    _, shown = run_at_terminal("--db", sqlite_path, "tickets", "list", variables={"NO_COLOR": "1"})
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()

    assert any(row.startswith(ticket_id) for row in rows)
    assert max(map(len, rows)) <= 80


# --- showing ---------------------------------------------------------------------------------------------------


def test_tickets_show_draws_the_plan_and_the_comments(line: Line, look: Store, song: str) -> None:
    with look.begin() as uow:
        tickets.complete_stage(uow, "T-1", "writer", worker_id="w-1", comment="Done.\nSee verse 2.")
        tickets.claim(uow, "T-1", "r-1", lease_seconds=30 * 86400.0)
        comments.add(uow, "T-1", "Nice.", worker_id="r-1", worker_type="reviewer", stage="writer")
        comments.add(uow, "T-1", "Anybody?")
    done = line("tickets", "show", "T-1")

    assert (done.code, done.err) == (0, "")
    assert "title    Bridge\nstatus   open\n" in done.out
    drawn = r"✓ writer → ▶ reviewer \(r-1 until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\) → · tester"
    assert re.fullmatch(drawn, plan_of(done.out))
    said = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "AT", done.out.partition("\n4 comments\n")[2])
    assert said == (
        "  1  AT  description\n    Write one.\n"
        "  2  AT  w-1, on writer\n    Done.\n    See verse 2.\n"
        "  3  AT  r-1, reviewer on writer\n    Nice.\n"
        "  4  AT\n    Anybody?\n"
    )


@pytest.mark.parametrize(
    ("changes", "drawn"),
    [
        ({}, "▶ writer → · reviewer → · tester"),
        ({"last_completed_stage": "reviewer"}, "✓ writer → ✓ reviewer → ▶ tester"),
        ({"last_completed_stage": "tester"}, "✓ writer → ✓ reviewer → ✓ tester"),
        ({"last_completed_stage": "writer", "closed_at": FUTURE}, "✓ writer → · reviewer → · tester"),
        (
            {"claimed_by": "w-1", "claim_expires_at": datetime(2026, 1, 2, tzinfo=UTC)},
            "▶ writer (w-1, expired 2026-01-02 00:00:00Z) → · reviewer → · tester",
        ),
    ],
    ids=["planned", "amid", "done", "closed", "expired"],
)
def test_tickets_show_marks_the_state_of_each_stage(
    line: Line, look: Store, changes: dict[str, object], drawn: str
) -> None:
    with look.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id="T-1", execution_plan=PLAN, **changes)

    assert plan_of(line("tickets", "show", "T-1").out) == drawn


def test_tickets_show_prints_only_the_time_of_a_claim_that_ends_today() -> None:
    now = datetime(2026, 1, 23, 18, 15, tzinfo=UTC)

    def claim(ends: datetime) -> str:
        return ticket_page.claim(Ticket(claimed_by="w-3", claim_expires_at=ends), now)

    assert claim(now + timedelta(minutes=15)) == "w-3 until 18:30:00Z"
    assert claim(now + timedelta(hours=6)) == "w-3 until 2026-01-24 00:15:00Z"
    assert claim(now - timedelta(minutes=15)) == "w-3, expired 18:00:00Z"
    assert ticket_page.claim(Ticket(), now) == ""


def test_tickets_show_draws_the_plan_in_ascii_for_an_ascii_pipe(
    sqlite_path: Path, song: str, look: Store, run_process: Line
) -> None:
    look.run(tickets.complete_stage, "T-1", "writer", worker_id="w-1")
    done = run_process("--db", sqlite_path, "tickets", "show", "T-1", PYTHONIOENCODING="ascii")

    assert plan_of(done.out) == "[x] writer -> [>] reviewer -> [ ] tester"


def test_tickets_show_folds_a_long_plan_between_stages_at_a_terminal(
    sqlite_path: Path, look: Store, run_at_terminal: RunAtTerminal
) -> None:
    plan = [f"stage number {number}" for number in range(12)]
    with look.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id="T-1", execution_plan=plan)
    _, shown = run_at_terminal("--db", sqlite_path, "tickets", "show", "T-1", variables={"NO_COLOR": "1"})
    rows = plan_of(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")).splitlines()

    assert len(rows) > 2
    assert max(map(len, rows)) <= 80
    assert [row.endswith("→") for row in rows] == [True] * (len(rows) - 1) + [False]
    assert " ".join(row.strip() for row in rows) == " → ".join(
        f"{'·' if number else '▶'} {stage}" for number, stage in enumerate(plan)
    )


def test_tickets_show_escapes_text_that_would_move_the_cursor(line: Line, look: Store) -> None:
    with look.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id="T-1", title="a\x1b[2J", execution_plan=["b\x1b[2J"])
        CommentFactory.create(uow=uow, ticket_id="T-1", content="c\x1b[2J", worker_id="d\x1b[2J")
    out = line("tickets", "show", "T-1").out + line("tickets", "list").out

    assert "\x1b" not in out
    for letter in "abcd":
        assert f"{letter}\\x1b[2J" in out


def test_tickets_next_stage_prints_one_word(line: Line, look: Store, song: str) -> None:
    with look.begin() as uow:
        TicketFactory.create(uow=uow, ticket_id="T-2", execution_plan=PLAN, last_completed_stage="tester")
    done, none = line("tickets", "next-stage", "T-1"), line("tickets", "next-stage", "T-2")

    assert (done.code, done.out, done.err) == (0, "writer\n", "")
    assert (none.code, none.out, none.err) == (0, "", "no stage of ticket T-2 is left\n")
    assert line("tickets", "next-stage", "T-1", "--json").document == {"ticket_id": "T-1", "next_stage": "writer"}
    assert line("tickets", "next-stage", "T-2", "--json").document == {"ticket_id": "T-2", "next_stage": None}


# --- moving on -------------------------------------------------------------------------------------------------


def test_tickets_commands_take_a_ticket_through_its_stages(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    for role in ("writer", "reviewer"):
        line_on_both("worker-types", "create", SONG, role, "--prompt", "x")
        line_on_both("workers", "register", f"{role}-1", SONG, role)
    line_on_both(
        "tickets", "create", "T-1", SONG, "--title", "Bridge", "--description", "x", "--plan", "writer,reviewer"
    )
    claimed = line_on_both("tickets", "claim", "T-1", "--worker", "writer-1", "--lease-seconds", "7d")
    written = line_on_both("tickets", "complete-stage", "T-1", "writer", "--worker", "writer-1", "--comment", "Done.")
    given = line_on_both("tickets", "claim-next", SONG, "reviewer", "--worker", "reviewer-1", "--json")
    back = line_on_both("tickets", "release", "T-1", "--worker", "reviewer-1", "--json")
    words = ["tickets", "complete-stage", "T-1", "reviewer", "--worker", "reviewer-1", "--comment", "-"]
    reviewed = line_on_both(*words, stdin="No.")
    again = line_on_both("tickets", "reopen-stage", "T-1", "writer", "--worker", "reviewer-1", "--comment", "Rewrite.")
    closed = line_on_both("tickets", "close", "T-1", "dropped", "--comment", "Too long.", "--json")
    told = line_on_both("tickets", "show", "T-1", "--json").document["comments"]

    assert [each.code for each in (claimed, written, given, back, reviewed, again, closed)] == [0] * 7
    assert [each.err for each in (claimed, written, given, back, reviewed, again, closed)] == [""] * 7
    assert re.fullmatch(r"▶ writer \(writer-1 until .+Z\) → · reviewer", plan_of(claimed.out))
    assert plan_of(written.out) == "✓ writer → ▶ reviewer"
    assert given.document["claimed_by"] == "reviewer-1"
    assert back.document["claimed_by"] is None
    assert plan_of(reviewed.out) == "✓ writer → ✓ reviewer"
    assert plan_of(again.out) == "▶ writer → · reviewer"
    assert (closed.document["outcome"], closed.document["next_stage"]) == ("dropped", None)
    assert [each["content"] for each in told] == ["x", "Done.", "No.", "Rewrite.", "Too long."]


def test_tickets_claim_takes_the_length_of_the_lease(line: Line, song: str) -> None:
    def lease(*words: str) -> timedelta:
        document = line("tickets", "claim", "T-1", "--worker", "w-1", *words, "--json").document
        ends = datetime.fromisoformat(document["claim_expires_at"])
        return ends - datetime.fromisoformat(document["updated_at"])

    assert lease() == timedelta(minutes=15)
    assert lease("--lease-seconds", "90") == timedelta(seconds=90)
    assert lease("--lease-seconds", "2h") == timedelta(hours=2)


def test_tickets_claim_next_takes_the_oldest_or_says_there_is_none(line: Line, song: str) -> None:
    words = ["tickets", "claim-next", song, "writer", "--worker"]
    first, none = line(*words, "w-1"), line(*words, "w-2")

    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("ticket   T-1\n")
    assert (none.code, none.out, none.err) == (0, "", "no ticket of band/song waits for a writer\n")
    assert line(*words, "w-2", "--json").document is None


CLAIMED = ["claim", "T-1", "--worker"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([*CLAIMED, "nobody"], 3, "no worker 'nobody'"),
        (["claim", "T-9", "--worker", "w-1"], 3, "no ticket 'T-9'"),
        ([*CLAIMED, "w-2"], 4, "ticket 'T-1' is claimed by 'w-1' until "),
        ([*CLAIMED, "r-1"], 4, ""),
        ([*CLAIMED, "w-1", "--lease-seconds", "0"], 4, "lease_seconds: "),
        ([*CLAIMED, "w-1", "--lease-seconds", "soon"], 4, "--lease-seconds: 'soon' is no length of time"),
        (["claim-next", "nobody", "writer", "--worker", "w-1"], 3, "no project 'nobody'"),
        (["release", "T-1", "--worker", "w-2"], 4, ""),
        (["complete-stage", "T-1", "reviewer", "--worker", "r-1"], 4, "ticket 'T-1' is Planned and cannot become "),
        (["complete-stage", "T-1", "writer", "--worker", "w-2"], 4, "ticket 'T-1' is claimed by 'w-1' until "),
        (["reopen-stage", "T-1", "writer"], 4, ""),
        (["close", "T-1", " "], 4, "outcome: "),
        (["close", "T-9", "merged"], 3, "no ticket 'T-9'"),
        (["show", "T-9"], 3, "no ticket 'T-9'"),
        (["next-stage", "T-9"], 3, "no ticket 'T-9'"),
        (["update", "T-9", "--title", "x"], 3, "no ticket 'T-9'"),
        (["comment", "T-9", "x"], 3, "no ticket 'T-9'"),
        (["delete", "T-9"], 3, "no ticket 'T-9'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_tickets_commands_refuse_invalid_values(
    line: Line, look: Store, song: str, *, words: list[str], code: int, told: str
) -> None:
    look.run(tickets.claim, "T-1", "w-1")
    done = line("tickets", *words)

    assert done.code == code
    assert done.error.startswith(told)


def test_tickets_commands_do_not_move_a_closed_ticket_but_can_comment_on_it(line: Line, song: str) -> None:
    line("tickets", "close", "T-1", "merged")
    again = line("tickets", "close", "T-1", "merged")
    claimed = line("tickets", "claim", "T-1", "--worker", "w-1")

    assert (again.code, claimed.code) == (4, 4)
    assert again.error.startswith("ticket 'T-1' is closed and cannot become ")
    assert line("tickets", "comment", "T-1", "Thanks.").out == "2\n"
    assert "status   closed: merged\n" in line("tickets", "show", "T-1").out


def test_tickets_update_changes_the_title(line: Line, song: str) -> None:
    done = line("tickets", "update", "T-1", "--title", "Middle eight")

    assert (done.code, done.err) == (0, "")
    assert "title    Middle eight\n" in done.out


# --- comments and the end --------------------------------------------------------------------------------------


def test_tickets_comment_prints_the_number_of_the_comment(line_on_both: Line) -> None:
    line_on_both("projects", "create", SONG, "/srv/song")
    line_on_both("worker-types", "create", SONG, "writer", "--prompt", "x")
    line_on_both("tickets", "create", "T-1", SONG, "--title", "a", "--description", "b", "--plan", "writer")
    done = line_on_both("tickets", "comment", "T-1", "Drags.", "--worker", "w-1", "--stage", "writer")
    long = line_on_both("tickets", "comment", "T-1", "-", "--worker-type", "writer", "--json", stdin="two\nlines\n")

    assert (done.code, done.out, done.err) == (0, "2\n", "")
    assert (long.document["content"], long.document["worker_type"]) == ("two\nlines\n", "writer")
    (first,) = [
        each for each in line_on_both("tickets", "show", "T-1", "--json").document["comments"] if each["id"] == 2
    ]
    assert (first["worker_id"], first["stage_number"]) == ("w-1", 1)


@pytest.mark.parametrize("words", [["x", "--stage", "drummer"], [" "]], ids=str)
def test_tickets_comment_refuses_an_invalid_comment(line: Line, look: Store, song: str, words: list[str]) -> None:
    assert line("tickets", "comment", "T-1", *words).code == 4
    assert len(look.query(comments.page, "T-1").items) == 1


def test_tickets_delete_deletes_comments_and_keeps_coordination_events(line: Line, look: Store, song: str) -> None:
    look.run(tickets.complete_stage, "T-1", "writer", worker_id="w-1")
    done = line("tickets", "delete", "T-1", "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted ticket T-1\n")
    assert look.query(tickets.find, "T-1") is None
    assert [each.ticket_id for each in look.query(coordination.page).items] == ["T-1"]


def test_tickets_delete_reports_in_json(line: Line, song: str) -> None:
    assert line("tickets", "delete", "T-1", "-y", "--json").document == {"deleted": "T-1"}


def test_tickets_delete_without_a_terminal_needs_the_yes_option(line: Line, look: Store, song: str) -> None:
    done = line("tickets", "delete", "T-1", stdin="y\n")

    assert done.code == 2
    assert done.error.startswith("Delete ticket T-1 ('Bridge') with its 1 comment?")
    assert look.query(tickets.find, "T-1") is not None
