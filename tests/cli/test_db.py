"""``db`` on the line: it works on any schema, and opens a store only to describe one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Line, run_line
from vibeweaver_store import Session, Store, schema
from vibeweaver_store.models import METADATA
from vibeweaver_store.upkeep.info import describe


def test_db_init_makes_a_database(empty_database: str) -> None:
    done = run_line(["db", "init", "--db", empty_database])

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f" went from base to {schema.head()}\n")
    assert schema.current(empty_database) == schema.head()


def test_db_init_of_an_existing_database_says_so(line_on_both: Line) -> None:
    done = line_on_both("db", "init")

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f" is at {schema.head()} already\n")


def test_db_init_reports_in_json(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    assert run_line(["--db", path, "db", "init", "--json"]).document == {
        "place": str(path),
        "before": None,
        "after": schema.head(),
        "backup": None,
    }


def test_db_current_prints_the_revision(line_on_both: Line) -> None:
    done = line_on_both("db", "current")

    assert (done.code, done.out, done.err) == (0, f"{schema.head()} (head)\n", "")


def test_db_current_hints_at_a_missing_upgrade(line_on_both: Line) -> None:
    line_on_both("db", "downgrade", "base", "--yes")
    done = line_on_both("db", "current")

    assert (done.code, done.out) == (0, "base\n")
    assert "db upgrade" in done.err
    assert line_on_both("db", "current", "--json").document["revision"] is None


def test_db_current_of_a_missing_file_makes_none(tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path / "none.db", "db", "current"])

    assert done.code == 6
    assert "vibeweaver-store db init" in done.error
    assert list(tmp_path.iterdir()) == []


def test_db_downgrade_and_upgrade_go_down_and_up_again(line_on_both: Line) -> None:
    down = line_on_both("db", "downgrade", "base", "--yes", "--json").document
    up = line_on_both("db", "upgrade", "+1", "--json").document

    assert (down["before"], down["after"]) == (schema.head(), None)
    assert (up["before"], up["after"]) == (None, schema.history()[0].number)


def test_db_downgrade_prints_the_path_of_its_copy(line: Line, jam: Session) -> None:
    done = line("db", "downgrade", "--yes", "--", "-1")
    backup = Path(done.err.removeprefix("the database as it was: ").strip())

    assert done.code == 0
    with Store.open(backup) as copy:
        assert describe(copy).rows["sessions"] == 1


def test_db_downgrade_needs_confirmation(line: Line) -> None:
    done = line("db", "downgrade", "base")

    assert done.code == 2
    assert "say --yes" in done.error
    assert line("db", "current").out == f"{schema.head()} (head)\n"


def test_db_upgrade_refuses_an_unknown_revision(line: Line) -> None:
    done = line("db", "upgrade", "9999")

    assert done.code == 4
    assert "there are base, 0001" in done.error


def test_db_downgrade_to_the_current_revision_says_so(line: Line, jam: Session) -> None:
    done = line("db", "downgrade", "head", "--yes")

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f" is at {schema.head()} already\n")


def test_db_history_lists_the_migrations(line: Line) -> None:
    assert line("db", "history").out.splitlines()[1].split() == ["0001", "create", "the", "weaving", "tables"]
    assert [each["number"] for each in line("db", "history", "--json").documents] == [
        each.number for each in schema.history()
    ]


def test_db_history_needs_no_database(tmp_path: Path) -> None:
    assert run_line(["--db", tmp_path / "none.db", "db", "history"]).code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("backend", "word"), [("sqlite", "STRICT"), ("postgresql", "JSONB")])
def test_db_sql_prints_the_statements_of_migrations(backend: str, word: str) -> None:
    done = run_line(["db", "sql", "--backend", backend])

    assert (done.code, done.err) == (0, "")
    assert "CREATE TABLE sessions" in done.out
    assert word in done.out


def test_db_sql_of_no_steps_has_no_tables() -> None:
    assert "CREATE TABLE" not in run_line(["db", "sql", "--from", "head"]).out


def test_db_sql_of_a_downgrade_is_refused() -> None:
    done = run_line(["db", "sql", "--from", "0002", "--to", "0001"])

    assert done.code == 4
    assert "0002 comes after 0001" in done.error


def test_db_info_describes_a_database(line_on_both: Line) -> None:
    line_on_both("sessions", "create", "late set")
    document = line_on_both("db", "info", "--json").document

    assert document["backend"] in {"sqlite", "postgresql"}
    assert (document["revision"], document["head"]) == (schema.head(), schema.head())
    assert document["rows"] == {table: int(table == "sessions") for table in METADATA.tables}
    assert document["size_bytes"] > 10_000
    assert document["server_version"][0].isdigit()
    assert bool(document["pragmas"]) == (document["backend"] == "sqlite")


def test_db_info_without_json_shows_the_same(line: Line, sqlite_path: Path) -> None:
    done = line("db", "info")

    assert (done.code, done.err) == (0, "")
    assert f"place     {sqlite_path}\n" in done.out
    assert "journal_mode" in done.out
    assert re.search(r"^sessions +0$", done.out, re.MULTILINE)


def test_db_info_of_an_in_memory_database_leaves_no_file() -> None:
    assert run_line(["--db", ":memory:", "db", "info", "--json"]).document["place"] == ":memory:"


def test_commands_other_than_db_make_a_missing_file(tmp_path: Path) -> None:
    assert run_line(["--db", tmp_path / "new.db", "sessions", "list"]).code == 0
    assert (tmp_path / "new.db").is_file()


@pytest.mark.parametrize("words", [["current"], ["info"], ["check"], ["maintain"], ["backup", "copy.db"]])
def test_a_path_that_is_not_unicode_is_escaped_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.db")
    assert run_line(["--db", path, "db", "init"]).code == 0
    document = run_line(["--db", path, "db", *words, "--json"]).document

    assert document["place"].endswith("caf\\xe9.db")
