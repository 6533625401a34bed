"""OpenAI's wire format as its test server writes it: forms, events, JSON, sound."""

from __future__ import annotations

import email
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any, Protocol

RATE = 24_000
"""Of the sound that it makes, in Hz."""

SOUND_S = 0.06
"""Seconds of sound for each character that it speaks."""

PIECE_BYTES = 4_801
"""Of sound that it sends at once: 0.1 s, and half a sample."""


class Answers(Protocol):
    """What there is to say."""

    reply: str
    transcript: str
    finish_reason: str
    counts: bool


def form(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a multipart form; the upload as bytes."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    fields: dict[str, Any] = {}
    for part in email.message_from_bytes(head + body).walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            value = part.get_payload(decode=True)
            content = value if isinstance(value, bytes) else b""
            fields[name] = content if part.get_filename() else content.decode()
    return fields


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def chat(answers: Answers, fields: dict[str, Any]) -> Iterator[bytes]:
    """A reply as events."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": fields["model"]}

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    for piece in _pieces(answers.reply):
        yield chunk({"role": "assistant", "content": piece})
    yield chunk({}, answers.finish_reason)
    if answers.counts and (fields.get("stream_options") or {}).get("include_usage"):
        yield _event({**head, "choices": [], "usage": _used(answers, fields)})
    yield b"data: [DONE]\n\n"


def whole_chat(answers: Answers, fields: dict[str, Any]) -> dict[str, Any]:
    """A reply as one object."""
    message = {"role": "assistant", "content": answers.reply}
    choice = {"index": 0, "message": message, "finish_reason": answers.finish_reason}
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": fields["model"]}
    return {**whole, "choices": [choice], "usage": _used(answers, fields)}


def _used(answers: Answers, fields: dict[str, Any]) -> dict[str, Any]:
    """A token for each word."""
    read = sum(len(str(message["content"]).split()) for message in fields["messages"])
    written = len(_pieces(answers.reply))
    details = {"cached_tokens": read // 2}
    used = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {**used, "prompt_tokens_details": details}


def heard(answers: Answers, fields: dict[str, Any]) -> Iterator[bytes]:
    """A transcript as events."""
    for piece in _pieces(answers.transcript):
        yield _event({"type": "transcript.text.delta", "delta": piece})
    whole = whole_transcript(answers, fields)
    yield _event({"type": "transcript.text.done", **whole})


def whole_transcript(answers: Answers, fields: dict[str, Any]) -> dict[str, Any]:
    """A transcript as one object."""
    # A WAV file of 16 bits and one channel: its head is 44 bytes, its rate at byte 24.
    file: bytes = fields["file"]
    seconds = (len(file) - 44) / 2 / struct.unpack_from("<I", file, 24)[0]
    usage = {"type": "duration", "seconds": round(seconds, 3)}
    return {"text": answers.transcript, **({"usage": usage} if answers.counts else {})}


def sound_type(fields: dict[str, Any]) -> str:
    """The media type of the sound that was asked for."""
    return "audio/pcm" if fields.get("response_format") == "pcm" else "audio/wav"


def sound(fields: dict[str, Any]) -> Iterator[bytes]:
    """A tone that is as long as the text, 16-bit, in pieces that split samples."""
    count = int(len(fields["input"]) * SOUND_S * RATE)
    tone = [int(8_000 * math.sin(2 * math.pi * 440 * n / RATE)) for n in range(RATE // 44 * 44)]
    wave = struct.pack(f"<{len(tone)}h", *tone)
    pcm = (wave * (2 * count // len(wave) + 1))[: 2 * count]
    if fields.get("response_format") != "pcm":
        pcm = _wav_head(len(pcm)) + pcm
    for at in range(0, len(pcm), PIECE_BYTES):
        yield pcm[at : at + PIECE_BYTES]


def _wav_head(length: int) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + length, b"WAVE")
        + form
        + b"data"
        + struct.pack("<I", length)
    )
