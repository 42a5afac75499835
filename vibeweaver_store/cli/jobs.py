"""``jobs``: enqueue, list, show, try again, call off, sum up and prune background work.

``jobs work``, which does it, stands in ``job_work``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

import typer
from rich.text import Text

from vibeweaver_store.cli.asking import confirm
from vibeweaver_store.cli.batches import in_batches
from vibeweaver_store.cli.context import command, new_group
from vibeweaver_store.cli.errors import LineError
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.job_page import STYLES, card, print_firings, print_job_page, print_stats
from vibeweaver_store.cli.options import (
    LIMIT,
    Cursor,
    Limit,
    OwnId,
    Yes,
    parse_duration,
    parse_instant,
    parse_json,
    text_or_stdin,
    timed,
    within_session,
)
from vibeweaver_store.cli.output import hint, print_card, print_document, print_made, print_page
from vibeweaver_store.cli.table import Cell, Column
from vibeweaver_store.cli.text import counted, instant
from vibeweaver_store.models import Job
from vibeweaver_store.models.job import DEFAULT_MAX_ATTEMPTS, FINAL_OF_JOBS
from vibeweaver_store.services import jobs

group = new_group("jobs", "Enqueue, list, show, retry, cancel and prune background work.")

JobId: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
OfType: TypeAlias = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only of this type.", show_default=False)
]
OfSession: TypeAlias = Annotated[
    str | None, typer.Option("--session", metavar="SESSION", help="Only of this session.", show_default=False)
]

_COLUMNS: Final = (
    Column("TYPE", "bold", narrow="fold"),
    Column("STATUS"),
    Column("PRIORITY", right=True),
    Column("TRIES", right=True),
    Column("CREATED", "dim"),
    Column("ERROR", narrow="cut"),
    Column("ID", "dim", narrow="below"),
)


@command(
    group,
    "enqueue",
    example="""
jobs enqueue render '{"bar": 7}' --priority 5 --delay 30s
jobs enqueue index --unique-key nightly --delay 2h
""",
)
def enqueue(
    cli: Cli,
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="What kind of work it is.", show_default=False)],
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="What to work on: JSON; - for stdin.", show_default=False)
    ] = None,
    *,
    priority: Annotated[int, typer.Option(metavar="N", help="The higher goes first.")] = 0,
    delay: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it waits: 30s, 5m, 2h, 7d.", show_default=False)
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before then: 2026-01-23T18:30:00Z.", show_default=False)
    ] = None,
    max_attempts: Annotated[int, typer.Option(metavar="N", help="How often it is tried.")] = DEFAULT_MAX_ATTEMPTS,
    unique_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="No second one of its type while it is not done.", show_default=False),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="The session it belongs to.", show_default=False)
    ] = None,
    job_id: OwnId = None,
) -> None:
    """Have something done, and print the job's id; of a unique key that is taken, that of the job which is there."""
    document = parse_json(None if data is None else text_or_stdin(data), option="DATA")
    with cli.store() as store:
        made = store.run(
            jobs.enqueue,
            job_type,
            document,
            priority=priority,
            scheduled_at=parse_instant(at, option="--at"),
            delay=None if delay is None else parse_duration(delay, option="--delay"),
            max_attempts=max_attempts,
            unique_key=unique_key,
            session_id=session,
            job_id=job_id,
        )
    print_made(cli, made, made.job.id)
    if not made.new:
        hint(f"nothing was enqueued: {job_type} of key {unique_key} is {made.job.status.value} already")


@command(
    group,
    "list",
    example="""
jobs list --status failed
jobs list --type render --json | jq -r .id
""",
)
def list_(
    cli: Cli,
    *,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only in this status.", show_default=False)
    ] = None,
    job_type: OfType = None,
    session: OfSession = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> None:
    """List jobs, newest first."""
    with cli.store() as store:
        page = store.query(
            within_session,
            session,
            jobs.page,
            status=status,
            type=job_type,
            session_id=session,
            limit=limit,
            cursor=cursor,
        )
    print_page(cli, page, _COLUMNS, _row, none="no such jobs; enqueue one: vibeweaver-store jobs enqueue TYPE")


@command(group, "show", example='jobs show "$JOB"\njobs show "$JOB" --json | jq .attempts')
def show(cli: Cli, job: JobId) -> None:
    """Show a job, how far it has come, and the attempts at it."""
    with cli.store() as store, store.read() as uow:
        now, found, attempts = uow.now(), jobs.get(uow, job), jobs.attempts(uow, job)
    if cli.json:
        print_document({"job": found, "attempts": attempts})
    else:
        print_job_page(found, attempts, now)


@command(
    group,
    "retry",
    example="""
jobs retry "$JOB"
jobs retry --status failed --type render --yes
""",
)
def retry(
    cli: Cli,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)] = None,
    *,
    status: Annotated[
        Literal["failed", "cancelled"] | None,
        typer.Option(metavar="STATUS", help="All that are failed, or cancelled.", show_default=False),
    ] = None,
    job_type: OfType = None,
    session: OfSession = None,
    yes: Yes = False,
) -> None:
    """Have a job done that failed or was cancelled, and show it; or all such jobs, and say how many."""
    if status is not None and job is None:
        _retry_many(cli, status, job_type, session, yes=yes)
        return
    if job is None or status is not None or job_type is not None or session is not None:
        raise LineError("say which: either one JOB, or --status failed (and with it --type or --session)")
    with cli.store() as store:
        found, now = store.run(timed, jobs.retry, job)
    _print_job(cli, found, now)


def _retry_many(cli: Cli, status: str, job_type: str | None, session: str | None, *, yes: bool) -> None:
    with cli.store() as store:
        count = store.query(within_session, session, jobs.count, status=status, type=job_type, session_id=session)
        if count:
            confirm(f"Try {counted(count, f'{status} job')} again?", yes=yes)
        # Bounded by what was counted: one that fails again meanwhile is not retried for ever.
        retried = in_batches(store, count, jobs.retry_many, status=status, type=job_type, session_id=session)
    if cli.json:
        print_document({"retried": retried})
        return
    left = count - retried
    aside = f"; {left:,} {'was' if left == 1 else 'were'} left: another of the same key is under way" if left else ""
    hint(f"retried {counted(retried, 'job')}{aside}")


@command(
    group,
    "set-status",
    example="""
jobs set-status "$JOB" completed --result '{"bars": 8}'
jobs set-status "$JOB" failed --error "the disk is full"
""",
)
def set_status(
    cli: Cli,
    job: JobId,
    status: Annotated[
        str,
        typer.Argument(metavar="STATUS", help="completed, failed, cancelled or pending.", show_default=False),
    ],
    *,
    result: Annotated[
        str | None, typer.Option(metavar="JSON", help="What came of it; - for stdin.", show_default=False)
    ] = None,
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it failed, or was cancelled.", show_default=False)
    ] = None,
    started: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When the work began: 2026-01-23T18:30:00Z.", show_default="now"),
    ] = None,
    worker: Annotated[
        str | None, typer.Option(metavar="WORKER", help="The worker that did it.", show_default=False)
    ] = None,
) -> None:
    """Set the status of a job that nobody holds, for programs that run jobs without claiming them; and show it."""
    outcome = parse_json(None if result is None else text_or_stdin(result), option="--result")
    with cli.store() as store:
        ended, now = store.run(
            timed,
            jobs.set_status,
            job,
            status,
            result=outcome,
            error=error,
            started_at=parse_instant(started, option="--started"),
            worker_id=worker,
        )
    _print_ended(cli, ended, now)


@command(group, "cancel", example='jobs cancel "$JOB" --reason "the set is over"')
def cancel(
    cli: Cli,
    job: JobId,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.", show_default=False)] = None,
) -> None:
    """Call a job off that is pending or being processed, and show it, and the rules of its session that fired."""
    with cli.store() as store:
        ended, now = store.run(timed, jobs.cancel, job, reason=reason)
    _print_ended(cli, ended, now)


def _print_ended(cli: Cli, ended: jobs.Ended, now: datetime) -> None:
    if cli.json:
        print_document(ended)
        return
    print_card(card(ended.job, now))
    print_firings(ended.firings)


@command(group, "stats", example="jobs stats\njobs stats --since 2026-11-20T18:00:00Z --json")
def stats(
    cli: Cli,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Durations only of attempts that ended then or later.", show_default=False),
    ] = None,
) -> None:
    """Sum up: how many jobs of each type and status, how long they take, and what is overdue."""
    with cli.store() as store:
        found = store.query(jobs.stats, since=parse_instant(since, option="--since"))
    if cli.json:
        print_document(found)
    elif found.counts:
        print_stats(found)
    else:
        hint("no jobs")


@command(
    group,
    "prune",
    example="""
jobs prune --older-than 7d --yes
jobs prune --older-than 30d --status failed
""",
)
def prune(
    cli: Cli,
    *,
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago they ended: 12h, 7d.", show_default=False)
    ],
    status: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUS", help="completed, failed or cancelled; may be repeated.", show_default="all"),
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete jobs that ended long ago, with their attempts."""
    age = parse_duration(older_than, option="--older-than")
    ages = dict.fromkeys(status or [each.value for each in FINAL_OF_JOBS], age)
    with cli.store() as store:
        count = store.query(jobs.prunable, ages)
        if count:
            confirm(f"Delete {counted(count, 'job')} that ended more than {older_than} ago?", yes=yes)
        deleted = in_batches(store, count, jobs.prune, ages)
    if cli.json:
        print_document({"deleted": deleted})
    else:
        hint(f"deleted {counted(deleted, 'job')}")


def _print_job(cli: Cli, job: Job, now: datetime) -> None:
    if cli.json:
        print_document(job)
    else:
        print_card(card(job, now))


def _row(job: Job) -> Sequence[Cell]:
    return (
        job.type,
        Text(job.status.value, style=STYLES[job.status]),
        str(job.priority),
        f"{job.attempts}/{job.max_attempts}",
        instant(job.created_at),
        job.error or "",
        job.id,
    )
