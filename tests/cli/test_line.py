"""The line itself: options that go anywhere, help, and what is wrong with a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

import vibeweaver_store
from tests.cli.conftest import Done, Line, run_line
from vibeweaver_store.cli import app
from vibeweaver_store.cli.options import PriorityName
from vibeweaver_store.models import Priority
from vibeweaver_store.settings import Settings


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk the tree of commands."""
    command = getattr(command, "loaded", command)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


TREE = dict(commands(typer.main.get_command(app)))
LEAVES = [path for path, command in TREE.items() if not hasattr(command, "commands")]
GROUPS = [path for path in TREE if path not in LEAVES]

EXPECTED = {
    "db": {
        "init",
        "upgrade",
        "downgrade",
        "current",
        "history",
        "sql",
        "info",
        "backup",
        "restore",
        "check",
        "maintain",
    },
    "sessions": {
        "create",
        "list",
        "show",
        "update",
        "set-status",
        "search",
        "overview",
        "counts",
        "reconcile",
        "delete",
    },
    "workspaces": {"list", "show", "ensure", "delete"},
    "messages": {"list", "add", "tail"},
    "arenas": {
        "create",
        "show",
        "add-instance",
        "add-runtime",
        "set-runtimes",
        "set-instance-status",
        "record-diff",
        "finish",
    },
    "journal": {"list", "show", "thread", "associate", "counts", "usage"},
    "rules": {"add", "list", "show", "match", "fire", "due", "enable", "disable", "delete"},
    "markers": {"add", "list", "delete"},
    "history": {"list", "tail", "append", "count"},
    "snapshots": {"save", "load", "list", "prune"},
    "stats": {"record", "list", "show"},
    "projects": {"list", "show", "create", "update", "delete"},
    "worker-types": {"list", "show", "create", "update", "delete"},
    "tickets": {
        "list",
        "show",
        "create",
        "update",
        "check",
        "next-stage",
        "claim",
        "claim-next",
        "release",
        "complete-stage",
        "reopen-stage",
        "close",
        "comment",
        "delete",
    },
    "workers": {"list", "show", "register", "update", "heartbeat", "set-status", "stale", "reap", "delete"},
    "coordination": {"list", "take", "mark-processed", "delete", "prune"},
    "jobs": {"enqueue", "list", "show", "set-status", "retry", "cancel", "stats", "prune", "work"},
    "import": {
        "midi",
        "claude-code",
        "claude-stream",
        "ait42",
        "vibeweaver",
        "lulu",
        "vibe-ensemble",
        "memva",
        "list",
        "show",
        "undo",
    },
}


def test_the_command_tree_is_the_designed_one() -> None:
    found: dict[str, set[str]] = {}
    for path in LEAVES:
        if len(path) == 2:
            found.setdefault(path[0], set()).add(path[1])

    assert found == EXPECTED
    assert ("weave",) in LEAVES


# --- help ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TREE, ids=lambda path: " ".join(path) or "(root)")
def test_every_command_has_a_screen_of_help(path: tuple[str, ...]) -> None:
    done = run_line([*path, "--help"])

    assert (done.code, done.err) == (0, "")
    assert "Usage: vibeweaver-store" in done.out
    assert "--db" in done.out
    assert "--debug" in done.out
    assert len(done.out.splitlines()) <= 50
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_shows_an_example(path: tuple[str, ...]) -> None:
    assert f"vibeweaver-store {' '.join(path)}" in run_line([*path, "--help"]).out.partition("For example:")[2]


@pytest.mark.parametrize("path", TREE, ids=lambda path: " ".join(path) or "(root)")
def test_every_option_and_argument_is_explained(path: tuple[str, ...]) -> None:
    assert [param.name for param in TREE[path].params if not param.help] == []


@pytest.mark.parametrize("path", [path for path in LEAVES if path[-1] == "list"], ids=" ".join)
def test_every_lister_takes_json_limit_and_cursor(path: tuple[str, ...]) -> None:
    options = {option for param in TREE[path].params for option in param.opts}

    assert {"--json", "--limit", "--cursor"} <= options


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: " ".join(path) or "(root)")
def test_a_command_group_without_a_command_prints_its_help_on_stderr(path: tuple[str, ...]) -> None:
    done = run_line(path)

    assert (done.code, done.out) == (2, "")
    assert "Usage: vibeweaver-store" in done.err
    assert "Commands" in done.err


def test_the_version_option_prints_the_version() -> None:
    assert run_line(["--version"]) == Done(0, f"vibeweaver-store {vibeweaver_store.__version__}\n", "")


def test_priority_options_take_the_names_of_priorities() -> None:
    assert get_args(PriorityName) == tuple(priority.name.lower() for priority in Priority)


# --- options anywhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(5))
def test_the_db_option_may_stand_anywhere(place: int, tmp_path: Path) -> None:
    words: list[object] = ["sessions", "create", "late set", "--json"]
    words[place:place] = ["--db", tmp_path / "here.db"]

    assert run_line(words).code == 0
    assert (tmp_path / "here.db").is_file()


def test_the_last_db_option_counts(tmp_path: Path) -> None:
    run_line(["--db", tmp_path / "first.db", "sessions", "--db", tmp_path / "last.db", "list"])

    assert [path.name for path in tmp_path.glob("*.db")] == ["last.db"]


def test_the_environment_names_the_database_without_a_db_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIBEWEAVER_DATABASE", str(tmp_path / "env.db"))
    run_line(["sessions", "list"])
    run_line(["sessions", "list", "--db", tmp_path / "line.db"])

    assert {path.name for path in tmp_path.glob("*.db")} == {"env.db", "line.db"}


def test_the_default_database_is_the_users_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vibeweaver_store.engine.default_path", lambda: tmp_path / "own" / "store.db")

    assert run_line(["sessions", "list"]).code == 0
    assert (tmp_path / "own" / "store.db").is_file()


@pytest.mark.parametrize("place", range(4))
def test_the_debug_option_may_stand_anywhere(place: int, line: Line) -> None:
    words = ["sessions", "show", "nobody"]
    words.insert(place, "--debug")

    done = line(*words)

    assert done.code == 3
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1] == "vibeweaver-store: no session 'nobody'"


# --- what is wrong with a line ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see: vibeweaver-store --help"),
        (["sesions", "list"], "No such command 'sesions'. Did you mean 'sessions'?; see: vibeweaver-store --help"),
        (["rules", "lst"], "No such command 'lst'. Did you mean 'list'?; see: vibeweaver-store rules --help"),
        (
            ["sessions", "list", "--colour"],
            "No such option: --colour (Possible options: --cursor); see: vibeweaver-store sessions list --help",
        ),
        (["sessions", "show"], "Missing argument 'SESSION'; see: vibeweaver-store sessions show --help"),
        (["sessions", "list", "--limit", "few"], "Invalid value for '--limit'"),
        (["sessions", "list", "--db"], "requires an argument"),
        (["rules", "add", "x", "--on", "beat:4", "--do", "play", "--priority", "urgent"], "is not one of 'critical'"),
        (["--debug"], "Missing command; see: vibeweaver-store --help"),
    ],
)
def test_a_command_line_with_wrong_usage_exits_2_with_one_line(words: list[str], told: str) -> None:
    done = run_line(words)

    assert done.code == 2
    assert told in done.error


@pytest.mark.parametrize("limit", [0, 1001, -1])
def test_a_limit_option_out_of_range_is_refused(line: Line, limit: int) -> None:
    done = line("sessions", "list", "--limit", limit)

    assert done.code == 4
    assert "from 1 to 1,000" in done.error


def test_a_cursor_option_of_another_listing_is_refused(line: Line) -> None:
    assert line("sessions", "list", "--cursor", "abc").code == 4


def test_an_invalid_setting_of_the_environment_is_named_by_a_command(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIBEWEAVER_POOL_SIZE", "many")
    done = line("sessions", "list")

    assert done.code == 4
    assert done.error.startswith("VIBEWEAVER_POOL_SIZE: pool_size: Input should be a valid integer")
    assert Settings.model_fields["pool_size"]
