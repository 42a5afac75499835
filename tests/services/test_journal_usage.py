"""Usage: each API response is counted once, however many lines, sidechains and forks repeat it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS
from tests.services.scene import make
from tests.shared_data import CLAUDE_CODE, FACTS, needs_shared_data
from vibeweaver_store import InvalidInput, Session, Store
from vibeweaver_store.services import journal
from vibeweaver_store.services.journal import NewEvent, Usage
from vibeweaver_store.testing import SessionFactory, WorkspaceFactory

NOON = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)
KINDS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def response(
    message_id: str | None = "msg_1",
    tokens: tuple[int | None, ...] = (1, 2, 3, 4),
    *,
    request_id: str | None = "req_1",
    model: str | None = "claude-opus",
    at: datetime | None = NOON,
    source: str = "source-1",
    **fields: Any,
) -> dict[str, Any]:
    """A line of an API response; lines that are not the same differ by a number."""
    return {
        "type": "assistant",
        "sessionId": source,
        "requestId": request_id,
        "timestamp": None if at is None else at.isoformat(),
        "message": {"id": message_id, "model": model, "usage": dict(zip(KINDS, tokens, strict=True))},
        **fields,
    }


def used(store: Store, *lines: dict[str, Any], **narrowed: Any) -> list[Usage]:
    """The usage after these lines were taken in."""
    numbered = [{**each, "n": number} for number, each in enumerate(lines)]
    assert store.run(journal.ingest, numbered).new == len(lines)
    return store.query(journal.usage, **narrowed)


def one(tokens: tuple[int, ...] = (1, 2, 3, 4), *, responses: int = 1, model: str | None = "claude-opus") -> Usage:
    return Usage(NOON.date(), model, responses, *tokens)


# Once


def test_usage_of_an_empty_journal_is_empty(store: Store) -> None:
    assert store.query(journal.usage) == []


def test_usage_counts_lines_of_one_response_once(store: Store) -> None:
    assert used(store, *[response()] * 3) == [one()]


def test_usage_takes_the_greatest_token_counts_of_a_growing_response(store: Store) -> None:
    lines = [response(tokens=(1, 2, 0, 4)), response(tokens=(1, 250, None, 4)), response(tokens=(0, 30, 9, None))]
    assert used(store, *lines) == [one((1, 250, 9, 4))]


def test_usage_counts_responses_repeated_by_a_fork_once(store: Store) -> None:
    assert used(store, response(source="source-1"), response(source="source-2")) == [one()]


def test_usage_counts_responses_repeated_by_a_sidechain_once(store: Store) -> None:
    assert used(store, response(), response(isSidechain=True)) == [one()]


def test_usage_counts_two_messages_as_two(store: Store) -> None:
    assert used(store, response("msg_1"), response("msg_2")) == [one((2, 4, 6, 8), responses=2)]


def test_usage_counts_two_requests_for_one_message_as_two(store: Store) -> None:
    assert used(store, response(request_id="req_1"), response(request_id="req_2")) == [one((2, 4, 6, 8), responses=2)]


def test_usage_counts_a_message_without_a_request_once_per_source_session(store: Store) -> None:
    lines = [response(request_id=None), response(request_id=None), response(request_id=None, source="source-2")]
    assert used(store, *lines) == [one((2, 4, 6, 8), responses=2)]


def test_usage_joins_lines_without_a_request_to_those_of_their_message(store: Store) -> None:
    assert used(store, response(request_id=None, tokens=(1, 9, 3, 4)), response()) == [one((1, 9, 3, 4))]


def test_usage_does_not_borrow_the_request_of_another_source(store: Store) -> None:
    assert used(store, response(request_id=None), response(source="source-2")) == [one((2, 4, 6, 8), responses=2)]


def test_usage_counts_a_stream_and_transcript_of_one_session_once(store: Store) -> None:
    streamed = {**response(request_id=None, at=None), "session_id": "source-1"}
    del streamed["sessionId"]
    assert used(store, streamed, response()) == [one()]


def test_usage_ignores_lines_without_a_message(store: Store) -> None:
    assert used(store, response(None), {"type": "user", "sessionId": "source-1"}) == []


def test_usage_ignores_partial_messages_of_a_stream(store: Store) -> None:
    partial = {"type": "stream_event", "session_id": "source-1", "event": response()}
    assert used(store, partial) == []


# By day and model


def test_usage_is_sorted_by_day_and_model(store: Store) -> None:
    day = timedelta(days=1)
    lines = [
        response("msg_1", at=NOON + day, model="b"),
        response("msg_2", at=NOON, model="b"),
        response("msg_3", at=NOON, model="a"),
        response("msg_4", at=None, model="a"),
        response("msg_5", at=NOON, model=None),
        response("msg_6", at=NOON, model="a"),
    ]
    assert used(store, *lines) == [
        one(model=None),
        one((2, 4, 6, 8), responses=2, model="a"),
        one(model="b"),
        Usage(date(2026, 1, 11), "b", 1, 1, 2, 3, 4),
        Usage(None, "a", 1, 1, 2, 3, 4),
    ]


def test_usage_dates_a_response_by_its_first_line_in_utc(store: Store) -> None:
    begun = datetime.fromisoformat("2026-01-11T01:30:00+02:00")
    lines = [response(at=begun + timedelta(hours=1)), response(at=begun)]
    assert used(store, *lines) == [one()]


def test_usage_leaves_out_models_without_tokens(store: Store) -> None:
    synthetic = response("msg_2", (0, 0, None, None), request_id=None, model="<synthetic>")
    assert used(store, response(), synthetic) == [one()]


def test_total_tokens_of_usage_are_the_sum_of_their_kinds() -> None:
    assert one((1, 20, 300, 4000)).total_tokens == 4321


def test_usage_may_exceed_64_bit_integers(store: Store) -> None:
    lines = [response(f"msg_{number}", (2**40,) * 4) for number in range(3)]
    (found,) = used(store, *lines, response("msg_x", (2**63, 2**62, 1, 1)))
    assert found.input_tokens == 3 * 2**40
    assert found.total_tokens == 12 * 2**40 + 2


# Narrowed down


@pytest.fixture
def belonging(store: Store) -> tuple[Session, Session]:
    """Two sessions, the first in a workspace; a third one, and no session, used something too."""
    workspace = make(store, WorkspaceFactory)
    first, second = make(store, SessionFactory, workspace_id=workspace.id), make(store, SessionFactory)
    lines = [
        NewEvent(response("msg_1"), session_id=first.id),
        NewEvent(response("msg_2"), session_id=second.id),
        NewEvent(response("msg_3")),
    ]
    store.run(journal.ingest, lines)
    return first, second


def test_usage_of_a_session_counts_only_its_events(store: Store, belonging: tuple[Session, Session]) -> None:
    for session in belonging:
        assert store.query(journal.usage, session_id=session.id) == [one()]
    assert store.query(journal.usage) == [one((3, 6, 9, 12), responses=3)]


def test_usage_of_a_workspace_counts_only_its_sessions(store: Store, belonging: tuple[Session, Session]) -> None:
    first, second = belonging
    assert store.query(journal.usage, workspace_id=first.workspace_id) == [one()]
    assert store.query(journal.usage, workspace_id=first.workspace_id, session_id=first.id) == [one()]
    assert store.query(journal.usage, workspace_id=first.workspace_id, session_id=second.id) == []


def test_usage_of_a_missing_session_or_workspace_is_empty(lasting_store: Store) -> None:
    assert lasting_store.query(journal.usage, session_id="nowhere") == []
    assert lasting_store.query(journal.usage, workspace_id="nowhere") == []


@pytest.mark.parametrize("bad", BAD_IDS)
def test_usage_of_an_invalid_workspace_id_is_refused(lasting_store: Store, bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(journal.usage, workspace_id=bad)
    assert caught.value.field == "workspace_id"


def test_usage_of_a_backwards_range_is_refused(lasting_store: Store) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(journal.usage, since=NOON, until=NOON - timedelta(seconds=1))
    assert caught.value.field == "until"


@pytest.mark.parametrize(
    ("since", "until", "counted"),
    [
        (NOON, None, True),
        (NOON + timedelta(seconds=1), None, False),
        (None, NOON, False),
        (None, NOON + timedelta(microseconds=1), True),
        (NOON, NOON + timedelta(seconds=1), True),
        (NOON, NOON, False),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), True),
    ],
)
def test_usage_counts_all_lines_of_a_response_where_it_began(
    store: Store, since: datetime | None, until: datetime | None, counted: bool
) -> None:
    lines = [response(), response(at=NOON + timedelta(hours=2), tokens=(1, 250, 3, 4))]
    assert used(store, *lines, since=since, until=until) == ([one((1, 250, 3, 4))] if counted else [])


def test_usage_of_a_range_leaves_out_lines_without_a_time(store: Store) -> None:
    assert used(store, response(at=None), since=datetime.min.replace(tzinfo=UTC)) == []


hours = st.integers(0, 72)
parts = st.tuples(st.sampled_from(["msg_1", "msg_2", "msg_3"]), hours, st.integers(0, 9), st.sampled_from("ab"))


@given(begun=st.lists(parts, max_size=10), at=hours)
def test_usage_before_and_since_a_moment_adds_up_to_the_total(
    lasting_store: Store, begun: list[tuple[str, int, int, str]], at: int
) -> None:
    session = make(lasting_store, SessionFactory)
    lines = [
        # The lines of a response lie within a day of each other.
        response(message, (tokens, 1, 1, 1), at=NOON + timedelta(hours=hour % 20), source=f"{session.id} {source}")
        for message, hour, tokens, source in begun
    ]
    new = [NewEvent({**each, "n": number}, session_id=session.id) for number, each in enumerate(lines)]
    lasting_store.run(journal.ingest, new)
    moment = NOON + timedelta(hours=at % 20)
    whole = lasting_store.query(journal.usage, session_id=session.id)
    before = lasting_store.query(journal.usage, session_id=session.id, until=moment)
    since = lasting_store.query(journal.usage, session_id=session.id, since=moment)
    assert sum(each.total_tokens for each in whole) == sum(each.total_tokens for each in (*before, *since))
    assert sum(each.responses for each in whole) == len({message for message, *_ in begun})


def test_usage_is_one_statement(store: Store) -> None:
    with recorded_statements(store) as sent:
        store.query(journal.usage)
    assert len(sent) == 1


# Real transcripts, read in place


class UndoneError(Exception):
    """Raised so that what was taken in is rolled back."""


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a transcript; two that were glued together on one line are two."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8") as file:
        for text in map(str.strip, file):
            at = 0
            while at < len(text):
                try:
                    found, at = decoder.raw_decode(text, at)
                except ValueError:
                    break
                if isinstance(found, dict):
                    yield found


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are one JSON object each."""
    with path.open(encoding="utf-8") as file:
        for text in file:
            with suppress(ValueError):
                found = json.loads(text)
                if isinstance(found, dict):
                    yield found


def transcripts() -> list[Path]:
    return sorted(CLAUDE_CODE.glob("*.jsonl"))


def counted_otherwise(lines: Iterator[dict[str, Any]]) -> dict[str, int]:
    """The tokens of the last line of each message."""
    last: dict[str, dict[str, Any]] = {}
    for line in lines:
        message = line.get("message")
        if isinstance(message, dict) and message.get("id") and message.get("usage"):
            last[message["id"]] = message["usage"]
    totals: dict[str, int] = defaultdict(int)
    for usage in last.values():
        for kind in KINDS:
            totals[kind] += usage.get(kind) or 0
    return {kind: totals[kind] for kind in KINDS}


def totals(found: list[Usage]) -> dict[str, int]:
    return {kind: sum(getattr(each, kind) for each in found) for kind in KINDS}


@needs_shared_data
@pytest.mark.parametrize("path", transcripts(), ids=lambda path: path.stem)
def test_usage_of_a_real_transcript_matches_other_tools(lasting_store: Store, path: Path) -> None:
    facts = json.loads(FACTS.read_text(encoding="utf-8"))[f"claude-code/{path.name}"]
    with suppress(UndoneError), lasting_store.begin() as uow:
        key = SessionFactory.create(uow=uow).id
        journal.ingest(uow, (NewEvent(line, path.stem, key) for line in whole_lines(path)))
        counted = totals(journal.usage(uow, session_id=key))
        raise UndoneError
    assert counted == {kind: facts["usage_last_line_per_message_id"][kind] for kind in KINDS}
    assert counted == counted_otherwise(whole_lines(path))


@needs_shared_data
def test_usage_of_all_real_transcripts_together_is_counted_once(store: Store) -> None:
    first, second = (
        [store.run(journal.ingest, [NewEvent(line, path.stem) for line in objects(path)]) for path in transcripts()]
        for _ in range(2)
    )
    expected = counted_otherwise(line for path in transcripts() for line in objects(path))
    assert totals(store.query(journal.usage)) == expected
    assert sum(each.new for each in first) > 2000
    assert sum(each.new for each in second) == 0
    assert sum(each.unknown for each in first) == 1  # a line of the hand-made file has no type


def test_usage_counts_a_line_without_a_time_with_its_response(lasting_store: Store, lasting_jam: Session) -> None:
    stream = response(tokens=(1, 900, 3, 4), message_id="msg_of_a_stream", at=None, source="stream")
    timed = response(message_id="msg_of_a_stream", source="stream")
    lines = [NewEvent(each, session_id=lasting_jam.id) for each in (timed, stream)]
    lasting_store.run(journal.ingest, lines)

    for narrowed in ({"since": NOON}, {"until": NOON + timedelta(hours=1)}, {}):
        found = lasting_store.query(journal.usage, session_id=lasting_jam.id, **narrowed)  # type: ignore[arg-type]
        assert [each.output_tokens for each in found] == [900]


@pytest.mark.parametrize(("by", "rows"), [("day", 2), ("model", 2)])
def test_add_up_sums_usage_by_day_or_by_model(by: Any, rows: int) -> None:
    days = [NOON.date(), NOON.date() + timedelta(days=1)]
    found = [Usage(day, model, 1, 1, 2, 3, 4) for day in days for model in ("opus", "haiku")]
    added = journal.add_up(found, by)

    assert [(each.day, each.model) for each in added] == (
        [(day, None) for day in days] if by == "day" else [(None, "haiku"), (None, "opus")]
    )
    assert {(each.responses, each.input_tokens, each.total_tokens) for each in added} == {(2, 2, 20)}
    assert len(added) == rows
