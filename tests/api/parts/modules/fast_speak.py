"""A Module that speaks in tones: one for each piece of the reply."""

from collections.abc import AsyncIterator

import numpy as np

from turnlab.chunks import Reply, Speech
from turnlab.modules.base import Context, Inputs, Module

RATE = 16_000


class FastSpeak(Module):
    """A tone of 50 ms for each piece of the reply."""

    task_name = "fast_speak"
    consumes, produces = (Reply,), Speech
    concurrency = 64

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Speech]:
        moments = np.arange(RATE // 20, dtype=np.float32) / RATE
        tone = (0.5 * np.sin(2 * np.pi * 440 * moments)).astype(np.float32)
        async for piece in inputs.stream(Reply):
            with context.latency.model("tone"):
                samples = tone.copy()
            yield Speech(samples=samples, sample_rate=RATE, text=piece.text.strip())
