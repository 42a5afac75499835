"""``jobs work``: runs the jobs that an application has handlers for, until it is told to stop."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from vibeweaver_store.cli.context import command
from vibeweaver_store.cli.invocation import Cli
from vibeweaver_store.cli.jobs import group
from vibeweaver_store.cli.options import parse_duration
from vibeweaver_store.cli.output import hint, to_json
from vibeweaver_store.cli.text import counted, instant, lasting, shown
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.services.jobs import DEFAULT_LEASE_SECONDS, Ended
from vibeweaver_store.worker import DEFAULT_GRACE_SECONDS, Worker


@command(
    group,
    "work",
    example="""
jobs work --handlers studio.handlers:HANDLERS
jobs work --handlers studio.handlers:HANDLERS --concurrency 4 --lease-seconds 120
jobs work --handlers studio.handlers:HANDLERS --drain
""",
)
def work(
    cli: Cli,
    *,
    handlers: Annotated[
        str,
        typer.Option(
            metavar="MODULE:NAME",
            help="A mapping of job types to functions, from here or installed.",
            show_default=False,
        ),
    ],
    worker_id: Annotated[
        str | None, typer.Option(metavar="ID", help="By which name it claims.", show_default="host, process, chance")
    ] = None,
    concurrency: Annotated[int, typer.Option(metavar="N", help="How many jobs at a time.")] = 1,
    lease_seconds: Annotated[
        str, typer.Option(metavar="TIME", help="How long it holds a job without a word: 60, 90s, 5m.")
    ] = f"{DEFAULT_LEASE_SECONDS:g}",
    grace_seconds: Annotated[
        str, typer.Option(metavar="TIME", help="How long handlers may go on once it is to stop.")
    ] = f"{DEFAULT_GRACE_SECONDS:g}",
    drain: Annotated[bool, typer.Option("--drain", metavar="", help="End when nothing is left to be done.")] = False,
) -> None:
    """Run jobs, a line for each that ended, until SIGTERM or Ctrl-C: then what is under way is finished or handed back.

    A second signal does not wait for handlers. A job of an unknown type is left to others.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    out = sys.stdout
    # What handlers print is not the result.
    with redirect_stdout(sys.stderr), cli.store() as store:
        found = _load(handlers)

        def tell(ended: Ended) -> None:
            try:
                typer.echo(to_json(ended) if cli.json else _line(ended), file=out)
                out.flush()
            except BrokenPipeError:  # nobody listens any more
                worker.stop()

        worker = Worker(
            store,
            found,
            worker_id=worker_id,
            concurrency=concurrency,
            lease_seconds=parse_duration(lease_seconds, option="--lease-seconds").total_seconds(),
            grace_seconds=parse_duration(grace_seconds, option="--grace-seconds").total_seconds(),
            on_end=tell,
        )
        hint(f"{worker.worker_id} works on {', '.join(found)}; Ctrl-C ends it")
        worker.run(until_idle=drain)


def _load(place: str) -> Mapping[str, Any]:
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise InvalidInput(f"--handlers: {place!r} is no MODULE:NAME", field="handlers")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` has it
        sys.path.insert(0, here)
    found = getattr(_imported(module), name, None)
    if found is None:
        raise InvalidInput(f"--handlers: module {module!r} has no {name!r}", field="handlers")
    if not isinstance(found, Mapping):
        raise InvalidInput(f"--handlers: {place} is no mapping of job types to functions", field="handlers")
    return found


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise InvalidInput(
                f"--handlers: there is no module {module!r} here, nor installed", field="handlers"
            ) from error
        raise InvalidInput(f"--handlers: module {module!r} imports {error.name!r}, and there is none") from error
    except Exception as error:
        raise InvalidInput(
            f"--handlers: module {module!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _line(ended: Ended) -> str:
    job = ended.job
    seconds = 0.0 if job.started_at is None else (job.updated_at - job.started_at).total_seconds()
    error = f": {job.error}" if job.error else ""
    fired = f", fired {counted(len(ended.firings), 'rule')}" if ended.firings else ""
    told = f"{job.status.value} in {lasting(seconds)}{fired}{error}"
    return shown(f"{instant(job.updated_at)}  {job.type}  {job.id}  {told}")
