"""``workers``: list, show, register, update and move on the agents at work for a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.options import (
    LIMIT,
    Cursor,
    Limit,
    OfProject,
    ProjectName,
    Yes,
    parse_duration,
    within_project,
)
from vibeweaver_store.cli.output import print_deleted, print_items, print_made, print_page, print_row
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.text import instant
from vibeweaver_store.cli.worker_types import TypeName
from vibeweaver_store.models import EnsembleWorker, WorkerStatus
from vibeweaver_store.services import workers

group = new_group("workers", "List, register, change and move on the agents of ensembles.")

WorkerId: TypeAlias = Annotated[str, typer.Argument(metavar="WORKER", help="The worker's id.", show_default=False)]
OlderThan: TypeAlias = Annotated[
    str,
    typer.Option(metavar="TIME", help="How long nothing was heard of it: 300, 5m, 2h.", show_default=False),
]

_COLUMNS: Final = (
    Column("WORKER", "bold"),
    Column("TYPE", narrow="fold"),
    Column("STATUS"),
    Column("PID", right=True),
    Column("HEARD OF", "dim"),
    Column("QUEUE", "dim", narrow="below"),
    Column("PROJECT", "dim", narrow="below"),
    Column("STARTED", "dim", narrow="below"),
)

_STYLES: Final = {
    WorkerStatus.SPAWNING: "dim",
    WorkerStatus.ACTIVE: "cyan",
    WorkerStatus.IDLE: "yellow",
    WorkerStatus.FINISHED: "green",
    WorkerStatus.FAILED: "bold red",
}


@command(group, "list", example="workers list --project band/song\nworkers list --status active --json")
def list_(
    cli: Cli,
    *,
    project: OfProject = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only in this status.", show_default=False)
    ] = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List workers, the last started first."""
    with cli.store() as store:
        page = store.query(
            within_project, project, workers.page, project=project, status=status, limit=limit, cursor=cursor
        )
    print_page(
        cli, page, _COLUMNS, _row, none="no such workers; register one: vibeweaver-store workers register --help"
    )


@command(group, "show", example="workers show worker-3")
def show(cli: Cli, worker: WorkerId) -> None:
    """Show one worker."""
    with cli.store() as store:
        print_row(cli, store.query(workers.get, worker), _card)


@command(group, "register", example="workers register worker-3 band/song reviewer --pid $$")
def register(
    cli: Cli,
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="An id of your own.", show_default=False)],
    project: ProjectName,
    worker_type: TypeName,
    *,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="The queue that feeds it.", show_default="PROJECT:TYPE")
    ] = None,
    pid: Annotated[int | None, typer.Option(metavar="N", help="Its process.", show_default=False)] = None,
) -> None:
    """Register a worker, which is spawning then, and print its id."""
    with cli.store() as store:
        made = store.run(workers.register, worker, project, worker_type, queue_name=queue, pid=pid)
    print_made(cli, made, made.worker_id)


@command(
    group,
    "update",
    example="""
workers update worker-3 --pid $!
workers update worker-3 --queue night-shift
""",
)
def update(
    cli: Cli,
    worker: WorkerId,
    *,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="The queue that feeds it.", show_default=False)
    ] = None,
    pid: Annotated[int | None, typer.Option(metavar="N", help="Its process.", show_default=False)] = None,
    no_pid: Annotated[bool, typer.Option("--no-pid", metavar="", help="It has no process.")] = False,
) -> None:
    """Change the process or the queue of a worker, once they are known, and show it."""
    given = {"pid": pid, "queue_name": queue}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    changes |= {"pid": None} if no_pid else {}
    with cli.store() as store:
        print_row(cli, store.run(workers.update, worker, **changes), _card)


@command(group, "heartbeat", example="workers heartbeat worker-3\nworkers heartbeat worker-3 --lease-seconds 15m")
def heartbeat(
    cli: Cli,
    worker: WorkerId,
    lease: Annotated[
        str | None,
        typer.Option(
            "--lease-seconds", metavar="TIME", help="Have its claims hold so long from now.", show_default=False
        ),
    ] = None,
) -> None:
    """Say that a worker lives, and show it."""
    seconds = None if lease is None else parse_duration(lease, option="--lease-seconds").total_seconds()
    with cli.store() as store:
        print_row(cli, store.run(workers.heartbeat, worker, lease_seconds=seconds), _card)


@command(
    group,
    "set-status",
    example="""
workers set-status worker-3 active
workers set-status worker-3 failed --reason "out of memory"
""",
)
def set_status(
    cli: Cli,
    worker: WorkerId,
    status: Annotated[
        str, typer.Argument(metavar="STATUS", help="active, idle, finished or failed.", show_default=False)
    ],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.", show_default=False)] = None,
) -> None:
    """Move a worker to another status, and show it.

    One that finished or failed gives back its tickets, and coordinators are
    told of it.
    """
    with cli.store() as store:
        print_row(cli, store.run(workers.set_status, worker, status, reason=reason), _card)


@command(group, "stale", example="workers stale --older-than 5m")
def stale(cli: Cli, older_than: OlderThan, limit: Limit = LIMIT, cursor: Cursor = None) -> None:
    """List the workers that say to be alive and have not been heard of for so long, the longest silent first."""
    silence = parse_duration(older_than, option="--older-than")
    with cli.store() as store:
        page = store.query(workers.stale, silence, limit=limit, cursor=cursor)
    print_page(cli, page, _COLUMNS, _row, none="no worker was silent for so long")


@command(group, "reap", example="workers reap --older-than 15m")
def reap(cli: Cli, older_than: OlderThan) -> None:
    """Mark as failed the workers that stale lists, give back their tickets, tell coordinators; list them."""
    silence = parse_duration(older_than, option="--older-than")
    with cli.store() as store:
        failed = store.run(workers.reap, silence)
    print_items(cli, failed, _COLUMNS, _row, none="no worker was silent for so long")


@command(group, "delete", example="workers delete worker-3 --yes")
def delete(cli: Cli, worker: WorkerId, yes: Yes = False) -> None:
    """Delete a worker. What it holds is given back; coordinators are not told."""
    with cli.store() as store:
        found = store.query(workers.get, worker)
        confirm(f"Delete worker {worker}, which is {found.status.value}, and give back its tickets?", yes=yes)
        store.run(workers.delete, worker)
    print_deleted(cli, "worker", worker)


def _row(worker: EnsembleWorker) -> Sequence[Cell]:
    return (
        worker.worker_id,
        worker.worker_type,
        Text(worker.status.value, style=_STYLES[worker.status]),
        "" if worker.pid is None else str(worker.pid),
        instant(worker.last_activity),
        worker.queue_name,
        worker.project_id,
        instant(worker.started_at),
    )


def _card(worker: EnsembleWorker) -> dict[str, str]:
    return {
        "worker": worker.worker_id,
        "project": worker.project_id,
        "type": worker.worker_type,
        "status": worker.status.value,
        "queue": worker.queue_name,
        "pid": "" if worker.pid is None else str(worker.pid),
        "started": instant(worker.started_at),
        "heard of": instant(worker.last_activity),
    }
