"""``db check`` and ``db maintain``: whether a database is well, and what keeps it so."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.text import Text

from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.db import group
from vibeweaver_store.cli.errors import exit_code, without_passwords
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.output import console, hint, print_card, print_document
from vibeweaver_store.cli.table import Column, print_table
from vibeweaver_store.cli.text import counted, shown
from vibeweaver_store.errors import CorruptData
from vibeweaver_store.upkeep import checkup, maintenance
from vibeweaver_store.upkeep.checkup import Checkup
from vibeweaver_store.upkeep.findings import Finding, Verdict, told_size
from vibeweaver_store.upkeep.maintenance import Maintenance

_STYLES: Final[dict[Verdict, str]] = {"ok": "green", "warning": "yellow", "broken": "bold red"}


@command(group, "check", example="db check\ndb check --strict --json")
def check(
    cli: Cli, strict: Annotated[bool, typer.Option("--strict", metavar="", help="Let a warning fail as well.")] = False
) -> None:
    """Look for what is wrong with a database: damage, drift, permissions, disk. No content is changed.

    The exit code is 6 when something is broken; a warning passes without --strict.

    Committed pages of a sound file may go from its -wal into it.
    """
    found = _without_passwords(checkup.check(cli.database, settings=cli.settings()), cli.database)
    if cli.json:
        print_document(
            {
                "place": found.place,
                "backend": found.backend,
                "broken": found.broken,
                "warnings": found.warnings,
                "findings": found.findings,
            }
        )
    else:
        _print_checkup(found)
    if found.broken or (strict and found.warnings):
        raise typer.Exit(exit_code(CorruptData("")))


def _without_passwords(found: Checkup, database: str | None) -> Checkup:
    findings = [replace(each, said=without_passwords(each.said, database)) for each in found.findings]
    return replace(found, place=without_passwords(found.place, database), findings=tuple(findings))


def _print_checkup(found: Checkup) -> None:
    out = console()
    columns = (Column("CHECK", "cyan"), Column("VERDICT"), Column("WHAT WAS FOUND", narrow="fold"))
    print_table(out, columns, [_row(each) for each in found.findings])
    out.print()
    out.print(Text(f"{shown(found.place)}: {_verdict(found)}"), soft_wrap=True)


def _verdict(found: Checkup) -> str:
    broken = [each.name for each in found.findings if each.verdict == "broken"]
    said = f"broken: {', '.join(broken)}" if broken else "nothing is broken"
    return f"{said}; {counted(found.warnings, 'warning')}" if found.warnings else said


def _row(finding: Finding) -> tuple[str, Text, str]:
    return finding.name, Text(finding.verdict, style=_STYLES[finding.verdict]), finding.said


@command(group, "maintain", example="db maintain")
def maintain(cli: Cli) -> None:
    """Give empty pages back to the disk, renew the query planner's statistics, and empty the -wal file.

    Others may go on reading and writing meanwhile.
    """
    done = maintenance.maintain(cli.database, settings=cli.settings())
    done = replace(done, place=without_passwords(done.place, cli.database))
    if cli.json:
        print_document(done)
        return
    print_card(_card(done))
    if not done.checkpointed:
        hint("somebody who reads or writes held the -wal file; run it again later to empty it")
    if done.pages_empty and not done.can_shrink:
        hint(f"{counted(done.pages_empty, 'empty page')} cannot be given back: the file needs VACUUM once, by sqlite3")


def _card(done: Maintenance) -> dict[str, str]:
    card = {"place": done.place, "size": _change(done.size_before, done.size_after)}
    if done.backend == "sqlite":
        card["wal"] = _change(done.wal_before, done.wal_after)
        card["freed"] = f"{counted(done.pages_freed, 'page')}, {done.pages_empty:,} left empty"
        card["analyzed"] = ", ".join(done.analyzed) or "nothing had changed"
    else:
        card["vacuumed"] = ", ".join(done.analyzed)
    if done.passed_over:
        card["passed over"] = "; ".join(f"{table}: {why}" for table, why in done.passed_over.items())
    return card


def _change(before: int, after: int) -> str:
    return told_size(after) if before == after else f"{told_size(before)} to {told_size(after)}"
