"""The runtime mix of an arena: which runtimes its agents run on. Callers find this in ``arenas``."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Id, Name
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown
from vibeweaver_store.models.arena import ArenaRuntime
from vibeweaver_store.services import sessions
from vibeweaver_store.services.arena_instances import require_arena
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require


def checked_mix(runtimes: Iterable[str]) -> list[str]:
    """Return the names of a runtime mix, each once, in the order given.

    Raises:
        InvalidInput: it is no list of names.
    """
    if isinstance(runtimes, str):
        raise InvalidInput(f"runtimes: must be a list of names (got {shown(runtimes)})", field="runtimes")
    names = [require(Name, each, field="runtimes") for each in expect_many(str, runtimes, field="runtimes")]
    return list(dict.fromkeys(names))


def runtimes(uow: ReadUnitOfWork, session_id: str) -> list[str]:
    """Return the names of an arena's runtime mix, in their alphabetical order. A session that is not there has none.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    runtime = col(ArenaRuntime.runtime)
    return list(uow.exec(select(runtime).where(col(ArenaRuntime.session_id) == key).order_by(runtime)))


def add_runtime(uow: UnitOfWork, session_id: str, runtime: str) -> list[str]:
    """Add a runtime to an arena's mix, and return the mix. One that is in the mix already stays there once.

    Args:
        uow: the unit of work to write in.
        session_id: the arena's session.
        runtime: the runtime's name, 1 to 1,000 bytes.

    Raises:
        NotFound: there is no such session, or it has no arena.
        InvalidInput: the name is no text, blank or too long.
    """
    name: str = require(Name, runtime, field="runtime")
    sessions.hold(uow, session_id, active=False)
    require_arena(uow, session_id)
    return _mix(uow, session_id, added=[name])


def set_runtimes(uow: UnitOfWork, session_id: str, runtimes: Iterable[str]) -> list[str]:
    """Put a runtime mix in the place of an arena's mix, and return it; of no names, the arena has no mix.

    Args:
        uow: the unit of work to write in.
        session_id: the arena's session.
        runtimes: the names; one that is given twice is in the mix once.

    Raises:
        NotFound: there is no such session, or it has no arena.
        InvalidInput: it is no list of names.
    """
    names = checked_mix(runtimes)
    sessions.hold(uow, session_id, active=False)
    require_arena(uow, session_id)
    return _mix(uow, session_id, added=names, only=True)


def _mix(uow: UnitOfWork, session_id: str, *, added: list[str], only: bool = False) -> list[str]:
    """Write the names that are new in the mix of a session that is held; with ``only``, remove all others."""
    there = runtimes(uow, session_id)
    new = [name for name in added if name not in there]
    gone = [name for name in there if only and name not in added]
    if not new and not gone:
        return there
    sessions.hold(uow, session_id)  # now it is certain that something is done
    if gone:
        of_session = col(ArenaRuntime.session_id) == session_id
        uow.exec(sa.delete(ArenaRuntime).where(of_session, col(ArenaRuntime.runtime).in_(gone)))
    uow.insert(*[ArenaRuntime.build(session_id=session_id, runtime=name) for name in new])
    uow.announce(sessions.topic(session_id))
    return runtimes(uow, session_id)
