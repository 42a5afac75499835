"""One call of the command line: what was said that all commands share, and the store that it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibeweaver_store.domain_store import Store
    from vibeweaver_store.settings import Settings


@dataclass
class Cli:
    """What the options say that all commands share."""

    database: str | None = None
    debug: bool = False
    json: bool = False

    def settings(self) -> Settings:
        """Read the settings from the environment.

        Raises:
            InvalidInput: a ``VIBEWEAVER_*`` variable has no usable value.
        """
        from vibeweaver_store.settings import load  # noqa: PLC0415 - help and version need no settings

        return load()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open the store that the line names, for the block.

        Raises:
            StoreError: it cannot be opened.
        """
        from vibeweaver_store.domain_store import Store  # noqa: PLC0415 - help and version need no store

        with Store.open(self.database, settings=self.settings()) as store:
            yield store
