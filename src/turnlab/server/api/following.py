"""Follows a Track: what happens in it as server-sent events, and its reply while it is made.

A Track that runs on another API process is asked for there; one that has ended is told from its
records.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

from turnlab.chunks import (
    Audio,
    Chunk,
    Emotion,
    Image,
    Passages,
    Reply,
    Samples,
    Speech,
    Transcript,
)
from turnlab.errors import TurnlabError
from turnlab.records import ContentKind
from turnlab.server.running import Event, Running

T = TypeVar("T")


class Sound(StrEnum):
    """Whether events bring the samples of the reply."""

    NONE = "none"
    BASE64 = "base64"


HEARTBEAT_S = 15.0
"""After so long without an event a comment is sent, so that nobody closes the connection."""

EVENTS = "text/event-stream"
WAV = "audio/wav"

EVENT_SCHEMA = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": ["track", "task", "chunk", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""One event, for the schema."""

_UNKNOWN = 0xFFFFFFFF
_COMMENT = b": still here\n\n"


RECORDS = "records"
"""The telling that events of a Track that has ended belong to, in their ids."""


def encoded(event: Event, telling: str) -> bytes:
    """The event as server-sent events have it; its id says which telling it belongs to."""
    data = json.dumps(event.data)  # one line
    return f"id: {telling}-{event.id}\nevent: {event.event}\ndata: {data}\n\n".encode()


def seen_of(last_event_id: str, telling: str) -> int:
    """The number of the last event that was seen of `telling`; 0 if it was of another.

    A Track while it runs and its records count different things.
    """
    name, _, number = last_event_id.rpartition("-")
    return int(number) if name == telling and number.isdecimal() else 0


async def live_events(running: Running, after: int, *, sound: bool) -> AsyncIterator[Event]:
    """What happens in a Track that runs here, from the event after `after` on, and its end.

    With `sound` each Speech of the reply brings its samples, as base64 of 16-bit little-endian PCM.
    """
    speaker = running.plan.newest(Speech) if sound else None
    spoken = running.read(Speech) if speaker else None
    async for event in running.events():
        if spoken and speaker and _is_speech_of(event, speaker.name):
            # Its Chunk was put before it was told, so this never waits.
            chunk = await anext(spoken)
            pcm = base64.b64encode(pcm16(chunk.samples)).decode()
            event = Event(event.id, event.event, {**event.data, "audio": pcm})
        if event.id > after or event.event == "end":
            yield event


def _is_speech_of(event: Event, component: str) -> bool:
    data = event.data
    return event.event == "chunk" and (data["component"], data["kind"]) == (component, Speech.kind)


def past_events(detail: Mapping[str, Any], after: int) -> list[Event]:
    """The events of a Track that has ended, as far as its records tell them.

    The end always comes, so that whoever reconnects learns of it.
    """
    told = [("track", _head(detail))]
    for task in detail["tasks"]:
        told.append(("task", _task(task)))
        made = [each for each in detail["contents"] if each["task_id"] == task["id"]]
        told += [("chunk", _chunk(task, each)) for each in made]
    events = [Event(number, *each) for number, each in enumerate(told, 1)]
    end = Event(len(events) + 1, "end", _end(detail))
    return [*(event for event in events if event.id > after), end]


def _head(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {"track_id": detail["track_id"], "status": "started"}


def _task(task: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("id", "name", "task_name", "status", "worker", "attempt")
    return {**{key: task[key] for key in keys}, **_error(task)}


def _chunk(task: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """All that a Task made of one kind, as one Chunk."""
    kind = _KINDS[ContentKind(content["kind"])].kind
    texts = {"text": content["text"]} if content["text"] else {}
    sound = {key: content[key] for key in ("duration_s", "sample_rate") if content[key]}
    return {"component": task["name"], "kind": kind, **sound, **texts, **content["profile"]}


_KINDS: Mapping[ContentKind, type[Chunk]] = {
    ContentKind.DATA_AUDIO: Audio,
    ContentKind.DATA_IMAGE: Image,
    ContentKind.DATA_TEXT: Transcript,
    ContentKind.RES_TEXT: Reply,
    ContentKind.RES_SPEECH: Speech,
    ContentKind.CONTEXT_EMOTION: Emotion,
    ContentKind.CONTEXT_RAG: Passages,
}


def _end(detail: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("track_id", "status", "voice_to_voice_s")
    return {**{key: detail[key] for key in keys}, **_error(detail)}


def _error(row: Mapping[str, Any]) -> dict[str, str]:
    error = row["error"] or {"code": "", "message": ""}
    return {"error_code": error["code"], "error_message": error["message"]}


async def beating(
    parts: AsyncIterator[bytes], every_s: float = HEARTBEAT_S
) -> AsyncIterator[bytes]:
    """`parts`, with a comment whenever none came for `every_s` seconds."""
    waiting: asyncio.Task[bytes] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(_next(parts))
            done, _ = await asyncio.wait({waiting}, timeout=every_s)
            if not done:
                yield _COMMENT
                continue
            try:
                part = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            yield part
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting
        if hasattr(parts, "aclose"):
            await parts.aclose()


async def _next(parts: AsyncIterator[T]) -> T:
    return await anext(parts)


async def speech_of(running: Running) -> tuple[int, AsyncIterator[bytes]] | None:
    """The rate in Hz and the PCM of the reply of a Track that runs here, once it has begun.

    None if no sound comes. A reply that fails half-way ends there; the Track's status tells why.
    """
    if not running.speaks():
        return None
    chunks = running.read(Speech)
    try:
        first = await anext(chunks)
    except (StopAsyncIteration, TurnlabError):
        return None
    return first.sample_rate, _pcm(first, chunks)


async def _pcm(first: Speech, chunks: AsyncIterator[Speech]) -> AsyncIterator[bytes]:
    yield pcm16(first.samples)
    with suppress(TurnlabError):
        async for chunk in chunks:
            yield pcm16(chunk.samples)


def pcm16(samples: Samples) -> bytes:
    """Little-endian 16-bit samples, as the media storage keeps them."""
    scaled = np.rint(np.nan_to_num(samples) * np.float32(1 << 15))
    pcm: bytes = np.clip(scaled, -(1 << 15), (1 << 15) - 1).astype("<i2").tobytes()
    return pcm


def endless_wav_head(sample_rate: int) -> bytes:
    """The head of a mono 16-bit WAV file whose length is not known yet.

    Both lengths are 0xFFFFFFFF, which players and libsndfile read to the end of what comes.
    """
    riff = struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE")
    format_ = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16)
    return riff + format_ + struct.pack("<4sI", b"data", _UNKNOWN)


async def streamed_wav(sample_rate: int, pcm: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A WAV file as its samples come."""
    yield endless_wav_head(sample_rate)
    async with aclosing(pcm) as parts:  # type: ignore[type-var]
        async for part in parts:
            yield part
