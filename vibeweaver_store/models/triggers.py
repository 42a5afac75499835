"""Triggers: what a rule waits for (seed 000, ``enum Trigger``)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from vibeweaver_store.columns import BeatPosition, Name
from vibeweaver_store.models.documents import Document, PositiveInt, TypeName, read_types
from vibeweaver_store.models.signals import (
    ArtifactCreated,
    BeatTick,
    JobFinished,
    MarkerReached,
    Signal,
    TransportChanged,
)


class TriggerType(TypeName):
    """The kinds of trigger, as they are stored and looked up by."""

    BEAT = "beat"
    MARKER = "marker"
    DEADLINE = "deadline"
    ARTIFACT = "artifact"
    JOB_COMPLETE = "job_complete"
    TRANSPORT = "transport"


class Beat(Document):
    """Fires on every beat that ``divisor`` divides: 4 means beats 0, 4, 8 and so on, and before them -4, -8."""

    type: Literal["beat"] = "beat"
    divisor: PositiveInt

    @property
    def key(self) -> None:
        """A beat has no name to be looked up by."""
        return None

    def matches(self, signal: Signal) -> bool:
        """Say whether this signal fires the trigger."""
        return isinstance(signal, BeatTick) and signal.beat % self.divisor == 0


class Marker(Document):
    """Fires when the marker of this name is reached."""

    type: Literal["marker"] = "marker"
    name: Name

    @property
    def key(self) -> str:
        """The marker's name."""
        return self.name

    def matches(self, signal: Signal) -> bool:
        """Say whether this signal fires the trigger."""
        return isinstance(signal, MarkerReached) and signal.name == self.name


class Deadline(Document):
    """Asks that the action's work be done by ``beat``. No signal fires it: see :func:`services.rules.due`."""

    type: Literal["deadline"] = "deadline"
    beat: BeatPosition

    @property
    def key(self) -> None:
        """A deadline has no name to be looked up by."""
        return None

    def matches(self, signal: Signal) -> bool:
        """No signal fires a deadline; it becomes due."""
        del signal
        return False


class Artifact(Document):
    """Fires when an artifact with this tag was made, or any artifact where ``tag`` is ``None``."""

    type: Literal["artifact"] = "artifact"
    tag: Name | None = None

    @property
    def key(self) -> str | None:
        """The tag, where one is asked for."""
        return self.tag

    def matches(self, signal: Signal) -> bool:
        """Say whether this signal fires the trigger."""
        return isinstance(signal, ArtifactCreated) and (self.tag is None or self.tag in signal.tags)


class JobComplete(Document):
    """Fires when the job with this id has ended."""

    type: Literal["job_complete"] = "job_complete"
    job_id: Name

    @property
    def key(self) -> str:
        """The job's id."""
        return self.job_id

    def matches(self, signal: Signal) -> bool:
        """Say whether this signal fires the trigger."""
        return isinstance(signal, JobFinished) and signal.job_id == self.job_id


class Transport(Document):
    """Fires when the transport enters this state, ``playing`` say."""

    type: Literal["transport"] = "transport"
    state: Name

    @property
    def key(self) -> str:
        """The transport's state."""
        return self.state

    def matches(self, signal: Signal) -> bool:
        """Say whether this signal fires the trigger."""
        return isinstance(signal, TransportChanged) and signal.state == self.state


_AnyTrigger: TypeAlias = Beat | Marker | Deadline | Artifact | JobComplete | Transport
Trigger: TypeAlias = Annotated[_AnyTrigger, Field(discriminator="type"), read_types(_AnyTrigger)]
ADAPTER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
