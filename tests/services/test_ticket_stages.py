"""How tickets travel: stages completed one after the other, opened again, and tickets closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, BAD_TEXTS, cases
from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import (
    AlreadyClaimed,
    Comment,
    CoordinationEvent,
    EnsembleWorker,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Store,
    Ticket,
    coordination,
    tickets,
    worker_types,
    workers,
)
from vibeweaver_store.testing import (
    EPOCH,
    CommentFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    SettableClock,
    TicketFactory,
    WorkerTypeFactory,
    columns_of,
)

PLAN = ["architect", "writer", "reviewer"]


@pytest.fixture
def worker(timed_store: Store) -> EnsembleWorker:
    """A worker of a project with three roles."""
    key = make(timed_store, ProjectFactory).repository_name
    make_many(timed_store, WorkerTypeFactory, *[{"worker_type": stage} for stage in PLAN], project_id=key)
    return make(timed_store, EnsembleWorkerFactory, project_id=key)


def ticket_of(store: Store, worker: EnsembleWorker, **values: Any) -> Ticket:
    return make(store, TicketFactory, project_id=worker.project_id, execution_plan=PLAN, **values)


def complete(store: Store, ticket: Ticket, stage: str, worker: EnsembleWorker, **values: Any) -> Ticket:
    return store.run(tickets.complete_stage, ticket.ticket_id, stage, worker_id=worker.worker_id, **values)


def events_of(store: Store, ticket: Ticket) -> list[CoordinationEvent]:
    with store.read() as uow:
        own = select(CoordinationEvent).where(col(CoordinationEvent.ticket_id) == ticket.ticket_id)
        return list(uow.exec(own.order_by(col(CoordinationEvent.id))))


def comments_on(store: Store, ticket: Ticket) -> list[Comment]:
    return store.query(tickets.get, ticket.ticket_id).comments


# Complete


def test_a_ticket_goes_through_its_stages_in_order(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)
    stands = []
    for stage in PLAN:
        complete(timed_store, ticket, stage, worker)
        found = lasting_other.query(tickets.get, ticket.ticket_id).ticket
        stands.append((found.last_completed_stage, found.next_stage))
    assert stands == [("architect", "writer"), ("writer", "reviewer"), ("reviewer", None)]


def test_completing_a_stage_changes_only_the_position_of_the_ticket(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    ticket, bystander = ticket_of(timed_store, worker), ticket_of(timed_store, worker)
    timed_clock.advance(minutes=1)
    done = complete(timed_store, ticket, "architect", worker)
    stands = {"last_completed_stage": "architect", "next_stage": "writer", "updated_at": timed_clock.instant}
    assert columns_of(done) == columns_of(ticket) | stands
    assert timed_store.query(tickets.find, bystander.ticket_id) == bystander


def test_completing_a_stage_records_an_event(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)
    complete(timed_store, ticket, "architect", worker)
    (event,) = events_of(lasting_other, ticket)
    assert (event.event_type, event.stage, event.worker_id) == ("ticket_stage_completed", "architect", worker.worker_id)
    assert (event.project_id, event.reason) == (ticket.project_id, None)
    assert (event.processed, event.created_at) == (False, timed_clock.instant)


def test_a_comment_on_completing_a_stage_is_kept_with_it(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="architect")
    complete(timed_store, ticket, "writer", worker, comment="Written.")
    (comment,) = comments_on(lasting_other, ticket)
    assert (comment.content, comment.stage_number) == ("Written.", 2)
    assert (comment.worker_type, comment.worker_id) == ("writer", worker.worker_id)


def test_completing_a_stage_needs_no_comment(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    complete(timed_store, ticket, "architect", worker)
    assert comments_on(timed_store, ticket) == []


def test_completing_a_stage_takes_six_statements(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    with recorded_statements(timed_store) as sent:
        complete(timed_store, ticket, "architect", worker, comment="Drawn.")
    waits_for_other_events = timed_store.backend == "postgresql"
    assert len(sent) == 6 + waits_for_other_events


@pytest.mark.parametrize(
    ("done", "stage", "allowed"),
    [
        ("Planned", "writer", ["architect"]),
        ("Planned", "Planned", ["architect"]),
        ("Planned", "tester", ["architect"]),
        ("writer", "architect", ["reviewer"]),
        ("writer", "writer", ["reviewer"]),
        ("reviewer", "reviewer", []),
        ("reviewer", "architect", []),
    ],
)
def test_only_the_next_stage_of_a_ticket_can_be_completed(
    timed_store: Store, worker: EnsembleWorker, done: str, stage: str, allowed: list[str]
) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage=done)
    with pytest.raises(IllegalTransition) as caught:
        complete(timed_store, ticket, stage, worker, comment="Done.")
    refused = caught.value
    assert (refused.entity, refused.key, refused.current) == ("ticket", ticket.ticket_id, done)
    assert (refused.wanted, list(refused.allowed)) == (stage, allowed)
    assert timed_store.query(tickets.get, ticket.ticket_id) == tickets.TicketDetail(ticket, [])
    assert events_of(timed_store, ticket) == []


def test_a_refused_stage_completion_leaves_the_unit_of_work_usable(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)
    with timed_store.begin() as uow:
        tickets.complete_stage(uow, ticket.ticket_id, "architect", worker_id=worker.worker_id)
        with pytest.raises(IllegalTransition):
            tickets.complete_stage(uow, ticket.ticket_id, "architect", worker_id=worker.worker_id)
        tickets.complete_stage(uow, ticket.ticket_id, "writer", worker_id=worker.worker_id)
    assert lasting_other.query(tickets.next_stage, ticket.ticket_id) == "reviewer"
    assert [event.stage for event in events_of(lasting_other, ticket)] == ["architect", "writer"]


def test_the_comment_and_event_of_a_stage_roll_back_with_the_unit_of_work(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)
    with pytest.raises(ZeroDivisionError), timed_store.begin() as uow:
        tickets.complete_stage(uow, ticket.ticket_id, "architect", worker_id=worker.worker_id, comment="Drawn.")
        raise ZeroDivisionError
    assert lasting_other.query(tickets.get, ticket.ticket_id) == tickets.TicketDetail(ticket, [])
    assert events_of(lasting_other, ticket) == []


def test_a_missing_worker_completes_no_stage(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    with pytest.raises(NotFound) as caught:
        timed_store.run(tickets.complete_stage, ticket.ticket_id, "architect", worker_id="nobody")
    assert (caught.value.entity, caught.value.key) == ("worker", "nobody")


def test_a_worker_of_another_project_completes_no_stage(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    stranger = make(timed_store, EnsembleWorkerFactory)
    with pytest.raises(InvalidInput, match=stranger.project_id) as caught:
        complete(timed_store, ticket, "architect", stranger)
    assert caught.value.field == "worker_id"


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_a_worker_that_has_ended_completes_no_stage(timed_store: Store, worker: EnsembleWorker, status: str) -> None:
    ticket = ticket_of(timed_store, worker)
    timed_store.run(workers.set_status, worker.worker_id, status)
    with pytest.raises(IllegalTransition) as caught:
        complete(timed_store, ticket, "architect", worker)
    assert (caught.value.entity, caught.value.key, caught.value.current) == ("worker", worker.worker_id, status)


def test_a_worker_reaped_meanwhile_completes_no_stage(store: Store, other: Store, clock: SettableClock) -> None:
    worker = make(store, EnsembleWorkerFactory, started_at=clock.instant)
    ticket = make(store, TicketFactory, project_id=worker.project_id)
    store.run(tickets.claim, ticket.ticket_id, worker.worker_id)
    clock.advance(minutes=10)
    assert len(other.run(workers.reap, timedelta(minutes=5))) == 1
    with pytest.raises(IllegalTransition):
        complete(store, ticket, "writer", worker)
    assert other.query(tickets.next_stage, ticket.ticket_id) == "writer"


def test_a_stage_of_a_missing_ticket_cannot_be_completed(timed_store: Store, worker: EnsembleWorker) -> None:
    with pytest.raises(NotFound) as caught:
        timed_store.run(tickets.complete_stage, "nowhere", "writer", worker_id=worker.worker_id)
    assert (caught.value.entity, caught.value.key) == ("ticket", "nowhere")


# Complete what is claimed


def held(store: Store, by: EnsembleWorker, until: timedelta, clock: SettableClock, **values: Any) -> Ticket:
    return ticket_of(store, by, claimed_by=by.worker_id, claim_expires_at=clock.instant + until, **values)


@pytest.mark.parametrize("seconds", [1, 0, -1], ids=["held", "just expired", "expired"])
def test_completing_a_stage_releases_the_claim_of_its_ticket(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker, seconds: int
) -> None:
    ticket = held(timed_store, worker, timedelta(seconds=seconds), timed_clock)
    done = complete(timed_store, ticket, "architect", worker)
    assert (done.next_stage, done.claimed_by, done.claim_expires_at) == ("writer", None, None)


def test_a_stage_of_a_ticket_held_by_another_worker_cannot_be_completed(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    ticket = held(timed_store, worker, timedelta(seconds=1), timed_clock)
    second = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)
    with pytest.raises(AlreadyClaimed) as caught:
        complete(timed_store, ticket, "architect", second)
    refused = caught.value
    assert (refused.entity, refused.key, refused.by) == ("ticket", ticket.ticket_id, worker.worker_id)
    assert refused.until == ticket.claim_expires_at
    assert lasting_other.query(tickets.find, ticket.ticket_id) == ticket


def test_an_expired_claim_of_another_worker_does_not_block_a_stage(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    ticket = held(timed_store, worker, timedelta(), timed_clock)
    second = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)
    done = complete(timed_store, ticket, "architect", second)
    assert (done.next_stage, done.claimed_by) == ("writer", None)


def test_a_worker_that_slept_past_its_claim_cannot_complete_a_done_stage(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    ticket = held(timed_store, worker, timedelta(seconds=1), timed_clock)
    second = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)
    timed_clock.advance(seconds=2)
    complete(timed_store, ticket, "architect", second)
    with pytest.raises(IllegalTransition) as caught:
        complete(timed_store, ticket, "architect", worker)
    assert caught.value.allowed == ("writer",)


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_a_stage_completed_concurrently_is_completed_once(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)

    def work(store: Store, number: int) -> bool:
        try:
            complete(store, ticket, "architect", worker, comment=f"{number}")
        except IllegalTransition:
            return False
        return True

    done = at_once(timed_store, lasting_other, work=work)
    assert sum(done) == 1
    assert [comment.content for comment in comments_on(timed_store, ticket)] == [f"{done.index(True)}"]
    assert len(events_of(timed_store, ticket)) == 1


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_workers_that_complete_stages_concurrently_do_not_deadlock(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    made = [ticket_of(timed_store, worker) for _ in range(THREADS)]

    def work(store: Store, number: int) -> None:
        for stage in PLAN:
            with store.begin() as uow:  # not store.run, which would try again after a deadlock
                tickets.complete_stage(uow, made[number].ticket_id, stage, worker_id=worker.worker_id)

    at_once(timed_store, lasting_other, work=work)
    assert [timed_store.query(tickets.next_stage, each.ticket_id) for each in made] == [None] * THREADS
    assert [event.stage for each in made for event in events_of(timed_store, each)] == PLAN * THREADS


# Reopen


@pytest.mark.parametrize(
    ("done", "stage", "before"),
    [
        ("architect", "architect", "Planned"),
        ("writer", "architect", "Planned"),
        ("reviewer", "reviewer", "writer"),
        ("reviewer", "writer", "architect"),
    ],
)
def test_a_reopened_stage_is_the_next_one_again(
    timed_store: Store, worker: EnsembleWorker, done: str, stage: str, before: str
) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage=done)
    again = timed_store.run(tickets.reopen_stage, ticket.ticket_id, stage)
    stands = {"last_completed_stage": before, "next_stage": stage, "updated_at": again.updated_at}
    assert columns_of(again) == columns_of(ticket) | stands
    assert again.updated_at > ticket.updated_at
    assert timed_store.query(tickets.get, ticket.ticket_id) == tickets.TicketDetail(again, [])


def test_the_comment_on_reopening_a_stage_is_kept_with_it(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="reviewer")
    timed_store.run(tickets.reopen_stage, ticket.ticket_id, "writer", worker_id="who left", comment="A typo.")
    (comment,) = comments_on(timed_store, ticket)
    assert (comment.content, comment.stage_number, comment.worker_id) == ("A typo.", 2, "who left")


def test_reopening_a_stage_releases_the_claim_of_its_ticket(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    ticket = held(timed_store, worker, timedelta(hours=1), timed_clock, last_completed_stage="writer")
    again = timed_store.run(tickets.reopen_stage, ticket.ticket_id, "writer")
    assert (again.next_stage, again.claimed_by, again.claim_expires_at) == ("writer", None, None)


@pytest.mark.parametrize(
    ("done", "stage", "allowed"),
    [
        ("Planned", "architect", []),
        ("architect", "writer", ["architect"]),
        ("writer", "reviewer", ["architect", "writer"]),
        ("writer", "tester", ["architect", "writer"]),
        ("writer", "Planned", ["architect", "writer"]),
    ],
)
def test_only_a_completed_stage_can_be_reopened(
    timed_store: Store, worker: EnsembleWorker, done: str, stage: str, allowed: list[str]
) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage=done)
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(tickets.reopen_stage, ticket.ticket_id, stage, comment="Again.")
    assert (caught.value.current, caught.value.wanted, list(caught.value.allowed)) == (done, stage, allowed)
    assert timed_store.query(tickets.get, ticket.ticket_id) == tickets.TicketDetail(ticket, [])


def test_a_stage_whose_worker_type_is_gone_cannot_be_reopened(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="writer")
    timed_store.run(worker_types.delete, worker.project_id, "architect")
    with pytest.raises(NotFound) as caught:
        timed_store.run(tickets.reopen_stage, ticket.ticket_id, "architect")
    assert (caught.value.entity, caught.value.key) == ("worker type", (worker.project_id, "architect"))
    assert timed_store.run(tickets.reopen_stage, ticket.ticket_id, "writer").next_stage == "writer"


# Close


@pytest.mark.parametrize("done", ["Planned", "writer", "reviewer"])
def test_a_ticket_can_be_closed_at_any_stage(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, worker: EnsembleWorker, done: str
) -> None:
    ticket = held(timed_store, worker, timedelta(hours=1), timed_clock) if done == "Planned" else None
    ticket = ticket or ticket_of(timed_store, worker, last_completed_stage=done)
    timed_clock.advance(minutes=1)
    closed = timed_store.run(tickets.close, ticket.ticket_id, "won't do")
    over = {"closed_at": timed_clock.instant, "updated_at": timed_clock.instant, "outcome": "won't do"}
    free = {"next_stage": None, "claimed_by": None, "claim_expires_at": None}
    assert columns_of(closed) == columns_of(ticket) | over | free
    assert lasting_other.query(tickets.get, ticket.ticket_id) == tickets.TicketDetail(closed, [])


def test_the_comment_on_closing_a_ticket_is_kept(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    timed_store.run(tickets.close, ticket.ticket_id, "done", "Thanks, all.")
    (comment,) = comments_on(timed_store, ticket)
    assert (comment.content, comment.stage_number, comment.worker_id) == ("Thanks, all.", None, None)


@pytest.mark.parametrize(
    "move",
    [
        lambda uow, key, by: tickets.complete_stage(uow, key, "writer", worker_id=by, comment="Done."),
        lambda uow, key, by: tickets.reopen_stage(uow, key, "architect", worker_id=by, comment="Again."),
        tickets.claim,
        lambda uow, key, by: tickets.close(uow, key, f"closed by {by}", "Closed."),
    ],
    ids=["complete", "reopen", "claim", "close"],
)
def test_a_closed_ticket_does_not_move(timed_store: Store, worker: EnsembleWorker, move: Any) -> None:
    ticket = ticket_of(timed_store, worker, last_completed_stage="architect", closed_at=EPOCH, outcome="done")
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(move, ticket.ticket_id, worker.worker_id)
    assert (caught.value.entity, caught.value.key) == ("ticket", ticket.ticket_id)
    assert (caught.value.current, caught.value.allowed) == ("closed", ())
    assert timed_store.query(tickets.get, ticket.ticket_id) == tickets.TicketDetail(ticket, [])


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_a_ticket_closed_concurrently_is_closed_once(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    ticket = ticket_of(timed_store, worker)

    def work(store: Store, number: int) -> bool:
        try:
            store.run(tickets.close, ticket.ticket_id, f"{number}", f"{number}")
        except IllegalTransition:
            return False
        return True

    closed = at_once(timed_store, lasting_other, work=work)
    found = timed_store.query(tickets.get, ticket.ticket_id)
    assert sum(closed) == 1
    assert [found.ticket.outcome, *[each.content for each in found.comments]] == [f"{closed.index(True)}"] * 2


# What is refused


@pytest.mark.parametrize(
    "move",
    [lambda uow: tickets.reopen_stage(uow, "nowhere", "writer"), lambda uow: tickets.close(uow, "nowhere", "done")],
    ids=["reopen", "close"],
)
def test_a_missing_ticket_does_not_move(lasting_store: Store, move: Any) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.run(move)
    assert (caught.value.entity, caught.value.key) == ("ticket", "nowhere")


BAD_COMMENTS = [*BAD_TEXTS, *cases(empty="", blank=" \n")]


@pytest.mark.parametrize(
    ("operation", "field", "value"),
    [
        pytest.param(operation, field, each.values[0], id=f"{operation.__name__} {field}: {each.id}")
        for operation, field, bad in (
            (tickets.complete_stage, "stage", BAD_NAMES[-6:]),
            (tickets.complete_stage, "worker_id", [*BAD_IDS[-4:], pytest.param(None, id="nothing")]),
            (tickets.complete_stage, "comment", BAD_COMMENTS[-4:]),
            (tickets.reopen_stage, "stage", BAD_NAMES[-6:]),
            (tickets.reopen_stage, "worker_id", BAD_IDS[-4:]),
            (tickets.reopen_stage, "comment", BAD_COMMENTS[-4:]),
            (tickets.close, "outcome", BAD_NAMES[-6:]),
            (tickets.close, "comment", BAD_COMMENTS[-4:]),
        )
        for each in bad
    ],
)
def test_a_ticket_move_with_an_invalid_value_is_refused(
    lasting_store: Store, operation: Any, field: str, value: Any
) -> None:
    given: dict[str, dict[str, Any]] = {
        "complete_stage": {"stage": "writer", "worker_id": "w-1"},
        "reopen_stage": {"stage": "writer"},
        "close": {"outcome": "done"},
    }
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, "nowhere", **{**given[operation.__name__], field: value})
    assert caught.value.field == field


def test_a_ticket_deleted_between_stages_leaves_its_events(timed_store: Store, worker: EnsembleWorker) -> None:
    ticket = ticket_of(timed_store, worker)
    make(timed_store, CommentFactory, ticket_id=ticket.ticket_id)
    complete(timed_store, ticket, "architect", worker)
    timed_store.run(tickets.delete, ticket.ticket_id)
    (event,) = events_of(timed_store, ticket)
    assert event.id is not None
    assert timed_store.query(coordination.get, event.id).stage == "architect"
