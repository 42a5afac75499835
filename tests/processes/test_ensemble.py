"""Promises about ensembles, kept by real processes: one winner of each claim, and each event once and in order."""

from __future__ import annotations

import json
from typing import Any

from tests.sizes import Size
from tests.spawning import Processes
from vibeweaver_store import Store, coordination, tickets, workers
from vibeweaver_store.testing import EnsembleWorkerFactory, ProjectFactory, TicketFactory

TOGETHER = 20
"""All begin twenty rounds together, and claim their tickets each in an order of its own. With a start for each round,
most of the time would go into waiting for whoever is the last to be given SQLite's lock."""

# To import, to open and to compile statements takes longer than all that is done here: one process does, and forks.
_CLAIMANTS = """
import json, multiprocessing, random, sys
from vibeweaver_store import AlreadyClaimed, Store, tickets
database, claimants, rounds, together = sys.argv[1], *map(int, sys.argv[2:])

store = Store.open(database)

def claim(ticket_id, worker_id):
    try:
        store.run(tickets.claim, ticket_id, worker_id)
    except AlreadyClaimed as refused:
        return refused.by
    return "won"

def compete(worker_id, pipe):
    chance = random.Random(worker_id)
    while rounds := pipe.recv():
        order = chance.sample(rounds, len(rounds))
        pipe.send({n: claim(f"round {n}", worker_id) for n in order})

assert [claim("try", "worker 0"), claim("try", "worker 1")] == ["won", "worker 0"]
forking = multiprocessing.get_context("fork")
pipes = [forking.Pipe() for _ in range(claimants)]
for n, (_, end) in enumerate(pipes):
    forking.Process(target=compete, args=(f"worker {n}", end)).start()

def tell(words):
    for pipe, _ in pipes:
        pipe.send(words)

answers = {}
for first in range(0, rounds, together):
    tell(range(first, first + together))
    heard = [pipe.recv() for pipe, _ in pipes]
    answers.update({n: [each[n] for each in heard] for n in heard[0]})
tell(None)
print(json.dumps([answers[n] for n in range(rounds)]))
"""


def test_a_ticket_claimed_by_many_processes_goes_to_one_in_each_round(
    processes: Processes, database: str, size: Size
) -> None:
    claimants, count = size(12, 32), size(20, 100)
    names = [f"worker {n}" for n in range(claimants)]
    with Store.open(database) as store, store.begin() as uow:
        project = ProjectFactory.create(uow=uow).repository_name
        for name in names:
            EnsembleWorkerFactory.create(uow=uow, worker_id=name, project_id=project)
        for ticket_id in ("try", *[f"round {number}" for number in range(count)]):
            TicketFactory.create(uow=uow, ticket_id=ticket_id, project_id=project)
    claiming = processes.start(_CLAIMANTS, database, claimants, count, TOGETHER)
    rounds: list[list[str]] = json.loads(claiming.finish())

    assert len(rounds) == count
    with Store.open(database) as store:
        for number, answers in enumerate(rounds):
            winner = store.query(tickets.get, f"round {number}").ticket.claimed_by
            assert winner is not None
            assert answers == ["won" if name == winner else winner for name in names], f"round {number}"


WRITERS, COORDINATORS = 3, 2

_COORDINATORS = """
import json, multiprocessing, sys, time
from vibeweaver_store import Store, coordination
database, writers, coordinators, events = sys.argv[1], *map(int, sys.argv[2:])
forking = multiprocessing.get_context("fork")
begin, over, results = forking.Event(), forking.Event(), forking.SimpleQueue()

def write(name):
    with Store.open(database) as store:
        begin.wait()
        for n in range(events):
            store.run(coordination.record, "worker_stopped", worker_id=name, reason=str(n))

def coordinate():
    taken = []
    with Store.open(database) as store:
        begin.wait()
        while True:
            nothing_more_comes = over.is_set()
            found = store.run(coordination.take, 3)
            taken += [(event.id, event.worker_id, int(event.reason)) for event in found]
            if not found and nothing_more_comes:
                break
            if not found:
                time.sleep(0.005)
    results.put(taken)

at_work = [forking.Process(target=write, args=(f"writer {n}",)) for n in range(writers)]
watching = [forking.Process(target=coordinate) for _ in range(coordinators)]
for process in at_work + watching:
    process.start()
begin.set()
for process in at_work:
    process.join()
over.set()
print(json.dumps([results.get() for _ in watching]))
"""


def test_coordinators_take_each_event_once_and_in_order_during_recording(
    processes: Processes, database: str, size: Size
) -> None:
    events = size(20, 50)
    process = processes.start(_COORDINATORS, database, WRITERS, COORDINATORS, events)
    taken: list[list[list[Any]]] = json.loads(process.finish())

    assert len(taken) == COORDINATORS
    for own in taken:
        assert own == sorted(own)
    everything = sorted(event for own in taken for event in own)
    for number in range(WRITERS):
        # By the keys, what one writer recorded is in its order.
        assert [n for _, name, n in everything if name == f"writer {number}"] == list(range(events))
    assert len(everything) == WRITERS * events


_KILLED_AMID_A_TAKE = """
import sys, time
from vibeweaver_store import Store, coordination
with Store.open(sys.argv[1]) as store, store.begin() as uow:
    print(len(coordination.take(uow, 5)), flush=True)
    time.sleep(60)
"""


def test_a_coordinator_killed_amid_a_take_loses_no_event(processes: Processes, database: str) -> None:
    with Store.open(database) as store:
        recorded = [store.run(coordination.record, "worker_stopped").id for _ in range(8)]
        process = processes.start(_KILLED_AMID_A_TAKE, database)
        assert process.read_line() == "5"
        process.kill()
        assert [event.id for event in store.run(coordination.take)] == recorded


_KILLED_AMID_A_STAGE = """
import sys, time
from vibeweaver_store import Store, tickets
with Store.open(sys.argv[1]) as store, store.begin() as uow:
    tickets.complete_stage(uow, "T", "writer", worker_id="w", comment="Written.")
    print("not committed", flush=True)
    time.sleep(60)
"""


def test_a_worker_killed_amid_a_stage_leaves_only_its_claim(processes: Processes, database: str) -> None:
    with Store.open(database) as store:
        with store.begin() as uow:
            worker = EnsembleWorkerFactory.create(uow=uow, worker_id="w")
            TicketFactory.create(uow=uow, ticket_id="T", project_id=worker.project_id)
        claimed = store.run(tickets.claim, "T", "w")
        process = processes.start(_KILLED_AMID_A_STAGE, database)
        assert process.read_line() == "not committed"
        process.kill()

        assert store.query(tickets.get, "T") == tickets.TicketDetail(claimed, [])
        assert store.query(coordination.unprocessed).items == []
        # Whoever watches over workers gives it up, and somebody else can go on.
        store.run(workers.set_status, "w", "failed", reason="killed")
        assert store.query(tickets.get, "T").ticket.claimed_by is None
