"""Searches and counts of 20,000 sessions, beside the plainest list of the same store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.rows import OURS, Row, timed
from benchmarks.stage import Stage
from vibeweaver_store import Store, arenas, messages, sessions, workspaces

SESSIONS = 20_000
THE_LIST = "sessions.page"


def rows(stage: Stage) -> Iterator[Row]:
    with Store.open(stage.copy("searched", stage.templates.empty)) as store:
        folder = fill(store, stage.scaled(SESSIONS))
        there, new = sessions.SessionFilter(workspace_id=folder), sessions.SessionFilter(status="created")
        searches = {
            "by name": partial(sessions.search, where=sessions.SessionFilter(), sort="name"),
            "one workspace": partial(sessions.search, where=there, sort="updated_at"),
            "one status": partial(sessions.search, where=new, sort="created_at"),
            "a text of one in 50": partial(sessions.search, where=sessions.SessionFilter(text="ambient")),
        }
        calls = {f"sessions.search, {name}": partial(search, limit=50) for name, search in searches.items()}
        calls["sessions.overview"] = partial(sessions.overview, limit=50)
        calls["sessions.counts"] = sessions.counts
        page = timed(lambda: store.query(sessions.page, limit=50))
        for name, call in calls.items():
            yield Row(name, {OURS: timed(partial(store.query, call)), THE_LIST: page}, calls=10)


def fill(store: Store, count: int) -> str:
    """Make sessions in a hundred workspaces, one of them an arena with 50 instances and 10,000 messages."""
    with store.begin() as uow:
        folders = [workspaces.ensure(uow, f"/srv/{n}").id for n in range(100)]
        for n in range(count):
            sessions.create(uow, name=f"set {n:06}", vibe="dub" if n % 50 else "ambient", workspace_id=folders[n % 100])
        many = [
            arenas.NewInstance(agent_name=f"agent {n}", worktree_path=f"/srv/tree/{n}", branch=f"b{n}")
            for n in range(50)
        ]
        arena = arenas.create_arena(uow, "competition", "land the drop", "/srv/0", instances=many, runtimes=["claude"])
        said = [messages.NewMessage("user", f"take {n}") for n in range(10_000)]
        messages.append_many(uow, arena.session.id, said)
    return folders[0]
