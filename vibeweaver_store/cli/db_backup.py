"""``db backup`` and ``db restore``: a checked copy of a live database, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from vibeweaver_store import schema, sqlite_copy
from vibeweaver_store.backup import back_up
from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.db import group
from vibeweaver_store.cli.errors import without_passwords
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import Yes
from vibeweaver_store.cli.output import hint, print_document
from vibeweaver_store.cli.text import counted, spelled
from vibeweaver_store.compression import Compression
from vibeweaver_store.compression import Progress as Tell
from vibeweaver_store.engine import resolve
from vibeweaver_store.restore import checked_source
from vibeweaver_store.restore import restore as restore_file
from vibeweaver_store.upkeep.findings import told_size


@command(
    group,
    "backup",
    example="db backup late-set-backup.db\ndb backup /backups --compress zstd --db late-set.db",
)
def backup(
    cli: Cli,
    destination: Annotated[
        str,
        typer.Argument(metavar="DEST", help="A file, or a folder, where it gets a name.", show_default=False),
    ],
    compress: Annotated[Compression | None, typer.Option(help="Compress it; SQLite only.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a database while others go on with it, check the copy, and print its name.

    On PostgreSQL, pg_dump makes it.
    """
    with _progress() as tell:
        done = back_up(
            cli.database, destination, compress=compress, overwrite=force, progress=tell, settings=cli.settings()
        )
    if cli.json:
        place = without_passwords(done.place, cli.database)
        print_document(
            {
                "path": spelled(done.path),
                "place": place,
                "size_bytes": done.size_bytes,
                "revision": done.revision,
                "rows": done.rows,
                "compress": done.compress,
                "seconds": round(done.seconds, 3),
            }
        )
        return
    typer.echo(spelled(done.path))
    rows, size = counted(sum(done.rows.values()), "row"), told_size(done.size_bytes)
    hint(f"{size}, {rows} at revision {done.revision or 'base'}, checked, in {done.seconds:.1f} s")


@command(group, "restore", example="db restore late-set-backup.db\ndb restore /backups/late-set.db.zst --yes")
def restore(
    cli: Cli,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A backup: plain, in gzip or in zstd.", show_default=False),
    ],
    yes: Yes = False,
) -> None:
    """Put a backup in the place of a database. The backup is checked first, and the old database kept beside.

    Nobody may have the database open meanwhile.
    """
    settings = cli.settings()
    path = resolve(cli.database, settings).path
    if path is not None and path.exists():
        checked_source(file, path)
        confirm(f"Put {file} in the place of {path}, and keep that as {path.name}.before-restore-TIME?", yes=yes)
    with _progress() as tell:
        done = restore_file(file, cli.database, progress=tell, settings=settings)
    if cli.json:
        kept = None if done.kept is None else spelled(done.kept)
        print_document(
            {
                "place": done.place,
                "source": spelled(done.source),
                "revision": done.revision,
                "rows": done.rows,
                "kept": kept,
                "seconds": round(done.seconds, 3),
            }
        )
    else:
        rows = counted(sum(done.rows.values()), "row")
        typer.echo(f"{done.place} is now {done.source}, {rows} at revision {done.revision or 'base'}")
    if done.kept is not None:
        hint(f"the database as it was: {done.kept}")
    if done.revision != schema.head():
        hint(f"it is brought to {schema.head()} when a store opens it, or by: vibeweaver-store db upgrade")


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show a bar on stderr while something long is done, where that is a terminal."""
    if not sys.stderr.isatty():
        yield sqlite_copy.silent
        return
    from rich.progress import (  # noqa: PLC0415 - only on terminals
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def tell(doing: str, done: int, total: int) -> None:
            if not bar.tasks or bar.tasks[0].description != doing:
                for before in bar.task_ids:
                    bar.remove_task(before)
                bar.add_task(doing, total=total or None)  # without a total, it only shows that it is alive
            bar.update(bar.task_ids[0], completed=done)

        yield tell
