"""Agents' conversations: one message appended in a transaction of its own, and the newest 50 read; with the peers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.driver import Driver
from benchmarks.peers import CONVERSATIONS, loaded
from benchmarks.rows import OURS, Chunk, Missing, Row, timed
from benchmarks.stage import JAM, Stage
from benchmarks.targets import C
from vibeweaver_store import Store, messages

APPEND = "an agent's message, appended"
NEWEST = "an agent's newest 50 messages"
SAID = 60


def rows(stage: Stage) -> Iterator[Row]:
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(stage.copy("agent", stage.templates.empty)))
        driver = stack.enter_context(Driver(stage.copy("agent-c", stage.templates.empty), JAM))
        say = partial(store.run, messages.append, JAM, "user", "Four on the floor, please.")
        appends: dict[str, Chunk | Missing] = {OURS: timed(say), C: timed(driver.say)}
        reads: dict[str, Chunk | Missing] = {
            OURS: timed(lambda: store.query(messages.last, JAM)),
            C: timed(lambda: driver.messages(newest_first=True)),
        }
        for name, peer in loaded(CONVERSATIONS) if stage.options.peers else ():
            opened = peer if isinstance(peer, Missing) else stack.enter_context(peer(stage.make_folder()))
            appends[name], reads[name] = (opened, opened) if isinstance(opened, Missing) else opened
        for append in appends.values():
            if not isinstance(append, Missing):
                append(SAID)
        yield Row(APPEND, appends, calls=10, chunks=15, warm=0)
        yield Row(NEWEST, reads, calls=5, chunks=15, warm=3)
