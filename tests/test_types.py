"""What a type checker sees: run and query show the service's own signature, and query refuses what writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.spawning import Processes

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

FACTORIES = """
from vibeweaver_store import Rule, UnitOfWork
from vibeweaver_store.testing import RuleFactory

def use(uow: UnitOfWork) -> Rule:
    built: Rule = RuleFactory.build()
    found: int = RuleFactory.create(uow=uow)
    return RuleFactory.create(uow=uow)
"""


@pytest.fixture(scope="module")
def said(processes_of_module: Processes, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of all three: to read the package takes it longer than everything else."""
    folder = tmp_path_factory.mktemp("snippets")
    wrong = ["from vibeweaver_store import Store, history, sessions", "def use(store: Store) -> None:"]
    wrong += [f"    {line}" for line, _ in WRONG.values()]
    snippets = {"good.py": GOOD, "wrong.py": "\n".join(wrong), "factories.py": FACTORIES}
    for name, text in snippets.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", *(folder / name for name in snippets)]
    lines = processes_of_module.call(*command, cwd=TOP).stdout.splitlines()
    assert lines[-1].endswith("(checked 3 source files)")
    return lines


def test_correct_use_of_the_package_type_checks(said: list[str]) -> None:
    assert not [line for line in said if "good.py" in line]


@pytest.mark.parametrize(("number", "what"), list(enumerate(WRONG, start=3)))
def test_a_wrong_use_is_a_complaint(said: list[str], number: int, what: str) -> None:
    _, code = WRONG[what]

    assert any(f"wrong.py:{number}: error:" in line and f"[{code}]" in line for line in said), said


def test_a_type_checker_sees_which_rows_a_factory_makes(said: list[str]) -> None:
    (complaint,) = [line for line in said if "factories.py" in line]

    assert "factories.py:7: error" in complaint
