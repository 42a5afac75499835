"""Which commands the command line has, and what for: its own help says no more, and needs none of their modules."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any, Final, NamedTuple

from typer.core import TyperCommand
from typer.main import get_command

from vibeweaver_store.cli.errors import Root


class Entry(NamedTuple):
    """What stands in the list of commands, and the modules behind it: the first has the group, others add to it."""

    about: str
    modules: tuple[str, ...]


COMMANDS: Final[dict[str, Entry]] = {
    "weave": Entry(
        "Weave a song: make a session of a MIDI file, play it from the first beat to the last, and fire its rules.",
        ("weave",),
    ),
    "import": Entry("Bring foreign data in, list it, and take it out again.", ("imports", "import_databases")),
    "workspaces": Entry("List, show, make and delete the folders of sessions.", ("workspaces",)),
    "sessions": Entry("Make, list, search, show, change and delete sessions.", ("sessions", "session_search")),
    "arenas": Entry("Make, show and finish what several agents do on one task.", ("arenas",)),
    "messages": Entry("List, add and follow what was said in a session.", ("messages",)),
    "journal": Entry("List what coding agents wrote, and count their tokens.", ("journal",)),
    "rules": Entry("Add, list, try, fire, switch and delete rules.", ("rules",)),
    "markers": Entry("Add, list and delete named places on a timeline.", ("markers",)),
    "history": Entry("List, follow, append and count what was done in a session.", ("history",)),
    "snapshots": Entry("Save, load, list and prune versions of a session's state.", ("snapshots",)),
    "stats": Entry("Record and show how long generating takes; deadlines go by it.", ("stats",)),
    "projects": Entry("List, show, make, change and delete what ensembles work on.", ("projects",)),
    "worker-types": Entry("List, show, make, change and delete the roles of a project.", ("worker_types",)),
    "tickets": Entry("Make, list, change, check, move on and delete tickets.", ("tickets", "ticket_work")),
    "workers": Entry("List, register, change and move on the agents of ensembles.", ("workers",)),
    "coordination": Entry("List, take, tick off and remove the events for coordinators.", ("coordination",)),
    "jobs": Entry("Enqueue, list, show, retry, cancel and prune background work.", ("jobs", "job_work")),
    "db": Entry("Make, migrate, describe, check and back up the database.", ("db", "db_backup", "db_check")),
}
"""By the word that calls each, in the order of the help. Tests hold it against the modules that there are."""


class Deferred(TyperCommand):
    """A command or group that can be listed at once; its modules are imported when it is called."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.about)
        self._modules = entry.modules

    @cached_property
    def loaded(self) -> Any:
        """The command itself."""
        first, *_ = [import_module(f"vibeweaver_store.cli.{module}") for module in self._modules]
        return get_command(first.group)

    def make_context(self, *given: Any, **extra: Any) -> Any:
        """Have the command itself read the rest of the line, and stand in this one's place from there on.

        Raises:
            TyperException: the line cannot be understood.
        """
        return self.loaded.make_context(*given, **extra)


class Program(Root):
    """The command line with all of its commands."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, entry in COMMANDS.items():
            self.add_command(Deferred(name, entry))
