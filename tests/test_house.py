"""The rules of the house, over the package: ``tests/house.py`` has them, ``test_house_rules.py`` tries them out.

Which module may import which, and what the kernel is, stands in ``pyproject.toml``: ``[tool.importlinter]``.
"""

from __future__ import annotations

import hashlib
import subprocess
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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_stays_under_four_hundred_lines_or_says_why(path: Path) -> None:
    assert house.too_long(path.read_text()) == []


@pytest.mark.parametrize("path", OUTSIDE_THE_KERNEL, ids=name_of)
def test_only_the_kernel_commits_makes_engines_and_imports_drivers(path: Path) -> None:
    assert house.goes_behind_the_kernel(path.read_text()) == []


@pytest.mark.parametrize("path", TELLING, ids=name_of)
def test_a_public_function_tells_what_it_raises(path: Path) -> None:
    assert house.hides_what_it_raises(path.read_text()) == []


@pytest.mark.parametrize("path", SERVICES, ids=name_of)
def test_a_service_takes_its_unit_of_work_first(path: Path) -> None:
    assert house.takes_its_unit_of_work_late(path.read_text()) == []


def test_imports_go_down_only() -> None:
    assert "1 kept, 0 broken" in house.import_linter(house.TOP)


@needs_shared_data
def test_the_checkout_contains_no_file_written_by_others() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True, text=True).stdout
    ours = {digest_of(TOP / name) for name in listed.split("\0") if name}
    others = [path for path in MUSIC.parent.rglob("*") if path.is_file() and path.stat().st_size]

    assert len(others) > 40
    assert [path.name for path in others if digest_of(path) in ours] == []


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
