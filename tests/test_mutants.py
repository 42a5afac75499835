"""Mutants are sound: each changes a text that is there and names a test that is there. ``nox -s mutants`` runs them."""

from __future__ import annotations

import re
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.mutants import MUTANTS, PACKAGE, TOP, Mutant, _try, applied, main

EACH = pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])


def test_forty_lines_or_more_are_broken_each_under_its_own_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


@EACH
def test_a_mutant_changes_one_text_of_its_module_which_still_compiles(mutant: Mutant) -> None:
    whole = (TOP / PACKAGE / mutant.file).read_text()
    broken = applied(mutant, whole)

    assert broken != whole
    compile(broken, mutant.file, "exec")


@EACH
def test_the_test_of_a_mutant_is_there(mutant: Mutant) -> None:
    file, _, name = mutant.test.partition("::")

    assert re.search(rf"^(async )?def {name}\(", (TOP / "tests" / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize(("whole", "count"), [("a\n", 0), ("b = 1\nb = 1\n", 2)])
def test_a_text_that_does_not_occur_once_is_an_error(whole: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"holds {count} times"):
        applied(Mutant("b is lost", "b.py", "b = 1\n", "b = 2\n", "test_b.py::test_b"), whole)


TESTS = """
import pytest
from vibeweaver_store.sample import value

@pytest.fixture
def fixture():
    assert value != 3

def test_value(fixture):
    assert value != 2
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("broken", "outcome"),
    [("2", "killed"), ("1", "survived"), ("3", "unclear"), ("nonsense", "unclear")],
    ids=["its test fails", "its test passes", "a fixture fails", "an import fails"],
)
def test_a_mutant_is_killed_by_its_test_alone(tmp_path: Path, broken: str, outcome: str) -> None:
    module = tmp_path / PACKAGE / "sample.py"
    module.parent.mkdir()
    (module.parent / "__init__.py").touch()
    module.write_text("value = 0\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_sample.py").write_text(TESTS)
    copies: SimpleQueue[Path] = SimpleQueue()
    copies.put(tmp_path)

    assert _try(copies, Mutant("no value", "sample.py", "0", broken, "test_sample.py::test_value")) == outcome
    assert module.read_text() == "value = 0\n"
    assert copies.get_nowait() == tmp_path


def test_a_word_that_no_mutant_has_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no such word"]) == 1
    assert "no such mutant" in capsys.readouterr().out
