"""A clock for tests: time passes when the test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vibeweaver_store.errors import InvalidInput


class SettableClock:
    """A clock that stands still until it is told to go on: ``Store.open(…, clock=SettableClock())``.

    Attributes:
        instant: what it shows, an aware datetime; noon of 2026-01-01 UTC unless it is given another one.
    """

    def __init__(self, instant: datetime = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)) -> None:
        self.instant = _checked(instant)

    def __call__(self) -> datetime:
        """Return the instant; what makes it a clock of a store."""
        return self.instant

    def advance(self, **delta: float) -> datetime:
        """Go on by what :class:`~datetime.timedelta` takes (``seconds=1.5``, ``hours=2``); negative goes back.

        Raises:
            InvalidInput: no such unit of time, or the result is no date.
        """
        try:
            self.instant += timedelta(**delta)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"the clock cannot be advanced by {delta}: {error}") from error
        return self.instant

    def set(self, instant: datetime) -> datetime:
        """Show another instant, later or earlier.

        Raises:
            InvalidInput: it is no datetime, or a naive one, without a time zone.
        """
        self.instant = _checked(instant)
        return self.instant

    def __repr__(self) -> str:
        return f"<SettableClock {self.instant.isoformat()}>"


def _checked(instant: datetime) -> datetime:
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise InvalidInput(f"a clock shows an aware datetime, as datetime(2026, 1, 1, tzinfo=UTC); {instant!r} is none")
    return instant
