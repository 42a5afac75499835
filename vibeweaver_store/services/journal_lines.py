"""What a line of a coding agent's event stream says: the columns that the journal keeps of it for lookups.

Nothing here reads or writes a database. A line is never dropped for what it holds: what a column cannot take is left
out of the column and stays in the line.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PureWindowsPath
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field

from vibeweaver_store.columns import Count, Id, Name, Text, Utc
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.json_values import (
    MAX_DOCUMENT_DEPTH,
    JsonText,
    check_text,
    dump_canonical,
    encode_text,
    freeze,
    load_json,
    shown,
)
from vibeweaver_store.validation import require

KNOWN_TYPES: Final = frozenset(
    {
        *("assistant", "user", "system", "attachment", "progress", "summary", "result"),
        *("file-history-snapshot", "queue-operation", "last-prompt", "custom-title", "mode", "permission-mode"),
        *("pr-link", "frame-link", "stream_event", "control_response"),
    }
)
"""The types of lines that are known; lines of others are kept all the same, and counted."""

UNTYPED: Final = "unknown"
"""The type under which a line is kept that names none."""

_MOST_TOKENS: Final = 2**40
"""More tokens than any response takes, and few enough that eight million such counts can be added up."""

_Tokens: TypeAlias = Annotated[Count, Field(le=_MOST_TOKENS)]
_SHORT: Final = 200
"""So many bytes every kind of text may have."""

TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""The kinds of tokens that a response takes, as lines and columns call them."""

_NO_TOKENS: Final[dict[str, int | None]] = dict.fromkeys(TOKENS)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A line to be taken into the journal.

    Attributes:
        data: the whole line, a JSON object.
        source_session_id: the agent's own name for its session, where the line does not say it.
        session_id: our session that it belongs to.
        project_name: what the project is called; by default the last part of the line's ``cwd``.
        import_id: which import brought it.
        text: the line as :func:`vibeweaver_store.json_values.encode_text` gives it, where it is known already.
    """

    data: Mapping[str, Any]
    source_session_id: str | None = None
    session_id: str | None = None
    project_name: str | None = None
    import_id: int | None = None
    text: JsonText | None = None


def columns_of(new: NewEvent, *, as_text: bool = False) -> dict[str, Any]:
    """Return the columns of a line, by name, all but the key; ``as_text``, the line itself is JSON text.

    The line is kept as it came, but for what no backend can hold: NUL characters and lone surrogates become U+FFFD,
    and numbers that are not finite or of more than 64 bits become text. A line without a ``uuid`` gets a digest of its
    source and its content. Tokens, model and message id are those of ``message``: a ``stream_event`` tells them of a
    part of a response, in its ``event``, which are not taken.

    Raises:
        InvalidInput: the line is no JSON object, is nested deeper than 100 levels or names no session, and no
            ``source_session_id`` was given; or another value that was given beside it is refused.
    """
    line = new.data
    # Of another type, a text was not seen to be the line's.
    known = new.text if as_text and type(new.text) is JsonText else None
    data = _document(line, encode_text if as_text else freeze) if known is None else known
    given = None if new.source_session_id is None else require(Id, new.source_session_id, field="source_session_id")
    source = id_of(line.get("sessionId")) or id_of(line.get("session_id")) or given
    if source is None:
        raise InvalidInput("source_session_id: the line names no session; give the one of its file", field="data")
    cwd = _fit_text(Text, line.get("cwd"))
    message = line.get("message")
    said: Mapping[str, Any] = message if isinstance(message, Mapping) else {}
    return {
        "event_uuid": id_of(line.get("uuid")) or _digest(source, data),
        "source_session_id": source,
        "event_type": _fit_text(Name, line.get("type")) or UNTYPED,
        "timestamp": instant_of(line),
        "is_sidechain": line.get("isSidechain") is True or line.get("parent_tool_use_id") is not None,
        # The first line behind a compaction has no parent, and says what came before it.
        "parent_uuid": id_of(line.get("parentUuid")) or id_of(line.get("logicalParentUuid")),
        "cwd": cwd,
        "project_name": _project(new.project_name, cwd),
        "session_id": None if new.session_id is None else require(Id, new.session_id, field="session_id"),
        "model": _fit_text(Text, said.get("model")),
        "message_id": id_of(said.get("id")),
        "request_id": id_of(line.get("requestId")) or id_of(line.get("request_id")),
        **_tokens(said.get("usage")),
        "import_id": None if new.import_id is None else require(Count, new.import_id, field="import_id"),
        "data": data,
    }


def id_of(value: object) -> str | None:
    """Return a value that can be an id, or ``None``."""
    key: str | None = None if value is None else _fit_text(Id, value)
    return key


def _fit_text(kind: Any, value: object) -> Any:
    """Return a text as a column takes it, or ``None``. Most are of every kind, which is seen without pydantic."""
    if type(value) is str and len(value) <= _SHORT and value.isascii() and value.isprintable() and value.strip():
        return value
    return _fit(kind, value)


def _tokens(usage: object) -> dict[str, int | None]:
    if not isinstance(usage, Mapping):
        return _NO_TOKENS
    return {name: _fit_count(usage.get(name)) for name in TOKENS}


def _fit_count(value: object) -> Any:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else _fit(_Tokens, value)


def _fit(kind: Any, value: object) -> Any:
    """Return a value as a column takes it, or ``None``."""
    if value is None:
        return None
    try:
        return require(kind, value, field="data")
    except InvalidInput:
        return None


def instant_of(line: Mapping[str, Any]) -> datetime | None:
    """Return when a line was written; ``None`` where it does not say so, or not of which time zone."""
    value = line.get("timestamp")
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    instant: datetime | None = parsed if parsed.tzinfo is UTC else _fit(Utc, parsed)
    return instant


def _project(given: str | None, cwd: str | None) -> str | None:
    if given is not None:
        name: str = require(Text, given, field="project_name")
        return name
    return None if cwd is None else _folder(cwd)


@lru_cache(maxsize=64)
def _folder(cwd: str) -> str | None:
    # Of either kind of path: agents work on Windows too. All lines of a session name the same few.
    return PureWindowsPath(cwd).name or None


def _digest(source: str, data: Any) -> str:
    document = load_json(str(data)) if isinstance(data, JsonText) else data
    return f"sha256:{hashlib.sha256(dump_canonical([source, document])).hexdigest()[:40]}"


# --- documents that no backend can hold as they are -----------------------------------------------------------


def _document(line: object, form: Callable[[object], Any]) -> Any:
    """Return a line in the form in which it is stored: :func:`freeze` or :func:`encode_text`."""
    if not isinstance(line, Mapping):
        raise InvalidInput(f"data: a line must be a JSON object (got {shown(line)})", field="data")
    document = dict(line)
    with suppress(ValueError):
        return form(document)
    try:
        return form(_mended(document))
    except ValueError as error:
        raise InvalidInput(f"data: a line {error}", field="data") from error


def _mended(value: object, levels: int = MAX_DOCUMENT_DEPTH) -> object:
    if isinstance(value, str):
        return mended_text(value)
    if levels < 0:
        return value  # nested too deep, which is refused
    if isinstance(value, dict):
        return {_mended(key): _mended(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item, levels - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def mended_text(text: str) -> str:
    """Return a text that both backends can hold: U+FFFD stands for NUL and for a lone surrogate."""
    try:
        return check_text(text)
    except ValueError:
        # A pair of surrogates is the character that it spells; one that is alone is none.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\x00", "\ufffd")
