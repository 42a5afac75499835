"""Comments: what is written on a ticket stands there in the order of writing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, BAD_NAMES, BAD_TEXTS, VERBATIM, cases
from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import Comment, InvalidInput, NotFound, Store, Ticket, comments
from vibeweaver_store.testing import EPOCH, CommentFactory, SettableClock, TicketFactory, columns_of

NOTHING = pytest.param(None, id="nothing")
BAD_CONTENTS = [*BAD_TEXTS, *cases(nothing=None, empty="", blank=" \t\n")]
BAD_KEYS = cases(nothing=None, below_zero=-1, text="1", true=True, a_float=1.0, too_great=2**63)


@pytest.fixture
def ticket(timed_store: Store) -> Ticket:
    return make(timed_store, TicketFactory)


def said(page: list[Comment]) -> list[str]:
    return [comment.content for comment in page]


# Add


def test_a_new_comment_has_the_values_it_was_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, ticket: Ticket
) -> None:
    made = timed_store.run(
        comments.add, ticket.ticket_id, "Looks good.", worker_id="w-1", worker_type="reviewer", stage="reviewer"
    )
    assert made.id is not None
    assert columns_of(lasting_other.query(comments.get, made.id)) == columns_of(made)
    assert (made.ticket_id, made.content, made.stage_number) == (ticket.ticket_id, "Looks good.", 2)
    assert (made.worker_id, made.worker_type, made.created_at) == ("w-1", "reviewer", timed_clock.instant)


def test_a_comment_needs_neither_an_author_nor_a_stage(timed_store: Store, ticket: Ticket) -> None:
    made = timed_store.run(comments.add, ticket.ticket_id, "Hello?")
    assert (made.worker_id, made.worker_type, made.stage_number) == (None, None, None)


@pytest.mark.parametrize("values", cases(closed={"closed_at": EPOCH}, all_done={"last_completed_stage": "reviewer"}))
def test_a_closed_ticket_can_be_commented_on(lasting_store: Store, values: dict[str, Any]) -> None:
    ticket = make(lasting_store, TicketFactory, **values)
    lasting_store.run(comments.add, ticket.ticket_id, "One more thing.")
    assert said(lasting_store.query(comments.page, ticket.ticket_id).items) == ["One more thing."]


def test_adding_a_comment_leaves_the_ticket_as_it_was(timed_store: Store, lasting_other: Store, ticket: Ticket) -> None:
    timed_store.run(comments.add, ticket.ticket_id, "Hello?")
    with lasting_other.read() as uow:
        assert columns_of(uow.get_one(Ticket, ticket.ticket_id)) == columns_of(ticket)


def test_adding_a_comment_takes_two_statements(timed_store: Store, ticket: Ticket) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.run(comments.add, ticket.ticket_id, "Hello?")
    assert len(sent) == 2


@pytest.mark.parametrize("text", VERBATIM)
def test_comment_texts_are_kept_verbatim(timed_store: Store, lasting_other: Store, ticket: Ticket, text: str) -> None:
    made = timed_store.run(comments.add, ticket.ticket_id, text, worker_id=text, worker_type=text)
    assert made.id is not None
    found = lasting_other.query(comments.get, made.id)
    assert (found.content, found.worker_id, found.worker_type) == (text, text, text)


def test_a_comment_on_a_missing_ticket_leaves_the_unit_of_work_usable(
    timed_store: Store, lasting_other: Store, ticket: Ticket
) -> None:
    with timed_store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            comments.add(uow, "nowhere", "Hello?")
        comments.add(uow, ticket.ticket_id, "Anybody there?")
    assert (caught.value.entity, caught.value.key) == ("ticket", "nowhere")
    assert said(lasting_other.query(comments.page, ticket.ticket_id).items) == ["Anybody there?"]


@pytest.mark.parametrize("stage", ["tester", "Planned", "Writer"])
def test_a_comment_on_a_stage_outside_the_plan_is_refused(timed_store: Store, ticket: Ticket, stage: str) -> None:
    with pytest.raises(InvalidInput, match="writer, reviewer") as caught:
        timed_store.run(comments.add, ticket.ticket_id, "Hello?", stage=stage)
    assert caught.value.field == "stage"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("ticket_id", each.values[0], id=f"ticket: {each.id}") for each in [*BAD_IDS, NOTHING]],
        *[pytest.param("content", each.values[0], id=f"content: {each.id}") for each in BAD_CONTENTS],
        *[pytest.param("worker_id", each.values[0], id=f"worker: {each.id}") for each in BAD_IDS],
        *[
            pytest.param(field, each.values[0], id=f"{field}: {each.id}")
            for field in ("worker_type", "stage")
            for each in BAD_NAMES
            if each.id != "nothing"
        ],
    ],
)
def test_a_comment_with_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"ticket_id": "T-1", "content": "Hello?", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(comments.add, **values)
    assert caught.value.field == field


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_comments_are_in_commit_order(lasting_store: Store, lasting_other: Store) -> None:
    """Else a reader that goes on from the last one it has seen would miss one that is committed late."""
    ticket = make(lasting_store, TicketFactory)

    def comment(store: Store, number: int) -> bool:
        seen: list[str] = []
        for n in range(4):
            store.run(comments.add, ticket.ticket_id, f"{number} {n}")
            found = said(store.query(comments.page, ticket.ticket_id).items)
            if found[: len(seen)] != seen:
                return False
            seen = found
        return True

    assert at_once(lasting_store, lasting_other, work=comment) == [True] * THREADS
    assert len(lasting_other.query(comments.page, ticket.ticket_id).items) == THREADS * 4


# Get, find, list


def test_a_missing_comment_is_not_found(lasting_store: Store) -> None:
    assert lasting_store.query(comments.find, 10**9) is None
    for operation in (comments.get, comments.delete, lambda uow, key: comments.update(uow, key, "Hello?")):
        with pytest.raises(NotFound) as caught:
            lasting_store.run(operation, 10**9)
        assert (caught.value.entity, caught.value.key) == ("comment", 10**9)


@pytest.mark.parametrize(
    "operation",
    [comments.get, comments.find, comments.delete, lambda uow, key: comments.update(uow, key, "Hello?")],
    ids=["get", "find", "delete", "update"],
)
@pytest.mark.parametrize("comment_id", BAD_KEYS)
def test_a_comment_lookup_by_an_invalid_key_is_refused(lasting_store: Store, operation: Any, comment_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, comment_id)
    assert caught.value.field == "comment_id"


@pytest.mark.parametrize("newest_first", [False, True])
def test_comments_are_paged_in_the_order_written(lasting_store: Store, newest_first: bool) -> None:
    ticket, other = make_many(lasting_store, TicketFactory, {}, {})
    # The times do not matter.
    written = [{"ticket_id": each.ticket_id, "content": f"{n}"} for n in range(5) for each in (ticket, other)]
    make_many(lasting_store, CommentFactory, *written)
    first = lasting_store.query(comments.page, ticket.ticket_id, newest_first=newest_first, limit=3)
    second = lasting_store.query(
        comments.page, ticket.ticket_id, newest_first=newest_first, limit=3, cursor=first.next_cursor
    )
    assert said(first.items + second.items) == (list("43210") if newest_first else list("01234"))


def test_a_missing_ticket_has_no_comments(lasting_store: Store) -> None:
    assert lasting_store.query(comments.page, "nowhere").items == []


@pytest.mark.parametrize("newest_first", BAD_BOOLEANS)
def test_an_invalid_order_of_comments_is_refused(lasting_store: Store, newest_first: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(comments.page, "T-1", newest_first=newest_first)
    assert caught.value.field == "newest_first"


def test_a_comments_cursor_of_the_other_order_is_refused(lasting_store: Store) -> None:
    ticket = make(lasting_store, TicketFactory)
    make_many(lasting_store, CommentFactory, {}, {}, ticket_id=ticket.ticket_id)
    cursor = lasting_store.query(comments.page, ticket.ticket_id, limit=1).next_cursor
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(comments.page, ticket.ticket_id, newest_first=True, cursor=cursor)
    assert caught.value.field == "cursor"


# Update, delete


def test_updating_a_comment_changes_only_its_content(timed_store: Store, lasting_other: Store, ticket: Ticket) -> None:
    made, bystander = make_many(timed_store, CommentFactory, {}, {}, ticket_id=ticket.ticket_id, stage_number=1)
    assert made.id is not None
    changed = timed_store.run(comments.update, made.id, "On second thoughts")
    assert columns_of(changed) == columns_of(made) | {"content": "On second thoughts"}
    assert lasting_other.query(comments.page, ticket.ticket_id).items == [changed, bystander]


@pytest.mark.parametrize("content", BAD_CONTENTS)
def test_updating_a_comment_to_invalid_content_is_refused(lasting_store: Store, content: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(comments.update, 1, content)
    assert caught.value.field == "content"


def test_deleting_a_comment_deletes_no_other(timed_store: Store, lasting_other: Store, ticket: Ticket) -> None:
    made, kept = make_many(timed_store, CommentFactory, {}, {}, ticket_id=ticket.ticket_id)
    assert made.id is not None
    timed_store.run(comments.delete, made.id)
    assert lasting_other.query(comments.page, ticket.ticket_id).items == [kept]


def test_the_key_of_a_deleted_comment_is_not_reused(timed_store: Store, ticket: Ticket) -> None:
    first = timed_store.run(comments.add, ticket.ticket_id, "one")
    assert first.id is not None
    timed_store.run(comments.delete, first.id)
    second = timed_store.run(comments.add, ticket.ticket_id, "two")
    assert second.id is not None
    assert second.id > first.id
