"""``db check`` and ``db maintain`` on the line: what stands there, and the exit code that CI goes by."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.conftest import Line, RunAtTerminal, run_line
from vibeweaver_store import Session, Store, history, schema, sessions


def test_db_check_passes_a_sound_database(line_on_both: Line, database: str) -> None:
    done = line_on_both("db", "check")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].split() == ["CHECK", "VERDICT", "WHAT", "WAS", "FOUND"]
    assert "nothing is broken" in done.out.splitlines()[-1]


def test_db_check_reports_every_finding_in_one_json_document(line_on_both: Line) -> None:
    done = line_on_both("db", "check", "--json")

    assert done.code == 0
    assert (done.document["broken"], done.err) == (False, "")
    assert {
        "name": "revision",
        "verdict": "ok",
        "said": f"{schema.head()} (head)",
        "details": {},
    } in done.document["findings"]
    assert done.document["warnings"] == len([each for each in done.document["findings"] if each["verdict"] != "ok"])


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_db_check_names_a_broken_finding_and_fails(line_on_both: Line, database: str, option: list[str]) -> None:
    with Store.open(database) as store, store.begin() as uow:
        uow.execute(sa.text("DROP INDEX ix_markers_by_beat"))
    done = line_on_both("db", "check", *option)

    assert (done.code, done.err) == (6, "")
    assert "missing index: ix_markers_by_beat" in done.out
    if option:
        assert done.document["broken"] is True
    else:
        assert "broken: drift" in done.out.splitlines()[-1]


def test_db_check_fails_on_a_warning_only_if_strict(line: Line, sqlite_path: Path) -> None:
    sqlite_path.chmod(0o644)

    assert line("db", "check").code == 0
    done = line("db", "check", "--strict")

    assert done.code == 6
    assert "0644" in done.out
    assert "warning" in done.out.splitlines()[-1]


def test_db_check_of_a_missing_file_fails_and_makes_none(tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path / "none.db", "db", "check"])

    assert done.code == 6
    assert "db init" in done.out
    assert list(tmp_path.iterdir()) == []


def test_db_check_and_maintain_refuse_an_in_memory_database(tmp_path: Path) -> None:
    assert "in-memory" in run_line(["--db", ":memory:", "db", "check"]).error
    assert "in-memory" in run_line(["--db", ":memory:", "db", "maintain"]).error


def test_db_check_of_an_unreachable_server_fails_without_a_password() -> None:
    done = run_line(["--db", "postgresql://vibe:s3cret@127.0.0.1:1/nothing", "db", "check", "--json"])

    assert done.code == 6
    assert "s3cret" not in done.out + done.err


def test_db_check_at_a_terminal_folds_long_findings(sqlite_path: Path, run_at_terminal: RunAtTerminal) -> None:
    code, shown = run_at_terminal("--db", sqlite_path, "db", "check")

    assert code == 0
    assert max(len(line) for line in shown.splitlines() if str(sqlite_path) not in line) <= 120


def test_db_check_takes_a_name_that_is_not_unicode(tmp_path: Path, run_process: Line) -> None:
    path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.db")
    Store.open(path).close()

    assert run_process("--db", path, "db", "check").code == 0


def test_db_maintain_says_what_it_gained(line: Line, look: Store) -> None:
    fill_and_empty(look)
    done = line("db", "maintain")

    assert (done.code, done.err) == (0, "")
    card = dict(row.split(maxsplit=1) for row in done.out.splitlines())
    assert card["wal"].endswith(" to 0 bytes")
    assert card["freed"].endswith(" pages, 0 left empty")
    assert line("db", "maintain").out.splitlines()[3].split() == ["freed", "0", "pages,", "0", "left", "empty"]


def test_db_maintain_reports_in_one_json_document(line_on_both: Line) -> None:
    done = line_on_both("db", "maintain", "--json")

    assert (done.code, done.err) == (0, "")
    assert {"place", "size_before", "size_after", "wal_after", "pages_freed", "analyzed"} <= set(done.document)


def fill_and_empty(store: Store) -> None:
    with store.begin() as uow:
        sessions.create(uow, name="jam", session_id="jam")
        history.append_many(uow, "jam", (history.NewEntry("x", params="y" * 500) for _ in range(1000)))
    store.run(sessions.delete, "jam")


def test_db_maintain_hints_at_readers_that_held_it_up(line: Line, look: Store, jam: Session) -> None:
    with look.read() as reader:
        sessions.page(reader)
        look.run(history.append, jam.id, "later")
        done = line("db", "maintain")

    assert done.code == 0
    assert "run it again later" in done.err


def test_db_maintain_hints_at_a_file_that_cannot_shrink(line: Line, sqlite_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    with Store.open(sqlite_path) as store:
        fill_and_empty(store)
    done = line("db", "maintain")

    assert done.code == 0
    assert "VACUUM" in done.err


def test_db_maintain_makes_no_file(tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path / "none.db", "db", "maintain"])

    assert done.code == 6
    assert "no such file" in done.error
    assert list(tmp_path.iterdir()) == []
