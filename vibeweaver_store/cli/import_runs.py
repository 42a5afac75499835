"""What the commands of ``import`` have in common: showing how far one has come, and telling what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

import typer
from rich.console import Console

from vibeweaver_store.cli.errors import EXIT_CODES, say
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.output import hint, print_card, print_document
from vibeweaver_store.cli.text import counted
from vibeweaver_store.domain_store import Store
from vibeweaver_store.engine import resolve
from vibeweaver_store.errors import ImportRejected
from vibeweaver_store.importers.runs import ImportReport, Progress

DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", metavar="", help="Tell what would be done, and write nothing.")
]

_PROBLEMS_SHOWN: Final = 20
_NOTES_SHOWN: Final = 20


@contextmanager
def store_to_fill(cli: Cli, *, dry_run: bool = False) -> Iterator[Store]:
    """Open the store that the line names, for the block, to bring much into it.

    Where a dry run names a file that is not there, none is made: it runs on an empty store in memory.
    Else the file is not mapped: what is written need not be, and what is mapped counts as the memory of the process.

    Raises:
        StoreError: it cannot be opened.
    """
    settings = cli.settings().model_copy(update={"mmap_size": 0})
    target = resolve(cli.database, settings)
    nowhere = dry_run and target.path is not None and not target.path.exists()
    with Store.open(":memory:" if nowhere else cli.database, settings=settings) as store:
        yield store


@contextmanager
def progress_bar(total_bytes: int) -> Iterator[Progress]:
    """Show a bar on stderr while the block runs, and give what is to be told of bytes that were dealt with.

    In a pipe it stays silent.
    """
    from rich import progress  # noqa: PLC0415 - only here

    console = Console(stderr=True, markup=False, emoji=False)
    columns = (progress.BarColumn(), progress.DownloadColumn(binary_units=True), progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total_bytes)
        yield lambda count: bar.advance(task, count)


def report_and_exit(cli: Cli, report: ImportReport) -> None:
    """Tell what an import did: what was left out to stderr, the counts to stdout.

    Raises:
        Exit: something was left out.
    """
    if cli.json:
        print_document(report.as_document())
    else:
        print_card(_card(report))
    for problem in report.problems[:_PROBLEMS_SHOWN]:
        say(str(problem))
    if report.problem_count > _PROBLEMS_SHOWN:
        say(f"and {counted(report.problem_count - _PROBLEMS_SHOWN, 'more problem')}; --json lists the first 1,000")
    for note in report.notes[:_NOTES_SHOWN]:
        hint(f"note: {note}")
    if len(report.notes) > _NOTES_SHOWN:
        hint(f"and {counted(len(report.notes) - _NOTES_SHOWN, 'more note')}; --json lists the first 1,000")
    if report.dry_run:
        hint("a dry run: nothing was written")
    if report.problem_count:
        raise typer.Exit(EXIT_CODES[ImportRejected])


def _card(report: ImportReport) -> dict[str, str]:
    sources = counted(report.sources, "source")
    told = [
        (report.unchanged, "unchanged"),
        (report.rewritten, "rewritten"),
        (report.torn, "with a last line to come"),
    ]
    asides = ", ".join(f"{count:,} {what}" for count, what in told if count)
    counts = {name: f"{count:,}" for name, count in report.counts.as_document().items()}
    return {
        "sources": f"{sources} ({asides})" if asides else sources,
        **counts,
        "left out": f"{report.problem_count:,}",
        "noted": f"{len(report.notes):,}",
        "seconds": f"{report.seconds:.1f}",
        "imports": _spans(report.import_ids),
    }


def _spans(ids: list[int]) -> str:
    """Return ids in short: 3, 5-9."""
    spans: list[list[int]] = []
    for each in sorted(ids):
        if spans and each == spans[-1][1] + 1:
            spans[-1][1] = each
        else:
            spans.append([each, each])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
