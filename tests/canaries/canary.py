"""Makes a test a canary: it says who relies on what it tests, and fails with a sentence."""

from __future__ import annotations

import functools
import platform
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest


@dataclass(frozen=True)
class Canary:
    """What a canary is about: the library, and the modules of the package that rely on what is tested."""

    library: str
    modules: tuple[str, ...]


class Library:
    """The canaries of one library. Calling it makes a test one of them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *modules: str, to: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Return a decorator of a test.

        Args:
            modules: the modules that rely on what is tested, as paths within ``vibeweaver_store``.
            to: what for, as it reads after "relies on it to".
        """

        def decorate(test: Callable[..., None]) -> Callable[..., None]:
            @functools.wraps(test)
            def run(*args: Any, **kwargs: Any) -> None:
                try:
                    test(*args, **kwargs)
                except (Exception, pytest.fail.Exception) as error:  # the latter is of pytest.raises
                    raise AssertionError(self._sentence(test.__name__, modules, to, error)) from error

            vars(run)["canary"] = Canary(self.name, modules)
            return run

        return decorate

    def _sentence(self, test: str, modules: tuple[str, ...], to: str, error: BaseException) -> str:
        truth = test.removeprefix("test_").replace("_", " ")
        who = " and ".join(f"vibeweaver_store/{module}" for module in modules)
        relies = "relies" if len(modules) == 1 else "rely"
        told = " ".join(str(error).split())
        return (
            f"{self.name} {_version_of(self.name)}: it is no longer true that {truth}. {who} {relies} on it to {to}. "
            f"({type(error).__name__}: {told})"
        )


def canary_of(test: object) -> Canary | None:
    """Return what a test is a canary of, ``None`` where it is none."""
    found = getattr(test, "canary", None)
    return found if isinstance(found, Canary) else None


def _version_of(library: str) -> str:
    if library == "SQLite":
        return f"{sqlite3.sqlite_version} with Python {platform.python_version()}"
    try:
        return version(library)
    except PackageNotFoundError:
        return platform.release() if library == "Linux" else platform.python_version()
