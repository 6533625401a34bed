"""A turn through OpenAI's API by hand: the SDK, asyncio, and nothing of Turnlab but its phrasing.

It does what a careful programmer would write for the same result: one client that is kept, the
reply streamed, spoken phrase by phrase as it is written, the next phrase asked for once one sounds.
"""

from __future__ import annotations

import asyncio
import io
import time
import wave
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from turnlab.chunks import Reply, Samples
from turnlab.phrases import Phrasing, phrases

RATE = 16_000


class ByHand:
    """The turn; `first_s` and `last_s` are when sound came, `text` is what was replied."""

    def __init__(self, client: Any, system_prompt: str, max_tokens: int) -> None:
        self._client = client
        self._system_prompt = system_prompt
        self._max_tokens = max_tokens
        self.text = ""
        self.first_s = self.last_s = 0.0
        self.sound = bytearray()

    async def run(self, samples: Samples) -> None:
        """Transcribe, reply, speak."""
        heard = await self._client.audio.transcriptions.create(
            file=("speech.wav", _wav(samples), "audio/wav"),
            model="whisper-1",
            response_format="json",
        )
        spoken: list[asyncio.Task[bytes]] = []
        async for phrase in phrases(self._reply(heard.text), Phrasing()):
            sounds = asyncio.Event()
            spoken.append(asyncio.create_task(self._speak(phrase, sounds)))
            await sounds.wait()
        for each in spoken:
            self.sound += await each

    async def _reply(self, question: str) -> AsyncIterator[Reply]:
        stream = await self._client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": self._system_prompt},
                {"role": "user", "content": question},
            ],
            max_tokens=self._max_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                self.text += piece
                yield Reply(text=piece)

    async def _speak(self, phrase: str, sounds: asyncio.Event) -> bytes:
        pcm = bytearray()
        create = self._client.audio.speech.with_streaming_response.create
        async with create(
            input=phrase, model="tts-1", voice="alloy", response_format="pcm"
        ) as answer:
            async for data in answer.iter_bytes():
                self.last_s = time.monotonic()
                self.first_s = self.first_s or self.last_s
                sounds.set()
                pcm += data
        return bytes(pcm)


def _wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
