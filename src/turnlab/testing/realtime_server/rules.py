"""What the protocol lets a client send."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from turnlab.testing.realtime_server.answers import ids

MOST_APPENDED_BYTES = 15 * 2**20
"""What one append may hold."""

FORMATS = ({"type": "audio/pcm", "rate": 24_000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"})

_SESSION = {
    *("type", "model", "instructions", "output_modalities", "tools", "tool_choice", "audio"),
    *("max_output_tokens", "truncation", "prompt", "tracing", "include"),
}
_INPUT = {"format", "transcription", "noise_reduction", "turn_detection"}
_OUTPUT = {"format", "voice", "speed"}

_PARTS = {
    "system": {"input_text"},
    "user": {"input_text", "input_audio", "input_image"},
    "assistant": {"output_text", "output_audio"},
}

_KNOWN = {
    "session.update",
    *(f"input_audio_buffer.{what}" for what in ("append", "commit", "clear")),
    "conversation.item.create",
    *("response.create", "response.cancel"),
}


def problem(event: Mapping[str, Any]) -> str | None:
    """What is wrong with a client's event, None if nothing is."""
    match event.get("type"):
        case "session.update":
            return _session_problem(event.get("session"))
        case "input_audio_buffer.append":
            return _audio_problem(event.get("audio"))
        case "conversation.item.create":
            return _item_problem(event.get("item"))
        case kind if kind in _KNOWN:
            return None
        case kind:
            return f"{kind!r} is no event that this server takes."


def item_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The item that the server keeps of what it was given."""
    base = {"id": ids("item"), "object": "realtime.item", "status": "completed"}
    return {**base, **given}


def _session_problem(session: Any) -> str | None:
    if not isinstance(session, dict) or session.get("type") != "realtime":
        return "session.type must be 'realtime'."
    audio = session.get("audio", {})
    unknown = {
        *(set(session) - _SESSION),
        *(set(audio) - {"input", "output"}),
        *(set(audio.get("input", {})) - _INPUT),
        *(set(audio.get("output", {})) - _OUTPUT),
    }
    if unknown:
        return f"session has no {', '.join(sorted(unknown))}."
    if session.get("output_modalities", ["audio"]) not in (["audio"], ["text"]):
        return "session.output_modalities must be ['audio'] or ['text']."
    for way in ("input", "output"):
        if audio.get(way, {}).get("format", FORMATS[0]) not in FORMATS:
            return f"session.audio.{way}.format is not known."
    return None


def _audio_problem(audio: Any) -> str | None:
    try:
        data = base64.b64decode(audio, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return "audio must be base64."
    if not data or len(data) % 2:
        return "audio must be whole samples of 16 bits."
    return "audio is larger than 15 MiB." if len(data) > MOST_APPENDED_BYTES else None


def _item_problem(item: Any) -> str | None:
    if not isinstance(item, dict) or item.get("type") != "message":
        return "item.type must be 'message'."
    parts = _PARTS.get(item.get("role", ""))
    if parts is None:
        return "item.role must be system, user or assistant."
    content = item.get("content")
    if not content or any(part.get("type") not in parts for part in content):
        return f"item.content of role {item['role']} must be of {', '.join(sorted(parts))}."
    return None
