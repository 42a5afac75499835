"""Arenas: where several agents work on one task, each instance in its own worktree.

The whole of it under one name: what is written here, and what stands in ``arena_instances`` and ``arena_runtimes``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id, NotBlank, new_id, parse_enum
from vibeweaver_store.errors import IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.models.arena import Arena, ArenaRuntime, Instance, InstanceStatus
from vibeweaver_store.models.session import Session, SessionKind, SessionStatus
from vibeweaver_store.services import sessions, workspaces
from vibeweaver_store.services.arena_instances import (
    MAX_DIFF,
    MAX_INSTANCE_ID,
    NewInstance,
    add_instance,
    build_instances,
    get_instance,
    instance_count,
    instances,
    instances_by_status,
    record_diff,
    set_instance_status,
    set_output,
    totals,
)
from vibeweaver_store.services.arena_runtimes import add_runtime, checked_mix, runtimes, set_runtimes
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "KINDS",
    "MAX_DIFF",
    "MAX_INSTANCE_ID",
    "NewInstance",
    "WholeArena",
    "add_instance",
    "add_runtime",
    "create_arena",
    "find",
    "finish",
    "get",
    "get_instance",
    "instance_count",
    "instances",
    "instances_by_status",
    "name_of",
    "record_diff",
    "runtimes",
    "set_instance_status",
    "set_output",
    "set_runtimes",
]

KINDS: Final = (SessionKind.COMPETITION, SessionKind.ENSEMBLE, SessionKind.DEBATE)
"""The kinds of session that have an arena."""

_LONGEST_NAME: Final = 120


@dataclass(frozen=True, slots=True)
class WholeArena:
    """An arena with all that belongs to it: its session, its instances by number, the names of its runtimes."""

    session: Session
    arena: Arena
    instances: list[Instance]
    runtimes: list[str]


def create_arena(
    uow: UnitOfWork,
    kind: SessionKind | str,
    task: str,
    workspace: str | os.PathLike[str] | None,
    *,
    instances: Iterable[NewInstance] = (),
    runtimes: Iterable[str] = (),
    name: str | None = None,
    model: str | None = None,
    timeout_seconds: float | None = None,
    preserve_worktrees: bool | None = None,
    session_id: str | None = None,
    working_dir: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    status: SessionStatus | str | None = None,
    created_at: datetime | None = None,
    updated_at: datetime | None = None,
    completed_at: datetime | None = None,
) -> WholeArena:
    """Make a session with its arena, instances and runtimes: all of it, or where something is refused, nothing.

    Of an arena that exists elsewhere already, the session may bring its status and its times, as
    :func:`sessions.create` takes them. One that is over is summed up by :func:`finish`.

    Args:
        uow: the unit of work to write in.
        kind: competition, ensemble or debate.
        task: what the agents are to do; not blank.
        workspace: the path of the workspace that it belongs to, which is made where it is new; ``None`` for none.
        instances: the agents; numbered from 0 in the order given, unless they bring numbers.
        runtimes: the names of the runtime mix; one that is given twice is in the mix once.
        name: what people call the session; by default the first line of the task: see :func:`name_of`.
        model: the model that instances use unless they name their own.
        timeout_seconds: how long the agents are given, in seconds.
        preserve_worktrees: whether worktrees are to stay when all is done.
        session_id: an id of your own; a UUIDv7 by default.
        working_dir: where the agents' work begins.
        attributes: whatever else is to be kept with the session, a JSON object.
        status: where the session stands; by default ``created``, or ``running`` where an instance is no longer
            ``pending``.
        created_at: when it was made, now by default.
        updated_at: when it was last changed; by default, when it was completed or else made.
        completed_at: when it came to be over; only of a status that is final.

    Raises:
        InvalidInput: the kind has no arena, or a value is refused; the session is said to be ``created``, and an
            instance has begun.
        AlreadyExists: the session's id is taken, or two instances have one number.
    """
    of_kind = _parse_kind(kind)
    key = new_id() if session_id is None else require(Id, session_id, field="session_id")
    arena = Arena.build(
        session_id=key,
        task=task,
        model=model,
        timeout_seconds=timeout_seconds,
        preserve_worktrees=preserve_worktrees,
    )
    built = build_instances(uow, key, expect_many(NewInstance, instances, field="instances"))
    mix = [ArenaRuntime.build(session_id=key, runtime=each) for each in checked_mix(runtimes)]
    standing = _standing(status, built)
    with uow.savepoint():
        sessions.create(
            uow,
            kind=of_kind,
            name=name_of(arena.task) if name is None else name,
            working_dir=working_dir,
            workspace_id=None if workspace is None else workspaces.ensure(uow, workspace).id,
            attributes=attributes,
            session_id=key,
            status=standing,
            created_at=created_at,
            updated_at=updated_at,
            completed_at=completed_at,
        )
        uow.insert(arena, *built, *mix)
    uow.announce(sessions.topic(key))
    return get(uow, key)


def _parse_kind(kind: SessionKind | str) -> SessionKind:
    parsed = parse_enum(SessionKind, kind, field="kind")
    if parsed not in KINDS:
        raise InvalidInput(f"kind: a session of kind {parsed} has no arena; of {', '.join(KINDS)} it has", field="kind")
    return parsed


def _standing(status: SessionStatus | str | None, instances: Sequence[Instance]) -> SessionStatus:
    """Return the status of a new arena's session."""
    begun = next((each for each in instances if each.status is not InstanceStatus.PENDING), None)
    if status is None:
        return SessionStatus.CREATED if begun is None else SessionStatus.RUNNING
    parsed = parse_enum(SessionStatus, status, field="status")
    if begun is not None and parsed is SessionStatus.CREATED:
        raise InvalidInput(f"status: the session has begun, for instance {begun.instance_id} has", field="status")
    return parsed


def name_of(task: str) -> str:
    """Return what a session is called after its task: the first line of it that is not blank, cut to 120 characters.

    Raises:
        InvalidInput: the task is no text, or blank.
    """
    text: str = require(NotBlank, task, field="task")
    line = next(line.strip() for line in text.splitlines() if line.strip())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1].rstrip()}…"


def finish(
    uow: UnitOfWork,
    session_id: str,
    *,
    winner: int | None = None,
    status: SessionStatus | str = SessionStatus.COMPLETED,
) -> WholeArena:
    """Say that an arena is done: who won, and what it came to; its session becomes ``completed``.

    Files and lines are summed over the instances, unknown numbers as 0. It lasted from when its first instance began,
    or where none says so from when the session was made, until the session was over. Instances that never began stay
    ``pending``.

    Called again with the same winner it writes nothing, so that it can be repeated; an arena whose session was taken
    up again since is finished anew, also where the session is completed already.

    Args:
        uow: the unit of work to write in.
        session_id: the arena's session.
        winner: the number of the instance that won; ``None`` where none did.
        status: what becomes of the session: ``completed``, or ``failed``.

    Raises:
        NotFound: there is no such session, or it has no arena.
        InvalidInput: the winner is no instance of it, an instance is still at work (``running`` or ``paused``), the
            arena is finished with another winner, or the status is another.
        IllegalTransition: the session cannot move there from where it stands; nothing has begun in it, say.
    """
    wanted = _parse_end(status)
    sessions.hold(uow, session_id, active=False)
    whole = get(uow, session_id)
    _check_winner(whole.instances, winner)
    if whole.session.status is wanted and _is_summed_up(whole):
        _check_same_winner(whole.arena, winner)
        return whole
    _check_all_ended(whole.instances)
    _check_begun(whole.session, wanted)
    session = sessions.set_status(uow, session_id, wanted)
    values = {"winner_instance_id": winner, "total_duration_seconds": _lasted(session, whole.instances)}
    statement = sa.update(Arena).where(col(Arena.session_id) == session_id).values(**values, **totals(session_id))
    uow.exec(statement, execution_options={"synchronize_session": False})
    uow.announce(sessions.topic(session_id))
    return get(uow, session_id)


def _parse_end(status: SessionStatus | str) -> SessionStatus:
    parsed = parse_enum(SessionStatus, status, field="status")
    if parsed not in {SessionStatus.COMPLETED, SessionStatus.FAILED}:
        raise InvalidInput(f"status: what is finished is completed or failed, not {parsed}", field="status")
    return parsed


def _is_summed_up(whole: WholeArena) -> bool:
    """Return whether an arena whose session is over was summed up since: not before it was taken up again."""
    session, arena = whole.session, whole.arena
    if arena.total_files_changed is None:
        return False
    if session.import_id is not None:  # what was brought along as over says itself how long it took
        return True
    return (arena.total_duration_seconds or 0.0) >= _lasted(session, whole.instances)


def _lasted(session: Session, there: list[Instance]) -> float:
    """Return how long an arena lasted whose session is over, in seconds."""
    began = min((each.start_time for each in there if each.start_time), default=session.created_at)
    return max(((session.completed_at or began) - began).total_seconds(), 0.0)


def _check_winner(there: list[Instance], winner: int | None) -> None:
    if winner is None:
        return
    number: int = require(Count, winner, field="winner")
    numbers = [each.instance_id for each in there]
    if number not in numbers:
        known = shorten(", ".join(map(str, numbers)), 80, placeholder=" …") or "none"
        raise InvalidInput(f"winner: {number} is no instance of this arena; there are {known}", field="winner")


def _check_same_winner(arena: Arena, winner: int | None) -> None:
    if arena.winner_instance_id != winner:
        said = f"with winner {arena.winner_instance_id}" if arena.winner_instance_id is not None else "without a winner"
        raise InvalidInput(
            f"winner: the arena is finished already, {said}; to finish it otherwise, set its session running first",
            field="winner",
        )


def _check_all_ended(there: list[Instance]) -> None:
    at_work = [each for each in there if each.status in {InstanceStatus.RUNNING, InstanceStatus.PAUSED}]
    if at_work:
        first = at_work[0]
        raise InvalidInput(
            f"instances: {len(at_work)} still at work, number {first.instance_id} is {first.status}; "
            "set them completed or failed first",
            field="instances",
        )


def _check_begun(session: Session, wanted: SessionStatus) -> None:
    """Refuse to complete an arena in which nothing has begun: a session without one may be completed at once."""
    if session.status is SessionStatus.CREATED and wanted is SessionStatus.COMPLETED:
        allowed = (SessionStatus.RUNNING, SessionStatus.FAILED)
        raise IllegalTransition("session", session.id, session.status, wanted, allowed)


def get(uow: ReadUnitOfWork, session_id: str) -> WholeArena:
    """Return the arena of a session with all that belongs to it.

    Raises:
        NotFound: there is no such session, or it has no arena.
        InvalidInput: the id is no text, or blank.
    """
    session = sessions.get(uow, session_id)
    arena = find(uow, session_id)
    if arena is None:
        raise NotFound("arena", session_id)
    return WholeArena(session, arena, instances(uow, session_id), runtimes(uow, session_id))


def find(uow: ReadUnitOfWork, session_id: str) -> Arena | None:
    """Return the arena of a session, or ``None``.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    return uow.exec(select(Arena).where(col(Arena.session_id) == key)).one_or_none()
