"""The rules of the house, over the package: ``tests/house.py`` has them, ``test_house_rules.py`` tries them out.

Which module may import which, and what the kernel is, stands in ``pyproject.toml``: ``[tool.importlinter]``.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import house
from tests.house import PACKAGE, TOP
from tests.shared_data import MUSIC, needs_shared_data


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def room_of(path: Path) -> str:
    return name_of(path).partition(".")[0]


MODULES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE_THE_KERNEL = [path for path in MODULES if room_of(path) not in house.kernel()]
# The functions of the command line are commands; their docstrings are the help.
TELLING = [path for path in MODULES if room_of(path) != "cli"]
SERVICES = [path for path in MODULES if room_of(path) == "services"]


def complaints(rule: Callable[[str], list[str]], paths: list[Path]) -> list[str]:
    """What a rule says against the modules, each complaint with its module."""
    return [f"{name_of(path)}: {complaint}" for path in paths for complaint in rule(path.read_text())]


def test_a_module_stays_under_four_hundred_lines_or_says_why() -> None:
    assert complaints(house.too_long, MODULES) == []


def test_only_the_kernel_commits_makes_engines_and_imports_drivers() -> None:
    assert complaints(house.goes_behind_the_kernel, OUTSIDE_THE_KERNEL) == []


def test_a_public_function_documents_the_errors_that_it_raises() -> None:
    assert complaints(house.hides_what_it_raises, TELLING) == []


def test_a_service_takes_its_unit_of_work_first() -> None:
    assert complaints(house.takes_its_unit_of_work_late, SERVICES) == []


@pytest.mark.usefixtures("processes")
def test_imports_go_down_only() -> None:
    assert "1 kept, 0 broken" in house.import_linter(house.TOP)


@pytest.mark.usefixtures("processes")
@needs_shared_data
def test_the_checkout_contains_no_file_written_by_others() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True, text=True).stdout
    ours = {digest_of(TOP / name) for name in listed.split("\0") if name}
    others = [path for path in MUSIC.parent.rglob("*") if path.is_file() and path.stat().st_size]

    assert len(others) > 40
    assert [path.name for path in others if digest_of(path) in ours] == []


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def test_a_test_has_a_unique_name_that_begins_with_its_subject() -> None:
    modules = sorted((TOP / "tests").rglob("test_*.py"))
    assert house.misnamed_tests({str(path.relative_to(TOP)): path.read_text() for path in modules}) == []
