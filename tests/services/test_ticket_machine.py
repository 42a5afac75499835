"""Tickets as a state machine: whatever moves are made in whatever order, they stand where a small model says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.sizes import examples
from vibeweaver_store import (
    AlreadyClaimed,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Store,
    StoreError,
    coordination,
    tickets,
    workers,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.testing import EnsembleWorkerFactory, ProjectFactory, SettableClock, WorkerTypeFactory

PLAN = ["architect", "writer", "reviewer"]
LEASE = 60.0

stages = st.sampled_from([*PLAN, "Planned", "tester"])
numbers = st.integers(0, 3)


class TicketMachine(RuleBasedStateMachine):
    """One ticket of three stages, and four workers: two writers, and one of each other type."""

    store: Store
    clock: SettableClock

    def __init__(self) -> None:
        super().__init__()
        project = make(self.store, ProjectFactory).repository_name
        make_many(self.store, WorkerTypeFactory, *[{"worker_type": stage} for stage in PLAN], project_id=project)
        self.types = ["architect", "writer", "writer", "reviewer"]
        made = make_many(
            self.store, EnsembleWorkerFactory, *[{"worker_type": each} for each in self.types], project_id=project
        )
        self.workers = [worker.worker_id for worker in made]
        self.project = project
        self.key = self.store.run(tickets.create, new_id(), project, "Login", "Build it.", PLAN).ticket_id
        # The model.
        self.plan = PLAN
        self.done = 0
        self.closed = False
        self.holder: int | None = None
        self.until: datetime | None = None
        self.ended: set[int] = set()
        self.said = ["Build it."]
        self.told: list[str] = []

    # What the model says

    def next_stage(self) -> str | None:
        return None if self.closed or self.done == len(self.plan) else self.plan[self.done]

    def is_held_by_another(self, number: int) -> bool:
        held = self.until is not None and self.until > self.clock.instant
        return held and self.holder not in {None, number}

    def release(self) -> None:
        self.holder = self.until = None

    def expected(self, *checks: tuple[bool, type[StoreError]]) -> type[StoreError] | None:
        """The first error whose condition holds."""
        return next((error for holds, error in checks if holds), None)

    def attempt(self, error: type[StoreError] | None, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Make a move that is to be refused so, or to succeed; say whether it did."""
        if error is None:
            self.store.run(operation, *args, **kwargs)
            return True
        with pytest.raises(error):
            self.store.run(operation, *args, **kwargs)
        return False

    # Moves

    @rule(number=numbers, stage=stages, speaks=st.booleans())
    def complete(self, number: int, stage: str, speaks: bool) -> None:
        error = self.expected(
            (number in self.ended, IllegalTransition),
            (stage != self.next_stage(), IllegalTransition),
            (self.is_held_by_another(number), AlreadyClaimed),
        )
        word = f"{stage} done" if speaks else None
        by = self.workers[number]
        if self.attempt(error, tickets.complete_stage, self.key, stage, worker_id=by, comment=word):
            self.done += 1
            self.release()
            self.said += [word] if word else []
            self.told.append(stage)

    @rule(number=numbers)
    def complete_the_next(self, number: int) -> None:
        self.complete(number, self.next_stage() or self.plan[-1], speaks=False)

    @rule(stage=stages)
    def reopen(self, stage: str) -> None:
        error = self.expected((self.closed or stage not in self.plan[: self.done], IllegalTransition))
        if self.attempt(error, tickets.reopen_stage, self.key, stage, comment=f"{stage} again"):
            self.done = self.plan.index(stage)
            self.release()
            self.said.append(f"{stage} again")

    @rule(plan=st.lists(st.sampled_from([*PLAN, "tester"]), min_size=1, max_size=4, unique=True), keeps=st.booleans())
    def replan(self, plan: list[str], keeps: bool) -> None:
        done = self.plan[: self.done]
        wanted = [*done, *[stage for stage in plan if stage not in done]] if keeps else plan
        error = self.expected(
            (self.closed, IllegalTransition),
            (wanted[: self.done] != done, InvalidInput),
            ("tester" in wanted[self.done :], NotFound),
        )
        before = self.next_stage()
        if self.attempt(error, tickets.update, self.key, execution_plan=wanted):
            self.plan = wanted
            if self.next_stage() != before:
                self.release()

    @precondition(lambda self: self.done > 0)
    @rule()
    def close(self) -> None:
        error = self.expected((self.closed, IllegalTransition))
        if self.attempt(error, tickets.close, self.key, "done"):
            self.closed = True
            self.release()

    @rule(number=numbers)
    def claim(self, number: int) -> None:
        error = self.expected(
            (number in self.ended, IllegalTransition),
            (self.next_stage() is None, IllegalTransition),
            (self.types[number] != self.next_stage(), InvalidInput),
            (self.is_held_by_another(number), AlreadyClaimed),
        )
        if self.attempt(error, tickets.claim, self.key, self.workers[number], lease_seconds=LEASE):
            self.hold(number)

    def hold(self, number: int) -> None:
        self.holder, self.until = number, self.clock.instant + timedelta(seconds=LEASE)

    @rule(number=numbers)
    def claim_next(self, number: int) -> None:
        by, of_type = self.workers[number], self.types[number]
        if number in self.ended:
            self.attempt(IllegalTransition, tickets.claim_next, self.project, of_type, by)
            return
        is_free = self.until is None or self.until <= self.clock.instant
        found = self.store.run(tickets.claim_next, self.project, of_type, by, lease_seconds=LEASE)
        assert (found is not None) == (is_free and of_type == self.next_stage())
        if found is not None:
            self.hold(number)

    @rule(number=numbers)
    def give_back(self, number: int) -> None:
        error = self.expected((self.is_held_by_another(number), AlreadyClaimed))
        if self.attempt(error, tickets.release, self.key, self.workers[number]) and self.holder == number:
            self.release()

    @rule(number=numbers)
    def beat(self, number: int) -> None:
        error = self.expected((number in self.ended, IllegalTransition))
        beaten = self.attempt(error, workers.heartbeat, self.workers[number], lease_seconds=2 * LEASE)
        if beaten and self.holder == number and self.until is not None and self.until > self.clock.instant:
            self.until = self.clock.instant + timedelta(seconds=2 * LEASE)

    @rule(number=numbers)
    def end(self, number: int) -> None:
        self.store.run(workers.set_status, self.workers[number], "failed")  # again, it is no move
        self.ended.add(number)
        if self.holder == number:
            self.release()

    @rule(seconds=st.sampled_from([1, LEASE, 3 * LEASE]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)

    # What holds at any time

    @invariant()
    def it_stands_where_the_model_says(self) -> None:
        found = self.store.query(tickets.get, self.key)
        ticket = found.ticket
        assert ticket.last_completed_stage == (self.plan[self.done - 1] if self.done else "Planned")
        assert (ticket.execution_plan, ticket.next_stage) == (self.plan, self.next_stage())
        assert (ticket.closed_at is not None) == self.closed
        assert (ticket.claimed_by, ticket.claim_expires_at) == (
            None if self.holder is None else self.workers[self.holder],
            self.until,
        )
        assert [comment.content for comment in found.comments] == self.said

    def teardown(self) -> None:
        told = self.store.query(coordination.page, project=self.project, limit=1000).items
        assert [event.stage for event in told if event.ticket_id == self.key] == self.told
        assert {event.worker_id for event in told if event.event_type == "worker_stopped"} == {
            self.workers[number] for number in self.ended
        }


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_tickets_move_only_as_their_state_machine_allows(timed_store: Store, timed_clock: SettableClock) -> None:
    machine = type("Machine", (TicketMachine,), {"store": timed_store, "clock": timed_clock})
    few = settings(
        max_examples=examples(12, 60),
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=few)
