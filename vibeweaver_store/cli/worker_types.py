"""``worker-types``: list, show, make, change and delete the roles of a project, each with its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, ProjectName, Yes, text_or_stdin, within_project
from vibeweaver_store.cli.output import (
    hint,
    print_card,
    print_document,
    print_made,
    print_page,
    print_row,
    print_text,
)
from vibeweaver_store.cli.table import Column
from vibeweaver_store.cli.text import instant
from vibeweaver_store.models import WorkerType
from vibeweaver_store.services import worker_types

group = new_group("worker-types", "List, show, make, change and delete the roles of a project.")

TypeName: TypeAlias = Annotated[str, typer.Argument(metavar="TYPE", help="The worker type.", show_default=False)]
Description: TypeAlias = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it does, in short.", show_default=False)
]

COLUMNS: Final = (
    Column("TYPE", "bold"),
    Column("DESCRIPTION", narrow="fold"),
    Column("PROMPT", "dim", narrow="cut"),
    Column("UPDATED", "dim", narrow="below"),
)


@command(group, "list", example="worker-types list band/song")
def list_(cli: Cli, project: ProjectName, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List the worker types of a project, by name."""
    with cli.store() as store:
        page = store.query(within_project, project, worker_types.page_by_project, project, limit=limit, cursor=cursor)
    add_one = f'vibeweaver-store worker-types create {project} writer --prompt "You write."'
    print_page(cli, page, COLUMNS, row, none=f"no worker types; make one: {add_one}")


@command(
    group,
    "show",
    example="""
worker-types show band/song writer
worker-types show band/song writer --json | jq -r .system_prompt
""",
)
def show(cli: Cli, project: ProjectName, worker_type: TypeName) -> None:
    """Show a worker type with its prompt."""
    with cli.store() as store:
        found = store.query(worker_types.get, project, worker_type)
    if cli.json:
        print_document(found)
        return
    print_card(_card(found))
    typer.echo("\nprompt")
    print_text(found.system_prompt)


@command(
    group,
    "create",
    example="""
worker-types create band/song writer --prompt "You write the words."
worker-types create band/song reviewer --prompt - < reviewer.md
""",
)
def create(
    cli: Cli,
    project: ProjectName,
    worker_type: TypeName,
    *,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="What makes an agent of it; - for stdin.", show_default=False)
    ],
    description: Description = None,
) -> None:
    """Make a worker type in a project, and print its name."""
    system_prompt = text_or_stdin(prompt)
    with cli.store() as store:
        made = store.run(
            worker_types.create, project, worker_type, system_prompt=system_prompt, short_description=description
        )
    print_made(cli, made, made.worker_type)


@command(
    group,
    "update",
    example="""
worker-types update band/song writer --prompt - < writer.md
worker-types update band/song writer --description "The words"
""",
)
def update(
    cli: Cli,
    project: ProjectName,
    worker_type: TypeName,
    *,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Its new prompt; - for stdin.", show_default=False)
    ] = None,
    description: Description = None,
    no_description: Annotated[
        bool, typer.Option("--no-description", metavar="", help="Take its description away.")
    ] = False,
) -> None:
    """Change what is given of a worker type, and show it."""
    given = {"system_prompt": None if prompt is None else text_or_stdin(prompt), "short_description": description}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    changes |= {"short_description": None} if no_description else {}
    with cli.store() as store:
        print_row(cli, store.run(worker_types.update, project, worker_type, **changes), _card)


@command(group, "delete", example="worker-types delete band/song writer --yes")
def delete(cli: Cli, project: ProjectName, worker_type: TypeName, yes: Yes = False) -> None:
    """Delete a worker type that no open ticket needs any more."""
    with cli.store() as store:
        store.query(worker_types.get, project, worker_type)
        confirm(f"Delete worker type {worker_type} of project {project} with its prompt?", yes=yes)
        store.run(worker_types.delete, project, worker_type)
    if cli.json:
        print_document({"deleted": worker_type, "project": project})
    else:
        hint(f"deleted worker type {worker_type} of project {project}")


def row(worker_type: WorkerType) -> Sequence[str]:
    """Return a worker type as a row of :data:`COLUMNS`."""
    return (
        worker_type.worker_type,
        worker_type.short_description or "",
        _first_line(worker_type.system_prompt),
        instant(worker_type.updated_at),
    )


def _first_line(text: str) -> str:
    """Return the beginning of a text: a prompt may be as long as a book."""
    first, *more = text.strip().split("\n", 1)
    return f"{first[:_LONGEST]}…" if more or len(first) > _LONGEST else first


_LONGEST: Final = 60


def _card(worker_type: WorkerType) -> dict[str, str]:
    return {
        "type": worker_type.worker_type,
        "project": worker_type.project_id,
        "description": worker_type.short_description or "",
        "created": instant(worker_type.created_at),
        "updated": instant(worker_type.updated_at),
    }
