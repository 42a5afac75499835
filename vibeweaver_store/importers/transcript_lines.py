"""What the lines of a coding agent's transcript say: what was said between people and agent, and of the session itself.

Nothing here reads or writes a database. A line may hold anything: what is not as it should be says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vibeweaver_store.models import MessageRole
from vibeweaver_store.services.journal_lines import id_of, instant_of, mended_text

UNTITLED: Final = "untitled"
_LONGEST_TITLE: Final = 100
_LOOKED_THROUGH: Final = 10_000
_MOST_VERSIONS: Final = 20

_NOT_TYPED: Final = (
    *("<command-name>", "<command-message>", "<command-args>", "<task-notification>", "<system-reminder>"),
    *("<local-command-stdout>", "<local-command-stderr>", "<local-command-caveat>"),
    *("<bash-input>", "<bash-stdout>", "<bash-stderr>", "<ide_opened_file>", "<ide_selection>"),
    *("Caveat: The messages below were generated", "[Request interrupted by user"),
)
"""How texts begin that stand where a prompt stands, and that nobody has typed."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something readable that a line holds: who said it, what, and what the line calls it."""

    role: MessageRole
    text: str
    public_id: str


def said_in(line: Mapping[str, Any]) -> Said | None:
    """Return what a line has for people to read, or ``None``.

    That is the prompts that were typed, the agent's answers in text, and, as the system's, the summary that takes the
    place of a conversation that was compacted. What side chains say, tools and the client itself, is not.
    """
    role = None if is_aside(line) else _role(line)
    text = "" if role is None else _text_of(line)
    return None if role is None or not text.strip() else Said(role, text, _public_id(line, role, text))


def is_aside(line: Mapping[str, Any]) -> bool:
    """Say whether a line is of a side chain: of an agent that the session's own agent has called."""
    return line.get("isSidechain") is True or line.get("parent_tool_use_id") is not None


def source_session_of(line: Mapping[str, Any]) -> str | None:
    """Return what a line calls its session, in either spelling, or ``None``."""
    return id_of(line.get("sessionId")) or id_of(line.get("session_id"))


def _role(line: Mapping[str, Any]) -> MessageRole | None:
    if line.get("type") == "assistant":
        return MessageRole.ASSISTANT
    if line.get("type") != "user" or line.get("isMeta") is True:
        return None
    return MessageRole.SYSTEM if line.get("isCompactSummary") is True else MessageRole.USER


def _text_of(line: Mapping[str, Any]) -> str:
    """Return the text of a message, its blocks under each other, as the store can hold it."""
    message = line.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or any(_is_block(block, "tool_result") for block in blocks):
        return ""
    texts = [block.get("text") for block in blocks if _is_block(block, "text")]
    return "\n".join(mended_text(text) for text in texts if isinstance(text, str) and not _is_wrapped(text))


def _is_block(block: object, kind: str) -> bool:
    return isinstance(block, dict) and block.get("type") == kind


def _is_wrapped(text: str) -> bool:
    return text.lstrip().startswith(_NOT_TYPED)


def _public_id(line: Mapping[str, Any], role: MessageRole, text: str) -> str:
    own = id_of(line.get("uuid"))
    if own is not None:
        return own
    content = "\n".join((role, str(line.get("timestamp")), text)).encode(errors="replace")
    return f"sha256:{hashlib.sha256(content).hexdigest()[:40]}"


# --- of the session --------------------------------------------------------------------------------------------

TITLES: Final = ("nothing", "answer", "summary of another", "prompt", "summary", "custom title")
"""What a session can have its name from, the better the later."""

FOLDERS: Final = ("transcript", "side chain", "session")
"""What a session can have its working directory from, the better the later."""


@dataclass(slots=True)
class Facts:
    """What some lines, one after the other, say of the session that they belong to.

    Attributes:
        titles: what the session might be called, by where that is from.
        summaries: the summaries, each with the ``uuid`` of the line up to which it goes.
        folders: where it works, by where that is from: the first one that is named.
        first_at: the earliest time.
        last_at: the latest time.
        versions: of the programs that wrote the lines.
        git_branch: the last one that is named.
        total_cost_usd: what the session has cost up to here: a sum over the session, not over the lines.
        failed: whether the last turn ended with an error; ``None`` where no line says how one ended.
    """

    titles: dict[str, str] = field(default_factory=dict)
    summaries: list[tuple[str, str]] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)
    first_at: datetime | None = None
    last_at: datetime | None = None
    versions: dict[str, None] = field(default_factory=dict)
    git_branch: str | None = None
    total_cost_usd: float | None = None
    failed: bool | None = None

    def take(self, line: Mapping[str, Any], said: Said | None) -> None:
        """Learn from a line; ``said`` is what :func:`said_in` gave for it."""
        self._take_time(line)
        if folder := _plain(line.get("cwd")):
            self.folders.setdefault("side chain" if is_aside(line) else "session", folder)
        if version := _plain(line.get("version")):
            self.versions[version] = None
        self.git_branch = _plain(line.get("gitBranch")) or self.git_branch
        self._take_title(line, said)
        if line.get("type") == "result":
            self._take_result(line)

    def _take_time(self, line: Mapping[str, Any]) -> None:
        at = instant_of(line)
        if at is not None:
            self.first_at = at if self.first_at is None else min(self.first_at, at)
            self.last_at = at if self.last_at is None else max(self.last_at, at)

    def _take_title(self, line: Mapping[str, Any], said: Said | None) -> None:
        if custom := title_of(line.get("customTitle")):
            self.titles["custom title"] = custom
        if (summary := title_of(line.get("summary"))) and line.get("type") == "summary":
            self.summaries.append((_plain(line.get("leafUuid")), summary))
        if said is not None and said.role is not MessageRole.SYSTEM:
            kind = "prompt" if said.role is MessageRole.USER else "answer"
            if kind not in self.titles:
                self.titles[kind] = title_of(said.text) or UNTITLED

    def _take_result(self, line: Mapping[str, Any]) -> None:
        cost = line.get("total_cost_usd", line.get("cost_usd"))
        if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < float("inf"):
            self.total_cost_usd = max(float(cost), self.total_cost_usd or 0.0)
        if isinstance(line.get("is_error"), bool):
            self.failed = line["is_error"]

    def attributes(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is kept of this with the session, on top of what is known from the lines before.

        What is known may be anything: people can put there what they like.
        """
        before = known.get("versions")
        told_before = [each for each in before if isinstance(each, str)] if isinstance(before, list) else []
        versions = dict.fromkeys([*told_before, *self.versions])
        costs = [each for each in (self.total_cost_usd, known.get("total_cost_usd")) if isinstance(each, float)]
        told = {
            "versions": list(versions)[-_MOST_VERSIONS:],
            "git_branch": self.git_branch,
            "total_cost_usd": max(costs, default=None),
        }
        return {**known, **{name: value for name, value in told.items() if value not in (None, [])}}


def title_of(text: object) -> str:
    """Return the first line of a text that is not blank, as long as a name should be; empty where there is none."""
    if not isinstance(text, str):
        return ""
    lines = mended_text(text.lstrip()[:_LOOKED_THROUGH]).splitlines()
    printable = ("".join(sign if sign.isprintable() else " " for sign in line).strip() for line in lines)
    return next(filter(None, printable), "")[:_LONGEST_TITLE].rstrip()


def _plain(value: object) -> str:
    return mended_text(value).strip() if isinstance(value, str) else ""
