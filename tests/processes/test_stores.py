"""Promises about processes that open one database and write to it at once: no error, no loss, and once is once."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sizes import Size
from tests.spawning import Processes, go
from vibeweaver_store import Store, history, rules, schema, sessions, signals, stats, triggers
from vibeweaver_store.models import actions

PROCESSES = 8

_MIXED_WRITES = """
import json, random, sys
from vibeweaver_store import Store, history, markers, rules, sessions, snapshots, stats, triggers, actions, signals
database, process, writes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.stdin.readline()  # all start together
store = Store.open(database, migrate=True)
chance = random.Random(process)
jam = store.run(sessions.create, name=f"jam {process}", session_id=f"jam-{process}")
store.run(rules.add, jam.id, triggers.Beat(divisor=1), actions.Play())
done = {"sessions": 1, "rules": 1, "history": 0, "markers": 0, "snapshots": 0, "samples": 0, "fired": 0}
for n in range(writes - 2):
    what = chance.choice(["history", "history", "markers", "snapshots", "samples", "fired"])
    done[what] += 1
    if what == "history":
        store.run(history.append, jam.id, "write", params={"n": n})
    elif what == "markers":
        store.run(markers.add, jam.id, float(n), f"marker {n}")
    elif what == "snapshots":
        store.run(snapshots.save, jam.id, bytes([n % 256]) * 100)
    elif what == "samples":
        store.run(stats.record, "drums", n)
    else:
        store.run(rules.fire, jam.id, signals.BeatTick(beat=n))
print(json.dumps(done))
"""


def count_rows(store: Store, table: str) -> int:
    with store.read() as uow:
        return int(uow.connection().exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_processes_that_open_migrate_and_write_a_fresh_database_lose_nothing(
    processes: Processes, empty_database: str, backend: str, size: Size
) -> None:
    writes = size(60, 500) if backend == "sqlite" else size(30, 100)
    writers = [processes.start(_MIXED_WRITES, empty_database, n, writes) for n in range(PROCESSES)]
    go(writers)
    reports: list[dict[str, int]] = [json.loads(writer.finish()) for writer in writers]

    total = {what: sum(report[what] for report in reports) for what in reports[0]}
    with Store.open(empty_database) as store:
        assert count_rows(store, "sessions") == PROCESSES
        assert count_rows(store, "rules") == PROCESSES
        assert count_rows(store, "markers") == total["markers"]
        assert count_rows(store, "snapshots") == total["snapshots"]
        assert count_rows(store, "history") == total["history"] + total["fired"]
        assert store.query(stats.get, "drums").sample_count == total["samples"]
        fired = [store.query(rules.by_trigger, f"jam-{n}", "beat")[0].fired_count for n in range(PROCESSES)]
        assert fired == [report["fired"] for report in reports]
    assert sum(total.values()) == PROCESSES * writes


_OPEN = """
import sys
from vibeweaver_store import Store, sessions
sys.stdin.readline()
Store.open(sys.argv[1]).run(sessions.create, name="jam")
"""


def test_processes_that_open_a_fresh_file_together_migrate_it_once(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    openers = [processes.start(_OPEN, path) for _ in range(PROCESSES)]
    go(openers)
    for opener in openers:
        opener.finish()

    assert schema.current(path) == schema.head()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fresh.db", "fresh.db.lock"]
    with Store.open(path) as store:
        assert count_rows(store, "sessions") == PROCESSES


# --- exactly once ----------------------------------------------------------------------------------------------

_FIRE = """
import sys
from vibeweaver_store import Store, rules, signals
store = Store.open(sys.argv[1])
sys.stdin.readline()
fired = [len(store.run(rules.fire, "jam", signals.BeatTick(beat=beat))) for beat in range(int(sys.argv[2]))]
print(sum(fired))
"""


def test_rules_fired_by_many_processes_fire_one_shots_once_and_lose_no_count(
    processes: Processes, database: str, size: Size
) -> None:
    beats = size(8, 20)
    with Store.open(database) as store:
        store.run(sessions.create, name="jam", session_id="jam")
        counting = store.run(rules.add, "jam", triggers.Beat(divisor=1), actions.Play())
        once = [store.run(rules.add, "jam", triggers.Beat(divisor=1), actions.Stop(), one_shot=True) for _ in range(5)]
    players = [processes.start(_FIRE, database, beats) for _ in range(6)]
    go(players)
    fired = sum(int(player.finish()) for player in players)

    with Store.open(database) as store:
        assert fired == 6 * beats + len(once)
        assert store.query(rules.get, counting.id).fired_count == 6 * beats
        assert [store.query(rules.get, rule.id).fired_count for rule in once] == [1] * len(once)
        assert store.query(history.count, "jam", action=rules.FIRED) == fired
        assert store.query(rules.match, "jam", signals.BeatTick(beat=0)) == [store.query(rules.get, counting.id)]
