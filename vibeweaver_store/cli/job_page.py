"""How jobs read: as a card with their attempts, and summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import typer
from rich.text import Text

from vibeweaver_store.cli.output import console, print_card
from vibeweaver_store.cli.rules import DO, FIRED, ON, PRIORITY, rule_cells
from vibeweaver_store.cli.table import Cell, Column, print_table
from vibeweaver_store.cli.text import compact, counted, instant, lasting, number
from vibeweaver_store.models import Job, JobAttempt, JobStatus
from vibeweaver_store.services.jobs import JobStats
from vibeweaver_store.services.rules import Firing

STYLES: Final = {
    JobStatus.PENDING: "yellow",
    JobStatus.PROCESSING: "cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "bold red",
    JobStatus.CANCELLED: "dim",
}

_ATTEMPTS: Final = (
    Column("N", "dim", right=True),
    Column("WORKER", narrow="fold"),
    Column("STARTED", "dim"),
    Column("TOOK", right=True),
    Column("OUTCOME", "red", narrow="fold"),
)

_DURATIONS: Final = (
    Column("TYPE", "bold", narrow="fold"),
    Column("ATTEMPTS", right=True),
    Column("P50", "cyan", right=True),
    Column("P95", "cyan", right=True),
    Column("P99", "cyan", right=True),
)


# --- one job ---------------------------------------------------------------------------------------------------


def print_job_page(job: Job, attempts: Sequence[JobAttempt], now: datetime) -> None:
    """Print a job and the attempts at it that have ended."""
    print_card(card(job, now))
    if attempts:
        typer.echo(f"\n{counted(len(attempts), 'attempt')}")
        print_table(console(), _ATTEMPTS, list(map(_attempt_row, attempts)), indent=2)


def print_firings(firings: Sequence[Firing]) -> None:
    """Print the rules that fired since a job ended, with what is to be done now."""
    if firings:
        typer.echo(f"\n{counted(len(firings), 'rule')} fired")
        rows = [[*rule_cells(each.rule), f"{each.rule.fired_count:,}"] for each in firings]
        print_table(console(), (ON, DO, PRIORITY, FIRED), rows, indent=2)


def card(job: Job, now: datetime) -> dict[str, str]:
    """Return a job as names and values; what it may go without is left out where it does."""
    may_be = {
        "session": job.session_id or "",
        "unique key": job.unique_key or "",
        **_times(job, now),
        "progress": _progress(job.progress),
        "error": job.error or "",
        "data": "" if job.data is None else compact(job.data),
        "result": "" if job.result is None else compact(job.result),
    }
    return {
        "id": job.id,
        "type": job.type,
        "status": job.status.value,
        "priority": str(job.priority),
        "attempts": f"{job.attempts:,} of {job.max_attempts:,}",
        **{name: value for name, value in may_be.items() if value},
        "created": instant(job.created_at),
        "updated": instant(job.updated_at),
    }


def _times(job: Job, now: datetime) -> dict[str, str]:
    waits = job.status is JobStatus.PENDING
    due = f"{instant(job.scheduled_at)}{'' if job.scheduled_at > now else ', due'}"
    return {
        "next try": due if waits and job.attempts else "",
        "scheduled": due if waits and not job.attempts else "",
        "worker": job.worker_id or "",
        "lease": _lease(job.lease_expires_at, now),
        "started": instant(job.started_at),
        "ended": instant(job.completed_at),
    }


def _lease(until: datetime | None, now: datetime) -> str:
    if until is None:
        return ""
    return f"until {instant(until)}" if until > now else f"expired {instant(until)}"


def _progress(progress: Mapping[str, Any] | None) -> str:
    if not progress:
        return ""
    done, total, note = (progress.get(name) for name in ("done", "total", "note"))
    if not isinstance(done, int | float) or not isinstance(total, int | float | None):
        return compact(progress)
    of = "" if total is None else f" of {number(total)}"
    percent = f" ({done / total:.0%})" if total else ""
    return f"{number(done)}{of}{percent}{f': {note}' if note else ''}"


def _attempt_row(attempt: JobAttempt) -> Sequence[Cell]:
    took = lasting(attempt.duration_ms / 1000)
    outcome = Text("done", style="green") if attempt.error is None else attempt.error
    return str(attempt.attempt), attempt.worker_id or "", instant(attempt.started_at), took, outcome


# --- all of them -----------------------------------------------------------------------------------------------


def print_stats(stats: JobStats) -> None:
    """Print how many jobs there are of each type in each status, how long they take, and what is overdue."""
    counts: dict[str, dict[JobStatus, int]] = {}
    for each in stats.counts:
        counts.setdefault(each.type, {})[each.status] = each.count
    columns = [Column("TYPE", "bold", narrow="fold")]
    columns += [Column(status.value.upper(), STYLES[status], right=True) for status in JobStatus]
    rows = [[of, *[f"{found.get(status, 0):,}" for status in JobStatus]] for of, found in counts.items()]
    print_table(console(), columns, rows)
    if stats.durations:
        typer.echo("\nhow long an attempt takes that succeeds")
        print_table(console(), _DURATIONS, list(map(_duration_row, stats.durations)), indent=2)
    typer.echo()
    oldest = stats.oldest_pending_seconds
    print_card(
        {
            "oldest pending": "" if oldest is None else lasting(oldest),
            "expired leases": f"{stats.expired_leases:,}",
        }
    )


def _duration_row(each: Any) -> Sequence[Cell]:
    took = [lasting(milliseconds / 1000) for milliseconds in (each.p50_ms, each.p95_ms, each.p99_ms)]
    return each.type, f"{each.attempts:,}", *took
