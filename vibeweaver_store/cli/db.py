"""``db``: make, migrate and describe a database.

What looks at revisions or changes them never opens a store: it must work on any schema.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import typer

from vibeweaver_store import schema
from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import without_passwords
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.output import console, hint, print_card, print_document, print_lines
from vibeweaver_store.cli.table import Column, print_table
from vibeweaver_store.cli.text import spelled
from vibeweaver_store.engine import resolve
from vibeweaver_store.schema import Migration
from vibeweaver_store.upkeep.findings import told_size
from vibeweaver_store.upkeep.info import StoreInfo, describe

group = new_group("db", "Make, migrate, describe, check and back up the database.")

Backend: TypeAlias = Literal["sqlite", "postgresql"]


@command(group, "init", example="db init\ndb init --db late-set.db")
def init(cli: Cli) -> None:
    """Make a database, or bring one that is there up to date."""
    _print_migration(cli, schema.upgrade(cli.database, settings=cli.settings()))


@command(group, "upgrade", example="db upgrade\ndb upgrade +1")
def upgrade(
    cli: Cli,
    revision: Annotated[str, typer.Argument(metavar="REV", help="A revision, head, or steps as +1.")] = "head",
) -> None:
    """Bring a database up to a revision. A file with data in it is copied first."""
    _print_migration(cli, schema.upgrade(cli.database, revision, settings=cli.settings()))


@command(
    group,
    "downgrade",
    example="db downgrade 0001\ndb downgrade -- -1",
)
def downgrade(
    cli: Cli,
    revision: Annotated[
        str,
        typer.Argument(metavar="REV", help="A revision, base for none, or steps as -1 (after --).", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")] = False,
) -> None:
    """Bring a database back to an older revision: what the later ones added is gone. A file is copied first."""
    settings = cli.settings()
    before = schema.current(cli.database, settings=settings)
    confirm(f"Take {_place(cli)} from {before or 'base'} back to {revision}, and lose what came later?", yes=yes)
    _print_migration(cli, schema.downgrade(cli.database, revision, settings=settings))


@command(group, "current", example="db current")
def current(cli: Cli) -> None:
    """Print the revision that a database is at."""
    found = schema.current(cli.database, settings=cli.settings())
    head = schema.head()
    if cli.json:
        print_document({"place": _place(cli), "revision": found, "head": head})
        return
    typer.echo(f"{found or 'base'}{' (head)' if found == head else ''}")
    if found != head:
        hint(f"the newest is {head}; go there with: vibeweaver-store db upgrade")


@command(group, "history", example="db history")
def history(cli: Cli) -> None:
    """List the migrations that this version of the package knows, oldest first."""
    known = schema.history()
    if cli.json:
        print_lines(known)
        return
    rows = [(each.number, each.title.replace("_", " ")) for each in known]
    print_table(console(), (Column("REVISION", "cyan"), Column("WHAT IT DOES", narrow="fold")), rows)


@command(group, "sql", example="db sql\ndb sql --backend postgresql --from 0001 --to head", json=False)
def sql(
    cli: Cli,
    backend: Annotated[Backend, typer.Option(help="For which database.")] = "sqlite",
    from_revision: Annotated[str, typer.Option("--from", metavar="REV", help="Where to begin.")] = "base",
    to_revision: Annotated[str, typer.Option("--to", metavar="REV", help="Where to end.")] = "head",
) -> None:
    """Print the SQL that migrations run, for a reviewer to read. Nothing is executed."""
    del cli
    typer.echo(schema.sql(backend, f"{from_revision}:{to_revision}"), nl=False)


@command(group, "info", example="db info")
def info(cli: Cli) -> None:
    """Describe a database: where it lies, how large it is, what is in it, how it is set up."""
    with cli.store() as store:
        found = describe(store)
    place = without_passwords(found.place, cli.database)
    if cli.json:
        print_document(replace(found, place=place))
    else:
        _print_info(found, place)


def _print_info(found: StoreInfo, place: str) -> None:
    at_head = found.revision == found.head
    print_card(
        {
            "place": place,
            "backend": f"{found.backend} {found.server_version}",
            "size": told_size(found.size_bytes),
            "revision": f"{found.revision}{' (head)' if at_head else f', the newest is {found.head}'}",
        }
    )
    out = console()
    rows = [(name, f"{count:,}") for name, count in sorted(found.rows.items())]
    out.print()
    print_table(out, (Column("TABLE", "cyan"), Column("ROWS", right=True)), rows)
    if found.pragmas:
        out.print()
        pragmas = [(name, str(value)) for name, value in found.pragmas.items()]
        print_table(out, (Column("PRAGMA", "cyan"), Column("VALUE", right=True)), pragmas)


def _place(cli: Cli) -> str:
    return without_passwords(resolve(cli.database, cli.settings()).place, cli.database)


def _print_migration(cli: Cli, done: Migration) -> None:
    if cli.json:
        backup = None if done.backup is None else spelled(done.backup)
        print_document({"place": _place(cli), "before": done.before, "after": done.after, "backup": backup})
        return
    after = done.after or "base"
    if done.before == done.after:
        typer.echo(f"{_place(cli)} is at {after} already")
    else:
        typer.echo(f"{_place(cli)} went from {done.before or 'base'} to {after}")
    if done.backup is not None:
        hint(f"the database as it was: {done.backup}")
