"""Following a conversation: what any process says comes, as it is committed, in order, once.

How a log is followed is tried out with history; here is what is of messages.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from tests.services.scene import make
from tests.services.together import Together, together
from tests.spawning import Processes
from vibeweaver_store import (
    AsyncStore,
    InvalidInput,
    Message,
    MessageRole,
    NotFound,
    Session,
    Store,
    history,
    messages,
    sessions,
)
from vibeweaver_store.testing import SessionFactory

SOON = 0.3
"""Long enough for what was committed to be seen, in seconds."""


def said(found: list[Message]) -> list[str]:
    return [message.content for message in found]


def say(store: Store, session: Session, *contents: str, role: str = "user", instance_id: int | None = None) -> None:
    for content in contents:
        store.run(messages.append, session.id, role, content, instance_id=instance_id)


def test_a_message_follower_gives_existing_messages_then_added_ones(store: Store, other: Store, jam: Session) -> None:
    say(other, jam, "1", "2")
    followed = messages.follow(store, jam.id)
    assert said([next(followed), next(followed)]) == ["1", "2"]
    say(other, jam, "3")
    assert next(followed).content == "3"
    other.run(messages.append_many, jam.id, [messages.NewMessage("user", each) for each in ("4", "5")])
    assert said([next(followed), next(followed)]) == ["4", "5"]
    followed.close()  # type: ignore[attr-defined]


def test_a_message_follower_waits_for_an_added_message(store: Store, other: Store, jam: Session) -> None:
    late = threading.Timer(SOON, say, [other, jam, "late"])
    late.start()
    followed = messages.follow(store, jam.id)
    assert next(followed).content == "late"
    followed.close()  # type: ignore[attr-defined]
    late.join()


def test_a_message_follower_reads_more_than_one_page(store: Store, jam: Session) -> None:
    store.run(messages.append_many, jam.id, [messages.NewMessage("user", f"{n}") for n in range(2500)])
    assert said(list(messages.follow(store, jam.id, idle_seconds=0))) == [str(n) for n in range(2500)]


def test_a_message_follower_begins_behind_a_given_message(store: Store, jam: Session) -> None:
    say(store, jam, "1", "2", "3")
    first = next(messages.follow(store, jam.id))
    assert said(list(messages.follow(store, jam.id, after=first.id, idle_seconds=0))) == ["2", "3"]
    assert said(list(messages.follow(store, jam.id, after=0, idle_seconds=0))) == ["1", "2", "3"]


def test_a_message_follower_begins_behind_a_page(store: Store, jam: Session) -> None:
    say(store, jam, "1", "2")
    whole = store.query(messages.page, jam.id)
    say(store, jam, "3")
    assert said(list(messages.follow(store, jam.id, after=whole.end_cursor, idle_seconds=0))) == ["3"]


def test_a_message_follower_honours_its_filters(store: Store, jam: Session) -> None:
    say(store, jam, "1")
    say(store, jam, "2", instance_id=1)
    say(store, jam, "3", role="assistant", instance_id=1)

    def followed(**filters: Any) -> list[str]:
        return said(list(messages.follow(store, jam.id, idle_seconds=0, **filters)))

    assert followed(role="user") == ["1", "2"]
    assert followed(instance_id=1) == ["2", "3"]
    assert followed(role=MessageRole.ASSISTANT, instance_id=1) == ["3"]
    assert followed(role="system") == []


def test_a_message_follower_skips_other_sessions_logs_and_rolled_back_ones(
    store: Store, other: Store, jam: Session
) -> None:
    say(other, make(other, SessionFactory), "elsewhere")
    other.run(history.append, jam.id, "play")
    with pytest.raises(ZeroDivisionError), other.begin() as uow:
        messages.append(uow, jam.id, "user", "undone")
        raise ZeroDivisionError
    say(other, jam, "here")
    assert said(list(messages.follow(store, jam.id, idle_seconds=SOON))) == ["here"]


def test_following_messages_of_a_missing_session_is_not_found(lasting_store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        next(messages.follow(lasting_store, "nowhere"))


def test_a_message_follower_ends_when_its_session_is_deleted(store: Store, other: Store, jam: Session) -> None:
    say(store, jam, "1")
    followed = messages.follow(store, jam.id)
    next(followed)
    other.run(sessions.delete, jam.id)
    with pytest.raises(NotFound):
        next(followed)


@pytest.mark.parametrize(
    "arguments",
    [
        {"after": -1},
        {"after": True},
        {"after": "not a cursor"},
        {"role": "robot"},
        {"instance_id": -1},
        {"idle_seconds": -1},
    ],
    ids=str,
)
def test_following_messages_with_invalid_arguments_is_refused(
    lasting_store: Store, lasting_jam: Session, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        next(messages.follow(lasting_store, lasting_jam.id, **arguments))


def test_following_messages_after_a_cursor_of_another_filter_is_refused(store: Store, jam: Session) -> None:
    say(store, jam, "1", "2")
    of_users = store.query(messages.page, jam.id, limit=1, role="user").next_cursor
    with pytest.raises(InvalidInput, match="cursor"):
        next(messages.follow(store, jam.id, after=of_users))


async def test_messages_of_an_async_store_are_followed_asynchronously(database: str) -> None:
    async with await AsyncStore.open(database) as store:
        jam = await store.run(sessions.create, name="jam")
        await store.run(messages.append, jam.id, "user", "1")
        followed = messages.follow(store, jam.id, idle_seconds=10 * SOON)
        assert (await anext(followed)).content == "1"
        await store.run(messages.append, jam.id, "user", "2")
        assert (await anext(followed)).content == "2"
        await followed.aclose()  # type: ignore[attr-defined]


_SAY = """
new = [messages.NewMessage("user", f"{process} {number}", public_id=f"{number}")]
store.run(messages.append_many, session_id, new, if_exists="ignore")
store.run(messages.append, session_id, "assistant", f"{process} {number}")
"""


@pytest.fixture
def speakers(database: str, jam: Session, processes: Processes) -> Iterator[Together]:
    """Four processes that say something in the session when they are told to begin: half of it, all the same ids."""
    with together(_SAY, database, jam.id, count=30) as started:
        yield started


def test_a_message_follower_gives_messages_of_several_processes_exactly_once(
    store: Store, jam: Session, speakers: Together
) -> None:
    speakers.begin()
    met = list(islice(messages.follow(store, jam.id, idle_seconds=60), 4 * 30 + 30))
    keys = [message.id for message in met if message.id is not None]
    assert keys == sorted(set(keys))
    assert sum(message.role is MessageRole.ASSISTANT for message in met) == 4 * 30
    assert sorted(int(message.public_id) for message in met if message.role is MessageRole.USER) == list(range(30))
    assert store.query(messages.count, jam.id) == len(met)
