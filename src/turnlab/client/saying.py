"""What the client tells of while it works: lines for people, objects for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Said:
    """One thing that happened."""

    event: str
    """What it is, for programs: `track`, `end`, `refused`, `waiting`, `played` ..."""
    words: str
    """The same for people; it may hold text that came from outside."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    warning: bool = False


class Say:
    """Hands on what happened to whoever shows it."""

    def __init__(self, show: Callable[[Said], None]) -> None:
        self._show = show

    def __call__(self, event: str, words: str, **facts: Any) -> None:
        """Tell of something."""
        self._show(Said(event=event, words=words, facts=facts))

    def warn(self, event: str, words: str, **facts: Any) -> None:
        """Tell of something that somebody may have to do something about."""
        self._show(Said(event=event, words=words, facts=facts, warning=True))
