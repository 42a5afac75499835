"""Signals: what happened on the timeline, and rules are matched against."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter

from vibeweaver_store.columns import BeatPosition, Name
from vibeweaver_store.models.documents import Document, WholeNumber
from vibeweaver_store.validation import require


class BeatTick(Document):
    """The transport counted beat number ``beat`` (a whole number from 0)."""

    type: Literal["beat_tick"] = "beat_tick"
    beat: WholeNumber

    @classmethod
    def nearest(cls, position_beat: float) -> Self:
        """Return the tick of the beat nearest to a position, for a clock that is early or late.

        Raises:
            InvalidInput: the position is negative, NaN or infinite.
        """
        position: float = require(BeatPosition, position_beat, field="position_beat")
        return cls(beat=int(position) + (position % 1 >= 0.5))


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


Signal: TypeAlias = BeatTick | MarkerReached | ArtifactCreated | JobFinished | TransportChanged
ADAPTER: TypeAdapter[Signal] = TypeAdapter(Annotated[Signal, Field(discriminator="type")])
