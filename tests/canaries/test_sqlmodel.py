"""What the package relies on in SQLModel: what its classes are made of, and when they validate."""

from __future__ import annotations

import copy
from typing import Annotated, Any, ClassVar

import pytest
import sqlalchemy as sa
import sqlmodel
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from sqlalchemy import orm
from sqlalchemy.orm import registry

from tests.canaries.canary import Library

canary = Library("sqlmodel")

OWN = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"})
KIND = sa.Text(collation="NOCASE")


class Base(sqlmodel.SQLModel, registry=registry(metadata=OWN)):
    pass


class Thing(Base, table=True):
    __tablename__: ClassVar[str] = "canary_things"
    id: int = sqlmodel.Field(primary_key=True)
    name: Annotated[str, Field(max_length=5)] = sqlmodel.Field(sa_type=KIND)


@canary("guarded_session.py", to="send statements without SQLModel's word against it")
def test_a_session_is_sqlalchemys_own_with_exec_and_execute_and_query() -> None:
    assert sqlmodel.Session.__mro__[1] is orm.Session
    assert {name for name in vars(sqlmodel.Session) if not name.startswith("__")} == {"exec", "execute", "query"}
    assert vars(sqlmodel.Session()).keys() == vars(orm.Session()).keys()


@canary("models/base.py", to="keep its tables apart from those of an application")
def test_the_registry_of_a_base_class_has_the_tables_of_what_derives_from_it() -> None:
    assert Base.metadata is OWN
    assert list(OWN.tables) == ["canary_things"]
    assert "canary_things" not in sqlmodel.SQLModel.metadata.tables
    assert OWN.tables["canary_things"].primary_key.name == "pk_canary_things"


@canary("models/base.py", to="give a column a type that was made, and not only a class")
def test_the_type_of_a_field_can_be_an_instance() -> None:
    assert OWN.tables["canary_things"].c.name.type is KIND
    assert not OWN.tables["canary_things"].c.name.nullable


@canary("models/base.py", to="validate a row that is built, and not one that is read")
def test_a_table_class_validates_by_model_validate_and_not_when_it_is_called() -> None:
    assert Thing(id="none", name="longer").name == "longer"  # type: ignore[arg-type]
    assert Thing.model_validate({"id": 1, "name": "one"}) == Thing(id=1, name="one")
    with pytest.raises(ValidationError) as caught:
        Thing.model_validate({"id": 1, "name": "longer"})

    assert caught.value.errors(include_url=False)[0]["loc"] == ("name",)


@canary("hot_rows.py", to="take a row's values without its state")
def test_the_state_of_a_row_lies_among_its_values() -> None:
    row = Thing(id=1, name="one")

    assert vars(row).keys() == {"_sa_instance_state", "id", "name"}
    assert vars(row)["_sa_instance_state"] is sa.inspect(row)


@canary("hot_rows.py", to="make rows past the constructor, as the mapper does")
def test_a_row_whose_dictionary_is_set_is_a_row() -> None:
    row: Any = object.__new__(Thing)
    vars(BaseModel)["__pydantic_fields_set__"].__set__(row, {"id", "name"})
    vars(BaseModel)["__pydantic_extra__"].__set__(row, None)
    vars(BaseModel)["__pydantic_private__"].__set__(row, None)
    vars(BaseModel)["__dict__"].__set__(row, {"id": 1, "name": "one"})

    assert row == Thing(id=1, name="one")
    assert row.model_dump() == {"id": 1, "name": "one"}
    assert copy.copy(row) == row


@canary("hot_rows.py", to="give a table class what makes the states of its rows")
def test_an_attribute_that_is_put_on_a_table_class_past_its_metaclass_is_no_column() -> None:
    class Other(Base, table=True):
        __tablename__: ClassVar[str] = "canary_others"
        id: int = sqlmodel.Field(primary_key=True)

    marker = object()
    try:
        type.__setattr__(Other, "canary_marker", marker)
        assert vars(Other)["canary_marker"] is marker
        assert list(sa.inspect(Other).columns.keys()) == ["id"]
    finally:
        OWN.remove(OWN.tables["canary_others"])


@canary("cli/output.py", "hot_insert.py", to="know the fields of a table class")
def test_a_table_class_tells_its_fields_with_their_annotations() -> None:
    fields = Thing.model_fields

    assert list(fields) == ["id", "name"]
    assert fields["name"].annotation is str
    name = fields["name"]
    kind: Any = Annotated[name.annotation, *name.metadata]
    assert TypeAdapter(kind).validate_python("one") == "one"
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python("longer")


@canary("unit_of_work.py", "paging.py", to="return rows of table classes from a statement of one")
def test_exec_returns_rows_of_a_statement_of_one_table_and_tuples_of_more() -> None:
    engine = sa.create_engine("sqlite://")
    with sqlmodel.Session(engine) as session:
        OWN.create_all(session.connection())
        session.add(Thing(id=1, name="one"))
        session.flush()
        assert session.exec(sqlmodel.select(Thing)).one().name == "one"
        assert tuple(session.exec(sqlmodel.select(Thing.id, Thing.name)).one()) == (1, "one")
    engine.dispose()
