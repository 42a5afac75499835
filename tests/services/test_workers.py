"""Workers: registered, heard of, moved from status to status, and given up when they fall silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from tests.conftest import BACKENDS, recorded_statements
from tests.services.bad_input import BAD_IDS, BAD_NAMES, BAD_TEXTS, NO_NUMBER, VERBATIM, cases
from tests.services.conftest import SYNC
from tests.services.scene import make, make_many
from tests.services.test_concurrency import THREADS, at_once
from vibeweaver_store import (
    AlreadyExists,
    CoordinationEvent,
    EnsembleWorker,
    IllegalTransition,
    InvalidInput,
    NotFound,
    Store,
    Ticket,
    WorkerStatus,
    projects,
    tickets,
    workers,
)
from vibeweaver_store.columns import new_id
from vibeweaver_store.models.ensemble import FINAL_OF_WORKERS, WORKER_TRANSITIONS
from vibeweaver_store.testing import (
    EPOCH,
    CoordinationEventFactory,
    EnsembleWorkerFactory,
    ProjectFactory,
    SettableClock,
    TicketFactory,
    WorkerTypeFactory,
    columns_of,
)

NOTHING = pytest.param(None, id="nothing")
LIVING = [status for status in WorkerStatus if status not in FINAL_OF_WORKERS]


@pytest.fixture
def project(timed_store: Store) -> str:
    """A project with writers."""
    key = make(timed_store, ProjectFactory).repository_name
    make(timed_store, WorkerTypeFactory, project_id=key, worker_type="writer")
    return key


@pytest.fixture
def worker(timed_store: Store, timed_clock: SettableClock) -> EnsembleWorker:
    """An idle worker, of which something was heard just now."""
    return make(timed_store, EnsembleWorkerFactory, started_at=timed_clock.instant)


def hold(store: Store, worker: EnsembleWorker, clock: SettableClock, *seconds: float) -> list[Ticket]:
    """Tickets that a worker holds for so many seconds."""
    return make_many(
        store,
        TicketFactory,
        *[{"claim_expires_at": clock.instant + timedelta(seconds=each)} for each in seconds],
        project_id=worker.project_id,
        claimed_by=worker.worker_id,
    )


def claims(store: Store, made: list[Ticket]) -> list[Any]:
    found = [store.query(tickets.get, each.ticket_id).ticket for each in made]
    return [(each.claimed_by, each.claim_expires_at) for each in found]


def events_of(store: Store, worker: EnsembleWorker) -> list[CoordinationEvent]:
    with store.read() as uow:
        own = select(CoordinationEvent).where(col(CoordinationEvent.worker_id) == worker.worker_id)
        return list(uow.exec(own.order_by(col(CoordinationEvent.id))))


# Register


def test_a_new_worker_has_the_values_it_was_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, project: str
) -> None:
    key = new_id()
    made = timed_store.run(workers.register, key, project, "writer", queue_name="writers", pid=4711, status="active")
    assert columns_of(lasting_other.query(workers.get, key)) == columns_of(made)
    assert (made.worker_id, made.project_id, made.worker_type) == (key, project, "writer")
    assert (made.queue_name, made.pid, made.status) == ("writers", 4711, WorkerStatus.ACTIVE)
    assert (made.started_at, made.last_activity) == (timed_clock.instant, timed_clock.instant)


def test_a_new_worker_is_spawning_with_the_queue_of_its_type(timed_store: Store, project: str) -> None:
    made = timed_store.run(workers.register, new_id(), project, "writer")
    assert (made.status, made.queue_name, made.pid) == (WorkerStatus.SPAWNING, f"{project}:writer", None)


def test_registering_a_worker_takes_three_statements(timed_store: Store, project: str) -> None:
    with recorded_statements(timed_store) as sent:
        timed_store.run(workers.register, new_id(), project, "writer")
    assert len(sent) == 3


def test_a_refused_worker_leaves_the_unit_of_work_usable(
    timed_store: Store, lasting_other: Store, project: str, worker: EnsembleWorker
) -> None:
    refused: list[Any] = []
    with timed_store.begin() as uow:
        for key, of_project, worker_type in (
            (new_id(), "no/where", "writer"),
            (new_id(), project, "tester"),
            (worker.worker_id, project, "writer"),
        ):
            with pytest.raises((NotFound, AlreadyExists)) as caught:
                workers.register(uow, key, of_project, worker_type)
            refused.append(caught.value)
        made = workers.register(uow, new_id(), project, "writer")
    assert [(each.entity, each.key) for each in refused] == [
        ("project", "no/where"),
        ("worker type", (project, "tester")),
        ("worker", worker.worker_id),
    ]
    assert lasting_other.query(workers.find, made.worker_id) is not None
    assert lasting_other.query(workers.get, worker.worker_id) == worker


@pytest.mark.parametrize("name", VERBATIM)
def test_worker_names_are_kept_verbatim(timed_store: Store, lasting_other: Store, name: str) -> None:
    project = make(timed_store, ProjectFactory).repository_name
    make(timed_store, WorkerTypeFactory, project_id=project, worker_type=name)
    timed_store.run(workers.register, name, project, name, queue_name=name)
    found = lasting_other.query(workers.get, name)
    assert (found.worker_id, found.worker_type, found.queue_name) == (name, name, name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("worker_id", each.values[0], id=f"id: {each.id}") for each in [*BAD_IDS, NOTHING]],
        *[pytest.param("project", each.values[0], id=f"project: {each.id}") for each in [*BAD_IDS[-4:], NOTHING]],
        *[pytest.param("worker_type", each.values[0], id=f"type: {each.id}") for each in BAD_NAMES[-7:]],
        *[pytest.param("queue_name", each.values[0], id=f"queue: {each.id}") for each in BAD_NAMES[-5:]],
        *[
            pytest.param("pid", each.values[0], id=f"pid: {each.id}")
            for each in cases(below_zero=-1, text="1", true=True, a_float=1.0, too_great=2**63)
        ],
        *[
            pytest.param("status", each.values[0], id=f"status: {each.id}")
            for each in cases(nothing=None, unknown="running", finished="finished", failed=WorkerStatus.FAILED)
        ],
    ],
)
def test_a_worker_with_an_invalid_value_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"worker_id": "w-1", "project": "a/b", "worker_type": "writer", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(workers.register, **values)
    assert caught.value.field == field


# Get, find, list, delete


def test_a_missing_worker_is_not_found(lasting_store: Store) -> None:
    assert lasting_store.query(workers.find, "nobody") is None
    for operation in (
        *(workers.get, workers.delete, workers.heartbeat),
        lambda uow, key: workers.set_status(uow, key, "active"),
        lambda uow, key: workers.set_status(uow, key, "failed"),
    ):
        with pytest.raises(NotFound) as caught:
            lasting_store.run(operation, "nobody")
        assert (caught.value.entity, caught.value.key) == ("worker", "nobody")


@pytest.mark.parametrize(
    "operation",
    [
        *(workers.get, workers.find, workers.delete, workers.heartbeat),
        lambda uow, key: workers.set_status(uow, key, "idle"),
    ],
    ids=["get", "find", "delete", "heartbeat", "set_status"],
)
@pytest.mark.parametrize("worker_id", [*BAD_IDS[-4:], NOTHING])
def test_a_worker_lookup_by_an_invalid_id_is_refused(lasting_store: Store, operation: Any, worker_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, worker_id)
    assert caught.value.field == "worker_id"


@pytest.fixture
def some(store: Store) -> dict[str, EnsembleWorker]:
    """Workers of two projects in several statuses, by age."""
    here, there = (make(store, ProjectFactory).repository_name for _ in range(2))
    each = [(here, "idle"), (here, "failed"), (there, "idle"), (here, "idle"), (there, "failed"), (here, "active")]
    made = make_many(
        store,
        EnsembleWorkerFactory,
        *[
            {
                "worker_id": f"w-{n}",
                "project_id": project,
                "status": status,
                "started_at": EPOCH + timedelta(seconds=n // 2),
            }
            for n, (project, status) in enumerate(each)
        ],
    )
    return {worker.worker_id: worker for worker in made}


@pytest.mark.parametrize(
    ("own_project", "status", "expected"),
    [
        (False, None, ["w-5", "w-4", "w-3", "w-2", "w-1", "w-0"]),
        (True, None, ["w-5", "w-3", "w-1", "w-0"]),
        (False, "idle", ["w-3", "w-2", "w-0"]),
        (True, "IDLE", ["w-3", "w-0"]),
        (True, WorkerStatus.FINISHED, []),
    ],
)
def test_workers_are_paged_newest_first_ties_by_id(
    store: Store, some: dict[str, EnsembleWorker], own_project: bool, status: Any, expected: list[str]
) -> None:
    project = some["w-0"].project_id if own_project else None
    first = store.query(workers.page, project=project, status=status, limit=2)
    found = list(first.items)
    if first.next_cursor is not None:
        found += store.query(workers.page, project=project, status=status, cursor=first.next_cursor).items
    assert [worker.worker_id for worker in found] == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [("project", ""), ("project", 5), ("status", "running"), ("status", 1), ("limit", 0), ("cursor", "?")],
)
def test_an_invalid_filter_of_workers_is_refused(lasting_store: Store, field: str, value: Any) -> None:
    given: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(workers.page, **given)
    assert caught.value.field == field


def test_deleting_a_worker_releases_its_tickets_without_an_event(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    bystander = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)
    held, kept = hold(timed_store, worker, timed_clock, 60), hold(timed_store, bystander, timed_clock, 60)
    event = make(timed_store, CoordinationEventFactory, worker_id=worker.worker_id)
    timed_store.run(workers.delete, worker.worker_id)
    assert lasting_other.query(workers.find, worker.worker_id) is None
    assert claims(lasting_other, held) == [(None, None)]
    assert claims(lasting_other, kept) == [(bystander.worker_id, kept[0].claim_expires_at)]
    assert events_of(lasting_other, worker) == [event]


# Update


@pytest.mark.parametrize("status", WorkerStatus)
@pytest.mark.parametrize(
    "changes",
    [{"pid": 4711}, {"pid": None}, {"queue_name": "night"}, {"pid": 0, "queue_name": "night"}],
    ids=str,
)
def test_an_update_of_a_worker_changes_only_what_is_given(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, status: WorkerStatus, changes: dict[str, Any]
) -> None:
    worker, bystander = make_many(timed_store, EnsembleWorkerFactory, {"pid": 1, "status": status}, {})
    timed_clock.advance(minutes=1)
    changed = timed_store.run(workers.update, worker.worker_id, **changes)
    assert columns_of(changed) == columns_of(worker) | changes
    assert lasting_other.query(workers.find, worker.worker_id) == changed
    assert lasting_other.query(workers.find, bystander.worker_id) == bystander


def test_an_update_of_a_worker_with_nothing_given_only_reads(timed_store: Store, worker: EnsembleWorker) -> None:
    with recorded_statements(timed_store) as sent:
        assert timed_store.run(workers.update, worker.worker_id) == worker
    assert [each.split()[0] for each in sent] == ["SELECT"]


@pytest.mark.parametrize("changes", [{}, {"pid": 1}], ids=str)
def test_an_update_of_an_unknown_worker_does_not_undo_the_unit_of_work(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker, changes: dict[str, Any]
) -> None:
    with timed_store.begin() as uow:
        with pytest.raises(NotFound) as caught:
            workers.update(uow, "nobody", **changes)
        workers.update(uow, worker.worker_id, pid=2)
    assert (caught.value.entity, caught.value.key) == ("worker", "nobody")
    assert lasting_other.query(workers.get, worker.worker_id).pid == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[pytest.param("worker_id", each.values[0], id=f"id: {each.id}") for each in [*BAD_IDS[-3:], NOTHING]],
        *[
            pytest.param("pid", each.values[0], id=f"pid: {each.id}")
            for each in cases(**NO_NUMBER, below_zero=-1, half=0.5, too_great=2**63)
            if each.id != "nothing"
        ],
        *[pytest.param("queue_name", each.values[0], id=f"queue: {each.id}") for each in BAD_NAMES],
    ],
)
def test_an_update_of_a_worker_refuses_invalid_values(lasting_store: Store, field: str, value: Any) -> None:
    values: dict[str, Any] = {"worker_id": "w-1", field: value}
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(workers.update, **values)
    assert caught.value.field == field


# Heartbeat


@pytest.mark.parametrize("status", LIVING)
def test_a_worker_heartbeat_changes_only_its_time(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, status: WorkerStatus
) -> None:
    worker = make(timed_store, EnsembleWorkerFactory, status=status)
    held = hold(timed_store, worker, timed_clock, 60)
    timed_clock.advance(seconds=10)
    alive = timed_store.run(workers.heartbeat, worker.worker_id)
    assert columns_of(alive) == columns_of(worker) | {"last_activity": timed_clock.instant}
    assert columns_of(lasting_other.query(workers.get, worker.worker_id)) == columns_of(alive)
    assert claims(lasting_other, held) == [(worker.worker_id, held[0].claim_expires_at)]


def test_a_worker_heartbeat_is_one_statement_and_one_more_for_claims(
    timed_store: Store, worker: EnsembleWorker
) -> None:
    for statements, lease in ((1, None), (2, 60)):
        with recorded_statements(timed_store) as sent:
            timed_store.run(workers.heartbeat, worker.worker_id, lease_seconds=lease)
        assert len(sent) == statements


def test_a_worker_heartbeat_extends_and_never_shortens_its_claims(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    bystander = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)
    held, kept = hold(timed_store, worker, timed_clock, 1, 60, 0, 3600), hold(timed_store, bystander, timed_clock, 1)
    timed_store.run(workers.heartbeat, worker.worker_id, lease_seconds=600)
    until = timed_clock.instant + timedelta(minutes=10)
    expected = [until, until, held[2].claim_expires_at, held[3].claim_expires_at]  # the third had expired
    assert [expires_at for _, expires_at in claims(lasting_other, held)] == expected
    assert claims(lasting_other, kept) == [(bystander.worker_id, kept[0].claim_expires_at)]


@pytest.mark.parametrize("status", FINAL_OF_WORKERS)
def test_a_heartbeat_of_a_worker_that_has_ended_is_refused(timed_store: Store, status: WorkerStatus) -> None:
    ended = make(timed_store, EnsembleWorkerFactory, status=status)
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(workers.heartbeat, ended.worker_id)
    assert (caught.value.entity, caught.value.key, caught.value.current) == ("worker", ended.worker_id, status)
    assert timed_store.query(workers.get, ended.worker_id) == ended


@pytest.mark.parametrize(
    "lease_seconds",
    [
        case
        for case in cases(**NO_NUMBER, zero=0, below_zero=-1, too_long=tickets.MAX_LEASE_SECONDS + 1)
        if case.id != "nothing"
    ],
)
def test_an_invalid_lease_of_a_worker_heartbeat_is_refused(lasting_store: Store, lease_seconds: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(workers.heartbeat, "w-1", lease_seconds=lease_seconds)
    assert caught.value.field == "lease_seconds"


# Status

MOVES = [(one, another) for one in WorkerStatus for another in WorkerStatus if one is not another]


@pytest.mark.parametrize(("one", "another"), [move for move in MOVES if move[1] in WORKER_TRANSITIONS[move[0]]])
def test_a_worker_makes_every_legal_move(
    timed_store: Store, timed_clock: SettableClock, one: WorkerStatus, another: WorkerStatus
) -> None:
    worker = make(timed_store, EnsembleWorkerFactory, status=one)
    moved = timed_store.run(workers.set_status, worker.worker_id, another)
    assert columns_of(moved) == columns_of(worker) | {"status": another, "last_activity": timed_clock.instant}
    assert timed_store.query(workers.get, worker.worker_id) == moved
    assert len(events_of(timed_store, worker)) == (another in FINAL_OF_WORKERS)


@pytest.mark.parametrize(("one", "another"), [move for move in MOVES if move[1] not in WORKER_TRANSITIONS[move[0]]])
def test_a_worker_makes_no_illegal_move(timed_store: Store, one: WorkerStatus, another: WorkerStatus) -> None:
    worker = make(timed_store, EnsembleWorkerFactory, status=one)
    with pytest.raises(IllegalTransition) as caught:
        timed_store.run(workers.set_status, worker.worker_id, another)
    refused = caught.value
    assert (refused.entity, refused.key, refused.current) == ("worker", worker.worker_id, one)
    assert (refused.wanted, refused.allowed) == (another, WORKER_TRANSITIONS[one])
    assert timed_store.query(workers.get, worker.worker_id) == worker
    assert events_of(timed_store, worker) == []


@pytest.mark.parametrize("status", WorkerStatus)
def test_setting_a_worker_to_its_current_status_writes_nothing(timed_store: Store, status: WorkerStatus) -> None:
    worker = make(timed_store, EnsembleWorkerFactory, status=status)
    with recorded_statements(timed_store) as sent:
        assert timed_store.run(workers.set_status, worker.worker_id, status) == worker
    assert {each.partition(" ")[0] for each in sent} == {"SELECT"}
    assert events_of(timed_store, worker) == []


@pytest.mark.parametrize("status", FINAL_OF_WORKERS)
def test_the_end_of_a_worker_records_its_reason_and_releases_its_tickets(
    timed_store: Store,
    lasting_other: Store,
    timed_clock: SettableClock,
    worker: EnsembleWorker,
    status: WorkerStatus,
) -> None:
    bystander = make(timed_store, EnsembleWorkerFactory, project_id=worker.project_id)
    held, kept = hold(timed_store, worker, timed_clock, 60, -60), hold(timed_store, bystander, timed_clock, 60)
    timed_store.run(workers.set_status, worker.worker_id, status, reason="its context was full")
    (event,) = events_of(lasting_other, worker)
    assert (event.event_type, event.project_id) == ("worker_stopped", worker.project_id)
    assert (event.reason, event.ticket_id, event.stage) == ("its context was full", None, None)
    assert (event.processed, event.created_at) == (False, timed_clock.instant)
    assert claims(lasting_other, held) == [(None, None)] * 2
    assert claims(lasting_other, kept) == [(bystander.worker_id, kept[0].claim_expires_at)]


def test_the_end_of_a_worker_needs_no_reason(timed_store: Store, worker: EnsembleWorker) -> None:
    timed_store.run(workers.set_status, worker.worker_id, "finished")
    assert [event.reason for event in events_of(timed_store, worker)] == [None]


def test_the_event_and_release_of_a_worker_roll_back_with_the_unit_of_work(
    timed_store: Store, lasting_other: Store, timed_clock: SettableClock, worker: EnsembleWorker
) -> None:
    held = hold(timed_store, worker, timed_clock, 60)
    with pytest.raises(ZeroDivisionError), timed_store.begin() as uow:
        workers.set_status(uow, worker.worker_id, "failed", reason="out of memory")
        raise ZeroDivisionError
    assert lasting_other.query(workers.get, worker.worker_id) == worker
    assert events_of(lasting_other, worker) == []
    assert claims(lasting_other, held) == [(worker.worker_id, held[0].claim_expires_at)]


@pytest.mark.parametrize(
    ("field", "status", "reason"),
    [
        ("status", "running", None),
        ("status", None, None),
        ("status", 3, None),
        ("reason", "active", "only an end has one"),
        *[
            pytest.param("reason", "failed", each.values[0], id=f"reason: {each.id}")
            for each in [*BAD_TEXTS, *cases(empty="", blank=" \n")]
        ],
    ],
)
def test_an_invalid_move_of_a_worker_is_refused(lasting_store: Store, field: str, status: Any, reason: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(workers.set_status, "nobody", status, reason=reason)
    assert caught.value.field == field


@pytest.mark.parametrize("lasting", SYNC, indirect=True)
def test_a_worker_ended_concurrently_records_one_event(
    timed_store: Store, lasting_other: Store, worker: EnsembleWorker
) -> None:
    def work(store: Store, number: int) -> None:
        store.run(workers.set_status, worker.worker_id, "failed", reason=f"{number}")

    at_once(timed_store, lasting_other, work=work)
    assert len(events_of(timed_store, worker)) == 1


# Those that nothing was heard of

MINUTE = timedelta(minutes=1)


@pytest.fixture
def heard(store: Store, clock: SettableClock) -> None:
    """Workers that were heard of 30, 59, 60, 61, 300 and 300 seconds ago, and some that ended long ago."""
    for n, seconds in enumerate((30, 59, 60, 61, 300, 300)):
        at = clock.instant - timedelta(seconds=seconds)
        make(store, EnsembleWorkerFactory, worker_id=f"w-{n}", last_activity=at, status=LIVING[n % 3])
    make_many(store, EnsembleWorkerFactory, *[{"status": status} for status in FINAL_OF_WORKERS])


@pytest.mark.usefixtures("heard")
def test_stale_workers_are_listed_longest_silent_first(store: Store) -> None:
    first = store.query(workers.stale, MINUTE, limit=2)
    second = store.query(workers.stale, MINUTE, cursor=first.next_cursor)
    assert [worker.worker_id for worker in first.items + second.items] == ["w-4", "w-5", "w-3"]


@pytest.mark.usefixtures("heard")
def test_reaping_stale_workers_releases_their_tickets(store: Store, other: Store, clock: SettableClock) -> None:
    silent, alive = other.query(workers.get, "w-3"), other.query(workers.get, "w-2")
    held, kept = hold(store, silent, clock, 600), hold(store, alive, clock, 600)
    reaped = store.run(workers.reap, MINUTE)
    assert [worker.worker_id for worker in reaped] == ["w-4", "w-5", "w-3"]
    assert columns_of(reaped[2]) == columns_of(silent) | {"status": WorkerStatus.FAILED}
    assert other.query(workers.get, "w-3") == reaped[2]
    assert other.query(workers.get, "w-2") == alive
    assert claims(other, held) == [(None, None)]
    assert claims(other, kept) == [("w-2", kept[0].claim_expires_at)]


@pytest.mark.usefixtures("heard")
def test_reaping_records_an_event_per_worker_with_the_time_of_its_silence(store: Store, other: Store) -> None:
    reaped = store.run(workers.reap, MINUTE)
    told = [event for worker in reaped for event in events_of(other, worker)]
    assert [(event.event_type, event.project_id, event.reason) for event in told] == [
        (
            "worker_stopped",
            worker.project_id,
            f"no activity since {worker.last_activity:%Y-%m-%dT%H:%M:%S.%f}Z",
        )
        for worker in reaped
    ]
    assert [event.id for event in told] == sorted(event.id or 0 for event in told)


@pytest.mark.usefixtures("heard")
def test_a_reaped_worker_is_not_reaped_again(store: Store) -> None:
    store.run(workers.reap, MINUTE)
    assert store.run(workers.reap, MINUTE) == []
    assert store.query(workers.stale, MINUTE).items == []


def test_reaping_workers_takes_a_fixed_number_of_statements(store: Store) -> None:
    project = make(store, ProjectFactory).repository_name
    sent: list[list[str]] = []
    for count in (1, 100):
        make_many(store, EnsembleWorkerFactory, *[{}] * count, project_id=project)
        with recorded_statements(store) as recorded:
            assert len(store.run(workers.reap, MINUTE)) == count
        sent.append(recorded)
    assert len(sent[0]) == len(sent[1]) <= 6


@pytest.mark.parametrize(
    "older_than",
    cases(nothing=None, seconds=60, text="5m", below_zero=timedelta(seconds=-1), beyond_time=timedelta.max),
)
@pytest.mark.parametrize("operation", [workers.stale, workers.reap])
def test_an_invalid_silence_of_stale_workers_is_refused(lasting_store: Store, operation: Any, older_than: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, older_than)
    assert caught.value.field == "older_than"


@pytest.mark.parametrize("drive", ["sync"])
def test_concurrent_reaping_reaps_each_worker_once(store: Store, other: Store, clock: SettableClock) -> None:
    made = [make(store, EnsembleWorkerFactory) for _ in range(20)]
    held = [ticket for worker in made for ticket in hold(store, worker, clock, 600)]

    def work(each: Store, number: int) -> list[str]:
        return [worker.worker_id for worker in each.run(workers.reap, MINUTE)]

    reaped = [key for keys in at_once(store, other, work=work) for key in keys]
    assert sorted(reaped) == sorted(worker.worker_id for worker in made)
    assert [len(events_of(store, worker)) for worker in made] == [1] * 20
    assert claims(store, held) == [(None, None)] * 20


@pytest.mark.parametrize("drive", ["sync"])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_reaping_skips_a_locked_worker(store: Store, other: Store) -> None:
    worker = make(store, EnsembleWorkerFactory)
    with store.begin() as uow:
        workers.heartbeat(uow, worker.worker_id)
        assert other.run(workers.reap, MINUTE) == []
    assert other.run(workers.reap, MINUTE) == []


@pytest.mark.parametrize("drive", ["sync"])
def test_a_project_can_be_deleted_while_its_workers_are_reaped(store: Store, other: Store) -> None:
    for _ in range(3):
        made = [make(store, EnsembleWorkerFactory) for _ in range(THREADS)]

        def work(each: Store, number: int, made: list[EnsembleWorker] = made) -> None:
            with each.begin() as uow:  # not store.run, which would try again after a deadlock
                if number % 2:
                    workers.reap(uow, MINUTE)
                else:
                    projects.delete(uow, made[number].project_id)

        at_once(store, other, work=work)
        store.run(workers.reap, MINUTE)
        left = [store.query(workers.find, worker.worker_id) for worker in made]
        assert [each is None for each in left] == [True, False] * (THREADS // 2)
        assert {each.status for each in left if each} == {WorkerStatus.FAILED}
