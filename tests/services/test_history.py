"""History: what was done in a session. The log only grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import recorded_statements
from tests.services.bad_input import BAD_BOOLEANS, BAD_IDS, BAD_NAMES, NO_TEXT, VERBATIM, cases
from tests.services.scene import make, make_many, params_of
from vibeweaver_store import HistoryEntry, InvalidInput, NotFound, Session, Store, history, sessions
from vibeweaver_store.testing import HistoryEntryFactory, SessionFactory, SettableClock, columns_of

# Append


def test_a_new_history_entry_is_read_back_as_it_was_made(store: Store, other: Store, jam: Session) -> None:
    made = store.run(history.append, jam.id, "sample", params={"space": "drums"}, result=["a.wav"], success=False)
    (found,) = other.query(history.recent, jam.id)
    assert columns_of(found) == columns_of(made)


def test_a_new_history_entry_has_the_values_it_was_given(
    store: Store, other: Store, jam: Session, clock: SettableClock
) -> None:
    store.run(history.append, jam.id, "sample", params={"space": "drums"}, result=["a.wav"], success=False)
    (found,) = other.query(history.recent, jam.id)
    assert (found.session_id, found.action, found.created_at) == (jam.id, "sample", clock.instant)
    assert (found.params, found.result, found.success) == ({"space": "drums"}, ["a.wav"], False)


def test_a_new_history_entry_is_a_success_without_documents(store: Store, jam: Session) -> None:
    made = store.run(history.append, jam.id, "play")
    assert (made.params, made.result, made.success) == (None, None, True)


@pytest.mark.parametrize("document", [{}, [], "", 0, 0.0, False, "null", "text", -1, 1.5, True], ids=repr)
def test_a_history_entry_takes_any_json_value_as_a_document(lasting_store: Store, document: Any) -> None:
    session = make(lasting_store, SessionFactory)
    lasting_store.run(history.append, session.id, "sample", params=document, result=document)
    (found,) = lasting_store.query(history.recent, session.id)
    assert (found.params, found.result) == (document, document)
    assert (type(found.params) is bool) == (type(document) is bool)


@pytest.mark.parametrize("text", VERBATIM)
def test_history_entry_texts_are_kept_verbatim(lasting_store: Store, text: str) -> None:
    session = make(lasting_store, SessionFactory)
    lasting_store.run(history.append, session.id, text, params={text: text})
    (found,) = lasting_store.query(history.recent, session.id)
    assert (found.action, found.params) == (text, {text: text})


def test_the_longest_history_action_is_kept(lasting_store: Store, lasting_jam: Session) -> None:
    # 1,000 bytes that do not compress, beside an id of 200: a B-tree of PostgreSQL holds 2,704 a row.
    action = "".join(chr(0x20000 + 7919 * n % 42_000) for n in range(250))
    lasting_store.run(history.append, lasting_jam.id, action)
    assert lasting_store.query(history.count, lasting_jam.id, action=action) == 1


# Append many


def test_many_history_entries_are_kept_in_the_order_given(store: Store, other: Store, jam: Session) -> None:
    new = (history.NewEntry("sample", params={"n": n}, success=n % 7 != 0) for n in range(10_000))
    assert store.run(history.append_many, jam.id, new) == 10_000
    found = list(history.iterate(other, jam.id, oldest_first=True))
    assert [(params_of(entry)["n"], entry.success) for entry in found] == [(n, n % 7 != 0) for n in range(10_000)]


def test_history_entries_appended_together_equal_those_appended_singly(
    store: Store, other: Store, jam: Session
) -> None:
    new = history.NewEntry("sample", {"space": "drums"}, ["a.wav"], False)
    store.run(history.append_many, jam.id, [new])
    store.run(history.append, jam.id, new.action, params=new.params, result=new.result, success=new.success)
    one, another = (columns_of(entry) for entry in other.query(history.recent, jam.id))
    assert one | {"id": None} == another | {"id": None}


def test_a_bad_history_entry_among_many_leaves_none(store: Store, other: Store, jam: Session) -> None:
    new = [history.NewEntry("sample")] * 1500 + [history.NewEntry("sample", params={"nan": float("nan")})]
    with pytest.raises(InvalidInput):
        store.run(history.append_many, jam.id, new)
    assert other.query(history.count, jam.id) == 0


def test_an_error_in_the_iterable_of_history_entries_leaves_none(store: Store, other: Store, jam: Session) -> None:
    def failing() -> Iterator[history.NewEntry]:
        yield from [history.NewEntry("sample")] * 1500
        raise OSError("the file ends here")

    with pytest.raises(OSError, match="ends here"):
        store.run(history.append_many, jam.id, failing())
    assert other.query(history.count, jam.id) == 0


def test_appending_no_history_entries_returns_zero(store: Store, jam: Session) -> None:
    assert store.run(history.append_many, jam.id, []) == 0


@pytest.mark.parametrize(
    "append",
    [
        lambda uow: history.append(uow, "nowhere", "sample"),
        lambda uow: history.append_many(uow, "nowhere", [history.NewEntry("sample")]),
        lambda uow: history.append_many(uow, "nowhere", []),
    ],
    ids=["append", "append_many", "append_many of none"],
)
def test_a_history_entry_of_a_missing_session_is_refused(lasting_store: Store, append: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        lasting_store.run(append)


@pytest.mark.parametrize("action", BAD_NAMES)
def test_an_invalid_history_action_is_refused(lasting_store: Store, lasting_jam: Session, action: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(history.append, lasting_jam.id, action)
    assert caught.value.field == "action"


@pytest.mark.parametrize("success", BAD_BOOLEANS)
def test_an_invalid_history_success_flag_is_refused(lasting_store: Store, lasting_jam: Session, success: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(history.append, lasting_jam.id, "sample", success=success)
    assert caught.value.field == "success"


@pytest.mark.parametrize("session_id", BAD_IDS)
@pytest.mark.parametrize(
    "operation",
    [
        lambda uow, key: history.append(uow, key, "sample"),
        lambda uow, key: history.append_many(uow, key, []),
        history.recent,
        history.page,
        history.count,
    ],
    ids=["append", "append_many", "recent", "page", "count"],
)
def test_history_of_an_invalid_session_id_is_refused(
    lasting_store: Store, operation: Callable[..., object], session_id: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.run(operation, session_id)
    assert caught.value.field == "session_id"


# Ids


def test_history_entry_ids_rise(store: Store, jam: Session) -> None:
    made = make_many(store, HistoryEntryFactory, {}, {}, {}, session_id=jam.id)
    ids = [entry.id or 0 for entry in made]
    assert ids == sorted(set(ids))


def test_a_history_entry_id_is_never_reused(store: Store, jam: Session) -> None:
    doomed = make(store, HistoryEntryFactory)
    newest = make(store, HistoryEntryFactory, session_id=doomed.session_id)
    store.run(sessions.delete, doomed.session_id)
    assert (store.run(history.append, jam.id, "play").id or 0) > (newest.id or 0)


# Recent, page and count


@pytest.fixture(scope="module")
def mixed(lasting_store: Store) -> list[HistoryEntry]:
    """Three sorts of entry in one session, a third of them failures, beside another session's; oldest first."""
    session = make(lasting_store, SessionFactory)
    made = make_many(
        lasting_store,
        HistoryEntryFactory,
        *[{"action": ("sample", "play", "rule.fired")[n % 3], "success": n % 4 != 0} for n in range(24)],
        session_id=session.id,
    )
    make(lasting_store, HistoryEntryFactory)
    return made


FILTERS = [
    pytest.param({"action": action, "success": success}, id=f"{action or 'any action'}, {words}")
    for action in (None, "sample", "play", "never done")
    for success, words in ((None, "however it went"), (True, "successes"), (False, "failures"))
]


def chosen(entries: list[HistoryEntry], action: str | None, success: bool | None) -> list[HistoryEntry]:
    return [entry for entry in entries if action in {None, entry.action} and success in {None, entry.success}]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
def test_a_page_of_history_holds_the_filtered_entries_in_order(
    lasting_store: Store, mixed: list[HistoryEntry], filters: dict[str, Any], oldest_first: bool
) -> None:
    expected = chosen(mixed if oldest_first else mixed[::-1], **filters)
    page = lasting_store.query(history.page, mixed[0].session_id, oldest_first=oldest_first, **filters)
    assert page.items == expected


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
def test_iterating_history_gives_all_filtered_entries(
    lasting_store: Store, mixed: list[HistoryEntry], filters: dict[str, Any], oldest_first: bool
) -> None:
    expected = chosen(mixed if oldest_first else mixed[::-1], **filters)
    key = mixed[0].session_id
    assert list(history.iterate(lasting_store, key, oldest_first=oldest_first, page_size=5, **filters)) == expected


@pytest.mark.parametrize("filters", FILTERS)
def test_history_count_honours_the_filters(
    lasting_store: Store, mixed: list[HistoryEntry], filters: dict[str, Any]
) -> None:
    assert lasting_store.query(history.count, mixed[0].session_id, **filters) == len(chosen(mixed, **filters))


def test_recent_history_is_the_last_entries_newest_first(lasting_store: Store, mixed: list[HistoryEntry]) -> None:
    assert lasting_store.query(history.recent, mixed[0].session_id, 5) == mixed[:-6:-1]


def test_recent_history_is_fifty_entries_by_default(store: Store, jam: Session) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry("sample")] * 51)
    assert len(store.query(history.recent, jam.id)) == len(store.query(history.page, jam.id).items) == 50


def test_a_missing_session_has_no_history(lasting_store: Store) -> None:
    assert lasting_store.query(history.page, "nowhere").items == []
    assert lasting_store.query(history.count, "nowhere") == 0


@pytest.mark.parametrize("listed", [1, 300])
def test_a_page_of_history_takes_one_statement_however_much_there_is(store: Store, jam: Session, listed: int) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry("sample")] * listed)
    with recorded_statements(store) as sent:
        assert len(store.query(history.page, jam.id, limit=1000).items) == listed
    assert len(sent) == 1


@pytest.mark.parametrize("operation", [history.page, history.count])
@pytest.mark.parametrize("action", [*cases(**NO_TEXT), *cases(empty="", blank=" ", too_long="x" * 1001)])
def test_a_history_filter_by_an_invalid_action_is_refused(
    lasting_store: Store, lasting_jam: Session, operation: Callable[..., object], action: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, lasting_jam.id, action=action)
    assert caught.value.field == "action"


@pytest.mark.parametrize("operation", [history.page, history.count])
@pytest.mark.parametrize("success", cases(one=1, zero=0, text="true"))
def test_a_history_filter_by_an_invalid_success_flag_is_refused(
    lasting_store: Store, lasting_jam: Session, operation: Callable[..., object], success: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        lasting_store.query(operation, lasting_jam.id, success=success)
    assert caught.value.field == "success"


# Iterate while the log grows


def test_iterating_history_oldest_first_meets_entries_appended_meanwhile(
    store: Store, other: Store, jam: Session
) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry(f"old {n}") for n in range(6)])
    met = []
    for entry in history.iterate(other, jam.id, oldest_first=True, page_size=2):
        met.append(entry.action)
        if entry.action.startswith("old"):
            store.run(history.append, jam.id, f"new {entry.action}")
    assert met == [f"old {n}" for n in range(6)] + [f"new old {n}" for n in range(6)]


def test_iterating_history_newest_first_misses_entries_appended_meanwhile(
    store: Store, other: Store, jam: Session
) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry(f"old {n}") for n in range(6)])
    met = []
    for entry in history.iterate(other, jam.id, page_size=2):
        met.append(entry.action)
        store.run(history.append, jam.id, "new")
    assert met == [f"old {n}" for n in reversed(range(6))]


def test_iterating_history_holds_no_transaction_open(store: Store, jam: Session) -> None:
    store.run(history.append_many, jam.id, [history.NewEntry("sample")] * 5)
    held = [store._engines.in_use() for _ in history.iterate(store, jam.id, page_size=2)]
    assert held == [0] * 5


@pytest.mark.parametrize("page_size", [0, 1001, "5"])
def test_iterating_history_by_pages_of_an_invalid_size_is_refused(
    lasting_store: Store, lasting_jam: Session, page_size: Any
) -> None:
    with pytest.raises(InvalidInput):
        list(history.iterate(lasting_store, lasting_jam.id, page_size=page_size))
