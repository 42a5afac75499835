"""The stores that applications hold: the kernel's, with what of the domain is asked of a store itself."""

from __future__ import annotations

from vibeweaver_store import async_store, store
from vibeweaver_store.models.job import Job
from vibeweaver_store.services.job_leases import AsyncLease, Lease
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

    def lease(self, job: Job) -> Lease:
        """Return the hold of a claimed job: units of work that are committed only while it is held.

        Raises:
            InvalidInput: the job was never claimed.
        """
        return Lease(self, job)

    async def for_asyncio(self) -> AsyncStore:
        """Open an AsyncStore on the same database, with the same settings and clock, in the running event loop.

        Raises:
            StoreUnavailable: a driver for asyncio is missing, or the database cannot be reached.
        """
        database = self._target.url if self._target.path is None else self._target.path
        return await AsyncStore.open(database, migrate=False, settings=self._settings, clock=self._clock)


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

    def lease(self, job: Job) -> AsyncLease:
        """Return the hold of a claimed job: units of work that are committed only while it is held.

        Raises:
            InvalidInput: the job was never claimed.
        """
        return AsyncLease(self, job)
