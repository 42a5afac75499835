"""Words of other programs' vocabularies, each with the nearest of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from vibeweaver_store.columns import parse_enum
from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.models import AgentStatus, JobStatus, MessageRole, SessionStatus

WordT = TypeVar("WordT", AgentStatus, JobStatus, MessageRole, SessionStatus)


def _nearest(words: Mapping[WordT, str]) -> dict[str, WordT]:
    return {word: member for member, listed in words.items() for word in listed.split()}


_SESSIONS: Final = _nearest(
    {
        SessionStatus.CREATED: "starting new pending queued initializing initialized not_started ready",
        SessionStatus.RUNNING: "in_progress processing working busy started resumed",
        SessionStatus.PAUSED: "idle stopped waiting waiting_for_input suspended interrupted blocked inactive",
        SessionStatus.COMPLETED: "complete done finished success succeeded closed ended exited",
        SessionStatus.FAILED: "errored crashed cancelled canceled aborted killed terminated timeout timed_out",
        SessionStatus.ARCHIVED: "deleted hidden trashed",
    }
)
_AGENTS: Final = _nearest(
    {
        AgentStatus.NOT_STARTED: "new created pending queued",
        AgentStatus.PROCESSING: "running working busy active in_progress starting",
        AgentStatus.COMPLETED: "waiting_for_input waiting idle paused stopped complete done finished",
        AgentStatus.ERROR: "failed errored crashed aborted cancelled canceled killed timeout",
    }
)
_JOBS: Final = _nearest(
    {
        JobStatus.PENDING: "queued waiting scheduled retrying new created delayed",
        JobStatus.PROCESSING: "running active in_progress working",
        JobStatus.COMPLETED: "complete done success succeeded finished",
        JobStatus.FAILED: "error errored dead timeout timed_out",
        JobStatus.CANCELLED: "canceled aborted",
    }
)
_ROLES: Final = _nearest(
    {
        MessageRole.USER: "human prompt customer me",
        MessageRole.ASSISTANT: "ai model bot agent claude llm gpt",
        MessageRole.SYSTEM: "developer instructions",
        MessageRole.TOOL: "function tool_use tool_call tool_result",
    }
)

OTHERWISE: Final = {
    SessionStatus: SessionStatus.PAUSED,
    AgentStatus: AgentStatus.COMPLETED,
    MessageRole: MessageRole.SYSTEM,
}
"""What stands for any other word: a session that may go on, an agent that waits, something that neither side said.

A job of an unknown word is refused: it may not be done twice, nor left undone.
"""

_WORDS: Final[Mapping[type, Mapping[str, object]]] = {
    SessionStatus: _SESSIONS,
    AgentStatus: _AGENTS,
    JobStatus: _JOBS,
    MessageRole: _ROLES,
}


def read_word(vocabulary: type[WordT], value: object, *, field: str) -> tuple[WordT, bool]:
    """Return the member of a vocabulary that a word names or comes nearest to, and whether it names it.

    Raises:
        InvalidInput: it is no text, or names none and nothing stands for any other word.
    """
    nearest = _WORDS[vocabulary].get(value.strip().lower()) if isinstance(value, str) else None
    if isinstance(nearest, vocabulary):
        return nearest, False
    try:
        return parse_enum(vocabulary, value, field=field), True
    except InvalidInput:
        other = OTHERWISE.get(vocabulary)
        if isinstance(value, str) and isinstance(other, vocabulary):
            return other, False
        raise
