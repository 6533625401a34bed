from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import numpy as np
import soundfile

from turnlab.server.api.following import (
    beating,
    encoded,
    past_events,
    pcm16,
    seen_of,
    streamed_wav,
)
from turnlab.server.running import Event


async def test_while_nothing_happens_a_comment_keeps_the_connection() -> None:
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    found = []
    async for part in beating(events(), 0.001):
        found.append(part)
        if part.startswith(b":"):
            go_on.set()
    assert found[0] == b"first"
    assert found[-1] == b"second"
    assert all(part.startswith(b":") and part.endswith(b"\n\n") for part in found[1:-1])


async def test_who_stops_to_listen_stops_what_was_listened_to() -> None:
    closed = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    following = beating(events(), 0.001)
    assert await anext(following) == b"first"
    assert await anext(following)  # a comment: the next one is being waited for
    await following.aclose()
    assert closed.is_set()


def test_what_somebody_said_cannot_forge_an_event() -> None:
    text = 'over\n\nid: 9\nevent: end\ndata: {"status": "completed"}\r\n\r\u2028'
    lines = encoded(Event(1, "chunk", {"text": text}), "a1").decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data", ""]


def test_the_end_comes_also_to_who_has_seen_it() -> None:
    detail = {
        "track_id": "T-A-1",
        "status": "completed",
        "voice_to_voice_s": None,
        "error": None,
        "tasks": [],
        "contents": [],
    }
    assert [(each.id, each.event) for each in past_events(detail, 2)] == [(2, "end")]


def test_an_id_counts_in_the_telling_alone_that_it_belongs_to() -> None:
    event_id = encoded(Event(12, "end", {}), "a1").decode().splitlines()[0].removeprefix("id: ")
    assert seen_of(event_id, "a1") == 12
    assert seen_of(event_id, "records") == seen_of(event_id, "b2") == 0
    assert [seen_of(text, "a1") for text in ("", "12", "a1", "a1-", "a1--1", "a1-x")] == [0] * 6


async def test_a_wav_of_unknown_length_is_read_to_its_end() -> None:
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0], dtype=np.float32)

    async def pcm() -> AsyncIterator[bytes]:
        yield pcm16(samples)
        yield pcm16(samples)

    data = b"".join([part async for part in streamed_wav(22_050, pcm())])
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert (file.samplerate, file.channels) == (22_050, 1)
        heard = file.read(100, dtype="float32")
    np.testing.assert_allclose(heard, np.tile(samples, 2), atol=1e-4)
