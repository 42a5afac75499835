"""The values of a hot statement, as a driver takes them: by place or by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from vibeweaver_store.stored_forms import Reader

Place: TypeAlias = tuple[str, Any, Reader | None]
"""What a value is called, where it belongs, and what turns it into the driver's."""


class Binding:
    """Turns values by what they are called into what a driver takes: a tuple, or a dictionary.

    Args:
        blank: what is sent each time, with room for the rest where it goes by place.
        places: of each value.
    """

    def __init__(self, blank: list[Any] | dict[str, Any], places: Sequence[Place]) -> None:
        self._blank: Any = blank
        self._places = places
        self._by_name = isinstance(blank, dict)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Return values as the driver takes them."""
        bound = self._blank.copy()
        for key, place, write in self._places:
            bound[place] = values[key] if write is None else write(values[key])
        return bound if self._by_name else tuple(bound)

    def knowing(self, known: Mapping[str, Any]) -> Binding:
        """Return a binding that has some of the values already."""
        blank = self._blank.copy()
        for key, place, write in self._places:
            if key in known:
                blank[place] = known[key] if write is None else write(known[key])
        return Binding(blank, [each for each in self._places if each[0] not in known])

    def checked(
        self, checks: Mapping[str, Callable[[Any], Any]], forms: Mapping[str, Callable[[Any], Any]]
    ) -> Callable[[Mapping[str, Any]], Any]:
        """Return what checks values by their names, and binds them.

        Args:
            checks: what checks each value.
            forms: what checks some of them, and turns them into the driver's at once.
        """
        places = [
            (key, forms[key], place, None) if key in forms else (key, checks[key], place, write)
            for key, place, write in self._places
        ]

        def bind(values: Mapping[str, Any]) -> Any:
            bound = self._blank.copy()
            for key, check, place, write in places:
                bound[place] = check(values[key]) if write is None else write(check(values[key]))
            return bound if self._by_name else tuple(bound)

        return bind
