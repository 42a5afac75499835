"""An AsyncStore with the face of a Store, so that one test can be run on either.

A test that is driven "async" runs, with its fixtures, within one greenlet of SQLAlchemy's on an event loop: there plain
code can await. See ``pytest_runtest_protocol`` in conftest.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast

import pytest
from _pytest.runner import runtestprotocol
from sqlalchemy.util.concurrency import await_, greenlet_spawn, in_greenlet

from vibeweaver_store import AsyncStore, ReadUnitOfWork, Store, UnitOfWork
from vibeweaver_store.services.job_leases import AsyncLease, Lease
from vibeweaver_store.services.rule_book import RuleBook

T = TypeVar("T")

DRIVES = ["sync", "async"]


@lru_cache(maxsize=1)
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def is_async(item: pytest.Item) -> bool:
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    lasting: Any = params.get("lasting", ("",))
    return "async" in (params.get("drive"), lasting[0])


def run_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run set-up, call and teardown of a test on the event loop."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    _runner().run(greenlet_spawn(runtestprotocol, item, nextitem=nextitem))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


@contextmanager
def opened(drive: str, database: str, **options: Any) -> Iterator[Store]:
    """A store on a database, on the driver that is asked for."""
    if drive == "sync":
        with Store.open(database, **options) as store:
            yield store
        return
    driven = _DrivenStore(await_(AsyncStore.open(database, **options)))
    try:
        yield cast("Store", driven)
    finally:
        driven.close()


class _DrivenStore:
    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def begin(self) -> Any:
        return _block(self._store.begin())

    def read(self) -> Any:
        return _block(self._store.read())

    def run(self, operation: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        return await_(self._store.run(operation, *args, **kwargs))

    def query(self, operation: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        return await_(self._store.query(operation, *args, **kwargs))

    def iterate(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return _each(self._store.iterate(*args, **kwargs))

    def follow(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        return _each(self._store.follow(*args, **kwargs))

    def rule_book(self, session_id: str) -> RuleBook:
        return cast("RuleBook", _DrivenBook(self._store, session_id))

    def lease(self, job: Any) -> Lease:
        return cast("Lease", _DrivenLease(self._store.lease(job)))

    def close(self) -> None:
        if in_greenlet():
            await_(self._store.close())
        else:  # pytest tears down after its last test
            _runner().run(self._store.close())

    def __enter__(self) -> _DrivenStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _DrivenBook:
    def __init__(self, store: AsyncStore, session_id: str) -> None:
        self._book = store.rule_book(session_id)

    def match(self, signal: Any) -> Any:
        return await_(self._book.match(signal))

    def fire(self, signal: Any) -> Any:
        return await_(self._book.fire(signal))


class _DrivenLease:
    def __init__(self, lease: AsyncLease) -> None:
        self._lease = lease

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)

    def begin(self) -> Any:
        return _block(self._lease.begin())

    def renew(self, *args: Any) -> Any:
        return await_(self._lease.renew(*args))

    def set_progress(self, *args: Any) -> Any:
        return await_(self._lease.set_progress(*args))

    def complete(self, *args: Any) -> Any:
        return await_(self._lease.complete(*args))

    def __enter__(self) -> _DrivenLease:
        await_(self._lease.__aenter__())
        return self

    def __exit__(self, *raised: Any) -> None:
        await_(self._lease.__aexit__(*raised))


@contextmanager
def _block(block: AbstractAsyncContextManager[Any]) -> Iterator[UnitOfWork | ReadUnitOfWork]:
    uow = await_(block.__aenter__())
    try:
        yield uow._uow
    except BaseException as error:
        if not await_(_leave(block, type(error), error, error.__traceback__)):
            raise
    else:
        await_(_leave(block, None, None, None))


async def _leave(block: AbstractAsyncContextManager[Any], *raised: Any) -> bool | None:
    return await block.__aexit__(*raised)


def _each(items: Any) -> Iterator[Any]:
    try:
        while True:
            yield await_(anext(items))
    except StopAsyncIteration:
        return
    finally:
        await_(items.aclose())
