"""What the logs of a session have in common: they only grow, and following them goes by their integer key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.columns import Count
from vibeweaver_store.paging import MAX_LIMIT, Order, Page, cursor_after
from vibeweaver_store.services.sessions import require_session, topic
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork
from vibeweaver_store.validation import require

T = TypeVar("T")


def follow_log(
    store: Store | AsyncStore,
    session_id: str,
    page: Callable[..., Page[T]],
    order: Order,
    *,
    after: int | str | None,
    idle_seconds: float | None,
) -> Iterator[T] | AsyncIterator[T]:
    """Yield a session's log, oldest first, and go on with what is appended; see :func:`history.follow`.

    Args:
        store: where; an :class:`AsyncStore` gives an asynchronous iterator.
        session_id: whose log.
        page: a page of it, oldest first; takes a unit of work, the session's id, ``limit`` and ``cursor``.
        order: the order of that page, by the integer key alone.
        after: the key of a row, or a cursor of ``page``, to begin behind; ``None`` begins with the first row.
        idle_seconds: end when nothing came for so long; ``None`` goes on until the store is closed.

    Raises:
        InvalidInput: ``after`` or ``idle_seconds`` is of a wrong type.
    """
    cursor: str | None
    if after is None or isinstance(after, str):
        cursor = after
    else:
        cursor = cursor_after(order, [require(Count, after, field="after")])

    def listing(uow: ReadUnitOfWork, cursor: str | None) -> Page[T]:
        require_session(uow, session_id)
        return page(uow, session_id, limit=MAX_LIMIT, cursor=cursor)

    return store.follow(listing, topic=topic(session_id), cursor=cursor, idle_seconds=idle_seconds)
