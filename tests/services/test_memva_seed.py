"""Seed 004, item by item: what memva's service functions promise, by the functions that stand for them here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.services.scene import make
from vibeweaver_store import (
    AgentStatus,
    JobStatus,
    Session,
    SessionStatus,
    Store,
    jobs,
    journal,
    messages,
    sessions,
    workspaces,
)
from vibeweaver_store.testing import SessionFactory, SettableClock

EVENT = {
    "type": "assistant",
    "uuid": "e2",
    "sessionId": "claude-1",
    "timestamp": "2026-01-13T10:00:05.000Z",
    "isSidechain": True,
    "parentUuid": "e1",
    "cwd": "/srv/memva/app",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Found it."}]},
}


def create(store: Store, **values: Any) -> Session:
    return store.run(sessions.create, kind="agent", working_dir="/srv/memva", **values)


# --- sessions --------------------------------------------------------------------------------------------------


def test_memva_session_is_created_with_the_seeds_defaults(store: Store, other: Store, clock: SettableClock) -> None:
    made = create(store, name="My Session", attributes={"should_auto_start": True})

    found = other.query(sessions.get, made.id)
    assert (found.name, found.working_dir) == ("My Session", "/srv/memva")
    assert (found.created_at, found.updated_at) == (clock.instant, clock.instant)
    assert (found.agent_status, found.attributes) == (AgentStatus.NOT_STARTED, {"should_auto_start": True})
    assert create(store).attributes == {}
    assert other.query(sessions.find, "nowhere") is None


def test_memva_session_statuses_of_the_seed_are_set_and_read(store: Store, other: Store, clock: SettableClock) -> None:
    key = create(store).id
    seen = []
    for word in ("active", "completed", "active", "error"):
        clock.advance(minutes=1)
        store.run(sessions.set_status, key, word)
        found = other.query(sessions.get, key)
        seen.append((found.status, found.completed_at, found.updated_at == clock.instant))
    assert [status for status, _, _ in seen] == ["running", "completed", "running", "failed"]
    assert [ended is not None for _, ended, _ in seen] == [False, True, False, True]
    assert all(updated for _, _, updated in seen)
    assert [each.id for each in other.query(sessions.search, sessions.SessionFilter(status="error")).items] == [key]


@pytest.mark.parametrize("word", ["not_started", "processing", "completed", "error"])
def test_memva_claude_status_of_the_seed_is_the_agent_status(store: Store, other: Store, word: str) -> None:
    key = create(store).id
    store.run(sessions.update, key, agent_status=word)
    assert other.query(sessions.get, key).agent_status is AgentStatus(word)
    where = sessions.SessionFilter(agent_status=word)
    assert [each.id for each in other.query(sessions.search, where).items] == [key]


def test_memva_update_of_a_session_changes_only_what_is_given(store: Store, clock: SettableClock) -> None:
    made = create(store, name="My Session", attributes={"a": 1})
    clock.advance(seconds=5)
    changed = store.run(sessions.update, made.id, name="Another")
    assert (changed.name, changed.attributes, changed.working_dir) == ("Another", {"a": 1}, "/srv/memva")
    assert (changed.created_at, changed.updated_at) == (made.created_at, clock.instant)


def test_memva_sessions_of_a_project_path_are_listed(store: Store, other: Store) -> None:
    folder = store.run(workspaces.ensure, "/srv/memva").id
    ours = create(store, workspace_id=folder).id
    create(store)
    where = sessions.SessionFilter(workspace_id=folder)
    assert [each.id for each in other.query(sessions.search, where).items] == [ours]


def test_memva_sessions_are_listed_last_changed_first(store: Store, other: Store, clock: SettableClock) -> None:
    keys = []
    for _ in range(3):
        keys.append(create(store).id)
        clock.advance(seconds=1)
    store.run(sessions.update, keys[0], name="late")
    assert [each.id for each in other.query(sessions.page).items] == [keys[0], keys[2], keys[1]]


# --- events ----------------------------------------------------------------------------------------------------


def test_memva_event_keeps_every_field_of_the_seed(store: Store, other: Store) -> None:
    session = make(store, SessionFactory)
    (event_id,) = store.run(journal.ingest, [journal.NewEvent(EVENT, session_id=session.id, project_name="memva")]).ids

    found = other.query(journal.get, event_id)
    assert (found.event_uuid, found.source_session_id, found.event_type) == ("e2", "claude-1", "assistant")
    assert (found.is_sidechain, found.parent_uuid) == (True, "e1")
    assert (found.cwd, found.project_name, found.session_id) == ("/srv/memva/app", "memva", session.id)
    assert found.timestamp is not None
    assert found.timestamp.isoformat() == "2026-01-13T10:00:05+00:00"
    assert found.data == EVENT


def test_memva_events_of_the_seeds_four_types_are_known(store: Store, other: Store) -> None:
    types = ["user", "assistant", "system", "result"]
    session = make(store, SessionFactory)
    lines = [{"type": kind, "uuid": kind, "sessionId": "claude-1"} for kind in types]
    told = store.run(journal.ingest, [journal.NewEvent(line, session_id=session.id) for line in lines])
    assert (told.new, told.unknown) == (4, 0)
    for kind in types:
        page = other.query(journal.for_session, session.id, event_type=kind)
        assert [each.event_uuid for each in page.items] == [kind]


def test_memva_event_of_the_same_uuid_is_stored_once(store: Store, other: Store) -> None:
    first = store.run(journal.ingest, [EVENT])
    again = store.run(journal.ingest, [EVENT])
    assert (first.new, again.new, again.duplicate, again.ids) == (1, 0, 1, first.ids)
    assert len(other.query(journal.recent)) == 1


def test_memva_events_for_a_session_come_in_order(store: Store, other: Store) -> None:
    lines = [{"type": "user", "uuid": f"e{number}", "sessionId": "claude-1"} for number in (3, 1, 2)]
    ids = store.run(journal.ingest, lines).ids
    session = make(store, SessionFactory)
    assert store.run(journal.associate, ids, session.id) == 3
    page = other.query(journal.for_session, session.id)
    assert [each.event_uuid for each in page.items] == ["e3", "e1", "e2"]
    turned = other.query(journal.for_session, session.id, newest_first=True)
    assert [each.event_uuid for each in turned.items] == ["e2", "e1", "e3"]


def test_memva_events_form_threads_by_their_parents(store: Store, other: Store) -> None:
    parents = {"a": None, "b": "a", "c": "b", "d": "a"}
    lines = [{"type": "user", "uuid": uuid, "parentUuid": up, "sessionId": "s"} for uuid, up in parents.items()]
    store.run(journal.ingest, lines)
    assert [each.event_uuid for each in other.query(journal.thread, ("s", "c"))] == ["a", "b", "c"]
    assert [each.event_uuid for each in other.query(journal.thread, ("s", "d"))] == ["a", "d"]


def test_memva_agent_resumes_by_the_latest_source_session(store: Store, other: Store) -> None:
    session = make(store, SessionFactory)
    lines = [{"type": "user", "uuid": str(n), "sessionId": f"claude-{n // 2}"} for n in range(4)]
    store.run(journal.ingest, [journal.NewEvent(line, session_id=session.id) for line in lines])
    assert other.query(journal.source_sessions_of, session.id) == ["claude-0", "claude-1"]
    assert other.query(journal.latest_source_session, session.id) == "claude-1"


# --- jobs ------------------------------------------------------------------------------------------------------


def test_memva_job_is_created_with_the_seeds_defaults(store: Store, other: Store, clock: SettableClock) -> None:
    made = store.run(jobs.enqueue, "claude-code-session", {"sessionId": "abc123"}).job

    found = other.query(jobs.get, made.id)
    assert (found.type, found.data) == ("claude-code-session", {"sessionId": "abc123"})
    assert (found.status, found.priority, found.attempts, found.max_attempts) == (JobStatus.PENDING, 0, 0, 3)
    assert (found.scheduled_at, found.created_at, found.updated_at) == (clock.instant,) * 3
    assert (found.error, found.result, found.started_at, found.completed_at) == (None,) * 4


def test_memva_next_job_is_the_most_urgent_that_is_due(store: Store, clock: SettableClock) -> None:
    given: dict[str, dict[str, Any]] = {
        "late": {"delay": timedelta(hours=1), "priority": 9},
        "low": {"priority": -1},
        "first": {"priority": 5},
        "second": {"priority": 5},
    }
    for name, values in given.items():
        store.run(jobs.enqueue, "run", name, **values)
        clock.advance(seconds=1)
    taken = [store.run(jobs.claim, ["run"], "worker-1").jobs for _ in range(4)]
    assert [[job.data for job in each] for each in taken] == [["first"], ["second"], ["low"], []]
    clock.advance(hours=1)
    (late,) = store.run(jobs.claim, ["run"], "worker-1").jobs
    assert (late.data, late.status, late.attempts, late.started_at) == ("late", "processing", 1, clock.instant)


def test_memva_job_is_tried_again_until_its_attempts_are_used_up(store: Store, clock: SettableClock) -> None:
    key = store.run(jobs.enqueue, "run", max_attempts=2).job.id
    for status in ("pending", "failed"):
        clock.advance(hours=1)
        (job,) = store.run(jobs.claim, ["run"], "worker-1").jobs
        ended = store.run(jobs.fail, job, "it broke").job
        assert (ended.status, ended.error) == (status, "it broke")
    found = store.query(jobs.get, key)
    assert (found.attempts, found.completed_at) == (2, clock.instant)


def test_memva_job_keeps_its_result(store: Store, other: Store) -> None:
    key = store.run(jobs.enqueue, "run").job.id
    (job,) = store.run(jobs.claim, ["run"], "worker-1").jobs
    store.run(jobs.complete, job, {"cost": 1.5})
    assert (other.query(jobs.get, key).status, other.query(jobs.get, key).result) == ("completed", {"cost": 1.5})


@pytest.mark.parametrize("status", ["pending", "processing", "completed", "failed"])
def test_memva_jobs_of_a_status_of_the_seed_are_listed(store: Store, other: Store, status: str) -> None:
    keys = {word: store.run(jobs.enqueue, word).job.id for word in ("pending", "processing", "completed", "failed")}
    store.run(jobs.claim, ["processing"], "worker-1")
    store.run(jobs.set_status, keys["completed"], "completed")
    store.run(jobs.set_status, keys["failed"], "failed", error="it broke")
    assert [each.id for each in other.query(jobs.page, status=status).items] == [keys[status]]


# --- the layer -------------------------------------------------------------------------------------------------


def test_memva_services_share_one_transaction(store: Store, other: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as uow:
        key = sessions.create(uow, kind="agent", working_dir="/srv/memva").id
        journal.ingest(uow, [journal.NewEvent(EVENT, session_id=key)])
        messages.append(uow, key, "assistant", "Found it.")
        jobs.enqueue(uow, "session-runner", session_id=key)
        _ = 1 / 0
    assert other.query(sessions.page).items == []
    assert other.query(journal.recent) == []
    assert other.query(jobs.page).items == []


def test_memva_tests_run_in_memory_in_isolation() -> None:
    with Store.open(":memory:") as one, Store.open(":memory:") as another:
        one.run(sessions.create, name="alone")
        assert len(one.query(sessions.page).items) == 1
        assert another.query(sessions.page).items == []


def test_memva_status_words_are_those_of_the_seed() -> None:
    assert [SessionStatus(word) for word in ("active", "completed", "error")] == ["running", "completed", "failed"]
    assert {"pending", "processing", "completed", "failed"} < {status.value for status in JobStatus}
    assert {status.value for status in AgentStatus} == {"not_started", "processing", "completed", "error"}
