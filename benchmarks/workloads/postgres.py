"""PostgreSQL: the store beside psycopg that sends the same statements by hand and makes dataclasses of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from benchmarks.driver import PARAMS, RESULT, Entry, Rule
from benchmarks.rows import OURS, Missing, Row, timed
from benchmarks.server import Server, for_store
from benchmarks.stage import JAM, RULES, Stage
from benchmarks.targets import PSYCOPG
from vibeweaver_store import Store, actions, history, jobs, rules, sessions, triggers

ROWS = 20_000
JOBS = 5_000

HOLD = "SELECT rules_rev, last_activity_at FROM sessions WHERE id = %s FOR NO KEY UPDATE"
APPEND = (
    "INSERT INTO history (session_id, action, params, result, success, created_at)"
    " VALUES (%s, %s, %s, %s, true, now()) RETURNING id"
)
TELL = "SELECT pg_notify('bench', '') WHERE NOT pg_try_advisory_xact_lock(7)"
PAGE = (
    "SELECT id, session_id, action, params, result, success, created_at FROM history WHERE session_id >= %s"
    " AND session_id <= %s ORDER BY session_id DESC, id DESC LIMIT 51"
)
BY_TRIGGER = (
    "SELECT id, session_id, trigger_type, trigger_key, trigger, action_type, action, priority, enabled, one_shot,"
    " fired_count, last_fired_at, created_at FROM rules WHERE session_id = %s AND trigger_type = 'beat'"
    " AND enabled = true ORDER BY priority, created_at, id"
)
LOOK = (
    "SELECT (SELECT scheduled_at FROM jobs WHERE ready = false ORDER BY scheduled_at, id LIMIT 1),"
    " (SELECT lease_expires_at FROM jobs WHERE lease_expires_at IS NOT NULL ORDER BY lease_expires_at, id LIMIT 1)"
)
JOB = (
    "id, type, status, priority, ready, attempts, max_attempts, scheduled_at, started_at, completed_at, created_at,"
    " updated_at, session_id, unique_key, worker_id, lease_token, lease_expires_at, progress, error, data, result,"
    " import_id"
)
CLAIM = (
    "WITH picked AS (SELECT id FROM jobs WHERE ready = true AND type = 'by hand' ORDER BY priority DESC, scheduled_at,"
    " id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) UPDATE jobs SET status = 'processing', ready = NULL,"
    " attempts = attempts + 1, started_at = now(), updated_at = now(), worker_id = 'bench', lease_token = 'bench',"
    " lease_expires_at = now() + interval '1 hour', progress = NULL WHERE id IN (SELECT id FROM picked)"
    f" RETURNING {JOB}"
)


@dataclass(slots=True)
class Job:
    id: str
    type: str
    status: str
    priority: int
    ready: bool | None
    attempts: int
    max_attempts: int
    scheduled_at: Any
    started_at: Any
    completed_at: Any
    created_at: Any
    updated_at: Any
    session_id: str | None
    unique_key: str | None
    worker_id: str | None
    lease_token: str | None
    lease_expires_at: Any
    progress: Any
    error: str | None
    data: Any
    result: Any
    import_id: int | None


class ByHand:
    """Two kept connections, one that reads and one that writes, as the store has."""

    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 - only where there is a server
        from psycopg.types.json import Jsonb  # noqa: PLC0415

        self._writer = psycopg.connect(url)
        self._reader = psycopg.connect(url)
        self._reader.read_only = True
        self._reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._json = Jsonb

    def append(self) -> None:
        self._writer.execute(HOLD, (JAM,)).fetchall()
        values = (JAM, "set_param", self._json(PARAMS), self._json(RESULT))
        self._writer.execute(APPEND, values).fetchall()
        self._writer.execute(TELL).fetchall()
        self._writer.commit()

    def page(self) -> list[Entry]:
        found = [Entry(*row) for row in self._reader.execute(PAGE, (JAM, JAM))]
        self._reader.rollback()
        return found

    def by_trigger(self) -> list[Rule]:
        found = [Rule(*row) for row in self._reader.execute(BY_TRIGGER, (JAM,))]
        self._reader.rollback()
        return found

    def claim(self) -> list[Job]:
        self._writer.execute(LOOK).fetchall()
        found = [Job(*row) for row in self._writer.execute(CLAIM)]
        self._writer.commit()
        return found

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


def rows(stage: Stage) -> Iterator[Row]:
    if stage.options.postgres is None:
        yield Row("PostgreSQL: history.append", {OURS: Missing("no server given")})
        return
    with Server(stage.options.postgres) as server:
        url = server.make()
        with Store.open(for_store(url), migrate=True) as store:
            _fill(store)
            with closing(ByHand(url)) as by_hand:
                yield from _rows(store, by_hand)


def _fill(store: Store) -> None:
    store.run(sessions.create, name="late set", session_id=JAM)
    beats = [rules.NewRule(triggers.Beat(divisor=n), actions.Notify(message="m")) for n in range(1, RULES + 1)]
    store.run(rules.add_many, JAM, beats)
    store.run(history.append_many, JAM, [history.NewEntry("set_param", PARAMS, RESULT)] * ROWS)
    for kind in ("render", "by hand"):
        store.run(jobs.enqueue_many, [jobs.NewJob(kind, {"bars": 16})] * JOBS)


def _rows(store: Store, by_hand: ByHand) -> Iterator[Row]:
    calls = {
        "history.append": (
            lambda: store.run(history.append, JAM, "set_param", params=PARAMS, result=RESULT),
            by_hand.append,
        ),
        "history.page, newest 50": (lambda: store.query(history.page, JAM), by_hand.page),
        "rules.by_trigger, 17 rows": (lambda: store.query(rules.by_trigger, JAM, "beat"), by_hand.by_trigger),
        "jobs.claim": (lambda: store.run(jobs.claim, ["render"], "bench"), by_hand.claim),
    }
    for name, (ours, theirs) in calls.items():
        yield Row(f"PostgreSQL: {name}", {OURS: timed(ours), PSYCOPG: timed(theirs)}, calls=15)
