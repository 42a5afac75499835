"""Actions: what a rule hands to the caller when it fires (seed 000, ``enum Action``). The store performs none."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter

from vibeweaver_store.columns import BeatPosition, FiniteFloat, Name, Text
from vibeweaver_store.json_values import MAX_DOCUMENT_DEPTH, FrozenDict, freeze
from vibeweaver_store.models.documents import Document, TypeName, read_types

Duration: TypeAlias = Annotated[FiniteFloat, Field(ge=0)]
Gain: TypeAlias = Annotated[FiniteFloat, Field(ge=0)]


def _freeze_shallower(value: object) -> Any:
    """Leave room for the documents that hold an action: history tells of a firing with its action within."""
    return freeze(value, levels=MAX_DOCUMENT_DEPTH - 10)


class ActionType(TypeName):
    """The kinds of action, as they are stored."""

    SAMPLE = "sample"
    SCHEDULE = "schedule"
    SAMPLE_AND_SCHEDULE = "sample_and_schedule"
    PLAY = "play"
    PAUSE = "pause"
    STOP = "stop"
    SEEK = "seek"
    AUDITION = "audition"
    NOTIFY = "notify"


class Sample(Document):
    """Generate something in ``space`` (a model or a kind of sound), with free parameters for the inference."""

    type: Literal["sample"] = "sample"
    space: Name
    prompt: Text | None = None
    inference: Annotated[Any, BeforeValidator(_freeze_shallower)] = Field(default_factory=FrozenDict)


class Schedule(Document):
    """Put content at beat ``at``, for ``duration`` beats (its own length where ``None``), at a linear ``gain``."""

    type: Literal["schedule"] = "schedule"
    content_hash: Name
    at: BeatPosition
    duration: Duration | None = None
    gain: Gain = 1.0


class SampleAndSchedule(Document):
    """Generate something in ``space`` and put it at beat ``at``."""

    type: Literal["sample_and_schedule"] = "sample_and_schedule"
    space: Name
    prompt: Text | None = None
    at: BeatPosition


class Play(Document):
    """Start the transport."""

    type: Literal["play"] = "play"


class Pause(Document):
    """Halt the transport where it is."""

    type: Literal["pause"] = "pause"


class Stop(Document):
    """Stop the transport."""

    type: Literal["stop"] = "stop"


class Seek(Document):
    """Move the transport to a beat."""

    type: Literal["seek"] = "seek"
    beat: BeatPosition


class Audition(Document):
    """Play content once, for ``duration`` seconds, outside the timeline."""

    type: Literal["audition"] = "audition"
    content_hash: Name
    duration: Duration


class Notify(Document):
    """Tell the performers something."""

    type: Literal["notify"] = "notify"
    message: Text


_AnyAction: TypeAlias = Sample | Schedule | SampleAndSchedule | Play | Pause | Stop | Seek | Audition | Notify
Action: TypeAlias = Annotated[_AnyAction, Field(discriminator="type"), read_types(_AnyAction)]
ADAPTER: TypeAdapter[Action] = TypeAdapter(Action)


def space_of(action: Action) -> str | None:
    """Return the space that an action generates in, or ``None`` where it generates nothing."""
    return action.space if isinstance(action, Sample | SampleAndSchedule) else None
