"""What the factories for tests rely on in factory_boy."""

from __future__ import annotations

from typing import Any

from factory import declarations
from factory.base import Factory

from tests.canaries.canary import Library

canary = Library("factory_boy")

declared: Any = declarations  # it has no types


class Thing:
    def __init__(self, **values: Any) -> None:
        self.values = values


@canary("testing/row_factory.py", to="make rows that are valid, and write them")
def test_a_factory_makes_objects_by_its_build_and_create_methods_with_all_values_filled_in() -> None:
    made: list[tuple[str, type[Any], tuple[Any, ...]]] = []

    class ThingFactory(Factory[Thing]):
        class Meta:
            model = Thing

        number = declared.Sequence(lambda n: n)
        twice = declared.LazyAttribute(lambda thing: thing.number * 2)
        same = declared.SelfAttribute("twice")
        parent: Any = None

        @classmethod
        def _build(cls, model_class: type[Thing], *args: Any, **values: Any) -> Thing:
            made.append(("build", model_class, args))
            return model_class(**values)

        @classmethod
        def _create(cls, model_class: type[Thing], *args: Any, **values: Any) -> Thing:
            made.append(("create", model_class, args))
            return model_class(**values)

    built = ThingFactory.build(number=2)
    created = ThingFactory.create(number=3, uow="given")

    assert made == [("build", Thing, ()), ("create", Thing, ())]
    assert built.values == {"number": 2, "twice": 4, "same": 4, "parent": None}
    assert created.values == {"number": 3, "twice": 6, "same": 6, "parent": None, "uow": "given"}
