"""The fixtures ``processes`` and ``size``, and the guard against processes that a test does not ask for."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.sizes import Size, sized
from tests.spawning import Processes, processes_that_end, refusing_processes, starting_processes


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Leave to start processes, and help with it. A process that a test leaves running fails it.

    A test that starts or forks a process in whatever way asks for it, so that all of them can be found: they are marked
    ``process``.
    """
    with starting_processes(), processes_that_end() as started:
        yield started


@pytest.fixture(scope="module")
def processes_of_module() -> Iterator[Processes]:
    """Help with processes for fixtures that a module's tests share; what starts one by itself is refused here, too."""
    with processes_that_end() as started:
        yield started


@pytest.fixture
def size() -> Size:
    """How much a test does: ``size(600, 5000)``. What asks for it is marked ``slow``."""
    return sized


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with refusing_processes():
        return (yield)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by what it needs; see the markers in pyproject.toml."""
    names: list[str] = getattr(item, "fixturenames", [])
    params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    lasting = params.get("lasting", ())
    backends = {params.get("backend"), *(lasting if isinstance(lasting, tuple) else (lasting,))}
    if not {"processes", "processes_of_module"}.isdisjoint(names):
        item.add_marker("process")
    if "postgresql" in backends or any("postgres" in name for name in names):
        item.add_marker("postgresql")
    if "size" in names:
        item.add_marker("slow")
