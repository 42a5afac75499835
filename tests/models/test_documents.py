"""Triggers, actions and signals: small validated values that cannot be edited and refuse what they do not know."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.services.bad_input import BAD_BEATS, BAD_NAMES, BAD_NUMBERS, BAD_TEXTS, cases
from tests.services.variants import ACTIONS, FIRING, NOT_FIRING, TRIGGERS, called
from vibeweaver_store import InvalidInput, actions, signals, triggers
from vibeweaver_store.json_values import FrozenDict
from vibeweaver_store.models.actions import space_of

SIGNALS = [signal for _, signal in FIRING]
EVERY: list[tuple[BaseModel, TypeAdapter[Any]]] = [
    *[(trigger, triggers.ADAPTER) for trigger, _ in TRIGGERS],
    *[(action, actions.ADAPTER) for action in ACTIONS],
    *[(signal, signals.ADAPTER) for signal in SIGNALS],
]
every_document = pytest.mark.parametrize(
    ("document", "adapter"), EVERY, ids=[called(document) for document, _ in EVERY]
)


@every_document
def test_a_document_survives_a_json_round_trip(document: BaseModel, adapter: TypeAdapter[Any]) -> None:
    assert adapter.validate_json(adapter.dump_json(document)) == document


@every_document
def test_the_fields_of_a_document_cannot_be_set(document: BaseModel, adapter: TypeAdapter[Any]) -> None:
    for field in type(document).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(document, field, getattr(document, field))


@every_document
def test_a_document_with_an_unknown_field_is_refused(document: BaseModel, adapter: TypeAdapter[Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        type(document)(**document.model_dump(), volume=11)
    assert caught.value.field == "volume"


@every_document
def test_a_document_with_another_type_is_refused(document: BaseModel, adapter: TypeAdapter[Any]) -> None:
    with pytest.raises(InvalidInput):
        type(document)(**{**document.model_dump(), "type": "another"})


@every_document
def test_documents_of_equal_values_are_equal(document: BaseModel, adapter: TypeAdapter[Any]) -> None:
    assert type(document)(**document.model_dump()) == document


# Values that are refused

BEATS: dict[str, Callable[[Any], object]] = {
    "a deadline": lambda beat: triggers.Deadline(beat=beat),
    "a place to schedule at": lambda beat: actions.Schedule(content_hash="00ff", at=beat),
    "a length": lambda beat: actions.Schedule(content_hash="00ff", at=0, duration=beat or "none"),
    "a gain": lambda beat: actions.Schedule(content_hash="00ff", at=0, gain=beat),
    "a place to sample for": lambda beat: actions.SampleAndSchedule(space="drums", at=beat),
    "a place to seek": lambda beat: actions.Seek(beat=beat),
    "the length of an audition": lambda beat: actions.Audition(content_hash="00ff", duration=beat),
    "where a marker lies": lambda beat: signals.MarkerReached(name="chorus", beat=beat),
}

NAMES: dict[str, Callable[[Any], object]] = {
    "a marker": lambda name: triggers.Marker(name=name),
    "a tag": lambda name: triggers.Artifact(tag=name if name is not None else ""),
    "a job": lambda name: triggers.JobComplete(job_id=name),
    "a state": lambda name: triggers.Transport(state=name),
    "a space": lambda name: actions.Sample(space=name),
    "a hash": lambda name: actions.Audition(content_hash=name, duration=1),
    "a marker that is reached": lambda name: signals.MarkerReached(name=name, beat=0),
    "a tag of an artifact": lambda name: signals.ArtifactCreated(tags=(name,)),
    "a job that is done": lambda name: signals.JobFinished(job_id=name),
    "a state that is entered": lambda name: signals.TransportChanged(state=name),
}

TEXTS: dict[str, Callable[[Any], object]] = {
    "a prompt": lambda text: actions.Sample(space="drums", prompt=text),
    "a message": lambda text: actions.Notify(message=text),
}

COUNTS: dict[str, Callable[[Any], object]] = {
    "a divisor": lambda number: triggers.Beat(divisor=number),
    "a beat that is counted": lambda number: signals.BeatTick(beat=number),
}


@pytest.mark.parametrize("beat", BAD_BEATS)
@pytest.mark.parametrize("make", BEATS.values(), ids=BEATS)
def test_a_document_with_an_invalid_beat_is_refused(make: Callable[[Any], object], beat: Any) -> None:
    with pytest.raises(InvalidInput):
        make(beat)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("make", NAMES.values(), ids=NAMES)
def test_a_document_with_an_invalid_name_is_refused(make: Callable[[Any], object], name: Any) -> None:
    with pytest.raises(InvalidInput):
        make(name)


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_a_document_with_an_invalid_text_is_refused(make: Callable[[Any], object], text: Any) -> None:
    with pytest.raises(InvalidInput):
        make(text)


@pytest.mark.parametrize("number", [*BAD_NUMBERS, *cases(negative=-1, half=0.5, a_float=4.0, too_large=2**53 + 1)])
@pytest.mark.parametrize("make", COUNTS.values(), ids=COUNTS)
def test_a_document_with_an_invalid_count_is_refused(make: Callable[[Any], object], number: Any) -> None:
    with pytest.raises(InvalidInput):
        make(number)


def test_a_beat_trigger_with_divisor_zero_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        triggers.Beat(divisor=0)
    assert caught.value.field == "divisor"


def test_the_error_for_an_incomplete_document_names_the_missing_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        actions.Seek()
    assert caught.value.field == "beat"


@pytest.mark.parametrize("inference", cases(nan=math.nan, a_set={1}, deep_nan={"a": [math.inf]}, a_key={1: "a"}))
def test_parameters_of_an_inference_action_are_json(inference: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        actions.Sample(space="drums", inference=inference)
    assert (caught.value.field or "").startswith("inference")


# Values that are normalised


def test_parameters_of_an_inference_action_cannot_be_edited() -> None:
    action = actions.Sample(space="drums", inference={"seed": 7})
    assert type(action.inference) is FrozenDict


def test_parameters_of_an_inference_action_are_a_copy() -> None:
    given_parameters = {"layers": ["kick"]}
    action = actions.Sample(space="drums", inference=given_parameters)
    given_parameters["layers"].append("snare")
    assert action.inference == {"layers": ["kick"]}


@pytest.mark.parametrize("tags", [["b", "a", "b"], ("b", "a", "a")], ids=["list", "tuple"])
def test_artifact_tags_keep_their_order_and_lose_repeats(tags: Any) -> None:
    assert signals.ArtifactCreated(tags=tags).tags == ("b", "a")


def test_a_single_text_is_refused_as_artifact_tags() -> None:
    with pytest.raises(InvalidInput) as caught:
        signals.ArtifactCreated(tags="drums")
    assert caught.value.field == "tags"


@pytest.mark.parametrize(
    ("position", "beat"), [(0, 0), (0.49, 0), (0.5, 1), (7.5, 8), (8.4999, 8), (2**52 + 1.0, 2**52 + 1)]
)
def test_a_beat_tick_is_of_the_nearest_beat(position: float, beat: int) -> None:
    assert signals.BeatTick.nearest(position) == signals.BeatTick(beat=beat)


@given(position=st.floats(0, 2**53))
def test_a_beat_tick_is_never_further_than_half_a_beat(position: float) -> None:
    assert abs(signals.BeatTick.nearest(position).beat - position) <= 0.5


@pytest.mark.parametrize("position", BAD_BEATS)
def test_a_beat_tick_of_an_invalid_position_is_refused(position: Any) -> None:
    with pytest.raises(InvalidInput):
        signals.BeatTick.nearest(position)


# What they say


@pytest.mark.parametrize(("trigger", "key"), TRIGGERS, ids=called)
def test_a_trigger_has_its_lookup_key(trigger: triggers.Trigger, key: str | None) -> None:
    assert trigger.key == key


@pytest.mark.parametrize(("trigger", "signal"), FIRING, ids=called)
def test_a_trigger_matches_its_signal(trigger: triggers.Trigger, signal: signals.Signal) -> None:
    assert trigger.matches(signal)


@pytest.mark.parametrize(("trigger", "signal"), NOT_FIRING, ids=called)
def test_a_trigger_does_not_match_a_near_miss(trigger: triggers.Trigger, signal: signals.Signal) -> None:
    assert not trigger.matches(signal)


@pytest.mark.parametrize("action", ACTIONS, ids=called)
def test_only_a_sample_action_has_a_space(action: actions.Action) -> None:
    assert space_of(action) == getattr(action, "space", None)
