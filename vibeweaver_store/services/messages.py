"""Messages: what was said in a session, in the order in which it was said. The log only grows.

The whole of it under one name: what is written here, and what stands in ``message_pages``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, overload

import sqlalchemy as sa
from sqlmodel import col, select

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.columns import Id, parse_enum
from vibeweaver_store.errors import AlreadyExists, NotFound
from vibeweaver_store.hot import HotRows
from vibeweaver_store.hot_insert import HotInsert
from vibeweaver_store.models.message import Message, MessageRole
from vibeweaver_store.paging import MAX_LIMIT
from vibeweaver_store.services.arguments import expect_many
from vibeweaver_store.services.import_rows import require_imports
from vibeweaver_store.services.logs import follow_log
from vibeweaver_store.services.message_pages import between, conversation, count, last, page, read_role
from vibeweaver_store.services.sessions import hold, topic
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

__all__ = [
    "IfExists",
    "NewMessage",
    "append",
    "append_many",
    "between",
    "count",
    "find",
    "follow",
    "get",
    "iterate",
    "last",
    "page",
]

_BATCH = 1000

IfExists: TypeAlias = Literal["error", "ignore"]
"""What becomes of a message whose id its session has already: it is refused, or passed over."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be appended, for :func:`append_many`; ``import_id`` is the import that brought it."""

    role: MessageRole | str
    content: str
    public_id: str | None = None
    instance_id: int | None = None
    created_at: datetime | None = None
    import_id: int | None = None


_MESSAGES: Final = HotInsert(Message)
_ONE: Final = HotRows(
    Message,
    select(Message).where(
        col(Message.session_id) == sa.bindparam("session_id"), col(Message.public_id) == sa.bindparam("public_id")
    ),
)


def append(
    uow: UnitOfWork,
    session_id: str,
    role: MessageRole | str,
    content: str,
    *,
    public_id: str | None = None,
    instance_id: int | None = None,
    created_at: datetime | None = None,
    if_exists: IfExists = "error",
) -> Message:
    """Append one message to a session's conversation, and return it.

    Args:
        uow: the unit of work to write in.
        session_id: in which session it was said.
        role: who said it: user, assistant, system or tool.
        content: what was said; not blank.
        public_id: an id of your own, once in a session; a UUIDv7 by default.
        instance_id: which instance of an arena it is of, from 0.
        created_at: when it was said, now by default. Its place in the conversation is the end all the same.
        if_exists: with ``"ignore"``, an id that the session has already is no error: what is there is returned.

    Raises:
        NotFound: there is no such session.
        InvalidInput: a value is refused.
        AlreadyExists: the session has a message of this id.
    """
    message = _build(uow, session_id, NewMessage(role, content, public_id, instance_id, created_at))
    ignored = _ignores(if_exists)
    hold(uow, session_id, active=public_id is None)
    there = None if public_id is None else find(uow, session_id, public_id)
    if there is not None and ignored:
        return there
    if there is not None:
        raise AlreadyExists("message", public_id)
    if public_id is not None:
        hold(uow, session_id)  # now it is certain that something is done
    uow.announce(topic(session_id))
    return _MESSAGES.insert(uow, message)


def append_many(
    uow: UnitOfWork, session_id: str, messages: Iterable[NewMessage], *, if_exists: IfExists = "error"
) -> int:
    """Append messages in the order given, a batch at a time, and return how many were new.

    With ``if_exists="ignore"`` a message whose id the session has already, or that came before in the same call, is
    passed over.

    Raises:
        NotFound: there is no such session, or no such import.
        InvalidInput: a message is refused; what was appended before it goes with the unit of work.
        AlreadyExists: an id is there already, or comes twice; likewise.
    """
    ignored = _ignores(if_exists)
    hold(uow, session_id, active=False)
    remaining = expect_many(NewMessage, messages, field="messages")
    count = 0
    while batch := list(islice(remaining, _BATCH)):
        given = [(new.public_id is not None, _build(uow, session_id, new)) for new in batch]
        fresh = _without_those_there(uow, session_id, given, ignored=ignored)
        require_imports(uow, {row["import_id"] for row in fresh})
        if fresh:
            uow.announce(topic(session_id))
            _MESSAGES.write_many(uow, fresh)
        count += len(fresh)
    if count:
        hold(uow, session_id)  # now it is certain that something was done
    return count


def _build(uow: ReadUnitOfWork, session_id: str, new: NewMessage) -> dict[str, Any]:
    own_id: dict[str, Any] = {} if new.public_id is None else {"public_id": new.public_id}
    values = {
        **own_id,
        "session_id": session_id,
        "content": new.content,
        "instance_id": new.instance_id,
        "created_at": uow.now() if new.created_at is None else new.created_at,
        "import_id": new.import_id,
    }
    return _MESSAGES.checked(values, role=parse_enum(MessageRole, new.role, field="role"))


def _ignores(if_exists: IfExists) -> bool:
    checked: str = require(IfExists, if_exists, field="if_exists")
    return checked == "ignore"


def _without_those_there(
    uow: ReadUnitOfWork, session_id: str, messages: list[tuple[bool, dict[str, Any]]], *, ignored: bool
) -> list[dict[str, Any]]:
    """Return the messages of a batch whose ids are new; nobody else appends to the session meanwhile."""
    # Only ids that were brought along can be there.
    brought = [message["public_id"] for own_id, message in messages if own_id]
    statement = select(col(Message.public_id)).where(col(Message.session_id) == session_id)
    there = set(uow.exec(statement.where(col(Message.public_id).in_(brought)))) if brought else set()
    fresh = []
    for _, message in messages:
        if message["public_id"] not in there:
            there.add(message["public_id"])
            fresh.append(message)
        elif not ignored:
            raise AlreadyExists("message", message["public_id"])
    return fresh


def get(uow: ReadUnitOfWork, session_id: str, public_id: str) -> Message:
    """Return a message of a session by its id.

    Raises:
        NotFound: there is none.
        InvalidInput: an id is no text, or blank.
    """
    message = find(uow, session_id, public_id)
    if message is None:
        raise NotFound("message", public_id)
    return message


def find(uow: ReadUnitOfWork, session_id: str, public_id: str) -> Message | None:
    """Return a message of a session by its id, or ``None``.

    Raises:
        InvalidInput: an id is no text, or blank.
    """
    session = require(Id, session_id, field="session_id")
    key = require(Id, public_id, field="public_id")
    return _ONE.first(uow, session_id=session, public_id=key)


def iterate(
    store: Store,
    session_id: str,
    *,
    role: MessageRole | str | None = None,
    instance_id: int | None = None,
    newest_first: bool = False,
    page_size: int = MAX_LIMIT,
) -> Iterator[Message]:
    """Yield all of a session's conversation, page by page; no transaction is held open in between.

    Messages appended meanwhile come where the order puts them: at the end; newest first, not at all.

    Raises:
        InvalidInput: as :func:`page` does; or the id is no text.
    """
    key = require(Id, session_id, field="session_id")
    return store.iterate(page, key, limit=page_size, role=role, instance_id=instance_id, newest_first=newest_first)


@overload
def follow(
    store: Store,
    session_id: str,
    *,
    after: int | str | None = None,
    role: MessageRole | str | None = None,
    instance_id: int | None = None,
    idle_seconds: float | None = None,
) -> Iterator[Message]: ...


@overload
def follow(
    store: AsyncStore,
    session_id: str,
    *,
    after: int | str | None = None,
    role: MessageRole | str | None = None,
    instance_id: int | None = None,
    idle_seconds: float | None = None,
) -> AsyncIterator[Message]: ...


def follow(
    store: Store | AsyncStore,
    session_id: str,
    *,
    after: int | str | None = None,
    role: MessageRole | str | None = None,
    instance_id: int | None = None,
    idle_seconds: float | None = None,
) -> Iterator[Message] | AsyncIterator[Message]:
    """Yield a session's conversation, and go on with what any process appends, as it is committed.

    None is missed and none comes twice: see :func:`vibeweaver_store.history.follow`.

    Args:
        store: where; an :class:`AsyncStore` gives an asynchronous iterator.
        session_id: whose conversation.
        after: the integer key of a message, or a cursor of :func:`page` (with the same filters), to begin behind; by
            default it begins with the first message, and with 0.
        role: only what this role said.
        instance_id: only what is of this instance.
        idle_seconds: end when nothing came for so long; by default it goes on until the store is closed.

    Raises:
        NotFound: there is no such session.
        InvalidInput: an argument is of a wrong type, or the cursor is not of this listing.
        StoreUnavailable: the store was closed meanwhile, or the database cannot be reached.
    """
    order = conversation(session_id, read_role(role), instance_id, newest_first=False)
    chosen = partial(page, role=role, instance_id=instance_id)
    return follow_log(store, session_id, chosen, order, after=after, idle_seconds=idle_seconds)
