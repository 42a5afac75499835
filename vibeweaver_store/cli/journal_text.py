"""What a line of a coding agent's journal is about, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_LONGEST: Final = 200
"""More of a line is not shown, in characters."""

_SAYING: Final = (
    *("content", "summary", "customTitle", "lastPrompt", "result", "prUrl", "frameUrl"),
    *("operation", "mode", "permissionMode", "subtype"),
)
"""Fields that say what a line is about, the more telling ones first."""

_HOLDING: Final = ("data", "attachment", "event")
"""Fields that hold an object whose type says what a line is about."""


def summary(line: Mapping[str, Any]) -> str:
    """Return what a line is about; nothing where it says nothing that is known."""
    message = line.get("message")
    if isinstance(message, Mapping):
        return _short(_content(message.get("content")))
    saying = next((text for field in _SAYING if isinstance(text := line.get(field), str) and text), None)
    if saying is not None:
        return _short(saying)
    held = (line.get(field) for field in _HOLDING)
    return _short(next((str(each["type"]) for each in held if isinstance(each, Mapping) and "type" in each), ""))


def _short(text: str) -> str:
    # What is cut off need not be looked at: a line may be a megabyte.
    words = " ".join(text[: 4 * _LONGEST].split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return " ".join(filter(None, (_block(block) for block in content if isinstance(block, Mapping))))


def _block(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "thinking":
        return f"({block.get('thinking') or 'thinking'})"
    if kind == "tool_use":
        return f"{block.get('name')}: {_first_text(block.get('input'))}".removesuffix(": ")
    if kind == "tool_result":
        return f"{'failed' if block.get('is_error') is True else '→'} {_content(block.get('content'))}"
    return f"[{kind}]"


def _first_text(given: object) -> str:
    values = given.values() if isinstance(given, Mapping) else ()
    return next((value for value in values if isinstance(value, str)), "")
