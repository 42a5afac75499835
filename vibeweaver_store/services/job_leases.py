"""Leases as objects: units of work that are committed only while the job is held. Callers find this in ``jobs``.

A worker that slept past its lease (a long pause of the process, a lost machine that comes back) must not write what its
successor does, too. So the token of the lease is checked within the transaction that commits, and the row of the job is
locked until then: nobody takes the job over in between. This is the fencing token of M. Kleppmann, "How to do
distributed locking" (2016), with the database as the resource that checks it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sqlmodel import col, select

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.async_unit_of_work import AsyncUnitOfWork
from vibeweaver_store.errors import LeaseLost
from vibeweaver_store.models.job import Job
from vibeweaver_store.services import job_ends
from vibeweaver_store.services.job_claims import heartbeat, set_progress
from vibeweaver_store.services.job_rows import DEFAULT_LEASE_SECONDS, Ended, hold_session, lease_of, lost
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork

StoreT = TypeVar("StoreT", Store, AsyncStore)


def hold(uow: UnitOfWork, job: Job) -> datetime:
    """Keep a claimed job from being taken over until the unit of work ends; return when its lease expires.

    Its session is held before it, as whoever deletes that does; the other way round would be a deadlock.

    Raises:
        LeaseLost: it is not held any more.
        NotFound: there is no such job any more.
        InvalidInput: the job was never claimed.
    """
    key, token = lease_of(job)
    hold_session(uow, key, job.session_id)
    held = select(col(Job.lease_expires_at)).where(col(Job.id) == key, col(Job.lease_token) == token)
    expires_at = uow.exec(held.with_for_update(key_share=True)).first()
    if expires_at is None or expires_at <= uow.now():
        raise lost(uow, job)
    return expires_at


def see_it_through(uow: UnitOfWork, job: Job, expires_at: datetime) -> None:
    """See that a lease has not expired while its unit of work was under way, before that is committed.

    Nobody can have taken the job over meanwhile; but who slept is not to write, and the clock tells that.

    Args:
        uow: the unit of work in which it is held.
        job: the job, as claimed.
        expires_at: when the lease was to expire, as :func:`hold` told; it may have been extended since.

    Raises:
        LeaseLost: it has expired.
    """
    uow.flush()
    extended = select(col(Job.lease_expires_at)).where(col(Job.id) == job.id, col(Job.lease_token) == job.lease_token)
    until = uow.exec(extended).first() or expires_at  # nothing: it was ended here
    if until <= uow.present():
        raise LeaseLost(job.id, f"it expired at {until:%Y-%m-%d %H:%M:%SZ}, while a unit of work was under way")


class _Hold(Generic[StoreT]):
    """What a lease is on either kind of store.

    Attributes:
        job: the job as it was claimed.
        lost: the lease is known to be lost, or over. A handler that takes long may look at it between steps, and leave.
        stopping: its worker was asked to end: finish soon, or leave the job, which is handed back.
    """

    def __init__(self, store: StoreT, job: Job) -> None:
        lease_of(job)
        self._store: StoreT = store
        self.job = job
        self.lost = False
        self.stopping = False

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        try:
            yield
        except LeaseLost:
            self.lost = True
            raise


class Lease(_Hold[Store]):
    """The hold of a claimed job: what is written through it lands only while it lasts.

    Make one with :meth:`vibeweaver_store.Store.lease`. Threads may share it. It ends nothing by itself: complete the
    job, within :meth:`begin` or by :meth:`complete`; else the lease expires, and another worker takes the job.
    """

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Begin a unit of work that is committed at the end of the block only if the job is still held.

        Complete the job in it, ``jobs.complete(uow, lease.job)``, and its effect and its end are one.

        Raises:
            LeaseLost: the lease was lost, or expired during the block; nothing was written.
            NotFound: there is no such job any more.
            StoreError: as :meth:`Store.begin`.
        """
        with self._noting_loss(), self._store.begin() as uow:
            expires_at = hold(uow, self.job)
            yield uow
            see_it_through(uow, self.job, expires_at)

    def renew(self, lease_seconds: float = DEFAULT_LEASE_SECONDS) -> Job:
        """Extend the lease to so long from now.

        Raises:
            LeaseLost: it is lost.
            NotFound: there is no such job any more.
            InvalidInput: ``lease_seconds`` is no finite number above 0.
        """
        with self._noting_loss():
            return self._store.run(heartbeat, self.job, lease_seconds=lease_seconds)

    def set_progress(self, done: int, total: int | None = None, note: str | None = None) -> Job:
        """Tell how far the work has come; see :func:`jobs.set_progress`.

        Raises:
            LeaseLost: the lease is lost.
            NotFound: there is no such job any more.
            InvalidInput: a value is refused.
        """
        with self._noting_loss():
            return self._store.run(set_progress, self.job, done, total, note)

    def complete(self, result: Any = None) -> Ended:
        """Complete the job in a unit of work of its own; see :func:`jobs.complete`.

        Raises:
            LeaseLost: the lease is lost.
            NotFound: there is no such job any more.
            InvalidInput: the result is no JSON.
        """
        with self._noting_loss():
            return self._store.run(job_ends.complete, self.job, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lost = True  # whoever keeps it further has no business with the job


class AsyncLease(_Hold[AsyncStore]):
    """A :class:`Lease` for asyncio, with the same promises. Make one with :meth:`vibeweaver_store.AsyncStore.lease`."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncUnitOfWork]:
        """Begin a unit of work as :meth:`Lease.begin` does.

        Raises:
            LeaseLost: the lease was lost, or expired during the block; nothing was written.
            NotFound: there is no such job any more.
            StoreError: as :meth:`AsyncStore.begin`.
        """
        with self._noting_loss():
            async with self._store.begin() as uow:
                expires_at = await uow.run(hold, self.job)
                yield uow
                await uow.run(see_it_through, self.job, expires_at)

    async def renew(self, lease_seconds: float = DEFAULT_LEASE_SECONDS) -> Job:
        """Extend the lease as :meth:`Lease.renew` does.

        Raises:
            LeaseLost: it is lost.
            NotFound: there is no such job any more.
            InvalidInput: ``lease_seconds`` is no finite number above 0.
        """
        with self._noting_loss():
            return await self._store.run(heartbeat, self.job, lease_seconds=lease_seconds)

    async def set_progress(self, done: int, total: int | None = None, note: str | None = None) -> Job:
        """Tell how far the work has come, as :meth:`Lease.set_progress` does.

        Raises:
            LeaseLost: the lease is lost.
            NotFound: there is no such job any more.
            InvalidInput: a value is refused.
        """
        with self._noting_loss():
            return await self._store.run(set_progress, self.job, done, total, note)

    async def complete(self, result: Any = None) -> Ended:
        """Complete the job as :meth:`Lease.complete` does.

        Raises:
            LeaseLost: the lease is lost.
            NotFound: there is no such job any more.
            InvalidInput: the result is no JSON.
        """
        with self._noting_loss():
            return await self._store.run(job_ends.complete, self.job, result)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lost = True
