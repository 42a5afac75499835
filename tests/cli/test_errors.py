"""Each error ends a call with its exit code, and with one line that shows no password."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy.engine import make_url

from tests.cli.conftest import Line, run_line
from tests.conftest import needs_postgres
from vibeweaver_store import Store, errors
from vibeweaver_store.cli.errors import EXIT_CODES, exit_code, without_passwords
from vibeweaver_store.errors import (
    AlreadyClaimed,
    AlreadyExists,
    CorruptData,
    IllegalTransition,
    ImportRejected,
    InvalidInput,
    LeaseLost,
    MigrationFailed,
    NetworkFileSystemWarning,
    NotFound,
    SchemaMismatch,
    StaleWrite,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from vibeweaver_store.models import Session
from vibeweaver_store.testing import PostgresServer
from vibeweaver_store.testing.row_factory import EPOCH

CODES: list[tuple[StoreError, int]] = [
    (StoreError("what"), 1),
    (NotFound("session", "x"), 3),
    (AlreadyClaimed("ticket", "x", "worker", EPOCH), 4),
    (AlreadyExists("session", "x"), 4),
    (InvalidInput("what"), 4),
    (IllegalTransition("rule", "x", "fired", "fired"), 4),
    (ImportRejected("file.mid", "what"), 4),
    (LeaseLost("x", "what"), 4),
    (StaleWrite("session", "x", 1, Session(version=2)), 4),
    (StoreBusy("what"), 5),
    (StoreUnavailable("what"), 6),
    (CorruptData("what"), 6),
    (SchemaMismatch("what", found=None, expected="0001"), 6),
    (MigrationFailed("what"), 6),
]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(Store, "query", fail)


def test_every_class_of_error_has_an_exit_code() -> None:
    classes = {each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, StoreError)}

    assert set(EXIT_CODES) == classes == {type(error) for error, _ in CODES}


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda each: type(each).__name__)
def test_an_error_is_one_line_and_an_exit_code(
    line: Line, monkeypatch: pytest.MonkeyPatch, error: StoreError, code: int
) -> None:
    raising(monkeypatch, error)

    done = line("sessions", "list")

    assert (done.code, done.error) == (code, error.message)


def test_a_subclass_of_an_error_has_its_exit_code() -> None:
    class TooLong(InvalidInput):
        pass

    assert exit_code(TooLong("what")) == 4


def test_an_unexpected_error_exits_1_and_says_how_to_see_more(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, RuntimeError("out\nof order"))

    done = line("sessions", "list")

    assert (done.code, done.error) == (1, "RuntimeError: out of order (a bug; --debug shows where)")


def test_an_os_error_is_reported_in_its_own_words(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, PermissionError(13, "Permission denied", "/secret/place"))

    assert line("sessions", "list").error == "/secret/place: Permission denied"


def test_ctrl_c_exits_a_command_with_130_quietly(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())

    done = line("sessions", "list")

    assert (done.code, done.out, done.err) == (130, "", "")


def test_a_broken_pipe_is_no_error_of_a_command(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, BrokenPipeError(32, "Broken pipe"))

    done = line("sessions", "list")

    assert (done.code, done.out, done.err) == (0, "", "")


def test_an_error_message_cannot_move_the_cursor_or_take_two_lines(line: Line) -> None:
    assert line("sessions", "show", "a\nb\x1b[2J").error == "no session 'a\\nb\\x1b[2J'"


def test_a_name_that_is_not_text_is_refused_with_a_printable_message(line: Line) -> None:
    done = line("sessions", "create", "\udce9")

    assert done.code == 4
    assert "surrogate" in done.error


def test_a_python_warning_is_one_line_and_no_error(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object) -> None:
        warnings.warn("it lies on a network file system", NetworkFileSystemWarning, stacklevel=1)

    monkeypatch.setattr("vibeweaver_store.sqlite_file.check_file_system", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = run_line(["--db", sqlite_path, "sessions", "list", "--json"])

    assert (done.code, done.out) == (0, "")
    assert done.err == "vibeweaver-store: warning: it lies on a network file system\n"


# --- real ones -------------------------------------------------------------------------------------------------


def test_a_folder_as_a_database_is_one_error_line(tmp_path: Path) -> None:
    done = run_line(["--db", tmp_path, "sessions", "list"])

    assert done.code == 6
    assert "is a folder" in done.error


def test_a_file_that_is_not_a_database_is_one_error_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, only notes" * 100)

    assert run_line(["--db", tmp_path / "notes.txt", "sessions", "list"]).code == 6


def test_an_unknown_backend_is_refused() -> None:
    assert run_line(["--db", "mysql://u@h/d", "sessions", "list"]).code == 4


def test_a_database_locked_by_another_process_is_busy(line: Line, look: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBEWEAVER_BUSY_TIMEOUT_SECONDS", "0.1")
    with look.begin():
        done = line("sessions", "create", "late set")

    assert done.code == 5


# --- passwords -------------------------------------------------------------------------------------------------

PASSWORD = "s3cr3t-w0rd"
BAD_URLS = [
    f"postgresql://user:{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://user:{PASSWORD}@127.0.0.1:port/db",
    f"postgresql://user:x@{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://127.0.0.1:1/db?user=me&password={PASSWORD}",
    f"postgresql://user:{PASSWORD}@nowhere.invalid/db",
    f"postgresql+asyncpg://user:{PASSWORD}@127.0.0.1/db",
    f"mysql://user:{PASSWORD}@127.0.0.1/db",
    f"nonsense://user:{PASSWORD}@127.0.0.1/db",
    f"sqlite://user:{PASSWORD}@host/db",
    f"postgresql://user:{PASSWORD}",
]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("words", [["db", "current"], ["sessions", "list", "--debug"]], ids=" ".join)
def test_a_password_is_in_no_message_and_no_traceback(url: str, words: list[str]) -> None:
    done = run_line([*words, "--db", url])

    assert done.code in {1, 4, 6}
    assert PASSWORD not in done.out + done.err


@needs_postgres
def test_a_password_is_in_no_description(postgres_server: PostgresServer) -> None:
    name = postgres_server.make()
    url = make_url(postgres_server.url_of(name)).set(password=PASSWORD).render_as_string(hide_password=False)
    lines = [
        *(["db", "init"], ["db", "init", "--json"], ["db", "info"], ["db", "info", "--json"]),
        *(["db", "current", "--json"], ["db", "downgrade", "base"], ["db", "downgrade", "base", "--yes"]),
        ["sessions", "list"],  # it is not at head any more
    ]

    for words in lines:
        done = run_line(["--db", url, *words])
        assert PASSWORD not in done.out + done.err
    assert done.code == 6
    assert "db upgrade" in done.error
    postgres_server.drop(name)


@pytest.mark.parametrize(
    ("text", "database", "hidden"),
    [
        ("postgresql://me:pass@h/d", None, "postgresql://me:***@h/d"),
        ("see postgresql://h/d?password=pass&x=1", None, "see postgresql://h/d?password=***&x=1"),
        ("the word pass%2Fword, or pass/word", "postgresql://me:pass%2Fword@h/d", "the word ***, or ***"),
        ("no host 'ss@h'", "postgresql://me:pa@ss@h/d", "no host '***h'"),
        ("nothing to hide", "late-set.db", "nothing to hide"),
    ],
)
def test_passwords_are_hidden_anywhere_in_a_message(text: str, database: str | None, hidden: str) -> None:
    assert without_passwords(text, database) == hidden


def test_the_password_of_the_environment_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBEWEAVER_DATABASE", f"postgresql://me:{PASSWORD}@h/d")

    assert without_passwords(f"psycopg said {PASSWORD}") == "psycopg said ***"
