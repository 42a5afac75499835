"""What AIT42 writes of a session, as seed 002 and its own files have it, and the rows that it becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from vibeweaver_store.columns import Count, Id, Name, NotBlank, PathText, Seconds, StrictBool, Text, parse_enum
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.importers.foreign_values import Instant
from vibeweaver_store.models import (
    Arena,
    ArenaRuntime,
    Instance,
    InstanceStatus,
    Message,
    MessageRole,
    Session,
    SessionKind,
    SessionStatus,
)
from vibeweaver_store.models.arena import FINAL_OF_INSTANCES
from vibeweaver_store.models.session import FINAL
from vibeweaver_store.services.arenas import MAX_DIFF, MAX_INSTANCE_ID, name_of
from vibeweaver_store.unit_of_work import UnitOfWork
from vibeweaver_store.validation import explain

EnumT = TypeVar("EnumT", SessionStatus, InstanceStatus, MessageRole)

ATTRIBUTE: Final = "ait42"
"""Under which of a session's attributes is kept what has no column: what AIT42 did not define, and what contradicts."""

_Diff: TypeAlias = Annotated[Count, Field(le=MAX_DIFF)]


def _member(vocabulary: type[EnumT]) -> BeforeValidator:
    def read(value: object) -> EnumT:
        try:
            return parse_enum(vocabulary, value)
        except InvalidInput as error:
            raise ValueError(error.message.partition(": ")[2]) from error

    return BeforeValidator(read)


def _check_once(values: Iterable[Hashable], what: str) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"has {what} {twice[0]!r} twice")


class _Object(BaseModel):
    """A JSON object with names in camel case; what it holds besides is kept."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _be_an_object(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError("must be a JSON object")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @property
    def besides(self) -> dict[str, Any]:
        """What it holds that is not among its fields."""
        return dict(self.model_extra or {})


class ForeignMessage(_Object):
    """One message of a session's chat."""

    id: Id
    role: Annotated[MessageRole, _member(MessageRole)]
    content: NotBlank
    timestamp: Instant
    instance_id: Count | None = None


class ForeignInstance(_Object):
    """One agent in its worktree."""

    instance_id: Annotated[Count, Field(le=MAX_INSTANCE_ID)]
    worktree_path: PathText
    branch: Name
    agent_name: Name
    status: Annotated[InstanceStatus, _member(InstanceStatus)]
    tmux_session_id: Text
    output: Text | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    files_changed: _Diff | None = None
    lines_added: _Diff | None = None
    lines_deleted: _Diff | None = None
    runtime: Name | None = None
    model: Name | None = None
    runtime_label: Name | None = None


class ForeignSession(_Object):
    """A session, whole: its arena, its instances and its chat."""

    model_config = ConfigDict(title="session")

    id: Id
    type: Literal["competition", "ensemble", "debate"]
    task: NotBlank
    status: Annotated[SessionStatus, _member(SessionStatus)]
    created_at: Instant
    updated_at: Instant
    completed_at: Instant | None = None
    model: Name | None = None
    timeout_seconds: Seconds | None = None
    preserve_worktrees: StrictBool | None = None
    winner_id: Count | None = None
    runtime_mix: list[Name] | None = None
    total_duration: Seconds | None = None
    total_files_changed: Count | None = None
    total_lines_added: Count | None = None
    total_lines_deleted: Count | None = None
    instances: list[ForeignInstance] = Field(default_factory=list)
    chat_history: list[ForeignMessage] = Field(default_factory=list)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        _check_once([each.instance_id for each in self.instances], "the instance")
        _check_once([each.id for each in self.chat_history], "the message")
        if self.winner_id is not None and self.winner_id not in {each.instance_id for each in self.instances}:
            raise ValueError(f"has the winner {self.winner_id}, which is none of its instances")
        return self


def read_session(document: object) -> ForeignSession:
    """Return the session that a JSON value is.

    Raises:
        InvalidInput: it is none; the message names the field.
    """
    try:
        return ForeignSession.model_validate(document)
    except ValidationError as error:
        raise explain(error) from error


@dataclass(frozen=True, slots=True)
class Rows:
    """A session with all that belongs to it.

    Attributes:
        session: its row, still without its workspace.
        instances: its agents.
        arena: what is about its task.
        runtimes: its runtime mix.
        chat: what was said in it, in order.
        besides: what it has that has no column here and is kept in its attributes, for the report.
    """

    session: Session
    instances: list[Instance]
    arena: Arena
    runtimes: list[ArenaRuntime]
    chat: list[Message]
    besides: list[str]

    def insert(self, uow: UnitOfWork) -> None:
        """Write all rows of a session that is not there yet."""
        for rows in ([self.session], self.instances, [self.arena], self.runtimes, self.chat):
            uow.insert(*rows)


def rows_of(session: ForeignSession, import_id: int) -> Rows:
    """Return the rows of a session.

    A session that is over was over when it says so, else when it was last updated; its instances that are done ended
    then, too, unless they say when. An end of what goes on still is kept as an attribute.

    Raises:
        InvalidInput: something is kept as an attribute that is no document we can store.
    """
    over_at = (session.completed_at or session.updated_at) if session.status in FINAL else None
    row = Session.build(
        id=session.id,
        kind=SessionKind(session.type),
        name=name_of(session.task),
        tempo_bpm=None,
        status=session.status,
        attributes={ATTRIBUTE: kept} if (kept := _without_columns(session)) else {},
        created_at=session.created_at,
        updated_at=session.updated_at,
        completed_at=over_at,
        last_activity_at=session.updated_at,
        import_id=import_id,
    )
    arena = Arena.build(
        session_id=session.id,
        task=session.task,
        winner_instance_id=session.winner_id,
        total_duration_seconds=session.total_duration,
        **{name: getattr(session, name) for name in _OF_ARENAS},
    )
    mix = dict.fromkeys(session.runtime_mix or [])
    return Rows(
        session=row,
        instances=[_instance(each, session, over_at or session.updated_at, import_id) for each in session.instances],
        arena=arena,
        runtimes=[ArenaRuntime.build(session_id=session.id, runtime=each) for each in mix],
        chat=[_message(each, session.id, import_id) for each in session.chat_history],
        besides=list(_besides(session)),
    )


def _besides(session: ForeignSession) -> Iterator[str]:
    parts: list[tuple[str, Iterable[_Object]]] = [
        ("session", [session]),
        ("instance", session.instances),
        ("message", session.chat_history),
    ]
    for part, objects in parts:
        for name in sorted({name for each in objects for name in each.besides}):
            yield f"{part}.{name} has no column here and is kept in the session's attributes"


_OF_ARENAS: Final = (
    *("model", "timeout_seconds", "preserve_worktrees"),
    *("total_files_changed", "total_lines_added", "total_lines_deleted"),
)


def _without_columns(session: ForeignSession) -> dict[str, Any]:
    kept = session.besides
    if session.completed_at is not None and session.status not in FINAL:
        kept["completedAt"] = session.completed_at.isoformat()
    instances = {str(each.instance_id): found for each in session.instances if (found := _of_instance(each))}
    chat = {each.id: each.besides for each in session.chat_history if each.besides}
    return kept | {name: found for name, found in (("instances", instances), ("chatHistory", chat)) if found}


def _of_instance(instance: ForeignInstance) -> dict[str, Any]:
    ended = instance.end_time if instance.status not in FINAL_OF_INSTANCES else None
    return instance.besides | ({"endTime": ended.isoformat()} if ended is not None else {})


def _instance(instance: ForeignInstance, session: ForeignSession, over_at: datetime, import_id: int) -> Instance:
    values = {name: getattr(instance, name) for name in ForeignInstance.model_fields}
    values["end_time"] = (instance.end_time or over_at) if instance.status in FINAL_OF_INSTANCES else None
    return Instance.build(session_id=session.id, import_id=import_id, **values)


def _message(message: ForeignMessage, session_id: str, import_id: int) -> Message:
    return Message.build(
        public_id=message.id,
        session_id=session_id,
        role=message.role,
        content=message.content,
        instance_id=message.instance_id,
        created_at=message.timestamp,
        import_id=import_id,
    )
