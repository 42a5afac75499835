"""What a type checker sees: run and query show the service's own signature, and query refuses what writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]

GOOD = """
from vibeweaver_store import HistoryEntry, Page, Session, Store, history, rules, sessions, signals

def use(store: Store) -> None:
    jam: Session = store.run(sessions.create, name="jam", tempo_bpm=130)
    page: Page[HistoryEntry] = store.query(history.page, jam.id, limit=5)
    firings: list[rules.Firing] = store.run(rules.fire, jam.id, signals.BeatTick(beat=8))
    found: Session = store.run(sessions.get, jam.id)
    with store.read() as uow:
        sessions.get(uow, jam.id)
"""

WRONG = {
    "a query of an operation that writes": ("store.query(sessions.create, name='jam')", "arg-type"),
    "an argument of a wrong type": ("store.query(history.page, 5)", "arg-type"),
    "an argument that the operation does not have": ("store.run(sessions.create, title='jam')", "call-arg"),
    "a result of another type": ("found: int = store.query(sessions.get, 'id')", "assignment"),
    "a writer in a unit of work that reads": ("with store.read() as uow: sessions.delete(uow, 'id')", "arg-type"),
}


def check(tmp_path: Path, text: str) -> str:
    path = tmp_path / "snippet.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(path)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_correct_use_of_the_package_type_checks(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD).startswith("Success")


def test_each_wrong_use_of_the_package_is_a_type_error(tmp_path: Path) -> None:
    lines = ["from vibeweaver_store import Store, history, sessions", "def use(store: Store) -> None:"]
    lines += [f"    {wrong}" for wrong, _ in WRONG.values()]

    said = check(tmp_path, "\n".join(lines))

    for number, (what, (_, code)) in enumerate(WRONG.items(), start=3):
        assert any(f"snippet.py:{number}: error:" in line and f"[{code}]" in line for line in said.splitlines()), (
            what,
            said,
        )
