"""Strikes credentials and the ids of organizations out of what other programs wrote down, before it is stored.

Known by their shape: API keys and tokens, bearer tokens, JSON Web Tokens, private keys, passwords in URLs and for
``curl``. Known by where they stand: what is called ``Authorization``, ``x-api-key``, ``Cookie``, ``api_key``,
``organization_uuid`` and the like, in objects, in lists of pairs and in the text of headers, and every header that an
error carries. What has neither shape nor name is not found.

A line of a journal that has no uuid is known again by its content, and that is its content without the secrets: read
once with and once without redaction, it is two lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from vibeweaver_store.importers.secret_shapes import (
    KEY,
    KEY_HINT,
    LIKE_A_VALUE,
    REDACTED,
    REST_OF_KEY,
    SECRET_NAME,
    SHAPES,
    TRACES,
    TRACES_IN_SMALL,
    Trace,
)
from vibeweaver_store.json_values import MAX_DOCUMENT_DEPTH

_ERRORS: Final = frozenset({"error", "errors", "cause"})
_ORGANIZATIONS: Final = frozenset({"organization", "org"})
_IDS: Final = frozenset({"uuid", "id"})
_VALUES: Final = frozenset({"value", "values", "credentials", "parameters", "token", "secret"})
"""What is secret in an object that stands behind the name of a secret; the rest of it describes it."""


def redact(document: Any, raw: bytes | None = None) -> tuple[Any, int]:
    """Return a JSON value without its secrets, and how many were struck out; the value itself is left as it is.

    What is nested deeper than 100 levels, which no backend takes, is not looked through.

    Args:
        document: any JSON value.
        raw: the bytes that it was read from: where they cannot hold a secret it is not looked at any closer.
    """
    if raw is not None and not _may_hold_secrets(raw):
        return document, 0
    walk = _Walk()
    return walk.value(document, MAX_DOCUMENT_DEPTH), walk.count


def redact_text(text: str) -> str:
    """Return a text without its secrets."""
    return _Walk().text(text)


@dataclass(slots=True)
class Redactor:
    """Strikes the secrets out of one value after the other, and counts them. Switched off, it leaves all as it is."""

    on: bool = True
    count: int = 0

    def strike(self, document: Any, raw: bytes | None = None) -> Any:
        """Return a JSON value without its secrets: see :func:`redact`."""
        if not self.on:
            return document
        kept, count = redact(document, raw)
        self.count += count
        return kept


def _may_hold_secrets(raw: bytes) -> bool:
    return _has_any(TRACES, raw) or _has_any(TRACES_IN_SMALL, raw.lower())


def _has_any(traces: Sequence[Trace], raw: bytes) -> bool:
    for plain, pattern in traces:  # noqa: SIM110 - every line is looked through, and any(...) takes as long as a search
        if plain in raw and pattern.search(raw):
            return True
    return False


class _Walk:
    """One walk through a document, which counts what was struck out."""

    def __init__(self) -> None:
        self.count = 0
        self._key_goes_on = False
        """The text that was last looked through ends amid a private key."""

    def value(self, value: Any, levels: int, *, of_error: bool = False) -> Any:
        if isinstance(value, str):
            return self._text_of_error(value, levels) if of_error else self.text(value)
        if levels < 0:
            return value
        if isinstance(value, dict):
            return self._object(value, levels - 1, of_error)
        if isinstance(value, list):
            return self._list(value, levels - 1, of_error)
        return value

    # --- objects ---------------------------------------------------------------------------------------------------

    def _object(self, members: Mapping[str, Any], levels: int, of_error: bool) -> dict[str, Any]:
        named = _is_secret(members.get("name")) and isinstance(members.get("value"), str)  # as HAR has its headers
        return {
            self.text(name): self._strike(value, levels)
            if _is_secret(name) or (named and name == "value")
            else self._member(name, value, levels, of_error)
            for name, value in members.items()
        }

    def _member(self, name: str, value: Any, levels: int, of_error: bool) -> Any:
        if of_error and name.lower().endswith("headers"):
            return self._headers(value, levels)
        if name in _ORGANIZATIONS and isinstance(value, dict):
            return self._object_with(value, _IDS, levels - 1)
        return self.value(value, levels, of_error=of_error or name in _ERRORS)

    def _object_with(self, members: Mapping[str, Any], secret: frozenset[str], levels: int) -> dict[str, Any]:
        """Look through an object of which some members are secret."""
        if levels < 0:
            return dict(members)
        return {
            self.text(name): self._strike(value, levels) if name in secret else self._member(name, value, levels, False)
            for name, value in members.items()
        }

    def _strike(self, value: Any, levels: int) -> Any:
        """Strike out a text, each of a list of them, or the value in an object; look through the rest."""
        if isinstance(value, list) and levels >= 0:
            return [self._strike(item, levels - 1) for item in value]
        if isinstance(value, dict):
            return self._object_with(value, _VALUES, levels - 1)
        if not isinstance(value, str) or not value.strip() or value == REDACTED:
            return value
        self.count += 1
        return REDACTED

    # --- lists -----------------------------------------------------------------------------------------------------

    def _list(self, items: Sequence[Any], levels: int, of_error: bool) -> list[Any]:
        kept = []
        self._key_goes_on = False
        for place, item in enumerate(items):
            if isinstance(item, str) and place % 2 and _is_secret(items[place - 1]) and LIKE_A_VALUE.match(item):
                kept.append(self._strike(item, levels))
            elif isinstance(item, str) and self._key_goes_on:
                kept.append(self._rest_of_key(item))
            else:
                self._key_goes_on = False
                kept.append(self.value(item, levels, of_error=of_error))
        self._key_goes_on = False
        return kept

    def _headers(self, value: Any, levels: int) -> Any:
        """Strike out the values of headers, whether they are an object, a list of pairs or a list of texts."""
        if isinstance(value, dict) and levels >= 0:
            return {self.text(name): self._strike(said, levels - 1) for name, said in value.items()}
        if isinstance(value, list) and levels >= 0:
            return [self._header(item, levels - 1) for item in value]
        return self._strike(value, levels)

    def _header(self, item: Any, levels: int) -> Any:
        if isinstance(item, list) and levels >= 0:
            return [
                *(self.value(name, levels) for name in item[:1]),
                *(self._strike(said, levels) for said in item[1:]),
            ]
        return self._strike(item, levels)

    # --- texts -----------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        small = text.lower()
        self._key_goes_on = False
        if re.search(KEY_HINT, small):
            text = KEY.sub(self._key, text)
        shapes = [shape for shape in SHAPES if re.search(shape.hint, small)]
        for _ in shapes:
            before = self.count
            for shape in shapes:
                text, count = shape.pattern.subn(shape.replacement, text)
                self.count += count
            if self.count == before:  # else what was struck out may have hidden another, which begins amid no word
                break
        return text

    def _key(self, found: re.Match[str]) -> str:
        self.count += 1
        self._key_goes_on = found["end"] is None and found.end() == len(found.string)
        return REDACTED

    def _rest_of_key(self, text: str) -> str:
        """Strike out how a text begins that stands in a list behind one that ends amid a private key."""
        found = REST_OF_KEY.match(text)
        struck = "" if found is None else found[0]
        if found is None or (struck != text and not _has_letters(struck)):
            return self.text(text)
        rest = text[len(struck) :]
        kept = (REDACTED if _has_letters(struck) else struck) + self.text(rest)
        self._key_goes_on = found["end"] is None and not rest
        return kept

    def _text_of_error(self, text: str, levels: int) -> str:
        """Look through a text of an error, which may be the JSON of one."""
        if text.lstrip()[:1] == "{":
            before = self.count
            with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
                kept = self.value(orjson.loads(text), levels, of_error=True)
                if self.count > before:
                    return orjson.dumps(kept).decode()
            self.count = before
        return self.text(text)


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and SECRET_NAME.fullmatch(name) is not None


def _has_letters(text: str) -> bool:
    return any(sign.isalnum() for sign in text)
