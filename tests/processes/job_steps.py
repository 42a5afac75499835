"""What tests of jobs in other processes begin with."""

from __future__ import annotations

from typing import Any

from vibeweaver_store import Store, jobs, sessions


def prepared(database: str, count: int, session_id: str | None = "jam", **values: Any) -> list[str]:
    """Make a session, and jobs that belong to it unless told otherwise; return their ids."""
    with Store.open(database) as store:
        store.run(sessions.create, name="jam", session_id="jam")
        new = [jobs.NewJob("render", n, session_id=session_id, **values) for n in range(count)]
        return [each.job.id for each in store.run(jobs.enqueue_many, new)]
