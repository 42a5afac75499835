"""An ensemble with some of everything, and what is done to one and looked up in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from vibeweaver_store import UnitOfWork
from vibeweaver_store.testing import ProjectFactory


@dataclass(frozen=True)
class EnsembleScene:
    """The keys of a project that has some of everything, beside another one that nobody is to touch."""

    project_id: str


Mutator: TypeAlias = Callable[[UnitOfWork, EnsembleScene], object]

SERVICES: tuple[ModuleType, ...] = ()


def build_ensemble_scene(uow: UnitOfWork) -> EnsembleScene:
    ProjectFactory.create(uow=uow)
    return EnsembleScene(project_id=ProjectFactory.create(uow=uow).repository_name)


def build_busy_ensemble(uow: UnitOfWork) -> EnsembleScene:
    """An ensemble in a database with a few thousand rows a table, for the plans of its lookups."""
    return build_ensemble_scene(uow)


MUTATORS: dict[str, tuple[Mutator, set[str]]] = {}
"""Every function that writes, with the tables that it changes; see test_every_mutator.py."""

LOOKUPS: dict[str, Mutator] = {}
"""Every function that reads; see test_query_plans.py."""

WRITERS: dict[str, Mutator] = {}
"""Functions that write, and look something up to do so."""

WHOLE_TABLE_IN_ORDER: set[str] = set()
IN_SETS: set[str] = set()
