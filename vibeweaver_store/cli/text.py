"""How values read on a terminal: one line each, nothing that could move the cursor."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import orjson

UNTITLED = "untitled"
"""What stands for the name of a session that has none."""

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_BREAKS_AND_TURNS = (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Line breaks by another name, and marks that turn the direction of writing."""
_ESCAPED = (
    {code: f"\\x{code:02x}" for code in _CONTROLS}
    | {code: f"\\u{code:04x}" for code in _BREAKS_AND_TURNS}
    | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
)


def shown(value: str) -> str:
    """Return a text with its control characters spelled out, so that it stays on its line and in its place."""
    return value.translate(_ESCAPED)


def spelled(path: Path) -> str:
    """Return a path as text that every output takes, also where its bytes are no Unicode."""
    return os.fsencode(path).decode(errors="backslashreplace")


def one_line(message: str) -> str:
    """Return a message of several lines as one."""
    return shown(" ".join(part.strip() for part in message.splitlines() if part.strip()))


def number(value: float) -> str:
    """Return a number with up to three decimals and no needless zeros: 64, 64.5."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def clock(seconds: float) -> str:
    """Return a time in minutes and seconds: 2:42, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def lasting(seconds: float) -> str:
    """Return how long something lasted, as exactly as one cares for: 850 ms, 4.2 s, 2:42, 1:02:03, 3 d 4:05:06."""
    if (milliseconds := round(seconds * 1000)) < 1000:
        return f"{milliseconds} ms"
    if (tenths := round(seconds, 1)) < 60:
        return f"{number(tenths)} s"
    days, rest = divmod(round(seconds), 86_400)
    return f"{days:,} d {clock(rest)}" if days else clock(rest)


def instant(value: datetime | None) -> str:
    """Return an instant to the second, in UTC."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%SZ}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 rule, 1,024 rules."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def compact(document: object) -> str:
    """Return a JSON value on one line."""
    return shown(orjson.dumps(document).decode())
