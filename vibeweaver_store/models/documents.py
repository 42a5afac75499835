"""What triggers, actions and signals have in common: small validated documents that cannot be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from vibeweaver_store.validation import explain

WholeNumber: TypeAlias = Annotated[int, Strict(), Field(ge=0, le=2**53)]
PositiveInt: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=2**53)]


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # it has no public name


class _TypedErrors(ModelMetaclass):
    """Turns pydantic's complaint about a call into ours; what pydantic itself validates does not pass here."""

    def __call__(cls, *args: Any, **values: Any) -> Any:  # noqa: N805 - a metaclass
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise explain(error) from error


class Document(BaseModel, metaclass=_TypedErrors):
    """A validated value with a ``type`` that tells the variants of its union apart.

    Raises:
        InvalidInput: on being made from a value that is refused.
    """

    # Instances are validated anew: model_copy(update=…) and model_construct() validate nothing.
    model_config = ConfigDict(frozen=True, extra="forbid", revalidate_instances="always")
