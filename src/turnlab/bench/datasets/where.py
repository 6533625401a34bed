"""Which recorded Tracks become a dataset, as `--where` says it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from turnlab.conversations import check_conversation_id
from turnlab.errors import InvalidRequest
from turnlab.runs import check_run_id
from turnlab.tracks import Mode, TrackStatus, parse_track_id

_AGE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_ENDED = [status for status in TrackStatus if status.ended]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which Tracks; all that is given must hold. Those that have not ended are never taken."""

    cluster: str = ""
    status: str = ""
    mode: str = ""
    since: datetime | None = None
    until: datetime | None = None
    run: str = ""
    repeat: int | None = None
    conversation: str = ""
    project: str = ""
    track: str = ""


def parse_where(text: str) -> Where:
    """`cluster=NAME status=completed since=2026-11-01 run=R-...`, quoted as in a shell.

    A moment without a zone is one of this machine's zone; `7d` is seven days ago.

    Raises InvalidRequest, UnknownRun, UnknownConversation, InvalidTrackId.
    """
    values: dict[str, Any] = {}
    names = [each.name for each in fields(Where)]
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise InvalidRequest(f"--where cannot be read ({error}); close the quotes.") from error
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in names or not equals or not value:
            raise InvalidRequest(
                f"--where takes NAME=VALUE, with NAME one of {', '.join(names)}; not {part[:80]!r}."
            )
        if name in values:
            raise InvalidRequest(f"--where has {name} twice; export each by itself.")
        values[name] = _parsed(name, value)
    return Where(**values)


def _parsed(name: str, value: str) -> Any:
    match name:
        case "since" | "until":
            return _moment(name, value)
        case "status":
            return _one_of(name, value, [str(status) for status in _ENDED])
        case "mode":
            return _one_of(name, value, [str(mode) for mode in Mode])
        case "repeat":
            if not re.fullmatch(r"[0-9]{1,6}", value):
                raise InvalidRequest(f"repeat={value[:80]} is no number; 0 are warm-ups.")
            return int(value)
        case "run":
            return check_run_id(value)
        case "conversation":
            return check_conversation_id(value)
        case "track":
            parse_track_id(value)
    return value


def _one_of(name: str, value: str, known: list[str]) -> str:
    if value not in known:
        raise InvalidRequest(f"{name}={value[:80]} is unknown; give one of {', '.join(known)}.")
    return value


def _moment(name: str, value: str) -> datetime:
    if match := _AGE.fullmatch(value):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{name}={value[:80]} is no moment; write 2026-11-01, 2026-11-01T09:30 or 7d."
        ) from None
