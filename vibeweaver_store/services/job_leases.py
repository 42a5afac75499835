"""Leases as objects: units of work that are committed only while the job is held. Callers find this in ``jobs``.

A worker that slept past its lease (a long pause of the process, a lost machine that comes back) must not write what its
successor does, too. So the token of the lease is checked within the transaction that commits, and the row of the job is
locked until then: nobody takes the job over in between. This is the fencing token of M. Kleppmann, "How to do
distributed locking" (2016), with the database as the resource that checks it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import sqlalchemy as sa
from sqlmodel import col

from vibeweaver_store.async_store import AsyncStore
from vibeweaver_store.async_unit_of_work import AsyncUnitOfWork
from vibeweaver_store.errors import LeaseLost
from vibeweaver_store.hot import Hot
from vibeweaver_store.models.job import Job
from vibeweaver_store.services import job_ends
from vibeweaver_store.services.job_claims import heartbeat, set_progress
from vibeweaver_store.services.job_rows import (
    DEFAULT_LEASE_SECONDS,
    Ended,
    find,
    hold_session,
    lease_of,
    lost,
    note_lease,
    noted_end,
    noted_lease,
)
from vibeweaver_store.store import Store
from vibeweaver_store.unit_of_work import UnitOfWork

StoreT = TypeVar("StoreT", Store, AsyncStore)


def hold(uow: UnitOfWork, job: Job) -> None:
    """Keep a claimed job from being taken over until the unit of work ends.

    Its session is held before it, as whoever deletes that does; the other way round would be a deadlock.

    Raises:
        LeaseLost: it is not held any more.
        NotFound: there is no such job any more.
        InvalidInput: the job was never claimed.
    """
    key, token = lease_of(job)
    hold_session(uow, key, job.session_id)
    held = _HOLD.first(uow, id=key, token=token)
    if held is None or held[0] <= uow.present():
        raise lost(uow, job)
    note_lease(uow, key, held[0])


_HOLD: Final = Hot(
    sa.select(col(Job.lease_expires_at))
    .where(col(Job.id) == sa.bindparam("id"), col(Job.lease_token) == sa.bindparam("token"))
    .with_for_update(key_share=True)
)


def see_it_through(uow: UnitOfWork, job: Job) -> Ended | None:
    """See that a lease has not expired while its unit of work was under way, before that is committed.

    Nobody can have taken the job over meanwhile; but who slept is not to write, and the clock tells that. Returns how
    the job was ended in the unit of work, if it was.

    Raises:
        LeaseLost: it has expired.
    """
    uow.flush()
    until = noted_lease(uow, job.id)
    if until is not None and until <= uow.present():
        raise LeaseLost(job.id, f"it expired at {until:%Y-%m-%d %H:%M:%SZ}, while a unit of work was under way")
    ended = noted_end(uow, job.id)
    return None if ended is None or _is_held(uow, job) else ended  # what a savepoint has undone is noted still


def _is_held(uow: UnitOfWork, job: Job) -> bool:
    found = find(uow, job.id)
    return found is not None and found.lease_token == job.lease_token


class _Hold(Generic[StoreT]):
    """What a lease is on either kind of store.

    Attributes:
        job: the job as it was claimed.
        lost: the lease is known to be lost, or over. A handler that takes long may look at it between steps, and leave.
        stopping: its worker was asked to end: finish soon, or leave the job, which is handed back.
        ended: how the job was ended through this lease, with the firings to be acted on; nothing while it is not.
    """

    def __init__(self, store: StoreT, job: Job) -> None:
        lease_of(job)
        self._store: StoreT = store
        self.job = job
        self.lost = False
        self.stopping = False
        self.ended: Ended | None = None

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
            hold(uow, self.job)
            yield uow
            ended = see_it_through(uow, self.job)
        self.ended = ended or self.ended

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
            self.ended = self._store.run(job_ends.complete, self.job, result)
        return self.ended

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
                await uow.run(hold, self.job)
                yield uow
                ended = await uow.run(see_it_through, self.job)
            self.ended = ended or self.ended

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
            self.ended = await self._store.run(job_ends.complete, self.job, result)
        return self.ended

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lost = True
