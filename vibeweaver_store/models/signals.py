"""Signals: what happened on the timeline, and rules are matched against."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter

from vibeweaver_store.columns import BeatPosition, Name
from vibeweaver_store.models.documents import BeatNumber, Document, read_types
from vibeweaver_store.validation import require


class BeatTick(Document):
    """The transport counted beat number ``beat``, a whole number. Those of a count-in lie below 0."""

    type: Literal["beat_tick"] = "beat_tick"
    beat: BeatNumber

    @classmethod
    def nearest(cls, position_beat: float) -> Self:
        """Return the tick of the beat nearest to a position, for a clock that is early or late.

        Halfway between two beats it is the later one, also below 0.

        Raises:
            InvalidInput: the position is NaN or infinite, or more than 2**53 beats from the start.
        """
        position: float = require(BeatPosition, position_beat, field="position_beat")
        return cls(beat=math.floor(position) + (position % 1 >= 0.5))


class MarkerReached(Document):
    """The transport reached the marker ``name``, which lies at ``beat``."""

    type: Literal["marker_reached"] = "marker_reached"
    name: Name
    beat: BeatPosition


def _distinct(tags: object) -> object:
    if isinstance(tags, list | tuple | set | frozenset) and all(isinstance(tag, str) for tag in tags):
        return tuple(dict.fromkeys(tags))
    return tags


class ArtifactCreated(Document):
    """Something was made (a sample, a file), and these are its tags, 1,000 at most."""

    type: Literal["artifact_created"] = "artifact_created"
    tags: Annotated[tuple[Name, ...], Field(max_length=1000), BeforeValidator(_distinct)] = ()


class JobFinished(Document):
    """A background job has ended."""

    type: Literal["job_finished"] = "job_finished"
    job_id: Name


class TransportChanged(Document):
    """The transport entered ``state``: ``playing``, ``paused``, ``stopped``, or a name of your own."""

    type: Literal["transport_changed"] = "transport_changed"
    state: Name


_AnySignal: TypeAlias = BeatTick | MarkerReached | ArtifactCreated | JobFinished | TransportChanged
Signal: TypeAlias = Annotated[_AnySignal, Field(discriminator="type"), read_types(_AnySignal)]
ADAPTER: TypeAdapter[Signal] = TypeAdapter(Signal)
