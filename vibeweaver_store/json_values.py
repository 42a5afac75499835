"""JSON values that cannot be edited: what was stored is handed out so that no edit in place is lost silently."""

from __future__ import annotations

import math
import re
from typing import Any, Final, NoReturn

import orjson

from vibeweaver_store.errors import CorruptData

MAX_DOCUMENT_DEPTH = 100
"""How deep lists and objects may nest in a JSON document."""

_MAX_INTEGER = 2**63 - 1
_EXACT_BELOW = 1e16
_LONGEST_SHOWN = 80


class FrozenDict(dict[str, Any]):
    """A JSON object as it was stored. It is a real ``dict`` that refuses edits, so that none is lost silently.

    Make an editable copy with ``dict(value)``, and hand the copy to a service.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a stored document cannot be edited in place; copy it with dict(...) and write the copy")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (dict(self),))

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: object) -> FrozenDict:
        return self


class FrozenList(list[Any]):
    """A JSON array as it was stored: a real ``list`` that refuses edits. Copy it with ``list(value)``."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a stored document cannot be edited in place; copy it with list(...) and write the copy")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (list(self),))

    def __copy__(self) -> FrozenList:
        return self

    def __deepcopy__(self, memo: object) -> FrozenList:
        return self


_SCALARS = (bool, type(None))
_STRICTLY: Final = orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def freeze(value: object, *, levels: int = MAX_DOCUMENT_DEPTH) -> Any:
    """Return a JSON value as it will be read back: objects and arrays that refuse edits, scalars as they are.

    Raises:
        ValueError: the value is not JSON: NaN or infinite, an integer over 64 bits, a key that is no text, text
            that a backend cannot hold, a type that JSON does not have, or nested deeper than ``levels``.
    """
    return encode(value, levels=levels)[1]


def encode(value: object, *, levels: int = MAX_DOCUMENT_DEPTH) -> tuple[str, Any]:
    """Return a JSON value as compact text, and as :func:`freeze` returns it.

    Raises:
        ValueError: as :func:`freeze` does.
    """
    plain = _encode_plain(value, levels)
    if plain is not None:
        return plain
    frozen = _freeze(value, levels)
    return dump_json(frozen), frozen


class JsonText(str):
    """A JSON value as text, seen to be what :func:`encode` returns."""

    __slots__ = ()


def encode_text(value: object) -> JsonText:
    """Return a JSON value as :func:`encode` does, as text alone.

    Raises:
        ValueError: as :func:`freeze` does.
    """
    plain = _read_plain(value, MAX_DOCUMENT_DEPTH)
    return JsonText(dump_json(_freeze(value, MAX_DOCUMENT_DEPTH)) if plain is None else plain[0])


def text_of_read(value: object) -> JsonText | None:
    """Return a value that orjson has just read as :func:`encode_text` does; ``None`` where that has to look closer."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:  # nested too deep, or an integer of more than 53 bits
        return None
    is_plain = b"\\u0000" not in text and _is_flat(value, text)
    return JsonText(text, "utf-8") if is_plain else None


def _is_flat(value: object, text: bytes) -> bool:
    few = text.count(b"[") + text.count(b"{") <= MAX_DOCUMENT_DEPTH  # most texts say so themselves
    return few or _depth(value) <= MAX_DOCUMENT_DEPTH


def _depth(value: object) -> int:
    if type(value) is dict:
        return 1 + max(map(_depth, value.values()), default=0)
    if type(value) is list:
        return 1 + max(map(_depth, value), default=0)
    return 0


def _encode_plain(value: object, levels: int) -> tuple[str, Any] | None:
    plain = _read_plain(value, levels)
    return None if plain is None else (plain[0], frozen_copy(plain[1]))


def _read_plain(value: object, levels: int) -> tuple[str, Any] | None:
    """Return the text of most values and what is read of it, in a fraction of the time; ``None`` of the others.

    What orjson would write as something else (NaN, an enumeration, a UUID) is not read back equal.
    """
    try:
        text = orjson.dumps(value, option=_STRICTLY)
        read = orjson.loads(text)
        if read != value or b"\\u0000" in text or text.count(b"[") + text.count(b"{") > levels:
            return None
    except (TypeError, ValueError, RecursionError):
        return None
    return text.decode(), read


def frozen_copy(value: Any) -> Any:
    """Return a value that was read from JSON with its objects and arrays frozen; the value itself is used up."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(item) is dict or type(item) is list:
                value[key] = frozen_copy(item)
        return FrozenDict(value)
    if kind is list:
        for place, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                value[place] = frozen_copy(item)
        return FrozenList(value)
    return value


def _freeze(value: object, levels: int) -> Any:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, str):
        return check_text(str.__str__(value))
    if isinstance(value, int):
        return _check_integer(int(value))
    if isinstance(value, float):
        return _check_float(float(value))
    if levels <= 0:
        raise ValueError("is nested too deep")
    if isinstance(value, dict):
        return FrozenDict((_check_key(key), _freeze(item, levels - 1)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return FrozenList(_freeze(item, levels - 1) for item in value)
    raise ValueError(f"holds a {type(value).__name__}, which JSON does not have")


def _check_integer(value: int) -> int:
    if not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
        raise ValueError("holds an integer of more than 64 bits")
    return value


def _check_float(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("holds a number that is NaN or infinite")
    return value


def _check_key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"has the key {shown(key)}, and keys must be text")  # noqa: TRY004 - pydantic reads ValueError
    return check_text(str.__str__(key))


def check_text(value: str) -> str:
    """Return a text that both backends can hold.

    Raises:
        ValueError: it has a NUL character, which PostgreSQL refuses, or a lone surrogate, which UTF-8 has no form for.
    """
    if "\x00" in value:
        raise ValueError("must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode (it has a lone surrogate)") from None
    return value


def dump_json(value: object) -> str:
    """Return a JSON value as compact text, objects in the order of their keys' insertion."""
    return orjson.dumps(value).decode()


def dump_jsonb(value: object) -> str:
    """Return a JSON value as text that ``JSONB`` gives back equal.

    JSONB keeps numbers as decimals: ``1e16`` would come back as an integer, and from 2**60 on as another number.
    """
    text = dump_json(value)
    # orjson writes large floats, and no other number, with an exponent.
    return dump_json(_with_decimals(value)) if "e" in text else text


_EXPONENT: Final = re.compile(rb"\de\+?\d")


def dump_canonical(value: object) -> bytes:
    """Return a JSON value in the same bytes with every version of orjson, keys sorted: for digests that are stored.

    A large float is ``1e16`` in one version and ``1e+16`` in another; here all its digits are written.
    """
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return orjson.dumps(_with_decimals(value), option=orjson.OPT_SORT_KEYS) if _EXPONENT.search(text) else text


def _with_decimals(value: object) -> object:
    if isinstance(value, float) and abs(value) >= _EXACT_BELOW:
        return orjson.Fragment(f"{value:.1f}")
    if isinstance(value, dict):
        return {key: _with_decimals(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_decimals(item) for item in value]
    return value


def shown(value: object) -> str:
    """Return a value as a message may show it: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an integer of thousands of digits, or a broken __repr__
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def load_json(text: str | bytes) -> Any:
    """Return the JSON value that a text holds.

    Raises:
        CorruptData: the text is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CorruptData(f"a stored document is not JSON: {error}") from error
