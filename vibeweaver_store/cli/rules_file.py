"""A file of rules: a JSON list of ``{"on": …, "do": …, "priority": …, "one_shot": …, "enabled": …}``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from vibeweaver_store.cli.notation import ACTIONS, TRIGGERS
from vibeweaver_store.cli.options import read_file
from vibeweaver_store.columns import StrictBool, parse_enum
from vibeweaver_store.errors import ImportRejected, InvalidInput
from vibeweaver_store.models import Priority
from vibeweaver_store.services.rules import NewRule
from vibeweaver_store.validation import require

MAX_BYTES: Final = 16 * 1024 * 1024
_FIELDS: Final = ("on", "do", "priority", "one_shot", "enabled")


def read_rules(path: Path) -> list[NewRule]:
    """Read rules from a file, or from stdin where the path is ``-``. Triggers and actions may be in readable form.

    Raises:
        ImportRejected: it cannot be read, is no JSON list, or an entry is refused; the message counts from 1.
    """
    try:
        entries = orjson.loads(read_file(path, MAX_BYTES))
    except InvalidInput as error:
        raise ImportRejected(path, error.message.removeprefix(f"{path}: ")) from error
    except orjson.JSONDecodeError as error:
        raise ImportRejected(path, f"it is no JSON: {error}") from error
    if not isinstance(entries, list):
        raise ImportRejected(path, 'it must hold a list of rules: [{"on": "beat:4", "do": "notify:bar"}]')
    return [_entry(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _entry(path: Path, number: int, entry: object) -> NewRule:
    try:
        return _rule(entry)
    except InvalidInput as error:
        raise ImportRejected(path, f"entry {number}: {error.message}") from error


def _rule(entry: object) -> NewRule:
    if not isinstance(entry, dict):
        raise InvalidInput('must be an object like {"on": "beat:4", "do": "notify:bar"}')
    unknown = [field for field in entry if field not in _FIELDS]
    if unknown:
        raise InvalidInput(f"there is no field {unknown[0]!r}; there are {', '.join(_FIELDS)}")
    missing = [field for field in ("on", "do") if field not in entry]
    if missing:
        raise InvalidInput(f"{missing[0]!r} is missing")
    return NewRule(
        trigger=TRIGGERS.from_document(entry["on"]),
        action=ACTIONS.from_document(entry["do"]),
        priority=_priority(entry.get("priority", "normal")),
        one_shot=require(StrictBool, entry.get("one_shot", False), field="one_shot"),
        enabled=require(StrictBool, entry.get("enabled", True), field="enabled"),
    )


def _priority(value: Any) -> Priority:
    try:
        return parse_enum(Priority, value)
    except (InvalidInput, TypeError) as error:
        names = ", ".join(member.name.lower() for member in Priority)
        raise InvalidInput(f"priority: {value!r} is none of {names}") from error
