"""Work on many rows in batches, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rich.console import Console

from vibeweaver_store.domain_store import Store

BATCH: Final = 1000
"""How many rows are worked on in one unit of work."""


def in_batches(store: Store, count: int, operation: Callable[..., int], *args: Any, **kwargs: Any) -> int:
    """Run an operation, a unit of work each time, until it finds no more or has dealt with so many; return how many.

    A bar on stderr shows how far it is; in a pipe it stays silent.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - only here

    done = 0
    console = Console(stderr=True, markup=False, emoji=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=count)
        while done < count:
            changed = store.run(operation, *args, **kwargs, limit=min(BATCH, count - done))
            if not changed:
                break
            done += changed
            bar.advance(task, changed)
    return done
