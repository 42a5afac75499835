"""Background jobs in every state, and what is done to them and looked up of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from vibeweaver_store import UnitOfWork
from vibeweaver_store.testing import JobFactory


@dataclass(frozen=True)
class JobScene:
    """The keys of jobs, beside others that nobody is to touch."""

    pending_id: str


Mutator: TypeAlias = Callable[[UnitOfWork, JobScene], object]

SERVICES: tuple[ModuleType, ...] = ()


def build_job_scene(uow: UnitOfWork) -> JobScene:
    JobFactory.create(uow=uow)
    return JobScene(pending_id=JobFactory.create(uow=uow).id)


def build_busy_jobs(uow: UnitOfWork) -> JobScene:
    """Jobs in a database with a few thousand rows a table, for the plans of their lookups."""
    return build_job_scene(uow)


MUTATORS: dict[str, tuple[Mutator, set[str]]] = {}
"""Every function that writes, with the tables that it changes; see test_every_mutator.py."""

LOOKUPS: dict[str, Mutator] = {}
"""Every function that reads; see test_query_plans.py."""

WRITERS: dict[str, Mutator] = {}
"""Functions that write, and look something up to do so."""

WHOLE_TABLE_IN_ORDER: set[str] = set()
IN_SETS: set[str] = set()
