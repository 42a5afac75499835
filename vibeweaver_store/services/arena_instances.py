"""Instances: the agents at work in an arena, each in its own worktree. Callers find this in ``arenas``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import Field
from sqlmodel import col, select

from vibeweaver_store.columns import Count, Id, Text, Utc, parse_enum
from vibeweaver_store.errors import AlreadyExists, IllegalTransition, InvalidInput, NotFound
from vibeweaver_store.models.arena import FINAL_OF_INSTANCES, INSTANCE_TRANSITIONS, Arena, Instance, InstanceStatus
from vibeweaver_store.models.session import SessionStatus
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.services import sessions
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

MAX_DIFF: Final = 10**12
"""The most files or lines that an instance can be said to have changed: the totals stay within 64 bits."""

MAX_INSTANCE_ID: Final = 10**9
"""The greatest number that an instance can bring along: there are always some left for those that bring none."""

_Diff = Annotated[Count, Field(le=MAX_DIFF)]
_Number = Annotated[Count, Field(le=MAX_INSTANCE_ID)]
_DIFF: Final = ("files_changed", "lines_added", "lines_deleted")


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to be added to an arena.

    ``instance_id`` is by default the number after the greatest one, from 0; at most :data:`MAX_INSTANCE_ID` can be
    given. Where it is said to be running or to have ended, and no time is given, it began or ended now.
    """

    agent_name: str
    worktree_path: str
    branch: str
    tmux_session_id: str = ""
    instance_id: int | None = None
    status: InstanceStatus | str = InstanceStatus.PENDING
    runtime: str | None = None
    model: str | None = None
    runtime_label: str | None = None
    output: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    files_changed: int | None = None
    lines_added: int | None = None
    lines_deleted: int | None = None


def build_instances(
    uow: ReadUnitOfWork, session_id: str, new: Iterable[NewInstance], taken: Sequence[int] = ()
) -> list[Instance]:
    """Return instances as they are to be written; ``taken`` are the numbers that are in use already.

    Raises:
        InvalidInput: a value is refused.
        AlreadyExists: a number is in use, or given twice.
    """
    used = set(taken)
    built = []
    for each in new:
        number = _number(each, used)
        instance = _build(uow, session_id, number, each)
        if number in used:
            raise AlreadyExists("instance", (session_id, number))
        used.add(number)
        built.append(instance)
    return built


def _number(new: NewInstance, used: set[int]) -> int:
    if new.instance_id is None:
        return max(used, default=-1) + 1
    number: int = require(_Number, new.instance_id, field="instance_id")
    return number


def _build(uow: ReadUnitOfWork, session_id: str, number: int, new: NewInstance) -> Instance:
    status = parse_enum(InstanceStatus, new.status, field="status")
    began, ended = _times(uow.now(), status, new)
    return Instance.build(
        session_id=session_id,
        instance_id=number,
        agent_name=new.agent_name,
        worktree_path=new.worktree_path,
        branch=new.branch,
        tmux_session_id=new.tmux_session_id,
        status=status,
        runtime=new.runtime,
        model=new.model,
        runtime_label=new.runtime_label,
        output=new.output,
        start_time=began,
        end_time=ended,
        **_checked_diff({name: getattr(new, name) for name in _DIFF}),
    )


def _times(now: datetime, status: InstanceStatus, new: NewInstance) -> tuple[datetime | None, datetime | None]:
    """Return when an instance began and ended, as its status has it."""
    began: datetime | None = None if new.start_time is None else require(Utc, new.start_time, field="start_time")
    ended: datetime | None = None if new.end_time is None else require(Utc, new.end_time, field="end_time")
    if began is not None and status is InstanceStatus.PENDING:
        raise InvalidInput("start_time: an instance that is pending has not begun", field="start_time")
    if ended is not None and status not in FINAL_OF_INSTANCES:
        raise InvalidInput(f"end_time: an instance that is {status} has not ended", field="end_time")
    if status not in FINAL_OF_INSTANCES:
        return (began or now) if status is InstanceStatus.RUNNING else began, None
    if began is not None and (ended or now) < began:
        field = "start_time" if ended is None else "end_time"
        raise InvalidInput(f"{field}: it ended at {ended or now}, before it began at {began}", field=field)
    return began, ended or now


def _checked_diff(given: dict[str, int | None]) -> dict[str, int | None]:
    return {name: None if value is None else require(_Diff, value, field=name) for name, value in given.items()}


def add_instance(uow: UnitOfWork, session_id: str, new: NewInstance) -> Instance:
    """Add an instance to an arena, and return it. An arena that is finished has its totals summed anew.

    Unless it is ``pending``, a session that is ``created`` becomes ``running``.

    Raises:
        NotFound: there is no such session, or it has no arena.
        InvalidInput: a value is refused.
        AlreadyExists: its number is in use.
    """
    if not isinstance(new, NewInstance):
        raise InvalidInput("new: must be a NewInstance", field="new")
    sessions.hold(uow, session_id, active=False)
    require_arena(uow, session_id)
    taken = uow.exec(select(col(Instance.instance_id)).where(col(Instance.session_id) == session_id)).all()
    (instance,) = build_instances(uow, session_id, [new], taken)
    sessions.hold(uow, session_id)  # now it is certain that something is done
    uow.insert(instance)
    begin_session(uow, [instance])
    _sum_up_again(uow, session_id)
    uow.announce(sessions.topic(session_id))
    return instance


def require_arena(uow: ReadUnitOfWork, session_id: str) -> None:
    """See to it that a session has an arena.

    Raises:
        NotFound: it has none, or there is no such session.
    """
    if uow.exec(select(col(Arena.session_id)).where(col(Arena.session_id) == session_id)).first() is None:
        raise NotFound("arena", session_id)


def begin_session(uow: UnitOfWork, instances: Sequence[Instance]) -> None:
    """Have a session that is ``created`` become ``running``, where one of these instances of it is not ``pending``."""
    begun = [instance.session_id for instance in instances if instance.status is not InstanceStatus.PENDING]
    if begun and sessions.get(uow, begun[0]).status is SessionStatus.CREATED:
        sessions.set_status(uow, begun[0], SessionStatus.RUNNING)


def set_instance_status(uow: UnitOfWork, session_id: str, instance_id: int, status: InstanceStatus | str) -> Instance:
    """Move an instance to another status, and return it. Where it is in that status already, it stays as it is.

    ``start_time`` is when it first became ``running``; ``end_time`` when it became ``completed`` or ``failed``, and
    nothing while it is not. Once an instance is no longer ``pending``, a session that is ``created`` becomes
    ``running``.

    Args:
        uow: the unit of work to write in.
        session_id: the arena's session.
        instance_id: which instance of it, from 0.
        status: where it is to stand; ``idle``, ``active`` and ``error`` are read as ``pending``, ``running`` and
            ``failed``.

    Raises:
        NotFound: there is no such session, or no such instance.
        IllegalTransition: it cannot move there from where it stands; ``allowed`` says where it could.
        InvalidInput: there is no such status, or the number is none.
    """
    wanted = parse_enum(InstanceStatus, status, field="status")
    key: int = require(Count, instance_id, field="instance_id")
    sessions.hold(uow, session_id, active=False)
    instance = get_instance(uow, session_id, key)
    if instance.status is wanted:
        return instance
    allowed = INSTANCE_TRANSITIONS[instance.status]
    if wanted not in allowed:
        raise IllegalTransition("instance", (session_id, key), instance.status, wanted, allowed)
    begins = wanted is InstanceStatus.RUNNING and instance.start_time is None
    changed = _update(
        uow,
        session_id,
        key,
        status=wanted,
        start_time=uow.now() if begins else instance.start_time,
        end_time=uow.now() if wanted in FINAL_OF_INSTANCES else None,
    )
    begin_session(uow, [changed])
    return changed


def record_diff(
    uow: UnitOfWork, session_id: str, instance_id: int, *, files_changed: int, lines_added: int, lines_deleted: int
) -> Instance:
    """Say how much an instance has changed, in place of what was said before. A finished arena's totals follow.

    Raises:
        NotFound: there is no such session, or no such instance.
        InvalidInput: a number is not whole, or not from 0 to :data:`MAX_DIFF`.
    """
    given = {"files_changed": files_changed, "lines_added": lines_added, "lines_deleted": lines_deleted}
    diff = {name: require(_Diff, value, field=name) for name, value in given.items()}
    key: int = require(Count, instance_id, field="instance_id")
    sessions.hold(uow, session_id, active=False)
    changed = _update(uow, session_id, key, **diff)
    _sum_up_again(uow, session_id)
    return changed


def set_output(uow: UnitOfWork, session_id: str, instance_id: int, output: str) -> Instance:
    """Keep what an instance has put out, in place of what was kept before; it may be empty.

    Raises:
        NotFound: there is no such session, or no such instance.
        InvalidInput: the output is no text that both backends can hold, or the number is none.
    """
    text = require(Text, output, field="output")
    key: int = require(Count, instance_id, field="instance_id")
    sessions.hold(uow, session_id, active=False)
    return _update(uow, session_id, key, output=text)


def _update(uow: UnitOfWork, session_id: str, instance_id: int, **values: Any) -> Instance:
    """Write to an instance of a session that is held, and return it as it is then."""
    statement = (
        sa.update(Instance)
        .where(col(Instance.session_id) == session_id, col(Instance.instance_id) == instance_id)
        .values(**values)
        .returning(Instance)
    )
    changed: Instance | None = uow.execute(
        statement, execution_options={"synchronize_session": False}
    ).scalar_one_or_none()
    if changed is None:
        raise NotFound("instance", (session_id, instance_id))
    sessions.hold(uow, session_id)  # now it is certain that something was done
    uow.announce(sessions.topic(session_id))
    return changed


def totals(session_id: str) -> dict[str, Any]:
    """Return what an arena's totals are to be set to: the sums over its instances, unknown numbers as 0."""
    return {
        f"total_{name}": select(sa.func.coalesce(sa.func.sum(getattr(Instance, name)), 0))
        .where(col(Instance.session_id) == session_id)
        .scalar_subquery()
        for name in _DIFF
    }


def _sum_up_again(uow: UnitOfWork, session_id: str) -> None:
    """Set the totals anew where there are any: of an arena that is finished."""
    finished = (col(Arena.session_id) == session_id, col(Arena.total_files_changed).is_not(None))
    statement = sa.update(Arena).where(*finished).values(**totals(session_id))
    uow.exec(statement, execution_options={"synchronize_session": False})


def get_instance(uow: ReadUnitOfWork, session_id: str, instance_id: int) -> Instance:
    """Return an instance of an arena by its number.

    Raises:
        NotFound: there is none.
        InvalidInput: the session's id is no text, or blank; or the number is none.
    """
    key = require(Id, session_id, field="session_id")
    number: int = require(Count, instance_id, field="instance_id")
    statement = select(Instance).where(col(Instance.session_id) == key, col(Instance.instance_id) == number)
    instance = uow.exec(statement).one_or_none()
    if instance is None:
        raise NotFound("instance", (key, number))
    return instance


def instances(uow: ReadUnitOfWork, session_id: str) -> list[Instance]:
    """Return the instances of an arena by their numbers. A session that is not there has none.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    statement = select(Instance).where(col(Instance.session_id) == key).order_by(col(Instance.instance_id))
    return list(uow.exec(statement))


def instance_count(uow: ReadUnitOfWork, session_id: str) -> int:
    """Return how many instances an arena has. A session that is not there has none.

    Raises:
        InvalidInput: the id is no text, or blank.
    """
    key = require(Id, session_id, field="session_id")
    statement = select(sa.func.count()).select_from(Instance).where(col(Instance.session_id) == key)
    return uow.exec(statement).one()


def instances_by_status(
    uow: ReadUnitOfWork,
    status: InstanceStatus | str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Instance]:
    """Return the instances of all arenas that are in a status, by session and number.

    Raises:
        InvalidInput: there is no such status, the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    wanted = parse_enum(InstanceStatus, status, field="status")
    columns = [col(Instance.session_id), col(Instance.instance_id)]
    order = Order(["instances", wanted], columns, within=[(col(Instance.status), wanted)])
    return fetch(uow, Instance, order, limit=limit, cursor=cursor)
