"""Commands that Ctrl-C ends: quietly, with 130, and with nothing left half done."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import environment
from tests.importers.midi_bytes import as_bytes, rest, tempo
from tests.spawning import Process, Processes
from vibeweaver_store import Store, history, rules, sessions


def line_of(processes: Processes, *words: object) -> Process:
    """Start a line that is interrupted later."""
    return processes.start_module("vibeweaver_store", *words, environment=environment(), warnings="error")


def test_ctrl_c_ends_weave_quietly_and_stops_the_transport(
    processes: Processes, tmp_path: Path, sqlite_path: Path, look: Store
) -> None:
    (tmp_path / "slow.mid").write_bytes(as_bytes([tempo(120), rest(1000)]))
    (tmp_path / "rules.json").write_text('[{"on": "beat:1", "do": "play"}, {"on": "transport:stopped", "do": "stop"}]')
    words = ["weave", tmp_path / "slow.mid", "--realtime", "--rules", tmp_path / "rules.json", "--db", sqlite_path]
    process = line_of(processes, *words)
    deadline = time.monotonic() + 30
    while not (found := look.query(sessions.page).items) or not look.query(
        history.count, found[0].id, action=rules.FIRED
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out = process.read_to_end()

    assert (process.returncode, out, process.stderr) == (130, "", "")
    fired = {rule.trigger_type.value: rule.fired_count for rule in look.query(rules.page_by_session, found[0].id).items}
    assert fired["transport"] == 1
    assert 1 <= fired["beat"] < 100


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_history_tail_follows_entries_of_others_until_ctrl_c(
    processes: Processes, database: str, store: Store, words: list[str]
) -> None:
    store.run(sessions.create, name="late set", session_id="jam")
    store.run(history.append, "jam", "before")
    process = line_of(processes, "--db", database, "history", "tail", "jam", "--follow", *words)
    assert "before" in process.read_line()
    for number in range(3):
        store.run(history.append, "jam", f"added.{number}")
        assert f"added.{number}" in process.read_line()
    process.send_signal(signal.SIGINT)

    assert process.read_to_end() == ""
    assert (process.returncode, process.stderr) == (130, "")


def test_ctrl_c_ends_a_backup_quietly_and_leaves_nothing(
    sqlite_path: Path, tmp_path: Path, processes: Processes
) -> None:
    with Store.open(sqlite_path) as store, store.begin() as uow:  # what takes a while to compress
        sessions.create(uow, name="large", session_id="large")
        history.append_many(uow, "large", [history.NewEntry("x", params=os.urandom(2000).hex()) for _ in range(5000)])
    (tmp_path / "backups").mkdir()
    words = ["--db", sqlite_path, "db", "backup", tmp_path / "backups", "--compress", "gzip"]
    process = line_of(processes, *words)
    deadline = time.monotonic() + 30
    while not any((tmp_path / "backups").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out = process.read_to_end()

    assert (process.returncode, out, process.stderr) == (130, "", "")
    assert list((tmp_path / "backups").iterdir()) == []
