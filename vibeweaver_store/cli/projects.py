"""``projects``: list, show, make, change and delete the repositories that ensembles work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, TypeAlias

import typer

from vibeweaver_store.cli import worker_types as worker_types_cli
from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import LIMIT, Cursor, Limit, ProjectName, Yes
from vibeweaver_store.cli.output import console, hint, print_card, print_document, print_made, print_page, print_row
from vibeweaver_store.cli.table import Column, print_table
from vibeweaver_store.cli.text import counted, instant
from vibeweaver_store.models import Project, WorkerType
from vibeweaver_store.paging import MAX_LIMIT
from vibeweaver_store.services import projects, worker_types, workspaces
from vibeweaver_store.services.projects import DeletedProject
from vibeweaver_store.unit_of_work import ReadUnitOfWork

group = new_group("projects", "List, show, make, change and delete what ensembles work on.")

Description: TypeAlias = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it is, in short.", show_default=False)
]

_COLUMNS: Final = (
    Column("PROJECT", "bold"),
    Column("PATH", narrow="fold"),
    Column("DESCRIPTION", "dim", narrow="cut"),
    Column("CREATED", "dim", narrow="below"),
)


@command(group, "list", example="projects list\nprojects list --json | jq -r .repository_name")
def list_(cli: Cli, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List projects, newest first."""
    with cli.store() as store:
        page = store.query(projects.page, limit=limit, cursor=cursor)
    print_page(cli, page, _COLUMNS, _row, none="no projects; make one: vibeweaver-store projects create NAME PATH")


@command(group, "show", example="projects show band/song\nprojects show band/song --json | jq .holds")
def show(cli: Cli, project: ProjectName) -> None:
    """Show a project, how much belongs to it, and its worker types."""
    with cli.store() as store:
        found, holds, types = store.query(_gather, project)
    if cli.json:
        print_document({"project": found, "holds": asdict(holds), "worker_types": types})
        return
    print_card({**_card(found), "holds": ", ".join(_told(holds))})
    if types:
        typer.echo("\nworker types")
        print_table(console(), worker_types_cli.COLUMNS, list(map(worker_types_cli.row, types)), indent=2)


def _gather(uow: ReadUnitOfWork, project: str) -> tuple[Project, DeletedProject, list[WorkerType]]:
    found = projects.get(uow, project)
    types = worker_types.page_by_project(uow, project, limit=MAX_LIMIT).items
    return found, projects.contents(uow, project), types


@command(
    group,
    "create",
    example="""
projects create band/song ~/src/song --description "Our song"
projects create band/song . --json
""",
)
def create(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, owner/name say.", show_default=False)],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where the repository is.", show_default=False)],
    *,
    description: Description = None,
) -> None:
    """Make a project, and print its name."""
    # As it means the same from every folder.
    place = workspaces.normalize(path)
    with cli.store() as store:
        made = store.run(projects.create, repository_name=name, path=place, short_description=description)
    print_made(cli, made, made.repository_name)


@command(
    group,
    "update",
    example="""
projects update band/song --path ~/src/song-2
projects update band/song --no-description
""",
)
def update(
    cli: Cli,
    project: ProjectName,
    *,
    path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the repository is now.", show_default=False)
    ] = None,
    description: Description = None,
    no_description: Annotated[
        bool, typer.Option("--no-description", metavar="", help="Take its description away.")
    ] = False,
) -> None:
    """Change what is given of a project, and show it."""
    given = {"path": None if path is None else workspaces.normalize(path), "short_description": description}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    changes |= {"short_description": None} if no_description else {}
    with cli.store() as store:
        print_row(cli, store.run(projects.update, project, **changes), _card)


@command(group, "delete", example="projects delete band/song --yes")
def delete(cli: Cli, project: ProjectName, yes: Yes = False) -> None:
    """Delete a project with all that belongs to it. The repository stays as it is."""
    with cli.store() as store:
        confirm(f"Delete project {project}{_with(store.query(projects.contents, project))}?", yes=yes)
        gone = store.run(projects.delete, project)
    if cli.json:
        print_document({"deleted": project, **asdict(gone)})
    else:
        hint(f"deleted project {project}{_with(gone)}")


def _with(holds: DeletedProject) -> str:
    *all_but_last, last = _told(holds) or [""]
    return f" with {' and '.join(filter(None, [', '.join(all_but_last), last]))}" if last else ""


def _told(holds: DeletedProject) -> list[str]:
    """Return in words what belongs to a project, without what there is none of."""
    nouns = {name: name.replace("_", " ").removesuffix("s") for name in asdict(holds)}
    return [counted(count, nouns[name]) for name, count in asdict(holds).items() if count]


def _row(project: Project) -> Sequence[str]:
    return project.repository_name, project.path, project.short_description or "", instant(project.created_at)


def _card(project: Project) -> dict[str, str]:
    return {
        "name": project.repository_name,
        "path": project.path,
        "description": project.short_description or "",
        "created": instant(project.created_at),
        "updated": instant(project.updated_at),
    }
