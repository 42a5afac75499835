"""An integer too long to be printed is refused like any other that is too large: the message must survive it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.services.bad_input import UNPRINTABLE
from vibeweaver_store import (
    InvalidInput,
    Session,
    Store,
    UnitOfWork,
    actions,
    history,
    markers,
    rules,
    sessions,
    snapshots,
    stats,
    triggers,
)

OPERATIONS: dict[str, Callable[[UnitOfWork, str], object]] = {
    "a tempo": lambda uow, _: sessions.create(uow, name="late set", tempo_bpm=UNPRINTABLE),
    "an id": lambda uow, _: sessions.get(uow, UNPRINTABLE),  # type: ignore[arg-type]
    "a limit": lambda uow, _: sessions.page(uow, limit=UNPRINTABLE),
    "a divisor": lambda uow, key: rules.add(uow, key, triggers.Beat(divisor=UNPRINTABLE), actions.Play()),
    "a priority": lambda uow, key: rules.add(
        uow,
        key,
        triggers.Beat(divisor=1),
        actions.Play(),
        priority=UNPRINTABLE,  # type: ignore[arg-type]
    ),
    "a beat": lambda uow, key: markers.add(uow, key, UNPRINTABLE, "chorus"),
    "a document": lambda uow, key: history.append(uow, key, "sample", params={"seed": UNPRINTABLE}),
    "a name": lambda uow, key: history.append(uow, key, UNPRINTABLE),  # type: ignore[arg-type]
    "a number of snapshots": lambda uow, key: snapshots.prune(uow, key, keep=UNPRINTABLE),
    "a duration": lambda uow, _: stats.record(uow, "drums", UNPRINTABLE),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_integer_argument_too_long_to_print_is_refused(
    lasting_store: Store, lasting_jam: Session, operation: Callable[[UnitOfWork, str], object]
) -> None:
    with pytest.raises(InvalidInput):
        lasting_store.run(operation, lasting_jam.id)
