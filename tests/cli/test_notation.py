"""Triggers, actions and signals can be written as people write them, and what is shown can be given back."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sizes import examples
from vibeweaver_store import actions, signals, triggers
from vibeweaver_store.cli.notation import ACTIONS, SIGNALS, TRIGGERS, Notation
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models.actions import ActionType
from vibeweaver_store.models.triggers import TriggerType

WRITTEN: list[tuple[Notation[Any], str, Any]] = [
    (TRIGGERS, "beat:4", triggers.Beat(divisor=4)),
    (TRIGGERS, "marker:Chorus", triggers.Marker(name="Chorus")),
    (TRIGGERS, "marker:Variation 1: Walking Bass", triggers.Marker(name="Variation 1: Walking Bass")),
    (TRIGGERS, "deadline:64", triggers.Deadline(beat=64)),
    (TRIGGERS, "deadline:64.25", triggers.Deadline(beat=64.25)),
    (TRIGGERS, "artifact", triggers.Artifact()),
    (TRIGGERS, "artifact:drums", triggers.Artifact(tag="drums")),
    (TRIGGERS, "job_complete:42", triggers.JobComplete(job_id="42")),
    (TRIGGERS, "transport:playing", triggers.Transport(state="playing")),
    (ACTIONS, "play", actions.Play()),
    (ACTIONS, "pause", actions.Pause()),
    (ACTIONS, "stop", actions.Stop()),
    (ACTIONS, "seek:32", actions.Seek(beat=32)),
    (ACTIONS, "notify:four on the floor", actions.Notify(message="four on the floor")),
    (ACTIONS, "audition:sha256:abc:2.5", actions.Audition(content_hash="sha256:abc", duration=2.5)),
    (ACTIONS, "sample:drums", actions.Sample(space="drums")),
    (ACTIONS, "sample:drums:fast: 8 bars", actions.Sample(space="drums", prompt="fast: 8 bars")),
    (ACTIONS, "sample_and_schedule:pads@64", actions.SampleAndSchedule(space="pads", at=64)),
    (ACTIONS, "sample_and_schedule:pads@64:a@b", actions.SampleAndSchedule(space="pads", at=64, prompt="a@b")),
    (ACTIONS, "schedule:sha256:abc@4", actions.Schedule(content_hash="sha256:abc", at=4)),
    (ACTIONS, "schedule:abc@4:2", actions.Schedule(content_hash="abc", at=4, duration=2)),
    (ACTIONS, "schedule:abc@4:2:0.5", actions.Schedule(content_hash="abc", at=4, duration=2, gain=0.5)),
    (ACTIONS, "schedule:abc@4::0.5", actions.Schedule(content_hash="abc", at=4, gain=0.5)),
    (SIGNALS, "beat:8", signals.BeatTick(beat=8)),
    (SIGNALS, "marker:Chorus@64", signals.MarkerReached(name="Chorus", beat=64)),
    (SIGNALS, "marker:a@b@64", signals.MarkerReached(name="a@b", beat=64)),
    (SIGNALS, "artifact:tag1,tag2", signals.ArtifactCreated(tags=("tag1", "tag2"))),
    (SIGNALS, "artifact", signals.ArtifactCreated()),
    (SIGNALS, "job:42", signals.JobFinished(job_id="42")),
    (SIGNALS, "transport:playing", signals.TransportChanged(state="playing")),
]


@pytest.mark.parametrize(("notation", "text", "value"), WRITTEN)
def test_rule_notation_is_parsed(notation: Notation[Any], text: str, value: Any) -> None:
    assert notation.parse(text) == value


@pytest.mark.parametrize(("notation", "text", "value"), WRITTEN)
def test_rule_notation_is_written_for_each_value(notation: Notation[Any], text: str, value: Any) -> None:
    assert notation.written(value) == text


def test_every_kind_of_trigger_and_action_has_a_notation() -> None:
    assert set(TRIGGERS.types) == {kind.value for kind in TriggerType}
    assert set(ACTIONS.types) == {kind.value for kind in ActionType}


@pytest.mark.parametrize("notation", [TRIGGERS, ACTIONS, SIGNALS], ids=lambda notation: notation.what)
def test_every_example_of_rule_notation_can_be_parsed(notation: Notation[Any]) -> None:
    for form in notation.forms.values():
        notation.parse(form.example)


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ('notify:"four on the floor"', actions.Notify(message="four on the floor")),
        ("notify:bar", actions.Notify(message="bar")),
        ("notify:'costs $5'", actions.Notify(message="costs $5")),
        ("""'{"type": "notify", "message": "it\\u0027s $5"}'""", actions.Notify(message="it's $5")),
        ("""'{"type": "notify", "message": "\\"quoted\\""}'""", actions.Notify(message='"quoted"')),
        ("""'{"type": "notify", "message": "two\\nlines"}'""", actions.Notify(message="two\nlines")),
        ("""'{"type": "sample", "space": "a:b"}'""", actions.Sample(space="a:b")),
    ],
)
def test_rule_notation_is_quoted_for_a_shell(shown: str, value: Any) -> None:
    assert ACTIONS.shown(value) == shown


def test_rule_notation_may_be_json() -> None:
    assert TRIGGERS.parse(' {"type": "beat", "divisor": 4}') == triggers.Beat(divisor=4)


def test_rule_notation_ignores_blanks_and_case_before_the_colon() -> None:
    assert TRIGGERS.parse(" Beat :4") == triggers.Beat(divisor=4)


# --- whatever the value ----------------------------------------------------------------------------------------

_TEXTS = st.text(max_size=12).filter(lambda text: "\0" not in text) | st.text("ab:@'\"$ \\!,{}\n\tü", max_size=8)
_NAMES = _TEXTS.filter(str.strip)
_BEATS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
_LENGTHS = st.floats(0, allow_nan=False, allow_infinity=False) | st.integers(0, 10**6)
_PROMPTS = st.none() | _TEXTS
VALUES: list[tuple[Notation[Any], st.SearchStrategy[Any]]] = [
    (
        TRIGGERS,
        st.one_of(
            st.builds(triggers.Beat, divisor=st.integers(1, 2**53)),
            st.builds(triggers.Marker, name=_NAMES),
            st.builds(triggers.Deadline, beat=_BEATS),
            st.builds(triggers.Artifact, tag=st.none() | _NAMES),
            st.builds(triggers.JobComplete, job_id=_NAMES),
            st.builds(triggers.Transport, state=_NAMES),
        ),
    ),
    (
        ACTIONS,
        st.one_of(
            st.builds(actions.Play),
            st.builds(actions.Seek, beat=_BEATS),
            st.builds(actions.Notify, message=_TEXTS),
            st.builds(actions.Audition, content_hash=_NAMES, duration=_LENGTHS),
            st.builds(actions.Sample, space=_NAMES, prompt=_PROMPTS, inference=st.sampled_from([{}, {"k": ["'"]}])),
            st.builds(actions.SampleAndSchedule, space=_NAMES, prompt=_PROMPTS, at=_BEATS),
            st.builds(actions.Schedule, content_hash=_NAMES, at=_BEATS, duration=st.none() | _LENGTHS, gain=_LENGTHS),
        ),
    ),
    (
        SIGNALS,
        st.one_of(
            st.builds(signals.BeatTick, beat=st.integers(-(2**53), 2**53)),
            st.builds(signals.MarkerReached, name=_NAMES, beat=_BEATS),
            st.builds(signals.ArtifactCreated, tags=st.lists(_NAMES, max_size=3)),
            st.builds(signals.JobFinished, job_id=_NAMES),
            st.builds(signals.TransportChanged, state=_NAMES),
        ),
    ),
]


@pytest.mark.parametrize(("notation", "values"), VALUES, ids=lambda each: getattr(each, "what", ""))
@settings(max_examples=examples(60, 300))
@given(data=st.data())
def test_rule_notation_as_shown_can_be_parsed_again(
    notation: Notation[Any], values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = data.draw(values)

    shown = notation.shown(value)

    assert shown.isprintable()
    assert [notation.parse(word) for word in shlex.split(shown)] == [value]
    assert notation.parse(shown) == value
    assert notation.parse(notation.written(value)) == value


# --- what is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notation", "text", "part", "example"),
    [
        (TRIGGERS, "beat:x", "the divisor must be a whole number (got 'x')", "beat:4"),
        (TRIGGERS, "beat:4.5", "the divisor must be a whole number", "beat:4"),
        (TRIGGERS, "beat:²", "the divisor must be a whole number", "beat:4"),
        (TRIGGERS, "beat:0", "divisor: Input should be greater than or equal to 1", "beat:4"),
        (TRIGGERS, "beat:-4", "divisor: Input should be greater than or equal to 1", "beat:4"),
        (TRIGGERS, "beat", "the divisor is missing", "beat:4"),
        (TRIGGERS, "bet:4", "there is no 'bet'", "beat:4"),
        (TRIGGERS, "", "there is no ''", "beat:4"),
        (TRIGGERS, "marker:", "the name is missing", "marker:Chorus"),
        (TRIGGERS, "deadline:soon", "the beat must be a number (got 'soon')", "deadline:64"),
        (TRIGGERS, "deadline:nan", "beat", "deadline:64"),
        (TRIGGERS, "deadline:-inf", "beat", "deadline:64"),
        (TRIGGERS, "artifact:", "the tag is missing", "artifact:drums"),
        (TRIGGERS, '{"type": "beat"', "it is no JSON", ""),
        (TRIGGERS, '{"type": "beat", "divisor": "4"}', "beat.divisor", "beat:4"),
        (TRIGGERS, '{"divisor": 4}', "type", "beat:4"),
        (ACTIONS, "play:now", "nothing may follow it (got 'now')", "play"),
        (ACTIONS, "seek:inf", "beat: Input should be a finite number", "seek:32"),
        (ACTIONS, "notify:", "the message is missing", "notify:"),
        (ACTIONS, "audition:2.5", "the content hash is missing", "audition:HASH:2.5"),
        (ACTIONS, "audition:abc:long", "the duration must be a number", "audition:HASH:2.5"),
        (ACTIONS, "sample", "the space is missing", "sample:drums"),
        (ACTIONS, "sample_and_schedule:pads", "a space and a beat, with an @", "sample_and_schedule:drums@64"),
        (ACTIONS, "sample_and_schedule:pads@x", "the beat must be a number", "sample_and_schedule:drums@64"),
        (ACTIONS, "schedule:abc", "a content hash and a beat", "schedule:HASH@64"),
        (ACTIONS, "schedule:@4", "the content hash is missing", "schedule:HASH@64"),
        (ACTIONS, "schedule:abc@4:1:1:1", "and no more", "schedule:HASH@64"),
        (ACTIONS, "schedule:abc@4:1:-1", "gain", "schedule:HASH@64"),
        (SIGNALS, "marker:Chorus", "a name and a beat", "marker:Chorus@64"),
        (SIGNALS, "artifact:a,,b", "tags", "artifact:drums,loop"),
        (SIGNALS, "jobs:1", "there is no 'jobs'", "job:ID"),
    ],
)
def test_the_error_for_invalid_rule_notation_names_the_part_and_shows_an_example(
    notation: Notation[Any], text: str, part: str, example: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        notation.parse(text)

    assert refused.value.message.startswith(notation.what)
    assert part in refused.value.message
    assert example in refused.value.message


@pytest.mark.parametrize("document", [4, None, [], {}, {"type": 4}, {"type": "bet"}])
def test_rule_notation_that_is_neither_text_nor_a_known_object_is_refused(document: object) -> None:
    with pytest.raises(InvalidInput, match="trigger"):
        TRIGGERS.from_document(document)
