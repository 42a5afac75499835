"""Reads files of one JSON object a line that other programs write, and go on writing, without holding them in memory.

What is known to go wrong in them: two objects glued on one line (something was appended behind a missing newline), a
last line that is not whole yet, comments, lines that are no objects, bytes that are no UTF-8, a byte order mark.
Integers of more than 64 bits are read as floats.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import orjson

JsonLine: TypeAlias = dict[str, Any]

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""The longest line that is read; a longer one is broken, and passed over without being held."""

_EDGE: Final = 4096
_BOM: Final = b"\xef\xbb\xbf"
_BLANKS: Final = re.compile(r"\s*")
_NO_OBJECT: Final = "the line holds a JSON value that is no object"


def _integer(digits: str) -> int | float:
    """Read an integer as the fast parser does, so that a line is the same whichever of the two has read it."""
    whole = int(digits)
    value = float(digits)
    return value if math.isfinite(value) and not -(2**63) <= whole < 2**64 else whole


_DECODER: Final = json.JSONDecoder(parse_int=_integer)


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: which, from 1.
        end: where the next line begins, in bytes.
        raw: the line's own bytes; none of one that is too long.
        objects: what it holds, mostly one object.
        problem: why it, or the rest of it, could not be read; empty where nothing is wrong.
        is_plain: the fast parser has read it, so that it holds nothing that JSON does not have.
    """

    number: int
    end: int
    raw: bytes
    objects: tuple[JsonLine, ...] = ()
    problem: str = ""
    is_plain: bool = False


class Lines:
    """The lines of a file from an offset on. Blank ones are passed over.

    A last line without a newline is taken where it is whole; else it is left for another time, and is what ``torn``
    holds once all was read. Who goes on behind one that was taken is still within that line, and it is not counted
    twice.
    """

    def __init__(self, file: BinaryIO, *, offset: int = 0, number: int = 0, longest: int = MAX_LINE_BYTES) -> None:
        self.torn: Line | None = None
        self._file = file
        self._offset = offset
        self._number = number - 1 if _is_within_a_line(file, offset) else number
        self._longest = longest

    def __iter__(self) -> Iterator[Line]:
        while raw := self._next():
            end, whole = self._offset + len(raw), raw.endswith(b"\n")
            if len(raw) > self._longest and not whole:
                raw, end, whole = b"", *self._pass_over(end)
            line = self._read(end, raw) if raw else _too_long(self._number + 1, end, self._longest)
            if line.problem and not whole and not _is_broken_for_good(line):
                self.torn = line
                return
            self._number, self._offset = line.number, end
            if line.objects or line.problem:
                yield line

    def _next(self) -> bytes:
        self._file.seek(self._offset)  # somebody else may look into the file meanwhile
        return self._file.readline(self._longest + 1)

    def _read(self, end: int, raw: bytes) -> Line:
        return _parsed(self._number + 1, end, raw if self._offset else raw.removeprefix(_BOM))

    def _pass_over(self, end: int) -> tuple[int, bool]:
        """Read to the end of a line that is too long, and return where it is and whether it is there yet."""
        while part := self._file.readline(self._longest):
            end += len(part)
            if part.endswith(b"\n"):
                return end, True
        return end, False


def _is_within_a_line(file: BinaryIO, offset: int) -> bool:
    if offset == 0:
        return False
    file.seek(offset - 1)
    return file.read(1) != b"\n"


def _is_broken_for_good(line: Line) -> bool:
    """Say whether a last line is no object, whatever may still come; a number may go on."""
    return line.problem == _NO_OBJECT and not line.raw.rstrip()[-1:].isdigit()


def _too_long(number: int, end: int, longest: int) -> Line:
    return Line(number, end, b"", problem=f"the line is longer than {longest // 1024**2} MiB")


def _parsed(number: int, end: int, raw: bytes) -> Line:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _judged(number, end, raw, *_values(raw))
    if type(value) is not dict:
        return _judged(number, end, raw, [value])
    return Line(number, end, raw, (value,), is_plain=True)


def _values(raw: bytes) -> tuple[list[Any], str]:
    """Return the JSON values that bytes hold, and why the rest cannot be read."""
    if not raw.strip():
        return [], ""
    try:
        return [orjson.loads(raw)], ""
    except orjson.JSONDecodeError:
        return _values_slowly(raw)


def _values_slowly(raw: bytes) -> tuple[list[Any], str]:
    """Read what orjson refuses: objects glued together, lone surrogates, numbers that are not finite."""
    found: list[Any] = []
    try:
        text, place = raw.decode().strip(), 0
        while place < len(text):
            value, place = _DECODER.raw_decode(text, place)
            found.append(value)
            place = _BLANKS.match(text, place).end()  # type: ignore[union-attr]  # it always matches
    except UnicodeDecodeError:
        return [], "the line is not UTF-8"
    except (ValueError, RecursionError):
        return found, "the rest of the line is no JSON" if found else "the line is no JSON"
    return found, ""


def _judged(number: int, end: int, raw: bytes, values: list[Any], problem: str = "") -> Line:
    """Keep the objects; a value that is none is a problem."""
    objects = tuple(value for value in values if isinstance(value, dict))
    if len(objects) < len(values):
        problem = problem or _NO_OBJECT
    return Line(number, end, raw, objects, problem)


def whole_array(file: BinaryIO) -> tuple[Line, ...] | None:
    """Return the items of a file that is one JSON array, as lines numbered from 1; ``None`` where it is no array.

    Only behind the last of them the file is read: there is no going on in the middle of an array. A file that is
    longer than a line may be is not taken for an array.
    """
    file.seek(0)
    if not file.read(_EDGE).removeprefix(_BOM).lstrip().startswith(b"["):
        return None
    file.seek(0)
    raw = file.read(MAX_LINE_BYTES + 1)
    if len(raw) > MAX_LINE_BYTES:
        return None
    values, problem = _values(raw.removeprefix(_BOM))
    if problem or len(values) != 1:
        return None
    (items,) = values
    ends = [*[0] * (len(items) - 1), len(raw)]
    return tuple(_item(number, end, item) for number, (item, end) in enumerate(zip(items, ends, strict=False), 1))


def _item(number: int, end: int, item: Any) -> Line:
    try:
        return _judged(number, end, _encoded(item), [item])
    except RecursionError:
        return Line(number, end, b"", problem="the item is nested too deep")


def _encoded(item: Any) -> bytes:
    try:
        return orjson.dumps(item)
    except TypeError:  # nested deep, or with a lone surrogate
        return json.dumps(item).encode()


def fingerprint(file: BinaryIO, offset: int) -> str:
    """Return what tells whether a file still is the one that was read up to an offset, in hexadecimal.

    It is of the first and the last 4 KiB of that part: a change in between is not seen.
    """
    digest = hashlib.sha256(str(offset).encode())
    for start in (0, max(0, offset - _EDGE)):
        file.seek(start)
        digest.update(file.read(min(_EDGE, offset - start)))
    return digest.hexdigest()
