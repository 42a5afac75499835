"""Where a round takes place: a folder with files that are alike, one for each subject that writes."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import generate
from benchmarks.driver import Driver
from benchmarks.options import Options
from benchmarks.reference import Reference
from vibeweaver_store import Store, actions, rules, sessions, triggers

JAM = "jam"
"""The session that has the rows."""

HISTORY_ROWS = 100_000
DEEP_ROWS = 1_000_100
RULES = 17
SESSIONS = 100


class Templates:
    """Files that are made once a run, and copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def empty(self) -> Path:
        """At head, with the session and nothing in it."""
        path = self.folder / "empty.db"
        with Store.open(path) as store:
            store.run(sessions.create, name="late set", session_id=JAM, attributes={"n": 0})
        return path

    @cached_property
    def filled(self) -> Path:
        """100 sessions with 102 rules each; one with 100,000 entries, and messages, lines and a snapshot."""
        path = Path(shutil.copy(self.empty, self.folder / "filled.db"))
        with Store.open(path) as store:
            store.run(rules.add_many, JAM, _rules())
            for number in range(1, SESSIONS):
                store.run(sessions.create, name=f"set {number}", session_id=f"jam-{number}")
                store.run(rules.add_many, f"jam-{number}", _rules())
        generate.fill(path, "history", HISTORY_ROWS, session=JAM)
        generate.fill(path, "messages", 2000, session=JAM)
        generate.fill(path, "journal_events", 2000, session=JAM)
        return path

    @cached_property
    def deep(self) -> Path:
        """The session has a million entries."""
        path = Path(shutil.copy(self.empty, self.folder / "deep.db"))
        generate.fill(path, "history", DEEP_ROWS, session=JAM)
        return path


def _rules() -> list[rules.NewRule]:
    """So many of each kind: a signal of a kind meets those of its own alone."""
    notify = actions.Notify(message="four on the floor")
    kinds = [
        *[triggers.Beat(divisor=n) for n in range(1, RULES + 1)],
        *[triggers.Marker(name=f"marker {n}") for n in range(RULES)],
        *[triggers.Artifact(tag=f"tag {n}") for n in range(RULES)],
        *[triggers.JobComplete(job_id=f"job {n}") for n in range(RULES)],
        *[triggers.Transport(state=f"state {n}") for n in range(RULES)],
        *[triggers.Marker(name=f"other marker {n}") for n in range(RULES)],
    ]
    return [rules.NewRule(each, notify) for each in kinds]


class Stage:
    """One round's files and subjects; what is opened here is closed with it.

    In the ``first`` round there is also what takes long, and is measured once a run.
    """

    def __init__(self, templates: Templates, options: Options, *, first: bool) -> None:
        self.first = first
        self.templates = templates
        self.options = options
        self.scaled = options.scaled
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=templates.folder)))

    def copy(self, name: str, template: Path | None = None) -> Path:
        """A file of its own, like the filled one unless said otherwise."""
        return Path(shutil.copy(template or self.templates.filled, self.folder / f"{name}.db"))

    def make_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    @cached_property
    def store(self) -> Store:
        return self._stack.enter_context(Store.open(self.copy("ours")))

    @cached_property
    def driver(self) -> Driver:
        return self._stack.enter_context(Driver(self.copy("c"), JAM))

    @cached_property
    def kept(self) -> Reference:
        return self._stack.enter_context(Reference(self.copy("b"), JAM))

    @cached_property
    def percall(self) -> Reference:
        return self._stack.enter_context(Reference(self.copy("a"), JAM, "percall"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
