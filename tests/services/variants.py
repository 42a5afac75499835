"""Every variant of the seed's triggers and actions, and signals that fire a trigger or do not."""

from __future__ import annotations

from vibeweaver_store import actions, signals, triggers
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger

TRIGGERS: list[tuple[Trigger, str | None]] = [
    (triggers.Beat(divisor=4), None),
    (triggers.Marker(name="chorus"), "chorus"),
    (triggers.Deadline(beat=64.5), None),
    (triggers.Artifact(), None),
    (triggers.Artifact(tag="drums"), "drums"),
    (triggers.JobComplete(job_id="job-7"), "job-7"),
    (triggers.Transport(state="playing"), "playing"),
]
"""Each trigger with the key that it is looked up by."""

ACTIONS: list[Action] = [
    actions.Sample(space="drums"),
    actions.Sample(space="drums", prompt="four on the floor", inference={"seed": 7, "layers": [{"cfg": 1.5}, None]}),
    actions.Schedule(content_hash="sha256:00ff", at=16.25),
    actions.Schedule(content_hash="sha256:00ff", at=16.25, duration=4.5, gain=0.75),
    actions.SampleAndSchedule(space="bass", at=32.0),
    actions.SampleAndSchedule(space="bass", prompt="", at=0.0),
    actions.Play(),
    actions.Pause(),
    actions.Stop(),
    actions.Seek(beat=128.0),
    actions.Audition(content_hash="sha256:00ff", duration=2.5),
    actions.Notify(message="four on the floor 🥁"),
]

FIRING: list[tuple[Trigger, Signal]] = [
    (triggers.Beat(divisor=1), signals.BeatTick(beat=7)),
    (triggers.Beat(divisor=4), signals.BeatTick(beat=0)),
    (triggers.Beat(divisor=4), signals.BeatTick(beat=8)),
    (triggers.Beat(divisor=2**53), signals.BeatTick(beat=2**53)),
    (triggers.Marker(name="chorus"), signals.MarkerReached(name="chorus", beat=16.0)),
    (triggers.Artifact(), signals.ArtifactCreated()),
    (triggers.Artifact(), signals.ArtifactCreated(tags=("drums",))),
    (triggers.Artifact(tag="drums"), signals.ArtifactCreated(tags=("drums",))),
    (triggers.Artifact(tag="drums"), signals.ArtifactCreated(tags=("bass", "drums", "loop"))),
    (triggers.JobComplete(job_id="job-7"), signals.JobFinished(job_id="job-7")),
    (triggers.Transport(state="playing"), signals.TransportChanged(state="playing")),
]
"""Triggers with a signal that fires each."""

NOT_FIRING: list[tuple[Trigger, Signal]] = [
    (triggers.Beat(divisor=4), signals.BeatTick(beat=1)),
    (triggers.Beat(divisor=4), signals.BeatTick(beat=2)),
    (triggers.Beat(divisor=4), signals.BeatTick(beat=7)),
    (triggers.Marker(name="chorus"), signals.MarkerReached(name="Chorus", beat=16.0)),
    (triggers.Marker(name="chorus"), signals.MarkerReached(name="chorus ", beat=16.0)),
    (triggers.Marker(name="chorus"), signals.MarkerReached(name="pre-chorus", beat=16.0)),
    (triggers.Marker(name="e\u0301tude"), signals.MarkerReached(name="\u00e9tude", beat=16.0)),
    (triggers.Artifact(tag="drums"), signals.ArtifactCreated()),
    (triggers.Artifact(tag="drums"), signals.ArtifactCreated(tags=("drum", "drumset"))),
    (triggers.Artifact(tag="100%"), signals.ArtifactCreated(tags=("100 percent",))),
    (triggers.JobComplete(job_id="job-7"), signals.JobFinished(job_id="job-70")),
    (triggers.Transport(state="playing"), signals.TransportChanged(state="paused")),
    (triggers.Deadline(beat=8.0), signals.BeatTick(beat=8)),
    (triggers.Deadline(beat=8.0), signals.MarkerReached(name="chorus", beat=8.0)),
    # The same word, in another kind of trigger.
    (triggers.Marker(name="same"), signals.TransportChanged(state="same")),
    (triggers.Transport(state="same"), signals.JobFinished(job_id="same")),
    (triggers.JobComplete(job_id="same"), signals.ArtifactCreated(tags=("same",))),
    (triggers.Artifact(tag="same"), signals.MarkerReached(name="same", beat=0.0)),
    (triggers.Artifact(), signals.JobFinished(job_id="same")),
]
"""Triggers with a signal that comes near and fires none."""


def called(value: object) -> str:
    """How a parameter is called in a test's name: the variant and its fields."""
    if isinstance(value, tuple):
        return " - ".join(called(part) for part in value)
    return f"{type(value).__name__}({value})" if hasattr(value, "model_dump") else str(value)
