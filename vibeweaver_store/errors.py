"""Everything that can go wrong, as one family of exceptions.

Each class has a stable :attr:`~StoreError.code` for programs, and a message for people that names the thing
and says what to do. A driver's exception is never raised bare: it is the ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar


class StoreError(Exception):
    """The root of every error that this package raises.

    Attributes:
        code: a stable word for programs, the same for every instance of a class.
        transient: the operation was rolled back whole, and the same call may succeed when repeated.
    """

    code: ClassVar[str] = "store_error"

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0])


class NotFound(StoreError):
    """What was asked for does not exist. ``entity`` is its kind, ``key`` what it was looked up by."""

    code = "not_found"

    def __init__(self, entity: str, key: object) -> None:
        super().__init__(f"no {entity} {key!r}" if key != "" else f"no such {entity}")
        self.entity = entity
        self.key = key


class AlreadyExists(StoreError):
    """A thing with this key is there already. ``entity`` is its kind, ``key`` the key in conflict."""

    code = "already_exists"

    def __init__(self, entity: str, key: object) -> None:
        super().__init__(f"{entity} {key!r} exists already")
        self.entity = entity
        self.key = key


class InvalidInput(StoreError):
    """A value was refused before anything was written. ``field`` names it, where one value is to blame."""

    code = "invalid_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class IllegalTransition(StoreError):
    """A thing cannot move from the state it is in. ``allowed`` lists the states it could move to."""

    code = "illegal_transition"

    def __init__(self, entity: str, key: object, current: str, wanted: str, allowed: Sequence[str] = ()) -> None:
        may = f"; it may become {', '.join(allowed)}" if allowed else ""
        super().__init__(f"{entity} {key!r} is {current} and cannot become {wanted}{may}")
        self.entity = entity
        self.key = key
        self.current = current
        self.wanted = wanted
        self.allowed = tuple(allowed)


class StaleWrite(StoreError):
    """A thing was changed by somebody else since it was read. ``current`` is the row as it is now."""

    code = "stale_write"

    def __init__(self, entity: str, key: object, expected: int, current: Any) -> None:
        super().__init__(
            f"{entity} {key!r} is at version {current.version}, not {expected}: somebody else changed it; "
            "look at it as it is now, and try again"
        )
        self.entity = entity
        self.key = key
        self.expected = expected
        self.current = current


class AlreadyClaimed(StoreError):
    """Somebody else is at work on a thing. ``by`` says who, ``until`` when their claim ends unless it is renewed."""

    code = "already_claimed"

    def __init__(self, entity: str, key: object, by: str, until: datetime) -> None:
        super().__init__(f"{entity} {key!r} is claimed by {by!r} until {until:%Y-%m-%d %H:%M:%SZ}")
        self.entity = entity
        self.key = key
        self.by = by
        self.until = until


class LeaseLost(StoreError):
    """A job is not held any more by who would write of it: its lease expired, or it was taken over, ended or cancelled.

    Nothing was written; what was done of the job is somebody else's to do, or was called off.
    """

    code = "lease_lost"

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"the lease of job {job_id!r} is lost: {why}; leave the job, nothing was written")
        self.job_id = job_id
        self.why = why


class StoreBusy(StoreError):
    """Others held the database for longer than the busy timeout. ``waited``: how long this call did, in seconds."""

    code = "store_busy"

    def __init__(self, message: str, *, waited: float = 0.0, transient: bool = False) -> None:
        super().__init__(message, transient=transient)
        self.waited = waited


class StoreUnavailable(StoreError):
    """The database cannot be reached, opened or written: wrong place, no permission, full disk, server gone."""

    code = "store_unavailable"


class SchemaMismatch(StoreError):
    """The database has another schema than this version of the package.

    ``found`` is the revision in the database (``None`` where it has none), ``expected`` the newest that is known here.
    """

    code = "schema_mismatch"

    def __init__(self, message: str, *, found: str | None, expected: str) -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


class CorruptData(StoreError):
    """What was read is not what was written: a damaged page, a checksum that does not hold, an unreadable document."""

    code = "corrupt_data"


class MigrationFailed(StoreError):
    """A migration was rolled back; the database is as it was. ``backup`` is the copy made before, if any."""

    code = "migration_failed"

    def __init__(self, message: str, *, backup: Any = None) -> None:
        super().__init__(message)
        self.backup = backup


class ImportRejected(StoreError):
    """Foreign data could not be read, and nothing of it was kept. ``source`` names the file."""

    code = "import_rejected"

    def __init__(self, source: object, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = str(source)
        self.reason = reason


class NetworkFileSystemWarning(UserWarning):
    """The database lies on a network file system, where SQLite's locks and WAL cannot be relied on."""
