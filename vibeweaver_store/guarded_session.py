"""A session that says so, typed, when it is used where it must not be, or after an error has undone it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import sqlmodel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import session as orm_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.identity import _WeakInstanceDict as WeakInstanceDict
from sqlalchemy.orm.state import InstanceState

from vibeweaver_store.errors import StoreError, StoreUnavailable
from vibeweaver_store.kept import KeptConnection

RowT = TypeVar("RowT", bound=sqlmodel.SQLModel)

_BLANK: Final = vars(sqlmodel.Session(expire_on_commit=False, execution_options={"populate_existing": True}))
"""What a session begins with. Tests see that none of it is shared that changes.

populate_existing: a row read again shows what statements have changed meanwhile, not a cached instance.
"""

_UNDONE: Final = "an error in this unit of work undid it; wrap what may fail in uow.savepoint()"


class GuardedSession(sqlmodel.Session):
    """What a unit of work is to SQLAlchemy: a session on one connection, which neither begins nor ends by itself.

    What a session keeps is made when it is first asked for: to make it takes as long as a transaction of SQLite, and
    most units of work run hot statements alone.
    """

    _kept: KeptConnection | None = None
    _failed = False
    _foreign = False
    _ended = False
    _is_session = False
    """Whether what a session keeps was made."""

    if not TYPE_CHECKING:  # type checkers are to find what is misspelt

        def __getattr__(self, name: str) -> Any:
            if name not in _BLANK or self._is_session:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self._become_session()
            return self.__dict__[name]

    def _become_session(self) -> None:
        self.__dict__.update(_BLANK)
        self.identity_map = WeakInstanceDict()
        self._new = {}
        self._deleted = {}
        self.bind = None if self._kept is None else self._kept.connection
        self.hash_key = orm_session._new_sessionid()  # noqa: SLF001 - as Session.__init__ does
        orm_session._sessions[self.hash_key] = self  # noqa: SLF001 - likewise
        self._is_session = True

    def _adopt(self, row: RowT, state: InstanceState[RowT], *, new: bool) -> RowT:
        """Take a row in; one that is there already is the one that it has, with the values that it has now."""
        assert state.key is not None  # noqa: S101 - it was made of a whole row
        known = self.identity_map.get(state.key)
        if known is not None:
            there = instance_state(known)
            there.dict.update({name: value for name, value in state.dict.items() if value is not state})
            there._commit_all(there.dict, self.identity_map)  # noqa: SLF001 - as a loader does
            return known
        self.identity_map.add(state)
        state.session_id = self.hash_key
        if new and self._transaction is not None:
            self._transaction._new[state] = True  # noqa: SLF001 - as a flush does
        return row

    if not TYPE_CHECKING:  # type checkers see sqlmodel's own overloads

        def exec(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlmodel.Session.exec`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super().exec(*args, **kwargs)

        def execute(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlalchemy.orm.Session.execute`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super(sqlmodel.Session, self).execute(*args, **kwargs)

        def scalars(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlalchemy.orm.Session.scalars`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super().scalars(*args, **kwargs)

        def scalar(self, *args: Any, **kwargs: Any) -> Any:
            """Run a statement. See :meth:`sqlalchemy.orm.Session.scalar`.

            Raises:
                StoreError: the statement failed; or an earlier error undid this unit of work, or it has ended.
            """
            with self._noting_failure():
                return super().scalar(*args, **kwargs)

        def flush(self, *args: Any, **kwargs: Any) -> None:
            """Write edits of rows now. See :meth:`sqlalchemy.orm.Session.flush`.

            Raises:
                StoreError: the unit of work has ended.
            """
            self._check_present()
            if self._is_session:
                super().flush(*args, **kwargs)

        def refresh(self, *args: Any, **kwargs: Any) -> None:
            """Read a row anew. See :meth:`sqlalchemy.orm.Session.refresh`.

            Raises:
                StoreError: the unit of work has ended.
            """
            self._check_present()
            super().refresh(*args, **kwargs)

        def get_bind(self, *args: Any, **kwargs: Any) -> Any:
            """Return the engine, which SQLAlchemy asks for before whatever it sends.

            Raises:
                StoreError: the unit of work has ended; a session would begin another transaction by itself.
            """
            self._check_present()
            return super().get_bind(*args, **kwargs)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreError(
            "a unit of work is committed by leaving its block, and undone by raising an exception out of it; "
            "what may fail goes into uow.savepoint()"
        )

    begin = begin_nested = commit = rollback = close = reset = invalidate = _refuse

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Remember an error, which undoes the unit of work on either backend, though it were swallowed.

        So does what interrupts a statement (Ctrl-C, a task that is cancelled): how far it went is not known.
        """
        self._check_usable()
        try:
            with typed():
                yield
        except BaseException as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        if isinstance(error, StoreError) or not isinstance(error, Exception):
            self._failed = True

    def _check_present(self) -> None:
        if self._foreign:
            raise StoreUnavailable("this unit of work belongs to the parent process; begin one of your own")
        if self._ended:
            raise StoreError("this unit of work has ended; begin another one")

    def _check_usable(self) -> None:
        self._usable()
        if not self.is_active:
            raise StoreError(_UNDONE)

    def _usable(self) -> KeptConnection:
        if self._foreign or self._ended:
            self._check_present()
        kept = self._kept
        if kept is None or self._failed or kept.is_undone:
            raise StoreError(_UNDONE)
        return kept


@contextmanager
def typed() -> Iterator[None]:
    """Turn what SQLAlchemy raises of itself, in the block, into ours.

    Raises:
        StoreError: in its place.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"the unit of work failed: {error}") from error
