"""Conversations: the turns of one session with one user."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from turnlab.errors import UnknownConversation

_ID = re.compile(r"C-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One earlier turn of the Conversation: what was asked and what was replied."""

    text: str
    reply: str


def new_conversation_id() -> str:
    """A fresh `C-{32 hex digits}`."""
    return f"C-{uuid.uuid4().hex}"


def check_conversation_id(text: str) -> str:
    """`text` if it is well formed. Raises UnknownConversation."""
    if not _ID.fullmatch(text):
        raise UnknownConversation(
            f"{text[:200]!r} is no Conversation: it is C- and 32 hex digits; "
            "`turnlab conversations list` shows those there are."
        )
    return text


@dataclass(kw_only=True)
class Conversation:
    """A Conversation and its exchanges so far, oldest first; a turn that completes adds one."""

    id: str = field(default_factory=new_conversation_id)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    exchanges: list[Exchange] = field(default_factory=list)
