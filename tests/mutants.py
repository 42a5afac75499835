"""Break the lines whose loss would hurt most, one at a time, and see a fast test fail: ``python -m tests.mutants``.

A mutant is the package with one line broken. It is killed when the test that is named beside it fails. A mutant that
survives shows a line that no fast test protects: write that test. The checkout is never changed: the script breaks
copies of it, two at a time.

``python -m tests.mutants lease`` breaks only the mutants with that word in their name, file or test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeAlias

Backend: TypeAlias = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken line.

    Attributes:
        name: what goes wrong, as a sentence.
        file: the module, relative to the package.
        text: the source text that is replaced; it occurs once in the module.
        broken: what replaces it.
        test: the fast test that must fail, as ``file.py::test_name`` relative to ``tests``; no other test runs.
        backend: the backend that the test runs on.
    """

    name: str
    file: str
    text: str
    broken: str
    test: str
    backend: Backend = "sqlite"


MUTANTS: Final = (
    # Transactions
    Mutant(
        "a writer begins without the write lock",
        "engine.py",
        'begin="BEGIN IMMEDIATE", pool_size=1',
        'begin="BEGIN", pool_size=1',
        "test_engine.py::test_a_writing_unit_of_work_begins_immediate",
    ),
    Mutant(
        "SQLite does not check foreign keys",
        "engine.py",
        '"foreign_keys": int(foreign_keys)',
        '"foreign_keys": 0',
        "test_unit_of_work.py::test_a_row_without_its_parent_is_not_found",
    ),
    Mutant(
        "a block that raised is committed",
        "store.py",
        "            if kind is None:\n",
        "            if True:\n",
        "test_unit_of_work.py::test_a_unit_of_work_rolls_back_and_reraises_when_its_block_raises",
    ),
    Mutant(
        "half a unit of work is committed after a swallowed error",
        "guarded_session.py",
        "            self._failed = True\n",
        "            self._failed = False\n",
        "test_unit_of_work.py::test_a_swallowed_failed_statement_does_not_commit_half_on_either_backend",
    ),
    Mutant(
        "statements commit one by one once SQLite has rolled back",
        "guarded_session.py",
        "kept is None or self._failed or kept.is_undone:",
        "kept is None or self._failed:",
        "test_unit_of_work.py::test_a_unit_of_work_that_the_database_rolled_back_writes_nothing_more",
    ),
    Mutant(
        "a savepoint that failed keeps what it wrote",
        "unit_of_work.py",
        "                nested.rollback()\n",
        "                nested.commit()\n",
        "test_unit_of_work.py::test_a_savepoint_rolls_back_only_its_block",
    ),
    Mutant(
        "a commit of unknown outcome is run again",
        "unit_of_work.py",
        "            error.transient = False\n",
        "            error.transient = True\n",
        "test_unit_of_work.py::test_a_commit_that_lost_the_connection_is_not_run_again",
    ),
    Mutant(
        "an operation is run again with an iterator that is used up",
        "opened.py",
        "    if any(isinstance(each, Iterator) for each in given):\n",
        "    if False:\n",
        "test_unit_of_work.py::test_an_operation_with_a_used_up_iterator_is_not_run_again",
    ),
    Mutant(
        "a connection with an open transaction is handed on",
        "kept.py",
        "        sound = kept.is_sound()\n",
        "        sound = True\n",
        "test_kept.py::test_a_connection_whose_transaction_could_not_be_rolled_back_is_not_handed_on",
    ),
    Mutant(
        "a cancelled task leaves its commit half done",
        "async_unit_of_work.py",
        "await asyncio.shield(task)",
        "await task",
        "test_async_store.py::test_a_task_cancelled_amid_the_end_of_its_unit_of_work_finishes_that_first",
    ),
    Mutant(
        "reading on a server sees no snapshot",
        "engine.py",
        'isolation_level="REPEATABLE READ", postgresql_readonly',
        'isolation_level="READ COMMITTED", postgresql_readonly',
        "test_unit_of_work.py::test_a_reading_unit_of_work_sees_one_snapshot",
        backend="postgresql",
    ),
    Mutant(
        "a deadlock is not run again",
        "driver_errors.py",
        'with another one", transient=True)',
        'with another one", transient=False)',
        "test_engine.py::test_a_deadlocked_operation_on_postgresql_is_run_again",
        backend="postgresql",
    ),
    # Locks
    Mutant(
        "two threads have the turn to write at once",
        "locks.py",
        "            if self._holder is None:\n                ticket =",
        "            if True:\n                ticket =",
        "test_locks.py::test_the_writer_queue_passes_the_turn_on_in_order_of_asking",
    ),
    Mutant(
        "a fork does not wait for the units of work of other threads",
        "locks.py",
        "            self._changed.wait_for(is_alone, timeout_seconds)\n",
        "            is_alone()\n",
        "test_locks.py::test_a_waiting_fork_gate_admits_no_further_task_of_a_loop",
    ),
    Mutant(
        "two processes migrate one file at once",
        "locks.py",
        "        lock.acquire(timeout=timeout_seconds, poll_interval=0.01)\n",
        "        pass\n",
        "test_schema.py::test_a_migration_blocked_by_another_process_is_store_busy",
    ),
    Mutant(
        "two processes migrate one server at once",
        "schema.py",
        "        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))\n",
        "",
        "test_schema.py::test_a_migration_on_postgresql_that_another_process_holds_up_is_store_busy",
        backend="postgresql",
    ),
    # Files, migrations, backups
    Mutant(
        "commits go into a file that was replaced",
        "opened.py",
        "sqlite_file.identity(self._path) != self._file",
        "False",
        "test_store_open.py::test_a_file_deleted_or_replaced_under_an_open_store_is_not_recreated",
    ),
    Mutant(
        "commits go into a -wal file that was deleted",
        "opened.py",
        "        if found != self._wal:\n",
        "        if False:\n",
        "test_failures.py::test_a_store_whose_wal_was_deleted_accepts_no_more_writes",
    ),
    Mutant(
        "the database of another application is taken for a store",
        "sqlite_file.py",
        "    if application_id not in {APPLICATION_ID, 0} or (tables and application_id == 0):\n",
        "    if False:\n",
        "test_store_open.py::test_opening_a_file_that_is_not_a_store_is_refused_and_leaves_it",
    ),
    Mutant(
        "connecting makes an empty file in place of one that is gone",
        "engine.py",
        'sqlite_file.uri(target.file, "rw")',
        'sqlite_file.uri(target.file, "rwc")',
        "test_engine.py::test_connecting_makes_no_file",
    ),
    Mutant(
        "a file with data is migrated without a backup",
        "schema.py",
        "        if any(counts.values()):\n",
        "        if False:\n",
        "test_schema.py::test_a_migration_copies_a_file_with_data_first",
    ),
    Mutant(
        "a migration that loses rows is committed",
        "schema.py",
        "        if lost:\n",
        "        if False:\n",
        "test_schema.py::test_a_migration_on_sqlite_that_loses_rows_or_parents_is_rolled_back",
    ),
    Mutant(
        "a copy that lost rows becomes a backup",
        "backup.py",
        "    if found != there:\n",
        "    if False:\n",
        "test_backup.py::test_a_backup_whose_copy_has_other_rows_gets_no_name",
    ),
    Mutant(
        "a damaged copy becomes a backup",
        "sqlite_copy.py",
        '        if faults != ["ok"]:\n',
        "        if False:\n",
        "test_backup.py::test_a_database_whose_rows_break_a_check_is_not_backed_up",
    ),
    Mutant(
        "a file has its name before it is on disk",
        "whole_file.py",
        "        sync(temporary)\n",
        "",
        "test_backup.py::test_a_backup_is_on_disk_before_it_has_its_name_and_then_its_name_is",
    ),
    Mutant(
        "a damaged backup is restored",
        "restore.py",
        "found = sqlite_copy.checked_contents(new, backup, progress)",
        "found = sqlite_copy.Contents(None, {})",
        "test_restore.py::test_a_restore_refuses_an_unsound_backup_and_changes_nothing",
    ),
    # Cursors and followers
    Mutant(
        "a cursor of another listing is taken",
        "paging.py",
        "    if digest != _digest(payload, order) or _spell(raw) != text:\n",
        "    if _spell(raw) != text:\n",
        "services/test_cursors.py::test_a_cursor_of_one_listing_is_refused_by_others",
    ),
    Mutant(
        "a follower is given entries again",
        "store.py",
        "                cursor = page.end_cursor\n",
        "",
        "services/test_history_followed.py::test_a_history_follower_gives_existing_entries_then_added_ones",
    ),
    Mutant(
        "a follower misses what was announced while it had no connection",
        "following.py",
        "            self._listen()\n            return True\n",
        "            self._listen()\n            return False\n",
        "services/test_history_followed.py::test_a_watch_looks_again_once_the_server_has_dropped_the_connection",
        backend="postgresql",
    ),
    Mutant(
        "an entry that is committed late is passed over",
        "services/session_rows.py",
        "col(Session.last_activity_at)).where(_OF_ID).with_for_update(key_share=True)\n",
        "col(Session.last_activity_at)).where(_OF_ID)\n",
        "services/test_concurrency.py::test_a_history_reader_does_not_skip_an_entry_committed_late",
        backend="postgresql",
    ),
    # Jobs
    Mutant(
        "two leases have one token",
        "services/job_claims.py",
        "        token=new_id(),\n",
        '        token="token",\n',
        "services/test_job_claims.py::test_each_job_claim_has_its_own_token",
    ),
    Mutant(
        "a worker writes to a job that another has taken over",
        "services/job_rows.py",
        '        col(Job.lease_token) == sa.bindparam("held_token"),\n',
        '        sa.bindparam("held_token").is_not(None),\n',
        "services/test_job_fencing.py::test_a_job_write_fails_once_another_worker_has_taken_over",
    ),
    Mutant(
        "a worker writes to a job past its lease",
        "services/job_rows.py",
        '        ends > sa.bindparam("present", type_=UtcDateTime()),\n',
        '        sa.bindparam("present", type_=UtcDateTime()).is_not(None),\n',
        "services/test_job_fencing.py::test_a_job_write_fails_once_the_lease_expires",
    ),
    Mutant(
        "a unit of work is committed though its lease expired meanwhile",
        "services/job_leases.py",
        "    if until is not None and until <= uow.present():\n",
        "    if False:\n",
        "services/test_job_leases.py::test_a_lease_that_expires_during_its_unit_of_work_rolls_it_back",
    ),
    Mutant(
        "a job is taken over amid the unit of work of its lease",
        "services/job_leases.py",
        "    .with_for_update(key_share=True)\n",
        "",
        "services/test_job_leases.py::test_a_job_is_not_taken_over_during_the_unit_of_work_of_its_lease",
        backend="postgresql",
    ),
    Mutant(
        "a claim waits for the claims of others",
        "services/job_claims.py",
        "return best.with_for_update(key_share=True, skip_locked=True)",
        "return best.with_for_update(key_share=True)",
        "services/test_job_races.py::test_a_job_claim_does_not_wait_for_other_claims",
        backend="postgresql",
    ),
    # Rules, sessions, snapshots
    Mutant(
        "a one-shot rule fires twice",
        "services/rule_firing.py",
        "sa.case((col(Rule.one_shot) == sa.true(), sa.false()), else_=sa.true()),",
        "sa.true(),",
        "services/test_rule_firing.py::test_a_one_shot_rule_fires_once",
    ),
    Mutant(
        "a rule fires while somebody switches it off, and is on again",
        "services/rule_firing.py",
        "candidates(uow, session_id, checked, locked=True)",
        "candidates(uow, session_id, checked)",
        "services/test_concurrency.py::test_a_rule_that_a_statement_of_ones_own_switches_off_meanwhile_does_not_fire",
        backend="postgresql",
    ),
    Mutant(
        "an update overwrites what somebody wrote meanwhile",
        "services/session_rows.py",
        "    if expected_version is not None and session.version != expected_version:\n",
        "    if False:\n",
        "services/test_sessions.py::test_an_update_at_another_version_is_refused_with_the_current_session",
    ),
    Mutant(
        "a damaged snapshot is loaded",
        "services/snapshots.py",
        "    if found != snapshot.sha256:\n",
        "    if False:\n",
        "services/test_snapshots.py::test_a_damaged_snapshot_is_not_loaded",
    ),
    # Tickets and coordination
    Mutant(
        "two workers hold one ticket",
        "services/ticket_claims.py",
        "        sa.or_(own, *_is_free(uow)),\n",
        "",
        "services/test_ticket_claims.py::test_a_ticket_held_by_another_worker_is_not_claimed",
    ),
    Mutant(
        "a coordinator is given an event again",
        "services/coordination.py",
        "col(CoordinationEvent.processed) == sa.false(), *which)\n",
        "*which)\n",
        "services/test_coordination.py::test_events_are_taken_oldest_first_and_only_once",
    ),
    # Imports
    Mutant(
        "an import that was stopped goes on",
        "services/imports.py",
        'sa.bindparam("key"), col(Import.status) == ImportStatus.RUNNING]',
        'sa.bindparam("key")]',
        "services/test_imports.py::test_writing_to_an_ended_import_is_refused",
    ),
    Mutant(
        "half a line is taken for a broken one",
        "importers/jsonl.py",
        "            if line.problem and not whole and not _is_broken_for_good(line):\n",
        "            if False:\n",
        "importers/test_jsonl.py::test_a_torn_last_jsonl_line_is_left_for_later",
    ),
    Mutant(
        "secrets of transcripts are stored",
        "importers/transcripts.py",
        "redact(each, line.raw) if self._manner.redact else (each, 0)",
        "(each, 0)",
        "importers/test_claude_code.py::test_a_transcript_import_redacts_secrets_before_it_stores_them",
    ),
)


# --- running ---------------------------------------------------------------------------------------------------

TOP: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "vibeweaver_store"

_COPIED: Final = (PACKAGE, "alembic", "tests", "pyproject.toml")
_SERVER_VARIABLE: Final = "VIBEWEAVER_TEST_POSTGRES_URL"
_AT_ONCE: Final = 2
_TIMEOUT_SECONDS: Final = 120.0
_TIMEOUT_OF_ALL_SECONDS: Final = 600.0

Outcome: TypeAlias = Literal["killed", "survived", "hung", "unclear"]
"""``hung``: the test ran into the timeout. ``unclear``: no test failed, but a fixture or an import did.

Only ``killed`` is good: a mutant that hangs or breaks everything says nothing of the test beside it.
"""


def main(words: Sequence[str]) -> int:
    """Break all mutants, or those with one of the words in them; return 1 unless each is killed."""
    chosen = [mutant for mutant in MUTANTS if _is_meant(mutant, words)]
    for mutant in chosen:
        applied(mutant, (TOP / PACKAGE / mutant.file).read_text())
    if not os.environ.get(_SERVER_VARIABLE):
        there = len(chosen)
        chosen = [mutant for mutant in chosen if mutant.backend == "sqlite"]
        if there > len(chosen):
            print(f"{_SERVER_VARIABLE} is not set: {there - len(chosen)} mutants of PostgreSQL are left out")
    if not chosen:
        print("there is no such mutant")
        return 1
    started = time.monotonic()
    outcomes = _run(chosen)
    killed = outcomes.count("killed")
    print(f"{killed} of {len(chosen)} mutants killed in {time.monotonic() - started:.0f} s")
    return 0 if killed == len(chosen) else 1


def _is_meant(mutant: Mutant, words: Sequence[str]) -> bool:
    return not words or any(word in f"{mutant.name} {mutant.file} {mutant.test}" for word in words)


def _run(mutants: Sequence[Mutant]) -> list[Outcome]:
    """Try the mutants and return what became of each; nothing where their tests fail on the code as it is."""
    with TemporaryDirectory(prefix="vibeweaver-mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(_AT_ONCE)]
        _copy_checkout(copies[0])
        if not all(_pass_unbroken(copies[0], mutants, backend) for backend in ("sqlite", "postgresql")):
            return []
        for copy in copies[1:]:
            shutil.copytree(copies[0], copy)  # with what Python has compiled
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in copies:
            free.put(copy)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(lambda mutant: _try(free, mutant), mutants))


def _copy_checkout(copy: Path) -> None:
    copy.mkdir()
    for name in _COPIED:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(TOP / name, copy)


def _pass_unbroken(copy: Path, mutants: Iterable[Mutant], backend: Backend) -> bool:
    """Say whether each test of the mutants of a backend passes while nothing is broken, and is not skipped."""
    tests = sorted({mutant.test for mutant in mutants if mutant.backend == backend})
    if not tests:
        return True
    options = ("-n", str(_AT_ONCE), "--tb=short", "-rpfE")
    done = _pytest(copy, tests, backend, *options, timeout_seconds=_TIMEOUT_OF_ALL_SECONDS)
    lines = done.stdout.splitlines()
    missing = [test for test in tests if not any(line.startswith(f"PASSED tests/{test}") for line in lines)]
    if done.returncode == 0 and not missing:
        return True
    print("\n".join(line for line in lines if not line.startswith("PASSED ")))
    print("the tests must pass before a line is broken; these did not run:", *missing or ["none"], sep="\n  ")
    return False


def _try(free: SimpleQueue[Path], mutant: Mutant) -> Outcome:
    """Break a line in a copy that is free, run the mutant's test, and say what became of it."""
    copy = free.get()
    started = time.monotonic()
    try:
        with _broken(copy / PACKAGE / mutant.file, mutant):
            outcome = _outcome(copy, mutant)
    finally:
        free.put(copy)
    print(f"{outcome:9}{time.monotonic() - started:5.1f} s  {mutant.name} ({mutant.file})", flush=True)
    return outcome


@contextmanager
def _broken(module: Path, mutant: Mutant) -> Iterator[None]:
    whole, status = module.read_text(), module.stat()
    module.write_text(applied(mutant, whole))
    try:
        yield
    finally:
        module.write_text(whole)
        os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))  # what Python compiled is of this time


def applied(mutant: Mutant, whole: str) -> str:
    """Return the text of a module with a mutant's line broken.

    Raises:
        ValueError: the text to be replaced does not occur once.
    """
    count = whole.count(mutant.text)
    if count != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} holds {count} times, not once, {mutant.text!r}")
    return whole.replace(mutant.text, mutant.broken)


def _outcome(copy: Path, mutant: Mutant) -> Outcome:
    try:
        done = _pytest(copy, [mutant.test], mutant.backend, "-x", "--tb=no", keep_compiled=False)
    except subprocess.TimeoutExpired:
        return "hung"
    if done.returncode == 0:
        return "survived"
    return "killed" if any(line.startswith("FAILED ") for line in done.stdout.splitlines()) else "unclear"


def _pytest(
    copy: Path,
    tests: Iterable[str],
    backend: Backend,
    *options: str,
    keep_compiled: bool = True,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy, on one backend.

    Raises:
        subprocess.TimeoutExpired: they take too long.
    """
    left_out = {"VIBEWEAVER_TEST_ALL", "PYTHONDONTWRITEBYTECODE"}
    if backend == "sqlite":
        left_out.add(_SERVER_VARIABLE)
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PYTHONPATH"] = str(copy)  # goes before the checkout, where that is installed
    if not keep_compiled:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    chosen = ["-k", "not sqlite"] if backend == "postgresql" else []
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(*options, *chosen, *(f"tests/{test}" for test in tests)),
        ],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_seconds,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
