"""``db backup`` and ``db restore`` on the line."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Line, RunAtTerminal, run_line
from tests.spawning import Processes
from vibeweaver_store import Session, Store, history, schema, sessions
from vibeweaver_store.backup import back_up


@pytest.fixture
def backup(tmp_path: Path, sqlite_template: Path) -> Path:
    """A backup with a session called new."""
    source = tmp_path / "source.db"
    shutil.copyfile(sqlite_template, source)
    with Store.open(source) as store:
        store.run(sessions.create, name="new")
    return back_up(source, tmp_path / "backup.db").path


def names(path: Path) -> list[str]:
    with Store.open(path) as store:
        return [str(jam.name) for jam in store.query(sessions.page).items]


def test_db_backup_prints_the_file_name_and_summarises_on_stderr(line: Line, jam: Session, tmp_path: Path) -> None:
    done = line("db", "backup", tmp_path / "a.db")

    assert (done.code, done.out) == (0, f"{tmp_path / 'a.db'}\n")
    assert re.fullmatch(rf"\d+(\.\d)? KiB, \d+ rows at revision {schema.head()}, checked, in \d\.\d s\n", done.err), (
        done.err
    )
    assert names(tmp_path / "a.db") == ["late set"]


def test_db_backup_into_a_folder_chooses_a_name(line: Line, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    done = line("db", "backup", tmp_path / "backups", "--compress", "gzip")

    assert re.fullmatch(rf".*/backups/store-{schema.head()}-\d{{8}}T\d{{6}}\.\d{{6}}Z\.db\.gz\n", done.out)
    assert Path(done.out.strip()).is_file()


def test_db_backup_reports_in_json(line: Line, jam: Session, tmp_path: Path, sqlite_path: Path) -> None:
    done = line("db", "backup", tmp_path / "a.db.zst", "--compress", "zstd", "--json")

    assert (done.code, done.err) == (0, "")
    assert done.document["rows"]["sessions"] == 1
    assert {name: done.document[name] for name in ("path", "place", "size_bytes", "revision", "compress")} == {
        "path": str(tmp_path / "a.db.zst"),
        "place": str(sqlite_path),
        "size_bytes": (tmp_path / "a.db.zst").stat().st_size,
        "revision": schema.head(),
        "compress": "zstd",
    }


def test_db_backup_overwrites_only_with_force(line: Line, jam: Session, tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("dear diary")

    refused = line("db", "backup", tmp_path / "a.db")
    assert (refused.code, refused.error) == (4, f"file '{tmp_path / 'a.db'}' exists already")
    assert (tmp_path / "a.db").read_text() == "dear diary"

    assert line("db", "backup", tmp_path / "a.db", "--force").code == 0
    assert names(tmp_path / "a.db") == ["late set"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{folder}/none/a.db"], 4, "there is no folder"),
        ([""], 4, "blank"),
        (["{folder}/store.db", "--force"], 4, "belongs to the database itself"),
        (["{folder}/a.db", "--compress", "rar"], 2, "rar"),
        ([], 2, "DEST"),
    ],
)
def test_db_backup_refuses_invalid_options(line: Line, tmp_path: Path, words: list[str], code: int, says: str) -> None:
    done = line("db", "backup", *[word.replace("{folder}", str(tmp_path)) for word in words])

    assert done.code == code
    assert says in done.error


def test_db_backup_of_a_missing_file_makes_none(tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path / "none.db", "db", "backup", tmp_path / "a.db"])

    assert done.code == 6
    assert list(tmp_path.iterdir()) == []


def test_db_backup_works_on_both_backends(
    processes: Processes, line_on_both: Line, backend: str, tmp_path: Path
) -> None:
    if backend == "postgresql" and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    line_on_both("sessions", "create", "late set")
    (tmp_path / "backups").mkdir()

    document = line_on_both("db", "backup", tmp_path / "backups", "--json").document

    assert document["rows"]["sessions"] == 1
    assert Path(document["path"]).suffix == {"sqlite": ".db", "postgresql": ".dump"}[backend]


def test_db_restore_replaces_the_database_and_prints_where_the_old_one_is(
    line: Line, sqlite_path: Path, backup: Path
) -> None:
    done = line("db", "restore", backup, "--yes")
    kept = Path(done.err.removeprefix("the database as it was: ").strip())

    assert done.code == 0
    assert done.out == f"{sqlite_path} is now {backup}, 1 row at revision {schema.head()}\n"
    assert kept.name.startswith("store.db.before-restore-")
    assert (names(sqlite_path), names(kept)) == (["new"], [])


def test_db_restore_reports_in_json(line: Line, sqlite_path: Path, backup: Path) -> None:
    done = line("db", "restore", backup, "--yes", "--json")

    assert done.document["place"] == str(sqlite_path)
    assert done.document["source"] == str(backup)
    assert done.document["revision"] == schema.head()
    assert done.document["rows"]["sessions"] == 1
    assert Path(done.document["kept"]).is_file()


def test_db_restore_needs_confirmation(line: Line, sqlite_path: Path, backup: Path) -> None:
    done = line("db", "restore", backup)

    assert done.code == 2
    assert f"Put {backup} in the place of {sqlite_path}" in done.error
    assert "say --yes" in done.error
    assert names(sqlite_path) == []


def test_db_restore_to_a_fresh_machine_needs_no_confirmation(tmp_path: Path, backup: Path) -> None:
    done = run_line(["--db", tmp_path / "data" / "fresh.db", "db", "restore", backup])

    assert (done.code, done.err) == (0, "")
    assert names(tmp_path / "data" / "fresh.db") == ["new"]


def test_db_restore_of_an_older_backup_says_it_will_be_migrated(line: Line, backup: Path) -> None:
    schema.downgrade(backup, "0001")

    done = line("db", "restore", backup, "--yes")

    assert done.code == 0
    assert f"it is brought to {schema.head()} when a store opens it" in done.err


def test_db_restore_of_a_file_that_is_not_a_backup_is_refused(line: Line, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a shopping list\n" * 100)

    assert line("db", "restore", tmp_path / "notes.txt", "--yes").code == 6
    assert line("db", "restore", tmp_path / "none.db", "--yes").code == 4


def test_db_restore_reports_a_missing_backup_before_it_asks(line: Line, tmp_path: Path) -> None:
    done = line("db", "restore", tmp_path / "none.db")

    assert done.code == 4
    assert "there is no such file" in done.error


def test_db_restore_of_an_open_database_is_busy(
    line: Line, look: Store, jam: Session, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIBEWEAVER_BUSY_TIMEOUT_SECONDS", "0.2")
    done = line("db", "restore", backup, "--yes")

    assert done.code == 5
    assert "has the database open" in done.error


def test_db_restore_on_postgresql_says_what_to_run_without_a_password(backup: Path) -> None:
    done = run_line(["--db", "postgresql://vibe:s3cret@server/late", "db", "restore", backup])

    assert done.code == 4
    assert "pg_restore --clean" in done.error
    assert "s3cret" not in done.err


# --- at a terminal ---------------------------------------------------------------------------------------------


def fill(path: Path) -> None:
    with Store.open(path) as store, store.begin() as uow:
        jam = sessions.create(uow, name="large")
        history.append_many(uow, jam.id, [history.NewEntry("x", params=os.urandom(2000).hex()) for _ in range(5000)])


def test_db_backup_at_a_terminal_shows_and_removes_a_progress_bar(
    sqlite_path: Path, tmp_path: Path, run_at_terminal: RunAtTerminal
) -> None:
    fill(sqlite_path)
    code, shown = run_at_terminal("--db", sqlite_path, "db", "backup", tmp_path / "a.db.gz", "--compress", "gzip")

    assert code == 0
    assert re.search(r"(copying|compressing|checking)\W.*━", shown)
    assert "\x1b[2K" in shown  # the bar goes
    assert str(tmp_path / "a.db.gz") in shown.replace("\r\n", "")


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, ["new"]), ("n\n", 1, [])])
def test_db_restore_asks_at_a_terminal(
    sqlite_path: Path, backup: Path, run_at_terminal: RunAtTerminal, answer: str, *, code: int, left: list[str]
) -> None:
    ended, shown = run_at_terminal("--db", sqlite_path, "db", "restore", backup, answer=answer)

    assert (ended, names(sqlite_path)) == (code, left)
    assert f"keep that as {sqlite_path.name}.before-restore-TIME? [y/N]" in shown


def test_db_backup_in_a_pipe_shows_no_progress_bar(sqlite_path: Path, tmp_path: Path, run_process: Line) -> None:
    done = run_process("--db", sqlite_path, "db", "backup", tmp_path / "a.db")

    assert done.code == 0
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) == 1
