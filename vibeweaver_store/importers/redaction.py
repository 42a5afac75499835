"""Strikes credentials and the ids of organizations out of what other programs wrote down, before it is stored.

Known by their shape: API keys and tokens, bearer tokens, JSON Web Tokens, private keys. Known by where they stand:
what is called ``Authorization``, ``x-api-key``, ``Cookie``, ``api_key``, ``organization_uuid`` and the like, in objects
and in the text of headers, and every header that an error carries. What has neither shape nor name is not found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from vibeweaver_store.json_values import MAX_DOCUMENT_DEPTH

REDACTED: Final = "[redacted]"

_SIGN: Final = "[A-Za-z0-9._~+/=-]"
_WITH_A_DIGIT: Final = rf"(?={_SIGN}{{0,80}}\d)"
_SAYS: Final = r"""(\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?)"""
"""What stands between a name and its value: ``: ``, ``=``, ``": "``."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A kind of secret: what to look for, and a hint: what every text that holds it has somewhere, in small letters.

    A hint begins with plain letters, which are found faster than any pattern.
    """

    hint: str
    pattern: re.Pattern[str]
    replacement: str = REDACTED


def _token(beginning: str, rest: str) -> _Shape:
    """Return the shape of tokens with a beginning of their own, which does not stand amid a word."""
    # The beginning comes first, and what may stand before it is looked at then: so the search is one for plain letters.
    return _Shape(beginning.lower(), re.compile(rf"{beginning}(?<![A-Za-z0-9_-]{beginning}){rest}"))


def _named(name: str, value: str) -> _Shape:
    """Return the shape of what stands behind a name; the name stays."""
    return _Shape(name, re.compile(rf"(?i)({name}){_SAYS}(?:{value})"), rf"\1\2{REDACTED}")


_PRIVATE_KEY: Final = (
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,→|\\]|-(?!----))*"
    r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
_WEB_TOKEN: Final = r"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{4,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"  # noqa: S105 - its shape
_SCHEMES: Final = "(?:bearer|basic|digest|token|apikey|negotiate)"

_SHAPES: Final = (
    _Shape("private key-----", re.compile(_PRIVATE_KEY)),
    _Shape(r"\.eyj", re.compile(_WEB_TOKEN)),
    _token("sk-", "(?:ant-[A-Za-z0-9_-]{8,}|[A-Za-z0-9_-]{20,})"),
    _token("gh[pousr]_", "[A-Za-z0-9]{16,}"),
    _token("github_pat_", "[A-Za-z0-9_]{16,}"),
    _token("glpat-", "[A-Za-z0-9_-]{16,}"),
    _token("AKIA", "[0-9A-Z]{16}(?![0-9A-Za-z])"),
    _token("ASIA", "[0-9A-Z]{16}(?![0-9A-Za-z])"),
    _token("AIza", "[A-Za-z0-9_-]{35}"),
    _token("xox[abeoprs]-", "[A-Za-z0-9-]{10,}"),
    _named("authorization", rf"{_SCHEMES}\s{{1,4}}{_SIGN}{{8,}}|{_WITH_A_DIGIT}{_SIGN}{{8,}}"),
    _Shape("bearer", re.compile(rf"(?i)(bearer)(\s{{1,4}}){_WITH_A_DIGIT}{_SIGN}{{16,}}"), rf"\1\2{REDACTED}"),
    _named("api[-_]?key", rf"{_WITH_A_DIGIT}{_SIGN}{{12,}}"),
    _named("cookie", r"""[\w.-]{1,80}=[^\s"'\\;]{8,}(?:; ?[^\s"'\\;]+)*"""),
    _named("organization[-_]?(?:uu)?id", "[A-Za-z0-9_-]{8,}"),
)

_NAMES: Final = frozenset(
    {
        *("authorization", "proxyauthorization", "cookie", "setcookie"),
        *("apikey", "xapikey", "xgoogapikey", "anthropicapikey", "openaiapikey"),
        *("accesstoken", "refreshtoken", "authtoken", "clientsecret"),
        *("organizationid", "organizationuuid", "anthropicorganizationid", "openaiorganization"),
    }
)
"""The names of what is secret whatever it looks like, in small letters, without hyphens and underscores."""

_HINTS: Final = tuple(
    re.compile(hint.encode())
    for hint in (
        *(shape.hint for shape in _SHAPES),
        *('organization"', 'token"', 'secret"', '"headers"'),
        r"\\u00[2-7]",  # a plain letter that was spelled out
    )
)
"""Bytes of which every line has some that holds a secret, in small letters."""


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


def _may_hold_secrets(raw: bytes) -> bool:
    small = raw.lower()
    return any(hint.search(small) for hint in _HINTS)


class _Walk:
    """One walk through a document, which counts what was struck out."""

    def __init__(self) -> None:
        self.count = 0

    def value(self, value: Any, levels: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if levels < 0:
            return value
        if isinstance(value, dict):
            return {self.text(name): self._member(name, item, levels - 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, levels - 1) for item in value]
        return value

    def _member(self, name: str, value: Any, levels: int) -> Any:
        if _is_secret(name):
            return self._strike(value, levels)
        if name == "error" and isinstance(value, dict) and isinstance(headers := value.get("headers"), dict):
            struck = {header: self._strike(said, levels - 1) for header, said in headers.items()}
            return {**self.value({**value, "headers": None}, levels), "headers": struck}
        return self.value(value, levels)

    def _strike(self, value: Any, levels: int) -> Any:
        """Strike out a text, or each of a list of them; what else stands behind a name is looked through."""
        if isinstance(value, list):
            return [self._strike(item, levels - 1) for item in value]
        if not isinstance(value, str):
            return self.value(value, levels)
        if not value.strip() or value == REDACTED:
            return value
        self.count += 1
        return REDACTED

    def text(self, text: str) -> str:
        small = text.lower()
        for shape in _SHAPES:
            if re.search(shape.hint, small):
                text, count = shape.pattern.subn(shape.replacement, text)
                self.count += count
        return text


def _is_secret(name: str) -> bool:
    return name.lower().replace("-", "").replace("_", "") in _NAMES
