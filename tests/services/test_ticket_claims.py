"""Claims: one worker is at a ticket, until it is done, gives it back, ends, or is not heard of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, NO_NUMBER, cases
from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import (
    AlreadyClaimed,
    EnsembleWorker,
    IllegalTransition,
    InvalidInput,
    NotFound,
    ReadUnitOfWork,
    Store,
    Ticket,
    tickets,
    workers,
)
from vibeweaver_store.services import ticket_claims
from vibeweaver_store.testing import (
    EPOCH,
    EnsembleWorkerFactory,
    ProjectFactory,
    SettableClock,
    TicketFactory,
    columns_of,
)

QUARTER_OF_AN_HOUR = timedelta(minutes=15)


@pytest.fixture
def worker(timed_store: Store) -> EnsembleWorker:
    """A writer of a project of its own."""
    return make(timed_store, EnsembleWorkerFactory)


@pytest.fixture
def second(timed_store: Store, worker: EnsembleWorker) -> EnsembleWorker:
    """Another writer of the same project."""
    return make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)


@pytest.fixture
def ticket(timed_store: Store, worker: EnsembleWorker) -> Ticket:
    """A ticket of the project that waits for a writer."""
    return make(timed_store, TicketFactory, project_id=worker.project_id)


def claim(store: Store, ticket: Ticket, worker: EnsembleWorker, **values: Any) -> Ticket:
    return store.run(tickets.claim, ticket.ticket_id, worker.worker_id, **values)


def claim_next(store: Store, worker: EnsembleWorker, **values: Any) -> Ticket | None:
    return store.run(tickets.claim_next, worker.project_id, worker.worker_type, worker.worker_id, **values)


# Claim


def test_a_ticket_is_claimed_for_fifteen_minutes_by_default(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker
) -> None:
    claimed = claim(timed_store, ticket, worker)
    own = {"claimed_by": worker.worker_id, "claim_expires_at": timed_clock.instant + QUARTER_OF_AN_HOUR}
    assert columns_of(claimed) == columns_of(ticket) | own | {"updated_at": timed_clock.instant}
    assert lasting_other.query(tickets.find, ticket.ticket_id) == claimed


def test_a_ticket_is_claimed_for_the_given_time(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker
) -> None:
    for seconds in (0.5, 60, tickets.MAX_LEASE_SECONDS):
        claimed = claim(timed_store, ticket, worker, lease_seconds=seconds)
        assert claimed.claim_expires_at == timed_clock.instant + timedelta(seconds=seconds)


def test_claiming_a_ticket_takes_two_statements_one_of_which_decides(
    timed_store: Store, ticket: Ticket, worker: EnsembleWorker
) -> None:
    with recorded_statements(timed_store) as sent:
        claim(timed_store, ticket, worker)
    assert [each.partition(" ")[0] for each in sent] == ["SELECT", "UPDATE"]


def test_a_ticket_held_by_another_worker_is_not_claimed(
    timed_store: Store, lasting_other: Store, ticket: Ticket, worker: EnsembleWorker, second: EnsembleWorker
) -> None:
    held = claim(timed_store, ticket, worker)
    with timed_store.begin() as uow:
        with pytest.raises(AlreadyClaimed) as caught:
            tickets.claim(uow, ticket.ticket_id, second.worker_id)
        workers.heartbeat(uow, second.worker_id)
    refused = caught.value
    assert (refused.entity, refused.key, refused.by) == ("ticket", ticket.ticket_id, worker.worker_id)
    assert refused.until == held.claim_expires_at
    assert lasting_other.query(tickets.find, ticket.ticket_id) == held


def test_claiming_a_held_ticket_again_renews_the_claim(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker
) -> None:
    claim(timed_store, ticket, worker)
    for minutes in (10, 20):  # before it expires, and after
        timed_clock.advance(minutes=minutes)
        assert claim(timed_store, ticket, worker).claim_expires_at == timed_clock.instant + QUARTER_OF_AN_HOUR


def test_a_ticket_is_free_exactly_when_its_claim_expires(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker, second: EnsembleWorker
) -> None:
    claim(timed_store, ticket, worker, lease_seconds=60)
    timed_clock.advance(seconds=59.999999)
    with pytest.raises(AlreadyClaimed):
        claim(timed_store, ticket, second)
    timed_clock.advance(microseconds=1)
    assert claim(timed_store, ticket, second).claimed_by == second.worker_id
    with pytest.raises(AlreadyClaimed) as caught:
        claim(timed_store, ticket, worker)
    assert caught.value.by == second.worker_id


def test_a_worker_may_hold_several_tickets(timed_store: Store, ticket: Ticket, worker: EnsembleWorker) -> None:
    another = make(timed_store, TicketFactory, project_id=worker.project_id)
    assert {claim(timed_store, each, worker).claimed_by for each in (ticket, another)} == {worker.worker_id}


@pytest.mark.parametrize("status", ["spawning", "active", "idle"])
def test_a_worker_claims_tickets_in_any_status_but_a_final_one(timed_store: Store, status: str) -> None:
    worker = make(timed_store, EnsembleWorkerFactory, status=status)
    ticket = make(timed_store, TicketFactory, project_id=worker.project_id)
    assert claim(timed_store, ticket, worker).claimed_by == worker.worker_id
    assert timed_store.query(workers.get, worker.worker_id) == worker


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_a_worker_that_has_ended_claims_no_ticket(timed_store: Store, ticket: Ticket, status: str) -> None:
    ended = make(timed_store, EnsembleWorkerFactory, project_id=ticket.project_id, status=status)
    for attempt in (partial(claim, timed_store, ticket, ended), partial(claim_next, timed_store, ended)):
        with pytest.raises(IllegalTransition) as caught:
            attempt()
        assert (caught.value.entity, caught.value.key) == ("worker", ended.worker_id)
        assert caught.value.current == status
    assert timed_store.query(tickets.find, ticket.ticket_id) == ticket


@pytest.mark.parametrize(
    "values",
    cases(
        of_another_project={"project_id": None},
        at_another_stage={"last_completed_stage": "writer"},
        of_other_stages={"execution_plan": ["Writer", "writers"]},
    ),
)
def test_a_ticket_outside_a_workers_duties_is_not_claimed(
    timed_store: Store, worker: EnsembleWorker, values: dict[str, Any]
) -> None:
    ticket = make(timed_store, TicketFactory, **{"project_id": worker.project_id, **values})
    with pytest.raises(InvalidInput) as caught:
        claim(timed_store, ticket, worker)
    assert caught.value.field == "worker_id"
    assert claim_next(timed_store, worker) is None
    assert timed_store.query(tickets.find, ticket.ticket_id) == ticket


@pytest.mark.parametrize(
    ("values", "current"),
    [({"last_completed_stage": "reviewer"}, "reviewer"), ({"closed_at": EPOCH}, "closed")],
    ids=["all done", "closed"],
)
def test_a_ticket_without_a_stage_left_is_not_claimed(
    timed_store: Store, worker: EnsembleWorker, values: dict[str, Any], current: str
) -> None:
    ticket = make(timed_store, TicketFactory, project_id=worker.project_id, **values)
    with pytest.raises(IllegalTransition) as caught:
        claim(timed_store, ticket, worker)
    assert (caught.value.entity, caught.value.key, caught.value.current) == ("ticket", ticket.ticket_id, current)
    assert claim_next(timed_store, worker) is None


def test_claiming_with_a_missing_ticket_or_worker_names_it(
    timed_store: Store, ticket: Ticket, worker: EnsembleWorker
) -> None:
    for ticket_id, worker_id, missing in (
        ("nowhere", worker.worker_id, ("ticket", "nowhere")),
        (ticket.ticket_id, "nobody", ("worker", "nobody")),
    ):
        with pytest.raises(NotFound) as caught:
            timed_store.run(tickets.claim, ticket_id, worker_id)
        assert (caught.value.entity, caught.value.key) == missing


# What ends a claim


def test_the_next_stage_of_a_ticket_is_claimed_by_a_worker_of_its_type(
    timed_store: Store, ticket: Ticket, worker: EnsembleWorker
) -> None:
    claim(timed_store, ticket, worker)
    timed_store.run(tickets.complete_stage, ticket.ticket_id, "writer", worker_id=worker.worker_id)
    reviewer = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id, worker_type="reviewer")
    assert claim(timed_store, ticket, reviewer).claimed_by == reviewer.worker_id


def test_a_released_ticket_can_be_claimed_by_others(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker, second: EnsembleWorker
) -> None:
    claim(timed_store, ticket, worker)
    timed_clock.advance(minutes=1)
    released = timed_store.run(tickets.release, ticket.ticket_id, worker.worker_id)
    assert columns_of(released) == columns_of(ticket) | {"updated_at": timed_clock.instant}
    assert claim(timed_store, ticket, second).claimed_by == second.worker_id


def test_an_expired_claim_of_a_ticket_can_be_released(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker
) -> None:
    claim(timed_store, ticket, worker)
    timed_clock.advance(hours=1)
    assert timed_store.run(tickets.release, ticket.ticket_id, worker.worker_id).claimed_by is None


def test_releasing_an_unheld_ticket_does_nothing(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker, second: EnsembleWorker
) -> None:
    timed_clock.advance(minutes=1)
    assert timed_store.run(tickets.release, ticket.ticket_id, worker.worker_id) == ticket
    held = claim(timed_store, ticket, worker, lease_seconds=1)
    timed_clock.advance(seconds=1)
    assert timed_store.run(tickets.release, ticket.ticket_id, second.worker_id) == held


def test_a_ticket_held_by_another_worker_cannot_be_released(
    timed_store: Store, ticket: Ticket, worker: EnsembleWorker, second: EnsembleWorker
) -> None:
    held = claim(timed_store, ticket, worker)
    with pytest.raises(AlreadyClaimed) as caught:
        timed_store.run(tickets.release, ticket.ticket_id, second.worker_id)
    assert caught.value.by == worker.worker_id
    assert timed_store.query(tickets.find, ticket.ticket_id) == held


def test_releasing_a_missing_ticket_is_not_found(timed_store: Store) -> None:
    with pytest.raises(NotFound):
        timed_store.run(tickets.release, "nowhere", "nobody")


# Claim the next one


def test_claim_next_claims_the_oldest_free_ticket_of_the_worker_type(
    timed_store: Store, timed_clock: SettableClock, worker: EnsembleWorker, second: EnsembleWorker
) -> None:
    soon = timed_clock.instant + timedelta(minutes=1)
    made = make_many(
        timed_store,
        TicketFactory,
        *[
            values | {"created_at": EPOCH + timedelta(seconds=seconds)}
            for seconds, values in (
                (5, {"title": "the third"}),
                (0, {"title": "closed", "closed_at": EPOCH}),
                (1, {"title": "at another stage", "last_completed_stage": "writer"}),
                (2, {"title": "held", "claimed_by": second.worker_id, "claim_expires_at": soon}),
                (3, {"title": "the first", "claimed_by": second.worker_id, "claim_expires_at": EPOCH}),
                (4, {"title": "the second"}),
            )
        ],
        project_id=worker.project_id,
    )
    make(timed_store, TicketFactory, created_at=EPOCH - timedelta(days=1))  # of another project
    claimed = [claim_next(timed_store, worker) for _ in range(4)]
    assert [each.title if each else None for each in claimed] == ["the first", "the second", "the third", None]
    assert timed_store.query(tickets.find, made[3].ticket_id) == made[3]


def test_claim_next_claims_tickets_of_one_instant_by_id(timed_store: Store, worker: EnsembleWorker) -> None:
    keys = [f"{worker.project_id} {letter}" for letter in "cab"]
    make_many(timed_store, TicketFactory, *[{"ticket_id": key} for key in keys], project_id=worker.project_id)
    claimed = [claim_next(timed_store, worker) for _ in keys]
    assert [each.ticket_id if each else None for each in claimed] == sorted(keys)


def test_claim_next_finds_and_claims_a_ticket_in_one_statement(
    timed_store: Store, timed_clock: SettableClock, ticket: Ticket, worker: EnsembleWorker
) -> None:
    with recorded_statements(timed_store) as sent:
        claimed = claim_next(timed_store, worker, lease_seconds=60)
    own = {"claimed_by": worker.worker_id, "claim_expires_at": timed_clock.instant + timedelta(minutes=1)}
    assert claimed is not None
    assert columns_of(claimed) == columns_of(ticket) | own | {"updated_at": timed_clock.instant}
    assert len(sent) == 2


def test_claim_next_claims_only_tickets_of_the_workers_project_and_type(
    timed_store: Store, worker: EnsembleWorker
) -> None:
    elsewhere = make(timed_store, ProjectFactory).repository_name
    for project, worker_type, field in (
        (elsewhere, "writer", "worker_id"),
        (worker.project_id, "reviewer", "worker_type"),
    ):
        with pytest.raises(InvalidInput) as caught:
            timed_store.run(tickets.claim_next, project, worker_type, worker.worker_id)
        assert caught.value.field == field


def test_claim_next_with_a_missing_project_or_worker_names_it(timed_store: Store, worker: EnsembleWorker) -> None:
    for project, worker_id, missing in (
        ("no/where", worker.worker_id, ("project", "no/where")),
        (worker.project_id, "nobody", ("worker", "nobody")),
    ):
        with pytest.raises(NotFound) as caught:
            timed_store.run(tickets.claim_next, project, "writer", worker_id)
        assert (caught.value.entity, caught.value.key) == missing


# At once


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_a_ticket_claimed_concurrently_goes_to_one_worker(
    timed_store: Store, lasting_other: Store, ticket: Ticket
) -> None:
    made = make_many(timed_store, EnsembleWorkerFactory, *[{}] * THREADS, project_id=ticket.project_id)

    def work(store: Store, number: int) -> str:
        try:
            claim(store, ticket, made[number], lease_seconds=3600)
        except AlreadyClaimed as refused:
            return refused.by
        return made[number].worker_id

    said = at_once(timed_store, work=work)
    assert set(said) == {said[0]}
    found = lasting_other.query(tickets.get, ticket.ticket_id).ticket
    assert found.claimed_by == said[0]


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_concurrent_claim_next_calls_get_different_tickets(timed_store: Store, worker: EnsembleWorker) -> None:
    make_many(timed_store, TicketFactory, *[{}] * THREADS, project_id=worker.project_id)
    made = make_many(timed_store, EnsembleWorkerFactory, *[{}] * THREADS, project_id=worker.project_id)

    def work(store: Store, number: int) -> list[str]:
        claimed = claim_next(store, made[number])
        return [] if claimed is None else [claimed.ticket_id]

    given = [key for keys in at_once(timed_store, work=work) for key in keys]
    assert len(set(given)) == len(given) == THREADS


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_a_worker_that_ends_while_claiming_holds_no_ticket(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    made = make_many(timed_store, TicketFactory, *[{}] * THREADS, project_id=worker.project_id)

    def work(store: Store, number: int) -> None:
        try:
            if number == THREADS // 2:
                store.run(workers.set_status, worker.worker_id, "failed")
            else:
                claim(store, made[number], worker)
        except IllegalTransition:
            pass

    at_once(timed_store, work=work)
    assert [lasting_other.query(tickets.get, each.ticket_id).ticket.claimed_by for each in made] == [None] * THREADS


@pytest.mark.parametrize("lasting", [SYNC[1]], indirect=True)
def test_claim_next_skips_a_locked_ticket(timed_store: Store, ticket: Ticket, worker: EnsembleWorker) -> None:
    another = make(timed_store, TicketFactory, project_id=worker.project_id, created_at=EPOCH + timedelta(days=1))
    with timed_store.begin() as uow:
        tickets.update(uow, ticket.ticket_id, title="being renamed")
        claimed = claim_next(timed_store, worker)
        assert claimed is not None
        assert claimed.ticket_id == another.ticket_id
        assert claim_next(timed_store, worker) is None


@pytest.mark.parametrize("lasting", [SYNC[1]], indirect=True)
@pytest.mark.parametrize("goes_wrong", [False, True], ids=["it is committed", "it fails"])
def test_a_ticket_claim_waits_for_a_concurrent_claim_to_end(
    timed_store: Store, ticket: Ticket, worker: EnsembleWorker, second: EnsembleWorker, goes_wrong: bool
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with suppress(ZeroDivisionError), timed_store.begin() as uow:
            tickets.claim(uow, ticket.ticket_id, worker.worker_id)
            claimed = threads.submit(claim, timed_store, ticket, second)
            with pytest.raises(TimeoutError):
                claimed.result(timeout=0.2)
            if goes_wrong:
                raise ZeroDivisionError
        refused = claimed.exception(timeout=30)
    if goes_wrong:
        assert claimed.result().claimed_by == second.worker_id
    else:
        assert isinstance(refused, AlreadyClaimed)
        assert refused.by == worker.worker_id


@pytest.mark.parametrize("lasting", [SYNC[1]], indirect=True)
def test_a_ticket_freed_just_after_a_refusal_is_claimed(
    timed_store: Store,
    ticket: Ticket,
    worker: EnsembleWorker,
    second: EnsembleWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim(timed_store, ticket, worker)

    def given_back_meanwhile(uow: ReadUnitOfWork, ticket_id: str) -> Ticket | None:
        timed_store.run(tickets.release, ticket_id, worker.worker_id)
        return tickets.find(uow, ticket_id)

    monkeypatch.setattr(ticket_claims, "find", given_back_meanwhile)
    assert claim(timed_store, ticket, second).claimed_by == second.worker_id


# What is refused

BAD_LEASES = cases(**NO_NUMBER, zero=0, below_zero=-1, a_timedelta=timedelta(1), too_long=tickets.MAX_LEASE_SECONDS + 1)


@pytest.mark.parametrize("lease_seconds", BAD_LEASES)
@pytest.mark.parametrize(
    "operation",
    [
        lambda uow, **lease: tickets.claim(uow, "T-1", "w-1", **lease),
        lambda uow, **lease: tickets.claim_next(uow, "a/b", "writer", "w-1", **lease),
    ],
    ids=["claim", "claim_next"],
)
def test_an_invalid_lease_of_a_ticket_claim_is_refused(
    lasting_store: Store, operation: Any, lease_seconds: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, lease_seconds=lease_seconds)
    assert caught.value.field == "lease_seconds"


@pytest.mark.parametrize(
    ("operation", "field", "value"),
    [
        pytest.param(operation, field, each.values[0], id=f"{operation.__name__} {field}: {each.id}")
        for operation, field, bad in (
            (tickets.claim, "worker_id", [*BAD_IDS[-4:], pytest.param(None, id="nothing")]),
            (tickets.claim_next, "worker_id", [*BAD_IDS[-4:], pytest.param(None, id="nothing")]),
            (tickets.claim_next, "project", BAD_IDS[-4:]),
            (tickets.claim_next, "worker_type", BAD_NAMES[-6:]),
            (tickets.release, "worker_id", [*BAD_IDS[-4:], pytest.param(None, id="nothing")]),
        )
        for each in bad
    ],
)
def test_claiming_or_releasing_a_ticket_by_an_invalid_name_is_refused(
    lasting_store: Store, operation: Any, field: str, value: Any
) -> None:
    given: dict[str, dict[str, Any]] = {
        "claim": {"ticket_id": "T-1", "worker_id": "w-1"},
        "claim_next": {"project": "a/b", "worker_type": "writer", "worker_id": "w-1"},
        "release": {"ticket_id": "T-1", "worker_id": "w-1"},
    }
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, **{**given[operation.__name__], field: value})
    assert caught.value.field == field
