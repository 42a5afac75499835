"""What triggers, actions and signals have in common: small validated documents that cannot be edited.

Each has a ``type``, stored in small letters: ``job_complete``. The spelling of seed 000, ``JobComplete``, is read as
the same word wherever a type is given: in documents, in lookups and on the command line.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from vibeweaver_store.validation import explain

BeatNumber: TypeAlias = Annotated[int, Strict(), Field(ge=-(2**53), le=2**53)]
"""The number of a beat, counted from the session's start. Below 0 are the beats of a count-in or a pick-up bar."""
PositiveInt: TypeAlias = Annotated[int, Strict(), Field(ge=1, le=2**53)]

_CAPITAL_INSIDE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def stored_spelling(word: str) -> str:
    """Return the spelling in which a type is stored: ``JobComplete`` and ``JOB_COMPLETE`` become ``job_complete``."""
    return _CAPITAL_INSIDE.sub("_", word).lower()


class TypeName(enum.StrEnum):
    """The types of one union. A member is also found by the spelling of seed 000, ``JobComplete``."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        spelled = stored_spelling(value) if isinstance(value, str) else None
        return next((member for member in cls if member.value == spelled), None)


def _read_type(document: Any, known: Collection[str]) -> Any:
    """Return a document with its type in the stored spelling; leave alone what has no known type."""
    given = document.get("type") if isinstance(document, dict) else None
    if not isinstance(given, str) or given in known:
        return document
    spelled = stored_spelling(given)
    return {**document, "type": spelled} if spelled in known else document


def read_types(union: Any) -> BeforeValidator:
    """Return the validator that reads the types of a union's documents, before they choose the variant."""
    known = frozenset(variant.model_fields["type"].default for variant in get_args(union))
    return BeforeValidator(partial(_read_type, known=known))


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # it has no public name


class _TypedErrors(ModelMetaclass):
    """Turns pydantic's complaint about a call into ours; what pydantic itself validates does not pass here."""

    def __call__(cls: Any, *args: Any, **values: Any) -> Any:  # noqa: N805 - a metaclass
        if "type" in values:
            values = _read_type(values, [cls.model_fields["type"].default])
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
