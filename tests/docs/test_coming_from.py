"""The pages "Coming from ...": their examples run, and the tests that they name exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.spawning import Processes

TOP = Path(__file__).resolve().parents[2]
PAGES = sorted((TOP / "docs" / "coming-from").glob("*.md"))

each_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])


def examples(page: Path) -> list[str]:
    """The blocks of Python under the marker ``<!-- example -->``."""
    return re.findall(r"<!-- example -->\n```python\n(.*?)```", page.read_text(), re.DOTALL)


def named_tests(page: Path) -> set[str]:
    """The names of tests in the last column of a page's tables; the name of a module (``test_tickets.py``) is none."""
    rows = [line.rstrip().removesuffix("|") for line in page.read_text().splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"\btest_\w+\b(?!\.py)", row.rpartition("|")[2])}


@cache
def names_of_tests() -> frozenset[str]:
    """The name of every test of this package."""
    trees = (ast.parse(path.read_text()) for path in (TOP / "tests").rglob("test_*.py"))
    functions = (
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
    return frozenset(node.name for node in functions)


def test_the_coming_from_pages_are_found() -> None:
    assert PAGES


@each_page
def test_a_coming_from_page_names_tests_that_exist(page: Path) -> None:
    found = named_tests(page)

    assert found
    assert sorted(found - names_of_tests()) == []


@each_page
def test_each_example_of_a_coming_from_page_runs_as_printed(processes: Processes, page: Path, tmp_path: Path) -> None:
    assert examples(page)
    for example in examples(page):
        assert processes.start(example, folder=tmp_path, warnings="error").finish()
