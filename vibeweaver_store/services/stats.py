"""Generation stats: how long generating in a space takes, exact under concurrency."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from sqlmodel import col, select

from vibeweaver_store.columns import Count, FiniteFloat, Name
from vibeweaver_store.errors import NotFound
from vibeweaver_store.models.weaving import GenerationStats
from vibeweaver_store.paging import DEFAULT_LIMIT, Order, Page, fetch
from vibeweaver_store.unit_of_work import ReadUnitOfWork, UnitOfWork
from vibeweaver_store.validation import require

DEFAULT_ESTIMATE_MS = 5_000.0
"""What is expected of a space that nothing is known of, in milliseconds (seed 000's scheduler)."""

MAX_DURATION_MS = 10**10
"""The longest duration that can be recorded, some 115 days: the sums stay within 64 bits for 900 million of them."""

_Duration = Annotated[Count, Field(le=MAX_DURATION_MS)]
_Estimate = Annotated[FiniteFloat, Field(ge=0)]


def record(uow: UnitOfWork, space: str, duration_ms: int) -> GenerationStats:
    """Add one sample to a space's stats, in one atomic statement, and return them as they are then.

    Args:
        uow: the unit of work to write in.
        space: where something was generated; made on its first sample.
        duration_ms: how long it took, in whole milliseconds.

    Raises:
        InvalidInput: the space is blank, or the duration no whole number from 0 to :data:`MAX_DURATION_MS`.
    """
    duration: int = require(_Duration, duration_ms, field="duration_ms")
    insert = uow.upsert(GenerationStats).values(
        space=require(Name, space, field="space"),
        sample_count=1,
        total_ms=duration,
        min_ms=duration,
        max_ms=duration,
        sum_of_squares_ms2=float(duration) ** 2,
        last_ms=duration,
        updated_at=uow.now(),
    )
    statement = insert.on_conflict_do_update(index_elements=["space"], set_=_added(insert.excluded))
    added: GenerationStats = uow.execute(statement.returning(GenerationStats)).scalar_one()
    return added


def _added(new: Any) -> dict[str, Any]:
    stats = GenerationStats
    return {
        "sample_count": col(stats.sample_count) + 1,
        "total_ms": col(stats.total_ms) + new.total_ms,
        "min_ms": sa.case((new.min_ms < col(stats.min_ms), new.min_ms), else_=col(stats.min_ms)),
        "max_ms": sa.case((new.max_ms > col(stats.max_ms), new.max_ms), else_=col(stats.max_ms)),
        "sum_of_squares_ms2": col(stats.sum_of_squares_ms2) + new.sum_of_squares_ms2,
        "last_ms": new.last_ms,
        "updated_at": new.updated_at,
    }


def get(uow: ReadUnitOfWork, space: str) -> GenerationStats:
    """Return a space's stats: ``average_ms``, ``sample_count``, ``min_ms``, ``max_ms``, ``standard_deviation_ms``.

    Raises:
        NotFound: nothing was recorded of it.
    """
    found = find(uow, space)
    if found is None:
        raise NotFound("generation stats of space", space)
    return found


def find(uow: ReadUnitOfWork, space: str) -> GenerationStats | None:
    """Return a space's stats, or ``None`` where nothing was recorded.

    Raises:
        InvalidInput: the space is no text, or blank.
    """
    key = require(Name, space, field="space")
    return uow.exec(select(GenerationStats).where(col(GenerationStats.space) == key)).one_or_none()


def estimate(uow: ReadUnitOfWork, space: str, default_ms: float = DEFAULT_ESTIMATE_MS) -> float:
    """Return how long generating in a space is expected to take, in milliseconds: its average, or the default.

    Raises:
        InvalidInput: the space is blank, or the default no finite number >= 0.
    """
    default: float = require(_Estimate, default_ms, field="default_ms")
    found = find(uow, space)
    return default if found is None else found.average_ms


def page(uow: ReadUnitOfWork, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[GenerationStats]:
    """Return the stats of all spaces, by name.

    Raises:
        InvalidInput: the limit is not 1 to 1,000, or the cursor is not of this listing.
    """
    order = Order(["generation_stats"], [col(GenerationStats.space)])
    return fetch(uow, GenerationStats, order, limit=limit, cursor=cursor)
