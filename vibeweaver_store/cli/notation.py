"""Triggers, actions and signals as people write them: ``beat:4``, ``seek:32``, ``marker:Chorus@64``; or as JSON.

The word before the colon may also be the name of the type, in either spelling: ``SampleAndSchedule:pads@64``.
After the first colon the rest may stand in quotes, which are dropped. What :func:`shown` prints can be given back as
it stands, in a shell or without one; where the readable form could not say a value, it prints JSON.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar

import orjson
from pydantic import TypeAdapter

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import actions, signals, triggers
from vibeweaver_store.models.actions import Action
from vibeweaver_store.models.documents import Document, stored_spelling
from vibeweaver_store.models.signals import Signal
from vibeweaver_store.models.triggers import Trigger
from vibeweaver_store.validation import parse_document

T = TypeVar("T", bound=Document)

# --- the parts of a form ---------------------------------------------------------------------------------------


def _whole(text: str, part: str) -> int:
    if not re.fullmatch(r"-?\d+", text, re.ASCII):
        raise InvalidInput(f"the {part} must be a whole number (got {text!r})")
    return int(text)


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"the {part} must be a number (got {text!r})") from None


def _digits(value: float) -> str:
    return repr(value).removesuffix(".0")


def _given(text: str, part: str) -> str:
    if not text.strip():
        raise InvalidInput(f"the {part} is missing")
    return text


def _nothing(rest: str | None) -> None:
    if rest is not None:
        raise InvalidInput(f"nothing may follow it (got {rest!r})")


def _split_at(rest: str, first: str, second: str) -> tuple[str, str]:
    before, at, after = rest.rpartition("@")
    if not at:
        raise InvalidInput(f"it needs a {first} and a {second}, with an @ between them")
    return _given(before, first), after


# --- the forms -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a variant: how it looks, how it is read (from what follows the colon), how it is written."""

    example: str
    read: Callable[[str | None], Any]
    write: Callable[[Any], str | None]


def _simple(example: str, variant: Callable[[], Any]) -> _Form:
    def read(rest: str | None) -> Any:
        _nothing(rest)
        return variant()

    return _Form(example, read, lambda _value: None)


def _worded(example: str, part: str, make: Callable[[str], Any], word: Callable[[Any], str]) -> _Form:
    return _Form(example, lambda rest: make(_given(rest or "", part)), word)


def _counted(
    example: str, part: str, make: Callable[[Any], Any], count: Callable[[Any], float], *, whole: bool = False
) -> _Form:
    parse = _whole if whole else _number
    return _Form(example, lambda rest: make(parse(_given(rest or "", part), part)), lambda value: _digits(count(value)))


def _read_artifact(rest: str | None) -> triggers.Artifact:
    return triggers.Artifact(tag=None if rest is None else _given(rest, "tag"))


def _read_audition(rest: str | None) -> actions.Audition:
    content_hash, _, seconds = (rest or "").rpartition(":")
    return actions.Audition(content_hash=_given(content_hash, "content hash"), duration=_number(seconds, "duration"))


def _read_sample(rest: str | None) -> actions.Sample:
    space, colon, prompt = (rest or "").partition(":")
    return actions.Sample(space=_given(space, "space"), prompt=prompt if colon else None)


def _write_sample(action: actions.Sample) -> str:
    return action.space if action.prompt is None else f"{action.space}:{action.prompt}"


def _read_sample_and_schedule(rest: str | None) -> actions.SampleAndSchedule:
    head, prompt = rest or "", None
    # The prompt begins at the first colon behind the @; it may hold any sign itself.
    found = re.match(r"([^@]*@[^:]*):(.*)", head, re.DOTALL)
    if found:
        head, prompt = found[1], found[2]
    space, at = _split_at(head, "space", "beat")
    return actions.SampleAndSchedule(space=space, prompt=prompt, at=_number(at, "beat"))


def _write_sample_and_schedule(action: actions.SampleAndSchedule) -> str:
    prompt = "" if action.prompt is None else f":{action.prompt}"
    return f"{action.space}@{_digits(action.at)}{prompt}"


def _read_schedule(rest: str | None) -> actions.Schedule:
    content_hash, numbers = _split_at(rest or "", "content hash", "beat")
    at, *more = numbers.split(":")
    if len(more) > 2:
        raise InvalidInput(f"after the beat come a duration and a gain, and no more (got {numbers!r})")
    duration, gain = [*more, "", ""][:2]
    return actions.Schedule(
        content_hash=content_hash,
        at=_number(at, "beat"),
        duration=_number(duration, "duration") if duration else None,
        gain=_number(gain, "gain") if gain else 1.0,
    )


def _write_schedule(action: actions.Schedule) -> str:
    duration = "" if action.duration is None else _digits(action.duration)
    numbers = [_digits(action.at), duration, "" if action.gain == 1 else _digits(action.gain)]
    return f"{action.content_hash}@{':'.join(numbers).rstrip(':')}"


def _read_marker_reached(rest: str | None) -> signals.MarkerReached:
    name, beat = _split_at(rest or "", "name", "beat")
    return signals.MarkerReached(name=name, beat=_number(beat, "beat"))


def _read_artifact_created(rest: str | None) -> signals.ArtifactCreated:
    return signals.ArtifactCreated(tags=() if rest is None else tuple(tag.strip() for tag in rest.split(",")))


@dataclass(frozen=True, slots=True)
class Notation(Generic[T]):
    """How the variants of one union are written. ``forms`` are by the word before the colon, ``types`` by variant."""

    what: str
    adapter: TypeAdapter[Any]
    forms: Mapping[str, _Form]
    types: Mapping[str, str]

    def parse(self, text: str) -> T:
        """Read a value from its readable form or its JSON.

        Raises:
            InvalidInput: it cannot be read; the message names the part that is wrong and shows one that is right.
        """
        bare = text.strip()
        if bare.startswith("'{") and bare.endswith("}'"):
            bare = bare[1:-1]
        if bare.startswith("{"):
            return self._parse_json(bare)
        word, colon, rest = text.lstrip().partition(":")
        word = stored_spelling(word.strip())
        form = self.forms.get(self.types.get(word, word))
        if form is None:
            raise InvalidInput(f"{self.what} {text!r}: {self._unknown(word)}")
        try:
            value: T = form.read(_unquoted(rest) if colon else None)
        except InvalidInput as error:
            raise InvalidInput(f"{self.what} {text!r}: {error.message}; write it like {form.example}") from error
        return value

    def from_document(self, document: object) -> T:
        """Read a value from what a JSON file holds: a text in readable form, or an object.

        Raises:
            InvalidInput: it cannot be read.
        """
        if isinstance(document, str):
            return self.parse(document)
        try:
            value: T = parse_document(self.adapter, document, field=self.what)
        except InvalidInput as error:
            like = self._example_of(document)
            raise InvalidInput(f"{error.message}; for short, write it like {like}") from error
        return value

    def written(self, value: T) -> str:
        """Return a value in readable form, or as JSON where that could not say it. :meth:`parse` reads both."""
        return self._write(value, quoted=False)

    def shown(self, value: T) -> str:
        """Return the same as a shell takes it for one word."""
        return self._write(value, quoted=True)

    def examples(self) -> str:
        """Return all forms in a row."""
        return ", ".join(form.example for form in self.forms.values())

    def _write(self, value: T, *, quoted: bool) -> str:
        word = self.types[_type(value)]
        rest = self.forms[word].write(value)
        text = word if rest is None else f"{word}:{rest}"
        candidate = text if rest is None or not quoted else f"{word}:{_quoted(rest)}"
        if text.isprintable() and self._says(text, value) and (not quoted or self._survives_a_shell(candidate, value)):
            return candidate
        document = {"type": _type(value), **value.model_dump(mode="json", exclude_defaults=True)}
        # A ' can be spelled out in JSON, so that single quotes always hold it together.
        dumped = json.dumps(document, ensure_ascii=not text.isprintable()).replace("'", "\\u0027")
        return f"'{dumped}'" if quoted else dumped

    def _survives_a_shell(self, candidate: str, value: T) -> bool:
        try:
            words = shlex.split(candidate)
        except ValueError:
            return False
        return len(words) == 1 and self._says(words[0], value) and self._says(candidate, value)

    def _says(self, text: str, value: T) -> bool:
        try:
            return self.parse(text) == value
        except InvalidInput:
            return False

    def _parse_json(self, text: str) -> T:
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"{self.what} {text!r}: it is no JSON: {error}") from error
        return self.from_document(document)

    def _example_of(self, document: object) -> str:
        kind = document.get("type") if isinstance(document, dict) else None
        word = self.types.get(stored_spelling(kind)) if isinstance(kind, str) else None
        return self.examples() if word is None else self.forms[word].example

    def _unknown(self, word: str) -> str:
        near = get_close_matches(word, self.forms, n=1)
        if near:
            return f"there is no {word!r}; did you mean {self.forms[near[0]].example}?"
        return f"there is no {word!r}; write one of {self.examples()}"


def _type(value: Document) -> str:
    kind: str = value.type  # type: ignore[attr-defined]  # every variant of a union has one
    return kind


def _unquoted(rest: str) -> str:
    quoted = len(rest) >= 2 and rest[0] == rest[-1] and rest[0] in "\"'"
    return rest[1:-1] if quoted else rest


def _quoted(rest: str) -> str:
    """Put quotes around what a shell would take apart; double ones where nothing in it means something in them."""
    if shlex.quote(rest) == rest:
        return rest
    return f"'{rest}'" if re.search(r'["$`\\!]', rest) else f'"{rest}"'


TRIGGERS: Final[Notation[Trigger]] = Notation(
    "trigger",
    triggers.ADAPTER,
    {
        "beat": _counted("beat:4", "divisor", lambda n: triggers.Beat(divisor=n), lambda t: t.divisor, whole=True),
        "marker": _worded("marker:Chorus", "name", lambda name: triggers.Marker(name=name), lambda t: t.name),
        "deadline": _counted("deadline:64", "beat", lambda beat: triggers.Deadline(beat=beat), lambda t: t.beat),
        "artifact": _Form("artifact:drums", _read_artifact, lambda t: t.tag),
        "job_complete": _worded(
            "job_complete:ID", "job's id", lambda job: triggers.JobComplete(job_id=job), lambda t: t.job_id
        ),
        "transport": _worded(
            "transport:playing", "state", lambda state: triggers.Transport(state=state), lambda t: t.state
        ),
    },
    {kind.value: kind.value for kind in triggers.TriggerType},
)

ACTIONS: Final[Notation[Action]] = Notation(
    "action",
    actions.ADAPTER,
    {
        "notify": _worded('notify:"bar"', "message", lambda text: actions.Notify(message=text), lambda a: a.message),
        "play": _simple("play", actions.Play),
        "pause": _simple("pause", actions.Pause),
        "stop": _simple("stop", actions.Stop),
        "seek": _counted("seek:32", "beat", lambda beat: actions.Seek(beat=beat), lambda a: a.beat),
        "sample": _Form('sample:drums:"a fill"', _read_sample, _write_sample),
        "sample_and_schedule": _Form(
            'sample_and_schedule:drums@64:"a fill"', _read_sample_and_schedule, _write_sample_and_schedule
        ),
        "schedule": _Form("schedule:HASH@64:8:0.5", _read_schedule, _write_schedule),
        "audition": _Form("audition:HASH:2.5", _read_audition, lambda a: f"{a.content_hash}:{_digits(a.duration)}"),
    },
    {kind.value: kind.value for kind in actions.ActionType},
)

SIGNALS: Final[Notation[Signal]] = Notation(
    "signal",
    signals.ADAPTER,
    {
        "beat": _counted("beat:8", "beat", lambda beat: signals.BeatTick(beat=beat), lambda s: s.beat, whole=True),
        "marker": _Form("marker:Chorus@64", _read_marker_reached, lambda s: f"{s.name}@{_digits(s.beat)}"),
        "artifact": _Form(
            "artifact:drums,loop", _read_artifact_created, lambda s: ",".join(s.tags) if s.tags else None
        ),
        "job": _worded("job:ID", "job's id", lambda job: signals.JobFinished(job_id=job), lambda s: s.job_id),
        "transport": _worded(
            "transport:playing", "state", lambda state: signals.TransportChanged(state=state), lambda s: s.state
        ),
    },
    {
        "beat_tick": "beat",
        "marker_reached": "marker",
        "artifact_created": "artifact",
        "job_finished": "job",
        "transport_changed": "transport",
    },
)
