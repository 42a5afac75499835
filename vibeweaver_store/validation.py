"""Validation of arguments: what pydantic refuses becomes a typed error that names the field."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import shown

DocumentT = TypeVar("DocumentT")


def explain(error: ValidationError) -> InvalidInput:
    """Turn pydantic's first complaint into an :class:`InvalidInput` that names the field and the value."""
    first = error.errors(include_url=False)[0]
    # An attribute is called metadata_ where SQLAlchemy has taken the name.
    field = ".".join(str(part) for part in first["loc"]).removesuffix("_") or error.title
    reason = first["msg"].removeprefix("Value error, ")
    return InvalidInput(f"{field}: {reason} (got {shown(first['input'])})", field=field)


def parse_document(adapter: TypeAdapter[DocumentT], value: object, *, field: str) -> DocumentT:
    """Return a document of a union, from a variant or from what JSON says of one.

    Raises:
        InvalidInput: it is no variant of the union, or one of its values is refused.
    """
    try:
        document: DocumentT = adapter.validator.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        inner = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        where = f"{field}: {inner}" if inner else field
        raise InvalidInput(f"{where}: {reason} (got {shown(first['input'])})", field=field) from error
    return document


def require(kind: Callable[[Any], Any] | Any, value: object, *, field: str) -> Any:
    """Validate one argument of a service against one of the types above.

    Raises:
        InvalidInput: the value is refused; the message names the field.
    """
    adapter = _adapter(kind)
    try:
        if type(value) is str and len(value) <= _LONGEST_KNOWN:
            return _known_text(adapter, value)
        return adapter.validator.validate_python(value)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{field}: {reason} (got {shown(value)})", field=field) from error


_LONGEST_KNOWN = 200


@lru_cache(maxsize=4096)
def _known_text(adapter: TypeAdapter[Any], text: str) -> Any:
    # What was taken once is taken again: most arguments of services are ids and names that come all the time.
    return adapter.validate_python(text)


_ADAPTERS: dict[int, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    found = _ADAPTERS.get(id(kind))
    return found if found is not None else _ADAPTERS.setdefault(id(kind), TypeAdapter(kind))
