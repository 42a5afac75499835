"""Messages: what was said in a session, in the order in which it was said."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_IDS, NO_TEXT, VERBATIM, any_name, cases
from tests.services.plans import indexes_of, recorded
from tests.services.scene import dump, make, make_many
from vibeweaver_store import (
    AlreadyExists,
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
from vibeweaver_store.testing import (
    EPOCH,
    ImportFactory,
    MessageFactory,
    SessionFactory,
    SettableClock,
    columns_of,
)

NewMessage = messages.NewMessage

BAD_CONTENTS = cases(**NO_TEXT, nothing=None, empty="", blank=" \t\n", blank_of_unicode="\u3000\u2003")
BAD_ROLES = cases(nothing=None, another="tool", empty="", a_number=1, true=True, bytes=b"user", a_list=["user"])
BAD_COUNTS = cases(below_zero=-1, a_float=1.0, text="1", true=True, too_great=2**63)
BAD_TIMES = cases(
    naive=datetime(2026, 1, 1),  # noqa: DTZ001
    beyond_the_calendar=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    text="2026-01-01T00:00:00Z",
    a_number=0,
)


def said(found: list[Message]) -> list[str]:
    return [message.content for message in found]


def conversation(store: Store, session_id: str, **filters: Any) -> list[str]:
    return said(list(messages.iterate(store, session_id, **filters)))


# Append


def test_a_new_message_is_read_back_as_it_was_made(store: Store, other: Store, jam: Session) -> None:
    made = store.run(messages.append, jam.id, MessageRole.ASSISTANT, "Here is a take.", instance_id=2)
    assert columns_of(other.query(messages.get, jam.id, made.public_id)) == columns_of(made)


def test_a_new_message_has_the_values_it_was_given(store: Store, other: Store, jam: Session) -> None:
    at = EPOCH + timedelta(hours=1)
    store.run(messages.append, jam.id, "assistant", "Here is a take.", public_id="first", instance_id=2, created_at=at)
    found = other.query(messages.get, jam.id, "first")
    assert (found.session_id, found.public_id, found.role) == (jam.id, "first", MessageRole.ASSISTANT)
    assert (found.content, found.instance_id, found.created_at) == ("Here is a take.", 2, at)


def test_a_new_message_is_of_now_and_no_instance_by_default(store: Store, jam: Session, clock: SettableClock) -> None:
    made = store.run(messages.append, jam.id, "user", "Make it darker.")
    assert (made.created_at, made.instance_id, made.import_id) == (clock.instant, None, None)
    assert uuid.UUID(made.public_id).version == 7


def test_a_message_time_in_another_zone_is_kept_as_its_instant(store: Store, jam: Session) -> None:
    there = datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    made = store.run(messages.append, jam.id, "user", "Here.", created_at=there)
    assert made.created_at == datetime(2026, 3, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize("role", MessageRole)
def test_a_message_may_be_of_each_role(lasting_store: Store, lasting_jam: Session, role: MessageRole) -> None:
    assert lasting_store.run(messages.append, lasting_jam.id, role.value, "Here.").role is role


@pytest.mark.parametrize("text", VERBATIM)
def test_message_texts_are_kept_verbatim(lasting_store: Store, text: str) -> None:
    session = make(lasting_store, SessionFactory)
    lasting_store.run(messages.append, session.id, "user", text, public_id=text)
    found = lasting_store.query(messages.get, session.id, text)
    assert (found.content, found.public_id) == (text, text)


@given(content=any_name)
def test_a_message_may_be_any_text_that_is_not_blank(lasting_store: Store, lasting_jam: Session, content: str) -> None:
    made = lasting_store.run(messages.append, lasting_jam.id, "user", content)
    assert lasting_store.query(messages.get, lasting_jam.id, made.public_id).content == content


def test_a_long_message_is_kept_whole(store: Store, other: Store, jam: Session) -> None:
    content = "🥁" * 500_000
    made = store.run(messages.append, jam.id, "assistant", content)
    assert other.query(messages.get, jam.id, made.public_id).content == content


@pytest.mark.parametrize("public_id", [None, "first"])
def test_a_message_is_activity_of_the_session_but_no_change_of_it(
    store: Store, jam: Session, public_id: str | None
) -> None:
    store.run(messages.append, jam.id, "user", "Here.", public_id=public_id)
    found = store.query(sessions.get, jam.id)
    assert found.last_activity_at > jam.last_activity_at
    assert (found.version, found.updated_at) == (jam.version, jam.updated_at)


# An id that exists already


def test_the_error_for_a_taken_message_id_names_it(store: Store, other: Store, jam: Session) -> None:
    store.run(messages.append, jam.id, "user", "Here.", public_id="first")
    with pytest.raises(AlreadyExists) as caught:
        store.run(messages.append, jam.id, "user", "There.", public_id="first")
    assert (caught.value.entity, caught.value.key) == ("message", "first")
    assert conversation(other, jam.id) == ["Here."]


def test_a_taken_message_id_leaves_the_unit_of_work_usable(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        messages.append(uow, jam.id, "user", "Here.", public_id="first")
        with pytest.raises(AlreadyExists):
            messages.append(uow, jam.id, "user", "There.", public_id="first")
        with pytest.raises(AlreadyExists):
            messages.append_many(uow, jam.id, [NewMessage("user", "There.", "first")])
        messages.append(uow, jam.id, "user", "Again.")
    assert conversation(other, jam.id) == ["Here.", "Again."]


def test_a_taken_message_id_can_be_ignored(store: Store, other: Store, jam: Session) -> None:
    there = store.run(messages.append, jam.id, "user", "Here.", public_id="first")
    again = store.run(messages.append, jam.id, "system", "There.", public_id="first", if_exists="ignore")
    assert columns_of(again) == columns_of(there)
    assert conversation(other, jam.id) == ["Here."]


@pytest.mark.parametrize("if_exists", ["ignore", "error"])
def test_a_message_with_a_taken_id_changes_nothing(
    store: Store, other: Store, jam: Session, clock: SettableClock, if_exists: messages.IfExists
) -> None:
    store.run(messages.append, jam.id, "user", "Here.", public_id="first")
    before = dump(other)
    clock.advance(hours=1)
    with store.begin() as uow, suppress(AlreadyExists):
        messages.append(uow, jam.id, "user", "There.", public_id="first", if_exists=if_exists)
    assert dump(other) == before


def test_a_message_with_a_new_id_is_appended_when_taken_ids_are_ignored(store: Store, jam: Session) -> None:
    made = store.run(messages.append, jam.id, "user", "Here.", public_id="first", if_exists="ignore")
    assert store.query(messages.find, jam.id, "first") == made


def test_a_message_id_may_be_the_same_in_two_sessions(store: Store, other: Store, jam: Session) -> None:
    elsewhere = make(store, SessionFactory)
    store.run(messages.append, jam.id, "user", "Here.", public_id="first")
    store.run(messages.append, elsewhere.id, "user", "There.", public_id="first")
    assert other.query(messages.get, jam.id, "first").content == "Here."
    assert other.query(messages.get, elsewhere.id, "first").content == "There."


@pytest.mark.parametrize("if_exists", [None, "", "skip", True, 1])
@pytest.mark.parametrize(
    "append",
    [
        lambda uow, key, if_exists: messages.append(uow, key, "user", "Here.", if_exists=if_exists),
        lambda uow, key, if_exists: messages.append_many(uow, key, [], if_exists=if_exists),
    ],
    ids=["append", "append_many"],
)
def test_an_invalid_if_exists_of_a_message_is_refused(
    lasting_store: Store, lasting_jam: Session, append: Callable[..., object], if_exists: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(append, lasting_jam.id, if_exists)
    assert caught.value.field == "if_exists"


# Append many


def numbered(count: int, start: int = 0) -> Iterator[NewMessage]:
    roles = list(MessageRole)
    return (NewMessage(roles[n % 3], f"message {n}", f"id {n}", n % 2 or None) for n in range(start, start + count))


def test_many_messages_are_kept_in_the_order_given(store: Store, other: Store, jam: Session) -> None:
    assert store.run(messages.append_many, jam.id, numbered(2500)) == 2500
    found = list(messages.iterate(other, jam.id))
    roles = list(MessageRole)
    assert [(each.content, each.public_id, each.role, each.instance_id) for each in found] == [
        (f"message {n}", f"id {n}", roles[n % 3], n % 2 or None) for n in range(2500)
    ]


def test_messages_appended_together_equal_those_appended_singly(store: Store, other: Store, jam: Session) -> None:
    at = EPOCH + timedelta(hours=1)
    store.run(messages.append_many, jam.id, [NewMessage("assistant", "Here.", "one", 2, at)])
    store.run(messages.append, jam.id, "assistant", "Here.", public_id="two", instance_id=2, created_at=at)
    one, two = (columns_of(message) for message in messages.iterate(other, jam.id))
    assert one | {"id": None, "public_id": None} == two | {"id": None, "public_id": None}


def test_many_messages_may_come_from_an_import(store: Store, other: Store, jam: Session) -> None:
    run = make(store, ImportFactory)
    store.run(messages.append_many, jam.id, [NewMessage("user", "Here.", import_id=run.id)])
    (found,) = messages.iterate(other, jam.id)
    assert found.import_id == run.id


def test_a_message_of_a_missing_import_leaves_the_unit_of_work_usable(store: Store, other: Store, jam: Session) -> None:
    with store.begin() as uow:
        messages.append(uow, jam.id, "user", "Here.")
        with pytest.raises(NotFound, match="no import 7"):
            messages.append_many(uow, jam.id, [NewMessage("user", "There.", import_id=7)])
    assert conversation(other, jam.id) == ["Here."]


@pytest.mark.parametrize("there", [0, 1, 700, 2500])
def test_append_many_appends_and_counts_messages_with_new_ids(
    store: Store, other: Store, jam: Session, there: int
) -> None:
    store.run(messages.append_many, jam.id, numbered(there))
    assert store.run(messages.append_many, jam.id, numbered(2500), if_exists="ignore") == 2500 - there
    assert conversation(other, jam.id) == [f"message {n}" for n in range(2500)]


def test_a_message_id_given_twice_in_a_call_is_appended_once(store: Store, other: Store, jam: Session) -> None:
    new = [*numbered(1200), *numbered(1200), NewMessage("user", "No id."), NewMessage("user", "No id.")]
    assert store.run(messages.append_many, jam.id, new, if_exists="ignore") == 1202
    assert conversation(other, jam.id) == [*[f"message {n}" for n in range(1200)], "No id.", "No id."]


@pytest.mark.parametrize("distance", [1, 1500])
def test_a_message_id_given_twice_in_a_call_is_refused_unless_ignored(
    store: Store, other: Store, jam: Session, distance: int
) -> None:
    with pytest.raises(AlreadyExists, match="id 0"):
        store.run(messages.append_many, jam.id, [*numbered(distance), *numbered(1)])
    assert other.query(messages.count, jam.id) == 0


def test_append_many_appends_no_message_if_one_id_is_taken(store: Store, other: Store, jam: Session) -> None:
    store.run(messages.append, jam.id, "user", "Here.", public_id="id 5")
    with pytest.raises(AlreadyExists, match="id 5"):
        store.run(messages.append_many, jam.id, numbered(10))
    assert conversation(other, jam.id) == ["Here."]


def test_append_many_of_existing_messages_changes_nothing(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    store.run(messages.append_many, jam.id, numbered(10))
    before = other.query(sessions.get, jam.id)
    clock.advance(hours=1)
    assert store.run(messages.append_many, jam.id, numbered(10), if_exists="ignore") == 0
    assert columns_of(other.query(sessions.get, jam.id)) == columns_of(before)


def test_a_bad_message_among_many_leaves_none(store: Store, other: Store, jam: Session) -> None:
    with pytest.raises(InvalidInput):
        store.run(messages.append_many, jam.id, [*numbered(1500), NewMessage("user", " ")])
    assert other.query(messages.count, jam.id) == 0


def test_an_error_in_the_iterable_of_messages_leaves_none(store: Store, other: Store, jam: Session) -> None:
    def failing() -> Iterator[NewMessage]:
        yield from numbered(1500)
        raise OSError("the file ends here")

    with pytest.raises(OSError, match="ends here"):
        store.run(messages.append_many, jam.id, failing())
    assert other.query(messages.count, jam.id) == 0


@pytest.mark.parametrize("given", cases(nothing=None, text="Here.", a_dict=[{"role": "user"}], a_number=5))
def test_append_many_refuses_invalid_messages(lasting_store: Store, lasting_jam: Session, given: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(messages.append_many, lasting_jam.id, given)
    assert caught.value.field == "messages"


@pytest.mark.parametrize("count", [1, 400])
def test_appending_many_messages_takes_a_bounded_number_of_statements(store: Store, jam: Session, count: int) -> None:
    with recorded_statements(store) as sent:
        store.run(messages.append_many, jam.id, numbered(count), if_exists="ignore")
    assert len([statement for statement in sent if statement.startswith("INSERT")]) == 1
    assert len([statement for statement in sent if "FROM messages" in statement]) == 1


# What is refused

APPENDERS = [
    lambda uow, key, **values: messages.append(uow, key, **{"role": "user", "content": "Here.", **values}),
    lambda uow, key, **values: messages.append_many(
        uow, key, [NewMessage(**{"role": "user", "content": "Here.", **values})]
    ),
]
appenders = pytest.mark.parametrize("append", APPENDERS, ids=["append", "append_many"])


@appenders
def test_a_message_of_a_missing_session_is_refused(lasting_store: Store, append: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="no session 'nowhere'"):
        lasting_store.run(append, "nowhere")


@appenders
@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, case.values[0], id=f"{field}: {case.id}")
        for field, bad in {
            "content": BAD_CONTENTS,
            "public_id": BAD_IDS,
            "instance_id": BAD_COUNTS,
            "created_at": BAD_TIMES,
        }.items()
        for case in bad
    ],
)
def test_the_error_for_an_invalid_value_of_a_message_names_its_field(
    lasting_store: Store, lasting_jam: Session, append: Callable[..., object], field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(append, lasting_jam.id, **{field: value})
    assert caught.value.field == field


@appenders
@pytest.mark.parametrize("role", BAD_ROLES)
def test_an_invalid_message_role_is_refused(
    lasting_store: Store, lasting_jam: Session, append: Callable[..., object], role: Any
) -> None:
    with pytest.raises(InvalidInput, match="user, assistant, system"):
        lasting_store.run(append, lasting_jam.id, role=role)


@pytest.mark.parametrize("import_id", BAD_COUNTS)
def test_an_invalid_import_of_a_message_is_refused(lasting_store: Store, lasting_jam: Session, import_id: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(messages.append_many, lasting_jam.id, [NewMessage("user", "Here.", import_id=import_id)])
    assert caught.value.field == "import_id"


@pytest.mark.parametrize("session_id", BAD_IDS)
@pytest.mark.parametrize(
    "operation",
    [
        *APPENDERS,
        lambda uow, key: messages.append_many(uow, key, []),
        lambda uow, key: messages.get(uow, key, "first"),
        lambda uow, key: messages.find(uow, key, "first"),
        lambda uow, key: messages.between(uow, key, EPOCH, EPOCH),
        messages.last,
        messages.page,
        messages.count,
    ],
    ids=["append", "append_many", "append_many of none", "get", "find", "between", "last", "page", "count"],
)
def test_messages_of_an_invalid_session_id_are_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, session_id)
    assert caught.value.field == "session_id"


# Get and find


def test_getting_a_missing_message_names_it(lasting_store: Store, lasting_jam: Session) -> None:
    with pytest.raises(NotFound) as caught:
        lasting_store.query(messages.get, lasting_jam.id, "nothing")
    assert (caught.value.entity, caught.value.key) == ("message", "nothing")


def test_a_message_is_not_found_in_another_session(store: Store, jam: Session) -> None:
    elsewhere = make(store, MessageFactory, public_id="first")
    assert store.query(messages.find, jam.id, "first") is None
    assert store.query(messages.find, elsewhere.session_id, "first") == elsewhere


@pytest.mark.parametrize("public_id", BAD_IDS)
@pytest.mark.parametrize("look", [messages.get, messages.find])
def test_a_message_lookup_by_an_invalid_id_is_refused(
    lasting_store: Store, lasting_jam: Session, look: Callable[..., object], public_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(look, lasting_jam.id, public_id)
    assert caught.value.field == "public_id"


# Order, filters, pages


def test_messages_of_equal_times_keep_their_order(store: Store, other: Store, jam: Session) -> None:
    # Ids that sort against the order, at one instant.
    new = [NewMessage("user", f"{n}", public_id=f"{1000 - n:04}", created_at=EPOCH) for n in range(500)]
    store.run(messages.append_many, jam.id, new)
    assert conversation(other, jam.id) == [f"{n}" for n in range(500)]
    whole = store.query(messages.between, jam.id, EPOCH, EPOCH + timedelta(seconds=1), limit=1000)
    assert said(whole.items) == [f"{n}" for n in range(500)]


def test_a_message_dated_earlier_is_appended_at_the_end(store: Store, other: Store, jam: Session) -> None:
    store.run(messages.append, jam.id, "user", "now")
    store.run(messages.append, jam.id, "user", "before", created_at=EPOCH - timedelta(days=1))
    assert conversation(other, jam.id) == ["now", "before"]


@given(texts=st.lists(any_name, max_size=12), page_size=st.integers(1, 5), newest_first=st.booleans())
def test_message_pages_of_any_size_rebuild_the_conversation(
    lasting_store: Store, texts: list[str], page_size: int, newest_first: bool
) -> None:
    session = make(lasting_store, SessionFactory)
    lasting_store.run(messages.append_many, session.id, [NewMessage("user", text) for text in texts])
    found = conversation(lasting_store, session.id, page_size=page_size, newest_first=newest_first)
    assert found == (texts[::-1] if newest_first else texts)


def test_pages_of_messages_go_forward_and_back(store: Store, jam: Session) -> None:
    store.run(messages.append_many, jam.id, numbered(7))
    first = store.query(messages.page, jam.id, limit=3)
    second = store.query(messages.page, jam.id, limit=3, cursor=first.next_cursor)
    assert said(second.items) == ["message 3", "message 4", "message 5"]
    assert store.query(messages.page, jam.id, limit=3, cursor=second.previous_cursor).items == first.items


@pytest.fixture(scope="module")
def mixed(lasting_store: Store) -> list[Message]:
    """Each role, with and without an instance, beside what another session said; in order."""
    session = make(lasting_store, SessionFactory)
    made = make_many(
        lasting_store,
        MessageFactory,
        *[{"role": list(MessageRole)[n % 3], "instance_id": (None, 0, 1, 0)[n % 4]} for n in range(36)],
        session_id=session.id,
    )
    make(lasting_store, MessageFactory, instance_id=0)
    return made


FILTERS = [
    pytest.param({"role": role, "instance_id": instance_id}, id=f"{role or 'any role'}, {instance_id}")
    for role in (None, "user", MessageRole.SYSTEM)
    for instance_id in (None, 0, 1, 7)
]


def chosen(all_: list[Message], role: str | None, instance_id: int | None) -> list[Message]:
    return [each for each in all_ if role in {None, each.role} and instance_id in {None, each.instance_id}]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("newest_first", [False, True], ids=["as it went", "newest first"])
def test_pages_of_messages_hold_the_filtered_ones_in_order(
    lasting_store: Store, mixed: list[Message], filters: dict[str, Any], newest_first: bool
) -> None:
    expected = chosen(mixed[::-1] if newest_first else mixed, **filters)
    key = mixed[0].session_id
    assert lasting_store.query(messages.page, key, newest_first=newest_first, **filters).items == expected
    found = messages.iterate(lasting_store, key, newest_first=newest_first, page_size=4, **filters)
    assert list(found) == expected


@pytest.mark.parametrize("filters", FILTERS)
def test_message_count_honours_the_filters(lasting_store: Store, mixed: list[Message], filters: dict[str, Any]) -> None:
    assert lasting_store.query(messages.count, mixed[0].session_id, **filters) == len(chosen(mixed, **filters))


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("newest_first", [False, True], ids=["as it went", "newest first"])
def test_a_page_of_messages_uses_the_index_of_its_filter(
    lasting_store: Store, mixed: list[Message], filters: dict[str, Any], newest_first: bool
) -> None:
    with recorded(lasting_store) as sent:
        lasting_store.query(messages.page, mixed[0].session_id, newest_first=newest_first, limit=1, **filters)
    serving = "session" if filters["role"] is None else "role"
    if filters["instance_id"] is not None:
        serving = "instance"
    if lasting_store.backend == "sqlite":  # PostgreSQL reads a table of one block at once
        assert [index for each in sent for index in indexes_of(lasting_store, each)] == [f"ix_messages_by_{serving}"]
    assert len(sent) == 1


@pytest.mark.parametrize("limit", [1, 5, 36, 1000])
def test_the_last_messages_come_oldest_first(lasting_store: Store, mixed: list[Message], limit: int) -> None:
    assert lasting_store.query(messages.last, mixed[0].session_id, limit) == mixed[-limit:]


def test_a_missing_session_has_no_messages(lasting_store: Store) -> None:
    assert lasting_store.query(messages.page, "nowhere").items == []
    assert lasting_store.query(messages.last, "nowhere") == []
    assert lasting_store.query(messages.count, "nowhere") == 0


@pytest.mark.parametrize("operation", [messages.page, messages.count])
@pytest.mark.parametrize("role", [role for role in BAD_ROLES if role.id != "nothing"])
def test_a_message_filter_by_an_invalid_role_is_refused(
    lasting_store: Store, lasting_jam: Session, operation: Callable[..., object], role: Any
) -> None:
    for instance_id in (None, 0):
        with pytest.raises(InvalidInput, match="user, assistant, system"):
            lasting_store.query(operation, lasting_jam.id, role=role, instance_id=instance_id)


@pytest.mark.parametrize("operation", [messages.page, messages.count])
@pytest.mark.parametrize("instance_id", BAD_COUNTS)
def test_a_message_filter_by_an_invalid_instance_is_refused(
    lasting_store: Store, lasting_jam: Session, operation: Callable[..., object], instance_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, lasting_jam.id, instance_id=instance_id)
    assert caught.value.field == "instance_id"


@pytest.mark.parametrize("newest_first", [None, 0, 1, "yes", "", []])
def test_an_invalid_order_of_messages_is_refused(lasting_store: Store, lasting_jam: Session, newest_first: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(messages.page, lasting_jam.id, newest_first=newest_first)
    with pytest.raises(InvalidInput, match="newest_first"):
        list(messages.iterate(lasting_store, lasting_jam.id, newest_first=newest_first))
    assert caught.value.field == "newest_first"


@pytest.mark.parametrize("limit", [0, 1001, -1, True, "5"])
def test_an_invalid_number_of_last_messages_is_refused(lasting_store: Store, lasting_jam: Session, limit: Any) -> None:
    with pytest.raises(InvalidInput, match="from 1 to 1,000"):
        lasting_store.query(messages.last, lasting_jam.id, limit)


def test_a_messages_cursor_is_tied_to_its_role_however_spelled(store: Store, jam: Session) -> None:
    store.run(messages.append_many, jam.id, numbered(9))
    cursor = store.query(messages.page, jam.id, limit=1, role="user").next_cursor
    page = store.query(messages.page, jam.id, limit=1, role=MessageRole.USER, cursor=cursor)
    assert said(page.items) == ["message 3"]
    with pytest.raises(InvalidInput, match="cursor"):
        store.query(messages.page, jam.id, limit=1, role="system", cursor=cursor)


# Between


@pytest.fixture(scope="module")
def timed(lasting_store: Store) -> list[Message]:
    """One message a minute, appended against the order of their times, beside another session's."""
    session = make(lasting_store, SessionFactory)
    made = make_many(
        lasting_store,
        MessageFactory,
        *[{"created_at": EPOCH + timedelta(minutes=n)} for n in reversed(range(20))],
        session_id=session.id,
    )
    make(lasting_store, MessageFactory, created_at=EPOCH + timedelta(minutes=5))
    return made[::-1]


@given(start=st.integers(0, 21), length=st.integers(0, 21), limit=st.integers(1, 8))
def test_messages_between_two_times_include_the_first_but_not_the_last(
    lasting_store: Store, timed: list[Message], start: int, length: int, limit: int
) -> None:
    first = EPOCH + timedelta(minutes=start)
    beyond = first + timedelta(minutes=length)
    found = list(lasting_store.iterate(messages.between, timed[0].session_id, first, beyond, limit=limit))
    assert found == timed[start : start + length]


def test_messages_between_two_times_use_the_index_of_times(lasting_store: Store, timed: list[Message]) -> None:
    with recorded(lasting_store) as sent:
        lasting_store.query(messages.between, timed[0].session_id, EPOCH, EPOCH + timedelta(minutes=3))
    if lasting_store.backend == "sqlite":
        assert [index for each in sent for index in indexes_of(lasting_store, each)] == ["ix_messages_by_created_at"]
    assert len(sent) == 1


@pytest.mark.parametrize("time", [*BAD_TIMES, *cases(nothing=None)])
@pytest.mark.parametrize("field", ["start", "end"])
def test_a_range_of_messages_with_an_invalid_time_is_refused(
    lasting_store: Store, lasting_jam: Session, field: str, time: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(messages.between, lasting_jam.id, **{"start": EPOCH, "end": EPOCH, field: time})
    assert caught.value.field == field


def test_a_backwards_range_of_messages_is_refused(lasting_store: Store, lasting_jam: Session) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(messages.between, lasting_jam.id, EPOCH, EPOCH - timedelta(microseconds=1))
    assert caught.value.field == "end"


# While the log grows


def test_iterating_messages_meets_those_appended_meanwhile(store: Store, other: Store, jam: Session) -> None:
    store.run(messages.append_many, jam.id, numbered(4))
    met = []
    for message in messages.iterate(other, jam.id, page_size=2):
        met.append(message.content)
        if message.content.startswith("message"):
            store.run(messages.append, jam.id, "user", f"new {message.content}")
    assert met == [f"message {n}" for n in range(4)] + [f"new message {n}" for n in range(4)]


def test_a_message_log_id_is_never_reused(store: Store, jam: Session) -> None:
    doomed = make(store, MessageFactory)
    store.run(sessions.delete, doomed.session_id)
    assert (store.run(messages.append, jam.id, "user", "Here.").id or 0) > (doomed.id or 0)


def test_deleting_a_session_deletes_its_messages(store: Store, other: Store, jam: Session) -> None:
    store.run(messages.append_many, jam.id, numbered(3))
    kept = make(store, MessageFactory)
    store.run(sessions.delete, jam.id)
    assert other.query(messages.count, jam.id) == 0
    assert other.query(messages.count, kept.session_id) == 1


def test_messages_and_history_of_a_session_are_separate_logs(store: Store, jam: Session) -> None:
    store.run(history.append, jam.id, "play")
    store.run(messages.append, jam.id, "user", "Here.")
    assert store.query(history.count, jam.id) == store.query(messages.count, jam.id) == 1
