"""Modules that compute for a fixed time, or not at all, for the benchmark of workers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import numpy as np

from turnlab.chunks import Audio, Chunk, Reply, Speech, Transcript
from turnlab.modules.base import Context, Inputs, Module
from turnlab.phrases import Phrasing, phrases

RATE = 16_000
HEARING_S, WORD_S, SPEAKING_S = 0.060, 0.010, 0.040
WORDS = "Yes, of course, here it is. It comes in two sentences."


class Fixed(Module):
    """What the others share."""

    async def _compute(self, context: Context, seconds: float) -> None:
        with context.latency.model("fixed"):
            await context.blocking(time.sleep, seconds)


class Pass(Module):
    """Hands each Chunk back at once."""

    task_name = "fixed_pass"
    consumes = (Transcript,)
    produces = Reply

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        async for heard in inputs.stream(Transcript):
            yield Reply(text=heard.text)


class Hear(Fixed):
    """Hears the same, whatever is said."""

    task_name = "fixed_hear"
    consumes = (Audio,)
    produces = Transcript

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        await inputs.whole(Audio)
        await self._compute(context, HEARING_S)
        yield Transcript(text="Is it there?", final=True)


class Write(Fixed):
    """Writes the same, word by word."""

    task_name = "fixed_write"
    consumes = (Transcript,)
    produces = Reply

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        await inputs.whole(Transcript)
        for word in WORDS.split():
            await self._compute(context, WORD_S)
            yield Reply(text=f"{word} ")


class Speak(Fixed):
    """Speaks each phrase as a tone."""

    task_name = "fixed_speak"
    consumes = (Reply,)
    produces = Speech

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        async for phrase in phrases(inputs.stream(Reply), Phrasing()):
            await self._compute(context, SPEAKING_S)
            yield Speech(
                samples=np.full(RATE // 2, 0.5, dtype=np.float32), sample_rate=RATE, text=phrase
            )
