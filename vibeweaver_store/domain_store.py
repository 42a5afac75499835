"""The stores that applications hold: the kernel's, with what of the domain is asked of a store itself."""

from __future__ import annotations

from vibeweaver_store import async_store, store
from vibeweaver_store.services.rule_book import AsyncRuleBook, RuleBook


class Store(store.Store):
    """A database of sessions, rules, markers, history and snapshots. Open one with :meth:`open`.

    Threads may share it. After ``fork`` the child has connections of its own. Close it, or use it as a context
    manager, to give its connections back.
    """

    def rule_book(self, session_id: str) -> RuleBook:
        """Return a session's rules as a book in memory that is never stale, to be asked on every tick.

        Raises:
            InvalidInput: the id is no text, or blank.
        """
        return RuleBook(self, session_id)


class AsyncStore(async_store.AsyncStore):
    """A :class:`Store` for asyncio, with the same promises. Open one with :meth:`open`.

    Tasks of the event loop that it was opened in may share it. Close it, or use it as an asynchronous context manager,
    to give its connections back.
    """

    def rule_book(self, session_id: str) -> AsyncRuleBook:
        """Return a session's rules as a book in memory that is never stale, to be asked on every tick.

        Raises:
            InvalidInput: the id is no text, or blank.
        """
        return AsyncRuleBook(self, session_id)
