"""What the package relies on in pydantic: the parts of a model's instance, and the words of its errors."""

from __future__ import annotations

import copy
import pickle
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Strict, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tests.canaries.canary import Library

canary = Library("pydantic")


class Thing(BaseModel):
    id: int
    name: str = "none"


def bare(values: dict[str, Any]) -> Any:
    """Make a thing as hot_rows.py does: without validation, and without what pydantic keeps beside its values."""
    thing = object.__new__(Thing)
    vars(BaseModel)["__dict__"].__set__(thing, values)
    return thing


# --- instances -------------------------------------------------------------------------------------------------


@canary("hot_rows.py", to="set the values of a row at once")
def test_a_model_keeps_its_values_in_a_dictionary_that_can_be_exchanged() -> None:
    values = {"id": 1, "name": "one"}
    thing = bare(values)

    assert vars(thing) is values
    assert (thing.id, thing.name) == (1, "one")
    assert values.keys() == vars(Thing(id=1, name="one")).keys()


@canary("hot_rows.py", to="fill in what pydantic keeps of a row beside its values, when it is asked for")
def test_a_model_keeps_three_things_beside_its_values() -> None:
    (slots,) = [vars(each)["__slots__"] for each in Thing.__mro__ if "__slots__" in vars(each) and each is BaseModel]

    beside = {"__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"}
    assert set(slots) == {"__dict__", *beside}
    assert all(hasattr(vars(BaseModel)[name], "__set__") for name in beside)


@canary("hot_rows.py", to="note which values of a new row were given")
def test_the_fields_that_were_set_are_in_a_slot() -> None:
    thing = bare({"id": 1, "name": "one"})
    with pytest.raises(AttributeError):
        vars(BaseModel)["__pydantic_fields_set__"].__get__(thing)
    vars(BaseModel)["__pydantic_fields_set__"].__set__(thing, {"id"})

    assert thing.model_fields_set == {"id"}
    assert thing.model_dump(exclude_unset=True) == {"id": 1}


class LateSlot:
    """Gives an instance what pydantic keeps in a slot when it is asked for, as hot_rows.py does."""

    def __init__(self, name: str, empty: Any) -> None:
        self.slot = vars(BaseModel)[name]
        self.empty = empty

    def __get__(self, thing: Any, owner: type[Any]) -> Any:
        if thing is None:
            return self
        try:
            return self.slot.__get__(thing, owner)
        except AttributeError:
            self.slot.__set__(thing, self.empty())
            return self.slot.__get__(thing, owner)

    def __set__(self, thing: Any, value: Any) -> None:
        self.slot.__set__(thing, value)


class Late(BaseModel):
    id: int
    name: str = "none"


for _name, _empty in {
    "__pydantic_fields_set__": set,
    "__pydantic_extra__": lambda: None,
    "__pydantic_private__": lambda: None,
}.items():
    type.__setattr__(Late, _name, LateSlot(_name, _empty))


def late() -> Any:
    thing = object.__new__(Late)
    vars(BaseModel)["__dict__"].__set__(thing, {"id": 1, "name": "one"})
    return thing


@canary("hot_rows.py", to="compare, print and dump rows that were made late")
def test_an_instance_without_its_slots_is_equal_to_one_that_was_made_in_the_usual_way() -> None:
    usual = Late(id=1, name="one")

    assert late() == usual
    assert repr(late()) == repr(usual)
    assert late().model_dump() == usual.model_dump()
    assert late().model_dump_json() == usual.model_dump_json()
    assert Late.model_validate(late()) == usual


@canary("hot_rows.py", to="copy and pickle rows that were made late")
def test_an_instance_without_its_slots_can_be_copied() -> None:
    assert copy.copy(late()) == late()
    assert copy.deepcopy(late()) == late()
    assert late().model_copy() == late()
    assert late().model_copy(update={"name": "two"}).name == "two"
    assert pickle.loads(pickle.dumps(late())) == late()


@canary("hot_rows.py", to="edit rows that were made late")
def test_an_instance_without_its_slots_notes_what_is_set() -> None:
    thing = late()
    assert thing.model_fields_set == set()
    thing.name = "two"

    assert thing.model_fields_set == {"name"}
    assert thing.name == "two"


@canary("models/documents.py", to="turn a refused call into InvalidInput, and nothing else")
def test_the_class_of_a_model_is_called_by_a_call_alone_and_not_by_validation() -> None:
    called: list[dict[str, Any]] = []
    metaclass: Any = type(BaseModel)

    class Counting(metaclass):  # type: ignore[misc]
        def __call__(cls, *args: Any, **values: Any) -> Any:  # noqa: N805
            called.append(values)
            return super().__call__(*args, **values)

    class Counted(BaseModel, metaclass=Counting):
        id: int

    assert Counted(id=1).id == 1
    assert called == [{"id": 1}]
    assert Counted.model_validate({"id": 2}).id == 2
    assert TypeAdapter(list[Counted]).validate_python([{"id": 3}])[0].id == 3
    assert called == [{"id": 1}]


@canary("models/documents.py", to="name the metaclass where types are checked")
def test_the_metaclass_of_models_is_where_type_checkers_are_told() -> None:
    from pydantic._internal._model_construction import ModelMetaclass

    assert type(BaseModel) is ModelMetaclass


# --- validation ------------------------------------------------------------------------------------------------


def _refuse(_value: object) -> object:
    raise ValueError("must be right")


@canary("validation.py", to="name the field and the value of an argument that is refused")
def test_an_error_tells_where_it_is_and_what_was_given_and_why() -> None:
    with pytest.raises(ValidationError) as caught:
        Thing.model_validate({"id": "one"})
    (told,) = caught.value.errors(include_url=False)

    assert caught.value.title == "Thing"
    assert told["loc"] == ("id",)
    assert told["input"] == "one"
    assert told["msg"].startswith("Input should be a valid integer")


@canary("validation.py", "cli/errors.py", to="repeat the words of its own checks, and no more")
def test_the_message_of_a_value_error_has_two_words_before_it() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Annotated[Any, BeforeValidator(_refuse)]).validate_python(1)

    assert [each["msg"] for each in caught.value.errors(include_url=False)] == ["Value error, must be right"]


@canary("validation.py", to="validate arguments at half the cost")
def test_the_validator_of_an_adapter_validates_as_the_adapter_does() -> None:
    adapter = TypeAdapter(Annotated[int, Strict(), Field(ge=0)])

    assert adapter.validator.validate_python(1) == adapter.validate_python(1) == 1
    for refused in (-1, "1", True):
        with pytest.raises(ValidationError) as by_adapter:
            adapter.validate_python(refused)
        with pytest.raises(ValidationError) as by_validator:
            adapter.validator.validate_python(refused)
        assert by_adapter.value.errors() == by_validator.value.errors()


@canary("hot_insert.py", to="validate the values of one attribute as its table class does")
def test_the_annotation_and_the_metadata_of_a_field_together_validate_as_the_field() -> None:
    class Checked(BaseModel):
        small: Annotated[int, Strict(), Field(ge=0, le=9)]
        even: Annotated[Annotated[int, Strict()], AfterValidator(lambda value: value // 2 * 2)] | None = None
        text: Annotated[Any, BeforeValidator(str)] = "none"

    def validated(name: str, value: object) -> object:
        field = Checked.model_fields[name]
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        return TypeAdapter(kind).validate_python(value)

    assert (validated("small", 9), validated("even", 3), validated("even", None), validated("text", 1)) == (
        *(9, 2),
        *(None, "1"),
    )
    for refused in (10, -1, "1"):
        with pytest.raises(ValidationError):
            validated("small", refused)


@canary("hot_insert.py", to="fill in the defaults of a row")
def test_a_field_tells_its_default() -> None:
    class Defaults(BaseModel):
        needed: int
        given: int = 1
        made: list[int] = Field(default_factory=list)

    fields = Defaults.model_fields

    assert [field.is_required() for field in fields.values()] == [True, False, False]
    assert (fields["given"].default, fields["given"].default_factory) == (1, None)
    assert fields["made"].default_factory is list


@canary("settings.py", to="name the variable that has no usable value")
def test_an_error_of_settings_names_the_field_and_not_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Some(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="CANARY_")
        size: int = 1

    monkeypatch.setenv("CANARY_SIZE", "many")
    with pytest.raises(ValidationError) as caught:
        Some()

    assert caught.value.errors(include_url=False)[0]["loc"] == ("size",)
