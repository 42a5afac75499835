"""``snapshots`` on the line: bytes in, the same bytes out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import Line
from vibeweaver_store import Session, Store, snapshots
from vibeweaver_store.cli import app, options

STATE = bytes(range(256)) * 40


def test_snapshots_save_reads_a_file_and_load_writes_one(line_on_both: Line, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(STATE)
    line_on_both("sessions", "create", "late set", "--id", "jam")
    saved = line_on_both("snapshots", "save", "jam", tmp_path / "in.bin", "--label", "drop")
    loaded = line_on_both("snapshots", "load", "jam", "-o", tmp_path / "out.bin")

    assert (saved.code, saved.out, saved.err) == (0, "1\n", "")
    assert (loaded.code, loaded.out) == (0, "")
    assert loaded.err == f"snapshot 1, 10 KiB, written to {tmp_path / 'out.bin'}\n"
    assert (tmp_path / "out.bin").read_bytes() == STATE


def test_snapshots_save_reads_stdin_and_load_writes_stdout(line: Line, jam: Session, sqlite_path: Path) -> None:
    line("snapshots", "save", "jam", "-", stdin=STATE)

    assert CliRunner().invoke(app, ["snapshots", "load", "jam", "--db", str(sqlite_path)]).stdout_bytes == STATE


def test_snapshots_save_takes_an_empty_state(line: Line, jam: Session, tmp_path: Path) -> None:
    line("snapshots", "save", "jam", "-", stdin=b"")
    line("snapshots", "load", "jam", "-o", tmp_path / "out.bin")

    assert (tmp_path / "out.bin").read_bytes() == b""


def test_snapshots_save_prints_the_columns_but_the_state_as_json(line: Line, jam: Session) -> None:
    document = line("snapshots", "save", "jam", "-", "--json", stdin=STATE).document

    assert document.pop("captured_at").endswith("Z")
    assert document == {
        "id": 1,
        "session_id": "jam",
        "size_bytes": len(STATE),
        "sha256": hashlib.sha256(STATE).hexdigest(),
        "label": None,
    }


def test_snapshots_save_can_keep_only_the_newest(line: Line, look: Store, jam: Session) -> None:
    for _ in range(3):
        line("snapshots", "save", "jam", "-", "--keep", 2, stdin=b"x")

    assert [each.id for each in look.query(snapshots.page, "jam").items] == [3, 2]


def test_snapshots_load_takes_the_number_of_an_older_snapshot(line: Line, jam: Session) -> None:
    line("snapshots", "save", "jam", "-", stdin=b"first")
    line("snapshots", "save", "jam", "-", stdin=b"second")

    assert line("snapshots", "load", "jam", "--id", 1).out == "first"
    assert line("snapshots", "load", "jam").out == "second"


def test_snapshots_save_refuses_a_missing_file(line: Line, jam: Session, tmp_path: Path) -> None:
    done = line("snapshots", "save", "jam", tmp_path / "none.bin")

    assert (done.code, done.error) == (4, f"{tmp_path / 'none.bin'}: No such file or directory")


def test_snapshots_load_refuses_a_place_it_cannot_write(line: Line, jam: Session, tmp_path: Path) -> None:
    line("snapshots", "save", "jam", "-", stdin=b"x")
    done = line("snapshots", "load", "jam", "-o", tmp_path)

    assert (done.code, done.error) == (4, f"{tmp_path}: Is a directory")


def test_snapshots_save_stops_reading_a_file_over_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(Exception, match="more than 1 MiB"):
        options.read_file(tmp_path / "huge", 1024**2)


def test_snapshots_list_shows_the_newest_first(line: Line, jam: Session) -> None:
    for label in ("one", "two"):
        line("snapshots", "save", "jam", "-", "--label", label, stdin=b"x")
    listed = line("snapshots", "list", "jam")

    assert [row.split()[0] for row in listed.out.splitlines()] == ["ID", "2", "1"]
    assert [each["label"] for each in line("snapshots", "list", "jam", "--json").documents] == ["two", "one"]


def test_snapshots_prune_keeps_the_newest(line: Line, look: Store, jam: Session) -> None:
    for _ in range(3):
        line("snapshots", "save", "jam", "-", stdin=b"x")
    done = line("snapshots", "prune", "jam", "--keep", 1, "--yes")

    assert (done.code, done.out, done.err) == (0, "", "deleted 2 snapshots\n")
    assert [each.id for each in look.query(snapshots.page, "jam").items] == [3]


def test_snapshots_prune_needs_confirmation(line: Line, look: Store, jam: Session) -> None:
    line("snapshots", "save", "jam", "-", stdin=b"x")
    line("snapshots", "save", "jam", "-", stdin=b"y")

    assert line("snapshots", "prune", "jam", "--keep", 1).code == 2
    assert len(look.query(snapshots.page, "jam").items) == 2


@pytest.mark.parametrize(
    "words", [["save", "nobody", "-"], ["load", "nobody"], ["list", "nobody"], ["prune", "nobody", "--keep", "1", "-y"]]
)
def test_snapshots_commands_on_a_missing_session_exit_3(line: Line, words: list[str]) -> None:
    assert line("snapshots", *words).error == "no session 'nobody'"


def test_snapshots_load_of_a_session_without_snapshots_exits_3(line: Line, jam: Session) -> None:
    assert line("snapshots", "load", "jam").code == 3
